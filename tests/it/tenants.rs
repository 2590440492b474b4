//! Tenants side by side in one service: what is one's is nothing to the other, also where both sign with
//! the same keys.

mod shared;

use std::collections::BTreeSet;

use axum::http::{Method, Request, StatusCode, header};
use resetd::domain::caller::{Caller, Callers, KeyHash, NoCaller, Scope, api_key};
use resetd::domain::keyring::Keyring;
use resetd::domain::policy::TenantName;
use resetd::outbox::Outbox;
use resetd::revocation::Revocations;
use resetd::service::{Error, KeysOf, Parts, ResetService, Sending, TenantParts};
use resetd_verify::{Algorithm, Timestamp};
use serde_json::{Value, json};

use crate::app::{AUDIENCE, Answer, ISSUER, TestApp};

/// The default tenant and acme, as their callers have them.
fn two_tenants() -> [TestApp; 2] {
    let app = TestApp::start_with(|options| options.tenants = vec!["acme"]);
    let acme = app.acting_for("acme");
    [app, acme]
}

/// The same where acme signs with the keys of the default tenant.
fn two_with_one_set_of_keys() -> [TestApp; 2] {
    let app = TestApp::start_with(|options| options.sharers = vec!["acme"]);
    let acme = app.acting_for("acme");
    [app, acme]
}

/// Both orders of the two, with keys of their own and with the same keys.
fn each_beside_the_other() -> [[TestApp; 2]; 4] {
    let ([app, acme], [sharing, sharer]) = (two_tenants(), two_with_one_set_of_keys());
    [two_tenants(), [acme, app], two_with_one_set_of_keys(), [sharer, sharing]]
}

/// What an answer says, but for what differs in every answer.
fn told(answer: &Answer) -> (StatusCode, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").unwrap();
    let headers = answer.headers.iter().filter(|(name, _)| *name != "x-request-id");
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}")));
    (answer.status, headers.collect(), answer.text.replace(id, ""))
}

/// Fails unless a token of another tenant is answered like one of nobody.
#[track_caller]
fn assert_alike(found: &Answer, of_unknown: &Answer) {
    assert_eq!(told(found), told(of_unknown));
}

async fn assert_live(app: &TestApp, token: &str) {
    assert_eq!(app.check(token).await.status, StatusCode::OK);
}

/// A token of the right form that nobody issued.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    format!("{signed}.{}", signature.chars().rev().collect::<String>())
}

async fn kids(app: &TestApp, path: &str) -> BTreeSet<String> {
    let set = app.get(path).await.json();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_tenant_issues_with_its_own_issuer_and_redeems_what_it_issued() {
    let issuers = [ISSUER.to_owned(), format!("{ISSUER}/tenants/acme")];
    for ([app, _], issuer) in each_beside_the_other().into_iter().zip(issuers.iter().cycle()) {
        let token = app.issue("alice").await;
        let claims = app.tenant().check("all", &token).unwrap();
        assert_eq!((claims.iss, claims.aud), (issuer.clone(), vec![AUDIENCE.to_owned()]));
        assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
        app.redeem(&token).await.assert_problem(409, "token_used");
    }
}

#[tokio::test]
async fn a_token_is_found_below_the_url_of_the_whole_service_whoever_issued_it() {
    for [app, _] in each_beside_the_other() {
        let answer = app.post("/password-tokens", json!({ "username": "alice" })).await;
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        let location = format!("{ISSUER}/password-tokens/{token}");
        assert_eq!(answer.header("location"), Some(location.as_str()));
        assert_eq!(answer.json()["_links"][0]["href"], location);
    }
}

#[tokio::test]
async fn a_token_of_another_tenant_is_unknown_when_it_is_checked() {
    for [app, other] in each_beside_the_other() {
        let token = app.issue("alice").await;
        let found = other.check(&token).await;
        found.assert_problem(404, "token_unknown");
        assert_alike(&found, &other.check(&forged(&token)).await);
        assert_live(&app, &token).await;
    }
}

#[tokio::test]
async fn a_token_of_another_tenant_is_unknown_when_it_is_redeemed() {
    for [app, other] in each_beside_the_other() {
        let token = app.issue("alice").await;
        let found = other.redeem(&token).await;
        found.assert_problem(404, "token_unknown");
        assert_alike(&found, &other.redeem(&forged(&token)).await);
        assert_live(&app, &token).await;
    }
}

#[tokio::test]
async fn a_token_of_another_tenant_is_unknown_when_it_is_held() {
    for [app, other] in each_beside_the_other() {
        let token = app.issue("alice").await;
        let hold = |token: &str| json!({ "token": token, "hold": 60 });
        let found = other.post("/redemptions", hold(&token)).await;
        found.assert_problem(404, "token_unknown");
        assert_alike(&found, &other.post("/redemptions", hold(&forged(&token))).await);
        assert_live(&app, &token).await;
    }
}

/// The callers of both tenants have the same name.
#[tokio::test]
async fn a_hold_is_ended_by_no_caller_of_another_tenant() {
    for [app, other] in each_beside_the_other() {
        let token = app.issue("alice").await;
        let held = app.post("/redemptions", json!({ "token": token, "hold": 60 })).await.json();
        let path =
            |how: &str| format!("/redemptions/{}/{how}", held["redemptionId"].as_str().unwrap());
        for how in ["commit", "cancel"] {
            let answer = other.post(&path(how), json!({})).await;
            answer.assert_problem(404, "redemption_unknown");
            app.check(&token).await.assert_problem(404, "token_held");
        }
        assert_eq!(app.post(&path("commit"), json!({})).await.status, StatusCode::OK);
        other.post(&path("commit"), json!({})).await.assert_problem(404, "redemption_unknown");
    }
}

#[tokio::test]
async fn a_try_of_a_caller_of_another_tenant_is_another_try() {
    for [app, other] in each_beside_the_other() {
        let try_it = async |app: &TestApp, path: &str, body: &Value| {
            let request = app
                .request(Method::POST, path)
                .header(header::CONTENT_TYPE, "application/json")
                .header("idempotency-key", "one");
            app.send(request.body(body.to_string().into()).unwrap()).await
        };
        let body = json!({ "username": "alice" });
        let mine = try_it(&app, "/password-tokens", &body).await;
        let theirs = try_it(&other, "/password-tokens", &body).await;
        assert_eq!((mine.status, theirs.status), (StatusCode::CREATED, StatusCode::CREATED));
        assert_ne!(mine.json()["token"], theirs.json()["token"]);

        let body = json!({ "token": mine.json()["token"] });
        assert_eq!(try_it(&app, "/redemptions", &body).await.status, StatusCode::CREATED);
        let answer = try_it(&other, "/redemptions", &body).await;
        answer.assert_problem(404, "token_unknown");
        assert_live(&other, theirs.json()["token"].as_str().unwrap()).await;
    }
}

#[tokio::test]
async fn a_holder_kills_that_token_and_none_of_the_same_user_elsewhere() {
    for [app, other] in each_beside_the_other() {
        let (mine, theirs) = (app.issue("alice").await, other.issue("alice").await);
        assert_eq!(disown(&app, &forged(&mine)).await.status, StatusCode::CREATED);
        assert_live(&app, &mine).await;
        assert_eq!(disown(&app, &mine).await.status, StatusCode::CREATED);
        app.check(&mine).await.assert_problem(404, "token_revoked");
        assert_live(&other, &theirs).await;
    }
}

/// Revokes a token without a key.
async fn disown(app: &TestApp, token: &str) -> Answer {
    let request = Request::post("/revocations").header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(json!({ "token": token }).to_string().into()).unwrap()).await
}

#[tokio::test]
async fn a_token_of_another_tenant_is_unknown_when_it_is_deleted() {
    for [app, other] in each_beside_the_other() {
        let token = app.issue("alice").await;
        let found = other.delete(&format!("/password-tokens/{token}")).await;
        found.assert_problem(404, "token_unknown");
        let of_unknown = other.delete(&format!("/password-tokens/{}", forged(&token))).await;
        assert_alike(&found, &of_unknown);
        assert_live(&app, &token).await;
    }
}

#[tokio::test]
async fn a_token_of_another_tenant_is_unknown_when_it_is_revoked() {
    for [app, other] in each_beside_the_other() {
        let token = app.issue("alice").await;
        let found = other.post("/revocations", json!({ "token": token })).await;
        let of_unknown = other.post("/revocations", json!({ "token": forged(&token) })).await;
        assert_alike(&found, &of_unknown);
        assert_live(&app, &token).await;
    }
}

#[tokio::test]
async fn a_dead_token_of_another_tenant_is_unknown_as_well() {
    for [app, other] in each_beside_the_other() {
        let [spent, revoked, expired] =
            [app.issue("a").await, app.issue("b").await, app.issue("c").await];
        app.redeem(&spent).await;
        app.delete(&format!("/password-tokens/{revoked}")).await;
        for token in [&spent, &revoked] {
            other.check(token).await.assert_problem(404, "token_unknown");
        }
        app.clock.advance(900);
        app.check(&expired).await.assert_problem(404, "token_expired");
        other.check(&expired).await.assert_problem(404, "token_unknown");
    }
}

#[tokio::test]
async fn also_where_both_tenants_have_one_key_a_token_is_for_its_issuer_only() {
    for [app, other] in each_beside_the_other() {
        let token = app.issue("alice").await;
        other.tenant().replace_keyring(app.keystore.load().unwrap()).unwrap();
        assert_live(&app, &token).await;
        other.check(&token).await.assert_problem(404, "token_unknown");
        app.clock.advance(900);
        other.check(&token).await.assert_problem(404, "token_unknown");
    }
}

#[tokio::test]
async fn a_token_whose_time_has_not_come_is_not_revoked_by_another_tenant() {
    for [app, other] in each_beside_the_other() {
        app.clock.advance(30);
        let early = app.issue("alice").await;
        app.clock.set(app.now().minus(20));
        other.post("/revocations", json!({ "token": early })).await;
        app.clock.advance(20);
        assert_live(&app, &early).await;
    }
}

#[tokio::test]
async fn a_revocation_of_any_kind_leaves_the_other_tenants_tokens_alone() {
    for [app, other] in each_beside_the_other() {
        let (mine, theirs) = (app.issue("alice").await, other.issue("alice").await);
        let jti = app.tenant().check("all", &mine).unwrap().jti.to_string();
        for revocation in
            [json!({ "tokenId": jti }), json!({ "username": "alice" }), json!({ "before": "now" })]
        {
            let answer = other.post("/revocations", revocation.clone()).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{revocation}");
            assert_live(&app, &mine).await;
        }
        other.check(&theirs).await.assert_problem(404, "token_revoked");
    }
}

#[tokio::test]
async fn a_newer_token_replaces_none_of_a_user_of_the_same_name_elsewhere() {
    let app = TestApp::start_with(|options| {
        options.policy.supersede = true;
        options.tenants = vec!["acme"];
    });
    let acme = app.acting_for("acme");
    let older = acme.issue("alice").await;
    let newer = app.issue("alice").await;
    assert_eq!(app.redeem(&newer).await.status, StatusCode::CREATED);
    assert_live(&acme, &older).await;
}

#[tokio::test]
async fn tenants_publish_their_own_keys_and_no_others() {
    let [app, acme] = two_tenants();
    let mine = kids(&app, "/.well-known/jwks.json").await;
    let theirs = kids(&app, "/tenants/acme/.well-known/jwks.json").await;
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    assert!(mine.is_disjoint(&theirs));
    assert_eq!(theirs.first().unwrap(), acme.tenant().active_key().unwrap().kid().as_str());
    assert_eq!(kids(&app, "/tenants/default/.well-known/jwks.json").await, mine);
}

#[tokio::test]
async fn the_metadata_of_a_tenant_leads_to_its_keys_and_to_the_api_of_all() {
    let [app, _] = two_tenants();
    let issuer = format!("{ISSUER}/tenants/acme");
    let expected = json!({
        "issuer": issuer,
        "audience": AUDIENCE,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "token_type": "reset+jwt",
        "signing_alg_values_supported": ["ES256"],
        "max_lifetime_seconds": 86_400,
        "password_tokens_endpoint": format!("{ISSUER}/password-tokens"),
        "redemptions_endpoint": format!("{ISSUER}/redemptions"),
        "revocations_endpoint": format!("{ISSUER}/revocations"),
    });
    let found = app.get("/tenants/acme/.well-known/reset-token-issuer").await.json();
    assert_eq!(found, expected);
    let default = app.get("/tenants/default/.well-known/reset-token-issuer").await.json();
    assert_eq!(default, app.get("/.well-known/reset-token-issuer").await.json());
}

#[tokio::test]
async fn a_tenant_that_is_not_there_has_no_documents() {
    let [app, _] = two_tenants();
    let too_long = "a".repeat(65);
    for name in ["beta", "ACME", "acme%20", "acme%00", "..", "%ff", "", &too_long] {
        for document in ["jwks.json", "reset-token-issuer"] {
            let answer = app.get(&format!("/tenants/{name}/.well-known/{document}")).await;
            answer.assert_problem(404, "not_found");
        }
    }
    app.get("/tenants/acme").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn the_api_is_not_below_a_tenant() {
    let [app, acme] = two_tenants();
    for path in ["/tenants/acme/password-tokens", "/tenants/acme/redemptions"] {
        for caller in [&app, &acme] {
            caller.post(path, json!({})).await.assert_problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn new_keys_of_one_tenant_are_no_keys_of_the_other() {
    let [app, acme] = two_tenants();
    let before = kids(&app, "/.well-known/jwks.json").await;
    acme.keystore.generate(Algorithm::EdDsa, app.now(), app.now()).unwrap();
    acme.tenant().replace_keyring(acme.keystore.load().unwrap()).unwrap();
    assert_eq!(kids(&app, "/tenants/acme/.well-known/jwks.json").await.len(), 2);
    assert_eq!(kids(&app, "/.well-known/jwks.json").await, before);
    assert_eq!(app.tenant().keyring().keys().count(), 1);
    assert_eq!(acme.tenant().keyring().keys().count(), 2);
}

#[tokio::test]
async fn what_is_about_the_whole_service_is_for_callers_of_the_default_tenant_alone() {
    let [app, acme] = two_tenants();
    assert_eq!(app.get("/metrics").await.status, StatusCode::OK);
    acme.get("/metrics").await.assert_problem(403, "forbidden");
    // There is no configuration here to read.
    app.post("/admin/config/reload", json!({})).await.assert_problem(404, "not_found");
    acme.post("/admin/config/reload", json!({})).await.assert_problem(403, "forbidden");
    assert_eq!(acme.get("/admin/keys").await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_tenant_without_a_key_makes_the_service_unready_and_stops_no_other() {
    let [app, acme] = two_tenants();
    acme.tenant().replace_keyring(Keyring::default()).unwrap();
    app.get("/health/ready").await.assert_problem(503, "no_active_key");
    let tenant = TenantName::parse("acme").unwrap();
    assert_eq!(app.service.readiness(), Err(Error::NoActiveKey { tenant }));
    let body = json!({ "username": "alice" });
    acme.post("/password-tokens", body).await.assert_problem(503, "no_active_key");
    app.issue("alice").await;
}

#[tokio::test]
async fn nobody_is_told_which_tenant_has_no_key() {
    let [app, acme] = two_tenants();
    acme.tenant().replace_keyring(Keyring::default()).unwrap();
    assert!(!app.get("/health/ready").await.text.contains("acme"));
}

#[tokio::test]
async fn the_caller_of_a_tenant_that_is_not_there_is_nobody() {
    let key = api_key([7; 32]);
    let beta = TenantName::parse("beta").unwrap();
    let caller = Caller::with_key("web", beta, &Scope::ALL, KeyHash::of(key.expose()));
    let app = TestApp::start();
    let (policy, keyring) = (app.tenant().policy().clone(), app.keystore.load().unwrap());
    let service = ResetService::new(Parts {
        tenants: vec![TenantParts {
            policy,
            keys: KeysOf::Itself(keyring),
            sending: Sending::default(),
        }],
        callers: Callers::new(vec![caller]),
        bearers: Vec::new(),
        revocations: Revocations::guarding(Timestamp::from_seconds(0), 1, [0; 16]),
        outbox: Outbox::in_memory(1),
        endpoints: Vec::new(),
        clock: app.clock.clone(),
        jwks_max_age: 300,
    });
    let error = service.unwrap().authenticate(key.expose(), None).map(drop).unwrap_err();
    assert_eq!(error, Error::Unauthenticated(NoCaller::Unknown));
}
