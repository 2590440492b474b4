//! What is tried again, what is not, and that no request waits for either.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::TcpListener;

use serde_json::json;

use super::{App, AwayServer, Letter, mail_at, mail_server, mail_to, to_ann, webhook};
use crate::directory::web::silent;
use crate::mail::servers::count;
use crate::server::PATIENCE;
use crate::webhook::TAKEN;
use crate::webhook::receiver::Receiver;

#[test]
fn a_mail_that_was_refused_for_now_arrives_later_with_the_token_that_was_promised() {
    let smtp = mail_server("busy_first");
    let app = App::start(&mail_to(&smtp));
    app.deliver(&to_ann());
    let promised = app.promised();
    let mail = Letter::next(&smtp);
    assert_eq!(BTreeSet::from([mail.token_id()]), promised);
    app.redeem_once(mail.token());
    assert_eq!(app.outcomes(1), ["ok"], "a try is not told of in the trail");
    assert!(app.server.log().contains("451 4.3.0 try again later"));
    app.wait_until_all_is_sent();
    app.stop();
    let events = smtp.end();
    assert_eq!(count(&events, "mail"), 0);
}

#[test]
fn a_mail_whose_server_comes_later_arrives_then() {
    let away = AwayServer::new();
    let app = App::start(&away.settings());
    app.deliver(&to_ann());
    let promised = app.promised();
    assert_eq!(promised.len(), 1);
    super::eventually("a first try", || {
        app.server.log().contains("it is tried again").then_some(())
    });
    let mail = Letter::next(&away.come());
    assert_eq!(BTreeSet::from([mail.token_id()]), promised);
    app.redeem_once(mail.token());
}

#[test]
fn a_refused_recipient_ends_it_and_is_told_where_it_should_be() {
    let (smtp, receiver) = (mail_server("refuse_recipient"), Receiver::answering(TAKEN));
    let folder = tempfile::tempdir().unwrap();
    let events = ["delivered", "delivery_failed"];
    let (webhook, _) = webhook(folder.path(), "app", &receiver.url(), &events, "");
    let app = App::start_in(folder, &format!("{}{webhook}", mail_to(&smtp)));
    app.deliver(&to_ann());
    let line = app.delivered(1).remove(0);
    assert_eq!(line["outcome"], "mail_refused");
    let event: serde_json::Value = serde_json::from_str(&receiver.next().body).unwrap();
    assert_eq!(event["type"], "password-token.delivery_failed");
    assert_eq!(event["data"]["tokenId"], line["jti"]);
    assert_eq!(event["data"]["username"], "ann");
    for told in [&line["reason"], &event["data"]["reason"]] {
        let told = told.as_str().unwrap();
        assert!(told.contains("550 5.1.1") && !told.contains("ann@example.net"), "{told}");
    }
    app.wait_until_all_is_sent();
    let log = app.server.log();
    assert!(!log.contains("ann@example.net") && !log.contains("eyJ"), "{log}");
    app.stop();
    assert_eq!(count(&smtp.end(), "recipient"), 1, "it was tried again");
    assert!(receiver.has_none());
}

#[test]
fn a_mail_is_tried_until_its_token_expires_and_no_longer() {
    let (away, receiver) = (AwayServer::new(), Receiver::answering(TAKEN));
    let folder = tempfile::tempdir().unwrap();
    let events = ["issued", "delivery_failed"];
    let (webhook, _) = webhook(folder.path(), "app", &receiver.url(), &events, "");
    let settings = format!("token.min_lifetime_seconds = 1\n{}{webhook}", away.settings());
    let app = App::start_in(folder, &settings);
    app.deliver(&json!({ "username": "ann", "to": "ann@example.net", "ttl": 5 }));
    // Whichever is found out first: that a try failed and there is no time for another, or that it is over.
    let outcome = app.outcomes(1).remove(0);
    assert!(["mail_unavailable", "expired"].contains(&outcome.as_str()), "{outcome}");
    let kinds = [receiver.next(), receiver.next()].map(|message| {
        let event: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        event["type"].as_str().unwrap().to_owned()
    });
    assert_eq!(kinds, ["password-token.issued", "password-token.delivery_failed"]);
    app.wait_until_all_is_sent();
    assert!(receiver.has_none(), "a token that is tried again is not issued again");
}

#[test]
fn no_answer_waits_for_a_mail_server_that_never_says_a_word() {
    let tarpit = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tarpit.local_addr().unwrap().port();
    let app = App::start(&mail_at("127.0.0.1", port, "none"));
    // More than are under way at once.
    for user in 0..20 {
        app.deliver(&json!({ "username": format!("user-{user}"), "to": "ann@example.net" }));
    }
    assert_eq!(app.promised().len(), 20);
    // Only now does somebody take the connections, and still nobody has said anything.
    let (_taken, _) = tarpit.accept().unwrap();
    assert_eq!(app.promised().len(), 20);
    assert!(app.delivered(0).is_empty());
    app.deliver(&to_ann());
    let (status, _) = app.post("/password-tokens", &json!({ "username": "bob" }));
    assert_eq!(status, 201);
}

#[test]
fn no_answer_waits_for_a_directory_that_hangs() {
    let (directory, url) = silent();
    let settings = format!(
        "[directory]\nkind = \"http\"\nurl = \"{url}/users/{{username}}\"\ntimeout_seconds = 60\n"
    );
    let app = App::start(&settings);
    for user in ["ann", "bob"] {
        app.deliver(&json!({ "username": user }));
    }
    let (status, answer) = app.post("/password-tokens", &json!({ "username": "ann" }));
    assert_eq!((status, &answer["code"]), (403, &json!("delivery_only")));
    // It was asked, and nobody there has even taken the connection until now.
    let (mut asked, _) = directory.accept().unwrap();
    asked.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 11];
    asked.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"GET /users/");
    assert_eq!(app.promised().len(), 2);
    assert!(app.folder_of_mails().is_empty());
}
