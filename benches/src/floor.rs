//! The floor: what nobody can do without who answers a form durably with what a sandboxed module made of it. One HTTP
//! handler, one call, one commit: of three rows (run, result, person), or of all that the web form's flow leaves behind.
//! No workflow, no schema, no look-up.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::bare::{Bare, Ready};
use crate::floor_store::FloorStore;
use crate::nodes;
use crate::rows::Rows;

struct Floor {
    store: FloorStore,
    ready: Ready,
    /// What the flow writes, where that is to be written.
    rows: Option<Rows>,
}

/// Serves until stdin ends.
pub async fn serve(data: &Path, component: Option<&Path>, rows: Option<&Path>) -> anyhow::Result<()> {
    let store = FloorStore::open(data)?;
    let mut router = Router::new().route("/healthz", get(async || "ok"));
    // Ticks as long as it lives.
    let bare = Bare::new()?;
    if let Some(component) = component {
        let ready = bare.load(&std::fs::read(component)?)?;
        let rows = rows.map(|rows| anyhow::Ok(serde_json::from_slice(&std::fs::read(rows)?)?)).transpose()?;
        let form =
            Router::new().route("/form", post(take)).with_state(Arc::new(Floor { store, ready, rows }));
        router = router.merge(form);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    nodes::say_address(listener.local_addr()?)?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // As the product does. A failure only makes answers later.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).with_graceful_shutdown(nodes::stdin_ended()).await?;
    Ok(())
}

async fn take(State(floor): State<Arc<Floor>>, body: Bytes) -> Response {
    match answer(&floor, &body).await {
        Ok(answer) => (StatusCode::ACCEPTED, axum::Json(answer)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

async fn answer(floor: &Floor, body: &[u8]) -> anyhow::Result<Value> {
    let form: Value = serde_json::from_slice(body)?;
    let output = floor.ready.call(&form.to_string()).await?;
    let lead: Value = serde_json::from_str(&output)?;
    let email = lead["email"].as_str().context("no address")?;
    let id = Uuid::now_v7();
    if let Some(rows) = &floor.rows {
        floor.store.commit(rows.with(email)).await?;
        return Ok(json!({"run_id": id.to_string()}));
    }
    let person = json!({
        "name": {"firstName": lead["firstName"], "lastName": lead["lastName"]},
        "emails": {"primaryEmail": email},
        "phones": {"primaryPhoneNumber": lead["phone"]},
        "jobTitle": lead["jobTitle"],
    });
    let key = |kind: &[u8], id: &[u8]| [kind, id].concat();
    let rows = vec![
        (key(b"run/", id.as_bytes()), body.to_vec()),
        (key(b"result/", id.as_bytes()), output.into_bytes()),
        (key(b"person/", email.as_bytes()), serde_json::to_vec(&person)?),
    ];
    floor.store.commit(rows).await?;
    Ok(json!({"run_id": id.to_string()}))
}
