//! Public keys and the sets they come in (RFC 7517, RFC 7518 §6, RFC 8037), found by `kid` only.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

use crate::crypto::{RsaAlgorithm, VerifyingKey, sha256};
use crate::json::{self, JsonError, Object, Value};

/// The smallest and largest RSA modulus that is taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The most keys one set may hold; an issuer has a handful.
pub const MAX_KEYS: usize = 64;

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1). Never symmetric, never `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519, spelled `EdDSA`: some verifiers do not know the newer name.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// The name as it stands in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// Reads a name, exactly.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// `kid` (RFC 7515 §4.1.4): 1 to 128 characters of `A-Z a-z 0-9 . _ ~ -`, safe as a file name, in a
/// URL and in a log line. `.` and `..` are none: they are ways through folders, not names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct KeyId(String);

impl KeyId {
    /// Reads a key identifier; a text with other characters is none.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        let is_name = (1..=128).contains(&text.len()) && !matches!(text, "." | "..");
        (is_name && text.bytes().all(allowed)).then(|| Self(text.into()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A public key under its identifier. Serialized, it is a JWK with public members only.
#[derive(Clone, Debug, Serialize)]
pub struct PublicKey {
    kid: KeyId,
    #[serde(rename = "use")]
    key_use: &'static str,
    alg: Algorithm,
    #[serde(flatten)]
    members: PublicMembers,
    #[serde(skip)]
    verifying: VerifyingKey,
}

/// The members that make up the key itself, base64url, in the order of RFC 7638.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kty")]
enum PublicMembers {
    #[serde(rename = "EC")]
    Ec { crv: &'static str, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: &'static str, x: String },
    #[serde(rename = "RSA")]
    Rsa { e: String, n: String },
}

impl PublicKey {
    /// Reads one JWK. `kid` may be left out: it is then the thumbprint.
    ///
    /// # Errors
    /// [`JwkError`] names the member at fault.
    pub fn from_jwk(jwk: &Object<'_>) -> Result<Self, JwkError> {
        let alg = algorithm_of(jwk)?;
        let (members, verifying) = match alg {
            Algorithm::Es256 => p256(jwk)?,
            Algorithm::EdDsa => ed25519(jwk)?,
            Algorithm::Rs256 => rsa(jwk, RsaAlgorithm::Rs256)?,
            Algorithm::Ps256 => rsa(jwk, RsaAlgorithm::Ps256)?,
        };
        if jwk.member("use").is_some_and(|value| value.as_str() != Some("sig")) {
            return Err(JwkError::invalid("use", "\"sig\""));
        }
        if jwk.member("key_ops").is_some_and(|operations| !is_for_signatures(operations)) {
            return Err(JwkError::invalid("key_ops", "a list with \"verify\" or \"sign\""));
        }
        let kid = match jwk.member("kid") {
            None => thumbprint(&members),
            Some(value) => value
                .as_str()
                .and_then(KeyId::parse)
                .ok_or(JwkError::invalid("kid", "1 to 128 characters of A-Z a-z 0-9 . _ ~ -"))?,
        };
        Ok(Self { kid, key_use: "sig", alg, members, verifying })
    }

    /// The identifier.
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// The one algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.alg
    }

    /// The SHA-256 thumbprint (RFC 7638) as base64url: the identifier resetd gives to its keys.
    pub fn thumbprint(&self) -> KeyId {
        thumbprint(&self.members)
    }

    /// What checks signatures.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }
}

/// The keys of one issuer. A token chooses among them by `kid` and by nothing else.
#[derive(Clone, Debug, Default)]
pub struct KeySet(HashMap<KeyId, PublicKey>);

impl KeySet {
    /// Reads a JWK Set (RFC 7517 §5). Keys of a kind that is not known here are passed over, as
    /// the RFC asks; a key that is known and faulty refuses the set. A key must name its `alg`.
    ///
    /// ```
    /// use resetd_verify::{Algorithm, KeyId, KeySet, JwksError};
    ///
    /// let set = r#"{"keys": [
    ///     {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "2027-01",
    ///      "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ///     {"kty": "oct", "alg": "HS256", "kid": "passed-over", "k": "AAAA"}
    /// ]}"#;
    /// let keys = KeySet::from_jwks(set.as_bytes())?;
    /// assert_eq!(keys.len(), 1);
    ///
    /// let kid = KeyId::parse("2027-01").expect("a key identifier");
    /// assert_eq!(keys.key(&kid).map(|key| key.algorithm()), Some(Algorithm::EdDsa));
    /// # Ok::<(), JwksError>(())
    /// ```
    ///
    /// # Errors
    /// [`JwksError`] says which key is at fault and why.
    pub fn from_jwks(bytes: &[u8]) -> Result<Self, JwksError> {
        let set = json::parse_object(bytes)?;
        let Some(Value::Array(keys)) = set.member("keys") else {
            return Err(JwksError::NoKeys);
        };
        if keys.len() > MAX_KEYS {
            return Err(JwksError::TooManyKeys { found: keys.len() });
        }
        let mut known = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let Value::Object(jwk) = key else {
                return Err(JwksError::Key { index, error: JwkError::NotAnObject });
            };
            match PublicKey::from_jwk(jwk) {
                Ok(key) => known.push(key),
                Err(JwkError::UnknownKind) => {}
                Err(error) => return Err(JwksError::Key { index, error }),
            }
        }
        Self::from_keys(known)
    }

    /// Makes a set of keys.
    ///
    /// # Errors
    /// [`JwksError::DuplicateKeyId`] when two keys have one identifier, [`JwksError::TooManyKeys`].
    pub fn from_keys(keys: impl IntoIterator<Item = PublicKey>) -> Result<Self, JwksError> {
        let mut set = HashMap::new();
        for key in keys {
            if let Some(other) = set.insert(key.kid.clone(), key) {
                return Err(JwksError::DuplicateKeyId { kid: other.kid });
            }
        }
        if set.len() > MAX_KEYS {
            return Err(JwksError::TooManyKeys { found: set.len() });
        }
        Ok(Self(set))
    }

    /// The key with exactly this identifier.
    pub fn key(&self, kid: &KeyId) -> Option<&PublicKey> {
        self.0.get(kid)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a JWK cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// It is no JSON object.
    #[error("a key must be a JSON object")]
    NotAnObject,
    /// `kty`, `crv` or `alg` name something else than an `ES256`, `EdDSA`, `RS256` or `PS256` key.
    #[error(
        "wanted kty EC with crv P-256 and alg ES256, OKP with Ed25519 and EdDSA, or RSA with RS256 or PS256"
    )]
    UnknownKind,
    /// A member is missing or wrong.
    #[error("the member {name:?} must be {wanted}")]
    InvalidMember {
        /// The member.
        name: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl JwkError {
    /// The member `name` is missing or is not what was wanted.
    pub const fn invalid(name: &'static str, wanted: &'static str) -> Self {
        Self::InvalidMember { name, wanted }
    }
}

/// Why a JWK Set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// The text is not strict JSON.
    #[error("the key set cannot be read: {0}")]
    Json(#[from] JsonError),
    /// There is no array named `keys`.
    #[error("a key set has an array named \"keys\"")]
    NoKeys,
    /// There are more keys than any issuer has.
    #[error("the key set has {found} keys, at most {MAX_KEYS} are allowed")]
    TooManyKeys {
        /// Keys found.
        found: usize,
    },
    /// One of the keys is faulty.
    #[error("key {index} of the set: {error}")]
    Key {
        /// Its place in the array, from 0.
        index: usize,
        /// What is wrong with it.
        error: JwkError,
    },
    /// Two keys have one identifier.
    #[error("two keys of the set have the identifier {kid}")]
    DuplicateKeyId {
        /// The identifier.
        kid: KeyId,
    },
}

/// RFC 7517 §4.3. A private key says `sign`, a public one `verify`.
fn is_for_signatures(operations: &Value<'_>) -> bool {
    let Value::Array(operations) = operations else {
        return false;
    };
    operations.iter().any(|operation| matches!(operation.as_str(), Some("verify" | "sign")))
}

fn algorithm_of(jwk: &Object<'_>) -> Result<Algorithm, JwkError> {
    let text = |name: &str| jwk.member(name).and_then(Value::as_str);
    match (text("kty"), text("crv"), text("alg")) {
        (Some("EC"), Some("P-256"), Some("ES256")) => Ok(Algorithm::Es256),
        (Some("OKP"), Some("Ed25519"), Some("EdDSA")) => Ok(Algorithm::EdDsa),
        (Some("RSA"), _, Some("RS256")) => Ok(Algorithm::Rs256),
        (Some("RSA"), _, Some("PS256")) => Ok(Algorithm::Ps256),
        _ => Err(JwkError::UnknownKind),
    }
}

fn p256(jwk: &Object<'_>) -> Result<(PublicMembers, VerifyingKey), JwkError> {
    let (x, y) = (member_bytes(jwk, "x")?, member_bytes(jwk, "y")?);
    if x.len() != 32 || y.len() != 32 {
        return Err(JwkError::invalid("x and y", "32 bytes each"));
    }
    let members = PublicMembers::Ec { crv: "P-256", x: encode(&x), y: encode(&y) };
    Ok((members, VerifyingKey::p256([&[4], &x[..], &y[..]].concat())))
}

fn ed25519(jwk: &Object<'_>) -> Result<(PublicMembers, VerifyingKey), JwkError> {
    let x = member_bytes(jwk, "x")?;
    if x.len() != 32 {
        return Err(JwkError::invalid("x", "32 bytes"));
    }
    Ok((PublicMembers::Okp { crv: "Ed25519", x: encode(&x) }, VerifyingKey::ed25519(x)))
}

fn rsa(
    jwk: &Object<'_>,
    algorithm: RsaAlgorithm,
) -> Result<(PublicMembers, VerifyingKey), JwkError> {
    let (n, e) = (member_bytes(jwk, "n")?, member_bytes(jwk, "e")?);
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if n.first() == Some(&0) || !RSA_BITS.contains(&bits) {
        return Err(JwkError::invalid("n", "a modulus of 2048 to 8192 bits without leading zeros"));
    }
    // 65537 is the smallest exponent that no published attack on small exponents reaches.
    if e.len() < 3 || e.len() > 4 || e[0] == 0 || e.last().is_none_or(|last| last % 2 == 0) {
        return Err(JwkError::invalid("e", "an odd exponent of 65537 or more, at most 4 bytes"));
    }
    let members = PublicMembers::Rsa { e: encode(&e), n: encode(&n) };
    Ok((members, VerifyingKey::rsa(algorithm, n, e)))
}

/// The bytes of a member in canonical base64url.
///
/// # Errors
/// [`JwkError::InvalidMember`] when it is missing, no string, or another spelling.
pub fn member_bytes(jwk: &Object<'_>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    jwk.member(name)
        .and_then(Value::as_str)
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or(JwkError::invalid(name, "canonical base64url"))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// RFC 7638 §3: the required members only, in the order of their names, without white space. All
/// values are base64url or fixed words, so nothing needs escaping.
fn thumbprint(members: &PublicMembers) -> KeyId {
    let json = match members {
        PublicMembers::Ec { crv, x, y } => {
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        PublicMembers::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
        PublicMembers::Rsa { e, n } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
    };
    KeyId(encode(&sha256(json.as_bytes())))
}
