//! `kill -9` in the middle of any command that changes the folder: what is left is the old state or
//! the new one, and the folder works on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use resetd::domain::time::from_rfc3339;
use serde_json::Value;

use crate::server::{PATIENCE, end_of, resetd, run, stderr, stdout};

/// Kills per command: half of them counted from its start, half from when it takes the lock.
const KILLS: u32 = 40;

#[test]
fn a_key_that_is_being_made() {
    kill_at_many_moments(&["keys", "generate"], |_| {});
}

#[test]
fn a_rotation() {
    kill_at_many_moments(&["keys", "rotate"], |_| {});
}

#[test]
fn an_activation() {
    kill_at_many_moments(&["keys", "activate", "NEXT", "--force", "--yes"], |folder| {
        done(folder, &["keys", "generate"]);
    });
}

#[test]
fn a_retirement() {
    kill_at_many_moments(&["keys", "retire", "NEXT", "--yes"], |folder| {
        done(folder, &["keys", "generate"]);
    });
}

#[test]
fn a_revocation_that_makes_a_replacement() {
    kill_at_many_moments(&["keys", "revoke", "ACTIVE", "--yes"], |_| {});
}

#[test]
fn a_revocation_that_activates_the_next_key() {
    kill_at_many_moments(&["keys", "revoke", "ACTIVE", "--yes"], |folder| {
        done(folder, &["keys", "generate"]);
    });
}

#[test]
fn a_removal() {
    kill_at_many_moments(&["keys", "prune", "--yes"], |folder| {
        done(folder, &["keys", "generate"]);
        let next = kid_in(folder, "next").unwrap();
        done(folder, &["keys", "retire", &next, "--yes"]);
    });
}

#[test]
fn an_import() {
    kill_at_many_moments(&["keys", "import", "new.pem"], |folder| {
        let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys/p256.pkcs8.pem");
        fs::copy(pem, folder.join("new.pem")).unwrap();
    });
}

/// Each file is encrypted by itself, so in the middle some are and some are not. All can be read.
#[test]
fn an_encryption() {
    /// Each look at what is left costs a slow derivation per key.
    const FEWER: u32 = KILLS / 4;
    let template = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        done(template.path(), &["keys", "generate"]);
    }
    let before = keys_of(template.path()).len();
    let encrypt = |folder: &Path| {
        let mut command = resetd(folder);
        command.args(["keys", "encrypt"]).env("RESETD_KEYS_PASSPHRASE", "correct-horse");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let start = Instant::now();
    let folder = copy_of(template.path());
    assert!(encrypt(folder.path()).status().unwrap().success());
    let took = start.elapsed();
    let mut seen = BTreeSet::new();
    for turn in 0..FEWER {
        let folder = copy_of(template.path());
        let mut child = encrypt(folder.path()).spawn().unwrap();
        thread::sleep(took * turn / FEWER);
        let _ = child.kill();
        let _ = child.wait();
        let keys = names_in(folder.path()).into_iter().filter(|name| !name.starts_with('.'));
        let text =
            |name: &String| fs::read_to_string(folder.path().join("keys").join(name)).unwrap();
        seen.insert(keys.filter(|name| text(name).contains("encrypted_private_key")).count());
        let mut list = resetd(folder.path());
        let list = list
            .args(["keys", "list", "-o", "json"])
            .env("RESETD_KEYS_PASSPHRASE", "correct-horse");
        let list = end_of(list);
        assert!(list.status.success(), "{}", stderr(&list));
        assert_eq!(stdout(&list).matches("\"kid\"").count(), before);
    }
    assert!(seen.contains(&0), "the first came at once: {seen:?}");
}

/// Runs a command again and again on copies of one folder and kills it each time a little later.
fn kill_at_many_moments(command: &[&str], prepare: impl Fn(&Path)) {
    let template = tempfile::tempdir().unwrap();
    done(template.path(), &["keys", "generate"]);
    backdate(template.path());
    prepare(template.path());
    let command: Vec<String> = command.iter().map(|word| named(template.path(), word)).collect();
    let old = shape(template.path());
    let (new, took) = {
        let folder = copy_of(template.path());
        let start = Instant::now();
        done(folder.path(), &command);
        (shape(folder.path()), start.elapsed())
    };
    assert_ne!(old, new);
    let kill = |at: Moment| {
        let folder = copy_of(template.path());
        let mut child = resetd(folder.path())
            .args(&command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        match at {
            Moment::AfterStart(delay) => thread::sleep(delay),
            Moment::AfterLock(delay) => {
                wait_for_lock(folder.path(), &mut child);
                thread::sleep(delay);
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        let found = shape(folder.path());
        assert!(found == old || found == new, "{at:?}: {found:?}\nold {old:?}\nnew {new:?}");
        // The folder works on, and what was left half written goes.
        done(folder.path(), &["keys", "generate", "--signs-in", "4000"]);
        let names = names_in(folder.path());
        assert!(!names.iter().any(|name| name.starts_with(".new-")), "{names:?}");
        found == new
    };
    for turn in 1..KILLS / 2 {
        kill(Moment::AfterStart(took * turn / (KILLS / 2)));
        kill(Moment::AfterLock(took / 2 * turn / (KILLS / 2)));
    }
    let came_early = || !kill(Moment::AfterStart(Duration::ZERO));
    assert!((0..100).any(|_| came_early()), "it was always over before it could be killed");
    let mut delay = took;
    while !kill(Moment::AfterStart(delay)) {
        delay *= 2;
        assert!(delay < PATIENCE, "it never comes to its end");
    }
}

/// When a command is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    AfterStart(Duration),
    AfterLock(Duration),
}

/// Until the command has begun to change the folder, or has ended.
fn wait_for_lock(folder: &Path, child: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    let lock = folder.join("keys/.lock");
    while !lock.exists() && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(50));
    }
}

/// The key has been signing for long.
fn backdate(folder: &Path) {
    let kid = kid_in(folder, "active").unwrap();
    let path = folder.join(format!("keys/{kid}.jwk"));
    let mut key: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for member in ["created", "not_before"] {
        key[member] = "2026-01-01T00:00:00Z".into();
    }
    fs::write(&path, key.to_string()).unwrap();
}

/// How many keys live, wait for long, and are dead: the same for every new key, whatever its name, and
/// however long the look at it takes.
fn shape(folder: &Path) -> Vec<String> {
    let mut states: Vec<_> = keys_of(folder)
        .iter()
        .map(|key| {
            let time = |name: &str| from_rfc3339(key[name].as_str().unwrap()).unwrap();
            let waits = time("signsFrom").since(time("created")) > 300;
            let state = key["state"].as_str().unwrap();
            let state = if ["revoked", "expired"].contains(&state) { state } else { "alive" };
            format!("{state}{}", if waits { ", waits" } else { "" })
        })
        .collect();
    states.sort();
    states
}

fn keys_of(folder: &Path) -> Vec<Value> {
    let output = run(folder, &["keys", "list", "-o", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["keys"].as_array().unwrap().clone()
}

fn kid_in(folder: &Path, state: &str) -> Option<String> {
    let keys = keys_of(folder);
    let key = keys.iter().find(|key| key["state"] == state)?;
    Some(key["kid"].as_str().unwrap().to_owned())
}

/// `ACTIVE` and `NEXT` stand for the keys in these states.
fn named(folder: &Path, word: &str) -> String {
    match word {
        "ACTIVE" | "NEXT" => kid_in(folder, &word.to_lowercase()).unwrap(),
        other => other.to_owned(),
    }
}

fn copy_of(template: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let keys = copy.path().join("keys");
    crate::vectors::make_folder(&keys);
    for name in names_in(template).iter().filter(|name| *name != ".lock") {
        fs::copy(template.join("keys").join(name), keys.join(name)).unwrap();
    }
    if template.join("new.pem").exists() {
        fs::copy(template.join("new.pem"), copy.path().join("new.pem")).unwrap();
    }
    copy
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("keys")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn done<A: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: &[A]) {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{}", stderr(&output));
}
