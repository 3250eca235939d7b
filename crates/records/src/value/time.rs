//! Dates and instants in their stored spelling.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Misfit;
use crate::filter::{When, quoted};

/// `2026-03-31`.
pub(super) fn date(text: &str) -> Result<String, Misfit> {
    match When::parse(text) {
        Ok(When::Day(day)) if (0..=9999).contains(&day.year()) => Ok(day.to_string()),
        Ok(When::Instant(_)) => {
            Err(Misfit::new(format!("{} is a date-time, and the field is a date", quoted(text)))
                .hint(format!("write {}", quoted(&text.trim().chars().take(10).collect::<String>()))))
        }
        _ => {
            Err(Misfit::new(format!("{} is not a date", quoted(text))).hint("write one like \"2026-03-31\""))
        }
    }
}

/// `2026-03-31T09:30:00.000Z`; a date alone is its first moment in UTC.
pub(super) fn instant(text: &str) -> Result<String, Misfit> {
    let instant = match When::parse(text) {
        Ok(When::Instant(instant)) => Some(instant),
        Ok(When::Day(day)) => day.at(0, 0, 0, 0).to_zoned_datetime(TimeZone::UTC).ok().map(|z| z.timestamp()),
        Err(why) => return Err(Misfit::new(why)),
    };
    instant
        .and_then(|instant| instant_text(instant.as_millisecond()))
        .ok_or_else(|| Misfit::new(format!("{} is outside the years 0000 to 9999", quoted(text))))
}

/// The first millisecond of the year 0000.
const YEAR_0: i64 = -62_167_219_200_000;

/// Milliseconds since 1970 as they are written in records; `None` outside the years 0000 to 9999.
fn instant_text(millis: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(millis).ok()?;
    (millis >= YEAR_0).then(|| format!("{time:.3}"))
}

/// The same as a value: null outside those years.
pub(crate) fn instant_value(millis: i64) -> serde_json::Value {
    instant_text(millis).map_or(serde_json::Value::Null, serde_json::Value::from)
}

/// Milliseconds of a stored instant.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_one_spelling() {
        let spelled = |millis| instant_text(millis).unwrap_or_default();
        assert_eq!(spelled(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(spelled(1_774_949_400_005), "2026-03-31T09:30:00.005Z");
        assert_eq!(spelled(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(spelled(YEAR_0), "0000-01-01T00:00:00.000Z");
        assert_eq!(instant_text(YEAR_0 - 1), None);
        assert_eq!(spelled(253_402_207_200_000), "9999-12-30T22:00:00.000Z");
        assert_eq!(instant_text(i64::MAX), None);
    }
}
