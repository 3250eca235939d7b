//! Bodies on their way through a connection: a request's under time limits, an answer's that says when it is over.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AnyBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::connections::{Connection, Phase};
use crate::listen::ConnectionLimits;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client that stopped sending its body, or sends it too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stalled {
    /// Nothing came for so long.
    Idle(Duration),
    /// It was not complete after so long.
    Total(Duration),
}

impl std::error::Error for Stalled {}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(limit) => {
                write!(f, "nothing came of the body for {limit:?} (limits.body_idle_ms)")
            }
            Self::Total(limit) => {
                write!(f, "the body was not complete after {limit:?} (limits.body_total_ms)")
            }
        }
    }
}

/// A request's body. Its time starts when somebody begins to read it.
pub struct RequestBody<B = Incoming> {
    inner: B,
    connection: Arc<Connection>,
    idle: Duration,
    total: Duration,
    timers: Option<Timers>,
}

struct Timers {
    end: Instant,
    idle_end: Instant,
    /// Until the earlier of the two.
    sleep: Pin<Box<Sleep>>,
}

impl<B> RequestBody<B> {
    pub fn new(inner: B, connection: Arc<Connection>, limits: &ConnectionLimits) -> Self {
        Self { inner, connection, idle: limits.body_idle, total: limits.body_total, timers: None }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                this.connection.heard(Phase::Body);
                if let Some(timers) = &mut this.timers {
                    timers.idle_end = Instant::now() + this.idle;
                }
            }
            Poll::Ready(_) => this.connection.heard(Phase::Answer),
            Poll::Pending => {
                let (idle, total) = (this.idle, this.total);
                let timers = this.timers.get_or_insert_with(|| {
                    // Somebody has begun to read, and now its client is waited for.
                    this.connection.heard(Phase::Body);
                    let now = Instant::now();
                    let (end, idle_end) = (now + total, now + idle);
                    Timers { end, idle_end, sleep: Box::pin(tokio::time::sleep_until(end.min(idle_end))) }
                });
                let until = timers.end.min(timers.idle_end);
                if timers.sleep.deadline() != until {
                    timers.sleep.as_mut().reset(until);
                }
                if timers.sleep.as_mut().poll(context).is_ready() {
                    let late = timers.end <= timers.idle_end;
                    let stalled = if late { Stalled::Total(total) } else { Stalled::Idle(idle) };
                    return Poll::Ready(Some(Err(stalled.into())));
                }
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body. What there is of it waits for its client to take it; then it is the server's turn until there is
/// more. When it is gone, the connection waits for the next request.
pub struct AnswerBody {
    inner: AnyBody,
    connection: Arc<Connection>,
}

impl AnswerBody {
    pub fn new(inner: AnyBody, connection: Arc<Connection>) -> Self {
        Self { inner, connection }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.connection.heard(Phase::Head);
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        this.connection.heard(if polled.is_ready() { Phase::Taking } else { Phase::Answer });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};

    fn connection() -> Arc<Connection> {
        let connection = Arc::new(Connection::new());
        connection.heard(Phase::Answer);
        connection
    }

    /// One frame, and then nothing for ever.
    fn stalling() -> impl Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static {
        let first = futures::stream::once(async { Ok(Frame::data(Bytes::from_static(b"x"))) });
        StreamBody::new(first.chain(futures::stream::pending()).boxed())
    }

    #[tokio::test]
    async fn a_client_is_waited_for_once_somebody_reads_its_body() {
        let connection = connection();
        let mut body = RequestBody::new(stalling(), connection.clone(), &ConnectionLimits::default());
        assert!(connection.quiet().is_none(), "nobody reads it");
        body.frame().await.unwrap().unwrap();
        assert!(futures::poll!(body.frame()).is_pending());
        assert!(connection.quiet().is_some());
    }

    #[tokio::test]
    async fn a_client_is_waited_for_while_it_has_something_to_take() {
        let connection = connection();
        let mut body = AnswerBody::new(AnyBody::new(stalling()), connection.clone());
        body.frame().await.unwrap().unwrap();
        assert!(connection.quiet().is_some(), "it has not asked for more yet");
        assert!(futures::poll!(body.frame()).is_pending());
        assert!(connection.quiet().is_none(), "there is nothing to take");
        drop(body);
        assert!(connection.quiet().is_some());
    }
}
