//! A workspace's settings and secrets in memory: complete, small, and the secrets still sealed.
use crate::tables::secrets::SecretRow;
use crate::tables::settings::SettingRow;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The settings, and the object of them that runs are given.
#[derive(Default)]
pub(crate) struct SettingTable {
    rows: BTreeMap<String, SettingRow>,
    object: Arc<Value>,
}

impl SettingTable {
    pub(crate) fn of(rows: BTreeMap<String, SettingRow>) -> Self {
        let values = rows.iter().map(|(name, row)| (name.clone(), row.value.clone()));
        let object = Arc::new(Value::Object(values.collect::<Map<String, Value>>()));
        Self { rows, object }
    }

    pub(crate) fn rows(&self) -> &BTreeMap<String, SettingRow> {
        &self.rows
    }

    /// What a run that begins now sees as `settings`.
    pub(crate) fn object(&self) -> Arc<Value> {
        self.object.clone()
    }

    /// With one more, or another value for one.
    pub(crate) fn with(&self, name: &str, row: SettingRow) -> Self {
        let mut rows = self.rows.clone();
        rows.insert(name.to_owned(), row);
        Self::of(rows)
    }

    pub(crate) fn without(&self, name: &str) -> Self {
        let mut rows = self.rows.clone();
        rows.remove(name);
        Self::of(rows)
    }
}

/// Secrets by name, as they are stored.
pub(crate) type SecretTable = BTreeMap<String, SecretRow>;
