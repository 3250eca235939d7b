//! What must have come of each request, by what it has started.

use super::Found;
use crate::clients::Posted;
use crate::support::World;
use std::collections::{BTreeMap, BTreeSet};
use stepwell_engine::{RunDetail, RunStatus, RunSummary, StepStatus};

/// What all requests together have left.
#[derive(Default)]
pub struct Left {
    pub emails: BTreeSet<String>,
    pub tickets: BTreeSet<u64>,
}

/// A request that has come to a run.
struct Answered<'a> {
    n: u64,
    request: &'a Posted,
    run: &'a RunSummary,
    detail: &'a RunDetail,
    found: &'a Found<'a>,
}

pub fn check(world: &World, found: &Found<'_>, request: &Posted, left: &mut Left) {
    let n = request.body["n"].as_u64().unwrap();
    let runs = found.by_n.get(&n).map_or(&[][..], Vec::as_slice);
    assert!(runs.len() <= 1, "request {n} came to {} runs: {request:?}", runs.len());
    if let Some(id) = &request.run {
        assert_eq!(runs.len(), 1, "the acknowledged run {id} of {request:?} is not there");
        assert_eq!(runs[0].0.id, *id, "{request:?}");
    }
    assert!(request.key.is_none() || request.run.is_some(), "{request:?} was never answered");
    let Some((run, detail)) = runs.first() else { return };
    let answered = Answered { n, request, run, detail, found };
    answered.cancelled_by_somebody();
    match request.path {
        "web-form" => answered.web_form(world, left),
        "outside" => answered.outside(world),
        "parent" => answered.parent(),
        "asking" => answered.asking(),
        "ordered" | "newest" | "lonely" => answered.in_turn(),
        "counted" => answered.counted(left),
        "together" => answered.together(),
        "many" => answered.many(),
        _ => answered.failing(),
    }
}

impl Answered<'_> {
    fn cancelled_by_somebody(&self) {
        let Self { request, run, .. } = self;
        let why = run.error.as_ref().map_or("", |error| &error.code);
        if run.status == RunStatus::Cancelled {
            let by_itself = match request.path {
                "newest" => why == "concurrency_replaced",
                "lonely" => why == "concurrency_full",
                _ => false,
            };
            assert!(request.cancelled || by_itself, "nobody cancelled {run:?}");
        }
    }

    /// It has ended so, unless it was cancelled.
    fn ended(&self, status: RunStatus) {
        if self.run.status != RunStatus::Cancelled {
            assert_eq!(self.run.status, status, "{:#?}", self.detail);
        }
    }

    /// There are so many of this title; of a run that was cancelled, at most.
    fn exactly(&self, counts: &BTreeMap<String, usize>, title: String, expected: usize) {
        let (found, detail) = (count(counts, &title), self.detail);
        match self.run.status {
            RunStatus::Cancelled => assert!(found <= expected, "{found} × {title}: {detail:#?}"),
            _ => assert_eq!(found, expected, "{title}: {detail:#?}"),
        }
    }

    fn tasks(&self, title: String, expected: usize) {
        self.exactly(&self.found.tasks, title, expected);
    }

    fn notes(&self, title: String, expected: usize) {
        self.exactly(&self.found.notes, title, expected);
    }

    fn web_form(&self, world: &World, left: &mut Left) {
        let (n, run) = (self.n, self.run);
        let email = self.request.body["email"].as_str().unwrap().to_lowercase();
        let good = email.contains('@');
        self.ended(if good { RunStatus::Completed } else { RunStatus::Failed });
        self.tasks(format!("Call {n}"), usize::from(good));
        let created = |step: &stepwell_engine::StepDetail| {
            step.path.starts_with("person.") && step.status == StepStatus::Completed
        };
        if self.detail.steps.iter().any(created) {
            left.emails.insert(email);
        }
        if !world.sends_mail {
            return;
        }
        let sent = world.mail.sent.lock().unwrap();
        let own: Vec<_> = sent.iter().filter(|mail| mail.subject == format!("Lead {n}")).collect();
        assert!(own.iter().all(|mail| *mail == own[0]), "a repeat differs: {own:#?}");
        if run.status == RunStatus::Completed && good {
            assert!(!own.is_empty(), "the mail of {run:?} was never sent");
        }
    }

    fn outside(&self, world: &World) {
        let (n, run) = (self.n, self.run);
        self.ended(RunStatus::Completed);
        self.notes(format!("Note {n}"), 1);
        self.tasks(format!("After {n}"), 1);
        let sent = world.http.sent.lock().unwrap();
        let url = format!("https://api.example.com/{n}");
        let own: Vec<_> = sent.iter().filter(|request| request.url == url).collect();
        assert!(own.iter().all(|request| *request == own[0]), "a repeat differs: {own:#?}");
        if run.status == RunStatus::Completed {
            assert!(!own.is_empty(), "the request of {run:?} was never sent");
        }
    }

    fn parent(&self) {
        let (n, run, detail) = (self.n, self.run, self.detail);
        self.ended(RunStatus::Completed);
        let child = self.found.children.get(&run.id);
        assert!(child.is_some() || run.status == RunStatus::Cancelled, "no child of {detail:#?}");
        if let Some(child) = child {
            assert!(child.summary.status.ended(), "{child:#?}");
            // What it came to is what its parent has heard.
            let heard = child.summary.status.as_str();
            self.tasks(format!("Parent {n} {heard}"), 1);
            self.notes(format!("Child {n}"), 1);
        }
    }

    fn asking(&self) {
        let (n, detail) = (self.n, self.detail);
        self.ended(RunStatus::Completed);
        self.tasks(format!("Asked {n}"), 1);
        if self.request.given {
            let ask = detail.steps.iter().find(|step| step.id == "ask").unwrap();
            let output = serde_json::to_value(&ask.output).unwrap();
            assert_eq!(output["n"].as_u64(), Some(n), "what was taken is lost: {detail:#?}");
        }
    }

    fn in_turn(&self) {
        self.notes(format!("Began {}", self.n), 1);
        // What fails once does not fail again when its burst is made again.
        let may_fail = self.request.path == "ordered" && self.request.body["fails"] == 1;
        assert!(self.run.status != RunStatus::Failed || may_fail, "{:#?}", self.detail);
    }

    fn counted(&self, left: &mut Left) {
        self.ended(RunStatus::Completed);
        let step = self.detail.steps.iter().find(|step| step.id == "ticket");
        let given = step.and_then(|step| serde_json::to_value(&step.output).unwrap()["last"].as_u64());
        if let Some(given) = given {
            assert!(left.tickets.insert(given), "ticket {given} twice");
            self.tasks(format!("Ticket {given}"), 1);
        }
    }

    /// All of them, or none.
    fn together(&self) {
        let (n, body, run) = (self.n, &self.request.body, self.run);
        let whole = body["bad"].as_u64() >= body["rows"].as_u64();
        let rows = if whole { body["rows"].as_u64().unwrap() as usize } else { 0 };
        let found = count(&self.found.notes, &format!("Together {n}"));
        assert!(found == rows || (found == 0 && run.status == RunStatus::Cancelled), "{:#?}", self.detail);
        let came_to = if whole { "completed" } else { "failed" };
        self.tasks(format!("Together {n} {came_to}"), 1);
    }

    /// Of those that the filter lets through, one that fails twice has no row.
    fn many(&self) {
        let n = self.n;
        self.ended(RunStatus::Completed);
        let rows = self.request.body["rows"].as_u64().unwrap();
        let (skipped, tried): (Vec<u64>, Vec<u64>) = (0..rows).partition(|row| row % 4 == 3);
        let (failed, good): (Vec<u64>, Vec<u64>) = tried.into_iter().partition(|row| row % 3 == 2);
        good.iter().for_each(|row| self.notes(format!("Row {n}-{row}"), 1));
        failed.iter().for_each(|row| self.notes(format!("Row {n}-{row}"), 0));
        let (sum, even) = (good.iter().sum::<u64>(), good.iter().filter(|row| *row % 2 == 0).count());
        let counts = format!("{}, {}, {}; {sum}, {even}", good.len(), failed.len(), skipped.len());
        self.tasks(format!("Rows {n}: {counts}"), 1);
    }

    fn failing(&self) {
        let (n, run) = (self.n, self.run);
        self.tasks(format!("Before {n}"), 1);
        if run.status != RunStatus::Cancelled {
            let failed = usize::from(run.status == RunStatus::Failed);
            assert_eq!(count(&self.found.notes, &format!("Failed {n}")), failed, "{:#?}", self.detail);
        }
    }
}

fn count(counts: &BTreeMap<String, usize>, title: &str) -> usize {
    counts.get(title).copied().unwrap_or(0)
}
