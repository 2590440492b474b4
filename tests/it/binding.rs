//! Tokens bound to the version of a credential: whatever changed the password killed them, also where
//! nothing is remembered.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::Algorithm;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};

/// A token of alice's credential c-1 in this version.
async fn bound(app: &TestApp, version: &str) -> String {
    let body = json!({ "username": "alice", "credentialId": "c-1", "credentialVersion": version });
    let answer = app.post("/password-tokens", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert!(answer.json().get("credentialVersion").is_none());
    answer.json()["token"].as_str().unwrap().to_owned()
}

async fn redeem(app: &TestApp, token: &str, version: Value) -> Answer {
    app.post("/redemptions", json!({ "token": token, "credentialVersion": version })).await
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_is_good_for_the_version_it_was_issued_with_and_no_other() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let app = TestApp::start_with(|options| options.algorithm = algorithm);
        let token = bound(&app, "v1").await;
        assert_eq!(app.check(&token).await.status, StatusCode::OK);
        for other in ["v2", "v", "v1 ", "V1", "v1v1"] {
            let refused = redeem(&app, &token, json!(other)).await;
            refused.assert_problem(422, "credential_version_mismatch");
        }
        // Whoever forgets the version does not undo the binding.
        app.redeem(&token).await.assert_problem(422, "credential_version_mismatch");
        let held = json!({ "token": token, "credentialVersion": "v2", "hold": 60 });
        app.post("/redemptions", held).await.assert_problem(422, "credential_version_mismatch");
        assert_eq!(redeem(&app, &token, json!("v1")).await.status, StatusCode::CREATED);
        redeem(&app, &token, json!("v1")).await.assert_problem(409, "token_used");
    }
}

#[tokio::test]
async fn a_token_without_a_version_is_good_for_none() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    redeem(&app, &token, json!("v1")).await.assert_problem(422, "credential_version_mismatch");
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn the_version_cannot_be_read_from_a_token_nor_two_tokens_be_compared() {
    let app = TestApp::start();
    let (one, other) = (claims(&bound(&app, "1").await), claims(&bound(&app, "1").await));
    let tag = one["credential_version"].as_str().unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(tag).unwrap().len(), 16);
    assert_ne!(one["credential_version"], other["credential_version"]);
    let secret = "correct horse battery staple";
    assert!(!claims(&bound(&app, secret).await).to_string().contains(secret));
}

#[tokio::test]
async fn it_holds_for_another_process_and_after_a_rotation() {
    let app = TestApp::start();
    let other = app.another(|_| {});
    app.clock.advance(1);
    let token = bound(&app, "v1").await;
    app.keystore.generate(Algorithm::EdDsa, app.now(), app.now()).unwrap();
    app.running.reload();
    assert_ne!(app.issue("bob").await.split('.').next(), token.split('.').next());
    other.running.reload();
    redeem(&other, &token, json!("v2")).await.assert_problem(422, "credential_version_mismatch");
    assert_eq!(redeem(&other, &token, json!("v1")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_version_is_1_to_512_bytes_and_leaves_the_token_short() {
    let app = TestApp::start();
    for wrong in [json!(""), json!("x".repeat(513)), json!(7), json!(null)] {
        let body = json!({ "username": "alice", "credentialVersion": wrong });
        app.post("/password-tokens", body).await.assert_problem(422, "invalid_request");
        redeem(&app, "x", wrong).await.assert_problem(422, "invalid_request");
    }
    let token = bound(&app, &"x".repeat(512)).await;
    assert!(token.len() < 700, "{}", token.len());
}
