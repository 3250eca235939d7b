//! Objects, fields, views and many records at once, through API and command line.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{self, Server};

async fn apply(server: &Server, schema: &str) -> Value {
    server.post("/api/v1/schema/apply?wait=30s", &json!({ "schema": schema })).await.expect(200)
}

fn changes(plan: &Value) -> Vec<String> {
    let changes = plan["changes"].as_array().unwrap();
    changes.iter().map(|change| change["about"].as_str().unwrap().to_owned()).collect()
}

const SCHEMA: &str = "
objects:
  - name: person
    fields: [{ name: grade, type: select, options: [A, B] }, { name: score, type: number }]
  - name: enrolment
    fields: [{ name: personId, type: relation, object: person, required: true }, { name: sequence, type: text }]
    unique: [[personId, sequence]]
views:
  - { name: hot, object: person, filter: { field: grade, is: A }, sort: -score }
";
const USES: &str = "
name: uses
trigger: { type: webhook, path: uses, respond: result }
steps:
  - { id: find, type: search_records, object: person, view: hot }
  - id: each
    type: iterator
    search: { object: person, view: hot }
    do: [{ id: mark, type: update_record, object: person, record_id: '{{ item.id }}', record: { score: '{{ (item.score | default(0, true)) + 1 }}' } }]
output: { found: '{{ find.records | map(attribute=\"grade\") }}', count: '{{ each.count }}' }
";

/// One at a time as well as by a file: an active workflow keeps what it uses.
#[tokio::test]
async fn a_field_that_an_active_workflow_would_have_to_fill_is_refused() {
    let server = Server::dev();
    let text = "name: maker\ntrigger: { type: manual }\nsteps: [{ id: a, type: create_record, object: person, record: { city: x } }]\n";
    server.activate("maker", text).await;
    let must = json!({"name": "must", "type": "text", "required": true});
    let problem = server.post("/api/v1/objects/person/fields", &must).await.expect(409);
    assert_eq!(problem["code"], "schema_in_use");
    let by_plural = server.post("/api/v1/objects/people/fields", &must).await.expect(409);
    assert_eq!(by_plural["code"], "schema_in_use", "whatever the object is called");
    assert!(
        problem["errors"][0]["message"].as_str().unwrap().contains("`maker`: a new person needs `must`"),
        "{problem}"
    );
    let may = json!({"name": "may", "type": "text", "unique": true, "indexed": true});
    server.post("/api/v1/objects/person/fields", &may).await.expect(201);
    let no_more = json!({"unique": false, "indexed": false});
    let change = server.request(Method::PATCH, "/api/v1/objects/person/fields/may").json(&no_more);
    let person = server.send(change).await.expect(200);
    let gone = |list: &Value| !list.to_string().contains("\"may\"") || list.to_string().contains("clearing");
    assert!(gone(&person["unique"]) && gone(&person["indexes"]), "{person}");
    let twice = server
        .post("/api/v1/objects/person/fields", &json!({"name": "may", "type": "text"}))
        .await
        .expect(422);
    assert!(twice["detail"].as_str().unwrap().contains("may"), "{twice}");
}

#[tokio::test]
async fn a_schema_is_planned_applied_and_applied_again_without_effect() {
    let server = Server::dev();
    let plan = server.post("/api/v1/schema/plan", &json!({ "schema": SCHEMA })).await.expect(200);
    let wanted = [
        "make the object enrolment",
        "add the field person.grade (select)",
        "add the field person.score (number)",
        "add the field enrolment.personId (relation), required, indexed",
        "add the field enrolment.sequence (text)",
        "make [personId, sequence] of enrolment unique",
        "save the view `hot` of person",
    ];
    assert_eq!(changes(&plan), wanted);
    assert_eq!(server.get("/api/v1/objects/enrolment").await.status.as_u16(), 404, "a plan changes nothing");
    assert_eq!(changes(&apply(&server, SCHEMA).await), wanted);
    assert_eq!(changes(&apply(&server, SCHEMA).await), Vec::<String>::new());
    let person = json!({"grade": "A", "emails": {"primaryEmail": "a@example.com"}});
    let id = server.post("/api/v1/records/person", &person).await.expect(201)["id"].clone();
    let enrolment = json!({"personId": id, "sequence": "s"});
    server.post("/api/v1/records/enrolment", &enrolment).await.expect(201);
    assert_eq!(server.post("/api/v1/records/enrolment", &enrolment).await.code(), "unique_conflict");

    // What cannot be is told with its line, and nothing is changed.
    let wrong = "objects:\n  - name: person\n    fields:\n      - { name: score, type: text }\n      - { name: more, type: text }\n";
    let refused = server.post("/api/v1/schema/apply", &json!({ "schema": wrong })).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "invalid_schema"));
    let place = &refused.json()["errors"][0];
    assert_eq!(place["line"], 4, "{place:#}");
    assert_eq!(place["message"], "`score` of person is a number field, and cannot become a text field");
    let object = server.get("/api/v1/objects/person").await.expect(200);
    assert!(!object.to_string().contains("\"more\""), "{object:#}");
}

#[tokio::test]
async fn what_an_active_workflow_uses_is_renamed_only_together_with_it() {
    let server = Server::dev();
    apply(&server, SCHEMA).await;
    for grade in ["A", "B", "A"] {
        server.post("/api/v1/records/person", &json!({ "grade": grade })).await.expect(201);
    }
    server.activate("uses", USES).await;
    let answer = server.post("/hooks/default/uses", &Value::Null).await.expect(200);
    assert_eq!(answer, json!({"found": ["A", "A"], "count": 2}));
    // Neither the view nor the field goes from under it.
    for (method, path) in [(Method::DELETE, ""), (Method::PATCH, "")] {
        let request = server.request(method, &format!("/api/v1/views/person/hot{path}"));
        let refused = server.send(request.json(&json!({ "name": "warm" }))).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "view_in_use"));
        assert!(refused.json().to_string().contains("`uses`"));
    }
    let renamed = "
objects:
  - name: person
    fields: [{ name: points, type: number, renamed_from: score }, { name: mark, type: select, options: [A, B, C], renamed_from: grade }]
";
    let refused = server.post("/api/v1/schema/apply", &json!({ "schema": renamed })).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "schema_in_use"));
    let told = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(told.starts_with("the active workflow `uses`: "), "{told}");
    let fits = USES.replace("score", "points").replace("grade", "mark");
    // Nothing of it is there when a workflow cannot become active for what else there is.
    let other = "name: other\ntrigger: { type: webhook, path: taken }\nsteps: [{ id: s, type: set, values: { a: 1 } }]\n";
    server.activate("other", other).await;
    let taken = fits.replace("path: uses", "path: taken");
    let twice = other.replace("other", "second").replace("taken", "uses");
    for (workflows, method) in [
        (json!({ "uses": taken }), "`other` already listens on POST"),
        (json!({ "second": twice, "uses": fits }), "is also to listen on POST `uses`"),
    ] {
        let both = json!({ "schema": renamed, "workflows": workflows });
        let refused = server.post("/api/v1/schema/apply", &both).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "hook_taken"));
        assert!(refused.json().to_string().contains(method), "{:#}", refused.json());
        let fields = server.get("/api/v1/objects/person").await.expect(200)["fields"].to_string();
        assert!(fields.contains("\"score\"") && !fields.contains("\"points\""), "{fields}");
        let answer = server.post("/hooks/default/uses", &Value::Null).await.expect(200);
        assert_eq!(answer["found"], json!(["A", "A"]));
    }
    // They may change places with each other.
    let both = json!({ "workflows": { "other": other.replace("taken", "uses"), "uses": USES.replace("path: uses", "path: taken") } });
    server.post("/api/v1/schema/apply", &both).await.expect(200);
    let both = json!({ "workflows": { "other": other, "uses": USES } });
    server.post("/api/v1/schema/apply", &both).await.expect(200);
    let both = json!({ "schema": renamed, "workflows": { "uses": fits } });
    let applied = server.post("/api/v1/schema/apply", &both).await.expect(200);
    assert_eq!(applied["activated"], json!(["uses"]));
    let answer = server.post("/hooks/default/uses", &Value::Null).await.expect(200);
    assert_eq!(answer, json!({"found": ["A", "A"], "count": 2}));
    let points =
        server.records("person").await.iter().map(|p| p["points"].as_u64().unwrap_or(0)).sum::<u64>();
    assert_eq!(points, 8, "the values of before stayed, under the new name");
    let view = server.get("/api/v1/views/person/hot").await.expect(200);
    assert_eq!((&view["filter"]["field"], &view["sort"]), (&json!("mark"), &json!(["-points"])));
    // A field that nothing names goes, and comes back empty.
    server
        .send(
            server
                .request(Method::PATCH, "/api/v1/objects/person/fields/points")
                .json(&json!({"name": "score"})),
        )
        .await
        .code();
    server.post("/api/v1/workflows/uses/deactivate", &Value::Null).await.expect(200);
    let gone = server.send(server.request(Method::DELETE, "/api/v1/objects/person/fields/points")).await;
    assert_eq!(gone.code(), "invalid_schema", "the view sorts by it: {:#}", gone.json());
    server.send(server.request(Method::DELETE, "/api/v1/views/person/hot")).await.expect(200);
    server.send(server.request(Method::DELETE, "/api/v1/objects/person/fields/points")).await.expect(200);
    server
        .post("/api/v1/objects/person/fields", &json!({"name": "points", "type": "text"}))
        .await
        .expect(201);
    assert!(server.records("person").await.iter().all(|person| person["points"].is_null()));
}

#[tokio::test]
async fn records_that_contradict_a_unique_set_are_named_and_an_index_is_built_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    let records: Vec<Value> =
        (0..1000).map(|n| json!({"name": format!("c{}", n.min(998)), "employees": n})).collect();
    let written = server
        .post("/api/v1/records/company/bulk", &json!({"action": "create", "records": records}))
        .await
        .expect(200);
    assert_eq!((&written["created"], &written["failed"]), (&json!(1000), &json!(0)));
    let unique = "objects: [{ name: company, unique: [[name]] }]";
    let applied = apply(&server, unique).await;
    let refused = applied["refused"][0].as_str().unwrap();
    let (one, other) =
        (written["results"][998]["id"].as_str().unwrap(), written["results"][999]["id"].as_str().unwrap());
    assert!(refused.contains(one) && refused.contains(other), "{refused}");
    let conflict = &applied["conflicts"][0];
    assert_eq!((&conflict["object"], &conflict["fields"]), (&json!("company"), &json!(["name"])));
    assert_eq!(conflict["records"].as_array().unwrap().len(), 1, "{conflict:#}");
    let mended = format!("/api/v1/records/company/{other}");
    server.send(server.request(Method::PATCH, &mended).json(&json!({"name": "c999"}))).await.expect(200);
    // An index that a restart comes in between is there in the end, and searches go by it only then.
    let index = "objects: [{ name: company, unique: [[name]], indexes: [employees] }]";
    server.post("/api/v1/schema/apply", &json!({ "schema": index })).await.expect(200);
    server.kill();
    let server = Server::on(folder.path(), &["--dev"], &[]).unwrap();
    let applied = apply(&server, index).await;
    assert_eq!((&applied["building"], &applied["refused"]), (&json!(false), &json!([])), "{applied:#}");
    let object = server.get("/api/v1/objects/company").await.expect(200);
    assert_eq!(object["indexes"], json!([{"field": "employees", "state": "ready"}]));
    let filter = "%7B%22field%22%3A%22employees%22%2C%22greater_or_equal%22%3A990%7D";
    let found = server.get(&format!("/api/v1/records/company?filter={filter}")).await.expect(200);
    assert_eq!((&found["total"], &found["index"]), (&json!(10), &json!("employees")));
    let twin = server.post("/api/v1/records/company", &json!({"name": "c7"})).await;
    assert_eq!(twin.code(), "unique_conflict");
}

const HEARS: &str = "
name: hears
trigger: { type: record_event, object: company, on: [created, updated] }
steps:
  - { id: s, type: set, values: { name: '{{ trigger.after.name }}' } }
";

#[tokio::test]
async fn many_records_are_written_at_once_and_each_says_what_came_of_it() {
    let server = Server::dev();
    server.activate("hears", HEARS).await;
    let post = async |body: Value| server.post("/api/v1/records/company/bulk", &body).await;
    let domain = |n: usize| json!({"name": format!("c{n}"), "domainName": {"primaryLinkUrl": format!("c{n}.example")}});
    let rows = json!([domain(1), domain(2), domain(1), {"employees": "many"}, 7]);
    let done = post(json!({"action": "create", "records": rows, "events": "none"})).await.expect(200);
    let outcomes: Vec<_> =
        done["results"].as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["created", "created", "failed", "failed", "failed"]);
    let codes: Vec<_> = done["results"].as_array().unwrap()[2..]
        .iter()
        .map(|row| row["error"]["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["unique_conflict", "invalid_record", "invalid_record"]);
    let rows =
        json!([{"name": "new name", "domainName": {"primaryLinkUrl": "c1.example"}}, domain(2), domain(3)]);
    let upsert = json!({"action": "upsert", "match": ["domainName.primaryLinkUrl"], "records": rows});
    let done = post(upsert).await.expect(200);
    assert_eq!((&done["created"], &done["updated"], &done["unchanged"]), (&json!(1), &json!(1), &json!(1)));
    // All or none.
    let rows = json!([domain(4), domain(3)]);
    let refused = post(json!({"action": "create", "records": rows, "atomic": true})).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "bulk_refused"));
    assert_eq!(refused.json()["errors"][0]["path"], "records[1]");
    assert_eq!(server.records("company").await.len(), 3);
    let many: Vec<Value> = (10..700).map(domain).collect();
    let refused = post(json!({"action": "create", "records": many, "atomic": true})).await;
    assert_eq!(refused.code(), "too_large", "{:#}", refused.json());
    let done = post(json!({"action": "create", "records": many})).await.expect(200);
    assert_eq!(done["created"], 690);
    let ids: Vec<Value> =
        done["results"].as_array().unwrap().iter().map(|row| json!({"id": row["id"]})).collect();
    let done = post(json!({"action": "delete", "records": ids, "events": "none"})).await.expect(200);
    assert_eq!(done["deleted"], 690);
    let done = post(json!({"action": "restore", "records": ids[..2], "events": "none"})).await.expect(200);
    assert_eq!(done["restored"], 2);
    // Those of the upsert that changed something, and those created with events.
    for _ in 0..500 {
        if server.metric("stepwell_event_runs_total").await == 692 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not 692 runs of events");
}

#[tokio::test]
async fn the_command_line_applies_a_folder_and_imports_files() {
    let server = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    file("schema.yaml", SCHEMA);
    file("uses.yaml", USES);
    let dir = folder.path().to_str().unwrap();
    let cli = |arguments: &[&str]| {
        let output =
            support::stepwell().args(arguments).env("STEPWELL_SERVER", &server.base).output().unwrap();
        support::Finished::from(output)
    };
    let checked = cli(&["workflow", "check", dir]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let applied = cli(&["workflow", "apply", dir, "--activate"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(applied.stdout.contains("+ schema: add the field person.score (number)\n"), "{applied:?}");
    assert!(applied.stdout.contains("uses is active"), "{applied:?}");
    let again = cli(&["workflow", "apply", dir, "--activate", "--plan"]);
    assert_eq!(again.stdout.trim(), "= workflow uses");
    let planned = cli(&["schema", "plan", dir]);
    assert_eq!(planned.stdout.trim(), "the schema is as wanted");
    let shown = cli(&["object", "get", "enrolment"]);
    assert!(shown.stdout.contains("unique: personId, sequence"), "{shown:?}");

    let csv = file(
        "people.csv",
        "emails.primaryEmail,name.firstName,score,grade\nann@example.com,Ann,1.5,A\nbob@example.com,Bob,x,B\n",
    );
    let import = |file: &str| {
        cli(&["record", "import", "person", file, "--action", "upsert", "--match", "emails.primaryEmail"])
    };
    let imported = import(&csv);
    assert_eq!(imported.code, Some(1), "{imported:?}");
    assert!(imported.stdout.contains("1 created, 1 failed"), "{imported:?}");
    assert!(imported.stderr.contains("line 3:"), "{imported:?}");
    let lines = file(
        "people.jsonl",
        "{\"emails\": {\"primaryEmail\": \"ANN@example.com\"}, \"score\": 2}\n\n{\"emails\": {\"primaryEmail\": \"bob@example.com\"}}\n",
    );
    let imported = import(&lines);
    assert_eq!((imported.code, imported.stdout.trim()), (Some(0), "1 created, 1 updated"));
    // One that cannot be read keeps none back, and what stops it is told with how far it came.
    let cut = file(
        "cut.jsonl",
        "{\"emails\": {\"primaryEmail\": \"cid@example.com\"}}\n{\"emails\":\n{\"city\": \"Rome\", \"emails\": {\"primaryEmail\": \"dan@example.com\"}}\n",
    );
    let imported = import(&cut);
    assert_eq!((imported.code, imported.stdout.trim()), (Some(1), "2 created, 1 failed"));
    assert!(imported.stderr.contains("line 2: it is not JSON"), "{imported:?}");
    let refused = cli(&["record", "import", "nothing", &cut]);
    assert!(refused.code != Some(0) && refused.stdout.contains("1 failed"), "{refused:?}");
    assert!(refused.stderr.contains("nothing was written"), "{refused:?}");
    assert!(!refused.stderr.contains("is not known"), "{refused:?}");
    let viewed = cli(&["view", "list"]);
    assert!(viewed.stdout.contains("hot"), "{viewed:?}");
    assert_eq!(cli(&["view", "save", "person", "all"]).code, Some(0));
    assert_eq!(cli(&["view", "rename", "person", "all", "everybody"]).code, Some(0));
    assert_eq!(cli(&["view", "delete", "person", "everybody"]).code, Some(0));
    let refused = cli(&["view", "delete", "person", "hot"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("the active workflow `uses` uses it"), "{refused:?}");
}

/// The documented way to set up a workspace, where everything needs everything else.
#[tokio::test]
async fn a_folder_with_all_that_its_workflows_need_is_applied_at_once() {
    let server = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    file(
        "schema.yaml",
        "objects: [{ name: company, fields: [{ name: grade, type: text }], unique: [[name]] }]\n",
    );
    file("connections/crm.yaml", "base_url: https://crm.example.com/\n");
    file(
        "asks.yaml",
        "name: asks\ntrigger: { type: manual }\nsteps:\n  - { id: note, type: create_record, object: company, record: { name: x, grade: A } }\n  - { id: tell, type: run_workflow, workflow: tells }\n",
    );
    file(
        "tells.yaml",
        "name: tells\ntrigger: { type: manual }\nsteps:\n  - { id: tell, type: http_request, connection: crm, url: /x }\n  - { id: again, type: run_workflow, workflow: asks, wait: false, if: '{{ false }}' }\n",
    );
    let cli = |arguments: &[&str]| {
        let mut command = support::stepwell();
        command.args(arguments).env("STEPWELL_SERVER", &server.base).current_dir(folder.path());
        support::Finished::from(command.output().unwrap())
    };
    // Records that stand in the way of a unique set keep no workflow back.
    for _ in 0..2 {
        server.post("/api/v1/records/company", &json!({ "name": "twin" })).await.expect(201);
    }
    let applied = cli(&["workflow", "apply", ".", "--activate"]);
    assert!(applied.code != Some(0) && applied.stderr.contains("of company is not unique"), "{applied:?}");
    let listed = server.get("/api/v1/workflows").await.expect(200);
    assert!(
        listed["workflows"].as_array().unwrap().iter().all(|one| one["active_version"] == 1),
        "{listed:#}"
    );
    file(
        "schema.yaml",
        "objects: [{ name: company, fields: [{ name: grade, type: text }], remove: { unique: [[name]] } }]\n",
    );
    let applied = cli(&["workflow", "apply", ".", "--activate"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
}

#[tokio::test]
async fn a_field_that_records_do_not_let_be_unique_is_refused_with_the_records() {
    let server = Server::dev();
    for title in ["same", "other", "same"] {
        server.post("/api/v1/records/task", &json!({ "title": title })).await.expect(201);
    }
    let change = async |field: &str, body: Value| {
        let path = format!("/api/v1/objects/task/fields/{field}?wait=30s");
        server.send(server.request(Method::PATCH, &path).json(&body)).await
    };
    let refused = change("title", json!({ "unique": true })).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "unique_conflict"));
    let told = refused.json();
    let ids: Vec<String> = server
        .records("task")
        .await
        .iter()
        .filter(|task| task["title"] == "same")
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told["errors"].as_array().unwrap().len(), 1, "{told:#}");
    for id in &ids {
        assert!(told["errors"][0]["message"].as_str().unwrap().contains(id.as_str()), "{told:#}");
    }
    let task = server.get("/api/v1/objects/task").await.expect(200);
    let mut pair: Vec<String> = serde_json::from_value(task["unique"][0]["conflicts"][0].clone()).unwrap();
    pair.sort_unstable();
    let mut both = ids.clone();
    both.sort_unstable();
    assert_eq!(pair, both, "{task:#}");
    // What was given up before is no matter of another change.
    server.post("/api/v1/objects/task/fields", &json!({ "name": "extra", "type": "text" })).await.expect(201);
    assert_eq!(change("extra", json!({ "label": "Extra" })).await.status.as_u16(), 200);
    // Mended, it is unique when the call returns.
    server
        .send(server.request(Method::DELETE, &format!("/api/v1/records/task/{}", ids[0])))
        .await
        .expect(200);
    let changed = change("title", json!({ "unique": true })).await.expect(200);
    assert_eq!(changed["unique"], json!([{ "fields": ["title"], "state": "ready" }]), "{changed:#}");
}

#[tokio::test]
async fn a_schema_given_as_json_is_read_like_a_file_and_does_not_contradict_itself() {
    let server = Server::dev();
    let plan = async |schema: Value| server.post("/api/v1/schema/plan", &json!({ "schema": schema })).await;
    let described = json!({ "description": "what it is for", "objects": [{ "name": "parcel" }] });
    assert_eq!(plan(described).await.expect(200)["changes"][0]["change"], "create_object");
    for (wrong, path) in [
        (json!(5), None),
        (json!(null), None),
        (json!([[{ "name": "tuple" }]]), None),
        (json!({ "objects": [{}, { "nam": "x" }] }), Some("objects[0]")),
        (json!({ "objects": [{ "name": "task" }, { "name": "task" }] }), Some("objects[1].name")),
        (
            json!({ "objects": [{ "name": "parcel" }], "remove_objects": ["parcel"] }),
            Some("remove_objects[0]"),
        ),
        (
            json!({ "views": [{ "name": "v", "object": "task" }, { "name": "v", "object": "task" }] }),
            Some("views[1].name"),
        ),
        (
            json!({ "objects": [{
                "name": "task", "fields": [{ "name": "c", "type": "text", "renamed_from": "a" }],
                "remove": { "fields": ["c"] },
            }] }),
            Some("objects[0].remove.fields[0]"),
        ),
    ] {
        let refused = plan(wrong.clone()).await;
        assert_eq!(refused.status.as_u16(), 422, "{wrong}: {}", refused.text());
        assert_eq!(refused.code(), "invalid_schema", "{wrong}");
        let told = refused.json();
        assert!(!told.to_string().contains("struct"), "{told:#}");
        let paths: Vec<&str> =
            told["errors"].as_array().unwrap().iter().filter_map(|error| error["path"].as_str()).collect();
        assert!(path.is_none_or(|path| paths.contains(&path)), "{wrong}: {paths:?}");
        assert!(told["errors"].as_array().unwrap().iter().all(|error| error["line"].is_null()), "{told:#}");
    }
}
