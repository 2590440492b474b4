//! A folder that changes under a running service: taken up whole or not at all, and nobody notices.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use resetd::domain::keyring::KeyState;
use resetd::domain::policy::TenantName;
use resetd::key_admin::{KeyFolder, KeyHealth};
use resetd::keystore::Keystore;
use serde_json::json;

use super::{RULES, add_in};
use crate::app::{Options, TestApp};
use crate::logs::wait_until;
use crate::server::{Server, stdout};

const SWAPS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_keyring_is_swapped_a_thousand_times() {
    let app = Arc::new(TestApp::start());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..4).map(|n| tokio::spawn(live_many_lives(app.clone(), stop.clone(), n))).collect();
    let swapped = app.clone();
    tokio::task::spawn_blocking(move || swap_many_times(&swapped)).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let (lives, signers) = client.await.unwrap();
        assert!(lives > 0);
        assert!(signers > 1, "the client saw one key only");
    }
}

/// Issues, checks and redeems; how often, and how many keys signed.
async fn live_many_lives(
    app: Arc<TestApp>,
    stop: Arc<AtomicBool>,
    client: usize,
) -> (usize, usize) {
    let (mut lives, mut signers) = (0, std::collections::BTreeSet::new());
    while !stop.load(Ordering::SeqCst) {
        let token = app.issue(&format!("user-{client}")).await;
        assert_eq!(app.check(&token).await.status, StatusCode::OK);
        assert_eq!(app.get("/.well-known/jwks.json").await.status, StatusCode::OK);
        let redeemed = app.redeem(&token).await;
        assert_eq!(redeemed.status, StatusCode::CREATED, "{}", redeemed.text);
        signers.insert(token.split('.').next().unwrap().to_owned());
        lives += 1;
        // Nothing here ever waits, so without this a client would keep its thread to itself.
        tokio::task::yield_now().await;
    }
    (lives, signers.len())
}

/// A key comes and goes, and now and then one takes over.
fn swap_many_times(app: &TestApp) {
    let aside = app.keystore.directory().with_file_name("aside");
    let kid = Keystore::new(&aside, 900)
        .generate(RULES.algorithm, app.now(), app.now().plus(4000))
        .unwrap();
    let (outside, inside) =
        (aside.join(format!("{kid}.jwk")), app.keystore.directory().join(format!("{kid}.jwk")));
    let folder = KeyFolder::new(TenantName::default(), app.keystore.clone(), RULES);
    for swap in 0..SWAPS {
        let (from, to) = if swap % 2 == 0 { (&outside, &inside) } else { (&inside, &outside) };
        fs::rename(from, to).unwrap();
        if swap % 50 == 0 {
            folder.carry_out(&add_in(0, true), None, None, app.now()).unwrap();
            app.clock.advance(1);
        }
        let before = app.tenant().keyring();
        app.running.reload();
        let after = app.tenant().keyring();
        assert!(!Arc::ptr_eq(&before, &after), "swap {swap}");
        assert_eq!(after.keys().any(|key| *key.kid() == kid), swap % 2 == 0);
    }
}

#[tokio::test]
async fn a_faulty_file_leaves_the_keys_as_they_are_until_it_is_mended_and_is_named() {
    for (name, spoil) in FAULTS {
        let app = TestApp::start();
        let before = app.tenant().keyring();
        let good = app.keystore.generate(RULES.algorithm, app.now(), app.now().plus(400)).unwrap();
        let file = app.keystore.directory().join("~spoiled.jwk");
        spoil(&app.keystore.directory().join(format!("{good}.jwk")), &file);
        app.running.reload();
        assert!(Arc::ptr_eq(&before, &app.tenant().keyring()), "{name}");
        assert_eq!(health(&app).faults.len(), 1, "{name}");
        assert_eq!(health(&app).faults[0].file, "~spoiled.jwk", "{name}");
        let list = app.get("/admin/keys").await.json();
        assert!(list["faults"][0].as_str().unwrap().contains("~spoiled.jwk"), "{name}: {list}");
        let token = app.issue("alice").await;
        assert_eq!(app.redeem(&token).await.status, StatusCode::CREATED, "{name}");

        fs::remove_file(&file).unwrap();
        app.running.reload();
        assert!(health(&app).faults.is_empty(), "{name}");
        assert_eq!(app.tenant().keyring().keys().count(), 2, "{name}");
    }
}

#[test]
fn a_fault_is_over_when_its_file_is_gone_though_nothing_else_changed() {
    let app = TestApp::start();
    let broken = app.keystore.directory().join("broken.jwk");
    write(&broken, b"{", 0o600);
    app.running.reload();
    assert_eq!(health(&app).faults.len(), 1);
    fs::remove_file(&broken).unwrap();
    app.running.reload();
    assert!(health(&app).faults.is_empty());
}

type Fault = (&'static str, fn(&Path, &Path));

const FAULTS: [Fault; 5] = [
    ("broken", |_, file| write(file, b"no key", 0o600)),
    ("half-written", |good, file| {
        let text = fs::read(good).unwrap();
        write(file, &text[..text.len() / 2], 0o600);
    }),
    ("too open", |_, file| {
        let aside = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(aside.path(), 900);
        let kid = keystore.generate(RULES.algorithm, super::START, super::START).unwrap();
        write(file, &fs::read(aside.path().join(format!("{kid}.jwk"))).unwrap(), 0o640);
    }),
    ("a duplicate", |good, file| write(file, &fs::read(good).unwrap(), 0o600)),
    ("empty", |_, file| write(file, b"", 0o600)),
];

fn write(file: &Path, text: &[u8], mode: u32) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_without_its_keys_or_without_itself_leaves_the_keys_as_they_are() {
    let app = TestApp::start();
    let before = app.tenant().keyring();
    let folder = app.keystore.directory();
    fs::rename(folder, folder.with_file_name("moved")).unwrap();
    app.running.reload();
    assert!(Arc::ptr_eq(&before, &app.tenant().keyring()));
    assert_eq!(health(&app).faults[0].file, "keys");
    app.keystore.create().unwrap();
    app.running.reload();
    assert!(Arc::ptr_eq(&before, &app.tenant().keyring()));
    assert!(health(&app).faults[0].problem.ends_with("has no key any more"));
}

#[test]
fn of_several_processes_exactly_one_publishes_the_next_key() {
    let first = TestApp::start_with(|options| options.rotate_every = Some(86_400));
    let scheduled = |options: &mut Options| options.rotate_every = Some(86_400);
    let apps: Vec<_> = (0..6).map(|_| first.another(scheduled)).collect();
    first.clock.advance(86_400);
    std::thread::scope(|scope| {
        for app in &apps {
            scope.spawn(|| app.running.rotate_due());
        }
    });
    let keyring = first.keystore.load().unwrap();
    let states: Vec<_> = keyring.keys().map(|key| keyring.state(key, first.now())).collect();
    assert_eq!(states, [KeyState::Next, KeyState::Active]);
}

#[test]
fn a_rotation_that_cannot_happen_is_told_and_tried_again_until_it_can() {
    let app = TestApp::start_with(|options| options.rotate_every = Some(86_400));
    let broken = app.keystore.directory().join("broken.jwk");
    write(&broken, b"{", 0o600);
    app.clock.advance(86_400);
    let due = app.now();
    app.running.rotate_due();
    app.running.rotate_due();
    let told = health(&app);
    assert_eq!((told.failures, told.last_failure, told.is_failing), (1, Some(due), true));
    assert!(told.next_rotation.unwrap() < due, "a time that has passed");
    app.clock.advance(60);
    app.running.rotate_due();
    assert_eq!(health(&app).failures, 2);

    fs::remove_file(&broken).unwrap();
    app.clock.advance(60);
    app.running.rotate_due();
    let told = health(&app);
    assert_eq!((told.failures, told.is_failing), (2, false));
    assert_eq!(told.next_rotation, Some(app.now().plus(360)), "published first, as ever");
}

#[test]
fn a_key_is_published_by_the_schedule_of_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = Keystore::new(folder.path().join("keys"), 86_400);
    // A process that slept: its key has been signing for longer than the schedule says.
    let kid = keystore.generate(RULES.algorithm, super::START, super::START).unwrap();
    let long_ago = |member: &str| (member.to_owned(), json!("2026-01-01T00:00:00Z"));
    change(
        &keystore.directory().join(format!("{kid}.jwk")),
        &["created", "not_before"].map(long_ago),
    );
    let config = "[keys]\nrotate_every_seconds = 86400\n";
    let server = Server::start_in(folder, config, &[]);
    wait_until(&server, || server.log().contains("the next key is published"));
    let list = server.client().args(["keys", "list", "-o", "json"]).output().unwrap();
    assert_eq!(stdout(&list).matches("\"next\"").count(), 1, "{}", stdout(&list));
}

/// No word of it comes from the system: the folder that is watched is not the one that changes.
#[test]
fn a_folder_that_is_replaced_as_a_whole_is_taken_up() {
    let server = Server::start();
    let path = |name: &str| -> PathBuf { server.folder.path().join(name) };
    let copied =
        std::process::Command::new("cp").arg("-a").args([path("keys"), path("new")]).status();
    assert!(copied.unwrap().success());
    let made = server.client().args(["keys", "generate", "--keys", "new"]).output().unwrap();
    assert!(made.status.success());
    fs::rename(path("keys"), path("old")).unwrap();
    fs::rename(path("new"), path("keys")).unwrap();
    wait_until(&server, || server.log().contains("the keys changed and are in use"));
}

#[test]
fn a_key_that_signs_before_anybody_knows_it_is_warned_of() {
    let server = Server::start();
    let now = ["keys", "generate", "--signs-in", "0", "--force", "--yes"];
    assert!(server.client().args(now).output().unwrap().status.success());
    wait_until(&server, || server.log().contains("a key signs before all verifiers know it"));
}

fn change(path: &Path, members: &[(String, serde_json::Value)]) {
    let mut key: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for (member, value) in members {
        key[member] = value.clone();
    }
    fs::write(path, key.to_string()).unwrap();
}

fn health(app: &TestApp) -> KeyHealth {
    app.running.health().remove(0)
}

#[test]
fn of_several_processes_that_start_on_an_empty_folder_exactly_one_makes_the_first_key() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let keystore = Keystore::new(folder.path(), 900);
        keystore.generate_first(RULES.algorithm, super::START).unwrap()
    };
    let made = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starts.into_iter().filter_map(|start| start.join().unwrap()).count()
    });
    assert_eq!(made, 1);
}
