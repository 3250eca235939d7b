//! Records and objects of a workspace, for the API. Workflows' own writes go through a run's burst instead.
use crate::core::Ctx;
use crate::records::Write;
use crate::{EngineError, Problem, bulk, records, schemas};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
pub use stepwell_records::schema::Step as SchemaChange;
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

    /// Many writes of one kind, with what came of each.
    pub async fn bulk(&self, object: &str, write: BulkWrite) -> Result<BulkResult, EngineError> {
        bulk::write(&self.ctx, self.origin(), object, write).await
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
        schemas::list(&self.ctx).await
    }

    pub async fn get(&self, name: &str) -> Result<Value, EngineError> {
        schemas::get(&self.ctx, name).await
    }

    pub async fn create(&self, object: Value) -> Result<Value, EngineError> {
        schemas::create_object(&self.ctx, object).await
    }

    pub async fn add_field(&self, object: &str, field: Value) -> Result<Value, EngineError> {
        schemas::add_field(&self.ctx, object, field).await
    }

    /// What bringing the workspace to a schema would change: a file's text, or what it says; none is that nothing changes.
    /// `workflows` are texts by name that become active with it.
    pub async fn plan(
        &self,
        schema: Option<Value>,
        workflows: &BTreeMap<String, String>,
    ) -> Result<SchemaPlan, EngineError> {
        schemas::plan(&self.ctx, schemas::Given::new(schema)?, workflows).await
    }

    /// Brings the workspace to a schema, and waits so long for what is built in the background.
    pub async fn apply(
        &self,
        schema: Option<Value>,
        workflows: &BTreeMap<String, String>,
        wait: Option<Duration>,
    ) -> Result<SchemaApplied, EngineError> {
        schemas::apply(&self.ctx, schemas::Given::new(schema)?, workflows, wait).await
    }

    /// The same for what a program has made of a smaller wish.
    pub async fn change(&self, schema: Value, wait: Option<Duration>) -> Result<SchemaApplied, EngineError> {
        schemas::apply(&self.ctx, schemas::Given::made(schema)?, &BTreeMap::new(), wait).await
    }
}

/// What would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaPlan {
    pub changes: Vec<SchemaChange>,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaApplied {
    pub changes: Vec<SchemaChange>,
    /// Workflows that came with it.
    #[serde(default)]
    pub activated: Vec<String>,
    /// Whether unique sets or indexes are still being built.
    pub building: bool,
    /// Unique sets that records contradict, with the records, in words.
    pub refused: Vec<String>,
    /// The same for programs.
    #[serde(default)]
    pub conflicts: Vec<SetConflict>,
}

/// A unique set that records contradict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetConflict {
    pub object: String,
    pub fields: Vec<String>,
    pub message: String,
    /// The first records that have the same values, two by two.
    pub records: Vec<[String; 2]>,
}

/// Many writes of one kind.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkWrite {
    pub action: BulkAction,
    /// Fields; with `id`, and `if_version` if wanted, for all but `create` and `upsert`.
    pub records: Vec<Value>,
    /// Of an upsert: one unique set.
    #[serde(default, rename = "match")]
    pub match_on: Vec<String>,
    /// Of an upsert: fields that only a new record gets.
    #[serde(default)]
    pub create_only: Vec<String>,
    #[serde(default)]
    pub events: BulkEvents,
    /// All of them or none, in one transaction.
    #[serde(default)]
    pub atomic: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    Create,
    Update,
    Upsert,
    Delete,
    Restore,
}

/// Whether workflows and the feed hear of the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkEvents {
    #[default]
    Emit,
    None,
}

/// What came of each record, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkResult {
    pub results: Vec<BulkRow>,
    pub created: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub deleted: usize,
    pub restored: usize,
    pub failed: usize,
    /// So many the store would not take any more when it came to them.
    #[serde(default)]
    pub not_written: usize,
    /// Of so many nobody knows yet whether they are written.
    #[serde(default)]
    pub unknown: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkRow {
    pub index: usize,
    /// `created`, `updated`, `unchanged`, `deleted`, `restored` or `failed`; `not_written` where the store took nothing
    /// any more when it came to this one; `unknown` where it failed while it wrote, and cannot tell yet.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

impl BulkResult {
    pub(crate) fn of(results: Vec<BulkRow>) -> Self {
        let count = |outcome: &str| results.iter().filter(|row| row.outcome == outcome).count();
        Self {
            created: count("created"),
            updated: count("updated"),
            unchanged: count("unchanged"),
            deleted: count("deleted"),
            restored: count("restored"),
            failed: count("failed"),
            not_written: count("not_written"),
            unknown: count("unknown"),
            results,
        }
    }
}
