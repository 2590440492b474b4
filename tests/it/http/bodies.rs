//! Bodies: how long, of which type, in which JSON.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;

use super::{JSON, Silence, assert_invalid, issue_with, post, send};
use crate::app::TestApp;

#[tokio::test]
async fn a_body_announced_as_too_long_is_refused_before_it_is_read() {
    let app = TestApp::start();
    let headers = [("x-api-key", app.api_key.expose()), JSON, ("content-length", "65537")];
    let answer = send(&app, "POST", "/password-tokens", &headers, Body::new(Silence)).await;
    answer.assert_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_body_of_unknown_length_may_have_as_many_bytes_as_the_limit_and_no_more() {
    let app = TestApp::start();
    let body = json!({ "username": "alice" }).to_string();
    let padded = |length: usize| body.clone() + &" ".repeat(length - body.len());
    let answer = post(&app, "/password-tokens", padded(65_536)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    post(&app, "/password-tokens", padded(65_537)).await.assert_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let app = TestApp::start_with(|options| options.body_timeout = Duration::from_millis(20));
    let answer = post(&app, "/password-tokens", Body::new(Silence)).await;
    answer.assert_problem(408, "body_timeout");
}

#[tokio::test]
async fn a_body_is_plain_json_by_its_one_content_type() {
    let app = TestApp::start();
    let body = json!({ "username": "alice" }).to_string();
    let key = ("x-api-key", app.api_key.expose());
    for value in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=\"UTF-8\"",
    ] {
        let headers = [key, ("content-type", value)];
        let answer = send(&app, "POST", "/password-tokens", &headers, body.clone()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{value}");
    }
    let refused: [&[(&str, &str)]; 13] = [
        &[],
        &[("content-type", "")],
        &[("content-type", "text/plain")],
        &[("content-type", "text/json")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/jsonp")],
        &[("content-type", "application/problem+json")],
        &[("content-type", "application/json; charset=latin1")],
        &[("content-type", "application/json, application/json")],
        &[("content-type", "application/json\u{e9}")],
        &[JSON, JSON],
        &[JSON, ("content-encoding", "gzip")],
        &[JSON, ("content-encoding", "identity")],
    ];
    for headers in refused {
        for path in ["/password-tokens", "/redemptions", "/revocations"] {
            let headers = [&[key], headers].concat();
            let answer = send(&app, "POST", path, &headers, body.clone()).await;
            answer.assert_problem(415, "unsupported_media_type");
        }
    }
}

#[tokio::test]
async fn a_body_is_one_strict_json_object() {
    let app = TestApp::start();
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"username":"alice","x":{open}{close}}}"#).into_bytes()
    };
    let cases = [
        b"".to_vec(),
        b" ".to_vec(),
        b"null".to_vec(),
        br#""alice""#.to_vec(),
        br#"[{"username":"alice"}]"#.to_vec(),
        br#"{"username":"alice""#.to_vec(),
        br#"{"username":"alice",}"#.to_vec(),
        br"{'username':'alice'}".to_vec(),
        br#"{"username":"alice"} x"#.to_vec(),
        br#"{"username":"alice"}{}"#.to_vec(),
        br#"{"username":"alice"}/* */"#.to_vec(),
        b"{\"username\":\"\xff\"}".to_vec(),
        b"{\"username\":\"alice\",\"x\":\"\xed\xa0\x80\"}".to_vec(),
        b"{\"username\":\"a\nb\"}".to_vec(),
        br#"{"username":"\ud800"}"#.to_vec(),
        b"\xef\xbb\xbf{\"username\":\"alice\"}".to_vec(),
        r#"{"username":"alice"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        br#"{"username":"alice","username":"alice"}"#.to_vec(),
        br#"{"username":"alice","user\u006eame":"bob"}"#.to_vec(),
        br#"{"username":"alice","x":{"a":1,"a":1}}"#.to_vec(),
        br#"{"username":"alice","ttl":NaN}"#.to_vec(),
        br#"{"username":"alice","ttl":-Infinity}"#.to_vec(),
        br#"{"username":"alice","ttl":1e400}"#.to_vec(),
        br#"{"username":"alice","ttl":0900}"#.to_vec(),
        br#"{"username":"alice","ttl":100000000000000000000}"#.to_vec(),
        deep(17),
        deep(10_000),
    ];
    for body in cases {
        let text = String::from_utf8_lossy(&body).into_owned();
        let answer = post(&app, "/password-tokens", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{text}");
        answer.assert_problem(400, "malformed_json");
    }
    assert_invalid(&post(&app, "/password-tokens", deep(16)).await, &["x"]);
}

#[tokio::test]
async fn a_refusal_never_repeats_what_might_be_a_secret() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let key = app.api_key.expose();
    for secret in [token.as_str(), key, "a b", "<script>"] {
        let answers = [
            issue_with(&app, secret, json!(1)).await,
            issue_with(&app, "expiredTime", json!(secret)).await,
            app.post("/revocations", json!({ "tokenId": secret })).await,
            app.post("/redemptions", json!({ "token": secret, "x": 1 })).await,
            app.post("/redemptions", json!({ "token": format!("{secret}x") })).await,
            post(&app, "/redemptions", secret.to_owned()).await,
        ];
        for answer in answers {
            assert!(answer.status.is_client_error());
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
    }
}
