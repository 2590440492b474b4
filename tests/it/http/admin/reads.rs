//! Reading keys: methods, public halves as others write them, and what the scope opens.

use axum::body::Body;
use axum::http::StatusCode;
use resetd::domain::caller::Scope;
use serde_json::json;

use super::{active, fixture, step};
use crate::app::TestApp;
use crate::http::{JSON, ask, but_for_its_id, send};

#[tokio::test]
async fn head_of_a_key_is_get_without_its_body() {
    let app = TestApp::start();
    let kid = active(&app).await;
    let one = format!("/admin/keys/{kid}");
    for path in [
        "/metrics",
        "/admin/keys",
        "/admin/keys/strange",
        &one,
        &format!("{one}/export"),
        &format!("{one}/export?format=jwk"),
        &format!("{one}/export?format=der"),
    ] {
        let (head, get) = (ask(&app, "HEAD", path, &[]).await, app.get(path).await);
        assert_eq!(head.text, "", "{path}");
        assert_ne!(get.text, "", "{path}");
        let (head, get) = (but_for_its_id(&head), but_for_its_id(&get));
        assert_eq!((head.0, head.1), (get.0, get.1), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_on_keys_is_told_the_right_ones_and_does_nothing() {
    let app = TestApp::start();
    let kid = active(&app).await;
    let before = super::files(&app);
    for (path, allowed) in [
        ("/metrics".to_owned(), "GET,HEAD"),
        ("/admin/keys".into(), "GET,HEAD,POST"),
        (format!("/admin/keys/{kid}"), "GET,HEAD"),
        (format!("/admin/keys/{kid}/export"), "GET,HEAD"),
        ("/admin/keys/import".into(), "POST"),
        ("/admin/keys/rotate".into(), "POST"),
        ("/admin/keys/prune".into(), "POST"),
        (format!("/admin/keys/{kid}/activate"), "POST"),
        (format!("/admin/keys/{kid}/retire"), "POST"),
        (format!("/admin/keys/{kid}/revoke"), "POST"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if allowed.split(',').any(|allowed| allowed == method) {
                continue;
            }
            let answer = ask(&app, method, &path, &[]).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
        }
    }
    assert_eq!(super::files(&app), before);
}

#[tokio::test]
async fn a_public_half_is_exported_as_openssl_writes_it() {
    for (private, public) in [
        ("p256.pkcs8.pem", "p256.public.pem"),
        ("ed25519.pkcs8.pem", "ed25519.public.pem"),
        ("rsa.pkcs8.pem", "rsa.spki.pem"),
    ] {
        let app = TestApp::start();
        let imported = step(&app, "/import", json!({ "key": fixture(private) })).await.json();
        let kid = imported["keys"][0]["kid"].as_str().unwrap();
        let exported = app.get(&format!("/admin/keys/{kid}/export")).await;
        assert_eq!(exported.text, fixture(public));
    }
}

#[tokio::test]
async fn only_the_scope_for_writing_activates_a_key() {
    let app = TestApp::start();
    let added = step(&app, "", json!({})).await.json();
    let path = format!("/admin/keys/{}/activate", added["keys"][0]["kid"].as_str().unwrap());
    let body = json!({ "force": true, "dryRun": true }).to_string();
    for scope in Scope::ALL {
        let headers = [JSON, ("x-api-key", app.key_for(scope))];
        let answer = send(&app, "POST", &path, &headers, body.clone()).await;
        if scope == Scope::KeysWrite {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        } else {
            answer.assert_problem(403, "forbidden");
        }
    }
    send(&app, "POST", &path, &[JSON], Body::from(body))
        .await
        .assert_problem(401, "unauthenticated");
}
