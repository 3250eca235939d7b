//! A schema as somebody wants it to be: what a schema file says. What is not named stays as it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::NewField;

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
