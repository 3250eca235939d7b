//! Dates and date-times as operands, and periods relative to now (`within: {last: "7d"}`).

use std::cmp::Ordering;

use jiff::civil::{Date, Weekday};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use serde_json::Value;

use super::operand::{Misfit, quoted, shown};

/// A point in time as data has it: a calendar day, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Day(Date),
    Instant(Timestamp),
}

/// A [`When`] or a word for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    When(When),
    Now,
    Today,
}

/// The last millisecond that a record can hold.
pub(crate) const LAST: &str = "9999-12-30T22:00:00.000Z";

/// Whether a text is a date-time with an offset that no instant can name, as it is too late.
fn is_beyond(text: &str) -> bool {
    Pieces::parse(text).is_ok_and(|pieces| {
        pieces.date().year() == 9999 && pieces.time().is_some() && pieces.offset().is_some()
    })
}

impl When {
    /// `2026-03-31`, or RFC 3339 with an offset.
    pub fn parse(text: &str) -> Result<When, String> {
        let text = text.trim();
        if text.len() == 10
            && let Ok(day) = text.parse::<Date>()
        {
            return Ok(When::Day(day));
        }
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(When::Instant(instant));
        }
        if is_beyond(text) {
            return Err(format!("{} is later than {LAST}, the last date-time there is", quoted(text)));
        }
        if text.parse::<jiff::civil::DateTime>().is_ok() {
            return Err(format!(
                "{} has no time zone; write it like \"2026-03-31T09:30:00Z\" or \"…+02:00\"",
                quoted(text)
            ));
        }
        Err(format!(
            "{} is neither a date like \"2026-03-31\" nor a date-time like \"2026-03-31T09:30:00Z\"",
            quoted(text)
        ))
    }

    pub(crate) fn parse_or_named(text: &str) -> Result<Named, String> {
        match text.trim() {
            "now" => Ok(Named::Now),
            "today" => Ok(Named::Today),
            text => When::parse(text).map(Named::When),
        }
    }

    pub fn day(self) -> Date {
        match self {
            When::Day(day) => day,
            When::Instant(instant) => day_of(instant),
        }
    }

    /// Two instants by their instants; with a day on either side, by calendar days in UTC.
    pub fn order(self, other: When) -> Ordering {
        match (self, other) {
            (When::Instant(a), When::Instant(b)) => a.cmp(&b),
            _ => self.day().cmp(&other.day()),
        }
    }
}

impl Named {
    pub(crate) fn at(self, now: Timestamp) -> When {
        match self {
            Named::When(when) => when,
            Named::Now => When::Instant(now),
            Named::Today => When::Day(day_of(now)),
        }
    }
}

fn day_of(instant: Timestamp) -> Date {
    instant.to_zoned_datetime(TimeZone::UTC).date()
}

/// The value of `within`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Period {
    Last(Span),
    Next(Span),
    This(Unit),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Day,
    Week,
    Month,
    Year,
}

const PERIODS: &str = r#"for example {"last": "7d"}, {"next": "2 weeks"} or {"this": "month"}"#;

pub(super) fn parse_period(value: &Value) -> Result<Period, Misfit> {
    let wrong = |message: String| Err((message, Some(PERIODS.to_owned())));
    let Value::Object(object) = value else {
        return wrong(format!("`within` takes a period, not {}", shown(value)));
    };
    let mut entries = object.iter();
    let (Some((key, length)), None) = (entries.next(), entries.next()) else {
        return wrong("`within` takes exactly one of `last`, `next`, `this`".into());
    };
    let Value::String(text) = length else {
        return wrong(format!("`within.{key}` takes a text, not {}", shown(length)));
    };
    match key.as_str() {
        "last" => span(text).map(Period::Last),
        "next" => span(text).map(Period::Next),
        "this" => match text.trim() {
            "day" => Ok(Period::This(Unit::Day)),
            "week" => Ok(Period::This(Unit::Week)),
            "month" => Ok(Period::This(Unit::Month)),
            "year" => Ok(Period::This(Unit::Year)),
            _ => wrong(format!("`within.this` takes day, week, month or year, not {}", quoted(text))),
        },
        other => wrong(format!("`within` has no `{other}`: it takes `last`, `next` or `this`")),
    }
}

fn span(text: &str) -> Result<Span, Misfit> {
    let wrong = |why: &str| Err((format!("{} {why}", quoted(text)), Some(PERIODS.to_owned())));
    match text.trim().parse::<Span>() {
        Ok(span) if span.is_positive() => Ok(span),
        Ok(_) => wrong("is not a length of time greater than zero"),
        Err(_) => wrong("is not a length of time, such as \"36h\", \"7d\", \"2 weeks\" or \"3 months\""),
    }
}

impl Period {
    /// The first and the last day that the period touches, in UTC.
    pub(super) fn days(self, now: Timestamp) -> Option<(Date, Date)> {
        let today = day_of(now);
        match self {
            Period::Last(span) => {
                Some((now.to_zoned_datetime(TimeZone::UTC).checked_sub(span).ok()?.date(), today))
            }
            Period::Next(span) => {
                Some((today, now.to_zoned_datetime(TimeZone::UTC).checked_add(span).ok()?.date()))
            }
            Period::This(_) => Some((today.checked_sub(1.year()).ok()?, today.checked_add(1.year()).ok()?)),
        }
    }

    /// Whether `when` lies in the period around `now`; both ends count. Days are compared with days.
    pub(super) fn holds(self, when: When, now: Timestamp) -> Result<bool, String> {
        let zoned = now.to_zoned_datetime(TimeZone::UTC);
        let too_long = |_| "the period reaches past the years that dates can have".to_owned();
        let (from, to) = match self {
            Period::Last(span) => (zoned.checked_sub(span).map_err(too_long)?, zoned),
            Period::Next(span) => (zoned.clone(), zoned.checked_add(span).map_err(too_long)?),
            Period::This(unit) => {
                let today = zoned.date();
                let first = match unit {
                    Unit::Day => Ok(today),
                    Unit::Week => match today.weekday() {
                        Weekday::Monday => Ok(today),
                        _ => today.nth_weekday(-1, Weekday::Monday),
                    },
                    Unit::Month => Ok(today.first_of_month()),
                    Unit::Year => Ok(today.first_of_year()),
                };
                let first = first.map_err(too_long)?;
                let length = match unit {
                    Unit::Day => 1.day(),
                    Unit::Week => 1.week(),
                    Unit::Month => 1.month(),
                    Unit::Year => 1.year(),
                };
                let end = first.checked_add(length).map_err(too_long)?;
                let day = when.day();
                return Ok(first <= day && day < end);
            }
        };
        Ok(match when {
            When::Day(day) => from.date() <= day && day <= to.date(),
            When::Instant(instant) => from.timestamp() <= instant && instant <= to.timestamp(),
        })
    }
}

/// The first and the last day that a `within` touches.
pub(crate) fn period_days(value: &Value, now: Timestamp) -> Option<(Date, Date)> {
    parse_period(value).ok()?.days(now)
}
