//! Records and objects of a workspace, for the API. Workflows' own writes go through a run's burst instead.
use crate::core::Ctx;
use crate::records::Write;
use crate::{EngineError, records};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use stepwell_records::{Origin, Upsert};

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
    /// `created`, `updated`, `unchanged`, `deleted` or `restored`.
    pub outcome: String,
}

/// The records of one workspace.
#[derive(Clone)]
pub struct Records {
    pub(crate) ctx: Ctx,
    /// Who writes, if it is not a person at this machine.
    pub(crate) key: Option<Arc<str>>,
}

impl Records {
    fn origin(&self) -> Origin {
        match &self.key {
            Some(key) => {
                Origin { by: "api_key".into(), api_key: Some((**key).to_owned()), ..Origin::default() }
            }
            None => Origin { by: "user".into(), ..Origin::default() },
        }
    }

    pub async fn list(&self, object: &str, query: RecordQuery) -> Result<RecordPage, EngineError> {
        records::list(&self.ctx, object, query).await
    }

    pub async fn get(&self, object: &str, id: &str) -> Result<Value, EngineError> {
        records::get(&self.ctx, object, id).await
    }

    pub async fn create(
        &self,
        object: &str,
        fields: Map<String, Value>,
    ) -> Result<RecordWritten, EngineError> {
        records::write(&self.ctx, self.origin(), object, Write::Create { fields: &fields }).await
    }

    pub async fn update(
        &self,
        object: &str,
        id: &str,
        fields: Map<String, Value>,
        if_version: Option<u64>,
    ) -> Result<RecordWritten, EngineError> {
        records::write(&self.ctx, self.origin(), object, Write::Update { id, fields: &fields, if_version })
            .await
    }

    pub async fn delete(
        &self,
        object: &str,
        id: &str,
        if_version: Option<u64>,
    ) -> Result<RecordWritten, EngineError> {
        records::write(&self.ctx, self.origin(), object, Write::Delete { id, if_version }).await
    }

    /// Brings a deleted record back; `unique_conflict` when another has taken its place in a unique set.
    pub async fn restore(
        &self,
        object: &str,
        id: &str,
        if_version: Option<u64>,
    ) -> Result<RecordWritten, EngineError> {
        records::write(&self.ctx, self.origin(), object, Write::Restore { id, if_version }).await
    }

    /// `match_on` names one unique field set of the object.
    pub async fn upsert(
        &self,
        object: &str,
        match_on: &[String],
        fields: Map<String, Value>,
        create_only: &[String],
    ) -> Result<RecordWritten, EngineError> {
        let upsert = Upsert { match_on, create_only, if_version: None };
        records::write(&self.ctx, self.origin(), object, Write::Upsert { fields: &fields, upsert }).await
    }
}

/// The objects of one workspace: standard ones and its own.
#[derive(Clone)]
pub struct Objects {
    pub(crate) ctx: Ctx,
}

impl Objects {
    /// Each as JSON: name, label, fields, unique sets.
    pub async fn list(&self) -> Result<Vec<Value>, EngineError> {
        let schema = records::schema(&self.ctx).await?;
        Ok(schema.objects().map(|object| schema.describe(object)).collect())
    }

    pub async fn get(&self, name: &str) -> Result<Value, EngineError> {
        let schema = records::schema(&self.ctx).await?;
        let object = schema.object(name)?;
        Ok(schema.describe(object))
    }

    pub async fn create(&self, object: Value) -> Result<Value, EngineError> {
        records::create_object(&self.ctx, object).await
    }

    pub async fn add_field(&self, object: &str, field: Value) -> Result<Value, EngineError> {
        records::add_field(&self.ctx, object, field).await
    }
}
