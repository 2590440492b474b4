//! Redemptions in two phases: held for one caller, then committed or cancelled by that caller, or over.

use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use resetd::domain::caller::{KeyHash, Scope, api_key};
use resetd::domain::policy::{Lifetime, Policy};
use resetd::domain::time::to_rfc3339;
use resetd::journal::StateFolder;
use resetd::revocation::{NotHeld, Refusal, Revocations};
use resetd_verify::{Claims, MAX_LEEWAY, Timestamp};
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp};
use crate::server::Server;

/// Holds a token as the caller that may do everything.
async fn hold(app: &TestApp, token: &str, seconds: u64) -> Value {
    let answer = app.post("/redemptions", json!({ "token": token, "hold": seconds })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    answer.json()
}

fn id(held: &Value) -> &str {
    held["redemptionId"].as_str().unwrap()
}

async fn end_as(app: &TestApp, api_key: &str, id: &str, how: &str) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/redemptions/{id}/{how}"))
        .header("x-api-key", api_key);
    app.send(request.body(Body::empty()).unwrap()).await
}

async fn commit(app: &TestApp, held: &Value) -> Answer {
    end_as(app, app.api_key.expose(), id(held), "commit").await
}

async fn cancel(app: &TestApp, held: &Value) -> Answer {
    end_as(app, app.api_key.expose(), id(held), "cancel").await
}

async fn redeem_as(app: &TestApp, api_key: &str, body: Value) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/redemptions")
        .header("x-api-key", api_key)
        .header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(body.to_string().into()).unwrap()).await
}

async fn reuses(app: &TestApp, reason: &str, operation: &str) -> u64 {
    let labels = format!("tenant=\"default\",reason=\"{reason}\",operation=\"{operation}\"");
    let text = app.get("/metrics").await.text;
    let start = format!("resetd_token_reuses_total{{{labels}}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[tokio::test]
async fn a_hold_tells_whose_password_may_be_set_and_how_to_end_it() {
    let app = TestApp::start();
    let wish = json!({ "username": "alice", "credentialId": "c-1", "userId": "u-1" });
    let token = app.post("/password-tokens", wish).await.json()["token"].clone();
    let held = app.post("/redemptions", json!({ "token": token, "hold": 60 })).await.json();
    let id = id(&held);
    let link = |rel| json!({ "href": format!("https://reset.example.com/redemptions/{id}/{rel}"), "rel": rel });
    let wanted = json!({
        "status": "held",
        "redemptionId": id,
        "tokenId": held["tokenId"],
        "username": "alice",
        "credentialId": "c-1",
        "userId": "u-1",
        "holdExpiredTime": to_rfc3339(app.now().plus(60)),
        "_links": [link("commit"), link("cancel")],
    });
    assert_eq!(held, wanted);
    app.clock.advance(5);
    let committed = commit(&app, &held).await;
    assert_eq!(committed.status, StatusCode::OK);
    let wanted = json!({
        "status": "redeemed",
        "redemptionId": id,
        "tokenId": held["tokenId"],
        "redeemedTime": to_rfc3339(app.now()),
    });
    assert_eq!(committed.json(), wanted);
}

#[tokio::test]
async fn a_held_token_is_live_for_nobody() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    hold(&app, &token, 60).await;
    app.clock.advance(20);
    app.check(&token).await.assert_problem(404, "token_held");
    for body in [json!({ "token": token }), json!({ "token": token, "hold": 5 })] {
        let refused = app.post("/redemptions", body).await;
        refused.assert_problem(409, "token_held");
        assert_eq!(refused.header("retry-after"), Some("40"));
    }
}

#[tokio::test]
async fn a_committed_token_is_used_and_the_commit_can_be_repeated() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let held = hold(&app, &token, 60).await;
    let first = commit(&app, &held).await;
    app.clock.advance(7);
    let again = commit(&app, &held).await;
    assert_eq!((again.status, &again.text), (StatusCode::OK, &first.text));
    app.redeem(&token).await.assert_problem(409, "token_used");
    app.check(&token).await.assert_problem(404, "token_used");
    cancel(&app, &held).await.assert_problem(409, "redemption_committed");
    app.clock.advance(60);
    assert_eq!(commit(&app, &held).await.text, first.text, "also when its time is over");
    cancel(&app, &held).await.assert_problem(409, "redemption_committed");
    app.redeem(&token).await.assert_problem(409, "token_used");
}

#[tokio::test]
async fn a_cancelled_hold_gives_the_token_back_and_cannot_be_committed() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let held = hold(&app, &token, 60).await;
    for _ in 0..2 {
        let cancelled = cancel(&app, &held).await;
        assert_eq!(cancelled.status, StatusCode::OK);
        assert_eq!(cancelled.json()["status"], "cancelled");
    }
    commit(&app, &held).await.assert_problem(410, "hold_cancelled");
    assert_eq!(app.check(&token).await.status, StatusCode::OK);
    let second = hold(&app, &token, 60).await;
    assert_ne!(id(&held), id(&second));
    commit(&app, &held).await.assert_problem(410, "hold_cancelled");
    assert_eq!(cancel(&app, &held).await.status, StatusCode::OK);
    app.redeem(&token).await.assert_problem(409, "token_held");
    assert_eq!(commit(&app, &second).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_hold_that_is_over_gives_the_token_back_and_its_commit_says_so() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let held = hold(&app, &token, 60).await;
    app.clock.advance(59);
    app.check(&token).await.assert_problem(404, "token_held");
    app.clock.advance(1);
    commit(&app, &held).await.assert_problem(410, "hold_expired");
    assert_eq!(app.check(&token).await.status, StatusCode::OK);
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
    commit(&app, &held).await.assert_problem(410, "hold_expired");
    assert_eq!(cancel(&app, &held).await.status, StatusCode::OK);
    app.redeem(&token).await.assert_problem(409, "token_used");
}

#[tokio::test]
async fn a_hold_can_be_committed_for_its_whole_time_though_its_token_expires() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    app.clock.advance(899);
    let held = hold(&app, &token, 60).await;
    app.clock.advance(59);
    app.redeem(&token).await.assert_problem(410, "token_expired");
    assert_eq!(commit(&app, &held).await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_the_caller_that_holds_a_token_can_name_its_redemption() {
    let app = TestApp::start_with(|options| options.tenants = vec!["acme"]);
    let token = app.issue("alice").await;
    let held = hold(&app, &token, 60).await;
    let acme = app.acting_for("acme");
    for how in ["commit", "cancel"] {
        let other = end_as(&app, app.key_for(Scope::Redeem), id(&held), how).await;
        other.assert_problem(404, "redemption_unknown");
        // Of the same name, for another tenant.
        let other = end_as(&app, acme.api_key.expose(), id(&held), how).await;
        other.assert_problem(404, "redemption_unknown");
        for change in 0..64 {
            let mut text = id(&held).to_owned().into_bytes();
            text[change] = if text[change] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(text).unwrap();
            end_as(&app, app.api_key.expose(), &changed, how)
                .await
                .assert_problem(404, "redemption_unknown");
        }
        for none in ["x", "%ff", &id(&held)[1..], &format!("{}A", id(&held))] {
            end_as(&app, app.api_key.expose(), none, how)
                .await
                .assert_problem(404, "redemption_unknown");
        }
    }
    assert_eq!(commit(&app, &held).await.status, StatusCode::OK);
}

#[tokio::test]
async fn after_a_restart_without_a_journal_a_hold_is_unknown() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let held = hold(&app, &token, 600).await;
    app.clock.advance(1);
    let after = app.another(|options| options.salt = [1; 16]);
    commit(&after, &held).await.assert_problem(404, "redemption_unknown");
}

#[tokio::test]
async fn revoking_is_stronger_than_a_hold() {
    let app = TestApp::start();
    for body in [
        |token: &str, _: &str| json!({ "token": token }),
        |_: &str, id: &str| json!({ "tokenId": id }),
        |_: &str, _: &str| json!({ "username": "alice" }),
        |_: &str, _: &str| json!({ "before": "now" }),
    ] {
        let token = app.issue("alice").await;
        let held = hold(&app, &token, 60).await;
        let body = body(&token, held["tokenId"].as_str().unwrap());
        let revoked = app.post("/revocations", body.clone()).await;
        assert_eq!(revoked.status, StatusCode::CREATED, "{}", revoked.text);
        commit(&app, &held).await.assert_problem(410, "token_revoked");
        assert_eq!(cancel(&app, &held).await.status, StatusCode::OK, "{body}");
        app.redeem(&token).await.assert_problem(410, "token_revoked");
        app.clock.advance(60);
        app.redeem(&token).await.assert_problem(410, "token_revoked");
    }
    let token = app.issue("bob").await;
    let held = hold(&app, &token, 60).await;
    assert_eq!(app.delete(&format!("/password-tokens/{token}")).await.status.as_u16(), 204);
    commit(&app, &held).await.assert_problem(410, "token_revoked");
}

#[tokio::test]
async fn a_commit_revokes_the_users_other_tokens_and_a_hold_does_not() {
    let app = TestApp::start_with(|options| options.policy.supersede = true);
    let token = app.issue("alice").await;
    let held = hold(&app, &token, 60).await;
    let bob = app.issue("bob").await;
    // Not a second token of alice yet: to issue one would revoke the first.
    assert_eq!(commit(&app, &held).await.status, StatusCode::OK);
    assert_eq!(app.check(&bob).await.status, StatusCode::OK);
    let token = app.issue("alice").await;
    let held = hold(&app, &token, 60).await;
    let newer = app.issue("alice").await;
    commit(&app, &held).await.assert_problem(410, "token_revoked");
    assert_eq!(app.check(&newer).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_commit_kills_the_siblings_of_its_token_and_a_hold_does_not() {
    let app = TestApp::start();
    let siblings = [app.issue("alice").await, app.issue("alice").await];
    let mut options = Options::default();
    options.policy.supersede = true;
    let folder = tempfile::tempdir().unwrap();
    let superseding = TestApp::start_on(app.keystore.clone(), options, folder);
    superseding.clock.set(app.now());
    let held = hold(&superseding, &siblings[0], 60).await;
    assert_eq!(superseding.check(&siblings[1]).await.status, StatusCode::OK);
    assert_eq!(commit(&superseding, &held).await.status, StatusCode::OK);
    superseding.redeem(&siblings[1]).await.assert_problem(410, "token_revoked");
    assert_eq!(commit(&superseding, &held).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_hold_is_for_the_credential_it_names() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let body = json!({ "token": token, "hold": 60, "credentialId": "c-2" });
    app.post("/redemptions", body).await.assert_problem(422, "credential_mismatch");
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
    app.post("/redemptions", json!({ "token": token, "hold": 5 }))
        .await
        .assert_problem(409, "token_used");
}

#[tokio::test]
async fn a_hold_is_1_to_600_whole_seconds() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    for wrong in
        [json!(0), json!(601), json!(-1), json!(1.5), json!("60"), json!(null), json!(true)]
    {
        let answer = app.post("/redemptions", json!({ "token": token, "hold": wrong })).await;
        answer.assert_problem(422, "invalid_request");
        assert_eq!(answer.json()["invalidFields"][0]["field"], "hold");
    }
    hold(&app, &token, 600).await;
}

#[tokio::test]
async fn the_same_request_gets_the_same_hold_again() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let ask = async |key: &str| {
        let body = json!({ "token": token, "hold": 60 });
        let request = app
            .request(Method::POST, "/redemptions")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        app.send(request.body(body.to_string().into()).unwrap()).await
    };
    let first = ask("k").await;
    assert_eq!(first.status, StatusCode::CREATED);
    app.clock.advance(10);
    assert_eq!(ask("k").await.text, first.text);
    ask("other").await.assert_problem(409, "token_held");
    assert_eq!(commit(&app, &first.json()).await.status, StatusCode::OK);
    assert_eq!(ask("k").await.text, first.text, "what was answered once is answered again");
    ask("other").await.assert_problem(409, "token_used");
}

#[tokio::test]
async fn a_token_that_somebody_has_done_with_is_counted_by_reason_and_operation() {
    let app = TestApp::start();
    let (other, token) = (app.key_for(Scope::Redeem), app.issue("alice").await);
    let held = hold(&app, &token, 60).await;
    // Its own caller may have lost the answer.
    app.redeem(&token).await.assert_problem(409, "token_held");
    app.check(&token).await.assert_problem(404, "token_held");
    assert_eq!((reuses(&app, "held", "redeem").await, reuses(&app, "held", "check").await), (0, 0));
    redeem_as(&app, other, json!({ "token": token })).await.assert_problem(409, "token_held");
    assert_eq!(reuses(&app, "held", "redeem").await, 1);
    let check = Request::builder()
        .uri(format!("/password-tokens/{token}"))
        .header("x-api-key", app.key_for(Scope::Check));
    app.send(check.body(Body::empty()).unwrap()).await.assert_problem(404, "token_held");
    assert_eq!(reuses(&app, "held", "check").await, 1);
    commit(&app, &held).await;
    app.redeem(&token).await.assert_problem(409, "token_used");
    app.check(&token).await.assert_problem(404, "token_used");
    for (reason, operation) in [("spent", "redeem"), ("spent", "check")] {
        assert_eq!(reuses(&app, reason, operation).await, 1, "{reason} {operation}");
    }
}

fn settings() -> String {
    let hash = KeyHash::of(api_key([7; 32]).expose());
    format!(
        "[token]\nissuer = \"https://reset.example.com\"\n[[callers]]\nname = \"web\"\nkey_sha256 = \"{hash}\"\nscopes = [\"issue\", \"redeem\"]\n"
    )
}

fn ask(server: &Server, path: &str, body: &str) -> (u16, Value) {
    let key = api_key([7; 32]);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        key.expose(),
        body.len()
    );
    let answer = server.exchange(request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn holds_commits_and_cancels_survive_a_crash() {
    let mut server = Server::start_with(&settings(), &[]);
    let mut held = Vec::new();
    for user in ["alice", "bob", "carol"] {
        let body = json!({ "username": user }).to_string();
        let token = ask(&server, "/password-tokens", &body).1["token"].clone();
        let (status, answer) =
            ask(&server, "/redemptions", &json!({ "token": token, "hold": 600 }).to_string());
        assert_eq!(status, 201, "{answer}");
        held.push((json!({ "token": token }).to_string(), answer));
    }
    let end = |server: &Server, number: usize, how: &str| {
        ask(server, &format!("/redemptions/{}/{how}", id(&held[number].1)), "")
    };
    let code = |answer: (u16, Value)| (answer.0, answer.1["code"].as_str().map(String::from));
    let refused = |status: u16, code: &str| (status, Some(code.to_owned()));
    server = Server::start_in(server.kill(), &settings(), &[]);
    for (token, _) in &held {
        assert_eq!(code(ask(&server, "/redemptions", token)), refused(409, "token_held"));
    }
    let committed = end(&server, 0, "commit");
    assert_eq!(committed.0, 200);
    assert_eq!(end(&server, 1, "cancel").0, 200);
    server = Server::start_in(server.kill(), &settings(), &[]);
    assert_eq!(end(&server, 0, "commit"), committed);
    assert_eq!(code(ask(&server, "/redemptions", &held[0].0)), refused(409, "token_used"));
    assert_eq!(code(end(&server, 1, "commit")), refused(410, "hold_cancelled"));
    assert_eq!(ask(&server, "/redemptions", &held[1].0).0, 201);
    assert_eq!(code(ask(&server, "/redemptions", &held[2].0)), refused(409, "token_held"));
    // What became of its token after a backup was made is not known.
    server = Server::start_in(server.kill(), &settings(), &["--after-restore"]);
    assert_eq!(code(end(&server, 2, "commit")), refused(410, "token_predates_start"));
    assert_eq!(end(&server, 2, "cancel").0, 200);
}

/// What a process that starts now on this folder knows.
fn open(folder: &Path, now: Timestamp) -> Revocations {
    let folder = StateFolder::open(folder, [7; 16]).unwrap();
    let recovered = folder.recover(now, &|_, _| {}).unwrap();
    Revocations::journalled(folder, &recovered, now, 100)
}

#[tokio::test]
async fn a_hold_that_outlasts_its_token_survives_a_restart_and_stays_revoked_if_it_was() {
    let app = TestApp::start();
    let policy = app.tenant().policy();
    for is_revoked in [false, true] {
        let claims = app.tenant().check("all", &app.issue("alice").await).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let open = |now| open(folder.path(), now);
        let held_at = claims.exp.minus(1);
        let revocations = open(held_at);
        let end = held_at.plus(600);
        let id = revocations.redemption_id(&policy.tenant, "all", claims.jti, [1; 8], end);
        let held = revocations.hold(policy, &claims, "all", &id, None, || held_at).unwrap();
        held.wait().await.unwrap();
        if is_revoked {
            revocations.revoke(policy, &claims, held_at).unwrap().wait().await.unwrap();
        }
        drop(revocations);
        let later = held_at.plus(300);
        let committed = open(later).commit(policy, "all", &id, later).map(drop);
        assert_eq!(committed, if is_revoked { Err(NotHeld::Revoked) } else { Ok(()) });
    }
}

#[tokio::test]
async fn a_users_revocation_outlasts_the_holds_of_the_users_tokens() {
    let app = TestApp::start();
    let lifetime = Lifetime { default: 300, min: 60, max: 300 };
    let policy = Policy { lifetime, ..app.tenant().policy().clone() };
    let claims = app.tenant().check("all", &app.issue("alice").await).unwrap();
    let claims = Claims { exp: claims.iat.plus(300), ..claims };
    let folder = tempfile::tempdir().unwrap();
    let open = |now| open(folder.path(), now);
    let held_at = claims.exp.minus(1);
    let revocations = open(held_at);
    let end = held_at.plus(600);
    let id = revocations.redemption_id(&policy.tenant, "all", claims.jti, [1; 8], end);
    let held = revocations.hold(&policy, &claims, "all", &id, None, || held_at).unwrap();
    held.wait().await.unwrap();
    revocations.revoke_user(&policy, "alice", held_at, held_at).wait().await.unwrap();
    drop(revocations);
    let later = held_at.plus(599);
    let refused = open(later).commit(&policy, "all", &id, later).map(drop).unwrap_err();
    assert_eq!(refused, NotHeld::Revoked);
}

#[tokio::test]
async fn a_leeway_that_is_raised_later_brings_no_spent_token_back() {
    let app = TestApp::start();
    let policy = app.tenant().policy();
    let claims = app.tenant().check("all", &app.issue("alice").await).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let open = |now| open(folder.path(), now);
    let spent_at = claims.exp.minus(10);
    let spent = open(spent_at).redeem(policy, &claims, None, || spent_at).unwrap();
    spent.wait().await.unwrap();
    let lenient = Policy { leeway: MAX_LEEWAY, ..policy.clone() };
    let last = claims.exp.plus(MAX_LEEWAY - 1);
    let again = open(last).redeem(&lenient, &claims, None, || last).map(drop);
    assert_eq!(again, Err(Refusal::Used));
}
