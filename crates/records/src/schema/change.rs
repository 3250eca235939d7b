//! Changing the schema: objects, fields, unique sets and indexes of a workspace's own.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Schema;
use super::checks::{NameOf, check_label, check_name, field_type};
use super::field::{Field, FieldId, FieldType, Kind, ObjectId};
use super::object::{Index, IndexState, Object, Path, Target, Unique};
use super::standard::FIRST_CUSTOM;
use super::stored::{self, Additions, MAX_OBJECTS, Naming};
use crate::backfill::{Backfill, Built};
use crate::error::{Problem, RecordsError};
use crate::problems::{Problems, clipped, listing};
use crate::records::Records;
use crate::size::json_bytes;
use crate::value::{self, normalise};

const MAX_FIELDS: usize = 300;
/// Of one default, as JSON: each schema that is read has all of them.
const MAX_DEFAULT_BYTES: usize = 4096;
/// Each costs a key on every write of a record that has a value in it.
const MAX_INDEXES: usize = 16;

/// The type of fields that name a record.
const RELATION: &str = "relation";

/// An object to be created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewObject {
    pub name: String,
    /// The name with an `s` unless given.
    #[serde(default)]
    pub plural: Option<String>,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub fields: Vec<NewField>,
    /// Sets of paths that identify one record each.
    #[serde(default)]
    pub unique: Vec<Vec<String>>,
    /// Paths to be indexed.
    #[serde(default)]
    pub indexes: Vec<String>,
}

/// A field to be added. Names of other objects and options stand beside the type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewField {
    pub name: String,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(rename = "type")]
    pub kind: String,
    /// Of select and multi_select.
    #[serde(default)]
    pub options: Vec<String>,
    /// Of relation.
    #[serde(default)]
    pub object: Option<String>,
    /// Of links: the primary link is kept as a bare domain.
    #[serde(default)]
    pub domain: bool,
    /// Of one that is there already: as it is, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Null takes it away; of one that is there already it is as it is, where nothing is said.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The field alone, or the first part of a composite one, identifies a record.
    #[serde(default)]
    pub unique: bool,
    /// Where nothing is said, a relation is and other fields are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexed: Option<bool>,
    /// What it was called before, where a schema is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
}

impl NewObject {
    /// How it is called, once nothing else is.
    pub(super) fn naming(&self, schema: &Schema, at: &str, problems: &mut Problems) -> Naming {
        let path = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
        check_name(&self.name, &path("name"), NameOf::Object, problems);
        let plural = self.plural.clone().unwrap_or_else(|| format!("{}s", self.name));
        check_name(&plural, &path("plural"), NameOf::Object, problems);
        check_label(self.label.as_deref(), &path("label"), problems);
        check_free(schema, None, [("name", &self.name), ("plural", &plural)], &path, problems);
        Naming {
            name: self.name.clone(),
            plural,
            label: self.label.clone().unwrap_or_else(|| self.name.clone()),
        }
    }
}

/// An object is found by its name or its plural: nothing else is called so.
pub(super) fn check_free(
    schema: &Schema,
    own: Option<ObjectId>,
    names: [(&str, &String); 2],
    path: &dyn Fn(&str) -> String,
    problems: &mut Problems,
) {
    for (key, name) in names {
        let mut others = schema.objects().filter(|object| own.is_none_or(|own| object.id != own));
        if others.any(|object| object.name == *name || object.plural == *name) {
            problems.push(Problem::new(path(key), format!("there is an object called `{name}` already")));
        }
    }
}

/// A value that is there, though it may be null.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl Records<'_> {
    /// A new object; its records can be written in the same transaction.
    pub async fn create_object(&mut self, new: &NewObject) -> Result<Arc<Object>, RecordsError> {
        let mut problems = Problems::default();
        let naming = new.naming(&self.schema, "", &mut problems);
        if self.schema.objects.len() >= MAX_OBJECTS {
            problems.push(Problem::new("name", format!("a workspace has at most {MAX_OBJECTS} objects")));
        }
        let id = ObjectId(self.schema.last_object.max(FIRST_CUSTOM - 1) + 1);
        let mut change =
            Change::of(&self.schema, id, Additions { own: Some(naming), ..Additions::default() });
        for (i, field) in new.fields.iter().enumerate() {
            change.add_field(&self.schema, field, &format!("fields[{i}]"), &mut problems);
        }
        for (i, names) in new.unique.iter().enumerate() {
            change.add_unique(names, &format!("unique[{i}]"), IndexState::Ready, &mut problems);
        }
        for (i, name) in new.indexes.iter().enumerate() {
            change.add_index(name, &format!("indexes[{i}]"), IndexState::Ready, &mut problems);
        }
        self.save(change, problems).await
    }

    /// A new field on any object. Records that exist have no value in it; a default is for new ones.
    pub async fn add_field(&mut self, object: &str, new: &NewField) -> Result<Arc<Object>, RecordsError> {
        let mut problems = Problems::default();
        let mut change = self.change_of(object).await?;
        if new.renamed_from.is_some() {
            problems.push(Problem::new("renamed_from", "a new field has no name from before"));
        }
        change.add_field(&self.schema, new, "", &mut problems);
        self.save(change, problems).await
    }

    /// A unique set over fields that exist. It is `building` until its backfill has seen every record.
    pub async fn add_unique(&mut self, object: &str, names: &[String]) -> Result<Arc<Object>, RecordsError> {
        let mut problems = Problems::default();
        let mut change = self.change_of(object).await?;
        change.add_unique(names, "unique", IndexState::Building, &mut problems);
        self.save(change, problems).await
    }

    /// An index on a path that exists. It is `building` until its backfill has seen every record.
    pub async fn add_index(&mut self, object: &str, name: &str) -> Result<Arc<Object>, RecordsError> {
        let mut problems = Problems::default();
        let mut change = self.change_of(object).await?;
        change.add_index(name, "index", IndexState::Building, &mut problems);
        self.save(change, problems).await
    }

    async fn change_of(&mut self, object: &str) -> Result<Change, RecordsError> {
        let id = self.object(object)?.id;
        let additions = stored::additions(self.txn, self.workspace, id).await?;
        Ok(Change::of(&self.schema, id, additions))
    }

    async fn save(&mut self, change: Change, problems: Problems) -> Result<Arc<Object>, RecordsError> {
        if !problems.is_empty() {
            return Err(RecordsError::Schema { problems: problems.into_list() });
        }
        let id = change.object.id;
        stored::save(self.txn, self.workspace, id, &change.additions)?;
        self.reload().await?;
        let object = self.schema.object_by_id(id).cloned();
        object.ok_or_else(|| RecordsError::Misuse("the object just saved is not there".into()))
    }

    pub(crate) async fn reload(&mut self) -> Result<(), RecordsError> {
        self.schema = Schema::load(self.txn, self.workspace).await?;
        Ok(())
    }
}

impl Records<'_> {
    /// Gives up a unique set of the workspace's own; its keys are cleared page by page.
    pub async fn remove_unique(
        &mut self,
        object: &str,
        names: &[String],
    ) -> Result<Arc<Object>, RecordsError> {
        let object = self.object(object)?;
        let mut change = self.change_of(&object.name).await?;
        let named = |unique: &Unique| {
            let mut held = object.unique_names(unique);
            let mut wanted = names.to_vec();
            held.sort_unstable();
            wanted.sort_unstable();
            held == wanted && unique.state != IndexState::Clearing
        };
        let mut problems = Problems::default();
        match change.additions.unique.iter().position(named) {
            Some(at) if change.additions.unique[at].state == IndexState::Refused => {
                change.additions.unique.remove(at);
            }
            Some(at) => change.additions.unique[at].state = IndexState::Clearing,
            None => {
                let message = format!("{} has no unique set [{}] of its own", object.name, listing(names));
                problems.push(Problem::new("unique", message));
            }
        }
        self.save(change, problems).await
    }

    /// Gives up an index of the workspace's own; its keys are cleared page by page.
    pub async fn remove_index(&mut self, object: &str, name: &str) -> Result<Arc<Object>, RecordsError> {
        let object = self.object(object)?;
        let mut change = self.change_of(&object.name).await?;
        let mut problems = Problems::default();
        let named = |index: &&mut Index| object.path_name(&index.path) == name && index.state.is_kept();
        match change.additions.indexes.iter_mut().find(named) {
            Some(index) => index.state = IndexState::Clearing,
            None => {
                let message = format!("{} has no index on `{}` of its own", object.name, clipped(name));
                problems.push(Problem::new("index", message));
            }
        }
        self.save(change, problems).await
    }

    /// Where a backfill has brought a set or index. What is cleared goes, unless it has to say why.
    pub(crate) async fn set_state(
        &mut self,
        backfill: Backfill,
        state: IndexState,
        contradicted: Option<Contradicted>,
    ) -> Result<(), RecordsError> {
        let mut additions = stored::additions(self.txn, self.workspace, backfill.object).await?;
        match backfill.of {
            Built::Unique(id) => {
                for unique in additions.unique.iter_mut().filter(|unique| unique.id == id) {
                    unique.state = state;
                    if let Some(Contradicted { problem, twins }) = &contradicted {
                        unique.problem = Some(problem.clone());
                        unique.twins.clone_from(twins);
                    }
                }
                additions
                    .unique
                    .retain(|unique| unique.state != IndexState::Refused || unique.problem.is_some());
            }
            Built::Index(id) => {
                for index in additions.indexes.iter_mut().filter(|index| index.id == id) {
                    index.state = state;
                }
                additions.indexes.retain(|index| index.state != IndexState::Refused);
            }
        }
        stored::save(self.txn, self.workspace, backfill.object, &additions)?;
        self.reload().await
    }
}

/// Why records do not let a set be unique.
#[derive(Clone, Debug)]
pub(crate) struct Contradicted {
    pub problem: String,
    /// See [`Unique::twins`].
    pub twins: Vec<[uuid::Uuid; 2]>,
}

/// An object being changed: what is stored of it, and what it looks like with that.
pub(super) struct Change {
    pub additions: Additions,
    pub object: Object,
    /// It has no records yet.
    is_new: bool,
}

/// The default that a field is asked to have, if records can be stored with it.
pub(super) fn default_of(
    object: &Object,
    field: &Field,
    new: &NewField,
    path: &dyn Fn(&str) -> String,
    problems: &mut Problems,
) -> Option<Value> {
    let default = new.default.as_ref().filter(|default| !default.is_null())?;
    let mut refuse = |message: String, hint: &str| {
        problems.push(Problem::new(path("default"), message).hint(hint));
        None
    };
    // The record that it names may be gone when the default is needed.
    if matches!(field.kind, FieldType::Relation { .. }) {
        let message = format!("`{}` is a relation, which has no default", field.name);
        return refuse(message, "give it where the record is made");
    }
    let bytes = json_bytes(default);
    if bytes > MAX_DEFAULT_BYTES {
        let message = format!("the default has {bytes} bytes, at most {MAX_DEFAULT_BYTES}");
        return refuse(message, "give a value that long where the record is made");
    }
    let default = if !field.kind.parts().is_empty() {
        let change = value::Change::read(object, field, default, problems)?;
        Some(change.onto(None)).filter(|value| !value.is_null())?
    } else {
        match normalise(&Target::Field { field, part: None }, default) {
            Ok(value) => value,
            Err(misfit) => {
                problems.push(Problem { path: path("default"), message: misfit.message, hint: misfit.hint });
                return None;
            }
        }
    };
    let mut kept = object.unique.iter().filter(|set| set.state.is_kept());
    if let Some(name) = kept.find_map(|set| shared(object, field, &default, &set.paths)) {
        problems.push(not_unique(&name, path("default")));
        return None;
    }
    Some(default)
}

/// The path that a unique set consists of, if records have the same there by a field's default.
fn shared(object: &Object, field: &Field, default: &Value, set: &[Path]) -> Option<String> {
    let [path] = set else { return None };
    let value = path.part.as_ref().map_or(Some(default), |part| default.get(part.as_str()));
    let has_it = path.field == field.id && value.is_some_and(|value| !value.is_null());
    has_it.then(|| object.path_name(path).to_string())
}

fn not_unique(name: &str, at: String) -> Problem {
    let message = format!("`{name}` is unique: only one record could have its default");
    Problem::new(at, message).hint("leave the default or `unique` out")
}

impl Change {
    pub fn of(schema: &Schema, id: ObjectId, additions: Additions) -> Change {
        let object = match (schema.object_by_id(id), &additions.own) {
            (Some(object), _) => object.as_ref().clone(),
            (None, own) => {
                let naming = own.clone().unwrap_or(Naming {
                    name: String::new(),
                    plural: String::new(),
                    label: String::new(),
                });
                Object {
                    id,
                    name: naming.name,
                    plural: naming.plural,
                    label: naming.label,
                    custom: true,
                    fields: Vec::new(),
                    unique: Vec::new(),
                    indexes: Vec::new(),
                    prepared: Default::default(),
                }
            }
        };
        Change { additions, object, is_new: schema.object_by_id(id).is_none() }
    }

    /// No record can have a value in the field yet, so a unique set is ready at once. An index has entries of what is
    /// empty too, and has to be built where there may be records.
    pub fn add_field(&mut self, schema: &Schema, new: &NewField, at: &str, problems: &mut Problems) {
        let path = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
        let before = problems.len();
        check_name(&new.name, &path("name"), NameOf::Field, problems);
        check_label(new.label.as_deref(), &path("label"), problems);
        if self.object.field(&new.name).is_some() {
            let message = format!("{} has a field `{}` already", self.object.name, new.name);
            problems.push(Problem::new(path("name"), message));
        }
        if self.object.fields.len() >= MAX_FIELDS {
            problems.push(Problem::new(path("name"), format!("an object has at most {MAX_FIELDS} fields")));
        }
        let kind = field_type(schema, &self.object, new, &path, problems);
        let Some(kind) = kind.filter(|_| problems.len() == before) else { return };
        // A number is never given again: records may still have a value under it.
        let last = self.object.fields.iter().map(|field| field.id.0).max().unwrap_or(0);
        let id = last.max(self.additions.last_field).max(FIRST_CUSTOM - 1) + 1;
        self.additions.last_field = id;
        let mut field = Field {
            id: FieldId(id),
            name: new.name.clone(),
            label: new.label.clone().unwrap_or_else(|| new.name.clone()),
            kind,
            required: new.required.unwrap_or(false),
            default: None,
        };
        field.default = default_of(&self.object, &field, new, &path, problems);
        let name = match field.kind.parts().first() {
            Some((part, _)) => format!("{}.{part}", field.name),
            None => field.name.clone(),
        };
        self.object.fields.push(field.clone());
        self.additions.fields.push(field);
        if new.unique {
            self.add_unique(std::slice::from_ref(&name), &path("unique"), IndexState::Ready, problems);
        }
        if self.wants_index(new, &name) {
            // A relation that is empty has no entry, and so far all of them are.
            let ready = self.is_new || new.kind == RELATION;
            let state = if ready { IndexState::Ready } else { IndexState::Building };
            self.add_index(&name, &path("indexed"), state, problems);
        }
    }

    /// Whether a field is to be indexed: because somebody says so, or because it is a relation, by which people search.
    /// That alone takes no room that there is not, and nothing of one that a unique set finds anyway.
    pub fn wants_index(&self, new: &NewField, name: &str) -> bool {
        new.indexed.unwrap_or_else(|| {
            let is_found = self.object.unique_set(&[name.to_owned()]).is_some();
            new.kind == RELATION && !is_found && self.room() > 0
        })
    }

    /// Whether there is an index on a path that is kept.
    pub fn is_indexed(&self, name: &str) -> bool {
        let is_it = |index: &Index| index.state.is_kept() && self.object.path_name(&index.path) == name;
        self.object.indexes.iter().any(is_it)
    }

    fn room(&self) -> usize {
        MAX_INDEXES.saturating_sub(self.object.unique.len() + self.object.indexes.len())
    }

    /// The paths of `names`, if each has values with an order.
    fn paths(&self, names: &[String], at: &str, problems: &mut Problems) -> Option<Vec<Path>> {
        let before = problems.len();
        let mut paths = Vec::new();
        for name in names {
            match self.object.target(name) {
                Ok(target) => match target.path() {
                    Some(_) if !target.kind().is_ordered() => {
                        let message = format!("`{name}` has no single value that could be looked up");
                        let hint = match &target {
                            Target::Field { field, part: None } if !field.kind.parts().is_empty() => {
                                let parts = field.kind.parts().iter().filter(|(_, kind)| kind.is_ordered());
                                let parts = parts.map(|(part, _)| format!("{name}.{part}"));
                                format!("name a part: {}", parts.collect::<Vec<_>>().join(", "))
                            }
                            _ => "index a field with one value".to_owned(),
                        };
                        problems.push(Problem::new(at, message).hint(hint));
                    }
                    Some(path) => paths.push(path),
                    None => problems.push(Problem::new(at, format!("`{name}` needs no index"))),
                },
                Err(unknown) => problems.push(Problem {
                    path: at.to_owned(),
                    message: unknown.message,
                    hint: unknown.hint,
                }),
            }
        }
        (problems.len() == before).then_some(paths)
    }

    fn next_id(&mut self) -> u32 {
        self.additions.last_id = self.additions.last_id.max(FIRST_CUSTOM - 1) + 1;
        self.additions.last_id
    }

    fn has_room(&self, at: &str, problems: &mut Problems) -> bool {
        let room = self.room() > 0;
        if !room {
            let message = format!(
                "an object has at most {MAX_INDEXES} unique sets and indexes: each slows every write"
            );
            problems.push(Problem::new(at, message));
        }
        room
    }

    pub fn add_unique(&mut self, names: &[String], at: &str, state: IndexState, problems: &mut Problems) {
        if names.is_empty() || names.len() > 4 || names.iter().collect::<HashSet<_>>().len() < names.len() {
            problems.push(Problem::new(at, "a unique set has one to four different fields"));
            return;
        }
        let Some(paths) = self.paths(names, at, problems) else { return };
        let defaults = self.object.fields.iter().filter_map(|field| Some((field, field.default.as_ref()?)));
        let mut shares = defaults.filter_map(|(field, default)| shared(&self.object, field, default, &paths));
        if let Some(name) = shares.next() {
            problems.push(not_unique(&name, at.to_owned()));
            return;
        }
        // One that was refused may be tried again.
        self.forget_refused(|unique| unique.paths == paths);
        self.forget_problems(&paths);
        if self.object.unique_set(names).is_some() {
            problems.push(Problem::new(at, format!("[{}] is unique already", names.join(", "))));
        } else if self.has_room(at, problems) {
            let unique = Unique { id: self.next_id(), paths, state, problem: None, twins: Vec::new() };
            self.object.unique.push(unique.clone());
            self.additions.unique.push(unique);
        }
    }

    /// What is being cleared away of an earlier set of these is not wanted any more: it goes, and nothing is told of it.
    pub fn forget_problems(&mut self, paths: &[Path]) -> bool {
        let mut found = false;
        for unique in self.object.unique.iter_mut().chain(&mut self.additions.unique) {
            if unique.state == IndexState::Clearing && unique.problem.is_some() && unique.paths == paths {
                unique.problem = None;
                found = true;
            }
        }
        found
    }

    /// Takes sets out that were given up because records contradict them.
    pub fn forget_refused(&mut self, which: impl Fn(&Unique) -> bool) -> bool {
        let before = self.additions.unique.len();
        let goes = |unique: &Unique| unique.state == IndexState::Refused && which(unique);
        self.object.unique.retain(|unique| !goes(unique));
        self.additions.unique.retain(|unique| !goes(unique));
        self.additions.unique.len() < before
    }

    pub fn add_index(&mut self, name: &str, at: &str, state: IndexState, problems: &mut Problems) {
        let Some(path) = self.paths(&[name.to_owned()], at, problems).and_then(|mut paths| paths.pop())
        else {
            return;
        };
        if self.object.indexes.iter().any(|index| index.path == path && index.state.is_kept()) {
            problems.push(Problem::new(at, format!("`{name}` is indexed already")));
        } else if self.has_room(at, problems) {
            let empties = self.object.path_kind(&path) != Some(Kind::Uuid);
            let index = Index { id: self.next_id(), path, state, empties };
            self.object.indexes.push(index.clone());
            self.additions.indexes.push(index);
        }
    }
}
