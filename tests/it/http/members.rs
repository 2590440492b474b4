//! The members of a request to issue: what may be wished and what is refused.

use axum::http::StatusCode;
use resetd::domain::time::to_rfc3339;
use resetd_verify::Timestamp;
use serde_json::json;

use super::{assert_invalid, issue_with, post};
use crate::app::TestApp;

#[tokio::test]
async fn one_refusal_names_every_member_that_is_wrong() {
    let app = TestApp::start();
    let wish = json!({
        "credentialId": "",
        "userId": 7,
        "expiredTime": "tomorrow",
        "ttl": -1,
        "admin": true,
    });
    let answer = app.post("/password-tokens", wish).await;
    let fields = ["username", "credentialId", "userId", "expiredTime", "ttl", "admin"];
    assert_invalid(&answer, &fields);
    for invalid in answer.json()["invalidFields"].as_array().unwrap() {
        assert!(!invalid["message"].as_str().unwrap().is_empty());
    }
    assert_invalid(
        &app.post("/redemptions", json!({ "credentialId": 1 })).await,
        &["token", "credentialId"],
    );
    assert_invalid(&app.post("/redemptions", json!({ "token": 1 })).await, &["token"]);
}

#[tokio::test]
async fn a_caller_cannot_set_what_only_the_issuer_says() {
    let app = TestApp::start();
    for name in [
        "iss",
        "aud",
        "sub",
        "jti",
        "iat",
        "nbf",
        "exp",
        "kid",
        "alg",
        "typ",
        "jwk",
        "admin",
        "scope",
        "tenant",
        "token",
        "Username",
        "credential_id",
        "user_id",
        "_links",
    ] {
        assert_invalid(&issue_with(&app, name, json!("x")).await, &[name]);
    }
}

#[tokio::test]
async fn a_wished_life_is_kept_within_the_bounds() {
    let app = TestApp::start();
    let cases = [
        (json!(1), 60),
        (json!(59), 60),
        (json!(61), 61),
        (json!(86_399), 86_399),
        (json!(86_401), 86_400),
        (json!(1_u64 << 63), 86_400),
        (json!(u64::MAX), 86_400),
    ];
    for (ttl, seconds) in cases {
        let answer = issue_with(&app, "ttl", ttl).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        assert_eq!(answer.json()["expiredTime"], to_rfc3339(app.now().plus(seconds)));
    }
}

#[tokio::test]
async fn a_life_that_is_no_whole_number_of_seconds_is_refused() {
    let app = TestApp::start();
    for ttl in [
        "0",
        "-1",
        "1.5",
        "900.0",
        "1e3",
        "99999999999999999999",
        "\"900\"",
        "\"1h\"",
        "null",
        "true",
        "[900]",
    ] {
        let body = format!(r#"{{"username":"alice","ttl":{ttl}}}"#);
        assert_invalid(&post(&app, "/password-tokens", body).await, &["ttl"]);
    }
}

#[tokio::test]
async fn a_wished_expiry_is_honoured_to_the_second_in_any_zone_and_within_the_bounds() {
    let app = TestApp::start();
    let now = app.now();
    let cases = [
        (to_rfc3339(now.plus(601)), 601),
        (to_rfc3339(now.plus(601 + 5_400)).replace('Z', "+01:30"), 601),
        (to_rfc3339(now.plus(601)).replace('Z', ".9Z"), 601),
        (to_rfc3339(now.plus(1)), 60),
        ("9999-12-31T23:59:59Z".into(), 86_400),
    ];
    for (wish, seconds) in cases {
        let answer = issue_with(&app, "expiredTime", json!(wish)).await;
        assert_eq!(answer.json()["expiredTime"], to_rfc3339(now.plus(seconds)), "{wish}");
    }
}

#[tokio::test]
async fn an_expiry_that_is_past_or_no_time_or_not_the_only_one_is_refused() {
    let app = TestApp::start();
    for past in [app.now(), app.now().minus(1), Timestamp::from_seconds(0)] {
        let answer = issue_with(&app, "expiredTime", json!(to_rfc3339(past))).await;
        answer.assert_problem(422, "expiry_in_past");
    }
    for wrong in [
        json!("tomorrow"),
        json!(""),
        json!("2030-01-01"),
        json!("2030-01-01T00:00:00"),
        json!("2030-02-30T00:00:00Z"),
        json!("1969-12-31T23:59:59Z"),
        json!(1_900_000_000),
        json!(null),
    ] {
        assert_invalid(&issue_with(&app, "expiredTime", wrong).await, &["expiredTime"]);
    }
    let both = json!({ "username": "alice", "ttl": 900, "expiredTime": "2030-01-01T00:00:00Z" });
    assert_invalid(&app.post("/password-tokens", both).await, &["ttl"]);
}

#[tokio::test]
async fn a_name_is_taken_exactly_as_it_is_or_not_at_all() {
    let app = TestApp::start();
    let wrong = [
        json!(""),
        json!("a".repeat(257)),
        json!("\u{e9}".repeat(129)),
        json!("zoe\u{308}"),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("a\u{7f}b"),
        json!("a\u{202e}b"),
        json!("a\u{2028}b"),
        json!(7),
        json!(true),
        json!(null),
        json!(["alice"]),
        json!({ "name": "alice" }),
    ];
    for field in ["username", "credentialId", "userId"] {
        for name in &wrong {
            assert_invalid(&issue_with(&app, field, name.clone()).await, &[field]);
        }
        for name in
            ["a".repeat(256), "Zo\u{eb} \u{1f600}".into(), " Alice ".into(), "{{7*7}}".into()]
        {
            assert_eq!(issue_with(&app, field, json!(name)).await.json()[field], name);
        }
    }
}
