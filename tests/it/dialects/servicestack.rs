//! A `ServiceStack` service's password resets: recorded requests, each with its whole answer; what is sent for
//! them; and who may ask how often.

mod attacks;
mod clients;
mod open;
mod settings;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use axum::http::Request;
use resetd::domain::caller::Scope;
use resetd::domain::dialect::{Dialects, Guid, Places, ServiceStack};
use resetd::domain::link::{LinkTemplate, ReturnUrls};
use resetd::domain::order::{Errand, Link};
use resetd::domain::policy::TenantName;
use resetd::service::Sending;
use serde::Deserialize;

use crate::app::{Answer, Options, TestApp};

const ROUTE: &str = "/api/account/ann@example.com/passwordresettoken";
const RETURN_URL: &str = "https://app.example.com/other";
const APPLIANCE: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";

/// A recorded request and the whole answer to it.
#[derive(Deserialize)]
struct Recorded {
    name: String,
    request: RecordedRequest,
    answer: RecordedAnswer,
}

#[derive(Deserialize)]
struct RecordedRequest {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct RecordedAnswer {
    status: u16,
    content_type: Option<String>,
    body: String,
}

fn sending() -> Sending {
    Sending {
        link: LinkTemplate::parse("https://app.example.com/reset#{token}"),
        return_urls: ReturnUrls::parse([RETURN_URL]).unwrap(),
        has_mail: true,
        ..Sending::default()
    }
}

fn acme_name() -> TenantName {
    TenantName::parse("acme").unwrap()
}

fn dialect() -> ServiceStack {
    let appliances = [(Guid::parse(APPLIANCE).unwrap(), acme_name())].into();
    ServiceStack {
        tenant: TenantName::default(),
        is_public: false,
        has_camel_names: false,
        places: Places { appliances, ..Places::default() },
    }
}

/// With the tenant acme, which one appliance is of.
fn start_with(change: impl FnOnce(&mut Options, &mut ServiceStack)) -> TestApp {
    TestApp::start_with(|options| {
        let mut dialect = dialect();
        options.tenants = vec!["acme"];
        options.sending = sending();
        change(options, &mut dialect);
        options.dialects = Dialects { servicestack: Some(dialect), ..Dialects::default() };
    })
}

fn start() -> TestApp {
    start_with(|_, _| {})
}

/// Sends a request with this key, if there is one, and a body in this.
async fn ask(app: &TestApp, key: &str, path: &str, written: &str, body: &str) -> Answer {
    let request = Request::post(path).header("content-type", written);
    let request = if key.is_empty() { request } else { request.header("x-api-key", key) };
    app.send(request.body(body.to_owned().into()).unwrap()).await
}

/// Sends each of a file in turn, with what is known now in the places for it.
async fn replay(app: &TestApp, file: &str, known: &[(&str, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dialects/servicestack");
    let text = fs::read_to_string(path.join(file)).unwrap();
    let recorded: Vec<Recorded> = serde_json::from_str(&text).unwrap();
    assert!(recorded.len() > 10, "{file}");
    let filled = |text: &str| {
        known.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    };
    for Recorded { name, request, answer: wanted } in recorded {
        let RecordedRequest { method, path, headers, body } = request;
        let mut request = Request::builder().method(method.as_str()).uri(filled(&path));
        for (name, value) in headers {
            request = request.header(name, filled(&value));
        }
        let answer = app.send(request.body(filled(&body).into()).unwrap()).await;
        assert_ours(&answer);
        let found = RecordedAnswer {
            status: answer.status.as_u16(),
            content_type: answer.header("content-type").map(str::to_owned),
            body: answer.text,
        };
        assert_eq!(found, wanted, "{name}");
    }
}

/// What every answer has, whatever it says, and what none has.
fn assert_ours(answer: &Answer) {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("x-request-id").is_some());
    let whole = format!("{:?} {}", answer.headers, answer.text);
    for secret in ["eyJ", "hunter2", "StackTrace\""] {
        assert!(!whole.contains(secret), "{whole}");
    }
}

/// What waits to be sent, taken out.
async fn taken(app: &TestApp) -> (TenantName, Box<Link>) {
    let order = app.service.outbox().next().await.order;
    let Errand::Link(link) = order.errand.clone() else { panic!("{order:?}") };
    (order.tenant, link)
}

/// How many links wait to be sent.
fn waiting(app: &TestApp) -> u64 {
    app.service.outbox().waiting().iter().map(|lane| lane.count).sum()
}

#[tokio::test]
async fn every_recorded_request_has_its_links_sent() {
    let app = start();
    let known = [("key", app.key_for(Scope::Deliver))];
    replay(&app, "requests.json", &known).await;
    assert_eq!(waiting(&app), 20);
    let (tenant, link) = taken(&app).await;
    assert!(tenant.is_default());
    assert_eq!(link.username.as_str(), "ann@example.com");
    assert_eq!(link.to.unwrap().as_str(), "ann@example.com");
    assert_eq!(link.return_url.as_deref(), Some(RETURN_URL));
}

#[tokio::test]
async fn every_recorded_answer_is_in_the_format_that_was_asked_for() {
    let app = start();
    replay(&app, "formats.json", &[("key", app.key_for(Scope::Deliver))]).await;
}

#[tokio::test]
async fn every_recorded_refusal_is_in_the_words_of_the_vendor_and_sends_nothing() {
    let app = start();
    let (other, long) = (app.acting_for("acme"), "x".repeat(65_537));
    let known = [
        ("key", app.key_for(Scope::Deliver)),
        ("check", app.key_for(Scope::Check)),
        ("other", other.api_key.expose()),
        ("long", long.as_str()),
    ];
    replay(&app, "refusals.json", &known).await;
    assert_eq!(waiting(&app), 0);
}

#[tokio::test]
async fn every_recorded_reset_spends_its_token_once() {
    let app = start();
    let expired = app.issue("ann").await;
    app.clock.advance(901);
    let (tokens, revoked) =
        ([app.issue("a").await, app.issue("b").await, app.issue("c").await], app.issue("d").await);
    app.delete(&format!("/password-tokens/{revoked}")).await.assert_status(204);
    let known = [
        ("key", app.key_for(Scope::Deliver)),
        ("redeem", app.key_for(Scope::Redeem)),
        ("token", &tokens[0]),
        ("token2", &tokens[1]),
        ("token3", &tokens[2]),
        ("revoked", &revoked),
        ("expired", &expired),
    ];
    replay(&app, "resets.json", &known).await;
    for token in &tokens {
        app.redeem(token).await.assert_problem(409, "token_used");
    }
}

#[tokio::test]
async fn an_appliance_that_is_listed_is_its_tenants_whose_callers_alone_have_links_sent() {
    let app = start();
    let (path, acme) = (format!("{ROUTE}?ApplianceId={{{APPLIANCE}}}"), app.acting_for("acme"));
    let path = path.replace('{', "%7b").replace('}', "%7d");
    let refused = ask(&app, app.key_for(Scope::Deliver), &path, "text/json", "").await;
    refused.assert_status(400);
    let unlisted = format!("{ROUTE}?ApplianceId={}", "1".repeat(32));
    let unlisted = ask(&app, app.key_for(Scope::Deliver), &unlisted, "text/json", "").await;
    assert_eq!((refused.status, &refused.text), (unlisted.status, &unlisted.text));
    assert_eq!(waiting(&app), 0);
    ask(&app, acme.api_key.expose(), &path, "text/json", "").await.assert_status(200);
    assert_eq!(taken(&app).await.0, acme_name());
}

#[tokio::test]
async fn who_has_no_right_is_refused_before_the_body_is_read() {
    let app = start();
    let path = "/api/GetResetPasswordToken";
    let refused = ask(&app, app.key_for(Scope::Check), path, "application/json", "{").await;
    refused.assert_status(403);
}

#[tokio::test]
async fn a_caller_is_counted_for_what_cannot_be_read_too() {
    let app = start_with(|options, _| {
        options.rates.all.caller_per_minute = std::num::NonZeroU32::new(2);
    });
    let (key, path) = (app.key_for(Scope::Deliver), "/api/GetResetPasswordToken");
    for status in [400, 400, 429] {
        ask(&app, key, path, "application/json", "{").await.assert_status(status);
    }
}

#[tokio::test]
async fn who_is_asked_for_too_often_is_told_to_wait_where_users_are_nobodys_secret() {
    let app = start_with(|options, _| {
        options.rates.all.user_tokens_per_hour = std::num::NonZeroU32::new(2);
    });
    let key = app.key_for(Scope::Deliver);
    for _ in 0..2 {
        ask(&app, key, ROUTE, "text/json", "").await.assert_status(200);
    }
    let answer = ask(&app, key, ROUTE, "text/json", "").await;
    answer.assert_status(429);
    assert_eq!(answer.json()["ResponseStatus"]["ErrorCode"], "TooManyRequests");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(waiting(&app), 2);
}
