//! What anybody may read: the keys, the issuer and its health.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::StatusCode;
use resetd::domain::keyring::Keyring;
use resetd::domain::time::to_rfc3339;
use resetd_verify::Algorithm;
use serde_json::{Value, json};

use super::{OPEN, issue_with, send};
use crate::app::{AUDIENCE, ISSUER, STARTED, TestApp};

#[tokio::test]
async fn a_503_says_when_to_come_again() {
    let app = TestApp::start();
    app.tenant().replace_keyring(Keyring::new(Vec::new(), 0)).unwrap();
    let answer = app.get("/health/ready").await;
    answer.assert_problem(503, "no_active_key");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn the_key_set_has_the_public_members_of_its_keys_and_no_other() {
    let cases = [
        (Algorithm::Es256, "alg crv kid kty use x y"),
        (Algorithm::EdDsa, "alg crv kid kty use x"),
    ];
    for (algorithm, members) in cases {
        let app = TestApp::start_with(|options| options.algorithm = algorithm);
        let answer = send(&app, "GET", OPEN[0], &[], Body::empty()).await;
        assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        let set = answer.json();
        assert_eq!(set.as_object().unwrap().len(), 1);
        let [key] = set["keys"].as_array().unwrap().as_slice() else {
            panic!("one key was made: {set}");
        };
        let names: BTreeSet<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, members.split(' ').collect());
        assert_eq!(key["alg"], algorithm.name());
        assert_eq!(key["use"], "sig");
    }
}

#[tokio::test]
async fn the_issuer_says_what_an_edge_needs_to_verify() {
    let app = TestApp::start();
    let answer = send(&app, "GET", OPEN[1], &[], Body::empty()).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let expected = json!({
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_uri": format!("{ISSUER}/.well-known/jwks.json"),
        "token_type": "reset+jwt",
        "signing_alg_values_supported": ["ES256"],
        "max_lifetime_seconds": 86_400,
        "password_tokens_endpoint": format!("{ISSUER}/password-tokens"),
        "redemptions_endpoint": format!("{ISSUER}/redemptions"),
        "revocations_endpoint": format!("{ISSUER}/revocations"),
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn health_tells_anyone_how_it_is_and_nothing_else() {
    let app = TestApp::start();
    let keys = json!({
        "activeKeyAgeSeconds": 10,
        "nextRotation": null,
        "rotationFailing": false,
        "lastRotationFailure": null,
        "faultyFiles": 0,
    });
    let state = json!({ "refusesIssuedBefore": to_rfc3339(STARTED.plus(1)), "because": "guard" });
    let outbox = json!({ "failing": false });
    for (path, wanted) in [
        ("/health/live", json!({ "status": "live" })),
        (
            "/health/ready",
            json!({ "status": "ready", "keys": keys, "state": state, "outbox": outbox }),
        ),
    ] {
        let answer = send(&app, "GET", path, &[], Body::empty()).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, wanted));
    }
}

#[tokio::test]
async fn a_rotation_that_fails_leaves_it_ready_and_is_told_to_anyone() {
    let app = TestApp::start_with(|options| options.rotate_every = Some(86_400));
    let due = app.now().plus(86_400 - 10);
    let ready = |age: u64, failing: bool, failure: Value, faults: u64| {
        json!({
            "status": "ready",
            "keys": {
                "activeKeyAgeSeconds": age,
                "nextRotation": to_rfc3339(due),
                "rotationFailing": failing,
                "lastRotationFailure": failure,
                "faultyFiles": faults,
            },
            "state": {
                "refusesIssuedBefore": to_rfc3339(STARTED.plus(1)),
                "because": "guard",
            },
            "outbox": { "failing": false },
        })
    };
    let told = async || send(&app, "GET", "/health/ready", &[], Body::empty()).await.json();
    assert_eq!(told().await, ready(10, false, Value::Null, 0));
    crate::vectors::write_key(&app.keystore.directory().join("broken.jwk"), b"{");
    app.running.reload();
    assert_eq!(told().await, ready(10, false, Value::Null, 1));
    app.clock.set(due);
    app.running.rotate_due();
    let failure = json!(to_rfc3339(due));
    assert_eq!(told().await, ready(86_400, true, failure.clone(), 1));

    // Mended, it is published first, as ever, and takes over six minutes late.
    std::fs::remove_file(app.keystore.directory().join("broken.jwk")).unwrap();
    app.clock.advance(60);
    app.running.reload();
    app.running.rotate_due();
    let mut mended = ready(86_460, false, failure, 0);
    mended["keys"]["nextRotation"] = json!(to_rfc3339(due.plus(60 + 360)));
    assert_eq!(told().await, mended);
}

#[tokio::test]
async fn without_a_key_that_may_sign_it_lives_and_is_not_ready() {
    let app = TestApp::start();
    app.tenant().replace_keyring(Keyring::new(Vec::new(), 0)).unwrap();
    assert_eq!(app.get("/health/live").await.status, StatusCode::OK);
    app.get("/health/ready").await.assert_problem(503, "no_active_key");
    let answer = issue_with(&app, "ttl", json!(900)).await;
    answer.assert_problem(503, "no_active_key");
}
