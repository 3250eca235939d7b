//! Keys keep the order of what is put into them, and give it back.
use proptest::prelude::*;

use super::*;

fn build(text: &str, number: i64, float: f64, bytes: &[u8]) -> Key {
    KeyBuilder::new(Space::Records, WorkspaceId(3)).str(text).i64(number).f64(float).bytes(bytes).build()
}

proptest! {
    #[test]
    fn the_order_of_keys_is_the_order_of_their_parts(
        a in ("[a-c\0]{0,3}", any::<i64>(), -1e9..1e9, prop::collection::vec(prop::sample::select(vec![0, 1, 254, 255u8]), 0..4)),
        b in ("[a-c\0]{0,3}", any::<i64>(), -1e9..1e9, prop::collection::vec(prop::sample::select(vec![0, 1, 254, 255u8]), 0..4)),
    ) {
        let keys = build(&a.0, a.1, a.2, &a.3).cmp(&build(&b.0, b.1, b.2, &b.3));
        prop_assert_eq!(keys, a.partial_cmp(&b).unwrap());
    }

    #[test]
    fn a_reader_gives_back_what_was_put_in(
        text in any::<String>(), number in any::<i64>(), big in any::<i128>(), float in any::<f64>(), bytes in any::<Vec<u8>>(), truth in any::<bool>(),
    ) {
        let key = KeyBuilder::new(Space::Records, WorkspaceId(3))
            .bytes(&bytes).str(&text).i64(number).i128(big).f64(float).bool(truth).build();
        let mut parts = KeyReader::new(&key).unwrap();
        prop_assert_eq!(parts.bytes().unwrap(), bytes);
        prop_assert_eq!(parts.str().unwrap(), text);
        prop_assert_eq!(parts.i64().unwrap(), number);
        prop_assert_eq!(parts.i128().unwrap(), big);
        let back = parts.f64().unwrap();
        prop_assert!(back == float || (back.is_nan() && float.is_nan()));
        prop_assert_eq!(parts.bool().unwrap(), truth);
        prop_assert!(parts.rest().is_empty());
    }

    #[test]
    fn a_prefix_range_holds_exactly_what_begins_with_it(prefix in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
        let range = KeyBuilder::new(Space::Records, WorkspaceId(3)).fixed(&prefix).prefix();
        let key = KeyBuilder::new(Space::Records, WorkspaceId(3)).fixed(&other).build();
        prop_assert_eq!(range.contains(&key), other.starts_with(&prefix));
    }
}

#[test]
fn floats_sort_by_value() {
    let ordered = [f64::NEG_INFINITY, -1.5, -f64::MIN_POSITIVE, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
    let keys: Vec<Key> =
        ordered.iter().map(|&x| KeyBuilder::new(Space::Meta, WorkspaceId(1)).f64(x).build()).collect();
    assert!(keys.is_sorted());
    let zero = |x| KeyBuilder::new(Space::Meta, WorkspaceId(1)).f64(x).build();
    assert_eq!(zero(-0.0), zero(0.0));
}

#[test]
fn a_text_prefix_finds_texts_and_not_neighbours() {
    let start = KeyBuilder::new(Space::Hooks, WorkspaceId(1)).str_prefix("web").prefix();
    let key = |text| KeyBuilder::new(Space::Hooks, WorkspaceId(1)).str(text).build();
    assert!(start.contains(&key("web")) && start.contains(&key("web-form")));
    assert!(!start.contains(&key("we")) && !start.contains(&key("wec")));
}

#[test]
fn the_shard_of_a_workspace_never_changes() {
    let shards: Vec<u16> = [0, 1, 2, 3, 1000, u32::MAX].map(|n| shard_of(WorkspaceId(n)).0).into();
    assert_eq!(shards, EXPECTED);
}

/// Stored keys carry these. If this test fails, the function was changed: change it back.
const EXPECTED: [u16; 6] = [0, 183, 774, 39, 600, 825];

#[test]
fn space_numbers_are_unique_and_known() {
    let numbers: std::collections::BTreeSet<u8> = Space::ALL.iter().map(|&space| space as u8).collect();
    assert_eq!(numbers.len(), Space::ALL.len());
    assert!(Space::ALL.iter().all(|&space| Space::from_number(space as u8) == Some(space)));
}

#[test]
fn keys_are_shown_readably_and_wrong_ones_named() {
    let key = KeyBuilder::new(Space::Hooks, WorkspaceId(1)).u16(0xabcd).build();
    assert_eq!(key.to_string(), format!("hooks/s{}/w1/abcd", WorkspaceId(1).shard().0));
    let error = KeyReader::new(&key).unwrap().u64().unwrap_err();
    assert_eq!(error.to_string(), format!("the key `{key}` has no part of fixed length at byte 7"));
    assert_eq!(Key::default().to_string(), "(empty key)");
    assert_eq!(Key::from([0xfe, 1].as_slice()).to_string(), "space 0xfe/01");
}
