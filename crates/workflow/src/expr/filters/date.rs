//! Filters on dates and times: texts like `2026-03-31` and `2026-03-31T12:00:00Z`.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRound, Timestamp, Unit, ZonedDateTime};
use serde_json::Value;

use super::super::json::{integer, kind};
use super::super::undefined::cut;
use super::Given;

type Made = Result<Value, String>;

/// What a text of a date or a time means.
enum Moment {
    Day(Date),
    Instant(Timestamp),
}

fn moment(input: &Value) -> Result<Moment, String> {
    let Value::String(text) = input else {
        return Err(format!("needs a date or a time as a text, not {}", kind(input)));
    };
    let text = text.trim();
    // A day has nothing behind it; jiff would read the day of a time as well.
    if text.len() <= 10
        && let Ok(day) = text.parse::<Date>()
    {
        return Ok(Moment::Day(day));
    }
    text.parse::<Timestamp>().map(Moment::Instant).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        format!(
            "{shown:?} is neither a date (`2026-03-31`) nor a time with its offset (`2026-03-31T12:00:00Z`)"
        )
    })
}

fn zone(given: &Given<'_>, place: usize) -> Result<TimeZone, String> {
    match given.text(place, "tz")? {
        None => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(&name).map_err(|_| format!("there is no time zone {:?}", cut(&name))),
    }
}

fn zoned(moment: &Moment, zone: &TimeZone) -> Result<ZonedDateTime, String> {
    match moment {
        Moment::Day(day) => day.to_zoned_datetime(zone.clone()).map_err(|error| error.to_string()),
        Moment::Instant(instant) => Ok(instant.to_zoned_datetime(zone.clone())),
    }
}

/// A format can ask for more than it is long.
const MAX_FORMAT: usize = 200;

/// By a strftime format (`%Y-%m-%d` when none is given), in a time zone (UTC when none is given).
pub(super) fn date(input: &Value, given: &Given<'_>) -> Made {
    let format = given.text(0, "format")?.unwrap_or("%Y-%m-%d".into());
    if format.len() > MAX_FORMAT {
        return Err(format!("a format is at most {MAX_FORMAT} bytes long"));
    }
    let zoned = zoned(&moment(input)?, &zone(given, 1)?)?;
    let written = jiff::fmt::strtime::format(format.as_bytes(), &zoned);
    written.map(Value::from).map_err(|error| format!("the format {format:?}: {error}"))
}

/// Adds a span: `3 days`, `-1 month`, `2h30m`, `P1W`. A date stays a date unless hours or less are added.
pub(super) fn date_add(input: &Value, given: &Given<'_>) -> Made {
    let text = given.text(0, "span")?.unwrap_or_default();
    let span: Span =
        text.parse().map_err(|_| format!("{:?} is no span like `3 days`, `2h` or `P1M`", cut(&text)))?;
    let moment = moment(input)?;
    let whole_days = span.get_hours() == 0
        && span.get_minutes() == 0
        && span.get_seconds() == 0
        && span.get_milliseconds() == 0
        && span.get_microseconds() == 0
        && span.get_nanoseconds() == 0;
    let too_far = |error: jiff::Error| error.to_string();
    if let (Moment::Day(day), true) = (&moment, whole_days) {
        return Ok(day.checked_add(span).map_err(too_far)?.to_string().into());
    }
    let sum = zoned(&moment, &zone(given, 1)?)?.checked_add(span).map_err(too_far)?;
    Ok(sum.timestamp().to_string().into())
}

/// How many whole units (`days`) the value is after the other one; negative when before.
pub(super) fn date_diff(input: &Value, given: &Given<'_>) -> Made {
    let other = given.get(0, "other").ok_or("needs something to compare with")?;
    let unit = given.text(1, "unit")?.unwrap_or("days".into());
    let unit = match &*unit {
        "seconds" | "second" => Unit::Second,
        "minutes" | "minute" => Unit::Minute,
        "hours" | "hour" => Unit::Hour,
        "days" | "day" => Unit::Day,
        "weeks" | "week" => Unit::Week,
        "months" | "month" => Unit::Month,
        "years" | "year" => Unit::Year,
        other => {
            return Err(format!(
                "there is no unit {:?}: seconds, minutes, hours, days, weeks, months, years",
                cut(other)
            ));
        }
    };
    let later = zoned(&moment(input)?, &TimeZone::UTC)?;
    let earlier = zoned(&moment(other)?, &TimeZone::UTC)?;
    let span = earlier.until((unit, &later)).map_err(|error| error.to_string())?;
    let round = SpanRound::new().largest(unit).smallest(unit).mode(jiff::RoundMode::Trunc).relative(&earlier);
    let span = span.round(round).map_err(|error| error.to_string())?;
    let amount = match unit {
        Unit::Second => span.get_seconds(),
        Unit::Minute => span.get_minutes(),
        Unit::Hour => i64::from(span.get_hours()),
        Unit::Day => i64::from(span.get_days()),
        Unit::Week => i64::from(span.get_weeks()),
        Unit::Month => i64::from(span.get_months()),
        _ => i64::from(span.get_years()),
    };
    integer(i128::from(amount))
}
