//! Steps that are refused: how long to wait, which key is meant, and what a key must be.

use axum::http::StatusCode;
use resetd_verify::{KeyId, MAX_KEYS};
use serde_json::{Value, json};

use super::{active, files, fixture, step};
use crate::app::TestApp;
use crate::http::{ask, assert_all_alike, post};

/// The key of RFC 8037, appendix A.
fn jwk() -> Value {
    json!({
        "kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    })
}

#[tokio::test]
async fn an_activation_that_comes_too_soon_is_told_to_wait_as_long_as_is_left() {
    let app = TestApp::start();
    let added = step(&app, "", json!({ "signsInSeconds": 5000 })).await.json();
    let activate = format!("/{}/activate", added["keys"][0]["kid"].as_str().unwrap());
    let before = files(&app);
    for (passed, left) in [(0, 360), (1, 359), (358, 1)] {
        app.clock.advance(passed);
        let answer = step(&app, &activate, json!({})).await;
        answer.assert_problem(409, "key_too_soon");
        assert_eq!(answer.header("retry-after"), Some(left.to_string().as_str()));
    }
    assert_eq!(files(&app), before);
    app.clock.advance(1);
    assert_eq!(step(&app, &activate, json!({})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_beginning_that_two_keys_share_means_neither() {
    let app = TestApp::start();
    let mut kids = vec![active(&app).await];
    let shared = |kids: &[String]| {
        let (new, old) = kids.split_last()?;
        old.iter().any(|kid| kid[..1] == new[..1]).then(|| new[..1].to_owned())
    };
    // Their names are random; among so many, two that begin alike are as good as certain.
    while shared(&kids).is_none() && kids.len() < MAX_KEYS {
        let added = step(&app, "", json!({})).await.json();
        kids.push(added["keys"][0]["kid"].as_str().unwrap().to_owned());
    }
    let prefix = shared(&kids).unwrap();
    let before = files(&app);
    let mut answers = Vec::new();
    for kid in [&prefix, "strange"] {
        answers.push(step(&app, &format!("/{kid}/revoke"), json!({})).await);
    }
    answers[0].assert_problem(404, "key_unknown");
    assert_all_alike(&answers);
    assert_eq!(files(&app), before);
}

#[tokio::test]
async fn a_jwk_that_cannot_be_used_is_refused_with_the_reason_and_nothing_of_it() {
    let changed = |member: &str, value: Value| {
        let mut jwk = jwk();
        jwk[member] = value;
        jwk.to_string()
    };
    let other_half = "Kru4wXb-6K0kJ7dGZ5uXZ9iYqW6pVGZ0kMKz8b8E0Xw";
    let mut public = jwk();
    public.as_object_mut().unwrap().remove("d");
    let app = TestApp::start();
    let before = files(&app);
    for (key, wanted) in [
        (changed("x", other_half.into()), "do not make a key"),
        (changed("crv", "X25519".into()), "X25519"),
        (changed("kty", "oct".into()), "symmetric"),
        (changed("alg", "ES256".into()), "EdDSA"),
        (changed("use", "enc".into()), "use"),
        (public.to_string(), "public key"),
        (json!({ "keys": [jwk()] }).to_string(), "set of keys"),
        (format!("{} {}", jwk(), jwk()), "JSON"),
        (String::new(), "neither PEM nor a JWK"),
    ] {
        let answer = step(&app, "/import", json!({ "key": key })).await;
        answer.assert_problem(422, "key_rejected");
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(wanted), "{key}: {reason}");
        assert!(!answer.text.contains("nWGxne_9WmC6hEr0"), "{}", answer.text);
        assert_eq!(files(&app), before);
    }
}

#[tokio::test]
async fn a_key_in_the_wrong_state_is_refused_with_the_state_it_is_in() {
    let app = TestApp::start();
    let kid = active(&app).await;
    step(&app, "/rotate", json!({})).await;
    app.clock.advance(361);
    for name in ["activate", "retire"] {
        let answer = step(&app, &format!("/{kid}/{name}"), json!({ "force": true })).await;
        answer.assert_problem(409, "key_wrong_state");
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with(&format!("{kid} is retired; wanted")), "{reason}");
    }
}

#[tokio::test]
async fn nothing_is_imported_or_activated_beside_a_faulty_file() {
    let app = TestApp::start();
    let added = step(&app, "", json!({})).await.json();
    let kid = KeyId::parse(added["keys"][0]["kid"].as_str().unwrap()).unwrap();
    crate::vectors::write_key(&app.keystore.directory().join("broken.jwk"), b"{");
    let before = files(&app);
    for (path, body) in [
        ("/import".to_owned(), json!({ "key": fixture("p256.pkcs8.pem") })),
        (format!("/{kid}/activate"), json!({ "force": true })),
        (format!("/{kid}/retire"), json!({})),
    ] {
        let answer = step(&app, &path, body).await;
        answer.assert_problem(503, "keys_unusable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("broken.jwk"), "{reason}");
    }
    assert_eq!(files(&app), before);
}

#[tokio::test]
async fn a_dry_run_says_too_that_a_key_is_there_already() {
    let app = TestApp::start();
    let key = fixture("p256.pkcs8.pem");
    step(&app, "/import", json!({ "key": key })).await;
    let answer = step(&app, "/import", json!({ "key": key, "dryRun": true })).await;
    answer.assert_problem(409, "key_exists");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_no_key() {
    let app = TestApp::start();
    let before = files(&app);
    let body = json!({ "key": "k".repeat(70_000) }).to_string();
    for path in ["/admin/keys/import", "/admin/keys/rotate"] {
        post(&app, path, body.clone()).await.assert_problem(413, "body_too_large");
    }
    assert_eq!(files(&app), before);
}

#[tokio::test]
async fn a_step_of_a_key_needs_no_body() {
    let app = TestApp::start();
    let added = ask(&app, "POST", "/admin/keys", &[]).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    let kid = added.json()["keys"][0]["kid"].as_str().unwrap().to_owned();
    app.clock.advance(300);
    let activate = format!("/admin/keys/{kid}/activate");
    ask(&app, "POST", &activate, &[]).await.assert_problem(409, "key_too_soon");
    for name in ["retire", "revoke", "prune"] {
        let path = if name == "prune" { "prune".into() } else { format!("{kid}/{name}") };
        let answer = ask(&app, "POST", &format!("/admin/keys/{path}"), &[]).await;
        let expected = if name == "revoke" { StatusCode::CONFLICT } else { StatusCode::OK };
        assert_eq!(answer.status, expected, "{name}: {}", answer.text);
    }
}
