//! HTTP/2: what a client can do in one connection, honest or not.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::certificates::{Authority, SETTINGS, VERSIONS, get};
use crate::server::{PATIENCE, Server};

/// A server, a connection to it, and the task that drives the connection.
struct Walk {
    server: Server,
    authority: Authority,
    send: SendRequest<Bytes>,
    driven: JoinHandle<Result<(), h2::Error>>,
}

impl Walk {
    /// With settings of the section `server`.
    async fn start(settings: &str) -> Self {
        Self::start_with(settings, |_| {}).await
    }

    async fn start_with(settings: &str, change: impl FnOnce(&mut Builder)) -> Self {
        let authority = Authority::new();
        let settings = format!("[server]\n{settings}\n{SETTINGS}");
        let server = Server::start_in(authority.folder(), &settings, &[]);
        let mut client = authority.client(&VERSIONS);
        client.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut builder = Builder::new();
        change(&mut builder);
        let (send, connection) = builder.handshake(stream).await.unwrap();
        Self { server, authority, send, driven: tokio::spawn(connection) }
    }

    /// Sends a head. The body can follow, if `is_all` is not so.
    async fn begin(
        &mut self,
        request: Request<()>,
        is_all: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.send = self.send.clone().ready().await?;
        self.send.send_request(request, is_all)
    }

    async fn ask(&mut self, request: Request<()>) -> Response<RecvStream> {
        let (answer, _) = self.begin(request, true).await.unwrap();
        timeout(PATIENCE, answer).await.unwrap().unwrap()
    }

    /// Begins to issue a token; the body is still to come.
    async fn begin_issuing(&mut self) -> (ResponseFuture, SendStream<Bytes>) {
        let request = request(Method::POST, "/password-tokens")
            .header("content-type", "application/json")
            .header("x-api-key", &self.server.api_key);
        self.begin(request.body(()).unwrap(), false).await.unwrap()
    }

    /// Waits until the server has ended the connection.
    async fn end(self) -> Server {
        timeout(PATIENCE, self.driven).await.expect("it is never ended").unwrap().ok();
        let client = self.authority.client(&VERSIONS);
        let answer = get(self.server.address(), client, "/health/live").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "others are served: {answer}");
        self.server
    }
}

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(format!("https://reset.example{path}"))
}

fn live() -> Request<()> {
    request(Method::GET, "/health/live").body(()).unwrap()
}

async fn json(answer: Response<RecvStream>) -> Value {
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        bytes.extend(chunk.unwrap());
    }
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn it_answers_as_over_http_1() {
    let mut walk = Walk::start("").await;
    let answer = walk.ask(live()).await;
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    let header = |headers: &HeaderMap, name| headers[name].to_str().unwrap().to_owned();
    let headers = answer.headers();
    assert_eq!(header(headers, "strict-transport-security"), "max-age=31536000");
    assert_eq!(header(headers, "x-content-type-options"), "nosniff");
    assert_eq!(header(headers, "cache-control"), "no-store");
    let (answer, mut body) = walk.begin_issuing().await;
    body.send_data(Bytes::from_static(br#"{"username":"alice"}"#), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(json(answer).await["username"], "alice");
}

#[tokio::test]
async fn a_request_names_one_host() {
    let mut walk = Walk::start("").await;
    for (hosts, status) in [
        (&["reset.example"][..], 200),
        (&["RESET.example"], 200),
        (&["other.example"], 400),
        (&[""], 400),
        (&["reset.example", "reset.example"], 400),
    ] {
        let mut request = live();
        for host in hosts {
            request.headers_mut().append("host", host.parse().unwrap());
        }
        let answer = walk.ask(request).await;
        assert_eq!(answer.status().as_u16(), status, "{hosts:?}");
        if status == 400 {
            assert_eq!(json(answer).await["code"], "bad_host");
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_by_its_kind() {
    let mut walk = Walk::start("").await;
    let long = "a".repeat(16_384);
    let target = request(Method::GET, &format!("/{long}")).body(()).unwrap();
    assert_eq!(walk.ask(target).await.status(), StatusCode::URI_TOO_LONG);
    let header = request(Method::GET, "/").header("x", &long).body(()).unwrap();
    assert_eq!(walk.ask(header).await.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let much = request(Method::GET, "/").header("x", long.repeat(3)).body(()).unwrap();
    assert_eq!(walk.ask(much).await.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(walk.ask(live()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn no_more_streams_are_open_at_once_than_the_server_grants() {
    let mut walk = Walk::start("body_timeout_seconds = 600\n").await;
    walk.ask(live()).await;
    assert_eq!(walk.send.current_max_send_streams(), 32);
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(walk.begin_issuing().await);
    }
    let one_more = timeout(Duration::from_millis(300), walk.begin(live(), true)).await;
    let (answer, _) = one_more.unwrap().unwrap();
    let waiting = timeout(Duration::from_millis(300), answer).await;
    assert!(waiting.is_err(), "the client itself holds it back");
}

#[tokio::test]
async fn a_client_that_begins_requests_and_resets_them_is_cut() {
    let mut walk = Walk::start("body_timeout_seconds = 600\n").await;
    let mut begun = 0;
    while begun < 5_000 {
        let request = request(Method::POST, "/revocations")
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let Ok((_, mut body)) = walk.begin(request, false).await else {
            break;
        };
        body.send_reset(Reason::CANCEL);
        begun += 1;
        tokio::task::yield_now().await;
    }
    assert!((20..5_000).contains(&begun), "{begun} requests");
    walk.end().await;
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_is_cut() {
    for asks_once in [false, true] {
        let mut walk = Walk::start("header_timeout_seconds = 1\n").await;
        if asks_once {
            walk.ask(live()).await;
        }
        walk.end().await;
    }
}

#[tokio::test]
async fn a_client_that_makes_no_room_for_its_answers_is_cut() {
    let settings = "answer_timeout_seconds = 1\n";
    let mut walk = Walk::start_with(settings, |client| {
        client.initial_window_size(0);
    })
    .await;
    let answer = walk.ask(live()).await;
    assert_eq!(answer.status(), StatusCode::OK, "the head needs no room");
    walk.end().await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused_and_other_requests_are_not() {
    let mut walk = Walk::start("body_timeout_seconds = 1\nheader_timeout_seconds = 600\n").await;
    let (slow, mut body) = walk.begin_issuing().await;
    body.send_data(Bytes::from_static(b"{"), false).unwrap();
    assert_eq!(walk.ask(live()).await.status(), StatusCode::OK);
    let slow = timeout(PATIENCE, slow).await.unwrap().unwrap();
    assert_eq!(slow.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(walk.ask(live()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_old_connection_is_ended() {
    let mut walk = Walk::start("max_connection_seconds = 1\nheader_timeout_seconds = 600\n").await;
    assert_eq!(walk.ask(live()).await.status(), StatusCode::OK);
    walk.end().await;
}

#[tokio::test]
async fn at_a_signal_what_is_under_way_is_finished() {
    let mut walk = Walk::start("").await;
    let (answer, mut body) = walk.begin_issuing().await;
    body.send_data(Bytes::from_static(b"{"), false).unwrap();
    // Answered after the other was begun, so that one is under way.
    walk.ask(live()).await;
    walk.server.signal("TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    body.send_data(Bytes::from_static(br#""username":"alice"}"#), true).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(json(answer).await["username"], "alice");
    // It may say its last word to a server that is gone.
    let _ = timeout(PATIENCE, walk.driven).await.unwrap().unwrap();
    assert_eq!(walk.server.wait().code(), Some(0));
}

#[tokio::test]
async fn requests_that_never_end_end_with_their_connection_and_each_leaves_a_line() {
    let settings = "shutdown_seconds = 1\nbody_timeout_seconds = 600\n[audit]\nsink = \"file\"\n";
    let mut walk = Walk::start(settings).await;
    let mut bodies = Vec::new();
    for _ in 0..5 {
        bodies.push(walk.begin_issuing().await);
    }
    walk.ask(live()).await;
    walk.server.signal("TERM");
    assert_eq!(walk.server.wait().code(), Some(0));
    let trail = walk.server.folder.path().join("audit/audit-00000000000000000001.jsonl");
    let trail = std::fs::read_to_string(trail).unwrap();
    assert_eq!(trail.matches("\"action\":\"issue\"").count(), 5, "{trail}");
    assert!(trail.lines().last().unwrap().contains("\"action\":\"stopped\""), "{trail}");
}
