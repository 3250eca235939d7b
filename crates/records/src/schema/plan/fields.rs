//! Adding, renaming, changing and taking away the fields of an object.

use super::Planner;
use crate::error::Problem;
use crate::problems::clipped;
use crate::schema::change::{Change, NewField, default_of};
use crate::schema::checks::{NameOf, check_label, check_name, field_type};
use crate::schema::field::{Field, FieldType};
use crate::schema::object::{IndexState, Path};

impl Planner {
    pub(super) fn field(&mut self, change: &mut Change, wanted: &NewField, state: IndexState, path: &str) {
        let object = change.object.name.clone();
        let there = change.object.field(&wanted.name).is_some();
        let before = wanted.renamed_from.as_deref().filter(|old| change.object.field(old).is_some());
        match (there, before) {
            (true, Some(old)) => {
                let message = format!("{object} has both `{}` and `{}`", clipped(old), clipped(&wanted.name));
                self.problems.push(Problem::new(format!("{path}.renamed_from"), message));
            }
            (true, None) => self.change_field(change, wanted, path),
            (false, Some(old)) => {
                let old = old.to_owned();
                self.rename_field(change, &old, wanted, path);
                self.change_field(change, wanted, path);
            }
            (false, None) => {
                let before = self.problems.len();
                let new = NewField { renamed_from: None, ..wanted.clone() };
                change.add_field(&self.schema, &new, path, &mut self.problems);
                if self.problems.len() == before {
                    let indexed = wanted.indexed == Some(true) || change.is_indexed(&wanted.name);
                    let mut about = format!("add the field {object}.{} ({})", wanted.name, wanted.kind);
                    for (said, word) in [
                        (wanted.required == Some(true), "required"),
                        (wanted.unique, "unique"),
                        (indexed, "indexed"),
                    ] {
                        if said {
                            about.push_str(", ");
                            about.push_str(word);
                        }
                    }
                    self.step("add_field", &object, &wanted.name, about);
                }
                return;
            }
        }
        // What is there already may become unique or indexed.
        let Some(field) = change.object.field(&wanted.name) else { return };
        let name = match field.kind.parts().first() {
            Some((part, _)) => format!("{}.{part}", field.name),
            None => field.name.clone(),
        };
        if wanted.unique && change.object.unique_set(std::slice::from_ref(&name)).is_none() {
            self.add_unique(change, std::slice::from_ref(&name), state, &format!("{path}.unique"));
        }
        if change.wants_index(wanted, &name) {
            self.add_index(change, &name, state, &format!("{path}.indexed"));
        }
    }

    fn rename_field(&mut self, change: &mut Change, old: &str, wanted: &NewField, path: &str) {
        let object = change.object.name.clone();
        check_name(&wanted.name, &format!("{path}.name"), NameOf::Field, &mut self.problems);
        let Some(own) = change.additions.fields.iter_mut().find(|field| field.name == old) else {
            let message = format!("`{old}` is a standard field of {object}, which keeps its name");
            self.problems.push(Problem::new(format!("{path}.renamed_from"), message));
            return;
        };
        let rename = |field: &mut Field| {
            if field.label == field.name {
                field.label.clone_from(&wanted.name);
            }
            field.name.clone_from(&wanted.name);
        };
        rename(own);
        change.object.fields.iter_mut().filter(|field| field.name == old).for_each(rename);
        self.renamed.push((change.object.id, old.to_owned(), wanted.name.clone()));
        let about = format!("rename {object}.{old} to {}", wanted.name);
        self.step("rename_field", &object, &wanted.name, about);
    }

    /// What may change of a field that is there: never what its values are.
    fn change_field(&mut self, change: &mut Change, wanted: &NewField, path: &str) {
        let (name, object) = (wanted.name.clone(), change.object.name.clone());
        let Some(known) = change.object.field(&name).cloned() else { return };
        let before = self.problems.len();
        let at = |key: &str| format!("{path}.{key}");
        check_label(wanted.label.as_deref(), &at("label"), &mut self.problems);
        let kind = field_type(&self.schema, &change.object, wanted, &at, &mut self.problems);
        let Some(kind) = kind.filter(|_| self.problems.len() == before) else { return };
        let kind = match (&known.kind, kind) {
            (is, wanted) if *is == wanted => wanted,
            (FieldType::Select { options: has }, FieldType::Select { options })
            | (FieldType::MultiSelect { options: has }, FieldType::MultiSelect { options })
                if has.iter().all(|option| options.contains(option)) =>
            {
                match &known.kind {
                    FieldType::Select { .. } => FieldType::Select { options },
                    _ => FieldType::MultiSelect { options },
                }
            }
            (is, wanted) => {
                let message = match (is.name() == wanted.name(), is.options(), wanted.options()) {
                    (true, Some(has), Some(options)) => {
                        let gone = has.iter().filter(|option| !options.contains(option));
                        let gone = gone.map(String::as_str).collect::<Vec<_>>().join(", ");
                        format!("`{name}` of {object} would lose the options {gone}, which records may have")
                    }
                    (true, ..) => {
                        format!("`{name}` of {object} would hold something else than its records have")
                    }
                    _ => format!(
                        "`{name}` of {object} is a {} field, and cannot become a {} field",
                        is.name(),
                        wanted.name()
                    ),
                };
                let hint = "add a field of another name, and fill it by a workflow";
                self.problems.push(Problem::new(at("type"), message).hint(hint));
                return;
            }
        };
        let required = wanted.required.unwrap_or(known.required);
        if required && !known.required {
            let message = format!("`{name}` of {object} cannot become required: records may be without it");
            self.problems.push(Problem::new(at("required"), message));
            return;
        }
        let Some(own) = change.additions.fields.iter_mut().find(|field| field.id == known.id) else {
            let label = wanted.label.as_ref().is_some_and(|label| *label != known.label);
            let default = wanted.default.as_ref().filter(|default| !default.is_null());
            if kind != known.kind || label || default.is_some() && default != known.default.as_ref() {
                let message = format!("`{name}` is a standard field of {object}, which stays as it is");
                self.problems.push(Problem::new(path, message));
            }
            return;
        };
        let mut after = Field { kind, required, ..known.clone() };
        if let Some(label) = &wanted.label {
            after.label.clone_from(label);
        }
        if wanted.default.is_some() {
            let default = default_of(&change.object, &after, wanted, &at, &mut self.problems);
            after.default = default;
        }
        if after == known {
            return;
        }
        own.clone_from(&after);
        change.object.fields.iter_mut().filter(|field| field.id == known.id).for_each(|field| {
            field.clone_from(&after);
        });
        let parts = [
            (after.kind != known.kind, "options"),
            (after.label != known.label, "label"),
            (after.required != known.required, "required"),
            (after.default != known.default, "default"),
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|(is, _)| *is).map(|(_, part)| part).collect();
        let about = format!("change {object}.{name}: {}", parts.join(", "));
        self.step("change_field", &object, &name, about);
    }

    pub(super) fn remove_field(&mut self, change: &mut Change, name: &str, path: &str) {
        let object = change.object.name.clone();
        let Some(field) = change.object.field(name).cloned() else { return };
        let mut refuse = |message: String, hint: &str| {
            self.problems.push(Problem::new(path, message).hint(hint));
        };
        if !change.additions.fields.iter().any(|own| own.id == field.id) {
            return refuse(format!("`{name}` is a standard field of {object}"), "standard fields stay");
        }
        let uses = |paths: &[Path]| paths.iter().any(|path| path.field == field.id);
        let sets = change.object.unique.iter().filter(|set| set.state.is_kept() && uses(&set.paths));
        // That of a relation came with it, and goes with it.
        let own = matches!(field.kind, FieldType::Relation { .. });
        let indexes = change.object.indexes.iter().filter(|_| !own);
        let indexes = indexes.filter(|i| i.state.is_kept() && uses(std::slice::from_ref(&i.path)));
        if sets.count() + indexes.count() > 0 {
            let message = format!("`{name}` of {object} is in a unique set or indexed");
            return refuse(message, "take that away too, under `remove.unique` or `remove.indexes`");
        }
        let indexes = change.additions.indexes.iter_mut().chain(&mut change.object.indexes);
        for index in indexes.filter(|i| own && i.state.is_kept() && uses(std::slice::from_ref(&i.path))) {
            index.state = IndexState::Clearing;
        }
        // Without the field nobody could ask for them again.
        change.forget_refused(|unique| uses(&unique.paths));
        change.additions.last_field = change.additions.last_field.max(field.id.0);
        change.additions.fields.retain(|own| own.id != field.id);
        change.object.fields.retain(|own| own.id != field.id);
        let about = format!("take the field {object}.{name} away, with what is in it");
        self.step("remove_field", &object, name, about);
    }
}
