//! The log of a workspace: rows in commit order, whose positions the owner gives. Positions are contiguous and
//! begin at 1; pruning removes the oldest rows and never the last one, so the last row always tells the head.
use std::ops::Range;

use crate::keys::{KeyBuilder, KeyReader, Space};
use crate::store::Store;
use crate::types::{Key, Log, Refused, Row, Tx, Value, Want};

/// How many rows one commit of [`prune_log`] deletes.
const PRUNE_ROWS: usize = 256;

/// A page of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Positions and values, without gaps.
    pub rows: Vec<(u64, Value)>,
    /// The position to read on from.
    pub next: u64,
    /// The next position that the owner will give.
    pub head: u64,
}

/// Why a log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The rows asked for are no longer kept.
    #[error("the log is kept from position {first} on; earlier rows were pruned")]
    Pruned {
        /// The first position that is still there.
        first: u64,
    },
    /// The position lies beyond the end: it comes from another log or another data folder.
    #[error("the log's next position is {head}; nothing beyond it was ever given")]
    Ahead {
        /// The next position that the owner will give.
        head: u64,
    },
    /// The store refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Reads at most `limit` rows from position `from` on (the first position is 1; at the head the page is empty).
/// What it returns is durable, and later pages go on without gaps.
pub async fn read_log(store: &dyn Store, log: Log, from: u64, limit: usize) -> Result<LogPage, LogError> {
    // The head comes first: all rows before it are readable, whatever is being written meanwhile.
    let head = store.log_head(log).await?;
    let from = from.max(1);
    if from > head {
        return Err(LogError::Ahead { head });
    }
    let end = from.saturating_add(limit as u64).min(head);
    if from == end {
        return Ok(LogPage { rows: Vec::new(), next: from, head });
    }
    let wants = vec![
        Want::range(row_key(log, from)..row_key(log, end), limit),
        // Read after the rows: if pruning passes by, this shows it.
        Want::range(all_rows(log), 1),
    ];
    let mut view = store.read(log.shard(), wants).await?;
    let first = view.rows.pop().and_then(|rows| rows.into_iter().next());
    let first = first.map(|(key, _)| position(&key)).transpose()?.unwrap_or(head);
    if from < first {
        return Err(LogError::Pruned { first });
    }
    let mut rows = Vec::with_capacity((end - from) as usize);
    for (expected, (key, value)) in (from..end).zip(view.rows.pop().unwrap_or_default()) {
        let position = position(&key)?;
        if position != expected {
            return Err(
                Refused::Damaged(format!("the log of workspace {} lacks row {expected}", log.0)).into()
            );
        }
        rows.push((position, value));
    }
    if rows.len() as u64 != end - from {
        let missing = from + rows.len() as u64;
        return Err(Refused::Damaged(format!("the log of workspace {} lacks row {missing}", log.0)).into());
    }
    Ok(LogPage { rows, next: end, head })
}

/// The first position that is still kept; equal to the head if nothing was ever appended.
pub async fn first_position(store: &dyn Store, log: Log) -> Result<u64, Refused> {
    let head = store.log_head(log).await?;
    let view = store.read(log.shard(), vec![Want::range(all_rows(log), 1)]).await?;
    match view.rows.into_iter().flatten().next() {
        Some((key, _)) => position(&key),
        None => Ok(head),
    }
}

/// Deletes rows before the position `before` in small commits, but never the last row. Returns how many.
pub async fn prune_log(store: &dyn Store, log: Log, before: u64) -> Result<u64, Refused> {
    let end = before.min(store.log_head(log).await?.saturating_sub(1));
    let mut deleted = 0;
    loop {
        let keys = all_rows(log).start..row_key(log, end);
        let view = store.read(log.shard(), vec![Want::range(keys, PRUNE_ROWS)]).await?;
        let writes: Vec<_> = view.rows.into_iter().flatten().map(|(key, _)| (key, None)).collect();
        let rows = writes.len();
        if rows > 0 {
            store.commit(Tx { home: log.shard(), rests_on: Vec::new(), writes, append: Vec::new() }).await?;
            deleted += rows as u64;
        }
        if rows < PRUNE_ROWS {
            return Ok(deleted);
        }
    }
}

pub(crate) fn row_key(log: Log, position: u64) -> Key {
    KeyBuilder::new(Space::Log, log.0).u64(position).build()
}

pub(crate) fn all_rows(log: Log) -> Range<Key> {
    KeyBuilder::new(Space::Log, log.0).prefix()
}

pub(crate) fn position(key: &Key) -> Result<u64, Refused> {
    Ok(KeyReader::new(key)?.u64()?)
}

/// The head of a log whose last row is this one.
pub(crate) fn head_after(last: Option<&Row>) -> Result<u64, Refused> {
    last.map_or(Ok(1), |(key, _)| Ok(position(key)? + 1))
}

/// The log that a deleted key belongs to, if it is a log row, and its position.
pub(crate) fn pruned_row(key: &Key) -> Result<Option<(Log, u64)>, Refused> {
    if key.first() != Some(&(Space::Log as u8)) {
        return Ok(None);
    }
    let workspace = crate::keys::workspace_in(key)
        .ok_or_else(|| Refused::Invalid(format!("`{key}` is not a whole key of a log row")))?;
    Ok(Some((Log(workspace), position(key)?)))
}

/// Refuses to delete the last row of a log: it is what tells the head.
pub(crate) fn check_prune(position: u64, head: u64) -> Result<(), Refused> {
    if position + 1 < head {
        return Ok(());
    }
    Err(Refused::Invalid(format!("the last row of a log ({position}, head {head}) cannot be deleted")))
}
