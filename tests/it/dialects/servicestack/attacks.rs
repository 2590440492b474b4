//! Bodies that are made to hurt whoever reads them: refused, and nothing is fetched or sent for them.

use std::io::ErrorKind;
use std::net::TcpListener;

use resetd::domain::caller::Scope;

use super::{ask, start, waiting};

const OPERATION: &str = "/api/xml/reply/GetResetPasswordToken";

/// A document with this before the root and this as the user's name.
fn document(before: &str, name: &str) -> String {
    format!("{before}<GetResetPasswordToken><UserName>{name}</UserName></GetResetPasswordToken>")
}

/// Ten times ten times … of one text.
fn laughs() -> String {
    let entity = |level: usize| {
        let inner = format!("&a{};", level - 1).repeat(10);
        format!("<!ENTITY a{level} \"{inner}\">")
    };
    let entities: Vec<_> = (1..10).map(entity).collect();
    let first = "<!ENTITY a0 \"ha\">";
    document(&format!("<!DOCTYPE a [{first}{}]>", entities.concat()), "&a9;")
}

#[tokio::test]
async fn no_document_has_anything_fetched_multiplied_or_nested_without_end() {
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let url = format!("http://{}/x", canary.local_addr().unwrap());
    let entity = "&e;@example.com";
    let attributes: Vec<_> = (0..5000).map(|number| format!(" a{number}=\"\"")).collect();
    let quadratic = format!("<!DOCTYPE a [<!ENTITY e \"{}\">]>", "x".repeat(20_000));
    let app = start();
    for body in [
        laughs(),
        document(&quadratic, &"&e;".repeat(10_000)),
        document(&format!("<!DOCTYPE a SYSTEM \"{url}\">"), "ann@example.com"),
        document(&format!("<!DOCTYPE a PUBLIC \"-//x\" \"{url}\">"), "ann@example.com"),
        document(&format!("<!DOCTYPE a [<!ENTITY e SYSTEM \"{url}\">]>"), entity),
        document("<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/hostname\">]>", entity),
        document(&format!("<!DOCTYPE a [<!ENTITY % e SYSTEM \"{url}\"> %e;]>"), "ann@example.com"),
        document(&format!("<?xml-stylesheet href=\"{url}\"?>"), "ann@example.com"),
        document("<?xml version=\"1.0\" encoding=\"UTF-7\"?>", "ann@example.com"),
        document(
            "",
            &format!("<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"{url}\"/>"),
        ),
        document("", entity),
        document("", "&#0;"),
        "<a>".repeat(20_000),
        document("", &"<a>".repeat(10_000)),
        format!("<GetResetPasswordToken{}/>", attributes.concat()),
        format!("<!--{}", "-".repeat(60_000)),
        format!("<![CDATA[{}", "]".repeat(60_000)),
        "<".repeat(60_000),
        "&".repeat(60_000),
    ] {
        let answer = ask(&app, app.key_for(Scope::Deliver), OPERATION, "text/xml", &body).await;
        let start: String = body.chars().take(80).collect();
        assert_eq!(answer.status, 400, "{start}: {}", answer.text);
        assert!(answer.text.contains("SerializationException"), "{start}: {}", answer.text);
    }
    assert_eq!(waiting(&app), 0);
    assert_eq!(canary.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn bodies_in_the_other_formats_are_bounded_alike() {
    let app = start();
    for (written, body) in [
        ("application/jsv", format!("{{UserName:{}", "{a:".repeat(20_000))),
        ("application/jsv", format!("{{UserName:\"{}", "\"\"".repeat(30_000))),
        ("application/jsv", "[".repeat(60_000)),
        ("application/json", "[".repeat(60_000)),
        ("application/json", format!("{{\"UserName\":{}", "{\"a\":".repeat(10_000))),
        ("application/x-www-form-urlencoded", "UserName=a&".repeat(5000)),
    ] {
        let path = "/api/GetResetPasswordToken";
        let answer = ask(&app, app.key_for(Scope::Deliver), path, written, &body).await;
        assert_eq!(answer.status, 400, "{written}: {}", answer.text);
    }
    assert_eq!(waiting(&app), 0);
}

#[tokio::test]
async fn what_is_sent_comes_back_in_no_format() {
    let app = start();
    let key = app.key_for(Scope::Deliver);
    for user in ["%3Cscript%3E", "=1+1", "@SUM(1)", "a%22b,c"] {
        for end in ["", ".html", ".csv", ".jsv", ".xml", ".jsonl"] {
            let path = format!("/api/account/{user}/passwordresettoken{end}");
            let answer = ask(&app, key, &path, "text/json", "").await;
            answer.assert_status(400);
            for text in ["<script>", "=1", "SUM", "a\"b,c"] {
                assert!(!answer.text.contains(text), "{path}: {}", answer.text);
            }
        }
    }
}
