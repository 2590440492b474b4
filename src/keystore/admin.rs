//! What a command does to the text of one key's file, beside making it.

use std::path::Path;

use resetd_verify::KeyId;
use zeroize::Zeroizing;

use super::error::KeystoreError;
use super::export::PrivateFormat;
use super::import::Source;
use super::passphrase::Passphrases;
use super::private::Wiped;
use super::{export, import, jwk};
use crate::domain::keyring::KeyTimes;

/// The same file with other times; no passphrase is needed.
///
/// # Errors
/// [`KeystoreError`].
pub fn with_times(path: &Path, text: &[u8], times: &KeyTimes) -> Result<Wiped, KeystoreError> {
    jwk::with_times(path, text, times)
}

/// The same file encrypted with the first passphrase; nothing where it is.
///
/// # Errors
/// [`KeystoreError`].
pub fn reseal(
    path: &Path,
    text: &[u8],
    passphrases: &Passphrases,
) -> Result<Option<Wiped>, KeystoreError> {
    jwk::reseal(path, text, passphrases)
}

/// A private key from elsewhere under its own name, as the text of a file.
///
/// # Errors
/// [`KeystoreError`].
pub fn import(
    source: &Source<'_>,
    times: &KeyTimes,
    passphrases: &Passphrases,
) -> Result<(KeyId, Wiped), KeystoreError> {
    import::read(source, times, passphrases)
}

/// Both halves of a key in clear.
///
/// # Errors
/// [`KeystoreError`].
pub fn export(
    path: &Path,
    text: &[u8],
    passphrases: &Passphrases,
    format: PrivateFormat,
) -> Result<Zeroizing<String>, KeystoreError> {
    export::private(path, text, passphrases, format)
}
