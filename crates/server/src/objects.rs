//! `/api/v1/objects`: what kinds of records there are, and their fields.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::{SchemaApplied, SchemaPlan};

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
    /// A file's text, or what it says.
    #[serde(default)]
    schema: Value,
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
    let query: WaitQuery = parameters::read(query.as_deref())?;
    let wait = query.wait.as_deref().map(|wait| body::duration("wait", wait)).transpose()?;
    let wait = wait.map(|wait| wait.min(MAX_WAIT));
    let bytes = body::whole(&app, request).await?;
    let SchemaBody { schema, workflows } = body::object(&bytes, A_SCHEMA)?;
    Ok(Json(workspace.objects().apply(schema, &workflows, wait).await?))
}

/// `{"name": NEW}`, and whatever else may change of a field.
pub async fn change_field(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path((object, field)): Path<(String, String)>,
    request: Request,
) -> Answer<Json<Value>> {
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
    let remove = json!({
        "unique": if unique { json!([[field]]) } else { json!([]) },
        "indexes": if indexed { json!([field]) } else { json!([]) },
    });
    let schema = json!({ "objects": [{ "name": object, "fields": [wanted], "remove": remove }] });
    workspace.objects().apply(schema, &BTreeMap::new(), None).await?;
    Ok(Json(workspace.objects().get(&object).await?))
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
    workspace.objects().apply(schema, &BTreeMap::new(), None).await?;
    Ok(Json(workspace.objects().get(&object).await?))
}

pub async fn remove(Writer(workspace): Writer, Path(object): Path<String>) -> Answer<Json<Value>> {
    let was = workspace.objects().get(&object).await?;
    let schema = json!({ "remove_objects": [was["name"]] });
    workspace.objects().apply(schema, &BTreeMap::new(), None).await?;
    Ok(Json(was))
}

async fn document(app: &App, request: Request, what: &str) -> Answer<Value> {
    let bytes = body::whole(app, request).await?;
    body::object(&bytes, what)
}
