//! What the tests of the formats share: keys made by OpenSSL and those of the verifier's vectors.

use std::path::Path;

use resetd_verify::{Algorithm, Timestamp};
use serde_json::{Value, json};

use super::error::KeystoreError;
use super::import::{self, Source};
use super::passphrase::Passphrases;
use super::private::Wiped;
use crate::domain::keyring::KeyTimes;
use crate::domain::secret::Secret;

/// The passphrase of every encrypted fixture.
pub(super) const PASSPHRASE: &str = "correct-horse";

/// The text of a file in `tests/fixtures/keys`, whose `README.md` says how each was made.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys/", $name, ".pem"))
    };
}
pub(super) use fixture;

/// The name that errors have in tests.
pub(super) fn path() -> &'static Path {
    Path::new("a.jwk")
}

/// 2026-01-31 and a day later.
pub(super) fn times() -> KeyTimes {
    KeyTimes::new(Timestamp::from_seconds(1_769_860_800), Timestamp::from_seconds(1_769_947_200))
}

/// One passphrase per line.
pub(super) fn passphrases(text: &str) -> Passphrases {
    Passphrases::parse(text).unwrap()
}

/// The file that an import makes, in clear.
pub(super) fn import(text: &str, algorithm: Option<Algorithm>) -> Result<Wiped, KeystoreError> {
    import_with(text, algorithm, None, &Passphrases::none())
}

/// The file that an import of a key encrypted with [`PASSPHRASE`] makes.
pub(super) fn import_with(
    text: &str,
    algorithm: Option<Algorithm>,
    passphrase: Option<&str>,
    passphrases: &Passphrases,
) -> Result<Wiped, KeystoreError> {
    let passphrase = passphrase.map(Secret::new);
    let (name, text) = (Path::new("old.pem"), text.as_bytes());
    let source = Source { name, text, algorithm, passphrase: passphrase.as_ref() };
    import::read(&source, &times(), passphrases).map(|(_, text)| text)
}

/// The key of the vectors for this algorithm, with the times of a file.
pub(super) fn jwk(algorithm: Algorithm) -> Value {
    let set = include_str!("../../crates/verify/tests/vectors/private-keys.json");
    let set: Value = serde_json::from_str(set).unwrap();
    let keys = set["keys"].as_array().unwrap();
    let mut jwk = keys.iter().find(|key| key["alg"] == algorithm.name()).unwrap().clone();
    jwk["created"] = json!("2026-01-31T12:00:00Z");
    jwk["not_before"] = json!("2026-02-01T12:00:00Z");
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

/// A text as JSON.
pub(super) fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}
