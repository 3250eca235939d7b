//! How values lie in keys: unique keys, index entries, and the order of sorted results.
//!
//! ```text
//! UniqueKeys    | object: u32 | set: u32   | value, ...        ->  id of the record
//! RecordIndexes | object: u32 | index: u32 | 0 | value | id    ->  (nothing)
//! RecordIndexes | object: u32 | index: u32 | 1 | id            ->  (nothing), where the value is empty
//! ```
//!
//! The order of encoded values is the one order of records: a walk through an index and a sort in memory agree because
//! both compare these bytes. Text is ordered by its first 256 bytes in lower case, numbers by exact value.

use std::ops::Range;

use serde_json::{Number, Value};
use sha2::{Digest, Sha256};
use stepwell_store::keys::{KeyBuilder, Space};
use stepwell_store::{Key, Shard, WorkspaceId};
use uuid::Uuid;

use crate::filter::When;
use crate::row::Row;
use crate::schema::{Index, Kind, Object, ObjectId, Unique};
use crate::value::timestamp;

/// How much of a text goes into an index: longer ones that begin alike are ordered by id.
const MAX_TEXT_BYTES: usize = 256;
/// A text that is longer stands in a unique key by its beginning and its hash.
const MAX_UNIQUE_BYTES: usize = 128;
/// And so does one that takes more than this in a key, where a NUL takes two bytes: four texts must fit one. It is as
/// much as fits, so that it is a matter of texts that are all but NULs, and the keys of all others stay as they are.
const MAX_UNIQUE_IN_KEY: usize = 240;

fn cut(text: &str, at: usize) -> &str {
    &text[..text.floor_char_boundary(at)]
}

/// Text as an index holds it.
pub(crate) fn folded(text: &str) -> String {
    let folded = text.to_lowercase();
    cut(&folded, MAX_TEXT_BYTES).to_owned()
}

/// Appends a value in the order of its kind; `None` for an empty value and for one of another kind.
pub(crate) fn put(key: KeyBuilder, kind: Kind, value: &Value) -> Option<KeyBuilder> {
    Some(match (kind, value) {
        (Kind::Number | Kind::Integer | Kind::Rating, Value::Number(number)) => put_number(key, number),
        (Kind::Boolean, Value::Bool(flag)) => key.bool(*flag),
        (Kind::DateTime, Value::String(text)) => key.i64(timestamp(text)?),
        (Kind::Date, Value::String(text)) => match When::parse(text).ok()? {
            When::Day(day) => {
                key.i64(i64::from(day.year()) * 10_000 + i64::from(day.month()) * 100 + i64::from(day.day()))
            }
            When::Instant(_) => return None,
        },
        (Kind::Uuid, Value::String(text)) => key.fixed(Uuid::try_parse(text).ok()?.as_bytes()),
        (kind, Value::String(text)) if kind.is_ordered() => key.str(&folded(text)),
        _ => return None,
    })
}

/// A number is its nearest double and how far the number lies from it: whole numbers beyond 2^53 stay apart.
fn put_number(key: KeyBuilder, number: &Number) -> KeyBuilder {
    let double = number.as_f64().unwrap_or(0.0);
    let whole = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    let rest = whole.map_or(0, |whole| whole - double as i128);
    key.f64(double).u16((rest + (1 << 15)) as u16)
}

/// The bytes that records are sorted by, for one value: nothing sorts behind everything, in both directions.
pub(crate) fn sort_bytes(kind: Kind, value: &Value, descending: bool) -> Vec<u8> {
    let key = KeyBuilder::in_shard(Space::RecordIndexes, Shard(0));
    let header = key.len();
    match put(key, kind, value) {
        None => vec![1],
        Some(key) => {
            let mut bytes = key.build()[header - 1..].to_vec();
            bytes[0] = 0;
            if descending {
                bytes[1..].iter_mut().for_each(|byte| *byte = !*byte);
            }
            bytes
        }
    }
}

/// The encoded value in what [`sort_bytes`] gave; `None` for an empty one.
pub(crate) fn value_of_sort_bytes(bytes: &[u8], descending: bool) -> Option<Vec<u8>> {
    match bytes.split_first()? {
        (0, value) if descending => Some(value.iter().map(|byte| !byte).collect()),
        (0, value) => Some(value.to_vec()),
        _ => None,
    }
}

/// The beginning of the entries that have a value.
pub(crate) fn values_key(workspace: WorkspaceId, object: ObjectId, index: u32) -> KeyBuilder {
    KeyBuilder::new(Space::RecordIndexes, workspace).u32(object.0).u32(index).u8(0)
}

/// All entries of an index.
pub(crate) fn whole_index(workspace: WorkspaceId, object: ObjectId, index: u32) -> Range<Key> {
    KeyBuilder::new(Space::RecordIndexes, workspace).u32(object.0).u32(index).prefix()
}

/// The beginning of the entries that have none.
pub(crate) fn empties_key(workspace: WorkspaceId, object: ObjectId, index: u32) -> KeyBuilder {
    KeyBuilder::new(Space::RecordIndexes, workspace).u32(object.0).u32(index).u8(1)
}

/// Where a record stands in an index, if it does.
pub(crate) fn entry(workspace: WorkspaceId, object: &Object, index: &Index, row: &Row) -> Option<Key> {
    let kind = object.path_kind(&index.path)?;
    let key = match put(values_key(workspace, object.id, index.id), kind, row.get(&index.path)) {
        Some(key) => key,
        None if index.empties => empties_key(workspace, object.id, index.id),
        None => return None,
    };
    Some(key.fixed(row.id.as_bytes()).build())
}

/// The beginning of a unique set's keys.
pub(crate) fn set_key(workspace: WorkspaceId, object: ObjectId, set: u32) -> KeyBuilder {
    KeyBuilder::new(Space::UniqueKeys, workspace).u32(object.0).u32(set)
}

/// The keys of a set of one text whose values begin with `prefix`, and maybe some more.
pub(crate) fn set_prefix(workspace: WorkspaceId, object: ObjectId, set: u32, prefix: &str) -> Range<Key> {
    let folded = prefix.trim_start().to_lowercase();
    set_key(workspace, object, set).str_prefix(cut(&folded, MAX_UNIQUE_BYTES / 2)).prefix()
}

/// A text as unique sets compare it.
fn unique_text(text: &str) -> String {
    let folded = text.trim().to_lowercase();
    let in_key = folded.len() + folded.bytes().filter(|byte| *byte == 0).count();
    if folded.len() <= MAX_UNIQUE_BYTES && in_key <= MAX_UNIQUE_IN_KEY {
        return folded;
    }
    let hash = Sha256::digest(&folded);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}\u{1}{hash}", cut(&folded, MAX_UNIQUE_BYTES / 2))
}

/// The key of these values in a unique set; `None` if one of them is empty.
pub(crate) fn unique_key_of<'v>(
    workspace: WorkspaceId,
    object: &Object,
    unique: &Unique,
    values: impl IntoIterator<Item = &'v Value>,
) -> Option<Key> {
    let mut key = set_key(workspace, object.id, unique.id);
    for (path, value) in unique.paths.iter().zip(values) {
        let kind = object.path_kind(path)?;
        key = match value {
            Value::String(text) if !matches!(kind, Kind::Date | Kind::DateTime | Kind::Uuid) => {
                let text = unique_text(text);
                if text.is_empty() {
                    return None;
                }
                key.str(&text)
            }
            value => put(key, kind, value)?,
        };
    }
    Some(key.build())
}

/// Where a record stands in a unique set, if it does.
pub(crate) fn unique_key(workspace: WorkspaceId, object: &Object, unique: &Unique, row: &Row) -> Option<Key> {
    unique_key_of(workspace, object, unique, unique.paths.iter().map(|path| row.get(path)))
}

/// The id that a unique key's row holds.
pub(crate) fn id_of_unique(key: &Key, value: &[u8]) -> Result<Uuid, crate::RecordsError> {
    Uuid::from_slice(value)
        .map_err(|_| crate::RecordsError::Damaged(format!("the unique key `{key}` holds no id")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::filter::order_numbers;

    fn bytes(kind: Kind, value: &Value) -> Vec<u8> {
        sort_bytes(kind, value, false)
    }

    fn numbers() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(|n| json!(n)),
            (-4_i64..4).prop_map(|n| json!(n)),
            any::<u64>().prop_map(|n| json!(n)),
            (0_i64..4).prop_map(|n| json!((1_i64 << 53) + n)),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| json!(n)),
            (-8_i64..8).prop_map(|n| json!(n as f64 / 2.0)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn numbers_lie_in_the_order_of_their_values(a in numbers(), b in numbers()) {
            let order = order_numbers(a.as_number().unwrap(), b.as_number().unwrap());
            prop_assert_eq!(bytes(Kind::Number, &a).cmp(&bytes(Kind::Number, &b)), order);
            let downwards = sort_bytes(Kind::Number, &a, true).cmp(&sort_bytes(Kind::Number, &b, true));
            prop_assert_eq!(downwards, order.reverse());
        }

        #[test]
        fn texts_lie_in_the_order_of_their_lower_case(a in "[a-cA-C\u{0}é]{0,4}", b in "[a-cA-C\u{0}é]{0,4}") {
            let order = a.to_lowercase().cmp(&b.to_lowercase());
            prop_assert_eq!(bytes(Kind::Text, &json!(a)).cmp(&bytes(Kind::Text, &json!(b))), order);
            let (a, b) = (sort_bytes(Kind::Text, &json!(a), true), sort_bytes(Kind::Text, &json!(b), true));
            prop_assert_eq!(a.cmp(&b), order.reverse());
        }

        #[test]
        fn sort_bytes_give_the_value_back(text in ".{0,8}", descending in any::<bool>()) {
            let sorted = sort_bytes(Kind::Text, &json!(text), descending);
            let value = value_of_sort_bytes(&sorted, descending).unwrap();
            prop_assert_eq!(&value[..], &bytes(Kind::Text, &json!(text))[1..]);
        }
    }

    #[test]
    fn nothing_sorts_last_in_both_directions() {
        for descending in [false, true] {
            let nothing = sort_bytes(Kind::Text, &Value::Null, descending);
            assert!(sort_bytes(Kind::Text, &json!("\u{10ffff}"), descending) < nothing);
            assert!(sort_bytes(Kind::Text, &json!(""), descending) < nothing);
        }
    }

    #[test]
    fn dates_and_instants_lie_in_time() {
        let days = ["0000-01-01", "1969-12-31", "2026-02-28", "2026-03-01", "9999-12-31"];
        assert!(days.map(|day| bytes(Kind::Date, &json!(day))).is_sorted_by(|a, b| a < b));
        let instants = ["1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z", "2026-03-01T00:00:00.001Z"];
        assert!(instants.map(|instant| bytes(Kind::DateTime, &json!(instant))).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_long_text_fits_a_key_and_stays_unique() {
        let long = "é".repeat(5_000);
        assert!(bytes(Kind::Text, &json!(long)).len() <= MAX_TEXT_BYTES + 3);
        assert_ne!(unique_text(&long), unique_text(&format!("{long}!")));
        assert!(unique_text(&long).len() <= 64 + 1 + 64);
        assert_eq!(unique_text(" Acme "), "acme");
        // As it was before NULs counted twice.
        for ordinary in ["x".repeat(128), "é".repeat(64), "\0".repeat(100) + "abc"] {
            assert_eq!(unique_text(&ordinary), ordinary);
        }
        let (nulls, others) = ("\0".repeat(128), "\0".repeat(127) + "x");
        assert_ne!(unique_text(&nulls), unique_text(&others));
    }
}
