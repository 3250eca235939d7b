//! Times as RFC 3339 writes them, so far that they can be compared.

/// Seconds since 1970 in UTC, and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(i64, u32);

impl Instant {
    /// `2026-03-02T02:00:00.25+01:00`; a date by itself is its midnight in UTC.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let date = text.get(..10)?;
        let mut parts = date.split('-');
        let days = days(digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?)?;
        let rest = text.get(10..)?;
        if rest.is_empty() {
            return Some(Self(days * 86_400, 0));
        }
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let mut clock = rest.get(..8)?.split(':');
        let (hour, minute) = (digits(clock.next()?, 2)?, digits(clock.next()?, 2)?);
        let second = digits(clock.next()?, 2)?;
        // 60 is a leap second.
        if clock.next().is_some() || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let rest = rest.get(8..)?;
        let end = rest.find(['Z', 'z', '+', '-'])?;
        let (fraction, zone) = rest.split_at(end);
        let nanos = match fraction.strip_prefix('.') {
            Some(fraction) if !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit()) => {
                let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
                nine.parse().ok()?
            }
            None if fraction.is_empty() => 0,
            _ => return None,
        };
        let offset = if zone.eq_ignore_ascii_case("z") {
            0
        } else {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        };
        Some(Self(days * 86_400 + hour * 3600 + minute * 60 + second - offset, nanos))
    }

    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0 + seconds, self.1)
    }
}

/// The same moment with no more parts of a second than a field for times takes: nine digits.
pub fn short(text: &str) -> String {
    let Some((whole, rest)) = text.split_once('.') else { return text.to_owned() };
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    format!("{whole}.{}{}", &rest[..end.min(9)], &rest[end..])
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days since 1 January 1970 in the Gregorian calendar, counted from 1 March so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_several_spellings_is_one() {
        let moment = Instant::read("2026-03-02T01:00:00Z");
        assert_eq!(moment, Some(Instant(1_772_413_200, 0)));
        for text in ["2026-03-02T02:00:00+01:00", "2026-03-01 20:30:00.000-04:30", "2026-03-02t01:00:00z"] {
            assert_eq!(Instant::read(text), moment, "{text}");
        }
        assert_eq!(Instant::read("2026-03-02"), Instant::read("2026-03-02T00:00:00Z"));
    }

    #[test]
    fn parts_of_a_second_count() {
        let read = |text| Instant::read(text).expect("a time");
        assert!(read("2026-03-02T01:00:00.5Z") > read("2026-03-02T01:00:00.25Z"));
        assert!(read("2026-03-02T01:00:00.1234567891Z") >= read("2026-03-02T01:00:00.123456789Z"));
    }

    #[test]
    fn parts_of_a_second_are_shortened() {
        assert_eq!(short("2026-03-02T01:00:00.1234567891+01:00"), "2026-03-02T01:00:00.123456789+01:00");
        for text in ["2026-03-02T01:00:00Z", "2026-03-02T01:00:00.5Z", "2026-03-02"] {
            assert_eq!(short(text), text);
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "soon",
            "2026-02-29",
            "2026-13-01",
            "2026-03-02T",
            "2026-03-02T24:00:00Z",
            "2026-03-02T01:00Z",
            "2026-03-02T01:00:00",
            "2026-03-02T01:00:00.Z",
            "2026-03-02T01:00:00+1",
            "2026-03-02T01:00:00Zz",
            "+026-03-02",
            "2026-03-02T01:00:0é",
        ] {
            assert_eq!(Instant::read(text), None, "{text}");
        }
    }
}
