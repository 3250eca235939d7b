//! A run's rows: the head (small: it is the list's line, and what every commit of the run rests on and rewrites),
//! the snapshot of an unfinished run, and the journal.
use crate::api::{Awaited, FailureDetail, ParentRun, RunStatus, RunSummary, WaitsFor, Wakes};
use crate::id::RunId;
use crate::journal::Switch;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, Value, WorkspaceId};
use stepwell_workflow::machine::{Answer, BlobRef, Call, Event, State, StepPath, Timer, TimerKind};

/// `runs / run id`. Newest last, so lists read backwards.
pub(crate) fn head_key(workspace: WorkspaceId, run: RunId) -> Key {
    KeyBuilder::new(Space::Runs, workspace).fixed(run.as_bytes()).build()
}

/// All heads of a workspace.
pub(crate) fn heads(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Runs, workspace).prefix()
}

/// All heads of runs that are older than this one.
pub(crate) fn heads_before(workspace: WorkspaceId, run: RunId) -> Range<Key> {
    KeyBuilder::new(Space::Runs, workspace).build()..head_key(workspace, run)
}

/// `run-states / run id`: only while the run is unfinished, so recovery reads these and nothing else.
pub(crate) fn live_key(workspace: WorkspaceId, run: RunId) -> Key {
    KeyBuilder::new(Space::RunStates, workspace).fixed(run.as_bytes()).build()
}

/// All unfinished runs of a workspace.
pub(crate) fn lives(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::RunStates, workspace).prefix()
}

/// `run-events / run id / commit number`.
pub(crate) fn journal_key(workspace: WorkspaceId, run: RunId, commit: u32) -> Key {
    KeyBuilder::new(Space::RunEvents, workspace).fixed(run.as_bytes()).u32(commit).build()
}

/// The whole journal of a run.
pub(crate) fn journal(workspace: WorkspaceId, run: RunId) -> Range<Key> {
    KeyBuilder::new(Space::RunEvents, workspace).fixed(run.as_bytes()).prefix()
}

/// The run in a key of one of these tables.
pub(crate) fn run_in(key: &Key) -> Result<RunId, Refused> {
    Ok(RunId::from_bytes(KeyReader::new(key)?.fixed::<16>()?))
}

/// `blob-refs / sha256 / run id`: a run's claim on a blob.
pub(crate) fn blob_ref_key(workspace: WorkspaceId, sha256: &[u8; 32], run: RunId) -> Key {
    KeyBuilder::new(Space::BlobRefs, workspace).fixed(sha256).fixed(run.as_bytes()).build()
}

/// What a list shows of a run, and what guards its commits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunHead {
    #[serde(rename = "w")]
    pub workflow: String,
    #[serde(rename = "v")]
    pub version: u32,
    #[serde(rename = "s")]
    pub status: RunStatus,
    #[serde(rename = "t")]
    pub trigger: String,
    #[serde(rename = "c")]
    pub created_ms: i64,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<i64>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    /// How many rows the journal has.
    #[serde(rename = "n")]
    pub commits: u32,
    /// How many inbox rows wait; whoever adds one rewrites the head, so the driver's commit conflicts.
    #[serde(rename = "i", default, skip_serializing_if = "crate::tables::is_zero")]
    pub inbox: u32,
    #[serde(rename = "d", default, skip_serializing_if = "crate::tables::is_zero")]
    pub steps_done: u32,
    #[serde(rename = "f", default)]
    pub fuel: u64,
    #[serde(rename = "m", default)]
    pub peak_memory_bytes: u64,
    /// What its first code step's outcome depends on besides module, input, seed and start. A step that was made under
    /// another has that in its note.
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub semantics: Option<String>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDetail>,
    /// The idempotency key that it took, in hexadecimal: it is given back when it has served its time.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub hook_key: Option<String>,
    /// Method and path of the webhook that started it.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// How many runs lie between it and what nobody's run did: each was started by what the one before wrote.
    #[serde(rename = "g", default, skip_serializing_if = "crate::tables::is_zero")]
    pub depth: u32,
    /// The run whose step started it.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The key that signs its links, where there are any: whoever has none is told so by the head alone.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub links: Option<String>,
    /// Where its workflow lets only so many runs be under way; until it has ended.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Of a run that waits: the first of the times at which it goes on by itself.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Box<Alarm>>,
    /// Its payloads were pruned.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    pub payloads_expired: bool,
    /// Pruning them is half done.
    #[serde(rename = "q", default, skip_serializing_if = "std::ops::Not::not")]
    pub payloads_left: bool,
}

/// Where a run comes from that another one started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parent {
    #[serde(rename = "i")]
    pub run: RunId,
    #[serde(rename = "p")]
    pub path: StepPath,
    /// Whether its end is waited for.
    #[serde(rename = "w", default)]
    pub waits: bool,
}

/// When, and for what, a run that waits goes on by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    #[serde(rename = "a")]
    pub at_ms: i64,
    #[serde(rename = "k")]
    pub kind: TimerKind,
    #[serde(rename = "p")]
    pub path: StepPath,
    /// Why the attempt before has failed.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDetail>,
}

/// How a run stands among those that count together with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The hash of its key.
    #[serde(rename = "k")]
    pub key: String,
    #[serde(rename = "t")]
    pub ticket: u64,
    #[serde(rename = "s")]
    pub stand: Stand,
    /// What the key says, while it waits.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The run that was put in its place: it was told to end.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<RunId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stand {
    /// It is under way, or may begin.
    #[serde(rename = "h")]
    Held,
    /// For others to end.
    #[serde(rename = "w")]
    Waits,
    /// It waited, and was taken out to end.
    #[serde(rename = "o")]
    Out,
}

pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl RunHead {
    /// Whether others have to end before it may begin.
    pub(crate) fn waits_for_its_place(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.stand != Stand::Held)
    }

    fn waits_for(&self) -> Option<WaitsFor> {
        let place = self.place.as_ref().filter(|_| self.waits_for_its_place());
        match (self.status, place) {
            (RunStatus::Queued, None) => Some(WaitsFor::default()),
            (RunStatus::Queued, Some(place)) => {
                Some(WaitsFor { what: Awaited::Concurrency, key: place.text.clone(), runs: Vec::new() })
            }
            _ => None,
        }
    }

    fn wakes(&self) -> Option<Wakes> {
        let alarm = self.alarm.as_ref().filter(|_| self.status == RunStatus::Waiting)?;
        Some(Wakes {
            at: timestamp(alarm.at_ms),
            what: alarm.kind.into(),
            step: alarm.path.to_string(),
            attempt: None,
            attempts: None,
            error: alarm.error.clone(),
        })
    }

    pub(crate) fn summary(&self, id: RunId) -> RunSummary {
        RunSummary {
            id: id.to_string(),
            workflow: self.workflow.clone(),
            version: self.version,
            status: self.status,
            trigger: self.trigger.clone(),
            created_at: timestamp(self.created_ms),
            started_at: self.started_ms.map(timestamp),
            ended_at: self.ended_ms.map(timestamp),
            steps_done: self.steps_done,
            fuel: self.fuel,
            peak_memory_bytes: self.peak_memory_bytes,
            error: self.error.clone(),
            waits_for: self.waits_for(),
            wakes: self.wakes(),
            parent: self
                .parent
                .as_ref()
                .map(|parent| ParentRun { run_id: parent.run.to_string(), step: parent.path.to_string() }),
        }
    }
}

/// Everything that a run's next burst starts from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Live {
    pub state: State,
    /// Taken, and not yet folded into the state: the start of a run that waits for a slot, a retry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incoming: Vec<Event>,
    /// Timers that are set, with their time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timers: Vec<(Timer, Timestamp)>,
    /// Those of them whose rows are still to be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<(Timer, Timestamp)>,
    /// Calls to the outside that are not over: what a retry sends again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub frozen: BTreeMap<StepPath, Frozen>,
    /// Nothing can be done before a timer fires or somebody writes to the inbox.
    #[serde(default)]
    pub parked: bool,
    /// What is taken in begins another version of the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Switch>,
    /// Of items that are under way, the commits that have events of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub items: BTreeMap<StepPath, Vec<u32>>,
    /// Blobs that this snapshot or one before it names, and no journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// In the last snapshot of a run that has ended: what its trigger says to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Where a larger snapshot than this was kept before: its claim goes with the next commit.
    #[serde(skip)]
    pub moved: Option<[u8; 32]>,
}

/// A claim on a blob, written as all are, so that it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub blob: BlobRef,
}

/// How a snapshot is written that is too large for a row: the name of the blob that holds its value.
const MOVED: u8 = 2;

pub(crate) fn encode_moved(reference: &BlobRef) -> Result<Value, Refused> {
    let mut bytes = vec![MOVED];
    serde_json::to_writer(&mut bytes, reference)
        .map_err(|error| Refused::Invalid(format!("a row cannot be written as JSON: {error}")))?;
    Ok(bytes.into())
}

/// Where the value of a snapshot is, if it is not here.
pub(crate) fn moved(key: &Key, value: &Value) -> Result<Option<BlobRef>, Refused> {
    let Some((&MOVED, json)) = value.split_first() else { return Ok(None) };
    let reference = serde_json::from_slice(json)
        .map_err(|error| Refused::Damaged(format!("the row `{key}` cannot be read: {error}")))?;
    Ok(Some(reference))
}

/// A call to the outside as it was first rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frozen {
    pub generation: u32,
    pub call: Call,
}
