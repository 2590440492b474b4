//! A token's life by command: issued, looked at, spent, revoked, and broken when it was pasted.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Told, issue, issue_with, tell, word_after};
use crate::server::{Server, resetd};

#[test]
fn a_token_is_issued_verified_redeemed_once_and_revoked_in_words_for_people() {
    let server = Server::start();
    let token = issue_with(&server, &["alice", "--credential-id", "c1", "--user-id", "u1"]);
    let claims = tell(server.client().args(["inspect", &token, "-o", "json"]), 0).json();
    let claims = &claims["claims"];
    let (jti, url) = (claims["jti"].as_str().unwrap(), &server.url);

    let verify = ["verify", &token, "--issuer", url];
    let told = tell(server.client().args(verify), 0);
    let kid = word_after(&server.banner, "made the first key ");
    let lines = rows(&told.out);
    assert_eq!(lines["valid"], "yes, as far as can be said offline");
    assert_eq!(lines["username"], "alice");
    assert_eq!(lines["credential"], "c1");
    assert_eq!(lines["user id"], "u1");
    assert_eq!(lines["token id"], jti);
    assert_eq!(lines["key"], kid);
    assert_eq!(told.err, "Whether it was used or revoked is known to its issuer only.\n");

    let told = tell(server.client().args(["redeem", &token, "--credential-id", "c2"]), 1);
    assert_eq!(rows(&told.out)["code"], "credential_mismatch");

    let told = tell(server.client().args(["redeem", &token, "--credential-id", "c1"]), 0);
    let lines = rows(&told.out);
    assert_eq!(lines["username"], "alice");
    assert_eq!(lines["credential"], "c1");
    assert_eq!(lines["token id"], jti);

    let told = tell(server.client().args(["redeem", &token]), 1);
    assert_eq!(
        told.out,
        "valid   no\n\
         code    token_used\n\
         reason  The token was already used\n\
         mend    A token can be used once. If that was not its owner, act on it; else ask for a new one.\n"
    );
    // Offline it is still good: an edge that cares asks the issuer.
    tell(server.client().args(verify), 0);
}

#[test]
fn a_token_comes_from_a_pipe_as_well() {
    let server = Server::start();
    let token = issue(&server, "alice");
    for end in ["", "\n", "\r\n"] {
        let told =
            pipe(server.client().args(["inspect", "-", "-o", "json"]), &format!("{token}{end}"));
        assert_eq!(told.json()["claims"]["sub"], "alice");
    }
    let told = pipe(server.client().args(["redeem", "-", "-o", "json"]), &token);
    assert_eq!(told.json()["username"], "alice");
}

#[test]
fn every_grain_of_revocation_kills_what_it_says() {
    let server = Server::start();
    let revoke = |arguments: &[&str]| {
        let told = tell(server.client().arg("revoke").args(arguments), 0);
        rows(&told.out)["revoked"].clone()
    };
    let assert_dead = |token: &str| {
        let told = tell(server.client().args(["redeem", token, "-o", "json"]), 1);
        assert_eq!(told.json()["code"], "token_revoked");
    };
    let token = issue(&server, "alice");
    assert_eq!(revoke(&[&token]), "token");
    assert_dead(&token);

    let token = issue(&server, "bob");
    let told = tell(server.client().args(["inspect", &token, "-o", "json"]), 0).json();
    let jti = told["claims"]["jti"].as_str().unwrap();
    assert_eq!(revoke(&["--token-id", jti]), "token");
    assert_dead(&token);

    let (token, other) = (issue(&server, "carol"), issue(&server, "dave"));
    assert_eq!(revoke(&["--user", "carol"]), "user");
    assert_dead(&token);
    assert_eq!(revoke(&["--user", "dave", "--before", "2020-01-01T00:00:00Z"]), "user");
    tell(server.client().args(["redeem", &other]), 0);

    let token = issue(&server, "erin");
    assert_eq!(revoke(&["--everything"]), "everything");
    assert_dead(&token);
}

#[test]
fn a_token_broken_by_a_line_break_is_told_so_and_nothing_happens_to_it() {
    let server = Server::start();
    let token = issue(&server, "alice");
    for gap in [" ", "\n", "\r\n", "\t"] {
        let broken = format!("{}{gap}{}", &token[..40], &token[40..]);
        for command in [
            &["redeem", &broken][..],
            &["revoke", &broken],
            &["verify", &broken, "--issuer", &server.url],
        ] {
            let told = tell(server.client().args(command), 1);
            let lines = rows(&told.out);
            assert_eq!(lines["valid"], "no");
            assert_eq!(
                lines["mend"],
                "there is white space after 40 characters: a token has none, so it was broken when it was copied"
            );
        }
    }
    tell(server.client().args(["redeem", &token]), 0);
}

#[test]
fn what_the_service_refuses_is_told_member_by_member() {
    let server = Server::start();
    let told = tell(server.client().args(["issue", "", "--ttl", "0"]), 2);
    let url = &server.url;
    assert_eq!(
        told.err,
        format!(
            "  username: wanted 1 to 256 bytes of text in Unicode form NFC, without control or direction characters; found a string that is not\n  \
             ttl: wanted whole seconds, 1 or more; found an integer that is not\n\
             resetd: {url}/password-tokens refused: Members of the request are not as wanted. invalidFields names each member and what it must be. Nothing was changed.\n"
        )
    );
    let future = ["revoke", "--user", "alice", "--before", "2999-01-01T00:00:00Z"];
    let told = tell(server.client().args(future), 2);
    assert!(told.err.contains("The cut-off lies in the future"));
}

#[test]
fn inspect_says_loudly_that_nothing_was_checked() {
    let folder = tempfile::tempdir().unwrap();
    let forged = format!(
        "{}.{}.AAAA",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(r#"{"sub":"admin"}"#)
    );
    let warning = "NOT VERIFIED: anybody can write this. To check it: resetd verify TOKEN";
    let told = tell(resetd(folder.path()).args(["inspect", &forged]), 0);
    assert_eq!(told.err, format!("{warning}\n"));
    assert!(told.out.contains("\"sub\": \"admin\""));
    let told = tell(resetd(folder.path()).args(["inspect", &forged, "-o", "json"]), 0);
    assert_eq!(told.json()["verified"], false);
    assert_eq!(told.json()["warning"], warning);
    for text in ["abc", "a.b.c", "..", ""] {
        let told = tell(resetd(folder.path()).args(["inspect", text]), 1);
        assert_eq!(
            told.out,
            "verified  no\nreason    this is no JWT: wanted base64url parts between dots, the first two JSON\n",
            "{text:?}"
        );
    }
}

#[test]
fn a_forged_claim_cannot_move_the_cursor_or_turn_the_text_around() {
    let folder = tempfile::tempdir().unwrap();
    let forged = format!(
        "{}.{}.AAAA",
        URL_SAFE_NO_PAD.encode("{}"),
        URL_SAFE_NO_PAD.encode("{\"sub\":\"a\u{9b}2J\u{202e}b\\u001b[2J\"}")
    );
    let told = tell(resetd(folder.path()).args(["inspect", &forged]), 0);
    assert!(told.out.contains("\"sub\": \"a\u{fffd}2J\u{fffd}b\\u001b[2J\""), "{:?}", told.out);
}

#[test]
fn keys_to_verify_with_come_from_a_url_a_file_or_the_folder() {
    let server = Server::start();
    let token = issue(&server, "alice");
    let jwks = format!("{}/.well-known/jwks.json", server.url);
    let file = server.folder.path().join("jwks.json");
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "/.well-known/jwks.json"
    );
    let answer = server.exchange(request.as_bytes());
    fs::write(&file, answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    for source in [&["--jwks", &jwks][..], &["--jwks", "jwks.json"], &["--keys", "keys"], &[]] {
        let mut command = server.client();
        command.args(["verify", &token, "--issuer", &server.url]);
        tell(command.args(source), 0);
    }
    // Another issuer's token is refused, however good its signature.
    let told = tell(server.client().args(["verify", &token, "-o", "json"]), 1);
    assert_eq!(told.json()["code"], "wrong_issuer");
    let told = tell(
        server.client().args([
            "verify",
            &token,
            "--issuer",
            &server.url,
            "--at",
            "2999-01-01T00:00:00Z",
            "-o",
            "json",
        ]),
        1,
    );
    assert_eq!(told.json()["code"], "expired");
}

/// Runs a command with this input and fails unless it succeeds.
#[track_caller]
fn pipe(command: &mut Command, input: &str) -> Told {
    let (reader, mut writer) = io::pipe().unwrap();
    // A pipe holds this much before anybody reads.
    writer.write_all(input.as_bytes()).unwrap();
    drop(writer);
    let output = command.stdin(reader).output().unwrap();
    let told = Told {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(output.status.success(), "{command:?}\n{}", told.err);
    told
}

/// The lines of a table of facts, by their names.
fn rows(table: &str) -> BTreeMap<&str, String> {
    let facts = table.lines().filter_map(|line| line.split_once("  "));
    facts.map(|(name, value)| (name, value.trim_start().to_owned())).collect()
}
