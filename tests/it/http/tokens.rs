//! The walks of a token, to the member: issued, checked, deleted, redeemed, revoked.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::StatusCode;
use resetd::domain::time::to_rfc3339;
use resetd_verify::{Algorithm, TokenId};
use serde_json::{Value, json};

use super::{ask, assert_all_alike, assert_invalid, forged, issue_with, signed};
use crate::app::{ISSUER, STARTED, TestApp};

#[tokio::test]
async fn an_issued_token_is_a_resource_with_exactly_its_members() {
    let app = TestApp::start();
    let wish = json!({ "username": "alice", "credentialId": "c-1", "userId": "u-1", "ttl": 600 });
    let answer = app.post("/password-tokens", wish).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let body = answer.json();
    let token = body["token"].as_str().unwrap();
    let link = format!("{ISSUER}/password-tokens/{token}");
    assert_eq!(answer.header("location"), Some(link.as_str()));
    let expected = json!({
        "token": token,
        "username": "alice",
        "credentialId": "c-1",
        "userId": "u-1",
        "expiredTime": to_rfc3339(app.now().plus(600)),
        "_links": [{ "href": link, "rel": "self" }],
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn what_was_not_given_is_left_out_of_the_resource() {
    let app = TestApp::start();
    let answer = app.post("/password-tokens", json!({ "username": "alice" })).await;
    let names: BTreeSet<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    let expected = ["_links", "expiredTime", "token", "username"].map(String::from);
    assert_eq!(names, BTreeSet::from(expected));
}

#[tokio::test]
async fn checking_twice_gives_the_issued_resource_twice() {
    let app = TestApp::start();
    let issued = issue_with(&app, "credentialId", json!("c-1")).await.json();
    for _ in 0..2 {
        let checked = app.check(issued["token"].as_str().unwrap()).await;
        assert_eq!((checked.status, checked.json()), (StatusCode::OK, issued.clone()));
    }
}

#[tokio::test]
async fn no_number_of_safe_requests_spends_a_token() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let path = format!("/password-tokens/{token}");
    for _ in 0..100 {
        for method in ["GET", "HEAD", "OPTIONS"] {
            ask(&app, method, &path, &[]).await;
        }
    }
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_deleted_token_is_gone_and_no_other_is() {
    let app = TestApp::start();
    let (token, other) = (app.issue("alice").await, app.issue("alice").await);
    let path = format!("/password-tokens/{token}");
    let deleted = app.delete(&path).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    app.get(&path).await.assert_problem(404, "token_revoked");
    app.delete(&path).await.assert_problem(404, "token_revoked");
    assert_eq!(app.check(&other).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_deletions_of_a_token_exactly_one_is_done() {
    let app = Arc::new(TestApp::start());
    for _ in 0..50 {
        let path = format!("/password-tokens/{}", app.issue("alice").await);
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (app, path) = (app.clone(), path.clone());
                tokio::spawn(async move { app.delete(&path).await.status })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            match task.await.unwrap() {
                StatusCode::NO_CONTENT => done += 1,
                other => assert_eq!(other, StatusCode::NOT_FOUND),
            }
        }
        assert_eq!(done, 1);
    }
}

#[tokio::test]
async fn a_redemption_tells_whose_password_may_be_set() {
    let app = TestApp::start();
    let wish = json!({ "username": "alice", "credentialId": "c-1", "userId": "u-1" });
    let issued = app.post("/password-tokens", wish).await.json();
    app.clock.advance(5);
    let wish = json!({ "token": issued["token"], "credentialId": "c-1" });
    let redeemed = app.post("/redemptions", wish).await;
    assert_eq!(redeemed.status, StatusCode::CREATED);
    let body = redeemed.json();
    assert!(TokenId::parse(body["tokenId"].as_str().unwrap()).is_some());
    let expected = json!({
        "status": "redeemed",
        "tokenId": body["tokenId"],
        "username": "alice",
        "credentialId": "c-1",
        "userId": "u-1",
        "redeemedTime": to_rfc3339(app.now()),
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_redemption_for_another_credential_does_not_spend_the_token() {
    let app = TestApp::start();
    let issued = issue_with(&app, "credentialId", json!("c-1")).await.json();
    let for_any = app.issue("alice").await;
    for token in [issued["token"].as_str().unwrap(), &for_any] {
        let wish = json!({ "token": token, "credentialId": "c-2" });
        let refused = app.post("/redemptions", wish).await;
        refused.assert_problem(422, "credential_mismatch");
        assert_eq!(app.redeem(token).await.status, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn each_reason_has_a_code_and_redeeming_tells_conflict_gone_and_unknown_apart() {
    let app = TestApp::start();
    let [used, revoked, known] = [app.issue("a").await, app.issue("b").await, app.issue("c").await];
    app.redeem(&used).await;
    app.delete(&format!("/password-tokens/{revoked}")).await;
    let expired = signed(&app, app.now().minus(900), |_| {});
    let older = signed(&app, STARTED, |_| {});
    let cases = [
        (forged(&known), 404, "token_unknown"),
        (used, 409, "token_used"),
        (revoked, 410, "token_revoked"),
        (expired, 410, "token_expired"),
        (older, 410, "token_predates_start"),
    ];
    for (token, on_redeeming, code) in &cases {
        app.redeem(token).await.assert_problem(*on_redeeming, code);
        app.check(token).await.assert_problem(404, code);
        app.delete(&format!("/password-tokens/{token}")).await.assert_problem(404, code);
    }
}

#[tokio::test]
async fn why_a_token_is_dead_is_told_only_to_one_who_holds_its_good_signature() {
    let app = TestApp::start();
    let [used, revoked, expired] =
        [app.issue("a").await, app.issue("b").await, app.issue("c").await];
    app.redeem(&used).await;
    app.delete(&format!("/password-tokens/{revoked}")).await;
    let later = app.issue("a").await;
    app.clock.advance(899);
    for token in [&used, &revoked, &later] {
        app.check(&forged(token)).await.assert_problem(404, "token_unknown");
    }
    app.clock.advance(1);
    app.check(&expired).await.assert_problem(404, "token_expired");
    app.check(&forged(&expired)).await.assert_problem(404, "token_unknown");
}

#[tokio::test]
async fn whatever_is_no_token_of_this_service_gets_the_same_answer_to_the_byte() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let (header, rest) = token.split_once('.').unwrap();
    let strangers = [
        forged(&token),
        TestApp::start().issue("alice").await,
        signed(&app, app.now(), |policy| {
            policy.issuer = "https://other.example.com".into();
        }),
        signed(&app, app.now(), |policy| {
            policy.audience = "https://other.example.com".into();
        }),
        signed(&app, app.now().plus(60), |_| {}),
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{}", rest),
        format!("{header}..{}", token.rsplit_once('.').unwrap().1),
        format!("{token}."),
        format!("{token}="),
        format!("%20{token}"),
        header.to_owned(),
        "a.b.c".into(),
        "..".into(),
        "x".repeat(9_000),
        "%ff".into(),
    ];
    for method in ["GET", "HEAD", "DELETE"] {
        let mut answers = Vec::new();
        for token in &strangers {
            answers.push(ask(&app, method, &format!("/password-tokens/{token}"), &[]).await);
        }
        assert_eq!(answers[0].status, StatusCode::NOT_FOUND);
        assert_all_alike(&answers);
    }
    let mut redemptions = Vec::new();
    for token in &strangers {
        redemptions.push(app.redeem(token).await);
    }
    redemptions[0].assert_problem(404, "token_unknown");
    assert_all_alike(&redemptions);
}

#[tokio::test]
async fn each_kind_of_revocation_reaches_what_it_names_and_tells_its_time() {
    let app = TestApp::start();
    let alices = app.issue("alice").await;
    let redeemed = app.redeem(&app.issue("alice").await).await.json();
    app.clock.advance(1);
    let (then, next) = (to_rfc3339(app.now()), to_rfc3339(app.now().plus(1)));
    let cases = [
        (json!({ "token": alices }), json!({ "revoked": "token" })),
        (json!({ "tokenId": redeemed["tokenId"] }), json!({ "revoked": "token" })),
        (json!({ "username": "alice" }), json!({ "revoked": "user", "before": next })),
        (
            json!({ "username": "alice", "before": then }),
            json!({ "revoked": "user", "before": then }),
        ),
        (
            json!({ "username": "alice", "before": "now" }),
            json!({ "revoked": "user", "before": next }),
        ),
        (json!({ "before": then }), json!({ "revoked": "everything", "before": then })),
        (json!({ "before": "now" }), json!({ "revoked": "everything", "before": next })),
    ];
    for (wish, expected) in cases {
        // Once more does no harm and is answered alike.
        for _ in 0..2 {
            let answer = app.post("/revocations", wish.clone()).await;
            assert_eq!((answer.status, answer.json()), (StatusCode::CREATED, expected.clone()));
        }
    }
}

#[tokio::test]
async fn a_token_can_be_revoked_by_its_identifier_alone() {
    let app = TestApp::start();
    let token = signed(&app, app.now(), |_| {});
    let id = TokenId::from_bytes([7; 16]).to_string();
    app.post("/revocations", json!({ "tokenId": id })).await;
    app.redeem(&token).await.assert_problem(410, "token_revoked");
}

#[tokio::test]
async fn a_revocation_does_not_tell_whether_there_was_such_a_token() {
    let app = TestApp::start();
    let (live, used) = (app.issue("alice").await, app.issue("alice").await);
    app.redeem(&used).await;
    let foreign = TestApp::start().issue("alice").await;
    let mut answers = Vec::new();
    for token in [&live, &live, &used, &forged(&used), &foreign, "no token"] {
        answers.push(app.post("/revocations", json!({ "token": token })).await);
    }
    assert_eq!(answers[0].status, StatusCode::CREATED);
    assert_all_alike(&answers);
}

#[tokio::test]
async fn a_revocation_that_does_not_say_what_to_revoke_is_refused_and_revokes_nothing() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let id = TokenId::from_bytes([7; 16]).to_string();
    let cases: [(Value, &[&str]); 11] = [
        (json!({}), &["(body)"]),
        (json!({ "token": token, "username": "alice" }), &["(body)"]),
        (json!({ "token": token, "tokenId": id }), &["(body)"]),
        (json!({ "token": token, "before": "now" }), &["(body)"]),
        (json!({ "tokenId": id, "before": "now" }), &["(body)"]),
        (json!({ "token": null }), &["token", "(body)"]),
        (json!({ "tokenId": "short" }), &["tokenId", "(body)"]),
        (json!({ "username": "" }), &["username", "(body)"]),
        (json!({ "username": "", "before": "now" }), &["username"]),
        (json!({ "before": "yesterday" }), &["before", "(body)"]),
        (json!({ "before": "now", "except": "bob" }), &["except"]),
    ];
    for (wish, fields) in cases {
        assert_invalid(&app.post("/revocations", wish).await, fields);
    }
    let future = json!({ "before": to_rfc3339(app.now().plus(2)) });
    let refused = app.post("/revocations", future).await;
    refused.assert_problem(422, "cutoff_in_future");
    assert_eq!(app.check(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_full_house_issues_nothing_and_goes_on_redeeming_and_revoking() {
    let app = TestApp::start_with(|options| options.capacity = 2);
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(app.issue("alice").await);
    }
    for token in &tokens[..3] {
        assert_eq!(app.redeem(token).await.status, StatusCode::CREATED);
    }
    let answer = issue_with(&app, "ttl", json!(900)).await;
    answer.assert_problem(503, "full");
    assert_eq!(answer.header("retry-after"), Some("60"));
    let path = format!("/password-tokens/{}", tokens[3]);
    assert_eq!(app.delete(&path).await.status, StatusCode::NO_CONTENT);
    app.redeem(&tokens[0]).await.assert_problem(409, "token_used");
}

#[tokio::test]
async fn a_typical_token_fits_into_a_link() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let app = TestApp::start_with(|options| options.algorithm = algorithm);
        let wish = json!({
            "username": format!("{}@example.com", "a".repeat(52)),
            "credentialId": "0b6f7a52-6f0e-4f0e-9d0c-6a1f5f1f2c11",
            "userId": "5e0c4a1e-33a4-4d0b-8f35-0f9a7cf7a001",
        });
        let token = app.post("/password-tokens", wish).await.json()["token"].clone();
        assert!(token.as_str().unwrap().len() < 700, "{algorithm}: {token}");
    }
}
