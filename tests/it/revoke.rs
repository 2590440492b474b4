//! Tokens that are taken back: one, a user's, all, and those that a newer one replaces.

use std::io::{Read as _, Write as _};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header, request};
use resetd::domain::order::Errand;
use resetd::domain::time::to_rfc3339;
use resetd::domain::webhook::{EventKind, Webhook};
use resetd::webhook::Endpoint;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::app::{Answer, Options, TestApp};
use crate::server::{PATIENCE, Server};
use crate::webhook::webhook;

fn superseding() -> TestApp {
    TestApp::start_with(|options| options.policy.supersede = true)
}

async fn revoke(app: &TestApp, body: Value) {
    let answer = app.post("/revocations", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}

#[tokio::test]
async fn a_revoked_token_stays_revoked_until_it_expires() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    revoke(&app, json!({ "token": token })).await;
    app.redeem(&token).await.assert_problem(410, "token_revoked");
    app.clock.advance(899);
    app.check(&token).await.assert_problem(404, "token_revoked");
    app.clock.advance(1);
    app.check(&token).await.assert_problem(404, "token_expired");
}

#[tokio::test]
async fn a_users_tokens_die_and_other_users_keep_theirs() {
    let app = TestApp::start();
    let (alices, bobs) = (app.issue("alice").await, app.issue("bob").await);
    revoke(&app, json!({ "username": "alice" })).await;
    app.check(&alices).await.assert_problem(404, "token_revoked");
    assert_eq!(app.check(&bobs).await.status, StatusCode::OK);
    let new = app.issue("alice").await;
    assert_eq!(app.check(&new).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_time_reaches_what_was_issued_before_it_and_not_in_its_second() {
    let app = TestApp::start();
    let before = app.issue("alice").await;
    app.clock.advance(1);
    let cutoff = to_rfc3339(app.now());
    let since = app.issue("alice").await;
    app.clock.advance(10);
    revoke(&app, json!({ "before": cutoff })).await;
    app.check(&before).await.assert_problem(404, "token_revoked");
    assert_eq!(app.check(&since).await.status, StatusCode::OK);
    revoke(&app, json!({ "before": "now" })).await;
    app.check(&since).await.assert_problem(404, "token_revoked");
}

#[tokio::test]
async fn a_forged_token_revokes_nothing() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let (kept, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{kept}.{}", signature.chars().rev().collect::<String>());
    revoke(&app, json!({ "token": forged })).await;
    assert_eq!(app.check(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_whose_time_has_not_come_is_revoked_for_when_it_comes() {
    let app = TestApp::start();
    app.clock.advance(30);
    let early = app.issue("alice").await;
    app.clock.set(app.now().minus(20));
    app.check(&early).await.assert_problem(404, "token_unknown");
    revoke(&app, json!({ "token": early })).await;
    app.clock.advance(20);
    app.redeem(&early).await.assert_problem(410, "token_revoked");
}

#[tokio::test]
async fn a_newer_token_replaces_the_users_older_ones() {
    let app = superseding();
    let older = app.issue("alice").await;
    let newer = app.issue("alice").await;
    app.redeem(&older).await.assert_problem(410, "token_revoked");
    assert_eq!(app.redeem(&newer).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn redeeming_one_token_kills_its_siblings() {
    // Two nodes issue without knowing of each other, so the siblings are live until one is used.
    let app = TestApp::start();
    let siblings = [app.issue("alice").await, app.issue("alice").await];
    let superseding = {
        let mut options = Options::default();
        options.policy.supersede = true;
        let folder = tempfile::tempdir().unwrap();
        TestApp::start_on(app.keystore.clone(), options, folder)
    };
    superseding.clock.set(app.now());
    assert_eq!(superseding.redeem(&siblings[0]).await.status, StatusCode::CREATED);
    superseding.redeem(&siblings[0]).await.assert_problem(409, "token_used");
    superseding.redeem(&siblings[1]).await.assert_problem(410, "token_revoked");
}

/// Without any key, as the page behind a "this was not me" does it.
async fn disown(app: &TestApp, body: &Value) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/revocations")
        .header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(body.to_string().into()).unwrap()).await
}

#[tokio::test]
async fn whoever_holds_a_token_can_kill_it_with_nothing_else_and_learns_nothing() {
    let app = TestApp::start_with(|options| options.tenants = vec!["acme"]);
    for app in [&app, &app.acting_for("acme")] {
        let (token, other) = (app.issue("alice").await, app.issue("alice").await);
        let first = disown(app, &json!({ "token": token })).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
        assert_eq!(first.json(), json!({ "revoked": "token" }));
        app.redeem(&token).await.assert_problem(410, "token_revoked");
        assert_eq!(app.check(&other).await.status, StatusCode::OK);
        for text in [token.as_str(), "junk", "", &format!("{token}x")] {
            let again = disown(app, &json!({ "token": text })).await;
            assert_eq!((again.status, &again.text), (first.status, &first.text), "{text:?}");
        }
    }
}

#[tokio::test]
async fn without_a_key_nothing_but_a_token_can_be_revoked() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let jti = app.tenant().check("all", &token).unwrap().jti.to_string();
    for body in [
        json!({ "username": "alice" }),
        json!({ "tokenId": jti }),
        json!({ "before": "now" }),
        json!({ "token": token, "before": "now" }),
        json!({ "token": token, "username": "alice" }),
        json!({ "token": [token] }),
        json!({}),
    ] {
        disown(&app, &body).await.assert_problem(401, "unauthenticated");
    }
    for (name, value) in [("authorization", "Bearer x"), ("x-api-key", ""), ("x-api-key", "rsk_a")]
    {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/revocations")
            .header(header::CONTENT_TYPE, "application/json")
            .header(name, value);
        let body = json!({ "token": token }).to_string();
        let answer = app.send(request.body(body.into()).unwrap()).await;
        answer.assert_problem(401, "unauthenticated");
    }
    assert_eq!(app.check(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn whoever_has_no_key_is_heard_only_so_often() {
    let app = TestApp::start_with(|options| {
        options.rates.holder_revocations_per_minute = 2.try_into().unwrap();
    });
    let token = app.issue("alice").await;
    for _ in 0..5 {
        disown(&app, &json!({ "username": "alice" })).await.assert_problem(401, "unauthenticated");
    }
    for _ in 0..2 {
        assert_eq!(disown(&app, &json!({ "token": "x" })).await.status, StatusCode::CREATED);
    }
    let refused = disown(&app, &json!({ "token": "x" })).await;
    refused.assert_problem(429, "rate_limited");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=31).contains(&wait), "{wait}");
    // Whoever has a live token is not kept waiting by those who have none.
    let body = json!({ "token": token });
    assert_eq!(disown(&app, &body).await.status, StatusCode::CREATED);
    app.check(&token).await.assert_problem(404, "token_revoked");
    disown(&app, &body).await.assert_problem(429, "rate_limited");
    // Callers are not meant.
    assert_eq!(app.post("/revocations", body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_token_that_is_held_can_be_killed_by_its_holder_whoever_used_up_what_others_may_do() {
    let app = TestApp::start_with(|options| {
        options.rates.holder_revocations_per_minute = 1.try_into().unwrap();
    });
    let token = app.issue("alice").await;
    let held = app.post("/redemptions", json!({ "token": token, "hold": 60 })).await.json();
    disown(&app, &json!({ "token": "x" })).await.assert_status(201);
    disown(&app, &json!({ "token": "x" })).await.assert_problem(429, "rate_limited");
    disown(&app, &json!({ "token": token })).await.assert_status(201);
    let commit = format!("/redemptions/{}/commit", held["redemptionId"].as_str().unwrap());
    app.post(&commit, Value::Null).await.assert_problem(410, "token_revoked");
}

#[tokio::test]
async fn a_live_token_is_heard_from_an_address_that_has_asked_as_often_as_it_may() {
    let app = TestApp::start_with(|options| options.rates.source_per_minute = 2.try_into().ok());
    let with_key = async |body: Value| app.post("/revocations", body).await;
    let body = json!({ "token": app.issue("alice").await });
    with_key(json!({ "token": "x" })).await.assert_status(201);
    // Whoever says who calls is counted, whatever is asked for.
    with_key(body.clone()).await.assert_problem(429, "rate_limited");
    disown(&app, &json!({ "token": "x" })).await.assert_problem(429, "rate_limited");
    disown(&app, &json!({ "username": "alice" })).await.assert_problem(429, "rate_limited");
    disown(&app, &body).await.assert_status(201);
    disown(&app, &body).await.assert_problem(429, "rate_limited");
}

#[tokio::test]
async fn a_revocation_is_told_of_though_whoever_asked_for_it_is_gone() {
    let state = tempfile::tempdir().unwrap();
    let app = TestApp::start_with(|options| {
        options.state = Some(state.path().to_owned());
        let events = vec![EventKind::Revoked];
        options.endpoints =
            vec![Endpoint::new(Webhook { events, ..webhook("https://app.example.com/") })];
    });
    let json = |request: request::Builder, body: Value| {
        request.header(header::CONTENT_TYPE, "application/json").body(body.to_string().into())
    };
    for by in ["delete", "caller", "holder"] {
        let token = app.issue(by).await;
        let body = json!({ "token": token });
        let request = match by {
            "delete" => {
                let path = format!("/password-tokens/{token}");
                app.request(Method::DELETE, &path).body(Body::empty())
            }
            "caller" => json(app.request(Method::POST, "/revocations"), body),
            _ => json(Request::post("/revocations"), body),
        };
        app.send_and_leave(request.unwrap()).await;
        let told = tokio::time::timeout(PATIENCE, app.service.outbox().next()).await;
        let Errand::Event { body, .. } = told.expect(by).order.errand else { panic!("{by}") };
        assert!(body.0.contains(by), "{}", body.0);
    }
}

#[tokio::test]
async fn each_address_is_heard_for_itself() {
    let server = Server::start_with("[limits]\nholder_revocations_per_minute = 1\n", &[]);
    let body = json!({ "token": "x" }).to_string();
    let request = format!(
        "POST /revocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let statuses = async |source: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(source.parse().unwrap()).unwrap();
        let stream = socket.connect(server.address().parse().unwrap()).await.unwrap();
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!(statuses("127.0.0.1:0").await, "201");
    assert_eq!(statuses("127.0.0.1:0").await, "429");
    assert_eq!(statuses("127.0.0.2:0").await, "201");
    assert_eq!(statuses("127.0.0.2:0").await, "429");
}
