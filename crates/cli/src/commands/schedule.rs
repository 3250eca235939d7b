//! `stepwell schedule`: when active workflows start by themselves.

use serde_json::json;
use stepwell_engine::ScheduleInfo;

use crate::args::{Global, Schedule};
use crate::client::Client;
use crate::output;

pub async fn main(command: Schedule, global: &Global) -> anyhow::Result<()> {
    let client = Client::new(global)?;
    match command {
        Schedule::List => {
            let schedules: Vec<ScheduleInfo> = client.all("schedules").await?;
            if global.json {
                return output::json(&json!({ "schedules": schedules }));
            }
            let row = |s: &ScheduleInfo| {
                let next = s.next.first().map_or_else(|| "never".to_owned(), |at| output::time(*at));
                let last = s.last_scheduled_at.map_or_else(|| "–".to_owned(), output::time);
                vec![s.workflow.clone(), times(s), next, last, s.skipped.to_string()]
            };
            output::table(
                &["workflow", "times", "next (UTC)", "last (UTC)", "skipped"],
                schedules.iter().map(row).collect(),
            );
        }
    }
    Ok(())
}

/// "30 2 * * * Europe/Berlin".
fn times(schedule: &ScheduleInfo) -> String {
    match (&schedule.cron, schedule.every) {
        (Some(cron), _) => format!("{cron} {}", schedule.time_zone),
        (None, Some(every)) => format!("every {every}"),
        (None, None) => String::new(),
    }
}
