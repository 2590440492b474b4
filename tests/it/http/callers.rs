//! Who may call: keys, scopes, and what is settled before anything else.

use axum::body::Body;
use axum::http::StatusCode;
use resetd::domain::caller::{KeyHash, Scope, api_key};

use super::{JSON, Silence, assert_all_alike, bearer, guarded, send};
use crate::app::TestApp;

#[tokio::test]
async fn a_key_is_taken_from_each_header_that_is_known() {
    let app = TestApp::start();
    let path = format!("/password-tokens/{}", app.issue("alice").await);
    let key = app.api_key.expose();
    let spellings = [
        ("authorization", bearer(key)),
        ("authorization", format!("bearer  {key}")),
        ("x-api-key", key.to_owned()),
        ("reb-apikey", key.to_owned()),
        ("x-loginradius-apisecret", key.to_owned()),
    ];
    for (name, value) in &spellings {
        let answer = send(&app, "GET", &path, &[(name, value)], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {value}");
    }
}

#[tokio::test]
async fn without_a_known_key_every_guarded_request_is_unauthenticated() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let key = app.api_key.expose();
    let cases = [
        ("x-nothing", "no key at all".to_owned()),
        ("authorization", bearer(api_key([99; 32]).expose())),
        ("authorization", bearer(&key.to_uppercase())),
        ("authorization", bearer(&key[..key.len() - 1])),
        ("authorization", bearer(&format!("{key}a"))),
        ("authorization", bearer(&format!("{key}, {key}"))),
        ("authorization", bearer(&KeyHash::of(key).to_string())),
        ("authorization", bearer(&token)),
        ("authorization", "Bearer ".into()),
        ("authorization", "Bearer".into()),
        ("authorization", String::new()),
        ("authorization", key.to_owned()),
        ("authorization", format!("Basic {key}")),
        ("authorization", format!("Bearer{key}")),
        ("authorization", bearer(&format!("{key}\u{e9}"))),
        ("x-api-key", String::new()),
        ("x-api-key", token.clone()),
        ("x-api-key", bearer(key)),
        ("x-api-key", format!("\u{fffd}{key}")),
        ("reb-apikey", token.clone()),
        ("x-loginradius-apisecret", bearer(key)),
    ];
    for (method, path, _, body) in guarded(&token) {
        let mut answers = Vec::new();
        for (name, value) in &cases {
            let headers = [JSON, (*name, value.as_str())];
            answers.push(send(&app, method, &path, &headers, body.to_string()).await);
        }
        assert_eq!(answers[0].status, StatusCode::UNAUTHORIZED);
        let challenge = answers[0].header("www-authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"resetd\""));
        assert_all_alike(&answers);
    }
    assert_eq!(app.check(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_credential_in_the_query_is_refused_also_beside_a_good_key() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let key = app.api_key.expose();
    let queries = [
        format!("access_token={key}"),
        "access_token=other".into(),
        format!("a=b&key={key}"),
        format!("access_token={token}"),
    ];
    for (method, path, _, body) in guarded(&token) {
        for query in &queries {
            for name in ["x-nothing", "x-api-key"] {
                let path = format!("{path}?{query}");
                let answer =
                    send(&app, method, &path, &[JSON, (name, key)], body.to_string()).await;
                assert_eq!(answer.status, StatusCode::BAD_REQUEST);
                if method != "HEAD" {
                    answer.assert_problem(400, "credential_in_query");
                }
            }
        }
    }
}

#[tokio::test]
async fn two_credentials_are_refused_even_when_they_are_the_same() {
    let app = TestApp::start();
    let path = format!("/password-tokens/{}", app.issue("alice").await);
    let (key, bearer) = (app.api_key.expose(), bearer(app.api_key.expose()));
    let pairs = [
        [("authorization", bearer.as_str()), ("x-api-key", key)],
        [("authorization", "Bearer junk"), ("x-api-key", key)],
        [("authorization", &bearer), ("x-api-key", "junk")],
        [("authorization", &bearer), ("authorization", &bearer)],
        [("authorization", &bearer), ("authorization", "Basic junk")],
        [("x-api-key", key), ("x-api-key", key)],
        [("x-api-key", key), ("reb-apikey", key)],
        [("reb-apikey", "junk"), ("x-loginradius-apisecret", key)],
    ];
    for pair in pairs {
        let answer = send(&app, "GET", &path, &pair, Body::empty()).await;
        answer.assert_problem(400, "several_credentials");
    }
}

#[tokio::test]
async fn who_calls_is_settled_before_the_body_is_read_or_anything_is_looked_up() {
    let app = TestApp::start();
    let other = app.key_for(Scope::KeysRead);
    for (key, status) in [("junk", StatusCode::UNAUTHORIZED), (other, StatusCode::FORBIDDEN)] {
        for path in ["/password-tokens", "/redemptions", "/revocations"] {
            let headers =
                [("x-api-key", key), ("content-type", "text/plain"), ("content-length", "70000")];
            let answer = send(&app, "POST", path, &headers, Body::new(Silence)).await;
            assert_eq!(answer.status, status, "{path}");
        }
        let mut answers = Vec::new();
        for token in [&app.issue("alice").await, "junk"] {
            let path = format!("/password-tokens/{token}");
            answers.push(send(&app, "GET", &path, &[("x-api-key", key)], Body::empty()).await);
        }
        assert_eq!(answers[0].status, status);
        assert_all_alike(&answers);
    }
}

#[tokio::test]
async fn a_scope_opens_its_own_requests_and_no_other() {
    let app = TestApp::start();
    for scope in Scope::ALL {
        for n in 0..guarded("").len() {
            let token = app.issue("alice").await;
            let (method, path, needed, body) = guarded(&token)[n].clone();
            let headers = [JSON, ("x-api-key", app.key_for(scope))];
            let answer = send(&app, method, &path, &headers, body.to_string()).await;
            if scope == needed && path.starts_with("/redemptions/x") {
                answer.assert_problem(404, "redemption_unknown");
            } else if scope == needed && path == "/admin/config/reload" {
                // A router by itself has no configuration.
                answer.assert_problem(404, "not_found");
            } else if scope == needed && path == "/deliveries" {
                // And it can send nothing.
                answer.assert_problem(409, "delivery_not_configured");
            } else if scope == needed {
                assert!(answer.status.is_success(), "{scope} on {method} {path}");
            } else {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{scope} on {method} {path}");
                assert_eq!(app.check(&token).await.status, StatusCode::OK);
            }
        }
    }
}
