//! How far an iterator has come: which items are under way, how the others ended, and the little that is kept of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};
use stepwell_records::json_bytes;

use super::payload::Payload;

/// Results and failures that an iterator's output has at most, of each.
pub const MAX_KEPT: u64 = 1_000;
/// And their size as JSON, of each.
pub const MAX_KEPT_BYTES: u64 = 1 << 20;
/// Failures that were tolerated and are told with the one that was not, and their size as JSON.
const MAX_TOLD: usize = 100;
const MAX_TOLD_BYTES: u64 = 16 << 10;
/// What is kept is put together in pages of about this size, which never change again.
const PAGE_BYTES: u64 = 8 << 10;

/// An iterator's part of the state. It does not grow with the items that are done or still to come.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Items {
    /// What is gone over, unless it is a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<Payload>,
    /// Records that a search has listed so far.
    #[serde(default)]
    pub found: u64,
    /// Where the search goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// All items; a batch is one.
    pub count: u64,
    /// The first that has not begun.
    pub next: u64,
    /// Those under way.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub open: BTreeSet<u64>,
    /// Those whose failure was one too many; their steps are kept, for a retry.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub broken: BTreeSet<u64>,
    #[serde(default)]
    pub succeeded: u64,
    /// Those that were tolerated.
    #[serde(default)]
    pub failed: u64,
    /// Ended by a `filter`, or records that are no longer what was searched.
    #[serde(default)]
    pub skipped: u64,
    /// Those that had succeeded before an atomic iterator failed: what they wrote is not there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undone: u64,
    #[serde(default)]
    pub results: Kept,
    #[serde(default)]
    pub failures: Kept,
    /// Sums over all items that have succeeded, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub totals: BTreeMap<String, Number>,
}

impl Items {
    pub(super) fn payloads(&self) -> impl Iterator<Item = &Payload> {
        let pages = self.results.pages.iter().chain(&self.failures.pages);
        self.list.iter().chain(pages.map(|page| &page.values))
    }

    pub(super) fn payloads_mut(&mut self) -> impl Iterator<Item = &mut Payload> {
        let pages = self.results.pages.iter_mut().chain(&mut self.failures.pages);
        self.list.iter_mut().chain(pages.map(|page| &mut page.values))
    }

    /// What templates see of an iterator that is done.
    pub(super) fn output(&self) -> Value {
        let mut output = json!({
            "count": self.count,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "skipped": self.skipped,
            "results": self.results.all(),
            "failures": self.failures.all(),
        });
        if !self.totals.is_empty() {
            output["totals"] = json!(self.totals);
        }
        output
    }

    /// What an item adds to the sums.
    pub(super) fn add(&mut self, item: Vec<(String, Number)>) {
        for (name, more) in item {
            let total = self.totals.entry(name).or_insert_with(|| 0.into());
            *total = sum(total, &more);
        }
    }

    /// What is said of them when one failed too many.
    pub(super) fn come_to(&self) -> Value {
        let (mut failures, mut bytes) = (Vec::new(), 0);
        for failure in self.failures.all() {
            bytes += listed_bytes(&failure);
            if failures.len() == MAX_TOLD || bytes > MAX_TOLD_BYTES {
                break;
            }
            failures.push(failure);
        }
        let mut come = json!({
            "count": self.count,
            "succeeded": self.succeeded,
            "failed": self.failed + self.broken.len() as u64,
            "skipped": self.skipped,
            "failures": failures,
        });
        if self.undone > 0 {
            come["undone"] = self.undone.into();
        }
        come
    }

    /// What the items wrote is taken back.
    pub(super) fn undo(&mut self) {
        self.undone += std::mem::take(&mut self.succeeded);
        self.results = Kept::default();
        self.totals.clear();
    }

    /// Once it is done only the numbers are left.
    pub(super) fn close(&mut self) {
        self.list = None;
        self.results = Kept::default();
        self.failures = Kept::default();
        self.totals.clear();
    }
}

/// Exact as long as both are whole and the sum is a number that is kept so.
fn sum(one: &Number, other: &Number) -> Number {
    let whole = |number: &Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    let exact = whole(one).zip(whole(other)).map(|(one, other)| one + other);
    let exact = exact.and_then(|sum| match i64::try_from(sum) {
        Ok(sum) => Some(sum.into()),
        Err(_) => u64::try_from(sum).ok().map(Number::from),
    });
    let float = |number: &Number| number.as_f64().unwrap_or(0.0);
    // What no number can say stays at the greatest that one can.
    let rounded = || Number::from_f64((float(one) + float(other)).clamp(f64::MIN, f64::MAX));
    exact.or_else(rounded).unwrap_or_else(|| one.clone())
}

/// The first so many values by the numbers of their items, in whatever order these ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Kept {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pages: Vec<Page>,
    /// What came after the last page, by the item's number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    loose: BTreeMap<u64, Value>,
    #[serde(default)]
    loose_bytes: u64,
    /// In all of it.
    #[serde(default)]
    count: u64,
    #[serde(default)]
    bytes: u64,
    /// From this item on nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<u64>,
}

/// Values that stay as they are, so that a large page is written once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    /// The highest number in it.
    last: u64,
    /// A list of `[number, value]`.
    values: Payload,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The bytes of a value in a list as JSON, with what parts it from the next.
pub(super) fn listed_bytes(value: &Value) -> u64 {
    json_bytes(value) as u64 + 1
}

impl Kept {
    /// Whether a value of this item could be kept.
    pub(super) fn takes(&self, index: u64) -> bool {
        self.cut.is_none_or(|cut| index < cut)
    }

    pub(super) fn keep(&mut self, index: u64, value: Value) {
        if !self.takes(index) {
            return;
        }
        let bytes = listed_bytes(&value);
        self.loose.insert(index, value);
        (self.count, self.bytes, self.loose_bytes) =
            (self.count + 1, self.bytes + bytes, self.loose_bytes + bytes);
        while self.count > MAX_KEPT || self.bytes > MAX_KEPT_BYTES {
            let last = self.loose.last_key_value().map(|(last, _)| *last);
            if self.pages.iter().any(|page| Some(page.last) > last) {
                self.open_pages();
            }
            let Some((last, value)) = self.loose.pop_last() else { return };
            let bytes = listed_bytes(&value);
            (self.count, self.bytes, self.loose_bytes) =
                (self.count - 1, self.bytes - bytes, self.loose_bytes - bytes);
            // The same cut whatever the order: the first item with which there is too much.
            self.cut = Some(last);
        }
        if self.loose_bytes >= PAGE_BYTES
            && let Some((last, _)) = self.loose.last_key_value()
        {
            let last = *last;
            let values =
                std::mem::take(&mut self.loose).into_iter().map(|(index, value)| json!([index, value]));
            self.pages.push(Page { last, values: Payload::new(values.collect()) });
            self.loose_bytes = 0;
        }
    }

    /// An item that took its time pushes out what is in a page.
    fn open_pages(&mut self) {
        self.loose = self.by_index();
        self.loose_bytes = self.bytes;
        self.pages.clear();
    }

    fn by_index(&self) -> BTreeMap<u64, Value> {
        let pages = self.pages.iter().filter_map(|page| page.values.value()?.as_array()).flatten();
        let paged = pages.filter_map(|pair| Some((pair.get(0)?.as_u64()?, pair.get(1)?.clone())));
        paged.chain(self.loose.iter().map(|(index, value)| (*index, value.clone()))).collect()
    }

    fn all(&self) -> Vec<Value> {
        self.by_index().into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is kept is a prefix, and depends on what came and not on the order it came in.
        #[test]
        fn the_order_decides_nothing(sizes in proptest::collection::vec(1usize..90_000, 1..40), seed in any::<u64>()) {
            let mut order: Vec<usize> = (0..sizes.len()).collect();
            order.sort_by_key(|n| (*n as u64 + 1).wrapping_mul(seed | 1) >> 7);
            let text = |n: usize| json!("x".repeat(sizes[n]));
            let (mut straight, mut mixed) = (Kept::default(), Kept::default());
            (0..sizes.len()).for_each(|n| straight.keep(n as u64, text(n)));
            order.into_iter().for_each(|n| mixed.keep(n as u64, text(n)));
            prop_assert!(straight.bytes <= MAX_KEPT_BYTES);
            let all = straight.all();
            prop_assert_eq!(&all, &mixed.all());
            prop_assert!(all.iter().enumerate().all(|(n, value)| *value == text(n)));
        }
    }

    #[test]
    fn sums_are_exact_as_long_as_they_can_be() {
        let mut items = Items::default();
        for value in [json!(i64::MAX), json!(1), json!(u64::MAX), json!(-5), json!(0.5)] {
            let Value::Number(number) = value else { panic!() };
            items.add(vec![("n".into(), number)]);
        }
        assert_eq!(items.totals["n"].as_f64(), Some(i64::MAX as f64 + u64::MAX as f64));
        let mut items = Items::default();
        items.add(vec![("n".into(), i64::MAX.into())]);
        items.add(vec![("n".into(), 2.into())]);
        assert_eq!(items.totals["n"].as_u64(), Some(i64::MAX as u64 + 2));
        items.add(vec![("m".into(), Number::from_f64(f64::MAX).unwrap())]);
        items.add(vec![("m".into(), Number::from_f64(f64::MAX).unwrap())]);
        assert_eq!(items.totals["m"].as_f64(), Some(f64::MAX));
    }

    #[test]
    fn at_most_a_thousand_are_kept() {
        let mut kept = Kept::default();
        (0..5_000).rev().for_each(|n| kept.keep(n, n.into()));
        assert_eq!(kept.all(), (0..1_000).map(Value::from).collect::<Vec<_>>());
        assert!(!kept.takes(1_000));
    }
}
