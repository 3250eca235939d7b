//! Many calls at once: short ones beside endless ones, a full pool, and calls nobody waits for.

use crate::support::{ECHO, action_bytes};
use futures::future::join_all;
use std::time::{Duration, Instant};
use stepwell_sandbox::{Action, Call, Host, HostConfig, Limits};

const LOOP: &str =
    "(func (export \"run\") (param i32 i32) (result i32) (loop $again (br $again)) unreachable)";

async fn host(calls: u32) -> (Host, Action, Action) {
    let config = HostConfig { max_concurrent_calls: calls, threads: 2, ..HostConfig::default() };
    let host = Host::new(config).unwrap();
    let (endless, echo) = (host.load(action_bytes(LOOP)), host.load(action_bytes(ECHO)));
    let (endless, echo) = (endless.await.unwrap(), echo.await.unwrap());
    (host, endless, echo)
}

fn endless_call(wall_ms: u64) -> Call {
    Call::new("{}").limits(Limits { fuel: u64::MAX, wall_ms, ..Limits::default() })
}

#[tokio::test]
async fn short_calls_are_answered_beside_a_hundred_endless_ones() {
    let (host, endless, echo) = host(128).await;
    let others: Vec<_> = (0..100)
        .map(|_| {
            let (host, endless) = (host.clone(), endless.clone());
            tokio::spawn(async move { host.call(&endless, endless_call(60_000)).await })
        })
        .collect();
    for _ in 0..50 {
        assert!(host.call(&echo, Call::new("1")).await.result.is_ok());
    }
    // All of them within the minute that the endless ones have. (How fast is what benches measure.)
    assert!(others.iter().all(|other| !other.is_finished()));
    others.iter().for_each(tokio::task::JoinHandle::abort);
    join_all(others).await;
}

#[tokio::test]
async fn a_full_pool_means_waiting_and_never_a_failure() {
    let (host, _, echo) = host(2).await;
    let outcomes = join_all((0..200).map(|n| host.call(&echo, Call::new(n.to_string())))).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.result, Ok(n.to_string()));
    }
}

#[tokio::test]
async fn a_call_nobody_waits_for_stops_and_frees_its_slot() {
    let (host, endless, echo) = host(1).await;
    for _ in 0..3 {
        let given_up =
            tokio::time::timeout(Duration::from_millis(20), host.call(&endless, endless_call(60_000)));
        assert!(given_up.await.is_err());
        let began = Instant::now();
        assert!(host.call(&echo, Call::new("1")).await.result.is_ok());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn giving_up_while_waiting_for_a_slot_loses_none() {
    let (host, endless, echo) = host(1).await;
    let long = host.call(&endless, endless_call(100));
    let waiting = tokio::time::timeout(Duration::from_millis(20), host.call(&echo, Call::new("1")));
    let (long, waiting) = tokio::join!(long, waiting);
    assert_eq!(long.result.unwrap_err().code, "deadline");
    assert!(waiting.is_err());
    assert!(host.call(&echo, Call::new("1")).await.result.is_ok());
}

#[tokio::test]
async fn a_host_refuses_the_actions_of_another() {
    let (one, ..) = host(1).await;
    let (_, _, echo) = host(1).await;
    let error = one.call(&echo, Call::new("1")).await.result.unwrap_err();
    assert_eq!(error.code, "internal");
}
