//! The life of a key, seen through the tokens it signs.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd::domain::keyring::{KeyState, MARGIN};
use resetd::domain::time::to_rfc3339;
use resetd_verify::{Algorithm, KeyId, Timestamp};
use serde_json::{Value, json};

use crate::app::TestApp;

/// Longest life of a token in the tests' policy and the margin: so long a retired key is trusted.
const RETENTION: u64 = 86_400 + MARGIN;

fn signer_of(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// Makes a key that signs from `not_before` on, and has the service read the folder again.
fn add_key(app: &TestApp, not_before: Timestamp) -> KeyId {
    let kid = app.keystore.generate(Algorithm::EdDsa, app.now(), not_before).unwrap();
    app.tenant().replace_keyring(app.keystore.load().unwrap()).unwrap();
    kid
}

/// Writes a time into a key's file, as an admin would, and has the service read the folder again.
fn set_member(app: &TestApp, kid: &str, name: &str, time: Timestamp) {
    let path = app.keystore.directory().join(format!("{kid}.jwk"));
    let mut jwk: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    jwk[name] = to_rfc3339(time).into();
    std::fs::write(&path, jwk.to_string()).unwrap();
    app.tenant().replace_keyring(app.keystore.load().unwrap()).unwrap();
}

async fn published(app: &TestApp) -> Vec<String> {
    let set = app.get("/.well-known/jwks.json").await.json();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn states(app: &TestApp) -> Vec<KeyState> {
    let keyring = app.keystore.load().unwrap();
    keyring.keys().map(|key| keyring.state(key, app.now())).collect()
}

#[tokio::test]
async fn a_next_key_is_published_and_does_not_sign() {
    let app = TestApp::start();
    let active = signer_of(&app.issue("alice").await);
    let next = add_key(&app, app.now().plus(360));
    assert_eq!(states(&app), [KeyState::Next, KeyState::Active]);
    assert_eq!(published(&app).await, [next.to_string(), active.clone()]);
    app.clock.advance(359);
    assert_eq!(signer_of(&app.issue("alice").await), active);
}

#[tokio::test]
async fn a_next_key_takes_over_by_itself_and_the_retired_keys_tokens_still_verify() {
    let app = TestApp::start();
    let next = add_key(&app, app.now().plus(360));
    app.clock.advance(359);
    let old_token = app.issue("alice").await;
    app.clock.advance(1);
    let new_token = app.issue("bob").await;
    assert_eq!(states(&app), [KeyState::Active, KeyState::Retired]);
    assert_eq!(signer_of(&new_token), next.to_string());
    assert_eq!(app.redeem(&old_token).await.status, StatusCode::CREATED);
    assert_eq!(app.redeem(&new_token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_retired_key_leaves_when_the_last_token_it_signed_has_expired() {
    let app = TestApp::start();
    let old = signer_of(&app.issue("alice").await);
    let new = add_key(&app, app.now()).to_string();
    app.clock.advance(RETENTION - 1);
    assert_eq!(published(&app).await, [new.clone(), old]);
    app.clock.advance(1);
    assert_eq!(states(&app), [KeyState::Active, KeyState::Expired]);
    assert_eq!(published(&app).await, [new]);
}

#[tokio::test]
async fn a_revoked_key_is_neither_published_nor_trusted() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    set_member(&app, &signer_of(&token), "revoked_at", app.now());
    let new = add_key(&app, app.now()).to_string();
    app.check(&token).await.assert_problem(404, "token_unknown");
    assert_eq!(published(&app).await, [new]);
}

#[tokio::test]
async fn a_key_that_was_taken_over_never_signs_again_not_even_when_the_newer_one_is_revoked() {
    let app = TestApp::start();
    let old_token = app.issue("alice").await;
    let newer = add_key(&app, app.now());
    app.clock.advance(1);
    set_member(&app, newer.as_str(), "revoked_at", app.now());
    assert_eq!(states(&app), [KeyState::Revoked, KeyState::Retired]);
    let body = json!({ "username": "alice" });
    app.post("/password-tokens", body).await.assert_problem(503, "no_active_key");
    assert_eq!(app.redeem(&old_token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_key_revoked_or_retired_before_it_could_sign_takes_nothing_over() {
    for (member, state) in [("revoked_at", KeyState::Revoked), ("retired_at", KeyState::Expired)] {
        let app = TestApp::start();
        let next = add_key(&app, app.now().plus(360));
        set_member(&app, next.as_str(), member, app.now());
        app.clock.advance(360);
        assert_eq!(states(&app), [state, KeyState::Active]);
    }
}

#[tokio::test]
async fn a_key_that_is_to_retire_later_signs_until_then() {
    let app = TestApp::start();
    let kid = signer_of(&app.issue("alice").await);
    set_member(&app, &kid, "retired_at", app.now().plus(60));
    app.clock.advance(59);
    assert_eq!(signer_of(&app.issue("alice").await), kid);
    app.clock.advance(1);
    let body = json!({ "username": "alice" });
    app.post("/password-tokens", body).await.assert_problem(503, "no_active_key");
}

#[tokio::test]
async fn without_an_active_key_nothing_is_issued_and_the_service_is_not_ready() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    set_member(&app, &signer_of(&token), "retired_at", app.now());
    let body = json!({ "username": "alice" });
    app.post("/password-tokens", body).await.assert_problem(503, "no_active_key");
    app.get("/health/ready").await.assert_problem(503, "no_active_key");
    // What was issued before goes on.
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn the_key_set_may_never_be_cached_for_longer_than_it_is_true() {
    let app = TestApp::start();
    let max_age = async || {
        let answer = app.get("/.well-known/jwks.json").await;
        answer.header("cache-control").unwrap().to_owned()
    };
    assert_eq!(max_age().await, "public, max-age=300");
    add_key(&app, app.now().plus(360));
    assert_eq!(max_age().await, "public, max-age=300");
    app.clock.advance(100);
    assert_eq!(max_age().await, "public, max-age=260");
    app.clock.advance(259);
    assert_eq!(max_age().await, "public, max-age=1");
}
