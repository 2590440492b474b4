//! Private keys encrypted on disk: written, read, changed and refused, through the real program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Told, contents, issue, tell};
use crate::logs::wait_until;
use crate::server::{Server, resetd};

const OLD: &str = "correct-horse";
const NEW: &str = "battery-staple";
const CONFIG: &str = "[keys]\npassphrase_file = \"passphrase\"\n";

/// A folder with a configuration that names a file of passphrases.
fn folder(passphrases: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("settings.toml"), CONFIG).unwrap();
    set_passphrases(folder.path(), passphrases);
    folder
}

fn set_passphrases(folder: &Path, text: &str) {
    let file = folder.join("passphrase");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn with_passphrase(folder: &Path) -> Command {
    let mut command = resetd(folder);
    command.args(["--config", "settings.toml"]);
    command
}

fn keys(folder: &Path, arguments: &[&str], code: i32) -> Told {
    tell(with_passphrase(folder).arg("keys").args(arguments), code)
}

fn files(folder: &Path) -> Vec<Value> {
    let files =
        contents(&folder.join("keys")).into_iter().filter(|(name, _)| !name.starts_with('.'));
    files.map(|(_, text)| serde_json::from_slice(&text).unwrap()).collect()
}

#[track_caller]
fn assert_encrypted(folder: &Path) {
    for key in files(folder) {
        assert!(key["encrypted_private_key"].is_string() && key.get("d").is_none(), "{key}");
    }
}

#[test]
fn a_server_makes_reads_and_uses_encrypted_keys() {
    let server = Server::start_in(folder(&format!("{OLD}\n")), CONFIG, &[]);
    assert_encrypted(server.folder.path());
    let token = issue(&server, "alice");
    tell(server.client().args(["redeem", &token]), 0);
    // Whoever has the public half needs no passphrase; the folder needs it.
    let mut verify = with_passphrase(server.folder.path());
    let issuer = server.url.clone();
    tell(verify.args(["verify", &token, "--issuer", &issuer]), 0);
}

#[test]
fn the_variable_does_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let generate = |code| {
        let mut command = resetd(folder.path());
        tell(command.args(["keys", "generate"]).env("RESETD_KEYS_PASSPHRASE", OLD), code)
    };
    generate(0);
    generate(0);
    assert_encrypted(folder.path());
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn without_its_passphrase_or_with_another_a_folder_is_refused_with_the_mend() {
    let folder = folder(OLD);
    let path = folder.path();
    keys(path, &["generate"], 0);
    let before = contents(path);
    for (more, wanted) in [
        (&["serve", "--listen", "127.0.0.1:0"][..], "keys.passphrase_file"),
        (&["keys", "rotate"], "keys.passphrase_file"),
        (&["keys", "list"], "keys.passphrase_file"),
    ] {
        let told = tell(resetd(path).args(more), 2).err;
        assert!(told.contains(".jwk: ") && told.contains(wanted), "{told}");
        let told = tell(resetd(path).args(more).env("RESETD_KEYS_PASSPHRASE", NEW), 2).err;
        assert!(told.contains(".jwk: ") && told.contains("passphrase"), "{told}");
        assert!(!told.contains(NEW) && !told.contains(OLD), "{told}");
    }
    assert_eq!(contents(path), before);
}

#[test]
fn what_is_no_passphrase_is_refused_and_not_shown() {
    for text in ["short", "two lines\n\nand more", "a\tcontrol character", "1\n2\n3\n4\n5\n"] {
        let folder = folder(text);
        let told = keys(folder.path(), &["generate"], 2).err;
        assert!(told.contains("passphrase"), "{told}");
        assert!(!text.lines().any(|line| line.len() > 3 && told.contains(line)), "{told}");
        assert!(!folder.path().join("keys").exists());
    }
}

#[test]
fn all_steps_go_on_encrypted_keys() {
    let folder = folder(OLD);
    let path = folder.path();
    let made = keys(path, &["generate", "-o", "json"], 0).json();
    let first = made["keys"][0]["kid"].as_str().unwrap();
    let made = keys(path, &["rotate", "-o", "json"], 0).json();
    let next = made["keys"][0]["kid"].as_str().unwrap();
    keys(path, &["activate", next, "--force", "--yes"], 0);
    keys(path, &["retire", next, "--yes"], 0);
    keys(path, &["revoke", first, "--yes"], 0);
    assert_eq!(files(path).len(), 3);
    assert_encrypted(path);
    keys(path, &["export", first, "--private", "--out", "first.pem"], 0);
    let private = fs::read_to_string(path.join("first.pem")).unwrap();
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----"));
    let other = tempfile::tempdir().unwrap();
    let back = path.join("first.pem").display().to_string();
    let mut import = resetd(other.path());
    let done = tell(import.args(["keys", "import", &back, "-o", "json"]), 0).json();
    assert_eq!(done["keys"][0]["kid"], first);
}

#[test]
fn keys_in_clear_are_encrypted_while_a_server_uses_them() {
    let folder = folder(OLD);
    tell(resetd(folder.path()).args(["keys", "generate"]), 0);
    let server = Server::start_in(folder, CONFIG, &[]);
    let token = issue(&server, "alice");
    let path = server.folder.path();
    let told = keys(path, &["encrypt", "--dry-run"], 0).err;
    assert!(told.starts_with("1 key is not encrypted with the first passphrase"), "{told}");
    assert!(files(path)[0]["d"].is_string());
    keys(path, &["encrypt"], 0);
    assert_encrypted(path);
    wait_until(&server, || server.log().contains("the keys changed and are in use"));
    tell(server.client().args(["redeem", &token]), 0);
    let told = keys(path, &["encrypt"], 0).err;
    assert!(told.starts_with("nothing was changed"), "{told}");
}

#[test]
fn a_passphrase_is_changed_without_a_moment_in_which_a_key_cannot_be_read() {
    let folder = folder(OLD);
    let path = folder.path();
    for _ in 0..3 {
        keys(path, &["generate"], 0);
    }
    set_passphrases(path, &format!("{NEW}\n{OLD}\n"));
    keys(path, &["list"], 0);
    keys(path, &["encrypt"], 0);
    set_passphrases(path, NEW);
    keys(path, &["list"], 0);
    set_passphrases(path, OLD);
    keys(path, &["list"], 2);
}

#[test]
fn nothing_is_encrypted_without_a_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    tell(resetd(folder.path()).args(["keys", "generate"]), 0);
    let told = tell(resetd(folder.path()).args(["keys", "encrypt"]), 2).err;
    assert!(told.contains("keys.passphrase_file"), "{told}");
}

#[test]
fn no_passphrase_is_ever_shown() {
    let folder = folder(&format!("{OLD}\n{NEW}\n"));
    let path = folder.path();
    let mut said = keys(path, &["generate"], 0);
    for command in [&["keys", "list", "-o", "json"][..], &["config", "show"], &["config", "check"]]
    {
        let told = tell(with_passphrase(path).args(command), 0);
        said.out += &told.out;
        said.err += &told.err;
    }
    let server = Server::start_in(folder, &format!("{CONFIG}[log]\nlevel = \"trace\"\n"), &[]);
    for text in [said.out, said.err, server.log(), server.banner.clone()] {
        assert!(!text.contains(OLD) && !text.contains(NEW), "{text}");
    }
}
