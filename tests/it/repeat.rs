//! A redemption whose answer was lost: its own caller may repeat it, and nobody else.

use std::thread;

use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::cli::tell;
use crate::server::Server;

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

async fn redeem(app: &TestApp, key: &str, body: &Value) -> Answer {
    redeem_as(app, app.api_key.expose(), key, body).await
}

async fn redeem_as(app: &TestApp, api_key: &str, key: &str, body: &Value) -> Answer {
    let request = axum::http::Request::builder()
        .method(Method::POST)
        .uri("/redemptions")
        .header("x-api-key", api_key)
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key);
    app.send(request.body(body.to_string().into()).unwrap()).await
}

async fn body(app: &TestApp) -> Value {
    json!({ "token": app.issue("alice").await })
}

#[tokio::test]
async fn the_same_caller_with_the_same_key_and_body_gets_the_same_answer_as_long_as_a_token_lives()
{
    let app = TestApp::start();
    let body = body(&app).await;
    let first = redeem(&app, KEY, &body).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    for wait in [0, 1, 898] {
        app.clock.advance(wait);
        let again = redeem(&app, KEY, &body).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text), "after {wait} s");
    }
    let quoted = redeem(&app, &format!("\"{KEY}\""), &body).await;
    assert_eq!(quoted.text, first.text, "the quotes of the draft are no part of the key");
    app.clock.advance(86_400);
    assert!(!redeem(&app, KEY, &body).await.status.is_success());
}

#[tokio::test]
async fn another_key_another_caller_and_no_key_find_the_token_used() {
    let app = TestApp::start();
    let body = body(&app).await;
    assert_eq!(redeem(&app, KEY, &body).await.status, StatusCode::CREATED);
    redeem(&app, "another", &body).await.assert_problem(409, "token_used");
    let other = app.key_for(resetd::domain::caller::Scope::Redeem);
    redeem_as(&app, other, KEY, &body).await.assert_problem(409, "token_used");
    app.post("/redemptions", body).await.assert_problem(409, "token_used");
}

#[tokio::test]
async fn a_key_stands_for_one_body() {
    let app = TestApp::start();
    let (one, other) = (body(&app).await, body(&app).await);
    assert_eq!(redeem(&app, KEY, &one).await.status, StatusCode::CREATED);
    redeem(&app, KEY, &other).await.assert_problem(422, "idempotency_key_reused");
    // The other token was not touched.
    assert_eq!(redeem(&app, "another", &other).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_try_that_was_refused_frees_its_key() {
    let app = TestApp::start();
    let (used, fresh) = (body(&app).await, body(&app).await);
    assert_eq!(app.post("/redemptions", used.clone()).await.status, StatusCode::CREATED);
    redeem(&app, KEY, &used).await.assert_problem(409, "token_used");
    redeem(&app, KEY, &json!({ "token": "x" })).await.assert_problem(404, "token_unknown");
    assert_eq!(redeem(&app, KEY, &fresh).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_try_that_is_under_way_is_not_answered_twice() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let claims = app.tenant().check("all", &token).unwrap();
    let attempt = app.tenant().attempt("all", KEY, b"{}");
    let revocations = resetd::revocation::Revocations::guarding(app.now().minus(100), 10, [0; 16]);
    let policy = app.tenant().policy();
    assert!(revocations.begin(policy, &claims, &attempt, app.now()));
    assert!(!revocations.begin(policy, &claims, &attempt, app.now()));
    let earlier = revocations.earlier(&policy.tenant, &attempt, app.now());
    assert_eq!(earlier, Some(resetd::revocation::Earlier::Running));
}

#[tokio::test]
async fn what_is_no_key_is_refused_before_anything_is_done() {
    let app = TestApp::start();
    let body = body(&app).await;
    for key in ["", "\"\"", "two words", "a\"b", &"x".repeat(256)] {
        redeem(&app, key, &body).await.assert_problem(400, "idempotency_key_invalid");
    }
    assert_eq!(redeem(&app, &"x".repeat(255), &body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn keys_of_two_tenants_have_nothing_to_do_with_each_other() {
    let app = TestApp::start_with(|options| options.tenants = vec!["acme"]);
    let acme = app.acting_for("acme");
    for app in [&app, &acme] {
        let body = body(app).await;
        assert_eq!(redeem(app, KEY, &body).await.status, StatusCode::CREATED);
    }
}

async fn issue(app: &TestApp, api_key: &str, key: &str, body: &Value) -> Answer {
    let request = axum::http::Request::builder()
        .method(Method::POST)
        .uri("/password-tokens")
        .header("x-api-key", api_key)
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key);
    app.send(request.body(body.to_string().into()).unwrap()).await
}

#[tokio::test]
async fn the_same_wish_for_a_token_gets_the_same_token() {
    let app = TestApp::start_with(|options| options.policy.supersede = true);
    let (all, body) = (app.api_key.expose(), json!({ "username": "alice" }));
    let first = issue(&app, all, KEY, &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    app.clock.advance(5);
    let again = issue(&app, all, &format!("\"{KEY}\""), &body).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("location"), first.header("location"));
    let token = first.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED, "it was not superseded");
    assert_eq!(issue(&app, all, KEY, &body).await.text, first.text);
}

#[tokio::test]
async fn another_wish_caller_tenant_or_key_gets_another_answer() {
    let app = TestApp::start_with(|options| options.tenants = vec!["acme"]);
    let (all, body) = (app.api_key.expose(), json!({ "username": "alice" }));
    let first = issue(&app, all, KEY, &body).await;
    let bob = json!({ "username": "bob" });
    issue(&app, all, KEY, &bob).await.assert_problem(422, "idempotency_key_reused");
    let acme = app.acting_for("acme");
    let others = [
        issue(&app, all, "another", &body).await,
        issue(&app, app.key_for(resetd::domain::caller::Scope::Issue), KEY, &body).await,
        issue(&acme, acme.api_key.expose(), KEY, &body).await,
    ];
    for other in others {
        assert_eq!(other.status, StatusCode::CREATED);
        assert_ne!(other.json()["token"], first.json()["token"]);
    }
    // The key of a redemption has nothing to do with that of an issue.
    let token = json!({ "token": first.json()["token"] });
    assert_eq!(redeem(&app, KEY, &token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_wish_that_was_refused_frees_its_key() {
    let app = TestApp::start();
    let all = app.api_key.expose();
    let past = json!({ "username": "alice", "expiredTime": "2001-01-01T00:00:00Z" });
    issue(&app, all, KEY, &past).await.assert_problem(422, "expiry_in_past");
    let body = json!({ "username": "alice" });
    assert_eq!(issue(&app, all, KEY, &body).await.status, StatusCode::CREATED);
    issue(&app, all, "", &body).await.assert_problem(400, "idempotency_key_invalid");
}

#[tokio::test]
async fn answers_that_are_kept_count_as_remembered() {
    let app = TestApp::start_with(|options| options.capacity = 2);
    let (all, body) = (app.api_key.expose(), json!({ "username": "alice" }));
    for key in ["a", "b"] {
        assert_eq!(issue(&app, all, key, &body).await.status, StatusCode::CREATED);
    }
    app.service.tidy();
    assert_eq!(app.service.remembered().count, 2);
    issue(&app, all, "c", &body).await.assert_problem(503, "full");
    // What was answered is answered again.
    assert_eq!(issue(&app, all, "a", &body).await.status, StatusCode::CREATED);
}

#[test]
fn it_may_be_repeated_after_a_crash() {
    let first = Server::start_with(&settings(), &[]);
    let body = body_for(&first, "alice");
    let answer = ask(&first, KEY, &body);
    assert_eq!(answer.0, "201");
    let second = Server::start_in(first.kill(), &settings(), &[]);
    assert_eq!(ask(&second, KEY, &body), answer);
    assert_eq!(ask(&second, "another", &body).0, "409");
}

#[test]
fn of_many_with_one_key_at_once_all_get_one_answer_or_are_told_that_it_is_under_way() {
    let server = Server::start_with(&settings(), &[]);
    for round in 0..10 {
        let (key, body) = (round.to_string(), body_for(&server, &format!("user-{round}")));
        let answers: Vec<_> = thread::scope(|scope| {
            let asking: Vec<_> =
                (0..8).map(|_| scope.spawn(|| ask(&server, &key, &body))).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let (done, running): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|(status, _)| status == "201");
        assert!(!done.is_empty() && done.iter().all(|answer| *answer == done[0]), "{done:?}");
        let is_running = |(status, body): &(String, String)| {
            status == "409" && body.contains("\"idempotency_key_running\"")
        };
        assert!(running.iter().all(is_running), "{running:?}");
    }
}

fn settings() -> String {
    let hash = resetd::domain::caller::KeyHash::of(api_key().expose());
    format!(
        "[token]\nissuer = \"https://reset.example.com\"\n[[callers]]\nname = \"web\"\nkey_sha256 = \"{hash}\"\nscopes = [\"issue\", \"redeem\"]\n"
    )
}

/// A redemption of a new token.
fn body_for(server: &Server, user: &str) -> String {
    let mut issue = server.client();
    issue.env("RESETD_API_KEY", api_key().expose());
    let token = tell(issue.args(["issue", user, "-o", "json"]), 0).json()["token"].clone();
    json!({ "token": token }).to_string()
}

/// Status and body of the answer.
fn ask(server: &Server, key: &str, body: &str) -> (String, String) {
    let request = format!(
        "POST /redemptions HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nIdempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        api_key().expose(),
        body.len()
    );
    let answer = server.exchange(request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn api_key() -> resetd::domain::secret::Secret {
    resetd::domain::caller::api_key([7; 32])
}
