//! What goes on in one HTTP/2 connection, where many requests do at once. In HTTP/1 hyper sees by itself
//! that a connection is idle; here it would wait for ever.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::Told;
use crate::config::Server;

/// Requests that a client may give up on before they are answered. An honest one does so when its own
/// user does; to begin and to reset is also the cheapest way to make a server work (CVE-2023-44487).
const MAX_ABANDONED: usize = 100;
/// Time for a client that asks for nothing more to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// Counts what goes on. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    counts: Mutex<Counts>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    /// Requests that have no answer yet. How long they take is bounded where they are answered.
    handling: usize,
    /// Answers that are not sent yet.
    answering: usize,
    abandoned: usize,
    /// When something last went on.
    last: Instant,
}

impl Activity {
    pub(super) fn new() -> Self {
        let counts = Counts { handling: 0, answering: 0, abandoned: 0, last: Instant::now() };
        Self(Arc::new(Inner { counts: Mutex::new(counts), changed: Notify::new() }))
    }

    /// Waits until the connection should end, and says how long that may take.
    pub(super) async fn over(&self, limits: &Server) -> Duration {
        loop {
            let Counts { handling, answering, abandoned, last } = *self.counts();
            if abandoned > MAX_ABANDONED {
                tracing::debug!(abandoned, "a client gives up on too many requests and is cut");
                return Duration::ZERO;
            }
            let (end, farewell) = match (handling, answering) {
                (0, 0) => (last + limits.header_timeout, FAREWELL),
                (_, 0) => {
                    self.0.changed.notified().await;
                    continue;
                }
                (_, _) => (last + limits.answer_timeout, Duration::ZERO),
            };
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep_until(end) => return farewell,
            }
        }
    }

    fn begin(&self) -> Handling {
        self.change(|counts| counts.handling += 1);
        Handling { activity: self.clone(), is_answered: false }
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts();
        change(&mut counts);
        counts.last = Instant::now();
        drop(counts);
        self.0.changed.notify_one();
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way. Dropped without an answer, it was given up by its client.
struct Handling {
    activity: Activity,
    is_answered: bool,
}

impl Handling {
    fn answered(mut self, body: Body) -> TrackedBody {
        self.is_answered = true;
        self.activity.change(|counts| counts.answering += 1);
        TrackedBody { body, activity: self.activity.clone() }
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let abandoned = usize::from(!self.is_answered);
        self.activity.change(|counts| {
            counts.handling -= 1;
            counts.abandoned += abandoned;
        });
    }
}

/// The app, with a count of what it does for one connection.
pub(super) struct Tracked {
    pub(super) app: Told,
    pub(super) activity: Activity,
}

impl Service<Request<Incoming>> for Tracked {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let handling = self.activity.begin();
        let answer = self.app.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| handling.answered(body))) })
    }
}

/// A body that is taken only as fast as the client makes room for it.
pub(super) struct TrackedBody {
    body: Body,
    activity: Activity,
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.activity.change(|_| {});
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.activity.change(|counts| counts.answering -= 1);
    }
}
