//! A key's file into the formats that other tools read: SPKI and PKCS#8 in PEM, or a plain JWK.

use std::path::Path;

use pkcs1::RsaPublicKey;
use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, BitStringRef, Null, UintRef};
use pkcs8::der::pem::LineEnding;
use pkcs8::der::{self, Document, Encode as _};
use pkcs8::spki::{AlgorithmIdentifier, SubjectPublicKeyInfoRef};
use resetd_verify::{Algorithm, PublicKey, json, member_bytes};
use zeroize::Zeroizing;

use super::der::{EC, ED25519, P256, RSA, write_pkcs8};
use super::error::KeystoreError;
use super::jwk;
use super::passphrase::Passphrases;

/// How a private key is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateFormat {
    /// PKCS#8 in PEM, in clear.
    Pem,
    /// A private JWK, in clear, without times.
    Jwk,
}

/// A public key in PEM (`PUBLIC KEY`, RFC 7468 §13).
///
/// # Errors
/// [`KeystoreError::Encoding`], which no key that was read leads to.
pub fn public_pem(key: &PublicKey) -> Result<String, KeystoreError> {
    let jwk = serde_json::to_vec(key).map_err(|_| pkcs8::Error::ParametersMalformed)?;
    let jwk = json::parse_object(&jwk).map_err(|_| pkcs8::Error::ParametersMalformed)?;
    let bytes = |name| member_bytes(&jwk, name).map_err(|_| pkcs8::Error::ParametersMalformed);
    let document = match key.algorithm() {
        Algorithm::Es256 => {
            let point = [&[4], &bytes("x")?[..], &bytes("y")?[..]].concat();
            spki(EC, Some((&P256).into()), &point)
        }
        Algorithm::EdDsa => spki(ED25519, None, &bytes("x")?),
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let integer = |bytes| UintRef::new(bytes).map_err(pkcs8::Error::from);
            let key = RsaPublicKey { modulus: integer(&n)?, public_exponent: integer(&e)? };
            spki(RSA, Some(Null.into()), &key.to_der().map_err(pkcs8::Error::from)?)
        }
    };
    let pem = document.and_then(|document| document.to_pem("PUBLIC KEY", LineEnding::LF));
    Ok(pem.map_err(pkcs8::Error::from)?)
}

fn spki(
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'_>>,
    key: &[u8],
) -> der::Result<Document> {
    let algorithm = AlgorithmIdentifier { oid, parameters };
    let subject_public_key = BitStringRef::from_bytes(key)?;
    Document::encode_msg(&SubjectPublicKeyInfoRef { algorithm, subject_public_key })
}

/// Both halves of a key's file, decrypted and proven.
pub(super) fn private(
    path: &Path,
    text: &[u8],
    passphrases: &Passphrases,
    format: PrivateFormat,
) -> Result<Zeroizing<String>, KeystoreError> {
    jwk::parse(path, text, passphrases)?;
    let (public, key) = jwk::open_both(path, text, passphrases)?;
    match format {
        PrivateFormat::Pem => {
            let document = write_pkcs8(&key).map_err(pkcs8::Error::from)?;
            let pem = document.to_pem("PRIVATE KEY", LineEnding::LF);
            Ok(pem.map_err(pkcs8::Error::from)?)
        }
        PrivateFormat::Jwk => {
            let text = jwk::write_plain(path, &key, public.algorithm())?;
            let text = str::from_utf8(&text).map_err(|_| pkcs8::Error::ParametersMalformed)?;
            Ok(Zeroizing::new(text.into()))
        }
    }
}

#[cfg(test)]
mod tests;
