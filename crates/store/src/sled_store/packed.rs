//! Values as they are written: LZ4 where that saves something. It is done on the task that commits, not on the writer.
//!
//! What costs in sled is rows and bytes, and values are JSON that says the same names again and again: the journal of a
//! run of six steps becomes one row of 2.2 KB instead of four rows of 5.5 KB together.
use std::ops::Range;

use bytes::Bytes;

use crate::limits::MAX_VALUE_BYTES;
use crate::types::{Key, Log, Shard, Stamp, Tx, Value};

/// Smaller values do not get smaller by enough.
const WORTH_TRYING: usize = 1024;

/// A value as it is written.
pub(super) struct Stored {
    /// Whether `bytes` are LZ4 of the value, behind its length.
    pub(super) packed: bool,
    pub(super) bytes: Bytes,
}

impl From<Value> for Stored {
    fn from(value: Value) -> Self {
        if value.len() >= WORTH_TRYING {
            let packed = lz4_flex::block::compress_prepend_size(&value);
            if packed.len() < value.len() / 8 * 7 {
                return Self { packed: true, bytes: packed.into() };
            }
        }
        Self { packed: false, bytes: value }
    }
}

/// The value in packed bytes; `None` if they are none.
pub(super) fn unpack(packed: &[u8]) -> Option<Value> {
    let (length, _) = lz4_flex::block::uncompressed_size(packed).ok()?;
    // Before anything is made room for.
    if length > MAX_VALUE_BYTES {
        return None;
    }
    lz4_flex::block::decompress_size_prepended(packed).ok().map(Value::from)
}

/// A transaction whose values are as they are written.
pub(super) struct PackedTx {
    pub(super) home: Shard,
    pub(super) rests_on: Vec<(Range<Key>, Stamp)>,
    pub(super) writes: Vec<(Key, Option<Stored>)>,
    pub(super) append: Vec<(Log, Stored)>,
}

impl From<Tx> for PackedTx {
    fn from(tx: Tx) -> Self {
        Self {
            home: tx.home,
            rests_on: tx.rests_on,
            writes: tx.writes.into_iter().map(|(key, value)| (key, value.map(Stored::from))).collect(),
            append: tx.append.into_iter().map(|(log, value)| (log, value.into())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(words in prop::collection::vec("[a-z]{1,9}|[ -~]{0,40}", 0..600)) {
            let value = Value::from(words.concat());
            let stored = Stored::from(value.clone());
            prop_assert!(stored.bytes.len() <= value.len());
            let back = if stored.packed { unpack(&stored.bytes).unwrap() } else { stored.bytes };
            prop_assert_eq!(back, value);
        }

        #[test]
        fn whatever_is_unpacked_neither_panics_nor_takes_much(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(unpack(&bytes).is_none_or(|value| value.len() <= MAX_VALUE_BYTES));
        }
    }

    #[test]
    fn what_does_not_get_smaller_and_what_is_small_stays_as_it_is() {
        let mut noise = vec![0u8; 8000];
        let mut x = 1u64;
        for byte in &mut noise {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (x >> 56) as u8;
        }
        assert!(!Stored::from(Value::from(noise)).packed);
        assert!(!Stored::from(Value::from(vec![b'a'; WORTH_TRYING - 1])).packed);
        assert!(Stored::from(Value::from(vec![b'a'; WORTH_TRYING])).packed);
    }
}
