//! `GET /api/v1/events`: the workspace's log as Server-Sent Events, resumable by `Last-Event-ID`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::{Stream, StreamExt};
use http::HeaderMap;
use serde::Deserialize;
use stepwell_engine::{FeedBody, FeedEvent};

use crate::App;
use crate::auth::Reader;
use crate::parameters;
use crate::problem::Answer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// For clients that cannot send `Last-Event-ID`; `now` for nothing of the past.
    after: Option<String>,
}

pub async fn stream(
    State(app): State<App>,
    Reader(workspace): Reader,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let query: EventsQuery = parameters::read(query.as_deref())?;
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).map(str::to_owned).or(query.after);
    let events = workspace.events(last.as_deref()).await?;
    // An error ends the stream; the client comes back with the last id it saw and is told then.
    let events = events
        .take_while(|event| {
            if let Err(error) = event {
                tracing::warn!(%error, "the event stream ends");
            }
            futures::future::ready(event.is_ok())
        })
        .filter_map(|event| futures::future::ready(event.ok().and_then(|e| sse(&e)).map(Ok)))
        // A server that stops does not wait for those who listen; they come back and miss nothing.
        .take_until(app.closing().clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn sse(event: &FeedEvent) -> Option<Event> {
    let kind = match event.body {
        FeedBody::Run { .. } => "run",
        FeedBody::Record { .. } => "record",
    };
    Event::default().id(&event.id).event(kind).json_data(event).ok()
}
