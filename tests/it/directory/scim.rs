//! A service that speaks SCIM.

use axum::response::Response;
use resetd::directory::Directory;
use resetd::domain::directory::{DirectorySource, ScimUrl};
use serde_json::{Value, json};
use url::Url;

use super::web::{self, Web, anybody, status, with_token};
use super::{FRESH, HOSTILE, assert_unavailable, email, name, shown};

fn scim(base: &str) -> Directory {
    let source = DirectorySource::Scim(ScimUrl::parse(base).unwrap(), anybody());
    Directory::open(source, FRESH).unwrap()
}

fn list(users: &[Value]) -> Response {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": users.len(), "startIndex": 1, "itemsPerPage": users.len(), "Resources": users,
    });
    web::json(body.to_string())
}

fn user(username: &str) -> Value {
    json!({ "id": format!("id-{username}"), "userName": username, "emails": [{ "value": "x@example.com" }] })
}

/// The string that the filter compares with, read as the RFC has it; and the rest of the query.
fn wanted_user(target: &str) -> String {
    let url = Url::parse("http://scim").unwrap().join(target).unwrap();
    assert_eq!(url.path(), "/scim/v2/Users");
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let [(_, filter), more @ ..] = pairs.as_slice() else { panic!("{target}") };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(more, [pair("startIndex", "1"), pair("count", "2")]);
    serde_json::from_str(filter.strip_prefix("userName eq ").unwrap()).unwrap()
}

/// Knows ann and an admin, in any case.
async fn users() -> Web {
    Web::start(|target| match wanted_user(target).to_lowercase().as_str() {
        known @ ("ann" | "admin") => list(&[user(known)]),
        _ => list(&[]),
    })
    .await
}

#[tokio::test]
async fn a_user_is_found_with_all_that_is_told() {
    let ann = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": "2819c223", "externalId": "x", "userName": "Ann", "active": false,
        "emails": [
            { "value": "home@example.com", "type": "home" },
            { "value": "ann@example.com", "type": "work", "primary": true },
        ],
        "preferredLanguage": "fr-CA, en;q=0.5", "locale": "de",
        "meta": { "resourceType": "User" },
    });
    let web = Web::start(move |_| list(std::slice::from_ref(&ann))).await;
    let base = ScimUrl::parse(&web.url("/scim/v2/")).unwrap();
    let source = DirectorySource::Scim(base, with_token("s3cret"));
    let directory = Directory::open(source, FRESH).unwrap();
    let found = directory.find(&name("ann")).await.unwrap().unwrap();
    let text = |text: &str| Some(text.to_owned());
    let wanted = (
        "Ann".to_owned(),
        false,
        text("ann@example.com"),
        text("2819c223"),
        None,
        vec![],
        text("fr-ca"),
    );
    assert_eq!(shown(&found), wanted);
    assert_eq!(wanted_user(&web.asked()[0]), "ann");
    assert_eq!(web.header("authorization").as_deref(), Some("Bearer s3cret"));
}

#[tokio::test]
async fn the_first_address_is_taken_where_none_is_primary_and_the_locale_where_no_language_is_preferred()
 {
    let ann = json!({
        "id": "1", "userName": "ann", "locale": "de-DE",
        "emails": [{ "value": "first@example.com" }, { "value": "second@example.com", "primary": false }],
    });
    let web = Web::start(move |_| list(std::slice::from_ref(&ann))).await;
    let directory = scim(&web.url("/scim/v2"));
    let found = directory.find(&name("ann")).await.unwrap().unwrap();
    assert!(found.is_enabled);
    assert_eq!(found.language.unwrap().as_str(), "de-de");
    assert_eq!(email(&directory, "ann").await.as_deref(), Some("first@example.com"));
}

#[tokio::test]
async fn a_name_is_one_string_of_the_filter() {
    let web = users().await;
    let directory = scim(&web.url("/scim/v2"));
    assert_eq!(directory.find(&name("ANN")).await.unwrap().unwrap().username.as_str(), "ann");
    for hostile in HOSTILE {
        assert_eq!(directory.find(&name(hostile)).await.unwrap(), None, "{hostile}");
        assert_eq!(wanted_user(&web.asked().pop().unwrap()), hostile);
    }
}

#[tokio::test]
async fn no_failure_shows_more_of_the_address_than_its_host() {
    let web = Web::start(|_| status(500)).await;
    let base = ScimUrl::parse(&web.url("/pa7h")).unwrap();
    let source = DirectorySource::Scim(base, anybody());
    let shown = format!("{source:?}");
    let error = Directory::open(source, FRESH).unwrap().find(&name("ann")).await.unwrap_err();
    for text in [shown, error.to_string()] {
        assert!(text.contains(&web.url("")) && !text.contains("pa7h"), "{text}");
    }
}

#[tokio::test]
async fn whatever_is_no_answer_about_the_user_is_unavailable() {
    let ann = |member: &str, value: Value| {
        let mut ann = user("ann");
        ann[member] = value;
        json!({ "totalResults": 1, "Resources": [ann] }).to_string()
    };
    let cases = [
        ("{}".to_owned(), "totalResults is missing"),
        (json!({ "totalResults": "0" }).to_string(), "totalResults: wanted a whole number"),
        (json!({ "totalResults": -1 }).to_string(), "totalResults is -1"),
        (json!({ "totalResults": 1 }).to_string(), "totalResults is 1"),
        (json!({ "totalResults": 1, "Resources": [] }).to_string(), "totalResults is 1"),
        (json!({ "totalResults": 0, "Resources": [user("ann")] }).to_string(), "totalResults is 0"),
        (
            json!({ "totalResults": 1, "Resources": [user("ann"), user("ann")] }).to_string(),
            "and it has 2",
        ),
        (
            json!({ "totalResults": 2, "Resources": [user("ann"), user("Ann")] }).to_string(),
            "more than one user",
        ),
        (
            json!({ "totalResults": 2, "Resources": [user("ann")] }).to_string(),
            "more than one user",
        ),
        (
            json!({ "totalResults": 1, "Resources": ["ann"] }).to_string(),
            "Resources: wanted objects",
        ),
        ("{\"totalResults\":0,\"totalResults\":0}".to_owned(), "occurs twice"),
        (ann("userName", json!("bob")), "about another user"),
        (ann("userName", json!("ann ")), "about another user"),
        (ann("userName", Value::Null), "userName is missing"),
        (ann("id", Value::Null), "id is missing"),
        (ann("active", json!("True")), "active: wanted true or false"),
        (ann("emails", json!("ann@example.com")), "emails: wanted an array"),
        (ann("emails", json!([{ "type": "work" }])), "value is missing"),
        (ann("emails", json!([{ "value": "no address" }])), "email cannot be used"),
        (
            ann(
                "emails",
                json!([{ "value": "a@b.c", "primary": true }, { "value": "d@e.f", "primary": true }]),
            ),
            "more than one is primary",
        ),
    ];
    for (body, wanted) in cases {
        let told = body.clone();
        let web = Web::start(move |_| web::json(told.clone())).await;
        let found = scim(&web.url("")).find(&name("ann")).await;
        assert!(found.is_err(), "{body}");
        assert_unavailable(&found, "\"ann\"", wanted);
    }
    // The list of users itself must be there.
    for code in [404, 400, 401, 429, 500] {
        let web = Web::start(move |_| status(code)).await;
        let found = scim(&web.url("")).find(&name("ann")).await;
        assert_unavailable(&found, "filter", &format!("answered {code}"));
    }
}
