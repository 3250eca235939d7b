//! Properties over random workflows, answers, orders, crashes and cancels.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::super::*;
use super::support::*;
use crate::graph::Graph;

/// The shape of a random step; ids are given out afterwards.
#[derive(Debug, Clone)]
enum Shape {
    Code(Traits),
    Http(Traits),
    Set(Traits),
    Branch {
        taken: Option<bool>,
        then: Vec<Shape>,
        otherwise: Option<Vec<Shape>>,
        traits: Traits,
    },
    /// Each step with a seed for what it needs of those before it.
    Parallel(Vec<(Shape, u8)>, Traits),
    Delay(Traits),
    Run(Traits),
    Iterator(Loop, Vec<Shape>, Traits),
    Filter(bool),
    Stop(bool),
}

/// Over a list, or over a search of so many.
#[derive(Debug, Clone)]
struct Loop {
    count: u64,
    search: bool,
    concurrency: u64,
    batch: Option<u64>,
    tolerate: u64,
}

#[derive(Debug, Clone)]
struct Traits {
    condition: Option<bool>,
    attempts: u32,
    on_error: u8,
    handler: Vec<Shape>,
}

fn traits(handler: BoxedStrategy<Vec<Shape>>) -> impl Strategy<Value = Traits> {
    let condition = prop_oneof![6 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    let on_error = prop_oneof![4 => Just(0u8), 1 => Just(1), 1 => Just(2), 1 => Just(3)];
    (condition, 1u32..4, on_error, handler).prop_map(|(condition, attempts, on_error, handler)| Traits {
        condition,
        attempts,
        on_error,
        handler,
    })
}

fn items() -> impl Strategy<Value = Loop> {
    (0u64..6, any::<bool>(), 1u64..4, proptest::option::of(1u64..4), 0u64..3).prop_map(
        |(count, search, concurrency, batch, tolerate)| Loop { count, search, concurrency, batch, tolerate },
    )
}

fn call() -> impl Strategy<Value = Shape> {
    let plain = || traits(Just(Vec::new()).boxed());
    prop_oneof![
        plain().prop_map(Shape::Code),
        plain().prop_map(Shape::Http),
        plain().prop_map(Shape::Set),
        plain().prop_map(Shape::Delay),
        plain().prop_map(Shape::Run)
    ]
}

fn shape() -> BoxedStrategy<Shape> {
    call()
        .prop_recursive(3, 16, 4, |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..4).boxed();
            let handler = proptest::collection::vec(inner.clone(), 0..2).boxed();
            prop_oneof![
                2 => traits(handler.clone()).prop_map(Shape::Code),
                2 => (
                    proptest::option::of(any::<bool>()),
                    list.clone(),
                    proptest::option::of(list.clone()),
                    traits(handler.clone()),
                )
                    .prop_map(|(taken, then, otherwise, traits)| Shape::Branch { taken, then, otherwise, traits }),
                3 => (proptest::collection::vec((inner.clone(), any::<u8>()), 1..5), traits(handler.clone()))
                    .prop_map(|(steps, traits)| Shape::Parallel(steps, traits)),
                3 => (
                    items(),
                    proptest::collection::vec(
                        prop_oneof![6 => inner, 1 => any::<bool>().prop_map(Shape::Filter)],
                        1..4,
                    ),
                    traits(handler),
                )
                    .prop_map(|(items, steps, traits)| Shape::Iterator(items, steps, traits)),
            ]
        })
        .boxed()
}

/// A whole workflow: a list of steps, now and then with something that ends the run.
fn workflow() -> impl Strategy<Value = Vec<Shape>> {
    let end = prop_oneof![8 => shape(), 1 => any::<bool>().prop_map(Shape::Filter), 1 => any::<bool>().prop_map(Shape::Stop)];
    proptest::collection::vec(end, 1..6)
}

/// Gives out ids, and lets steps read what has certainly run before them.
struct Writer {
    next: u32,
    /// Parallels hold no `filter` and no `stop`, and failures are left out when the order is to be free.
    failing: bool,
}

impl Writer {
    fn list(&mut self, shapes: &[Shape], before: Option<&str>) -> Vec<Value> {
        let mut before = before.map(str::to_owned);
        let mut steps = Vec::new();
        for shape in shapes {
            let step = self.step(shape, before.as_deref());
            before = step["id"].as_str().map(str::to_owned);
            steps.push(step);
        }
        steps
    }

    fn step(&mut self, shape: &Shape, before: Option<&str>) -> Value {
        let id = format!("s{}", self.next);
        self.next += 1;
        let input = match before {
            Some(before) => json!(format!("{{{{ {before} | default(\"none\") }}}}")),
            None => json!("{{ trigger.x }}"),
        };
        match shape {
            Shape::Code(traits) => {
                self.with(code(&id, json!({"input": {"v": input, "steps": "{{ steps }}"}})), traits, true)
            }
            Shape::Http(traits) => {
                self.with(http(&id, json!({"method": "POST", "body": {"json": {"v": input}}})), traits, true)
            }
            Shape::Set(traits) => self.with(set(&id, json!({"v": input})), traits, false),
            Shape::Branch { taken, then, otherwise, traits } => {
                let mut branch = json!({"id": id, "type": "branch", "branches": [
                    {"when": {"value": taken.unwrap_or(false), "is": true}, "do": self.list(then, before)},
                    {"when": {"value": "{{ trigger.x }}", "is": 2}, "do": []},
                ]});
                if let Some(otherwise) = otherwise {
                    branch["else"] = json!(self.list(otherwise, before));
                }
                self.with(branch, traits, false)
            }
            Shape::Parallel(shapes, traits) => {
                let mut steps: Vec<Value> = Vec::new();
                for (shape, seed) in shapes {
                    let mut step = self.step(shape, before);
                    let needs: Vec<Value> = steps
                        .iter()
                        .enumerate()
                        .filter(|(i, _)| seed >> (i % 8) & 1 == 1)
                        .map(|(_, step)| step["id"].clone())
                        .collect();
                    step["needs"] = json!(needs);
                    steps.push(step);
                }
                // Document order is not the order of needs.
                steps.reverse();
                self.with(json!({"id": id, "type": "parallel", "steps": steps}), traits, false)
            }
            Shape::Run(traits) => {
                let step = json!({"id": id, "type": "run_workflow", "workflow": "other", "input": input});
                self.with(step, traits, true)
            }
            Shape::Delay(traits) => self.with(json!({"id": id, "type": "delay", "for": "2s"}), traits, false),
            Shape::Iterator(items, shapes, traits) => {
                let mut step = json!({"id": id, "type": "iterator", "do": self.list(shapes, before),
                    "concurrency": items.concurrency, "batch": items.batch, "tolerate": {"failures": items.tolerate}});
                match items.search {
                    // How many are found stands in the filter.
                    true => {
                        step["search"] =
                            json!({"object": "task", "filter": {"field": "n", "is": items.count}})
                    }
                    false => step["over"] = (0..items.count).collect(),
                }
                self.with(step, traits, false)
            }
            Shape::Filter(passes) => {
                json!({"id": id, "type": "filter", "when": {"value": passes, "is": true}})
            }
            Shape::Stop(failed) => {
                let status = if *failed && self.failing { "failed" } else { "completed" };
                json!({"id": id, "type": "stop", "status": status, "if": "{{ trigger.x == 1 }}"})
            }
        }
    }

    fn with(&mut self, mut step: Value, traits: &Traits, calls: bool) -> Value {
        if let Some(condition) = traits.condition {
            step["if"] = json!(if condition { "{{ true }}" } else { "{{ false }}" });
        }
        if calls {
            // When nothing is to fail for good, there is an attempt after the one that may fail.
            let attempts = traits.attempts + u32::from(!self.failing);
            step["retry"] =
                json!({"attempts": attempts, "backoff": {"initial": "1s", "factor": 1.0, "max": "1s"}});
        }
        match traits.on_error {
            1 => step["on_error"] = json!("continue"),
            3 => step["on_error"] = json!("pause"),
            2 => step["on_error"] = json!({"do": self.list(&traits.handler, None)}),
            _ => {}
        }
        step
    }
}

fn written(shapes: &[Shape], failing: bool) -> Graph {
    let mut writer = Writer { next: 0, failing };
    let list = writer.list(shapes, None);
    let on_failure =
        if failing { json!([code("told", json!({"input": "{{ error.code }}"}))]) } else { json!([]) };
    graph(json!({"name": "random", "trigger": {"type": "manual"}, "steps": list, "on_failure": on_failure}))
}

/// How a call ends is a function of the call, so that any two orders meet the same answers.
fn answer(execute: &Execute, failing: bool) -> Result<Value, Failure> {
    ends(&execute.path, execute.attempt, failing)
}

fn ends(path: &StepPath, attempt: u32, failing: bool) -> Result<Value, Failure> {
    let roll = path.as_str().bytes().fold(attempt as usize * 7, |n, b| n.wrapping_mul(31) + b as usize);
    match roll % 8 {
        0 if failing => Err(failure("refused", false)),
        // A last attempt goes well when nothing is to fail for good.
        1 | 2 if failing || attempt == 1 => Err(failure("busy", true)),
        _ => Ok(json!({"n": roll % 100})),
    }
}

/// How many a search finds.
fn found(call: &Call) -> u64 {
    let filter = match call {
        Call::List(call) => &call.filter,
        _ => return 0,
    };
    serde_json::to_value(filter).unwrap()["is"].as_u64().unwrap()
}

/// All that could happen next: answers and timers.
fn possible(run: &Driven<'_>, failing: bool) -> Vec<Event> {
    // One time for everything, so that orders differ in nothing but order.
    let at = time(0);
    let mut events: Vec<Event> = Vec::new();
    for execute in run.open() {
        if let Call::Run(call) = &execute.call {
            // It comes into being at once; how it ends is what a call would have come to.
            let run = call.run.clone().unwrap_or_else(|| execute.path.to_string());
            events.push(Event::AttemptStarted {
                path: execute.path,
                attempt: execute.attempt,
                run: Some(run),
                at,
            });
            continue;
        }
        let turn = turn(&execute.call, found(&execute.call), |n| n % 3 == 1);
        let result = turn.map_or_else(|| answer(&execute, failing), Ok).map(Payload::new);
        events.push(Event::StepDone { path: execute.path, attempt: execute.attempt, result, at });
    }
    for (path, run_id) in run.state.awaited() {
        let attempt = run.state.step(path).unwrap().attempt;
        let result = ends(path, attempt, failing).map(Payload::new);
        events.push(Event::RunEnded { path: path.clone(), run: run_id.to_owned(), result, at });
    }
    // A person tries once more, and then lets it be.
    let tried = |of: &StepPath| {
        let retry =
            |event: &&Event| matches!(event, Event::Resumed { path, how: Resume::Retry, .. } if path == of);
        run.journal.iter().any(|event| retry(&event))
    };
    for (path, _) in run.state.steps.iter().filter(|(_, step)| step.status == StepStatus::Paused) {
        let how = match (tried(path), path.as_str().len() % 2) {
            (false, _) => Resume::Retry,
            (true, 0) => Resume::Skip,
            _ => Resume::Output(json!({"by": "hand"}).into()),
        };
        events.push(Event::Resumed { path: path.clone(), how, at });
    }
    events.extend(run.timers().into_iter().map(|(timer, _)| Event::TimerFired { timer, at }));
    events
}

/// Runs to the end, `choices` saying what happens next.
fn drive(run: &mut Driven<'_>, choices: &[Index], failing: bool, mut each: impl FnMut(&mut Driven<'_>)) {
    for step in 0.. {
        let events = possible(run, failing);
        if events.is_empty() {
            break;
        }
        assert!(step < 2000, "the run does not end");
        let choice = choices[step % choices.len()].index(events.len());
        run.event(events[choice].clone());
        each(run);
    }
    assert!(run.state.status.is_final(), "stuck: {:?}", run.state);
}

/// What a live machine has asked for and not seen done, kept by hand.
fn live_outstanding(run: &Driven<'_>) -> Vec<String> {
    let mut open = std::collections::BTreeMap::new();
    let mut done = std::collections::BTreeMap::new();
    let mut end = |what| *done.entry(what).or_insert(0) += 1;
    for event in &run.journal {
        match event {
            Event::StepDone { path, attempt, .. }
            | Event::AttemptStarted { path, attempt, run: Some(_), .. } => {
                end(("call", path.to_string(), *attempt));
            }
            Event::TimerFired { timer, .. } => {
                end(("timer", timer.path.to_string(), timer.attempt));
            }
            _ => {}
        }
    }
    if !run.state.status.is_final() {
        for command in &run.asked {
            let (kind, path, attempt) = match command {
                Command::Execute(execute) => ("call", execute.path.to_string(), execute.attempt),
                Command::SetTimer { timer, .. } => ("timer", timer.path.to_string(), timer.attempt),
                Command::Abandon { path, attempt }
                | Command::ClearTimer { timer: Timer { path, attempt, .. }, .. } => {
                    open.remove(&(path.to_string(), *attempt));
                    continue;
                }
                _ => continue,
            };
            // Asked for again, by a person, it has the same number.
            match done.get_mut(&(kind, path.clone(), attempt)) {
                Some(left) if *left > 0 => *left -= 1,
                _ => {
                    open.insert((path, attempt), serde_json::to_string(command).unwrap());
                }
            }
        }
    }
    open.into_values().collect()
}

fn derived_outstanding(run: &Driven<'_>) -> Vec<String> {
    let mut open: Vec<(String, u32, String)> = outstanding(run.graph, &run.state)
        .iter()
        .map(|command| {
            let (path, attempt) = match command {
                Command::Execute(execute) => (execute.path.to_string(), execute.attempt),
                Command::SetTimer { timer, .. } => (timer.path.to_string(), timer.attempt),
                other => panic!("{other:?} is never outstanding"),
            };
            (path, attempt, serde_json::to_string(command).unwrap())
        })
        .collect();
    open.sort();
    open.into_iter().map(|(_, _, command)| command).collect()
}

fn choices() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Whatever order the answers come in, the run ends in the same state.
    #[test]
    fn any_order_ends_in_the_same_state(shapes in workflow(), first in choices(), second in choices()) {
        let graph = written(&shapes, false);
        let mut a = Driven::start(&graph, json!({"x": 1}));
        let mut b = Driven::start(&graph, json!({"x": 1}));
        drive(&mut a, &first, false, |_| {});
        drive(&mut b, &second, false, |_| {});
        prop_assert_eq!(a.state.status, RunStatus::Completed);
        prop_assert_eq!(a.state, b.state);
    }

    /// A journal gives its state again, and what is derived after a crash is what was asked for and is not done.
    #[test]
    fn replay_and_crashes_change_nothing(shapes in workflow(), order in choices(), crashes in any::<u64>()) {
        let graph = written(&shapes, true);
        let mut calm = Driven::start(&graph, json!({"x": 0}));
        drive(&mut calm, &order, true, |run| {
            assert_eq!(derived_outstanding(run), live_outstanding(run));
        });
        let mut replayed = State::new();
        for event in &calm.journal {
            apply(&graph, &mut replayed, event);
        }
        prop_assert_eq!(&replayed, &calm.state);

        let mut shaken = Driven::start(&graph, json!({"x": 0}));
        let mut n = 0u32;
        drive(&mut shaken, &order, true, |run| {
            if crashes >> (n % 64) & 1 == 1 {
                run.crash();
            }
            n += 1;
        });
        prop_assert_eq!(&shaken.state, &calm.state);
        prop_assert_eq!(&shaken.journal, &calm.journal);
    }

    /// A cancel at any point ends the run as cancelled, and nothing is asked for after it.
    #[test]
    fn a_cancel_ends_it(shapes in workflow(), order in choices(), after in 0usize..12) {
        let graph = written(&shapes, true);
        let mut run = Driven::start(&graph, json!({"x": 0}));
        for step in 0..after {
            let events = possible(&run, true);
            if events.is_empty() {
                break;
            }
            run.event(events[order[step].index(events.len())].clone());
        }
        let late = possible(&run, true);
        let over = run.state.status.is_final();
        let commands = run.event(Event::CancelRequested { at: time(2) });
        if over {
            prop_assert!(commands.is_empty());
        } else {
            prop_assert_eq!(run.state.status, RunStatus::Cancelled);
            let Some((Command::Finished(_), rest)) = commands.split_last() else { panic!("{commands:?}") };
            // What it waits for is to end with it, and what it was in the middle of.
            let ends = |command: &Command| match command {
                Command::CancelRun { .. } => true,
                Command::Item(done) => done.status == StepStatus::Cancelled,
                _ => false,
            };
            prop_assert!(rest.iter().all(ends));
            prop_assert!(run.state.steps.values().all(|step| step.status.is_final()));
        }
        let before = run.state.clone();
        for event in late {
            prop_assert!(run.event(event).is_empty());
        }
        prop_assert_eq!(&run.state, &before);
        prop_assert!(outstanding(&graph, &run.state).is_empty());
    }

    /// A failed run that is retried until its calls go well completes, and repeats no call that went well.
    #[test]
    fn a_retry_repeats_only_what_failed(shapes in workflow(), order in choices()) {
        let graph = written(&shapes, true);
        let mut run = Driven::start(&graph, json!({"x": 0}));
        drive(&mut run, &order, true, |_| {});
        if run.state.status == RunStatus::Failed {
            let done: Vec<StepPath> = (run.state.steps.iter())
                .filter(|(path, step)| step.status == StepStatus::Completed && !path.as_str().starts_with("on_failure"))
                .map(|(path, _)| path.clone())
                .collect();
            let mut state = run.state.clone();
            let mut asked = apply(&graph, &mut state, &Event::RetryRequested { at: time(9) });
            let mut rounds = 0;
            while let Some(command) = asked.pop() {
                rounds += 1;
                prop_assert!(rounds < 2000);
                let event = match command {
                    Command::Execute(execute) => {
                        prop_assert!(!done.contains(&execute.path), "{} had gone well", execute.path);
                        let turn = turn(&execute.call, found(&execute.call), |n| n % 3 == 1);
                        let result = Ok(turn.unwrap_or(json!({"n": 1})).into());
                        Event::StepDone { path: execute.path, attempt: execute.attempt, result, at: time(9) }
                    }
                    Command::SetTimer { timer, due } => {
                        prop_assert!(!done.contains(&timer.path), "{} had been waited for", timer.path);
                        Event::TimerFired { timer, at: due }
                    }
                    _ => continue,
                };
                asked.extend(apply(&graph, &mut state, &event));
            }
            prop_assert_eq!(state.status, RunStatus::Completed);
        }
    }
}
