//! Tenants that sign with the keys of the default one: published at each one's address, changed for all
//! at once, by the owner alone, and counted once.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use axum::http::StatusCode;
use resetd_verify::Algorithm;
use serde_json::json;

use super::{disown, kids, two_with_one_set_of_keys};
use crate::app::TestApp;

/// Every step that changes a key.
fn steps(kid: &str) -> Vec<String> {
    let of_key = ["activate", "retire", "revoke"].map(|step| format!("/admin/keys/{kid}/{step}"));
    let of_folder = ["", "/import", "/rotate", "/prune"].map(|step| format!("/admin/keys{step}"));
    [of_key.to_vec(), of_folder.to_vec()].concat()
}

fn files(app: &TestApp) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(app.keystore.directory()).unwrap().map(|entry| entry.unwrap());
    let file = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

#[tokio::test]
async fn each_publishes_the_same_keys_below_its_own_issuer() {
    let [app, acme] = two_with_one_set_of_keys();
    let of_default = kids(&app, "/.well-known/jwks.json").await;
    assert_eq!(of_default.len(), 1);
    assert_eq!(kids(&acme, "/tenants/acme/.well-known/jwks.json").await, of_default);
    let metadata = app.get("/tenants/acme/.well-known/reset-token-issuer").await.json();
    assert_eq!(metadata["issuer"], acme.tenant().policy().issuer.as_str());
    assert_ne!(acme.tenant().policy().issuer, app.tenant().policy().issuer);
}

#[tokio::test]
async fn a_changed_folder_is_taken_up_for_all_at_once() {
    let [app, acme] = two_with_one_set_of_keys();
    let token = acme.issue("alice").await;
    app.keystore.generate(Algorithm::EdDsa, app.now(), app.now()).unwrap();
    app.running.reload();
    assert!(Arc::ptr_eq(&app.tenant().keyring(), &acme.tenant().keyring()));
    let published = kids(&app, "/.well-known/jwks.json").await;
    assert_eq!(published.len(), 2);
    assert_eq!(kids(&acme, "/tenants/acme/.well-known/jwks.json").await, published);
    let kid = app.tenant().active_key().unwrap().kid().clone();
    assert_eq!(*acme.tenant().active_key().unwrap().kid(), kid);
    assert_eq!(acme.check(&token).await.status, StatusCode::OK);
    assert_eq!(app.running.folders().count(), 1);
}

#[tokio::test]
async fn a_key_that_is_revoked_by_its_owner_is_trusted_by_none() {
    let [app, acme] = two_with_one_set_of_keys();
    let token = acme.issue("alice").await;
    let kid = app.tenant().active_key().unwrap().kid().to_string();
    let answer = app.post(&format!("/admin/keys/{kid}/revoke"), json!({})).await;
    assert!(answer.status.is_success(), "{}", answer.text);
    acme.check(&token).await.assert_problem(404, "token_unknown");
    acme.issue("alice").await;
}

#[tokio::test]
async fn whoever_shares_keys_may_look_at_them_and_change_nothing() {
    let [app, acme] = two_with_one_set_of_keys();
    let kid = app.tenant().active_key().unwrap().kid().to_string();
    let before = files(&app);
    for path in steps(&kid) {
        // Also a body that says nothing is refused for this: nothing is read of it.
        for body in [json!({ "force": true }), json!({ "strange": 1 })] {
            let answer = acme.post(&path, body).await;
            answer.assert_problem(403, "keys_shared");
            let reason = answer.json()["reason"].as_str().unwrap().to_owned();
            let wanted = "the tenant acme signs with the keys of the tenant default, so only those who act for default can change them, for all that share them";
            assert_eq!(reason, wanted, "{path}");
        }
    }
    assert_eq!(files(&app), before);
    assert_eq!(acme.get("/admin/keys").await.text, app.get("/admin/keys").await.text);
    for path in [format!("/admin/keys/{kid}"), format!("/admin/keys/{kid}/export")] {
        assert_eq!(acme.get(&path).await.status, StatusCode::OK, "{path}");
    }
    for path in steps("x").iter().skip(3).filter(|path| !path.ends_with("import")) {
        assert!(app.post(path, json!({ "dryRun": true })).await.status.is_success(), "{path}");
    }
}

#[tokio::test]
async fn the_keys_are_counted_once_and_each_ones_tokens_apart() {
    let [app, acme] = two_with_one_set_of_keys();
    let token = acme.issue("alice").await;
    for _ in 0..2 {
        acme.redeem(&token).await;
    }
    crate::vectors::write_key(&app.keystore.directory().join("broken.jwk"), b"{");
    app.running.reload();
    let text = app.get("/metrics").await.text;
    let about_keys =
        |line: &&str| line.starts_with("resetd_key") || line.starts_with("resetd_active");
    for line in text.lines().filter(about_keys) {
        assert!(line.contains("tenant=\"default\""), "{line}");
    }
    for wanted in [
        "resetd_keys{tenant=\"default\",state=\"active\"} 1",
        "resetd_key_folder_faults{tenant=\"default\"} 1",
        "resetd_token_reuses_total{tenant=\"acme\",reason=\"spent\",operation=\"redeem\"} 1",
        "resetd_token_reuses_total{tenant=\"default\",reason=\"spent\",operation=\"redeem\"} 0",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    assert_eq!(app.get("/health/ready").await.json()["keys"]["faultyFiles"], 1);
}

#[tokio::test]
async fn whoever_cannot_sign_is_told_whose_key_is_missing() {
    let [app, acme] = two_with_one_set_of_keys();
    let kid = app.tenant().active_key().unwrap().kid().to_string();
    app.post(&format!("/admin/keys/{kid}/retire"), json!({ "force": true })).await;
    app.clock.advance(2);
    let error = acme.tenant().active_key().unwrap_err().to_string();
    assert!(error.ends_with("resetd keys generate --tenant default"), "{error}");
}

#[tokio::test]
async fn of_many_the_right_one_is_found_for_whoever_holds_a_token() {
    const NAMES: [&str; 4] = ["a", "acme", "beta", "zeta"];
    let app = TestApp::start_with(|options| options.sharers = NAMES.to_vec());
    let mut tokens = vec![(app.acting_for("default"), app.issue("alice").await)];
    for name in NAMES {
        let tenant = app.acting_for(name);
        let token = tenant.issue("alice").await;
        tokens.push((tenant, token));
    }
    for (at, (tenant, token)) in tokens.iter().enumerate() {
        let found = app.service.tenant_of(token).unwrap();
        assert_eq!(found.policy().tenant, tenant.tenant().policy().tenant);
        assert_eq!(disown(&app, token).await.status, StatusCode::CREATED);
        tenant.check(token).await.assert_problem(404, "token_revoked");
        for (tenant, token) in &tokens[at + 1..] {
            assert_eq!(tenant.check(token).await.status, StatusCode::OK);
        }
    }
}
