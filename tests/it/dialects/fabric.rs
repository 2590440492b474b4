//! fabric's dialect in this process: recorded requests get the recorded answers, whole; and what holds around
//! them. The real program is asked in `fabric/program.rs`.

mod program;
mod users;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd::domain::caller::Scope;
use resetd::domain::dialect::{Fabric, FabricAccount};
use resetd::domain::policy::TenantName;
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp};

const USER_ID: &str = "6169b2d892a5f30009d76480";
const CONTEXT: &str = r#"{"account": "6169b2d892a5f30009d76480"}"#;
const RESET: &str = "/api-commerceIdentity/auth/local/reset";
const PASSWORD: &str = "/api-commerceIdentity/auth/password";

/// The recorded pairs of each operation.
const RECORDED: [&str; 3] = [
    include_str!("../../fixtures/dialects/fabric/verify.json"),
    include_str!("../../fixtures/dialects/fabric/reset.json"),
    include_str!("../../fixtures/dialects/fabric/password.json"),
];

fn fabric() -> Fabric {
    let account = FabricAccount::parse("acme5678acme5678acme5678").unwrap();
    Fabric {
        tenant: TenantName::default(),
        accounts: BTreeMap::from([(account, TenantName::parse("acme").unwrap())]),
        strict_accounts: false,
        lenient_site_context: false,
    }
}

fn start() -> TestApp {
    start_with(|_, _| {})
}

fn start_with(change: impl FnOnce(&mut Options, &mut Fabric)) -> TestApp {
    TestApp::start_with(|options| {
        let mut fabric = fabric();
        options.tenants = vec!["acme"];
        change(options, &mut fabric);
        options.dialects.fabric = Some(fabric);
    })
}

async fn ask(
    app: &TestApp,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    app.send(request.body(body).unwrap()).await
}

/// As anybody who holds a token.
async fn verify(app: &TestApp, token: &str) -> Answer {
    let path = format!("/api-commerceIdentity/auth/token/{token}");
    ask(app, "GET", &path, &[("x-site-context", CONTEXT)], &Value::Null).await
}

/// As the caller that may do everything.
async fn patch(app: &TestApp, path: &str, body: &Value) -> Answer {
    let headers = [
        ("x-site-context", CONTEXT),
        ("x-api-key", app.api_key.expose()),
        ("content-type", "application/json"),
    ];
    ask(app, "PATCH", path, &headers, body).await
}

async fn issue(app: &TestApp) -> String {
    let answer =
        app.post("/password-tokens", json!({ "username": "pat", "userId": USER_ID })).await;
    answer.assert_status(201);
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn spending(token: &str) -> Value {
    json!({ "userId": USER_ID, "resetToken": token, "newPassword": "ABC123" })
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, error: &str, code: &str) {
    answer.assert_status(status);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    assert_eq!((&body["error"], &body["code"]), (&json!(error), &json!(code)));
    assert!(body["message"].is_string());
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
}

#[tokio::test]
async fn every_recorded_request_gets_the_recorded_answer() {
    let (mut replayed, mut failures) = (0, Vec::new());
    for recorded in RECORDED {
        let pairs: Vec<Value> = serde_json::from_str(recorded).unwrap();
        for pair in pairs {
            let (found, wanted) = (replay(&pair).await, &pair["response"]);
            if found != *wanted {
                failures.push(format!("{}\n-- wanted\n{wanted}\n-- found\n{found}", pair["name"]));
            }
            replayed += 1;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(replayed > 50, "only {replayed}");
}

async fn replay(pair: &Value) -> Value {
    let app = start();
    let token = given(&app, pair["given"].as_str().unwrap()).await;
    let fill = |text: &str| {
        text.replace("{token}", &token)
            .replace("{key}", app.api_key.expose())
            .replace("{check key}", app.key_for(Scope::Check))
    };
    let request = &pair["request"];
    let text = |name: &str| request[name].as_str().unwrap();
    let headers: Vec<_> = request["headers"].as_object().unwrap().iter().collect();
    let headers: Vec<_> = headers
        .into_iter()
        .map(|(name, value)| (name.as_str(), fill(value.as_str().unwrap())))
        .collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = serde_json::from_str(&fill(&request["body"].to_string())).unwrap();
    let answer = ask(&app, text("method"), &fill(text("path")), &headers, &body).await;
    for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
        assert_eq!(answer.header(name), Some(value), "{}", pair["name"]);
    }
    assert!(answer.header("x-request-id").is_some());
    json!({
        "status": answer.status.as_u16(),
        "contentType": answer.header("content-type"),
        "body": masked(answer.json()),
    })
}

/// Without what is different each time: a token, and times, which have milliseconds.
fn masked(mut body: Value) -> Value {
    for (name, value) in body.as_object_mut().unwrap() {
        let text = value.as_str().unwrap_or_default();
        let is_time = text.len() == 24 && text[10..].starts_with('T') && &text[19..] == ".000Z";
        match name.as_str() {
            "token" if text.starts_with("eyJ") => *value = "{token}".into(),
            "expiresAt" | "redeemedTime" if is_time => *value = "{time}".into(),
            _ => {}
        }
    }
    body
}

/// A token that has come to this.
async fn given(app: &TestApp, state: &str) -> String {
    let user = match state {
        "live without userId" => json!({ "username": "pat@example.com" }),
        _ => json!({ "username": "pat@example.com", "userId": USER_ID }),
    };
    let issued = app.post("/password-tokens", user).await;
    let token = issued.json()["token"].as_str().unwrap().to_owned();
    let spend = || async { app.redeem(&token).await.assert_status(201) };
    match state {
        "nothing" | "live" | "live without userId" => {}
        "expired" => app.clock.advance(900),
        "redeemed" => spend().await,
        "redeemed and expired" => {
            spend().await;
            app.clock.advance(900);
        }
        "revoked" => app.delete(&format!("/password-tokens/{token}")).await.assert_status(204),
        "held" => {
            let hold = json!({ "token": token, "hold": 300 });
            app.post("/redemptions", hold).await.assert_status(201);
        }
        altered => return without_good_signature(&token, altered),
    }
    token
}

fn without_good_signature(token: &str, how: &str) -> String {
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("{token}")
    };
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    match how {
        "altered" => {
            let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            signature[0] ^= 1;
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
        "altered to be old" => {
            let bytes = URL_SAFE_NO_PAD.decode(claims).unwrap();
            let mut claims: Value = serde_json::from_slice(&bytes).unwrap();
            for name in ["iat", "exp"] {
                claims[name] = (claims[name].as_u64().unwrap() - 100_000).into();
            }
            format!("{header}.{}.{signature}", encode(&claims))
        }
        "unsigned" => {
            format!("{}.{claims}.", encode(&json!({ "alg": "none", "typ": "reset+jwt" })))
        }
        "cut off" => format!("{header}.{claims}"),
        other => panic!("no such state: {other}"),
    }
}

#[tokio::test]
async fn what_was_issued_here_is_good_there_and_what_is_spent_there_is_spent_here() {
    let app = start();
    let issued = patch(&app, RESET, &json!({ "username": "pat" })).await.json();
    let token = issued["token"].as_str().unwrap();
    app.check(token).await.assert_status(200);
    app.redeem(token).await.assert_status(201);
    assert_eq!(verify(&app, token).await.json(), json!({ "tokenValid": false, "userId": "pat" }));
    let token = issue(&app).await;
    patch(&app, PASSWORD, &spending(&token)).await.assert_status(200);
    app.redeem(&token).await.assert_problem(409, "token_used");
}

#[tokio::test]
async fn looking_at_a_token_spends_nothing_and_counts_nobody() {
    let app = start();
    let token = issue(&app).await;
    for _ in 0..20 {
        assert_eq!(verify(&app, &token).await.json()["tokenValid"], true);
    }
    app.redeem(&token).await.assert_status(201);
    verify(&app, &token).await.assert_status(200);
    assert!(app.tenant().reuses().all(|(_, count)| count == 0));
}

#[tokio::test]
async fn of_many_who_spend_a_token_one_succeeds() {
    let app = start();
    let (token, other) = (issue(&app).await, issue(&app).await);
    let body = spending(&token);
    let spend = || async { patch(&app, PASSWORD, &body).await.status.as_u16() };
    let (a, b, c, d) = tokio::join!(spend(), spend(), spend(), spend());
    let mut statuses = [a, b, c, d];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404, 404, 404]);
    app.check(&other).await.assert_status(200);
}

#[tokio::test]
async fn a_token_that_was_presented_for_another_user_is_not_spent() {
    let app = start();
    let token = issue(&app).await;
    let mut body = spending(&token);
    body["userId"] = "pat".into();
    assert_refused(&patch(&app, PASSWORD, &body).await, 404, "TOKEN_NOT_FOUND", "404");
    app.check(&token).await.assert_status(200);
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_version_of_a_credential_is_not_spent_without_it() {
    let app = start();
    let body = json!({ "username": "pat", "userId": USER_ID, "credentialVersion": "7" });
    let issued = app.post("/password-tokens", body).await.json();
    let token = issued["token"].as_str().unwrap();
    let refused = patch(&app, PASSWORD, &spending(token)).await;
    assert_refused(&refused, 404, "TOKEN_NOT_FOUND", "404");
    app.check(token).await.assert_status(200);
}

#[tokio::test]
async fn whoever_guesses_is_limited_and_a_live_token_is_heard_all_the_same() {
    let app = start_with(|options, _| {
        options.rates.holder_revocations_per_minute = NonZeroU32::new(2).unwrap();
    });
    let token = issue(&app).await;
    for _ in 0..2 {
        assert_refused(&verify(&app, "x").await, 404, "TOKEN_NOT_FOUND", "404");
    }
    let limited = verify(&app, "x").await;
    assert_refused(&limited, 429, "RATE_LIMITED", "429");
    assert!(limited.header("retry-after").is_some());
    verify(&app, &token).await.assert_status(200);
    app.redeem(&token).await.assert_status(201);
    assert_refused(&verify(&app, &token).await, 429, "RATE_LIMITED", "429");
}

#[tokio::test]
async fn an_address_a_caller_and_a_user_are_limited_in_the_words_of_the_dialect() {
    let one = NonZeroU32::new(1);
    for limited in ["source", "caller", "user"] {
        let app = start_with(|options, _| match limited {
            "source" => options.rates.source_per_minute = one,
            "caller" => options.rates.all.caller_per_minute = one,
            _ => options.rates.all.user_tokens_per_hour = one,
        });
        let ask = || async { patch(&app, RESET, &json!({ "username": "pat" })).await };
        ask().await.assert_status(200);
        assert_refused(&ask().await, 429, "RATE_LIMITED", "429");
    }
}

#[tokio::test]
async fn without_a_context_a_request_is_about_the_sections_tenant_where_that_is_allowed() {
    let app = start_with(|_, fabric| fabric.lenient_site_context = true);
    let token = issue(&app).await;
    let path = format!("/api-commerceIdentity/auth/token/{token}");
    ask(&app, "GET", &path, &[], &Value::Null).await.assert_status(200);
    let key = [("x-api-key", app.api_key.expose()), ("content-type", "application/json")];
    let spent = ask(&app, "PATCH", PASSWORD, &key, &spending(&token)).await;
    assert_eq!(spent.json()["account"], Value::Null);
    // What is there must be right.
    let wrong = ask(&app, "GET", &path, &[("x-site-context", "{}")], &Value::Null).await;
    assert_refused(&wrong, 400, "INVALID_SITE_CONTEXT", "400");
}

#[tokio::test]
async fn an_account_that_is_nobodys_has_no_tokens_and_no_callers() {
    let app = start_with(|_, fabric| fabric.strict_accounts = true);
    let token = issue(&app).await;
    assert_refused(&verify(&app, &token).await, 404, "TOKEN_NOT_FOUND", "404");
    let refused = patch(&app, RESET, &json!({ "username": "pat" })).await;
    assert_refused(&refused, 401, "UNAUTHENTICATED", "401");
}

#[tokio::test]
async fn an_account_of_another_tenant_is_about_its_tokens_and_its_callers() {
    let app = start();
    let acme = app.acting_for("acme");
    let headers = [
        ("x-site-context", r#"{"account": "acme5678acme5678acme5678"}"#),
        ("x-api-key", acme.api_key.expose()),
        ("content-type", "application/json"),
    ];
    let body = json!({ "username": "pat" });
    let issued = ask(&app, "PATCH", RESET, &headers, &body).await.json();
    let token = issued["token"].as_str().unwrap();
    acme.check(token).await.assert_status(200);
    let path = format!("/api-commerceIdentity/auth/token/{token}");
    ask(&app, "GET", &path, &headers[..1], &Value::Null).await.assert_status(200);
    assert_refused(&verify(&app, token).await, 404, "TOKEN_NOT_FOUND", "404");
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let app = start();
    let key = app.api_key.expose();
    let [context, key, json] =
        [("x-site-context", CONTEXT), ("x-api-key", key), ("content-type", "application/json")];
    let body = json!({ "username": "pat" });
    let in_query = format!("{RESET}?x-api-key={}", key.1);
    for (path, headers, error) in [
        (RESET, [context, context, key, json], "INVALID_SITE_CONTEXT"),
        (RESET, [context, key, key, json], "SEVERAL_CREDENTIALS"),
        (in_query.as_str(), [context, key, json, ("accept", "*/*")], "CREDENTIAL_IN_QUERY"),
    ] {
        assert_refused(&ask(&app, "PATCH", path, &headers, &body).await, 400, error, "400");
    }
}

#[tokio::test]
async fn another_method_is_told_which_there_is() {
    let app = start();
    for (path, allowed) in [("/api-commerceIdentity/auth/token/x", "GET,HEAD"), (RESET, "PATCH")] {
        let answer = ask(&app, "DELETE", path, &[("x-site-context", CONTEXT)], &Value::Null).await;
        assert_refused(&answer, 405, "METHOD_NOT_ALLOWED", "405");
        assert_eq!(answer.header("allow"), Some(allowed));
    }
}

#[tokio::test]
async fn where_it_is_off_there_is_nothing_of_it() {
    let app = TestApp::start();
    verify(&app, &issue(&app).await).await.assert_problem(404, "not_found");
    patch(&app, RESET, &json!({ "username": "pat" })).await.assert_problem(404, "not_found");
}
