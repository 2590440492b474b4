//! Links that are promised and sent later: what is answered, what waits, and what comes of it when it is
//! time. What is sent by real servers is in `mail.rs` and `delivery.rs`.

use axum::http::{Method, StatusCode, header};
use resetd::domain::link::{LinkTemplate, ReturnUrls};
use resetd::domain::order::{Errand, Link, Order};
use resetd::domain::time::to_rfc3339;
use resetd::outbox::Outbox;
use resetd::service::{Prepared, Sending, Unsent};
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp};

const TEMPLATE: &str = "https://app.example.com/reset#{token}";
const RETURN_URL: &str = "https://app.example.com/other";

fn sending() -> Sending {
    Sending {
        link: LinkTemplate::parse(TEMPLATE),
        return_urls: ReturnUrls::parse([RETURN_URL]).unwrap(),
        has_mail: true,
        has_webhook: true,
        ..Sending::default()
    }
}

fn start_with(change: impl FnOnce(&mut Options)) -> TestApp {
    TestApp::start_with(|options| {
        options.sending = sending();
        change(options);
    })
}

fn to_ann() -> Value {
    json!({ "username": "ann", "to": "ann@example.com" })
}

fn with(member: &str, value: impl Into<Value>) -> Value {
    let mut body = to_ann();
    body[member] = value.into();
    body
}

async fn deliver(app: &TestApp, body: Value) -> Answer {
    app.post("/deliveries", body).await
}

/// What waits, taken out.
async fn taken(app: &TestApp) -> (Order, Box<Link>) {
    let order = app.service.outbox().next().await.order;
    let Errand::Link(link) = order.errand.clone() else { panic!("{order:?}") };
    (order, link)
}

async fn prepared(app: &TestApp) -> Result<Prepared, Unsent> {
    let (order, link) = taken(app).await;
    app.tenant().prepare(&order, &link).await
}

#[tokio::test]
async fn a_link_is_promised_without_showing_its_token() {
    let app = start_with(|_| {});
    let answer = deliver(&app, to_ann()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    let expired = to_rfc3339(app.now().plus(900));
    let promise = json!({ "username": "ann", "channel": "email", "expiredTime": expired });
    assert_eq!(answer.json(), promise);
    assert!(!answer.headers.contains_key(header::LOCATION));
}

#[tokio::test]
async fn what_is_sent_is_the_token_that_was_promised_also_when_it_is_sent_twice() {
    let app = start_with(|_| {});
    let body = json!({
        "username": "ann", "to": "ann@example.com", "credentialId": "pwd-1", "userId": "u-1",
        "ttl": 600, "language": "de-CH",
    });
    deliver(&app, body).await;
    let promised = app.now();
    let (order, link) = taken(&app).await;
    app.clock.advance(60);
    let first = app.tenant().prepare(&order, &link).await.unwrap();
    let again = app.tenant().prepare(&order, &link).await.unwrap();
    assert_eq!(first.claims, again.claims);
    assert_eq!(first.claims.jti, order.id);
    assert_eq!((first.claims.iat, first.claims.exp), (promised, promised.plus(600)));
    assert_eq!(first.claims.credential_id.as_deref(), Some("pwd-1"));
    assert_eq!(first.to.unwrap().as_str(), "ann@example.com");
    assert_eq!(first.languages[0].as_str(), "de-ch");
    let token = first.link.expose().strip_prefix("https://app.example.com/reset#").unwrap();
    assert_eq!(token, first.token.expose());
    app.post("/redemptions", json!({ "token": token })).await.assert_status(201);
    let other = app.post("/redemptions", json!({ "token": again.token.expose() })).await;
    other.assert_problem(409, "token_used");
}

#[tokio::test]
async fn a_token_bound_to_a_version_of_the_credential_is_so_when_it_is_sent_as_well() {
    let app = start_with(|_| {});
    deliver(&app, with("credentialVersion", "7")).await;
    let token = prepared(&app).await.unwrap().token;
    let redeem = |version: &str| json!({ "token": token.expose(), "credentialVersion": version });
    let refused = app.post("/redemptions", redeem("8")).await;
    refused.assert_problem(422, "credential_version_mismatch");
    app.post("/redemptions", redeem("7")).await.assert_status(201);
}

#[tokio::test]
async fn a_promise_replaces_older_tokens_as_issuing_does_and_is_replaced_by_newer_ones() {
    let app = start_with(|options| options.policy.supersede = true);
    let older = app.issue("ann").await;
    app.clock.advance(1);
    deliver(&app, to_ann()).await;
    let checked = app.get(&format!("/password-tokens/{older}")).await;
    checked.assert_problem(404, "token_revoked");
    let (promised, link) = taken(&app).await;
    assert!(app.tenant().prepare(&promised, &link).await.is_ok());
    app.clock.advance(1);
    app.issue("ann").await;
    let unsent = app.tenant().prepare(&promised, &link).await.unwrap_err();
    assert_eq!((unsent.code(), unsent.is_transient()), ("token_dead", false));
}

#[tokio::test]
async fn what_was_revoked_or_has_expired_is_not_sent() {
    let app = start_with(|_| {});
    deliver(&app, to_ann()).await;
    app.clock.advance(1);
    app.post("/revocations", json!({ "username": "ann" })).await.assert_status(201);
    assert_eq!(prepared(&app).await.unwrap_err().code(), "token_dead");
    app.clock.advance(1);
    deliver(&app, to_ann()).await;
    app.clock.advance(900);
    assert_eq!(prepared(&app).await.unwrap_err().code(), "token_expired");
}

#[tokio::test]
async fn a_link_leads_to_the_tenants_address_or_to_one_it_allows_whatever_the_request_says() {
    let app = start_with(|_| {});
    let request = app.request(Method::POST, "/deliveries");
    let request = request
        .header(header::HOST, "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example;proto=http")
        .header(header::ORIGIN, "https://evil.example")
        .header(header::REFERER, "https://evil.example/")
        .header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(to_ann().to_string().into()).unwrap()).await.assert_status(202);
    let link = prepared(&app).await.unwrap().link;
    assert!(link.expose().starts_with("https://app.example.com/reset#"));

    deliver(&app, with("returnUrl", "HTTPS://app.example.com:443/other")).await.assert_status(202);
    let link = prepared(&app).await.unwrap().link;
    assert!(link.expose().starts_with("https://app.example.com/other#"));

    for url in
        ["https://evil.example/", "https://app.example.com/other/", "//app.example.com/other"]
    {
        let answer = deliver(&app, with("returnUrl", url)).await;
        answer.assert_problem(422, "invalid_request");
        assert_eq!(answer.json()["invalidFields"][0]["field"], "returnUrl");
        assert!(!answer.text.contains("evil"), "{}", answer.text);
    }
}

#[tokio::test]
async fn an_address_that_is_no_longer_allowed_when_it_is_time_gets_no_token() {
    let app = start_with(|_| {});
    deliver(&app, with("returnUrl", RETURN_URL)).await.assert_status(202);
    let (order, mut link) = taken(&app).await;
    assert_eq!(link.return_url.as_deref(), Some(RETURN_URL));
    link.return_url = Some("https://app.example.com/gone".into());
    let unsent = app.tenant().prepare(&order, &link).await.unwrap_err();
    assert_eq!(unsent.code(), "not_configured");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let lacking = |change: fn(&mut Sending)| {
        let mut sending = sending();
        change(&mut sending);
        TestApp::start_with(|options| options.sending = sending)
    };
    for app in [
        lacking(|sending| sending.link = None),
        lacking(|sending| sending.has_mail = false),
        TestApp::start(),
    ] {
        deliver(&app, to_ann()).await.assert_problem(409, "delivery_not_configured");
    }
    let app = lacking(|sending| sending.has_webhook = false);
    let by_webhook = with("channel", "webhook");
    deliver(&app, by_webhook).await.assert_problem(409, "delivery_not_configured");
    assert!(app.service.outbox().waiting().is_empty());
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_and_nothing_is_promised() {
    let app = start_with(|_| {});
    for (body, fields) in [
        (json!({}), vec!["username", "to"]),
        (with("to", "ann@example.com,bob@example.com"), vec!["to"]),
        (with("to", "ann@example.com\r\nBcc: bob@example.com"), vec!["to"]),
        (with("to", Value::Null), vec!["to"]),
        (with("channel", "pigeon"), vec!["channel"]),
        (with("language", "../../etc"), vec!["language"]),
        (with("template", "x"), vec!["template"]),
    ] {
        let answer = deliver(&app, body.clone()).await;
        answer.assert_problem(422, "invalid_request");
        let invalid = answer.json()["invalidFields"].clone();
        let names = invalid.as_array().unwrap().iter();
        let names: Vec<_> = names.map(|field| field["field"].as_str().unwrap()).collect();
        assert_eq!(names, fields, "{body}");
    }
    assert!(app.service.outbox().waiting().is_empty());
}

#[tokio::test]
async fn the_same_key_and_body_is_one_promise() {
    let app = start_with(|_| {});
    let send = async |body: Value| {
        let request = app.request(Method::POST, "/deliveries").header("idempotency-key", "k");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        app.send(request.body(body.to_string().into()).unwrap()).await
    };
    let first = send(to_ann()).await;
    let again = send(to_ann()).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(app.service.outbox().waiting()[0].count, 1);
    let other = send(with("language", "de")).await;
    other.assert_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn no_more_is_promised_than_may_wait_and_the_older_links_live_on() {
    let app = start_with(|options| {
        options.outbox = Outbox::in_memory(1);
        options.policy.supersede = true;
    });
    deliver(&app, to_ann()).await.assert_status(202);
    let token = app.issue("bob").await;
    app.clock.advance(1);
    let to_bob = json!({ "username": "bob", "to": "bob@example.com" });
    let answer = deliver(&app, to_bob).await;
    answer.assert_problem(503, "outbox_full");
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    app.get(&format!("/password-tokens/{token}")).await.assert_status(200);
}

#[tokio::test]
async fn one_tenants_link_is_not_anothers() {
    let app = start_with(|options| options.tenants = vec!["acme"]);
    let acme = app.acting_for("acme");
    deliver(&acme, to_ann()).await.assert_status(202);
    let (order, link) = taken(&acme).await;
    assert_eq!(order.tenant.as_str(), "acme");
    let prepared = acme.tenant().prepare(&order, &link).await.unwrap();
    let token = prepared.token.expose();
    app.get(&format!("/password-tokens/{token}")).await.assert_problem(404, "token_unknown");
    acme.get(&format!("/password-tokens/{token}")).await.assert_status(200);
}
