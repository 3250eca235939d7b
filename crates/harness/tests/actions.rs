//! Actions from their source to their end: each way a guest can end, a new project, the examples.

#![allow(clippy::unwrap_used)] // a test that cannot go on stops

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stepwell_harness::{BuildOptions, Project, TestOptions, build, create, inspect, test};
use stepwell_sandbox::{Call, ErrorSource, Host, HostConfig, LogLevel, Outcome};

/// Guests share a target folder that outlives the test, so that serde is built once.
fn options() -> BuildOptions {
    BuildOptions {
        target_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests")),
        ..BuildOptions::default()
    }
}

struct Guest {
    host: Host,
    action: stepwell_sandbox::Action,
}

impl Guest {
    async fn obeys(&self, wish: Value) -> Outcome {
        self.host.call(&self.action, Call::new(wish.to_string())).await
    }
}

async fn obedient(parent: &Path) -> (Guest, stepwell_harness::Built) {
    let folder = parent.join("obey");
    create(&folder).unwrap();
    std::fs::write(folder.join("src/lib.rs"), include_str!("guest/lib.rs")).unwrap();
    let built = build(&Project::read(&folder).unwrap(), &options()).await.unwrap();
    let host = Host::new(HostConfig { threads: 1, ..HostConfig::default() }).unwrap();
    let action = host.load(std::fs::read(&built.module).unwrap()).await.unwrap();
    (Guest { host, action }, built)
}

#[tokio::test]
async fn every_way_to_end_arrives_as_it_was_meant() {
    let parent = tempfile::tempdir().unwrap();
    let (guest, built) = obedient(parent.path()).await;

    let logged = guest.obeys(json!({ "do": "log" })).await;
    assert_eq!(logged.result.as_deref(), Ok("\"logged\""));
    let lines: Vec<_> = logged.logs.iter().map(|line| (line.level, line.message.as_str())).collect();
    assert_eq!(
        lines,
        [
            (LogLevel::Trace, "one"),
            (LogLevel::Debug, "two"),
            (LogLevel::Info, "three 3"),
            (LogLevel::Warn, "four"),
            (LogLevel::Error, "five \"quoted\""),
        ]
    );
    let fields = json!({ "count": 2, "ratio": 0.5, "big": u64::MAX, "name": "two", "yes": true });
    assert_eq!(logged.logs[1].fields, Some(fields));
    assert_eq!(logged.logs[0].fields, None);

    let error = |outcome: Outcome| outcome.result.unwrap_err();
    let failed = error(guest.obeys(json!({ "do": "fail" })).await);
    assert_eq!(
        (failed.source, failed.code.as_str(), failed.message.as_str()),
        (ErrorSource::Action, "busy", "try later")
    );
    assert_eq!((failed.retryable, failed.retry_after_ms), (true, Some(1500)));
    assert_eq!(failed.details, Some(json!({ "queue": 7 })));

    let panicked = error(guest.obeys(json!({ "do": "panic", "index": 9 })).await);
    assert_eq!(panicked.code, "panic");
    let line =
        include_str!("guest/lib.rs").lines().position(|line| line.contains("[1, 2, 3][index]")).unwrap() + 1;
    for part in ["index out of bounds: the len is 3 but the index is 9", &format!("src/lib.rs:{line}:")] {
        assert!(format!("{panicked:?}").contains(part), "{part}: {panicked:?}");
    }
    assert!(!panicked.retryable);

    // As the guide says: the standard library has neither here.
    for (wish, says) in [("sleep", "can't sleep"), ("clock", "time not implemented on this platform")] {
        let panicked = error(guest.obeys(json!({ "do": wish })).await);
        assert_eq!((panicked.source, panicked.code.as_str()), (ErrorSource::Action, "panic"), "{panicked:?}");
        assert!(panicked.message.contains(says), "{panicked:?}");
    }

    let unnamed = error(guest.obeys(json!({ "do": "parse", "text": "x" })).await);
    let line =
        include_str!("guest/lib.rs").lines().position(|line| line.contains("parse::<i64>()?")).unwrap() + 1;
    assert_eq!(unnamed.code, "guest_error");
    assert_eq!(unnamed.message, format!("invalid digit found in string (src/lib.rs:{line})"));
    assert_eq!(error(guest.obeys(json!({ "do": "name", "text": "x" })).await).code, "invalid_number");
    assert_eq!(error(guest.obeys(json!({ "do": "refuse" })).await).message, "not today");

    let misfit = error(guest.obeys(json!({ "do": "panic", "index": -1 })).await);
    assert_eq!((misfit.source, misfit.code.as_str()), (ErrorSource::Action, "invalid_input"));
    let unwritable = error(guest.obeys(json!({ "do": "bad_keys" })).await);
    assert_eq!(unwritable.message, "the output cannot be written as JSON: key must be a string");

    let metadata = built.metadata;
    assert_eq!(metadata.name.as_deref(), Some("obey"));
    assert!(metadata.input_schema.is_some(), "the input derives JsonSchema");
    assert_eq!(metadata.output_schema, None, "the output does not");
    let inspection = inspect(&built.module).unwrap();
    assert_eq!(inspection.info.metadata, Some(metadata));
    assert!(inspection.custom_sections.iter().any(|section| section.name == "stepwell:action"));
    let names: Vec<&str> = inspection.biggest_functions.iter().filter_map(|f| f.name.as_deref()).collect();
    assert_eq!(names.len(), inspection.biggest_functions.len());
    assert!(names.iter().all(|name| !name.starts_with("_ZN") && name.chars().count() < 60), "{names:?}");
    let home = std::env::home_dir().unwrap();
    let module = std::fs::read(&built.module).unwrap();
    let home = home.join(".cargo").into_os_string().into_encoded_bytes();
    assert!(!module.windows(home.len()).any(|window| window == home), "the module names the builder's home");
}

#[tokio::test]
async fn a_new_action_passes_and_its_numbers_are_kept() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("price-order");
    create(&folder).unwrap();
    let project = Project::read(&folder).unwrap();
    let built = build(&project, &options()).await.unwrap();
    let accept = TestOptions { accept: true, only: None };
    let accepted = test(&project, &built, &accept).await.unwrap();
    assert!(accepted.passed(), "{}", accepted.text());
    assert!(built.metadata.input_schema.is_some() && built.metadata.output_schema.is_some());

    assert!(built.size < 120 << 10, "a module is small: {} bytes", built.size);

    // A comment is in the schema, not in the code: the description is made again all the same.
    let source = folder.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replacen("pub customer", "/// Who orders.\n    pub customer", 1)).unwrap();
    let rebuilt = build(&project, &options()).await.unwrap();
    let schema = rebuilt.metadata.input_schema.unwrap();
    assert_eq!(schema["properties"]["customer"]["description"], "Who orders.");

    // Numbers that were accepted bind: half of a case's fuel is too little for it now.
    let numbers = folder.join("fixtures/accepted.toml");
    let kept = std::fs::read_to_string(&numbers).unwrap();
    let fuel = kept.lines().find_map(|line| line.strip_prefix("fuel = ")).unwrap().parse::<u64>().unwrap();
    std::fs::write(&numbers, kept.replacen(&format!("fuel = {fuel}"), &format!("fuel = {}", fuel / 2), 1))
        .unwrap();
    let report = test(&project, &built, &TestOptions::default()).await.unwrap();
    assert_eq!(report.failed(), 1, "{}", report.text());
    assert!(report.text().contains(&format!("fuel grew from {} to {fuel}", fuel / 2)), "{}", report.text());

    // A case that expects nothing yet fails until somebody accepts what it gives.
    let case = folder.join("fixtures/later");
    std::fs::create_dir(&case).unwrap();
    std::fs::copy(folder.join("fixtures/known-customer/input.json"), case.join("input.json")).unwrap();
    let only = TestOptions { accept: false, only: Some("later".into()) };
    assert!(!test(&project, &built, &only).await.unwrap().passed());
    assert!(test(&project, &built, &accept).await.unwrap().passed());
    let expected = |case: &str| {
        std::fs::read_to_string(folder.join("fixtures").join(case).join("expected.json")).unwrap()
    };
    let value = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    assert_eq!(value(expected("later")), value(expected("known-customer")));
    // One that cannot be read is told beside the others.
    std::fs::create_dir(folder.join("fixtures/broken")).unwrap();
    let report = test(&project, &built, &TestOptions::default()).await.unwrap();
    assert_eq!(report.failed(), 1, "{}", report.text());
    assert!(report.text().contains("FAILED broken"), "{}", report.text());
    assert!(report.text().contains("the case has no input.json"), "{}", report.text());
    std::fs::remove_dir(folder.join("fixtures/broken")).unwrap();

    // What an error is kept as names all that a fixture can hold on to.
    let case = folder.join("fixtures/refused");
    std::fs::create_dir(&case).unwrap();
    std::fs::copy(folder.join("fixtures/negative-quantity/input.json"), case.join("input.json")).unwrap();
    assert!(test(&project, &built, &accept).await.unwrap().passed());
    let kept = value(std::fs::read_to_string(case.join("error.json")).unwrap());
    assert_eq!((&kept["source"], &kept["retryable"]), (&json!("action"), &json!(false)), "{kept}");
    assert!(test(&project, &built, &TestOptions::default()).await.unwrap().passed());

    let none = TestOptions { accept: false, only: Some("nothing".into()) };
    let error = test(&project, &built, &none).await.unwrap_err().to_string();
    assert!(
        error.starts_with("no case's name contains `nothing`; there are known-customer, later,"),
        "{error}"
    );
}

#[tokio::test]
async fn the_example_actions_do_what_their_fixtures_say() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/actions");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut with_errors = 0;
    for folder in folders {
        let project = Project::read(&folder).unwrap();
        let built = build(&project, &options()).await.unwrap();
        let report = test(&project, &built, &TestOptions::default()).await.unwrap();
        assert!(report.passed(), "{}", report.text());
        assert!(
            report.cases.iter().all(|case| case.accepted.is_some()),
            "run with --accept: {}",
            report.text()
        );
        assert!(report.notes.is_empty(), "{}", report.text());
        let fixtures = std::fs::read_dir(folder.join("fixtures")).unwrap();
        with_errors +=
            usize::from(fixtures.into_iter().any(|one| one.unwrap().path().join("error.json").is_file()));
    }
    assert!(with_errors >= 8, "most refuse something, and have a fixture that says so: {with_errors}");
}

#[tokio::test]
async fn other_languages_bring_their_own_build() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = |rest: &str| {
        let text = format!("name = \"other\"\nversion = \"1.0.0\"\n{rest}");
        std::fs::write(folder.path().join("action.toml"), text).unwrap();
        Project::read(folder.path()).unwrap()
    };
    let said = |project: Project| async move { build(&project, &options()).await.unwrap_err().to_string() };
    let missing = said(manifest("module = \"out.wasm\"")).await;
    assert!(
        missing.ends_with("out.wasm: this is what `module` in action.toml names, and it is not there"),
        "{missing}"
    );
    let failed = said(manifest("module = \"out.wasm\"\nbuild = [\"false\", \"now\"]")).await;
    assert!(failed.contains("`false now` ended with exit status: 1"), "{failed}");
    let absent = said(manifest("module = \"out.wasm\"\nbuild = [\"no-such-compiler\"]")).await;
    assert!(absent.contains("`no-such-compiler` cannot be run"), "{absent}");
    let refused =
        said(manifest("module = \"out.wasm\"\nbuild = [\"cp\", \"action.toml\", \"out.wasm\"]")).await;
    assert!(refused.starts_with("the module was refused: "), "{refused}");
    let bare = said(manifest("")).await;
    assert!(bare.contains("there is no Cargo.toml"), "{bare}");
}
