//! What happens to a call whose client goes away. One that may store something goes on to its end, since what follows a
//! commit (waking a run, a table in memory) belongs to it; one that only looks or tries stops, and with it what it costs.
//! And how long a call waits for a store that is away.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::App;
use crate::problem::Problem;

/// At so many looks in a row, a second apart, the store was not there: nobody waits longer for what it had under way. One
/// more than a bulk write takes, which knows more about it.
const AWAY: usize = 5;

/// Goes with a call that goes on to its end: cancelled when its client has gone away, or was answered.
#[derive(Clone, Default)]
pub struct Gone(pub CancellationToken);

/// Goes on to its end.
pub async fn to_its_end(mut request: Request, next: Next) -> Response {
    let gone = Gone::default();
    request.extensions_mut().insert(gone.clone());
    let _gone = gone.0.drop_guard();
    let call = next.run(request).instrument(tracing::Span::current());
    tokio::spawn(call).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a handler panicked");
        let message = "a defect of the server; its log says more";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).into_response()
    })
}

/// Answers a call that waits for a store that cannot be read for some seconds. What the store had under way when it failed
/// is written or not, and it answers when it knows; that may be when somebody has made room on a disk.
pub async fn no_longer_than_the_store_is_there(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    tokio::select! {
        biased;
        answer = next.run(request) => return answer,
        () = app.engine().store_is_away(AWAY) => {}
    }
    let message = "the store failed and cannot be opened again yet: whether this was done will be known then";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown", message).into_response()
}

/// Goes on to its end, unless its method is one that stores nothing.
pub async fn writes_to_their_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() { next.run(request).await } else { to_its_end(request, next).await }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::any;
    use futures::FutureExt as _;
    use http::Method;
    use std::sync::Arc;
    use tokio::sync::{Notify, mpsc};
    use tower::ServiceExt as _;

    /// Begins a call, goes away, lets it go on, and says whether it came to its end.
    async fn ends(method: Method) -> bool {
        let (go_on, (tell, mut told)) = (Arc::new(Notify::new()), mpsc::channel(1));
        let waits = go_on.clone();
        let handler = any(async move || {
            waits.notified().await;
            tell.send(()).await.unwrap();
        });
        let router = Router::new().route("/", handler.layer(from_fn(writes_to_their_end)));
        let request = http::Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
        let mut call = Box::pin(router.oneshot(request));
        assert!((&mut call).now_or_never().is_none());
        tokio::task::yield_now().await;
        drop(call);
        go_on.notify_one();
        // Nothing comes when everything that could tell is gone.
        told.recv().await.is_some()
    }

    #[tokio::test]
    async fn whoever_hangs_up_stops_what_looks_and_nothing_that_writes() {
        assert!(ends(Method::POST).await);
        assert!(!ends(Method::GET).await);
    }
}
