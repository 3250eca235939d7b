//! A driver for tests: feeds events, answers calls, and checks that nothing is asked for twice.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::*;
use crate::graph::{Graph, NodeId, NodeKind};
use crate::model::Workflow;

pub fn graph(document: Value) -> Graph {
    let workflow: Workflow = serde_json::from_value(document).unwrap();
    Graph::compile(&workflow).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// A workflow with a manual trigger and these steps.
pub fn steps(steps: Value) -> Graph {
    graph(json!({"name": "test", "trigger": {"type": "manual"}, "steps": steps}))
}

pub fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub fn started(trigger: Value) -> Event {
    Event::Started(Box::new(Start {
        run: RunInfo { id: "run-1".into(), workflow: "test".into(), version: 3 },
        trigger: trigger.into(),
        settings: json!({"sales": "sales@example.com"}).into(),
        actions: [("normalize-lead@1".to_owned(), "normalize-lead@1.2.0".to_owned())].into(),
        links: None,
        at: time(0),
    }))
}

pub fn failure(code: &str, retryable: bool) -> Failure {
    Failure { retryable, ..Failure::engine(code, format!("{code} happened")) }
}

/// A run, its journal and what it asked for.
pub struct Driven<'g> {
    pub graph: &'g Graph,
    pub state: State,
    pub journal: Vec<Event>,
    pub asked: Vec<Command>,
    seen: BTreeSet<(String, u32, u32)>,
}

impl<'g> Driven<'g> {
    pub fn new(graph: &'g Graph) -> Driven<'g> {
        Driven { graph, state: State::new(), journal: Vec::new(), asked: Vec::new(), seen: BTreeSet::new() }
    }

    pub fn start(graph: &'g Graph, trigger: Value) -> Driven<'g> {
        let mut run = Driven::new(graph);
        run.event(started(trigger));
        run
    }

    /// Feeds an event and gives what was asked for.
    pub fn event(&mut self, event: Event) -> Vec<Command> {
        let commands = apply(self.graph, &mut self.state, &event);
        if let Event::Resumed { path, how: Resume::Retry, .. } = &event {
            // A person asks once more, under the same key where the last answer was not definite.
            self.seen.retain(|(asked, ..)| !StepPath::new(asked).is_within(path));
        }
        if let Event::RetryRequested { .. } = &event {
            // So does one who retries the run: what nobody has answered is waited for again.
            let waits =
                |id: NodeId| matches!(&self.graph.node(id).kind, NodeKind::Call(plan) if plan.waits());
            let graph = self.graph;
            self.seen.retain(|(asked, ..)| !graph.find(&StepPath::new(asked)).is_some_and(waits));
        }
        self.journal.push(event);
        for command in &commands {
            if let Command::Abandon { path, attempt } = command {
                self.seen.retain(|(asked, number, _)| (asked.as_str(), number) != (path.as_str(), attempt));
            }
            if let Command::Execute(execute) = command {
                let id = (execute.path.to_string(), execute.attempt, execute.generation);
                assert!(self.seen.insert(id), "asked twice: {} #{}", execute.path, execute.attempt);
            }
        }
        self.asked.extend(commands.iter().cloned());
        commands
    }

    /// Calls that are under way.
    pub fn open(&self) -> Vec<Execute> {
        let calls = outstanding(self.graph, &self.state).into_iter();
        calls
            .filter_map(|command| match command {
                Command::Execute(execute) => Some(*execute),
                _ => None,
            })
            .collect()
    }

    pub fn open_paths(&self) -> Vec<String> {
        self.open().iter().map(|execute| execute.path.to_string()).collect()
    }

    pub fn call(&self, path: &str) -> Execute {
        let open = self.open();
        let found = open.iter().find(|execute| execute.path.as_str() == path).cloned();
        found.unwrap_or_else(|| panic!("{path} is not under way, but {:?}", self.open_paths()))
    }

    pub fn answer(&mut self, path: &str, result: Result<Value, Failure>) -> Vec<Command> {
        self.answer_at(path, result, time(1))
    }

    pub fn answer_at(&mut self, path: &str, result: Result<Value, Failure>, at: Timestamp) -> Vec<Command> {
        let attempt = self.call(path).attempt;
        let result = result.map(Payload::new);
        self.event(Event::StepDone { path: path.into(), attempt, result, at })
    }

    pub fn ok(&mut self, path: &str, output: Value) -> Vec<Command> {
        self.answer(path, Ok(output))
    }

    pub fn fail(&mut self, path: &str, code: &str) -> Vec<Command> {
        self.answer(path, Err(failure(code, false)))
    }

    /// Gives every item that waits for it its turn.
    pub fn turns(&mut self) {
        while let Some((execute, answer)) =
            self.open().into_iter().find_map(|e| turn(&e.call, 5, |_| false).map(|answer| (e, answer)))
        {
            let Execute { path, attempt, .. } = execute;
            self.event(Event::StepDone { path, attempt, result: Ok(answer.into()), at: time(1) });
        }
    }

    pub fn timers(&self) -> Vec<(Timer, Timestamp)> {
        let commands = outstanding(self.graph, &self.state).into_iter();
        commands
            .filter_map(|command| match command {
                Command::SetTimer { timer, due } => Some((timer, due)),
                _ => None,
            })
            .collect()
    }

    pub fn fire(&mut self) -> Vec<Command> {
        let (timer, due) = self.timers().remove(0);
        self.event(Event::TimerFired { timer, at: due })
    }

    pub fn status(&self, path: &str) -> Option<StepStatus> {
        self.state.step(&path.into()).map(|step| step.status)
    }

    pub fn finished(&self) -> Option<&Finished> {
        self.asked.iter().rev().find_map(|command| match command {
            Command::Finished(finished) => Some(finished),
            _ => None,
        })
    }

    /// The result of a run that is over.
    pub fn result(&self) -> Value {
        let finished = self.finished().unwrap_or_else(|| panic!("not finished: {:?}", self.open_paths()));
        assert_eq!(finished.status, RunStatus::Completed, "{:?}", finished.error);
        assert_eq!(finished.status, self.state.status);
        Value::clone(finished.output.value().unwrap())
    }

    /// Where and why a run has failed.
    pub fn error(&self) -> (String, String) {
        let finished = self.finished().unwrap_or_else(|| panic!("not finished: {:?}", self.open_paths()));
        assert_eq!(finished.status, RunStatus::Failed);
        let error = finished.error.as_ref().unwrap();
        (error.step.as_ref().map(ToString::to_string).unwrap_or_default(), error.failure.code.clone())
    }

    /// The state written and read again, as after a crash.
    pub fn crash(&mut self) {
        let written = serde_json::to_vec(&self.state).unwrap();
        self.state = serde_json::from_slice(&written).unwrap();
    }
}

pub fn later(at: Timestamp, ms: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_millis(ms)).unwrap()
}

/// An iterator over a list; `more` is merged into it.
pub fn each(id: &str, over: Value, steps: Value, more: Value) -> Value {
    merged(json!({"id": id, "type": "iterator", "over": over, "do": steps}), more)
}

/// What the engine answers to the calls of iterators: a search finds `found` records, named by their places, and
/// those that a seed says are gone at their turn.
pub fn turn(call: &Call, found: u64, gone: impl Fn(u64) -> bool) -> Option<Value> {
    const PAGE: u64 = 3;
    match call {
        Call::List(list) => {
            let from = list.found;
            assert_eq!(list.cursor, (from > 0).then(|| from.to_string()));
            let here = PAGE.min(found - from);
            let more = from + here < found;
            Some(json!({"found": here, "cursor": more.then(|| (from + here).to_string())}))
        }
        Call::Item(ItemCall { records: None }) => Some(Value::Null),
        Call::Item(ItemCall { records: Some(records) }) => {
            let places = records.from..records.from + records.count;
            let left: Vec<Value> = places.filter(|n| !gone(*n)).map(|n| json!({"n": n})).collect();
            Some(match (left.as_slice(), records.batch) {
                ([], _) => Value::Null,
                (_, true) => left.into(),
                ([only, ..], false) => only.clone(),
            })
        }
        _ => None,
    }
}

/// A `set` step.
pub fn set(id: &str, values: Value) -> Value {
    json!({"id": id, "type": "set", "values": values})
}

/// A code step; `more` is merged into it.
pub fn code(id: &str, more: Value) -> Value {
    merged(json!({"id": id, "type": "code", "action": "act", "input": {}}), more)
}

/// An HTTP step; `more` is merged into it.
pub fn http(id: &str, more: Value) -> Value {
    merged(json!({"id": id, "type": "http_request", "url": "https://x.org/"}), more)
}

pub fn merged(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}
