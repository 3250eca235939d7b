//! The command line, as an action author and an integration builder use it.

use std::path::Path;

use serde_json::Value;

use crate::support::{Finished, Server, guests, run, stepwell};

fn on(server: &Server, arguments: &[&str]) -> Finished {
    let mut command = stepwell();
    command.args(arguments).args(["--server", &server.base]);
    if let Some(key) = &server.key {
        command.env("STEPWELL_KEY", key);
    }
    Finished::from(command.output().unwrap())
}

fn ok(finished: Finished) -> String {
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    finished.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_action_is_made_tested_pushed_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let action = folder.path().join("greet-lead");
    ok(run(&["action", "new", text(&action)]));
    let tested = ok(run(&["action", "test", text(&action)]));
    assert!(tested.contains("passed"), "{tested}");
    let refused = run(&["action", "new", text(&action)]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("greet-lead"), "{}", refused.stderr);

    let server = Server::start(&[]);
    let pushed = ok(on(&server, &["action", "push", text(&action)]));
    assert!(pushed.contains("greet-lead"), "{pushed}");
    let listed = ok(on(&server, &["action", "list"]));
    assert!(listed.contains("greet-lead"), "{listed}");
    let inspected = ok(on(&server, &["action", "inspect", "greet-lead", "--json"]));
    let info: Value = serde_json::from_str(&inspected).unwrap();
    assert!(info["input_schema"].is_object(), "metadata travels in the module: {info:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workflows_are_checked_applied_run_and_followed() {
    let flow = guests::root().join("examples/workflows/web-form/web-form.yaml");
    ok(run(&["workflow", "check", text(&flow)]));
    let graph = ok(run(&["workflow", "graph", text(&flow)]));
    for step in ["normalize", "company", "known", "person", "follow_up", "tell_sales"] {
        assert!(graph.contains(step), "{graph}");
    }
    assert!(ok(run(&["workflow", "graph", text(&flow), "--format", "mermaid"])).contains("flowchart"));

    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.yaml");
    std::fs::write(&bad, "name: bad\ntrigger: { type: manual }\nsteps:\n  - { id: a, type: set, values: { x: '{{ b.y }}' } }\n").unwrap();
    let checked = run(&["workflow", "check", text(&bad)]);
    assert_eq!(checked.code, Some(1));
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("bad.yaml") && said.contains('4') && said.contains('b'), "{said}");

    let server = Server::dev();
    let module = folder.path().join("normalize-lead.wasm");
    std::fs::write(&module, guests::example("normalize-lead")).unwrap();
    ok(on(&server, &["action", "push", text(&module)]));
    let applied = ok(on(&server, &["workflow", "apply", text(&flow), "--activate"]));
    assert!(applied.contains("web-form"), "{applied}");
    let input = "{\"email\": \"ada@engines.example\", \"name\": \"Ada Lovelace\"}";
    let output: Value =
        serde_json::from_str(&ok(on(&server, &["workflow", "run", "web-form", "--input", input]))).unwrap();
    assert!(output["personId"].is_string(), "{output:#}");
    let runs: Value = serde_json::from_str(&ok(on(&server, &["run", "list", "--json"]))).unwrap();
    let id = runs["runs"][0]["id"].as_str().unwrap();
    assert!(ok(on(&server, &["run", "watch", id])).contains("completed"));
    let shown = ok(on(&server, &["run", "show", id]));
    for says in ["normalize", "fuel", "ada@engines.example", "completed"] {
        assert!(shown.contains(says), "{says}: {shown}");
    }
    let people = ok(on(&server, &["record", "list", "person"]));
    assert!(people.contains("ada@engines.example"), "{people}");
    let person = output["personId"].as_str().unwrap();
    assert!(ok(on(&server, &["record", "get", "person", person])).contains("Lovelace"));
    assert!(ok(on(&server, &["mailbox", "list"])).contains("New lead: Ada"));
}

#[test]
fn exit_statuses_mean_something() {
    assert_eq!(run(&["--version"]).code, Some(0));
    assert_eq!(run(&["run", "lst"]).code, Some(2));
    let nobody = run(&["run", "list", "--server", "http://127.0.0.1:9"]);
    assert_eq!(nobody.code, Some(3));
    assert!(nobody.stderr.contains("stepwell serve --dev"), "{}", nobody.stderr);
    let missing = run(&["workflow", "check", "/nowhere/x.yaml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("/nowhere/x.yaml"), "{}", missing.stderr);
}

#[test]
fn the_settings_in_force_are_printed() {
    let printed = run(&["serve", "--print-config", "--listen", "127.0.0.1:1234", "--dev"]);
    let printed = ok(printed);
    assert!(printed.contains("listen = \"127.0.0.1:1234\"") && printed.contains("dev = true"), "{printed}");
    let wrong = Finished::from(
        stepwell().args(["serve", "--print-config"]).env("STEPWELL_LISTN", "x").output().unwrap(),
    );
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("listn"), "{}", wrong.stderr);
}

#[test]
fn the_demo_ends_as_expected_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Finished::from(stepwell().arg("demo").env("TMPDIR", folder.path()).output().unwrap());
    assert_eq!(demo.code, Some(0), "{}\n{}", demo.stdout, demo.stderr);
    assert!(demo.stdout.contains("All as expected"), "{}", demo.stdout);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
