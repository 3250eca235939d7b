//! The trigger `schedule`: whether it has times, and what templates see of them.

use super::checker::Checker;
use super::types::Ty;
use crate::model::{Millis, Schedule};
use crate::timetable::{Cron, Timetable, time_zone};
use jiff::{SignedDuration, Timestamp};

/// Shorter distances are no schedule.
const SHORTEST: Millis = Millis::seconds(1);

/// So many times of a timetable are looked at, from the beginning of 2026 on.
const TIMES: usize = 500;
const FROM: i64 = 1_767_225_600;

/// The shortest time between two times of a timetable.
fn shortest(times: &Timetable) -> Option<Millis> {
    let from = Timestamp::from_second(FROM).ok()?;
    // Longer than any jitter there may be.
    let until = from.checked_add(SignedDuration::from_hours(400 * 24)).ok()?;
    let next = |at: &Timestamp| times.after(*at, from).filter(|next| *next < until);
    let all: Vec<Timestamp> = std::iter::successors(next(&from), next).take(TIMES).collect();
    let distances = all.windows(2).filter_map(|two| match two {
        [one, next] => u64::try_from(next.as_millisecond() - one.as_millisecond()).ok(),
        _ => None,
    });
    distances.min().map(Millis)
}

impl<'w> Checker<'w> {
    /// Tells what is wrong with the trigger, and gives the type of `trigger`.
    pub(super) fn schedule(&mut self, schedule: &'w Schedule) -> Ty {
        self.path.key("trigger");
        if schedule.cron.is_some() == schedule.every.is_some() {
            self.tell("invalid_value", "a schedule has one of `cron` and `every`")
                .set_hint("write `cron: \"0 2 * * *\"`, or `every: 15m`");
        }
        if let Some(Err(why)) = schedule.cron.as_deref().map(Cron::parse) {
            self.under("cron", |me| {
                me.tell("invalid_value", why);
            });
        }
        if let Err(why) = time_zone(&schedule.time_zone) {
            self.under("time_zone", |me| {
                me.tell("invalid_value", why);
            });
        }
        if let Some(every) = schedule.every {
            if every < SHORTEST {
                self.under("every", |me| {
                    me.tell("invalid_value", format!("`every` is at least {SHORTEST}"));
                });
            }
            if schedule.cron.is_none() && schedule.time_zone != Schedule::UTC {
                self.under("time_zone", |me| {
                    me.tell_key("misplaced", "equal distances are the same in every time zone")
                        .set_hint("leave `time_zone` out, or name times of the day by `cron`")
                });
            }
            if schedule.jitter.is_some_and(|jitter| jitter > every) {
                self.under("jitter", |me| {
                    me.tell(
                        "invalid_value",
                        format!("`jitter` is longer than {every}, the time between two runs"),
                    );
                });
            }
        }
        if schedule.cron.is_some()
            && let (Some(jitter), Ok(times)) = (schedule.jitter, Timetable::of(schedule))
            && let Some(shortest) = shortest(&times).filter(|shortest| jitter > *shortest)
        {
            self.under("jitter", |me| {
                me.tell(
                    "invalid_value",
                    format!("`jitter` is longer than {shortest}, the shortest time between two runs"),
                );
            });
        }
        self.path.pop();
        Ty::object(
            "a schedule's trigger",
            vec![
                ("type", Ty::Text),
                ("scheduled_at", Ty::Text),
                ("previous_at", Ty::Text),
                ("missed", Ty::Number),
                ("time_zone", Ty::Text),
            ],
        )
    }
}
