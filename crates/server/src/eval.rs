//! `POST /api/v1/eval`: an expression, over what a past run knew or over values that come with it. For who may write:
//! of a run that waits, an expression sees the links that give it its input.

use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Value, json};
use stepwell_engine::EvalRequest;

use crate::App;
use crate::auth::Writer;
use crate::body;
use crate::problem::Answer;

pub async fn eval(
    State(app): State<App>,
    Writer(workspace): Writer,
    request: Request,
) -> Answer<Json<Value>> {
    let bytes = body::whole(&app, request).await?;
    let request: EvalRequest = body::object(&bytes, "an expression (`{\"expression\": …}`)")?;
    let value = workspace.runs().eval(request).await?;
    Ok(Json(json!({ "value": value })))
}
