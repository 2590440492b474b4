//! Rebilly's password tokens. What its SDKs send, and what they get for it, is written down in
//! `tests/fixtures/dialects/rebilly/`; the SDK for JavaScript meets the real program below.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd::audit::{Rotation, Sink, Trail};
use resetd::directory::{Directory, DirectoryLimits};
use resetd::domain::caller::Scope;
use resetd::domain::dialect::Rebilly;
use resetd::domain::directory::DirectorySource;
use resetd::domain::policy::TenantName;
use resetd::http::Source;
use resetd::service::Users;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{Answer, Options, TestApp};
use crate::audit::lines;
use crate::interop::tools::Tools;
use crate::server::{PATIENCE, Server, end_of, run, stderr, stdout};

const USERS: &str = "\
username,credential_id,enabled
ann,ann-password,true
bob,,false
";

/// The headers that a fixture has, besides those that begin with `x-ratelimit`.
const SHOWN: [&str; 5] = ["content-type", "allow", "location", "retry-after", "www-authenticate"];

/// An app that speaks Rebilly with the callers of the default tenant.
fn start_with(change: impl FnOnce(&mut Options)) -> TestApp {
    TestApp::start_with(|options| {
        let tenant = TenantName::default();
        options.dialects.rebilly = Some(Rebilly { tenant, takes_all_callers: false });
        options.tenants = vec!["acme"];
        change(options);
    })
}

/// A directory of users whose callers may learn of them, or not.
fn users(folder: &TempDir, are_revealed: bool) -> Users {
    let file = folder.path().join("users.csv");
    fs::write(&file, USERS).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let limits = DirectoryLimits { timeout: PATIENCE, cache_for: Duration::ZERO };
    let directory = Directory::open(DirectorySource::File(file), limits).unwrap();
    Users { directory, are_revealed }
}

/// The app that a fixture wants.
fn start(setup: &str, folder: &TempDir) -> TestApp {
    start_with(|options| match setup {
        "plain" => {}
        "hidden" => options.sending.users = Some(users(folder, false)),
        "revealed" => options.sending.users = Some(users(folder, true)),
        "limited" => options.rates.all.user_tokens_per_hour = NonZeroU32::new(1),
        "flooded" => options.rates.source_per_minute = NonZeroU32::new(2),
        "all callers" => {
            options.dialects.rebilly.as_mut().unwrap().takes_all_callers = true;
        }
        other => panic!("no setup is called {other}"),
    })
}

/// What stands for what is different in every run.
struct Names<'a> {
    app: &'a TestApp,
    token: String,
}

impl Names<'_> {
    fn filled_in(&self, text: &str) -> String {
        let acme = self.app.acting_for("acme");
        let key = |scope| self.app.key_for(scope);
        let mut parts: Vec<_> = self.token.split('.').collect();
        parts.resize(3, "x");
        let reversed: String = parts[2].chars().rev().collect();
        let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "typ": "JWT" }).to_string());
        [
            ("<key>", self.app.api_key.expose().to_owned()),
            ("<key of issue>", key(Scope::Issue).to_owned()),
            ("<key of check>", key(Scope::Check).to_owned()),
            ("<key of acme>", acme.api_key.expose().to_owned()),
            ("<token>", self.token.clone()),
            ("<forged>", format!("{}.{}.{reversed}", parts[0], parts[1])),
            ("<unsigned>", format!("{none}.{}.", parts[1])),
            ("<two parts>", format!("{}.{}", parts[0], parts[1])),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// An answer as a fixture has it: its status, headers and body.
    fn shown(&mut self, answer: &Answer) -> Value {
        if answer.status == StatusCode::CREATED {
            answer.json()["token"].as_str().unwrap().clone_into(&mut self.token);
        }
        let id = answer.header("x-request-id").unwrap();
        let masked = |text: &str| {
            let text = text.replace(id, "<request>");
            if self.token.is_empty() { text } else { text.replace(&self.token, "<token>") }
        };
        let mut headers = serde_json::Map::new();
        for (name, value) in &answer.headers {
            let name = name.as_str();
            if SHOWN.contains(&name) || name.starts_with("x-ratelimit") {
                headers.insert(name.to_owned(), masked(value.to_str().unwrap()).into());
            }
        }
        self.mask_wait(&mut headers);
        let mut shown = json!({ "status": answer.status.as_u16(), "headers": headers });
        if !answer.text.is_empty() {
            shown["body"] = serde_json::from_str(&masked(&answer.text)).unwrap();
        }
        shown
    }

    /// Both say the same: seconds from now, and the time it will be then.
    fn mask_wait(&self, headers: &mut serde_json::Map<String, Value>) {
        let number = |name: &str| headers.get(name)?.as_str()?.parse::<u64>().ok();
        let (wait, then) = (number("retry-after"), number("x-ratelimit-retry-after"));
        if let (Some(wait), Some(then)) = (wait, then) {
            assert!((1..=3600).contains(&wait), "{wait}");
            assert_eq!(then, self.app.now().plus(wait).seconds());
            headers.insert("retry-after".into(), "<wait>".into());
            headers.insert("x-ratelimit-retry-after".into(), "<then>".into());
        }
    }
}

#[tokio::test]
async fn everything_is_answered_as_it_is_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dialects/rebilly");
    let (mut steps, mut faults) = (0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let fixture: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let app = start(fixture["setup"].as_str().unwrap(), &folder);
        let mut names = Names { app: &app, token: String::new() };
        for (number, step) in fixture["steps"].as_array().unwrap().iter().enumerate() {
            app.clock.advance(step["before"]["advance"].as_u64().unwrap_or(0));
            let answer = replay(&names, &step["request"]).await;
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            let shown = names.shown(&answer);
            if shown != step["response"] {
                let (file, request, wanted) = (file.display(), &step["request"], &step["response"]);
                faults
                    .push(format!("{file}, {number}: {request}\nwanted {wanted}\nfound  {shown}"));
            }
            steps += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(steps > 90, "only {steps} steps");
}

async fn replay(names: &Names<'_>, wanted: &Value) -> Answer {
    let text = |value: &Value| names.filled_in(value.as_str().unwrap_or_default());
    let mut request =
        Request::builder().method(wanted["method"].as_str().unwrap()).uri(text(&wanted["path"]));
    for (name, value) in wanted["headers"].as_object().unwrap() {
        request = request.header(name, text(value));
    }
    let source = Source("192.0.2.1".parse().unwrap());
    let request = request.extension(source).body(text(&wanted["body"]).into()).unwrap();
    names.app.send(request).await
}

/// What a client with the key of this app asks for.
async fn ask(app: &TestApp, method: Method, path: &str, body: &str) -> Answer {
    let key = app.api_key.expose();
    let request = Request::builder().method(method).uri(path).header("reb-apikey", key);
    app.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn it_is_off_unless_it_is_turned_on() {
    let app = TestApp::start();
    let token = app.issue("ann").await;
    let path = format!("/organizations/acme/password-tokens/{token}");
    ask(&app, Method::GET, &path, "").await.assert_problem(404, "not_found");
    let native = ask(&app, Method::GET, "/password-tokens/junk", "").await;
    native.assert_problem(404, "token_unknown");
}

#[tokio::test]
async fn callers_of_the_configured_tenant_are_let_in_and_no_others() {
    let app = start_with(|options| {
        let tenant = TenantName::parse("acme").unwrap();
        options.dialects.rebilly = Some(Rebilly { tenant, takes_all_callers: false });
    });
    let acme = app.acting_for("acme");
    let created = ask(&acme, Method::POST, "/password-tokens", r#"{"username":"ann"}"#).await;
    created.assert_status(201);
    let path = format!("/password-tokens/{}", created.json()["token"].as_str().unwrap());
    ask(&acme, Method::GET, &path, "").await.assert_status(200);
    ask(&app, Method::GET, &path, "").await.assert_status(401);
    // A token is one thing, whichever API it is spent by.
    acme.get(&path).await.assert_status(200);
    ask(&acme, Method::DELETE, &path, "").await.assert_status(204);
    acme.get(&path).await.assert_problem(404, "token_revoked");
}

#[tokio::test]
async fn a_token_that_was_redeemed_or_is_held_is_gone_here_as_well() {
    let app = start_with(|_| {});
    let redeemed = app.issue("ann").await;
    app.redeem(&redeemed).await.assert_status(201);
    let held = app.issue("bob").await;
    app.post("/redemptions", json!({ "token": held, "hold": 60 })).await.assert_status(201);
    for (token, code) in [(redeemed, "token_used"), (held, "token_held")] {
        let answer = ask(&app, Method::GET, &format!("/password-tokens/{token}"), "").await;
        answer.assert_status(404);
        assert_eq!(answer.json()["type"], format!("urn:resetd:problem:{code}"));
    }
}

#[tokio::test]
async fn the_same_attempt_gets_the_same_token() {
    let app = start_with(|options| options.rates.all.user_tokens_per_hour = NonZeroU32::new(1));
    let create = async |username: &str| {
        let request = Request::post("/password-tokens")
            .header("reb-apikey", app.api_key.expose())
            .header("idempotency-key", "a");
        let body = json!({ "username": username }).to_string();
        app.send(request.body(Body::from(body)).unwrap()).await
    };
    let (first, again) = (create("ann").await, create("ann").await);
    first.assert_status(201);
    assert_eq!(first.json(), again.json());
    let other = create("bob").await;
    other.assert_status(422);
    assert_eq!(other.json()["type"], "urn:resetd:problem:idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_deletions_exactly_one_is_done() {
    let app = Arc::new(start_with(|_| {}));
    let path = format!("/organizations/acme/password-tokens/{}", app.issue("ann").await);
    let deletions: Vec<_> = (0..16)
        .map(|_| {
            let (app, path) = (app.clone(), path.clone());
            tokio::spawn(async move { ask(&app, Method::DELETE, &path, "").await.status.as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for deletion in deletions {
        statuses.push(deletion.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![204], vec![404; 15]].concat());
}

#[tokio::test]
async fn a_head_gets_what_a_get_gets_without_the_body() {
    let app = start_with(|_| {});
    let token = app.issue("ann").await;
    for (token, status) in [(token.as_str(), 200), ("junk", 404)] {
        let path = format!("/organizations/acme/password-tokens/{token}");
        let get = ask(&app, Method::GET, &path, "").await;
        let head = ask(&app, Method::HEAD, &path, "").await;
        head.assert_status(status);
        assert_eq!(head.text, "");
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            assert_eq!(head.headers.get(&name), get.headers.get(&name), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_done_and_refused_is_in_the_audit_trail() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { bytes: 1 << 20, keep: 0 };
    let sink = Sink::File(Trail::open(folder.path(), rotation).unwrap());
    let app = start_with(|options| options.audit = sink);
    for prefix in ["", "/organizations/acme"] {
        let path = format!("{prefix}/password-tokens");
        let created = ask(&app, Method::POST, &path, r#"{"username":"ann@example.com"}"#).await;
        let token = format!("{path}/{}", created.json()["token"].as_str().unwrap());
        for method in [Method::GET, Method::DELETE, Method::GET] {
            ask(&app, method, &token, "").await;
        }
        ask(&app, Method::POST, &path, "{}").await;
    }
    app.running.audit().stop();
    let lines = lines(folder.path());
    let found: Vec<_> = lines
        .iter()
        .filter(|line| line["caller"] == "all")
        .map(|line| (line["action"].as_str().unwrap(), line["outcome"].as_str().unwrap()))
        .collect();
    let once = [
        ("issue", "ok"),
        ("check", "ok"),
        ("revoke", "ok"),
        ("check", "token_revoked"),
        ("issue", "invalid_request"),
    ];
    assert_eq!(found, [once, once].concat());
    let users: Vec<_> = lines.iter().filter_map(|line| line["username"].as_str()).collect();
    assert_eq!(users, ["a***@e***.com"; 6]);
}

/// A server that speaks Rebilly, and one caller of it.
fn server() -> Server {
    let config = "
        [token]
        min_lifetime_seconds = 1
        [rebilly]
        enabled = true
        [limits]
        user_tokens_per_hour = 3
    ";
    Server::start_with(config, &[])
}

#[test]
fn the_sdk_for_javascript_has_its_way_by_the_base_url_alone() {
    let server = server();
    let mut sdk = Tools::installed().node(include_str!("../../clients/rebilly.mjs"));
    let output = end_of(sdk.args([&server.url, &server.api_key]));
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stdout(&output).trim(), "all is as an SDK of Rebilly expects it");
    let log = server.log();
    assert!(log.contains("/organizations/{organization}/password-tokens"), "{log}");
    assert!(!log.contains("eyJ") && !log.contains(&server.api_key), "{log}");
}

#[test]
fn a_tenant_that_is_not_there_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("settings.toml"),
        "[rebilly]\nenabled = true\ntenant = \"acme\"\n",
    )
    .unwrap();
    let output = run(folder.path(), &["--config", "settings.toml", "config", "check"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("rebilly.tenant: no tenant \"acme\""), "{}", stderr(&output));
}
