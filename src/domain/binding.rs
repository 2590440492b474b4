//! Binds a token to the version its credential had when it was issued, so that any later change of the
//! credential kills the token, also where nothing is remembered.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::TokenId;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::secret::Secret;

/// Bytes of the keyed hash that a token carries.
const TAG_BYTES: usize = 16;

/// What an app tells of the present state of a credential: a counter, a time, a hash. It may be a
/// secret. It is not readable from the token, and kept only until the token is signed.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialVersion(Secret);

impl CredentialVersion {
    /// What a text must be to be one.
    pub const WANTED: &str = "1 to 512 bytes of text";

    /// Takes the text as it was given.
    pub fn parse(text: &str) -> Option<Self> {
        (1..=512).contains(&text.len()).then(|| Self(Secret::new(text)))
    }

    /// The text, for an order that waits to be sent.
    pub(super) fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for CredentialVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CredentialVersion(…)")
    }
}

/// What makes the hashes of one signing key's tokens. It is derived from the private half, so every
/// process that can issue or redeem them has it, and nobody else.
#[derive(Clone, Debug)]
pub struct BindingKey(hmac::Key);

impl BindingKey {
    /// Derives it (HKDF-Extract, RFC 5869 §2.2) from the secret bytes of a private key.
    pub fn derive(private: &[u8]) -> Self {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, b"resetd credential_version");
        let derived = hmac::sign(&salt, private);
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The `credential_version` of a token. Two tokens never have the same one, so it tells nobody
    /// whether a credential changed between them.
    pub fn tag(&self, token: &Bound<'_>, version: &CredentialVersion) -> String {
        let credential = token.credential_id.unwrap_or_default();
        let mut context = hmac::Context::with_key(&self.0);
        context.update(token.jti.bytes());
        for part in [token.username, credential, version.0.expose()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(&context.sign().as_ref()[..TAG_BYTES])
    }
}

/// The token that a version is bound to. `Debug` shows its identifier only.
#[derive(Clone, Copy)]
pub struct Bound<'t> {
    /// Its identifier.
    pub jti: TokenId,
    /// Its `sub`.
    pub username: &'t str,
    /// Its `credential_id`.
    pub credential_id: Option<&'t str>,
}

impl fmt::Debug for Bound<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bound").field("jti", &self.jti).finish_non_exhaustive()
    }
}

/// Whether two tags are the same, in constant time.
pub fn same_tag(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_every_part_and_on_where_one_ends() {
        let version = |text| CredentialVersion::parse(text).unwrap();
        let key = BindingKey::derive(&[1; 32]);
        let bound = |jti, username, credential_id| Bound {
            jti: TokenId::from_bytes([jti; 16]),
            username,
            credential_id,
        };
        let mut tags = vec![
            key.tag(&bound(1, "alice", Some("c")), &version("v")),
            key.tag(&bound(2, "alice", Some("c")), &version("v")),
            key.tag(&bound(1, "alic", Some("ec")), &version("v")),
            key.tag(&bound(1, "alice", Some("cv")), &version("c")),
            key.tag(&bound(1, "alicec", None), &version("v")),
            key.tag(&bound(1, "alice", None), &version("v")),
            BindingKey::derive(&[2; 32]).tag(&bound(1, "alice", Some("c")), &version("v")),
        ];
        assert!(same_tag(&tags[0], &key.tag(&bound(1, "alice", Some("c")), &version("v"))));
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 7);
    }

    #[test]
    fn a_version_and_a_key_do_not_print() {
        let version = CredentialVersion::parse("secret").unwrap();
        let key = BindingKey::derive(b"secret");
        assert!(!format!("{version:?} {key:?}").contains("secret"));
    }
}
