//! One key as it stands in its file: a JWK (RFC 7517, RFC 7518 §6, RFC 8037) with the times that
//! decide its state. The private half is its own private members, or is encrypted in one member.

mod text;
mod times;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::crypto::SigningKey;
use resetd_verify::json::{self, Object};
use resetd_verify::{Algorithm, JwkError, KeyId, PublicKey, member_bytes};
use signature::{Signer as _, Verifier as _};
use zeroize::Zeroizing;

use super::error::{KeystoreError, SealError};
use super::passphrase::Passphrases;
use super::private::{PRIVATE_MEMBERS, PrivateKey, Wiped};
use super::{der, seal};
use crate::domain::keyring::{Key, KeyTimes};
use crate::domain::secret::Secret;
use text::Contents;
use times::TIMES;

/// The member that holds the encrypted private half: base64url of DER (RFC 5958 §3). The public half
/// and the times stand beside it in clear, so that changing those needs no passphrase.
pub(super) const SEALED: &str = "encrypted_private_key";

/// Reads a key's file and proves the key: the halves belong together and it signs.
pub(super) fn parse(
    path: &Path,
    text: &[u8],
    passphrases: &Passphrases,
) -> Result<Key, KeystoreError> {
    let jwk = object(path, text)?;
    let public = public_half(path, &jwk)?;
    let times = times::read(&jwk).map_err(faulty(path))?;
    let (private, _) = open(path, &jwk, passphrases)?;
    let signing = private
        .signing(public.algorithm())
        .map_err(|error| KeystoreError::Rejected { path: path.into(), error })?;
    // Once, at load: some faulty RSA members are noticed only by signing, and so is an encrypted half
    // that brings the public half of another key along.
    if !signs_for(&signing, &public) {
        return Err(KeystoreError::Mismatch { path: path.into() });
    }
    Ok(Key::new(public, signing, private.binding(), times))
}

/// Makes a key and the text of its file.
pub(super) fn generate(
    path: &Path,
    algorithm: Algorithm,
    times: &KeyTimes,
    passphrases: &Passphrases,
) -> Result<(KeyId, Wiped), KeystoreError> {
    loop {
        let key = PrivateKey::generate(algorithm)?;
        let public = key.public(algorithm).map_err(faulty(path))?;
        // On a command line a name that begins so is taken for a flag.
        if !public.kid().as_str().starts_with('-') {
            return write(path, &key, algorithm, times, passphrases);
        }
    }
}

/// The text of a new file, encrypted where there is a passphrase. It is read back before it is given
/// out: that proves the key.
pub(super) fn write(
    path: &Path,
    key: &PrivateKey,
    algorithm: Algorithm,
    times: &KeyTimes,
    passphrases: &Passphrases,
) -> Result<(KeyId, Wiped), KeystoreError> {
    let public = key.public(algorithm).map_err(faulty(path))?;
    let private = match passphrases.first() {
        None => key.private_members(),
        Some(passphrase) => vec![(SEALED, sealed(key, passphrase)?)],
    };
    let text = Contents::of_new(&public, Some(times), private).to_json(path)?;
    parse(path, &text, passphrases)?;
    Ok((public.kid().clone(), text))
}

/// A private JWK with the members that make up the key and no others, in clear.
pub(super) fn write_plain(
    path: &Path,
    key: &PrivateKey,
    algorithm: Algorithm,
) -> Result<Wiped, KeystoreError> {
    let public = key.public(algorithm).map_err(faulty(path))?;
    Contents::of_new(&public, None, key.private_members()).to_json(path)
}

/// The same file with other times. All other members stand as they did, the private half among them,
/// whether in clear or encrypted.
pub(super) fn with_times(
    path: &Path,
    text: &[u8],
    times: &KeyTimes,
) -> Result<Wiped, KeystoreError> {
    let jwk = object(path, text)?;
    public_half(path, &jwk)?;
    sealed_half(path, &jwk)?;
    let is_private = |name: &str| name == SEALED || PRIVATE_MEMBERS.contains(&name);
    let others = |name: &str| !is_private(name) && !TIMES.contains(&name);
    Contents::of_old(&jwk, others, Some(times), text::members(&jwk, is_private)).to_json(path)
}

/// The same file encrypted with the first passphrase; nothing where it is.
pub(super) fn reseal(
    path: &Path,
    text: &[u8],
    passphrases: &Passphrases,
) -> Result<Option<Wiped>, KeystoreError> {
    let Some(passphrase) = passphrases.first() else {
        let error = SealError::NothingToSealWith;
        return Err(KeystoreError::Sealed { path: path.into(), error });
    };
    let jwk = object(path, text)?;
    let (key, by) = open(path, &jwk, passphrases)?;
    if by == Some(0) {
        return Ok(None);
    }
    let others = |name: &str| name != SEALED && !PRIVATE_MEMBERS.contains(&name);
    let private = vec![(SEALED, sealed(&key, passphrase)?)];
    let text = Contents::of_old(&jwk, others, None, private).to_json(path)?;
    parse(path, &text, passphrases)?;
    Ok(Some(text))
}

/// Reads the public half and the private one, in clear.
pub(super) fn open_both(
    path: &Path,
    text: &[u8],
    passphrases: &Passphrases,
) -> Result<(PublicKey, PrivateKey), KeystoreError> {
    let jwk = object(path, text)?;
    let public = public_half(path, &jwk)?;
    Ok((public, open(path, &jwk, passphrases)?.0))
}

/// The private half, and by which passphrase it was decrypted if it was encrypted.
fn open(
    path: &Path,
    jwk: &Object<'_>,
    passphrases: &Passphrases,
) -> Result<(PrivateKey, Option<usize>), KeystoreError> {
    let Some(sealed) = sealed_half(path, jwk)? else {
        return Ok((PrivateKey::from_jwk(jwk).map_err(faulty(path))?, None));
    };
    let opened = seal::open(&sealed, passphrases.all())
        .map_err(|error| KeystoreError::Sealed { path: path.into(), error })?;
    let key = der::read_pkcs8(&opened.der)
        .map_err(|error| KeystoreError::Import { path: path.into(), error })?;
    Ok((key, Some(opened.by)))
}

/// The encrypted private half, if that is what the file has. A file with both could be read in two
/// ways, and one of them would be wrong.
fn sealed_half(path: &Path, jwk: &Object<'_>) -> Result<Option<Vec<u8>>, KeystoreError> {
    if jwk.member(SEALED).is_none() {
        return Ok(None);
    }
    if PRIVATE_MEMBERS.iter().any(|name| jwk.member(name).is_some()) {
        let error = SealError::AlsoInClear;
        return Err(KeystoreError::Sealed { path: path.into(), error });
    }
    member_bytes(jwk, SEALED).map(Some).map_err(faulty(path))
}

fn sealed(key: &PrivateKey, passphrase: &Secret) -> Result<Zeroizing<String>, KeystoreError> {
    let der = der::write_pkcs8(key).map_err(pkcs8::Error::from)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(seal::seal(der.as_bytes(), passphrase)?)))
}

fn object<'a>(path: &Path, text: &'a [u8]) -> Result<Object<'a>, KeystoreError> {
    json::parse_object(text).map_err(|error| KeystoreError::Json { path: path.into(), error })
}

fn public_half(path: &Path, jwk: &Object<'_>) -> Result<PublicKey, KeystoreError> {
    let public = PublicKey::from_jwk(jwk).map_err(faulty(path))?;
    if *public.kid() != public.thumbprint() {
        return Err(faulty(path)(JwkError::invalid(
            "kid",
            "the RFC 7638 thumbprint of the key; leave it out and it is",
        )));
    }
    Ok(public)
}

fn signs_for(signing: &SigningKey, public: &PublicKey) -> bool {
    const PROBE: &[u8] = b"resetd";
    let signature = signing.try_sign(PROBE);
    signature.is_ok_and(|signature| public.verifying_key().verify(PROBE, &signature).is_ok())
}

fn faulty(path: &Path) -> impl Fn(JwkError) -> KeystoreError {
    move |error| KeystoreError::Jwk { path: path.into(), error }
}

#[cfg(test)]
mod tests;
