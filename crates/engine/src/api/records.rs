//! Records and objects of a workspace, for the API. Workflows' own writes go through a run's burst instead.
use crate::EngineError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordQuery {
    /// A filter of the one filter language; all records when absent.
    pub filter: Option<Value>,
    /// Field paths, `-` in front for descending.
    pub sort: Vec<String>,
    /// 50 when absent, at most 500.
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordPage {
    /// Flat: `id`, the fields, `createdAt`, `updatedAt`, `version`.
    pub records: Vec<Value>,
    pub next_cursor: Option<String>,
    pub total: u64,
    /// Counting stops at 1,000.
    pub total_is_exact: bool,
    /// The index that was used, if one was.
    pub index: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordWritten {
    pub record: Value,
    /// `created`, `updated`, `unchanged` or `deleted`.
    pub outcome: String,
}

/// The records of one workspace.
#[derive(Clone)]
pub struct Records {}

impl Records {
    pub async fn list(&self, _object: &str, _query: RecordQuery) -> Result<RecordPage, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn get(&self, _object: &str, _id: &str) -> Result<Value, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn create(
        &self,
        _object: &str,
        _fields: Map<String, Value>,
    ) -> Result<RecordWritten, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn update(
        &self,
        _object: &str,
        _id: &str,
        _fields: Map<String, Value>,
        _if_version: Option<u64>,
    ) -> Result<RecordWritten, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn delete(
        &self,
        _object: &str,
        _id: &str,
        _if_version: Option<u64>,
    ) -> Result<RecordWritten, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    /// `match_on` names one unique field set of the object.
    pub async fn upsert(
        &self,
        _object: &str,
        _match_on: &[String],
        _fields: Map<String, Value>,
        _create_only: &[String],
    ) -> Result<RecordWritten, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }
}

/// The objects of one workspace: standard ones and its own.
#[derive(Clone)]
pub struct Objects {}

impl Objects {
    /// Each as JSON: name, label, fields, unique sets.
    pub async fn list(&self) -> Result<Vec<Value>, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn get(&self, _name: &str) -> Result<Value, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn create(&self, _object: Value) -> Result<Value, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }

    pub async fn add_field(&self, _object: &str, _field: Value) -> Result<Value, EngineError> {
        Err(EngineError::unavailable("the engine is not there yet"))
    }
}
