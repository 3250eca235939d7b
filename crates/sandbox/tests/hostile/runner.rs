//! Runs tests as `cargo test` expects of a program: by filter, each by name, with a status.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A test: its name, and what panics if it fails.
pub type Test = (String, Box<dyn FnOnce()>);

/// Adds a test.
pub fn add(tests: &mut Vec<Test>, name: impl Into<String>, test: impl FnOnce() + 'static) {
    tests.push((name.into(), Box::new(test)));
}

/// Runs the tests whose names contain one of the words in `args`, or all. Options of the usual
/// harness are taken and have no effect, but for `--exact`, `--skip` and `--list`.
pub fn run(tests: Vec<Test>, args: &[String]) -> ExitCode {
    let exact = args.iter().any(|arg| arg == "--exact");
    let list = args.iter().any(|arg| arg == "--list");
    let (mut words, mut skips) = (Vec::new(), Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--skip" => skips.extend(rest.next()),
            "--test-threads" | "--format" | "--color" | "-Z" | "--logfile" => drop(rest.next()),
            option if option.starts_with('-') => {}
            _ => words.push(arg),
        }
    }
    let hit = |name: &str, word: &str| if exact { name == word } else { name.contains(word) };
    let wanted = |name: &str| {
        (words.is_empty() || words.iter().any(|word| hit(name, word)))
            && !skips.iter().any(|word| hit(name, word))
    };
    let all = tests.len();
    let tests: Vec<Test> = tests.into_iter().filter(|(name, _)| wanted(name)).collect();
    if list {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", tests.len());
    let started = Instant::now();
    let (ran, mut failed) = (tests.len(), Vec::new());
    for (name, test) in tests {
        let one = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(test));
        let outcome = if result.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {outcome} ({} ms)", one.elapsed().as_millis());
        if result.is_err() {
            failed.push(name);
        }
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n",
        ran - failed.len(),
        failed.len(),
        all - ran,
        started.elapsed().as_secs_f64()
    );
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    failed.iter().for_each(|name| println!("failed: {name}"));
    ExitCode::FAILURE
}
