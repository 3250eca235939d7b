//! `stepwell workflow test`: the tests of an example, and of a workflow with a module that is there already.

use std::path::Path;

use serde_json::Value;

use crate::support::{Finished, guests, stepwell};

/// With a server that is nowhere: none is asked.
fn test(folder: &Path, arguments: &[&str]) -> Finished {
    let mut command = stepwell();
    command.args(["workflow", "test", folder.to_str().unwrap()]).args(arguments);
    Finished::from(command.env("STEPWELL_SERVER", "http://127.0.0.1:9").output().unwrap())
}

/// An example passes its tests, which are so many.
fn passes(flow: &str, count: usize) {
    let done = test(&guests::root().join("examples/workflows").join(flow), &[]);
    assert_eq!(done.code, Some(0), "{flow}: {}{}", done.stdout, done.stderr);
    assert!(done.stdout.trim_end().ends_with(&format!("{count} passed, 0 failed")), "{}", done.stdout);
}

#[test]
fn flows_that_nobody_else_takes_part_in_pass_their_tests() {
    passes("bulk", 4);
    passes("bulk-each", 2);
    passes("meeting-notes", 6);
}

#[test]
fn flows_that_others_take_part_in_pass_their_tests() {
    passes("email-sequence", 7);
    passes("enrichment", 5);
    passes("invoice", 4);
    passes("lead-scoring-external", 4);
    passes("lead-scoring-internal", 4);
    passes("product-sync", 5);
    passes("data-pipeline", 6);
    passes("newsletter", 6);
    passes("two-way-sync", 5);
    passes("person-changes", 2);
}

#[test]
fn the_example_passes_its_tests() {
    let folder = guests::root().join("examples/workflows/web-form");
    let report = tempfile::tempdir().unwrap();
    let junit = report.path().join("junit.xml");
    let done = test(&folder, &["--junit", junit.to_str().unwrap()]);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    for says in [
        "ok     new-person",
        "ok     known-person",
        "ok     malformed-address",
        "ok     free-mail",
        "ok     round-robin",
        "ok     markup",
        "ok     blank-fields",
        "ok     company-gone",
        "ok     fills-what-is-missing",
        "ok     long-name",
    ] {
        assert!(done.stdout.contains(says), "{}", done.stdout);
    }
    assert!(done.stdout.trim_end().ends_with("10 passed, 0 failed"), "{}", done.stdout);
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains("<testsuite name=\"web-form\" tests=\"10\" failures=\"0\""), "{xml}");

    let json = test(&folder, &["--json", "--only", "mail"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["cases"].as_array().map(Vec::len), Some(1), "{json:#}");
    assert_eq!((&json["cases"][0]["name"], &json["cases"][0]["passed"]), (&"free-mail".into(), &true.into()));
}

#[test]
fn one_failure_is_shown_and_is_the_status() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("flows/price");
    std::fs::create_dir_all(folder.join("tests")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write(
        "price.yaml",
        "name: price\ntrigger: { type: manual }\nsteps:\n  - { id: price, type: code, action: price-order, input: {} }\n",
    );
    write("tests/right.yaml", "trigger: {}\nexpect: { status: completed, output: { total: 7 } }\n");
    write("tests/wrong.yaml", "trigger: {}\nexpect: { output: { total: 8 } }\n");
    let missing = test(&folder, &[]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("price.yaml: the action `price-order` is not there"),
        "{}",
        missing.stderr
    );

    // In the nearest folder above that has it.
    std::fs::create_dir(parent.path().join("actions")).unwrap();
    std::fs::write(parent.path().join("actions/price-order.wasm"), guests::prints("{\"total\":7}")).unwrap();
    let done = test(&folder, &[]);
    assert_eq!(done.code, Some(1));
    for says in [
        "ok     right",
        "FAILED wrong",
        "wrong.yaml:2: the run's output",
        "-   \"total\": 8",
        "+   \"total\": 7",
    ] {
        assert!(done.stdout.contains(says), "{says}: {}", done.stdout);
    }
    assert!(done.stderr.contains("1 of 2 tests failed"), "{}", done.stderr);
    assert_eq!(test(&folder, &["--only", "right"]).code, Some(0));
}
