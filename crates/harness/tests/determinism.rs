//! Modules that the Rust SDK made come out the same again and again, and in another process: output, logs and fuel.

#![allow(clippy::unwrap_used)] // a test that cannot go on stops

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stepwell_harness::{BuildOptions, Project, build, create};
use stepwell_sandbox::{Action, Call, Host, HostConfig, canonical_json};

/// Names the modules for the other process.
const MODULES: &str = "STEPWELL_TEST_MODULES";

/// Calls of one module until the sandbox may begin them on the thread that asks, and some more.
const AGAIN: usize = 40;

async fn module(folder: &Path) -> PathBuf {
    // Guests share a target folder that outlives the test, so that serde is built once.
    let options =
        BuildOptions { target_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests")), tell: None };
    build(&Project::read(folder).unwrap(), &options).await.unwrap().module
}

/// What the cases of an example are given.
fn fixtures(folder: &Path) -> Vec<Value> {
    let cases = std::fs::read_dir(folder.join("fixtures")).unwrap();
    let mut inputs: Vec<PathBuf> = cases.map(|case| case.unwrap().path().join("input.json")).collect();
    inputs.retain(|path| path.is_file());
    inputs.sort();
    inputs.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

fn wishes() -> Vec<Value> {
    let plain = ["log", "fail", "refuse", "bad_keys", "sleep", "clock"].map(|wish| json!({ "do": wish }));
    let more = [
        json!({ "do": "panic", "index": 9 }),
        json!({ "do": "panic", "index": 1 }),
        json!({ "do": "parse", "text": "x" }),
        json!({ "do": "no such wish" }),
    ];
    plain.into_iter().chain(more).collect()
}

/// Everything about a call that must not differ.
async fn digest(host: &Host, action: &Action, input: &Value) -> String {
    let call = Call::new(canonical_json(input)).seed([3; 32]).start_ms(1_234_567_890_123);
    let mut outcome = host.call(action, call).await;
    outcome.usage.wall_us = 0;
    serde_json::to_string(&outcome).unwrap()
}

/// One line for each call.
async fn digests(modules: &[(PathBuf, Vec<Value>)], times: usize) -> Vec<String> {
    let host = Host::new(HostConfig { threads: 1, ..HostConfig::default() }).unwrap();
    let mut lines = vec![host.semantic_fingerprint().to_owned()];
    for (module, inputs) in modules {
        let action = host.load(std::fs::read(module).unwrap()).await.unwrap();
        for input in inputs {
            let first = digest(&host, &action, input).await;
            for _ in 1..times {
                assert_eq!(digest(&host, &action, input).await, first, "{input}");
            }
            lines.push(first);
        }
    }
    lines
}

#[tokio::test]
async fn modules_of_the_sdk_come_out_the_same_again_and_again_and_in_another_process() {
    if let Ok(modules) = std::env::var(MODULES) {
        let modules: Vec<(PathBuf, Vec<Value>)> = serde_json::from_str(&modules).unwrap();
        digests(&modules, 1).await.iter().for_each(|line| println!("digest: {line}"));
        return;
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/actions");
    let mut modules = Vec::new();
    for name in ["normalize-lead", "score-lead"] {
        let folder = examples.join(name);
        modules.push((module(&folder).await, fixtures(&folder)));
    }
    let parent = tempfile::tempdir().unwrap();
    let obey = parent.path().join("obey");
    create(&obey).unwrap();
    std::fs::write(obey.join("src/lib.rs"), include_str!("guest/lib.rs")).unwrap();
    modules.push((module(&obey).await, wishes()));
    assert!(modules.iter().all(|(_, inputs)| inputs.len() >= 4), "{modules:?}");

    let here = digests(&modules, AGAIN).await;
    assert!(here.iter().any(|line| line.contains("\"logs\":[{")), "some of them log");
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "modules_of_the_sdk_come_out_the_same_again_and_again_and_in_another_process"])
        .arg("--nocapture")
        .env(MODULES, serde_json::to_string(&modules).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let there: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once("digest: ")?.1)).collect();
    assert_eq!(there, here, "{said}{}", String::from_utf8_lossy(&child.stderr));
}
