//! `POST /api/v1/dev/clock`: moving time forward, on a `--dev` server.

use axum::Json;
use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::ports::Clock;

use crate::App;
use crate::body;
use crate::problem::{Answer, Problem};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockBody {
    /// How far, such as `90s`, `10m`.
    advance: String,
}

pub async fn clock(State(app): State<App>, request: Request) -> Answer<Json<Value>> {
    let Some(clock) = app.config().clock.clone() else {
        return Err(Problem::not_found("only a --dev server's clock can be moved"));
    };
    let (parts, stream) = request.into_parts();
    let bytes = body::read(&parts.headers, stream, app.config().api_body_bytes).await?;
    let body: ClockBody = body::json(&bytes, "a move of the clock (`{\"advance\": \"10m\"}`)")?;
    clock.advance(body::duration("advance", &body.advance)?);
    Ok(Json(json!({ "now": clock.now() })))
}
