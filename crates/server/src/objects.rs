//! `/api/v1/objects`: what kinds of records there are, and their fields.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::{SchemaApplied, SchemaPlan, SetConflict};

use crate::App;
use crate::auth::{Reader, Writer};
use crate::body;
use crate::parameters;
use crate::path::Path;
use crate::problem::{Answer, Problem};

/// Longer than this nobody is kept waiting for an index.
const MAX_WAIT: Duration = Duration::from_secs(300);

pub async fn list(Reader(workspace): Reader) -> Answer<Json<Value>> {
    Ok(Json(json!({ "objects": workspace.objects().list().await?, "next_cursor": null })))
}

pub async fn get(Reader(workspace): Reader, Path(name): Path<String>) -> Answer<Json<Value>> {
    Ok(Json(workspace.objects().get(&name).await?))
}

pub async fn create(State(app): State<App>, Writer(workspace): Writer, request: Request) -> Answer<Response> {
    let object = document(&app, request, "an object (`{\"name\": …, \"fields\": […]}`)").await?;
    Ok((StatusCode::CREATED, Json(workspace.objects().create(object).await?)).into_response())
}

pub async fn add_field(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Response> {
    let field = document(&app, request, "a field (`{\"name\": …, \"type\": …}`)").await?;
    Ok((StatusCode::CREATED, Json(workspace.objects().add_field(&name, field).await?)).into_response())
}

/// `{"schema": …, "workflows": {NAME: TEXT}}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaBody {
    /// A file's text, or what it says. Null is neither.
    #[serde(default, deserialize_with = "stepwell_workflow::model::present")]
    schema: Option<Value>,
    /// Texts that become active with it.
    #[serde(default)]
    workflows: BTreeMap<String, String>,
}

const A_SCHEMA: &str = "a schema (`{\"schema\": …, \"workflows\": {…}}`)";

pub async fn plan(
    State(app): State<App>,
    Reader(workspace): Reader,
    request: Request,
) -> Answer<Json<SchemaPlan>> {
    let bytes = body::whole(&app, request).await?;
    let SchemaBody { schema, workflows } = body::object(&bytes, A_SCHEMA)?;
    Ok(Json(workspace.objects().plan(schema, &workflows).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    wait: Option<String>,
}

pub async fn apply(
    State(app): State<App>,
    Writer(workspace): Writer,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer<Json<SchemaApplied>> {
    let wait = wait_for_builds(query.as_deref())?;
    let bytes = body::whole(&app, request).await?;
    let SchemaBody { schema, workflows } = body::object(&bytes, A_SCHEMA)?;
    Ok(Json(workspace.objects().apply(schema, &workflows, wait).await?))
}

/// How long to wait for unique sets and indexes to be built.
fn wait_for_builds(query: Option<&str>) -> Answer<Option<Duration>> {
    let query: WaitQuery = parameters::read(query)?;
    let wait = query.wait.as_deref().map(|wait| body::duration("wait", wait)).transpose()?;
    Ok(wait.map(|wait| wait.min(MAX_WAIT)))
}

/// `{"name": NEW}`, and whatever else may change of a field. With `wait`, records that do not let it be unique are told.
pub async fn change_field(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path((object, field)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer<Json<Value>> {
    let wait = wait_for_builds(query.as_deref())?;
    let Value::Object(changes) = document(&app, request, "changes of a field (`{\"name\": …}`)").await?
    else {
        return Err(Problem::bad_request("invalid_body", "changes of a field are an object"));
    };
    let shown = workspace.objects().get(&object).await?;
    let fields = shown["fields"].as_array().into_iter().flatten();
    let Some(known) = fields.into_iter().find(|known| known["name"] == field.as_str()) else {
        return Err(unknown_field(&object, &field));
    };
    let mut wanted = known.as_object().cloned().unwrap_or_default();
    wanted.remove("parts");
    let name = changes.get("name").cloned().unwrap_or_else(|| json!(field));
    wanted.extend(changes);
    if name != field.as_str() {
        wanted.insert("renamed_from".into(), json!(field));
    }
    let object = shown["name"].as_str().unwrap_or(&object).to_owned();
    // Of a file, what is not said stays: here it was said.
    let no_more = |key: &str| wanted.get(key) == Some(&json!(false)) && known[key] != json!(false);
    let (unique, indexed) = (no_more("unique"), no_more("indexed"));
    if (unique || indexed) && name != field.as_str() {
        let detail = "a field is renamed, or stops being unique or indexed: one after the other";
        return Err(Problem::bad_request("invalid_body", detail));
    }
    // A file indexes relations by itself; here only what is said is done.
    wanted.entry("indexed").or_insert(json!(false));
    let remove = json!({
        "unique": if unique { json!([[field]]) } else { json!([]) },
        "indexes": if indexed { json!([field]) } else { json!([]) },
    });
    let schema = json!({ "objects": [{ "name": object, "fields": [wanted], "remove": remove }] });
    let applied = workspace.objects().change(schema, wait).await?;
    if let Some(conflict) = applied.conflicts.first() {
        return Err(contradicted(conflict));
    }
    Ok(Json(workspace.objects().get(&object).await?))
}

/// The set is given up, and its records are named for people and for programs.
fn contradicted(conflict: &SetConflict) -> Problem {
    let problem = Problem::new(StatusCode::CONFLICT, "unique_conflict", conflict.message.clone());
    let (names, of) = (conflict.fields.join(", "), &conflict.object);
    let twins = conflict.records.iter().map(|[one, other]| stepwell_engine::Problem {
        code: "unique_conflict".into(),
        path: Some(format!("{of}/{other}")),
        message: format!("{other} has the same {names} as {one}"),
        hint: Some(format!("give one of them another {names}, or delete it, and ask again")),
        ..Default::default()
    });
    Problem { errors: twins.collect(), ..problem }
}

fn unknown_field(object: &str, field: &str) -> Problem {
    let detail = format!("{object} has no field `{field}`");
    Problem::new(StatusCode::NOT_FOUND, "unknown_field", detail)
}

pub async fn remove_field(
    Writer(workspace): Writer,
    Path((object, field)): Path<(String, String)>,
) -> Answer<Json<Value>> {
    let shown = workspace.objects().get(&object).await?;
    if !shown["fields"].as_array().into_iter().flatten().any(|known| known["name"] == field.as_str()) {
        return Err(unknown_field(&object, &field));
    }
    let object = shown["name"].as_str().unwrap_or(&object).to_owned();
    let schema = json!({ "objects": [{ "name": object, "remove": { "fields": [field] } }] });
    workspace.objects().change(schema, None).await?;
    Ok(Json(workspace.objects().get(&object).await?))
}

pub async fn remove(Writer(workspace): Writer, Path(object): Path<String>) -> Answer<Json<Value>> {
    let was = workspace.objects().get(&object).await?;
    let schema = json!({ "remove_objects": [was["name"]] });
    workspace.objects().change(schema, None).await?;
    Ok(Json(was))
}

async fn document(app: &App, request: Request, what: &str) -> Answer<Value> {
    let bytes = body::whole(app, request).await?;
    body::object(&bytes, what)
}
