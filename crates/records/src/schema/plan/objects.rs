//! Making, renaming and taking away the objects themselves.

use std::sync::Arc;

use super::Planner;
use crate::error::Problem;
use crate::problems::clipped;
use crate::schema::change::{Change, NewObject, check_free};
use crate::schema::checks::{NameOf, check_label, check_name};
use crate::schema::field::{Field, FieldType, ObjectId};
use crate::schema::standard::FIRST_CUSTOM;
use crate::schema::stored::{Additions, MAX_OBJECTS, Naming};
use crate::schema::wanted::WantedObject;

impl Planner {
    /// Makes or renames the object itself.
    pub(super) fn object(&mut self, wanted: &WantedObject, path: &str) {
        let new = self.place(&wanted.name).is_none();
        let before = wanted.renamed_from.as_deref().and_then(|old| self.place(old));
        match (new, before) {
            (false, Some(_)) => {
                let old = wanted.renamed_from.as_deref().unwrap_or_default();
                let message = format!("there are both `{}` and `{}`", clipped(old), clipped(&wanted.name));
                self.problems.push(Problem::new(format!("{path}.renamed_from"), message));
            }
            (false, None) => self.label(wanted, path),
            (true, Some(at)) => self.rename_object(at, wanted, path),
            (true, None) => self.create(wanted, path),
        }
    }

    fn label(&mut self, wanted: &WantedObject, path: &str) {
        let Some(at) = self.place(&wanted.name) else { return };
        let mut change = self.change(at);
        let plural = wanted.plural.clone().unwrap_or_else(|| change.object.plural.clone());
        let label = wanted.label.clone().unwrap_or_else(|| change.object.label.clone());
        if (&plural, &label) == (&change.object.plural, &change.object.label) {
            return;
        }
        let Some(own) = &mut change.additions.own else {
            let message = format!("{} is a standard object: its plural and label stay", wanted.name);
            self.problems.push(Problem::new(path, message));
            return;
        };
        check_name(&plural, &format!("{path}.plural"), NameOf::Object, &mut self.problems);
        check_label(wanted.label.as_deref(), &format!("{path}.label"), &mut self.problems);
        let key = |key: &str| format!("{path}.{key}");
        let names = [("name", &wanted.name), ("plural", &plural)];
        check_free(&self.schema, Some(change.object.id), names, &key, &mut self.problems);
        own.plural.clone_from(&plural);
        own.label.clone_from(&label);
        (change.object.plural, change.object.label) = (plural, label);
        self.step("change_object", &wanted.name, "", format!("change how {} is called", wanted.name));
        self.keep(at, change);
    }

    fn rename_object(&mut self, at: usize, wanted: &WantedObject, path: &str) {
        let mut change = self.change(at);
        let old = change.object.name.clone();
        check_name(&wanted.name, &format!("{path}.name"), NameOf::Object, &mut self.problems);
        let plural = wanted.plural.clone().unwrap_or_else(|| format!("{}s", wanted.name));
        let label = wanted.label.clone().unwrap_or_else(|| wanted.name.clone());
        check_name(&plural, &format!("{path}.plural"), NameOf::Object, &mut self.problems);
        check_label(wanted.label.as_deref(), &format!("{path}.label"), &mut self.problems);
        let key = |key: &str| format!("{path}.{key}");
        let names = [("name", &wanted.name), ("plural", &plural)];
        check_free(&self.schema, Some(change.object.id), names, &key, &mut self.problems);
        let Some(own) = &mut change.additions.own else {
            let message = format!("`{}` is a standard object, which keeps its name", clipped(&old));
            self.problems.push(Problem::new(format!("{path}.renamed_from"), message));
            return;
        };
        *own = Naming { name: wanted.name.clone(), plural: plural.clone(), label: label.clone() };
        (change.object.name, change.object.plural, change.object.label) =
            (wanted.name.clone(), plural, label);
        self.step("rename_object", &wanted.name, &old, format!("rename {old} to {}", wanted.name));
        self.keep(at, change);
    }

    fn create(&mut self, wanted: &WantedObject, path: &str) {
        let new = NewObject {
            name: wanted.name.clone(),
            plural: wanted.plural.clone(),
            label: wanted.label.clone(),
            ..NewObject::default()
        };
        let before = self.problems.len();
        let highest = self.schema.last_object.max(FIRST_CUSTOM - 1);
        let id = ObjectId(highest + 1);
        let naming = new.naming(&self.schema, path, &mut self.problems);
        if self.schema.objects.len() >= MAX_OBJECTS {
            let message = format!("a workspace has at most {MAX_OBJECTS} objects");
            self.problems.push(Problem::new(format!("{path}.name"), message));
        }
        if self.problems.len() > before {
            return;
        }
        let change = Change::of(&self.schema, id, Additions { own: Some(naming), ..Additions::default() });
        self.schema.last_object = id.0;
        self.touch(id);
        self.additions.insert(id, change.additions);
        self.schema.objects.push(Arc::new(change.object));
        self.step("create_object", &wanted.name, "", format!("make the object {}", wanted.name));
    }

    pub(super) fn remove_object(&mut self, name: &str, path: &str) {
        let Some(at) = self.place(name) else { return };
        let object = self.schema.objects[at].clone();
        if !object.custom {
            let message = format!("`{name}` is a standard object, which stays");
            self.problems.push(Problem::new(path, message));
            return;
        }
        let names_it = |field: &Field| field.kind == FieldType::Relation { object: object.id };
        let named = self.schema.objects.iter().filter(|other| other.id != object.id);
        if let Some(other) = named.into_iter().find(|other| other.fields.iter().any(names_it)) {
            let message = format!("{} has a relation to {name}", other.name);
            self.problems.push(Problem::new(path, message).hint("take that field away first"));
            return;
        }
        self.schema.objects.remove(at);
        self.touch(object.id);
        self.removed.push(object.id);
        // Its number stays taken.
        self.additions.insert(object.id, Additions { removed: true, ..Additions::default() });
        self.step("remove_object", name, "", format!("take the object {name} away"));
    }
}
