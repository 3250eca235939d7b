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

/// A body that comes with fewer bytes a second is given up: who holds memory and a connection with it has to send.
const LEAST_RATE: u32 = 4 << 10;
/// What that is counted over at least. Where a longer pause is allowed, over that: then the rest has to come faster.
const RATE_OVER: Duration = Duration::from_secs(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client that stopped sending its body, or sends it too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stalled {
    /// Nothing came for so long.
    Idle(Duration),
    /// It was not complete after so long.
    Total(Duration),
    /// Too little came of it, counted over so long.
    Slow(Duration),
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
            Self::Slow(over) => write!(
                f,
                "the body came with less than {LEAST_RATE} bytes a second for {over:?} (limits.body_idle_ms, or {RATE_OVER:?} where that is less)"
            ),
        }
    }
}

/// A request's body. Its time starts when somebody begins to read it.
pub struct RequestBody<B = Incoming> {
    inner: B,
    connection: Arc<Connection>,
    idle: Duration,
    total: Duration,
    rate_over: Duration,
    timers: Option<Timers>,
}

struct Timers {
    end: Instant,
    idle_end: Instant,
    /// Each byte puts it off by its time at the least rate, but never further than what that is counted over: what came
    /// fast at first gives nobody the right to trickle later.
    slow_end: Instant,
    /// Until the earliest of them.
    sleep: Pin<Box<Sleep>>,
}

impl Timers {
    fn until(&self) -> Instant {
        self.end.min(self.idle_end).min(self.slow_end)
    }
}

impl<B> RequestBody<B> {
    pub fn new(inner: B, connection: Arc<Connection>, limits: &ConnectionLimits) -> Self {
        let (idle, total) = (limits.body_idle, limits.body_total);
        Self { inner, connection, idle, total, rate_over: idle.max(RATE_OVER), timers: None }
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
            Poll::Ready(Some(Ok(frame))) => {
                this.connection.heard(Phase::Body);
                if let Some(timers) = &mut this.timers {
                    let now = Instant::now();
                    timers.idle_end = now + this.idle;
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    let takes = Duration::from_secs_f64(bytes as f64 / f64::from(LEAST_RATE));
                    // Where it has passed already it was us who did not look.
                    timers.slow_end = (timers.slow_end.max(now) + takes).min(now + this.rate_over);
                }
            }
            Poll::Ready(_) => this.connection.heard(Phase::Answer),
            Poll::Pending => {
                let (idle, total, rate_over) = (this.idle, this.total, this.rate_over);
                let timers = this.timers.get_or_insert_with(|| {
                    // Somebody has begun to read, and now its client is waited for.
                    this.connection.heard(Phase::Body);
                    let now = Instant::now();
                    let (end, idle_end, slow_end) = (now + total, now + idle, now + rate_over);
                    let first = end.min(idle_end).min(slow_end);
                    Timers { end, idle_end, slow_end, sleep: Box::pin(tokio::time::sleep_until(first)) }
                });
                let until = timers.until();
                if timers.sleep.deadline() != until {
                    timers.sleep.as_mut().reset(until);
                }
                if timers.sleep.as_mut().poll(context).is_ready() {
                    let stalled = match until {
                        end if end == timers.end => Stalled::Total(total),
                        end if end == timers.idle_end => Stalled::Idle(idle),
                        _ => Stalled::Slow(rate_over),
                    };
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

    /// So many bytes, and then some each second for ever.
    fn trickling(
        first: usize,
        each: usize,
    ) -> impl Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static {
        let frame = |n: usize| Ok(Frame::data(Bytes::from(vec![b'x'; n])));
        let first = futures::stream::once(async move { frame(first) });
        let more = futures::stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            frame(each)
        });
        StreamBody::new(first.chain(more).boxed())
    }

    /// When a body is given up, and why.
    async fn given_up(body: impl Body<Data = Bytes, Error = BoxError> + Unpin) -> (u64, Stalled) {
        let limits = ConnectionLimits::default();
        let (mut body, began) = (RequestBody::new(body, connection(), &limits), Instant::now());
        loop {
            if let Err(error) = body.frame().await.unwrap() {
                return (began.elapsed().as_secs(), *error.downcast::<Stalled>().unwrap());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_whatever_came_of_it_at_first() {
        let over = ConnectionLimits::default().body_idle;
        for first in [1, 5 << 20] {
            let (after, why) = given_up(trickling(first, 10)).await;
            assert_eq!((why, after), (Stalled::Slow(over), 15), "{first}");
        }
        // At half of the rate, twice as long.
        let rate = LEAST_RATE as usize;
        let (after, why) = given_up(trickling(1, rate / 2)).await;
        assert!(why == Stalled::Slow(over) && (28..=31).contains(&after), "{after}, {why}");
        // A slow one that goes on has all of its time.
        assert_eq!(given_up(trickling(1, rate)).await.1, Stalled::Total(Duration::from_secs(300)));
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
