//! Runs the corpus: each module twice here and once in another process, every time with the same
//! outcome, and after each an honest call on the same host. Of burners the other process runs each too.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use stepwell_sandbox::{Action, Call, Host, HostConfig, Limits, LoadError, Outcome};
use tokio::runtime::Runtime;

use super::burners;
use super::child::{child, usual_limits};
use super::corpus::{self, Case, Expect};
use super::guest::Handler;
use super::runner::{Test, add};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// However slow the machine is, no call ends by the clock.
const MAXIMA: Limits = Limits { wall_ms: 3_600_000, ..Limits::HOST_MAXIMA };

/// A host as a server has it, compiling in children.
pub static HOST: LazyLock<Host> = LazyLock::new(|| {
    let config = HostConfig {
        compile: child(usual_limits()),
        max_concurrent_calls: 4,
        maxima: MAXIMA,
        ..HostConfig::default()
    };
    Host::new(config).expect("a host")
});

/// What the corpus may use: little, so that it ends soon. Real time is no matter of determinism.
pub fn limits() -> Limits {
    Limits {
        fuel: 5_000_000,
        memory_bytes: 16 << 20,
        wall_ms: MAXIMA.wall_ms,
        virtual_ms: 30_000,
        input_bytes: 4 << 20,
        output_bytes: 64 << 10,
        log_bytes: 8 << 10,
    }
}

/// Loads a module that has to be let in.
pub fn load(module: Vec<u8>) -> Action {
    match RUNTIME.block_on(HOST.load(module)) {
        Ok(action) => action,
        Err(LoadError::Refused(refusal)) => panic!("refused: {}: {refusal}", refusal.rule),
        Err(error) => panic!("{error}"),
    }
}

/// Calls it.
pub fn call(action: &Action, input: &str, limits: Limits) -> Outcome {
    RUNTIME.block_on(HOST.call(action, Call::new(input).limits(limits).start_ms(1_700_000_000_000)))
}

/// The outcome without what may differ.
pub fn digest(outcome: &Outcome) -> String {
    let mut outcome = outcome.clone();
    outcome.usage.wall_us = 0;
    serde_json::to_string(&outcome).expect("an outcome is JSON")
}

fn run(case: &Case, action: &Action) -> Outcome {
    let mut limits = limits();
    (case.limits)(&mut limits);
    call(action, &(case.input)(), limits)
}

fn check(case: &Case) {
    static HONEST: LazyLock<Action> = LazyLock::new(|| load(Handler::default().build()));
    let action = load((case.module)());
    let (first, again) = (run(case, &action), run(case, &action));
    assert_eq!(digest(&first), digest(&again), "the second run went otherwise");
    let shown = digest(&first);
    match (&case.expect, &first.result) {
        (Expect::Output(output), Ok(found)) => assert_eq!(found, output),
        (Expect::Error(code), Err(error)) => assert_eq!(error.code, *code, "{shown}"),
        (Expect::Limit(code, limit), Err(error)) => {
            assert_eq!((error.code.as_str(), error.limit), (*code, Some(*limit)), "{shown}");
            assert!(error.used.is_some_and(|used| used >= *limit), "{shown}");
            assert!(!error.retryable, "{shown}");
        }
        _ => panic!("expected {:?}: {shown}", case.expect),
    }
    if let Err(error) = &first.result {
        assert!(!error.message.is_empty() && error.message.len() < 10_000, "{shown}");
        assert!(error.code.len() <= 64, "{shown}");
        let details = error.details.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(details.len() < 80_000, "{} bytes of details", details.len());
    }
    let logs: usize = first.logs.iter().map(|line| line.message.len()).sum();
    assert!(logs <= 10 << 10, "{logs} bytes of logs");
    let mut most = limits();
    (case.limits)(&mut most);
    assert!(first.usage.fuel.is_none_or(|fuel| fuel <= most.fuel), "{shown}");
    assert!(first.usage.peak_memory_bytes <= most.memory_bytes, "{shown}");
    assert_eq!(call(&HONEST, "{}", limits()).result.as_deref(), Ok("null"));
}

/// What every module of the corpus and every burner comes to, a line each.
fn digests() -> BTreeMap<String, String> {
    let cases = corpus::CASES.iter();
    let cases = cases.map(|case| (case.name.to_owned(), digest(&run(case, &load((case.module)())))));
    cases.chain(burners::outcomes().map(|(name, outcome)| (name, digest(&outcome)))).collect()
}

/// The other process's end of the comparison.
pub fn print_digests() -> ExitCode {
    digests().into_iter().for_each(|(name, digest)| println!("{name}\t{digest}"));
    ExitCode::SUCCESS
}

pub fn tests(tests: &mut Vec<Test>) {
    for case in corpus::CASES {
        add(tests, format!("runs::{}", case.name.replace(' ', "_")), || check(case));
    }
    add(tests, "runs::the_same_in_another_process", || {
        let program = std::env::current_exe().expect("the program knows where it is");
        let output = Command::new(program).arg("digest").output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("it writes text");
        let theirs: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, digest)| (name.to_owned(), digest.to_owned()))
            .collect();
        let ours = digests();
        assert!(ours.len() > 150, "{}", ours.len());
        for (name, digest) in &ours {
            assert_eq!(theirs.get(name), Some(digest), "{name}");
        }
    });
}
