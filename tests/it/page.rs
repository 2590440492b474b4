//! The page for people: what it is made of, what it tells whoever holds a token, and that it does
//! nothing by itself. `page/seen.rs` looks at it in a browser.

mod browser;
mod seen;

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::{HeaderName, Request, StatusCode, header};
use resetd::audit::{Rotation, Sink, Trail};
use resetd::domain::link::LinkTemplate;
use resetd::domain::policy::TenantName;
use resetd::domain::time::to_rfc3339;
use resetd::http::{Page, Pages, Source};
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp};

const CONTINUE: &str = "https://app.example.com/new-password#{token}";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// All that a page has, and how it is asked for.
const ROUTES: [(&str, &str); 4] =
    [("GET", ""), ("GET", "/page.js"), ("GET", "/page.css"), ("POST", "/check")];

/// Pages for these tenants.
fn pages(names: &[&str], shown: Option<&str>) -> Pages {
    let page = |name: &&str| {
        let url = LinkTemplate::parse(CONTINUE).unwrap();
        (TenantName::parse(name).unwrap(), Page::new(url, shown).unwrap())
    };
    Pages::new(names.iter().map(page))
}

fn start_with(change: impl FnOnce(&mut Options)) -> TestApp {
    TestApp::start_with(|options| {
        options.pages = pages(&["default"], Some("Example"));
        change(options);
    })
}

fn start() -> TestApp {
    start_with(|_| {})
}

/// Sends exactly this, from this address, without a key.
async fn send(
    app: &TestApp,
    method: &str,
    path: &str,
    headers: &[(HeaderName, &str)],
    from: &str,
    body: String,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let source = Source(from.parse().unwrap());
    app.send(request.extension(source).body(Body::from(body)).unwrap()).await
}

async fn get(app: &TestApp, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
    send(app, "GET", path, headers, "192.0.2.1", String::new()).await
}

async fn post(app: &TestApp, path: &str, body: Value) -> Answer {
    post_from(app, path, body, "192.0.2.1").await
}

async fn post_from(app: &TestApp, path: &str, body: Value, from: &str) -> Answer {
    let json = [(header::CONTENT_TYPE, "application/json")];
    send(app, "POST", path, &json, from, body.to_string()).await
}

async fn check(app: &TestApp, token: &str) -> Answer {
    post(app, "/reset/check", json!({ "token": token })).await
}

fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    format!("{signed}.{}", signature.chars().rev().collect::<String>())
}

#[tokio::test]
async fn there_is_no_page_until_it_is_turned_on_and_none_of_another_tenant() {
    let off = TestApp::start_with(|options| options.tenants = vec!["acme"]);
    let on = start_with(|options| options.tenants = vec!["acme"]);
    for (method, path) in ROUTES {
        for base in ["/reset", "/tenants/default/reset", "/tenants/acme/reset"] {
            let path = format!("{base}{path}");
            let ask = async |app| {
                let json = [(header::CONTENT_TYPE, "application/json")];
                send(app, method, &path, &json, "192.0.2.1", "{\"token\":\"a\"}".into()).await
            };
            ask(&off).await.assert_problem(404, "not_found");
            let answer = ask(&on).await;
            if base.contains("acme") {
                answer.assert_problem(404, "not_found");
            } else if method == "GET" {
                assert_eq!(answer.status, StatusCode::OK, "{path}");
            } else {
                answer.assert_problem(404, "token_unknown");
            }
        }
    }
    for path in ["/reset/", "/reset/page.html", "/reset/..", "/tenants/beta/reset"] {
        get(&on, path, &[]).await.assert_problem(404, "not_found");
    }
    let token = on.acting_for("acme").issue("alice").await;
    let answer = post(&on, "/tenants/acme/revocations", json!({ "token": token })).await;
    answer.assert_problem(404, "not_found");
}

#[tokio::test]
async fn the_document_has_one_script_one_style_sheet_and_a_policy_that_allows_no_more() {
    let app = start();
    let page = get(&app, "/reset", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", POLICY),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("vary", "accept-language"),
        ("content-language", "en"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    assert_eq!(page.header("access-control-allow-origin"), None);
    let html = page.text.to_lowercase();
    assert_eq!(html.matches("<script").count(), 1);
    assert_eq!(html.matches("<link").count(), 1);
    assert!(html.contains("<script src=\"reset/page.js\" defer></script>"));
    for inline in ["style=", " on", "javascript:", "<form", "<style", "<img", "<a ", "://"] {
        let is_attribute = inline == " on"
            && !html.split(" on").skip(1).any(|rest| {
                let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
                rest[word.len()..].starts_with('=')
            });
        assert!(is_attribute || !html.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn script_and_style_sheet_are_asked_for_again_and_answered_in_short_if_they_are_the_same() {
    let app = start();
    for (path, media_type) in [
        ("/reset/page.js", "text/javascript; charset=utf-8"),
        ("/reset/page.css", "text/css; charset=utf-8"),
    ] {
        let answer = get(&app, path, &[]).await;
        assert_eq!(answer.header("content-type"), Some(media_type));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("content-security-policy"), Some(OTHERS));
        let tag = answer.header("etag").unwrap();
        let again = get(&app, path, &[(header::IF_NONE_MATCH, tag)]).await;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(again.header("cache-control"), Some("no-cache"));
    }
}

/// What every other answer has.
const OTHERS: &str = "default-src 'none'; frame-ancestors 'none'";

#[tokio::test]
async fn every_other_answer_keeps_its_headers() {
    let app = start();
    let token = app.issue("alice").await;
    let mut answers = vec![
        check(&app, &token).await,
        check(&app, "junk").await,
        app.check(&token).await,
        post(&app, "/revocations", json!({ "token": "junk" })).await,
        send(&app, "DELETE", "/reset", &[], "192.0.2.1", String::new()).await,
    ];
    for path in ["/health/live", "/.well-known/jwks.json", "/reset/x", "/metrics", "/admin/keys"] {
        answers.push(app.get(path).await);
    }
    for answer in answers {
        for (name, value) in [
            ("content-security-policy", OTHERS),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{}", answer.text);
        }
        assert_eq!(answer.header("vary"), None, "{}", answer.text);
    }
}

#[tokio::test]
async fn it_speaks_the_language_that_its_reader_prefers_of_those_it_knows() {
    let app = start();
    for (accepted, lang, title) in [
        ("", "en", "<title>Set a new password – Example</title>"),
        ("de-CH, en;q=0.5", "de", "<title>Neues Passwort setzen – Example</title>"),
        ("fr, de;q=0.3", "de", "<title>Neues Passwort setzen – Example</title>"),
        ("fr", "en", "<title>Set a new password – Example</title>"),
        ("de;q=0, en", "en", "<title>Set a new password – Example</title>"),
    ] {
        let page = get(&app, "/reset", &[(header::ACCEPT_LANGUAGE, accepted)]).await;
        assert!(page.text.contains(&format!("<html lang=\"{lang}\">")), "{accepted}");
        assert!(page.text.contains(title), "{accepted}");
        assert_eq!(page.header("content-language"), Some(lang));
    }
}

#[tokio::test]
async fn a_name_is_a_text_and_no_part_of_the_document() {
    let name = "<script>alert('1')</script> & \"Sons\"";
    let app = start_with(|options| options.pages = pages(&["default"], Some(name)));
    let page = get(&app, "/reset", &[]).await.text;
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("&lt;script&gt;alert("), "{page}");
    let app = start_with(|options| options.pages = pages(&["default"], None));
    let page = get(&app, "/reset", &[]).await.text;
    assert!(!page.contains("<header") && page.contains("<title>Set a new password</title>"));
}

#[tokio::test]
async fn whoever_holds_a_token_learns_that_it_is_live_and_where_it_leads_to() {
    let app = start();
    let token = app.issue("alice@example.com").await;
    let answer = check(&app, &token).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let wanted = json!({
        "live": true,
        "username": "a***@e***.com",
        "expiredTime": to_rfc3339(app.now().plus(900)),
        "continueUrl": format!("https://app.example.com/new-password#{token}"),
    });
    assert_eq!(answer.json(), wanted);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn no_number_of_checks_has_any_effect() {
    let app = start();
    let (token, spent) = (app.issue("alice").await, app.issue("bob").await);
    app.redeem(&spent).await;
    // Without the line that says when the key was used which asks for them.
    let counted = async || {
        app.service.tidy();
        let text = app.get("/metrics").await.text;
        let lines = text.lines().filter(|line| !line.contains("last_used")).map(String::from);
        lines.collect::<BTreeSet<_>>()
    };
    let before = counted().await;
    for _ in 0..100 {
        assert_eq!(check(&app, &token).await.status, StatusCode::OK);
        check(&app, &spent).await.assert_problem(404, "token_used");
        get(&app, &format!("/reset?token={token}"), &[]).await;
    }
    assert_eq!(counted().await, before);
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_is_told_by_its_code() {
    let app = start();
    let [live, expired, used, revoked, held] = [
        app.issue("a").await,
        app.issue("b").await,
        app.issue("c").await,
        app.issue("d").await,
        app.issue("e").await,
    ];
    check(&app, &forged(&live)).await.assert_problem(404, "token_unknown");
    check(&app, "").await.assert_problem(404, "token_unknown");
    app.redeem(&used).await;
    app.post("/revocations", json!({ "token": revoked })).await;
    app.post("/redemptions", json!({ "token": held, "hold": 60 })).await;
    for (token, code) in [(&used, "token_used"), (&revoked, "token_revoked"), (&held, "token_held")]
    {
        check(&app, token).await.assert_problem(404, code);
    }
    app.clock.advance(900);
    check(&app, &expired).await.assert_problem(404, "token_expired");
    let another = app.another(|options| options.pages = pages(&["default"], None));
    let older = app.issue("f").await;
    check(&another, &older).await.assert_problem(404, "token_predates_start");
}

#[tokio::test]
async fn a_check_is_a_json_object_with_a_token_and_nothing_else() {
    let app = start();
    for body in [json!({}), json!({ "token": 1 }), json!({ "token": "a", "username": "alice" })] {
        post(&app, "/reset/check", body).await.assert_problem(422, "invalid_request");
    }
    let form = [(header::CONTENT_TYPE, "application/x-www-form-urlencoded")];
    let answer = send(&app, "POST", "/reset/check", &form, "192.0.2.1", "token=a".into()).await;
    answer.assert_problem(415, "unsupported_media_type");
    for (path, allowed) in [("/reset/check", "POST"), ("/reset", "GET,HEAD")] {
        let answer = send(&app, "OPTIONS", path, &[], "192.0.2.1", String::new()).await;
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allowed));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let head = send(&app, "HEAD", "/reset", &[], "192.0.2.1", String::new()).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn a_live_token_is_always_heard_and_everything_else_so_often_from_one_address() {
    let app = start_with(|options| {
        options.rates.holder_revocations_per_minute = NonZeroU32::new(2).unwrap();
    });
    let [live, mine, held] = [app.issue("a").await, app.issue("b").await, app.issue("c").await];
    app.post("/redemptions", json!({ "token": held, "hold": 60 })).await.assert_status(201);
    check(&app, "junk").await.assert_problem(404, "token_unknown");
    post(&app, "/revocations", json!({ "token": "junk" })).await.assert_status(201);
    for path in ["/reset/check", "/tenants/default/revocations"] {
        let answer = post(&app, path, json!({ "token": "junk" })).await;
        answer.assert_problem(429, "rate_limited");
        assert!(answer.header("retry-after").is_some());
    }
    for _ in 0..5 {
        check(&app, &live).await.assert_status(200);
        // It can still be killed.
        check(&app, &held).await.assert_problem(404, "token_held");
    }
    let elsewhere = post_from(&app, "/reset/check", json!({ "token": "junk" }), "192.0.2.2").await;
    elsewhere.assert_problem(404, "token_unknown");
    for (path, token) in [
        ("/revocations", &live),
        ("/tenants/default/revocations", &mine),
        ("/tenants/default/revocations", &held),
    ] {
        post(&app, path, json!({ "token": token })).await.assert_status(201);
        app.check(token).await.assert_problem(404, "token_revoked");
        post(&app, path, json!({ "token": token })).await.assert_problem(429, "rate_limited");
    }
}

#[tokio::test]
async fn an_address_that_has_asked_as_often_as_it_may_has_the_page_and_is_heard_with_a_live_token()
{
    let app = start_with(|options| options.rates.source_per_minute = NonZeroU32::new(2));
    // Callers come from elsewhere here.
    let token = app.issue("alice").await;
    check(&app, "junk").await.assert_problem(404, "token_unknown");
    post(&app, "/reset/check", json!({})).await.assert_problem(422, "invalid_request");
    for path in ["/reset/check", "/revocations", "/tenants/default/revocations"] {
        for body in [json!({ "token": "junk" }), json!({})] {
            post(&app, path, body).await.assert_problem(429, "rate_limited");
        }
    }
    for path in ["/reset", "/reset/page.js", "/reset/page.css"] {
        get(&app, path, &[]).await.assert_status(200);
    }
    check(&app, &token).await.assert_status(200);
    let other = app.issue("bob").await;
    for (path, token) in [("/revocations", &other), ("/tenants/default/revocations", &token)] {
        post(&app, path, json!({ "token": token })).await.assert_status(201);
    }
    check(&app, &token).await.assert_problem(429, "rate_limited");
}

#[tokio::test]
async fn each_page_is_about_the_tokens_of_its_own_tenant() {
    for shares in [false, true] {
        let app = start_with(|options| {
            options.pages = pages(&["default", "acme"], None);
            let names = if shares { &mut options.sharers } else { &mut options.tenants };
            *names = vec!["acme"];
        });
        let acme = app.acting_for("acme");
        let (mine, theirs) = (app.issue("alice").await, acme.issue("alice").await);
        let ask = async |path: &str, token: &str| post(&app, path, json!({ "token": token })).await;
        let of_acme = ask("/tenants/acme/reset/check", &theirs).await;
        assert_eq!(of_acme.json()["continueUrl"], CONTINUE.replace("{token}", &theirs));
        ask("/reset/check", &theirs).await.assert_problem(404, "token_unknown");
        ask("/tenants/acme/reset/check", &mine).await.assert_problem(404, "token_unknown");

        let answer = ask("/tenants/acme/revocations", &mine).await;
        assert_eq!(
            (answer.status, answer.json()["revoked"].as_str()),
            (StatusCode::CREATED, Some("token"))
        );
        assert_eq!(app.check(&mine).await.status, StatusCode::OK);
        assert_eq!(ask("/tenants/acme/revocations", &theirs).await.status, StatusCode::CREATED);
        acme.check(&theirs).await.assert_problem(404, "token_revoked");
    }
}

#[tokio::test]
async fn a_check_by_a_holder_is_in_the_audit_trail_with_its_tenant_and_without_a_caller() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { bytes: 1 << 20, keep: 0 };
    let sink = Sink::File(Trail::open(folder.path(), rotation).unwrap());
    let app = start_with(|options| {
        options.audit = sink;
        options.rates.holder_revocations_per_minute = NonZeroU32::new(3).unwrap();
    });
    let token = app.issue("alice@example.com").await;
    check(&app, &token).await;
    check(&app, &forged(&token)).await;
    app.redeem(&token).await;
    check(&app, &token).await;
    for token in [&token, "junk"] {
        post(&app, "/tenants/default/revocations", json!({ "token": token })).await;
    }
    for path in ["/reset/check", "/tenants/default/revocations"] {
        post(&app, path, json!({})).await;
    }
    check(&app, "junk").await;
    app.running.audit().stop();
    let lines = crate::audit::lines(folder.path());
    let of =
        |action: &str| lines.iter().filter(|line| line["action"] == action).collect::<Vec<_>>();
    let outcomes: Vec<_> = of("check").iter().map(|line| line["outcome"].clone()).collect();
    let wanted = ["ok", "token_unknown", "token_used", "invalid_request", "rate_limited"];
    assert_eq!(outcomes, wanted);
    for line in of("check").iter().chain(&of("revoke")) {
        assert_eq!((&line["tenant"], &line["caller"]), (&json!("default"), &Value::Null), "{line}");
        assert_eq!(line["source"], "192.0.2.1");
    }
    assert_eq!(of("check")[0]["username"], "a***@e***.com");
    let outcomes: Vec<_> = of("revoke").iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ok", "rate_limited", "invalid_request"]);
    let text = Value::from(lines.clone()).to_string();
    assert!(!text.contains(token.rsplit('.').next().unwrap()), "{text}");
}
