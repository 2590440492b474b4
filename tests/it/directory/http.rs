//! A service that answers with one JSON object.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use percent_encoding::percent_decode_str;
use resetd::directory::{Directory, DirectoryLimits};
use resetd::domain::directory::{DirectorySource, UserUrl, WebAccess};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::web::{self, Web, anybody, silent, status, with_token};
use super::{FRESH, HOSTILE, assert_unavailable, email, name, shown};
use crate::server::PATIENCE;
use crate::tls::certificates::Authority;

fn source(url: &str, access: WebAccess) -> DirectorySource {
    DirectorySource::Http(UserUrl::parse(url).unwrap(), access)
}

fn http(url: &str) -> Directory {
    Directory::open(source(url, anybody()), FRESH).unwrap()
}

/// Knows ann and an admin, by the decoded last segment of the path or value of the query.
async fn users() -> Web {
    Web::start(|target| {
        let segment =
            target.strip_prefix("/users/").or(target.strip_prefix("/find?name=")).unwrap();
        match percent_decode_str(segment).decode_utf8().unwrap().as_ref() {
            user @ ("ann" | "admin") => web::json(
                json!({ "username": user, "email": format!("{user}@u.example") }).to_string(),
            ),
            _ => web::nobody(),
        }
    })
    .await
}

#[tokio::test]
async fn a_user_is_found_with_all_that_is_told() {
    let body = json!({
        "username": "ann", "enabled": false, "email": "ann@u.example", "userId": "17",
        "credentialId": "ann-password", "identityProviders": ["google"], "language": "pt-BR",
        "anything": { "else": [1, 2.5, null] },
    });
    let web = Web::start(move |_| web::json(body.to_string())).await;
    let access = with_token("s3cret");
    let directory =
        Directory::open(source(&web.url("/u?name={username}&x=1"), access), FRESH).unwrap();
    let found = directory.find(&name("ann")).await.unwrap().unwrap();
    let text = |text: &str| Some(text.to_owned());
    let wanted = (
        "ann".to_owned(),
        false,
        text("ann@u.example"),
        text("17"),
        text("ann-password"),
        vec!["google".to_owned()],
        text("pt-br"),
    );
    assert_eq!(shown(&found), wanted);
    assert_eq!(web.asked(), ["/u?name=ann&x=1"]);
    assert_eq!(web.header("authorization").as_deref(), Some("Bearer s3cret"));
    assert_eq!(web.header("accept").as_deref(), Some("application/json"));
}

#[tokio::test]
async fn little_is_enough_and_404_with_json_is_nobody() {
    let web = users().await;
    let directory = http(&web.url("/users/{username}"));
    let found = directory.find(&name("ann")).await.unwrap().unwrap();
    assert!(found.is_enabled && found.user_id.is_none());
    assert_eq!(directory.find(&name("nobody")).await.unwrap(), None);
    assert_eq!(web.header("authorization"), None);
}

#[tokio::test]
async fn a_name_is_one_segment_of_the_path_and_one_value_of_the_query() {
    let web = users().await;
    let directory = http(&web.url("/users/{username}"));
    let query = http(&web.url("/find?name={username}"));
    let is_path = |hostile: &&str| !hostile.contains(['/', '\\']);
    for hostile in HOSTILE {
        let ways = [(&directory, "/users/"), (&query, "/find?name=")];
        for (directory, before) in &ways[usize::from(!is_path(&hostile))..] {
            assert_eq!(directory.find(&name(hostile)).await.unwrap(), None, "{hostile}");
            let asked = web.asked().pop().unwrap();
            let segment = asked.strip_prefix(before).unwrap();
            assert!(!segment.contains(['/', '?', '#', '&', '"', ' ']), "{asked}");
            assert_eq!(percent_decode_str(segment).decode_utf8().unwrap(), hostile);
        }
    }
    let before = web.asked().len();
    let parting = HOSTILE.iter().filter(|hostile| !is_path(hostile));
    for step in [".", ".."].iter().chain(parting) {
        let found = directory.find(&name(step)).await;
        assert_unavailable(&found, "ann@", "a name of dots, or with a slash");
    }
    assert_eq!(web.asked().len(), before, "nobody was asked");
}

#[tokio::test]
async fn a_404_that_may_be_of_somebody_who_knows_no_users_is_unavailable() {
    for (kind, body, is_answer) in [
        ("application/json", "{}", true),
        ("Application/JSON; charset=utf-8", "{\"error\":\"not_found\"}", true),
        ("application/problem+json", "{\"status\":404}", true),
        ("text/html", "<h1>404 Not Found</h1>", false),
        ("text/plain", "{}", false),
        ("application/json", "", false),
        ("application/json", "[]", false),
        ("application/json", "\"not found\"", false),
        ("application/json", "<h1>404 Not Found</h1>", false),
        ("application/json-seq", "{}", false),
    ] {
        let answer =
            move |_: &str| (StatusCode::NOT_FOUND, [("content-type", kind)], body).into_response();
        let web = Web::start(answer).await;
        let found = http(&web.url("/users/{username}")).find(&name("ann")).await;
        if is_answer {
            assert_eq!(found, Ok(None), "{kind} {body}");
        } else {
            assert_unavailable(&found, "/ann", "answered 404 without a JSON object");
        }
    }
    let web = Web::start(|_| status(404)).await;
    let found = http(&web.url("/users/{username}")).find(&name("ann")).await;
    assert_unavailable(&found, "/ann", "answered 404 without a JSON object");
}

#[tokio::test]
async fn no_failure_shows_more_of_the_address_than_its_host() {
    let web = Web::start(|_| status(500)).await;
    let url = web.url("/pa7h/{username}?key=s3cret");
    let directory = http(&url);
    let shown = format!("{:?} {:?}", source(&url, anybody()), directory);
    let error = directory.find(&name("ann")).await.unwrap_err();
    for text in [shown, error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("s3cret") && !text.contains("pa7h"), "{text}");
    }
    assert!(error.reason().starts_with(web.url(" answered 500").as_str()), "{error}");
}

#[tokio::test]
async fn whatever_is_no_answer_about_the_user_is_unavailable() {
    let ann = |member: &str, value: Value| {
        let mut body = json!({ "username": "ann", "email": "ann@u.example" });
        body[member] = value;
        body.to_string()
    };
    let cases = [
        (200, String::new(), "cannot be read"),
        (200, "[]".into(), "cannot be read"),
        (200, "{\"username\":\"ann\"".into(), "cannot be read"),
        (200, "{}".into(), "username is missing"),
        (200, "{\"username\":\"ann\",\"username\":\"bob\"}".into(), "occurs twice"),
        (
            200,
            "{\"username\":\"ann\",\"email\":\"a@b.c\",\"email\":\"d@e.f\"}".into(),
            "occurs twice",
        ),
        (200, ann("username", json!("bob")), "about another user"),
        (200, ann("username", json!("ANN")), "about another user"),
        (200, ann("username", json!("ann ")), "about another user"),
        (200, ann("username", json!(["ann"])), "wanted a string"),
        (200, ann("enabled", json!("false")), "enabled: wanted true or false"),
        (200, ann("email", json!("ann@u.example, eve@u.example")), "email cannot be used"),
        (200, ann("email", json!("ann@u.example\r\nBcc: eve@u.example")), "email cannot be used"),
        (200, ann("email", json!("")), "email cannot be used"),
        (200, ann("email", json!(["ann@u.example"])), "email: wanted a string"),
        (200, ann("userId", json!(17)), "userId: wanted a string"),
        (200, ann("credentialId", json!("a\u{202e}b")), "credential_id cannot be used"),
        (200, ann("identityProviders", json!("google")), "identityProviders: wanted an array"),
        (200, ann("identityProviders", json!([1])), "identityProviders: wanted strings"),
        (200, ann("language", json!("../de")), "language cannot be used"),
        (200, ann("note", json!("x".repeat(2 * 1024 * 1024))), "longer than"),
        (201, ann("note", json!(1)), "answered 201"),
        (204, String::new(), "answered 204"),
        (400, ann("note", json!(1)), "answered 400"),
        (401, String::new(), "answered 401"),
        (403, String::new(), "answered 403"),
        (410, String::new(), "answered 410"),
        (429, String::new(), "answered 429"),
        (500, ann("note", json!(1)), "answered 500"),
        (503, String::new(), "answered 503"),
    ];
    for (code, body, wanted) in cases {
        let answer = (StatusCode::from_u16(code).unwrap(), body.clone());
        let web = Web::start(move |_| answer.clone().into_response()).await;
        let directory = http(&web.url("/users/{username}"));
        let found = directory.find(&name("ann")).await;
        assert!(found.is_err(), "{code} {}", &body[..body.len().min(100)]);
        assert_unavailable(&found, "ann@u.example", wanted);
        assert_unavailable(&found, "/ann", wanted);
    }
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let web = Web::start(|target| {
        if target.starts_with("/users") {
            (StatusCode::FOUND, [("location", "/elsewhere")]).into_response()
        } else {
            web::json("{\"username\":\"ann\"}")
        }
    })
    .await;
    let found = http(&web.url("/users/{username}")).find(&name("ann")).await;
    assert_unavailable(&found, "/ann", "answered 302");
    assert_eq!(web.asked(), ["/users/ann"]);
}

#[tokio::test]
async fn a_service_that_is_not_there_or_does_not_answer_holds_nobody_for_ever() {
    let (listener, url) = silent();
    let limits = DirectoryLimits { timeout: Duration::from_secs(1), cache_for: Duration::ZERO };
    let source = source(&format!("{url}/{{username}}"), anybody());
    let directory = Directory::open(source, limits).unwrap();
    // More than are asked for at once: those behind wait no longer than the others.
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let directory = directory.clone();
            tokio::spawn(async move { directory.find(&name("ann")).await })
        })
        .collect();
    for waiting in waiting {
        let found = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert_unavailable(&found, "/ann", "no answer");
    }
    drop(listener);
    let found = directory.find(&name("ann")).await;
    assert_unavailable(&found, "/ann", "the connection failed");
}

#[tokio::test]
async fn an_answer_is_good_for_a_while_also_that_there_is_nobody_and_a_failure_never() {
    let is_failing = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let failing = Arc::clone(&is_failing);
    let web = Web::start(move |target| match target {
        _ if failing.load(std::sync::atomic::Ordering::SeqCst) => status(500),
        "/ann" => web::json("{\"username\":\"ann\"}"),
        _ => web::nobody(),
    })
    .await;
    let kept = Duration::from_secs(3600);
    let limits = DirectoryLimits { timeout: PATIENCE, cache_for: kept };
    let directory = Directory::open(source(&web.url("/{username}"), anybody()), limits).unwrap();
    for user in ["ann", "ann", "nobody"] {
        assert_unavailable(&directory.find(&name(user)).await, "/ann", "answered 500");
    }
    assert_eq!(web.asked().len(), 3);
    is_failing.store(false, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..3 {
        assert!(directory.find(&name("ann")).await.unwrap().is_some());
        assert!(directory.find(&name("nobody")).await.unwrap().is_none());
        // Another spelling is another question.
        assert!(directory.find(&name("ANN")).await.unwrap().is_none());
    }
    assert_eq!(web.asked()[3..], ["/ann", "/nobody", "/ANN"]);
}

#[tokio::test]
async fn an_answer_is_asked_for_again_when_its_time_is_over_or_where_none_is_kept() {
    let web = users().await;
    let source = || source(&web.url("/users/{username}"), anybody());
    let fresh = Directory::open(source(), FRESH).unwrap();
    for _ in 0..3 {
        assert!(fresh.find(&name("ann")).await.unwrap().is_some());
    }
    assert_eq!(web.asked().len(), 3);
    let limits = DirectoryLimits { timeout: PATIENCE, cache_for: Duration::from_millis(50) };
    let directory = Directory::open(source(), limits).unwrap();
    let until = Instant::now() + PATIENCE;
    while web.asked().len() < 5 {
        assert!(Instant::now() < until, "{:?}", web.asked());
        assert!(directory.find(&name("ann")).await.unwrap().is_some());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Answers one request over TLS with the certificate of this authority.
fn over_tls(authority: &Authority) -> String {
    let pair = authority.sign();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.der()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/{{username}}", listener.local_addr().unwrap());
    let config = Arc::new(config);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let body = "{\"username\":\"ann\",\"email\":\"ann@u.example\"}";
            let length = body.len();
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            }
        }
    });
    url
}

#[tokio::test]
async fn a_service_is_believed_for_its_certificate_and_its_name_alone() {
    let (authority, stranger) = (Authority::new(), Authority::named("stranger"));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        Some(path)
    };
    let url = over_tls(&authority);
    let with = |ca_file| {
        let access = WebAccess { token: None, ca_file };
        Directory::open(source(&url, access), FRESH)
    };
    let directory = with(file("ca.pem", &authority.pem)).unwrap();
    assert_eq!(email(&directory, "ann").await.as_deref(), Some("ann@u.example"));
    for ca_file in [file("stranger.pem", &stranger.pem), None] {
        let found = with(ca_file).unwrap().find(&name("ann")).await;
        assert_unavailable(&found, "/ann", "certificate");
    }
    // Of the right authority, for another host.
    let elsewhere = url.replace("127.0.0.1", "localhost");
    let access = WebAccess { token: None, ca_file: file("ca.pem", &authority.pem) };
    let directory = Directory::open(source(&elsewhere, access), FRESH).unwrap();
    let found = directory.find(&name("ann")).await;
    assert_unavailable(&found, "/ann", "certificate not valid for name \"localhost\"");
    let error = with(file("none.pem", "")).map(drop).unwrap_err().to_string();
    assert!(error.contains("ca_file: ") && error.contains("wanted certificates in PEM"), "{error}");
    let error = with(Some(folder.path().join("nowhere"))).map(drop).unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
}
