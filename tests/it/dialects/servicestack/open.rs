//! Where anybody may have a link sent: to users of the directory only, so often, and without learning who is one.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use resetd::directory::{Directory, DirectoryLimits};
use resetd::domain::caller::Scope;
use resetd::domain::directory::DirectorySource;
use resetd::http::Source;
use resetd::service::Users;
use tempfile::TempDir;

use super::{ROUTE, ask, assert_ours, start_with, waiting};
use crate::app::{Answer, Options, TestApp};

/// With a directory in which there is ann.
fn start_open(change: impl FnOnce(&mut Options)) -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.toml");
    fs::write(&file, "[[people]]\nusername = \"ann\"\nemail = \"ann@example.com\"\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let limits =
        DirectoryLimits { timeout: Duration::from_secs(3), cache_for: Duration::from_secs(0) };
    let directory = Directory::open(DirectorySource::File(file), limits).unwrap();
    let app = start_with(|options, dialect| {
        options.sending.users = Some(Users { directory, are_revealed: false });
        dialect.is_public = true;
        change(options);
    });
    (app, folder)
}

async fn get(app: &TestApp, user: &str, from: &str) -> Answer {
    let path = format!("/api/account/{user}/passwordresettoken");
    let request = Request::get(path).extension(Source(from.parse().unwrap()));
    app.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn of_a_hundred_gets_by_one_address_so_many_send_as_its_limit_says() {
    let (app, _folder) = start_open(|options| {
        options.rates.holder_revocations_per_minute = NonZeroU32::new(5).unwrap();
    });
    let mut sent = 0;
    for _ in 0..100 {
        let answer = get(&app, "ann", "192.0.2.1").await;
        assert_ours(&answer);
        match answer.status.as_u16() {
            200 => sent += 1,
            429 => {
                assert_eq!(answer.json()["ResponseStatus"]["ErrorCode"], "TooManyRequests");
                assert!(answer.header("retry-after").is_some());
            }
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert!((5..10).contains(&sent), "{sent}");
    assert_eq!(waiting(&app), sent);
    get(&app, "ann", "192.0.2.2").await.assert_status(200);
}

#[tokio::test]
async fn a_request_is_counted_once_for_its_address() {
    let (app, _folder) = start_open(|options| options.rates.source_per_minute = NonZeroU32::new(3));
    for status in [200, 200, 200, 429] {
        get(&app, "ann", "192.0.2.1").await.assert_status(status);
    }
}

#[tokio::test]
async fn known_unknown_and_too_often_asked_for_get_one_answer() {
    let (app, _folder) =
        start_open(|options| options.rates.all.user_tokens_per_hour = NonZeroU32::new(1));
    for user in ["ann", "nobody", "ann", "ann"] {
        let answer = get(&app, user, "192.0.2.1").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "{}"), "{user}");
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        let wanted = [
            "cache-control",
            "content-length",
            "content-security-policy",
            "content-type",
            "ratelimit",
            "ratelimit-policy",
            "referrer-policy",
            "vary",
            "x-content-type-options",
            "x-request-id",
        ];
        let wanted = wanted.iter().filter(|name| **name != "content-length");
        names.retain(|name| name != "content-length");
        assert!(names.iter().eq(wanted), "{names:?}");
    }
}

#[tokio::test]
async fn who_says_who_they_are_must_be_known_and_a_token_is_spent_by_callers_only() {
    let (app, _folder) = start_open(|_| {});
    ask(&app, "rsk_unknown", ROUTE, "text/json", "").await.assert_status(401);
    ask(&app, app.key_for(Scope::Check), ROUTE, "text/json", "").await.assert_status(403);
    ask(&app, app.key_for(Scope::Deliver), ROUTE, "text/json", "").await.assert_status(200);
    let body = "{\"Token\":\"x\",\"NewPassword\":\"a\",\"ConfirmPassword\":\"a\"}";
    let reset = ask(&app, "", "/api/PasswordReset", "application/json", body).await;
    reset.assert_status(401);
}

#[tokio::test]
async fn a_preflight_of_a_browser_sends_nothing() {
    let (app, _folder) = start_open(|_| {});
    let request = Request::options(ROUTE).header("access-control-request-method", "POST");
    let answer = app.send(request.body(Body::empty()).unwrap()).await;
    answer.assert_status(204);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
    assert_eq!(waiting(&app), 0);
}
