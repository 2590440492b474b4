//! Paths, methods and headers: what is there, what is not, and what every answer has.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use resetd::domain::caller::Scope;
use resetd::domain::keyring::Keyring;
use serde_json::json;

use super::{JSON, OPEN, Silence, ask, assert_all_alike, but_for_its_id, forged, post, send};
use crate::app::{ISSUER, TestApp};

#[tokio::test]
async fn head_is_get_without_its_body() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let mut paths = OPEN.map(String::from).to_vec();
    paths.extend([&token, &forged(&token)].map(|token| format!("/password-tokens/{token}")));
    for path in &paths {
        let (head, get) = (ask(&app, "HEAD", path, &[]).await, app.get(path).await);
        assert_eq!(head.text, "", "{path}");
        let (head, get) = (but_for_its_id(&head), but_for_its_id(&get));
        assert_eq!((head.0, head.1), (get.0, get.1), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_there_is_not_found_whatever_trick_it_is() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let twice = token.replace('.', "%252E");
    let tricks = [
        "/",
        "/keys",
        "/config.toml",
        "/password-tokens/",
        "/health",
        "/Health/live",
        "//health/live",
        "/health//live",
        "/health/live/",
        "/health/live;x",
        "/health/%6cive",
        "/health/live%00",
        "/health/live%20",
        "/./health/live",
        "/x/../health/live",
        "/health/ready/../live",
        "/x/%2e%2e/health/live",
        "/..%2fhealth%2flive",
        "/..%5chealth",
        "/.well-known/..%2f..%2fetc%2fpasswd",
        "/.well-known/jwks.json/..",
        "/.well-known/jwks%2ejson",
        "/password-tokens/..",
        "/password-tokens/%2e%2e",
        "/password-tokens/%2e",
        "/password-tokens/%00",
        "/password-tokens/../health/live",
        "/password-tokens/..%2f..%2fhealth%2flive",
        "/password-tokens/%c0%ae%c0%ae%c0%af",
        "/password-tokens/%252E",
        "/password-tokens/%",
        "/password-tokens/%zz",
        "/password-tokens/%ff%fe",
        "/password-tokens/%0d%0aset-cookie:a=b",
    ]
    .map(String::from);
    let around = [
        format!("/password-tokens/{twice}"),
        format!("/password-tokens/{token}/"),
        format!("/password-tokens/{token}/x"),
        format!("/password-tokens/{token}%00"),
        format!("/password-tokens/{token};x"),
        format!("/password-tokens/{token}%2f"),
        format!("/password-tokens//{token}"),
        format!("/password-tokens;x/{token}"),
        format!("/PASSWORD-TOKENS/{token}"),
        format!("/x/../password-tokens/{token}"),
    ];
    for path in tricks.iter().chain(&around) {
        for method in ["GET", "DELETE"] {
            let answer = ask(&app, method, path, &[]).await;
            let last = path.strip_prefix("/password-tokens/").unwrap_or_default();
            let is_token = !last.is_empty() && !last.contains('/');
            let code = if is_token { "token_unknown" } else { "not_found" };
            answer.assert_problem(404, code);
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    assert_eq!(app.check(&token.replace('.', "%2E")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_method_is_told_exactly_the_right_ones_and_does_nothing() {
    const METHODS: [&str; 11] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PURGE",
        "get",
    ];
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let one = format!("/password-tokens/{token}");
    let mut routes = vec![
        ("/password-tokens", "POST"),
        (&one, "GET,HEAD,DELETE"),
        ("/redemptions", "POST"),
        ("/redemptions/x/commit", "POST"),
        ("/redemptions/x/cancel", "POST"),
        ("/revocations", "POST"),
    ];
    routes.extend(OPEN.map(|path| (path, "GET,HEAD")));
    for (path, allowed) in routes {
        for method in METHODS {
            if allowed.split(',').any(|allowed| allowed == method) {
                continue;
            }
            let answer = ask(&app, method, path, &[]).await;
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
            if method == "HEAD" {
                assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
            } else {
                answer.assert_problem(405, "method_not_allowed");
            }
        }
    }
    assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn no_header_makes_one_method_another() {
    let app = TestApp::start();
    let path = format!("/password-tokens/{}", app.issue("alice").await);
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        for method in ["GET", "HEAD"] {
            ask(&app, method, &path, &[(name, "DELETE")]).await;
        }
        let answer =
            ask(&app, "POST", &format!("{path}?_method=DELETE"), &[(name, "DELETE")]).await;
        answer.assert_problem(405, "method_not_allowed");
    }
    assert_eq!(app.get(&path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_target_and_headers_have_limits_that_are_told_apart() {
    const LIMIT: usize = 16 * 1024;
    let app = TestApp::start();
    let prefix = "/password-tokens/";
    let path = |length: usize| prefix.to_owned() + &"a".repeat(length - prefix.len());
    ask(&app, "GET", &path(LIMIT), &[]).await.assert_problem(404, "token_unknown");
    ask(&app, "GET", &path(LIMIT + 1), &[]).await.assert_problem(414, "target_too_long");
    let query = format!("/health/live?{}", "a".repeat(LIMIT));
    ask(&app, "GET", &query, &[]).await.assert_problem(414, "target_too_long");

    let long = "a".repeat(LIMIT);
    let answer = ask(&app, "GET", "/health/live", &[("x-long", &long[..LIMIT - 400])]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let many: Vec<_> = (0..200).map(|_| ("x-many", &long[..80])).collect();
    for headers in [&[("x-long", long.as_str())], many.as_slice()] {
        let answer = ask(&app, "GET", "/health/live", headers).await;
        answer.assert_problem(431, "headers_too_large");
    }
}

#[tokio::test]
async fn two_hosts_or_one_that_is_none_are_refused() {
    let app = TestApp::start();
    let cases: [&[&str]; 7] = [
        &["reset.example.com", "reset.example.com"],
        &["reset.example.com", "evil.example.com"],
        &[""],
        &["user@reset.example.com"],
        &["reset.example.com/path"],
        &["reset example com"],
        &["reset.example.com:80:80"],
    ];
    for hosts in cases {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let answer = send(&app, "GET", "/health/live", &headers, Body::empty()).await;
        answer.assert_problem(400, "bad_host");
    }
    for host in ["reset.example.com", "127.0.0.1:8080", "[::1]:8080", "localhost"] {
        let answer = send(&app, "GET", "/health/live", &[("host", host)], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn every_answer_forbids_to_keep_it_to_guess_its_type_and_to_name_its_address() {
    let app = TestApp::start_with(|options| options.body_timeout = Duration::from_millis(20));
    let key = app.api_key.expose();
    let [token, used, revoked] = [app.issue("a").await, app.issue("b").await, app.issue("c").await];
    let path = format!("/password-tokens/{token}");
    let good = json!({ "username": "alice" }).to_string();
    let mut answers = vec![
        post(&app, "/password-tokens", good.clone()).await,
        app.get(&path).await,
        app.delete(&format!("/password-tokens/{revoked}")).await,
        post(&app, "/password-tokens", "{").await,
        send(&app, "GET", &path, &[], Body::empty()).await,
        send(&app, "GET", &path, &[("x-api-key", app.key_for(Scope::Issue))], Body::empty()).await,
        app.get("/nothing").await,
        ask(&app, "TRACE", "/redemptions", &[]).await,
        post(&app, "/password-tokens", Body::new(Silence)).await,
        app.redeem(&revoked).await,
        post(&app, "/password-tokens", " ".repeat(70_000)).await,
        app.get(&format!("/{}", "a".repeat(20_000))).await,
        send(&app, "POST", "/redemptions", &[("x-api-key", key)], good.clone()).await,
        post(&app, "/redemptions", good.clone()).await,
        ask(&app, "GET", &path, &[("x-long", &"a".repeat(20_000))]).await,
        app.get("/health/live").await,
        app.get("/health/ready").await,
    ];
    answers.extend([app.redeem(&used).await, app.redeem(&used).await]);
    app.tenant().replace_keyring(Keyring::new(Vec::new(), 0)).unwrap();
    answers.extend([post(&app, "/password-tokens", good).await, app.get("/health/ready").await]);
    let seen: BTreeSet<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    let all = [200, 201, 204, 400, 401, 403, 404, 405, 408, 409, 410, 413, 414, 415, 422, 431, 503];
    assert_eq!(seen, BTreeSet::from(all));
    for answer in &answers {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{} {}", answer.status, answer.text);
        }
        for name in ["server", "x-powered-by", "via", "access-control-allow-origin"] {
            assert_eq!(answer.header(name), None, "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_read_the_two_public_documents_and_nothing_else() {
    let app = TestApp::start();
    let one = format!("/password-tokens/{}", app.issue("alice").await);
    let origin = ("origin", "https://evil.example.com");
    let wish = ("access-control-request-method", "POST");
    let paths = [&OPEN[..], &[&one, "/password-tokens", "/redemptions", "/nothing"]].concat();
    for path in paths {
        for method in ["GET", "OPTIONS"] {
            let answer = ask(&app, method, path, &[origin, wish]).await;
            let is_public = method == "GET" && path.starts_with("/.well-known/");
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, is_public.then_some("*"), "{method} {path}");
            let names =
                answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(names.count(), usize::from(is_public), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn where_a_request_says_it_comes_from_and_goes_to_changes_nothing() {
    let app = TestApp::start();
    let one = format!("/password-tokens/{}", app.issue("alice").await);
    let hostile = [
        ("host", "evil.example.com"),
        ("x-forwarded-host", "evil.example.com"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-uri", "/health/live"),
        ("x-original-url", "/health/live"),
        ("x-rewrite-url", "/health/live"),
        ("forwarded", "host=evil.example.com;proto=http"),
        ("origin", "https://evil.example.com"),
        ("referer", "https://evil.example.com/"),
        ("x-request-id", "evil"),
        ("accept", "text/html"),
        ("range", "bytes=0-1"),
        ("cookie", "key=evil"),
    ];
    let paths = [&OPEN[..], &[&one, "/nothing", "/password-tokens/junk"]].concat();
    for path in paths {
        let mut answers = vec![ask(&app, "GET", path, &[]).await];
        for header in hostile {
            answers.push(ask(&app, "GET", path, &[header]).await);
        }
        answers.push(ask(&app, "GET", path, &hostile).await);
        assert_all_alike(&answers);
    }
    let headers = [&[("x-api-key", app.api_key.expose()), JSON], &hostile[..]].concat();
    let body = json!({ "username": "alice" }).to_string();
    let issued = send(&app, "POST", "/password-tokens", &headers, body).await;
    let location = issued.header("location").unwrap();
    assert!(location.starts_with(&format!("{ISSUER}/password-tokens/")));
    assert_eq!(issued.json()["_links"][0]["href"], location);
}
