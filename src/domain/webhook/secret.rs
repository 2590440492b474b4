//! The secrets that sign messages (Standard Webhooks 1.0.0): their two forms, and their signatures.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;

const HMAC_PREFIX: &str = "whsec_";
const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// Bytes of an Ed25519 seed, and of a public key.
const SEED_BYTES: usize = 32;

/// A secret that signs messages. `Debug` shows its kind and no more; its bytes are wiped when dropped,
/// and what `ring` makes of them lives for one signature.
#[derive(Clone)]
pub struct SigningSecret(Bytes);

#[derive(Clone)]
enum Bytes {
    Hmac(Zeroizing<Vec<u8>>),
    Ed25519(Zeroizing<[u8; SEED_BYTES]>),
}

/// How a secret signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// HMAC with SHA-256: the receiver has the same secret.
    Hmac,
    /// Ed25519: the receiver has the public half.
    Ed25519,
}

/// Why a text is no secret. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It begins with something else.
    #[error("wanted a text that begins with whsec_ or whsk_; make one: resetd webhook secret")]
    Prefix,
    /// It is a public half.
    #[error("is the public half, which is for the receiver; wanted the private one, whsk_…")]
    Public,
    /// The rest is not base64.
    #[error("wanted base64 (with + / and padding) after whsec_ or whsk_, and nothing else")]
    Encoding,
    /// It has too few or too many bytes.
    #[error("wanted {wanted} in base64, found {found} bytes")]
    Length {
        /// How many bytes it must have.
        wanted: &'static str,
        /// How many it has.
        found: usize,
    },
    /// The two halves of an Ed25519 key do not belong together.
    #[error("its public half is not that of its private half")]
    Halves,
}

impl SigningSecret {
    /// Takes 32 bytes that nobody can guess.
    pub fn from_random(kind: SecretKind, bytes: [u8; SEED_BYTES]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(match kind {
            SecretKind::Hmac => Bytes::Hmac(Zeroizing::new(bytes.to_vec())),
            SecretKind::Ed25519 => Bytes::Ed25519(bytes),
        })
    }

    /// Reads `whsec_` and 24 to 64 bytes, or `whsk_` and an Ed25519 key: its seed, as the reference
    /// library for Go has it, or seed and public half, as others keep it.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        if let Some(encoded) = text.strip_prefix(HMAC_PREFIX) {
            let bytes = decoded(encoded)?;
            if (24..=64).contains(&bytes.len()) {
                return Ok(Self(Bytes::Hmac(bytes)));
            }
            return Err(SecretError::Length { wanted: "24 to 64 bytes", found: bytes.len() });
        }
        if text.starts_with(PUBLIC_PREFIX) {
            return Err(SecretError::Public);
        }
        let encoded = text.strip_prefix(PRIVATE_PREFIX).ok_or(SecretError::Prefix)?;
        Self::from_ed25519(&decoded(encoded)?)
    }

    fn from_ed25519(bytes: &[u8]) -> Result<Self, SecretError> {
        let length =
            SecretError::Length { wanted: "a seed of 32 bytes or a key of 64", found: bytes.len() };
        let (seed, public) = bytes.split_first_chunk::<SEED_BYTES>().ok_or(length)?;
        match public.len() {
            0 => {}
            SEED_BYTES => {
                let fits = Ed25519KeyPair::from_seed_and_public_key(seed, public).is_ok();
                fits.then_some(()).ok_or(SecretError::Halves)?;
            }
            _ => return Err(length),
        }
        Ok(Self(Bytes::Ed25519(Zeroizing::new(*seed))))
    }

    /// How it signs.
    pub fn kind(&self) -> SecretKind {
        match self.0 {
            Bytes::Hmac(_) => SecretKind::Hmac,
            Bytes::Ed25519(_) => SecretKind::Ed25519,
        }
    }

    /// The secret as it is kept in a file.
    pub fn encoded(&self) -> Secret {
        let encode = |prefix: &str, bytes: &[u8]| {
            let mut text = String::with_capacity(128);
            text.push_str(prefix);
            STANDARD.encode_string(bytes, &mut text);
            Secret::new(text)
        };
        match &self.0 {
            Bytes::Hmac(bytes) => encode(HMAC_PREFIX, bytes),
            Bytes::Ed25519(seed) => encode(PRIVATE_PREFIX, &seed[..]),
        }
    }

    /// What the receiver checks signatures with, where that is not the secret itself.
    pub fn public_half(&self) -> Option<String> {
        match &self.0 {
            Bytes::Hmac(_) => None,
            Bytes::Ed25519(seed) => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]).ok()?;
                Some(PUBLIC_PREFIX.to_owned() + &STANDARD.encode(pair.public_key()))
            }
        }
    }

    /// The signature of a text, with the version that says how it was made.
    ///
    /// # Errors
    /// If `ring` refuses the key, which was taken before.
    pub fn sign(&self, text: &[u8]) -> Result<String, ring::error::Unspecified> {
        match &self.0 {
            Bytes::Hmac(bytes) => {
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), text);
                Ok("v1,".to_owned() + &STANDARD.encode(tag))
            }
            Bytes::Ed25519(seed) => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..])
                    .map_err(|_| ring::error::Unspecified)?;
                Ok("v1a,".to_owned() + &STANDARD.encode(pair.sign(text)))
            }
        }
    }

    /// Whether it is the same secret, found out in the same time whether it is or not.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let hash = |secret: &Self| digest(&SHA256, secret.encoded().expose().as_bytes());
        hash(self).as_ref().ct_eq(hash(other).as_ref()).into()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningSecret({:?} …)", self.kind())
    }
}

fn decoded(encoded: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let bytes = STANDARD.decode(encoded);
    bytes.map(Zeroizing::new).map_err(|_| SecretError::Encoding)
}

/// The text with everything that could be such a secret cut to its prefix: secrets end up in places
/// that are not meant for them, and then in the messages about it.
pub(in crate::domain) fn without_signing_secrets(text: &str) -> String {
    [HMAC_PREFIX, PRIVATE_PREFIX].into_iter().fold(text.to_owned(), |text, prefix| {
        let mut parts = text.split(prefix);
        let mut shown = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
            let rest = part.trim_start_matches(is_base64);
            shown.push_str(prefix);
            shown.push_str(if rest.len() < part.len() { "***" } else { "" });
            shown.push_str(rest);
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(prefix: &str, bytes: &[u8]) -> Result<SigningSecret, SecretError> {
        SigningSecret::parse(&(prefix.to_owned() + &STANDARD.encode(bytes)))
    }

    /// The example of the specification's reference libraries.
    #[test]
    fn the_example_of_the_reference_libraries_is_signed_as_they_sign_it() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let text = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(secret.sign(text).unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    /// RFC 8032 §7.1, test 2.
    #[test]
    fn ed25519_signs_as_its_rfc_has_it_whether_the_public_half_is_kept_or_not() {
        let decode = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let seed = decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let public = decode("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = decode(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        for bytes in [seed.clone(), [&seed[..], &public].concat()] {
            let secret = parse("whsk_", &bytes).unwrap();
            let wanted = "v1a,".to_owned() + &STANDARD.encode(&signature);
            assert_eq!(secret.sign(&[0x72]).unwrap(), wanted);
            assert_eq!(secret.public_half(), Some("whpk_".to_owned() + &STANDARD.encode(&public)));
            let encoded = "whsk_".to_owned() + &STANDARD.encode(&seed);
            assert_eq!(secret.encoded().expose(), encoded);
        }
        let mixed = [&seed[..], &[7; 32]].concat();
        assert_eq!(parse("whsk_", &mixed).unwrap_err(), SecretError::Halves);
    }

    #[test]
    fn a_secret_has_its_prefix_its_length_and_plain_base64() {
        for length in [24, 32, 64] {
            assert!(parse("whsec_", &vec![7; length]).is_ok(), "{length}");
        }
        for length in [0, 23, 65] {
            let wanted = "24 to 64 bytes";
            let error = parse("whsec_", &vec![7; length]).unwrap_err();
            assert_eq!(error, SecretError::Length { wanted, found: length });
        }
        for length in [0, 31, 33, 63, 65] {
            let error = parse("whsk_", &vec![7; length]).unwrap_err();
            assert!(matches!(error, SecretError::Length { .. }), "{length}: {error}");
        }
        let good = STANDARD.encode([0xfb; 32]);
        for (text, wanted) in [
            (String::new(), SecretError::Prefix),
            (good.clone(), SecretError::Prefix),
            (format!("WHSEC_{good}"), SecretError::Prefix),
            (format!(" whsec_{good}"), SecretError::Prefix),
            (format!("whpk_{good}"), SecretError::Public),
            (format!("whsec_{good} "), SecretError::Encoding),
            (format!("whsec_{}", good.trim_end_matches('=')), SecretError::Encoding),
            (format!("whsec_{}", good.replace('+', "-")), SecretError::Encoding),
            (format!("whsec_whsec_{good}"), SecretError::Encoding),
        ] {
            assert_eq!(SigningSecret::parse(&text).unwrap_err(), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_secret_that_is_made_is_read_back_and_is_no_other() {
        for kind in [SecretKind::Hmac, SecretKind::Ed25519] {
            let secret = SigningSecret::from_random(kind, [7; 32]);
            let again = SigningSecret::parse(secret.encoded().expose()).unwrap();
            assert_eq!((again.kind(), again.is_same_as(&secret)), (kind, true));
            assert!(!again.is_same_as(&SigningSecret::from_random(kind, [8; 32])));
        }
        let [hmac, ed25519] = [SecretKind::Hmac, SecretKind::Ed25519]
            .map(|kind| SigningSecret::from_random(kind, [7; 32]));
        assert!(!hmac.is_same_as(&ed25519));
    }

    #[test]
    fn no_message_shows_a_secret() {
        let secret = SigningSecret::from_random(SecretKind::Hmac, [0xfb; 32]);
        assert_eq!(format!("{secret:?}"), "SigningSecret(Hmac …)");
        let text = format!("found {:?}, wanted whsec_ or whsk_…", secret.encoded().expose());
        assert_eq!(without_signing_secrets(&text), "found \"whsec_***\", wanted whsec_ or whsk_…");
    }
}
