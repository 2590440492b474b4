//! What each step answers, as a whole. The clock stands at 05:13:30; a key must be published for six
//! minutes, and be kept for a day and a minute after it signed.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{active, fixture, published, step};
use crate::app::{Answer, TestApp};

#[track_caller]
fn assert_done(answer: &Answer, status: StatusCode, body: &Value) {
    assert_eq!((answer.status, &answer.json()), (status, body));
}

fn kid_of(answer: &Answer) -> String {
    answer.json()["keys"][0]["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_rotation_answers_with_the_next_key_and_when_it_signs() {
    let app = TestApp::start();
    let old = active(&app).await;
    let answer = step(&app, "/rotate", json!({})).await;
    let new = kid_of(&answer);
    let consequences = json!([
        "the new key is published at once and signs from 2027-01-15T05:19:30Z",
        format!(
            "{old} retires then; its links stay good, and its file can be removed from 2027-01-16T05:20:30Z"
        ),
    ]);
    let body = json!({
        "dryRun": false,
        "changes": [{
            "change": "add", "algorithm": "ES256",
            "created": "2027-01-15T05:13:30Z", "notBefore": "2027-01-15T05:19:30Z",
        }],
        "consequences": consequences,
        "destructive": false,
        "keys": [{
            "kid": new, "state": "next", "algorithm": "ES256",
            "created": "2027-01-15T05:13:30Z", "signsFrom": "2027-01-15T05:19:30Z",
        }],
    });
    assert_done(&answer, StatusCode::CREATED, &body);
    assert!(published(&app).await.contains(&new));

    // The second one finds it done.
    let consequences = json!([
        format!("{new} is published already and signs from 2027-01-15T05:19:30Z"),
        consequences[1],
    ]);
    let body = json!({
        "dryRun": false, "changes": [], "consequences": consequences, "destructive": false, "keys": [],
    });
    assert_done(&step(&app, "/rotate", json!({})).await, StatusCode::OK, &body);
}

#[tokio::test]
async fn an_activation_answers_with_when_the_key_signs() {
    let app = TestApp::start();
    let old = active(&app).await;
    let new = kid_of(&step(&app, "", json!({ "signsInSeconds": 5000 })).await);
    app.clock.advance(360);
    let answer = step(&app, &format!("/{new}/activate"), json!({})).await;
    let body = json!({
        "dryRun": false,
        "changes": [{
            "change": "amend", "kid": new,
            "created": "2027-01-15T05:13:30Z", "notBefore": "2027-01-15T05:19:32Z",
        }],
        "consequences": [
            format!("{new} signs from 2027-01-15T05:19:32Z"),
            format!(
                "{old} retires then; its links stay good, and its file can be removed from 2027-01-16T05:20:32Z"
            ),
        ],
        "destructive": false,
        "keys": [{
            "kid": new, "state": "next", "algorithm": "ES256",
            "created": "2027-01-15T05:13:30Z", "signsFrom": "2027-01-15T05:19:32Z",
        }],
    });
    assert_done(&answer, StatusCode::OK, &body);
}

#[tokio::test]
async fn a_retirement_by_force_answers_with_what_it_breaks() {
    let app = TestApp::start();
    let kid = active(&app).await;
    let token = app.issue("alice").await;
    let answer = step(&app, &format!("/{kid}/retire"), json!({ "force": true })).await;
    let body = json!({
        "dryRun": false,
        "changes": [{
            "change": "amend", "kid": kid, "created": "2027-01-15T05:13:20Z",
            "notBefore": "2027-01-15T05:13:20Z", "retiredAt": "2027-01-15T05:13:32Z",
        }],
        "consequences": [
            "no token is issued from 2027-01-15T05:13:32Z until another key signs",
            format!("links that {kid} signed stay good until they expire"),
        ],
        "destructive": true,
        "keys": [{
            "kid": kid, "state": "active", "algorithm": "ES256",
            "created": "2027-01-15T05:13:20Z", "signsFrom": "2027-01-15T05:13:20Z",
        }],
    });
    assert_done(&answer, StatusCode::OK, &body);
    app.clock.advance(2);
    let refused = app.post("/password-tokens", json!({ "username": "alice" })).await;
    refused.assert_problem(503, "no_active_key");
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_revocation_answers_with_the_replacement_and_what_verifiers_may_still_trust() {
    let app = TestApp::start();
    let leaked = active(&app).await;
    app.clock.advance(1000);
    let token = app.issue("alice").await;
    let answer = step(&app, &format!("/{leaked}/revoke"), json!({})).await;
    let new = kid_of(&answer);
    let body = json!({
        "dryRun": false,
        "changes": [
            {
                "change": "add", "algorithm": "ES256", "created": "2027-01-15T05:30:10Z",
                "notBefore": "2027-01-15T05:29:10Z", "revokes": leaked,
            },
            {
                "change": "amend", "kid": leaked, "created": "2027-01-15T05:13:20Z",
                "notBefore": "2027-01-15T05:13:20Z", "revokedAt": "2027-01-15T05:30:10Z",
            },
        ],
        "consequences": [
            format!("every link that {leaked} signed is dead here at once"),
            "verifiers that keep an older key set may trust it for 300 more seconds, until 2027-01-15T05:35:10Z",
            "a new key takes its place at once",
            "verifiers that keep an older key set do not know the key and refuse new links, until 2027-01-15T05:36:10Z at the latest",
        ],
        "destructive": true,
        "keys": [
            {
                "kid": new, "state": "active", "algorithm": "ES256",
                "created": "2027-01-15T05:30:10Z", "signsFrom": "2027-01-15T05:29:10Z",
            },
            {
                "kid": leaked, "state": "revoked", "algorithm": "ES256",
                "created": "2027-01-15T05:13:20Z", "signsFrom": "2027-01-15T05:13:20Z",
                "removableInSeconds": 86_400,
            },
        ],
    });
    assert_done(&answer, StatusCode::CREATED, &body);
    app.check(&token).await.assert_problem(404, "token_unknown");
    app.redeem(&token).await.assert_problem(404, "token_unknown");
    assert_eq!(active(&app).await, new);
}

#[tokio::test]
async fn an_import_answers_as_a_new_key_does() {
    let app = TestApp::start();
    let old = active(&app).await;
    let body = json!({ "key": fixture("p256.pkcs8.pem"), "signsInSeconds": 600 });
    let answer = step(&app, "/import", body).await;
    let kid = kid_of(&answer);
    let body = json!({
        "dryRun": false,
        "changes": [{
            "change": "add", "algorithm": "ES256",
            "created": "2027-01-15T05:13:30Z", "notBefore": "2027-01-15T05:23:30Z",
        }],
        "consequences": [
            "the new key is published at once and signs from 2027-01-15T05:23:30Z",
            format!(
                "{old} retires then; its links stay good, and its file can be removed from 2027-01-16T05:24:30Z"
            ),
        ],
        "destructive": false,
        "keys": [{
            "kid": kid, "state": "next", "algorithm": "ES256",
            "created": "2027-01-15T05:13:30Z", "signsFrom": "2027-01-15T05:23:30Z",
        }],
    });
    assert_done(&answer, StatusCode::CREATED, &body);
    assert!(published(&app).await.contains(&kid));
}

#[tokio::test]
async fn a_pruning_answers_with_what_it_removed() {
    let app = TestApp::start();
    let nothing = json!({
        "dryRun": false, "changes": [], "consequences": [], "destructive": false, "keys": [],
    });
    assert_done(&step(&app, "/prune", json!({})).await, StatusCode::OK, &nothing);
    let kid = kid_of(&step(&app, "", json!({})).await);
    step(&app, &format!("/{kid}/retire"), json!({})).await;
    let body = json!({
        "dryRun": false,
        "changes": [{ "change": "remove", "kid": kid }],
        "consequences": [format!("{kid} is removed: nothing it signed can be alive")],
        "destructive": true,
        "keys": [],
    });
    assert_done(&step(&app, "/prune", json!({})).await, StatusCode::OK, &body);
    assert_done(&step(&app, "/prune", json!({})).await, StatusCode::OK, &nothing);
}
