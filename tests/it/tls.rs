//! TLS: who is answered and who is not, certificates that change, clients that must show one, and
//! HTTP/2. Against the real program on a real socket.

pub(crate) mod certificates;
mod http2;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use resetd::domain::caller::{KeyHash, api_key};
use rustls::ClientConfig;
use serde_json::Value;

use crate::server::{PATIENCE, Server, end_of, run, stderr, stdout};
use certificates::{Authority, SETTINGS, VERSIONS, connect, get, replace, shown};

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn tls_1_2_and_1_3_are_spoken_and_every_answer_asks_for_nothing_else() {
    let authority = Authority::new();
    let server = Server::start_in(authority.folder(), SETTINGS, &[]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.banner);
    for version in VERSIONS {
        for (path, status) in [("/health/live", 200), ("/nothing", 404), ("/metrics", 401)] {
            let answer = get(server.address(), authority.client(&[version]), path).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{version:?}: {answer}");
            assert!(answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"));
        }
    }
}

#[test]
fn over_plain_http_no_answer_asks_for_tls() {
    let answer = Server::start().exchange(b"GET /health/live HTTP/1.0\r\n\r\n");
    assert!(answer.contains(" 200 OK") && !answer.contains("strict-transport"), "{answer}");
}

#[test]
fn the_issuer_that_follows_from_the_address_is_https() {
    let authority = Authority::new();
    let server = Server::start_in(authority.folder(), SETTINGS, &[]);
    let path = "/.well-known/reset-token-issuer";
    let answer = get(server.address(), authority.client(&VERSIONS), path).unwrap();
    assert!(answer.contains(&format!("\"issuer\":\"{}\"", server.url)), "{answer}");
}

#[test]
fn tls_1_1_and_older_get_an_alert_and_nothing_else() {
    let server = Server::start_in(Authority::new().folder(), SETTINGS, &[]);
    for minor in [1, 2] {
        let answer = raw_exchange(&server, &client_hello_of(minor));
        // Alert: fatal, handshake_failure or protocol_version (RFC 8446 section 6).
        let [0x15, _, _, 0, 2, 2, 40 | 70] = answer[..] else {
            panic!("wanted an alert and the end, found {answer:?}");
        };
    }
}

#[test]
fn plain_http_spoken_to_tls_is_closed_without_an_http_answer() {
    let server = Server::start_in(Authority::new().folder(), SETTINGS, &[]);
    for opening in [LIVE, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", b"\n\n\n\n\n\n"]
    {
        let answer = raw_exchange(&server, opening);
        assert!(answer.len() <= 7, "more than an alert: {answer:?}");
        assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    }
}

#[test]
fn a_changed_certificate_is_shown_to_new_connections_and_the_old_ones_go_on() {
    let authority = Authority::new();
    let server = Server::start_in(authority.folder(), SETTINGS, &[]);
    let mut open = connect(server.address(), authority.client(&VERSIONS)).unwrap();
    let renewed = authority.sign();
    renewed.write(server.folder.path());
    wait_until("the new certificate is shown", || {
        shown(server.address(), authority.client(&VERSIONS)) == renewed.der()
    });
    open.write_all(LIVE).unwrap();
    let mut answer = [0; 15];
    open.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert_eq!(server.log().matches("the changed certificate is shown").count(), 1);
    assert!(!server.log().contains("WARN"), "{}", server.log());
}

#[test]
fn a_changed_pair_that_cannot_be_used_is_told_and_the_old_one_stays() {
    let key = api_key([7; 32]);
    let caller = format!(
        "[[callers]]\nname = \"watch\"\nscopes = [\"metrics\"]\nkey_sha256 = \"{}\"\n",
        KeyHash::of(key.expose())
    );
    let authority = Authority::new();
    let server = Server::start_in(authority.folder(), &(SETTINGS.to_owned() + &caller), &[]);
    let client = || authority.client(&VERSIONS);
    let before = shown(server.address(), client());
    // Of another pair, and then no certificate at all.
    for (file, text, problem) in [
        ("cert.pem", &authority.sign().certificate, "is not the key of the certificate"),
        ("cert.pem", &"none".to_owned(), "wanted certificates in PEM, found none"),
    ] {
        replace(&server.folder.path().join(file), text);
        wait_until(problem, || server.log().contains(problem));
        // So often that it would be told twice if it were.
        thread::sleep(Duration::from_millis(1200));
        assert_eq!(server.log().matches(problem).count(), 1, "{}", server.log());
        assert_eq!(tls_health(&server, client())["reloadFailing"], true);
        assert_eq!(shown(server.address(), client()), before);
    }
    let answer = get_metrics(&server, client(), key.expose());
    assert!(answer.contains("resetd_tls_reload_failing 1"), "{answer}");
    assert!(answer.contains("resetd_tls_certificate_expiry_timestamp_seconds 64060588800"));
    authority.sign().write(server.folder.path());
    wait_until("it is well again", || tls_health(&server, client())["reloadFailing"] == false);
    let expires = tls_health(&server, client())["certificateExpires"].clone();
    assert_eq!(expires, "4000-01-01T00:00:00Z");
}

#[test]
fn a_certificate_that_has_expired_or_soon_will_is_warned_about() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.sign_until(2024, 2).write(folder.path());
    let server = Server::start_in(folder, SETTINGS, &[]);
    wait_until("it is told", || server.log().contains("the certificate has expired"));
    assert!(server.log().contains("2024-02-01T00:00:00Z"), "{}", server.log());
}

#[test]
fn where_a_client_must_show_a_certificate_no_other_gets_a_connection() {
    let (authority, clients) = (Authority::new(), Authority::named("clients"));
    let folder = authority.folder();
    fs::write(folder.path().join("clients.pem"), &clients.pem).unwrap();
    let settings = format!("{SETTINGS}client_ca_file = \"clients.pem\"\n");
    let server = Server::start_in(folder, &settings, &[]);
    let [good, other] = [&clients, &authority].map(Authority::sign);
    for version in VERSIONS {
        let client = |pair| authority.client_with(&[version], pair);
        let ask = |pair| get(server.address(), client(pair), "/health/live");
        assert!(ask(Some(&good)).unwrap().starts_with("HTTP/1.1 200 "));
        // What is refused at the end of a handshake of TLS 1.3, a client learns when it reads.
        let refused = [ask(None), ask(Some(&other))].map(|answer| answer.unwrap_err().to_string());
        assert!(refused[0].contains("CertificateRequired"), "{refused:?}");
        assert!(refused[1].contains("UnknownCA"), "{refused:?}");
    }
    let answered = server.log().matches("\"message\":\"request\"").count();
    assert_eq!(answered, VERSIONS.len(), "{}", server.log());
}

#[test]
fn who_signs_the_certificates_of_clients_can_change_too() {
    let (authority, clients) = (Authority::new(), Authority::named("clients"));
    let folder = authority.folder();
    replace(&folder.path().join("clients.pem"), &clients.pem);
    let settings = format!("{SETTINGS}client_ca_file = \"clients.pem\"\n");
    let server = Server::start_in(folder, &settings, &[]);
    let others = Authority::named("others");
    let [former, new] = [&clients, &others].map(Authority::sign);
    let is_let_in = |pair| {
        let client = authority.client_with(&VERSIONS, Some(pair));
        get(server.address(), client, "/health/live").is_ok()
    };
    assert!(is_let_in(&former) && !is_let_in(&new));
    replace(&server.folder.path().join("clients.pem"), &others.pem);
    wait_until("the others are let in", || is_let_in(&new));
    assert!(!is_let_in(&former));
}

#[test]
fn admins_alone_can_be_asked_for_a_certificate() {
    let (authority, admins) = (Authority::new(), Authority::named("admins"));
    let folder = authority.folder();
    fs::write(folder.path().join("admins.pem"), &admins.pem).unwrap();
    let settings = format!(
        "[server]\nadmin_listen = \"127.0.0.1:0\"\n{SETTINGS}admin_client_ca_file = \"admins.pem\"\n"
    );
    let server = Server::start_in(folder, &settings, &[]);
    let (_, admin) = server.banner.split_once("metrics are read on https://").unwrap();
    let admin = admin.lines().next().unwrap();
    let client = |pair| authority.client_with(&VERSIONS, pair);
    assert!(get(server.address(), client(None), "/health/live").unwrap().contains(" 200 "));
    assert!(get(admin, client(None), "/metrics").is_err());
    let certified = get(admin, client(Some(&admins.sign())), "/metrics").unwrap();
    assert!(certified.starts_with("HTTP/1.1 401 "), "a key is wanted as well: {certified}");
}

/// Makes the files in a folder such that they cannot be used.
type Spoil<'s> = &'s dyn Fn(&Path);

#[test]
fn files_that_cannot_be_used_are_named_before_anything_listens() {
    let authority = Authority::new();
    let cases: [(&str, Spoil<'_>, &str); 6] = [
        (
            "open to others",
            &|folder| {
                let readable = fs::Permissions::from_mode(0o640);
                fs::set_permissions(folder.join("key.pem"), readable).unwrap();
            },
            "tls.key_file: key.pem: has mode 0640, wanted 0600 or 0400: only its owner may use a key; mend it: chmod 600 key.pem",
        ),
        (
            "of another certificate",
            &|folder| replace(&folder.join("key.pem"), &authority.sign().key),
            "tls.key_file: key.pem: is not the key of the certificate in cert.pem",
        ),
        (
            "no key",
            &|folder| replace(&folder.join("key.pem"), "secret"),
            "tls.key_file: key.pem: wanted a private key in PEM that is not encrypted, found none",
        ),
        (
            "no file",
            &|folder| fs::remove_file(folder.join("cert.pem")).unwrap(),
            "tls.certificate_file: FOLDER/cert.pem: No such file or directory (os error 2); wanted certificates in PEM; make it, or name the right path (a relative one begins where resetd is started)",
        ),
        (
            "no certificate",
            &|folder| fs::copy(folder.join("key.pem"), folder.join("cert.pem")).map(drop).unwrap(),
            "tls.certificate_file: cert.pem: wanted certificates in PEM, found none",
        ),
        (
            "no authority",
            &|folder| fs::write(folder.join("clients.pem"), "").unwrap(),
            "tls.client_ca_file: clients.pem: wanted certificates in PEM, found none",
        ),
    ];
    for (name, spoil, wanted) in cases {
        let folder = authority.folder();
        fs::write(folder.path().join("clients.pem"), &authority.pem).unwrap();
        spoil(folder.path());
        let settings = format!("{SETTINGS}client_ca_file = \"clients.pem\"\n");
        fs::write(folder.path().join("c.toml"), settings).unwrap();
        let wanted = wanted.replace("FOLDER", folder.path().to_str().unwrap());
        for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["config", "check"]] {
            let output = run(folder.path(), &[&["--config", "c.toml"], command].concat());
            assert_eq!(stderr(&output), format!("resetd: {wanted}\n"), "{name}");
            assert_eq!(output.status.code(), Some(2), "{name}");
        }
        assert!(!folder.path().join("keys").exists(), "{name}");
    }
}

#[test]
fn a_client_that_never_finishes_its_handshake_is_cut_and_holds_up_nobody() {
    let authority = Authority::new();
    let settings = format!("[server]\nheader_timeout_seconds = 2\n{SETTINGS}");
    let server = Server::start_in(authority.folder(), &settings, &[]);
    let hello = client_hello_of(3);
    let silent = [&[][..], &hello[..3], &hello[..hello.len() - 1]];
    let silent = silent.map(|start| {
        let mut stream = server.connect();
        stream.write_all(start).unwrap();
        stream
    });
    let answer = get(server.address(), authority.client(&VERSIONS), "/health/live").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is cut without a word");
    }
}

#[test]
fn a_handshake_under_way_counts_as_a_connection() {
    let authority = Authority::new();
    let settings = format!("[server]\nmax_connections = 1\nheader_timeout_seconds = 2\n{SETTINGS}");
    let server = Server::start_in(authority.folder(), &settings, &[]);
    let mut first = server.connect();
    let answer = raw_exchange(&server, LIVE);
    assert!(answer.is_empty(), "one too many, and nothing is said without TLS: {answer:?}");
    assert!(get(server.address(), authority.client(&VERSIONS), "/health/live").is_err());
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
    wait_until("there is room again", || {
        get(server.address(), authority.client(&VERSIONS), "/health/live").is_ok()
    });
}

#[test]
fn over_tls_too_one_address_takes_no_more_than_its_share() {
    let authority = Authority::new();
    let settings = format!("[server]\nmax_connections = 4\n{SETTINGS}");
    let server = Server::start_in(authority.folder(), &settings, &[]);
    let first = server.connect();
    let answer = raw_exchange(&server, LIVE);
    assert!(answer.is_empty(), "one too many, and nothing is said without TLS: {answer:?}");
    drop(first);
    wait_until("there is room again", || {
        get(server.address(), authority.client(&VERSIONS), "/health/live").is_ok()
    });
}

#[test]
fn over_tls_too_a_client_that_sends_slowly_or_nothing_is_cut() {
    let authority = Authority::new();
    let settings = format!("[server]\nheader_timeout_seconds = 1\n{SETTINGS}");
    let server = Server::start_in(authority.folder(), &settings, &[]);
    for start in [&b""[..], b"GET / HTTP/1.1\r\nx: ", LIVE] {
        let mut stream = connect(server.address(), authority.client(&VERSIONS)).unwrap();
        stream.write_all(start).unwrap();
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "it is not cut: {error}");
        }
        assert_eq!(answer.is_empty(), start != LIVE, "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn over_tls_too_a_client_that_never_reads_its_answers_is_cut() {
    let authority = Authority::new();
    let settings = format!("[server]\nanswer_timeout_seconds = 1\n{SETTINGS}");
    let server = Server::start_in(authority.folder(), &settings, &[]);
    let mut stream = connect(server.address(), authority.client(&VERSIONS)).unwrap();
    stream.sock.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match stream.write(&LIVE.repeat(100)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        assert!(Instant::now() < deadline, "it was never cut");
    }
}

#[test]
fn at_a_signal_a_handshake_under_way_does_not_hold_up_the_end() {
    let authority = Authority::new();
    let mut server = Server::start_in(authority.folder(), SETTINGS, &[]);
    let mut silent = server.connect();
    // Accepted for certain, since the next one is.
    get(server.address(), authority.client(&VERSIONS), "/health/live").unwrap();
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "it waited for the handshake to time out");
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn curl_is_content_with_it() {
    let authority = Authority::new();
    let server = Server::start_in(authority.folder(), SETTINGS, &[]);
    let ca = server.folder.path().join("ca.pem");
    fs::write(&ca, &authority.pem).unwrap();
    let url = format!("{}/health/live", server.url);
    for (version, told) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let output = Command::new("curl")
            .args(["-sS", version, "-w", " over %{http_version}", "--cacert"])
            .args([ca.as_os_str(), url.as_ref()])
            .output()
            .expect("curl is needed to run this test");
        let wanted = format!("{{\"status\":\"live\"}} over {told}");
        assert_eq!(stdout(&output), wanted, "{}", stderr(&output));
    }
}

#[test]
fn the_client_commands_trust_whom_the_system_trusts() {
    let authority = Authority::new();
    let server = Server::start_in(authority.folder(), SETTINGS, &[]);
    fs::write(server.folder.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(server.folder.path().join("other.pem"), &Authority::named("other").pem).unwrap();
    for (trusted, code) in [("ca.pem", 0), ("other.pem", 2)] {
        let mut issue = server.client();
        let output = end_of(issue.args(["issue", "alice"]).env("SSL_CERT_FILE", trusted));
        assert_eq!(output.status.code(), Some(code), "{trusted}: {}", stderr(&output));
    }
}

/// What a client of SSL or TLS 1.x says first, without any extension.
fn client_hello_of(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session, two cipher suites, no compression.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0xc0, 0x2b, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length], &hello[..]].concat()
}

/// Sends bytes on a new connection, and gives all that comes back until the server closes it.
fn raw_exchange(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream: TcpStream = server.connect();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut byte = [0];
    // Byte by byte, so that a reset takes nothing with it.
    while stream.read(&mut byte).is_ok_and(|length| length == 1) {
        answer.extend(byte);
    }
    answer
}

/// What `/health/ready` tells of the certificate.
fn tls_health(server: &Server, client: ClientConfig) -> Value {
    let answer = get(server.address(), client, "/health/ready").unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<Value>(body).unwrap()["tls"].take()
}

fn get_metrics(server: &Server, client: ClientConfig, key: &str) -> String {
    let mut stream = connect(server.address(), client).unwrap();
    let head = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    stream.write_all(format!("{head}x-api-key: {key}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
