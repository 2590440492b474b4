//! How a mail is written down, read back by Python's `email` package, and the folder of mails.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use resetd::domain::identifier::Username;
use resetd::mail::{About, Letter, LetterId, Mailer, SendError, Transport};
use serde_json::{Value, json};

use super::{NOON, letter_to, letter_with, long_link, render, reset, username};
use crate::interop::tools::Tools;

pub(crate) fn parsed(bytes: &[u8]) -> Value {
    let mut python = Tools::installed()
        .python(include_str!("parse.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn parsed_letter(letter: &Letter) -> Value {
    parsed(letter.message().unwrap().bytes())
}

/// The names of all headers, and the value of one.
fn names(mail: &Value) -> Vec<&str> {
    let headers = mail["headers"].as_array().unwrap().iter();
    headers.map(|header| header[0].as_str().unwrap()).collect()
}

fn header<'m>(mail: &'m Value, name: &str) -> &'m str {
    let mut headers = mail["headers"].as_array().unwrap().iter();
    headers.find(|header| header[0] == name).unwrap()[1].as_str().unwrap()
}

const HEADERS: [&str; 9] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
];

#[test]
fn a_mail_has_the_headers_of_a_mail_that_no_person_wrote_and_no_other() {
    let mail = parsed_letter(&letter_to("alice@example.net", "order-1"));
    assert_eq!(names(&mail), HEADERS);
    assert_eq!(mail["from"], json!([["Zoë's \u{1f511} Shop", "reset@example.com"]]));
    assert_eq!(mail["to"], json!(["alice@example.net"]));
    assert_eq!(mail["date"], "2026-11-26T12:00:00+00:00");
    assert_eq!(header(&mail, "Message-ID"), "<order-1@example.com>");
    assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(&mail, "X-Auto-Response-Suppress"), "All");
    assert_eq!(header(&mail, "Subject"), "Reset your password for Example");
    assert_eq!(mail["defects"], json!([]));
}

#[test]
fn a_long_link_is_whole_after_decoding_and_no_line_is_long() {
    let mail = parsed_letter(&letter_to("alice@example.net", "order-1"));
    assert_eq!(mail["type"], "multipart/alternative");
    let [text, html] = [0, 1].map(|at| mail["parts"][at].clone());
    assert_eq!((&text[0], &html[0]), (&json!("text/plain"), &json!("text/html")));
    let text = text[1].as_str().unwrap();
    assert!(text.lines().any(|line| line == long_link()), "{text}");
    let link = long_link().replace('&', "&amp;");
    let html = html[1].as_str().unwrap();
    assert!(html.contains(&format!("<a class=\"button\" href=\"{link}\">")), "{html}");
    assert!(
        html.contains(&format!("\n<p class=\"link\"><a href=\"{link}\">{link}</a></p>\n")),
        "{html}"
    );
    assert!(mail["longest"].as_u64().unwrap() <= 78, "{}", mail["longest"]);
    assert_eq!(mail["bare"], 0);
}

#[test]
fn a_mail_is_written_down_in_the_same_way_each_time() {
    let letter = letter_to("alice@example.net", "order-1");
    let bytes = || letter.message().unwrap().bytes().to_vec();
    assert_eq!(bytes(), bytes());
}

#[test]
fn no_name_of_a_user_or_a_product_becomes_a_header_or_a_recipient() {
    assert!(Username::parse("alice\r\nBcc: eve@example.net").is_none());
    let long = "long ".repeat(200);
    for (product, told) in [
        ("Shop\r\nBcc: eve@example.net", "Shop Bcc: eve@example.net"),
        ("Shop\nBcc: eve@example.net", "Shop Bcc: eve@example.net"),
        ("Shop\rBcc: eve@example.net\r\n\r\n<h1>", "Shop Bcc: eve@example.net <h1>"),
        ("Shop\u{2028}Bcc: eve@example.net\u{0}\u{85}", "Shop Bcc: eve@example.net"),
        (
            "=?utf-8?q?Shop=0d=0aBcc:_eve@example.net?=",
            "=?utf-8?q?Shop=0d=0aBcc:_eve@example.net?=",
        ),
        ("Zo\u{eb}'s \u{1f511} =?utf-8?b?ZQ==?= =?", "Zo\u{eb}'s \u{1f511} =?utf-8?b?ZQ==?= =?"),
        (long.as_str(), &long[..200]),
    ] {
        let rendered = render(&username("eve@example.net, bob"), product, reset(&long_link()));
        let letter = letter_with("alice@example.net", "order-1", rendered);
        let mail = parsed_letter(&letter);
        assert_eq!(names(&mail), HEADERS, "{product:?}");
        let subject: String = format!("Reset your password for {told}").chars().take(200).collect();
        assert_eq!(header(&mail, "Subject"), subject);
        let text = mail["parts"][0][1].as_str().unwrap();
        let line = format!("someone asked to reset the password of this account at {told}:");
        assert!(text.lines().any(|it| it == line), "{text}");
        assert!(mail["longest"].as_u64().unwrap() <= 78, "{}", mail["longest"]);
        assert_eq!(mail["to"], json!(["alice@example.net"]));
        assert_eq!(mail["defects"], json!([]));
        assert_eq!(mail["parts"].as_array().unwrap().len(), 2);
        let raw = letter.message().unwrap();
        let raw = String::from_utf8(raw.bytes().to_vec()).unwrap();
        let (head, _) = raw.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("\nBcc"), "{head}");
    }
}

#[test]
fn what_names_a_mail_has_no_place_for_a_header() {
    for text in ["", "a b", "a>\r\nBcc: b", "a@b", "../a", &"a".repeat(65)] {
        assert!(LetterId::parse(text).is_none(), "{text:?}");
    }
    assert_eq!(LetterId::parse("Az09_-").unwrap().as_str(), "Az09_-");
}

#[test]
fn a_notice_has_no_link() {
    let rendered = render(&username("alice"), "Example", About::Redeemed { at: NOON });
    let mail = parsed_letter(&letter_with("alice@example.net", "order-1", rendered));
    assert_eq!(header(&mail, "Subject"), "Your password for Example was changed");
    for part in mail["parts"].as_array().unwrap() {
        let text = part[1].as_str().unwrap();
        assert!(text.contains("2026-11-26 12:00 UTC"), "{text}");
        assert!(!text.contains("://") && !text.contains("href"), "{text}");
    }
}

#[test]
fn nothing_of_a_mail_is_printed_for_debugging() {
    let letter = letter_to("alice@example.net", "order-1");
    let shown = format!("{letter:?} {:?}", letter.message().unwrap());
    assert!(!shown.contains("alice") && !shown.contains("app.example.com"), "{shown}");
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_mail_in_a_folder_is_whole_and_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some/mail");
    let mailer = Mailer::new(Transport::Maildir(path.clone())).unwrap();
    for name in ["", "tmp", "new", "cur"] {
        assert_eq!(mode(&path.join(name)), 0o700, "{name}");
    }
    let letter = letter_to("alice@example.net", "order-1");
    mailer.send(&letter).await.unwrap();
    assert_eq!(files(&path.join("new")), ["order-1@example.com"]);
    assert!(files(&path.join("tmp")).is_empty());
    let file = path.join("new/order-1@example.com");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(fs::read(file).unwrap(), letter.message().unwrap().bytes());
}

#[tokio::test]
async fn a_mail_stands_in_a_folder_once_also_when_it_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (new, cur) = (folder.path().join("mail/new"), folder.path().join("mail/cur"));
    let mailer = Mailer::new(Transport::Maildir(folder.path().join("mail"))).unwrap();
    let send = async |id: &str| mailer.send(&letter_to("alice@example.net", id)).await.unwrap();
    send("order-1").await;
    send("order-1").await;
    assert_eq!(files(&new), ["order-1@example.com"]);
    let seen = cur.join("order-1@example.com:2,S");
    fs::rename(new.join("order-1@example.com"), seen).unwrap();
    send("order-1").await;
    assert!(files(&new).is_empty());
    send("order-10").await;
    assert_eq!(files(&new), ["order-10@example.com"]);
}

#[test]
fn a_folder_that_others_may_look_into_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail");
    fs::create_dir(&path).unwrap();
    let open = || Mailer::new(Transport::Maildir(path.clone()));
    for mode in [0o755, 0o750, 0o701, 0o720] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.starts_with("mail.directory: "), "{error}");
        let mend = format!("chmod 700 {}", path.display());
        assert!(error.contains(&format!("has mode {mode:04o}")) && error.ends_with(&mend));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    open().unwrap();
}

#[test]
fn what_a_process_that_died_left_half_written_is_removed_a_day_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail");
    let open = || Mailer::new(Transport::Maildir(path.clone())).unwrap();
    open();
    for name in ["tmp/old", "tmp/fresh", "new/old"] {
        let file = fs::File::create(path.join(name)).unwrap();
        if name.ends_with("old") {
            let now = file.metadata().unwrap().modified().unwrap();
            file.set_modified(now - Duration::from_secs(25 * 60 * 60)).unwrap();
        }
    }
    open();
    assert_eq!(files(&path.join("tmp")), ["fresh"]);
    assert_eq!(files(&path.join("new")), ["old"]);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_a_transient_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail");
    let mailer = Mailer::new(Transport::Maildir(path.clone())).unwrap();
    fs::remove_dir_all(&path).unwrap();
    let error = mailer.send(&letter_to("alice@example.net", "order-1")).await.unwrap_err();
    assert!(matches!(&error, SendError::Transient(_)), "{error:?}");
    assert!(error.to_string().contains("No such file"), "{error}");
    fs::write(&path, "a file").unwrap();
    let error = Mailer::new(Transport::Maildir(path)).unwrap_err().to_string();
    assert!(error.starts_with("mail.directory: "), "{error}");
}
