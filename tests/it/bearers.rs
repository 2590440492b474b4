//! Clients of an identity provider, who call with its access tokens (RFC 9068).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd::clock::{Clock as _, SystemClock};
use resetd_verify::crypto::{SigningKey, generate_p256};
use serde_json::{Value, json};
use signature::Signer as _;

use crate::server::{PATIENCE, Server, run, stderr};

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "https://reset.example.com";

/// An identity provider.
struct Provider {
    key: SigningKey,
    jwk: Value,
}

impl Provider {
    fn new(kid: &str) -> Self {
        let (d, point) = generate_p256().unwrap();
        let key = SigningKey::from_p256(&d, &point).unwrap();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y });
        Self { key, jwk }
    }

    /// Beside keys that are none of ours, as providers have them.
    fn jwks(&self) -> String {
        let other = json!({ "kty": "RSA", "use": "enc", "kid": "enc", "n": "AQAB", "e": "AQAB" });
        json!({ "keys": [other, self.jwk] }).to_string()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.try_sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": "ES256", "kid": self.jwk["kid"] })
    }

    fn token(&self, scope: &str) -> String {
        self.sign(&self.header(), &claims(scope))
    }
}

fn claims(scope: &str) -> Value {
    let now = SystemClock::new().now().seconds();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "svc", "client_id": "web", "scope": scope,
        "iat": now, "exp": now + 300, "jti": "1",
    })
}

fn settings(keys: &str) -> String {
    format!(
        "[[bearers]]\nname = \"login\"\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n{keys}\nscope_prefix = \"reset:\"\nscopes = [\"issue\", \"check\"]\n"
    )
}

/// A server that trusts the provider by a file.
fn trusting(provider: &Provider) -> Server {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jwks.json"), provider.jwks()).unwrap();
    Server::start_in(folder, &settings("jwks_file = \"jwks.json\""), &[])
}

/// Status and whole answer to a wish for a token.
fn issue(server: &Server, token: &str) -> (u16, String) {
    let body = "{\"username\": \"alice\"}";
    let request = format!(
        "POST /password-tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = server.exchange(request.as_bytes());
    (answer[9..12].parse().unwrap(), answer)
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_client_may_do_what_its_scopes_say_and_what_its_provider_may_give() {
    let provider = Provider::new("k1");
    let server = trusting(&provider);
    assert_eq!(issue(&server, &provider.token("openid reset:issue")).0, 201);
    for (scope, status) in [
        ("reset:check", 403),
        ("issue", 403),
        ("reset:issue:all", 403),
        ("", 403),
        ("reset:redeem reset:keys:write", 403),
    ] {
        assert_eq!(issue(&server, &provider.token(scope)).0, status, "{scope}");
    }
    assert!(server.log().contains("\"caller\":\"login:web\""), "{}", server.log());
}

#[test]
fn a_client_of_rebilly_is_let_in_by_an_access_token_beside_a_key_that_is_no_more() {
    let provider = Provider::new("k1");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("jwks.json"), provider.jwks()).unwrap();
    let settings = settings("jwks_file = \"jwks.json\"") + "[rebilly]\nenabled = true\n";
    let server = Server::start_in(folder, &settings, &[]);
    let token = {
        let answer = issue(&server, &provider.token("reset:issue")).1;
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        body["token"].as_str().unwrap().to_owned()
    };
    for (scope, status) in [("reset:check", "200"), ("reset:issue", "403")] {
        let bearer = provider.token(scope);
        let request = format!(
            "GET /password-tokens/{token} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nREB-APIKEY: rsk_old\r\nConnection: close\r\n\r\n"
        );
        let answer = server.exchange(request.as_bytes());
        assert_eq!(&answer[9..12], status, "{answer}");
        assert!(answer.contains("\r\ncontent-type: application/json\r\n"), "{answer}");
    }
}

#[test]
fn whatever_is_no_access_token_of_the_provider_lets_nobody_in() {
    let (provider, stranger) = (Provider::new("k1"), Provider::new("k1"));
    let server = trusting(&provider);
    let now = SystemClock::new().now().seconds();
    let header = |name: &str, value: Value| {
        let mut header = provider.header();
        header[name] = value;
        provider.sign(&header, &claims("reset:issue"))
    };
    let claim = |name: &str, value: Value| {
        let mut claims = claims("reset:issue");
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        provider.sign(&provider.header(), &claims)
    };
    let good = provider.token("reset:issue");
    let reset_token = {
        let answer = issue(&server, &good).1;
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        body["token"].as_str().unwrap().to_owned()
    };
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let cases = [
        ("stranger", stranger.token("reset:issue")),
        ("reset token", reset_token),
        ("JWT", header("typ", json!("JWT"))),
        ("no typ", header("typ", Value::Null)),
        ("ID token", header("typ", json!("id_token+jwt"))),
        ("none", header("alg", json!("none"))),
        ("HS256", header("alg", json!("HS256"))),
        ("EdDSA", header("alg", json!("EdDSA"))),
        ("kid", header("kid", json!("k2"))),
        ("crit", header("crit", json!(["x"]))),
        ("no signature", format!("{signed}.")),
        ("other signature", format!("{signed}.{}A", &signature[1..])),
        ("four parts", format!("{good}.x")),
        ("iss", claim("iss", json!("https://login.example.com/"))),
        ("no iss", claim("iss", Value::Null)),
        ("aud", claim("aud", json!("https://other.example.com"))),
        ("aud list", claim("aud", json!(["https://other.example.com"]))),
        ("no aud", claim("aud", Value::Null)),
        ("exp", claim("exp", json!(now - 61))),
        ("no exp", claim("exp", Value::Null)),
        ("exp text", claim("exp", json!("9999999999"))),
        ("exp fraction", claim("exp", json!(9_999_999_999.5))),
        ("iat", claim("iat", json!(now + 3600))),
        ("no iat", claim("iat", Value::Null)),
        ("nbf", claim("nbf", json!(now + 3600))),
        ("no client", claim("client_id", Value::Null)),
        ("client", claim("client_id", json!("a\nb"))),
        ("long", format!("{good}{}", "A".repeat(9000))),
    ];
    for (what, token) in cases {
        let (status, answer) = issue(&server, &token);
        assert_eq!(status, 401, "{what}: {answer}");
        assert!(answer.contains("\"code\":\"unauthenticated\""), "{what}: {answer}");
    }
    for (what, token) in [
        ("audiences", claim("aud", json!(["https://other.example.com", AUDIENCE]))),
        ("media type", header("typ", json!("application/at+jwt"))),
        ("a clock a little behind", claim("exp", json!(now - 30))),
        ("a clock a little ahead", claim("iat", json!(now + 30))),
    ] {
        let (status, answer) = issue(&server, &token);
        assert_eq!(status, 201, "{what}: {answer}");
    }
    let log = server.log();
    assert!(log.contains("its signature is not good") && !log.contains(signature), "{log}");
}

#[test]
fn keys_in_a_file_are_taken_up_when_it_changes_and_stay_when_it_is_broken() {
    let (first, second) = (Provider::new("k1"), Provider::new("k2"));
    let server = trusting(&first);
    let file = server.folder.path().join("jwks.json");
    let is_in = |provider: &Provider| issue(&server, &provider.token("reset:issue")).0 == 201;
    assert!(is_in(&first) && !is_in(&second));
    fs::write(&file, "{").unwrap();
    wait_until("the fault", || server.log().contains("its keys cannot be read"));
    assert!(is_in(&first));
    fs::write(&file, second.jwks()).unwrap();
    wait_until("the new key", || is_in(&second));
    assert!(!is_in(&first));
}

/// A provider's address: answers with what is in the slot, and counts.
fn serve_jwks(jwks: Arc<Mutex<String>>, asked: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            asked.fetch_add(1, Ordering::SeqCst);
            let body = jwks.lock().unwrap().clone();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    url
}

#[test]
fn keys_at_an_address_are_fetched_again_for_a_key_that_is_not_known_and_not_for_every_one() {
    let (first, second) = (Provider::new("k1"), Provider::new("k2"));
    let (jwks, asked) = (Arc::new(Mutex::new(first.jwks())), Arc::<AtomicUsize>::default());
    let url = serve_jwks(jwks.clone(), asked.clone());
    let server = Server::start_with(&settings(&format!("jwks_url = \"{url}\"")), &[]);
    let is_in = |provider: &Provider| issue(&server, &provider.token("reset:issue")).0 == 201;
    assert!(is_in(&first) && !is_in(&second));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    *jwks.lock().unwrap() = second.jwks();
    // It was fetched just now, so it takes until the pause between two fetches is over.
    wait_until("the new key", || is_in(&second));
    for _ in 0..50 {
        assert!(!is_in(&first));
    }
    thread::sleep(Duration::from_secs(1));
    assert_eq!(
        asked.load(Ordering::SeqCst),
        2,
        "made-up keys are no reason to ask again and again"
    );
}

#[test]
fn a_provider_that_does_not_answer_keeps_nobody_else_out() {
    let server = Server::start_with(
        &(settings("jwks_url = \"http://127.0.0.1:9/jwks\"")
            + "[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\nkey_sha256 = \""
            + &resetd::domain::caller::KeyHash::of(
                resetd::domain::caller::api_key([7; 32]).expose(),
            )
            .to_string()
            + "\"\n"),
        &[],
    );
    assert_eq!(issue(&server, &Provider::new("k1").token("reset:issue")).0, 401);
    assert_eq!(issue(&server, resetd::domain::caller::api_key([7; 32]).expose()).0, 201);
    assert!(server.log().contains("its keys cannot be read"));
}

#[test]
fn a_providers_clients_can_be_pinned_to_networks() {
    let provider = Provider::new("k1");
    for (network, status) in [("127.0.0.0/8", 201), ("10.0.0.0/8", 401)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("jwks.json"), provider.jwks()).unwrap();
        let keys = format!("jwks_file = \"jwks.json\"\nnetworks = [\"{network}\"]");
        let server = Server::start_in(folder, &settings(&keys), &[]);
        assert_eq!(issue(&server, &provider.token("reset:issue")).0, status, "{network}");
    }
}

#[test]
fn a_key_name_that_stands_twice_is_nobodys_and_the_others_count() {
    let (first, second) = (Provider::new("k1"), Provider::new("k2"));
    let server = trusting(&first);
    let set = json!({ "keys": [first.jwk, first.jwk, second.jwk] }).to_string();
    fs::write(server.folder.path().join("jwks.json"), set).unwrap();
    wait_until("the other key", || issue(&server, &second.token("reset:issue")).0 == 201);
    assert_eq!(issue(&server, &first.token("reset:issue")).0, 401);
}

#[test]
fn a_provider_that_cannot_be_trusted_is_refused_with_its_line() {
    for (keys, wanted) in [
        ("jwks_url = \"http://login.example.com/jwks\"", "bearers.0.jwks_url: wanted an https URL"),
        ("", "bearers.0: wanted exactly one of jwks_file and jwks_url"),
        ("jwks_file = \"a\"\njwks_url = \"https://b\"", "bearers.0: wanted exactly one of"),
        ("jwks_url = \"https://user:hunter2@b\"", "wanted an https URL without a user or password"),
        ("jwks_file = \"a\"\ntenant = \"acme\"", "bearers.0.tenant: no tenant \"acme\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("settings.toml"), settings(keys)).unwrap();
        let output = run(folder.path(), &["--config", "settings.toml", "config", "check"]);
        assert_eq!(output.status.code(), Some(2));
        let told = stderr(&output);
        assert!(told.contains(wanted) && !told.contains("hunter2"), "{told}");
    }
}
