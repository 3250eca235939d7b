//! Every limit, with its own code, the limit and the amount.

use crate::support::{ECHO, action, action_bytes, call, host, summary};
use std::time::{Duration, Instant};
use stepwell_sandbox::{Action, Call, CallError, ErrorSource, Host, HostConfig, Limits};

const LOOP: &str =
    "(func (export \"run\") (param i32 i32) (result i32) (loop $again (br $again)) unreachable)";

/// Counts down from what its input says, one JSON digit times a thousand.
const COUNTDOWN: &str = r#"
  (func (export "run") (param $ptr i32) (param $len i32) (result i32)
    (local $left i32)
    (local.set $left (i32.mul (i32.sub (i32.load8_u (local.get $ptr)) (i32.const 48)) (i32.const 1000)))
    (loop $again
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (i32.gt_s (local.get $left) (i32.const 0))))
    (call $ok (local.get $ptr) (local.get $len)))"#;

async fn limited(action: &Action, limits: Limits) -> CallError {
    host().call(action, Call::new("{}").limits(limits)).await.result.unwrap_err()
}

#[tokio::test]
async fn fuel_ends_a_loop() {
    let limits = Limits { fuel: 100_000, ..Limits::default() };
    let outcome = host().call(&action(LOOP).await, Call::new("{}").limits(limits)).await;
    assert_eq!(outcome.usage.fuel, Some(100_000));
    let error = outcome.result.unwrap_err();
    assert_eq!((error.source, error.code.as_str()), (ErrorSource::Sandbox, "fuel_exhausted"));
    assert_eq!((error.limit, error.used, error.retryable), (Some(100_000), Some(100_000), false));
}

#[tokio::test]
async fn a_loop_ends_the_same_at_every_fuel_with_and_without_the_tick() {
    let quick = Host::new(HostConfig { tick: Duration::from_micros(50), ..small() }).unwrap();
    let still = Host::new(HostConfig { tick: Duration::from_secs(3_600), ..small() }).unwrap();
    let (ticked, unticked) = (quick.load(action_bytes(COUNTDOWN)), still.load(action_bytes(COUNTDOWN)));
    let (ticked, unticked) = (ticked.await.unwrap(), unticked.await.unwrap());
    let need = still.call(&unticked, Call::new("1")).await.usage.fuel.unwrap();
    assert!((5_000..10_000).contains(&need), "{need}");
    let mut ends = [0, 0];
    for fuel in need - 60..need + 20 {
        let call = Call::new("1").limits(Limits { fuel, ..Limits::default() });
        let one = still.call(&unticked, call.clone()).await;
        let two = quick.call(&ticked, call).await;
        assert_eq!(one.result, two.result, "at {fuel} of {need}");
        assert_eq!(one.usage.fuel, two.usage.fuel, "at {fuel} of {need}");
        ends[usize::from(one.result.is_ok())] += 1;
    }
    assert!(ends[0] > 10 && ends[1] > 20, "{ends:?}");
    // A long one is interrupted many times and still counts the same.
    let long = Call::new("9").limits(Limits { fuel: u64::MAX, ..Limits::default() });
    let fuel = still.call(&unticked, long.clone()).await.usage.fuel;
    assert_eq!(quick.call(&ticked, long).await.usage.fuel, fuel);
}

#[tokio::test]
async fn fuel_of_host_calls_is_the_same_with_and_without_the_tick() {
    // Host calls that make the guest grow its memory in between, at every fuel around the need.
    let guest = r#"
      (func (export "run") (param $ptr i32) (param $len i32) (result i32)
        (local $n i32)
        (loop $again
          (drop (memory.grow (i32.const 1)))
          (drop (memory.grow (i32.const 0)))
          (call $log (i32.const 2) (local.get $ptr) (local.get $len) (i32.const 0) (i32.const 0))
          (drop (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 70000)))
          (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10))))
        (call $ok (local.get $ptr) (local.get $len)))"#;
    let quick = Host::new(HostConfig { tick: Duration::from_micros(50), ..small() }).unwrap();
    let still = Host::new(HostConfig { tick: Duration::from_secs(3_600), ..small() }).unwrap();
    let (ticked, unticked) = (quick.load(action_bytes(guest)), still.load(action_bytes(guest)));
    let (ticked, unticked) = (ticked.await.unwrap(), unticked.await.unwrap());
    let need = still.call(&unticked, Call::new("1")).await.usage.fuel.unwrap();
    assert!(need > 10 * (500 + 1 + 200), "{need}");
    for fuel in (need - 1_300..need + 10).step_by(7) {
        let call = Call::new("1").limits(Limits { fuel, ..Limits::default() });
        let (one, two) = (still.call(&unticked, call.clone()).await, quick.call(&ticked, call).await);
        assert_eq!(
            (one.result, one.usage.fuel, one.logs),
            (two.result, two.usage.fuel, two.logs),
            "at {fuel}"
        );
    }
}

fn small() -> HostConfig {
    HostConfig { max_concurrent_calls: 4, threads: 1, ..HostConfig::default() }
}

/// Grows by 10 pages until it is denied, then traps.
const GREEDY: &str = r#"
  (func (export "run") (param i32 i32) (result i32)
    (loop $again (br_if $again (i32.ne (memory.grow (i32.const 10)) (i32.const -1))))
    unreachable)"#;

#[tokio::test]
async fn memory_is_limited_over_all_memories_and_tables() {
    let greedy = action(GREEDY).await;
    let limits = Limits { memory_bytes: 2 << 20, ..Limits::default() };
    let outcome = host().call(&greedy, Call::new("{}").limits(limits)).await;
    // 1 page, then 10 more while they fit into 32.
    assert_eq!(outcome.usage.peak_memory_bytes, 31 << 16);
    let error = outcome.result.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.limit, error.used),
        ("memory_limit", Some(2 << 20), Some(41 << 16))
    );
    assert!(error.message.contains("raise memory_bytes"), "{error}");

    // A table takes its share of the same limit.
    let table = r#"(table $t 16384 20000 funcref)
      (func (export "run") (param i32 i32) (result i32)
        (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
        (call $ok (local.get 0) (local.get 1)))"#;
    let table = action(table).await;
    let enough = Limits { memory_bytes: 65_536 + 17_384 * 8, ..Limits::default() };
    let outcome = host().call(&table, Call::new("{}").limits(enough)).await;
    assert_eq!(outcome.usage.peak_memory_bytes, enough.memory_bytes, "{outcome:?}");
    let error = limited(&table, Limits { memory_bytes: enough.memory_bytes - 1, ..enough }).await;
    assert_eq!(error.code, "memory_limit");

    // What the module starts with counts too.
    let error = limited(&table, Limits { memory_bytes: 100_000, ..enough }).await;
    assert_eq!(error.code, "memory_limit");
    assert!(error.message.contains("while the module was starting"), "{error}");
}

#[tokio::test]
async fn a_guest_may_live_with_denied_memory() {
    let modest = r#"
      (func (export "run") (param $ptr i32) (param $len i32) (result i32)
        (drop (memory.grow (i32.const 60000)))
        (call $ok (local.get $ptr) (local.get $len)))"#;
    assert_eq!(call(&action(modest).await).await.result.as_deref(), Ok("{}"));
}

#[tokio::test]
async fn the_deadline_is_the_one_limit_that_may_be_retried() {
    let limits = Limits { fuel: u64::MAX, wall_ms: 30, ..Limits::default() };
    let began = Instant::now();
    let outcome = host().call(&action(LOOP).await, Call::new("{}").limits(limits)).await;
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(outcome.usage.fuel, None);
    let error = outcome.result.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable, error.limit), ("deadline", true, Some(30)));
    assert!(error.used.unwrap() >= 30);
}

#[tokio::test]
async fn an_output_over_the_limit_is_refused_whatever_its_size() {
    let echo = action(ECHO).await;
    for size in [1_001, 200_000] {
        let input = format!("\"{}\"", "x".repeat(size - 2));
        let limits = Limits { output_bytes: 1_000, ..Limits::default() };
        let error = host().call(&echo, Call::new(input).limits(limits)).await.result.unwrap_err();
        assert_eq!((error.code.as_str(), error.limit), ("output_too_large", Some(1_000)), "{error}");
        // What is far too large is not measured to its end.
        assert_eq!(error.used, Some((size as u64).min(1_000 + 65_536 + 1)), "{error}");
        assert!(error.message.contains(&format!("at least {} bytes", error.used.unwrap())), "{error}");
    }
    let fits = format!("\"{}\"", "x".repeat(998));
    let limits = Limits { output_bytes: 1_000, ..Limits::default() };
    assert!(host().call(&echo, Call::new(fits).limits(limits)).await.result.is_ok());
}

#[tokio::test]
async fn an_argument_over_the_limit_stops_the_guest() {
    let shouts = r#"
      (func (export "run") (param $ptr i32) (param $len i32) (result i32)
        (call $log (i32.const 2) (local.get $ptr) (local.get $len) (i32.const 0) (i32.const 0))
        (call $ok (i32.const 0) (i32.const 0)))"#;
    let input = format!("\"{}\"", "x".repeat(70_000));
    let limits = Limits { output_bytes: 1_000, ..Limits::default() };
    let error = host().call(&action(shouts).await, Call::new(input).limits(limits)).await.result.unwrap_err();
    assert_eq!((error.code.as_str(), error.limit), ("argument_too_large", Some(1_000 + 65_536)), "{error}");
    assert_eq!(error.used, Some(1_000 + 65_536 + 1), "more than the limit, however much: {error}");
}

#[tokio::test]
async fn a_flood_of_logs_is_cut_with_a_marker() {
    let floods = r#"
      (func (export "run") (param $ptr i32) (param $len i32) (result i32)
        (local $n i32)
        (loop $again
          (call $log (i32.const 2) (local.get $ptr) (local.get $len) (i32.const 0) (i32.const 0))
          (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5000))))
        (call $ok (local.get $ptr) (local.get $len)))"#;
    let limits = Limits { log_bytes: 100, ..Limits::default() };
    let outcome = host().call(&action(floods).await, Call::new("\"12345678\"").limits(limits)).await;
    assert!(outcome.result.is_ok() && outcome.logs_truncated && outcome.usage.log_bytes <= 100);
    assert_eq!(outcome.logs.last().unwrap().message, "[log cut here: it is longer than 100 bytes]");
    assert_eq!(outcome.logs.len(), 3 + 1 + 1);
}

#[tokio::test]
async fn a_start_function_has_limits_too() {
    let start = |body: &str| format!("(func $init {body}) (start $init) {ECHO}");
    let error = call(&action(&start("unreachable")).await).await.result.unwrap_err();
    assert_eq!(error.code, "trap");
    assert!(error.message.contains("while the module was starting"), "{error}");

    let endless = action_bytes(&start("(loop $again (br $again))"));
    // However slow the machine is.
    let maxima = Limits { wall_ms: 3_600_000, ..Limits::HOST_MAXIMA };
    let patient = Host::new(HostConfig { maxima, ..small() }).unwrap();
    let call = Call::new("{}").limits(Limits { wall_ms: maxima.wall_ms, ..Limits::default() });
    let error = patient.call(&patient.load(endless.clone()).await.unwrap(), call).await.result.unwrap_err();
    assert_eq!(error.code, "start_fuel_exhausted", "it is not the call's own fuel: {error}");
    assert_eq!((error.limit, error.used), (Some(1_000_000_000), Some(1_000_000_000)));
    let endless = host().load(endless).await.unwrap();
    let error = limited(&endless, Limits { wall_ms: 5, ..Limits::default() }).await;
    assert_eq!(error.code, "deadline", "{error}");
}

#[tokio::test]
async fn a_call_cannot_go_above_the_hosts_maxima() {
    let maxima = Limits { fuel: 1_000, ..Limits::HOST_MAXIMA };
    let host = Host::new(HostConfig { maxima, ..small() }).unwrap();
    let action = host.load(action_bytes(LOOP)).await.unwrap();
    let call = Call::new("{}").limits(Limits { fuel: 1 << 40, ..Limits::default() });
    let outcome = host.call(&action, call).await;
    assert_eq!(outcome.result.as_ref().unwrap_err().limit, Some(1_000));
    insta::assert_snapshot!(summary(&outcome));
}
