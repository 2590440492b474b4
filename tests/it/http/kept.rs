//! Public documents that clients keep: what tells them apart, and when the same is not sent again.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use resetd_verify::Algorithm;

use super::send;
use crate::app::{Answer, TestApp};

/// The documents of the default tenant and of another one.
const DOCUMENTS: [&str; 4] = [
    "/.well-known/jwks.json",
    "/.well-known/reset-token-issuer",
    "/tenants/acme/.well-known/jwks.json",
    "/tenants/acme/.well-known/reset-token-issuer",
];

fn start() -> TestApp {
    TestApp::start_with(|options| options.tenants = vec!["acme"])
}

async fn ask(app: &TestApp, method: &str, path: &str, known: &[&str]) -> Answer {
    let headers: Vec<_> = known.iter().map(|tags| ("if-none-match", *tags)).collect();
    send(app, method, path, &headers, Body::empty()).await
}

async fn tag(app: &TestApp, path: &str) -> String {
    ask(app, "GET", path, &[]).await.header("etag").unwrap().to_owned()
}

#[tokio::test]
async fn every_public_document_has_a_strong_tag_of_its_own() {
    let app = start();
    let mut tags = Vec::new();
    for path in DOCUMENTS {
        let tag = tag(&app, path).await;
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 45, "{tag}");
        assert!(!tags.contains(&tag), "{path}");
        tags.push(tag);
    }
}

#[tokio::test]
async fn who_has_the_document_already_is_told_so_and_no_more() {
    let app = start();
    for path in DOCUMENTS {
        let full = ask(&app, "GET", path, &[]).await;
        let tag = full.header("etag").unwrap();
        for method in ["GET", "HEAD"] {
            let answer = ask(&app, method, path, &[tag]).await;
            assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
            assert_eq!(answer.text, "");
            for name in ["etag", "cache-control", "access-control-allow-origin"] {
                assert_eq!(answer.header(name), full.header(name), "{name}");
            }
            assert_eq!(answer.header("content-type"), None);
            let length = full.text.len().to_string();
            assert_eq!(answer.header("content-length"), Some(length.as_str()));
        }
    }
}

#[tokio::test]
async fn a_tag_counts_wherever_it_stands_and_however_weak_it_is() {
    let app = start();
    let path = DOCUMENTS[0];
    let tag = tag(&app, path).await;
    for known in [
        &[format!("W/{tag}").as_str()][..],
        &[&format!("\"other\", {tag}")],
        &[&format!("\"a,b\",W/\"other\" , W/{tag}")],
        &["\"other\"", &tag],
        &["*"],
        &[" * "],
    ] {
        let answer = ask(&app, "GET", path, known).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{known:?}");
    }
}

#[tokio::test]
async fn who_has_another_document_gets_this_one() {
    let app = start();
    let path = DOCUMENTS[0];
    let (tag, of_acme) = (tag(&app, path).await, tag(&app, DOCUMENTS[2]).await);
    let bare = tag.trim_matches('"');
    for known in [
        "",
        &of_acme,
        bare,
        &format!("\"{bare}"),
        &format!("\"{bare}x\""),
        &format!("w/{tag}"),
        &format!("\"*\", {of_acme}"),
    ] {
        let answer = ask(&app, "GET", path, &[known]).await;
        assert_eq!(answer.status, StatusCode::OK, "{known:?}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
        assert!(answer.json()["keys"].is_array());
    }
}

#[tokio::test]
async fn a_tag_changes_with_the_keys_and_not_with_the_time() {
    let app = start();
    let path = DOCUMENTS[0];
    let before = tag(&app, path).await;
    app.clock.advance(1000);
    assert_eq!(tag(&app, path).await, before);
    app.keystore.generate(Algorithm::EdDsa, app.now(), app.now().plus(360)).unwrap();
    app.tenant().replace_keyring(app.keystore.load().unwrap()).unwrap();
    let after = ask(&app, "GET", path, &[&before]).await;
    assert_eq!(after.status, StatusCode::OK);
    assert_eq!(after.json()["keys"].as_array().unwrap().len(), 2);
    assert_ne!(after.header("etag"), Some(before.as_str()));
}

#[tokio::test]
async fn what_is_not_kept_is_always_sent() {
    let app = start();
    let token = format!("/password-tokens/{}", app.issue("alice").await);
    for path in ["/health/live", "/health/ready", &token] {
        let request = app.request(Method::GET, path).header("if-none-match", "*");
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header("etag"), None);
    }
}

#[tokio::test]
async fn a_problem_has_no_tag_and_is_never_not_modified() {
    let app = start();
    for path in ["/tenants/beta/.well-known/jwks.json", "/nothing", "/password-tokens/junk"] {
        let answer = send(&app, "GET", path, &[("if-none-match", "*")], Body::empty()).await;
        assert!(answer.status.is_client_error(), "{path}");
        assert_eq!(answer.header("etag"), None);
    }
}
