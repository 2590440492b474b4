//! The folder of keys: every fault in it is told once, with its place and mend, and a new key is
//! there whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{contents, issue, mode, tell};
use crate::server::{Server, resetd};
use crate::vectors::{make_folder, private_keys, write_key};

#[test]
fn a_fault_in_the_folder_of_keys_is_told_in_one_line_with_its_place_and_mend() {
    for (name, prepare, wanted) in FAULTS {
        let folder = tempfile::tempdir().unwrap();
        prepare(&folder.path().join("keys"));
        let before = contents(folder.path());
        for command in [
            &["serve", "--listen", "127.0.0.1:0", "--keys", "keys"][..],
            &["keys", "list", "--keys", "keys"],
            &["verify", "a.b.c", "--keys", "keys"],
        ] {
            let told = tell(resetd(folder.path()).args(command), 2);
            assert_eq!(told.err, format!("resetd: {wanted}\n"), "{name}");
            // `list` tells of the good keys all the same.
            assert!(told.out.is_empty() || command.contains(&"list"), "{name}");
            assert_eq!(contents(folder.path()), before, "{name}");
        }
    }
}

#[test]
fn a_link_is_followed_within_the_folder_and_refused_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path(), folder.path().join("keys"));
    with_key(&keys, |_| {});
    // As secrets are mounted: a link by way of a folder that is a link itself.
    make_folder(&keys.join("..1"));
    fs::rename(keys.join("a.jwk"), keys.join("..1/a.jwk")).unwrap();
    symlink("..1", keys.join("..data")).unwrap();
    symlink("..data/a.jwk", keys.join("a.jwk")).unwrap();
    assert_eq!(states(path, "keys"), [(kid_of(&key("ES256")), "active".into())]);

    fs::rename(keys.join("..1"), path.join("outside")).unwrap();
    fs::remove_file(keys.join("..data")).unwrap();
    symlink("../outside", keys.join("..data")).unwrap();
    for command in ["list", "rotate"] {
        let told = tell(resetd(path).args(["keys", command, "--keys", "keys"]), 2).err;
        let place = path.canonicalize().unwrap().join("outside/a.jwk");
        let wanted = format!("resetd: keys/a.jwk: leads to {}, out of the folder", place.display());
        assert!(told.starts_with(&wanted), "{told}");
    }
}

/// Only root can give a file away, and where the tests run as somebody else, nobody can.
#[test]
fn a_key_or_a_folder_that_belongs_to_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    with_key(&keys, |_| {});
    for path in [keys.join("a.jwk"), keys.clone()] {
        if chown(&path, Some(12_345), None).is_err() {
            return;
        }
        let told = tell(resetd(folder.path()).args(["keys", "list", "--keys", "keys"]), 2).err;
        assert!(told.contains("belongs to user 12345, wanted 0, who runs this, or root"), "{told}");
        chown(&path, Some(0), None).unwrap();
    }
}

type Fault = (&'static str, fn(&Path), &'static str);

const FAULTS: [Fault; 18] = [
    (
        "no folder",
        |_| {},
        "keys: there is no such folder of keys; make one with its first key: resetd keys generate --keys keys",
    ),
    (
        "a file in the place of the folder",
        |keys| fs::write(keys, "").unwrap(),
        "keys: is no folder; wanted the folder that holds the keys",
    ),
    (
        "a folder that the group may change",
        |keys| {
            make_folder(keys);
            set_mode(keys, 0o770);
        },
        "keys: has mode 0770, wanted no write permission for group and others; mend it: chmod go-w keys",
    ),
    (
        "a key that others may read",
        |keys| {
            with_key(keys, |_| {});
            set_mode(&keys.join("a.jwk"), 0o644);
        },
        "keys/a.jwk: has mode 0644, wanted 0600 or 0400: only its owner may read a key; mend it: chmod 600 keys/a.jwk",
    ),
    (
        "a folder with the name of a key",
        |keys| {
            make_folder(keys);
            make_folder(&keys.join("a.jwk"));
        },
        "keys/a.jwk: is no regular file; put the key itself here",
    ),
    (
        "a file that is too long",
        |keys| with_text(keys, &" ".repeat(20_000)),
        "keys/a.jwk: has 20000 bytes, a key has at most 16384; move what is no key out of the folder",
    ),
    (
        "an empty file",
        |keys| with_text(keys, ""),
        "keys/a.jwk: is no complete private JWK: the text stops being JSON at line 1, column 0; put a whole copy in its place",
    ),
    (
        "a key that is cut off",
        |keys| with_text(keys, &key("ES256").to_string()[..100]),
        "keys/a.jwk: is no complete private JWK: the text stops being JSON at line 1, column 100; put a whole copy in its place",
    ),
    (
        "the same key twice",
        |keys| {
            with_key(keys, |_| {});
            let again = key("ES256").to_string();
            write_key(&keys.join("b.jwk"), again.as_bytes());
        },
        "keys/b.jwk and keys/a.jwk: hold the same key oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U; remove one of them",
    ),
    (
        "a name that is not the key's",
        |keys| with_key(keys, |key| key["kid"] = "2027-01".into()),
        "keys/a.jwk: the member \"kid\" must be the RFC 7638 thumbprint of the key; leave it out and it is",
    ),
    (
        "no time to sign from",
        |keys| with_key(keys, |key| remove(key, "not_before")),
        "keys/a.jwk: the member \"not_before\" must be a time such as \"2026-01-31T12:00:00Z\"",
    ),
    (
        "a time that is none",
        |keys| with_key(keys, |key| key["retired_at"] = "soon".into()),
        "keys/a.jwk: the member \"retired_at\" must be a time such as \"2026-01-31T12:00:00Z\"",
    ),
    (
        "a key of another kind",
        |keys| with_key(keys, |key| key["alg"] = "ES384".into()),
        "keys/a.jwk: wanted kty EC with crv P-256 and alg ES256, OKP with Ed25519 and EdDSA, or RSA with RS256 or PS256",
    ),
    (
        "no private half",
        |keys| with_key(keys, |key| remove(key, "d")),
        "keys/a.jwk: the member \"d\" must be canonical base64url",
    ),
    (
        "the private half of another key",
        |keys| with_key(keys, |key| key["d"] = key["x"].clone()),
        "keys/a.jwk: the private members do not make a key: InconsistentComponents; put a copy of the right key in its place",
    ),
    (
        "the private half of another Ed25519 key",
        |keys| {
            let mut key = key("EdDSA");
            key["d"] = key["x"].clone();
            with_text(keys, &key.to_string());
        },
        "keys/a.jwk: the private members do not make a key: InconsistentComponents; put a copy of the right key in its place",
    ),
    (
        "an RSA key that does not sign for its public half",
        |keys| {
            let mut key = key("RS256");
            key["dp"] = key["dq"].clone();
            with_text(keys, &key.to_string());
        },
        "keys/a.jwk: the private members do not sign for the public ones; put a copy of the right key in its place",
    ),
    (
        "a weak RSA key",
        |keys| {
            let mut key = key("RS256");
            let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
            key["n"] = URL_SAFE_NO_PAD.encode(&modulus[..128]).into();
            with_text(keys, &key.to_string());
        },
        "keys/a.jwk: the member \"n\" must be a modulus of 2048 to 8192 bits without leading zeros",
    ),
];

#[test]
fn the_first_key_signs_at_once_and_the_next_when_all_verifiers_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let generate = |more: &[&str], code| {
        let command = ["keys", "generate", "--keys", "deep/keys", "-o", "json"];
        tell(resetd(folder.path()).args(command).args(more), code)
    };
    let first = generate(&[], 0).json();
    let first = first["keys"][0].clone();
    assert_eq!(first["state"], "active");
    let keys = folder.path().join("deep/keys");
    let file = keys.join(format!("{}.jwk", first["kid"].as_str().unwrap()));
    assert_eq!((mode(&keys), mode(&file)), (0o700, 0o600));

    let second = generate(&["--algorithm", "EdDSA"], 0).json()["keys"][0].clone();
    assert_eq!(second["state"], "next");
    let told = generate(&["--signs-in", "359"], 2).err;
    assert!(told.contains("wait 360 seconds, or break them with --force\n"), "{told}");
    assert_eq!(
        states(folder.path(), "deep/keys"),
        [(kid_of(&second), "next".into()), (kid_of(&first), "active".into())]
    );
}

#[test]
fn a_key_that_is_forced_signs_at_once_and_the_one_before_retires() {
    let folder = tempfile::tempdir().unwrap();
    with_key(&folder.path().join("keys"), |_| {});
    let force = ["keys", "generate", "--signs-in", "0", "--force", "--yes", "-o", "json"];
    let forced = tell(resetd(folder.path()).args(force), 0).json()["keys"][0].clone();
    assert_eq!(forced["state"], "active");
    assert_eq!(
        states(folder.path(), "keys"),
        [(kid_of(&forced), "active".into()), (kid_of(&key("ES256")), "retired".into())]
    );
}

#[test]
fn a_key_is_shown_by_the_beginning_of_its_name_and_without_its_private_half() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    with_key(&keys, |_| {});
    write_key(&keys.join("rsa.jwk"), key("RS256").to_string().as_bytes());
    let show = |kid: &str, more: &[&str], code| {
        let command = ["keys", "show", "--keys", "keys", kid];
        tell(resetd(folder.path()).args(command).args(more), code)
    };
    let told = show("oKIy", &["-o", "json"], 0);
    let mut public = key("ES256");
    for member in ["d", "created", "not_before"] {
        remove(&mut public, member);
    }
    assert_eq!(told.json()["jwk"], public);
    for kid in ["oKIy", "IsUn"] {
        let private = ["\"d\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\""];
        let told = show(kid, &[], 0).out;
        assert!(private.iter().all(|member| !told.contains(member)));
    }
    assert_eq!(
        show("nobody", &[], 2).err,
        "resetd: no key begins with \"nobody\"; resetd keys list shows all\n"
    );
    assert_eq!(show("", &[], 2).err, "resetd: several keys begin with \"\"; give more of it\n");
}

#[test]
fn only_keys_that_can_be_made_here_are_made() {
    let folder = tempfile::tempdir().unwrap();
    for (algorithm, wanted) in [
        (
            "RS256",
            "--algorithm: RS256 keys cannot be made here, only ES256 and EdDSA keys; resetd keys import takes one",
        ),
        ("HS256", "--algorithm: wanted ES256 or EdDSA, found \"HS256\""),
        ("es256", "--algorithm: wanted ES256 or EdDSA, found \"es256\""),
    ] {
        let told =
            tell(resetd(folder.path()).args(["keys", "generate", "--algorithm", algorithm]), 2);
        assert_eq!(told.err, format!("resetd: {wanted}\n"));
        assert!(keys_in(&folder.path().join("keys")).is_empty());
    }
}

/// Permissions do not stop root, which tests may run as. A limit on the size of files does.
#[test]
fn a_key_that_cannot_be_written_whole_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    make_folder(&keys);
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" keys generate --keys keys";
    let program = env!("CARGO_BIN_EXE_resetd");
    let mut command = Command::new("bash");
    command.args(["-c", script, program]).current_dir(&folder);
    let told = tell(&mut command, 2);
    assert!(told.err.starts_with("resetd: keys/"), "{}", told.err);
    assert!(told.err.contains(".jwk: File too large (os error 27)"));
    assert!(keys_in(&keys).is_empty());
}

#[test]
fn a_folder_that_cannot_be_made_is_named_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "mine").unwrap();
    let before = contents(folder.path());
    for (command, wanted) in [
        (
            &["keys", "generate", "--keys", "file"][..],
            "file: is no folder; wanted the folder that holds the keys",
        ),
        (&["keys", "generate", "--keys", "file/keys"], "file/keys: Not a directory (os error 20)"),
        (&["init", "file"], "cannot make file: File exists (os error 17)"),
    ] {
        let told = tell(resetd(folder.path()).args(command), 2);
        assert_eq!(told.err, format!("resetd: {wanted}\n"));
        assert_eq!(contents(folder.path()), before);
    }
}

#[test]
fn an_rsa_key_put_into_the_folder_signs_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    make_folder(&folder.path().join("keys"));
    let mut imported = key("RS256");
    remove(&mut imported, "kid");
    write_key(&folder.path().join("keys/imported.jwk"), imported.to_string().as_bytes());
    let server = Server::start_in(folder, "", &["--keys", "keys"]);
    let token = issue(&server, "alice");
    let jwks = format!("{}/.well-known/jwks.json", server.url);
    let mut verify = server.client();
    verify.args(["verify", &token, "--jwks", &jwks, "--issuer", &server.url]);
    let told = tell(verify.args(["-o", "json"]), 0).json();
    assert_eq!(told["kid"], key("RS256")["kid"]);
    let told = tell(server.client().args(["inspect", &token, "-o", "json"]), 0);
    assert_eq!(told.json()["header"]["alg"], "RS256");
}

/// The published key with this algorithm.
fn key(algorithm: &str) -> Value {
    let mut keys = private_keys().into_iter();
    keys.find(|key| key["alg"] == algorithm).unwrap()
}

/// A folder of one key, changed like this.
pub(super) fn with_key(keys: &Path, change: impl FnOnce(&mut Value)) {
    let mut key = key("ES256");
    change(&mut key);
    with_text(keys, &key.to_string());
}

/// A folder of one file that should be a key.
fn with_text(keys: &Path, text: &str) {
    make_folder(keys);
    write_key(&keys.join("a.jwk"), text.as_bytes());
}

fn remove(key: &mut Value, member: &str) {
    key.as_object_mut().unwrap().remove(member);
}

fn kid_of(key: &Value) -> String {
    key["kid"].as_str().unwrap().to_owned()
}

/// What `keys list` says: each key with its state, newest first.
fn states(folder: &Path, keys: &str) -> Vec<(String, String)> {
    let mut list = resetd(folder);
    let list = tell(list.args(["keys", "list", "-o", "json", "--keys", keys]), 0).json();
    let states = list["keys"].as_array().unwrap().iter();
    states.map(|key| (kid_of(key), key["state"].as_str().unwrap().to_owned())).collect()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The names of all files in a folder of keys; none if there is no folder.
pub(super) fn keys_in(folder: &Path) -> Vec<String> {
    let names = if folder.exists() { contents(folder) } else { BTreeMap::new() };
    names.into_keys().filter(|name| Path::new(name).file_name() != Some(".lock".as_ref())).collect()
}

#[test]
fn a_service_without_a_key_that_may_sign_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    tell(resetd(path).args(["keys", "generate", "--keys", "keys", "--signs-in", "600"]), 0);
    let serve = ["serve", "--keys", "keys", "--listen", "127.0.0.1:0"];
    let told = tell(resetd(path).args(serve), 2);
    assert!(told.err.contains("no key is active"), "{}", told.err);
}

#[test]
fn a_default_folder_with_keys_that_others_may_write_to_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    tell(resetd(path).args(["keys", "generate"]), 0);
    fs::set_permissions(path.join("keys"), fs::Permissions::from_mode(0o775)).unwrap();
    let told = tell(resetd(path).args(["serve", "--listen", "127.0.0.1:0"]), 2);
    assert!(told.err.contains("has mode 0775"), "{}", told.err);
    assert_eq!(mode(&path.join("keys")), 0o775);
}

#[test]
fn a_key_made_in_the_second_of_another_still_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let generate = ["keys", "generate", "--signs-in", "0", "--force", "--yes", "--output", "json"];
    let made: Vec<Value> =
        (0..4).map(|_| tell(resetd(path).args(generate), 0).json()["keys"][0].clone()).collect();
    let signs_from: Vec<_> = made.iter().map(|key| key["signsFrom"].as_str().unwrap()).collect();
    assert!(signs_from.is_sorted_by(|earlier, later| earlier < later), "{signs_from:?}");
}
