//! What all handles share: the ports, the workspaces, the counters, and how store refusals read to callers.
use crate::api::KeyInfo;
use crate::concurrency::mend::Mending;
use crate::connections::Gates;
use crate::error::{EngineError, ErrorKind, Problem};
use crate::events::Dispatcher;
use crate::feed::Listening;
use crate::hooks::deliveries::Deliveries;
use crate::hooks::room::Room;
use crate::id::{IdMaker, RunId};
use crate::indexer::Indexer;
use crate::pace::Lane;
use crate::ports::Ports;
use crate::registry::Registry;
use crate::retention::Kept;
use crate::schedule::Schedule;
use crate::secrets::Sealer;
use crate::state::StateCache;
use crate::stats::Counters;
use crate::steps::records::SchemaCache;
use crate::timers::Timers;
use crate::timetables::Timetables;
use crate::waiters::Waiters;
use crate::{EngineConfig, driver};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use stepwell_records::RecordsError;
use stepwell_store::{Log, Refused, Shard, Tx, WorkspaceId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One engine.
pub(crate) struct Core {
    pub config: EngineConfig,
    pub ports: Ports,
    pub ids: IdMaker,
    pub stats: Counters,
    pub timers: Timers,
    /// Opens and seals secrets; there once a secret was stored.
    pub sealer: tokio::sync::OnceCell<Sealer>,
    /// By name. Small and complete: every workspace is loaded when the engine opens.
    pub workspaces: RwLock<BTreeMap<String, Arc<WorkspaceCore>>>,
    /// Held while a workspace is made.
    pub creating: tokio::sync::Mutex<()>,
    /// By the hash of the secret, revoked ones included.
    pub api_keys: RwLock<HashMap<[u8; 32], KeyInfo>>,
    /// For templates that take long.
    pub lane: Lane,
    /// For bodies of webhooks.
    pub room: Room,
    /// Who listens to events of any workspace.
    pub listening: Listening,
    /// Who waits for a webhook's result, of all workspaces.
    pub callers: Semaphore,
    pub tasks: TaskTracker,
    /// Cancelled when nobody is to be kept waiting for a run any more.
    pub leaving: CancellationToken,
    /// Cancelled when the engine closes.
    pub closing: CancellationToken,
}

/// One workspace.
pub(crate) struct WorkspaceCore {
    pub id: WorkspaceId,
    pub name: String,
    pub shard: Shard,
    pub log: Log,
    pub schedule: Schedule,
    pub waiters: Arc<Waiters>,
    /// Who waits for a webhook's result.
    pub callers: Semaphore,
    pub registry: Registry,
    pub events: Dispatcher,
    pub timetables: Timetables,
    pub schema: SchemaCache,
    pub states: StateCache,
    /// Where requests through connections wait for their turn.
    pub gates: Gates,
    /// Lines of runs that count together, where these are mended.
    pub mending: Mending,
    pub kept: Kept,
    pub deliveries: Deliveries,
    pub indexer: Indexer,
    /// Who listens to its events.
    pub listening: Listening,
}

/// An engine and one of its workspaces: what most code works in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ctx {
    pub core: Arc<Core>,
    pub ws: Arc<WorkspaceCore>,
}

/// For how long a stamp is rested on: the store knows for ten seconds what was written since, and an older one would only
/// look like a conflict.
pub(crate) const TRUST_STAMPS_FOR: Duration = Duration::from_secs(5);

/// How long whoever could not be served by the store waits before it tries again.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Whether the store may take the same thing later.
pub(crate) fn worth_waiting(refused: &Refused) -> bool {
    matches!(
        refused,
        Refused::Conflict { .. } | Refused::NotOwner(_) | Refused::Unavailable(_) | Refused::Full(_)
    )
}

/// Work of one of many: what does not come right by waiting is its own trouble, and a panic, which is a defect of
/// ours, ends it alone. The inner error says why.
pub(crate) async fn alone<T>(work: BoxFuture<'_, Result<T, Refused>>) -> Result<Result<T, String>, Refused> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(done)) => Ok(Ok(done)),
        Ok(Err(refused)) if worth_waiting(&refused) => Err(refused),
        Ok(Err(refused)) => Ok(Err(refused.to_string())),
        Err(_) => Ok(Err("it panicked; the log has the place".to_owned())),
    }
}

/// Keeps up a task that goes on until the engine closes: after a panic it begins anew.
pub(crate) async fn keep_up(core: Arc<Core>, what: &str, task: impl Fn() -> BoxFuture<'static, ()>) {
    while AssertUnwindSafe(task()).catch_unwind().await.is_err() {
        tracing::error!("{what} panicked, and begins anew");
        tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            () = core.ports.clock.sleep(STORE_PAUSE) => {}
        }
    }
}

impl Ctx {
    pub(crate) fn now_ms(&self) -> i64 {
        self.core.ports.clock.now().as_millisecond()
    }

    /// Waits before a store that could not serve is tried again; false when the engine closes.
    pub(crate) async fn pause_for_store(&self) -> bool {
        tokio::select! {
            biased;
            () = self.core.closing.cancelled() => false,
            () = self.core.ports.clock.sleep(STORE_PAUSE) => true,
        }
    }

    pub(crate) fn new_run_id(&self) -> RunId {
        self.core.ids.next(&*self.core.ports.clock, &*self.core.ports.random)
    }

    /// Something was written to the run of that workflow: whoever drives it looks.
    pub(crate) fn wake(&self, run: RunId, workflow: &str) {
        let turns = self.ws.schedule.wake(run, workflow);
        driver::start_all(self, turns);
    }

    pub(crate) fn wake_at_once(&self, run: RunId, workflow: &str) {
        let turns = self.ws.schedule.wake_at_once(run, workflow);
        driver::start_all(self, turns);
    }

    /// Only for what belongs to an open engine.
    pub(crate) fn check_open(&self) -> Result<(), EngineError> {
        if self.core.closing.is_cancelled() {
            return Err(EngineError::unavailable("the engine is closing"));
        }
        Ok(())
    }
}

/// At so many looks in a row a store is away before who writes many things says of what is under way that nobody
/// knows whether it is written.
pub(crate) const AWAY: usize = 4;

impl Core {
    /// Whether the store answers at the moment.
    pub(crate) async fn healthy(&self) -> Result<(), EngineError> {
        if self.closing.is_cancelled() {
            return Err(EngineError::unavailable("the engine is closing"));
        }
        self.ports.store.read(WorkspaceId::NAMES.shard(), Vec::new()).await?;
        Ok(())
    }

    /// Answers when the store was looked at so many times in a row, a second apart, and could not be read, or refused to
    /// commit nothing at all. What it had under way when it failed is written or not, and it answers when it knows; that
    /// may be when somebody has made room on a disk.
    pub(crate) async fn store_is_away(&self, looks: usize) {
        let mut away = 0;
        while away < looks {
            self.ports.clock.sleep(STORE_PAUSE).await;
            let is_away = match self.healthy().await {
                Err(error) => error.kind == ErrorKind::Unavailable,
                Ok(()) => self.refuses_nothing_at_all().await,
            };
            away = if is_away { away + 1 } else { 0 };
        }
    }

    /// Whether a commit that writes nothing is refused: even a full disk takes one.
    async fn refuses_nothing_at_all(&self) -> bool {
        let home = WorkspaceId::NAMES.shard();
        let nothing = Tx { home, rests_on: Vec::new(), writes: Vec::new(), append: Vec::new() };
        tokio::select! {
            biased;
            stamp = self.ports.store.commit(nothing) => stamp.is_err(),
            // It may only be slow.
            () = self.ports.clock.sleep(STORE_PAUSE) => false,
        }
    }

    pub(crate) fn workspace(self: &Arc<Self>, name: &str) -> Option<Ctx> {
        let workspaces = self.workspaces.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        workspaces.get(name).map(|ws| Ctx { core: self.clone(), ws: ws.clone() })
    }

    /// All of them, in the order of their names.
    pub(crate) fn all_workspaces(self: &Arc<Self>) -> Vec<Ctx> {
        let workspaces = self.workspaces.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        workspaces.values().map(|ws| Ctx { core: self.clone(), ws: ws.clone() }).collect()
    }

    pub(crate) fn workspace_by_id(self: &Arc<Self>, id: WorkspaceId) -> Option<Ctx> {
        let workspaces = self.workspaces.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let ws = workspaces.values().find(|ws| ws.id == id)?;
        Some(Ctx { core: self.clone(), ws: ws.clone() })
    }
}

impl From<RecordsError> for EngineError {
    fn from(error: RecordsError) -> Self {
        let problems = error.problems().iter().map(|problem| Problem {
            code: error.code().to_owned(),
            message: problem.message.clone(),
            path: Some(problem.path.clone()),
            hint: problem.hint.clone(),
            ..Problem::default()
        });
        let problems: Vec<Problem> = problems.collect();
        let (code, message) = (error.code(), error.to_string());
        let kind = match error {
            RecordsError::Store(refused) => return refused.into(),
            RecordsError::Damaged(why) => return Refused::Damaged(why).into(),
            RecordsError::Misuse(why) => return Refused::Invalid(why).into(),
            RecordsError::UnknownObject { .. }
            | RecordsError::UnknownView { .. }
            | RecordsError::NotFound { .. } => ErrorKind::NotFound,
            RecordsError::Stale { .. }
            | RecordsError::Changed { .. }
            | RecordsError::UniqueConflict { .. } => ErrorKind::Conflict,
            _ => ErrorKind::Invalid,
        };
        EngineError::new(kind, code, message).with_problems(problems)
    }
}

impl From<Refused> for EngineError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Full(_) => EngineError::new(ErrorKind::StorageFull, "storage_full", message),
            Refused::TooBig(_) => EngineError::new(ErrorKind::TooLarge, "too_large", message),
            Refused::Conflict { .. } | Refused::NotOwner(_) | Refused::Unavailable(_) => {
                EngineError::new(ErrorKind::Unavailable, "store_unavailable", message)
            }
            Refused::Damaged(_) => {
                tracing::error!(error = %message, "what is stored cannot be read");
                EngineError::new(ErrorKind::Internal, "damaged", message)
            }
            Refused::Invalid(_) => {
                tracing::error!(error = %message, "the store refused what should be right");
                EngineError::internal(message)
            }
        }
    }
}
