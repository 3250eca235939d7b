//! Views: filters saved under a name, for searches to use.
//!
//! ```text
//! Views | object: u32 | name: str   ->   JSON of [`Stored`]
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, Want, WorkspaceId};

use crate::error::{Problem, RecordsError};
use crate::filter::{Allowed, Filter};
use crate::nearest::nearest;
use crate::problems::{Problems, clipped, listing};
use crate::records::Records;
use crate::schema::{Object, ObjectId, WantedView};

/// Views of a workspace.
const MAX_VIEWS: usize = 500;

/// A saved filter, with the order that it is usually looked at in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    pub name: String,
    /// The object's name.
    pub object: String,
    /// Every record without one.
    pub filter: Option<Filter>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default)]
    filter: Option<Filter>,
    #[serde(default)]
    sort: Vec<String>,
}

fn object_key(workspace: WorkspaceId, object: ObjectId) -> KeyBuilder {
    KeyBuilder::new(Space::Views, workspace).u32(object.0)
}

fn key(workspace: WorkspaceId, object: ObjectId, name: &str) -> Key {
    object_key(workspace, object).str(name).build()
}

fn view(object: &Object, name: &str, bytes: &[u8]) -> Result<View, RecordsError> {
    let Stored { filter, sort } = serde_json::from_slice(bytes)
        .map_err(|error| RecordsError::Damaged(format!("the view `{name}` of {}: {error}", object.name)))?;
    Ok(View { name: name.to_owned(), object: object.name.clone(), filter, sort })
}

fn name_in(key: &Key) -> Result<String, RecordsError> {
    let mut parts = KeyReader::new(key).map_err(Refused::from)?;
    parts.u32().map_err(Refused::from)?;
    Ok(parts.str().map_err(Refused::from)?)
}

/// The same with another name for a field.
fn renamed_in(stored: Stored, from: &str, to: &str) -> Result<Stored, RecordsError> {
    fn name(text: &mut String, from: &str, to: &str) {
        if let Some(rest) = text.strip_prefix(from)
            && (rest.is_empty() || rest.starts_with('.'))
        {
            *text = format!("{to}{rest}");
        }
    }
    fn walk(value: &mut Value, from: &str, to: &str) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, from, to)),
            Value::Object(members) => {
                if let Some(Value::String(field)) = members.get_mut("field") {
                    name(field, from, to);
                    return;
                }
                members.values_mut().for_each(|member| walk(member, from, to));
            }
            _ => {}
        }
    }
    let misuse = |error: serde_json::Error| RecordsError::Misuse(error.to_string());
    let mut filter = serde_json::to_value(&stored.filter).map_err(misuse)?;
    walk(&mut filter, from, to);
    let mut sort = stored.sort;
    for path in &mut sort {
        let sign = path.len() - path.trim_start_matches(['-', '+']).len();
        let mut bare = path.split_off(sign);
        name(&mut bare, from, to);
        path.push_str(&bare);
    }
    Ok(Stored { filter: serde_json::from_value(filter).map_err(misuse)?, sort })
}

impl Records<'_> {
    /// Saves a view, over one of the same name if there is one.
    pub async fn save_view(
        &mut self,
        object: &str,
        name: &str,
        filter: Option<&Value>,
        sort: &[String],
    ) -> Result<View, RecordsError> {
        let object = self.object(object)?;
        let mut problems = Problems::default();
        let filter = self.checked_view(&object, name, filter, sort, &mut problems);
        let all = self.view_names().await?;
        let known = all.get(&object.name).is_some_and(|names| names.iter().any(|known| known == name));
        if !known && all.values().map(Vec::len).sum::<usize>() >= MAX_VIEWS {
            problems.push(Problem::new("name", format!("a workspace has at most {MAX_VIEWS} views")));
        }
        if !problems.is_empty() {
            return Err(RecordsError::Invalid { object: "view".to_owned(), problems: problems.into_list() });
        }
        let stored = Stored { filter: filter.clone(), sort: sort.to_vec() };
        let bytes = serde_json::to_vec(&stored).map_err(|error| RecordsError::Misuse(error.to_string()))?;
        self.txn.put(key(self.workspace, object.id, name), bytes);
        Ok(View { name: name.to_owned(), object: object.name.clone(), filter, sort: sort.to_vec() })
    }

    /// What is wrong with a view of this object; its filter, as far as it can be read.
    pub(crate) fn checked_view(
        &self,
        object: &Object,
        name: &str,
        filter: Option<&Value>,
        sort: &[String],
        problems: &mut Problems,
    ) -> Option<Filter> {
        let is_path = matches!(name, "." | "..");
        if name.trim() != name
            || name.is_empty()
            || name.len() > 100
            || name.contains(char::is_control)
            || is_path
        {
            problems.push(
                Problem::new("name", format!("{} cannot name a view", crate::filter::quoted(name))).hint(
                    match is_path {
                        true => "in an address it would name another place",
                        false => "a name has 1 to 100 bytes, no line breaks, and no blanks around it",
                    },
                ),
            );
        }
        let under = |problem: crate::filter::FilterProblem| {
            let mut problem = Problem::from(problem);
            let path =
                if problem.path.is_empty() { "filter".into() } else { format!("filter.{}", problem.path) };
            problem.path = path;
            problem
        };
        let parsed = filter.map(|filter| Filter::parse(filter, Allowed::FIELDS)).transpose();
        let filter = parsed.unwrap_or_else(|found| {
            problems.extend(found.into_iter().map(under));
            None
        });
        if let Some(filter) = &filter {
            problems.extend(filter.check_fields(object).into_iter().map(under));
        }
        if let Err(problem) = self.check_sort(object, sort) {
            problems.push(problem);
        }
        filter
    }

    /// What saving a view would change, in words; nothing when it is so already.
    pub(crate) async fn view_changes(
        &self,
        object: &Object,
        wanted: &WantedView,
    ) -> Result<Option<String>, RecordsError> {
        let found = self.txn.read(vec![Want::Key(key(self.workspace, object.id, &wanted.name))]).await?;
        let Some((_, bytes)) = found.rows.iter().flatten().next() else {
            return Ok(Some(format!("save the view `{}` of {}", clipped(&wanted.name), object.name)));
        };
        let saved = view(object, &wanted.name, bytes)?;
        let filter = wanted.filter.as_ref().map(|filter| Filter::parse(filter, Allowed::FIELDS));
        let same = filter.transpose().is_ok_and(|filter| filter == saved.filter);
        let about = format!("change the view `{}` of {}", clipped(&wanted.name), object.name);
        Ok((!same || wanted.sort != saved.sort).then_some(about))
    }

    /// Tells the views that would name fields which their object does not have.
    pub(crate) async fn views_fit(
        &mut self,
        object: &Object,
        renamed: &[(ObjectId, String, String)],
        problems: &mut Problems,
    ) -> Result<(), RecordsError> {
        for (name, stored) in self.stored_views(object.id).await? {
            let mut stored = stored;
            for (_, from, to) in renamed.iter().filter(|(id, ..)| *id == object.id) {
                stored = renamed_in(stored, from, to)?;
            }
            let unfit = stored.filter.iter().flat_map(|filter| filter.check_fields(object));
            let unfit = unfit.map(|problem| problem.message);
            let unsorted = self.check_sort(object, &stored.sort).err().map(|problem| problem.message);
            if let Some(why) = unfit.chain(unsorted).next() {
                let message =
                    format!("the view `{}` of {} would not fit: {why}", clipped(&name), object.name);
                problems.push(Problem::new("", message).hint("change the view first, or delete it"));
            }
        }
        Ok(())
    }

    /// The commit rests on them: none is saved meanwhile.
    async fn stored_views(&mut self, object: ObjectId) -> Result<Vec<(String, Stored)>, RecordsError> {
        let keys = object_key(self.workspace, object).prefix();
        let found = self.txn.range(keys, usize::MAX, false).await?;
        (found.iter())
            .map(|(key, bytes)| {
                let name = name_in(key)?;
                let stored = serde_json::from_slice(bytes)
                    .map_err(|error| RecordsError::Damaged(format!("the view `{name}`: {error}")))?;
                Ok((name, stored))
            })
            .collect()
    }

    /// A field has another name: the views that name it follow.
    pub(crate) async fn rename_in_views(
        &mut self,
        object: ObjectId,
        from: &str,
        to: &str,
    ) -> Result<(), RecordsError> {
        for (name, stored) in self.stored_views(object).await? {
            let after = renamed_in(stored, from, to)?;
            let bytes =
                serde_json::to_vec(&after).map_err(|error| RecordsError::Misuse(error.to_string()))?;
            self.txn.put(key(self.workspace, object, &name), bytes);
        }
        Ok(())
    }

    pub(crate) async fn remove_views(&mut self, object: ObjectId) -> Result<(), RecordsError> {
        for (name, _) in self.stored_views(object).await? {
            self.txn.delete(key(self.workspace, object, &name));
        }
        Ok(())
    }

    /// Gives a view another name; one that is taken is refused.
    pub async fn rename_view(&mut self, object: &str, name: &str, to: &str) -> Result<View, RecordsError> {
        let view = self.view(object, name).await?;
        let known = self.object(object)?;
        if self.txn.get(&key(self.workspace, known.id, to)).await?.is_some() {
            let problem = Problem::new("name", format!("there is a view `{}` already", clipped(to)));
            return Err(RecordsError::Invalid { object: "view".to_owned(), problems: vec![problem] });
        }
        let filter = view.filter.as_ref().map(serde_json::to_value).transpose();
        let filter = filter.map_err(|error| RecordsError::Misuse(error.to_string()))?;
        let saved = self.save_view(object, to, filter.as_ref(), &view.sort).await?;
        self.delete_view(object, name).await?;
        Ok(saved)
    }

    /// Deletes a view; false if there was none.
    pub async fn delete_view(&mut self, object: &str, name: &str) -> Result<bool, RecordsError> {
        let object = self.object(object)?;
        let key = key(self.workspace, object.id, name);
        let existed = self.txn.get(&key).await?.is_some();
        if existed {
            self.txn.delete(key);
        }
        Ok(existed)
    }

    /// A view by its name, as an observation.
    pub async fn view(&self, object: &str, name: &str) -> Result<View, RecordsError> {
        let object = self.object(object)?;
        let key = key(self.workspace, object.id, name);
        let found = self.txn.read(vec![Want::Key(key)]).await?;
        if let Some((_, bytes)) = found.rows.iter().flatten().next() {
            return view(&object, name, bytes);
        }
        let views = self.views(&object.name).await?;
        let names = views.iter().map(|view| view.name.as_str());
        let hint = match nearest(name, names.clone()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if views.is_empty() => Some("no view is saved yet".to_owned()),
            None => Some(format!("views are {}", listing(names))),
        };
        Err(RecordsError::UnknownView { object: object.name.clone(), name: name.to_owned(), hint })
    }

    /// The names of all views, by object.
    pub async fn view_names(&self) -> Result<BTreeMap<String, Vec<String>>, RecordsError> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let keys = KeyBuilder::new(Space::Views, self.workspace).prefix();
        let found = self.txn.read(vec![Want::range(keys, MAX_VIEWS)]).await?;
        for (key, _) in found.rows.iter().flatten() {
            let mut parts = KeyReader::new(key).map_err(Refused::from)?;
            let id = ObjectId(parts.u32().map_err(Refused::from)?);
            let name = parts.str().map_err(Refused::from)?;
            if let Some(object) = self.schema.object_by_id(id) {
                names.entry(object.name.clone()).or_default().push(name);
            }
        }
        Ok(names)
    }

    /// All views of an object, by name.
    pub async fn views(&self, object: &str) -> Result<Vec<View>, RecordsError> {
        let object = self.object(object)?;
        let keys = object_key(self.workspace, object.id).prefix();
        let found = self.txn.read(vec![Want::range(keys, MAX_VIEWS)]).await?;
        (found.rows.iter().flatten()).map(|(key, bytes)| view(&object, &name_in(key)?, bytes)).collect()
    }
}
