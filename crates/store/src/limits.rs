//! The limits of one transaction, and the check of every request before a backend sees it.
use std::collections::HashSet;
use std::ops::Range;

use crate::keys::{self, Space};
use crate::types::{Key, Refused, Shard, Tx, Want, after_prefix};

/// The longest key. With it a leaf of sixteen full rows stays well under sled's 128 KiB (see decision 001).
pub const MAX_KEY_BYTES: usize = 1024;
/// The largest piece that a backend stores as one row; larger values become several.
pub const CHUNK_BYTES: usize = 4096 - 16;
/// The largest value. What is larger than 32 KB should be a blob.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;
/// How many rows one transaction may write, counting each piece of a large value.
pub const MAX_TX_ROWS: usize = 700;
/// How many bytes of keys and values one transaction may write.
pub const MAX_TX_BYTES: usize = 1 << 20;

/// What one write costs: the rows of its pieces, one that says how many these are, and its bytes. A deletion is one row;
/// the pieces that it leaves behind are nobody's cost: they go with it if there is room, and else later. Nor is the row
/// that notes how many pieces are left, of twenty bytes or so, at most one a write, and only where there were any.
pub(crate) fn cost(key_bytes: usize, value_bytes: Option<usize>) -> (usize, usize) {
    let value_bytes = value_bytes.unwrap_or(0);
    let pieces = if value_bytes > CHUNK_BYTES { value_bytes.div_ceil(CHUNK_BYTES) } else { 0 };
    let rows = if pieces > 0 { 2 + pieces } else { 1 };
    (rows, rows * key_bytes + value_bytes)
}

/// The length of a log row's key: space, shard, workspace, position.
pub(crate) const LOG_KEY_BYTES: usize = 15;

/// Checks a transaction and answers how many rows and bytes it writes.
pub(crate) fn check_tx(tx: &Tx) -> Result<(usize, usize), Refused> {
    check_home(tx.home)?;
    let (mut rows, mut bytes) = (0, 0);
    let mut add = |(more_rows, more_bytes)| {
        rows += more_rows;
        bytes += more_bytes;
    };
    let mut seen = HashSet::with_capacity(tx.writes.len());
    for (key, value) in &tx.writes {
        check_key(tx.home, key)?;
        if !seen.insert(key) {
            return Err(Refused::Invalid(format!("the key `{key}` is written twice in one transaction")));
        }
        if let Some(value) = value {
            if key[0] == Space::Log as u8 {
                return Err(Refused::Invalid(format!(
                    "`{key}` is a log row: use `append`, positions are the owner's"
                )));
            }
            check_value(value.len(), key)?;
        }
        add(cost(key.len(), value.as_ref().map(bytes::Bytes::len)));
    }
    for (log, value) in &tx.append {
        if log.shard() != tx.home {
            let (log, home) = (log.0, tx.home.0);
            return Err(Refused::Invalid(format!(
                "the log of workspace {log} does not live in shard {home}"
            )));
        }
        check_value(value.len(), &format_args!("log of workspace {}", log.0))?;
        add(cost(LOG_KEY_BYTES, Some(value.len())));
    }
    for (range, _) in &tx.rests_on {
        check_range(tx.home, range)?;
    }
    if rows > MAX_TX_ROWS {
        return Err(Refused::TooBig(format!("{rows} rows, at most {MAX_TX_ROWS}")));
    }
    if bytes > MAX_TX_BYTES {
        return Err(Refused::TooBig(format!("{bytes} bytes, at most {MAX_TX_BYTES}")));
    }
    Ok((rows, bytes))
}

pub(crate) fn check_wants(home: Shard, wants: &[Want]) -> Result<(), Refused> {
    check_home(home)?;
    wants.iter().try_for_each(|want| match want {
        Want::Key(key) => check_key(home, key),
        Want::Range { keys, .. } => check_range(home, keys),
    })
}

pub(crate) fn check_home(home: Shard) -> Result<(), Refused> {
    if home.0 < crate::SHARDS {
        return Ok(());
    }
    Err(Refused::Invalid(format!("shard {} does not exist: there are {}", home.0, crate::SHARDS)))
}

fn check_key(home: Shard, key: &Key) -> Result<(), Refused> {
    if key.len() > MAX_KEY_BYTES {
        let space = keys::space_in(key).map_or("unknown", Space::name);
        let length = key.len();
        return Err(Refused::TooBig(format!(
            "a key of {length} bytes in space {space}, at most {MAX_KEY_BYTES}"
        )));
    }
    match keys::shard_in(key) {
        Some(shard) if keys::space_in(key).is_some() && shard == home => Ok(()),
        Some(shard) if shard != home => {
            Err(Refused::Invalid(format!("the key `{key}` does not live in shard {}", home.0)))
        }
        _ => Err(Refused::Invalid(format!("the key `{key}` has no known space and shard"))),
    }
}

fn check_value(length: usize, of: &dyn std::fmt::Display) -> Result<(), Refused> {
    if length <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(Refused::TooBig(format!(
        "the value of `{of}` has {length} bytes, at most {MAX_VALUE_BYTES}: keep it as a blob"
    )))
}

/// A range lies in one space of one shard; its end may be the first key behind them.
fn check_range(home: Shard, range: &Range<Key>) -> Result<(), Refused> {
    let header = range.start.get(..3).filter(|_| keys::space_in(&range.start).is_some());
    match header {
        Some(header) if keys::shard_in(header) == Some(home) && range.end[..] <= after_prefix(header)[..] => {
            Ok(())
        }
        _ => Err(Refused::Invalid(format!(
            "the range `{}`..`{}` does not lie in one space of shard {}",
            range.start, range.end, home.0
        ))),
    }
}
