//! A promise survives the process: killed, stopped, and started again in the same folder.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    App, AwayServer, Letter, eventually, mail_server, mail_to, outbox_of, promised_in, to_ann,
    webhook,
};
use crate::directory::web::silent;
use crate::mail::servers::count;

fn to(user: u8) -> serde_json::Value {
    json!({ "username": format!("user-{user}"), "to": format!("user-{user}@example.net") })
}

#[test]
fn what_was_promised_before_a_crash_arrives_after_it_once_and_is_the_same_token() {
    let away = AwayServer::new();
    let app = App::start(&away.settings());
    for user in 0..5 {
        app.deliver(&to(user));
    }
    let promised = app.promised();
    assert_eq!(promised.len(), 5);
    let (folder, settings) = app.kill();
    assert_eq!(promised_in(folder.path()), promised);
    let text = outbox_of(folder.path());
    for secret in ["eyJ", "https://", "app.example.com", "token\":"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let smtp = away.come();
    let app = App::start_just(folder, &settings);
    let mails: Vec<_> = (0..5).map(|_| Letter::next(&smtp)).collect();
    let arrived: BTreeSet<_> = mails.iter().map(Letter::token_id).collect();
    assert_eq!(arrived, promised);
    let readers: BTreeSet<_> = mails.iter().map(|mail| mail.to[0].clone()).collect();
    assert_eq!(readers, (0..5).map(|user| format!("user-{user}@example.net")).collect());
    for mail in &mails {
        app.redeem_once(mail.token());
    }
    app.wait_until_all_is_sent();
    app.stop();
    assert_eq!(count(&smtp.end(), "mail"), 0, "a mail arrived twice");
}

#[test]
fn a_mail_that_a_crash_sends_twice_is_the_same_mail_and_redeems_once() {
    // It takes the first mail, and the sender never hears of it.
    let smtp = mail_server("silent_first");
    let app = App::start(&mail_to(&smtp));
    app.deliver(&to_ann());
    let first = Letter::next(&smtp);
    let (folder, settings) = app.kill();
    assert_eq!(promised_in(folder.path()), BTreeSet::from([first.token_id()]));
    let app = App::start_just(folder, &settings);
    let second = Letter::next(&smtp);
    assert_eq!(first.id, second.id);
    assert_eq!(super::claims(first.token()), super::claims(second.token()));
    app.wait_until_all_is_sent();
    assert_eq!(app.redeem(second.token()), (201, String::new()));
    assert_eq!(app.redeem(first.token()), (409, "token_used".into()));
}

#[test]
fn what_was_revoked_or_spent_meanwhile_is_not_sent_after_the_start() {
    let away = AwayServer::new();
    let app = App::start(&away.settings());
    app.deliver(&to(1));
    let revoked = app.promised();
    assert_eq!(app.post("/revocations", &json!({ "tokenId": revoked.first() })).0, 201);
    app.deliver(&to(2));
    let left: BTreeSet<_> = app.promised().difference(&revoked).cloned().collect();
    let (folder, settings) = app.kill();
    let smtp = away.come();
    let app = App::start_just(folder, &settings);
    let mail = Letter::next(&smtp);
    assert_eq!(BTreeSet::from([mail.token_id()]), left);
    app.wait_until_all_is_sent();
    app.stop();
    assert_eq!(count(&smtp.end(), "mail"), 0);
}

#[test]
fn a_server_that_is_asked_to_stop_sends_what_is_due_first() {
    let smtp = mail_server("accept");
    let app = App::start(&mail_to(&smtp));
    for user in 0..5 {
        app.deliver(&to(user));
    }
    let (folder, _) = app.stop();
    assert_eq!(promised_in(folder.path()), BTreeSet::new());
    assert_eq!(count(&smtp.end(), "mail"), 5);
}

#[test]
fn what_cannot_be_sent_in_time_is_kept_for_the_next_start() {
    let smtp = mail_server("silent_first");
    let app = App::start(&format!("server.shutdown_seconds = 1\n{}", mail_to(&smtp)));
    app.deliver(&to_ann());
    let first = Letter::next(&smtp);
    let (folder, settings) = app.stop();
    let log = std::fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
    assert!(log.contains("what was not sent yet is sent after the next start"), "{log}");
    let app = App::start_just(folder, &settings);
    assert_eq!(Letter::next(&smtp).id, first.id);
    app.wait_until_all_is_sent();
    app.stop();
    assert_eq!(count(&smtp.end(), "mail"), 0);
}

#[test]
fn without_a_journal_the_log_says_how_much_is_lost() {
    let settings = format!("state.durability = \"guard\"\n{}", AwayServer::new().settings());
    let app = App::start(&settings);
    app.deliver(&to(1));
    app.deliver(&to(2));
    eventually("two tries", || {
        (app.server.log().matches("it is tried again").count() >= 2).then_some(())
    });
    let (folder, _) = app.stop();
    let log = std::fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
    let told = log.lines().find(|line| line.contains("what was not sent yet is lost"));
    assert!(told.is_some_and(|line| line.contains("\"left\":2")), "{log}");
    assert!(!folder.path().join("state").exists());
}

#[test]
fn a_stop_does_not_wait_for_a_service_that_hangs_longer_than_it_may() {
    let (hanging, url) = silent();
    let folder = tempfile::tempdir().unwrap();
    let (webhook, _) = webhook(folder.path(), "app", &format!("{url}/"), &["issued"], "");
    let app = App::start_in(folder, &format!("server.shutdown_seconds = 1\n{webhook}"));
    assert_eq!(app.post("/password-tokens", &json!({ "username": "ann" })).0, 201);
    let _asked = hanging.accept().unwrap();
    // The service may take as long as a test may, so the program is gone before it.
    let (folder, _) = app.stop();
    assert_eq!(promised_in(folder.path()).len(), 1);
}
