//! The same bytes, input, seed and start give the same output, logs and fuel: twice here, and once
//! more in another process.

use crate::support::{action, command_p1, command_p2, host};
use std::process::Command;
use stepwell_sandbox::{Action, Call};

/// Logs, allocates, computes NaNs and gives their bits, so that whatever may differ shows.
const BUSY: &str = r#"
  (data (i32.const 1024) "0123456789abcdef")
  (func (export "run") (param $ptr i32) (param $len i32) (result i32)
    (local $bits i32) (local $n i32)
    (local.set $bits (i32.reinterpret_f32 (f32.div
      (f32.neg (f32.const nan:0x200001)) (f32.sqrt (f32.const -2)))))
    (i32.store8 (i32.const 2048) (i32.const 34))
    (loop $digit
      (i32.store8 (i32.add (i32.const 2049) (local.get $n))
        (i32.load8_u (i32.add (i32.const 1024) (i32.and (local.get $bits) (i32.const 15)))))
      (local.set $bits (i32.shr_u (local.get $bits) (i32.const 4)))
      (drop (memory.grow (i32.const 1)))
      (call $log (local.get $n) (local.get $ptr) (local.get $len) (i32.const 0) (i32.const 0))
      (br_if $digit (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 8))))
    (i32.store8 (i32.const 2057) (i32.const 34))
    (call $ok (i32.const 2048) (i32.const 10)))"#;

/// Everything about a few calls that must not differ.
async fn fingerprint() -> String {
    let (busy, one, two) = (action(BUSY).await, command_p1().await, command_p2().await);
    let calls: Vec<(&Action, &str)> = [(&busy, "busy")]
        .into_iter()
        .chain([&one, &two].into_iter().flat_map(|command| {
            ["random", "clock", "sleep 1234", "log", "exit 2", "denied"].map(|what| (command, what))
        }))
        .collect();
    let mut all = vec![host().semantic_fingerprint().to_owned()];
    for (action, what) in calls {
        let call = Call::new(format!("\"{what}\"")).seed([3; 32]).start_ms(1_234_567_890_123);
        let outcome = host().call(action, call).await;
        let usage = outcome.usage;
        all.push(format!(
            "{what} {:?} {:?} {:?} {} {}",
            outcome.result, outcome.logs, usage.fuel, usage.peak_memory_bytes, usage.virtual_ms
        ));
    }
    all.join("; ").replace('\n', " ")
}

#[tokio::test]
async fn a_call_comes_out_the_same_twice_and_in_another_process() {
    let here = fingerprint().await;
    assert_eq!(here, fingerprint().await);
    assert!(here.contains("7fc00000") || here.contains("00000cf7"), "the canonical NaN: {here}");
    if std::env::var_os("STEPWELL_TEST_CHILD").is_some() {
        println!("fingerprint: {here}");
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "determinism::a_call_comes_out_the_same_twice_and_in_another_process",
            "--nocapture",
        ])
        .env("STEPWELL_TEST_CHILD", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let there = said.lines().find_map(|line| line.split_once("fingerprint: ")).map(|(_, there)| there);
    assert_eq!(there, Some(here.as_str()), "{said}");
}
