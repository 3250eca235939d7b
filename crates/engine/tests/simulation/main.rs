//! The whole engine under a seed: a simulated world, faults at commits, crashes and reopenings; then everything
//! that must hold whatever happened.
//!
//! A failing seed prints itself: `STEPWELL_SIM_SEED=n` replays it exactly, `STEPWELL_SIM_SEEDS=n` runs so many.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod checks;
mod clients;
mod flows;
mod lives;
#[path = "../support/mod.rs"]
mod support;

use lives::Simulation;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Seeds in a plain run of the tests; `.ci/run` asks for thousands.
const SEEDS: u64 = 600;

#[test]
fn everything_holds_whatever_happens() {
    if let Some(seed) = number("STEPWELL_SIM_SEED") {
        return Simulation::new(seed).run();
    }
    let seeds = number("STEPWELL_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    // Each seed is a world of its own, so every core takes one after the other.
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| Simulation::new(seed).run())) {
                eprintln!("\nseed {seed} failed; replay it with STEPWELL_SIM_SEED={seed}");
                next.store(seeds, Relaxed);
                std::panic::resume_unwind(panic);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|threads| (0..cores).for_each(|_| _ = threads.spawn(work)));
}

#[test]
fn a_seed_replays_exactly() {
    let run = |seed| {
        let simulation = Simulation::new(seed);
        let world = simulation.world.clone();
        simulation.run();
        let calls: Vec<String> =
            world.code.calls.lock().unwrap().iter().map(|call| format!("{call:?}")).collect();
        let requests: Vec<String> =
            world.http.sent.lock().unwrap().iter().map(|sent| format!("{sent:?}")).collect();
        let mails: Vec<String> =
            world.mail.sent.lock().unwrap().iter().map(|sent| format!("{sent:?}")).collect();
        (world.store.history(), calls, requests, mails, world.store.dump())
    };
    let mut commits = 0;
    for seed in 0..20 {
        let (once, again) = (run(seed), run(seed));
        let other = once.0.iter().zip(&again.0).position(|(one, two)| one != two);
        assert_eq!(other, None, "commit {other:?} of seed {seed} differs");
        assert_eq!(once.0.len(), again.0.len(), "seed {seed}");
        for (one, two) in [(&once.1, &again.1), (&once.2, &again.2), (&once.3, &again.3)] {
            assert_eq!(one, two, "calls of seed {seed} in another order");
        }
        assert!(once.4 == again.4, "two runs of seed {seed} ended differently");
        commits += once.0.len();
    }
    assert!(commits > 1_000, "{commits}");
}
