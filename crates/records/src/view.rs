//! Views: filters saved under a name, for searches to use.
//!
//! ```text
//! Views | object: u32 | name: str   ->   JSON of [`Stored`]
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, Want, WorkspaceId};

use crate::error::{Problem, RecordsError};
use crate::filter::{Allowed, Filter};
use crate::nearest::nearest;
use crate::problems::{Problems, listing};
use crate::records::Records;
use crate::schema::{Object, ObjectId};

/// Views of one object.
const MAX_VIEWS: usize = 500;

/// A saved filter, with the order that it is usually looked at in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    pub name: String,
    /// The object's name.
    pub object: String,
    pub filter: Filter,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    filter: Filter,
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

impl Records<'_> {
    /// Saves a view, over one of the same name if there is one.
    pub async fn save_view(
        &mut self,
        object: &str,
        name: &str,
        filter: &Value,
        sort: &[String],
    ) -> Result<View, RecordsError> {
        let object = self.object(object)?;
        let mut problems = Problems::default();
        if name.trim() != name || name.is_empty() || name.len() > 100 || name.contains(char::is_control) {
            problems.push(
                Problem::new("name", format!("{} cannot name a view", crate::filter::quoted(name)))
                    .hint("a name has 1 to 100 characters"),
            );
        }
        let under = |problem: crate::filter::FilterProblem| {
            let mut problem = Problem::from(problem);
            let path =
                if problem.path.is_empty() { "filter".into() } else { format!("filter.{}", problem.path) };
            problem.path = path;
            problem
        };
        let filter = match Filter::parse(filter, Allowed::FIELDS) {
            Ok(filter) => {
                problems.extend(filter.check_fields(&object).into_iter().map(under));
                Some(filter)
            }
            Err(found) => {
                problems.extend(found.into_iter().map(under));
                None
            }
        };
        if let Err(problem) = self.check_sort(&object, sort) {
            problems.push(problem);
        }
        let Some(filter) = filter.filter(|_| problems.is_empty()) else {
            return Err(RecordsError::Invalid { object: "view".to_owned(), problems: problems.into_list() });
        };
        let stored = Stored { filter: filter.clone(), sort: sort.to_vec() };
        let bytes = serde_json::to_vec(&stored).map_err(|error| RecordsError::Misuse(error.to_string()))?;
        self.txn.put(key(self.workspace, object.id, name), bytes);
        Ok(View { name: name.to_owned(), object: object.name.clone(), filter, sort: sort.to_vec() })
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

    /// All views of an object, by name.
    pub async fn views(&self, object: &str) -> Result<Vec<View>, RecordsError> {
        let object = self.object(object)?;
        let keys = object_key(self.workspace, object.id).prefix();
        let found = self.txn.read(vec![Want::range(keys, MAX_VIEWS)]).await?;
        (found.rows.iter().flatten())
            .map(|(key, bytes)| {
                let mut parts =
                    stepwell_store::keys::KeyReader::new(key).map_err(stepwell_store::Refused::from)?;
                parts.u32().map_err(stepwell_store::Refused::from)?;
                let name = parts.str().map_err(stepwell_store::Refused::from)?;
                view(&object, &name, bytes)
            })
            .collect()
    }
}
