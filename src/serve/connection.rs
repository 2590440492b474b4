//! The accept loop and the life of one connection. `axum::serve` sets no timers; here every
//! connection has a time for its handshake, a time for its headers, an age, and an end.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, Tracked};
use super::listener::{Listener, Stream};
use super::shares::{Place, Shares};
use crate::config::Server;
use crate::http::{Gate, MAX_HEAD_BYTES, ON_EVERY_ANSWER, ProblemKind, Source};

/// Sent where all connections, or all of an address, are taken, without reading a byte.
static BUSY: LazyLock<String> = LazyLock::new(|| {
    let (status, body) = (ProblemKind::Busy.status(), ProblemKind::Busy.to_json());
    let always: String = ON_EVERY_ANSWER
        .iter()
        .map(|(name, value)| [name.as_str(), ": ", value, "\r\n"].concat())
        .collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{always}cache-control: no-store\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-type: application/problem+json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
});

/// Requests at once on one HTTP/2 connection. Each may hold one body in memory, so this times what the
/// limit of connections was made for.
const MAX_STREAMS: u32 = 32;
/// Streams that a client has reset and that nobody has looked at yet; at more the connection ends.
const MAX_RESET_STREAMS: usize = 20;
/// What a client may send on one stream before we have read it, and on one connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;
/// Bytes of one answer that wait for a client to take them.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// Pause after an accept that failed, as when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is behind a listener.
pub(super) struct Behind {
    pub(super) app: Router,
    /// What a TLS handshake is met with, if TLS is spoken; asked for each connection anew, so that a
    /// changed certificate is shown.
    pub(super) tls: Option<Handshakes>,
    pub(super) limits: Arc<Server>,
    /// Knows the proxies, whose connections are those of many.
    pub(super) gate: Gate,
}

impl Behind {
    /// The address of whose share the connection is. Of nobody's are those by which many come.
    fn counted_as(&self, stream: &Stream, source: Source) -> Option<IpAddr> {
        let is_one = matches!(stream, Stream::Address(_)) && !self.gate.trusts(source);
        is_one.then(|| source.household())
    }

    /// A connection that comes from there.
    fn connection(
        &self,
        source: Source,
        place: Place,
        stopping: &watch::Receiver<bool>,
        alive: &Alive,
    ) -> Connection {
        let app = TowerToHyperService::new(self.app.clone());
        Connection {
            app: Told { app, source },
            tls: self.tls.as_ref().map(|handshakes| handshakes()),
            limits: Arc::clone(&self.limits),
            stopping: stopping.clone(),
            alive: alive.clone(),
            _place: place,
        }
    }
}

/// Held by every request that could go on after its connection.
type Alive = mpsc::Sender<()>;

/// How long requests that were cut may take to notice.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Gives what a new connection is met with.
pub(super) type Handshakes = Box<dyn Fn() -> TlsAcceptor + Send + Sync>;

/// Accepts until `stopping` says so, then waits for the requests under way.
pub(super) async fn accept(
    listener: Listener,
    behind: Behind,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = Arc::clone(&behind.limits);
    let mut connections = JoinSet::new();
    let (alive, mut none_alive) = mpsc::channel(1);
    let mut turning_away = false;
    let mut shares = Shares::new(limits.max_connections_per_address);
    loop {
        let (stream, source) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            _ = stopping.changed() => break,
        };
        // Those that have ended are counted until they are joined.
        while connections.try_join_next().is_some() {}
        let is_full = connections.len() >= limits.max_connections;
        // Said when it begins: a flood of connections must not become one of log lines.
        if is_full && !turning_away {
            tracing::warn!("all connections are taken, more are turned away");
        }
        turning_away = is_full;
        let place = if is_full { None } else { shares.take(behind.counted_as(&stream, source)) };
        let Some(place) = place else {
            turn_away(stream, behind.tls.is_some());
            continue;
        };
        let connection = behind.connection(source, place, &stopping, &alive);
        match stream {
            Stream::Address(stream) => connections.spawn(connection.serve(stream)),
            Stream::Socket(stream) => connections.spawn(connection.serve(stream)),
        };
    }
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.shutdown, all_done).await.is_err() {
        tracing::warn!("some requests were not finished in time and are cut");
        connections.shutdown().await;
    }
    drop(alive);
    let _ = tokio::time::timeout(LAST_WORDS, none_alive.recv()).await;
    // Not before: as long as this process may still redeem, no other may take its address and
    // issue tokens of which this one does not know.
    drop(listener);
}

/// Before a TLS handshake there is nothing to be said, and a handshake costs what there is no room for.
fn turn_away(stream: Stream, has_tls: bool) {
    if has_tls {
        return;
    }
    // Tokio writes to no socket of which it has not heard yet that it can be written to.
    let _ = match stream {
        Stream::Address(stream) => stream.into_std().map(answer_busy),
        Stream::Socket(stream) => stream.into_std().map(answer_busy),
    };
}

/// The answer fits into the empty buffer of a new socket, so it is written at once or not at all.
fn answer_busy(mut stream: impl Read + Write) {
    let _ = stream.write_all(BUSY.as_bytes());
    // To close with bytes unread would reset the connection, and the answer could be lost.
    let _ = stream.read(&mut [0; 4096]);
}

/// Tells the app where each request came from.
pub(super) struct Told {
    app: TowerToHyperService<Router>,
    source: Source,
}

impl Service<Request<Incoming>> for Told {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.source);
        self.app.call(request)
    }
}

/// What carries bytes both ways and may be moved.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for S {}

/// One connection that was accepted.
struct Connection {
    app: Told,
    tls: Option<TlsAcceptor>,
    limits: Arc<Server>,
    stopping: watch::Receiver<bool>,
    alive: Alive,
    _place: Place,
}

impl Connection {
    async fn serve(mut self, stream: impl Duplex) {
        let mut stream = TimeoutStream::new(stream);
        // A client that does not read its answers would keep the connection for ever.
        stream.set_write_timeout(Some(self.limits.answer_timeout));
        let stream = Box::pin(stream);
        let Some(tls) = self.tls.take() else {
            return self.speak_http1(stream).await;
        };
        match self.shake_hands(stream, &tls).await {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                self.speak_http2(stream).await;
            }
            Ok(stream) => self.speak_http1(stream).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        }
    }

    async fn shake_hands<S: Duplex>(
        &mut self,
        stream: S,
        tls: &TlsAcceptor,
    ) -> io::Result<TlsStream<S>> {
        let handshake = tokio::time::timeout(self.limits.header_timeout, tls.accept(stream));
        tokio::select! {
            shaken = handshake => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            _ = self.stopping.changed() => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    async fn speak_http1(self, stream: impl Duplex) {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), self.app);
        live(connection, &self.limits, self.stopping, std::future::pending()).await;
    }

    async fn speak_http2(self, stream: impl Duplex) {
        let activity = Activity::new();
        let app = Tracked { app: self.app, activity: activity.clone() };
        let connection = http2::Builder::new(Streams::new(self.alive))
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .max_local_error_reset_streams(MAX_RESET_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_UNSENT_BYTES)
            .serve_connection(TokioIo::new(stream), app);
        let over = activity.over(&self.limits);
        live(connection, &self.limits, self.stopping, over).await;
    }
}

/// The requests of one HTTP/2 connection. They end with it: none goes on after the server has said that it
/// is done.
#[derive(Clone)]
struct Streams {
    requests: Arc<Mutex<JoinSet<()>>>,
    alive: Alive,
}

impl Streams {
    fn new(alive: Alive) -> Self {
        Self { requests: Arc::default(), alive }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, request: F) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        while requests.try_join_next().is_some() {}
        let alive = self.alive.clone();
        requests.spawn(async move {
            request.await;
            drop(alive);
        });
    }
}

/// Until the client has had enough, the server stops, the connection is old, or `over` says that it
/// should end and how long that may take.
async fn live<C>(
    connection: C,
    limits: &Server,
    mut stopping: watch::Receiver<bool>,
    over: impl Future<Output = Duration>,
) where
    C: GracefulConnection<Error: Display>,
{
    let mut connection: Pin<&mut C> = pin!(connection);
    let farewell = tokio::select! {
        ended = connection.as_mut() => return report(ended),
        _ = stopping.changed() => limits.shutdown,
        () = tokio::time::sleep(limits.max_connection_age) => limits.shutdown,
        farewell = over => farewell,
    };
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(farewell, connection).await {
        report(ended);
    } else {
        tracing::debug!("a connection did not end in time and is cut");
    }
}

fn report(ended: Result<(), impl Display>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
