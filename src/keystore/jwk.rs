//! One key as it stands in its file: a private JWK (RFC 7517, RFC 7518 §6, RFC 8037) with the times
//! that decide its state.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::crypto::{self, RsaAlgorithm, RsaPrivateMembers, SigningKey};
use resetd_verify::json::{self, Object};
use resetd_verify::{Algorithm, JwkError, KeyId, PublicKey, Timestamp, member_bytes};
use serde::Serialize;
use signature::{Signer as _, Verifier as _};
use zeroize::Zeroizing;

use super::error::{KeystoreError, io_error};
use crate::domain::keyring::{Key, KeyTimes};
use crate::domain::time::{from_rfc3339, to_rfc3339};

/// Reads a key's file and proves the key: the halves belong together and it signs.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Key, KeystoreError> {
    let jwk = json::parse_object(text)
        .map_err(|error| KeystoreError::Json { path: path.into(), error })?;
    let faulty = |error| KeystoreError::Jwk { path: path.into(), error };
    let public = PublicKey::from_jwk(&jwk).map_err(faulty)?;
    if *public.kid() != public.thumbprint() {
        return Err(faulty(JwkError::invalid(
            "kid",
            "the RFC 7638 thumbprint of the key; leave it out and it is",
        )));
    }
    let times = KeyTimes {
        created: time(&jwk, "created").and_then(required("created")).map_err(faulty)?,
        not_before: time(&jwk, "not_before").and_then(required("not_before")).map_err(faulty)?,
        retired_at: time(&jwk, "retired_at").map_err(faulty)?,
        revoked_at: time(&jwk, "revoked_at").map_err(faulty)?,
        revokes: revokes(&jwk).map_err(faulty)?,
    };
    let signing = private_half(path, &jwk, public.algorithm())?;
    // Once, at load: some faulty RSA members are noticed only by signing.
    if !signs_for(&signing, &public) {
        return Err(KeystoreError::Mismatch { path: path.into() });
    }
    Ok(Key::new(public, signing, times))
}

/// Makes a key and the text of its file.
pub(super) fn generate(
    folder: &Path,
    algorithm: Algorithm,
    created: Timestamp,
    not_before: Timestamp,
) -> Result<(KeyId, Zeroizing<Vec<u8>>), KeystoreError> {
    let mut jwk = new_key(algorithm, created, not_before)?;
    // Read back before it is written: that proves it, and gives it its name.
    let kid = parse(folder, &jwk.to_json(folder)?)?.kid().clone();
    jwk.kid = kid.to_string();
    Ok((kid, jwk.to_json(folder)?))
}

fn signs_for(signing: &SigningKey, public: &PublicKey) -> bool {
    const PROBE: &[u8] = b"resetd";
    let signature = signing.try_sign(PROBE);
    signature.is_ok_and(|signature| public.verifying_key().verify(PROBE, &signature).is_ok())
}

/// What the times in a key's file must be.
const TIME: &str = "a time such as \"2026-01-31T12:00:00Z\"";

fn time(jwk: &Object<'_>, name: &'static str) -> Result<Option<Timestamp>, JwkError> {
    match jwk.member(name) {
        None => Ok(None),
        Some(value) => {
            let time = value.as_str().and_then(from_rfc3339);
            time.map(Some).ok_or(JwkError::invalid(name, TIME))
        }
    }
}

fn revokes(jwk: &Object<'_>) -> Result<Option<KeyId>, JwkError> {
    let Some(value) = jwk.member("revokes") else {
        return Ok(None);
    };
    let kid = value.as_str().and_then(KeyId::parse);
    kid.map(Some).ok_or(JwkError::invalid("revokes", "the identifier of the key it replaced"))
}

fn required(name: &'static str) -> impl Fn(Option<Timestamp>) -> Result<Timestamp, JwkError> {
    move |time| time.ok_or(JwkError::invalid(name, TIME))
}

fn private_half(
    path: &Path,
    jwk: &Object<'_>,
    algorithm: Algorithm,
) -> Result<SigningKey, KeystoreError> {
    let bytes = |name| {
        member_bytes(jwk, name)
            .map(Zeroizing::new)
            .map_err(|error| KeystoreError::Jwk { path: path.into(), error })
    };
    let rsa = |algorithm| {
        Ok(SigningKey::from_rsa(
            algorithm,
            &RsaPrivateMembers {
                n: &bytes("n")?,
                e: &bytes("e")?,
                d: &bytes("d")?,
                p: &bytes("p")?,
                q: &bytes("q")?,
                dp: &bytes("dp")?,
                dq: &bytes("dq")?,
                qi: &bytes("qi")?,
            },
        ))
    };
    match algorithm {
        Algorithm::Es256 => {
            let point = [&[4], &bytes("x")?[..], &bytes("y")?[..]].concat();
            SigningKey::from_p256(&bytes("d")?, &point)
        }
        Algorithm::EdDsa => SigningKey::from_ed25519(&bytes("d")?, &bytes("x")?),
        Algorithm::Rs256 => rsa(RsaAlgorithm::Rs256)?,
        Algorithm::Ps256 => rsa(RsaAlgorithm::Ps256)?,
    }
    .map_err(|error| KeystoreError::Rejected { path: path.into(), error })
}

/// A key as it stands in its file (RFC 7517 §4, RFC 7518 §6.2, RFC 8037 §2).
#[derive(Serialize)]
struct PrivateJwk {
    #[serde(skip_serializing_if = "String::is_empty")]
    kid: String,
    kty: &'static str,
    crv: &'static str,
    alg: Algorithm,
    #[serde(rename = "use")]
    key_use: &'static str,
    created: String,
    not_before: String,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    d: Zeroizing<String>,
}

impl PrivateJwk {
    fn to_json(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        serde_json::to_vec_pretty(self)
            .map(Zeroizing::new)
            .map_err(|error| io_error(path)(error.into()))
    }
}

fn new_key(
    algorithm: Algorithm,
    created: Timestamp,
    not_before: Timestamp,
) -> Result<PrivateJwk, KeystoreError> {
    let (kty, crv, d, x, y) = match algorithm {
        Algorithm::Es256 => {
            let (d, point) = crypto::generate_p256().map_err(|_| KeystoreError::NoRandomness)?;
            ("EC", "P-256", d, point[1..33].to_vec(), Some(point[33..].to_vec()))
        }
        Algorithm::EdDsa => {
            let (d, x) = crypto::generate_ed25519().map_err(|_| KeystoreError::NoRandomness)?;
            ("OKP", "Ed25519", d, x, None)
        }
        Algorithm::Rs256 | Algorithm::Ps256 => {
            return Err(KeystoreError::CannotGenerate { algorithm });
        }
    };
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Ok(PrivateJwk {
        kid: String::new(),
        kty,
        crv,
        alg: algorithm,
        key_use: "sig",
        created: to_rfc3339(created),
        not_before: to_rfc3339(not_before),
        x: encode(&x),
        y: y.map(|y| encode(&y)),
        d: Zeroizing::new(encode(&d)),
    })
}
