//! The accept loop and the life of one connection. `axum::serve` sets no timers; here every
//! connection has a time for its headers, an age, and an end.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Server;
use crate::http::MAX_HEAD_BYTES;

/// Sent where all connections are taken, without reading a byte.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\n\
    retry-after: 1\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: 144\r\n\r\n\
    {\"type\":\"urn:resetd:problem:busy\",\"title\":\"All connections are taken\",\"status\":503,\
    \"detail\":\"Try again in a moment.\",\"code\":\"busy\"}          ";

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
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            _ = stopping.changed() => break,
        };
        if connections.len() >= limits.max_connections {
            turn_away(&stream);
            continue;
        }
        connections.spawn(serve(stream, app.clone(), limits.clone(), stopping.clone()));
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.shutdown, all_done)
        .await
        .is_err()
    {
        tracing::warn!("some requests were not finished in time and are cut");
    }
}

/// The answer fits into the empty buffer of a new socket, so it is written at once or not at all.
fn turn_away(stream: &TcpStream) {
    tracing::warn!("all connections are taken, one is turned away");
    let _ = stream.try_write(BUSY);
}

async fn serve(
    stream: TcpStream,
    app: Router,
    limits: Server,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return report(ended),
        _ = stopping.changed() => {}
        () = tokio::time::sleep(limits.max_connection_age) => {}
    }
    connection.as_mut().graceful_shutdown();
    // A client that does not read its answer would keep the connection for ever.
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
