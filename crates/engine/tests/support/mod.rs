//! A world for the engine that a test owns: its clock, its randomness, its sandbox, and everything outside.
#![allow(dead_code)]

mod code;
mod outside;

pub use code::{Module, SimCode};
pub use outside::{SimHttp, SimMail};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stepwell_engine::ports::{Clock, Random};
use stepwell_engine::{Engine, EngineConfig, HookRequest, Payload, Ports, RunDetail, TextFormat, Workspace};
use stepwell_store::keys::{Space, space_in};
use stepwell_store::{MemoryBlobs, MemoryStore, Row};
use tokio::time::Instant;

/// Small numbers, always the same from one seed.
#[derive(Clone)]
pub struct Rng(Arc<Mutex<u64>>, Arc<AtomicU64>);

impl Rng {
    pub fn new(seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
        Self(Arc::new(Mutex::new(state)), Arc::default())
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = *state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Rng {
    /// A defect: the nth time from now that the engine asks for some, it panics.
    pub fn panic_at(&self, nth: u64) {
        self.1.store(nth, SeqCst);
    }
}

impl Random for Rng {
    fn fill(&self, bytes: &mut [u8]) {
        let left = self.1.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        assert!(left != Ok(1), "a panic that the test asked for");
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Time that stands still while there is work, and jumps when there is none (tokio's paused clock).
pub struct SimClock {
    base_ms: u64,
    started: Instant,
    world: Arc<AtomicU64>,
}

const EPOCH_MS: u64 = 1_790_000_000_000;

impl SimClock {
    /// Goes on where the clock of the runtime before stopped.
    pub fn after(world: &Arc<AtomicU64>) -> Self {
        Self { base_ms: world.load(SeqCst), started: Instant::now(), world: world.clone() }
    }

    fn millis(&self) -> u64 {
        let now = self.base_ms + self.started.elapsed().as_millis() as u64;
        self.world.store(now, SeqCst);
        now
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        // No real clock gives whole milliseconds.
        let ns = i128::from(EPOCH_MS + self.millis()) * 1_000_000 + 456_789;
        Timestamp::from_nanosecond(ns).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.millis())
    }

    async fn sleep_until(&self, at: Timestamp) {
        let left = at.duration_since(self.now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }

    async fn sleep(&self, for_: Duration) {
        tokio::time::sleep(for_).await;
    }
}

/// What outlives a crash: the store, and the world outside.
#[derive(Clone)]
pub struct World {
    pub store: MemoryStore,
    pub blobs: Arc<MemoryBlobs>,
    pub rng: Rng,
    pub time: Arc<AtomicU64>,
    pub code: Arc<SimCode>,
    pub http: Arc<SimHttp>,
    pub mail: Arc<SimMail>,
    pub config: EngineConfig,
    pub secrets_key: [u8; 32],
    /// Whether mails go out, or are caught.
    pub sends_mail: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let time: Arc<AtomicU64> = Arc::default();
        Self {
            store: MemoryStore::new(),
            blobs: Arc::new(MemoryBlobs::default()),
            code: Arc::new(SimCode::default()),
            http: Arc::new(SimHttp::new(rng.clone(), time.clone())),
            mail: Arc::new(SimMail::new(rng.clone())),
            time,
            config: EngineConfig::default(),
            secrets_key: [7; 32],
            sends_mail: false,
            rng,
        }
    }

    pub fn ports(&self) -> Ports {
        let mail: Arc<dyn stepwell_engine::ports::Mailer> = self.mail.clone();
        Ports {
            store: Arc::new(self.store.clone()),
            blobs: self.blobs.clone(),
            clock: Arc::new(SimClock::after(&self.time)),
            random: Arc::new(self.rng.clone()),
            http: self.http.clone(),
            mail: self.sends_mail.then_some(mail),
            code: self.code.clone(),
            secrets_key: Arc::new(self.secrets_key),
        }
    }

    /// What the store has in a space.
    pub fn rows(&self, space: Space) -> Vec<Row> {
        self.store.dump().into_iter().filter(|(key, _)| space_in(key) == Some(space)).collect()
    }

    /// The next process: what the one before had in its memory is gone.
    pub fn restart(&mut self) {
        self.store = self.store.reopen();
        self.code.restart();
    }

    pub async fn open(&self) -> (Engine, Workspace) {
        let engine = Engine::open(self.config.clone(), self.ports()).await.unwrap();
        let workspace = engine.workspace("default").await.unwrap();
        (engine, workspace)
    }

    /// An engine with these modules, and these workflows active.
    pub async fn set_up(&self, modules: &[Module], workflows: &[&str]) -> (Engine, Workspace) {
        let (engine, workspace) = self.open().await;
        for module in modules {
            workspace.actions().put(module.name, module.bytes(), false).await.unwrap();
        }
        for text in workflows {
            activate(&workspace, text).await;
        }
        (engine, workspace)
    }
}

/// One thread, and a clock that jumps.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Runs a test in a world of its own.
pub fn in_world<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    let runtime = runtime();
    runtime.block_on(async { test(World::new(1)).await });
}

/// The next process: a runtime of its own, which takes all tasks with it when it goes.
pub fn process<T>(world: &mut World, work: impl AsyncFnOnce(Engine, Workspace) -> T) -> T {
    world.restart();
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        work(engine, workspace).await
    })
}

pub fn name_of(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("name: ")).expect("a workflow has a name").trim()
}

pub async fn activate(workspace: &Workspace, text: &str) {
    let name = name_of(text);
    let saved = workspace.workflows().put_draft(name, text, TextFormat::Yaml).await;
    let saved = saved.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(saved.problems.is_empty(), "{name}: {:#?}", saved.problems);
    workspace.workflows().activate(name, None).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// A run started by hand, when it has ended.
pub async fn ended(workspace: &Workspace, name: &str, input: Value) -> RunDetail {
    let run = workspace.workflows().run(name, input, None).await.unwrap().run_id;
    workspace.runs().wait(&run, Duration::from_secs(24 * 3600)).await.unwrap()
}

/// The value of an input or an output that must be there.
pub fn value(payload: &Option<Payload>) -> Value {
    match payload {
        Some(Payload::Value(value)) => value.clone(),
        other => panic!("{other:?} is no value"),
    }
}

pub fn post(path: &str, body: Value) -> HookRequest {
    HookRequest {
        method: "POST".into(),
        path: path.into(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into(),
        ..HookRequest::default()
    }
}

pub fn with_key(mut request: HookRequest, key: &str) -> HookRequest {
    request.headers.push(("idempotency-key".into(), key.into()));
    request
}

pub async fn all_records(workspace: &Workspace, object: &str) -> Vec<Value> {
    let mut query = stepwell_engine::RecordQuery { limit: Some(500), ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = workspace.records().list(object, query.clone()).await.unwrap();
        all.extend(page.records);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return all;
        }
    }
}

pub fn lead(n: u64, email: &str) -> Value {
    json!({ "n": n, "email": email, "name": format!("Person {n}"), "company": "Example" })
}

/// The flow of a web form, as simple as it can be and still touch everything inside.
pub const WEB_FORM: &str = r#"
name: web-form
trigger:
  type: webhook
  path: web-form
  body_schema: { type: object, required: [email, n], properties: { email: { type: string }, n: { type: integer } } }
steps:
  - { id: normalize, type: code, action: normalize-lead@1, input: "{{ trigger.body }}" }
  - id: company
    type: upsert_record
    object: company
    match: [domainName.primaryLinkUrl]
    record: { name: "{{ normalize.company }}", domainName: { primaryLinkUrl: "{{ normalize.domain }}" } }
  - { id: known, type: search_records, object: person, filter: { field: emails.primaryEmail, is: "{{ normalize.email }}" } }
  - id: person
    type: branch
    branches:
      - when: { value: "{{ known.total }}", greater_than: 0 }
        do:
          - id: touch
            type: update_record
            object: person
            record_id: "{{ known.records[0].id }}"
            record: { jobTitle: "seen {{ normalize.n }}" }
    else:
      - id: create
        type: upsert_record
        object: person
        match: [emails.primaryEmail]
        record:
          name: { firstName: "{{ normalize.firstName }}" }
          emails: { primaryEmail: "{{ normalize.email }}" }
          companyId: "{{ company.record.id }}"
  - id: follow_up
    type: create_record
    object: task
    record: { title: "Call {{ normalize.n }}", personId: "{{ person.record.id }}" }
  - id: tell
    type: send_email
    to: [sales@example.com]
    subject: "Lead {{ normalize.n }}"
    text: "{{ normalize.firstName }}"
    retry: { attempts: 8, backoff: { initial: 1s, factor: 2 } }
output: { n: "{{ normalize.n }}", person: "{{ person.record.id }}" }
"#;
