//! Days: what "by Friday" means on the day of the call. Nothing here knows today.

/// Days since 1 January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const NUMBERS: [&str; 10] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

impl Day {
    /// The proleptic Gregorian calendar, counted from 1 March so that leap days come last.
    fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=length).contains(&day) || !(1..=9999).contains(&year) {
            return None;
        }
        let shifted = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Some(Self(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468))
    }

    fn year_month_day(self) -> (i64, i64, i64) {
        let days = self.0 + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (era * 400 + year + i64::from(month <= 2), month, day)
    }

    /// 0 is Monday.
    fn weekday(self) -> i64 {
        (self.0 + 3).rem_euclid(7)
    }

    pub fn iso(self) -> String {
        let (year, month, day) = self.year_month_day();
        format!("{year:04}-{month:02}-{day:02}")
    }
}

/// `2026-03-02`
pub fn parse(text: &str) -> Option<Day> {
    let mut parts = text.trim().split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    Day::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// The day that a sentence speaks of, counted from the day of the call.
pub fn due(sentence: &str, call: Day) -> Option<Day> {
    let lower = sentence.to_ascii_lowercase();
    let words: Vec<&str> = lower
        .split(|char: char| !char.is_alphanumeric() && char != '-')
        .filter(|word| !word.is_empty())
        .collect();
    (0..words.len()).find_map(|at| starting_at(&words[at..], call))
}

fn starting_at(words: &[&str], call: Day) -> Option<Day> {
    let after = |days: i64| Some(Day(call.0 + days));
    match words {
        ["today" | "tonight", ..] => after(0),
        ["tomorrow", ..] => after(1),
        ["end", "of", "the" | "this", "week", ..] | ["end", "of", "week", ..] | ["eow", ..] => {
            after((4 - call.weekday()).rem_euclid(7))
        }
        ["next", "week", ..] => after(7 - call.weekday()),
        ["next", day, ..] => {
            after(until(day, call)? + if until(day, call)? + call.weekday() < 7 { 7 } else { 0 })
        }
        ["by" | "on" | "until" | "before" | "this", day, ..] if until(day, call).is_some() => {
            after(until(day, call)?)
        }
        ["in" | "within", count, unit, ..] => {
            let days = match unit.trim_end_matches('s') {
                "day" => 1,
                "week" => 7,
                _ => return None,
            };
            after(number(count)?.checked_mul(days)?)
        }
        [month, day, ..] if MONTHS.contains(month) => in_year(month, day, call),
        [day, "of", month, ..] if MONTHS.contains(month) => in_year(month, day, call),
        [day, month, ..] if MONTHS.contains(month) => in_year(month, day, call),
        [date, ..] => parse(date),
        [] => None,
    }
}

/// Days to the next such weekday; the day of the call itself counts as a week.
fn until(name: &str, call: Day) -> Option<i64> {
    let at = WEEKDAYS.iter().position(|day| *day == name)?;
    let days = (i64::try_from(at).ok()? - call.weekday()).rem_euclid(7);
    Some(if days == 0 { 7 } else { days })
}

fn number(text: &str) -> Option<i64> {
    let word = NUMBERS.iter().position(|number| *number == text).and_then(|at| i64::try_from(at + 1).ok());
    let number = word.or_else(|| matches!(text, "a" | "an").then_some(1)).or_else(|| text.parse().ok())?;
    (0..=366).contains(&number).then_some(number)
}

/// A day and month without a year: the next time they come.
fn in_year(month: &str, day: &str, call: Day) -> Option<Day> {
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)? + 1).ok()?;
    let day = day.trim_end_matches(|char: char| char.is_alphabetic()).parse().ok()?;
    let (year, _, _) = call.year_month_day();
    let this_year = Day::new(year, month, day).filter(|date| *date >= call);
    this_year.or_else(|| Day::new(year + 1, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Monday.
    fn due_text(sentence: &str) -> Option<String> {
        due(sentence, parse("2026-03-02").expect("a day")).map(Day::iso)
    }

    #[test]
    fn days_survive_the_way_there_and_back() {
        for text in ["1970-01-01", "2000-02-29", "2024-12-31", "2026-03-02", "0001-01-01", "9999-12-31"] {
            assert_eq!(parse(text).map(Day::iso).as_deref(), Some(text));
        }
        assert_eq!(parse("1970-01-01"), Some(Day(0)));
        assert_eq!(parse("2026-03-02").map(Day::weekday), Some(0));
        for text in
            ["2026-02-29", "2026-13-01", "2026-00-01", "2026-1-1", "26-01-01", "2026-01-01-01", "soon"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_people_say_becomes_a_day() {
        let cases = [
            ("I'll send it today.", "2026-03-02"),
            ("by tomorrow", "2026-03-03"),
            ("by Friday, please", "2026-03-06"),
            ("before Monday", "2026-03-09"),
            ("next Wednesday", "2026-03-11"),
            ("next week", "2026-03-09"),
            ("by the end of the week", "2026-03-06"),
            ("by EOW", "2026-03-06"),
            ("in two weeks", "2026-03-16"),
            ("within 10 days", "2026-03-12"),
            ("by March 20th", "2026-03-20"),
            ("on the 3rd of April", "2026-04-03"),
            ("by 1 February", "2027-02-01"),
            ("until 2026-05-01.", "2026-05-01"),
        ];
        for (sentence, day) in cases {
            assert_eq!(due_text(sentence).as_deref(), Some(day), "{sentence}");
        }
    }

    #[test]
    fn what_is_no_day_stays_none() {
        for sentence in
            ["soon", "in a moment", "by Friday's standards of 2026-99-99", "in 99999999999 weeks", "may I?"]
        {
            let due = due_text(sentence);
            assert!(due.is_none() || sentence.contains("Friday"), "{sentence}: {due:?}");
        }
    }
}
