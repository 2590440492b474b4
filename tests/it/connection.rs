//! Connections as an attacker opens them: framing that means two things, clients that are slow, silent
//! or too many, and the end of the server. Against the real program on a real socket.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::server::{PATIENCE, Server};

const LIVE: &str = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

/// Follows a request that must end the connection. If it is answered, it was smuggled.
const SMUGGLED: &str = "GET /health/ready HTTP/1.1\r\nhost: a\r\n\r\n";

/// Asks for the end of the connection by itself, so that no time-out has to be waited for.
const LAST: &str = "GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[test]
fn one_connection_serves_several_requests_in_their_order() {
    let server = serve_with(&[]);
    let unauthenticated = "DELETE /password-tokens/a HTTP/1.1\r\nhost: a\r\n\r\n";
    let answers = exchange(&server, [LIVE, unauthenticated, LAST].concat());
    assert_eq!(statuses(&answers), [200, 401, 404]);
}

#[test]
fn a_document_that_is_known_has_no_body_and_the_next_answer_follows_at_once() {
    const PATH: &str = "/.well-known/jwks.json";
    let server = serve_with(&[]);
    let get = |method: &str, known: &str| {
        format!("{method} {PATH} HTTP/1.1\r\nhost: a\r\nif-none-match: {known}\r\n\r\n")
    };
    let full = exchange(&server, get("GET", "\"other\"") + LAST);
    let header = |answers: &str, name: &str| {
        let mut lines = answers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value.trim().to_owned())
    };
    let (tag, length) = (header(&full, "etag").unwrap(), header(&full, "content-length"));
    for method in ["GET", "HEAD"] {
        let answers = exchange(&server, get(method, &tag) + LIVE + LAST);
        assert_eq!(statuses(&answers), [304, 200, 404], "{method}: {answers}");
        let (known, _) = answers.split_once("\r\n\r\n").unwrap();
        // A length, where there is one, is that of the document (RFC 9110 section 8.6).
        let told = header(known, "content-length");
        assert!(told.is_none() || told == length, "{method}: {known}");
    }
}

#[test]
fn a_head_that_two_readers_could_read_in_two_ways_ends_the_connection() {
    let server = serve_with(&[("header_timeout_seconds", 2)]);
    let heads = [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 2\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x1\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551617\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 1\r\n\r\na",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n: no name\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nn\u{e4}me: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET  HTTP/1.1\r\nhost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nhost: a\r\n\r\n",
    ];
    for_each(heads, |head| {
        let answers = exchange(&server, format!("{head}{SMUGGLED}"));
        assert!(matches!(statuses(&answers)[..], [] | [400]), "{head:?}: {answers}");
    });
}

#[test]
fn what_is_no_http_1_ends_the_connection() {
    let server = serve_with(&[("header_timeout_seconds", 2)]);
    let openings: [&[u8]; 9] = [
        b"GET /health/live\r\n\r\n",
        b"GET /health/live HTTP/0.9\r\n\r\n",
        b"GET /health/live HTTP/3.0\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\x5f\x5f\x5f\x5f\x5f\x5f\x5f\x5f\x5f\x5f\x5f\x5f",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"{\"username\":\"alice\"}\r\n\r\n",
        b"EHLO localhost\r\n",
    ];
    for_each(openings, |opening| {
        let answers = exchange(&server, [opening, SMUGGLED.as_bytes()].concat());
        assert!(matches!(statuses(&answers)[..], [] | [400]), "{opening:?}: {answers}");
    });
}

#[test]
fn chunks_beside_a_length_are_one_request_and_the_last_of_their_connection() {
    let server = serve_with(&[]);
    for both in [
        "content-length: 6\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 6",
        "transfer-encoding: chunked\r\ncontent-length: 0",
    ] {
        let head = format!("POST /redemptions HTTP/1.1\r\nhost: a\r\n{both}\r\n\r\n");
        let answers = exchange(&server, format!("{head}0\r\n\r\n{SMUGGLED}"));
        assert_eq!(statuses(&answers), [401], "{both}: {answers}");
    }
}

#[test]
fn a_broken_chunk_is_refused_and_what_follows_it_is_no_request() {
    let server = serve_with(&[]);
    let bodies = [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "2{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2;a=\n{}\r\n0\r\n\r\n",
        "10000000000000002\r\n{}\r\n0\r\n\r\n",
    ];
    for_each(bodies, |body| {
        let head = post(&server, "/redemptions", "transfer-encoding: chunked");
        let answers = exchange(&server, format!("{head}{body}{SMUGGLED}"));
        assert_eq!(statuses(&answers), [400], "{body:?}: {answers}");
        assert!(answers.contains("body_incomplete"), "{body:?}: {answers}");
    });
}

#[test]
fn the_body_of_a_request_that_is_refused_unread_is_no_request() {
    let server = serve_with(&[]);
    let length = SMUGGLED.len();
    for start in
        ["POST /redemptions HTTP/1.1", "GET /health/live HTTP/1.1", "DELETE /nothing HTTP/1.1"]
    {
        let head = format!("{start}\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        let answers = exchange(&server, [&head, SMUGGLED, LAST].concat());
        assert!(!answers.contains("\"ready\""), "{start}: {answers}");
        let after_it = statuses(&answers)[1..].to_vec();
        assert!(matches!(after_it[..], [] | [404]), "{start}: {answers}");
    }
}

#[test]
fn a_request_names_one_host_unless_it_is_of_http_1_0() {
    let server = serve_with(&[]);
    let cases = [
        ("/health/live HTTP/1.1", "", 400),
        ("/health/live HTTP/1.1", "host:\r\n", 400),
        ("/health/live HTTP/1.1", "host: a\r\nHost: a\r\n", 400),
        ("/health/live HTTP/1.1", "host: a/b\r\n", 400),
        ("http://a/health/live HTTP/1.1", "", 400),
        ("/health/live HTTP/1.0", "host: a\r\nhost: a\r\n", 400),
        ("/health/live HTTP/1.0", "", 200),
        ("/health/live HTTP/1.1", "host: a\r\n", 200),
        ("http://a/health/live HTTP/1.1", "host: b\r\n", 200),
    ];
    for_each(cases, |(target, hosts, status)| {
        let request = format!("GET {target}\r\n{hosts}connection: close\r\n\r\n");
        let answer = exchange(&server, &request);
        assert_eq!(statuses(&answer), [status], "{request:?}");
        assert_eq!(answer.contains("bad_host"), status == 400, "{request:?}");
    });
}

#[test]
fn a_head_that_is_too_long_is_refused_by_its_kind() {
    let server = serve_with(&[]);
    let long = "a".repeat(16_384);
    let (longer, many) = (long.repeat(50), "x: y\r\n".repeat(1_000));
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nx: {long}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nx: {longer}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{many}"), 431),
        (format!("GET /{longer} HTTP/1.1\r\n"), 431),
    ];
    for_each(cases, |(head, status)| {
        let request = head + "host: a\r\nconnection: close\r\n\r\n";
        assert_eq!(statuses(&exchange(&server, request)), [status]);
    });
}

#[test]
fn a_body_is_asked_for_only_when_it_is_wanted() {
    let server = serve_with(&[]);
    let body = r#"{"username":"alice"}"#;
    let expecting = format!("content-length: {}\r\nexpect: 100-continue", body.len());
    let stream = server.connect();
    write(&stream, post(&server, "/password-tokens", &expecting));
    assert_eq!(read_answer(&stream).status, 100);
    write(&stream, body);
    assert_eq!(read_answer(&stream).status, 201);

    let head = format!("POST /password-tokens HTTP/1.1\r\nhost: a\r\n{expecting}\r\n\r\n");
    assert_eq!(statuses(&exchange(&server, head)), [401]);
}

#[test]
fn a_client_that_sends_slowly_is_cut_while_others_are_served() {
    let server = serve_with(&[("header_timeout_seconds", 2), ("body_timeout_seconds", 1)]);
    let unread = "GET /health/live HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    let cases = [
        ("GET /".to_owned(), vec![]),
        ("GET / HTTP/1.1\r\nx: ".to_owned(), vec![]),
        (post(&server, "/redemptions", "content-length: 60000"), vec![408]),
        (post(&server, "/redemptions", "transfer-encoding: chunked") + "ea60\r\n", vec![408]),
        (unread.to_owned(), vec![200]),
    ];
    for_each(cases, |(start, expected)| {
        let answers = dribble(&server, &start);
        assert_eq!(statuses(&answers), expected, "{start:?}: {answers}");
    });
}

#[test]
fn a_client_that_sends_nothing_more_is_cut() {
    let server = serve_with(&[("header_timeout_seconds", 2)]);
    assert_eq!(exchange(&server, ""), "");
    assert_eq!(statuses(&exchange(&server, LIVE)), [200]);
}

#[test]
fn a_client_that_never_reads_its_answers_is_cut() {
    let server = serve_with(&[("answer_timeout_seconds", 1)]);
    let stream = server.connect();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let requests = LIVE.repeat(1_000);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match (&stream).write(requests.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        assert!(Instant::now() < deadline, "it was never cut");
        assert_served(&server);
    }
}

#[test]
fn an_old_connection_is_closed_between_its_requests() {
    let server = serve_with(&[("max_connection_seconds", 1)]);
    let mut stream = server.connect();
    let deadline = Instant::now() + PATIENCE;
    // The close may cross the next request, which then has no answer at all, never half of one.
    while stream.write_all(LIVE.as_bytes()).is_ok() && stream.peek(&mut [0]).is_ok_and(|n| n > 0) {
        assert_eq!(read_answer(&stream).status, 200);
        assert!(Instant::now() < deadline, "it was never closed");
        thread::sleep(Duration::from_millis(20));
    }
    assert_served(&server);
}

#[test]
fn one_connection_too_many_is_turned_away_at_once_and_let_in_when_there_is_room() {
    let server = serve_with(&[("max_connections", 2), ("max_connections_per_address", 2)]);
    let taken = [(); 2].map(|()| idle(server.connect()));
    for request in ["", LIVE] {
        let mut stream = server.connect();
        let _ = stream.write_all(request.as_bytes());
        let busy = read_answer(&stream);
        assert_eq!(busy.status, 503);
        assert_eq!(read_to_close(&stream), "", "its length is right and it is the last");
        let body: Value = serde_json::from_str(&busy.body).unwrap();
        assert_eq!(body["code"], "busy");
        assert_eq!(body["status"], 503);
        for line in [
            "content-type: application/problem+json",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'; frame-ancestors 'none'",
            "retry-after: 1",
            "connection: close",
        ] {
            assert!(busy.head.lines().any(|found| found == line), "{line}: {}", busy.head);
        }
    }
    drop(taken);
    assert_served(&server);
}

#[test]
fn one_address_takes_its_share_of_connections_and_another_is_still_answered() {
    let server = serve_with(&[("max_connections", 8)]);
    let taken = [(); 2].map(|()| idle(server.connect()));
    for _ in 0..3 {
        let busy = read_answer(&server.connect());
        assert_eq!(busy.status, 503);
        let body: Value = serde_json::from_str(&busy.body).unwrap();
        assert_eq!(body["code"], "busy");
    }
    let others = [(); 2].map(|()| idle(connect_from("127.0.0.2", &server)));
    assert_eq!(read_answer(&connect_from("127.0.0.2", &server)).status, 503);
    let log = server.log();
    assert_eq!(log.matches("an address has its share of connections").count(), 1, "{log}");
    assert!(log.contains("127.0.0.1"), "{log}");
    drop(taken);
    assert_served(&server);
    drop(others);
}

#[test]
fn a_trusted_proxy_has_all_connections_as_soon_as_it_is_trusted() {
    let settings = "[server]\nmax_connections = 4\nheader_timeout_seconds = 600\n";
    let server = Server::start_with(settings, &[]);
    let first = idle(server.connect());
    assert_eq!(read_answer(&server.connect()).status, 503);
    let proxies = "[limits]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    fs::write(server.folder.path().join("settings.toml"), format!("{settings}{proxies}")).unwrap();
    server.signal("HUP");
    let deadline = Instant::now() + PATIENCE;
    while !server.log().contains("the configuration is reloaded") {
        assert!(Instant::now() < deadline, "it was not reloaded");
        thread::sleep(Duration::from_millis(20));
    }
    let more = [(); 3].map(|()| idle(server.connect()));
    assert_eq!(read_answer(&server.connect()).status, 503, "all are taken, also for a proxy");
    drop((first, more));
    assert_served(&server);
}

#[test]
fn at_a_signal_what_is_under_way_is_finished_and_nothing_else_begins() {
    for signal in ["TERM", "INT"] {
        let mut server = serve_with(&[]);
        let idle = server.connect();
        write(&idle, LIVE);
        assert_eq!(read_answer(&idle).status, 200);
        let fresh = server.connect();
        let (under_way, rest) = begin_issuing(&server);
        server.signal(signal);
        for stream in [&idle, &fresh] {
            assert_eq!(read_to_close(stream), "");
        }
        // A second server must not issue what this one, still answering, could take for unspent.
        assert!(TcpListener::bind(server.address()).is_err(), "the address is free too soon");
        let late = server.connect();
        write(&late, LIVE);
        write(&under_way, rest);
        let answer = read_to_close(&under_way);
        assert_eq!(statuses(&answer), [201], "{signal}: {answer}");
        assert_eq!(server.wait().code(), Some(0), "{signal}");
        assert_eq!(read_to_close(&late), "");
    }
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_the_end() {
    let mut server = serve_with(&[("shutdown_seconds", 1)]);
    let (under_way, _) = begin_issuing(&server);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(read_to_close(&under_way), "");
}

#[test]
fn after_two_hundred_broken_requests_it_serves_as_before() {
    let server = serve_with(&[("header_timeout_seconds", 2), ("body_timeout_seconds", 1)]);
    let key = &server.api_key;
    let body = r#"{"username":"alice","ttl":900}"#;
    let length = format!("content-length: {}", body.len());
    let seeds = [
        format!(
            "GET /password-tokens/a.b.c HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\r\n"
        ),
        post(&server, "/password-tokens", &length) + body,
        post(&server, "/redemptions", "transfer-encoding: chunked") + "2\r\n{}\r\n0\r\n\r\n",
        LIVE.repeat(3),
    ];
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let broken: Vec<_> =
        (0..200).map(|n| chance.break_up(seeds[n % seeds.len()].as_bytes())).collect();
    for request in broken {
        let stream = server.connect();
        let _ = (&stream).write_all(&request);
        let _ = stream.shutdown(Shutdown::Write);
        let answers = read_to_close(&stream);
        let faults = statuses(&answers).into_iter().filter(|status| *status >= 500);
        assert_eq!(faults.count(), 0, "{:?}: {answers}", String::from_utf8_lossy(&request));
    }
    assert_served(&server);
    let log = server.log();
    assert!(!log.contains("panic") && !log.contains("ERROR"), "{log}");
}

/// Starts a request; the server has its head and waits for its body, which is handed back.
fn begin_issuing(server: &Server) -> (TcpStream, &'static str) {
    let (sent, rest) = (r#"{"username":"#, r#""alice"}"#);
    let length = sent.len() + rest.len();
    let stream = server.connect();
    let headers = format!("content-length: {length}\r\nexpect: 100-continue");
    write(&stream, post(server, "/password-tokens", &headers));
    assert_eq!(read_answer(&stream).status, 100);
    write(&stream, sent);
    (stream, rest)
}

/// The head of a request with a good key and a body of JSON.
fn post(server: &Server, path: &str, headers: &str) -> String {
    let key = &server.api_key;
    format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\
         content-type: application/json\r\n{headers}\r\n\r\n"
    )
}

/// All cases at once: most of their time is spent waiting to be cut.
fn for_each<C: Send>(cases: impl IntoIterator<Item = C>, judge: impl Fn(C) + Sync) {
    let judge = &judge;
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || judge(case));
        }
    });
}

fn write(mut stream: &TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).unwrap();
}

/// A connection that was let in, and on which nothing goes on.
fn idle(stream: TcpStream) -> TcpStream {
    write(&stream, LIVE);
    assert_eq!(read_answer(&stream).status, 200);
    stream
}

/// A connection from another address of this machine; on Linux all of 127.0.0.0/8 are.
fn connect_from(source: &str, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source.parse().unwrap(), 0).into()).unwrap();
    let target: SocketAddr = server.address().parse().unwrap();
    socket.connect(&target.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes on a new connection, and gives all that comes back until the server closes it.
fn exchange(server: &Server, request: impl AsRef<[u8]>) -> String {
    let stream = server.connect();
    // The server may close before it has read everything.
    let _ = (&stream).write_all(request.as_ref());
    read_to_close(&stream)
}

fn read_to_close(mut stream: &TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it was not closed");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a byte at a time for as long as the server bears it.
fn dribble(server: &Server, start: &str) -> String {
    let stream = server.connect();
    write(&stream, start);
    thread::scope(|scope| {
        let answers = scope.spawn(|| read_to_close(&stream));
        while !answers.is_finished() {
            let _ = (&stream).write_all(b" ");
            assert_served(server);
            thread::sleep(Duration::from_millis(50));
        }
        answers.join().unwrap()
    })
}

/// An honest client that tries again while the machine stalls.
fn assert_served(server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    while statuses(&exchange(server, [LIVE, LAST].concat())) != [200, 404] {
        assert!(Instant::now() < deadline, "an honest client was not served");
    }
}

/// One answer of several on a connection.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

fn read_answer(mut stream: &TcpStream) -> Reply {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    Reply { status: statuses(&head)[0], body: String::from_utf8(body).unwrap(), head }
}

/// The statuses of all answers in what came back.
fn statuses(answers: &str) -> Vec<u16> {
    let answers = answers.split("HTTP/1.").skip(1);
    answers.map(|answer| answer[2..5].parse().unwrap()).collect()
}

/// Numbers that look random and are the same in every run (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// The bytes with one to four of them changed, doubled, left out or followed by nothing.
    fn break_up(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len());
            match self.below(8) {
                0 => bytes.truncate(place + 1),
                1 => drop(bytes.remove(place)),
                2 => bytes.insert(place, bytes[place]),
                3 => bytes.insert(place, b"\r\n\0: ;%"[self.below(7)]),
                _ => bytes[place] = u8::try_from(self.below(256)).unwrap(),
            }
        }
        bytes
    }
}

/// A server of which no time-out is ever reached, but for these settings.
fn serve_with(settings: &[(&str, u64)]) -> Server {
    let patient =
        ["header_timeout", "body_timeout", "answer_timeout", "max_connection", "shutdown"];
    let patient = patient.map(|name| (format!("{name}_seconds"), 600));
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), *value));
    let settings: BTreeMap<_, _> = patient.into_iter().chain(settings).collect();
    let lines: Vec<_> =
        settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    Server::start_with(&format!("[server]\n{}", lines.concat()), &[])
}
