//! Keys over HTTP: what each step answers, what is refused, and that no private half gets out.

mod reads;
mod refusals;
mod steps;

use std::collections::BTreeMap;
use std::fs;

use axum::http::StatusCode;
use resetd_verify::{KeySet, PublicKey, json as strict};
use serde_json::{Value, json};

use super::{ask, kid_of, post, send};
use crate::app::{Answer, TestApp};

/// The text of every file of a key.
fn files(app: &TestApp) -> BTreeMap<String, String> {
    let entries =
        fs::read_dir(app.keystore.directory()).unwrap().map(|entry| entry.unwrap().path());
    let keys = entries.filter(|path| path.extension().is_some_and(|it| it == "jwk"));
    keys.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

async fn step(app: &TestApp, path: &str, body: Value) -> Answer {
    app.post(&format!("/admin/keys{path}"), body).await
}

async fn active(app: &TestApp) -> String {
    kid_of(&app.issue("somebody").await)
}

fn fixture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys/");
    fs::read_to_string(format!("{folder}{name}")).unwrap()
}

async fn published(app: &TestApp) -> String {
    app.get("/.well-known/jwks.json").await.text
}

#[tokio::test]
async fn the_list_says_of_each_key_where_it_is_in_its_life() {
    let app = TestApp::start();
    let old = active(&app).await;
    let rotated = step(&app, "/rotate", json!({})).await.json();
    let new = rotated["keys"][0]["kid"].clone();
    let list = app.get("/admin/keys").await;
    assert_eq!(
        list.json(),
        json!({
            "keys": [
                {
                    "kid": new, "state": "next", "algorithm": "ES256",
                    "created": "2027-01-15T05:13:30Z", "signsFrom": "2027-01-15T05:19:30Z",
                },
                {
                    "kid": old, "state": "active", "algorithm": "ES256",
                    "created": "2027-01-15T05:13:20Z", "signsFrom": "2027-01-15T05:13:20Z",
                },
            ],
            "faults": [],
            "nextRotation": "2027-01-15T05:19:30Z",
        })
    );
    assert_eq!(list.header("cache-control"), Some("no-store"));
    app.clock.advance(361);
    let retired = app.get("/admin/keys").await.json()["keys"][1].clone();
    assert_eq!(retired["state"], "retired");
    assert_eq!(retired["lastTokenExpires"], "2027-01-16T05:19:30Z");
    assert_eq!(retired["removableInSeconds"], 86_400 + 60 - 1);
}

#[tokio::test]
async fn a_key_is_shown_and_exported_as_it_is_published() {
    let app = TestApp::start();
    let kid = active(&app).await;
    let jwks: Value = serde_json::from_str(&published(&app).await).unwrap();
    for name in [&kid, &kid[..10]] {
        let shown = app.get(&format!("/admin/keys/{name}")).await.json();
        assert_eq!(shown["jwk"], jwks["keys"][0]);
        assert_eq!(shown["key"]["state"], "active");
        let jwk = app.get(&format!("/admin/keys/{name}/export?format=jwk")).await;
        assert_eq!(jwk.header("content-type"), Some("application/jwk+json"));
        assert_eq!(jwk.json(), jwks["keys"][0]);
    }
    let pem = app.get(&format!("/admin/keys/{kid}/export")).await;
    assert_eq!(pem.header("content-type"), Some("application/x-pem-file"));
    assert!(pem.text.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{}", pem.text);
    assert_eq!(pem.text, app.get(&format!("/admin/keys/{kid}/export?format=pem")).await.text);
    let wrong = app.get(&format!("/admin/keys/{kid}/export?format=der")).await;
    wrong.assert_problem(422, "invalid_request");
    assert_eq!(wrong.json()["invalidFields"][0]["field"], "format");
}

#[tokio::test]
async fn no_answer_ever_holds_a_private_member() {
    let app = TestApp::start();
    let pem = fixture("rsa.pkcs8.pem");
    let mut answers = vec![step(&app, "/import", json!({ "key": pem })).await];
    answers.push(step(&app, "", json!({ "algorithm": "EdDSA" })).await);
    let kids: Vec<String> = app.get("/admin/keys").await.json()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect();
    for kid in &kids {
        for path in ["", "/export", "/export?format=jwk"] {
            answers.push(app.get(&format!("/admin/keys/{kid}{path}")).await);
        }
        answers.push(step(&app, &format!("/{kid}/revoke"), json!({ "dryRun": true })).await);
    }
    answers.push(app.get("/admin/keys").await);
    answers.push(app.get("/metrics").await);
    let mut secrets = Vec::new();
    for text in files(&app).values() {
        let key: Value = serde_json::from_str(text).unwrap();
        let members = ["d", "p", "q", "dp", "dq", "qi"];
        secrets.extend(members.iter().filter_map(|name| key[name].as_str().map(str::to_owned)));
    }
    assert_eq!(secrets.len(), 6 + 1 + 1);
    for answer in &answers {
        assert!(answer.status.is_success(), "{}", answer.text);
        assert!(secrets.iter().all(|secret| !answer.text.contains(secret)), "{}", answer.text);
        assert!(!answer.text.contains("PRIVATE"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_step_answers_with_what_changed_and_what_follows_and_is_in_force_at_once() {
    let app = TestApp::start();
    let old = active(&app).await;
    let answer = step(&app, "", json!({ "algorithm": "EdDSA" })).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let body = answer.json();
    let kid = body["keys"][0]["kid"].as_str().unwrap().to_owned();
    assert_eq!(
        body,
        json!({
            "dryRun": false,
            "changes": [{
                "change": "add", "algorithm": "EdDSA",
                "notBefore": "2027-01-15T05:19:30Z", "created": "2027-01-15T05:13:30Z",
            }],
            "consequences": [
                "the new key is published at once and signs from 2027-01-15T05:19:30Z",
                format!(
                    "{old} retires then; its links stay good, and its file can be removed from 2027-01-16T05:20:30Z"
                ),
            ],
            "destructive": false,
            "keys": [{
                "kid": kid, "state": "next", "algorithm": "EdDSA",
                "created": "2027-01-15T05:13:30Z", "signsFrom": "2027-01-15T05:19:30Z",
            }],
        })
    );
    assert!(published(&app).await.contains(&kid));

    app.clock.advance(360);
    assert_eq!(active(&app).await, kid);
    let token = app.issue("alice").await;
    let revoked = step(&app, &format!("/{kid}/revoke"), json!({})).await;
    assert_eq!(revoked.status, StatusCode::CREATED, "a replacement was made");
    let leaked = revoked.json()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == kid.as_str())
        .cloned();
    assert_eq!(leaked.unwrap()["state"], "revoked");
    app.check(&token).await.assert_problem(404, "token_unknown");
    assert!(!published(&app).await.contains(&kid));
    assert_ne!(active(&app).await, kid);
}

#[tokio::test]
async fn a_next_key_is_activated_and_retired_and_an_expired_one_is_removed() {
    let app = TestApp::start();
    let old = active(&app).await;
    let added = step(&app, "", json!({ "signsInSeconds": 5000 })).await.json();
    let kid = added["keys"][0]["kid"].as_str().unwrap().to_owned();
    app.clock.advance(360);
    let activated = step(&app, &format!("/{kid}/activate"), json!({})).await;
    assert_eq!(activated.status, StatusCode::OK);
    app.clock.advance(2);
    assert_eq!(active(&app).await, kid);

    let added = step(&app, "", json!({})).await.json();
    let next = added["keys"][0]["kid"].as_str().unwrap().to_owned();
    assert_eq!(step(&app, &format!("/{next}/retire"), json!({})).await.status, StatusCode::OK);
    assert!(!published(&app).await.contains(&next));
    let pruned = step(&app, "/prune", json!({})).await.json();
    assert_eq!(pruned["changes"], json!([{ "change": "remove", "kid": next }]));
    app.clock.advance(86_400 + 60);
    let pruned = step(&app, "/prune", json!({})).await.json();
    assert_eq!(pruned["changes"], json!([{ "change": "remove", "kid": old }]));
    assert_eq!(files(&app).len(), 1);
}

#[tokio::test]
async fn a_dry_run_says_what_would_follow_and_changes_nothing() {
    let app = TestApp::start();
    let kid = active(&app).await;
    let before = files(&app);
    for (path, body) in [
        (String::new(), json!({ "dryRun": true })),
        ("/rotate".into(), json!({ "dryRun": true })),
        ("/import".into(), json!({ "dryRun": true, "key": fixture("p256.sec1.pem") })),
        (format!("/{kid}/retire"), json!({ "dryRun": true, "force": true })),
        (format!("/{kid}/revoke"), json!({ "dryRun": true })),
    ] {
        let answer = step(&app, &path, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.json()["dryRun"], true);
        assert_ne!(answer.json()["changes"], json!([]), "{path}");
        assert_eq!(files(&app), before, "{path}");
    }
}

#[tokio::test]
async fn a_step_that_would_break_links_is_refused_with_its_reason() {
    let app = TestApp::start();
    let kid = active(&app).await;
    let before = files(&app);
    let soon = step(&app, "", json!({ "signsInSeconds": 359 })).await;
    soon.assert_problem(409, "key_too_soon");
    assert_eq!(soon.header("retry-after"), Some("360"));
    assert!(soon.json()["reason"].as_str().unwrap().contains("wait 360 seconds"));
    step(&app, &format!("/{kid}/activate"), json!({ "force": true }))
        .await
        .assert_problem(409, "key_wrong_state");
    step(&app, &format!("/{kid}/retire"), json!({})).await.assert_problem(409, "key_in_use");
    assert_eq!(files(&app), before);
    let forced = step(&app, "", json!({ "signsInSeconds": 0, "force": true })).await;
    assert_eq!(forced.status, StatusCode::CREATED);
    assert_eq!(forced.json()["destructive"], true);
}

#[tokio::test]
async fn a_key_that_is_not_there_and_one_of_another_tenant_look_alike() {
    let app = TestApp::start_with(|options| options.tenants = vec!["acme"]);
    let foreign = active(&app.acting_for("acme")).await;
    let strange = "x".repeat(43);
    for (method, path) in [
        ("GET", ""),
        ("GET", "/export"),
        ("POST", "/activate"),
        ("POST", "/retire"),
        ("POST", "/revoke"),
    ] {
        let mut answers = Vec::new();
        for kid in [foreign.as_str(), &strange, "%ff", ""] {
            if kid.is_empty() && path.is_empty() {
                continue;
            }
            let answer = ask(&app, method, &format!("/admin/keys/{kid}{path}"), &[]).await;
            if !kid.is_empty() {
                answer.assert_problem(404, "key_unknown");
                answers.push(answer);
            }
        }
        super::assert_all_alike(&answers);
    }
    let list = app.get("/admin/keys").await.text;
    assert!(!list.contains(&foreign));
    assert_eq!(active(&app.acting_for("acme")).await, foreign);
}

#[tokio::test]
async fn each_kind_of_key_is_imported_and_signs() {
    for (file, body, alg) in [
        ("p256.pkcs8.pem", json!({}), "ES256"),
        ("ed25519.pkcs8.pem", json!({}), "EdDSA"),
        ("rsa.pkcs1.pem", json!({ "algorithm": "PS256" }), "PS256"),
        ("p256.encrypted.pem", json!({ "passphrase": "correct-horse" }), "ES256"),
    ] {
        let app = TestApp::start();
        let mut body = body;
        body["key"] = fixture(file).into();
        let answer = step(&app, "/import", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{file}: {}", answer.text);
        let kid = answer.json()["keys"][0]["kid"].as_str().unwrap().to_owned();
        assert_eq!(answer.json()["keys"][0]["state"], "next");
        assert_eq!(answer.json()["keys"][0]["algorithm"], alg);
        app.clock.advance(360);
        let token = app.issue("alice").await;
        assert_eq!(kid_of(&token), kid, "{file}");
        assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED, "{file}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_refused_with_the_reason_and_nothing_of_it() {
    let app = TestApp::start();
    let before = files(&app);
    for (key, wanted) in [
        (fixture("rsa-1024.pkcs8.pem"), "1024"),
        (fixture("p384.pkcs8.pem"), "P-384"),
        (fixture("p256.public.pem"), "public"),
        (fixture("p256.encrypted.pem"), "passphrase"),
        ("no key at all".to_owned(), "PEM"),
    ] {
        let answer = step(&app, "/import", json!({ "key": key })).await;
        answer.assert_problem(422, "key_rejected");
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(wanted), "{reason}");
        let lines = key.lines().filter(|line| line.len() > 20 && !line.starts_with('-'));
        assert!(lines.into_iter().all(|line| !answer.text.contains(line)), "{}", answer.text);
        assert_eq!(files(&app), before);
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_does_not_come_back() {
    let app = TestApp::start();
    let key = json!({ "key": fixture("p256.pkcs8.pem") });
    let kid = step(&app, "/import", key.clone()).await.json()["keys"][0]["kid"].clone();
    step(&app, "/import", key.clone()).await.assert_problem(409, "key_exists");
    let mut dry = key.clone();
    dry["dryRun"] = true.into();
    step(&app, "/import", dry).await.assert_problem(409, "key_exists");
    let revoke = format!("/{}/revoke", kid.as_str().unwrap());
    assert_eq!(step(&app, &revoke, json!({})).await.status, StatusCode::OK);
    step(&app, "/import", key).await.assert_problem(409, "key_exists");
    step(&app, &revoke, json!({})).await.assert_problem(409, "key_wrong_state");
}

#[tokio::test]
async fn no_more_keys_are_made_than_can_be_published() {
    let app = TestApp::start();
    for _ in 1..64 {
        assert_eq!(step(&app, "", json!({})).await.status, StatusCode::CREATED);
    }
    step(&app, "", json!({})).await.assert_problem(409, "too_many_keys");
    assert_eq!(KeySet::from_jwks(published(&app).await.as_bytes()).unwrap().len(), 64);
}

#[tokio::test]
async fn a_faulty_file_is_named_and_the_keys_in_use_stay() {
    let app = TestApp::start();
    let kid = active(&app).await;
    crate::vectors::write_key(&app.keystore.directory().join("broken.jwk"), b"{");
    for path in ["", "/rotate", "/prune", &format!("/{kid}/revoke")] {
        let answer = step(&app, path, json!({})).await;
        answer.assert_problem(503, "keys_unusable");
        assert!(answer.json()["reason"].as_str().unwrap().contains("broken.jwk"));
    }
    let list = app.get("/admin/keys").await.json();
    assert!(list["faults"][0].as_str().unwrap().contains("broken.jwk"));
    assert_eq!(list["keys"][0]["kid"], kid.as_str());
    assert_eq!(active(&app).await, kid);
}

#[tokio::test]
async fn every_faulty_member_is_named_and_nothing_is_done() {
    let app = TestApp::start();
    let before = files(&app);
    let kid = active(&app).await;
    for (path, body, fields) in [
        (String::new(), json!({ "algorithm": "RS256", "force": 1 }), &["force", "algorithm"][..]),
        (String::new(), json!({ "signsInSeconds": -1 }), &["signsInSeconds"]),
        (String::new(), json!({ "signsInSeconds": 31_536_001 }), &["signsInSeconds"]),
        (String::new(), json!({ "dryRun": "yes", "when": 1 }), &["dryRun", "when"]),
        ("/import".into(), json!({ "algorithm": "HS256" }), &["key", "algorithm"]),
        (format!("/{kid}/revoke"), json!({ "force": true }), &["force"]),
        ("/prune".into(), json!({ "all": true }), &["all"]),
    ] {
        let answer = step(&app, &path, body).await;
        answer.assert_problem(422, "invalid_request");
        let told = answer.json()["invalidFields"].clone();
        let mut told: Vec<_> = told
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["field"].as_str().unwrap().to_owned())
            .collect();
        told.sort();
        let mut fields = fields.to_vec();
        fields.sort_unstable();
        assert_eq!(told, fields, "{path}");
    }
    post(&app, "/admin/keys/rotate", "{").await.assert_problem(400, "malformed_json");
    assert_eq!(files(&app), before);
}

#[tokio::test]
async fn a_body_may_be_left_out_where_all_members_may() {
    let app = TestApp::start();
    let rotated = ask(&app, "POST", "/admin/keys/rotate", &[]).await;
    assert_eq!(rotated.status, StatusCode::CREATED, "{}", rotated.text);
    ask(&app, "POST", "/admin/keys/import", &[])
        .await
        .assert_problem(415, "unsupported_media_type");
    let headers = [("x-api-key", app.api_key.expose()), ("content-type", "text/plain")];
    send(&app, "POST", "/admin/keys/rotate", &headers, "{}")
        .await
        .assert_problem(415, "unsupported_media_type");
}

#[test]
fn an_exported_jwk_is_one_that_the_verifier_reads() {
    let app = TestApp::start();
    let kid = app.tenant().active_key().unwrap().kid().clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let jwk = runtime.block_on(app.get(&format!("/admin/keys/{kid}/export?format=jwk"))).text;
    let jwk = strict::parse_object(jwk.trim().as_bytes()).unwrap();
    assert_eq!(*PublicKey::from_jwk(&jwk).unwrap().kid(), kid);
}
