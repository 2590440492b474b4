//! Webhooks: the one that hands links on, and those that are told what happened.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use resetd::domain::caller::api_key;
use serde_json::{Value, json};

use super::{App, caller, claims, eventually, outbox_of, to_ann, webhook};
use crate::directory::web::silent;
use crate::interop::tools::Tools;
use crate::webhook::receiver::{Received, Receiver};
use crate::webhook::{TAKEN, verdicts};

const ALL: [&str; 6] = ["issued", "delivered", "delivery_failed", "redeemed", "revoked", "reused"];

/// A receiver that has too much to do for its first messages.
fn busy_for(messages: usize) -> Receiver {
    let count = AtomicUsize::new(0);
    Receiver::start(move |stream| {
        let is_busy = count.fetch_add(1, Ordering::SeqCst) < messages;
        let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(if is_busy { busy } else { TAKEN }.as_bytes());
    })
}

fn json_of(message: &Received) -> Value {
    serde_json::from_str(&message.body).unwrap()
}

fn kind(event: &Value) -> &str {
    event["type"].as_str().unwrap().strip_prefix("password-token.").unwrap()
}

fn by_webhook() -> Value {
    json!({
        "username": "ann", "to": "ann@example.net", "channel": "webhook", "language": "de",
        "userId": "4711",
    })
}

#[test]
fn a_service_that_may_have_the_token_gets_it_signed_and_again_until_it_takes_it() {
    let receiver = busy_for(1);
    let folder = tempfile::tempdir().unwrap();
    let url = receiver.url();
    let (settings, secret) =
        webhook(folder.path(), "app", &url, &["delivery"], "carry_token = true");
    let app = App::start_in(folder, &format!("mail.transport = \"off\"\n{settings}"));
    app.deliver(&by_webhook());
    let promised = app.promised();
    assert!(!outbox_of(app.path()).contains("eyJ"));
    let [first, second] = [receiver.next(), receiver.next()];
    let verified = verdicts(
        Tools::installed().python(include_str!("../webhook/verify.py")),
        &[(&secret, &first), (&secret, &second)],
    );
    assert_eq!(verified, ["password-token.delivery"; 2]);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    let data = json_of(&second)["data"].clone();
    let token = data["token"].as_str().unwrap();
    assert_eq!(data["link"], format!("https://app.example.com/reset#{token}"));
    let found = ["username", "to", "language", "userId", "caller", "carriesToken"];
    let wanted = json!(["ann", "ann@example.net", "de", "4711", "one-run", true]);
    assert_eq!(Value::from_iter(found.map(|name| data[name].clone())), wanted);
    assert_eq!(Some(data["tokenId"].as_str().unwrap()), promised.first().map(String::as_str));
    assert_eq!(claims(token)["jti"], data["tokenId"]);
    let earlier = json_of(&first)["data"]["token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&earlier), claims(token), "it is another signature of the same token");
    app.redeem_once(token);
    assert_eq!(app.redeem(&earlier).0, 409);
    assert_eq!(app.outcomes(1), ["ok"]);
    app.wait_until_all_is_sent();
    assert!(receiver.has_none());
    assert!(!app.server.log().contains("eyJ"));
    // There is no mail here.
    assert_eq!(app.post("/deliveries", &to_ann()).1["code"], "delivery_not_configured");
}

#[test]
fn a_service_that_is_gone_ends_it() {
    let receiver = Receiver::answering("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n");
    let told = Receiver::answering(TAKEN);
    let folder = tempfile::tempdir().unwrap();
    let more = "carry_token = true";
    let (gone, _) = webhook(folder.path(), "app", &receiver.url(), &["delivery"], more);
    let (news, _) = webhook(folder.path(), "news", &told.url(), &["delivery_failed"], "");
    let app = App::start_in(folder, &format!("{gone}{news}"));
    app.deliver(&by_webhook());
    receiver.next();
    assert_eq!(app.outcomes(1), ["webhook_refused"]);
    let event = json_of(&told.next());
    assert_eq!((kind(&event), &event["data"]["channel"]), ("delivery_failed", &json!("webhook")));
    app.wait_until_all_is_sent();
    assert!(receiver.has_none());
}

#[test]
fn a_service_that_may_not_have_the_token_is_none_that_sends_links() {
    let receiver = Receiver::answering(TAKEN);
    let folder = tempfile::tempdir().unwrap();
    let (settings, _) = webhook(folder.path(), "app", &receiver.url(), &ALL, "");
    let app = App::start_in(folder, &settings);
    let (status, answer) = app.post("/deliveries", &by_webhook());
    assert_eq!((status, &answer["code"]), (409, &json!("delivery_not_configured")));
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn what_happens_to_tokens_is_told_to_the_tenants_own_services_and_no_message_has_a_token() {
    let (receiver, others) = (Receiver::answering(TAKEN), Receiver::answering(TAKEN));
    let folder = tempfile::tempdir().unwrap();
    let (own, _) = webhook(folder.path(), "app", &receiver.url(), &ALL, "");
    let (other, _) = webhook(folder.path(), "other", &others.url(), &ALL, "tenant = \"acme\"");
    let app = App::start_in(folder, &format!("[tenants.acme]\naudience = \"acme\"\n{own}{other}"));
    app.deliver(&to_ann());
    let next = || {
        let message = receiver.next();
        assert!(!message.body.contains("eyJ") && !message.body.contains("https://"));
        assert!(!message.body.contains("ann@example.net"), "{}", message.body);
        json_of(&message)
    };
    // Both are sent at once, so either may be the first to arrive.
    let mut both = [next(), next()];
    both.sort_by_key(|event| kind(event) == "delivered");
    let mail = app.mails(1).remove(0);
    for (event, wanted) in both.iter().zip(["issued", "delivered"]) {
        assert_eq!(kind(event), wanted);
        assert_eq!(event["data"]["tokenId"], mail.token_id());
    }
    let is_told = |wanted: &str, jti: &Value| {
        let event = next();
        assert_eq!((kind(&event), &event["data"]["tokenId"]), (wanted, jti));
    };
    let jti = json!(mail.token_id());
    assert_eq!(app.redeem(mail.token()).0, 201);
    is_told("redeemed", &jti);
    assert_eq!(app.redeem(mail.token()).0, 409);
    is_told("reused", &jti);
    let (_, issued) = app.post("/password-tokens", &json!({ "username": "bob" }));
    let token = issued["token"].as_str().unwrap();
    is_told("issued", &claims(token)["jti"]);
    assert_eq!(app.ask("DELETE", &format!("/password-tokens/{token}"), &Value::Null).0, 204);
    is_told("revoked", &claims(token)["jti"]);
    app.wait_until_all_is_sent();
    assert!(receiver.has_none());
    assert_eq!(others.connections(), 0);
}

#[test]
fn a_tenants_services_are_told_of_its_own_tokens() {
    let (receiver, others) = (Receiver::answering(TAKEN), Receiver::answering(TAKEN));
    let folder = tempfile::tempdir().unwrap();
    let (own, _) = webhook(folder.path(), "app", &receiver.url(), &ALL, "");
    let (other, _) = webhook(folder.path(), "other", &others.url(), &ALL, "tenant = \"acme\"");
    let key = api_key([1; 32]);
    let settings = format!(
        "[tenants.acme]\naudience = \"acme\"\n{}{own}{other}",
        caller("acme", &key, &["issue"])
    );
    let app = App::start_in(folder, &settings);
    let ask = json!({ "username": "ann" });
    assert_eq!(app.ask_as(key.expose(), "POST", "/password-tokens", &ask, "").0, 201);
    assert_eq!(json_of(&others.next())["data"]["tenant"], "acme");
    app.wait_until_all_is_sent();
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn a_service_that_hangs_holds_up_neither_mails_nor_another_service() {
    let (hanging, url) = silent();
    let receiver = Receiver::answering(TAKEN);
    let folder = tempfile::tempdir().unwrap();
    let (slow, _) = webhook(folder.path(), "slow", &format!("{url}/"), &["issued"], "");
    let (well, _) = webhook(folder.path(), "well", &receiver.url(), &["issued"], "");
    let app = App::start_in(folder, &format!("{slow}{well}"));
    // More than are under way to one service at once.
    for user in 0..20 {
        app.deliver(&json!({ "username": format!("user-{user}"), "to": "ann@example.net" }));
    }
    assert_eq!(app.mails(20).len(), 20);
    for _ in 0..20 {
        receiver.next();
    }
    // Now somebody is there, and still says nothing.
    let _asked = hanging.accept().unwrap();
    eventually("the end of all others", || (app.promised().len() == 20).then_some(()));
}

#[test]
fn what_a_service_was_not_told_before_a_crash_it_is_told_after_it() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let receiver = Receiver::start(move |stream| {
        let down = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
        let answer = if up.load(Ordering::SeqCst) { TAKEN } else { down };
        let _ = stream.write_all(answer.as_bytes());
    });
    let folder = tempfile::tempdir().unwrap();
    let (settings, secret) = webhook(folder.path(), "app", &receiver.url(), &["issued"], "");
    let app = App::start_in(folder, &settings);
    let (_, issued) = app.post("/password-tokens", &json!({ "username": "ann" }));
    let first = receiver.next();
    let (folder, settings) = app.kill();
    let text = outbox_of(folder.path());
    assert!(!text.contains("eyJ"), "{text}");
    is_up.store(true, Ordering::SeqCst);
    while !receiver.has_none() {}
    let app = App::start_just(folder, &settings);
    let again = receiver.next();
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(again.body, first.body);
    let jti = claims(issued["token"].as_str().unwrap())["jti"].clone();
    assert_eq!(json_of(&again)["data"]["tokenId"], jti);
    let python = Tools::installed().python(include_str!("../webhook/verify.py"));
    assert_eq!(verdicts(python, &[(&secret, &again)]), ["password-token.issued"]);
    app.wait_until_all_is_sent();
    assert!(receiver.has_none());
    assert!(!fs::read_to_string(app.path().join("log.jsonl")).unwrap().contains("whsec_"));
}

#[test]
fn the_commit_of_a_hold_from_before_a_restart_is_told_by_its_identifier_once() {
    let receiver = Receiver::start(|stream| {
        let _ = stream.write_all(TAKEN.as_bytes());
    });
    let folder = tempfile::tempdir().unwrap();
    let (settings, _) = webhook(folder.path(), "app", &receiver.url(), &["redeemed"], "");
    let app = App::start_in(folder, &settings);
    let (_, issued) = app.post("/password-tokens", &json!({ "username": "ann" }));
    let to_hold = json!({ "token": issued["token"], "hold": 600 });
    let (status, held) = app.post("/redemptions", &to_hold);
    assert_eq!(status, 201, "{held}");
    let (folder, settings) = app.kill();
    let app = App::start_just(folder, &settings);
    let commit = format!("/redemptions/{}/commit", held["redemptionId"].as_str().unwrap());
    for _ in 0..2 {
        let (status, committed) = app.post(&commit, &json!({}));
        assert_eq!(status, 200, "{committed}");
    }
    let event = json_of(&receiver.next());
    assert_eq!(kind(&event), "redeemed");
    assert_eq!(event["data"]["tokenId"], held["tokenId"]);
    assert_eq!(event["data"].get("username"), None);
    app.wait_until_all_is_sent();
    assert!(receiver.has_none());
}
