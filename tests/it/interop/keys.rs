//! Key files and Python's cryptography: what resetd encrypts it decrypts, and the other way round.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use resetd::domain::keyring::KeyTimes;
use resetd::domain::rotation::{Change, Plan};
use resetd::domain::secret::Secret;
use resetd::keystore::{Keystore, Passphrases, Source};
use resetd_verify::{Algorithm, Timestamp};

use super::tools::Tools;

const PASSPHRASE: &str = "correct horse";

/// Keys as OpenSSL writes them, which cryptography does byte for byte alike.
const KEYS: [&str; 3] = [
    include_str!("../../fixtures/keys/p256.pkcs8.pem"),
    include_str!("../../fixtures/keys/ed25519.pkcs8.pem"),
    include_str!("../../fixtures/keys/rsa.pkcs8.pem"),
];

#[test]
fn cryptography_decrypts_the_private_half_of_an_encrypted_file() {
    for key in KEYS {
        let file = import(key, None, &Passphrases::parse(PASSPHRASE).unwrap());
        assert_eq!(run(&file, "decrypt"), key);
    }
}

#[test]
fn a_key_that_cryptography_encrypted_is_imported() {
    for key in KEYS {
        let passphrase = Secret::new(PASSPHRASE);
        let encrypted = run(key, "encrypt");
        assert!(encrypted.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let file = import(&encrypted, Some(&passphrase), &Passphrases::none());
        assert_eq!(file, import(key, None, &Passphrases::none()));
    }
}

fn import(text: &str, passphrase: Option<&Secret>, passphrases: &Passphrases) -> String {
    let (name, text) = (Path::new("old.pem"), text.as_bytes());
    let source = Source { name, text, algorithm: None, passphrase };
    let now = Timestamp::from_seconds(1_800_000_000);
    let folder = tempfile::tempdir().unwrap();
    let keystore = Keystore::new(folder.path(), 900).with_passphrases(passphrases.clone());
    let (algorithm, times) = (Algorithm::Es256, KeyTimes::new(now, now));
    let plan = Plan { changes: vec![Change::Add { algorithm, times }], ..Plan::default() };
    let added = keystore.lock().unwrap().carry_out(&plan, Some(&source)).unwrap();
    fs::read_to_string(folder.path().join(format!("{}.jwk", added[0]))).unwrap()
}

fn run(text: &str, way: &str) -> String {
    let mut python = Tools::installed().cryptography();
    let python = python.args([PASSPHRASE, way]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.spawn().unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
