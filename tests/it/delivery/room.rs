//! More than can be kept: an outbox that is full, and a disk.

use std::collections::BTreeSet;

use resetd::domain::caller::api_key;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use super::{App, AwayServer, BASE, Letter, caller, outbox_of, to_ann};
use crate::mail::servers::count;

fn to_bob() -> Value {
    json!({ "username": "bob", "to": "bob@example.net" })
}

#[test]
fn when_as_many_wait_as_may_no_more_is_promised_and_older_links_live_on() {
    let away = AwayServer::new();
    let key = api_key([1; 32]);
    let callers = caller("default", &key, &["issue", "deliver", "check"]);
    let app = App::start(&format!("outbox.capacity = 2\n{}{callers}", away.settings()));
    let ask = |path: &str, body: &Value| app.ask_as(key.expose(), "POST", path, body, "");
    let (_, issued) = ask("/password-tokens", &json!({ "username": "bob" }));
    let older = issued["token"].as_str().unwrap();
    for user in ["ann", "zoe"] {
        let body = json!({ "username": user, "to": "ann@example.net" });
        assert_eq!(ask("/deliveries", &body).0, 202);
    }
    let (status, answer) = ask("/deliveries", &to_bob());
    assert_eq!((status, &answer["code"]), (503, &json!("outbox_full")));
    let path = format!("/password-tokens/{older}");
    assert_eq!(app.ask_as(key.expose(), "GET", &path, &json!(null), "").0, 200);
    assert_eq!(app.promised().len(), 2);
    // Room comes with what is sent.
    let smtp = away.come();
    let _sent = [Letter::next(&smtp), Letter::next(&smtp)];
    app.wait_until_all_is_sent();
    assert_eq!(ask("/deliveries", &to_bob()).0, 202);
    assert_eq!(Letter::next(&smtp).to, ["bob@example.net"]);
}

/// No file of the process may become longer.
fn bound_files(app: &App, bytes: Option<u64>) {
    let id = Pid::from_raw(i32::try_from(app.server.id()).unwrap());
    prlimit(id, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// With twenty links that wait, and no room for another one.
fn without_room(away: &AwayServer) -> (App, BTreeSet<String>) {
    // The trail and the log would be the first to find no room; they have their own tests.
    let base = BASE.replace("audit.sink = \"file\"", "log.level = \"error\"");
    let settings = format!("{base}{}", away.settings());
    let app = App::start_just(tempfile::tempdir().unwrap(), &settings);
    for user in 0..20 {
        // So long that the outbox is longer than the journal.
        let username = format!("user-{user}-{}", "x".repeat(200));
        app.deliver(&json!({ "username": username, "to": "ann@example.net" }));
    }
    let promised = app.promised();
    let length = outbox_of(app.path()).len() as u64;
    bound_files(&app, Some(length + 10));
    refused(&app, &to_bob());
    (app, promised)
}

fn refused(app: &App, body: &Value) {
    let (status, answer) = app.post("/deliveries", body);
    assert_eq!((status, &answer["code"]), (503, &json!("outbox_failed")), "{answer}");
}

#[test]
fn what_cannot_be_written_is_not_promised_and_it_goes_on_when_there_is_room() {
    let away = AwayServer::new();
    let (app, promised) = without_room(&away);
    // The outbox is known to be in trouble now, so not even an older link is replaced.
    let (_, issued) = app.post("/password-tokens", &json!({ "username": "bob" }));
    refused(&app, &to_bob());
    app.redeem_once(issued["token"].as_str().unwrap());
    bound_files(&app, None);
    app.deliver(&to_ann());
    assert_eq!(app.promised().len(), promised.len() + 1);
    assert!(app.promised().is_superset(&promised));
    let smtp = away.come();
    for _ in 0..21 {
        assert_eq!(Letter::next(&smtp).to, ["ann@example.net"]);
    }
    app.wait_until_all_is_sent();
    app.stop();
    assert_eq!(count(&smtp.end(), "mail"), 0);
}

#[test]
fn what_was_refused_for_want_of_room_does_not_come_back_after_a_crash() {
    let away = AwayServer::new();
    let (app, promised) = without_room(&away);
    let (folder, settings) = app.kill();
    let smtp = away.come();
    let app = App::start_just(folder, &settings);
    let arrived: BTreeSet<_> = (0..20).map(|_| Letter::next(&smtp).token_id()).collect();
    assert_eq!(arrived, promised);
    app.wait_until_all_is_sent();
    app.stop();
    assert_eq!(count(&smtp.end(), "mail"), 0);
}
