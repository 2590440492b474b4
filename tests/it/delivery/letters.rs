//! Mails that arrive: in the folder of a first run, at real mail servers, each in the language, with the
//! link and from the sender that it should have.

use std::fs;

use resetd::domain::caller::api_key;
use resetd::domain::mail::Encryption;
use serde_json::json;

use super::{App, Letter, caller, mail_server, mail_to, to_ann, write_private};
use crate::mail::servers::{MailServer, Maker, count};

#[test]
fn with_a_link_and_nothing_else_configured_a_mail_is_in_the_folder_and_its_link_is_good_once() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start_just(folder, "link.template = \"https://app.example.com/reset#{token}\"");
    let answer = app.deliver(&to_ann());
    assert_eq!((&answer["username"], &answer["channel"]), (&json!("ann"), &json!("email")));
    let mails = app.mails(1);
    assert_eq!(mails[0].to, ["ann@example.net"]);
    assert_eq!(mails[0].from, "resetd@localhost");
    assert_eq!(mails[0].link().0, "https://app.example.com/reset");
    app.redeem_once(mails[0].token());
    let log = app.server.log();
    let told = log.lines().find(|line| line.contains("mails are written into this folder"));
    let whole = format!("\"folder\":\"{}\"", app.path().join("mail").display());
    assert!(told.is_some_and(|line| line.contains(&whole)), "{log}");
    for secret in ["eyJ", "ann@example.net", "app.example.com"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    // The answer told until when; the mail of the program itself is not told of where nothing is sent.
    let exp = super::claims(mails[0].token())["exp"].as_u64().unwrap();
    let told = resetd::domain::time::to_rfc3339(resetd_verify::Timestamp::from_seconds(exp));
    assert_eq!(answer["expiredTime"], told);
}

#[test]
fn without_a_link_nothing_is_sent_and_no_folder_is_made() {
    let app = App::start_just(tempfile::tempdir().unwrap(), "");
    let (status, answer) = app.post("/deliveries", &to_ann());
    assert_eq!((status, &answer["code"]), (409, &json!("delivery_not_configured")));
    assert!(!app.path().join("mail").exists());
}

#[test]
fn a_mail_arrives_once_at_servers_that_want_tls_and_a_password() {
    for (maker, encryption) in
        [(Maker::Aiosmtpd, Encryption::StartTls), (Maker::SmtpServer, Encryption::Tls)]
    {
        let smtp = MailServer::start(maker, encryption, &json!({ "password": "geheim ✓" }));
        let folder = tempfile::tempdir().unwrap();
        write_private(&folder.path().join("mail-password"), "geheim ✓\n");
        let app = App::start_in(folder, &mail_to(&smtp));
        app.deliver(&to_ann());
        let (sender, recipients, content) = smtp.mail();
        assert_eq!(
            (sender.as_str(), recipients),
            ("reset@example.com", vec!["ann@example.net".into()])
        );
        let mail = Letter::read(&content);
        app.redeem_once(mail.token());
        assert_eq!(mail.id, format!("<{}@example.com>", mail.token_id()));
        let line = &app.delivered(1)[0];
        assert_eq!((&line["outcome"], &line["jti"]), (&json!("ok"), &json!(mail.token_id())));
        assert_eq!((&line["username"], &line["caller"]), (&json!("a***"), &json!("one-run")));
        app.wait_until_all_is_sent();
        app.stop();
        assert_eq!(count(&smtp.end(), "mail"), 0, "it arrived twice");
    }
}

#[test]
fn a_mail_is_in_the_language_that_is_named_or_that_the_browser_wants() {
    let smtp = mail_server("accept");
    let app = App::start(&mail_to(&smtp));
    let subject = |body: &serde_json::Value, lines: &str| {
        app.deliver_with(body, lines);
        Letter::next(&smtp).subject
    };
    let (english, german) = ("Reset your password for Example", "Neues Passwort für Example");
    let in_language = |tag: &str| {
        let mut body = to_ann();
        body["language"] = tag.into();
        body
    };
    let accept = "Accept-Language: fr, de-AT;q=0.8, en;q=0.5\r\n";
    assert_eq!(subject(&to_ann(), ""), english);
    assert_eq!(subject(&in_language("de-CH"), ""), german);
    assert_eq!(subject(&to_ann(), accept), german);
    assert_eq!(subject(&in_language("en"), accept), english);
    assert_eq!(subject(&in_language("fr"), ""), english);
}

#[test]
fn a_link_leads_where_the_request_wants_it_if_that_is_allowed() {
    let app = App::start("link.return_urls = [\"https://shop.example.com/reset\"]\n");
    let mut body = to_ann();
    body["returnUrl"] = "https://shop.example.com/reset".into();
    app.deliver(&body);
    let mails = app.mails(1);
    assert_eq!(mails[0].link().0, "https://shop.example.com/reset");
    app.redeem_once(mails[0].token());
    body["returnUrl"] = "https://shop.example.com/reset/../evil".into();
    assert_eq!(app.post("/deliveries", &body).0, 422);
}

#[test]
fn each_tenant_has_its_own_link_sender_and_words_and_its_tokens_are_nothing_to_the_other() {
    let smtp = mail_server("accept");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("words")).unwrap();
    let subject = "From {{ product }} for {{ username }}";
    fs::write(folder.path().join("words/reset.en.subject.txt"), subject).unwrap();
    let [own, acme, bare] = [1, 2, 3].map(|number| api_key([number; 32]));
    let callers = [("default", &own), ("acme", &acme), ("bare", &bare)];
    let callers = callers.map(|(tenant, key)| caller(tenant, key, &["deliver", "redeem"]));
    let settings = format!(
        "{}[tenants.acme]\naudience = \"acme\"\n[tenants.acme.link]\ntemplate = \"https://acme.example/new?token={{token}}\"\n[tenants.acme.mail]\nfrom = \"Acme <no-reply@acme.example>\"\ntemplates = \"words\"\n[tenants.bare]\naudience = \"bare\"\n{}",
        mail_to(&smtp),
        callers.concat()
    );
    let app = App::start_in(folder, &settings);
    let ask = |key: &str, path: &str, body| app.ask_as(key, "POST", path, &body, "");
    assert_eq!(ask(own.expose(), "/deliveries", to_ann()).0, 202);
    let first = Letter::next(&smtp);
    assert_eq!(ask(acme.expose(), "/deliveries", to_ann()).0, 202);
    let second = Letter::next(&smtp);
    assert_eq!(
        (first.from.as_str(), first.link().0),
        ("reset@example.com", "https://app.example.com/reset")
    );
    assert_eq!(second.from, "no-reply@acme.example");
    assert_eq!(second.subject, "From Acme for ann");
    let link = second.text.lines().find(|line| line.starts_with("https://")).unwrap();
    let token = link.strip_prefix("https://acme.example/new?token=").unwrap();
    assert_eq!(super::claims(token)["aud"], "acme");
    let body = |token: &str| json!({ "token": token });
    let (status, answer) = ask(own.expose(), "/redemptions", body(token));
    assert_eq!((status, &answer["code"]), (404, &json!("token_unknown")));
    let (status, answer) = ask(acme.expose(), "/redemptions", body(first.token()));
    assert_eq!((status, &answer["code"]), (404, &json!("token_unknown")));
    assert_eq!(ask(acme.expose(), "/redemptions", body(token)).0, 201);
    assert_eq!(ask(own.expose(), "/redemptions", body(first.token())).0, 201);
    // A tenant without a link has none, whatever the default one has.
    let (status, answer) = ask(bare.expose(), "/deliveries", to_ann());
    assert_eq!((status, &answer["code"]), (409, &json!("delivery_not_configured")));
}
