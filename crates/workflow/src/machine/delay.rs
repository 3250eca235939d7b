//! Up to when a delay waits.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::failure::{Failure, code};
use super::render;
use crate::expr::{Scope, Template};
use crate::graph::DelayPlan;
use crate::model::{Delay, Millis};

/// The end of a delay that starts now.
pub(super) fn due(plan: &DelayPlan, scope: &dyn Scope) -> Result<Timestamp, Failure> {
    let now = scope.now();
    let text = |place: &str, template: &Template| {
        let rendered = template.render_text(scope);
        rendered.map(|text| text.text).map_err(|error| render::template_failure(error.under(place)))
    };
    let (place, due) = match plan {
        DelayPlan::For(span) => {
            let text = text("for", span)?;
            let span = text.trim().parse::<Millis>();
            let span = span.map_err(|_| wrong("for", "a duration like `30s`, `1h30m` or `7d`", &text))?;
            let span = i64::try_from(span.0).map(SignedDuration::from_millis);
            ("for", span.ok().and_then(|span| now.checked_add(span).ok()))
        }
        DelayPlan::Until(until) => {
            let text = text("until", until)?;
            let due = time(&text);
            let wanted = "a time with its offset (`2026-03-31T09:00:00Z`), or a date";
            ("until", Some(due.ok_or_else(|| wrong("until", wanted, &text))?))
        }
    };
    let last =
        now.checked_add(SignedDuration::from_millis(Delay::LONGEST.0 as i64)).unwrap_or(Timestamp::MAX);
    match due {
        Some(due) if due <= last => Ok(due),
        _ => {
            let message = format!("{place}: a delay is at most {} long", Delay::LONGEST);
            Err(Failure::engine(code::INVALID_STEP, message))
        }
    }
}

/// A time, or the midnight in UTC that a day begins with.
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    match text.parse::<Date>() {
        Ok(day) if text.len() <= 10 => {
            day.to_zoned_datetime(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        }
        _ => text.parse().ok(),
    }
}

fn wrong(place: &str, wanted: &str, text: &str) -> Failure {
    let shown: String = text.chars().take(60).collect();
    Failure::engine(code::INVALID_STEP, format!("{place} is {wanted}, not {shown:?}"))
}
