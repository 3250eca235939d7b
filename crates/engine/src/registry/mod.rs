//! What a workspace has to run: actions, workflows and webhooks, in memory, complete, and changed one at a time.
pub(crate) mod actions;
pub(crate) mod activation;
pub(crate) mod catalog;
pub(crate) mod compiled;
pub(crate) mod hooks;
pub(crate) mod schema;
pub(crate) mod together;
pub(crate) mod values;
pub(crate) mod workflows;

pub(crate) use actions::ActionVersion;
pub(crate) use compiled::Compiled;

use crate::connections::ConnectionTable;
use crate::core::Ctx;
use crate::error::EngineError;
use crate::tables::{self, registry as rows};
use actions::ActionTable;
use hooks::HookTable;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use stepwell_store::all_rows;
use stepwell_store::keys::KeyReader;
use stepwell_store::{Key, Refused, Shard, Store};
use values::{SecretTable, SettingTable};

/// The registry of one workspace.
#[derive(Default)]
pub(crate) struct Registry {
    actions: RwLock<ActionTable>,
    workflows: RwLock<BTreeMap<String, rows::WorkflowRow>>,
    /// Versions that were compiled, by name and number. A version never changes.
    flows: RwLock<HashMap<(String, u32), Arc<Compiled>>>,
    /// How often a draft was written over: what was read before that is not kept.
    rewritten: AtomicU64,
    hooks: RwLock<Arc<HookTable>>,
    settings: RwLock<Arc<SettingTable>>,
    /// As they are stored: sealed.
    secrets: RwLock<Arc<SecretTable>>,
    connections: RwLock<Arc<ConnectionTable>>,
    /// Held while something is changed, store and memory together.
    pub changing: tokio::sync::Mutex<()>,
}

/// Compiled versions kept; beyond it those that are not active are dropped and compiled again when needed.
const KEPT_FLOWS: usize = 2000;

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Registry {
    pub(crate) fn actions(&self) -> RwLockReadGuard<'_, ActionTable> {
        read(&self.actions)
    }

    pub(crate) fn action_exactly(&self, reference: &str) -> Option<Arc<ActionVersion>> {
        read(&self.actions).exactly(reference).cloned()
    }

    /// Whether a version of an action is this blob.
    pub(crate) fn names_blob(&self, sha256: &str) -> bool {
        read(&self.actions).all().any(|action| action.row.info.sha256 == sha256)
    }

    pub(crate) fn insert_action(&self, action: Arc<ActionVersion>) {
        self.actions.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(action);
    }

    /// One that was not deleted.
    pub(crate) fn workflow(&self, name: &str) -> Option<rows::WorkflowRow> {
        self.workflow_or_what_is_left(name).filter(|row| !row.deleted)
    }

    pub(crate) fn workflow_or_what_is_left(&self, name: &str) -> Option<rows::WorkflowRow> {
        read(&self.workflows).get(name).cloned()
    }

    /// The names of those that were not deleted.
    pub(crate) fn workflow_names(&self) -> Vec<String> {
        let workflows = read(&self.workflows);
        workflows.iter().filter(|(_, row)| !row.deleted).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn workflows(&self) -> RwLockReadGuard<'_, BTreeMap<String, rows::WorkflowRow>> {
        read(&self.workflows)
    }

    /// Names and versions of the active workflows.
    pub(crate) fn active(&self) -> Vec<(String, u32)> {
        self.workflows().iter().filter_map(|(name, row)| Some((name.clone(), row.active?))).collect()
    }

    pub(crate) fn insert_workflow(&self, name: &str, row: rows::WorkflowRow) {
        let mut workflows = self.workflows.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        workflows.insert(name.to_owned(), row);
    }

    pub(crate) fn hooks(&self) -> Arc<HookTable> {
        read(&self.hooks).clone()
    }

    pub(crate) fn set_hooks(&self, hooks: HookTable) {
        *self.hooks.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(hooks);
    }

    pub(crate) fn settings(&self) -> Arc<SettingTable> {
        read(&self.settings).clone()
    }

    pub(crate) fn set_settings(&self, settings: SettingTable) {
        *self.settings.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(settings);
    }

    pub(crate) fn secrets(&self) -> Arc<SecretTable> {
        read(&self.secrets).clone()
    }

    pub(crate) fn set_secrets(&self, secrets: SecretTable) {
        *self.secrets.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(secrets);
    }

    pub(crate) fn connections(&self) -> Arc<ConnectionTable> {
        read(&self.connections).clone()
    }

    pub(crate) fn set_connections(&self, connections: ConnectionTable) {
        *self.connections.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(connections);
    }

    /// A version that is compiled already.
    pub(crate) fn compiled(&self, name: &str, version: u32) -> Option<Arc<Compiled>> {
        read(&self.flows).get(&(name.to_owned(), version)).cloned()
    }

    /// A version, compiled.
    pub(crate) async fn flow(
        &self,
        ctx: &Ctx,
        name: &str,
        version: u32,
    ) -> Result<Arc<Compiled>, EngineError> {
        if let Some(flow) = read(&self.flows).get(&(name.to_owned(), version)) {
            return Ok(flow.clone());
        }
        let rewritten = self.rewritten.load(SeqCst);
        let row = workflows::version(ctx, name, version).await?;
        let flow = Arc::new(compiled::compile(name, version, &row)?);
        let mut flows = self.flows.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if rewritten != self.rewritten.load(SeqCst) {
            return Ok(flow);
        }
        if flows.len() >= KEPT_FLOWS {
            let workflows = read(&self.workflows);
            flows.retain(|(name, version), _| {
                workflows.get(name).is_some_and(|row| row.active == Some(*version))
            });
        }
        flows.insert((name.to_owned(), version), flow.clone());
        Ok(flow)
    }

    /// A draft was written over.
    pub(crate) fn forget_flow(&self, name: &str, version: u32) {
        let mut flows = self.flows.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.rewritten.fetch_add(1, SeqCst);
        flows.remove(&(name.to_owned(), version));
    }

    /// Reads all of it, when the workspace is opened.
    pub(crate) async fn load(&self, ctx: &Ctx) -> Result<(), EngineError> {
        let (store, ws) = (&*ctx.core.ports.store, &ctx.ws);
        let mut actions = ActionTable::default();
        for (key, value) in all_rows(store, ws.shard, rows::actions(ws.id)).await? {
            actions.insert(ActionVersion::new(tables::decode(&key, &value)?));
        }
        *self.actions.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = actions;
        for (key, value) in all_rows(store, ws.shard, rows::workflows(ws.id)).await? {
            self.insert_workflow(&name_in(&key)?, tables::decode(&key, &value)?);
        }
        self.set_settings(SettingTable::of(named(store, ws.shard, tables::settings::all(ws.id)).await?));
        self.set_secrets(named(store, ws.shard, tables::secrets::all(ws.id)).await?);
        self.set_connections(named(store, ws.shard, tables::connections::all(ws.id)).await?);
        hooks::rebuild(ctx).await
    }
}

pub(crate) fn name_in(key: &Key) -> Result<String, Refused> {
    Ok(KeyReader::new(key).and_then(|mut key| key.str())?)
}

/// The rows of a range whose keys end with a name.
async fn named<T: DeserializeOwned>(
    store: &dyn Store,
    shard: Shard,
    keys: Range<Key>,
) -> Result<BTreeMap<String, T>, Refused> {
    let rows = all_rows(store, shard, keys).await?;
    rows.iter().map(|(key, value)| Ok((name_in(key)?, tables::decode(key, value)?))).collect()
}
