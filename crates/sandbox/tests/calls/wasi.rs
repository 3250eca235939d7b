//! WASI commands of both previews, from one source: what they may do, what they may not, and that
//! the world they see is virtual.

use crate::support::{command, command_p1, command_p2, host, summary};
use std::time::{Duration, Instant};
use stepwell_sandbox::{Action, Call, CallError, ErrorSource, GuestKind, Limits, Outcome};

async fn ask(action: &Action, what: &str) -> Outcome {
    let call = Call::new(format!("\"{what}\"")).start_ms(1_700_000_000_000).seed([7; 32]);
    host().call(action, call).await
}

async fn both() -> [Action; 2] {
    let commands = [command_p1().await, command_p2().await];
    assert_eq!(commands[0].info().kind, GuestKind::WasiCommandP1);
    assert_eq!(commands[1].info().kind, GuestKind::WasiCommandP2);
    commands
}

async fn error_of(action: &Action, what: &str) -> CallError {
    ask(action, what).await.result.unwrap_err()
}

#[tokio::test]
async fn a_command_reads_stdin_and_answers_on_stdout() {
    for command in both().await {
        let outcome = ask(&command, "echo hällo").await;
        assert_eq!(outcome.result.as_deref(), Ok("\"echo hällo\""), "{outcome:?}");
        assert_eq!((outcome.usage.input_bytes, outcome.usage.output_bytes), (13, 13));
        assert!(outcome.usage.fuel.is_some_and(|fuel| fuel > 1_000));
    }
}

#[tokio::test]
async fn stderr_becomes_log_lines() {
    for command in both().await {
        let outcome = ask(&command, "log").await;
        assert_eq!(outcome.result.as_deref(), Ok("null"));
        let lines: Vec<&str> = outcome.logs.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(lines, ["first line", "second, not ended"]);
    }
}

#[tokio::test]
async fn clocks_start_where_the_call_says_and_move_by_looking() {
    for command in both().await {
        let outcome = ask(&command, "clock").await;
        assert_eq!(outcome.result.as_deref(), Ok("[1700000000000,1000]"), "{outcome:?}");
        assert_eq!(outcome.usage.virtual_ms, 0);
    }
}

#[tokio::test]
async fn an_hour_of_sleep_takes_no_time() {
    for command in both().await {
        let hour = Limits { virtual_ms: 4_000_000, ..Limits::default() };
        let began = Instant::now();
        let outcome = host().call(&command, Call::new("\"sleep 3600000\"").limits(hour)).await;
        assert_eq!(outcome.result.as_deref(), Ok("3600000"), "{outcome:?}");
        assert_eq!(outcome.usage.virtual_ms, 3_600_000);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn sleep_past_the_budget_is_an_error_of_its_own() {
    for command in both().await {
        let outcome = ask(&command, "sleep 30001").await;
        let error = outcome.result.unwrap_err();
        assert_eq!((error.source, error.code.as_str()), (ErrorSource::Sandbox, "sleep_limit"), "{error}");
        assert_eq!((error.limit, error.retryable), (Some(30_000), false));
        assert!(error.used.unwrap() >= 30_001);
    }
}

#[tokio::test]
async fn randomness_comes_from_the_seed() {
    for command in both().await {
        let one = ask(&command, "random").await;
        assert_eq!(one.result, ask(&command, "random").await.result);
        let other = host().call(&command, Call::new("\"random\"").seed([8; 32])).await;
        assert_ne!(one.result, other.result);
    }
}

#[tokio::test]
async fn files_network_environment_and_arguments_are_not_there() {
    for command in both().await {
        let outcome = ask(&command, "denied").await;
        let all = "[true, true, true, true, true, true, true, true]";
        assert_eq!(outcome.result.as_deref(), Ok(all), "{:?}", command.info().kind);
    }
}

#[tokio::test]
async fn a_flood_of_output_stops_the_command_instead_of_cutting_json() {
    for command in both().await {
        let error = error_of(&command, "flood 1000").await;
        assert_eq!((error.code.as_str(), error.limit), ("output_too_large", Some(1 << 20)), "{error}");
    }
}

#[tokio::test]
async fn a_command_may_fail_in_json() {
    for command in both().await {
        let error = error_of(&command, "fail").await;
        assert_eq!((error.source, error.code.as_str()), (ErrorSource::Action, "no_lead"));
        assert_eq!((error.retryable, error.retry_after_ms), (true, Some(5)));
    }
}

#[tokio::test]
async fn a_command_that_exits_shows_what_it_said_last() {
    for command in both().await {
        let error = error_of(&command, "exit 1").await;
        assert_eq!((error.source, error.code.as_str()), (ErrorSource::Action, "exit"));
        assert_eq!(error.message, "ended with status 1: cannot go on");
        assert!(error.details.unwrap()["stderr"].as_str().unwrap().len() <= 2_048);
        assert_eq!(error_of(&command, "exit 0").await.code, "invalid_output");
    }
}

#[tokio::test]
async fn a_command_that_panics_or_hoards_is_told_apart() {
    for command in both().await {
        let outcome = ask(&command, "panic").await;
        assert_eq!(outcome.result.unwrap_err().code, "trap");
        assert!(outcome.logs.iter().any(|line| line.message.contains("nothing like that")));
        let error = error_of(&command, "hoard").await;
        assert_eq!((error.code.as_str(), error.limit), ("memory_limit", Some(64 << 20)), "{error}");
    }
}

/// A command that calls `$f` with bad addresses and ends with what it got as its status.
#[tokio::test]
async fn bad_addresses_and_descriptors_are_errnos_of_preview_1() {
    let calls = [
        ("fd_write", 4, "(i32.const 1) (i32.const -8) (i32.const 1) (i32.const 0)", 21),
        ("fd_write", 4, "(i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0)", 28),
        ("fd_write", 4, "(i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0)", 8),
        ("fd_read", 4, "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)", 21),
        ("random_get", 2, "(i32.const 65530) (i32.const 100)", 21),
        ("poll_oneoff", 4, "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)", 28),
        ("poll_oneoff", 4, "(i32.const -4) (i32.const 0) (i32.const 1) (i32.const 0)", 21),
        ("fd_prestat_get", 2, "(i32.const 3) (i32.const 0)", 8),
        ("path_unlink_file", 3, "(i32.const 3) (i32.const 0) (i32.const 0)", 8),
        ("sock_shutdown", 2, "(i32.const 3) (i32.const 0)", 8),
    ];
    for (name, params, arguments, errno) in calls {
        let command = command(&format!(
            r#"(module
              (import "wasi_snapshot_preview1" "{name}" (func $f (param {}) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (func (export "_start") (call $exit (i32.add (i32.const 100) (call $f {arguments})))))"#,
            "i32 ".repeat(params)
        ))
        .await;
        let error = ask(&command, "").await.result.unwrap_err();
        assert_eq!(error.details.unwrap()["status"], 100 + errno, "{name} {arguments}");
    }
}

#[tokio::test]
async fn too_much_randomness_at_once_is_refused() {
    let command = command(
        r#"(module
          (import "wasi_snapshot_preview1" "random_get" (func $f (param i32 i32) (result i32)))
          (memory (export "memory") 2)
          (func (export "_start") (drop (call $f (i32.const 0) (i32.const 65537)))))"#,
    )
    .await;
    insta::assert_snapshot!(summary(&ask(&command, "").await));
}

#[tokio::test]
async fn http_is_there_for_those_who_import_it_and_refuses() {
    let action = host().load(wat::parse_str(include_str!("http.wat")).unwrap()).await.unwrap();
    let outcome = ask(&action, "").await;
    // An error, and of its cases the third: HTTP-request-denied.
    assert_eq!(outcome.result.as_deref(), Ok("12"), "{outcome:?}");
}
