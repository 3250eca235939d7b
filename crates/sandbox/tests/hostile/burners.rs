//! Whatever a guest does, the same fuel takes about the same real time: a burner that costs next
//! to nothing in fuel would run for minutes on a budget of a second.

use std::time::Duration;
use stepwell_sandbox::{Limits, Outcome, code};

use super::check::{call, digest, limits, load};
use super::guest::{doing, handler, starting};
use super::runner::{Test, add};
use super::world;

/// Name, module, how much fuel it gets, and how many times the real time of a plain loop of arithmetic it takes for that.
/// The loop is the cheapest work there is for its fuel; honest work goes up to 30 (divisions). Where one step is large, a
/// burner gets enough fuel for several.
type Burner = (&'static str, fn() -> Vec<u8>, u64, f64);

/// A burner may take that many times what it took when it was measured: another processor has other proportions.
const SLACK: f64 = 3.0;
/// And whatever takes less than that many times a plain loop is no matter.
const LEAST: f64 = 15.0;

/// Enough to measure, and little enough for a test run.
const FUEL: u64 = 20_000_000;

fn with_table(main: &str) -> Vec<u8> {
    handler(&format!(
        r#"(type $t (func)) (table $t 20000 funcref) (func $f) (elem $e func $f $f $f $f $f $f $f $f)
        (elem declare func $f) {main}"#
    ))
}

fn running(body: &str) -> Vec<u8> {
    with_table(&format!(r#"(func (export "run") (param i32 i32) (result i32) {body} (call $null))"#))
}

/// Sixty megabytes of memory, and then this again and again.
fn in_much_memory(body: &str) -> Vec<u8> {
    doing(&format!("(drop (memory.grow (i32.const 960))) (loop {body} (br 0))"))
}

const PIECES: &str = "(local.set 0 (i32.const 0))
    (loop
        (i32.store (i32.add (i32.const 1024) (local.get 0)) (i32.const 65536))
        (i32.store (i32.add (i32.const 1028) (local.get 0)) (i32.const 60000000))
        (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 8))) (i32.const 8192))))";

fn scattered(descriptor: u32, fill: u32) -> Vec<u8> {
    starting(
        &[],
        &format!(
            "(local i32) (drop (memory.grow (i32.const 960)))
            (memory.fill (i32.const 65536) (i32.const {fill}) (i32.const 60000000))
            {PIECES}
            (loop (drop (call $fd_write (i32.const {descriptor}) (i32.const 1024) (i32.const 1024) (i32.const 8))) (br 0))"
        ),
    )
}

// What parts of one file pass to each other, and resources made in a loop, are no rows: they cost next to no fuel, so the scan
// refuses such a file (`inner_call` and `own_resources`, cases in `refused.rs`).
const BURNERS: &[Burner] = &[
    ("memory.grow 0", || doing("(loop (drop (memory.grow (i32.const 0))) (br 0))"), FUEL, 5.5),
    ("memory.grow denied", || doing("(loop (drop (memory.grow (i32.const 65535))) (br 0))"), 4 * FUEL, 0.0),
    (
        "memory.grow denied by one page",
        || {
            doing(
                "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (loop (drop (memory.grow (i32.const 1))) (br 0))",
            )
        },
        FUEL,
        3.5,
    ),
    ("memory.size", || doing("(loop (drop (memory.size)) (br 0))"), FUEL, 2.4),
    (
        "memory.fill",
        || in_much_memory("(memory.fill (i32.const 65536) (i32.const 1) (i32.const 60000000))"),
        300_000_000,
        1.2,
    ),
    (
        "memory.copy",
        || in_much_memory("(memory.copy (i32.const 65536) (i32.const 30000000) (i32.const 30000000))"),
        300_000_000,
        1.1,
    ),
    (
        "memory.fill of nothing",
        || doing("(loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)) (br 0))"),
        FUEL,
        7.7,
    ),
    (
        "memory.copy of nothing",
        || doing("(loop (memory.copy (i32.const 0) (i32.const 0) (i32.const 0)) (br 0))"),
        FUEL,
        1.2,
    ),
    (
        "memory.init of nothing",
        || {
            handler(
                r#"(data $d "x") (func (export "run") (param i32 i32) (result i32) (loop (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0)) (br 0)) (call $null))"#,
            )
        },
        FUEL,
        1.4,
    ),
    (
        "data.drop",
        || {
            handler(
                r#"(data $d "x") (func (export "run") (param i32 i32) (result i32) (loop (data.drop $d) (br 0)) (call $null))"#,
            )
        },
        FUEL,
        6.3,
    ),
    ("ref.func", || running("(loop (drop (ref.func $f)) (br 0))"), FUEL, 6.3),
    ("elem.drop", || running("(loop (elem.drop $e) (br 0))"), FUEL, 9.6),
    (
        "table.grow 0",
        || running("(loop (drop (table.grow $t (ref.null func) (i32.const 0))) (br 0))"),
        FUEL,
        22.5,
    ),
    (
        "table.grow denied",
        || running("(loop (drop (table.grow $t (ref.null func) (i32.const 1))) (br 0))"),
        FUEL,
        20.1,
    ),
    (
        "table.fill",
        || running("(loop (table.fill $t (i32.const 0) (ref.func $f) (i32.const 20000)) (br 0))"),
        FUEL,
        2.5,
    ),
    (
        "table.fill of nothing",
        || running("(loop (table.fill $t (i32.const 0) (ref.null func) (i32.const 0)) (br 0))"),
        FUEL,
        1.4,
    ),
    (
        "table.copy",
        || running("(loop (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 19999)) (br 0))"),
        FUEL,
        9.8,
    ),
    (
        "table.init",
        || running("(loop (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 8)) (br 0))"),
        FUEL,
        9.4,
    ),
    (
        "table.set and table.get",
        || running("(loop (table.set $t (i32.const 0) (table.get $t (i32.const 1))) (br 0))"),
        FUEL,
        2.3,
    ),
    (
        "call_indirect",
        || {
            running(
                "(table.set $t (i32.const 0) (ref.func $f)) (loop (call_indirect (type $t) (i32.const 0)) (br 0))",
            )
        },
        FUEL,
        7.8,
    ),
    (
        "division of floats",
        || {
            doing(
                "(local f64) (loop (local.set 2 (f64.div (f64.sqrt (f64.add (local.get 2) (f64.const 3))) (f64.const 7))) (br 0))",
            )
        },
        FUEL,
        16.3,
    ),
    (
        "division of integers",
        || {
            doing(
                "(local i64) (loop (local.set 2 (i64.rem_u (i64.const -1) (i64.or (local.get 2) (i64.const 3)))) (br 0))",
            )
        },
        FUEL,
        5.7,
    ),
    (
        "loads that miss the cache",
        || {
            in_much_memory(
                "(local.set 0 (i32.rem_u (i32.add (i32.mul (local.get 0) (i32.const 1664525)) (i32.const 1013904223)) (i32.const 60000000))) (drop (i32.load (local.get 0)))",
            )
        },
        FUEL,
        4.5,
    ),
    (
        "log lines",
        || {
            doing(
                "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (br 0))",
            )
        },
        FUEL,
        1.3,
    ),
    (
        "long log lines",
        || {
            doing(
                "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 60000) (i32.const 0) (i32.const 0)) (br 0))",
            )
        },
        FUEL,
        0.4,
    ),
    (
        "panics",
        || doing("(loop (call $panic (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (br 0))"),
        FUEL,
        1.5,
    ),
    (
        "preview 1: clock reads",
        || {
            starting(
                &["clock_time_get"],
                "(loop (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 512))) (br 0))",
            )
        },
        FUEL,
        1.8,
    ),
    (
        "preview 1: randomness",
        || {
            starting(
                &["random_get"],
                "(loop (drop (call $random_get (i32.const 1000) (i32.const 65536))) (br 0))",
            )
        },
        FUEL,
        4.3,
    ),
    (
        "preview 1: a byte of randomness",
        || {
            starting(
                &["random_get"],
                "(loop (drop (call $random_get (i32.const 1000) (i32.const 1))) (br 0))",
            )
        },
        FUEL,
        2.4,
    ),
    (
        "preview 1: yields",
        || starting(&["sched_yield"], "(loop (drop (call $sched_yield)) (br 0))"),
        FUEL,
        1.5,
    ),
    (
        "preview 1: a file that is not there",
        || {
            starting(
                &["sock_accept"],
                "(loop (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 8))) (br 0))",
            )
        },
        FUEL,
        1.4,
    ),
    (
        "preview 1: a thousand waits",
        || {
            starting(
                &["poll_oneoff"],
                "(loop (drop (call $poll_oneoff (i32.const 4096) (i32.const 65536) (i32.const 1024) (i32.const 2048))) (br 0))",
            )
        },
        FUEL,
        2.0,
    ),
    (
        "preview 1: a thousand empty pieces",
        || {
            starting(
                &[],
                "(loop (drop (call $fd_write (i32.const 2) (i32.const 4096) (i32.const 1024) (i32.const 8))) (br 0))",
            )
        },
        FUEL,
        14.9,
    ),
    ("preview 1: one large piece of stderr a thousand times", || scattered(2, 120), 100_000_000, 3.6),
    ("preview 1: line ends a thousand times", || scattered(2, 10), 100_000_000, 2.3),
    ("0.2: clock reads", world::clock_flood, FUEL, 1.2),
    ("0.2: randomness", world::random_flood, FUEL, 3.5),
    ("0.2: waits", world::many_waits, FUEL, 0.7),
    ("0.2: refused calls with large arguments", world::large_argument, FUEL, 5.3),
    ("0.2: timers made and dropped", world::dropped_timers, FUEL, 4.3),
];

fn budget(fuel: u64) -> Limits {
    Limits { fuel, memory_bytes: 64 << 20, ..limits() }
}

/// What each comes to, once.
pub fn outcomes() -> impl Iterator<Item = (String, Outcome)> {
    let one = |(name, module, fuel, _): &Burner| {
        (format!("burner {name}"), call(&load(module()), "{}", budget(*fuel)))
    };
    BURNERS.iter().map(one)
}

/// Real time for each unit of fuel, in femtoseconds, the least of a few runs, which differ in nothing else.
fn price(module: Vec<u8>, fuel: u64) -> u64 {
    let action = load(module);
    let mut first = None;
    let runs = (0..3).map(|_| {
        let outcome = call(&action, "{}", budget(fuel));
        let digest = digest(&outcome);
        assert_eq!(*first.get_or_insert_with(|| digest.clone()), digest, "a run went otherwise");
        assert_eq!(outcome.usage.fuel, Some(fuel));
        let error = outcome.result.expect_err("a burner never ends by itself");
        assert_eq!(error.code, code::FUEL_EXHAUSTED, "{error:?}");
        Duration::from_micros(outcome.usage.wall_us)
    });
    let least = runs.min().unwrap_or_default();
    u64::try_from(least.as_nanos() * 1_000_000 / u128::from(fuel)).unwrap_or(u64::MAX)
}

/// A plain loop: a counter, a comparison, a branch.
fn plain() -> u64 {
    let body = "(local i32) (loop (local.set 2 (i32.xor (i32.add (local.get 2) (i32.const 1)) (i32.const 5))) (br 0))";
    price(doing(body), 100_000_000)
}

pub fn tests(tests: &mut Vec<Test>) {
    for (name, module, fuel, measured) in BURNERS {
        let most = (measured * SLACK).max(LEAST);
        add(tests, format!("burners::{}", name.replace(' ', "_")), move || {
            // Whatever else the machine does slows both; once is a chance, three times is a price.
            let mut ratios = Vec::new();
            for _ in 0..3 {
                let (plain, burner) = (plain().max(1), price(module(), *fuel));
                let ratio = burner as f64 / plain as f64;
                ratios.push(ratio);
                if ratio <= most {
                    println!(
                        "    {name}: {ratio:.1} times a plain loop ({measured} once, at most {most:.0})"
                    );
                    return;
                }
            }
            panic!(
                "{name}: {ratios:.1?} times the real time of a plain loop for its fuel, and at most {most:.0}"
            );
        });
    }
}
