//! The contract: input, output, failures, log, panic, and how broken guests are reported.

use crate::support::{ECHO, action, call, host, summary};
use serde_json::json;
use stepwell_sandbox::{Call, ErrorSource, GuestKind, Limits, LogLevel};

/// A guest that gives `output`, whatever it gets.
fn says(output: &str) -> String {
    let bytes: String = output.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(data (i32.const 1024) "{bytes}")
           (func (export "run") (param i32 i32) (result i32)
             (call $ok (i32.const 1024) (i32.const {})))"#,
        output.len()
    )
}

#[tokio::test]
async fn an_action_of_contract_1_0_gets_its_input_and_gives_its_output() {
    let echo = action(ECHO).await;
    let info = echo.info();
    assert_eq!(info.kind, GuestKind::Component);
    assert_eq!(info.exports, ["stepwell:action/handler@1.0.0"]);
    assert_eq!(info.imports, ["stepwell:action/types@1.0.0", "stepwell:action/log@1.0.0"]);
    assert!(info.metadata.is_none());

    let outcome = host().call(&echo, Call::new(r#" {"a":[1,"ä"]} "#)).await;
    assert_eq!(outcome.result.as_deref(), Ok(r#"{"a":[1,"ä"]}"#));
    let usage = outcome.usage;
    assert_eq!((usage.input_bytes, usage.output_bytes, usage.log_bytes), (16, 16, 0));
    assert_eq!((usage.peak_memory_bytes, usage.virtual_ms), (65_536, 0));
    assert!(usage.fuel.is_some_and(|fuel| (10..200).contains(&fuel)), "{usage:?}");
    assert!(outcome.logs.is_empty() && !outcome.logs_truncated);
}

#[tokio::test]
async fn a_failure_is_the_guests_own_error() {
    let fails = r#"
      (data (i32.const 1024) "no_countryFreedonia is unknown{\"iso\":[\"FR\"]}")
      (func (export "run") (param i32 i32) (result i32)
        (i32.store8 (i32.const 16) (i32.const 1))
        (i32.store (i32.const 24) (i32.const 1024)) (i32.store (i32.const 28) (i32.const 10))
        (i32.store (i32.const 32) (i32.const 1034)) (i32.store (i32.const 36) (i32.const 20))
        (i32.store8 (i32.const 40) (i32.const 1))
        (i32.store8 (i32.const 48) (i32.const 1)) (i64.store (i32.const 56) (i64.const 1500))
        (i32.store8 (i32.const 64) (i32.const 1))
        (i32.store (i32.const 68) (i32.const 1054)) (i32.store (i32.const 72) (i32.const 14))
        (i32.const 16))"#;
    let error = call(&action(fails).await).await.result.unwrap_err();
    assert_eq!(error.source, ErrorSource::Action);
    assert_eq!((error.code.as_str(), error.message.as_str()), ("no_country", "Freedonia is unknown"));
    assert_eq!((error.retryable, error.retry_after_ms), (true, Some(1_500)));
    assert_eq!(error.details, Some(json!({"iso": ["FR"]})));
}

#[tokio::test]
async fn log_lines_come_back_with_level_fields_and_time() {
    let logs = r#"
      (data (i32.const 1024) "hello{\"n\":1}")
      (func (export "run") (param $ptr i32) (param $len i32) (result i32)
        (call $log (i32.const 3) (i32.const 1024) (i32.const 5) (i32.const 1029) (i32.const 7))
        (call $log (i32.const 200) (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 0))
        (call $ok (local.get $ptr) (local.get $len)))"#;
    let action = action(logs).await;
    let outcome = host().call(&action, Call::new("1").start_ms(1_700_000_000_000)).await;
    let [first, second] = outcome.logs.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((first.level, first.message.as_str()), (LogLevel::Warn, "hello"));
    assert_eq!((first.fields.clone(), first.at), (Some(json!({"n": 1})), 1_700_000_000_000));
    assert_eq!((second.level, second.fields.clone()), (LogLevel::Error, None));
    // 500 for each call, and a unit a byte.
    let quiet = host().call(&self::action(ECHO).await, Call::new("1")).await.usage.fuel.unwrap();
    assert_eq!(outcome.usage.fuel.unwrap() - quiet, 2 * 500 + 12 + 5 + 12);
    assert_eq!(outcome.usage.log_bytes, 12 + 5 + 2 * 16);
}

#[tokio::test]
async fn a_panic_arrives_with_its_message_and_place() {
    let panics = r#"
      (data (i32.const 1024) "index out of boundssrc/lib.rs:7:9")
      (func $rust_panic unreachable)
      (func (export "run") (param i32 i32) (result i32)
        (call $panic (i32.const 1024) (i32.const 19) (i32.const 1043) (i32.const 14))
        (call $rust_panic) (i32.const 0))"#;
    let error = call(&action(panics).await).await.result.unwrap_err();
    assert_eq!((error.source, error.code.as_str()), (ErrorSource::Action, "panic"));
    assert_eq!(error.message, "index out of bounds, at src/lib.rs:7:9");
    let details = error.details.unwrap();
    assert_eq!(details["location"], "src/lib.rs:7:9");
    assert_eq!(details["backtrace"][0], "rust_panic");
}

#[tokio::test]
async fn traps_say_what_happened_and_where() {
    let bodies = [
        ("unreachable", "unreachable"),
        ("out of bounds", "(drop (i32.load (i32.const -8)))"),
        ("division", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"),
        ("stack overflow", "(call $deep)"),
        ("null call", "(call_indirect (i32.const 0))"),
        (
            "bad log text",
            "(call $log (i32.const 1) (i32.const -8) (i32.const 16) (i32.const 0) (i32.const 0))",
        ),
        (
            "log text not UTF-8",
            "(i32.store8 (i32.const 8) (i32.const 255)) \
            (call $log (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 0))",
        ),
    ];
    let mut seen = Vec::new();
    for (name, body) in bodies {
        let guest = format!(
            r#"(table 1 funcref)
               (func $deep (call $deep))
               (func $_ZN4lead5parse17h0123456789abcdefE {body})
               (func (export "run") (param i32 i32) (result i32)
                 (call $_ZN4lead5parse17h0123456789abcdefE) (i32.const 0))"#
        );
        let outcome = call(&action(&guest).await).await;
        assert_eq!(outcome.usage.fuel, None, "the counter is stale after a trap");
        let error = outcome.result.unwrap_err();
        assert_eq!(error.source, ErrorSource::Sandbox);
        assert!(error.details.as_ref().unwrap()["backtrace"].as_array().unwrap().len() <= 20);
        seen.push(format!("{name}: {error}"));
    }
    insta::assert_snapshot!(seen.join("\n"));
}

#[tokio::test]
async fn an_output_must_be_exactly_one_json_value() {
    let mut seen = Vec::new();
    for output in ["", "not json", "{} {}", r#"{"a":1,"a":2}"#, "1e999", "36893488147419103232"] {
        let outcome = call(&action(&says(output)).await).await;
        assert_eq!(outcome.usage.output_bytes, output.len() as u64);
        seen.push(format!("{output:22} {}", outcome.result.unwrap_err()));
    }
    let deep = "[".repeat(65) + &"]".repeat(65);
    seen.push(format!("deep {:17} {}", "", call(&action(&says(&deep)).await).await.result.unwrap_err()));
    insta::assert_snapshot!(seen.join("\n"));

    let broken = r#"(data (i32.const 1024) "\"\ff\"") (func (export "run") (param i32 i32) (result i32)
        (call $ok (i32.const 1024) (i32.const 3)))"#;
    let error = call(&action(broken).await).await.result.unwrap_err();
    assert_eq!(error.code, "invalid_output", "{error}");
}

#[tokio::test]
async fn an_input_is_checked_before_the_guest_starts() {
    let echo = action(ECHO).await;
    for (input, says) in [
        ("", "no JSON value"),
        ("{", "a key in quotes, found the end at byte 1"),
        ("{\"a\":1,\"a\":1}", "the key \"a\" twice"),
    ] {
        let outcome = host().call(&echo, Call::new(input)).await;
        let error = outcome.result.unwrap_err();
        assert_eq!(error.code, "invalid_input");
        assert!(error.message.contains(says), "{error}");
    }
    let limits = Limits { input_bytes: 10, ..Limits::default() };
    let error = host().call(&echo, Call::new("\"123456789\"").limits(limits)).await.result.unwrap_err();
    assert_eq!((error.code.as_str(), error.limit, error.used), ("input_too_large", Some(10), Some(11)));
    assert!(host().call(&echo, Call::new("\"12345678\"").limits(limits)).await.result.is_ok());
}

#[tokio::test]
async fn every_call_gets_a_fresh_instance() {
    let counts = r#"
      (global $calls (mut i32) (i32.const 0))
      (func (export "run") (param i32 i32) (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        ;; What an earlier call left in memory would show.
        (i32.store8 (i32.const 1024) (i32.add (i32.const 48)
          (i32.add (global.get $calls) (i32.load8_u (i32.const 60000)))))
        (i32.store8 (i32.const 60000) (i32.const 1))
        (call $ok (i32.const 1024) (i32.const 1)))"#;
    let counts = action(counts).await;
    for _ in 0..50 {
        assert_eq!(call(&counts).await.result.as_deref(), Ok("1"));
    }
}

#[tokio::test]
async fn an_outcome_has_one_shape_as_json() {
    let error = call(&action("(func (export \"run\") (param i32 i32) (result i32) unreachable)").await).await;
    insta::assert_snapshot!(summary(&error));
}
