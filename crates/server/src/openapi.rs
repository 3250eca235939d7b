//! `GET /api/openapi.json`: the API as an OpenAPI 3.1 document, made once from the table below and `schemas.json`.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

const SCHEMAS: &str = include_str!("schemas.json");

/// One call: method, path, id, summary, query parameters, request body, success, further failures.
struct Call {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// Name, kind (see [`parameter_schema`]), what it is for. All may be left out.
    query: &'static [(&'static str, &'static str, &'static str)],
    body: Option<Body>,
    answers: &'static [(u16, &'static str, Option<&'static str>)],
}

#[derive(Clone, Copy)]
enum Body {
    /// A named schema.
    Schema(&'static str),
    /// Any JSON.
    Json,
    Wasm,
    /// A workflow's text.
    Workflow,
    /// Whatever the trigger takes.
    Any,
}

const PAGE: &[(&str, &str, &str)] = &[
    ("limit", "integer 1..500", "How many at most: 1 to 500; 50 when left out"),
    ("cursor", "string", "`next_cursor` of the page before"),
];
const VERSION: &[(&str, &str, &str)] =
    &[("version", "string", "`1.2.0`, or `1` for the newest of 1.x; the latest when left out")];
const NUMBERED: &[(&str, &str, &str)] =
    &[("version", "integer 1..", "A version's number; the draft, or else the active version, when left out")];
const WAIT: &[(&str, &str, &str)] = &[(
    "wait",
    "string",
    "How long to wait for the run's end, or until it goes on only once a person resumes it or gives it an input: `10s`, `500ms`, `2m`; 5m at most",
)];
const IF_VERSION: &[(&str, &str, &str)] =
    &[("if_version", "integer 1..", "Refused as `stale` unless the record has this version")];

#[rustfmt::skip] // a table
const CALLS: &[Call] = &[
    Call { method: "post", path: "/hooks/{workspace}/{path}", id: "hook", summary: "Starts a run of the workflow that listens on the path; the trigger says which methods it takes. Answers when the run is on disk.", query: &[], body: Some(Body::Any), answers: &[(202, "Accepted: the run goes on by itself", Some("RunAccepted")), (200, "The run's result, where the trigger says `respond: result`", None)] },
    Call { method: "get", path: "/api/v1/actions", id: "listActions", summary: "The latest version of each action", query: PAGE, body: None, answers: &[(200, "A page", Some("ActionList"))] },
    Call { method: "put", path: "/api/v1/actions/{name}", id: "putAction", summary: "Uploads a module as a new version: scanned, compiled, stored", query: &[("dev", "boolean", "Replace the version if other bytes are there")], body: Some(Body::Wasm), answers: &[(201, "A new version", Some("Action")), (200, "The same bytes were there", Some("Action"))] },
    Call { method: "get", path: "/api/v1/actions/{name}", id: "getAction", summary: "One version of an action, and which others there are", query: VERSION, body: None, answers: &[(200, "The action", Some("Action"))] },
    Call { method: "delete", path: "/api/v1/actions/{name}", id: "deleteAction", summary: "Takes a version away from new runs; runs that began with it go on. Refused while an active workflow would be left without", query: &[("version", "string", "The version, whole, such as `1.2.0`; it must be given")], body: None, answers: &[(200, "The version as it was", Some("Action"))] },
    Call { method: "get", path: "/api/v1/actions/{name}/module", id: "downloadAction", summary: "The module's bytes, as uploaded", query: VERSION, body: None, answers: &[(200, "The module", None)] },
    Call { method: "post", path: "/api/v1/actions/{name}/test", id: "testAction", summary: "Runs an action once on the body as its input; stores nothing", query: &[("version", "string", "The version to run"), ("fuel", "integer 1..", "A lower fuel limit"), ("memory_bytes", "integer 1..", "A lower memory limit"), ("wall_ms", "integer 1..", "A lower time limit")], body: Some(Body::Json), answers: &[(200, "What came of it, an error included", Some("ActionTest"))] },
    Call { method: "get", path: "/api/v1/workflows", id: "listWorkflows", summary: "All workflows", query: PAGE, body: None, answers: &[(200, "A page", Some("WorkflowList"))] },
    Call { method: "put", path: "/api/v1/workflows/{name}", id: "putWorkflow", summary: "Saves a draft and reports every problem at once", query: &[], body: Some(Body::Workflow), answers: &[(201, "Saved", Some("Draft")), (200, "The text is what was stored", Some("Draft"))] },
    Call { method: "get", path: "/api/v1/workflows/{name}", id: "getWorkflow", summary: "A workflow's text, state and problems", query: NUMBERED, body: None, answers: &[(200, "The workflow", Some("Workflow"))] },
    Call { method: "delete", path: "/api/v1/workflows/{name}", id: "deleteWorkflow", summary: "Takes a workflow away that is not active; its runs stay, and those under way go on", query: &[], body: None, answers: &[(200, "The workflow as it was", Some("Workflow"))] },
    Call { method: "post", path: "/api/v1/workflows/{name}/check", id: "checkWorkflow", summary: "What saving the body would report, without saving", query: &[], body: Some(Body::Workflow), answers: &[(200, "The problems", Some("Problems"))] },
    Call { method: "post", path: "/api/v1/workflows/{name}/activate", id: "activateWorkflow", summary: "Lets the trigger of the draft, or else of what was active last, start runs; refused while the check has errors", query: NUMBERED, body: None, answers: &[(200, "Active", Some("Workflow"))] },
    Call { method: "post", path: "/api/v1/workflows/{name}/deactivate", id: "deactivateWorkflow", summary: "Stops the trigger; runs under way go on", query: &[], body: None, answers: &[(200, "Not active", Some("Workflow"))] },
    Call { method: "post", path: "/api/v1/workflows/{name}/run", id: "runWorkflow", summary: "Starts a run by hand with the body as its input; where the trigger is about records, the body is `{record_id | record_ids | filter, input}`", query: WAIT, body: Some(Body::Json), answers: &[(200, "With `wait`: the run has ended by then, well or not, and `output` or `error` says how", Some("RunStarted")), (202, "The run is on disk. Without `wait` always, however fast it is; with `wait` when it goes on", Some("RunStarted"))] },
    Call { method: "post", path: "/api/v1/workflows/{name}/test", id: "testWorkflow", summary: "Runs a workflow once; nothing is stored and nothing leaves the process", query: &[], body: Some(Body::Schema("WorkflowTestRequest")), answers: &[(200, "What came of it", Some("WorkflowTest"))] },
    Call { method: "get", path: "/api/v1/workflows/{name}/graph", id: "graphWorkflow", summary: "The compiled graph, for drawing", query: NUMBERED, body: None, answers: &[(200, "The graph", None)] },
    Call { method: "post", path: "/api/v1/eval", id: "evalExpression", summary: "An expression as a workflow would see it, over what a run knew at its end, or over values that come with it; a wrong one is 422 with its place", query: &[], body: Some(Body::Schema("EvalRequest")), answers: &[(200, "Its value", Some("Evaluated"))] },
    Call { method: "get", path: "/api/v1/runs", id: "listRuns", summary: "Runs, newest first", query: &[("workflow", "string", "Only this workflow's"), ("status", "string queued|running|waiting|paused|completed|failed|cancelled", "Only those that are"), PAGE[0], PAGE[1]], body: None, answers: &[(200, "A page", Some("RunList"))] },
    Call { method: "get", path: "/api/v1/runs/{id}", id: "getRun", summary: "A run with every step's input, output, error, logs, usage and times", query: WAIT, body: None, answers: &[(200, "The run", Some("Run"))] },
    Call { method: "get", path: "/api/v1/runs/{id}/items", id: "listRunItems", summary: "The items of a run's iterators that are over, in the order in which they ended, with their steps", query: &[("step", "string", "Only this iterator's, by its path: `rows`, or `rows[3].users`"), ("index", "integer", "Only the item of this number, from 0"), ("status", "string completed|failed|skipped|cancelled", "Only those that are"), PAGE[0], PAGE[1]], body: None, answers: &[(200, "A page", Some("ItemList"))] },
    Call { method: "post", path: "/api/v1/runs/{id}/cancel", id: "cancelRun", summary: "Stops a run", query: &[], body: None, answers: &[(200, "The cancel is on disk", Some("RunSummary"))] },
    Call { method: "post", path: "/api/v1/runs/{id}/retry", id: "retryRun", summary: "Lets a failed run go on from the step that failed", query: &[], body: Some(Body::Schema("RetryRequest")), answers: &[(200, "It goes on", Some("RunSummary"))] },
    Call { method: "post", path: "/api/v1/runs/{id}/resume", id: "resumeRun", summary: "Says how a step goes on that failed and waits for a person (`on_error: pause`); without a body it is tried again", query: &[], body: Some(Body::Schema("ResumeRequest")), answers: &[(200, "It is on disk, and the run goes on", Some("RunSummary"))] },
    Call { method: "get", path: "/api/v1/records/{object}", id: "listRecords", summary: "Records that fit a filter", query: &[("filter", "string", "A filter as JSON"), ("sort", "string", "Fields with commas between; `-` in front turns one round"), PAGE[0], PAGE[1]], body: None, answers: &[(200, "A page", Some("RecordList"))] },
    Call { method: "post", path: "/api/v1/records/{object}", id: "createRecord", summary: "Creates a record", query: &[], body: Some(Body::Schema("Fields")), answers: &[(201, "The record", Some("Record"))] },
    Call { method: "post", path: "/api/v1/records/{object}/upsert", id: "upsertRecord", summary: "Creates or updates by a unique set of fields", query: &[], body: Some(Body::Schema("UpsertRequest")), answers: &[(201, "Created", Some("Written")), (200, "Updated or unchanged", Some("Written"))] },
    Call { method: "post", path: "/api/v1/records/{object}/bulk", id: "bulkRecords", summary: "Creates, updates, upserts, deletes or restores up to 1,000 records, and says what came of each; in commits of as many as fit, or with `atomic` in one", query: &[], body: Some(Body::Schema("BulkRequest")), answers: &[(200, "What came of each", Some("BulkResult"))] },
    Call { method: "get", path: "/api/v1/records/{object}/{id}", id: "getRecord", summary: "One record", query: &[], body: None, answers: &[(200, "The record", Some("Record"))] },
    Call { method: "patch", path: "/api/v1/records/{object}/{id}", id: "updateRecord", summary: "Changes the fields given; null clears one", query: IF_VERSION, body: Some(Body::Schema("Fields")), answers: &[(200, "The record", Some("Record"))] },
    Call { method: "delete", path: "/api/v1/records/{object}/{id}", id: "deleteRecord", summary: "Deletes a record (it can be restored)", query: IF_VERSION, body: None, answers: &[(200, "The record as it was", Some("Record"))] },
    Call { method: "post", path: "/api/v1/records/{object}/{id}/restore", id: "restoreRecord", summary: "Brings a deleted record back", query: IF_VERSION, body: None, answers: &[(200, "The record", Some("Record"))] },
    Call { method: "get", path: "/api/v1/objects", id: "listObjects", summary: "The kinds of records and their fields", query: &[], body: None, answers: &[(200, "All of them", Some("ObjectList"))] },
    Call { method: "post", path: "/api/v1/objects", id: "createObject", summary: "Makes an object of one's own", query: &[], body: Some(Body::Schema("Object")), answers: &[(201, "The object", Some("Object"))] },
    Call { method: "get", path: "/api/v1/objects/{name}", id: "getObject", summary: "One object", query: &[], body: None, answers: &[(200, "The object", Some("Object"))] },
    Call { method: "delete", path: "/api/v1/objects/{name}", id: "deleteObject", summary: "Takes an object of one's own away that has no records; refused while an active workflow uses it", query: &[], body: None, answers: &[(200, "The object as it was", Some("Object"))] },
    Call { method: "patch", path: "/api/v1/objects/{name}/fields/{field}", id: "changeField", summary: "Renames a field or changes its label, default or options, or makes it unique or indexed; never its type. Refused while an active workflow uses what would no longer be there; with `wait` also when records do not let it be unique (409 `unique_conflict`, with the records)", query: &[("wait", "string", "How long to wait for what is built: `10s`, `2m`; 5m at most")], body: Some(Body::Json), answers: &[(200, "The object", Some("Object"))] },
    Call { method: "delete", path: "/api/v1/objects/{name}/fields/{field}", id: "deleteField", summary: "Takes a field away, with what is in it; refused while an active workflow, a view, a set or an index uses it", query: &[], body: None, answers: &[(200, "The object", Some("Object"))] },
    Call { method: "post", path: "/api/v1/schema/plan", id: "planSchema", summary: "What bringing the workspace to a schema would change; nothing is changed", query: &[], body: Some(Body::Schema("SchemaRequest")), answers: &[(200, "The changes", Some("SchemaPlan"))] },
    Call { method: "post", path: "/api/v1/schema/apply", id: "applySchema", summary: "Brings the workspace to a schema, together with the workflows given: what is not named stays. Unique sets and indexes over records are built in the background", query: &[("wait", "string", "How long to wait for what is built: `10s`, `2m`; 5m at most")], body: Some(Body::Schema("SchemaRequest")), answers: &[(200, "What was changed", Some("SchemaApplied"))] },
    Call { method: "post", path: "/api/v1/objects/{name}/fields", id: "addField", summary: "Adds a field to an object", query: &[], body: Some(Body::Schema("Field")), answers: &[(201, "The object", Some("Object"))] },
    Call { method: "get", path: "/api/v1/views", id: "listViews", summary: "Saved filters and orders, by object and name", query: &[("object", "string", "Only those of this object"), PAGE[0], PAGE[1]], body: None, answers: &[(200, "A page", Some("ViewList"))] },
    Call { method: "get", path: "/api/v1/views/{object}/{name}", id: "getView", summary: "One view", query: &[], body: None, answers: &[(200, "The view", Some("View"))] },
    Call { method: "put", path: "/api/v1/views/{object}/{name}", id: "putView", summary: "Saves a filter and an order under a name, for searches to use", query: &[], body: Some(Body::Schema("ViewRequest")), answers: &[(201, "It is new", Some("View")), (200, "It was there", Some("View"))] },
    Call { method: "patch", path: "/api/v1/views/{object}/{name}", id: "renameView", summary: "Gives a view another name; refused while an active workflow uses it", query: &[], body: Some(Body::Schema("NameRequest")), answers: &[(200, "The view", Some("View"))] },
    Call { method: "delete", path: "/api/v1/views/{object}/{name}", id: "deleteView", summary: "Takes a view away; refused while an active workflow uses it", query: &[], body: None, answers: &[(200, "The view as it was", Some("View"))] },
    Call { method: "get", path: "/api/v1/schedules", id: "listSchedules", summary: "The schedules of active workflows with their next times, by workflow", query: PAGE, body: None, answers: &[(200, "A page", Some("ScheduleList"))] },
    Call { method: "get", path: "/api/v1/workflows/{name}/state", id: "listState", summary: "What a workflow keeps between its runs, by name: its runs read it as `state.NAME`, `set_state` steps write it", query: PAGE, body: None, answers: &[(200, "A page", Some("StateList"))] },
    Call { method: "get", path: "/api/v1/workflows/{name}/state/{key}", id: "getState", summary: "One value that a workflow keeps", query: &[], body: None, answers: &[(200, "The value", Some("State"))] },
    Call { method: "put", path: "/api/v1/workflows/{name}/state/{key}", id: "putState", summary: "Gives a kept value by hand; runs read it from their next commit on. Lower case letters, digits and `_`; at most 64 KiB of JSON", query: &[], body: Some(Body::Schema("SettingRequest")), answers: &[(201, "It is new", Some("State")), (200, "It was there", Some("State"))] },
    Call { method: "delete", path: "/api/v1/workflows/{name}/state/{key}", id: "deleteState", summary: "Takes a kept value away", query: &[], body: None, answers: &[(200, "The value as it was", Some("State"))] },
    Call { method: "get", path: "/api/v1/webhooks", id: "listWebhooks", summary: "The webhooks that active workflows listen on, by path", query: &[], body: None, answers: &[(200, "All of them", Some("WebhookList"))] },
    Call { method: "get", path: "/api/v1/webhooks/{path}/deliveries", id: "listDeliveries", summary: "What came in at a webhook, newest first, the refused ones with the reason; a path's `/` is written `%2F`. A page may be shorter than asked for, as long as it has a cursor", query: PAGE, body: None, answers: &[(200, "A page", Some("DeliveryList"))] },
    Call { method: "get", path: "/api/v1/webhooks/{path}/deliveries/{id}", id: "getDelivery", summary: "One delivery with its headers, query and body, as far as they are kept", query: &[], body: None, answers: &[(200, "The delivery", Some("Delivery"))] },
    Call { method: "post", path: "/api/v1/webhooks/{path}/deliveries/{id}/replay", id: "replayDelivery", summary: "Starts a run of the workflow that listens now with what was delivered; a signature is checked as of the time when it came", query: &[], body: None, answers: &[(202, "A run was started", Some("Replayed")), (200, "Its idempotency key had started one already", Some("Replayed"))] },
    Call { method: "post", path: "/api/v1/runs/{id}/input", id: "giveInput", summary: "Gives a step what it waits for (`wait_for_input`), checked by its schema; once", query: &[], body: Some(Body::Schema("InputRequest")), answers: &[(200, "The run, which goes on", Some("RunSummary"))] },
    Call { method: "get", path: "/inputs/{workspace}/{token}", id: "showInput", summary: "A page with a form for what a step waits for; the link is made by `run.input_links`. Asks for no key", query: &[], body: None, answers: &[(200, "The page", None)] },
    Call { method: "post", path: "/inputs/{workspace}/{token}", id: "giveInputByLink", summary: "Gives a step what it waits for: JSON, or the form of the page. Asks for no key; once", query: &[], body: Some(Body::Any), answers: &[(200, "It was taken: JSON for JSON, a page for a form", Some("InputTaken"))] },
    Call { method: "get", path: "/api/v1/settings", id: "listSettings", summary: "Values that workflows read as `settings.NAME`, by name", query: PAGE, body: None, answers: &[(200, "A page", Some("SettingList"))] },
    Call { method: "get", path: "/api/v1/settings/{name}", id: "getSetting", summary: "One setting", query: &[], body: None, answers: &[(200, "The setting", Some("Setting"))] },
    Call { method: "put", path: "/api/v1/settings/{name}", id: "putSetting", summary: "Sets a value, for runs that start from now on. Lower case letters, digits and `_`; at most 64 KiB of JSON", query: &[], body: Some(Body::Schema("SettingRequest")), answers: &[(201, "It is new", Some("Setting")), (200, "It was there", Some("Setting"))] },
    Call { method: "delete", path: "/api/v1/settings/{name}", id: "deleteSetting", summary: "Takes a setting away; refused while an active workflow reads it", query: &[], body: None, answers: &[(200, "The setting as it was", Some("Setting"))] },
    Call { method: "get", path: "/api/v1/secrets", id: "listSecrets", summary: "The names of the secrets; no call gives a value", query: PAGE, body: None, answers: &[(200, "A page", Some("SecretList"))] },
    Call { method: "get", path: "/api/v1/secrets/{name}", id: "getSecret", summary: "Whether there is such a secret, and since when", query: &[], body: None, answers: &[(200, "The secret, without its value", Some("Secret"))] },
    Call { method: "put", path: "/api/v1/secrets/{name}", id: "putSecret", summary: "Gives a secret a value, for whatever is sent from now on; it is stored encrypted. Letters, digits and `_`; at most 64 KiB", query: &[], body: Some(Body::Schema("SecretRequest")), answers: &[(201, "It is new", Some("Secret")), (200, "It was there", Some("Secret"))] },
    Call { method: "delete", path: "/api/v1/secrets/{name}", id: "deleteSecret", summary: "Takes a secret away; refused while an active workflow uses it", query: &[], body: None, answers: &[(200, "The secret as it was, without its value", Some("Secret"))] },
    Call { method: "get", path: "/api/v1/connections", id: "listConnections", summary: "How requests of workflows reach other systems, by name; secrets are in them by name alone", query: PAGE, body: None, answers: &[(200, "A page", Some("ConnectionList"))] },
    Call { method: "get", path: "/api/v1/connections/{name}", id: "getConnection", summary: "One connection, and how many requests wait at it", query: &[], body: None, answers: &[(200, "The connection", Some("Connection"))] },
    Call { method: "put", path: "/api/v1/connections/{name}", id: "putConnection", summary: "Saves a connection, for whatever is sent from now on; one with problems is refused", query: &[], body: Some(Body::Workflow), answers: &[(201, "It is new", Some("Connection")), (200, "It was there", Some("Connection"))] },
    Call { method: "delete", path: "/api/v1/connections/{name}", id: "deleteConnection", summary: "Takes a connection away; refused while an active workflow uses it", query: &[], body: None, answers: &[(200, "The connection as it was", Some("Connection"))] },
    Call { method: "get", path: "/api/v1/mailbox", id: "listMailbox", summary: "Caught e-mail, newest first", query: PAGE, body: None, answers: &[(200, "A page", Some("MailboxList"))] },
    Call { method: "get", path: "/api/v1/events", id: "streamEvents", summary: "What happens in the workspace as Server-Sent Events; `Last-Event-ID` resumes without loss", query: &[("after", "string", "Like `Last-Event-ID`; `now` for only what comes from now on; without either everything that is kept")], body: None, answers: &[(200, "A stream of `run` and `record` events", None)] },
    Call { method: "get", path: "/api/v1/api-keys", id: "listKeys", summary: "Keys, without their secrets", query: &[], body: None, answers: &[(200, "All of them", Some("KeyList"))] },
    Call { method: "post", path: "/api/v1/api-keys", id: "createKey", summary: "Makes a key; the answer is the only one with its secret", query: &[], body: Some(Body::Schema("KeyRequest")), answers: &[(201, "The key", Some("NewKey"))] },
    Call { method: "delete", path: "/api/v1/api-keys/{id}", id: "revokeKey", summary: "Makes a key useless at once", query: &[], body: None, answers: &[(200, "Revoked", Some("Key"))] },
    Call { method: "get", path: "/api/v1/workspaces", id: "listWorkspaces", summary: "The workspaces of this server, for admins", query: &[], body: None, answers: &[(200, "All of them", Some("WorkspaceList"))] },
    Call { method: "post", path: "/api/v1/workspaces", id: "createWorkspace", summary: "Makes a workspace, for admins", query: &[], body: Some(Body::Schema("Workspace")), answers: &[(201, "Made", Some("Workspace")), (200, "It was there", Some("Workspace"))] },
    Call { method: "get", path: "/api/openapi.json", id: "openapi", summary: "This document", query: &[], body: None, answers: &[(200, "The document", None)] },
    Call { method: "get", path: "/metrics", id: "metrics", summary: "Metrics in the OpenMetrics text format", query: &[], body: None, answers: &[(200, "The metrics", None)] },
    Call { method: "get", path: "/healthz", id: "healthz", summary: "Whether the process is alive and its store can be read", query: &[], body: None, answers: &[(200, "It is", Some("Health"))] },
    Call { method: "get", path: "/readyz", id: "readyz", summary: "Whether requests are taken: the store can be written, and the server is not stopping; otherwise 503 with the reason", query: &[], body: None, answers: &[(200, "They are", Some("Health"))] },
];

static DOCUMENT: LazyLock<String> = LazyLock::new(|| value().to_string());

pub async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The document.
pub fn value() -> Value {
    let mut paths = Map::new();
    for call in CALLS {
        let path = paths.entry(call.path).or_insert_with(|| json!({}));
        path[call.method] = operation(call);
    }
    // The file is part of the program, and a test reads it.
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stepwell",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Workflows whose code steps are sandboxed WebAssembly modules. Errors are RFC 9457 problem documents.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "security": [{ "key": [] }, {}],
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas
        }
    })
}

fn operation(call: &Call) -> Value {
    let in_path =
        call.path.split('/').filter_map(|part| part.strip_prefix('{').and_then(|p| p.strip_suffix('}')));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(call.query.iter().map(|(name, kind, what)| {
        json!({ "name": name, "in": "query", "required": false, "description": what, "schema": parameter_schema(kind) })
    }));
    if call.path.starts_with("/api/v1") {
        parameters.push(json!({
            "name": "Stepwell-Workspace", "in": "header", "required": false,
            "description": "The workspace, for admin keys and --dev", "schema": { "type": "string" }
        }));
    }
    if call.id == "streamEvents" {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The last event that was seen: what came after it follows", "schema": { "type": "string" }
        }));
    }
    let mut responses = Map::new();
    for (status, what, schema) in call.answers {
        let mut answer = json!({ "description": what });
        if let Some(schema) = schema {
            answer["content"] = json!({ "application/json": { "schema": reference(schema) } });
        }
        responses.insert(status.to_string(), answer);
    }
    responses.insert(
        "default".into(),
        json!({
            "description": "A problem: `code` says which, `errors` where",
            "content": { "application/problem+json": { "schema": reference("Problem") } }
        }),
    );
    let mut operation = json!({
        "operationId": call.id, "summary": call.summary, "parameters": parameters, "responses": responses
    });
    if let Some(body) = call.body {
        operation["requestBody"] = request_body(body);
    }
    operation
}

/// The query parameters of a call; `None` where the document has no such call.
pub fn parameters(method: &http::Method, path: &str) -> Option<Vec<&'static str>> {
    let method = if method == http::Method::HEAD { http::Method::GET } else { method.clone() };
    let call =
        CALLS.iter().find(|call| call.path == path && method.as_str().eq_ignore_ascii_case(call.method));
    call.map(|call| call.query.iter().map(|(name, _, _)| *name).collect())
}

/// `integer`, `integer 1..500`, `integer 1..`, `string`, `string a|b`, `boolean`.
fn parameter_schema(kind: &str) -> Value {
    let (kind, rule) = kind.split_once(' ').unwrap_or((kind, ""));
    let mut schema = json!({ "type": kind });
    if let Some((least, most)) = rule.split_once("..") {
        for (word, limit) in [("minimum", least), ("maximum", most)] {
            if let Ok(limit) = limit.parse::<u64>() {
                schema[word] = json!(limit);
            }
        }
    } else if !rule.is_empty() {
        schema["enum"] = json!(rule.split('|').collect::<Vec<_>>());
    }
    schema
}

fn request_body(body: Body) -> Value {
    let (kind, schema, required) = match body {
        Body::Schema(name) => {
            ("application/json", reference(name), !matches!(name, "RetryRequest" | "WorkflowTestRequest"))
        }
        Body::Json => ("application/json", json!({}), false),
        Body::Wasm => ("application/wasm", json!({ "type": "string", "format": "binary" }), true),
        Body::Workflow => ("application/yaml", json!({ "type": "string" }), true),
        Body::Any => ("application/json", json!({}), false),
    };
    json!({ "required": required, "content": { kind: { "schema": schema } } })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_named_is_there_and_every_one_there_is_named() {
        let schemas: Value = serde_json::from_str(SCHEMAS).unwrap();
        let text = value().to_string();
        for name in schemas.as_object().unwrap().keys() {
            assert!(text.contains(&format!("schemas/{name}\"")), "{name} is not used");
        }
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.get(name).is_some(), "{name} is not there");
        }
    }

    #[test]
    fn parameters_say_what_they_take() {
        assert_eq!(
            parameter_schema("integer 1..500"),
            json!({"type": "integer", "minimum": 1, "maximum": 500})
        );
        assert_eq!(parameter_schema("integer 1.."), json!({"type": "integer", "minimum": 1}));
        assert_eq!(parameter_schema("string a|b"), json!({"type": "string", "enum": ["a", "b"]}));
        assert_eq!(parameter_schema("boolean"), json!({"type": "boolean"}));
        assert_eq!(parameters(&http::Method::HEAD, "/api/v1/actions").unwrap(), ["limit", "cursor"]);
        let most = &value()["paths"]["/api/v1/runs"]["get"]["parameters"][2]["schema"]["maximum"];
        assert_eq!(most, &json!(crate::page::MAX_LIMIT));
    }

    #[test]
    fn operation_ids_are_unique() {
        let mut ids: Vec<&str> = CALLS.iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CALLS.len());
    }
}
