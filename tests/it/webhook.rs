//! Webhooks: real receivers, which check messages with libraries that nobody here wrote, and some that
//! hang, drip, flood, lead elsewhere or are not who they should be.

mod cli;
mod docs;
mod events;
pub(crate) mod receiver;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use resetd::clock::{Clock as _, SystemClock};
use resetd::domain::policy::TenantName;
use resetd::domain::target::Target;
use resetd::domain::webhook::{EventKind, SecretKind, SigningSecret, Webhook};
use resetd::fetch::FetchError;
use resetd::random::Random;
use resetd::webhook::{Endpoint, MAX_BODY_BYTES, SendError, message_id};
use resetd_verify::Timestamp;
use serde_json::json;

use crate::interop::tools::Tools;
use crate::server::PATIENCE;
use crate::tls::certificates::Authority;
use receiver::{Received, Receiver, Stream};

/// What no text may show.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.c2VjcmV0LXRva2Vu.c2lnbmF0dXJl";
pub(crate) const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const BODY: &[u8] =
    br#"{"type":"webhook.test","timestamp":"2027-01-15T08:00:00Z","data":{"tenant":"default"}}"#;

fn secret(kind: SecretKind) -> SigningSecret {
    SigningSecret::from_random(kind, Random::new().bytes().unwrap())
}

/// As it would be configured.
pub(crate) fn webhook(url: &str) -> Webhook {
    webhook_in(url, &[])
}

fn webhook_in(url: &str, networks: &[IpNet]) -> Webhook {
    Webhook {
        name: "app".into(),
        tenant: TenantName::default(),
        target: Target::parse(url, networks).unwrap(),
        events: vec![EventKind::Redeemed],
        secrets: vec![secret(SecretKind::Hmac)],
        timeout: PATIENCE,
        may_carry_token: false,
    }
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::new(webhook(url))
}

/// With so little time that waiting for its end is no burden.
fn hurried(url: &str) -> Endpoint {
    let timeout = Duration::from_millis(300);
    Endpoint::new(Webhook { timeout, ..webhook(url) })
}

fn now() -> Timestamp {
    SystemClock::new().now()
}

fn send(endpoint: &Endpoint) -> Result<(), SendError> {
    endpoint.send(&message_id(&Random::new()).unwrap(), now(), BODY)
}

fn unanswered(endpoint: &Endpoint) -> FetchError {
    let error = send(endpoint).unwrap_err();
    let SendError::Unanswered(error) = error else {
        panic!("an answer: {error}");
    };
    error
}

/// What a library of others says to each message with a secret: its type, or that it is refused.
pub(crate) fn verdicts(command: Command, messages: &[(&str, &Received)]) -> Vec<String> {
    let lines = messages.iter().map(|(secret, message)| {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: serde_json::Map<_, _> =
            names.map(|name| (name.to_owned(), message.header(name).into())).into_iter().collect();
        json!({ "secret": secret, "headers": headers, "body": message.body }).to_string() + "\n"
    });
    let told = run(command, &lines.collect::<String>());
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run(mut command: Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn libraries_of_others_take_a_message_by_each_secret_of_a_rotation_and_no_altered_one() {
    let receiver = Receiver::answering(TAKEN);
    let secrets =
        [SecretKind::Hmac, SecretKind::Hmac, SecretKind::Ed25519, SecretKind::Ed25519].map(secret);
    let known = secrets
        .each_ref()
        .map(|secret| secret.public_half().unwrap_or_else(|| secret.encoded().expose().to_owned()));
    let webhook = Webhook { secrets: secrets.into(), ..webhook(&receiver.url()) };
    let endpoint = Endpoint::new(webhook);
    send(&endpoint).unwrap();
    let good = receiver.next();
    let changed = |name: &str, value: &str| {
        let (before, after) = (good.header(name), value);
        good.altered(&format!("{name}: {before}"), &format!("{name}: {after}"))
    };
    let later = (now().seconds() + 1).to_string();
    let altered = [
        Received { body: good.body.replace("default", "acme"), ..good.clone() },
        Received { body: good.body.clone() + "\n", ..good.clone() },
        changed("webhook-timestamp", &later),
        changed("webhook-id", "msg_another"),
    ];
    // A replay, a day later: signed well, but a day old.
    endpoint.send("msg_old", Timestamp::from_seconds(now().seconds() - 86_400), BODY).unwrap();
    let old = receiver.next();

    let strangers = [secret(SecretKind::Hmac), secret(SecretKind::Ed25519)];
    let strangers = strangers
        .map(|secret| secret.public_half().unwrap_or_else(|| secret.encoded().expose().to_owned()));
    let mut messages = Vec::new();
    let mut wanted = Vec::new();
    for secret in &known {
        messages.push((secret.as_str(), &good));
        wanted.push("webhook.test");
        messages.extend(altered.iter().map(|altered| (secret.as_str(), altered)));
        wanted.extend(["refused"; 4]);
    }
    messages.extend(strangers.iter().map(|secret| (secret.as_str(), &good)));
    messages.push((known[0].as_str(), &old));
    wanted.extend(["refused"; 3]);
    let tools = Tools::installed();
    for command in [
        tools.python(include_str!("webhook/verify.py")),
        tools.node(include_str!("webhook/verify.mjs")),
    ] {
        let name = command.get_program().to_owned();
        assert_eq!(verdicts(command, &messages), wanted, "{}", name.display());
    }
}

#[test]
fn a_message_names_itself_its_attempt_and_its_sender() {
    let receiver = Receiver::answering(TAKEN);
    let endpoint = endpoint(&(receiver.url() + "?key=s3cret"));
    for seconds in [1_800_000_000, 1_800_000_060] {
        endpoint.send("msg_1", Timestamp::from_seconds(seconds), BODY).unwrap();
        let message = receiver.next();
        assert_eq!(message.request_line(), "POST /hooks/resetd?key=s3cret HTTP/1.1");
        assert_eq!(message.body.as_bytes(), BODY);
        for (name, value) in [
            ("webhook-id", "msg_1".to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("content-type", "application/json".into()),
            ("user-agent", format!("resetd/{}", env!("CARGO_PKG_VERSION"))),
            ("host", receiver.address.to_string()),
        ] {
            assert_eq!(message.header(name), value);
        }
        assert!(message.header("webhook-signature").starts_with("v1,"));
    }
}

#[test]
fn what_cannot_be_a_message_is_sent_to_nobody() {
    let receiver = Receiver::answering(TAKEN);
    let endpoint = endpoint(&receiver.url());
    for id in ["", "msg.1", "msg 1", "msg\r\nx: y"] {
        assert_eq!(endpoint.send(id, now(), BODY), Err(SendError::BadId), "{id:?}");
    }
    let long = vec![b' '; MAX_BODY_BYTES + 1];
    let error = endpoint.send("msg_1", now(), &long).unwrap_err();
    assert_eq!(error, SendError::TooLong(MAX_BODY_BYTES + 1));
    assert!(error.is_permanent());
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn an_answer_says_whether_and_when_to_come_again() {
    let minute = Some(Duration::from_secs(60));
    for (answer, wanted) in [
        ("200 OK\r\ncontent-length: 2\r\n\r\nok", Ok(())),
        ("202 Accepted\r\ncontent-length: 0\r\n\r\n", Ok(())),
        ("410 Gone\r\ncontent-length: 0\r\n\r\n", Err(SendError::Gone)),
        (
            "429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n",
            Err(SendError::Refused { status: 429, retry_after: minute }),
        ),
        (
            "503 Service Unavailable\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n",
            Err(SendError::Refused { status: 503, retry_after: None }),
        ),
        (
            "404 Not Found\r\ncontent-length: 0\r\n\r\n",
            Err(SendError::Refused { status: 404, retry_after: None }),
        ),
    ] {
        let receiver = Receiver::answering(&format!("HTTP/1.1 {answer}"));
        assert_eq!(send(&endpoint(&receiver.url())), wanted, "{answer}");
    }
}

#[test]
fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Receiver::answering(TAKEN);
    for status in [301, 302, 303, 307, 308] {
        let receiver = Receiver::answering(&format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
            elsewhere.url()
        ));
        let error = send(&endpoint(&receiver.url())).unwrap_err();
        assert_eq!(error, SendError::Redirected { status });
        assert!(!error.is_permanent());
        assert_eq!(receiver.connections(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn an_answer_without_end_is_cut_and_counts_by_its_status() {
    // More than any buffer between the two takes.
    const MOST: usize = 256 * 1024 * 1024;
    let (sent, written) = mpsc::channel();
    let sent = Mutex::new(sent);
    let receiver = Receiver::start(move |stream: &mut dyn Stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MOST}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let (mut written, part) = (0, [b'x'; 8192]);
        while written < MOST && stream.write_all(&part).is_ok() {
            written += part.len();
        }
        sent.lock().unwrap().send(written).unwrap();
    });
    send(&endpoint(&receiver.url())).unwrap();
    let written = written.recv_timeout(PATIENCE).unwrap();
    assert!(written < MOST, "{written} bytes were taken");
}

#[test]
fn a_head_without_end_is_no_answer() {
    let receiver = Receiver::start(|stream: &mut dyn Stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"x-more: and-more-and-more-and-more\r\n").is_ok() {}
    });
    let error = unanswered(&endpoint(&receiver.url()));
    assert!(matches!(error, FetchError::NotHttp(_)), "{error}");
}

#[test]
fn what_is_no_http_is_no_answer() {
    for answer in ["SSH-2.0-OpenSSH_10.0\r\n", "220 mail.example ESMTP\r\n", ""] {
        let receiver = Receiver::answering(answer);
        let error = unanswered(&endpoint(&receiver.url()));
        assert!(
            matches!(error, FetchError::NotHttp(_) | FetchError::Connection(_)),
            "{answer:?}: {error:?}"
        );
    }
}

/// Keeps connections open until the test is over.
struct Held(Arc<Mutex<mpsc::Receiver<()>>>, Option<mpsc::Sender<()>>);

impl Held {
    fn new() -> Self {
        let (keep, over) = mpsc::channel();
        Self(Arc::new(Mutex::new(over)), Some(keep))
    }

    /// A receiver that does this again and again instead of answering.
    fn receiver(&self, drip: impl Fn(&mut dyn Stream) + Send + Sync + 'static) -> Receiver {
        let over = Arc::clone(&self.0);
        Receiver::start(move |stream: &mut dyn Stream| {
            let over = over.lock().unwrap();
            while over.recv_timeout(Duration::from_millis(20))
                == Err(mpsc::RecvTimeoutError::Timeout)
            {
                drip(stream);
            }
        })
    }
}

#[test]
fn a_receiver_that_hangs_or_drips_its_head_ends_by_the_time_limit() {
    let drips: [fn(&mut dyn Stream); 2] = [
        |_| {},
        |stream| {
            let _ = stream.write_all(b"H");
        },
    ];
    for drip in drips {
        let mut held = Held::new();
        let receiver = held.receiver(move |stream| drip(stream));
        let began = Instant::now();
        let error = send(&hurried(&receiver.url())).unwrap_err();
        // A drip of no HTTP may be found out sooner.
        let is_over = matches!(
            error,
            SendError::Unanswered(FetchError::TimedOut(_) | FetchError::NotHttp(_))
        );
        assert!(is_over, "{error:?}");
        assert!(!error.is_permanent());
        assert!(began.elapsed() < PATIENCE);
        held.1.take();
    }
}

#[test]
fn a_head_that_goes_on_slowly_for_ever_ends_by_the_time_limit() {
    let mut held = Held::new();
    let is_begun = Mutex::new(false);
    let receiver = held.receiver(move |stream| {
        let mut is_begun = is_begun.lock().unwrap();
        let part: &[u8] = if *is_begun { b"x: y\r\n" } else { b"HTTP/1.1 200 OK\r\n" };
        let _ = stream.write_all(part);
        *is_begun = true;
    });
    let timeout = Duration::from_millis(300);
    assert_eq!(unanswered(&hurried(&receiver.url())), FetchError::TimedOut(timeout));
    held.1.take();
}

#[test]
fn a_body_that_drips_holds_nobody_and_the_status_counts() {
    let mut held = Held::new();
    let is_begun = Mutex::new(false);
    let receiver = held.receiver(move |stream| {
        let mut is_begun = is_begun.lock().unwrap();
        let part: &[u8] =
            if *is_begun { b"x" } else { b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" };
        let _ = stream.write_all(part);
        *is_begun = true;
    });
    let began = Instant::now();
    // Enough for a head on any machine, and little enough to wait for its end.
    let timeout = Duration::from_secs(5);
    let endpoint = Endpoint::new(Webhook { timeout, ..webhook(&receiver.url()) });
    send(&endpoint).unwrap();
    assert!(began.elapsed() < PATIENCE);
    held.1.take();
}

#[test]
fn nobody_answers_at_a_closed_port() {
    let address = Receiver::answering(TAKEN).address;
    let error = unanswered(&endpoint(&format!("http://{address}/?key=s3cret")));
    assert_eq!(error.to_string(), "the connection failed: Connection refused (os error 111)");
}

#[test]
fn a_target_in_a_network_that_is_not_listed_is_not_even_dialled() {
    let pair = Authority::new().sign();
    let receiver = Receiver::with_tls("127.0.0.2", &pair, TAKEN);
    let port = receiver.address.port();
    // The URL does not say that it is on this machine, so this is a private address like any other.
    let url = format!("https://0x7f.2:{port}/hook?key=s3cret");
    for networks in [vec![], vec!["10.0.0.0/8".parse().unwrap()]] {
        let error = unanswered(&Endpoint::new(webhook_in(&url, &networks)));
        assert_eq!(
            error.to_string(),
            "127.0.0.2 leads to 127.0.0.2, which is a loopback address; list its network with the target if that is meant"
        );
    }
    assert_eq!(receiver.connections(), 0);
    // Listed, it is dialled, and its certificate is the next thing that does not fit.
    let listed = Endpoint::new(webhook_in(&url, &["127.0.0.2/32".parse().unwrap()]));
    assert!(matches!(unanswered(&listed), FetchError::Tls(_)));
    assert_eq!(receiver.connections(), 1);
    for url in [
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://[fd00:ec2::254]/",
    ] {
        assert!(matches!(unanswered(&endpoint(url)), FetchError::Forbidden(_)), "{url}");
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_before_anything_is_sent() {
    let receiver = Receiver::with_tls("127.0.0.1", &Authority::new().sign(), TAKEN);
    let url = format!("https://{}/hook", receiver.address);
    let error = unanswered(&endpoint(&url));
    assert!(matches!(&error, FetchError::Tls(why) if why.contains("UnknownIssuer")), "{error}");
    assert_eq!(receiver.connections(), 1);
    assert!(receiver.has_none());
    // A receiver that speaks no TLS at all.
    let plain = Receiver::start(|_: &mut dyn Stream| {});
    let url = format!("https://{}/hook", plain.address);
    thread::scope(|scope| {
        let sent = scope.spawn(|| unanswered(&hurried(&url)));
        assert!(!matches!(sent.join().unwrap(), FetchError::Forbidden(_)));
    });
    assert!(plain.has_none());
}

#[test]
fn an_endpoint_gets_the_events_of_its_tenant_that_it_wants() {
    let endpoint = endpoint("https://app.example.com/");
    let (own, other) = (TenantName::default(), TenantName::parse("acme").unwrap());
    assert!(endpoint.wants(EventKind::Redeemed, &own));
    assert!(!endpoint.wants(EventKind::Redeemed, &other));
    assert!(!endpoint.wants(EventKind::Issued, &own));
}

#[test]
fn neither_an_endpoint_nor_an_error_shows_a_secret_a_token_or_a_path() {
    let receiver = Receiver::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let mut webhook = webhook(&(receiver.url() + "/pa7h?key=s3cret"));
    webhook.secrets = vec![secret(SecretKind::Hmac), secret(SecretKind::Ed25519)];
    webhook.may_carry_token = true;
    let encoded: Vec<_> = webhook.secrets.iter().map(SigningSecret::encoded).collect();
    let mut shown = vec![format!("{webhook:?}")];
    let endpoint = Endpoint::new(webhook);
    shown.push(format!("{endpoint:?}"));
    let body = events::delivery_body(&endpoint);
    let error = endpoint.send("msg_1", now(), &body).unwrap_err();
    shown.extend([error.to_string(), format!("{error:?}")]);
    assert!(receiver.next().body.contains(TOKEN));
    let closed = {
        let gone = Receiver::answering(TAKEN);
        gone.url()
    };
    for url in [closed.as_str(), "https://10.0.0.1/pa7h", "https://nobody.invalid/pa7h"] {
        let error = send(&hurried(&(url.to_owned() + "/pa7h?key=s3cret"))).unwrap_err();
        shown.extend([error.to_string(), format!("{error:?}")]);
    }
    for text in shown {
        for word in ["s3cret", "pa7h", TOKEN, &TOKEN[..20], "whsec_", "whsk_"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        for secret in &encoded {
            assert!(!text.contains(&secret.expose()[8..20]), "{text}");
        }
    }
}
