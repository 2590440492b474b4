//! `resetd keys …` as an admin types it: what is said before, what is asked, what is done.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::keys::{keys_in, with_key};
use super::{Told, contents, issue, mode, tell};
use crate::server::{PATIENCE, Server, resetd};

/// A folder whose key, by this name, has been signing for long.
const KEY: &str = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    with_key(&folder.path().join("keys"), |_| {});
    folder
}

fn keys(folder: &Path, arguments: &[&str], code: i32) -> Told {
    tell(resetd(folder).arg("keys").args(arguments), code)
}

fn states(folder: &Path) -> Vec<(String, String)> {
    let list = keys(folder, &["list", "-o", "json"], 0).json();
    let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    let keys = list["keys"].as_array().unwrap().iter();
    keys.map(|key| (text(key, "kid"), text(key, "state"))).collect()
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_rotation_says_when_each_step_comes_and_is_not_begun_twice() {
    let folder = folder();
    let told = keys(folder.path(), &["rotate"], 0);
    let lines: Vec<_> = told.err.lines().collect();
    assert!(
        lines[0].starts_with("the new key is published at once and signs from 20"),
        "{}",
        told.err
    );
    assert!(
        lines[1].starts_with(&format!("{KEY} retires then; its links stay good")),
        "{}",
        told.err
    );
    assert!(told.out.contains("next   ES256"), "{}", told.out);
    let again = keys(folder.path(), &["rotate"], 0);
    assert!(again.err.contains(" is published already and signs from "), "{}", again.err);
    assert!(again.err.ends_with("nothing was changed: there is nothing to change\n"));
    assert_eq!(again.out, "");
    assert_eq!(states(folder.path()).len(), 2);
}

#[test]
fn an_activation_that_comes_too_soon_is_refused_and_forced_only_with_a_word_of_what_breaks() {
    let folder = folder();
    let made = keys(folder.path(), &["generate", "-o", "json"], 0).json();
    let kid = made["keys"][0]["kid"].as_str().unwrap().to_owned();
    let told = keys(folder.path(), &["activate", &kid[..8]], 2).err;
    assert!(told.starts_with("resetd: verifiers may keep the key set for 300 seconds, so a key"));
    assert!(told.contains("; wait 3"), "{told}");
    let before = contents(folder.path());
    let told = keys(folder.path(), &["activate", &kid, "--force"], 2).err;
    assert!(told.contains("do not know the key and refuse new links, until "), "{told}");
    assert!(told.ends_with("resetd: nothing was changed: say --yes if this is what you want\n"));
    assert_eq!(contents(folder.path()), before);
    let done = keys(folder.path(), &["activate", &kid, "--force", "--yes", "-o", "json"], 0).json();
    assert_eq!(done["destructive"], true);
    assert_eq!(done["changes"][0]["kid"], kid.as_str());
}

#[test]
fn a_leaked_key_is_revoked_and_replaced_by_one_command() {
    let folder = folder();
    let before = contents(folder.path());
    let told = keys(folder.path(), &["revoke", "oKIy"], 2).err;
    for wanted in [
        &format!("every link that {KEY} signed is dead here at once\n"),
        "may trust it for 300 more seconds, until 20",
        "a new key takes its place at once\n",
        "say --yes",
    ] {
        assert!(told.contains(wanted), "{told}");
    }
    assert_eq!(contents(folder.path()), before);
    keys(folder.path(), &["revoke", "oKIy", "--yes"], 0);
    let states = states(folder.path());
    assert_eq!(states.len(), 2);
    assert_eq!(states[0].1, "active");
    assert_eq!(states[1], (KEY.into(), "revoked".into()));
    let told = keys(folder.path(), &["revoke", KEY, "--yes"], 2).err;
    assert_eq!(
        told,
        format!("resetd: {KEY} is revoked; wanted a key that is next, active or retired\n")
    );
}

#[test]
fn the_key_that_signs_is_not_retired_without_force() {
    let folder = folder();
    let told = keys(folder.path(), &["retire", KEY, "--yes"], 2).err;
    let wanted = format!(
        "resetd: {KEY} is the key that signs, so without it no token is issued; resetd keys rotate replaces it, or stop issuing with --force\n"
    );
    assert_eq!(told, wanted);
    let told = keys(folder.path(), &["retire", KEY, "--force", "--yes"], 0).err;
    assert!(told.contains("no token is issued from 20"), "{told}");
}

#[test]
fn what_has_expired_is_removed_and_nothing_else() {
    let folder = folder();
    let told = keys(folder.path(), &["prune", "--yes"], 0);
    assert_eq!(
        (told.err.as_str(), told.out.as_str()),
        ("nothing was changed: there is nothing to change\n", "")
    );
    let made = keys(folder.path(), &["generate", "-o", "json"], 0).json();
    let kid = made["keys"][0]["kid"].as_str().unwrap();
    keys(folder.path(), &["retire", kid, "--yes"], 0);
    let told = keys(folder.path(), &["prune"], 2).err;
    assert!(told.starts_with(&format!("{kid} is removed: nothing it signed can be alive\n")));
    keys(folder.path(), &["prune", "--yes"], 0);
    assert_eq!(states(folder.path()), [(KEY.into(), "active".into())]);
}

#[test]
fn a_dry_run_of_any_command_changes_nothing() {
    let folder = folder();
    let made = keys(folder.path(), &["generate", "-o", "json"], 0).json();
    let next = made["keys"][0]["kid"].as_str().unwrap();
    let pem = fixture("p256.pkcs8.pem");
    let before = contents(folder.path());
    for command in [
        &["generate"][..],
        &["import", &pem],
        &["activate", next, "--force"],
        &["retire", next],
        &["revoke", KEY],
        &["prune"],
        &["rotate"],
        &["export", KEY, "--private", "--out", "private.pem"],
    ] {
        let told = keys(folder.path(), &[command, &["--dry-run"]].concat(), 0);
        let says = ["nothing was changed", "would write private.pem"];
        assert!(says.iter().any(|said| told.err.contains(said)), "{command:?}: {}", told.err);
        assert_eq!(contents(folder.path()), before, "{command:?}");
    }
}

#[test]
fn at_a_terminal_it_asks_and_only_yes_goes_on() {
    for (answer, code) in [("y\n", 0), ("yes\n", 0), ("n\n", 2), ("\n", 2), ("", 2)] {
        let folder = folder();
        let before = keys_in(&folder.path().join("keys"));
        let said = at_terminal(folder.path(), &["keys", "revoke", KEY], answer, code);
        let question = said.find("go on? [y/N]").expect(&said);
        let consequence = said.find("is dead here at once").expect(&said);
        assert!(consequence < question, "{said}");
        let changed = keys_in(&folder.path().join("keys")) != before;
        assert_eq!(changed, code == 0, "{answer:?}: {said}");
    }
}

#[test]
fn at_a_terminal_it_does_not_ask_where_nothing_is_lost() {
    let folder = folder();
    let said = at_terminal(folder.path(), &["keys", "rotate"], "", 0);
    assert!(!said.contains("go on?"), "{said}");
}

#[test]
fn what_changed_while_it_asked_is_not_done() {
    let folder = folder();
    let between = format!("'{}' keys generate >/dev/null 2>&1", env!("CARGO_BIN_EXE_resetd"));
    let revoke = ["keys", "revoke", KEY];
    let said = at_terminal_with(folder.path(), &revoke, "y\n", &between, 2);
    assert!(said.contains("the keys were changed meanwhile, so nothing was done"), "{said}");
    let states = states(folder.path());
    assert_eq!(states.iter().filter(|(_, state)| state == "revoked").count(), 0);
    assert_eq!(states.len(), 2);
}

/// Runs it at a terminal of its own; an empty answer is the end of input.
fn at_terminal(folder: &Path, arguments: &[&str], answer: &str, code: i32) -> String {
    at_terminal_with(folder, arguments, answer, "", code)
}

/// With a command that is run between the question and the answer.
fn at_terminal_with(
    folder: &Path,
    arguments: &[&str],
    answer: &str,
    between: &str,
    code: i32,
) -> String {
    let script = r#"
import os, pty, sys
answer, between, command = sys.argv[1].encode(), sys.argv[2], sys.argv[3:]
process, terminal = pty.fork()
if process == 0:
    os.execv(command[0], command)
said = b""
while between and b"go on?" not in said:
    said += os.read(terminal, 4096)
os.system(between or "true")
os.write(terminal, answer or b"\x04")
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    said += piece
_, status = os.waitpid(process, 0)
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(status))
"#;
    let mut command = Command::new("timeout");
    command
        .args([&PATIENCE.as_secs().to_string(), "python3", "-c", script, answer, between])
        .arg(env!("CARGO_BIN_EXE_resetd"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    tell(&mut command, code).out
}

#[test]
fn every_form_of_a_private_key_is_imported_and_signs() {
    for (file, more, alg) in [
        ("p256.pkcs8.pem", &[][..], "ES256"),
        ("p256.sec1.pem", &[], "ES256"),
        ("ed25519.pkcs8.pem", &[], "EdDSA"),
        ("ed25519.v2.pem", &[], "EdDSA"),
        ("rsa.pkcs8.pem", &[], "RS256"),
        ("rsa.pkcs1.pem", &["--algorithm", "PS256"], "PS256"),
        ("p256.encrypted.pem", &["--passphrase-file", "passphrase"], "ES256"),
        ("ed25519.scrypt.pem", &["--passphrase-file", "passphrase"], "EdDSA"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passphrase"), "correct-horse\n").unwrap();
        let file = fixture(file);
        let command = [&["import", &file, "-o", "json"], more].concat();
        let done = keys(folder.path(), &command, 0).json();
        assert_eq!(done["keys"][0]["algorithm"], alg, "{file}");
        assert_eq!(done["changes"][0]["algorithm"], alg, "{file}");
        let server = Server::start_in(folder, "", &[]);
        let token = issue(&server, "alice");
        let kid = tell(server.client().args(["inspect", &token, "-o", "json"]), 0).json();
        assert_eq!(kid["header"]["kid"], done["keys"][0]["kid"], "{file}");
        tell(server.client().args(["redeem", &token]), 0);
    }
}

#[test]
fn a_file_that_is_no_usable_key_is_named_with_the_reason() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("empty"), "").unwrap();
    fs::write(path.join("binary"), [0xff, 0xfe, 0]).unwrap();
    fs::write(path.join("long"), vec![b'a'; 2 << 20]).unwrap();
    fs::create_dir(path.join("folder")).unwrap();
    let before = contents(path);
    for (file, wanted) in [
        ("missing".to_owned(), "No such file"),
        ("folder".into(), "Is a directory"),
        ("empty".into(), "empty: "),
        ("binary".into(), "UTF-8"),
        ("long".into(), "longer than 1 MiB"),
        (fixture("rsa-1024.pkcs8.pem"), "1024"),
        (fixture("rsa-e3.pkcs8.pem"), "exponent"),
        (fixture("p384.pkcs8.pem"), "P-384"),
        (fixture("secp256k1.pkcs8.pem"), "secp256k1"),
        (fixture("p256.public.pem"), "public"),
        (fixture("certificate.pem"), "certificate"),
        (fixture("p256.encrypted.pem"), "passphrase"),
        (fixture("p256.no-public.pem"), "openssl ec"),
    ] {
        let told = keys(path, &["import", &file], 2).err;
        assert!(told.starts_with("resetd: "), "{told}");
        assert!(told.contains(&file) && told.contains(wanted), "{file}: {told}");
        assert_eq!(contents(path), before, "{file}");
    }
}

#[test]
fn an_imported_key_is_read_from_standard_input_and_not_taken_twice() {
    let folder = folder();
    let import = |code| {
        let mut command = Command::new("bash");
        let program = env!("CARGO_BIN_EXE_resetd");
        let script = "\"$0\" keys import - < \"$1\"";
        command.args(["-c", script, program, &fixture("p256.pkcs8.pem")]).current_dir(&folder);
        tell(&mut command, code)
    };
    import(0);
    let told = import(2).err;
    assert!(told.starts_with("resetd: keys: has the key "), "{told}");
    assert!(told.contains(" already; resetd keys show "), "{told}");
}

#[test]
fn the_public_half_is_printed_and_the_private_one_goes_into_a_file_of_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let done = keys(path, &["import", &fixture("p256.pkcs8.pem"), "-o", "json"], 0).json();
    let kid = done["keys"][0]["kid"].as_str().unwrap();
    let public = fs::read_to_string(fixture("p256.public.pem")).unwrap();
    assert_eq!(keys(path, &["export", &kid[..8]], 0).out, public);
    let jwk: Value =
        serde_json::from_str(&keys(path, &["export", kid, "--format", "jwk"], 0).out).unwrap();
    assert_eq!((&jwk["kid"], jwk.get("d")), (&json!(kid), None));

    let told = keys(path, &["export", kid, "--private"], 2).err;
    assert!(told.contains("--out"), "{told}");
    let script = "umask 0; \"$0\" keys export \"$1\" --private --out private.pem";
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_resetd"), kid]).current_dir(path);
    let told = tell(&mut command, 0);
    assert_eq!(told.out, "");
    assert_eq!(mode(&path.join("private.pem")), 0o600);
    let private = fs::read_to_string(fixture("p256.pkcs8.pem")).unwrap();
    assert_eq!(fs::read_to_string(path.join("private.pem")).unwrap(), private);

    symlink("nowhere", path.join("link")).unwrap();
    for out in ["private.pem", "link"] {
        let told = keys(path, &["export", kid, "--private", "--out", out], 2).err;
        assert!(told.starts_with(&format!("resetd: {out}: ")), "{told}");
    }
    assert!(!path.join("nowhere").exists());
    let other = tempfile::tempdir().unwrap();
    let back = path.join("private.pem").display().to_string();
    let done = keys(other.path(), &["import", &back, "-o", "json"], 0).json();
    assert_eq!(done["keys"][0]["kid"], kid);
}

#[test]
fn several_commands_at_once_each_make_their_key() {
    let folder = folder();
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut command = resetd(folder.path());
            command.args(["keys", "generate"]).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(states(folder.path()).len(), 9);
    let names = keys_in(&folder.path().join("keys"));
    assert!(!names.iter().any(|name| name.contains(".new-")), "{names:?}");
}

#[test]
fn a_folder_that_another_process_keeps_locked_is_not_waited_for_for_ever() {
    let folder = folder();
    let lock = fs::File::create(folder.path().join("keys/.lock")).unwrap();
    lock.lock().unwrap();
    let told = keys(folder.path(), &["generate"], 2).err;
    let wanted = "resetd: keys/.lock: another process changes the keys and does not come to its end; try again\n";
    assert_eq!(told, wanted);
}

/// Permissions do not stop root, which tests may run as. A limit on the size of files does.
#[test]
fn a_change_that_cannot_be_written_leaves_the_key_as_it_was() {
    let folder = folder();
    let made = keys(folder.path(), &["generate", "-o", "json"], 0).json();
    let next = made["keys"][0]["kid"].as_str().unwrap();
    let before = contents(folder.path());
    for command in [["retire", next], ["revoke", KEY]] {
        let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" keys \"$@\" --yes";
        let mut full = Command::new("bash");
        full.args(["-c", script, env!("CARGO_BIN_EXE_resetd")]).args(command).current_dir(&folder);
        let told = tell(&mut full, 2).err;
        assert!(told.contains("File too large (os error 27)"), "{told}");
        assert_eq!(contents(folder.path()), before, "{command:?}");
    }
}

#[test]
fn a_tenant_that_is_not_there_is_told_with_those_that_are() {
    let folder = folder();
    for command in ["list", "rotate", "prune"] {
        let told = keys(folder.path(), &[command, "--tenant", "acme"], 2).err;
        let wanted = "resetd: --tenant: no tenant \"acme\" is configured, there is \"default\"\n";
        assert_eq!(told, wanted);
    }
}

#[test]
fn a_key_file_that_others_can_read_after_a_lax_copy_is_refused_in_a_change_too() {
    let folder = folder();
    let file = folder.path().join("keys/a.jwk");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let told = keys(folder.path(), &["rotate"], 2).err;
    assert!(told.contains("keys/a.jwk: has mode 0644, wanted 0600 or 0400"), "{told}");
}

#[test]
fn a_folder_that_is_not_there_is_made_for_a_first_key_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["rotate"][..], &["prune"], &["list"], &["revoke", KEY], &["encrypt"]] {
        let told = keys(folder.path(), &[command, &["--keys", "kyes"]].concat(), 2).err;
        assert!(told.contains("kyes: there is no such folder of keys; make one"), "{told}");
        assert!(contents(folder.path()).is_empty(), "{command:?}");
    }
    keys(folder.path(), &["generate", "--keys", "deep/kyes"], 0);
}
