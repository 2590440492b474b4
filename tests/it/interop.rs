//! Verifiers that nobody here wrote, `PyJWT` and jose, fetch the keys of a running server and check
//! its tokens. Below them, the rules of the wire that other verifiers were found to need.

mod keys;
mod metrics;
pub(crate) mod tools;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd::clock::{Clock as _, SystemClock};
use resetd_verify::Algorithm;
use serde_json::{Value, json};

use crate::app::AUDIENCE;
use crate::server::Server;
use tools::Tools;

/// The algorithms that every verifier here knows.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];

#[test]
fn pyjwt_and_jose_take_an_es256_token_and_no_altered_one() {
    assert_verified_elsewhere(Algorithm::Es256);
}

#[test]
fn pyjwt_and_jose_take_an_eddsa_token_and_no_altered_one() {
    assert_verified_elsewhere(Algorithm::EdDsa);
}

#[test]
fn pyjwt_and_jose_take_an_rs256_token_from_a_set_of_all_kinds_and_no_altered_one() {
    assert_verified_elsewhere(Algorithm::Rs256);
}

#[test]
fn a_header_names_the_algorithm_the_type_and_the_key_and_nothing_else() {
    for algorithm in ALGORITHMS {
        let server = server_with(algorithm);
        let [header, _] = decoded(&issue(&server, 900));
        let keys = keys(&server);
        let kid = &key_for(&keys, algorithm)["kid"];
        // Never `Ed25519`, the newer name of `EdDSA`: there are verifiers that do not know it.
        let alg = algorithm.name();
        assert_eq!(header, json!({ "alg": alg, "typ": "reset+jwt", "kid": kid }));
    }
}

#[test]
fn an_audience_is_a_plain_string_and_times_are_whole_seconds_without_nbf() {
    for algorithm in ALGORITHMS {
        let server = server_with(algorithm);
        let [_, claims] = decoded(&issue(&server, 900));
        assert_eq!(members(&claims), BTreeSet::from(["aud", "exp", "iat", "iss", "jti", "sub"]));
        assert_eq!(claims["iss"], server.url);
        assert_eq!(claims["aud"], AUDIENCE);
        assert_eq!(claims["sub"], "alice");
        let [iat, exp] = ["iat", "exp"].map(|name| claims[name].as_u64().unwrap());
        assert_eq!(exp - iat, 900);
    }
}

#[test]
fn every_published_key_has_its_use_algorithm_and_file_name_and_only_public_members() {
    for algorithm in ALGORITHMS {
        for key in keys(&server_with(algorithm)) {
            let (alg, own_members) = match key["kty"].as_str().unwrap() {
                "EC" => ("ES256", &["crv", "x", "y"][..]),
                "OKP" => ("EdDSA", &["crv", "x"][..]),
                "RSA" => ("RS256", &["e", "n"][..]),
                other => panic!("a kind of key that not every verifier passes over: {other}"),
            };
            let wanted = ["alg", "kid", "kty", "use"].iter().chain(own_members);
            assert_eq!(members(&key), wanted.copied().collect());
            assert_eq!(key["alg"], alg);
            assert_eq!(key["use"], "sig");
            let kid = key["kid"].as_str().unwrap();
            let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
            assert!(!kid.is_empty() && kid.bytes().all(is_safe), "{kid}");
        }
    }
}

/// A verifier and what it says to each kind of bad token.
struct Elsewhere {
    name: &'static str,
    command: fn(&Tools) -> Command,
    bad_signature: &'static str,
    expired: &'static str,
    wrong_audience: &'static str,
}

const ELSEWHERE: [Elsewhere; 2] = [
    Elsewhere {
        name: "PyJWT",
        command: Tools::pyjwt,
        bad_signature: "InvalidSignatureError",
        expired: "ExpiredSignatureError",
        wrong_audience: "InvalidAudienceError",
    },
    Elsewhere {
        name: "jose",
        command: Tools::jose,
        bad_signature: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
        expired: "ERR_JWT_EXPIRED",
        wrong_audience: "ERR_JWT_CLAIM_VALIDATION_FAILED",
    },
];

#[track_caller]
fn assert_verified_elsewhere(algorithm: Algorithm) {
    let tools = Tools::installed();
    let server = server_with(algorithm);
    let (good, brief) = (issue(&server, 900), issue(&server, 1));
    let tokens =
        [good.clone(), with_other_claims(&good), with_other_signature(&good), brief.clone()];
    wait_until_expired(&brief);
    for verifier in ELSEWHERE {
        let refused = |why| json!({ "refused": why });
        let verdicts = |audience| verdicts((verifier.command)(tools), &server, audience, &tokens);
        assert_eq!(
            verdicts(AUDIENCE),
            [
                json!({ "accepted": "alice" }),
                refused(verifier.bad_signature),
                refused(verifier.bad_signature),
                refused(verifier.expired),
            ],
            "{}",
            verifier.name
        );
        let elsewhere = verdicts("https://elsewhere.example.com");
        assert_eq!(elsewhere[0], refused(verifier.wrong_audience), "{}", verifier.name);
    }
}

/// What a verifier that fetches the server's keys says to each token.
fn verdicts(
    mut command: Command,
    server: &Server,
    audience: &str,
    tokens: &[String],
) -> Vec<Value> {
    let jwks_url = format!("{}/.well-known/jwks.json", server.url);
    let mut verifier = command
        .args([&jwks_url, &server.url, audience])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = verifier.stdin.take().unwrap();
    for token in tokens {
        writeln!(stdin, "{}", json!(token)).unwrap();
    }
    drop(stdin);
    let output = verifier.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A server that signs with this algorithm: with a key of its own making, or for RS256 with an
/// imported one, beside which it publishes keys of the other kinds.
fn server_with(algorithm: Algorithm) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let keys = if algorithm == Algorithm::Rs256 {
        import_example_keys(&folder.path().join("keys"));
        String::new()
    } else {
        format!("[keys]\nalgorithm = \"{algorithm}\"\n")
    };
    let lives = "min_lifetime_seconds = 1\nsupersede = false";
    let config = format!("[token]\naudience = \"{AUDIENCE}\"\n{lives}\n{keys}");
    Server::start_in(folder, &config, &[])
}

/// Of the published example keys the one for RS256 signs; the others wait for a far day.
fn import_example_keys(folder: &Path) {
    let examples = include_str!("../../crates/verify/tests/vectors/private-keys.json");
    let examples: Value = serde_json::from_str(examples).unwrap();
    fs::DirBuilder::new().mode(0o700).create(folder).unwrap();
    for algorithm in ALGORITHMS {
        let mut key = key_for(examples["keys"].as_array().unwrap(), algorithm).clone();
        key["created"] = json!("2026-01-01T00:00:00Z");
        key["not_before"] = json!(if algorithm == Algorithm::Rs256 {
            "2026-01-01T00:00:00Z"
        } else {
            "2100-01-01T00:00:00Z"
        });
        let path = folder.join(format!("{algorithm}.jwk"));
        fs::write(&path, key.to_string()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// A new token for alice.
fn issue(server: &Server, ttl: u64) -> String {
    let body = json!({ "username": "alice", "ttl": ttl });
    let answer = call(server, "POST", "/password-tokens", &body.to_string());
    answer["token"].as_str().unwrap().to_owned()
}

/// The published keys.
fn keys(server: &Server) -> Vec<Value> {
    let set = call(server, "GET", "/.well-known/jwks.json", "");
    assert_eq!(members(&set), BTreeSet::from(["keys"]));
    set["keys"].as_array().unwrap().clone()
}

fn key_for(keys: &[Value], algorithm: Algorithm) -> &Value {
    let is_for = |key: &&Value| key["alg"] == algorithm.name();
    keys.iter().find(is_for).unwrap()
}

fn call(server: &Server, method: &str, path: &str, body: &str) -> Value {
    let (host, key, length) = (server.address(), &server.api_key, body.len());
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let answer = server.exchange(request.as_bytes());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

/// Header and claims of a token.
fn decoded(token: &str) -> [Value; 2] {
    let [header, claims, _] = parts(token);
    [header, claims].map(|part| serde_json::from_slice(&bytes(part)).unwrap())
}

/// This machine's clock is the one that the verifiers read.
fn wait_until_expired(token: &str) {
    let [_, claims] = decoded(token);
    let exp = claims["exp"].as_u64().unwrap();
    while SystemClock::new().now().seconds() <= exp {
        thread::sleep(Duration::from_millis(50));
    }
}

/// The token of another user, with the signature of this one.
fn with_other_claims(token: &str) -> String {
    let [header, claims, signature] = parts(token);
    let claims = String::from_utf8(bytes(claims)).unwrap();
    let claims = claims.replace(r#""sub":"alice""#, r#""sub":"elice""#);
    format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims))
}

/// The token with one bit of the signature flipped.
fn with_other_signature(token: &str) -> String {
    let [header, claims, signature] = parts(token);
    let mut signature = bytes(signature);
    signature[10] ^= 1;
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<_> = token.split('.').collect();
    parts.try_into().unwrap()
}

fn bytes(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn members(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}
