//! With a directory: who gets a mail, where, and what callers can learn of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use percent_encoding::percent_decode_str;
use resetd::clock::{Clock as _, SystemClock};
use resetd::domain::caller::api_key;
use resetd::domain::secret::Secret;
use serde_json::{Value, json};

use super::{App, caller, directory, eventually, to_ann};
use crate::directory::web::{Web, json as as_json, nobody, silent, status};

pub(super) const PEOPLE: &str = "\
[[people]]
username = \"ann\"
email = \"ann@u.example\"
user_id = \"17\"
credential_id = \"ann-password\"
language = \"de\"

[[people]]
username = \"ben\"
email = \"ben@u.example\"
enabled = false

[[people]]
username = \"cyd\"

[[people]]
username = \"dan\"
email = \"dan@u.example\"
";

pub(super) fn start(more_of_directory: &str, more: &str) -> App {
    let folder = tempfile::tempdir().unwrap();
    let directory = directory(folder.path(), PEOPLE, more_of_directory);
    App::start_in(folder, &format!("{more}{directory}"))
}

pub(super) fn only(username: &str) -> Value {
    json!({ "username": username })
}

#[test]
fn a_link_goes_where_the_directory_says_in_the_language_of_the_user_with_the_directorys_words() {
    let app = start("", "");
    app.deliver(&only("ann"));
    let mail = app.mails(1).remove(0);
    assert_eq!(
        (mail.to.as_slice(), mail.subject.as_str()),
        (&["ann@u.example".to_owned()][..], "Neues Passwort für localhost")
    );
    let (status, redeemed) = app.post("/redemptions", &json!({ "token": mail.token() }));
    assert_eq!(status, 201);
    assert_eq!(
        (&redeemed["userId"], &redeemed["credentialId"]),
        (&json!("17"), &json!("ann-password"))
    );
    // Nobody says otherwise.
    let mut body = to_ann();
    body["to"] = "eve@example.net".into();
    let (status, answer) = app.post("/deliveries", &body);
    assert_eq!((status, &answer["invalidFields"][0]["field"]), (422, &json!("to")));
}

#[test]
fn whoever_gets_no_mail_is_promised_one_like_everybody_and_only_the_trail_knows() {
    let app = start("", "limits.user_tokens_per_hour = 1\n");
    let told = |username: &str| {
        let mut answer = app.deliver(&only(username));
        let answer = answer.as_object_mut().unwrap();
        assert_eq!(answer.remove("username"), Some(json!(username)));
        answer.remove("expiredTime");
        Value::from(answer.clone())
    };
    let wanted = told("ann");
    let mut outcomes = vec![];
    for (username, outcome) in [
        ("nobody", "user_unknown"),
        ("ben", "user_disabled"),
        ("cyd", "no_address"),
        ("ann", "throttled"),
        ("nobody", "throttled"),
    ] {
        assert_eq!(told(username), wanted, "{username}");
        outcomes.push(outcome);
    }
    outcomes.push("ok");
    let mut found = app.outcomes(outcomes.len());
    found.sort();
    outcomes.sort_unstable();
    assert_eq!(found, outcomes);
    app.wait_until_all_is_sent();
    assert_eq!(app.folder_of_mails().len(), 1);
    // What was not sent did not kill what was.
    let mail = app.mails(1).remove(0);
    app.redeem_once(mail.token());
}

#[test]
fn no_caller_gets_a_token_itself_whoever_is_asked_for() {
    let app = start("", "");
    let answers = ["ann", "nobody", "ben"].map(|user| {
        let (status, mut answer) = app.post("/password-tokens", &only(user));
        answer.as_object_mut().unwrap().remove("request_id");
        (status, answer)
    });
    assert_eq!((answers[0].0, &answers[0].1["code"]), (403, &json!("delivery_only")));
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

#[test]
fn a_caller_who_may_know_who_is_there_gets_a_token_with_what_the_directory_knows() {
    let app = start("reveal_unknown_users = true", "");
    let (status, issued) = app.post("/password-tokens", &only("ann"));
    assert_eq!(status, 201, "{issued}");
    let claims = super::claims(issued["token"].as_str().unwrap());
    let (_, redeemed) = app.post("/redemptions", &json!({ "token": issued["token"] }));
    for of in [&issued, &redeemed] {
        assert_eq!((&of["credentialId"], &of["userId"]), (&json!("ann-password"), &json!("17")));
    }
    assert_eq!(claims["sub"], "ann");
    for (body, wanted) in [
        (only("nobody"), (404, "user_unknown")),
        (only("ben"), (409, "user_disabled")),
        (json!({ "username": "ann", "userId": "18" }), (409, "user_mismatch")),
        (json!({ "username": "ann", "credentialId": "other" }), (409, "user_mismatch")),
    ] {
        let (status, answer) = app.post("/password-tokens", &body);
        assert_eq!((status, answer["code"].as_str().unwrap()), wanted, "{body}");
    }
}

/// A directory that is asked over HTTP.
pub(super) async fn people(is_up: &Arc<AtomicBool>) -> Web {
    let up = Arc::clone(is_up);
    Web::start(move |target| {
        if !up.load(Ordering::SeqCst) {
            return status(500);
        }
        match target.strip_prefix("/users/") {
            Some("ann") => as_json(
                json!({ "username": "ann", "email": "ann@u.example", "userId": "17" }).to_string(),
            ),
            _ => nobody(),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_directory_is_down_nothing_is_sent_and_nobody_is_unknown_and_later_it_is_sent() {
    let is_up = Arc::new(AtomicBool::new(false));
    let web = people(&is_up).await;
    let url = web.url("/users/{username}");
    tokio::task::spawn_blocking(move || {
        let app = App::start(&format!("[directory]\nkind = \"http\"\nurl = \"{url}\"\n"));
        app.deliver(&only("ann"));
        app.deliver(&only("nobody"));
        let promised = app.promised();
        eventually("a first try of both", || {
            (app.server.log().matches("it is tried again").count() >= 2).then_some(())
        });
        assert_eq!(app.promised(), promised);
        assert!(app.delivered(0).is_empty() && app.folder_of_mails().is_empty());
        is_up.store(true, Ordering::SeqCst);
        let mail = app.mails(1).remove(0);
        assert!(promised.contains(&mail.token_id()));
        let mut outcomes = app.outcomes(2);
        outcomes.sort();
        assert_eq!(outcomes, ["ok", "user_unknown"]);
        app.redeem_once(mail.token());
    })
    .await
    .unwrap();
}

#[test]
fn a_directory_that_hangs_holds_up_no_mail_of_another_tenant() {
    let (directory, url) = silent();
    let (web, acme) = (api_key([1; 32]), api_key([2; 32]));
    let callers = caller("default", &web, &["deliver"]) + &caller("acme", &acme, &["deliver"]);
    let settings = format!(
        "[tenants.acme]\naudience = \"acme\"\nlink.template = \"https://acme.example/#{{token}}\"\ndirectory.kind = \"http\"\ndirectory.url = \"{url}/{{username}}\"\ndirectory.timeout_seconds = 60\n{}",
        callers
    );
    let app = App::start(&settings);
    let deliver = |key: &Secret, body: &Value| {
        assert_eq!(app.ask_as(key.expose(), "POST", "/deliveries", body, "").0, 202);
    };
    // More than are looked up at once.
    for user in 0..20 {
        deliver(&acme, &only(&format!("user-{user}")));
    }
    deliver(&web, &to_ann());
    assert_eq!(app.mails(1).remove(0).to, ["ann@example.net"]);
    // Only now does somebody take the connections of the others.
    let _asked = directory.accept().unwrap();
    assert_eq!(app.promised().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_may_know_hears_that_the_directory_is_down_and_not_that_nobody_is_there() {
    let is_up = Arc::new(AtomicBool::new(false));
    let web = people(&is_up).await;
    let url = web.url("/users/{username}");
    tokio::task::spawn_blocking(move || {
        let settings =
            format!("[directory]\nkind = \"http\"\nurl = \"{url}\"\nreveal_unknown_users = true\n");
        let app = App::start(&settings);
        let (status, answer) = app.post("/password-tokens", &only("ann"));
        assert_eq!((status, &answer["code"]), (503, &json!("directory_unavailable")));
        is_up.store(true, Ordering::SeqCst);
        let (status, issued) = app.post("/password-tokens", &only("ann"));
        assert_eq!((status, &issued["userId"]), (201, &json!("17")), "a failure was kept");
    })
    .await
    .unwrap();
}

/// Tokens of one second are not told apart by their age.
fn wait_for_the_next_second() {
    wait_for_seconds(1);
}

/// Waits until the clock has gone on by so much.
pub(super) fn wait_for_seconds(seconds: u64) {
    let clock = SystemClock::new();
    let then = clock.now().plus(seconds);
    eventually("a later second", || (clock.now() >= then).then_some(()));
}

/// A SCIM service that knows Ann, in any case.
async fn scim() -> Web {
    Web::start(|target| {
        let filter = percent_decode_str(target).decode_utf8().unwrap().to_lowercase();
        let ann =
            json!({ "id": "id-17", "userName": "Ann", "emails": [{ "value": "ann@u.example" }] });
        let users = if filter.contains("\"ann\"") { vec![ann] } else { vec![] };
        as_json(json!({ "totalResults": users.len(), "Resources": users }).to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_another_case_is_the_same_user_to_the_token_the_revocation_and_the_limit() {
    let web = scim().await;
    let url = web.url("/scim/v2");
    tokio::task::spawn_blocking(move || {
        let settings = format!(
            "limits.user_tokens_per_hour = 2\n[directory]\nkind = \"scim\"\nurl = \"{url}\"\n"
        );
        let app = App::start(&settings);
        app.deliver(&only("ANN"));
        let mail = app.mails(1).remove(0);
        assert_eq!(super::claims(mail.token())["sub"], "Ann");
        assert_eq!(app.post("/revocations", &only("Ann")).0, 201);
        assert_eq!(app.redeem(mail.token()), (410, "token_revoked".into()));
        wait_for_the_next_second();
        app.deliver(&only("ann"));
        app.deliver(&only("aNN"));
        let mut outcomes = app.outcomes(3);
        outcomes.sort();
        assert_eq!(outcomes, ["ok", "ok", "throttled"]);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_link_replaces_an_older_one_that_was_asked_for_in_another_case() {
    let web = scim().await;
    let url = web.url("/scim/v2");
    tokio::task::spawn_blocking(move || {
        let app = App::start(&format!("[directory]\nkind = \"scim\"\nurl = \"{url}\"\n"));
        app.deliver(&only("ANN"));
        let first = app.mails(1).remove(0);
        wait_for_the_next_second();
        app.deliver(&only("ann"));
        let mails = app.mails(2);
        let second = mails.iter().find(|mail| mail.id != first.id).unwrap();
        assert_eq!(app.redeem(first.token()), (410, "token_revoked".into()));
        app.redeem_once(second.token());
    })
    .await
    .unwrap();
}
