//! Nobody learns from an answer who is a user: those who are, who are not, who are disabled and who were
//! asked for too often get the same answer, after the same time.
//!
//! Times are compared within rounds, each with one request of every kind in an order of its own, by which
//! was the slower one. So neither the speed of the machine nor its drift plays a part.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{PATIENCE, Server};

const ROUNDS: usize = 250;

/// So many standard deviations from even are chance no more: less than one in a million.
const FAR: f64 = 5.0;

/// So many links one user is sent. More than one, since two names that are counted as one by chance must
/// not be throttled.
const AT_ONCE: usize = 3;

const KINDS: [&str; 4] = ["known", "unknown", "disabled", "throttled"];

fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let mut users = String::new();
    let mut add = |name: &str, is_enabled: bool| {
        let email = format!("{name}@example.com");
        writeln!(
            users,
            "[[people]]\nusername = \"{name}\"\nemail = \"{email}\"\nenabled = {is_enabled}"
        )
        .unwrap();
    };
    for round in 0..ROUNDS {
        add(&format!("known-{round:03}"), true);
        add(&format!("disabled-{round:03}"), false);
    }
    add("throttled", true);
    let path = folder.path().join("users.toml");
    fs::write(&path, users).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let config = "
        [link]
        template = \"https://app.example.com/reset#{token}\"
        [directory]
        kind = \"file\"
        file = \"users.toml\"
        [limits]
        source_per_minute = 0
        user_tokens_per_hour = 3
    ";
    Server::start_in(folder, config, &[])
}

/// An answer without what is each request's own.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    status: String,
    headers: Vec<String>,
    members: Vec<String>,
}

/// One connection for all, so that nothing but the answer differs.
struct Client<'s> {
    stream: BufReader<TcpStream>,
    server: &'s Server,
}

impl Client<'_> {
    fn deliver(&mut self, username: &str) -> (Shape, Duration) {
        let body = json!({ "username": username }).to_string();
        let (address, key) = (self.server.address(), &self.server.api_key);
        let request = format!(
            "POST /deliveries HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let started = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let took = started.elapsed();
        let (status, mut headers, mut length) = (line.trim().to_owned(), Vec::new(), 0);
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            if name == "content-length" {
                length = value.parse().unwrap();
            }
            let is_its_own = ["date", "x-request-id", "content-length"].contains(&name);
            headers.push(if is_its_own { name.to_owned() } else { format!("{name}: {value}") });
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["username"], username);
        assert_eq!(body["channel"], "email");
        let members = body.as_object().unwrap().keys().cloned().collect();
        (Shape { status, headers, members }, took)
    }
}

fn name(kind: &str, round: usize) -> String {
    if kind == "throttled" { kind.to_owned() } else { format!("{kind}-{round:03}") }
}

/// Every order of the kinds comes up as often.
fn order_of(round: usize) -> Vec<usize> {
    let (mut left, mut order, mut choice) = (vec![0, 1, 2, 3], Vec::new(), round);
    while !left.is_empty() {
        let count = left.len();
        order.push(left.remove(choice % count));
        choice /= count;
    }
    order
}

/// By how many standard deviations one of two is the slower one more often than not.
fn slower_by(one: &[Duration], other: &[Duration]) -> f64 {
    let pairs = one.iter().zip(other).filter(|(one, other)| one != other);
    let (slower, all) = pairs.fold((0.0, 0.0), |(slower, all), (one, other)| {
        (slower + f64::from(u8::from(one > other)), all + 1.0)
    });
    if all == 0.0 { 0.0 } else { (slower - all / 2.0) / (all / 4.0_f64).sqrt() }
}

#[test]
fn nobody_learns_from_an_answer_or_its_time_who_is_a_user() {
    let server = server();
    let mut client = Client { stream: BufReader::new(server.connect()), server: &server };
    let (expected, _) = client.deliver("throttled");
    for _ in 1..AT_ONCE {
        client.deliver("throttled");
    }
    assert_eq!(expected.status, "HTTP/1.1 202 Accepted");
    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..ROUNDS {
        for kind in order_of(round) {
            let (shape, took) = client.deliver(&name(KINDS[kind], round));
            assert_eq!(shape, expected, "{}", KINDS[kind]);
            times[kind].push(took);
        }
    }
    for (one, of_one) in KINDS.iter().zip(&times) {
        for (other, of_other) in KINDS.iter().zip(&times) {
            let by = slower_by(of_one, of_other);
            assert!(by < FAR, "{one} is slower than {other} by {by} standard deviations");
        }
    }

    // And it did what it hides: who is known has a mail, and once only, and nobody else has.
    let folder = server.folder.path().join("mail/new");
    let until = Instant::now() + PATIENCE;
    let mails = || fs::read_dir(&folder).map_or(0, Iterator::count);
    while mails() <= ROUNDS {
        assert!(Instant::now() < until, "{} mails; {}", mails(), unsent(&server));
        std::thread::sleep(Duration::from_millis(20));
    }
    // Of the links to one user that were asked for at once, the last one replaces the others.
    assert!(mails() <= ROUNDS + AT_ONCE, "{}", mails());
    for mail in fs::read_dir(&folder).unwrap() {
        let mail = fs::read_to_string(mail.unwrap().path()).unwrap();
        let to = mail.lines().find_map(|line| line.strip_prefix("To: ")).unwrap();
        assert!(to.starts_with("known-") || to.starts_with("throttled@"), "{to}");
    }
}

/// What the log says of those who should have had a mail.
fn unsent(server: &Server) -> String {
    let log = fs::read_to_string(server.folder.path().join("log.jsonl")).unwrap();
    let is_of_others = |line: &&str| {
        ["throttled", "user_unknown", "user_disabled"].iter().any(|code| line.contains(code))
    };
    log.lines().filter(|line| line.contains("not sent") && !is_of_others(line)).collect()
}

#[test]
fn a_small_delay_of_one_kind_would_be_seen() {
    let noise = |n: u64| {
        let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Duration::from_micros(
            1000 + (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) % 1000,
        )
    };
    let of = |first: u64| (first..).map(noise).take(ROUNDS).collect::<Vec<_>>();
    let (one, other) = (of(0), of(1 << 32));
    let later: Vec<_> = other.iter().map(|time| *time + Duration::from_micros(250)).collect();
    assert!(slower_by(&one, &other).abs() < FAR);
    assert!(slower_by(&later, &one) > FAR);
}
