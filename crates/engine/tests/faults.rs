//! What is broken, hostile or too large ends one run at most: it holds no slot, and everything can be read afterwards.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
mod support;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use stepwell_engine::{Engine, ErrorKind, RunStatus, Workspace};
use stepwell_store::keys::Space;
use stepwell_store::{BlobId, Blobs, Fault, IsNamed, MemoryBlobs, Refused, Store, Swept, Tx, WorkspaceId};
use support::{Module, World, activate, all_records, in_world, post, runtime};

const WAIT: Duration = Duration::from_secs(600);

/// A workflow of one code step, behind the hook of its name.
async fn with_function(workspace: &Workspace, function: &'static str) {
    let module = Module::new(function, "1.0.0", function);
    let name = function;
    workspace.actions().put(name, module.bytes(), false).await.unwrap();
    let text = format!(
        "name: {name}\ntrigger: {{ type: webhook, path: {name} }}\nsteps:\n  - {{ id: code, type: code, action: {name}, input: \"{{{{ trigger.body }}}}\" }}\n",
    );
    activate(workspace, &text).await;
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn a_body_that_could_not_be_read_back_is_refused() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        with_function(&workspace, "echo").await;
        let answer = workspace.hook(post("echo", nested(64))).await.unwrap();
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        for levels in [65, 126] {
            let error = workspace.hook(post("echo", nested(levels))).await.unwrap_err();
            assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::Invalid, "too_deep"));
            let error = workspace.workflows().run("echo", nested(levels), None).await.unwrap_err();
            assert_eq!(error.code, "too_deep");
        }
        // No parser of JSON goes down that far.
        let text = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let request = stepwell_engine::HookRequest { body: text.into(), ..post("echo", json!(null)) };
        assert_eq!(workspace.hook(request).await.unwrap_err().code, "too_deep");
        assert_eq!(
            workspace.runs().list(Default::default(), Default::default()).await.unwrap().items.len(),
            1
        );
        engine.close().await;
    });
}

/// Some hundred kilobytes of small objects are as many megabytes once they are read.
#[test]
fn an_output_that_would_take_far_more_memory_than_its_bytes_is_refused() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        with_function(&workspace, "many").await;
        for (objects, code) in [(50_000, None), (100_000, Some("output_too_large"))] {
            let input = json!({ "objects": objects });
            let answer = workspace.hook(post("many", input.clone())).await.unwrap();
            let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
            assert_eq!(run.summary.error.as_ref().map(|error| error.code.as_str()), code);
            let tested = workspace.actions().test("many", input, Default::default()).await;
            assert_eq!(tested.err().map(|error| error.code).as_deref(), code);
        }
        engine.close().await;
    });
}

#[test]
fn a_failure_with_details_too_deep_to_be_read_back_keeps_them_as_text() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        with_function(&workspace, "deepfail").await;
        let answer = workspace.hook(post("deepfail", json!({}))).await.unwrap();
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        let details = run.steps[0].error.as_ref().unwrap().details.clone().unwrap();
        assert!(details.is_string(), "{details}");
        engine.close().await;
    });
}

#[test]
fn a_panic_ends_its_run_and_gives_the_slot_back() {
    in_world(|mut world| async move {
        world.config.concurrent_runs = 1;
        let (engine, workspace) = world.set_up(&[], &[]).await;
        with_function(&workspace, "panic").await;
        with_function(&workspace, "echo").await;
        // Before it is stored, whoever asked is told.
        let error = workspace.hook(post("panic", json!({}))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal, "{error}");
        // Afterwards, the run says so.
        let text = r#"
name: late
trigger: { type: manual }
steps:
  - { id: call, type: http_request, method: POST, url: "https://api.example.com/", body: { json: { n: 1 } } }
  - { id: code, type: code, action: panic, input: {} }
"#;
        activate(&workspace, text).await;
        let late = workspace.workflows().run("late", json!({}), Some(WAIT)).await.unwrap();
        assert_eq!(late.status, RunStatus::Failed);
        assert_eq!(late.error.unwrap().code, "internal");
        let run = workspace.runs().get(&late.run_id).await.unwrap();
        assert_eq!(run.summary.error.unwrap().code, "internal");
        let answer = workspace.hook(post("echo", json!({}))).await.unwrap();
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "the slot is free");
        assert_eq!(engine.stats().runs_running, 0);
        engine.close().await;
    });
}

#[test]
fn a_run_that_cannot_be_read_fails_and_the_others_go_on() {
    let mut world = World::new(1);
    world.config.concurrent_runs = 1;
    let ids = runtime().block_on(async {
        let (_engine, workspace) = world.open().await;
        with_function(&workspace, "slow").await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(workspace.hook(post("slow", json!({ "ms": 600_000 }))).await.unwrap().run_id);
        }
        ids
    });
    world.restart();
    // The snapshot of the first and the head of the second are no longer what was written.
    let nth = |space: Space, n: usize| world.rows(space)[n].0.clone();
    let (live, queued, head) = (nth(Space::RunStates, 0), nth(Space::RunStates, 3), nth(Space::Runs, 1));
    runtime().block_on(async {
        let garbage = vec![1u8, b'{'];
        let writes =
            [live, queued, head].map(|key| (key, Some(garbage.clone().into()))).into_iter().collect();
        let home = WorkspaceId(1).shard();
        world.store.commit(Tx { home, rests_on: Vec::new(), writes, append: Vec::new() }).await.unwrap();
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        let run = workspace.runs().wait(&ids[0], WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Failed);
        assert_eq!(run.summary.error.unwrap().code, "run_damaged");
        let run = workspace.runs().wait(&ids[2], WAIT * 10).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "its neighbour holds no slot");
        assert!(workspace.runs().get(&ids[1]).await.is_err());
        let listed = workspace.runs().list(Default::default(), Default::default()).await.unwrap();
        assert_eq!(listed.items.len(), 3, "the list passes by what cannot be read");
        // The journal of the first has all it needs; of the last there was nothing but what is lost.
        workspace.runs().retry(&ids[0], false).await.unwrap();
        let run = workspace.runs().wait(&ids[0], WAIT * 10).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let error = workspace.runs().retry(&ids[3], false).await.unwrap_err();
        assert_eq!(error.code, "run_not_begun");
        // Its rest is kept for whoever mends it, and retention goes on with the others.
        tokio::time::sleep(Duration::from_secs(30 * 24 * 3600)).await;
        let listed = workspace.runs().list(Default::default(), Default::default()).await.unwrap();
        assert_eq!(listed.items.len(), 0);
        engine.close().await;
    });
}

#[test]
fn a_run_that_waited_when_it_was_given_up_waits_again_when_it_is_retried() {
    let mut world = World::new(1);
    let text = r#"
name: patient
trigger: { type: manual }
steps:
  - { id: pause, type: delay, for: 1h }
  - { id: after, type: create_record, object: task, record: { title: "after" } }
"#;
    let id = runtime().block_on(async {
        let (_engine, workspace) = world.open().await;
        activate(&workspace, text).await;
        workspace.workflows().run("patient", json!({}), None).await.unwrap().run_id
    });
    world.store = world.store.reopen();
    let live = world.rows(Space::RunStates).into_iter().next();
    runtime().block_on(async {
        let writes = vec![(live.unwrap().0, Some(vec![1u8, b'{'].into()))];
        let home = WorkspaceId(1).shard();
        world.store.commit(Tx { home, rests_on: Vec::new(), writes, append: Vec::new() }).await.unwrap();
    });
    runtime().block_on(async {
        let (engine, workspace) = world.open().await;
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.error.unwrap().code, "run_damaged");
        workspace.runs().retry(&id, false).await.unwrap();
        let run = workspace.runs().wait(&id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Waiting);
        let run = workspace.runs().wait(&id, WAIT * 6).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        engine.close().await;
    });
    assert_eq!(world.rows(Space::Timers).len(), 0);
}

#[test]
fn a_retry_that_ends_at_once_has_an_end() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let text = r#"
name: stopping
trigger: { type: manual }
steps:
  - { id: before, type: create_record, object: task, record: { title: "before" } }
  - { id: over, type: stop, status: failed, message: "no" }
"#;
        activate(&workspace, text).await;
        let first = workspace.workflows().run("stopping", json!({}), Some(WAIT)).await.unwrap();
        assert_eq!(first.status, RunStatus::Failed);
        for _ in 0..2 {
            workspace.runs().retry(&first.run_id, false).await.unwrap();
            let run = workspace.runs().wait(&first.run_id, WAIT).await.unwrap();
            assert_eq!(run.summary.status, RunStatus::Failed);
            assert!(run.summary.ended_at.is_some());
            assert_eq!(run.summary.error.unwrap().code, "stopped");
        }
        assert_eq!(all_records(&workspace, "task").await.len(), 1);
        assert_eq!(world.rows(Space::RunStates).len(), 0, "nothing is left that a restart would look at");
        engine.close().await;
    });
}

#[test]
fn a_write_too_large_for_its_event_fails_its_step_and_one_below_goes_through() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let text = r#"
name: notes
trigger: { type: webhook, path: notes }
steps:
  - { id: first, type: create_record, object: task, record: { title: "first" } }
  - { id: note, type: create_record, object: note, record: { title: "large", body: "{{ trigger.body.text }}" } }
"#;
        activate(&workspace, text).await;
        for (bytes, status) in [(200 << 10, RunStatus::Completed), (480 << 10, RunStatus::Failed)] {
            let body = json!({ "text": "x".repeat(bytes) });
            let answer = workspace.hook(post("notes", body)).await.unwrap();
            let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
            assert_eq!(run.summary.status, status, "{bytes}: {:#?}", run.summary);
        }
        assert_eq!(all_records(&workspace, "note").await.len(), 1);
        engine.close().await;
    });
}

/// A disk that gives nothing back while it is broken.
struct BrokenDisk {
    blobs: Arc<MemoryBlobs>,
    broken: AtomicBool,
}

#[async_trait]
impl Blobs for BrokenDisk {
    async fn put(&self, bytes: Bytes) -> Result<BlobId, Refused> {
        self.blobs.put(bytes).await
    }

    async fn get(&self, id: BlobId) -> Result<Option<Bytes>, Refused> {
        if self.broken.load(SeqCst) {
            return Err(Refused::Unavailable("input/output error".into()));
        }
        self.blobs.get(id).await
    }

    async fn size(&self, id: BlobId) -> Result<Option<u64>, Refused> {
        self.blobs.size(id).await
    }

    async fn sweep(&self, age: Duration, is_named: &IsNamed<'_>) -> Result<Swept, Refused> {
        self.blobs.sweep(age, is_named).await
    }
}

#[test]
fn a_run_whose_blob_cannot_be_read_for_long_lets_the_others_pass_and_goes_on_when_it_can() {
    let mut world = World::new(1);
    world.config.concurrent_runs = 1;
    let ids = runtime().block_on(async {
        let (_engine, workspace) = world.open().await;
        with_function(&workspace, "slow").await;
        let mut ids = Vec::new();
        for text in ["x".repeat(100_000), "small".to_owned()] {
            let body = json!({ "ms": 1000, "text": text });
            ids.push(workspace.hook(post("slow", body)).await.unwrap().run_id);
        }
        ids
    });
    world.store = world.store.reopen();
    runtime().block_on(async {
        let disk = Arc::new(BrokenDisk { blobs: world.blobs.clone(), broken: AtomicBool::new(true) });
        let ports = stepwell_engine::Ports { blobs: disk.clone(), ..world.ports() };
        let engine = Engine::open(world.config.clone(), ports).await.unwrap();
        let workspace = engine.workspace("default").await.unwrap();
        let run = workspace.runs().wait(&ids[1], WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{:#?}", run.summary);
        disk.broken.store(false, SeqCst);
        let run = workspace.runs().wait(&ids[0], WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{:#?}", run.summary);
        engine.close().await;
    });
}

#[test]
fn a_module_that_is_let_go_between_loading_and_calling_is_loaded_again() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        with_function(&workspace, "echo").await;
        world.code.restart();
        world.code.vanish.store(1, SeqCst);
        let answer = workspace.hook(post("echo", json!({ "n": 1 }))).await.unwrap();
        let run = workspace.runs().wait(&answer.run_id, WAIT).await.unwrap();
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        engine.close().await;
    });
}

#[test]
fn a_run_that_was_given_up_leaves_no_claim_on_a_blob_behind() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        with_function(&workspace, "panic").await;
        // The value that `set` makes stands in the snapshot alone, which becomes a blob for it.
        let text = r#"
name: large
trigger: { type: manual }
steps:
  - { id: twice, type: set, values: { text: "{{ trigger.input.text ~ trigger.input.text }}" } }
  - { id: call, type: http_request, method: POST, url: "https://api.example.com/", body: { json: { n: 1 } } }
  - { id: code, type: code, action: panic, input: {} }
"#;
        activate(&workspace, text).await;
        let input = json!({ "text": "x".repeat(100_000) });
        let run = workspace.workflows().run("large", input, Some(WAIT)).await.unwrap();
        assert_eq!(run.error.unwrap().code, "internal");
        let claims = || world.rows(Space::BlobRefs).len();
        assert!(claims() > 0, "what the journal names stays");
        tokio::time::sleep(Duration::from_secs(30 * 24 * 3600)).await;
        assert_eq!(claims(), 0);
        engine.close().await;
    });
}

#[test]
fn an_answer_that_comes_while_the_engine_closes_is_told_to_who_waits_for_it() {
    in_world(|world| async move {
        let (engine, workspace) = world.set_up(&[], &[]).await;
        let text = r#"
name: calling
trigger: { type: manual }
steps:
  - { id: call, type: http_request, method: POST, url: "https://api.example.com/", body: { json: { n: 1 } } }
"#;
        activate(&workspace, text).await;
        world.http.behave(0, 2_000);
        let waiting = {
            let workspace = workspace.clone();
            tokio::spawn(async move { workspace.workflows().run("calling", json!({}), Some(WAIT)).await })
        };
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(engine.stats().runs_running, 1, "the call is out");
        engine.close().await;
        assert_eq!(engine.stats().runs_completed, 1);
        let run = waiting.await.unwrap().unwrap();
        assert_eq!(run.status, RunStatus::Completed);
    });
}

/// Whoever writes many records is told which are there when the store refuses the others.
#[test]
fn what_a_bulk_write_has_written_before_it_broke_off_is_told() {
    in_world(|world| async move {
        let (engine, workspace) = world.open().await;
        let records: Vec<Value> = (0..900).map(|n| json!({ "title": format!("Task {n}") })).collect();
        let bulk = serde_json::from_value(json!({ "action": "create", "records": records })).unwrap();
        world.store.fail_commit(2, Fault::Refuse(Refused::Unavailable("not now".into())));
        let told = workspace.records().bulk("task", bulk).await.unwrap();
        assert!(told.created > 0 && told.not_written > 0, "{}", told.created);
        assert_eq!((told.created + told.not_written, told.failed), (900, 0));
        let last = told.results.last().unwrap();
        assert_eq!((last.index, last.error.as_ref().unwrap().code.as_str()), (899, "store_unavailable"));
        assert_eq!(all_records(&workspace, "task").await.len(), told.created);
        engine.close().await;
    });
}
