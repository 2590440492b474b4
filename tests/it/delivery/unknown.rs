//! What services are told of links that were never sent: nothing of names of which nobody knows whether
//! they are users, and all of tokens that they were told of before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::people::people;
use super::{App, AwayServer, eventually, webhook};
use crate::webhook::TAKEN;
use crate::webhook::receiver::Receiver;

/// With a directory at this URL, a mail server that is away, and short lives.
fn start(url: &str, receiver: &Receiver) -> App {
    let folder = tempfile::tempdir().unwrap();
    let events = ["issued", "delivered", "delivery_failed"];
    let (webhook, _) = webhook(folder.path(), "app", &receiver.url(), &events, "");
    let settings = format!(
        "token.min_lifetime_seconds = 1\n{}[directory]\nkind = \"http\"\nurl = \"{url}\"\ncache_seconds = 0\n{webhook}",
        AwayServer::new().settings()
    );
    App::start_in(folder, &settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_could_not_be_looked_up_in_time_is_told_to_nobody() {
    let web = people(&Arc::new(AtomicBool::new(false))).await;
    let url = web.url("/users/{username}");
    tokio::task::spawn_blocking(move || {
        let receiver = Receiver::answering(TAKEN);
        let app = start(&url, &receiver);
        app.deliver(&json!({ "username": "nobody", "ttl": 3 }));
        // Whether it is over before or after the next start.
        let (folder, settings) = app.kill();
        let app = App::start_just(folder, &settings);
        app.deliver(&json!({ "username": "somebody", "ttl": 3 }));
        let (folder, settings) = app.kill();
        super::people::wait_for_seconds(4);
        let app = App::start_just(folder, &settings);
        app.deliver(&json!({ "username": "nobody", "ttl": 3 }));
        for outcome in app.outcomes(3) {
            assert!(["directory_unavailable", "expired"].contains(&outcome.as_str()), "{outcome}");
        }
        app.wait_until_all_is_sent();
        assert_eq!(receiver.connections(), 0);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_told_of_and_not_sent_is_told_of_again_whatever_the_last_reason_was() {
    let is_up = Arc::new(AtomicBool::new(true));
    let web = people(&is_up).await;
    let url = web.url("/users/{username}");
    tokio::task::spawn_blocking(move || {
        let receiver = Receiver::answering(TAKEN);
        let app = start(&url, &receiver);
        app.deliver(&json!({ "username": "ann", "ttl": 6 }));
        eventually("a first try", || app.server.log().contains("it is tried again").then_some(()));
        is_up.store(false, Ordering::SeqCst);
        let kinds = [receiver.next(), receiver.next()].map(|message| {
            let event: serde_json::Value = serde_json::from_str(&message.body).unwrap();
            event["type"].as_str().unwrap().to_owned()
        });
        assert_eq!(kinds, ["password-token.issued", "password-token.delivery_failed"]);
        app.wait_until_all_is_sent();
        assert!(receiver.has_none());
    })
    .await
    .unwrap();
}
