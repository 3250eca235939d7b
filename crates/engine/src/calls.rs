//! Calls that a run's driver has under way or knows the outcome of: code in the sandbox, and calls to the outside.
//! They outlive a burst: one that runs again after a conflict takes the outcomes whose input did not change.
use crate::connections::{self, Permit};
use crate::core::Ctx;
use crate::id::RunId;
use crate::registry::Compiled;
use crate::secrets::Opened;
use crate::steps;
use crate::steps::code::CodeDone;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use stepwell_workflow::machine::{Call, Execute, Failure, Payload, StepPath, code};

/// An attempt: the step's path and its number.
pub(crate) type CallId = (StepPath, u32);

/// What a call to the outside came to.
#[derive(Debug, Clone)]
pub(crate) struct OutsideDone {
    pub result: Result<Payload, Failure>,
    /// The idempotency key that went out.
    pub key: String,
    pub began_ms: i64,
    pub ended_ms: i64,
    /// Its connection was asked to wait.
    pub held: bool,
}

enum Slot {
    Code { execute: Arc<Execute>, done: Option<Arc<CodeDone>> },
    Outside { done: Option<Arc<OutsideDone>> },
}

enum Done {
    Code(CodeDone),
    Outside(OutsideDone),
}

/// The calls of one run.
pub(crate) struct Calls {
    /// Those that the workflow names: filled into what goes out, taken out of what comes back.
    secrets: Arc<[String]>,
    slots: HashMap<CallId, (u64, Slot)>,
    under_way: FuturesUnordered<BoxFuture<'static, (CallId, u64, Done)>>,
    /// Tells a call from one that was given up under the same id.
    last: u64,
    /// Calls whose turn at their connection has come, and those that wait for it.
    permits: HashMap<CallId, Permit>,
    held: HashSet<CallId>,
    /// When the burst that is made, or made again, gave an iterator its first turn.
    turn_at_ms: Option<i64>,
}

impl Calls {
    pub(crate) fn of(ctx: &Ctx, flow: &Compiled) -> Self {
        Self {
            secrets: connections::secrets_of(ctx, flow),
            permits: HashMap::new(),
            held: HashSet::new(),
            slots: HashMap::new(),
            under_way: FuturesUnordered::new(),
            last: 0,
            turn_at_ms: None,
        }
    }

    /// Only who is refused in this burst waits: a turn may have come since the one before.
    pub(crate) fn begin_burst(&mut self) {
        self.held.clear();
    }

    /// The time of the turns of iterators in this burst: the same when it is made again after a conflict, so that
    /// what follows from it is too.
    pub(crate) fn turn_at(&mut self, now_ms: i64) -> i64 {
        *self.turn_at_ms.get_or_insert(now_ms)
    }

    /// The outcome of a code call, if it is there. Otherwise it runs from now on, unless it does already.
    pub(crate) fn code(&mut self, ctx: &Ctx, id: &CallId, execute: &Arc<Execute>) -> Option<Arc<CodeDone>> {
        if let Some((_, Slot::Code { execute: known, done })) = self.slots.get(id)
            && (Arc::ptr_eq(known, execute) || **known == **execute)
        {
            return done.clone();
        }
        self.last += 1;
        let number = self.last;
        self.slots.insert(id.clone(), (number, Slot::Code { execute: execute.clone(), done: None }));
        let (ctx, id, execute, secrets) = (ctx.clone(), id.clone(), execute.clone(), self.secrets.clone());
        self.under_way.push(Box::pin(async move {
            let done = run_code(&ctx, &execute, &secrets).await;
            (id, number, Done::Code(done))
        }));
        None
    }

    /// Whether a call through a connection may be sent now. If not it stands in line, and the run is woken in time.
    pub(crate) fn may_send(&mut self, ctx: &Ctx, run: RunId, id: &CallId, connection: &str) -> bool {
        if self.permits.contains_key(id) {
            return true;
        }
        match connections::enter(ctx, connection, (run, id.0.clone()), id.1 > 1) {
            Some(permit) => {
                self.held.remove(id);
                self.permits.insert(id.clone(), permit);
                true
            }
            None => {
                self.held.insert(id.clone());
                false
            }
        }
    }

    /// Whether a call waits for its turn at its connection.
    pub(crate) fn is_held(&self, id: &CallId) -> bool {
        self.held.contains(id)
    }

    /// Sends a call to the outside. What it sends is on disk.
    pub(crate) fn send(&mut self, ctx: &Ctx, id: CallId, execute: Arc<Execute>) {
        self.last += 1;
        let permit = self.permits.remove(&id);
        let number = self.last;
        self.slots.insert(id.clone(), (number, Slot::Outside { done: None }));
        let (ctx, secrets) = (ctx.clone(), self.secrets.clone());
        self.under_way.push(Box::pin(async move {
            if let Some(permit) = &permit {
                permit.goes();
            }
            let mut done = send_outside(&ctx, &execute, &secrets).await;
            if let Some(permit) = permit
                && let Some(wait) = asked_to_wait(&done.result, ctx.core.ports.clock.now())
            {
                permit.hold(wait);
                done.held = true;
            }
            (id, number, Done::Outside(done))
        }));
    }

    /// The outcome of a call to the outside, if it is there.
    pub(crate) fn outside_done(&self, id: &CallId) -> Option<Arc<OutsideDone>> {
        match self.slots.get(id) {
            Some((_, Slot::Outside { done })) => done.clone(),
            _ => None,
        }
    }

    pub(crate) fn is_running(&self, id: &CallId) -> bool {
        matches!(self.slots.get(id), Some((_, Slot::Code { done: None, .. } | Slot::Outside { done: None })))
    }

    /// Whether anything is under way.
    pub(crate) fn any_running(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether a call to the outside is under way: its answer should not be lost.
    pub(crate) fn any_outside(&self) -> bool {
        self.slots.values().any(|(_, slot)| matches!(slot, Slot::Outside { done: None }))
    }

    /// Whether anything was sent to the outside whose answer is not stored yet.
    pub(crate) fn any_sent(&self) -> bool {
        self.slots.values().any(|(_, slot)| matches!(slot, Slot::Outside { .. }))
    }

    /// Waits for the next call to end; `None` when none is under way.
    pub(crate) async fn next_done(&mut self) -> Option<CallId> {
        loop {
            let (id, number, done) = self.under_way.next().await?;
            match (self.slots.get_mut(&id), done) {
                (Some((known, Slot::Code { done: place, .. })), Done::Code(done)) if *known == number => {
                    *place = Some(Arc::new(done));
                    return Some(id);
                }
                (Some((known, Slot::Outside { done: place })), Done::Outside(done)) if *known == number => {
                    *place = Some(Arc::new(done));
                    return Some(id);
                }
                // It was given up meanwhile.
                _ => {}
            }
        }
    }

    /// After a commit: forgets what is in the state now.
    pub(crate) fn keep_only(&mut self, open: &BTreeMap<CallId, Arc<Execute>>) {
        self.turn_at_ms = None;
        self.slots.retain(|id, _| open.contains_key(id));
        self.permits.retain(|id, _| open.contains_key(id));
        self.held.retain(|id| open.contains_key(id));
        if self.slots.is_empty() {
            // Whatever is still under way belongs to nothing any more; dropping it stops it.
            self.under_way.clear();
        }
    }
}

/// For how long the other side wants to be left alone, by whomever; also where the author takes its answer for a
/// success.
fn asked_to_wait(result: &Result<Payload, Failure>, now: jiff::Timestamp) -> Option<u64> {
    let (answer, wait) = match result {
        Ok(output) => {
            let answer: &serde_json::Value = output.value()?;
            let wait = answer["headers"]["retry-after"].as_str();
            (answer, wait.and_then(|text| steps::http::retry_after(text, now)))
        }
        Err(failure) => (failure.details.as_ref()?, failure.retry_after_ms),
    };
    wait.filter(|_| matches!(answer["status"].as_u64(), Some(429 | 503)))
}

async fn run_code(ctx: &Ctx, execute: &Execute, secrets: &[String]) -> CodeDone {
    let Call::Code(code) = &execute.call else {
        let now = ctx.now_ms();
        let result = Err(Failure::engine("internal", "a call that is no code was given to the sandbox"));
        return CodeDone { result, logs: Vec::new(), usage: None, began_ms: now, ended_ms: now };
    };
    let began_ms = ctx.now_ms();
    let run = steps::code::run(ctx, execute, code, secrets);
    match within(ctx, execute.timeout_ms, run).await {
        Ok(done) => done,
        Err(failure) => {
            CodeDone { result: Err(failure), logs: Vec::new(), usage: None, began_ms, ended_ms: ctx.now_ms() }
        }
    }
}

async fn send_outside(ctx: &Ctx, execute: &Execute, secrets: &[String]) -> OutsideDone {
    let began_ms = ctx.now_ms();
    let mut key = execute.key.clone();
    let mut opened = Opened::new(ctx, secrets);
    let send = async {
        match &execute.call {
            Call::Http(call) => {
                key.clone_from(&call.idempotency_key);
                let through = steps::http::through(ctx, call, |name| opened.reveal(ctx, name))?;
                let mut request =
                    steps::http::request(call, through, execute.timeout_ms, |name| opened.reveal(ctx, name))?;
                request.workspace.clone_from(&ctx.ws.name);
                let now = ctx.core.ports.clock.now();
                steps::http::send(&ctx.core, call, &request, now, &opened).await
            }
            Call::Email(call) => {
                let message = steps::mail::message(call, execute)?;
                match &ctx.core.ports.mail {
                    Some(mailer) => steps::mail::send(&**mailer, &message).await,
                    None => Err(Failure::engine("mail_unavailable", "no mail system is configured any more")
                        .retryable()),
                }
            }
            _ => Err(Failure::engine("internal", "a call of the inside was to be sent")),
        }
    };
    let mut result = within(ctx, execute.timeout_ms, send).await.and_then(|result| result).map(Payload::new);
    if let Err(failure) = &mut result {
        opened.redact_failure(failure);
    }
    crate::stats::add(&ctx.core.stats.outside_calls, 1);
    crate::stats::add(&ctx.core.stats.outside_failures, u64::from(result.is_err()));
    OutsideDone { result, key, began_ms, ended_ms: ctx.now_ms(), held: false }
}

/// Keeps the step's `timeout`.
async fn within<T>(ctx: &Ctx, timeout_ms: Option<u64>, work: impl Future<Output = T>) -> Result<T, Failure> {
    let Some(timeout_ms) = timeout_ms else { return Ok(work.await) };
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = ctx.core.ports.clock.sleep(Duration::from_millis(timeout_ms)) => {
            let message = format!("the attempt took longer than its timeout of {timeout_ms} ms");
            Err(Failure { limit: Some(timeout_ms), ..Failure::engine(code::TIMEOUT, message).retryable() })
        }
    }
}
