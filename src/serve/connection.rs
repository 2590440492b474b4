//! The accept loop and the life of one connection. `axum::serve` sets no timers; here every
//! connection has a time for its headers, an age, and an end.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::pin::pin;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use crate::config::Server;
use crate::http::{MAX_HEAD_BYTES, ON_EVERY_ANSWER, ProblemKind, Source};

/// Sent where all connections are taken, without reading a byte.
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

/// Pause after an accept that failed, as when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stopping` says so, then waits for the requests under way.
pub(super) async fn accept(
    listener: TcpListener,
    app: Router,
    limits: Server,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut turning_away = false;
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
        if is_full {
            turn_away(stream);
            continue;
        }
        let app = Told { app: TowerToHyperService::new(app.clone()), source: Source(source.ip()) };
        connections.spawn(serve(stream, app, limits.clone(), stopping.clone()));
    }
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.shutdown, all_done).await.is_err() {
        tracing::warn!("some requests were not finished in time and are cut");
        connections.shutdown().await;
    }
    // Not before: as long as this process may still redeem, no other may take its address and
    // issue tokens of which this one does not know.
    drop(listener);
}

/// The answer fits into the empty buffer of a new socket, so it is written at once or not at all.
fn turn_away(stream: TcpStream) {
    // Tokio writes to no socket of which it has not heard yet that it can be written to.
    let Ok(mut stream) = stream.into_std() else {
        return;
    };
    let _ = stream.write_all(BUSY.as_bytes());
    // To close with bytes unread would reset the connection, and the answer could be lost.
    let _ = stream.read(&mut [0; 4096]);
}

/// Tells the app where each request came from.
struct Told {
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

async fn serve(stream: TcpStream, app: Told, limits: Server, mut stopping: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    // A client that does not read its answers would keep the connection for ever.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.answer_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), app);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return report(ended),
        _ = stopping.changed() => {}
        () = tokio::time::sleep(limits.max_connection_age) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(limits.shutdown, connection).await {
        report(ended);
    } else {
        tracing::debug!("a connection did not end in time and is cut");
    }
}

fn report(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
