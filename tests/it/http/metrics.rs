//! What a monitor reads: the state of the keys and how their rotation goes.

use std::fs;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use resetd::domain::caller::{KeyHash, Scope};
use resetd::domain::link::LinkTemplate;
use resetd::service::Sending;
use serde_json::json;

use super::{ask, send};
use crate::app::TestApp;

async fn metrics(app: &TestApp) -> String {
    let headers = [("x-api-key", app.key_for(Scope::Metrics))];
    let answer = send(app, "GET", "/metrics", &headers, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(media_type));
    assert!(answer.text.ends_with("# EOF\n"));
    answer.text
}

/// The lines of values, without the texts about them.
/// All but the last uses of keys, of which there are as many as callers.
async fn values(app: &TestApp) -> Vec<String> {
    let is_other = |line: &&str| !line.starts_with('#') && !line.starts_with(LAST_USED);
    metrics(app).await.lines().filter(is_other).map(str::to_owned).collect()
}

const LAST_USED: &str = "resetd_api_key_last_used_timestamp_seconds{";

#[tokio::test]
async fn when_a_key_was_last_used_is_told_for_each() {
    let app = TestApp::start();
    app.issue("alice").await;
    let key = |key: &str| KeyHash::of(key).to_string()[..8].to_owned();
    let line = |caller: &str, key: String, at: String| {
        format!("{LAST_USED}tenant=\"default\",caller=\"{caller}\",key=\"{key}\"}} {at}")
    };
    let text = metrics(&app).await;
    let used = line("all", key(app.api_key.expose()), app.now().to_string());
    let unused = line("issue", key(app.key_for(Scope::Issue)), "0".into());
    for wanted in [used, unused] {
        assert!(text.contains(&wanted), "{wanted}\n{text}");
    }
}

#[tokio::test]
async fn a_rotation_is_seen_coming_and_done() {
    let app = TestApp::start_with(|options| options.rotate_every = Some(86_400));
    let due = app.now().plus(86_400 - 10);
    let quiet = [
        r#"resetd_keys{tenant="default",state="next"} 0"#.to_owned(),
        r#"resetd_keys{tenant="default",state="active"} 1"#.into(),
        r#"resetd_keys{tenant="default",state="retired"} 0"#.into(),
        r#"resetd_keys{tenant="default",state="expired"} 0"#.into(),
        r#"resetd_keys{tenant="default",state="revoked"} 0"#.into(),
        r#"resetd_active_key_age_seconds{tenant="default"} 10"#.into(),
        format!(r#"resetd_key_rotation_next_timestamp_seconds{{tenant="default"}} {due}"#),
        r#"resetd_key_rotation_failures{tenant="default"} 0"#.into(),
        r#"resetd_key_rotation_failing{tenant="default"} 0"#.into(),
        r#"resetd_key_folder_faults{tenant="default"} 0"#.into(),
        r#"resetd_token_reuses_total{tenant="default",reason="spent",operation="check"} 0"#.into(),
        r#"resetd_token_reuses_total{tenant="default",reason="spent",operation="redeem"} 0"#.into(),
        r#"resetd_token_reuses_total{tenant="default",reason="held",operation="check"} 0"#.into(),
        r#"resetd_token_reuses_total{tenant="default",reason="held",operation="redeem"} 0"#.into(),
        "resetd_remembered 0".into(),
        "resetd_remembered_limit 1000000".into(),
        "resetd_journal_failing 0".into(),
        r#"resetd_outbox_waiting{tenant="default",lane="mail"} 0"#.into(),
        "resetd_outbox_lost_total 0".into(),
        "resetd_outbox_failing 0".into(),
        "resetd_audit_lost_total 0".into(),
        "resetd_audit_failing 0".into(),
    ];
    let mut found = values(&app).await;
    let mut wanted = quiet.to_vec();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);

    app.clock.advance(86_400 - 360 - 10);
    app.running.rotate_due();
    let found = values(&app).await;
    assert!(found.contains(&r#"resetd_keys{tenant="default",state="next"} 1"#.into()), "{found:?}");
    app.clock.advance(370);
    let found = values(&app).await;
    assert!(found.contains(&r#"resetd_keys{tenant="default",state="retired"} 1"#.into()));
    assert!(found.contains(&r#"resetd_active_key_age_seconds{tenant="default"} 10"#.into()));
}

#[tokio::test]
async fn a_rotation_that_fails_and_the_file_at_fault_are_told() {
    let app = TestApp::start_with(|options| options.rotate_every = Some(86_400));
    let odd = "a \"quoted\"\\name\n.jwk";
    crate::vectors::write_key(&app.keystore.directory().join(odd), b"{");
    app.clock.advance(86_400);
    app.running.reload();
    app.running.rotate_due();
    let found = values(&app).await;
    let now = app.now();
    for wanted in [
        r#"resetd_key_rotation_failures{tenant="default"} 1"#.to_owned(),
        r#"resetd_key_rotation_failing{tenant="default"} 1"#.into(),
        format!(r#"resetd_key_rotation_failure_timestamp_seconds{{tenant="default"}} {now}"#),
        r#"resetd_key_folder_faults{tenant="default"} 1"#.into(),
        r#"resetd_key_file_faulty{tenant="default",file="a \"quoted\"\\name\n.jwk"} 1"#.into(),
    ] {
        assert!(found.contains(&wanted), "{wanted}\n{found:#?}");
    }
    let ready = app.get("/health/ready").await.json()["keys"].clone();
    assert_eq!(ready["rotationFailing"], true);
    assert_eq!(ready["faultyFiles"], 1);
    assert_eq!(ready["lastRotationFailure"], resetd::domain::time::to_rfc3339(now));
    fs::remove_file(app.keystore.directory().join(odd)).unwrap();
}

#[tokio::test]
async fn each_tenant_has_its_own_values() {
    let app = TestApp::start_with(|options| options.tenants = vec!["acme"]);
    app.acting_for("acme").post("/admin/keys", json!({})).await;
    let found = values(&app).await;
    assert!(found.contains(&r#"resetd_keys{tenant="acme",state="next"} 1"#.into()));
    assert!(found.contains(&r#"resetd_keys{tenant="default",state="next"} 0"#.into()));
}

#[tokio::test]
async fn no_request_adds_a_series_and_not_every_faulty_file_is_named() {
    let app = TestApp::start();
    let before = values(&app).await.len();
    for number in 0..200 {
        ask(&app, "GET", &format!("/admin/keys/kid-{number}"), &[]).await;
        ask(&app, "GET", &format!("/password-tokens/token-{number}"), &[]).await;
    }
    assert_eq!(values(&app).await.len(), before);
    for number in 0..40 {
        let path = app.keystore.directory().join(format!("broken-{number}.jwk"));
        crate::vectors::write_key(&path, b"{");
    }
    app.running.reload();
    let text = metrics(&app).await;
    assert!(text.contains(r#"resetd_key_folder_faults{tenant="default"} 40"#), "{text}");
    assert_eq!(text.matches("resetd_key_file_faulty{").count(), 16);
}

#[tokio::test]
async fn a_spent_token_that_comes_again_and_how_much_is_remembered_are_counted() {
    let app = TestApp::start_with(|options| options.capacity = 9);
    let token = app.issue("alice").await;
    for _ in 0..3 {
        app.redeem(&token).await;
    }
    app.service.tidy();
    let found = values(&app).await;
    for wanted in [
        r#"resetd_token_reuses_total{tenant="default",reason="spent",operation="redeem"} 2"#,
        "resetd_remembered 1",
        "resetd_remembered_limit 9",
    ] {
        assert!(found.contains(&wanted.to_owned()), "{wanted}\n{found:#?}");
    }
}

#[tokio::test]
async fn what_waits_to_be_sent_is_told_by_tenant_with_its_age_and_what_became_of_it() {
    let app = TestApp::start_with(|options| {
        options.tenants = vec!["acme"];
        options.sending = Sending {
            link: LinkTemplate::parse("https://app.example.com/#{token}"),
            has_mail: true,
            ..Sending::default()
        };
    });
    let promised = app.now();
    let body = json!({ "username": "ann", "to": "ann@example.com" });
    app.post("/deliveries", body.clone()).await.assert_status(202);
    app.acting_for("acme").post("/deliveries", body).await.assert_status(202);
    let outbox = app.service.outbox();
    let taken = outbox.next().await;
    let tenant = taken.order.tenant.clone();
    outbox.again(taken, Duration::ZERO);
    let first = outbox.next().await;
    outbox.done(&first.order, "sent");
    let text = metrics(&app).await;
    let other = if first.order.tenant.as_str() == "acme" { "default" } else { "acme" };
    for wanted in [
        format!("resetd_outbox_waiting{{tenant=\"{other}\",lane=\"mail\"}} 1"),
        format!("resetd_outbox_waiting{{tenant=\"{}\",lane=\"mail\"}} 0", first.order.tenant),
        format!(
            "resetd_outbox_oldest_timestamp_seconds{{tenant=\"{other}\",lane=\"mail\"}} {promised}"
        ),
        format!(
            "resetd_outbox_outcomes_total{{tenant=\"{tenant}\",lane=\"mail\",outcome=\"retried\"}} 1"
        ),
        format!(
            "resetd_outbox_outcomes_total{{tenant=\"{}\",lane=\"mail\",outcome=\"sent\"}} 1",
            first.order.tenant
        ),
    ] {
        assert!(text.contains(&wanted), "{wanted}\n{text}");
    }
}
