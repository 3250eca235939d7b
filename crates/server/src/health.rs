//! `GET /healthz`: whether the process is alive and its store can be read. `GET /readyz`: whether it takes requests.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};
use stepwell_engine::ErrorKind;

use crate::App;
use crate::problem::{Answer, Problem};

/// An answer is given again for so long: anybody may ask, and finding out costs a write.
const FRESH: Duration = Duration::from_secs(2);
/// A store that takes longer than this for one row takes no requests.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found out last, and when. Held while it is found out, so that many who ask cost one write.
pub type LastReady = tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>;

pub async fn healthz(State(app): State<App>) -> Answer<Json<Value>> {
    app.engine().healthy().await?;
    Ok(answer())
}

pub async fn readyz(State(app): State<App>) -> Answer<Json<Value>> {
    if app.closing().is_cancelled() {
        return Err(not_ready("the server is stopping"));
    }
    let mut last = app.last_ready().lock().await;
    let fresh = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, found)| found.clone());
    let found = match fresh {
        Some(found) => found,
        None => {
            let found = match tokio::time::timeout(PATIENCE, app.engine().ready()).await {
                // The store's own message names folders, and anybody may ask.
                Ok(ready) => ready.map_err(|error| {
                    tracing::warn!(%error, "not ready");
                    match error.kind {
                        ErrorKind::StorageFull => "the disk is full, so the store takes no writes".to_owned(),
                        _ => format!("the store takes no writes ({})", error.code),
                    }
                }),
                Err(_) => Err(format!("the store did not take a write within {PATIENCE:?}")),
            };
            *last = Some((Instant::now(), found.clone()));
            found
        }
    };
    found.map(|()| answer()).map_err(|why| not_ready(&why))
}

fn answer() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

fn not_ready(why: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why)
}
