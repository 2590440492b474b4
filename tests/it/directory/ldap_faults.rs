//! Servers that do not speak LDAP as they should, and one that listens in the middle.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use resetd::directory::{Directory, DirectoryLimits};
use resetd::domain::directory::{
    DirectorySource, LdapAttributes, LdapSecurity, LdapSource, UserFilter,
};

use super::{assert_unavailable, name};
use crate::server::PATIENCE;

/// What is done with a connection.
type Script = fn(TcpStream);

/// One that does this with each connection.
fn scripted(security: LdapSecurity, script: Script) -> Directory {
    scripted_within(PATIENCE, security, script)
}

fn scripted_within(timeout: Duration, security: LdapSecurity, script: Script) -> Directory {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || script(stream.unwrap()));
        }
    });
    let source = LdapSource {
        host: "127.0.0.1".into(),
        port,
        security,
        ca_file: None,
        bind: None,
        base: "dc=example".into(),
        filter: UserFilter::parse("(uid={username})").unwrap(),
        disabled_filter: None,
        attributes: LdapAttributes {
            username: "uid".into(),
            email: Some("mail".into()),
            user_id: None,
            credential_id: None,
            identity_providers: None,
            language: None,
        },
    };
    let limits = DirectoryLimits { timeout, cache_for: Duration::ZERO };
    Directory::open(DirectorySource::Ldap(Box::new(source)), limits).unwrap()
}

/// An element of fewer than 64 KiB.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

/// A message about the first request.
fn message(operation: &[u8]) -> Vec<u8> {
    element(0x30, &[b"\x02\x01\x01", operation].concat())
}

fn entry(attributes: &[(&str, &str)]) -> Vec<u8> {
    let attributes = attributes.iter().flat_map(|(name, value)| {
        let values = element(0x31, &element(0x04, value.as_bytes()));
        element(0x30, &[element(0x04, name.as_bytes()), values].concat())
    });
    let attributes: Vec<u8> = attributes.collect();
    message(&element(0x64, &[element(0x04, b"uid=x"), element(0x30, &attributes)].concat()))
}

fn done(code: u8) -> Vec<u8> {
    message(&element(0x65, &[b"\x0a\x01", &[code][..], b"\x04\x00\x04\x00"].concat()))
}

/// Sequences in one another: what follows them all needs more stack than there is.
fn nested() -> Vec<u8> {
    (0..4000).fold(Vec::new(), |inner, _| element(0x30, &inner))
}

/// Waits for the request, answers, and keeps the connection open until the other side ends it.
fn answer(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut Vec::new());
}

#[tokio::test]
async fn an_answer_that_is_not_whole_and_right_is_not_there_to_be_believed() {
    // That it works where nothing is wrong, so that below it fails for the reason given.
    let good = scripted(LdapSecurity::None, |stream| {
        let ann = entry(&[("UID", "Ann"), ("mail", "ann@example.com")]);
        answer(stream, &[ann, done(0)].concat());
    });
    assert_eq!(good.find(&name("ann")).await.unwrap().unwrap().username.as_str(), "Ann");
    let cases: [(&str, Script, &str); 13] = [
        ("another user", |s| answer(s, &[entry(&[("uid", "bob")]), done(0)].concat()), "another"),
        ("no username", |s| answer(s, &[entry(&[("mail", "a@b.c")]), done(0)].concat()), "another"),
        (
            "two users",
            |s| answer(s, &[entry(&[("uid", "ann")]), entry(&[("uid", "ann")]), done(0)].concat()),
            "more than one",
        ),
        ("busy", |s| answer(s, &done(51)), "busy"),
        ("size limit", |s| answer(s, &done(4)), "more than one"),
        (
            "half an answer",
            |mut s| {
                let _ = s.read(&mut [0; 4096]);
                let _ = s.write_all(&entry(&[("uid", "ann")]));
            },
            "the server closed the connection",
        ),
        ("nothing", drop, "the connection"),
        ("HTTP", |s| answer(s, b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not as LDAP"),
        ("4 GB", |s| answer(s, b"\x30\x84\xff\xff\xff\xff"), "longer than"),
        (
            "deep",
            |s| {
                answer(s, &nested());
            },
            "not as LDAP",
        ),
        (
            "for ever",
            |mut s| {
                let _ = s.read(&mut [0; 4096]);
                // Intermediate answers, of which nobody has to make anything.
                let more = message(&element(0x79, &element(0x80, &b"1".repeat(60_000))));
                while s.write_all(&more).is_ok() {}
            },
            "longer than",
        ),
        ("an operation that is none", |s| answer(s, &message(b"\x45\x00")), "closed"),
        (
            "an entry that is none",
            |s| answer(s, &[message(b"\x64\x00"), done(0)].concat()),
            "not as LDAP",
        ),
    ];
    for (what, script, wanted) in cases {
        let found = scripted(LdapSecurity::None, script).find(&name("ann")).await;
        let told = format!("{what}: {found:?}");
        assert!(found.is_err(), "{told}");
        assert!(found.as_ref().unwrap_err().reason().contains(wanted), "{told}");
        assert_unavailable(&found, "ann@example.com", "");
    }
}

#[tokio::test]
async fn who_stands_in_the_middle_can_neither_avoid_tls_nor_end_the_process() {
    let cases: [(Script, &str); 4] = [
        // "protocolError": it knows no TLS.
        (
            |s| answer(s, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"),
            "does not start TLS",
        ),
        // Success, and then an answer in the clear.
        (
            |s| {
                let tls = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
                answer(s, &[&tls[..], &entry(&[("uid", "ann")]), &done(0)].concat());
            },
            "the connection failed",
        ),
        (
            |s| {
                answer(s, &nested());
            },
            "not as LDAP",
        ),
        (drop, "the connection failed"),
    ];
    for (script, wanted) in cases {
        let found = scripted(LdapSecurity::StartTls, script).find(&name("ann")).await;
        assert_unavailable(&found, "ann", wanted);
    }
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_is_replaced_within_the_time_of_one_look_up() {
    // Answers the first request of each connection, and keeps silent from then on.
    let directory = scripted_within(Duration::from_secs(6), LdapSecurity::None, |stream| {
        answer(stream, &[entry(&[("uid", "ann")]), done(0)].concat());
    });
    for _ in 0..2 {
        assert!(directory.find(&name("ann")).await.unwrap().is_some());
    }
}
