//! The real program, as somebody uses it who has not read its source: the first minute, and the
//! command line itself. Below it, one file for each kind of command.

mod client;
mod encryption;
mod keys;
mod kill;
mod rotation;
mod settings;
mod tenants;
mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use resetd::cli::Cli;
use resetd::clock::{Clock as _, SystemClock};
use resetd::journal::StateFolder;
use resetd::revocation::Revocations;
use serde_json::{Value, json};

use crate::server::{Server, end_of, resetd};
use crate::vectors::private_keys;

/// A key of the right form that no server knows.
const STRANGE_KEY: &str = "rsk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn the_first_run_makes_a_key_and_prints_a_line_that_works_when_pasted() {
    let server = Server::start();
    let kid = word_after(&server.banner, "made the first key ");
    let keys = server.folder.path().join("keys");
    assert_eq!(mode(&keys), 0o700);
    assert_eq!(mode(&keys.join(format!("{kid}.jwk"))), 0o600);

    let (_, curl) = server.banner.split_once("make a token:\n\n").unwrap();
    let answer = tell(Command::new("bash").args(["-c", curl]), 0);
    let answer: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(answer["username"], "alice@example.com");

    let export = server.banner.lines().find(|line| line.contains("export "));
    let script = format!("{}; \"$0\" issue bob --output json", export.unwrap());
    let program = env!("CARGO_BIN_EXE_resetd");
    let answer = tell(Command::new("bash").args(["-c", &script, program]), 0);
    assert!(answer.json()["token"].is_string());
}

#[test]
fn a_second_run_uses_the_key_of_the_first() {
    let first = Server::start();
    let kid = word_after(&first.banner, "made the first key ");
    let (status, folder) = first.stop();
    assert!(status.success());
    let second = Server::start_in(folder, "", &[]);
    assert!(!second.banner.contains("made the first key"));
    let keys = tell(second.client().args(["keys", "list", "-o", "json"]), 0).json();
    assert_eq!(keys["keys"][0]["kid"], kid.as_str());
}

#[test]
fn what_was_spent_and_what_was_not_are_known_after_a_restart() {
    let config = "[token]\nissuer = \"https://reset.example.com\"\nsupersede = false\n";
    let first = Server::start_with(config, &[]);
    let [live, used, revoked] = ["alice", "bob", "carol"].map(|user| issue(&first, user));
    tell(first.client().args(["redeem", &used]), 0);
    tell(first.client().args(["revoke", &revoked]), 0);
    let (_, folder) = first.stop();
    let second = Server::start_in(folder, config, &[]);
    for (token, code) in [(&used, "token_used"), (&revoked, "token_revoked")] {
        let told = tell(second.client().args(["redeem", token, "-o", "json"]), 1);
        assert_eq!(told.json()["code"], code);
    }
    tell(second.client().args(["redeem", &live]), 0);
}

#[test]
fn a_newer_token_and_a_users_revocation_hold_after_a_restart() {
    let config = "[token]\nissuer = \"https://reset.example.com\"\n";
    let first = Server::start_with(config, &[]);
    let older = issue(&first, "alice");
    let newer = issue(&first, "alice");
    let of_bob = issue(&first, "bob");
    tell(first.client().args(["revoke", "--user", "bob"]), 0);
    let (_, folder) = first.stop();
    let second = Server::start_in(folder, config, &[]);
    for token in [&older, &of_bob] {
        let told = tell(second.client().args(["redeem", token, "-o", "json"]), 1);
        assert_eq!(told.json()["code"], "token_revoked");
    }
    tell(second.client().args(["redeem", &newer]), 0);
}

#[test]
fn where_what_was_spent_is_not_known_older_tokens_are_refused_with_a_reason_of_their_own() {
    let issuer = "[token]\nissuer = \"https://reset.example.com\"\n";
    let guard = format!("{issuer}[state]\ndurability = \"guard\"\n");
    for (config, arguments, wipe) in [
        (guard.as_str(), &[][..], false),
        (issuer, &[], true),
        (issuer, &["--after-restore"], false),
    ] {
        let first = Server::start_with(config, &[]);
        let token = issue(&first, "alice");
        let (_, folder) = first.stop();
        if wipe {
            fs::remove_dir_all(folder.path().join("state")).unwrap();
        }
        let second = Server::start_in(folder, config, arguments);
        let refused = |server: &Server| {
            let told = tell(server.client().args(["redeem", &token, "-o", "json"]), 1);
            assert_eq!(told.json()["code"], "token_predates_start");
        };
        refused(&second);
        let fresh = issue(&second, "alice");
        // The journal remembers that it does not know.
        let (_, folder) = second.stop();
        let third = Server::start_in(folder, config, &[]);
        refused(&third);
        if config == issuer {
            tell(third.client().args(["redeem", &fresh]), 0);
        }
    }
}

#[test]
fn a_second_server_on_the_same_state_is_refused_with_the_mend() {
    let first = Server::start();
    let state = first.folder.path().join("state").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--state", &state];
    let told = tell(resetd(folder.path()).args(serve), 2).err;
    let wanted = "another process keeps its journal here; stop it first, or give this one a folder of its own: state.directory";
    assert!(told.contains(wanted), "{told}");
}

#[test]
fn a_damaged_journal_is_refused_with_its_place_and_the_mend() {
    let first = Server::start();
    issue(&first, "alice");
    issue(&first, "bob");
    let (_, folder) = first.stop();
    let state = folder.path().join("state");
    let logs = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let log = logs.filter(|path| path.extension().is_some_and(|it| it == "log")).min().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    bytes[130] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let told = tell(resetd(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]), 2).err;
    assert!(told.contains("is damaged at byte 128, before its end; restore the file"), "{told}");
    assert_eq!(fs::read(&log).unwrap(), bytes);
}

#[test]
fn a_journal_whose_segments_are_lost_refuses_what_was_issued_before_and_says_why() {
    let config = "[token]\nissuer = \"https://reset.example.com\"\n";
    let first = Server::start_with(config, &[]);
    let token = issue(&first, "alice");
    let (_, folder) = first.stop();
    for entry in fs::read_dir(folder.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "log") {
            fs::remove_file(path).unwrap();
        }
    }
    let second = Server::start_in(folder, config, &[]);
    let told = tell(second.client().args(["redeem", &token, "-o", "json"]), 1);
    assert_eq!(told.json()["code"], "token_predates_start");
    let ready = b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(second.exchange(ready).contains("\"because\":\"new_state\""));
    let third = Server::start_in(second.stop().1, config, &["--after-restore"]);
    assert!(third.exchange(ready).contains("\"because\":\"after_restore\""));
    let fourth = Server::start_in(third.stop().1, config, &[]);
    let answer = fourth.exchange(ready);
    assert!(answer.contains("\"because\":null,\"refusesIssuedBefore\":\"2"), "{answer}");
}

#[test]
fn a_clock_that_was_ahead_stands_still_and_tokens_go_on_being_spent_once() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemClock::new().now();
    {
        let state = StateFolder::open(&folder.path().join("state"), [7; 16]).unwrap();
        let recovered = state.recover(now, &|_, _| {}).unwrap();
        let revocations = Revocations::journalled(state, &recovered, now, 100);
        let ahead = revocations.settled(now.plus(10_000));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ahead.wait()).unwrap();
    }
    let server = Server::start_in(folder, "", &[]);
    let ready = b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(server.exchange(ready).contains("\"clock_behind\""));
    let token = issue(&server, "alice");
    tell(server.client().args(["redeem", &token]), 0);
    let told = tell(server.client().args(["redeem", &token, "-o", "json"]), 1);
    assert_eq!(told.json()["code"], "token_used");
}

/// A limit on the size of files stands in for a disk that is full.
#[test]
fn on_a_full_disk_nothing_is_spent_and_nothing_is_lost() {
    let server = Server::start_with("[token]\nsupersede = false\n", &[]);
    let token = issue(&server, "alice");
    let limit = |bytes: &str| {
        let id = server.id().to_string();
        let limit = format!("--fsize={bytes}:unlimited");
        let set = Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap();
        assert!(set.success());
    };
    limit("100");
    let told = tell(server.client().args(["redeem", &token, "-o", "json"]), 2);
    assert!(told.err.contains("journal_full") || told.err.contains("disk is full"), "{}", told.err);
    let request = b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(server.exchange(request).contains("journal_full"));
    limit("unlimited");
    let redeemed = tell(server.client().args(["redeem", &token, "-o", "json"]), 0).json();
    let jti = redeemed["tokenId"].as_str().unwrap();
    assert!(!server.exchange(request).contains("journal_full"));
    // That it is dead already may not be on disk yet, so even that is not told without it.
    limit("100");
    for revoke in [vec!["revoke", &token], vec!["revoke", "--token-id", jti]] {
        let told = tell(server.client().args(revoke), 2);
        assert!(told.err.contains("The journal cannot grow"), "{}", told.err);
    }
}

#[test]
fn without_a_journal_a_token_from_before_a_restart_is_refused() {
    let config =
        "[token]\nissuer = \"https://reset.example.com\"\n[state]\ndurability = \"guard\"\n";
    let first = Server::start_with(config, &[]);
    let token = issue(&first, "alice");
    let (_, folder) = first.stop();
    let second = Server::start_in(folder, config, &[]);
    let told = tell(second.client().args(["redeem", &token, "-o", "json"]), 1);
    assert_eq!(told.json()["code"], "token_predates_start");
}

#[test]
fn a_port_that_is_taken_is_told_in_one_line_and_nothing_is_written() {
    let server = Server::start();
    let address = server.address();
    let folder = tempfile::tempdir().unwrap();
    let told = tell(resetd(folder.path()).args(["serve", "--listen", address]), 2);
    assert_eq!(
        told.err,
        format!(
            "resetd: cannot listen on {address}: Address already in use (os error 98); choose another address: --listen 127.0.0.1:0 takes any free port\n"
        )
    );
    assert_eq!((told.out.as_str(), contents(folder.path()).len()), ("", 0));
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_that_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let mut commands = vec![(Cli::command(), Vec::new())];
    let mut seen = 0;
    while let Some((command, path)) = commands.pop() {
        let mut program = resetd(folder.path());
        program.env("RESETD_API_KEY", STRANGE_KEY);
        let told = tell(program.args(&path).arg("--help"), 0);
        assert!(told.out.contains("Usage: resetd"), "{path:?}");
        assert!(!told.out.contains(STRANGE_KEY), "{path:?}");
        assert_eq!(told.err, "", "{path:?}");
        seen += 1;
        for inner in command.get_subcommands() {
            let path = [&path[..], &[inner.get_name().to_owned()]].concat();
            commands.push((inner.clone(), path));
        }
    }
    assert!(seen >= 18, "only {seen} commands");
}

#[test]
fn a_wrong_use_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &[][..],
        &["fly"],
        &["revoke"],
        &["revoke", "a.b.c", "--user", "alice"],
        &["revoke", "a.b.c", "--before", "now"],
        &["verify", "a.b.c", "--at", "tomorrow"],
        &["verify", "a.b.c", "--leeway", "many"],
        &["verify", "a.b.c", "--leeway", "61"],
        &["verify", "a.b.c", "--jwks", "a", "--keys", "b"],
        &["verify", "-"],
        &["redeem", "-"],
        &["inspect", "-"],
        &["config", "show", "-o", "xml"],
        &["callers", "add", "--name", "web"],
    ] {
        let told = tell(resetd(folder.path()).args(arguments), 2);
        assert_eq!(told.out, "", "{arguments:?}");
        assert!(!told.err.contains("panicked"), "{arguments:?}");
    }
}

#[test]
fn a_closed_pipe_changes_nothing_about_how_a_command_ends() {
    let folder = tempfile::tempdir().unwrap();
    let keys = json!({ "keys": private_keys() }).to_string();
    fs::write(folder.path().join("jwks.json"), keys).unwrap();
    for (arguments, code) in [
        (&["config", "show"][..], 0),
        (&["--help"], 0),
        (&["verify", "a.b.c", "--jwks", "jwks.json"], 1),
        (&["keys", "list", "--keys", "nowhere"], 2),
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let closed = || Stdio::from(writer.try_clone().unwrap());
        // Also where not even a complaint can be written. A panic would end with 101.
        for errors in [Stdio::null(), closed()] {
            let mut command = resetd(folder.path());
            command.args(arguments).stdout(closed()).stderr(errors);
            let status = command.status().unwrap();
            assert_eq!(status.code(), Some(code), "{arguments:?}");
        }
    }
}

/// How a command ended.
pub(crate) struct Told {
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect(&self.out)
    }
}

/// Runs a command without input and fails unless it ends with this code.
#[track_caller]
pub(crate) fn tell(command: &mut Command, code: i32) -> Told {
    let output = end_of(command);
    let told = Told {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{}{}", told.out, told.err);
    told
}

fn word_after(text: &str, mark: &str) -> String {
    let (_, rest) = text.split_once(mark).unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Every file below a folder, by its path from there, with what it holds.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![folder.into()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn issue(server: &Server, username: &str) -> String {
    issue_with(server, &[username])
}

fn issue_with(server: &Server, arguments: &[&str]) -> String {
    let mut command = server.client();
    let told = tell(command.args(["--output", "json", "issue"]).args(arguments), 0);
    told.json()["token"].as_str().unwrap().to_owned()
}
