//! A private JWK from elsewhere (RFC 7517), for `import.rs`: its key and its `alg` are taken over,
//! its name becomes the thumbprint, and whatever else it has is dropped.

use std::path::Path;

use resetd_verify::json::{self, Object, Value};
use resetd_verify::{Algorithm, JwkError, member_bytes};

use super::algorithms;
use crate::domain::secret::Secret;
use crate::keystore::error::{ImportError, KeystoreError};
use crate::keystore::jwk::SEALED;
use crate::keystore::private::PrivateKey;
use crate::keystore::{der, seal};

/// Reads the key, and what it says that it is for.
pub(super) fn read(
    name: &Path,
    text: &[u8],
    passphrase: Option<&Secret>,
) -> Result<(PrivateKey, Option<Algorithm>), KeystoreError> {
    let jwk = json::parse_object(text)
        .map_err(|error| KeystoreError::Json { path: name.into(), error })?;
    let faulty = |error| KeystoreError::Jwk { path: name.into(), error };
    let refused = |error| KeystoreError::Import { path: name.into(), error };
    check_kind(&jwk).map_err(refused)?;
    check_members(&jwk).map_err(faulty)?;
    let key = if jwk.member("d").is_some() {
        PrivateKey::from_jwk(&jwk).map_err(faulty)?
    } else if jwk.member(SEALED).is_some() {
        open(&member_bytes(&jwk, SEALED).map_err(faulty)?, passphrase).map_err(refused)?
    } else {
        return Err(refused(ImportError::NotPrivate { found: "a public key" }));
    };
    let algorithm = algorithm(&jwk, &key).map_err(refused)?;
    Ok((key, algorithm))
}

/// The file of another resetd, with another passphrase.
fn open(sealed: &[u8], passphrase: Option<&Secret>) -> Result<PrivateKey, ImportError> {
    let passphrases = passphrase.map(std::slice::from_ref).unwrap_or_default();
    der::read_pkcs8(&seal::open(sealed, passphrases)?.der)
}

fn check_kind(jwk: &Object<'_>) -> Result<(), ImportError> {
    let text = |name: &str| jwk.member(name).and_then(Value::as_str);
    match (text("kty"), text("crv")) {
        _ if jwk.member("keys").is_some() => Err(ImportError::KeySet),
        (Some("oct"), _) => Err(ImportError::Symmetric),
        (Some("EC"), Some("P-256")) | (Some("OKP"), Some("Ed25519")) => Ok(()),
        (Some("EC" | "OKP"), Some(other)) => Err(ImportError::Curve { found: shown(other) }),
        (Some("EC" | "OKP"), None) => Err(ImportError::Curve { found: "of no name".into() }),
        (Some("RSA"), _) if jwk.member("oth").is_some() => Err(ImportError::MultiPrime),
        (Some("RSA"), _) => Ok(()),
        (Some(other), _) => Err(ImportError::Kind { found: shown(other) }),
        (None, _) => Err(ImportError::NotAKey),
    }
}

fn check_members(jwk: &Object<'_>) -> Result<(), JwkError> {
    if jwk.member("kid").is_some_and(|kid| kid.as_str().is_none()) {
        return Err(JwkError::invalid("kid", "a text, which the thumbprint takes the place of"));
    }
    if jwk.member("use").is_some_and(|value| value.as_str() != Some("sig")) {
        return Err(JwkError::invalid("use", "\"sig\""));
    }
    Ok(())
}

/// `Ed25519` is the newer name of `EdDSA` on that curve (RFC 9864).
fn algorithm(jwk: &Object<'_>, key: &PrivateKey) -> Result<Option<Algorithm>, ImportError> {
    let Some(value) = jwk.member("alg") else {
        return Ok(None);
    };
    let (wanted, allowed) = algorithms(key);
    let name = match value.as_str() {
        Some("Ed25519") => Some("EdDSA"),
        other => other,
    };
    let named = name.and_then(Algorithm::parse).filter(|named| allowed.contains(named));
    named.map(Some).ok_or(ImportError::OtherAlgorithm { wanted })
}

/// A short text from outside, without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().take(32).flat_map(char::escape_debug).collect()
}
