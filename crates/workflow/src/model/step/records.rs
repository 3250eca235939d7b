//! The steps that work on records.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Given, Template, one_or_many};

/// Output: `{records, total, index}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchRecords {
    pub object: String,
    /// A saved filter and sort; what is beside it narrows it further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Field paths, `-` in front for descending.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<String>,
    /// A number, or a template that gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Value>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateRecord {
    pub object: String,
    #[serde(default)]
    pub record: Given,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateRecord {
    pub object: String,
    pub record_id: Template,
    pub record: Given,
    /// A number, or a template that gives one; another version in the store is `stale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_unchanged: Option<IfUnchanged>,
}

/// Fields that must hold what they did; others in the store are `stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IfUnchanged {
    /// The record as it was read.
    pub since: Given,
    /// Fields, or parts of them; those that the step writes when there are none.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpsertRecord {
    pub object: String,
    /// One declared unique field set of the object.
    #[serde(rename = "match", with = "one_or_many")]
    pub match_on: Vec<String>,
    pub record: Given,
    /// Fields of `record` that are written only when the record is new.
    #[serde(default, with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub create_only: Vec<String>,
}

/// Output: `{record, outcome}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteRecord {
    pub object: String,
    pub record_id: Template,
    /// A number, or a template that gives one; another version in the store is `stale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<Value>,
}
