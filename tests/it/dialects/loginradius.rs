//! `LoginRadius`' identity API: every recorded exchange as a whole, and what does not show in one.

mod libraries;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use resetd::directory::{Directory, DirectoryLimits};
use resetd::domain::caller::Scope;
use resetd::domain::dialect::LoginRadius;
use resetd::domain::directory::DirectorySource;
use resetd::domain::link::{LinkTemplate, ReturnUrls};
use resetd::domain::order::{Errand, Link, News, Order};
use resetd::domain::policy::TenantName;
use resetd::http::{Source, TenantRates};
use resetd::service::{Sending, Users};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{Answer, Options, TestApp};

const KEY: &str = "0b5c9f1e-7a52-4b0e-9a3c-5d1f2e3a4b5c";
const FORGOT_TOKEN: &str = "/identity/v2/manage/account/forgot/token";
const FORGOT_PASSWORD: &str = "/identity/v2/auth/password";
const RESET: &str = "/identity/v2/auth/password/reset";
const RETURN_URL: &str = "https://example.com/resetpassword";

const PEOPLE: &str = "\
[[people]]
username = \"ann\"
email = \"ann@example.net\"
identity_providers = [\"google\", \"facebook\"]

[[people]]
username = \"bob\"
enabled = false

[[people]]
username = \"+15550100\"
";

/// Links as the vendor has them.
fn sending() -> Sending {
    Sending {
        link: LinkTemplate::parse("https://app.example.com/?vtype=reset&vtoken={token}"),
        return_urls: ReturnUrls::parse([RETURN_URL]).unwrap(),
        has_mail: true,
        ..Sending::default()
    }
}

/// A directory of these people.
fn people(folder: &TempDir, are_revealed: bool) -> Users {
    let file = folder.path().join("people.toml");
    fs::write(&file, PEOPLE).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let limits = DirectoryLimits { timeout: Duration::from_secs(1), cache_for: Duration::ZERO };
    let directory = Directory::open(DirectorySource::File(file), limits).unwrap();
    Users { directory, are_revealed }
}

fn start_with(change: impl FnOnce(&mut Options)) -> TestApp {
    TestApp::start_with(|options| {
        options.sending = sending();
        options.tenants = vec!["acme"];
        options.max_body_bytes = 2000;
        options.dialects.loginradius =
            Some(LoginRadius { tenant: TenantName::default(), api_key: KEY.into(), caller: None });
        change(options);
    })
}

/// With a directory, and a caller for those who send no secret.
fn start_with_people(folder: &TempDir) -> TestApp {
    start_with(|options| {
        options.sending.users = Some(people(folder, true));
        options.dialects.loginradius.as_mut().unwrap().caller = Some("all".into());
    })
}

async fn send(app: &TestApp, method: Method, target: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("content-type", "application/json")
        .extension(Source("192.0.2.1".parse().unwrap()));
    app.send(request.body(body.to_string().into()).unwrap()).await
}

fn with_secret(app: &TestApp, path: &str, more: &str) -> String {
    format!("{path}?apikey={KEY}&apisecret={}{more}", app.api_key.expose())
}

async fn forgot_token(app: &TestApp, user: &str, more: &str) -> Answer {
    let target = with_secret(app, FORGOT_TOKEN, more);
    send(app, Method::POST, &target, &json!({ "email": user })).await
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: u64) {
    answer.assert_status(status);
    assert_eq!(answer.json()["ErrorCode"], code, "{}", answer.text);
}

/// What waits to be sent, taken out.
async fn taken(app: &TestApp) -> (Order, Box<Link>) {
    let order = app.service.outbox().next().await.order;
    let Errand::Link(link) = order.errand.clone() else { panic!("{order:?}") };
    (order, link)
}

fn waiting(app: &TestApp) -> u64 {
    app.service.outbox().waiting().iter().map(|waiting| waiting.count).sum()
}

/// Sends what was recorded, with these words put in for their names, and compares whole answers.
async fn replay(app: &TestApp, file: &str, words: &BTreeMap<&str, String>) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dialects/loginradius");
    let text = fs::read_to_string(format!("{folder}/{file}")).unwrap();
    let exchanges: Vec<Value> = serde_json::from_str(&text).unwrap();
    let put_in = |text: &str| {
        let put = |text: String, (name, word): (&&str, &String)| {
            text.replace(&format!("{{{name}}}"), word)
        };
        words.iter().fold(text.to_owned(), put)
    };
    for exchange in exchanges {
        let (asked, wanted) = (&exchange["request"], &exchange["answer"]);
        let mut request = Request::builder()
            .method(asked["method"].as_str().unwrap())
            .uri(put_in(asked["target"].as_str().unwrap()));
        for (name, value) in asked["headers"].as_object().unwrap() {
            request = request.header(name, put_in(value.as_str().unwrap()));
        }
        let body = &asked["body"];
        let body = put_in(&body.as_str().map_or_else(|| body.to_string(), ToOwned::to_owned));
        let answer = app.send(request.body(Body::from(body)).unwrap()).await;
        let mut found = answer.json();
        if let Some(token) = found.get_mut("ForgotToken") {
            assert_eq!(token.as_str().unwrap().split('.').count(), 3);
            *token = "(token)".into();
        }
        let found = json!({ "status": answer.status.as_u16(), "body": found });
        assert_eq!(found, *wanted, "{}", exchange["what"]);
        for (header, wanted) in [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(header), Some(wanted), "{}", exchange["what"]);
        }
        assert!(answer.headers.contains_key("x-request-id"));
        assert_eq!(answer.headers.contains_key("www-authenticate"), answer.status == 401);
    }
}

fn words(app: &TestApp) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("key", KEY.to_owned()),
        ("secret", app.api_key.expose().to_owned()),
        ("other-tenant", app.acting_for("acme").api_key.expose().to_owned()),
        ("redeem-only", app.key_for(Scope::Redeem).to_owned()),
        ("issue-only", app.key_for(Scope::Issue).to_owned()),
    ])
}

#[tokio::test]
async fn every_recorded_request_for_a_token_is_answered_as_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let app = start_with_people(&folder);
    replay(&app, "forgot-token.json", &words(&app)).await;
}

#[tokio::test]
async fn every_recorded_request_for_a_mail_is_answered_as_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let app = start_with_people(&folder);
    replay(&app, "forgot-password.json", &words(&app)).await;
    assert_eq!(waiting(&app), 4);
}

#[tokio::test]
async fn every_recorded_end_of_a_token_is_answered_as_recorded() {
    let app = start_with(|options| {
        options.dialects.loginradius.as_mut().unwrap().caller = Some("all".into());
    });
    let mut words = words(&app);
    words.insert("expired", app.issue("ann").await);
    app.clock.advance(900);
    for name in ["live", "second", "third", "used", "held", "revoked", "spare"] {
        words.insert(name, app.issue("ann").await);
    }
    words.insert("others", app.acting_for("acme").issue("ann").await);
    let live = &words["live"];
    words.insert("forged", format!("{}A{}", &live[..live.len() - 9], &live[live.len() - 8..]));
    let bound = json!({ "username": "ann", "credentialId": "p", "credentialVersion": "1" });
    let bound = app.post("/password-tokens", bound).await.json()["token"].clone();
    words.insert("bound", bound.as_str().unwrap().to_owned());
    app.redeem(&words["used"]).await.assert_status(201);
    let hold = json!({ "token": words["held"], "hold": 60 });
    app.post("/redemptions", hold).await.assert_status(201);
    app.delete(&format!("/password-tokens/{}", words["revoked"])).await.assert_status(204);
    replay(&app, "reset.json", &words).await;
    app.check(&words["spare"]).await.assert_status(200);
}

#[tokio::test]
async fn what_is_answered_and_what_is_mailed_is_one_token() {
    let folder = tempfile::tempdir().unwrap();
    let app = start_with_people(&folder);
    let more = format!("&sendemail=true&resetpasswordurl={RETURN_URL}");
    let answer = forgot_token(&app, "ann", &more).await;
    let token = answer.json()["ForgotToken"].as_str().unwrap().to_owned();
    let (order, link) = taken(&app).await;
    app.clock.advance(60);
    let mailed = app.tenant().prepare(&order, &link).await.unwrap();
    assert_eq!(mailed.to.unwrap().as_str(), "ann@example.net");
    let of_link = mailed.link.expose().strip_prefix(RETURN_URL).unwrap().to_owned();
    assert_eq!(of_link, format!("?vtype=reset&vtoken={}", mailed.token.expose()));
    let answered = app.tenant().check("all", &token).unwrap();
    assert_eq!(answered, mailed.claims);
    app.redeem(&token).await.assert_status(201);
    app.redeem(mailed.token.expose()).await.assert_problem(409, "token_used");
}

#[tokio::test]
async fn a_newer_token_takes_the_place_of_one_that_waits_to_be_mailed() {
    let app = start_with(|options| options.policy.supersede = true);
    let mail = "&sendemail=True";
    let first = forgot_token(&app, "ann@example.net", mail).await.json()["ForgotToken"].clone();
    app.clock.advance(1);
    forgot_token(&app, "ann@example.net", mail).await.assert_status(200);
    let (order, link) = taken(&app).await;
    assert_eq!(app.tenant().prepare(&order, &link).await.unwrap_err().code(), "token_dead");
    let (order, link) = taken(&app).await;
    assert!(app.tenant().prepare(&order, &link).await.is_ok());
    app.check(first.as_str().unwrap()).await.assert_problem(404, "token_revoked");
}

#[tokio::test]
async fn without_a_directory_a_mail_goes_to_the_user_whose_name_is_an_address_and_to_nobody_else() {
    let app = start_with(|_| {});
    let answer = forgot_token(&app, "ann@example.net", "&sendemail=1").await;
    assert_eq!(answer.json()["IdentityProviders"], json!([]));
    let (_, link) = taken(&app).await;
    assert_eq!(link.to.unwrap().as_str(), "ann@example.net");
    assert_refused(&forgot_token(&app, "ann", "&sendemail=true").await, 400, 908);
    forgot_token(&app, "ann", "").await.assert_status(200);
    assert_eq!(waiting(&app), 1, "the one that was taken");
}

#[tokio::test]
async fn webhooks_are_told_of_sending_only_where_the_token_was_told_of_and_of_nothing_where_prevented()
 {
    let app = start_with(|_| {});
    for (more, news) in [("", News::Sending), ("&prevent_webhook=true", News::None)] {
        let more = format!("&sendemail=true{more}");
        forgot_token(&app, "ann@example.net", &more).await.assert_status(200);
        assert_eq!(taken(&app).await.1.news, news);
    }
}

#[tokio::test]
async fn a_service_without_mail_or_links_makes_no_token_that_should_be_mailed() {
    let app = start_with(|options| options.sending = Sending::default());
    let refused = forgot_token(&app, "ann@example.net", "&sendemail=true").await;
    assert_refused(&refused, 403, 909);
    forgot_token(&app, "ann@example.net", "&sendemail=false").await.assert_status(200);
}

#[tokio::test]
async fn where_a_directory_hides_who_is_a_user_nobody_gets_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let app = start_with(|options| options.sending.users = Some(people(&folder, false)));
    for user in ["ann", "bob", "nobody"] {
        for more in ["", "&sendemail=true"] {
            let refused = forgot_token(&app, user, more).await;
            assert_refused(&refused, 403, 909);
            let why = refused.json()["Description"].clone();
            assert_eq!(why, "The directory hides who is a user, so tokens are not given out.");
        }
    }
    assert_eq!(waiting(&app), 0);
}

#[tokio::test]
async fn too_many_tokens_for_a_user_are_refused_whoever_is_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let app = start_with(|options| {
        options.sending.users = Some(people(&folder, true));
        let user_tokens_per_hour = NonZeroU32::new(1);
        options.rates.all = TenantRates { user_tokens_per_hour, ..TenantRates::default() };
    });
    forgot_token(&app, "ann", "").await.assert_status(200);
    assert_refused(&forgot_token(&app, "nobody", "").await, 403, 938);
    for user in ["ann", "nobody"] {
        let refused = forgot_token(&app, user, "").await;
        assert_refused(&refused, 403, 1178);
        assert!(refused.headers.contains_key("retry-after"));
        let target = with_secret(&app, FORGOT_PASSWORD, "");
        let body = json!({ "email": user });
        assert_refused(&send(&app, Method::POST, &target, &body).await, 403, 1122);
    }
}

#[tokio::test]
async fn too_many_requests_of_a_caller_are_refused_with_a_status_that_libraries_know() {
    let app = start_with(|options| {
        let caller_per_minute = NonZeroU32::new(1);
        options.rates.all = TenantRates { caller_per_minute, ..TenantRates::default() };
    });
    forgot_token(&app, "ann", "").await.assert_status(200);
    let refused = forgot_token(&app, "ann", "").await;
    assert_refused(&refused, 429, 429);
    assert!(refused.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn without_a_secret_nothing_is_done_unless_a_caller_is_named_for_it() {
    let app = start_with(|_| {});
    let token = app.issue("ann@example.net").await;
    for (method, path, body) in [
        (Method::POST, FORGOT_TOKEN, json!({ "email": "ann@example.net" })),
        (Method::POST, FORGOT_PASSWORD, json!({ "email": "ann@example.net" })),
        (Method::PUT, RESET, json!({ "resettoken": token, "password": "x" })),
    ] {
        let target = format!("{path}?apikey={KEY}");
        assert_refused(&send(&app, method, &target, &body).await, 400, 1209);
    }
    app.check(&token).await.assert_status(200);
    assert_eq!(waiting(&app), 0);
}

#[tokio::test]
async fn the_caller_that_is_named_may_do_what_it_has_scopes_for_and_never_gives_tokens_to_strangers()
 {
    let named = |name: &str| {
        let name = name.to_owned();
        start_with(|options| {
            options.dialects.loginradius.as_mut().unwrap().caller = Some(name);
        })
    };
    let app = named("redeem");
    let token = app.issue("ann@example.net").await;
    let reset = json!({ "resettoken": token, "password": "x" });
    let ann = json!({ "email": "ann@example.net" });
    let target = |path: &str| format!("{path}?apikey={KEY}");
    let refused = send(&app, Method::POST, &target(FORGOT_PASSWORD), &ann).await;
    assert_refused(&refused, 403, 909);
    send(&app, Method::PUT, &target(RESET), &reset).await.assert_status(200);
    for name in ["check", "gone"] {
        let app = named(name);
        let reset = json!({ "resettoken": app.issue("ann").await, "password": "x" });
        let answer = send(&app, Method::PUT, &target(RESET), &reset).await;
        let (status, code) = if name == "gone" { (401, 902) } else { (403, 909) };
        assert_refused(&answer, status, code);
    }
    let app = named("all");
    let refused = send(&app, Method::POST, &target(FORGOT_TOKEN), &ann).await;
    assert_refused(&refused, 400, 1209);
    // No directory says that there is such a user: whoever has the key could write to anybody.
    let refused = send(&app, Method::POST, &target(FORGOT_PASSWORD), &ann).await;
    assert_refused(&refused, 400, 1209);
    assert_eq!(waiting(&app), 0);
}

#[tokio::test]
async fn strangers_are_limited_by_address_and_a_live_token_is_always_heard() {
    let folder = tempfile::tempdir().unwrap();
    let app = start_with(|options| {
        options.sending.users = Some(people(&folder, true));
        options.dialects.loginradius.as_mut().unwrap().caller = Some("all".into());
        options.rates.holder_revocations_per_minute = NonZeroU32::MIN;
    });
    let target = |path: &str| format!("{path}?apikey={KEY}");
    let reset = |token: &str| json!({ "resettoken": token, "password": "x" });
    let guess = reset("guess");
    assert_refused(&send(&app, Method::PUT, &target(RESET), &guess).await, 403, 1063);
    assert_refused(&send(&app, Method::PUT, &target(RESET), &guess).await, 429, 429);
    let ann = json!({ "email": "ann" });
    assert_refused(&send(&app, Method::POST, &target(FORGOT_PASSWORD), &ann).await, 429, 429);
    let issued = forgot_token(&app, "ann", "").await.json()["ForgotToken"].clone();
    let live = reset(issued.as_str().unwrap());
    send(&app, Method::PUT, &target(RESET), &live).await.assert_status(200);
    // Whoever shows a secret is counted by it.
    let known = with_secret(&app, RESET, "");
    assert_refused(&send(&app, Method::PUT, &known, &guess).await, 403, 1063);
}

#[tokio::test]
async fn of_a_token_that_is_spent_at_once_by_many_one_is_told_that_it_is_done() {
    let app = start_with(|_| {});
    let issued = forgot_token(&app, "ann", "").await.json()["ForgotToken"].clone();
    let (target, body) = (with_secret(&app, RESET, ""), json!({ "resettoken": issued }));
    let put = || send(&app, Method::PUT, &target, &body);
    let (a, b, c, d) = tokio::join!(put(), put(), put(), put());
    let mut statuses = [a, b, c, d].map(|answer| answer.status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403, 403, 403]);
}

#[tokio::test]
async fn where_it_is_off_there_is_nothing_of_it() {
    let app = TestApp::start();
    let answer = app.post(FORGOT_TOKEN, json!({ "email": "ann" })).await;
    answer.assert_problem(404, "not_found");
}
