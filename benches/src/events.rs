//! Record events: how long after a write the run that it starts is at its first step, and what a write costs while a
//! thousand workflows listen.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::{Map, Value, json};
use stepwell_engine::ports::{CodeRunner, SandboxRunner};
use stepwell_engine::{TextFormat, Workspace};
use stepwell_sandbox::{ActionInfo, Call, Host, HostConfig, Limits, LoadError, Outcome};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::floor_store::FloorStore;
use crate::load::{Round, round};
use crate::nodes::Node;
use crate::product::{self, Opened};
use crate::report::Aim;
use crate::stats::percentile;
use crate::{Bench, setup};

const NAME: &str = "events";
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(mut bench: Bench<'_>) -> anyhow::Result<()> {
    until_the_run(&mut bench).await?;
    cost_of_a_write(&mut bench).await
}

const SEEN: &str = r#"
name: seen
trigger: { type: record_event, object: note, on: created }
steps:
  - { id: lead, type: code, action: normalize-lead, input: { email: a@b.example, name: "{{ trigger.after.title }}" } }
"#;

async fn until_the_run(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    // As the server has it: the work is not the measuring thread's.
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let runner = Arc::new(Watched::new()?);
    let (data, code) = (bench.dir.join("engine"), runner.clone());
    let Opened { engine, store, .. } =
        threads.spawn(async move { product::open(&data, None, code).await }).await??;
    let workspace = engine.workspace("default").await?;
    workspace.actions().put("normalize-lead", bench.guest.module.clone().into(), false).await?;
    let draft = workspace.workflows().put_draft("seen", SEEN, TextFormat::Yaml).await?;
    ensure!(draft.problems.is_empty(), "{:?}", draft.problems);
    workspace.workflows().activate("seen", None).await?;
    let floor = FloorStore::open(&bench.dir.join("floor"))?;

    let (rounds, events) = bench.effort.pick((10, 400), (2, 32));
    for at_once in [1, 16] {
        let (mut ours, mut base) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for number in 0..=rounds {
            let (mut floor_times, mut times) = (Vec::new(), Vec::new());
            let callers = (0..at_once).map(|_| {
                let floor = floor.clone();
                threads.spawn(async move { floor_events(&floor, events / at_once).await })
            });
            for done in try_join_all(callers).await? {
                floor_times.extend(done?);
            }
            let callers = (0..at_once).map(|_| {
                let (workspace, runner) = (workspace.clone(), runner.clone());
                threads.spawn(async move { product_events(&workspace, &runner, events / at_once).await })
            });
            for done in try_join_all(callers).await? {
                times.extend(done?);
            }
            // The first round of each side fills caches and does not count.
            if number > 0 {
                for (place, percent) in [50.0, 99.0].into_iter().enumerate() {
                    ours[place].push(percentile(&mut times, percent));
                    base[place].push(percentile(&mut floor_times, percent));
                }
            }
        }
        for (place, percent) in ["p50", "p99"].iter().enumerate() {
            let what = format!(
                "{percent} from the call that writes to the first step of the run, {at_once} at once (floor: two commits)"
            );
            bench.report.compare(NAME, what, "ms", (&ours[place], &base[place]), None);
        }
    }
    threads.spawn(async move { engine.close().await }).await?;
    store.close().await;
    threads.shutdown_background();
    Ok(())
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Milliseconds of each.
async fn product_events(workspace: &Workspace, runner: &Watched, count: usize) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let title = format!("n{}", NEXT.fetch_add(1, Relaxed));
        let (tell, told) = oneshot::channel();
        runner.waiting().insert(title.clone(), tell);
        let record: Map<String, Value> = [("title".to_owned(), title.into())].into_iter().collect();
        let began = Instant::now();
        workspace.records().create("note", record).await?;
        let at = tokio::time::timeout(PATIENCE, told).await.context("the event starts no run")??;
        times.push(at.duration_since(began).as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// What nobody can do without who starts a run once for a write: the write on disk, and then the run.
async fn floor_events(floor: &FloorStore, count: usize) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let id = NEXT.fetch_add(1, Relaxed).to_be_bytes();
        let row = |kind: &[u8]| ([kind, id.as_slice()].concat(), vec![7; 500]);
        let began = Instant::now();
        floor.commit(vec![row(b"record/"), row(b"event/")]).await?;
        floor.commit(vec![row(b"run/"), row(b"place/")]).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// The sandbox, which tells when a call with a name in its input begins.
struct Watched {
    inner: SandboxRunner,
    waiting: Mutex<HashMap<String, oneshot::Sender<Instant>>>,
}

impl Watched {
    fn new() -> anyhow::Result<Self> {
        let inner = SandboxRunner::new(Host::new(HostConfig::default())?);
        Ok(Self { inner, waiting: Mutex::default() })
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Instant>>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[async_trait]
impl CodeRunner for Watched {
    async fn load(&self, module: Bytes) -> Result<ActionInfo, LoadError> {
        self.inner.load(module).await
    }

    fn loaded(&self, sha256: &str) -> bool {
        self.inner.loaded(sha256)
    }

    async fn call(&self, sha256: &str, call: Call) -> Outcome {
        let at = Instant::now();
        let input: Value = serde_json::from_str(&call.input).unwrap_or_default();
        let waiting = input["name"].as_str().and_then(|name| self.waiting().remove(name));
        if let Some(waiting) = waiting {
            // Whoever waited may have gone away.
            let _ = waiting.send(at);
        }
        self.inner.call(sha256, call).await
    }

    fn drop_unused(&self, sha256: &str) {
        self.inner.drop_unused(sha256);
    }

    fn maxima(&self) -> Limits {
        self.inner.maxima()
    }

    fn semantics(&self) -> &str {
        self.inner.semantics()
    }
}

/// What the workflows that start no run listen to.
struct Listening {
    what: &'static str,
    /// The trigger of the nth.
    trigger: fn(usize) -> String,
    aim: Option<Aim>,
}

const LISTENING: [Listening; 6] = [
    Listening {
        what: "another object",
        trigger: |_| "object: company, on: [created, updated]".into(),
        aim: Some(Aim::AtMost(1.2)),
    },
    Listening {
        what: "another field",
        trigger: |_| "object: person, on: [created, updated], fields: phones".into(),
        aim: Some(Aim::AtMost(1.2)),
    },
    Listening {
        what: "the same field, each for a text of its own",
        trigger: |n| {
            format!(
                "object: person, on: [created, updated], fields: city, when: {{ field: after.city, is: City {n} }}"
            )
        },
        aim: Some(Aim::AtMost(1.2)),
    },
    Listening {
        what: "the same field, each with a threshold of its own for a number",
        trigger: |n| {
            format!(
                "object: person, on: [created, updated], fields: city, when: '{{{{ trigger.after.version > {} }}}}'",
                n + 1
            )
        },
        aim: Some(Aim::AtMost(1.2)),
    },
    Listening {
        what: "the same field, with one condition for all that has to be asked",
        trigger: |_| {
            "object: person, on: [created, updated], fields: city, when: { field: after.city, contains: Oslo }".into()
        },
        aim: Some(Aim::AtMost(1.2)),
    },
    Listening {
        what: "the same field, with a condition that each has to be asked",
        trigger: |n| {
            format!(
                "object: person, on: [created, updated], fields: city, when: {{ field: after.city, contains: City {n} }}"
            )
        },
        aim: None,
    },
];

async fn cost_of_a_write(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let (few, many) = bench.effort.pick((10, 1000), (3, 30));
    let (rounds, time) = bench.effort.pick((5, Duration::from_millis(500)), (2, Duration::from_millis(200)));
    for (number, listening) in LISTENING.iter().enumerate() {
        let mut sides = Vec::new();
        for count in [few, many] {
            let data = bench.dir.join(format!("writes-{number}-{count}"));
            sides.push((Side::new(&data, listening, count).await?, Vec::new()));
        }
        for round in 0..=rounds {
            for (side, measured) in &mut sides {
                let done = side.round(time).await?;
                if round > 0 {
                    measured.push(done);
                }
            }
        }
        let what =
            |what: &str| format!("{what}, {many} workflows listen to {} (floor: {few})", listening.what);
        let figures = |of: fn(&Round) -> f64| -> Vec<Vec<f64>> {
            sides.iter().map(|(_, measured)| measured.iter().map(of).collect()).collect()
        };
        let time = figures(|round| 1e6 / round.per_second());
        bench.report.compare(
            NAME,
            what("time a write, 16 clients"),
            "µs",
            (&time[1], &time[0]),
            listening.aim,
        );
        let processor = figures(Round::processor_us);
        let text = what("processor time a write, 16 clients");
        bench.report.compare(NAME, text, "µs", (&processor[1], &processor[0]), None);
        let p99 = figures(|round| round.p99_ms);
        bench.report.compare(NAME, what("p99 of the answer"), "ms", (&p99[1], &p99[0]), None);
        for (side, _) in sides {
            side.node.stop().await?;
        }
    }
    Ok(())
}

/// A product in which so many workflows listen.
struct Side {
    node: Node,
    control: Client,
    clients: Vec<Client>,
}

/// Starts a run when everything before it was looked at.
const LAST: &str = "name: last\ntrigger: { type: record_event, object: note, on: created }\nsteps:\n  - { id: seen, type: set, values: { at: 1 } }\n";

impl Side {
    async fn new(data: &Path, listening: &Listening, count: usize) -> anyhow::Result<Self> {
        let node = Node::product(data).await?;
        let mut control = Client::connect(node.address).await?;
        for n in 0..count {
            let text = format!(
                "name: w{n:04}\ntrigger: {{ type: record_event, {} }}\nsteps:\n  - {{ id: seen, type: set, values: {{ at: 1 }} }}\n",
                (listening.trigger)(n)
            );
            setup::put_workflow(&mut control, &format!("w{n:04}"), &text).await?;
        }
        setup::put_workflow(&mut control, "last", LAST).await?;
        let clients = Client::connect_all(node.address, 16).await?;
        Ok(Self { node, control, clients })
    }

    /// Over when every event that was written is dealt with.
    async fn round(&mut self, time: Duration) -> anyhow::Result<Round> {
        let Self { node, control, clients } = self;
        let before = setup::counter(control, "runs_completed").await?;
        let drained = async {
            control.post("/api/v1/records/note", br#"{"title":"last"}"#).await?.ok()?;
            let given_up = Instant::now() + PATIENCE;
            while setup::counter(control, "runs_completed").await? == before {
                ensure!(Instant::now() < given_up, "the events are not dealt with");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        let done = round(node, clients, "/api/v1/records/person", person, time, drained).await?;
        let runs = setup::counter(control, "runs_started").await?;
        ensure!(runs == before + 1, "workflows that should not have started did");
        Ok(done)
    }
}

/// The next person.
fn person() -> Vec<u8> {
    let n = NEXT.fetch_add(1, Relaxed);
    json!({
        "name": { "firstName": "Ada", "lastName": format!("Lovelace {n}") },
        "emails": { "primaryEmail": format!("person.{n}@example.com") },
        "jobTitle": "Analyst",
        "city": "Paris",
    })
    .to_string()
    .into_bytes()
}
