//! What a token is: its header, its claims, its life, and what a restart does to it.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd::clock::Clock;
use resetd::domain::caller::Callers;
use resetd::outbox::Outbox;
use resetd::revocation::Revocations;
use resetd::service::{Error, KeysOf, Parts, ResetService, Sending, TenantParts};
use resetd_verify::{Algorithm, Timestamp, TokenId};
use serde_json::{Value, json};

use crate::app::{AUDIENCE, ISSUER, Options, STARTED, TestApp};

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_says_what_was_asked_for_and_nothing_else() {
    let app = TestApp::start();
    let body = json!({ "username": "alice", "credentialId": "c-1", "userId": "u-1", "ttl": 600 });
    let answer = app.post("/password-tokens", body).await.json();
    let token = answer["token"].as_str().unwrap();
    let kid = app.tenant().jwks().unwrap().keys[0].kid().clone();
    let mut claims = part(token, 1);
    let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
    let now = app.now().seconds();

    assert_eq!(part(token, 0), json!({ "alg": "ES256", "typ": "reset+jwt", "kid": kid }));
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "credential_id": "c-1", "user_id": "u-1",
            "iat": now, "exp": now + 600
        })
    );
    assert!(TokenId::parse(jti.as_str().unwrap()).is_some());
}

#[tokio::test]
async fn what_was_not_asked_for_is_left_out() {
    let app = TestApp::start();
    let claims = part(&app.issue("alice").await, 1);
    let names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "sub"]);
}

#[tokio::test]
async fn every_algorithm_that_can_be_made_issues_tokens_that_check() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let app = TestApp::start_with(|options| options.algorithm = algorithm);
        let token = app.issue("alice").await;
        assert_eq!(part(&token, 0)["alg"], algorithm.name());
        assert_eq!(app.check(&token).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_token_dies_in_the_second_of_its_expiry_and_not_before() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    app.clock.advance(899);
    assert_eq!(app.check(&token).await.status, StatusCode::OK);
    app.clock.advance(1);
    app.check(&token).await.assert_problem(404, "token_expired");
    app.redeem(&token).await.assert_problem(410, "token_expired");
}

#[tokio::test]
async fn the_leeway_lengthens_acceptance_and_the_life_of_the_mark_alike() {
    let app = TestApp::start_with(|options| options.policy.leeway = 30);
    let token = app.issue("alice").await;
    let other = app.issue("bob").await;
    app.clock.advance(900 + 29);
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
    app.redeem(&token).await.assert_problem(409, "token_used");
    app.clock.advance(1);
    app.redeem(&other).await.assert_problem(410, "token_expired");
}

#[tokio::test]
async fn wishes_beyond_the_bounds_become_the_bounds() {
    let app = TestApp::start();
    for (ttl, life) in [(1, 60), (60, 60), (61, 61), (86_400, 86_400), (86_401, 86_400)] {
        let body = json!({ "username": "alice", "ttl": ttl });
        let answer = app.post("/password-tokens", body).await.json();
        let claims = part(answer["token"].as_str().unwrap(), 1);
        assert_eq!(claims["exp"].as_u64().unwrap() - app.now().seconds(), life, "ttl {ttl}");
    }
}

#[tokio::test]
async fn after_a_restart_older_tokens_are_refused_with_a_reason_of_their_own() {
    let before = TestApp::start();
    let token = before.issue("alice").await;
    before.redeem(&token).await;
    let unspent = before.issue("alice").await;

    let after = restarted(&before);
    for token in [&token, &unspent] {
        after.check(token).await.assert_problem(404, "token_predates_start");
        after.redeem(token).await.assert_problem(410, "token_predates_start");
    }
}

#[tokio::test]
async fn the_second_of_a_restart_keeps_the_old_out_and_lets_the_new_in() {
    let before = TestApp::start();
    let old = before.issue("alice").await;
    // The clock stands still: both tokens carry the same `iat`.
    let after = restarted(&before);
    let new = after.issue("alice").await;
    after.redeem(&old).await.assert_problem(410, "token_predates_start");
    assert_eq!(after.redeem(&new).await.status, StatusCode::CREATED);
}

#[derive(Debug)]
struct LaggingClock(u64);

impl Clock for LaggingClock {
    fn now(&self) -> Timestamp {
        STARTED
    }

    fn lag(&self) -> u64 {
        self.0
    }
}

#[tokio::test]
async fn a_machine_whose_clock_lags_beyond_every_leeway_is_not_ready() {
    let app = TestApp::start();
    for (lag, readiness) in [(60, Ok(())), (61, Err(Error::ClockBehind { lag: 61 }))] {
        let (policy, keyring) = (app.tenant().policy().clone(), app.keystore.load().unwrap());
        let service = ResetService::new(Parts {
            tenants: vec![TenantParts {
                policy,
                keys: KeysOf::Itself(keyring),
                sending: Sending::default(),
            }],
            callers: Callers::default(),
            bearers: Vec::new(),
            revocations: Revocations::guarding(Timestamp::from_seconds(0), 1, [0; 16]),
            outbox: Outbox::in_memory(1),
            endpoints: Vec::new(),
            clock: Arc::new(LaggingClock(lag)),
            jwks_max_age: 300,
        })
        .unwrap();
        assert_eq!(service.readiness(), readiness);
    }
}

/// The same keys and the same time in a new process.
fn restarted(app: &TestApp) -> TestApp {
    let options = Options { started: app.now(), ..Options::default() };
    TestApp::start_on(app.keystore.clone(), options, tempfile::tempdir().unwrap())
}
