//! What a key set takes, what it passes over and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::json::{self, JsonError};
use resetd_verify::{JwkError, JwksError, KeyId, KeySet, PublicKey};
use serde_json::{Value, json};

const PUBLIC_KEYS: &str = include_str!("vectors/keys.json");
const PRIVATE_KEYS: &str = include_str!("vectors/private-keys.json");

/// The key that RFC 7638 §3.1 computes the thumbprint of.
const RFC_7638_MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

/// The public key of the vectors for this algorithm.
fn jwk(alg: &str) -> Value {
    let set: Value = serde_json::from_str(PUBLIC_KEYS).unwrap();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().find(|key| key["alg"] == alg).unwrap().clone()
}

fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
    jwk[member] = value.into();
    jwk
}

fn without(mut jwk: Value, member: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(member).unwrap();
    jwk
}

fn read_set(keys: impl Into<Value>) -> Result<KeySet, JwksError> {
    KeySet::from_jwks(json!({ "keys": keys.into() }).to_string().as_bytes())
}

fn read(jwk: &Value) -> Result<PublicKey, JwkError> {
    let text = jwk.to_string();
    PublicKey::from_jwk(&json::parse_object(text.as_bytes()).unwrap())
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key is known and faulty: it is refused alone, and so is the set that holds it.
#[track_caller]
fn refused(jwk: &Value, member: &str) {
    let error = read(jwk).unwrap_err();
    assert!(
        matches!(error, JwkError::InvalidMember { name, .. } if name == member),
        "{jwk}: {error}"
    );
    let set = read_set(vec![jwk.clone()]).unwrap_err();
    assert_eq!(set, JwksError::Key { index: 0, error });
}

#[test]
fn a_public_key_serializes_to_the_jwk_it_was_read_from_without_private_members() {
    let published: Value = serde_json::from_str(PUBLIC_KEYS).unwrap();
    let private: Value = serde_json::from_str(PRIVATE_KEYS).unwrap();
    let read_back: Vec<_> =
        private["keys"].as_array().unwrap().iter().map(|jwk| read(jwk).unwrap()).collect();
    assert_eq!(serde_json::to_value(read_back).unwrap(), published["keys"]);
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let rsa = json!({"kty": "RSA", "n": RFC_7638_MODULUS, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let rsa = read(&rsa).unwrap();
    assert_eq!(rsa.kid().as_str(), "2011-04-29");
    assert_eq!(rsa.thumbprint().as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let ed25519 = read(&jwk("EdDSA")).unwrap();
    assert_eq!(ed25519.thumbprint().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn a_key_without_kid_is_found_by_its_thumbprint() {
    for alg in ["ES256", "EdDSA", "RS256"] {
        let set = read_set(vec![without(jwk(alg), "kid")]).unwrap();
        let kid = KeyId::parse(jwk(alg)["kid"].as_str().unwrap()).unwrap();
        assert_eq!(set.key(&kid).unwrap().algorithm().name(), alg);
    }
}

#[test]
fn two_keys_with_one_kid_are_refused() {
    let twin = with(jwk("EdDSA"), "kid", "rsa-pss");
    let error = read_set(vec![jwk("PS256"), twin]).unwrap_err();
    let kid = KeyId::parse("rsa-pss").unwrap();
    assert_eq!(error, JwksError::DuplicateKeyId { kid });
}

#[test]
fn keys_of_unknown_kinds_are_passed_over() {
    let unknown = vec![
        json!({}),
        json!({"kty": "oct", "alg": "HS256", "k": "AAAA"}),
        json!({"kty": "EC", "crv": "P-384", "alg": "ES384", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "crv": "X25519", "alg": "ECDH-ES", "x": "AAAA"}),
        with(jwk("EdDSA"), "alg", "Ed25519"),
        with(jwk("RS256"), "alg", "RS512"),
        with(jwk("RS256"), "alg", "none"),
        with(jwk("ES256"), "alg", "RS256"),
        with(jwk("ES256"), "alg", Value::Null),
        with(jwk("ES256"), "kty", 1),
        without(jwk("ES256"), "alg"),
    ];
    assert!(read_set(unknown.clone()).unwrap().is_empty());
    let known = [unknown, vec![jwk("ES256")]].concat();
    assert_eq!(read_set(known).unwrap().len(), 1);
}

#[test]
fn a_set_is_one_strict_json_object_with_an_array_of_objects() {
    let read = |text: &str| KeySet::from_jwks(text.as_bytes()).unwrap_err();
    assert_eq!(read("{}"), JwksError::NoKeys);
    assert_eq!(read(r#"{"keys":{}}"#), JwksError::NoKeys);
    assert_eq!(read("[]"), JwksError::Json(JsonError::NotAnObject));
    let twice = JsonError::DuplicateMember { name: "keys".into() };
    assert_eq!(read(r#"{"keys":[],"keys":[]}"#), JwksError::Json(twice));
    let error = JwkError::NotAnObject;
    assert_eq!(read(r#"{"keys":[{},1]}"#), JwksError::Key { index: 1, error });
    assert!(KeySet::from_jwks(br#"{"keys":[]}"#).unwrap().is_empty());
}

#[test]
fn a_set_has_at_most_64_keys() {
    assert!(read_set(vec![json!({}); 64]).is_ok());
    let error = read_set(vec![json!({}); 65]).unwrap_err();
    assert_eq!(error, JwksError::TooManyKeys { found: 65 });
}

#[test]
fn an_rsa_modulus_has_2048_to_8192_bits() {
    let modulus = |first: u8, length: usize| {
        let mut n = vec![0xff; length];
        n[0] = first;
        with(jwk("RS256"), "n", base64url(n))
    };
    assert!(read(&modulus(0x80, 256)).is_ok());
    assert!(read(&modulus(0xff, 1024)).is_ok());
    refused(&modulus(0x7f, 256), "n");
    refused(&modulus(0xff, 128), "n");
    refused(&modulus(0x01, 1025), "n");
    refused(&modulus(0x00, 257), "n");
    refused(&with(jwk("PS256"), "n", ""), "n");
    refused(&without(jwk("PS256"), "n"), "n");
}

#[test]
fn an_rsa_exponent_is_odd_and_at_least_65537() {
    let exponent = |bytes: &[u8]| with(jwk("RS256"), "e", base64url(bytes));
    assert!(read(&exponent(&[1, 0, 1])).is_ok());
    assert!(read(&exponent(&[0xff, 0xff, 0xff, 0xff])).is_ok());
    for weak in [
        &[][..],
        &[1],
        &[3],
        &[17],
        &[0xff, 0xff],
        &[1, 0, 0],
        &[0, 0, 3],
        &[0, 1, 0, 1],
        &[1, 0, 0, 0, 1],
    ] {
        refused(&exponent(weak), "e");
    }
    refused(&without(jwk("RS256"), "e"), "e");
}

#[test]
fn curve_members_have_32_bytes_in_canonical_base64url() {
    for length in [0, 31, 33, 64] {
        let x = base64url(vec![1; length]);
        refused(&with(jwk("ES256"), "x", x.clone()), "x and y");
        refused(&with(jwk("ES256"), "y", x.clone()), "x and y");
        refused(&with(jwk("EdDSA"), "x", x), "x");
    }
    let uneven = with(jwk("ES256"), "x", base64url([1; 31]));
    refused(&with(uneven, "y", base64url([1; 33])), "x and y");
    for alg in ["ES256", "EdDSA"] {
        let x = jwk(alg)["x"].as_str().unwrap().to_owned();
        refused(&with(jwk(alg), "x", format!("{x}=")), "x");
        refused(&with(jwk(alg), "x", format!("{}B", &x[..42])), "x");
        refused(&with(jwk(alg), "x", format!("+{}", &x[1..])), "x");
        refused(&with(jwk(alg), "x", json!([1])), "x");
        refused(&without(jwk(alg), "x"), "x");
    }
    refused(&without(jwk("ES256"), "y"), "y");
}

#[test]
fn a_known_key_with_a_wrong_use_or_kid_is_refused() {
    for alg in ["ES256", "EdDSA", "RS256", "PS256"] {
        refused(&with(jwk(alg), "use", "enc"), "use");
        refused(&with(jwk(alg), "use", Value::Null), "use");
        refused(&with(jwk(alg), "kid", ""), "kid");
        refused(&with(jwk(alg), "kid", "../key"), "kid");
        refused(&with(jwk(alg), "kid", 1), "kid");
        assert!(read(&without(jwk(alg), "use")).is_ok());
    }
}

#[test]
fn a_key_that_is_not_for_signatures_is_refused() {
    for alg in ["ES256", "EdDSA", "RS256"] {
        for operations in [json!(["encrypt"]), json!([]), json!("verify"), Value::Null] {
            refused(&with(jwk(alg), "key_ops", operations), "key_ops");
        }
        for operations in [json!(["verify"]), json!(["sign"]), json!(["sign", "verify"])] {
            assert!(read(&with(jwk(alg), "key_ops", operations)).is_ok());
        }
    }
}

#[test]
fn a_key_id_is_a_name_and_never_a_place() {
    let longest = "k".repeat(128);
    for name in ["a", "-", "_", "~", "...", ".a", "2011-04-29", "A.b_c~d-9", &longest] {
        assert_eq!(KeyId::parse(name).unwrap().as_str(), name);
    }
    let too_long = "k".repeat(129);
    for other in
        ["", ".", "..", "a/b", "a\\b", "a b", "a\n", "a\0", "a%2e", "a:b", "\u{e9}", &too_long]
    {
        assert_eq!(KeyId::parse(other), None, "{other:?}");
    }
}
