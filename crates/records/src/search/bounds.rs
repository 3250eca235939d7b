//! From the conditions on one path to the stretch of an index in which every match lies. A stretch may hold more than
//! the matches: whatever is found is asked the whole filter again.

use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;
use stepwell_store::Key;
use stepwell_store::keys::KeyBuilder;

use crate::filter::{Named, Operand, Test, When, period_days};
use crate::index::{folded, put};
use crate::schema::Kind;

/// The keys under `base` in which the values for which all of `tests` hold must lie; `None` if no test says anything
/// about the order.
pub(super) fn stretch(base: &KeyBuilder, kind: Kind, tests: &[&Test], now: Timestamp) -> Option<Range<Key>> {
    let whole = base.clone().prefix();
    let mut stretch = whole.clone();
    for test in tests {
        if let Some(bounds) = one(base, kind, test, now) {
            stretch.start = stretch.start.max(bounds.start);
            stretch.end = stretch.end.min(bounds.end);
        }
    }
    (stretch != whole).then_some(stretch)
}

/// The keys of exactly these values.
pub(super) fn points(base: &KeyBuilder, kind: Kind, test: &Test) -> Option<Vec<Range<Key>>> {
    let values: &[Value] = match (test.operand, &test.value) {
        (Operand::Is, value) => std::slice::from_ref(value),
        (Operand::In, Value::Array(values)) => values,
        _ => return None,
    };
    let mut points: Vec<Range<Key>> = (values.iter())
        .map(|value| put(base.clone(), kind, value).map(KeyBuilder::prefix))
        .collect::<Option<_>>()?;
    points.sort_by(|a, b| a.start.cmp(&b.start));
    points.dedup();
    Some(points)
}

fn one(base: &KeyBuilder, kind: Kind, test: &Test, now: Timestamp) -> Option<Range<Key>> {
    let whole = base.clone().prefix();
    let at = |value: &Value| put(base.clone(), kind, value).map(KeyBuilder::prefix);
    let day = |day: Date| When::Day(day);
    match test.operand {
        Operand::Is => at(&test.value),
        Operand::StartsWith => {
            let prefix = test.value.as_str()?;
            Some(base.clone().str_prefix(&folded(prefix)).prefix())
        }
        Operand::LessThan | Operand::LessOrEqual => Some(whole.start..at(&test.value)?.end),
        Operand::GreaterThan | Operand::GreaterOrEqual => Some(at(&test.value)?.start..whole.end),
        Operand::Before | Operand::OnOrBefore => {
            Some(whole.start..time(base, kind, moment(&test.value, now)?, true)?)
        }
        Operand::After | Operand::OnOrAfter => {
            Some(time(base, kind, moment(&test.value, now)?, false)?..whole.end)
        }
        Operand::On => {
            let on = day(moment(&test.value, now)?.day());
            Some(time(base, kind, on, false)?..time(base, kind, on, true)?)
        }
        Operand::Within => {
            let (first, last) = period_days(&test.value, now)?;
            Some(time(base, kind, day(first), false)?..time(base, kind, day(last), true)?)
        }
        _ => None,
    }
}

fn moment(value: &Value, now: Timestamp) -> Option<When> {
    When::parse_or_named(value.as_str()?).ok().map(|named: Named| named.at(now))
}

/// The key of a moment: the last one that it touches with `end`, else the first.
fn time(base: &KeyBuilder, kind: Kind, when: When, end: bool) -> Option<Key> {
    let range = match kind {
        Kind::Date => put(base.clone(), kind, &when.day().to_string().into())?.prefix(),
        Kind::DateTime => {
            let millis = moment_millis(when, end)?;
            base.clone().i64(millis).prefix()
        }
        _ => return None,
    };
    Some(if end { range.end } else { range.start })
}

/// The first or last millisecond of a moment.
pub(super) fn moment_millis(when: When, end: bool) -> Option<i64> {
    match when {
        When::Instant(instant) => Some(instant.as_millisecond()),
        When::Day(day) => {
            let day = if end { day.tomorrow().ok()? } else { day };
            let start = day.at(0, 0, 0, 0).to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?;
            Some(start.timestamp().as_millisecond())
        }
    }
}

/// The milliseconds in which `createdAt` must lie for all of `tests` to hold.
pub(super) fn created_between(tests: &[&Test], now: Timestamp) -> Option<(i64, i64)> {
    let (mut from, mut to) = (i64::MIN, i64::MAX);
    for test in tests {
        let when = || moment(&test.value, now);
        let bounds = match test.operand {
            Operand::Is => {
                when().and_then(|when| Some((moment_millis(when, false)?, moment_millis(when, true)?)))
            }
            Operand::Before | Operand::OnOrBefore => {
                when().and_then(|when| Some((i64::MIN, moment_millis(when, true)?)))
            }
            Operand::After | Operand::OnOrAfter => {
                when().and_then(|when| Some((moment_millis(when, false)?, i64::MAX)))
            }
            Operand::On => when()
                .map(|when| When::Day(when.day()))
                .and_then(|day| Some((moment_millis(day, false)?, moment_millis(day, true)?))),
            Operand::Within => period_days(&test.value, now).and_then(|(first, last)| {
                Some((moment_millis(When::Day(first), false)?, moment_millis(When::Day(last), true)?))
            }),
            _ => None,
        };
        if let Some((after, before)) = bounds {
            (from, to) = (from.max(after), to.min(before));
        }
    }
    (from != i64::MIN || to != i64::MAX).then_some((from, to))
}
