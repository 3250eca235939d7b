//! Cron expressions: which seconds, minutes, hours, days and months, as sets.

use jiff::civil::{Date, DateTime, Weekday};

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    seconds: Set,
    minutes: Set,
    hours: Set,
    days: Set,
    /// `L`: the last day of the month.
    last_day: bool,
    months: Set,
    /// 0 is Sunday.
    weekdays: Set,
}

/// Numbers below 64, and whether they were counted from a `*`: all there are, or every so many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    bits: u64,
    open: bool,
}

impl Set {
    fn has(self, n: i8) -> bool {
        u32::try_from(n).is_ok_and(|n| n < 64 && self.bits >> n & 1 == 1)
    }

    /// The smallest that is at least `n`.
    fn from(self, n: i8) -> Option<i8> {
        (n..64).find(|n| self.has(*n))
    }
}

/// A field of the expression: its name, its first and last number, and names for its numbers.
struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", first: 0, last: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", first: 0, last: 59, names: &[] };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, names: &[] };
const DAY: Field = Field { name: "day of the month", first: 1, last: 31, names: &[] };
const MONTH: Field = Field {
    name: "month",
    first: 1,
    last: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAY: Field = Field {
    name: "day of the week",
    first: 0,
    last: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Days to look ahead: every date, the 29th of February on a Sunday included, comes again within them.
const DAYS_AHEAD: usize = 366 * 41;

impl Cron {
    /// Reads `minute hour day month weekday`, with seconds in front if there are six.
    pub fn parse(text: &str) -> Result<Cron, String> {
        let text = text.trim();
        let nickname = NICKNAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        if text.starts_with('@') && nickname.is_none() {
            let names: Vec<_> = NICKNAMES.iter().map(|(name, _)| format!("`{name}`")).collect();
            return Err(format!("`{text}` is none of {}", names.join(", ")));
        }
        let text = nickname.map_or(text, |(_, text)| text);
        let parts: Vec<&str> = text.split_whitespace().collect();
        let (second, minute, hour, day, month, weekday) = match parts[..] {
            [minute, hour, day, month, weekday] => ("0", minute, hour, day, month, weekday),
            [second, minute, hour, day, month, weekday] => (second, minute, hour, day, month, weekday),
            _ => {
                return Err(format!(
                    "a cron expression has five fields (minute, hour, day, month, weekday), or six with seconds in \
                     front; this one has {}",
                    parts.len()
                ));
            }
        };
        let (days, last_day) = match without_last(day) {
            Some(None) => (Set { bits: 0, open: false }, true),
            Some(Some(rest)) => (set(&rest, &DAY)?, true),
            None => (set(day, &DAY)?, false),
        };
        let mut weekdays = set(weekday, &WEEKDAY)?;
        // Sunday has two numbers.
        if weekdays.bits >> 7 & 1 == 1 {
            weekdays.bits = weekdays.bits & 0x7f | 1;
        }
        let hours = set(hour, &HOUR)?;
        let cron = Cron {
            seconds: set(second, &SECOND)?,
            minutes: set(minute, &MINUTE)?,
            hours,
            days,
            last_day,
            months: set(month, &MONTH)?,
            weekdays,
        };
        match cron.next(Date::constant(2000, 1, 1).at(0, 0, 0, 0)) {
            Some(_) => Ok(cron),
            None => Err("there is no such day: no month that it names has it".to_owned()),
        }
    }

    /// Whether the hour is left open: then the expression is about spans of time, not about times of the day.
    pub(super) fn open_hours(&self) -> bool {
        self.hours.open
    }

    fn on(&self, date: Date) -> bool {
        if !self.months.has(date.month()) {
            return false;
        }
        let weekday = match date.weekday() {
            Weekday::Sunday => 0,
            other => other.to_monday_one_offset(),
        };
        let day = self.days.has(date.day()) || (self.last_day && date.day() == date.days_in_month());
        let weekday = self.weekdays.has(weekday);
        // As cron has always had it: when both are written down, either will do; one with a `*` in it, also `*/2`,
        // narrows the other.
        if self.days.open || self.weekdays.open { day && weekday } else { day || weekday }
    }

    /// The first time on the wall that fits, from this one on.
    pub(super) fn next(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let mut time = (from.hour(), from.minute(), from.second());
        if from.subsec_nanosecond() > 0 {
            let after = from.checked_add(jiff::Span::new().seconds(1)).ok()?;
            date = after.date();
            time = (after.hour(), after.minute(), after.second());
        }
        for _ in 0..DAYS_AHEAD {
            if self.on(date)
                && let Some((hour, minute, second)) = self.time(time)
            {
                return Some(date.at(hour, minute, second, 0));
            }
            date = date.tomorrow().ok()?;
            time = (0, 0, 0);
        }
        None
    }

    /// The first time of a day, from this one on.
    fn time(&self, (hour, minute, second): (i8, i8, i8)) -> Option<(i8, i8, i8)> {
        let (first_minute, first_second) = (self.minutes.from(0)?, self.seconds.from(0)?);
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.from(second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = self.minutes.from(minute + 1) {
                return Some((hour, minute, first_second));
            }
        }
        self.hours.from(hour + 1).map(|hour| (hour, first_minute, first_second))
    }
}

/// What is left of a list of days without `L`: nothing if `L` was all; `None` if there is no `L`.
fn without_last(text: &str) -> Option<Option<String>> {
    let items: Vec<&str> = text.split(',').collect();
    let rest: Vec<&str> = items.iter().copied().filter(|item| !item.eq_ignore_ascii_case("L")).collect();
    (rest.len() < items.len()).then(|| (!rest.is_empty()).then(|| rest.join(",")))
}

fn set(text: &str, field: &Field) -> Result<Set, String> {
    let mut bits = 0u64;
    let mut open = false;
    for item in text.split(',') {
        let wrong = |why: String| format!("`{item}` is no {}: {why}", field.name);
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => match step.parse::<u8>() {
                Ok(step) if step > 0 => (range, Some(step)),
                _ => return Err(wrong("after `/` stands a number from 1 on".to_owned())),
            },
        };
        let (first, last) = match range.split_once('-') {
            // The last weekday is Sunday again.
            None if range == "*" => (field.first, if field.last == 7 { 6 } else { field.last }),
            None => {
                let first = number(range, field).map_err(wrong)?;
                (first, if step.is_some() { field.last } else { first })
            }
            Some((first, last)) => {
                (number(first, field).map_err(wrong)?, number(last, field).map_err(wrong)?)
            }
        };
        if first > last {
            return Err(wrong(format!("{first} comes after {last}")));
        }
        open |= range == "*";
        for n in (first..=last).step_by(usize::from(step.unwrap_or(1))) {
            bits |= 1 << n;
        }
    }
    Ok(Set { bits, open })
}

fn number(text: &str, field: &Field) -> Result<u8, String> {
    let named = field.names.iter().position(|name| text.eq_ignore_ascii_case(name));
    if let Some(place) = named.and_then(|place| u8::try_from(place).ok()) {
        return Ok(place + field.first);
    }
    match text.parse::<u8>() {
        Ok(n) if (field.first..=field.last).contains(&n) && text.bytes().all(|b| b.is_ascii_digit()) => Ok(n),
        _ => {
            let names = match field.names {
                [] => String::new(),
                [first, .., last] => format!(", or {first} to {last}"),
                [one] => format!(", or {one}"),
            };
            Err(format!(
                "it takes numbers from {} to {}{names}, `*`, lists, ranges and steps",
                field.first, field.last
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron).unwrap();
        let mut at: DateTime = from.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = cron.next(at).unwrap();
            found.push(at.to_string());
            at = at.checked_add(jiff::Span::new().seconds(1)).unwrap();
        }
        found
    }

    #[test]
    fn fields_lists_ranges_steps_and_names() {
        assert_eq!(
            next("*/15 * * * *", "2026-01-01T00:01:00", 2),
            ["2026-01-01T00:15:00", "2026-01-01T00:30:00"]
        );
        assert_eq!(
            next("0 9-17/4 * * MON-FRI", "2026-01-02T14:00:00", 3),
            ["2026-01-02T17:00:00", "2026-01-05T09:00:00", "2026-01-05T13:00:00",]
        );
        assert_eq!(
            next("*/20 30 4 * * *", "2026-01-01T04:30:41", 2),
            ["2026-01-02T04:30:00", "2026-01-02T04:30:20"]
        );
        assert_eq!(
            next("0 0 1 JAN,jul *", "2026-02-01T00:00:00", 2),
            ["2026-07-01T00:00:00", "2027-01-01T00:00:00"]
        );
        assert_eq!(next("5 4 * * 7", "2026-01-01T00:00:00", 1), ["2026-01-04T04:05:00"], "Sunday");
        assert_eq!(next("5/20 4 * * 0", "2026-01-01T00:00:00", 3)[2], "2026-01-04T04:45:00");
        assert_eq!(next("@daily", "2026-01-01T00:00:01", 1), ["2026-01-02T00:00:00"]);
    }

    #[test]
    fn a_day_of_the_month_or_of_the_week_when_both_are_given() {
        assert_eq!(
            next("0 0 13 * 5", "2026-01-01T00:00:00", 3),
            ["2026-01-02T00:00:00", "2026-01-09T00:00:00", "2026-01-13T00:00:00",]
        );
        assert_eq!(next("0 0 L 2 *", "2026-01-01T00:00:00", 1), ["2026-02-28T00:00:00"]);
        assert_eq!(
            next("0 0 1,L * *", "2026-01-02T00:00:00", 2),
            ["2026-01-31T00:00:00", "2026-02-01T00:00:00"]
        );
        assert_eq!(next("0 0 29 2 *", "2026-01-01T00:00:00", 1), ["2028-02-29T00:00:00"]);
    }

    #[test]
    fn a_step_over_all_days_narrows_them() {
        let every_other_day = ["2026-01-29T03:00:00", "2026-01-31T03:00:00", "2026-02-01T03:00:00"];
        assert_eq!(next("0 3 */2 * *", "2026-01-28T00:00:00", 3), every_other_day);
        assert_eq!(
            next("0 3 */2 * MON", "2026-01-01T00:00:00", 3),
            ["2026-01-05T03:00:00", "2026-01-19T03:00:00", "2026-02-09T03:00:00"],
            "an odd day that is a Monday"
        );
        assert_eq!(
            next("0 3 1 * */2", "2026-01-01T00:00:00", 3),
            ["2026-01-01T03:00:00", "2026-02-01T03:00:00", "2026-03-01T03:00:00"],
            "the first, on a Sunday, Tuesday, Thursday or Saturday"
        );
        assert_eq!(next("0 3 1 * */2", "2026-03-02T00:00:00", 1), ["2026-08-01T03:00:00"], "no Wednesday");
        assert_eq!(
            next("0 3 * * */3", "2026-01-01T00:00:00", 3),
            ["2026-01-03T03:00:00", "2026-01-04T03:00:00", "2026-01-07T03:00:00"]
        );
    }

    #[test]
    fn what_is_none_says_why() {
        let why = |text: &str| Cron::parse(text).unwrap_err();
        insta::assert_snapshot!(why("* * * *"), @"a cron expression has five fields (minute, hour, day, month, weekday), or six with seconds in front; this one has 4");
        insta::assert_snapshot!(why("60 * * * *"), @"`60` is no minute: it takes numbers from 0 to 59, `*`, lists, ranges and steps");
        insta::assert_snapshot!(why("0 0 * * FRY"), @"`FRY` is no day of the week: it takes numbers from 0 to 7, or SUN to SAT, `*`, lists, ranges and steps");
        insta::assert_snapshot!(why("0 17-9 * * *"), @"`17-9` is no hour: 17 comes after 9");
        insta::assert_snapshot!(why("*/0 * * * *"), @"`*/0` is no minute: after `/` stands a number from 1 on");
        insta::assert_snapshot!(why("0 0 30 2 *"), @"there is no such day: no month that it names has it");
        insta::assert_snapshot!(why("@often"), @"`@often` is none of `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`");
    }
}
