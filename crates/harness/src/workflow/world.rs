//! One test's world: an engine over an empty store, with time, requests and e-mail that belong to the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepwell_engine::ports::{Clock, Random};
use stepwell_engine::{
    Engine, EngineConfig, EngineError, GiveInput, HookAnswer, HookReply, HookRequest, PageRequest, Ports,
    RecordQuery, ResumeAction, ResumeRun, Retention, RunFilter, RunStarted, TextFormat, Workspace,
};
use stepwell_store::{MemoryBlobs, MemoryStore};
use stepwell_workflow::expr::Values;
use stepwell_workflow::model::Millis;
use stepwell_workflow::problem::{Problem, render_all};
use stepwell_workflow::schema_file;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock::VirtualClock;
use super::code::{CountedCode, Sandbox};
use super::document::{Step, Test, fill};
use super::folder::{Flow, Folder};
use super::outside::{CannedHttp, CaughtMail, LateHttp};

/// Runs that may end while a test moves time once.
const MOST_RUNS: u64 = 10_000;

/// How far the clock goes by itself, for runs under way that pause a moment.
const MOMENT: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// Always the same ids.
struct Counted(Mutex<u64>);

impl Random for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64: any start gives numbers that differ.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = *state;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(x ^ (x >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// What a trigger came to.
pub(super) enum Came {
    Answer(HookAnswer),
    Started(RunStarted),
    Refused(EngineError),
}

type Asked = JoinHandle<Result<Came, EngineError>>;

pub(super) struct World {
    engine: Engine,
    pub workspace: Workspace,
    clock: Arc<VirtualClock>,
    busy: watch::Receiver<usize>,
    pub http: Arc<CannedHttp>,
    pub mail: Arc<CaughtMail>,
    /// What templates of the test see.
    pub scope: Values,
    /// The workflow that triggers go to.
    flow: Option<String>,
    asked: Option<Asked>,
    /// The last trigger, once it is answered.
    pub came: Option<Came>,
}

#[derive(Deserialize)]
struct Trigger {
    workflow: Option<String>,
    #[serde(default, deserialize_with = "stepwell_workflow::model::present")]
    input: Option<Value>,
    #[serde(default, deserialize_with = "stepwell_workflow::model::present")]
    body: Option<Value>,
    text: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    query: Map<String, Value>,
    method: Option<String>,
    auth: Option<String>,
}

#[derive(Deserialize)]
struct Write {
    object: String,
    #[serde(default)]
    record_id: String,
    #[serde(default)]
    record: Map<String, Value>,
    /// What later values call it.
    #[serde(default, rename = "as")]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Resume {
    action: Option<String>,
    #[serde(default, deserialize_with = "stepwell_workflow::model::present")]
    output: Option<Value>,
    step: Option<String>,
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    data: Value,
    step: Option<String>,
}

fn failed(what: impl std::fmt::Display) -> impl FnOnce(EngineError) -> String {
    move |error| format!("{what}: {error}")
}

impl World {
    /// With everything that the test says is there before. It needs a runtime whose clock is paused: that one says
    /// when nothing can go on.
    pub async fn open(test: &Test, folder: &Folder, sandbox: Arc<Sandbox>) -> Result<Self, String> {
        let clock = Arc::new(VirtualClock::new(test.at));
        let (http, mail) = (Arc::new(LateHttp::default()), Arc::new(CaughtMail::default()));
        let code = Arc::new(CountedCode::new(sandbox));
        let busy = code.busy();
        let ports = Ports {
            store: Arc::new(MemoryStore::new()),
            blobs: Arc::new(MemoryBlobs::default()),
            clock: clock.clone(),
            random: Arc::new(Counted(Mutex::new(1))),
            http: http.clone(),
            mail: Some(mail.clone()),
            code,
            secrets_key: Arc::new([7; 32]),
        };
        // However far a test moves the time, it sees what came of it.
        let retention = Retention {
            runs_for: 100 * YEAR,
            payloads_for: 100 * YEAR,
            mailbox_for: 100 * YEAR,
            every: YEAR,
            ..Retention::default()
        };
        let config = EngineConfig { retention, ..EngineConfig::default() };
        let engine = Engine::open(config, ports).await.map_err(|error| error.to_string())?;
        let workspace =
            engine.workspace(stepwell_engine::DEFAULT_WORKSPACE).await.map_err(failed("engine"))?;
        let scope = Values { now: test.at, ..Values::new([("records", json!({}))]) };
        let canned = Arc::new(CannedHttp::new(Vec::new()));
        let mut world = Self {
            engine,
            workspace,
            clock,
            busy,
            http: canned,
            mail,
            scope,
            flow: None,
            asked: None,
            came: None,
        };
        if let Some(schema) = &folder.schema {
            let applied =
                world.workspace.objects().apply(Some(schema.as_str().into()), &BTreeMap::new(), None).await;
            applied.map_err(failed(schema_file::FILE))?;
        }
        world.values(test).await?;
        world.http = Arc::new(CannedHttp::new(test.canned(&world.scope)?));
        http.set(world.http.clone());
        for connection in &folder.connections {
            let put = world.workspace.connections().put(&connection.name, &connection.text).await;
            put.map_err(failed(connection.file.display()))?;
        }
        for (name, module) in &folder.actions {
            let put = world.workspace.actions().put(name, module.clone(), false).await;
            put.map_err(failed(format!("action `{name}`")))?;
        }
        world.settle().await;
        world.activate(test, folder).await?;
        for (workflow, kept) in &test.state {
            for (name, value) in kept.as_object().into_iter().flatten() {
                let put = world.workspace.workflows().set_state(workflow, name, value.clone()).await;
                put.map_err(failed(format!("state.{workflow}.{name}")))?;
            }
        }
        world.settle().await;
        Ok(world)
    }

    async fn values(&mut self, test: &Test) -> Result<(), String> {
        for (name, value) in &test.settings {
            let put = self.workspace.settings().put(name, value.clone()).await;
            put.map_err(failed(format!("setting `{name}`")))?;
        }
        for (name, value) in &test.secrets {
            let value = value.as_str().unwrap_or_default();
            let put = self.workspace.secrets().put(name, value).await;
            put.map_err(failed(format!("secret `{name}`")))?;
        }
        let mut stored = Map::new();
        // Records may refer to what stands before them.
        for (object, records) in &test.records {
            for (index, record) in records.as_array().into_iter().flatten().enumerate() {
                let what = format!("records.{object}[{index}]");
                let filled = fill(record, &self.scope).map_err(|error| format!("{what}: {error}"))?;
                let fields = filled.as_object().cloned().unwrap_or_default();
                let written = self.workspace.records().create(object, fields).await;
                let written = written.map_err(failed(&what))?;
                let list = stored.entry(object.clone()).or_insert_with(|| json!([]));
                list.as_array_mut().into_iter().for_each(|list| list.push(written.record.clone()));
                self.scope.values.insert("records".into(), Arc::new(Value::Object(stored.clone())));
            }
        }
        Ok(())
    }

    async fn activate(&mut self, test: &Test, folder: &Folder) -> Result<(), String> {
        let named = |name: &String| {
            folder.flows.iter().find(|flow| flow.name == *name).ok_or_else(|| {
                let names: Vec<&str> = folder.flows.iter().map(|flow| flow.name.as_str()).collect();
                format!("there is no workflow `{name}`; there are {}", names.join(", "))
            })
        };
        let flows: Vec<&Flow> = match test.workflows.as_slice() {
            [] => folder.flows.iter().collect(),
            names => names.iter().map(named).collect::<Result<_, _>>()?,
        };
        self.flow = flows
            .first()
            .filter(|_| flows.len() == 1 || !test.workflows.is_empty())
            .map(|flow| flow.name.clone());
        let workflows = self.workspace.workflows();
        for flow in &flows {
            let format =
                if flow.text.trim_start().starts_with('{') { TextFormat::Json } else { TextFormat::Yaml };
            workflows.put_draft(&flow.name, &flow.text, format).await.map_err(failed(flow.file.display()))?;
        }
        // Those that call each other are all there by now.
        for flow in &flows {
            let detail = workflows.get(&flow.name, None).await.map_err(failed(flow.file.display()))?;
            if !detail.problems.is_empty() {
                let problems: Vec<_> = detail.problems.into_iter().map(Problem::from).collect();
                let mut told = render_all(&problems, &flow.file.display().to_string(), &flow.text);
                if problems.iter().any(|problem| problem.code == "unknown_reference") {
                    told.push_str("there is what the test gives: `settings`, `secrets`");
                }
                return Err(told.trim_end().to_owned());
            }
            workflows.activate(&flow.name, None).await.map_err(failed(flow.file.display()))?;
        }
        Ok(())
    }

    /// Does one step that is no expectation.
    pub async fn step(&mut self, step: &Step) -> Result<(), String> {
        let at = |error: EngineError| format!("{}: {error}", step.place);
        match step.kind.as_str() {
            "trigger" => {
                let trigger = step.filled(&self.scope)?;
                self.trigger(trigger).await.map_err(|error| format!("{}: {error}", step.place))?;
            }
            "advance" => {
                let by: Millis = step.filled(&self.scope)?;
                self.advance(by.as_duration()).await.map_err(|error| format!("{}: {error}", step.place))?;
            }
            "resume" => {
                let resume = step.filled(&self.scope)?;
                self.resume(resume).await.map_err(|error| format!("{}: {error}", step.place))?;
            }
            "input" => {
                let input = step.filled(&self.scope)?;
                self.input(input).await.map_err(|error| format!("{}: {error}", step.place))?;
            }
            kind => {
                let Write { object, record_id, record, name } = step.filled(&self.scope)?;
                let records = self.workspace.records();
                let written = match kind {
                    "create_record" => records.create(&object, record).await.map_err(at)?,
                    "update_record" => records.update(&object, &record_id, record, None).await.map_err(at)?,
                    _ => records.delete(&object, &record_id, None).await.map_err(at)?,
                };
                if let Some(name) = name {
                    self.scope.values.insert(name, Arc::new(written.record));
                }
            }
        }
        self.settle().await;
        self.hear().await;
        Ok(())
    }

    async fn trigger(&mut self, trigger: Trigger) -> Result<(), String> {
        let Some(name) = trigger.workflow.clone().or_else(|| self.flow.clone()) else {
            return Err("several workflows are active: say in the trigger which `workflow` is meant".into());
        };
        let hooks = self.workspace.hooks().await.map_err(failed("webhooks"))?;
        let workspace = self.workspace.clone();
        self.came = None;
        let hook = hooks.into_iter().find(|hook| hook.workflow == name).filter(|_| trigger.input.is_none());
        self.asked = Some(match hook {
            Some(hook) => {
                let signed = trigger.auth.as_deref() != Some("none");
                let mut request = request(trigger, &hook.path, hook.methods.first());
                if signed {
                    // One that no webhook takes is refused as it is.
                    request = workspace.hook_signed(request.clone()).unwrap_or(request);
                }
                tokio::spawn(async move { workspace.hook(request).await.map(Came::Answer) })
            }
            None if trigger.body.is_some() || trigger.text.is_some() => {
                return Err(format!("`{name}` has no webhook to send a body to; give an `input`"));
            }
            None => {
                let input = trigger.input.unwrap_or_else(|| json!({}));
                tokio::spawn(
                    async move { workspace.workflows().run(&name, input, None).await.map(Came::Started) },
                )
            }
        });
        Ok(())
    }

    async fn input(&self, input: Input) -> Result<(), String> {
        let Some(run) = self.last_run().await? else { return Err("no run has started".into()) };
        let given = GiveInput { step: input.step, data: input.data };
        self.workspace.runs().give_input(&run, given).await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn resume(&self, resume: Resume) -> Result<(), String> {
        let Some(run) = self.last_run().await? else { return Err("no run has started".into()) };
        let action = match (resume.output, resume.action.as_deref()) {
            (Some(_), Some(_)) => return Err("`action` and `output` are two ways to go on; keep one".into()),
            (Some(output), None) => ResumeAction::Output(output),
            (None, Some("skip")) => ResumeAction::Skip,
            (None, _) => ResumeAction::Retry,
        };
        let resume = ResumeRun { action, step: resume.step, actions: BTreeMap::new(), newest: false };
        self.workspace.runs().resume(&run, resume).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Takes what the last trigger was answered, if it was by now.
    async fn hear(&mut self) {
        if let Some(asked) = self.asked.take_if(|asked| asked.is_finished()) {
            self.came = Some(match asked.await {
                Ok(Ok(came)) => came,
                Ok(Err(error)) => Came::Refused(error),
                Err(panicked) => Came::Refused(EngineError::internal(panicked.to_string())),
            });
        }
    }

    /// Runs that have ended, however.
    fn ended(&self) -> u64 {
        let stats = self.engine.stats();
        stats.runs_completed + stats.runs_failed + stats.runs_cancelled
    }

    /// Moves time, from one thing that falls due to the next.
    async fn advance(&mut self, by: Duration) -> Result<(), String> {
        let till = self.clock.elapsed() + by;
        let began = self.ended();
        loop {
            self.settle().await;
            match self.clock.next().filter(|next| *next <= till) {
                Some(next) => self.clock.move_to(next),
                None => break,
            }
            if self.ended() - began > MOST_RUNS {
                return Err(format!(
                    "more than {MOST_RUNS} runs have come to their end while time moves: move it by less, or give the \
                     schedule longer times"
                ));
            }
        }
        self.clock.move_to(till);
        self.settle().await;
        self.scope.now = self.clock.now();
        Ok(())
    }

    /// Lets everything go on that can without the time moving.
    async fn settle(&self) {
        let till = self.clock.elapsed() + MOMENT;
        loop {
            self.quiet().await;
            let stats = self.engine.stats();
            if stats.runs_running + stats.runs_queued == 0 {
                return;
            }
            // A run under way that waits for time has met a conflict: it tries again after a moment.
            match self.clock.next().filter(|next| *next <= till) {
                Some(next) => self.clock.move_to(next),
                None => return,
            }
        }
    }

    /// Returns when no task can go on: only then does the runtime's paused clock jump over this sleep.
    async fn quiet(&self) {
        let mut busy = self.busy.clone();
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if *busy.borrow_and_update() == 0 {
                return;
            }
            // The sandbox lives in real time.
            if busy.wait_for(|busy| *busy == 0).await.is_err() {
                return;
            }
        }
    }

    /// Of the run that started last, its id.
    pub async fn last_run(&self) -> Result<Option<String>, String> {
        match &self.came {
            Some(Came::Answer(answer)) => Ok(Some(answer.run_id.clone()).filter(|run| !run.is_empty())),
            Some(Came::Started(started)) => Ok(Some(started.run_id.clone())),
            Some(Came::Refused(_)) => Ok(None),
            None => {
                let filter = RunFilter { workflow: self.flow.clone(), status: None };
                let page = PageRequest { limit: Some(1), cursor: None };
                let runs = self.workspace.runs().list(filter, page).await.map_err(failed("runs"))?;
                Ok(runs.items.into_iter().next().map(|run| run.id))
            }
        }
    }

    /// All runs, the first one first.
    pub async fn runs(&self) -> Result<Vec<stepwell_engine::RunDetail>, String> {
        let mut page = PageRequest { limit: Some(500), cursor: None };
        let mut all = Vec::new();
        loop {
            let runs = self.workspace.runs();
            let found = runs.list(RunFilter::default(), page.clone()).await.map_err(failed("runs"))?;
            for run in found.items {
                all.push(runs.get(&run.id).await.map_err(failed("runs"))?);
            }
            page.cursor = found.next_cursor;
            if page.cursor.is_none() {
                all.reverse();
                return Ok(all);
            }
        }
    }

    pub async fn records(&self, object: &str) -> Result<Vec<Value>, String> {
        let mut query = RecordQuery { limit: Some(500), ..RecordQuery::default() };
        let mut all = Vec::new();
        loop {
            let page =
                self.workspace.records().list(object, query.clone()).await.map_err(failed("records"))?;
            all.extend(page.records);
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// What a workflow keeps for later runs.
    pub async fn state(&self, workflow: &str) -> Result<Value, String> {
        let page = PageRequest { limit: Some(500), cursor: None };
        let kept = self.workspace.workflows().state(workflow, page).await.map_err(failed("state"))?;
        Ok(kept.items.into_iter().map(|one| (one.name, one.value)).collect::<Map<_, _>>().into())
    }

    pub async fn close(self) {
        if let Some(asked) = &self.asked {
            asked.abort();
        }
        self.engine.close().await;
    }
}

/// What the last webhook was answered, as its sender sees it.
pub(super) fn answered(answer: &HookAnswer) -> Value {
    let body = |status: u16, body: Value| json!({ "status": status, "headers": {}, "body": body });
    match &answer.reply {
        HookReply::Accepted => body(202, json!({ "run_id": answer.run_id })),
        HookReply::Result { output, .. } => body(200, output.clone()),
        HookReply::Failed(_) => body(500, json!({ "code": "run_failed", "run_id": answer.run_id })),
        HookReply::Cancelled(_) => body(500, json!({ "code": "run_cancelled", "run_id": answer.run_id })),
        HookReply::Custom { .. } | HookReply::Handshake { .. } => {
            let (status, headers, body) = match &answer.reply {
                HookReply::Custom { status, headers, body } => (status, headers, body.clone()),
                HookReply::Handshake { status, headers, body } => (status, headers, Some(body.clone())),
                _ => return Value::Null,
            };
            let headers: Map<String, Value> =
                headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), json!(value))).collect();
            json!({ "status": status, "headers": headers, "body": body })
        }
    }
}

fn request(trigger: Trigger, path: &str, method: Option<&String>) -> HookRequest {
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut headers: Vec<(String, String)> =
        trigger.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect();
    if headers.iter().all(|(name, _)| name != "content-type") {
        headers.push(("content-type".into(), "application/json".into()));
    }
    let body = match (trigger.text, trigger.body) {
        (Some(text), _) => text,
        (None, Some(body)) => body.to_string(),
        (None, None) => String::new(),
    };
    HookRequest {
        method: trigger.method.or_else(|| method.cloned()).unwrap_or_else(|| "POST".into()),
        path: path.to_owned(),
        headers,
        query: trigger.query.into_iter().map(|(name, value)| (name, text(value))).collect(),
        body: body.into(),
        caller: None,
        gone: Default::default(),
    }
}
