//! Timers of runs, in the order of their time across the workspaces of a shard:
//! `timers / time / workspace / run id / step path / attempt`. The value is empty: the run's snapshot knows the rest.
use crate::id::RunId;
use jiff::Timestamp;
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, Shard, WorkspaceId};
use stepwell_workflow::machine::Timer;

pub(crate) fn key(workspace: WorkspaceId, run: RunId, timer: &Timer, due: Timestamp) -> Key {
    KeyBuilder::in_shard(Space::Timers, workspace.shard())
        .i64(due.as_millisecond())
        .u32(workspace.0)
        .fixed(run.as_bytes())
        .str(timer.path.as_str())
        .u32(timer.attempt)
        .build()
}

/// All timers of a shard.
pub(crate) fn all(shard: Shard) -> Range<Key> {
    KeyBuilder::in_shard(Space::Timers, shard).prefix()
}

/// Those that are due by now.
pub(crate) fn due(shard: Shard, now: Timestamp) -> Range<Key> {
    let after = now.as_millisecond().saturating_add(1);
    all(shard).start..KeyBuilder::in_shard(Space::Timers, shard).i64(after).build()
}

/// When, and whom to wake.
pub(crate) fn parts(key: &Key) -> Result<(i64, WorkspaceId, RunId), Refused> {
    let mut reader = KeyReader::in_shard(key)?;
    let due = reader.i64()?;
    let workspace = WorkspaceId(reader.u32()?);
    Ok((due, workspace, RunId::from_bytes(reader.fixed::<16>()?)))
}
