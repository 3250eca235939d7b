//! Schedules start runs: a run is put into the queue in the same commit that says which time comes next, so each time
//! has its run once, also across crashes and moves of the clock. One task a workspace waits for the next time.
use crate::api::{Page, PageRequest, ScheduleInfo, page_of_names};
use crate::begin::{self, NewRun, Placed};
use crate::core::{Ctx, STORE_PAUSE, alone, keep_up};
use crate::error::EngineError;
use crate::feed;
use crate::hash;
use crate::id::RunId;
use crate::registry::{Compiled, name_in};
use crate::start::seen;
use crate::stats::add;
use crate::tables;
use crate::tables::runs::{self, RunHead, timestamp};
use crate::tables::schedules::{self, ScheduleRow};
use futures::FutureExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock};
use stepwell_store::{Key, Refused, Txn, all_rows};
use stepwell_workflow::model::{Missed, Overlap, Schedule, Trigger};
use stepwell_workflow::timetable::Timetable;
use tokio::sync::Notify;

/// A time that is later than this counts as missed: nobody was there to start its run.
const GRACE_MS: i64 = 60_000;
/// So many missed times are run by one commit, if they fit it.
const RUN_AT_ONCE: usize = 100;
/// Of the times that `run_all` has to run, the newest so many are run; the others are skipped.
const RUN_ALL: usize = 1_000;
/// So many missed times are counted; beyond it only the last ones are looked for.
const COUNTED: u64 = 10_000;
/// How many of the next times a list shows.
const SHOWN: usize = 5;
/// How long a schedule rests whose runs cannot be written; the others go on.
const REST_MS: i64 = 60_000;

/// The schedules of one workspace.
#[derive(Default)]
pub(crate) struct Timetables {
    flows: RwLock<Arc<BTreeMap<String, Arc<Compiled>>>>,
    changed: Notify,
    started: AtomicBool,
    /// Runs whose end somebody waits for.
    watched: Mutex<HashSet<RunId>>,
}

impl Timetables {
    fn flows(&self) -> Arc<BTreeMap<String, Arc<Compiled>>> {
        self.flows.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The active workflows, of which those with a schedule are kept.
    pub(crate) fn set_flows<'a>(&self, flows: impl Iterator<Item = &'a Arc<Compiled>>) {
        let scheduled = flows.filter(|flow| schedule(flow).is_some());
        let flows = scheduled.map(|flow| (flow.name.clone(), flow.clone())).collect();
        *self.flows.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(flows);
        self.changed.notify_one();
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, HashSet<RunId>> {
        self.watched.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn schedule(flow: &Compiled) -> Option<&Schedule> {
    match &flow.workflow.trigger {
        Trigger::Schedule(schedule) => Some(schedule),
        _ => None,
    }
}

/// The row of a schedule that comes into force; none when it is in force already. For a workflow without one the row
/// is taken away.
pub(crate) async fn armed(
    ctx: &Ctx,
    flow: &Compiled,
) -> Result<Option<(Key, Option<stepwell_store::Value>)>, EngineError> {
    let key = schedules::key(ctx.ws.id, &flow.name);
    let (Some(schedule), Some(timetable)) = (schedule(flow), &flow.timetable) else {
        return Ok(Some((key, None)));
    };
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let known = txn.get(&key).await?;
    // One that cannot be read is made anew.
    let known = known.and_then(|value| tables::decode::<ScheduleRow>(&key, &value).ok());
    let times = schedule.times();
    if known.as_ref().is_some_and(|row| row.times == times) {
        return Ok(None);
    }
    let anchor_ms = ctx.now_ms();
    let next_ms = next(timetable, anchor_ms, anchor_ms);
    // The run of the times before may go on, which `overlap` is about.
    let (last_ms, last_run) = known.map_or((None, None), |row| (row.last_ms, row.last_run));
    let row = ScheduleRow { times, anchor_ms, next_ms, last_ms, last_run, waiting_ms: None, skipped: 0 };
    Ok(Some((key, Some(tables::encode(&row)?))))
}

/// The row of a workflow that goes out of service: what passes until it comes back is not missed. Its last run stays
/// noted for `overlap`, since it may go on.
pub(crate) async fn disarmed(
    ctx: &Ctx,
    workflow: &str,
) -> Result<Option<(Key, Option<stepwell_store::Value>)>, EngineError> {
    let key = schedules::key(ctx.ws.id, workflow);
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let Some(known) = txn.get(&key).await? else { return Ok(None) };
    let row = tables::decode::<ScheduleRow>(&key, &known).ok();
    let row = row.map(|row| ScheduleRow { times: String::new(), next_ms: None, waiting_ms: None, ..row });
    Ok(Some((key, row.map(|row| tables::encode(&row)).transpose()?)))
}

/// The row of a workflow that is deleted.
pub(crate) fn gone(ctx: &Ctx, workflow: &str) -> (Key, Option<stepwell_store::Value>) {
    (schedules::key(ctx.ws.id, workflow), None)
}

fn next(timetable: &Timetable, after_ms: i64, anchor_ms: i64) -> Option<i64> {
    timetable.after(timestamp(after_ms), timestamp(anchor_ms)).map(|at| at.as_millisecond())
}

/// When the run of a time starts: the same in every attempt.
fn due(schedule: &Schedule, workflow: &str, at_ms: i64) -> i64 {
    let Some(jitter) = schedule.jitter.filter(|jitter| jitter.0 > 0) else { return at_ms };
    let digest = hash::sha256(format!("{workflow}:{at_ms}").as_bytes());
    let number = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    at_ms.saturating_add(i64::try_from(number % jitter.0).unwrap_or(0))
}

/// Begins to watch the clock, once.
pub(crate) fn start(ctx: &Ctx) {
    if !ctx.ws.timetables.started.swap(true, SeqCst) {
        let task = ctx.clone();
        let watch = move || watch(task.clone()).boxed();
        ctx.core.tasks.spawn(keep_up(ctx.core.clone(), "the task of schedules", watch));
    }
}

/// Goes on until the engine closes.
async fn watch(ctx: Ctx) {
    loop {
        let next = match round(&ctx).await {
            Ok(next) => next,
            Err(refused) if refused.is_conflict() => continue,
            Err(refused) => {
                tracing::warn!(workspace = %ctx.ws.name, %refused, "schedules start no runs; trying again");
                Some(ctx.now_ms() + 1000)
            }
        };
        let clock = &ctx.core.ports.clock;
        let due = async {
            match next {
                Some(at) if at <= ctx.now_ms() => clock.sleep(STORE_PAUSE).await,
                Some(at) => clock.sleep_until(timestamp(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ctx.core.closing.cancelled() => return,
            () = ctx.ws.timetables.changed.notified() => {}
            () = due => {}
        }
    }
}

/// Starts what is due; when the next is.
async fn round(ctx: &Ctx) -> Result<Option<i64>, Refused> {
    let flows = ctx.ws.timetables.flows();
    if flows.is_empty() {
        return Ok(None);
    }
    let mut all: Vec<(Option<i64>, Key, &Arc<Compiled>)> = Vec::new();
    for (key, value) in all_rows(&*ctx.core.ports.store, ctx.ws.shard, schedules::all(ctx.ws.id)).await? {
        let read = name_in(&key).and_then(|name| Ok((name, tables::decode::<ScheduleRow>(&key, &value)?)));
        match read {
            Ok((name, row)) => {
                let Some(flow) = flows.get(&name) else { continue };
                let Some(schedule) = schedule(flow) else { continue };
                all.push((row.starts_ms(|at| due(schedule, &flow.name, at)), key, flow));
            }
            // The others are not its to stop.
            Err(refused) => tracing::error!(workspace = %ctx.ws.name, %refused, "a schedule starts no runs"),
        }
    }
    // A commit each in turn, so that one with much to catch up on keeps no other waiting.
    loop {
        let mut fired = false;
        for (at, key, flow) in &mut all {
            let Some(schedule) = schedule(flow).filter(|_| at.is_some_and(|at| at <= ctx.now_ms())) else {
                continue;
            };
            if ctx.core.closing.is_cancelled() {
                return Ok(None);
            }
            fired = true;
            *at = alone(fire(ctx, flow, schedule, key).boxed()).await?.unwrap_or_else(|why| {
                tracing::error!(
                    workspace = %ctx.ws.name, workflow = %flow.name, why,
                    "a schedule starts no runs; trying again in a minute"
                );
                Some(ctx.now_ms() + REST_MS)
            });
        }
        if !fired {
            return Ok(all.iter().filter_map(|(at, ..)| *at).min());
        }
    }
}

/// Starts the runs of the times that have come, and says when the next is due; none while the run before goes on.
async fn fire(ctx: &Ctx, flow: &Compiled, schedule: &Schedule, key: &Key) -> Result<Option<i64>, Refused> {
    let Some(timetable) = &flow.timetable else { return Ok(None) };
    let mut txn = Txn::begin(ctx.core.ports.store.clone(), ctx.ws.shard);
    let row = txn.get(key).await?;
    let row: Option<ScheduleRow> = row.map(|value| tables::decode(key, &value)).transpose()?;
    // Another timetable comes into force.
    let Some(mut row) = row.filter(|row| row.times == schedule.times()) else { return Ok(None) };
    let due = |at: i64| due(schedule, &flow.name, at);
    let Some(come) = Come::of(&row, due, timetable, schedule, ctx.now_ms()) else {
        return Ok(row.next_ms.map(due));
    };
    let busy = match (row.last_run, schedule.overlap) {
        (_, Overlap::Allow) | (None, _) => None,
        (Some(run), _) => {
            let head = runs::head_key(ctx.ws.id, run);
            // One that cannot be read is driven by nobody.
            let read = |value| tables::decode::<RunHead>(&head, &value).ok();
            let goes_on = txn.get(&head).await?.and_then(read).is_some_and(|head| !head.status.ended());
            goes_on.then_some(run)
        }
    };
    let mut runs = come.runs;
    let is_news = row.next_ms != come.next;
    row.next_ms = come.next;
    row.skipped += come.skipped;
    match (schedule.overlap, busy) {
        (Overlap::Wait, Some(run)) => {
            tell_when_ended(ctx, run);
            if schedule.missed != Missed::Skip {
                return Ok(None);
            }
            // Noted while it is there: later it could not be told from a time that was missed.
            row.waiting_ms = runs.last().copied();
            if is_news {
                txn.put(key.clone(), tables::encode(&row)?);
                txn.commit().await?;
            }
            return Ok(row.next_ms.map(due));
        }
        (Overlap::Skip, Some(_)) => {
            row.skipped += runs.len() as u64;
            runs.clear();
        }
        (Overlap::Wait, None) if runs.len() > 1 => {
            row.next_ms = runs.get(1).copied();
            runs.truncate(1);
        }
        (Overlap::Skip, None) if runs.len() > 1 => {
            row.skipped += runs.len() as u64 - 1;
            runs.drain(..runs.len() - 1);
        }
        _ => {}
    }
    row.waiting_ms = None;
    let mut started: Vec<Placed> = Vec::new();
    for at in runs {
        // The settings of a workspace are part of each run, so a few may fill the transaction.
        if begin::is_full(&txn) {
            row.next_ms = Some(at);
            break;
        }
        let trigger = trigger(schedule, at, row.last_ms, come.missed);
        let rows = NewRun::rows(ctx, flow, seen(ctx, flow, trigger), 0).await?;
        let placed = rows.put(ctx, &mut txn).await?;
        row.last_ms = Some(at);
        row.last_run = Some(placed.run);
        started.push(placed);
    }
    txn.put(key.clone(), tables::encode(&row)?);
    if !started.is_empty() {
        let moved: Vec<_> = started.iter().map(|placed| &placed.moved).collect();
        txn.append(ctx.ws.log, feed::queued_row(ctx.now_ms(), &moved)?);
    }
    txn.commit().await?;
    add(&ctx.core.stats.schedule_runs, started.len() as u64);
    started.iter().for_each(|placed| placed.stored(ctx));
    Ok(row.next_ms.map(due))
}

/// The times that have come, as `missed` would have them.
struct Come {
    /// Those that are run.
    runs: Vec<i64>,
    /// The first that has not come, or is left for the next commit.
    next: Option<i64>,
    /// How many times before it each run stands for.
    missed: u64,
    skipped: u64,
}

impl Come {
    /// With the time that waits already, if there is one.
    fn of(
        row: &ScheduleRow,
        due: impl Fn(i64) -> i64,
        timetable: &Timetable,
        schedule: &Schedule,
        now_ms: i64,
    ) -> Option<Come> {
        let come = Come::by_the_clock(row, due, timetable, schedule, now_ms);
        let Some(waiting) = row.waiting_ms else { return come };
        let nothing = Come { runs: Vec::new(), next: row.next_ms, missed: 0, skipped: 0 };
        let mut come = come.unwrap_or(nothing);
        if come.runs.is_empty() || schedule.missed == Missed::RunAll {
            come.runs.insert(0, waiting);
        } else {
            come.missed += 1;
            come.skipped += 1;
        }
        Some(come)
    }

    fn by_the_clock(
        row: &ScheduleRow,
        due: impl Fn(i64) -> i64,
        timetable: &Timetable,
        schedule: &Schedule,
        now_ms: i64,
    ) -> Option<Come> {
        let first = row.next_ms.filter(|at| due(*at) <= now_ms)?;
        let after = |at: i64| next(timetable, at, row.anchor_ms);
        let mut newest = VecDeque::from([first]);
        let mut count = 1u64;
        let mut following = after(first);
        while let Some(at) = following.filter(|at| due(*at) <= now_ms) {
            if newest.len() == RUN_ALL {
                newest.pop_front();
            }
            newest.push_back(at);
            count += 1;
            following = after(at);
            // Of very many the last ones are looked for from now, and those between are not counted.
            if count == COUNTED {
                let last;
                (last, following) = latest(at, now_ms, |at| after(at).map(|at| (at, due(at) <= now_ms)));
                count += last.len() as u64;
                newest.extend(last);
                newest.drain(..newest.len().saturating_sub(RUN_ALL));
                break;
            }
        }
        if schedule.missed == Missed::RunAll {
            let skipped = count - newest.len() as u64;
            let next = newest.get(RUN_AT_ONCE).copied().or(following);
            newest.truncate(RUN_AT_ONCE);
            return Some(Come { runs: newest.into(), next, missed: 0, skipped });
        }
        let last = newest.back().copied().unwrap_or(first);
        let late = now_ms - due(last) >= GRACE_MS;
        match schedule.missed == Missed::Skip && late {
            true => Some(Come { runs: Vec::new(), next: following, missed: 0, skipped: count }),
            false => Some(Come { runs: vec![last], next: following, missed: count - 1, skipped: count - 1 }),
        }
    }
}

/// The last times behind `at` that are due, [`RUN_ALL`] or somewhat more where there are so many, and the one behind them.
/// How dense they lie may change a hundredfold from hour to hour, so it is tried from where there are enough of them.
fn latest(at: i64, now_ms: i64, after: impl Fn(i64) -> Option<(i64, bool)>) -> (Vec<i64>, Option<i64>) {
    let (mut span, mut too_long) = (RUN_ALL as i64 * 1_000, None);
    loop {
        let from = now_ms.saturating_sub(span).max(at);
        let (mut found, mut following) = (Vec::new(), after(from));
        while let Some((time, true)) = following.filter(|_| found.len() as u64 <= COUNTED) {
            found.push(time);
            following = after(time);
        }
        let shorter = span / 2;
        if found.len() as u64 > COUNTED {
            too_long = Some(span);
            span = shorter;
        } else if found.len() >= RUN_ALL || from == at || too_long.is_some_and(|most| most - span <= 1_000) {
            return (found, following.map(|(time, _)| time));
        } else {
            span = too_long.map_or(span.saturating_mul(2), |most| span.midpoint(most));
        }
    }
}

/// What templates see as `trigger`.
fn trigger(schedule: &Schedule, at_ms: i64, previous_ms: Option<i64>, missed: u64) -> Value {
    json!({
        "type": "schedule",
        "scheduled_at": timestamp(at_ms).to_string(),
        "previous_at": previous_ms.map(|at| timestamp(at).to_string()),
        "missed": missed,
        "time_zone": schedule.time_zone,
    })
}

/// For a run or a test by hand: `{"scheduled_at": …}`, or now.
pub(crate) fn trigger_by_hand(ctx: &Ctx, schedule: &Schedule, input: &Value) -> Result<Value, EngineError> {
    let only_a_time = match input {
        Value::Null => true,
        Value::Object(members) => members.keys().all(|name| name == "scheduled_at"),
        _ => false,
    };
    if !only_a_time {
        let message =
            "a schedule takes `{\"scheduled_at\": \"2026-01-31T02:00:00Z\"}` or `{}`, and nothing else";
        return Err(EngineError::invalid("invalid_event", message));
    }
    let at = match input.get("scheduled_at") {
        None => ctx.now_ms(),
        Some(given) => {
            let at = given.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let wrong = || {
                let message = format!("`scheduled_at` is a time such as 2026-01-31T02:00:00Z, not {given}");
                EngineError::invalid("invalid_event", message)
            };
            at.ok_or_else(wrong)?.as_millisecond()
        }
    };
    Ok(trigger(schedule, at, None, 0))
}

/// A time waits for the run before it.
fn tell_when_ended(ctx: &Ctx, run: RunId) {
    if !ctx.ws.timetables.watched().insert(run) {
        return;
    }
    let task = ctx.clone();
    ctx.core.tasks.spawn(async move {
        // Listening comes first, so that an end between the look and the wait is heard.
        let mut listener = task.ws.waiters.listen(run);
        let goes_on = match crate::load::head(&task, run).await {
            Ok(head) => head.is_some_and(|head| !head.status.ended()),
            Err(_) => true,
        };
        if goes_on {
            tokio::select! {
                biased;
                () = task.core.closing.cancelled() => return,
                _ = listener.ended() => {}
            }
        }
        task.ws.timetables.watched().remove(&run);
        task.ws.timetables.changed.notify_one();
    });
}

/// The schedules that are in force.
pub(crate) async fn list(ctx: &Ctx, page: PageRequest) -> Result<Page<ScheduleInfo>, EngineError> {
    let flows = ctx.ws.timetables.flows();
    let mut rows: BTreeMap<String, ScheduleRow> = BTreeMap::new();
    for (key, value) in all_rows(&*ctx.core.ports.store, ctx.ws.shard, schedules::all(ctx.ws.id)).await? {
        // One that cannot be read is told of by whoever waits for its times.
        if let Ok(row) = tables::decode(&key, &value) {
            rows.insert(name_in(&key)?, row);
        }
    }
    let names = flows.keys().filter(|name| rows.contains_key(*name)).cloned().collect();
    page_of_names("schedules", names, &page, |name| info(flows.get(name)?, rows.get(name)?))
}

fn info(flow: &Compiled, row: &ScheduleRow) -> Option<ScheduleInfo> {
    let (schedule, timetable) = (schedule(flow)?, flow.timetable.as_ref()?);
    let times = std::iter::successors(row.next_ms, |at| next(timetable, *at, row.anchor_ms));
    Some(ScheduleInfo {
        workflow: flow.name.clone(),
        version: flow.version,
        cron: schedule.cron.clone(),
        every: schedule.every,
        time_zone: schedule.time_zone.clone(),
        missed: schedule.missed,
        overlap: schedule.overlap,
        jitter: schedule.jitter,
        next: times.take(SHOWN).map(timestamp).collect(),
        last_scheduled_at: row.last_ms.map(timestamp),
        last_run_id: row.last_run.map(|run| run.to_string()),
        skipped: row.skipped,
    })
}
