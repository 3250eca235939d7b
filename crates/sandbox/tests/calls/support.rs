//! Guests from source, and hosts to run them.

use std::sync::OnceLock;
use stepwell_sandbox::{Action, Call, Host, HostConfig, Outcome};
use tokio::sync::OnceCell;

/// The host most tests share.
pub fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::new(HostConfig { max_concurrent_calls: 16, ..HostConfig::default() }).unwrap())
}

/// An action whose core module holds `guest`, which defines the function exported as `run`.
pub fn action_bytes(guest: &str) -> Vec<u8> {
    wat::parse_str(include_str!("action.wat").replace("@GUEST@", guest)).unwrap()
}

/// The same, loaded.
pub async fn action(guest: &str) -> Action {
    host().load(action_bytes(guest)).await.unwrap()
}

/// A preview 1 command from WAT.
pub async fn command(wat: &str) -> Action {
    host().load(wat::parse_str(wat).unwrap()).await.unwrap()
}

/// Calls with `{}` and default limits.
pub async fn call(action: &Action) -> Outcome {
    host().call(action, Call::new("{}")).await
}

/// Gives back what it gets.
pub const ECHO: &str = r#"
  (func (export "run") (param $ptr i32) (param $len i32) (result i32)
    (call $ok (local.get $ptr) (local.get $len)))"#;

/// An outcome as JSON, without what differs from one run to the next.
pub fn summary(outcome: &Outcome) -> String {
    let mut value = serde_json::to_value(outcome).unwrap();
    value["usage"]["wall_us"] = "[time]".into();
    serde_json::to_string_pretty(&value).unwrap()
}

/// The command in `guests/command.rs`, built for WASI preview 1.
pub async fn command_p1() -> Action {
    static COMMAND: OnceCell<Action> = OnceCell::const_new();
    let load = || async { host().load(build("wasm32-wasip1")).await.unwrap() };
    COMMAND.get_or_init(load).await.clone()
}

/// The same for WASI 0.2.
pub async fn command_p2() -> Action {
    static COMMAND: OnceCell<Action> = OnceCell::const_new();
    let load = || async { host().load(build("wasm32-wasip2")).await.unwrap() };
    COMMAND.get_or_init(load).await.clone()
}

fn build(target: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("command.wasm");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/calls/guests/command.rs");
    let built = std::process::Command::new("rustc")
        .args(["--edition=2024", "-Copt-level=1", "-Cstrip=debuginfo", "--target", target, source, "-o"])
        .arg(&module)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}\nIs the target there? rustup target add {target}");
    std::fs::read(module).unwrap()
}
