//! A private key from elsewhere into the text of a key's file: PEM of the usual kinds or a JWK.

mod jwk;
mod pem;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use data_encoding::HEXLOWER;
use resetd_verify::{Algorithm, KeyId};

use super::error::{ImportError, KeystoreError};
use super::jwk as file;
use super::passphrase::Passphrases;
use super::private::{PrivateKey, RsaKey, Wiped};
use crate::domain::keyring::KeyTimes;
use crate::domain::secret::Secret;

/// A file from elsewhere and what is said of it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Its name, for errors.
    pub name: &'a Path,
    /// Its text.
    pub text: &'a [u8],
    /// What the key is for, where its file does not say.
    pub algorithm: Option<Algorithm>,
    /// The passphrase that it is encrypted with.
    pub passphrase: Option<&'a Secret>,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The key under its own name, and the text of its file.
pub(super) fn read(
    source: &Source<'_>,
    times: &KeyTimes,
    passphrases: &Passphrases,
) -> Result<(KeyId, Wiped), KeystoreError> {
    let Source { name, text, algorithm, passphrase } = *source;
    let refused = |error| KeystoreError::Import { path: name.into(), error };
    let (key, named) = if text.trim_ascii_start().starts_with(b"{") {
        jwk::read(name, text, passphrase)?
    } else {
        (pem::read(text, passphrase).map_err(refused)?, None)
    };
    check_strength(&key).map_err(refused)?;
    let algorithm = choose(&key, named, algorithm).map_err(refused)?;
    file::write(name, &key, algorithm, times, passphrases)
}

/// What the file says and what was asked for must agree; RSA without either is for `RS256`, which
/// more verifiers know than `PS256`.
fn choose(
    key: &PrivateKey,
    named: Option<Algorithm>,
    asked: Option<Algorithm>,
) -> Result<Algorithm, ImportError> {
    let (wanted, allowed) = algorithms(key);
    match (named, asked) {
        (_, Some(asked)) if !allowed.contains(&asked) => {
            Err(ImportError::Algorithm { wanted, asked })
        }
        (Some(named), Some(asked)) if named != asked => {
            Err(ImportError::Algorithm { wanted: named.name(), asked })
        }
        _ => Ok(asked.or(named).unwrap_or(allowed[0])),
    }
}

/// The algorithms that a key can be for, in words and as values.
fn algorithms(key: &PrivateKey) -> (&'static str, &'static [Algorithm]) {
    match key {
        PrivateKey::P256 { .. } => ("ES256", &[Algorithm::Es256]),
        PrivateKey::Ed25519 { .. } => ("EdDSA", &[Algorithm::EdDsa]),
        PrivateKey::Rsa(_) => ("RS256 or PS256", &[Algorithm::Rs256, Algorithm::Ps256]),
    }
}

/// What ring signs with. It verifies with longer keys, too.
const RSA_BITS: RangeInclusive<usize> = 2048..=4096;

/// Others refuse the same later; here it is told with what was found.
fn check_strength(key: &PrivateKey) -> Result<(), ImportError> {
    let PrivateKey::Rsa(RsaKey { n, e, .. }) = key else {
        return Ok(());
    };
    let found = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&found) {
        return Err(ImportError::ModulusBits { found });
    }
    let is_odd = e.last().is_some_and(|last| last % 2 == 1);
    if !(3..=4).contains(&e.len()) || !is_odd {
        let digits = HEXLOWER.encode(e);
        let found = digits.trim_start_matches('0').chars().take(32).collect();
        return Err(ImportError::Exponent { found });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
