//! ring under jsonwebtoken: the only module that touches signature algorithms.
//!
//! [`SigningKey`] and [`VerifyingKey`] are parsed once and implement jsonwebtoken's low-level
//! traits; they are what resetd calls. [`PROVIDER`] hands the same two types to jsonwebtoken's own
//! `encode` and `decode`, for whoever installs it. This crate never does: a process-wide provider
//! is the program's choice.

use std::fmt;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::{DecodingKey, DecodingKeyKind, EncodingKey};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::rsa;
use ring::signature::{
    self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use zeroize::Zeroizing;

use crate::keyset::Algorithm;

/// A `CryptoProvider` for jsonwebtoken that sits on ring. Private keys are DER: PKCS#8 for EC and
/// Ed25519, PKCS#1 for RSA.
pub static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(SigningKey::from_encoding_key(*algorithm, key)?)),
    verifier_factory: |algorithm, key| {
        Ok(Box::new(VerifyingKey::from_decoding_key(*algorithm, key)?))
    },
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(ErrorKind::InvalidKeyFormat.into()),
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::InvalidKeyFormat.into()),
        ec_pub_components_from_private_key: |_, _| Err(ErrorKind::InvalidKeyFormat.into()),
        ed_pub_components_from_private_key: |_, _| Err(ErrorKind::InvalidKeyFormat.into()),
        compute_digest: |data, hash| {
            let algorithm = match hash {
                ThumbprintHash::SHA256 => &digest::SHA256,
                ThumbprintHash::SHA384 => &digest::SHA384,
                ThumbprintHash::SHA512 => &digest::SHA512,
                _ => return Err(ErrorKind::InvalidAlgorithm.into()),
            };
            Ok(digest::digest(algorithm, data).as_ref().into())
        },
    },
};

/// A private key, parsed and ready to sign. Prints only its algorithm.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: KeyPair,
    random: SystemRandom,
}

enum KeyPair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
}

/// The private members of an RSA key (RFC 7518 §6.3), big-endian.
#[expect(missing_debug_implementations, reason = "its members are secret")]
pub struct RsaPrivateMembers<'a> {
    /// Modulus.
    pub n: &'a [u8],
    /// Public exponent.
    pub e: &'a [u8],
    /// Private exponent.
    pub d: &'a [u8],
    /// First prime.
    pub p: &'a [u8],
    /// Second prime.
    pub q: &'a [u8],
    /// d mod (p − 1).
    pub dp: &'a [u8],
    /// d mod (q − 1).
    pub dq: &'a [u8],
    /// q⁻¹ mod p.
    pub qi: &'a [u8],
}

impl SigningKey {
    /// Takes a P-256 key: the scalar `d` (32 bytes) and the uncompressed point (65 bytes).
    ///
    /// # Errors
    /// ring's reason, also when the two halves do not belong together.
    pub fn from_p256(d: &[u8], point: &[u8]) -> Result<Self, KeyRejected> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &sig::ECDSA_P256_SHA256_FIXED_SIGNING,
            d,
            point,
            &random,
        )?;
        Ok(Self { algorithm: Algorithm::Es256, pair: KeyPair::Ecdsa(pair), random })
    }

    /// Takes an Ed25519 key: the seed `d` and the public key `x`, 32 bytes each.
    ///
    /// # Errors
    /// ring's reason, also when the two halves do not belong together.
    pub fn from_ed25519(d: &[u8], x: &[u8]) -> Result<Self, KeyRejected> {
        let pair = Ed25519KeyPair::from_seed_and_public_key(d, x)?;
        let random = SystemRandom::new();
        Ok(Self { algorithm: Algorithm::EdDsa, pair: KeyPair::Ed25519(pair), random })
    }

    /// Takes an RSA key of 2048 bits or more for `RS256` or `PS256`.
    ///
    /// ring does not compare `dp` and `dq` with `d`; if they are wrong, every signature fails. Sign
    /// once before a key from outside is put to use.
    ///
    /// # Errors
    /// ring's reason, also when the other members do not belong together.
    pub fn from_rsa(
        algorithm: RsaAlgorithm,
        members: &RsaPrivateMembers<'_>,
    ) -> Result<Self, KeyRejected> {
        let components = rsa::KeyPairComponents {
            public_key: rsa::PublicKeyComponents { n: members.n, e: members.e },
            d: members.d,
            p: members.p,
            q: members.q,
            dP: members.dp,
            dQ: members.dq,
            qInv: members.qi,
        };
        let pair = KeyPair::Rsa(rsa::KeyPair::from_components(&components)?);
        Ok(Self { algorithm: algorithm.into(), pair, random: SystemRandom::new() })
    }

    /// The one algorithm this key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn from_encoding_key(
        algorithm: jsonwebtoken::Algorithm,
        key: &EncodingKey,
    ) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let der = key.as_bytes();
        let rejected =
            |error: KeyRejected| Error::from(ErrorKind::InvalidRsaKey(error.to_string()));
        let algorithm = Algorithm::try_from(algorithm)?;
        let pair = match algorithm {
            Algorithm::Es256 => {
                let signing = &sig::ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::from_pkcs8(signing, der, &random)
                    .map(KeyPair::Ecdsa)
                    .map_err(|_| ErrorKind::InvalidEcdsaKey)?
            }
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(KeyPair::Ed25519)
                .map_err(|_| ErrorKind::InvalidEddsaKey)?,
            Algorithm::Rs256 | Algorithm::Ps256 => {
                rsa::KeyPair::from_der(der).map(KeyPair::Rsa).map_err(rejected)?
            }
        };
        Ok(Self { algorithm, pair, random })
    }
}

/// Why ring does not take a private key.
pub use ring::error::KeyRejected;

/// The two algorithms an RSA key can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaAlgorithm {
    /// `RSASSA-PKCS1-v1_5` with SHA-256.
    Rs256,
    /// `RSASSA-PSS` with SHA-256.
    Ps256,
}

impl From<RsaAlgorithm> for Algorithm {
    fn from(algorithm: RsaAlgorithm) -> Self {
        match algorithm {
            RsaAlgorithm::Rs256 => Self::Rs256,
            RsaAlgorithm::Ps256 => Self::Ps256,
        }
    }
}

impl signature::Signer<Vec<u8>> for SigningKey {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let failed = |_| signature::Error::new();
        match &self.pair {
            KeyPair::Ecdsa(pair) => {
                let signature = pair.sign(&self.random, message).map_err(failed)?;
                Ok(signature.as_ref().into())
            }
            KeyPair::Ed25519(pair) => Ok(pair.sign(message).as_ref().into()),
            KeyPair::Rsa(pair) => {
                let padding: &dyn sig::RsaEncoding = match self.algorithm {
                    Algorithm::Ps256 => &sig::RSA_PSS_SHA256,
                    Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa => {
                        &sig::RSA_PKCS1_SHA256
                    }
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &self.random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl JwtSigner for SigningKey {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        self.algorithm.into()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A public key with the one algorithm it verifies.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: PublicBytes,
}

#[derive(Clone, Debug)]
enum PublicBytes {
    /// A P-256 point (65 bytes) or an Ed25519 key (32 bytes).
    Plain(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl VerifyingKey {
    /// Takes an uncompressed P-256 point: 4, then 32 bytes of x and 32 of y.
    pub(crate) fn p256(point: Vec<u8>) -> Self {
        Self { algorithm: Algorithm::Es256, key: PublicBytes::Plain(point) }
    }

    /// Takes the 32 bytes of an Ed25519 public key.
    pub(crate) fn ed25519(x: Vec<u8>) -> Self {
        Self { algorithm: Algorithm::EdDsa, key: PublicBytes::Plain(x) }
    }

    /// Takes modulus and exponent, big-endian without leading zeros.
    pub(crate) fn rsa(algorithm: RsaAlgorithm, n: Vec<u8>, e: Vec<u8>) -> Self {
        Self { algorithm: algorithm.into(), key: PublicBytes::Rsa { n, e } }
    }

    /// The one algorithm this key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn from_decoding_key(
        algorithm: jsonwebtoken::Algorithm,
        key: &DecodingKey,
    ) -> Result<Self, Error> {
        let key = match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => PublicBytes::Plain(bytes.clone()),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                PublicBytes::Rsa { n: n.clone(), e: e.clone() }
            }
        };
        Ok(Self { algorithm: algorithm.try_into()?, key })
    }
}

/// The neutral point in the place of R, the one commitment of small order that ring lets pass
/// (RFC 8032 §5.1.7). No honest signer makes it and strict verifiers refuse it; so do we, that a
/// token is good everywhere or nowhere.
const NEUTRAL_R: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 1;
    point
};

impl signature::Verifier<Vec<u8>> for VerifyingKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let plain = |algorithm: &'static dyn sig::VerificationAlgorithm, bytes: &[u8]| {
            UnparsedPublicKey::new(algorithm, bytes).verify(message, signature)
        };
        let rsa = |padding: &'static sig::RsaParameters, n: &[u8], e: &[u8]| {
            RsaPublicKeyComponents { n, e }.verify(padding, message, signature)
        };
        match (self.algorithm, &self.key) {
            (Algorithm::Es256, PublicBytes::Plain(key)) => {
                plain(&sig::ECDSA_P256_SHA256_FIXED, key)
            }
            (Algorithm::EdDsa, PublicBytes::Plain(_)) if signature.starts_with(&NEUTRAL_R) => {
                Err(ring::error::Unspecified)
            }
            (Algorithm::EdDsa, PublicBytes::Plain(key)) => plain(&sig::ED25519, key),
            (Algorithm::Rs256, PublicBytes::Plain(key)) => {
                plain(&sig::RSA_PKCS1_2048_8192_SHA256, key)
            }
            (Algorithm::Ps256, PublicBytes::Plain(key)) => {
                plain(&sig::RSA_PSS_2048_8192_SHA256, key)
            }
            (Algorithm::Rs256, PublicBytes::Rsa { n, e }) => {
                rsa(&sig::RSA_PKCS1_2048_8192_SHA256, n, e)
            }
            (Algorithm::Ps256, PublicBytes::Rsa { n, e }) => {
                rsa(&sig::RSA_PSS_2048_8192_SHA256, n, e)
            }
            (Algorithm::Es256 | Algorithm::EdDsa, PublicBytes::Rsa { .. }) => {
                Err(ring::error::Unspecified)
            }
        }
        .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for VerifyingKey {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        self.algorithm.into()
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::ES256,
            Algorithm::EdDsa => Self::EdDSA,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Ps256 => Self::PS256,
        }
    }
}

impl TryFrom<jsonwebtoken::Algorithm> for Algorithm {
    type Error = Error;

    fn try_from(algorithm: jsonwebtoken::Algorithm) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|known| jsonwebtoken::Algorithm::from(*known) == algorithm)
            .ok_or_else(|| ErrorKind::InvalidAlgorithm.into())
    }
}

/// The length of an Ed25519 private key (RFC 8032 §5.1.5).
const ED25519_SEED_LENGTH: usize = 32;

/// SHA-256 of `data`.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    bytes
}

/// A new P-256 key: its scalar, wiped when dropped, and its uncompressed point.
///
/// # Errors
/// When the system gives no random bytes.
pub fn generate_p256() -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ring::error::Unspecified> {
    /// ring writes the scalar at this place of its fixed PKCS#8 template (RFC 5958, RFC 5915).
    const SCALAR: std::ops::Range<usize> = 36..68;
    let random = SystemRandom::new();
    let algorithm = &sig::ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
        .map_err(|_| ring::error::Unspecified)?;
    let scalar = Zeroizing::new(document.as_ref()[SCALAR].into());
    Ok((scalar, pair.public_key().as_ref().into()))
}

/// A new Ed25519 key: its seed, wiped when dropped, and its public key.
///
/// # Errors
/// When the system gives no random bytes.
pub fn generate_ed25519() -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ring::error::Unspecified> {
    // Filled in place, so that there is no second copy to wipe.
    let mut seed = Zeroizing::new(vec![0; ED25519_SEED_LENGTH]);
    SystemRandom::new().fill(&mut seed)?;
    let x = ed25519_public_key(&seed).map_err(|_| ring::error::Unspecified)?;
    Ok((seed, x))
}

/// The public key of an Ed25519 seed.
///
/// # Errors
/// When the seed has not 32 bytes.
pub fn ed25519_public_key(seed: &[u8]) -> Result<Vec<u8>, KeyRejected> {
    Ok(Ed25519KeyPair::from_seed_unchecked(seed)?.public_key().as_ref().into())
}
