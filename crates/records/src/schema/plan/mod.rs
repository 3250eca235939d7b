//! A schema as somebody wants it to be: what would change, and changing it. What is not named stays as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::{Change, NewField, NewObject, check_free};
use super::checks::{NameOf, check_name, field_type};
use super::field::{Field, FieldType, ObjectId};
use super::object::{IndexState, Object, Path};
use super::standard::FIRST_CUSTOM;
use super::stored::{self, Additions, MAX_OBJECTS, Naming};
use super::{Schema, contradictions, standard};
use crate::error::{Problem, RecordsError};
use crate::problems::{Problems, clipped};
use crate::records::Records;
use crate::row::{self, Life};

/// What objects and views there are to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    pub objects: Vec<WantedObject>,
    /// Objects to be taken away, which must have no records.
    #[serde(default)]
    pub remove_objects: Vec<String>,
    #[serde(default)]
    pub views: Vec<WantedView>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedObject {
    pub name: String,
    /// What it was called before.
    #[serde(default)]
    pub renamed_from: Option<String>,
    #[serde(default)]
    pub plural: Option<String>,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub fields: Vec<NewField>,
    #[serde(default)]
    pub unique: Vec<Vec<String>>,
    #[serde(default)]
    pub indexes: Vec<String>,
    #[serde(default)]
    pub remove: Removed,
}

/// What is taken away from an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    #[serde(default)]
    pub fields: Vec<String>,
    #[serde(default)]
    pub unique: Vec<Vec<String>>,
    #[serde(default)]
    pub indexes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedView {
    pub name: String,
    pub object: String,
    #[serde(default)]
    pub filter: Option<Value>,
    #[serde(default)]
    pub sort: Vec<String>,
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `create_object`, `add_field`, `rename_field`, `build_index`, …
    pub change: String,
    pub object: String,
    /// The field, set, index or view; empty where the object is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The change in words.
    pub about: String,
}

/// What would come of it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The schema as it is then.
    pub schema: Arc<Schema>,
    additions: BTreeMap<ObjectId, Additions>,
    /// Of each object its fields' old and new names.
    renamed: Vec<(ObjectId, String, String)>,
    removed: Vec<ObjectId>,
}

struct Planner {
    schema: Schema,
    additions: BTreeMap<ObjectId, Additions>,
    touched: Vec<ObjectId>,
    steps: Vec<Step>,
    renamed: Vec<(ObjectId, String, String)>,
    removed: Vec<ObjectId>,
    problems: Problems,
}

impl Schema {
    /// The standard objects with what a file asks for, where nothing is stored.
    pub fn standard_with(wanted: &Wanted) -> Result<Plan, RecordsError> {
        Planner::new(&standard(), BTreeMap::new()).plan(wanted)
    }
}

impl Records<'_> {
    /// What applying would change; nothing is written.
    pub async fn plan_schema(&mut self, wanted: &Wanted) -> Result<Plan, RecordsError> {
        let additions = stored::all_additions(self.txn, self.workspace).await?;
        let mut plan = Planner::new(&self.schema, additions).plan(wanted)?;
        let mut problems = Problems::default();
        for id in &plan.removed {
            if self.has_records(*id).await? {
                let name = self.schema.name_of(*id);
                let problem =
                    Problem::new("remove_objects", format!("there are records of {name}, or deleted ones"));
                problems.push(problem.hint("deleted ones can be restored: an object that had records stays"));
            }
        }
        for object in plan.schema.objects().filter(|object| !plan.removed.contains(&object.id)) {
            self.views_fit(object, &plan.renamed, &mut problems).await?;
        }
        for (i, view) in wanted.views.iter().enumerate() {
            let mut found = Problems::default();
            let object = plan.schema.object(&view.object)?;
            self.checked_view(object, &view.name, view.filter.as_ref(), &view.sort, &mut found);
            problems.extend(
                found
                    .into_list()
                    .into_iter()
                    .map(|problem| Problem { path: format!("views[{i}].{}", problem.path), ..problem }),
            );
        }
        if !problems.is_empty() {
            return Err(RecordsError::Schema { problems: problems.into_list() });
        }
        for view in &wanted.views {
            let object = plan.schema.object(&view.object)?.clone();
            let change = self.view_changes(&object, view).await?;
            plan.steps.extend(change.map(|about| Step {
                change: "save_view".into(),
                object: object.name.clone(),
                name: view.name.clone(),
                about,
            }));
        }
        Ok(plan)
    }

    /// Changes the schema and saves the views.
    pub async fn apply_schema(&mut self, wanted: &Wanted) -> Result<Plan, RecordsError> {
        let plan = self.plan_schema(wanted).await?;
        for (id, additions) in &plan.additions {
            stored::save(self.txn, self.workspace, *id, additions)?;
        }
        for (id, from, to) in &plan.renamed {
            self.rename_in_views(*id, from, to).await?;
        }
        for id in &plan.removed {
            self.remove_views(*id).await?;
        }
        self.reload().await?;
        for view in &wanted.views {
            self.save_view(&view.object, &view.name, view.filter.as_ref(), &view.sort).await?;
        }
        Ok(plan)
    }

    /// Whether it has any, deleted ones too, which can be restored. The commit rests on it.
    async fn has_records(&mut self, id: ObjectId) -> Result<bool, RecordsError> {
        for life in [Life::Live, Life::Deleted] {
            if !self.txn.range(row::range(self.workspace, id, life), 1, false).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Planner {
    fn new(schema: &Schema, additions: BTreeMap<ObjectId, Additions>) -> Self {
        Planner {
            schema: schema.clone(),
            additions,
            touched: Vec::new(),
            steps: Vec::new(),
            renamed: Vec::new(),
            removed: Vec::new(),
            problems: Problems::default(),
        }
    }

    fn step(&mut self, change: &str, object: &str, name: &str, about: String) {
        self.steps.push(Step { change: change.into(), object: object.into(), name: name.into(), about });
    }

    fn plan(mut self, wanted: &Wanted) -> Result<Plan, RecordsError> {
        contradictions::find(wanted, &mut self.problems);
        // Objects first, so that relations may name those that come later in the file.
        for (i, object) in wanted.objects.iter().enumerate() {
            self.object(object, &format!("objects[{i}]"));
        }
        for (i, object) in wanted.objects.iter().enumerate() {
            self.members(object, &format!("objects[{i}]"));
        }
        for (i, name) in wanted.remove_objects.iter().enumerate() {
            self.remove_object(name, &format!("remove_objects[{i}]"));
        }
        for (i, view) in wanted.views.iter().enumerate() {
            if let Err(error) = self.schema.object(&view.object) {
                self.problems.push(Problem::new(format!("views[{i}].object"), error.to_string()));
            }
        }
        if !self.problems.is_empty() {
            return Err(RecordsError::Schema { problems: self.problems.into_list() });
        }
        let touched = std::mem::take(&mut self.touched);
        let additions = self.additions.into_iter().filter(|(id, _)| touched.contains(id)).collect();
        let customised = self.schema.customised || !touched.is_empty();
        Ok(Plan {
            steps: self.steps,
            schema: Arc::new(Schema { customised, ..self.schema }),
            additions,
            renamed: self.renamed,
            removed: self.removed,
        })
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.schema.objects.iter().position(|object| object.name == name)
    }

    fn touch(&mut self, id: ObjectId) {
        if !self.touched.contains(&id) {
            self.touched.push(id);
        }
    }

    fn change(&self, at: usize) -> Change {
        let object = &self.schema.objects[at];
        Change::of(&self.schema, object.id, self.additions.get(&object.id).cloned().unwrap_or_default())
    }

    /// Takes over what was changed.
    fn keep(&mut self, at: usize, change: Change) {
        let id = change.object.id;
        if self.schema.objects[at].as_ref() != &change.object
            || self.additions.get(&id).is_some_and(|before| *before != change.additions)
        {
            self.touch(id);
        }
        self.additions.insert(id, change.additions);
        self.schema.objects[at] = Arc::new(change.object);
    }

    /// Makes or renames the object itself.
    fn object(&mut self, wanted: &WantedObject, path: &str) {
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

    /// The object's fields, sets and indexes.
    fn members(&mut self, wanted: &WantedObject, path: &str) {
        let Some(at) = self.place(&wanted.name) else { return };
        let mut change = self.change(at);
        // Of a new object nothing is stored, so all is ready at once.
        let is_new =
            self.steps.iter().any(|step| step.change == "create_object" && step.object == wanted.name);
        let state = if is_new { IndexState::Ready } else { IndexState::Building };
        for (i, set) in wanted.remove.unique.iter().enumerate() {
            self.remove_unique(&mut change, set, &format!("{path}.remove.unique[{i}]"));
        }
        for (i, name) in wanted.remove.indexes.iter().enumerate() {
            self.remove_index(&mut change, name, &format!("{path}.remove.indexes[{i}]"));
        }
        for (i, field) in wanted.fields.iter().enumerate() {
            // What the file takes away it does not give by itself.
            let kept;
            let field = match field.indexed {
                None if wanted.remove.indexes.contains(&field.name) => {
                    kept = NewField { indexed: Some(false), ..field.clone() };
                    &kept
                }
                _ => field,
            };
            self.field(&mut change, field, state, &format!("{path}.fields[{i}]"));
        }
        for (i, name) in wanted.remove.fields.iter().enumerate() {
            self.remove_field(&mut change, name, &format!("{path}.remove.fields[{i}]"));
        }
        for (i, set) in wanted.unique.iter().enumerate() {
            if change.object.unique_set(set).is_none() {
                self.add_unique(&mut change, set, state, &format!("{path}.unique[{i}]"));
            }
        }
        for (i, name) in wanted.indexes.iter().enumerate() {
            self.add_index(&mut change, name, state, &format!("{path}.indexes[{i}]"));
        }
        self.keep(at, change);
    }

    fn add_unique(&mut self, change: &mut Change, set: &[String], state: IndexState, path: &str) {
        let before = self.problems.len();
        change.add_unique(set, path, state, &mut self.problems);
        if self.problems.len() == before {
            let names = set.join(", ");
            let (object, building) = (change.object.name.clone(), state == IndexState::Building);
            let after = if building { ", once no two records have the same" } else { "" };
            self.step("make_unique", &object, &names, format!("make [{names}] of {object} unique{after}"));
        }
    }

    fn add_index(&mut self, change: &mut Change, name: &str, state: IndexState, path: &str) {
        if change.is_indexed(name) {
            return;
        }
        let before = self.problems.len();
        change.add_index(name, path, state, &mut self.problems);
        if self.problems.len() == before {
            let object = change.object.name.clone();
            let how = if state == IndexState::Building { ", in the background" } else { "" };
            self.step("build_index", &object, name, format!("index {object}.{name}{how}"));
        }
    }

    fn field(&mut self, change: &mut Change, wanted: &NewField, state: IndexState, path: &str) {
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
            let default = super::change::default_of(&change.object, &after, wanted, &at, &mut self.problems);
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

    fn remove_field(&mut self, change: &mut Change, name: &str, path: &str) {
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

    fn remove_unique(&mut self, change: &mut Change, set: &[String], path: &str) {
        let object = change.object.name.clone();
        let names = set.join(", ");
        let Some(id) = change.object.unique_set(set).map(|unique| unique.id) else {
            // One that records contradict: it is given up already, or about to be, and no longer wanted.
            let given_up = change.object.unique.iter().find(|own| change.object.is_set(own, set));
            let Some(paths) = given_up.map(|own| own.paths.clone()) else { return };
            let forgot = change.forget_refused(|own| own.paths == paths);
            if change.forget_problems(&paths) || forgot {
                self.step(
                    "remove_unique",
                    &object,
                    &names,
                    format!("[{names}] of {object} need not be unique"),
                );
            }
            return;
        };
        let Some(own) = change.additions.unique.iter_mut().find(|own| own.id == id) else {
            let message = format!("[{}] is a standard unique set of {object}", set.join(", "));
            self.problems.push(Problem::new(path, message));
            return;
        };
        own.state = IndexState::Clearing;
        change.object.unique.iter_mut().filter(|own| own.id == id).for_each(|own| {
            own.state = IndexState::Clearing;
        });
        self.step("remove_unique", &object, &names, format!("[{names}] of {object} need not be unique"));
    }

    fn remove_index(&mut self, change: &mut Change, name: &str, path: &str) {
        let object = change.object.name.clone();
        let is_it = |object: &Object, path: &Path| object.path_name(path) == name;
        let found = change
            .object
            .indexes
            .iter()
            .find(|index| index.state.is_kept() && is_it(&change.object, &index.path));
        let Some(id) = found.map(|index| index.id) else { return };
        let Some(own) = change.additions.indexes.iter_mut().find(|own| own.id == id) else {
            let message = format!("the index on `{name}` of {object} is a standard one");
            self.problems.push(Problem::new(path, message));
            return;
        };
        own.state = IndexState::Clearing;
        change.object.indexes.iter_mut().filter(|own| own.id == id).for_each(|own| {
            own.state = IndexState::Clearing;
        });
        self.step("remove_index", &object, name, format!("give up the index on {object}.{name}"));
    }

    fn remove_object(&mut self, name: &str, path: &str) {
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
