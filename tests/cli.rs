//! The command line, as an action author and an integration builder use it.

use std::path::Path;

use serde_json::{Value, json};

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
    // Which fields a workspace has of its own is no matter of the graph's.
    let own_fields =
        guests::root().join("examples/workflows/lead-scoring-internal/lead-scoring-internal.yaml");
    assert!(ok(run(&["workflow", "graph", text(&own_fields)])).contains("tell_sales"));

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

#[tokio::test]
async fn an_apply_shows_its_plan_and_takes_away_only_what_it_is_told_to() {
    let server = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    let flow = |name: &str, value: u32| {
        let text = format!(
            "name: {name}\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: a, type: set, values: {{ x: {value} }} }}\n"
        );
        std::fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
    };
    std::fs::create_dir(folder.path().join("connections")).unwrap();
    std::fs::write(folder.path().join("connections/crm.yaml"), "base_url: https://crm.example.com\n")
        .unwrap();
    flow("one", 1);
    flow("two", 1);
    let apply = |flags: &[&str]| {
        let arguments = [&["workflow", "apply", text(folder.path()), "--activate"], flags].concat();
        ok(on(&server, &arguments))
    };
    assert_eq!(apply(&["--plan"]), "+ connection crm\n+ workflow one\n+ workflow two\n");
    assert!(ok(on(&server, &["workflow", "list"])).lines().count() < 2, "a plan changes nothing");
    assert!(apply(&[]).ends_with("two v1 saved\ntwo is active\n"));
    let again = "= connection crm\n= workflow one\n= workflow two\nconnection crm unchanged\n\
                 one v1 unchanged\none is active\ntwo v1 unchanged\ntwo is active\n";
    assert_eq!(apply(&[]), again);
    flow("one", 2);
    std::fs::remove_file(folder.path().join("two.yaml")).unwrap();
    assert_eq!(apply(&["--plan"]), "= connection crm\n~ workflow one (v1 is active)\n");
    let pruned = apply(&["--prune"]);
    assert!(pruned.contains("- workflow two (v1 is active)\n"), "{pruned}");
    assert!(pruned.ends_with("two is deleted; its runs can still be read\n"), "{pruned}");
    let left = ok(on(&server, &["workflow", "list"]));
    assert!(left.contains("one") && !left.contains("two"), "{left}");
    let plan: Value = serde_json::from_str(&apply(&["--plan", "--json"])).unwrap();
    assert_eq!(plan["workflows"][0]["change"], "keep", "{plan}");
}

#[tokio::test]
async fn a_plan_tells_the_problems_that_applying_would_tell() {
    let server = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let plan = |flags: &[&str]| {
        let arguments = [&["workflow", "apply", text(folder.path()), "--plan"], flags].concat();
        on(&server, &arguments)
    };
    // What comes along is there: an object, a connection, another workflow.
    write("schema.yaml", "objects: [{ name: parcel, fields: [{ name: code, type: text }] }]\n");
    std::fs::create_dir(folder.path().join("connections")).unwrap();
    write("connections/crm.yaml", "base_url: https://crm.example.com\n");
    let flow = |name: &str, step: &str| {
        write(
            &format!("{name}.yaml"),
            &format!("name: {name}\ntrigger: {{ type: manual }}\nsteps:\n  - {step}\n"),
        );
    };
    flow("one", "{ id: a, type: create_record, object: parcel, record: { code: x } }");
    flow("two", "{ id: a, type: run_workflow, workflow: one }");
    flow("three", "{ id: a, type: http_request, connection: crm, url: /people }");
    for flags in [&[][..], &["--activate"]] {
        assert!(ok(plan(flags)).contains("+ workflow one\n"), "{flags:?}");
    }
    // And what is wrong is told for each file.
    write("notes.yaml", "hello: 1\n");
    flow("two", "{ id: a, type: run_workflow, workflow: gone }");
    flow("three", "{ id: a, type: http_request, connection: erp, url: /people }");
    for flags in [&[][..], &["--activate"]] {
        let told = plan(flags);
        assert_eq!(told.code, Some(1), "{}", told.stdout);
        for part in
            ["+ workflow one\n", "notes.yaml: ", "two.yaml: a problem\n", "`gone`", "`erp`", "line 4:"]
        {
            assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
        }
        assert!(!told.stdout.contains("one.yaml"), "{}", told.stdout);
        assert_eq!(told.stderr.trim(), "error: 3 files have problems");
    }
    // The same folder, spelled in another way, is the same folder.
    let again = format!("{}/", text(folder.path()));
    let told: Value = serde_json::from_str(&plan(&["--json"]).stdout).unwrap();
    assert_eq!(told["problems"].as_array().unwrap().len(), 3, "{told:#}");
    assert_eq!(serde_json::from_str::<Value>(&plan(&["--json", &again]).stdout).unwrap(), told);
    write("schema.yaml", "objects: [{ name: parcel, fields: [{ name: code, type: txt }] }]\n");
    let told = plan(&[]);
    assert!(told.code == Some(1) && told.stdout.contains("schema.yaml: a problem\n"), "{}", told.stdout);
    assert!(ok(on(&server, &["workflow", "list"])).lines().count() < 2, "a plan changes nothing");
}

#[tokio::test]
async fn a_plan_tells_of_paths_that_others_have_taken_and_places_can_be_changed() {
    let server = Server::dev();
    let flow = |name: &str, path: &str| {
        format!(
            "name: {name}\ntrigger: {{ type: webhook, path: {path} }}\nsteps:\n  - {{ id: a, type: set, values: {{ by: {name} }} }}\n"
        )
    };
    server.activate("there", &flow("there", "one")).await;
    for schema in [None, Some("objects: [{ name: parcel, fields: [{ name: code, type: text }] }]\n")] {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        if let Some(schema) = schema {
            write("schema.yaml", schema);
        }
        let apply = |flags: &[&str]| {
            let arguments = [&["workflow", "apply", text(folder.path())], flags].concat();
            on(&server, &arguments)
        };
        for (name, path) in [("a", "one"), ("b", "two"), ("c", "two"), ("d", "three")] {
            write(&format!("{name}.yaml"), &flow(name, path));
        }
        // Drafts listen to nothing.
        ok(apply(&["--plan"]));
        let told = apply(&["--plan", "--activate"]);
        assert_eq!(told.code, Some(1), "{}", told.stdout);
        for part in [
            "a.yaml: a problem\n  line 2:33: workflow `there` already listens on POST `one`; choose another path",
            "b.yaml: a problem\n  line 2:33: workflow `c` is also to listen on POST `two`",
            "c.yaml: a problem\n  line 2:33: workflow `b` is also to listen on POST `two`",
        ] {
            assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
        }
        assert!(!told.stdout.contains("d.yaml"), "{}", told.stdout);
        assert_eq!(told.stderr.trim(), "error: 3 files have problems");
        // As activating tells.
        let told = apply(&["--activate"]);
        assert_eq!(told.code, Some(1), "{}", told.stdout);
        assert!(told.stderr.contains("already listens on POST"), "{}", told.stderr);
        // Those that come along may leave their path to another, or change places.
        for (first, second) in [("two", "three"), ("three", "two"), ("four", "three")] {
            for (name, path) in [("a", "five"), ("b", first), ("c", second), ("d", "six")] {
                write(&format!("{name}.yaml"), &flow(name, path));
            }
            ok(apply(&["--plan", "--activate"]));
            ok(apply(&["--activate"]));
            let listed = server.get("/api/v1/webhooks").await.expect(200);
            let of = |name: &str| {
                let webhooks = listed["webhooks"].as_array().unwrap();
                webhooks.iter().find(|hook| hook["workflow"] == name).unwrap()["path"].clone()
            };
            assert_eq!((of("b"), of("c")), (first.into(), second.into()));
        }
        for name in ["a", "b", "c", "d"] {
            server.post(&format!("/api/v1/workflows/{name}/deactivate"), &Value::Null).await.expect(200);
        }
    }
}

/// What clears a screen, sets a title, and the same in C1.
const COMMANDS: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m";

fn obeys_nothing(what: &str, finished: &Finished) {
    for text in [&finished.stdout, &finished.stderr] {
        let command = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(command, None, "{what}: {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_wrote_has_no_power_over_the_terminal() {
    let server = Server::dev();
    let flow = "name: loud\ntrigger: { type: manual }\nsteps:\n  - { id: a, type: create_record, object: note, \
                record: { title: '{{ trigger.input.m }}' } }\n  \
                - { id: b, type: stop, status: failed, message: '{{ trigger.input.m }}' }\n";
    server.activate("loud", flow).await;
    let input = serde_json::json!({ "m": format!("hello {COMMANDS}") }).to_string();
    let failed = on(&server, &["workflow", "run", "loud", "--input", &input]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("hello \\u{1b}[2J"), "{}", failed.stderr);
    obeys_nothing("run", &failed);
    let runs: Value = serde_json::from_str(&ok(on(&server, &["run", "list", "--json"]))).unwrap();
    let id = runs["runs"][0]["id"].as_str().unwrap();
    assert!(runs["runs"][0]["error"]["message"].as_str().unwrap().contains(COMMANDS), "JSON keeps the value");
    for arguments in [
        vec!["run", "list"],
        vec!["run", "list", "--json"],
        vec!["run", "show", id],
        vec!["run", "show", id, "--full"],
        vec!["run", "show", id, "--json"],
        vec!["run", "watch", id],
        vec!["record", "list", "note"],
        vec!["record", "list", "note", "--json"],
        vec!["run", "show", COMMANDS],
        vec!["workflow", "show", COMMANDS],
        vec!["workflow", "check", COMMANDS],
    ] {
        obeys_nothing(&format!("{arguments:?}"), &on(&server, &arguments));
    }
    // A document that is refused is shown with its own lines.
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.json");
    std::fs::write(&bad, format!("{{ \"name\": \"bad\", \"steps\": [], \"x{COMMANDS}\": 1 }}")).unwrap();
    obeys_nothing("check", &run(&["workflow", "check", text(&bad)]));
}

#[test]
fn what_cannot_be_written_is_not_done() {
    let flow = guests::root().join("examples/workflows/web-form/web-form.yaml");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [vec!["workflow", "graph", text(&flow)], vec!["--version"], vec!["--help"]] {
        let output = stepwell().args(&arguments).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: stdout cannot be written: No space left"), "{said}");
        // A reader that has read enough is no error.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = stepwell().args(&arguments).stdout(writer).output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), b"".as_slice()),
            "{arguments:?}"
        );
        // Nor does a full stderr change what comes of it.
        assert_eq!(stepwell().args(&arguments).stderr(full()).output().unwrap().status.code(), Some(0));
    }
    let missing = stepwell().args(["workflow", "check", "/nowhere.yaml"]).stderr(full()).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn json_is_given_or_refused_wherever_it_is_asked_for() {
    let flow = guests::root().join("examples/workflows/web-form/web-form.yaml");
    let json = |arguments: &[&str]| -> Value { serde_json::from_str(&ok(run(arguments))).unwrap() };
    let graph = json(&["workflow", "graph", text(&flow), "--json"]);
    assert_eq!((&graph["name"], &graph["nodes"][0]["id"]), (&"web-form".into(), &"normalize".into()));
    assert_eq!(graph["nodes"][1]["after"], serde_json::json!(["normalize"]));
    let settings = json(&["serve", "--print-config", "--json", "--listen", "127.0.0.1:1234"]);
    assert_eq!(settings["listen"], "127.0.0.1:1234");
    let checked = json(&["workflow", "check", text(&flow), "--json"]);
    assert_eq!(checked[0]["problems"], serde_json::json!([]));
    for arguments in
        [vec!["workflow", "graph", text(&flow), "--json", "--format", "dot"], vec!["demo", "--json"]]
    {
        let refused = run(&arguments);
        assert_eq!(refused.code, Some(1), "{arguments:?}");
        assert!(refused.stderr.contains("--json") && refused.stdout.is_empty(), "{}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_says_what_it_did_not_look_at_and_can_ask_the_server() {
    let flow = guests::root().join("examples/workflows/web-form/web-form.yaml");
    let offline = ok(run(&["workflow", "check", text(&flow)]));
    assert!(
        offline.contains("not checked without a server: actions (normalize-lead@1)")
            && offline.contains("--online"),
        "{offline}"
    );
    let server = Server::dev();
    let asked = on(&server, &["workflow", "check", "--online", text(&flow)]);
    assert_eq!(asked.code, Some(1), "{}", asked.stdout);
    assert!(
        asked.stdout.contains("error[unknown_action]") && asked.stdout.contains("web-form.yaml:"),
        "{}",
        asked.stdout
    );
    assert!(!asked.stdout.contains("not checked"), "{}", asked.stdout);
    let unreachable = run(&["workflow", "check", "--online", text(&flow), "--server", "http://127.0.0.1:9"]);
    assert_eq!(unreachable.code, Some(3));
    // Another name is told beside what else is wrong.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    std::fs::write(&file, "name: yours\ntrigger: { type: manual }\nsteps: [{ id: a, type: sett }]\n")
        .unwrap();
    let named = run(&["workflow", "check", text(&file)]);
    assert!(
        named.stdout.contains("error[wrong_name]") && named.stdout.contains("error[unknown_type]"),
        "{}",
        named.stdout
    );
    let applied = on(&server, &["workflow", "apply", text(&file)]);
    assert!(applied.code == Some(1) && applied.stderr.contains("yours"), "{applied:?}");
    assert!(!ok(on(&server, &["workflow", "list"])).contains("mine"), "nothing is saved under a wrong name");
    let page = folder.path().join("README.md");
    std::fs::write(&page, "# Read me\n").unwrap();
    let applied = on(&server, &["workflow", "apply", text(&page)]);
    assert!(applied.stderr.contains("README.md is no workflow"), "{}", applied.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_is_tried_on_a_file_or_on_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data.json");
    std::fs::write(&data, r#"{ "trigger": { "body": { "email": "Ada@Example.com" } } }"#).unwrap();
    let eval = |expression: &str| run(&["eval", expression, "--data", text(&data)]);
    assert_eq!(ok(eval("trigger.body.email | lower")), "\"ada@example.com\"\n");
    let wrong = eval("trigger.body.emial | lower");
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(1), ""));
    assert!(
        wrong.stderr.contains("did you mean `email`?") && wrong.stderr.contains("| ^^^^"),
        "{}",
        wrong.stderr
    );
    assert_eq!(ok(run(&["eval", "1 + 2"])), "3\n");
    std::fs::write(&data, "[1]").unwrap();
    assert!(eval("1").stderr.contains("is not a JSON object"), "{}", eval("1").stderr);

    let server = Server::dev();
    let flow = "name: tried
trigger: { type: manual }
steps:
  - { id: a, type: set, values: { n: 2, rate: '{{ settings.rate }}' } }
  - { id: each, type: iterator, over: [5, 6], do: [{ id: b, type: create_record, object: note, record: { title: 'n{{ item }}' } }] }
";
    ok(on(&server, &["setting", "set", "rate", "3"]));
    server.activate("tried", flow).await;
    ok(on(&server, &["workflow", "run", "tried", "--input", "{\"by\": 21}"]));
    let runs: Value = serde_json::from_str(&ok(on(&server, &["run", "list", "--json"]))).unwrap();
    let id = runs["runs"][0]["id"].as_str().unwrap();
    assert_eq!(ok(on(&server, &["eval", "a.n * trigger.input.by", "--run", id])), "42\n");
    ok(on(&server, &["setting", "set", "rate", "4"]));
    assert_eq!(ok(on(&server, &["eval", "settings.rate", "--run", id])), "3\n", "as it was then");
    let twice = on(&server, &["record", "create", "note", r#"{"title": "a", "title": "b"}"#]);
    assert!(twice.stderr.contains("FIELDS: the member \"title\" is there twice"), "{}", twice.stderr);
    let alone = server.post("/api/v1/eval", &json!({ "expression": "1", "item": "each[1]" })).await;
    assert_eq!((alone.status.as_u16(), alone.code().as_str()), (400, "invalid_body"));
    let of_item = ["eval", "b.record.title ~ index ~ a.n", "--run", id, "--item", "each[1]"];
    assert_eq!(ok(on(&server, &of_item)), "\"n612\"\n");
    std::fs::write(&data, "{\"more\": 8}").unwrap();
    assert_eq!(ok(on(&server, &["eval", "a.n + more", "--run", id, "--data", text(&data)])), "10\n");
    let wrong = on(&server, &["eval", "1 +\n a.m", "--run", id]);
    assert!(wrong.stderr.contains("no `m`") && wrong.stderr.contains("|  a.m\n  |  ^"), "{}", wrong.stderr);
    let none = on(&server, &["eval", "1", "--run", id, "--item", "each[7]"]);
    assert!(none.stderr.contains("`each[7]` is no item of run"), "{}", none.stderr);
    let alone = server
        .post("/api/v1/eval", &serde_json::json!({ "expression": "x | upper", "data": { "x": "y" } }))
        .await;
    assert_eq!(alone.expect(200), serde_json::json!({ "value": "Y" }));
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
    assert!(wrong.stderr.contains("did you mean STEPWELL_LISTEN?"), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_apply_plans_and_what_it_says_to_have_done_are_one() {
    let server = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    let schema = "objects:\n  - name: campaign\n    plural: campaigns\n    fields:\n      - { name: budget, type: number }\n";
    std::fs::write(folder.path().join("schema.yaml"), schema).unwrap();
    let flow = "name: spend\ntrigger: { type: manual }\nsteps:\n  \
                - { id: a, type: create_record, object: campaign, record: { budget: 1 } }\n";
    let file = folder.path().join("spend.yaml");
    std::fs::write(&file, flow).unwrap();
    // The file alone: what it needs lies beside it, and is named.
    let alone = on(&server, &["workflow", "apply", text(&file)]);
    assert_eq!(alone.code, Some(1), "{}", alone.stdout);
    let said = format!("stepwell workflow apply {}", folder.path().display());
    assert!(alone.stderr.contains("schema.yaml") && alone.stderr.contains(&said), "{}", alone.stderr);
    ok(on(&server, &["workflow", "delete", "spend"]));
    // The schema brings its workflows along: they are saved once, and told once.
    let first = ok(on(&server, &["workflow", "apply", text(folder.path()), "--activate"]));
    assert!(
        first.starts_with("+ schema: make the object campaign") && first.contains("\n+ workflow spend\n"),
        "{first}"
    );
    assert!(
        first.contains("spend v") && first.contains(" saved\n") && !first.contains("unchanged"),
        "{first}"
    );
    let again = ok(on(&server, &["workflow", "apply", text(folder.path()), "--activate"]));
    assert!(again.starts_with("= workflow spend\n") && again.contains(" unchanged\n"), "{again}");
    assert!(!again.contains("saved"), "{again}");
    ok(on(&server, &["workflow", "deactivate", "spend"]));
    let active = ok(on(&server, &["workflow", "apply", text(folder.path()), "--activate"]));
    assert!(active.starts_with("= workflow spend (becomes active)\n"), "{active}");
}

#[test]
fn a_check_without_a_server_leaves_own_fields_alone_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.yaml");
    let flow = |field: &str| {
        format!(
            "name: own\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: a, type: create_record, object: person, record: {{ {field}: 1 }} }}\n"
        )
    };
    std::fs::write(&file, flow("behaviour")).unwrap();
    let checked = ok(run(&["workflow", "check", text(&file)]));
    assert!(checked.contains("own.yaml: no problems") && checked.contains("not checked: "), "{checked}");
    assert!(checked.contains("`behaviour`") && checked.contains("schema.yaml"), "{checked}");
    // A name that is nearly a standard one is a slip.
    std::fs::write(&file, flow("jobTitel")).unwrap();
    let checked = run(&["workflow", "check", text(&file)]);
    assert!(
        checked.code == Some(1) && checked.stdout.contains("did you mean `jobTitle`?"),
        "{}",
        checked.stdout
    );
    // With a schema beside it there is an answer.
    let schema = "objects:\n  - name: person\n    fields:\n      - { name: behaviour, type: number }\n";
    std::fs::write(folder.path().join("schema.yaml"), schema).unwrap();
    std::fs::write(&file, flow("behaviour")).unwrap();
    let checked = ok(run(&["workflow", "check", text(&file)]));
    assert!(checked.contains("own.yaml: no problems") && !checked.contains("not checked: "), "{checked}");
    std::fs::write(&file, flow("weather")).unwrap();
    let checked = run(&["workflow", "check", text(&file)]);
    assert!(checked.code == Some(1) && checked.stdout.contains("`weather`"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_can_be_listed() {
    let server = Server::dev();
    let hook = "name: hooked\ntrigger: { type: webhook, path: hooked }\nsteps:\n  - { id: a, type: set, values: { x: 1 } }\n";
    server.activate("hooked", hook).await;
    for list in [
        vec!["action", "list"],
        vec!["connection", "list"],
        vec!["key", "list"],
        vec!["mailbox", "list"],
        vec!["object", "list"],
        vec!["record", "list", "person"],
        vec!["run", "list"],
        vec!["schedule", "list"],
        vec!["secret", "list"],
        vec!["setting", "list"],
        vec!["view", "list"],
        vec!["view", "list", "person"],
        vec!["webhook", "list"],
        vec!["webhook", "deliveries", "hooked"],
        vec!["workflow", "list"],
        vec!["workflow", "state", "hooked"],
        vec!["workspace", "list"],
    ] {
        let listed = on(&server, &list);
        assert_eq!(listed.code, Some(0), "{list:?}: {}", listed.stderr);
        assert!(!listed.stdout.is_empty(), "{list:?} says nothing");
        let json = ok(on(&server, &[list.as_slice(), &["--json"]].concat()));
        let json: Value = serde_json::from_str(&json).unwrap();
        let member = json.as_object().and_then(|lists| lists.values().next());
        assert!(member.is_some_and(Value::is_array) || list[1] == "list", "{list:?}: {json}");
    }
    let objects = ok(on(&server, &["object", "list"]));
    assert!(objects.contains("person") && objects.contains("standard"), "{objects}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_written_by_hand() {
    let server = Server::dev();
    let made = ok(on(&server, &["record", "create", "company", r#"{"name": "Acme", "employees": 3}"#]));
    let id = made.trim();
    let changed = ok(on(&server, &["record", "update", "company", id, r#"{"name": "Acme Ltd"}"#]));
    let changed: Value = serde_json::from_str(&changed).unwrap();
    assert_eq!((&changed["id"], &changed["name"]), (&id.into(), &"Acme Ltd".into()));
    let listed = ok(on(&server, &["record", "list", "company"]));
    assert!(listed.contains("Acme Ltd"), "{listed}");
    let deleted = ok(on(&server, &["record", "delete", "company", id]));
    assert!(deleted.contains("stepwell record restore company"), "{deleted}");
    assert_eq!(on(&server, &["record", "get", "company", id]).code, Some(1));
    ok(on(&server, &["record", "restore", "company", id]));
    let wrong = on(&server, &["record", "create", "company", r#"{"nmae": "x"}"#]);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("did you mean `name`?"), "{}", wrong.stderr);
    let many = on(&server, &["record", "create", "company", "[{}]"]);
    assert!(many.code == Some(1) && many.stderr.contains("record import"), "{}", many.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_named_by_the_beginning_of_its_id_or_as_the_last() {
    let server = Server::dev();
    let none = on(&server, &["run", "show", "last"]);
    assert!(none.code == Some(1) && none.stderr.contains("there is no run yet"), "{}", none.stderr);
    server
        .activate(
            "a",
            "name: a\ntrigger: { type: manual }\nsteps:\n  - { id: a, type: set, values: { x: 1 } }\n",
        )
        .await;
    let start = || ok(on(&server, &["workflow", "run", "a", "--json"]));
    let id = |started: String| {
        serde_json::from_str::<Value>(&started).unwrap()["run_id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (id(start()), id(start()));
    assert!(ok(on(&server, &["run", "show", "last"])).contains(&second));
    assert!(ok(on(&server, &["run", "watch", "last"])).contains(&second));
    assert_eq!(ok(on(&server, &["eval", "a.x", "--run", "last"])), "1\n");
    // As much of each as tells it from the other.
    let same = first.chars().zip(second.chars()).take_while(|(a, b)| a == b).count();
    for whole in [&first, &second] {
        let shown = ok(on(&server, &["run", "show", &whole[..=same]]));
        assert!(shown.contains(whole.as_str()), "{shown}");
    }
    let both = on(&server, &["run", "show", &first[..same]]);
    assert!(both.code == Some(1) && both.stderr.contains("give more of it"), "{}", both.stderr);
    let nobody = on(&server, &["run", "show", "ffff"]);
    assert!(nobody.stderr.contains("begins with `ffff`"), "{}", nobody.stderr);
}

#[test]
fn an_address_without_a_scheme_is_told_with_one() {
    let told = run(&["run", "list", "--server", "localhost:7878"]);
    assert!(told.stderr.contains("write http://localhost:7878"), "{}", told.stderr);
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
