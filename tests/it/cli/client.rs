//! The client commands with a wrong key, a wrong URL, or something else behind it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::thread;

use super::{STRANGE_KEY, tell};
use crate::server::{Server, resetd};

#[test]
fn an_api_key_is_taken_from_a_file_with_the_newline_that_editors_leave() {
    let server = Server::start();
    for text in [server.api_key.clone(), format!("{}\n", server.api_key)] {
        fs::write(server.folder.path().join("key"), text).unwrap();
        let mut command = server.client();
        command.env_remove("RESETD_API_KEY");
        tell(command.args(["issue", "alice", "--api-key-file", "key"]), 0);
    }
}

#[test]
fn an_api_key_that_cannot_be_one_is_refused_unsent_and_unshown() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = "wanted an API key, rsk_ and 52 characters of a-z 2-7";
    let (half, rest) = STRANGE_KEY.split_at(30);
    for (key, found) in [
        (format!("{half}\n{rest}"), "white space after 30 characters"),
        (format!("{STRANGE_KEY}\r"), "white space after 56 characters"),
        (format!(" {STRANGE_KEY}"), "white space after 0 characters"),
        (format!("Bearer {STRANGE_KEY}"), "white space after 6 characters"),
        (STRANGE_KEY.to_uppercase(), "56 bytes of another form"),
        (String::new(), "0 bytes of another form"),
    ] {
        fs::write(folder.path().join("key"), &key).unwrap();
        let issue = ["issue", "alice", "--url", "http://127.0.0.1:1"];
        let mut by_variable = resetd(folder.path());
        by_variable.args(issue).env("RESETD_API_KEY", &key);
        let mut by_file = resetd(folder.path());
        by_file.args(issue).args(["--api-key-file", "key"]);
        for (mut command, origin) in [(by_variable, "RESETD_API_KEY"), (by_file, "key")] {
            let told = tell(&mut command, 2);
            assert_eq!(told.err, format!("resetd: {origin}: {wanted}; found {found}\n"));
        }
    }
    let told = tell(resetd(folder.path()).args(["issue", "alice"]), 2);
    assert!(
        told.err.starts_with("resetd: no API key; set RESETD_API_KEY or give --api-key-file FILE")
    );
    let told = tell(resetd(folder.path()).args(["issue", "alice", "--api-key-file", "nowhere"]), 2);
    assert_eq!(
        told.err,
        "resetd: cannot read the API key nowhere: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_key_that_the_service_does_not_know_is_refused_unshown() {
    let server = Server::start();
    let told = tell(server.client().args(["issue", "alice"]).env("RESETD_API_KEY", STRANGE_KEY), 2);
    let url = &server.url;
    assert_eq!(
        told.err,
        format!(
            "resetd: {url}/password-tokens refused: A known API key is needed. Send it as Authorization: Bearer rsk_…, or as X-API-Key: rsk_….\n"
        )
    );
}

/// Has the form of a token and nothing more: `{"typ":"reset+jwt","kid":"x"}`, `{}`, a byte.
const FORMED: &str = "eyJ0eXAiOiJyZXNldCtqd3QiLCJraWQiOiJ4In0.e30.AA";

#[test]
fn whatever_else_listens_at_a_wrong_url_is_not_taken_for_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let html = "answered 200 OK with something that is not JSON: is it resetd?";
    let other = "with JSON of another kind: is it resetd?";
    for (status, body, wanted) in [
        ("200 OK", "<html>Welcome</html>", html.to_owned()),
        ("200 OK", "[]", format!("answered 200 OK {other}")),
        ("201 Created", r#"{"id": 1}"#, format!("answered 201 Created {other}")),
        ("404 Not Found", r#"{"message": "nope"}"#, format!("answered 404 Not Found {other}")),
        ("302 Found", "{}", format!("answered 302 Found {other}")),
    ] {
        for (command, path) in [
            (["issue", "alice"], "password-tokens"),
            (["redeem", FORMED], "redemptions"),
            (["revoke", FORMED], "revocations"),
        ] {
            let url = stranger(status, body);
            let mut client = resetd(folder.path());
            client.args(command).args(["--url", &url]);
            let told = tell(client.env("RESETD_API_KEY", STRANGE_KEY), 2);
            let start = format!("resetd: {url}/{path} {wanted}");
            assert!(told.err.starts_with(&start), "{start}\n{}", told.err);
            assert_eq!((told.out.as_str(), told.err.lines().count()), ("", 1));
        }
    }
}

#[test]
fn a_url_that_leads_nowhere_is_named() {
    let server = Server::start();
    let hint = "; is it running? --url says where";
    // Of all ports, nobody listens on this one.
    let nobody = "http://127.0.0.1:1";
    for (url, wanted) in [
        (
            nobody,
            format!(
                "cannot reach {nobody}/password-tokens: io: Connection refused (os error 111){hint}"
            ),
        ),
        (
            "ftp://example.com",
            format!(
                "cannot reach ftp://example.com/password-tokens: bad uri: unknown scheme: ftp{hint}"
            ),
        ),
        (
            "",
            format!(
                "cannot reach /password-tokens: bad uri: /password-tokens is missing scheme{hint}"
            ),
        ),
        (
            &format!("{}/elsewhere", server.url),
            format!(
                "{}/elsewhere/password-tokens refused: No such resource. There is nothing at this path. README.md lists the paths.",
                server.url
            ),
        ),
    ] {
        let told = tell(server.client().args(["issue", "alice", "--url", url]), 2);
        assert_eq!(told.err, format!("resetd: {wanted}\n"));
    }
    let slash = format!("{}/", server.url);
    tell(server.client().args(["issue", "alice", "--url", &slash]), 0);
}

#[test]
fn a_key_set_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let page = stranger("200 OK", "<html>");
    let moved = stranger("302 Found", "");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("empty.json", r#"{"keys": []}"#);
    write("list.json", "[]");
    for (jwks, wanted) in [
        (
            "nowhere.json",
            "cannot read the key set nowhere.json: No such file or directory (os error 2)",
        ),
        ("empty.json", "empty.json: has no key that can verify reset tokens"),
        (
            "list.json",
            "list.json: the key set cannot be read: wanted one JSON object, found another kind of value",
        ),
        (
            &page,
            &format!(
                "{page}: the key set cannot be read: the text stops being JSON at line 1, column 1"
            ),
        ),
        (&moved, &format!("{moved} answered 302 Found, wanted 200 OK")),
    ] {
        let told = tell(resetd(folder.path()).args(["verify", "a.b.c", "--jwks", jwks]), 2);
        assert_eq!(told.err, format!("resetd: {wanted}\n"));
    }
}

/// Answers one request with this, whatever it is, and gives the URL where it does.
fn stranger(status: &str, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    url
}
