//! Dates and instants in their stored spelling.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::{Serialize, Serializer};

use super::Misfit;
use crate::filter::{LAST, When, quoted};

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
        .and_then(|instant| InstantText::of(instant.as_millisecond()))
        .map(|instant| instant.as_str().to_owned())
        .ok_or_else(|| {
            Misfit::new(format!("{} is not between 0000-01-01T00:00:00.000Z and {LAST}", quoted(text)))
        })
}

/// The first millisecond of the year 0000.
const YEAR_0: i64 = -62_167_219_200_000;

/// An instant as it is written in records.
pub(crate) struct InstantText([u8; 24]);

impl InstantText {
    /// Milliseconds since 1970; `None` outside the years 0000 to 9999.
    pub fn of(millis: i64) -> Option<InstantText> {
        let time = Timestamp::from_millisecond(millis).ok().filter(|_| millis >= YEAR_0)?;
        let time = Offset::UTC.to_datetime(time);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        // Every record has two of them, and a general formatter takes ten times as long.
        let mut put = |at: std::ops::Range<usize>, mut number: i16| {
            for digit in text[at].iter_mut().rev() {
                *digit += (number % 10) as u8;
                number /= 10;
            }
        };
        put(0..4, time.year());
        put(5..7, time.month().into());
        put(8..10, time.day().into());
        put(11..13, time.hour().into());
        put(14..16, time.minute().into());
        put(17..19, time.second().into());
        put(20..23, time.millisecond());
        Some(InstantText(text))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Serialize for InstantText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
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
        let text = |millis| InstantText::of(millis).map(|instant| instant.as_str().to_owned());
        let spelled = |millis| text(millis).unwrap_or_default();
        assert_eq!(spelled(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(spelled(1_774_949_400_005), "2026-03-31T09:30:00.005Z");
        assert_eq!(spelled(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(spelled(YEAR_0), "0000-01-01T00:00:00.000Z");
        assert_eq!(text(YEAR_0 - 1), None);
        assert_eq!(spelled(253_402_207_200_000), "9999-12-30T22:00:00.000Z");
        assert_eq!(text(i64::MAX), None);
        let last = timestamp(LAST).unwrap();
        assert_eq!((spelled(last).as_str(), text(last + 1)), (LAST, None));
    }

    proptest::proptest! {
        #[test]
        fn an_instant_is_spelled_as_everywhere_else(millis in YEAR_0..253_402_207_200_000) {
            let time = Timestamp::from_millisecond(millis).unwrap();
            let spelled = InstantText::of(millis).map(|instant| instant.as_str().to_owned());
            proptest::prop_assert_eq!(spelled, Some(format!("{time:.3}")));
        }
    }
}
