//! Accepting connections: a limit on their number, limits on how long a client may take over a request, and a graceful
//! end that lets open requests finish.

use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use crate::App;
use crate::connections::{Connection, Connections, Phase, Place};
use crate::stream::{AnswerBody, RequestBody};
use crate::unread::Telling;

/// What clients may take up.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections at once. Beyond it, one that stalls is cut, or a new one waits.
    pub most: usize,
    /// A client that does not finish its request's head in this time is hung up on; one that sends no further request
    /// too.
    pub head: Duration,
    /// The longest pause within a request's body; what a least rate is counted over, too, unless it is short.
    pub body_idle: Duration,
    /// The longest that a whole body may take.
    pub body_total: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            most: 512,
            head: Duration::from_secs(30),
            body_idle: Duration::from_secs(15),
            body_total: Duration::from_secs(300),
        }
    }
}

/// How long a stopping server lets senders of webhooks wait for results, before it tells them that their run goes on.
const LAST_RESULTS: Duration = Duration::from_secs(2);

/// Serves until `stop` resolves, then lets open requests end, for `grace` at most.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()>, grace: Duration) {
    let limits = app.config().connections.clone();
    let connections = app.connections().clone();
    let router = crate::router(app.clone());
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let (stream, peer, place) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        // Answers are small: waiting to fill a packet only adds delay.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let service = service(router.clone(), peer, place.connection.clone(), limits.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .serve_connection(TokioIo::new(Telling::new(stream)), service);
        let connection = open.watch(connection);
        tokio::spawn(async move {
            let ended = tokio::select! {
                biased;
                () = place.connection.cut.cancelled() => return tracing::debug!(%peer, "connection cut"),
                ended = connection => ended,
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
    drop(listener);
    // Streams and waits end by themselves when they hear of it.
    app.closing().cancel();
    let all_ended = async {
        let ended = open.shutdown();
        tokio::pin!(ended);
        let stopped = Instant::now();
        while tokio::time::timeout(Duration::from_millis(100), &mut ended).await.is_err() {
            connections.cut_quiet();
            if stopped.elapsed() >= LAST_RESULTS {
                app.engine().stop_waiting();
            }
        }
    };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        tracing::warn!("requests were still open after {grace:?}; they are cut off");
        connections.cut_all();
    }
}

/// The next connection, with a place for it.
async fn accept(listener: &TcpListener, connections: &Arc<Connections>) -> (TcpStream, SocketAddr, Place) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, connections.enter().await),
            Err(error) if is_the_client_s(error.kind()) => tracing::debug!(%error, "a client went away"),
            Err(error) => {
                // Out of file descriptors: some must be given back first; asking again at once does not help.
                connections.tell(|| tracing::warn!(%error, "cannot accept connections"));
                connections.make_room();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The connection was over before it was accepted; the next one is not affected.
fn is_the_client_s(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

fn service(
    router: Router,
    peer: SocketAddr,
    connection: Arc<Connection>,
    limits: ConnectionLimits,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = impl Future<Output = Result<axum::response::Response, Infallible>> + Send,
> {
    service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        // Whoever reads its body says so: until then, its client is not what is waited for.
        connection.heard(Phase::Answer);
        let body = |body| Body::new(RequestBody::new(body, connection.clone(), &limits));
        let answer = router.clone().oneshot(request.map(body));
        let connection = connection.clone();
        async move {
            let answer = answer.await;
            connection.heard(Phase::Answer);
            answer.map(|answer| answer.map(|body| Body::new(AnswerBody::new(body, connection))))
        }
    })
}
