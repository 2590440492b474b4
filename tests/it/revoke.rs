//! Tokens that are taken back: one, a user's, all, and those that a newer one replaces.

use axum::http::StatusCode;
use resetd::domain::time::to_rfc3339;
use serde_json::{Value, json};

use crate::app::{Options, TestApp};

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
