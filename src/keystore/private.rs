//! A private key as bare numbers, between the formats it comes and goes in. Wiped when dropped.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::crypto::{
    self, KeyRejected, RsaAlgorithm, RsaPrivateMembers, SigningKey, ed25519_public_key,
};
use resetd_verify::json::{self, Object, Value};
use resetd_verify::{Algorithm, JwkError, PublicKey, member_bytes};
use serde_json::json;
use zeroize::Zeroizing;

use super::error::KeystoreError;
use crate::domain::binding::BindingKey;

/// Bytes that are wiped when dropped.
pub(super) type Wiped = Zeroizing<Vec<u8>>;

/// The members of a JWK that make up its private half (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2).
pub(super) const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// Both halves of a key, big-endian. That they belong together is not proven yet.
pub(super) enum PrivateKey {
    /// The two coordinates and the scalar, 32 bytes each.
    P256 { x: Vec<u8>, y: Vec<u8>, d: Wiped },
    /// The public key and the seed, 32 bytes each.
    Ed25519 { x: Vec<u8>, d: Wiped },
    /// Two primes and what is derived from them.
    Rsa(RsaKey),
}

/// An RSA key, by the names of RFC 7518 §6.3.
pub(super) struct RsaKey {
    pub(super) n: Vec<u8>,
    pub(super) e: Vec<u8>,
    pub(super) d: Wiped,
    pub(super) p: Wiped,
    pub(super) q: Wiped,
    pub(super) dp: Wiped,
    pub(super) dq: Wiped,
    pub(super) qi: Wiped,
}

impl PrivateKey {
    /// Makes a key.
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, KeystoreError> {
        match algorithm {
            Algorithm::Es256 => {
                let (d, point) =
                    crypto::generate_p256().map_err(|_| KeystoreError::NoRandomness)?;
                Ok(Self::P256 { x: point[1..33].into(), y: point[33..].into(), d })
            }
            Algorithm::EdDsa => {
                let (d, x) = crypto::generate_ed25519().map_err(|_| KeystoreError::NoRandomness)?;
                Ok(Self::Ed25519 { x, d })
            }
            Algorithm::Rs256 | Algorithm::Ps256 => Err(KeystoreError::CannotGenerate { algorithm }),
        }
    }

    /// Takes an Ed25519 key by its seed alone.
    pub(super) fn from_seed(seed: &[u8]) -> Result<Self, KeyRejected> {
        let x = ed25519_public_key(seed)?;
        Ok(Self::Ed25519 { x, d: Zeroizing::new(seed.into()) })
    }

    /// Reads a private JWK.
    pub(super) fn from_jwk(jwk: &Object<'_>) -> Result<Self, JwkError> {
        let public = |name| member_bytes(jwk, name);
        let private = |name| private_bytes(jwk, name);
        match jwk.member("kty").and_then(Value::as_str) {
            Some("EC") => Ok(Self::P256 { x: public("x")?, y: public("y")?, d: private("d")? }),
            Some("OKP") => Ok(Self::Ed25519 { x: public("x")?, d: private("d")? }),
            Some("RSA") => Ok(Self::Rsa(RsaKey {
                n: public("n")?,
                e: public("e")?,
                d: private("d")?,
                p: private("p")?,
                q: private("q")?,
                dp: private("dp")?,
                dq: private("dq")?,
                qi: private("qi")?,
            })),
            _ => Err(JwkError::UnknownKind),
        }
    }

    /// The public half, under its thumbprint. The one reader of public keys decides what it takes.
    pub(super) fn public(&self, algorithm: Algorithm) -> Result<PublicKey, JwkError> {
        let alg = algorithm.name();
        let jwk = match self {
            Self::P256 { x, y, .. } => {
                json!({ "kty": "EC", "crv": "P-256", "alg": alg, "x": encode(x), "y": encode(y) })
            }
            Self::Ed25519 { x, .. } => {
                json!({ "kty": "OKP", "crv": "Ed25519", "alg": alg, "x": encode(x) })
            }
            Self::Rsa(RsaKey { n, e, .. }) => {
                json!({ "kty": "RSA", "alg": alg, "n": encode(n), "e": encode(e) })
            }
        }
        .to_string();
        let jwk = json::parse_object(jwk.as_bytes()).map_err(|_| JwkError::NotAnObject)?;
        PublicKey::from_jwk(&jwk)
    }

    /// What signs, unless ring finds that the halves do not belong together.
    pub(super) fn signing(&self, algorithm: Algorithm) -> Result<SigningKey, KeyRejected> {
        match self {
            Self::P256 { x, y, d } => SigningKey::from_p256(d, &[&[4], &x[..], &y[..]].concat()),
            Self::Ed25519 { x, d } => SigningKey::from_ed25519(d, x),
            Self::Rsa(key) => {
                let algorithm = match algorithm {
                    Algorithm::Ps256 => RsaAlgorithm::Ps256,
                    Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa => RsaAlgorithm::Rs256,
                };
                SigningKey::from_rsa(algorithm, &key.members())
            }
        }
    }

    /// What binds tokens to the version of a credential.
    pub(super) fn binding(&self) -> BindingKey {
        match self {
            Self::P256 { d, .. } | Self::Ed25519 { d, .. } | Self::Rsa(RsaKey { d, .. }) => {
                BindingKey::derive(d)
            }
        }
    }

    /// The private members of its JWK.
    pub(super) fn private_members(&self) -> Vec<(&'static str, Zeroizing<String>)> {
        let members = match self {
            Self::P256 { d, .. } | Self::Ed25519 { d, .. } => vec![("d", d)],
            Self::Rsa(RsaKey { d, p, q, dp, dq, qi, .. }) => {
                vec![("d", d), ("p", p), ("q", q), ("dp", dp), ("dq", dq), ("qi", qi)]
            }
        };
        let encoded = |bytes: &Wiped| Zeroizing::new(encode(bytes));
        members.into_iter().map(|(name, bytes)| (name, encoded(bytes))).collect()
    }
}

impl RsaKey {
    fn members(&self) -> RsaPrivateMembers<'_> {
        let Self { n, e, d, p, q, dp, dq, qi } = self;
        RsaPrivateMembers { n, e, d, p, q, dp, dq, qi }
    }
}

/// As [`member_bytes`], into a buffer that is wiped also where the text turns out to be faulty.
fn private_bytes(jwk: &Object<'_>, name: &'static str) -> Result<Wiped, JwkError> {
    let mut bytes = Zeroizing::new(Vec::new());
    jwk.member(name)
        .and_then(Value::as_str)
        .and_then(|text| URL_SAFE_NO_PAD.decode_vec(text, &mut bytes).ok())
        .ok_or(JwkError::invalid(name, "canonical base64url"))?;
    Ok(bytes)
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
