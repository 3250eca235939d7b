//! `POST /api/v1/dev/clock`: moving time forward, on a `--dev` server.

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_engine::ports::Clock;

use crate::App;
use crate::body;
use crate::problem::{Answer, Problem};

/// Later times, with a delay or a retention added, would have five digits in the year.
const LATEST: Timestamp = Timestamp::constant(221_845_392_000, 0);

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
    let bytes = body::whole(&app, request).await?;
    let body: ClockBody = body::object(&bytes, "a move of the clock (`{\"advance\": \"10m\"}`)")?;
    let by = body::duration("advance", &body.advance)
        .map_err(|problem| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", problem.detail))?;
    if clock.now().checked_add(by).map_or(true, |moved| moved > LATEST) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_body",
            format!(
                "`advance` of {} leads beyond {LATEST}, the latest time that the clock may show",
                body.advance
            ),
        ));
    }
    clock.advance(by);
    Ok(Json(json!({ "now": clock.now() })))
}
