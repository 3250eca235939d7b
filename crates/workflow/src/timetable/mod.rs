//! When a schedule's times are: by the wall of a time zone, or at equal distances.
//!
//! When clocks are put forward or back, an expression that names hours keeps to one run for each time on the wall: a
//! time that the clock leaps over is run at the moment of the leap, and of a time that comes twice the first counts. An
//! expression that leaves the hour open (`*/15 * * * *`) is about spans of time: what the clock leaps over does not
//! exist for it, and what comes twice is run twice.

mod cron;

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, TimeZone};

pub use cron::Cron;

use crate::model::Schedule;

/// The times of a schedule.
#[derive(Debug, Clone, PartialEq)]
pub enum Timetable {
    Cron(Box<Cron>, TimeZone),
    Every(Duration),
}

impl Timetable {
    pub fn of(schedule: &Schedule) -> Result<Timetable, String> {
        match (&schedule.cron, schedule.every) {
            (Some(cron), None) => {
                let cron = Cron::parse(cron)?;
                let zone = time_zone(&schedule.time_zone)?;
                Ok(Timetable::Cron(Box::new(cron), zone))
            }
            (None, Some(every)) => Ok(Timetable::Every(every.as_duration())),
            _ => Err("a schedule has one of `cron` and `every`".to_owned()),
        }
    }

    /// The first time after this one. `anchor` is where equal distances are counted from.
    pub fn after(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        match self {
            Timetable::Every(every) => {
                let every = i128::try_from(every.as_nanos()).ok()?;
                let past = after.as_nanosecond() - anchor.as_nanosecond();
                let next = past.div_euclid(every) + 1;
                Timestamp::from_nanosecond(anchor.as_nanosecond() + next.max(1) * every).ok()
            }
            Timetable::Cron(cron, zone) if cron.open_hours() => spans(cron, zone, after),
            Timetable::Cron(cron, zone) => times_of_day(cron, zone, after),
        }
    }
}

/// A zone by its name in the IANA database.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!(
            "`{name}` is no time zone; they have names such as `UTC`, `Europe/Berlin` or `America/New_York`"
        )
    })
}

/// Times on the wall, each once.
fn times_of_day(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut from = zone.to_datetime(after);
    loop {
        let wall = cron.next(from)?;
        let at = match zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok()?,
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok()?,
            AmbiguousOffset::Gap { before, .. } => {
                // By the clock before the leap it is somewhat after it.
                let past = before.to_timestamp(wall).ok()?;
                let leaps = past.checked_add(Duration::from_secs(1)).ok()?;
                zone.preceding(leaps).next().map_or(past, |leap| leap.timestamp())
            }
        };
        if at > after {
            return Some(at);
        }
        from = wall.checked_add(jiff::Span::new().seconds(1)).ok()?;
    }
}

/// Times as they come while time passes.
fn spans(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut from = after.checked_add(Duration::from_nanos(1)).ok()?;
    loop {
        let offset = zone.to_offset(from);
        let wall = cron.next(offset.to_datetime(from))?;
        let at = offset.to_timestamp(wall).ok()?;
        // Up to the next change of the clock the wall goes on evenly.
        match zone.following(from).next() {
            Some(change) if change.timestamp() <= at => from = change.timestamp(),
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let zone = time_zone(zone).unwrap();
        let table = Timetable::Cron(Box::new(Cron::parse(cron).unwrap()), zone.clone());
        let mut at: Timestamp = after.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = table.after(at, at).unwrap();
            found.push(at.to_zoned_datetime(zone.clone()).strftime("%m-%d %H:%M %z").to_string());
        }
        found
    }

    /// In Berlin clocks go from 2:00 to 3:00 on 2026-03-29, and from 3:00 back to 2:00 on 2026-10-25.
    const SPRING: &str = "2026-03-28T12:00:00Z";
    const AUTUMN: &str = "2026-10-24T12:00:00Z";

    #[test]
    fn a_time_that_does_not_exist_is_run_when_the_clock_leaps_over_it() {
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", SPRING, 2),
            ["03-29 03:00 +0200", "03-30 02:30 +0200"]
        );
        // What the leap brings together is one time.
        assert_eq!(
            times("0,30 2,3 * * *", "Europe/Berlin", SPRING, 3),
            ["03-29 03:00 +0200", "03-29 03:30 +0200", "03-30 02:00 +0200",]
        );
        assert_eq!(times("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", 1), ["11-04 01:00 -0200"]);
    }

    #[test]
    fn a_time_that_exists_twice_is_run_the_first_time() {
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", AUTUMN, 2),
            ["10-25 02:30 +0200", "10-26 02:30 +0100"]
        );
        // Asked between the two.
        assert_eq!(times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", 1), ["10-26 02:30 +0100"]);
    }

    #[test]
    fn spans_of_time_stay_as_long_as_they_are() {
        assert_eq!(
            times("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3),
            ["03-29 01:30 +0100", "03-29 03:00 +0200", "03-29 03:30 +0200",]
        );
        assert_eq!(
            times("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", 4),
            ["10-25 02:30 +0200", "10-25 02:00 +0100", "10-25 02:30 +0100", "10-25 03:00 +0100",]
        );
        // Half an hour's change.
        assert_eq!(
            times("0 * * * *", "Australia/Lord_Howe", "2026-04-04T14:30:00Z", 3),
            ["04-05 02:00 +1030", "04-05 03:00 +1030", "04-05 04:00 +1030",]
        );
    }

    #[test]
    fn equal_distances_are_counted_from_their_anchor() {
        let table = Timetable::Every(Duration::from_secs(900));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let anchor = at("2026-01-01T00:07:00Z");
        assert_eq!(table.after(anchor, anchor), Some(at("2026-01-01T00:22:00Z")));
        assert_eq!(table.after(at("2026-01-01T00:22:00.5Z"), anchor), Some(at("2026-01-01T00:37:00Z")));
        assert_eq!(table.after(at("2025-01-01T00:00:00Z"), anchor), Some(at("2026-01-01T00:22:00Z")));
    }
}
