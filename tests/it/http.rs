//! The HTTP API as a stranger meets it: what it answers, what it refuses, and what it never tells.
//! Here is how it is asked; the facts are in the modules below.

mod admin;
mod bodies;
mod callers;
mod documents;
mod kept;
mod members;
mod metrics;
mod routes;
mod tokens;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Frame;
use resetd::domain::caller::Scope;
use resetd::domain::identifier::Username;
use resetd::domain::issue::{IssueRequest, issue};
use resetd::domain::policy::{Expiry, Policy};
use resetd_verify::{Timestamp, TokenId};
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};

/// What anybody may read.
const OPEN: [&str; 4] =
    ["/.well-known/jwks.json", "/.well-known/reset-token-issuer", "/health/live", "/health/ready"];
const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends exactly this; no key and no header is added but a host.
async fn send(
    app: &TestApp,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    app.send(request.body(body.into()).unwrap()).await
}

/// Sends it with the key that may do everything.
async fn ask(app: &TestApp, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[("x-api-key", app.api_key.expose())], headers].concat();
    send(app, method, path, &headers, Body::empty()).await
}

/// Posts these bytes as JSON, whatever they are.
async fn post(app: &TestApp, path: &str, body: impl Into<Body>) -> Answer {
    let headers = [("x-api-key", app.api_key.expose()), JSON];
    send(app, "POST", path, &headers, body).await
}

/// Issues for alice with one member more.
async fn issue_with(app: &TestApp, member: &str, value: Value) -> Answer {
    let mut body = json!({ "username": "alice" });
    body[member] = value;
    app.post("/password-tokens", body).await
}

/// Every request that needs a key, each with the scope it needs. Those about keys are about the one
/// that signed the token, and change nothing.
fn guarded(token: &str) -> Vec<(&'static str, String, Scope, Value)> {
    let one = format!("/password-tokens/{token}");
    let by_token = json!({ "token": token });
    let key = |step: &str| format!("/admin/keys/{}{step}", kid_of(token));
    let dry = json!({ "dryRun": true });
    let pem = include_str!("../fixtures/keys/p256.pkcs8.pem");
    vec![
        ("POST", "/password-tokens".into(), Scope::Issue, json!({ "username": "alice" })),
        (
            "POST",
            "/deliveries".into(),
            Scope::Deliver,
            json!({ "username": "alice", "to": "alice@example.com" }),
        ),
        ("GET", one.clone(), Scope::Check, Value::Null),
        ("HEAD", one.clone(), Scope::Check, Value::Null),
        ("DELETE", one, Scope::Revoke, Value::Null),
        ("POST", "/redemptions".into(), Scope::Redeem, by_token),
        ("POST", "/redemptions/x/commit".into(), Scope::Redeem, Value::Null),
        ("POST", "/redemptions/x/cancel".into(), Scope::Redeem, Value::Null),
        ("POST", "/revocations".into(), Scope::Revoke, json!({ "username": "bob" })),
        ("GET", "/metrics".into(), Scope::Metrics, Value::Null),
        ("POST", "/admin/config/reload".into(), Scope::Config, Value::Null),
        ("GET", "/admin/keys".into(), Scope::KeysRead, Value::Null),
        ("GET", key(""), Scope::KeysRead, Value::Null),
        ("GET", key("/export"), Scope::KeysRead, Value::Null),
        ("POST", "/admin/keys".into(), Scope::KeysWrite, dry.clone()),
        (
            "POST",
            "/admin/keys/import".into(),
            Scope::KeysWrite,
            json!({ "key": pem, "dryRun": true }),
        ),
        ("POST", "/admin/keys/rotate".into(), Scope::KeysWrite, dry.clone()),
        ("POST", "/admin/keys/prune".into(), Scope::KeysWrite, dry.clone()),
        ("POST", key("/retire"), Scope::KeysWrite, json!({ "force": true, "dryRun": true })),
        ("POST", key("/revoke"), Scope::KeysWrite, dry),
    ]
}

fn kid_of(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap_or_default());
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap_or_default();
    header["kid"].as_str().unwrap_or_default().to_owned()
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// The token with another signature of the same form.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{other}{}", &signature[1..])
}

/// A token signed with the app's own key, at another time or under other rules.
fn signed(app: &TestApp, at: Timestamp, change: impl FnOnce(&mut Policy)) -> String {
    let mut policy = app.tenant().policy().clone();
    change(&mut policy);
    let keyring = app.keystore.load().unwrap();
    let request = IssueRequest {
        username: Username::parse("alice").unwrap(),
        credential_id: None,
        credential_version: None,
        user_id: None,
        expiry: Expiry::Default,
    };
    let (key, jti) = (keyring.keys().next().unwrap(), TokenId::from_bytes([7; 16]));
    let issued = issue(&request, &policy, key, at, jti).unwrap();
    issued.token.expose().to_owned()
}

/// Status, headers and body without the id of the request, which differs by intent.
fn but_for_its_id(answer: &Answer) -> (StatusCode, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").unwrap();
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .filter(|(name, _)| name != "x-request-id")
        .collect();
    headers.sort();
    (answer.status, headers, answer.text.replace(id, ""))
}

#[track_caller]
fn assert_all_alike(answers: &[Answer]) {
    for answer in answers {
        assert_eq!(but_for_its_id(answer), but_for_its_id(&answers[0]));
    }
}

#[track_caller]
fn assert_invalid(answer: &Answer, fields: &[&str]) {
    answer.assert_problem(422, "invalid_request");
    let body = answer.json();
    let found: Vec<_> = body["invalidFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|invalid| invalid["field"].as_str().unwrap())
        .collect();
    assert_eq!(found, fields, "{}", answer.text);
}

/// A body of which nothing ever arrives: who reads it, waits.
struct Silence;

impl hyper::body::Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
