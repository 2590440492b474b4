//! How often something may be done: by one address, by one caller, for one user, and nobody else is the
//! worse for it.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use resetd::domain::caller::Scope;
use resetd::domain::policy::TenantName;
use resetd::http::{Source, TenantRates};
use serde_json::json;

use crate::app::{Answer, TestApp};

fn at_most(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

/// Asks for a token, from this address, with these headers.
async fn issue(app: &TestApp, api_key: &str, user: &str, from: &str, forwarded: &str) -> Answer {
    let mut request = Request::post("/password-tokens")
        .header("x-api-key", api_key)
        .header(header::CONTENT_TYPE, "application/json")
        .extension(Source(from.parse().unwrap()));
    if !forwarded.is_empty() {
        request = request.header("x-forwarded-for", forwarded);
    }
    app.send(request.body(json!({ "username": user }).to_string().into()).unwrap()).await
}

async fn get(app: &TestApp, path: &str, from: &str) -> Answer {
    let request = Request::get(path).extension(Source(from.parse().unwrap()));
    app.send(request.body(Body::empty()).unwrap()).await
}

#[track_caller]
fn assert_limited(answer: &Answer, longest: u64) {
    answer.assert_problem(429, "rate_limited");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=longest).contains(&wait), "{wait}");
}

#[tokio::test]
async fn an_address_may_ask_so_often_whoever_it_says_it_is() {
    let app = TestApp::start_with(|options| options.rates.source_per_minute = at_most(3));
    let key = app.api_key.expose();
    assert_eq!(issue(&app, key, "alice", "192.0.2.1", "").await.status, StatusCode::CREATED);
    // Also what is refused is counted, and made-up addresses are nobody's.
    let refused = issue(&app, "rsk_wrong", "alice", "192.0.2.1", "203.0.113.1").await;
    refused.assert_problem(401, "unauthenticated");
    let missing = get(&app, "/password-tokens/x", "192.0.2.1").await;
    missing.assert_problem(401, "unauthenticated");
    for forwarded in ["", "203.0.113.2", "203.0.113.3, 192.0.2.9"] {
        assert_limited(&issue(&app, key, "alice", "192.0.2.1", forwarded).await, 21);
    }
    assert_eq!(issue(&app, key, "alice", "192.0.2.2", "").await.status, StatusCode::CREATED);
    for path in ["/.well-known/jwks.json", "/health/live", "/health/ready"] {
        assert_eq!(get(&app, path, "192.0.2.1").await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_is_counted_and_not_the_proxy() {
    let app = TestApp::start_with(|options| {
        options.rates.source_per_minute = at_most(1);
        options.rates.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let key = app.api_key.expose();
    let ask = async |forwarded: &str| issue(&app, key, "alice", "10.0.0.1", forwarded).await;
    assert_eq!(ask("198.51.100.1").await.status, StatusCode::CREATED);
    for forwarded in ["198.51.100.1", "203.0.113.1, 198.51.100.1", "198.51.100.1, 10.0.0.2"] {
        assert_limited(&ask(forwarded).await, 61);
    }
    assert_eq!(ask("198.51.100.2").await.status, StatusCode::CREATED);
    // Who asks past the proxy is believed nothing.
    let direct = issue(&app, key, "alice", "198.51.100.3", "198.51.100.4").await;
    assert_eq!(direct.status, StatusCode::CREATED);
    assert_limited(&issue(&app, key, "alice", "198.51.100.3", "198.51.100.5").await, 61);
}

#[tokio::test]
async fn a_caller_may_ask_so_often_and_others_are_not_counted_with_it() {
    let app = TestApp::start_with(|options| {
        options.rates.all.caller_per_minute = at_most(2);
        options.tenants = vec!["acme"];
    });
    for _ in 0..2 {
        app.issue("alice").await;
    }
    assert_limited(&app.post("/password-tokens", json!({ "username": "alice" })).await, 31);
    assert_limited(&app.check("x").await, 31);
    // Of the same name, in another tenant.
    app.acting_for("acme").issue("alice").await;
    let other = app.key_for(Scope::Issue);
    let answer = issue(&app, other, "alice", "192.0.2.1", "").await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_user_is_sent_so_many_links_by_all_callers_of_a_tenant_together() {
    let app = TestApp::start_with(|options| {
        options.rates.all.user_tokens_per_hour = at_most(2);
        options.tenants = vec!["acme"];
    });
    let (all, other) = (app.api_key.expose(), app.key_for(Scope::Issue));
    for key in [all, other] {
        assert_eq!(issue(&app, key, "alice", "192.0.2.1", "").await.status, StatusCode::CREATED);
    }
    for (key, from) in [(all, "192.0.2.1"), (other, "192.0.2.2")] {
        assert_limited(&issue(&app, key, "alice", from, "").await, 1801);
    }
    assert_eq!(issue(&app, all, "bob", "192.0.2.1", "").await.status, StatusCode::CREATED);
    app.acting_for("acme").issue("alice").await;
    // What alice has stays good.
    assert_eq!(app.get("/metrics").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_answer_says_how_much_is_left_of_everything_that_was_counted() {
    let app = TestApp::start_with(|options| {
        options.rates.source_per_minute = at_most(60);
        options.rates.all.caller_per_minute = at_most(120);
        options.rates.all.user_tokens_per_hour = at_most(1);
    });
    let key = app.api_key.expose();
    let first = issue(&app, key, "alice", "192.0.2.1", "").await;
    let policy = "\"source\";q=60;w=60, \"caller\";q=120;w=60, \"user\";q=1;w=3600";
    assert_eq!(first.header("ratelimit-policy"), Some(policy));
    let left = "\"source\";r=59;t=2, \"caller\";r=119;t=1, \"user\";r=0;t=3601";
    assert_eq!(first.header("ratelimit"), Some(left));
    let second = issue(&app, key, "alice", "192.0.2.1", "").await;
    assert_limited(&second, 3601);
    assert!(second.header("ratelimit").unwrap().contains("\"user\";r=0;t="));
    let unlimited = get(&app, "/health/live", "192.0.2.1").await;
    assert_eq!(unlimited.header("ratelimit"), None);
}

#[tokio::test]
async fn a_caller_that_may_call_from_one_network_is_nobody_elsewhere() {
    let app =
        TestApp::start_with(|options| options.networks = vec!["10.1.0.0/16".parse().unwrap()]);
    let key = app.api_key.expose();
    assert_eq!(issue(&app, key, "alice", "10.1.2.3", "").await.status, StatusCode::CREATED);
    let elsewhere = issue(&app, key, "alice", "10.2.0.1", "10.1.2.3").await;
    elsewhere.assert_problem(401, "unauthenticated");
    let nowhere = app.post("/password-tokens", json!({ "username": "alice" })).await;
    nowhere.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn behind_a_proxy_a_pinned_caller_is_known_by_the_clients_address_alone() {
    let app = TestApp::start_with(|options| {
        options.networks = vec!["10.0.0.0/8".parse().unwrap()];
        options.rates.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let key = app.api_key.expose();
    for (forwarded, status) in [
        ("10.1.2.3", 201),
        ("203.0.113.9", 401),
        ("\u{ff}, 203.0.113.9", 401),
        ("203.0.113.9:4711", 401),
        ("junk", 401),
    ] {
        let answer = issue(&app, key, "alice", "10.0.0.1", forwarded).await;
        assert_eq!(answer.status.as_u16(), status, "{forwarded}");
    }
}

#[tokio::test]
async fn an_answer_that_is_given_again_is_no_other_link() {
    let app = TestApp::start_with(|options| options.rates.all.user_tokens_per_hour = at_most(1));
    let ask = async |key: &str| {
        let request = app
            .request(axum::http::Method::POST, "/password-tokens")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        app.send(request.body(json!({ "username": "alice" }).to_string().into()).unwrap()).await
    };
    let first = ask("a").await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(ask("a").await.text, first.text);
    assert_limited(&ask("b").await, 3601);
}

#[tokio::test]
async fn a_tenant_has_limits_of_its_own_that_are_nothing_to_the_others() {
    let rates = |caller, user| TenantRates {
        caller_per_minute: at_most(caller),
        user_tokens_per_hour: at_most(user),
    };
    let app = TestApp::start_with(|options| {
        options.rates.all = rates(100, 4);
        // Beta is counted where the default tenant is, and apart from it all the same.
        let tenants = [("acme", rates(3, 1)), ("beta", rates(100, 4)), ("open", rates(0, 0))];
        let named = tenants.map(|(name, rates)| (TenantName::parse(name).unwrap(), rates));
        options.rates.tenants = named.into();
        options.tenants = vec!["acme", "beta", "open"];
    });
    let body = json!({ "username": "alice" });
    let acme = app.acting_for("acme");
    acme.issue("alice").await;
    assert_limited(&acme.post("/password-tokens", body.clone()).await, 3601);
    acme.check("x").await.assert_problem(404, "token_unknown");
    assert_limited(&acme.check("x").await, 21);
    for tenant in ["default", "beta"] {
        let tenant = app.acting_for(tenant);
        for _ in 0..4 {
            tenant.issue("alice").await;
        }
        assert_limited(&tenant.post("/password-tokens", body.clone()).await, 901);
        assert_eq!(tenant.issue("bob").await.split('.').count(), 3);
    }
    let open = app.acting_for("open");
    for _ in 0..30 {
        open.issue("alice").await;
    }
    assert_eq!(open.check("x").await.header("ratelimit"), None);
    assert_limited(&acme.check("x").await, 21);
}
