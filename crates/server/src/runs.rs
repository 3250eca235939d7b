//! `/api/v1/runs`: what happened, step by step and item by item; cancel, retry and resume.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use stepwell_engine::{
    GiveInput, ItemFilter, ResumeAction, ResumeRun, RunFilter, RunStatus, RunSummary, StepStatus,
};

use crate::App;
use crate::auth::{Viewer, Writer};
use crate::body;
use crate::page::{self, Limit};
use crate::parameters::{self, Whole};
use crate::path::Path;
use crate::problem::{Answer, Problem};
use crate::workflows::wait_parameter;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    workflow: Option<String>,
    status: Option<RunStatus>,
    limit: Option<Limit>,
    cursor: Option<String>,
}

pub async fn list(viewer: Viewer, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: ListQuery = parameters::read(query.as_deref())?;
    let filter = RunFilter { workflow: query.workflow, status: query.status };
    let page = page::request(query.limit, query.cursor);
    // Why a run failed may quote anything.
    viewer.page("runs", viewer.workspace.runs().list(filter, page).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetQuery {
    /// Wait so long for the run to end, or to need a person.
    wait: Option<String>,
}

pub async fn get(
    State(app): State<App>,
    viewer: Viewer,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<Value>> {
    let query: GetQuery = parameters::read(query.as_deref())?;
    let runs = viewer.workspace.runs();
    let run = match wait_parameter(query.wait.as_deref())? {
        Some(wait) => tokio::select! {
            biased;
            run = runs.wait_for_turn(&id, wait) => run?,
            // A server that stops says how things stand.
            () = app.closing().cancelled() => runs.get(&id).await?,
        },
        None => runs.get(&id).await?,
    };
    viewer.shown(run)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemsQuery {
    step: Option<String>,
    index: Option<Whole<u64>>,
    status: Option<StepStatus>,
    limit: Option<Limit>,
    cursor: Option<String>,
}

pub async fn items(viewer: Viewer, Path(id): Path<String>, RawQuery(query): RawQuery) -> Answer<Json<Value>> {
    let query: ItemsQuery = parameters::read(query.as_deref())?;
    let filter = ItemFilter { step: query.step, index: query.index.map(|n| n.0), status: query.status };
    let page = page::request(query.limit, query.cursor);
    let items = viewer.workspace.runs().items(&id, filter, page).await?;
    viewer.page("items", items)
}

pub async fn cancel(Writer(workspace): Writer, Path(id): Path<String>) -> Answer<Json<RunSummary>> {
    Ok(Json(workspace.runs().cancel(&id).await?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryBody {
    /// On the active version of the workflow and the newest fitting versions of its actions.
    newest: bool,
}

pub async fn retry(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<RunSummary>> {
    let bytes = body::whole(&app, request).await?;
    let body: RetryBody = body::object_or(&bytes, "a retry (`{\"newest\": true}`)", RetryBody::default())?;
    Ok(Json(workspace.runs().retry(&id, body.newest).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputBody {
    data: Value,
    #[serde(default)]
    step: Option<String>,
}

pub async fn input(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<RunSummary>> {
    let bytes = body::whole(&app, request).await?;
    let InputBody { data, step } = body::object(&bytes, "an input (`{\"data\": …}`)")?;
    Ok(Json(workspace.runs().give_input(&id, GiveInput { step, data }).await?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeBody {
    #[serde(default)]
    action: ResumeWord,
    /// Null is an output, too.
    #[serde(default, deserialize_with = "stepwell_workflow::model::present")]
    output: Option<Value>,
    #[serde(default)]
    step: Option<String>,
    #[serde(default)]
    actions: BTreeMap<String, String>,
    /// On the active version of the workflow and the newest fitting versions of its actions.
    #[serde(default)]
    newest: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResumeWord {
    #[default]
    Retry,
    Skip,
    Output,
}

pub async fn resume(
    State(app): State<App>,
    Writer(workspace): Writer,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<RunSummary>> {
    let bytes = body::whole(&app, request).await?;
    let what = "how the run goes on (`{\"action\": \"retry\"}`)";
    let body: ResumeBody = body::object_or(&bytes, what, ResumeBody::default())?;
    let wrong = |message: &str| Problem::bad_request("invalid_resume", message.to_owned());
    let action = match (body.action, body.output) {
        (ResumeWord::Retry, None) => ResumeAction::Retry,
        (ResumeWord::Skip, None) => ResumeAction::Skip,
        (ResumeWord::Output, Some(output)) => ResumeAction::Output(output),
        (ResumeWord::Output, None) => {
            return Err(wrong("`action: output` needs the `output` that the step is to have given"));
        }
        (_, Some(_)) => return Err(wrong("an `output` is given with `action: output` only")),
    };
    if !body.actions.is_empty() && action != ResumeAction::Retry {
        return Err(wrong("other versions of `actions` are for `action: retry`"));
    }
    let resume = ResumeRun { action, step: body.step, actions: body.actions, newest: body.newest };
    Ok(Json(workspace.runs().resume(&id, resume).await?))
}
