//! Feeds one input to `resetd-verify` in four places: as a token, as a key set, and, signed with a
//! fixed key so that the signature is no wall, as the header and as the claims of a token.
//!
//! Nothing may panic. What is accepted must be the same after it is written and read once more,
//! and what is refused must be fit for a log line.

#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use resetd_verify::crypto::SigningKey;
use resetd_verify::{Claims, KeySet, Timestamp, Verifier, VerifyError};
use signature::Signer as _;

/// The example key of RFC 8037 §A.1. Ed25519 draws no random bytes, so a crash can be repeated.
const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const HEADER: &str =
    r#"{"alg":"EdDSA","typ":"reset+jwt","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}"#;
const CLAIMS: &str = r#"{"iss":"https://reset.example.com","aud":"https://app.example.com","sub":"ada","iat":1799999940,"exp":1800000840,"jti":"AAECAwQFBgcICQoLDA0ODw"}"#;
const KEYS: &str = include_str!("../../crates/verify/tests/vectors/keys.json");

static SIGNING_KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let [seed, public] =
        [SEED, PUBLIC].map(|text| URL_SAFE_NO_PAD.decode(text).expect("base64url"));
    SigningKey::from_ed25519(&seed, &public).expect("the example key")
});
static KEY_SET: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::from_jwks(KEYS.as_bytes()).expect("the example keys"));

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        check(verify(text));
    }
    check(verify(&token(input, CLAIMS.as_bytes())));
    check(verify(&token(HEADER.as_bytes(), input)));
    match KeySet::from_jwks(input) {
        Ok(keys) => assert!(keys.len() <= 64),
        Err(error) => assert_loggable(&error.to_string()),
    }
});

fn token(header: &[u8], claims: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{claims}");
    let signature = SIGNING_KEY.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn verify(token: &str) -> Result<Claims, VerifyError> {
    Verifier::new("https://reset.example.com", "https://app.example.com")
        .with_leeway(60)
        .verify(token, &KEY_SET, Timestamp::from_seconds(1_800_000_000))
        .map(|token| token.into_claims())
}

fn check(result: Result<Claims, VerifyError>) {
    match result {
        Ok(claims) => {
            let text = serde_json::to_vec(&claims).expect("claims are JSON");
            assert_eq!(verify(&token(HEADER.as_bytes(), &text)), Ok(claims));
        }
        Err(error) => assert_loggable(&error.to_string()),
    }
}

fn assert_loggable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
