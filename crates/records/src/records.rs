//! The records of one workspace within one transaction: the handle through which everything else is reached.

use std::sync::Arc;

use serde_json::Value;
use stepwell_store::{Txn, Value as Bytes, Want, WorkspaceId};
use uuid::Uuid;

use crate::error::{Problem, RecordsError};
use crate::row::{self, Life, Row};
use crate::schema::{Object, Schema};

/// The records of one workspace, over a transaction that its caller commits.
///
/// Writes become part of the transaction, and the commit rests on what they decided by: the schema, the record's
/// version, unique keys, the records that relations name. Reads and searches see the transaction's own writes and are
/// observations: the commit does not rest on them.
pub struct Records<'t> {
    pub(crate) txn: &'t mut Txn,
    pub(crate) workspace: WorkspaceId,
    pub(crate) schema: Arc<Schema>,
}

impl<'t> Records<'t> {
    /// Reads the workspace's schema and rests on it.
    pub async fn open(txn: &'t mut Txn, workspace: WorkspaceId) -> Result<Records<'t>, RecordsError> {
        let schema = Schema::load(txn, workspace).await?;
        Ok(Records { txn, workspace, schema })
    }

    /// With a schema that was [loaded](Schema::load) in the same transaction before.
    pub fn with_schema(txn: &'t mut Txn, workspace: WorkspaceId, schema: Arc<Schema>) -> Records<'t> {
        Records { txn, workspace, schema }
    }

    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The transaction underneath, for the caller's own rows.
    pub fn txn(&mut self) -> &mut Txn {
        self.txn
    }

    pub(crate) fn object(&self, name: &str) -> Result<Arc<Object>, RecordsError> {
        self.schema.object(name).cloned()
    }

    /// A record that is not deleted, as an observation.
    pub async fn get(&self, object: &str, id: &str) -> Result<Value, RecordsError> {
        let object = self.object(object)?;
        let id = parse_id(&object, id)?;
        match self.observe(&object, Life::Live, id).await? {
            Some(row) => Ok(row.into_flat(&object)),
            None => {
                let deleted = self.observe(&object, Life::Deleted, id).await?.is_some();
                Err(RecordsError::NotFound { object: object.name.clone(), id, deleted })
            }
        }
    }

    /// Several records in one trip, in the order of their ids given; those that do not exist are left out.
    pub async fn get_many(&self, object: &str, ids: &[Uuid]) -> Result<Vec<Value>, RecordsError> {
        let object = self.object(object)?;
        let rows = self.observe_many(&object, Life::Live, ids).await?;
        Ok(rows.into_iter().flatten().map(|row| row.into_flat(&object)).collect())
    }

    async fn observe(&self, object: &Object, life: Life, id: Uuid) -> Result<Option<Row>, RecordsError> {
        Ok(self.observe_many(object, life, &[id]).await?.pop().flatten())
    }

    pub(crate) async fn observe_many(
        &self,
        object: &Object,
        life: Life,
        ids: &[Uuid],
    ) -> Result<Vec<Option<Row>>, RecordsError> {
        let stored = self.stored_many(object, life, ids).await?;
        (ids.iter().zip(stored))
            .map(|(id, value)| value.map(|value| Row::decode(*id, &value)).transpose())
            .collect()
    }

    /// As [`observe_many`](Self::observe_many), for those who read them one by one: a row may take many times the
    /// memory of its bytes.
    pub(crate) async fn stored_many(
        &self,
        object: &Object,
        life: Life,
        ids: &[Uuid],
    ) -> Result<Vec<Option<Bytes>>, RecordsError> {
        let key = |id: &Uuid| row::key(self.workspace, object.id, life, *id);
        let view = self.txn.read(ids.iter().map(|id| Want::Key(key(id))).collect()).await?;
        Ok(view.rows.into_iter().map(|rows| rows.into_iter().next().map(|(_, value)| value)).collect())
    }

    /// A record that the commit rests on.
    pub(crate) async fn load(
        &mut self,
        object: &Object,
        life: Life,
        id: Uuid,
    ) -> Result<Option<Row>, RecordsError> {
        let key = row::key(self.workspace, object.id, life, id);
        let value = self.txn.get(&key).await?;
        value.map(|value| Row::decode(id, &value)).transpose()
    }
}

/// The id of a record, from text.
pub(crate) fn parse_id(object: &Object, text: &str) -> Result<Uuid, RecordsError> {
    Uuid::try_parse(text.trim()).map_err(|_| RecordsError::InvalidId {
        object: object.name.clone(),
        problem: Problem::new("id", format!("{} is not an id", crate::filter::quoted(text)))
            .hint("write the `id` of a record, such as {{ step.record.id }}"),
    })
}
