//! What becomes of a mail: sent, refused for good, or kept for later, and what the server learns meanwhile.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use resetd::domain::mail::Encryption;
use resetd::domain::secret::Secret;
use resetd::mail::{Hindrance, Mailer, SendError, SmtpSettings, Step, Transport};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::letter_to;
use super::servers::{MailServer, Maker, SOON, count};
use crate::server::PATIENCE;
use crate::tls::certificates::{Authority, Pair};

const ALICE: &str = "alice@example.net";

fn mailer(settings: SmtpSettings) -> Mailer {
    Mailer::new(Transport::Smtp(settings)).unwrap()
}

async fn refused(mailer: &Mailer) -> SendError {
    let error = mailer.send(&letter_to(ALICE, "order-1")).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(!told.contains("alice") && !told.contains("eyJ") && !told.contains("://"), "{told}");
    error
}

#[track_caller]
fn assert_misconfigured(error: &SendError, wanted_step: Step, wanted: &str) {
    let SendError::Transient(Hindrance::Misconfigured { step, problem }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(*step, wanted_step, "{problem}");
    assert!(problem.contains(wanted), "{problem}");
    assert!(error.is_misconfiguration() && !error.is_permanent());
}

#[tokio::test]
async fn a_mail_is_sent_to_servers_that_want_tls_and_a_login() {
    for maker in [Maker::Aiosmtpd, Maker::SmtpServer] {
        for encryption in [Encryption::StartTls, Encryption::Tls] {
            let server = MailServer::start(maker, encryption, &json!({ "password": "geheim ✓" }));
            server.mailer().send(&letter_to(ALICE, "order-1")).await.unwrap();
            let (sender, recipients, content) = server.mail();
            assert_eq!(
                (sender.as_str(), recipients),
                ("reset@example.com", vec![ALICE.to_owned()])
            );
            let sent = letter_to(ALICE, "order-1").message().unwrap();
            // What servers put on top or leave out is between them.
            assert_eq!(text(&content), text(sent.bytes()), "{maker:?} {encryption:?}");
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text[text.find("From:").unwrap()..].trim_end().to_owned()
}

#[tokio::test]
async fn without_encryption_a_mail_goes_to_a_server_on_this_machine() {
    let server = MailServer::start(Maker::Aiosmtpd, Encryption::None, &json!({}));
    server.mailer().send(&letter_to(ALICE, "order-1")).await.unwrap();
    assert_eq!(server.mail().1, [ALICE]);
}

#[tokio::test]
async fn mails_one_after_the_other_go_over_one_connection() {
    let server = MailServer::behaving("accept");
    let mailer = server.mailer();
    for order in ["order-1", "order-2", "order-3"] {
        mailer.send(&letter_to(ALICE, order)).await.unwrap();
    }
    let events = server.end();
    assert_eq!((count(&events, "mail"), count(&events, "connection")), (3, 1));
}

#[tokio::test]
async fn of_many_mails_at_once_few_are_under_way_and_all_arrive() {
    let server = MailServer::behaving("accept");
    let mailer = server.mailer();
    let sending = (0..20).map(|order| {
        let mailer = mailer.clone();
        tokio::spawn(async move {
            let letter = letter_to(&format!("user{order}@example.net"), &format!("order-{order}"));
            mailer.send(&letter).await
        })
    });
    for sent in sending.collect::<Vec<_>>() {
        sent.await.unwrap().unwrap();
    }
    let events = server.end();
    assert_eq!(count(&events, "mail"), 20);
    assert!(count(&events, "connection") <= 4);
    for mail in events.iter().filter(|event| event["event"] == "mail") {
        assert_eq!(mail["recipients"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_recipient_is_a_permanent_failure_and_is_told_without_the_address() {
    let server = MailServer::behaving("refuse_recipient");
    let said = "550 5.1.1 a***@e***.net Recipient address rejected: User unknown".into();
    let wanted = SendError::Permanent { step: Step::Recipient, said };
    assert_eq!(refused(&server.mailer()).await, wanted);
}

fn refusing(answer: &str) -> MailServer {
    let more = json!({ "behaviour": "refuse_recipient", "answer": answer });
    MailServer::start(Maker::Aiosmtpd, Encryption::StartTls, &more)
}

#[tokio::test]
async fn what_is_said_of_a_recipient_ends_a_mail() {
    for answer in [
        "550 <{to}>: No such user here",
        "550 5.1.0 <{to}>: Address rejected",
        "556 5.1.10 <{to}>: Recipient address has null MX",
        "552 5.2.2 <{to}>: Mailbox full",
        "550 5.2.1",
    ] {
        let error = refused(&refusing(answer).mailer()).await;
        assert!(
            matches!(error, SendError::Permanent { step: Step::Recipient, .. }),
            "{answer}: {error:?}"
        );
    }
}

#[tokio::test]
async fn what_a_server_has_against_us_is_our_mistake_though_it_says_so_at_the_recipient() {
    for (answer, wanted) in [
        (
            "553 5.7.1 <{from}>: Sender address rejected: not owned by user resetd",
            "553 5.7.1 r***@e***.com Sender address rejected",
        ),
        ("554 5.7.1 <{to}>: Relay access denied", "554 5.7.1 a***@e***.net Relay access denied"),
        ("554 5.7.1 Service unavailable; Client host blocked", "Client host blocked"),
        ("550 5.7.26 Unauthenticated mail is not accepted", "550 5.7.26 Unauthenticated"),
        ("550 5.1.8 <{from}>: Sender address rejected: Domain not found", "550 5.1.8 r***"),
        ("550 5.1.7 <{from}>: Sender address rejected", "550 5.1.7 r***"),
        ("550 5.3.0 Not here", "550 5.3.0 Not here"),
    ] {
        let error = refused(&refusing(answer).mailer()).await;
        assert_misconfigured(&error, Step::Recipient, wanted);
    }
}

#[tokio::test]
async fn a_refused_content_is_a_permanent_failure_and_is_told_without_the_mail() {
    let server = MailServer::behaving("refuse_content");
    let error = refused(&server.mailer()).await;
    assert!(matches!(error, SendError::Permanent { step: Step::Content, .. }), "{error:?}");
}

#[tokio::test]
async fn a_refused_sender_is_our_mistake_and_no_end_of_the_mail() {
    let server = MailServer::behaving("refuse_sender");
    let error = refused(&server.mailer()).await;
    assert_misconfigured(&error, Step::Sender, "553 5.7.1 r***@e***.com not your address");
}

#[tokio::test]
async fn a_server_that_is_busy_gets_the_same_mail_later() {
    let server = MailServer::behaving("busy_first");
    let mailer = server.mailer();
    let said = "451 4.3.0 try again later".into();
    let wanted = SendError::Transient(Hindrance::NotNow { step: Step::Content, said });
    assert_eq!(refused(&mailer).await, wanted);
    mailer.send(&letter_to(ALICE, "order-1")).await.unwrap();
    let (_, recipients, content) = server.mail();
    assert_eq!(recipients, [ALICE]);
    assert!(text(&content).contains("Message-ID: <order-1@example.com>"));
}

#[tokio::test]
async fn a_wrong_password_is_our_mistake_and_no_end_of_the_mail() {
    for maker in [Maker::Aiosmtpd, Maker::SmtpServer] {
        let server =
            MailServer::start(maker, Encryption::StartTls, &json!({ "password": "right" }));
        let mut settings = server.settings();
        settings.login.as_mut().unwrap().password = Secret::new("wrong");
        let error = refused(&mailer(settings)).await;
        assert_misconfigured(&error, Step::Login, "535 ");
        assert_eq!(server.next("login")["password"], "wrong");
        assert_eq!(count(&server.end(), "sender"), 0);
    }
}

#[tokio::test]
async fn a_missing_login_is_our_mistake_and_no_end_of_the_mail() {
    let server =
        MailServer::start(Maker::Aiosmtpd, Encryption::StartTls, &json!({ "password": "right" }));
    let mut settings = server.settings();
    settings.login = None;
    assert_misconfigured(&refused(&mailer(settings)).await, Step::Sender, "530 ");
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_trusted_learns_neither_password_nor_mail() {
    let elsewhere = tempfile::tempdir().unwrap();
    let ca_file = elsewhere.path().join("ca.pem");
    std::fs::write(&ca_file, Authority::named("another").pem).unwrap();
    for encryption in [Encryption::StartTls, Encryption::Tls] {
        let start = || {
            let more = json!({ "password": "right" });
            MailServer::start(Maker::Aiosmtpd, encryption, &more)
        };
        let changes: [&dyn Fn(&mut SmtpSettings); 3] = [
            &|settings| settings.ca_file = Some(ca_file.clone()),
            &|settings| settings.ca_file = None,
            // The certificate is for the address.
            &|settings| settings.host = "localhost".into(),
        ];
        for change in changes {
            let server = start();
            let mut settings = server.settings();
            change(&mut settings);
            let error = refused(&mailer(settings)).await;
            assert_misconfigured(&error, Step::Encryption, "certificate");
            assert_nothing_was_said(&server.end());
        }
    }
}

fn assert_nothing_was_said(events: &[Value]) {
    for name in ["command", "login", "sender", "recipient", "mail"] {
        assert_eq!(count(events, name), 0, "{events:?}");
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_nothing() {
    let server = MailServer::start(Maker::Aiosmtpd, Encryption::None, &json!({}));
    let mut settings = server.settings();
    settings.encryption = Encryption::StartTls;
    let error = refused(&mailer(settings)).await;
    assert_misconfigured(&error, Step::Encryption, "offers no STARTTLS");
    assert_nothing_was_said(&server.end());
}

#[tokio::test]
async fn answers_that_somebody_put_in_before_tls_are_not_taken_for_the_servers() {
    let server = MailServer::behaving("inject");
    let error = refused(&server.mailer()).await;
    assert!(!error.is_permanent());
    assert_nothing_was_said(&server.end());
}

#[tokio::test]
async fn a_password_does_not_pass_in_the_clear_whatever_the_settings_say() {
    let server =
        MailServer::start(Maker::Aiosmtpd, Encryption::None, &json!({ "password": "right" }));
    let error = refused(&server.mailer()).await;
    assert_misconfigured(&error, Step::Login, "in the clear");
    assert_nothing_was_said(&server.end());
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    // The system takes the connection, and nobody says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for encryption in [Encryption::None, Encryption::StartTls, Encryption::Tls] {
        let settings = SmtpSettings {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            encryption,
            login: None,
            ca_file: None,
            timeout: SOON,
        };
        let wanted = SendError::Transient(Hindrance::TimedOut { seconds: 1 });
        assert_eq!(refused(&mailer(settings)).await, wanted);
    }
}

#[tokio::test]
async fn a_server_that_stops_answering_is_given_up_in_time() {
    let server = MailServer::behaving("tarpit");
    let mut settings = server.settings();
    settings.timeout = Duration::from_secs(3);
    let wanted = SendError::Transient(Hindrance::TimedOut { seconds: 3 });
    assert_eq!(refused(&mailer(settings)).await, wanted);
}

#[tokio::test]
async fn an_answer_without_an_end_does_not_take_our_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talking = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = 0;
        // Until nobody listens any more.
        while stream.write_all(&[b'2'; 4096]).is_ok() {
            said += 4096;
        }
        said
    });
    let settings = SmtpSettings {
        host: "127.0.0.1".into(),
        port,
        encryption: Encryption::StartTls,
        login: None,
        ca_file: None,
        timeout: PATIENCE,
    };
    let error = refused(&mailer(settings)).await;
    assert!(error.to_string().contains("more than any answer has"), "{error}");
    // What the system holds on its way is not ours.
    assert!(talking.join().unwrap() < 32 * 1024 * 1024);
}

/// Says so much without an end of a line, over TLS from the first byte, until nobody listens any more.
fn talkative(pair: &Pair) -> (u16, JoinHandle<usize>) {
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.der()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talking = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let (mut stream, mut said) = (StreamOwned::new(connection, stream), 0);
        while said < MOST_SAID && stream.write_all(&[b'2'; 4096]).is_ok() {
            said += 4096;
        }
        said
    });
    (port, talking)
}

const MOST_SAID: usize = 256 * 1024 * 1024;

#[tokio::test]
async fn an_answer_without_an_end_does_not_take_our_memory_over_tls_either() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &authority.pem).unwrap();
    let (port, talking) = talkative(&authority.sign());
    let settings = SmtpSettings {
        host: "127.0.0.1".into(),
        port,
        encryption: Encryption::Tls,
        login: None,
        ca_file: Some(ca_file),
        timeout: PATIENCE,
    };
    let error = refused(&mailer(settings)).await;
    assert!(error.to_string().contains("more than any answer has"), "{error}");
    assert!(talking.join().unwrap() < 32 * 1024 * 1024);
}

#[tokio::test]
async fn a_kept_connection_that_hangs_costs_the_next_mail_a_part_of_its_time_only() {
    let server = MailServer::behaving("tarpit_noop");
    let mut settings = server.settings();
    settings.timeout = Duration::from_secs(15);
    let mailer = mailer(settings);
    mailer.send(&letter_to(ALICE, "order-1")).await.unwrap();
    mailer.send(&letter_to(ALICE, "order-2")).await.unwrap();
    let events = server.end();
    let counts = ["mail", "asked", "connection"].map(|name| count(&events, name));
    assert_eq!(counts, [2, 1, 2]);
}

#[tokio::test]
async fn a_connection_that_was_given_up_carries_no_other_mail() {
    let more = json!({ "behaviour": "late_recipient", "seconds": 3600 });
    let server = MailServer::start(Maker::Aiosmtpd, Encryption::StartTls, &more);
    let mut settings = server.settings();
    settings.timeout = Duration::from_secs(3);
    let mailer = mailer(settings);
    assert_eq!(refused(&mailer).await, SendError::Transient(Hindrance::TimedOut { seconds: 3 }));
    mailer.send(&letter_to("bob@example.net", "order-2")).await.unwrap();
    let events = server.end();
    assert_eq!(count(&events, "connection"), 2);
    let mails: Vec<_> = events.iter().filter(|event| event["event"] == "mail").collect();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0]["recipients"], json!(["bob@example.net"]));
}

#[tokio::test]
async fn a_connection_that_ends_in_the_middle_of_a_mail_is_a_transient_failure() {
    let server = MailServer::behaving("drop");
    let error = refused(&server.mailer()).await;
    let is_broken =
        matches!(error, SendError::Transient(Hindrance::BrokeOff { step: Step::Content, .. }));
    assert!(is_broken, "{error:?}");
    server.next("dropped");
}

#[tokio::test]
async fn an_answer_of_another_kind_is_not_taken_for_a_yes() {
    let server = MailServer::behaving("wrong_kind");
    let error = refused(&server.mailer()).await;
    assert!(matches!(error, SendError::Transient(Hindrance::BrokeOff { .. })), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_transient_failure() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for encryption in [Encryption::None, Encryption::StartTls, Encryption::Tls] {
        let settings = SmtpSettings {
            host: "127.0.0.1".into(),
            port,
            encryption,
            login: None,
            ca_file: None,
            timeout: Duration::from_secs(30),
        };
        let error = refused(&mailer(settings)).await;
        assert!(matches!(error, SendError::Transient(Hindrance::Unreachable { .. })), "{error:?}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_used_again() {
    let first = MailServer::behaving("accept");
    let mailer = first.mailer();
    mailer.send(&letter_to(ALICE, "order-1")).await.unwrap();
    drop(first.end());
    let error = refused(&mailer).await;
    assert!(matches!(error, SendError::Transient(Hindrance::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn an_address_beyond_ascii_goes_only_to_a_server_that_knows_such() {
    let letter = || letter_to("zoë@example.net", "order-1");
    let server = MailServer::start(Maker::Aiosmtpd, Encryption::StartTls, &json!({ "utf8": true }));
    server.mailer().send(&letter()).await.unwrap();
    assert_eq!(server.mail().1, ["zoë@example.net"]);
    let server = MailServer::behaving("accept");
    let error = server.mailer().send(&letter()).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("SMTPUTF8"), "{error}");
}

#[test]
fn signers_that_cannot_be_read_are_refused_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = MailServer::behaving("accept");
    for (name, text, wanted) in [
        ("none.pem", None, "No such file"),
        ("empty.pem", Some(""), "wanted certificates in PEM, found none"),
    ] {
        let path = folder.path().join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let mut settings = server.settings();
        settings.ca_file = Some(path);
        let error = Mailer::new(Transport::Smtp(settings)).unwrap_err().to_string();
        assert!(error.starts_with("mail.ca_file: "), "{error}");
        assert!(error.contains(name) && error.contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn no_provider_of_cryptography_is_installed_for_the_whole_process() {
    let server = MailServer::behaving("accept");
    server.mailer().send(&letter_to(ALICE, "order-1")).await.unwrap();
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}
