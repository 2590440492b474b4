//! A token cut into its parts and its header read. Nothing here is believed yet.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Part, VerifyError};
use crate::json::{self, Object, Value};
use crate::keyset::KeyId;

/// The longest token that is looked at, in bytes. What is longer is refused before any work.
pub const MAX_TOKEN_LENGTH: usize = 8192;
/// The longest header that is looked at, in bytes, decoded.
pub const MAX_HEADER_LENGTH: usize = 2048;
/// The explicit type of a reset token (RFC 8725 §3.11): no other JWT passes for one.
pub const TOKEN_TYPE: &str = "reset+jwt";

/// The same type in its long spelling (RFC 7515 §4.1.9).
const TOKEN_MEDIA_TYPE: &str = "application/reset+jwt";

/// Parameters that bring their own key, change what is signed, or belong to encryption. All known
/// attacks on the header use one of them, and no honest reset token needs any.
const REFUSED_PARAMETERS: [&str; 16] = [
    "crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "cty", "enc", "zip", "epk",
    "apu", "apv", "p2c", "p2s",
];

/// A token that has the right form and names a key. Its claims cannot be reached: only
/// [`Verifier::verify`](crate::Verifier::verify) opens them.
/// `Debug` shows neither them nor the signature: the token may be live.
pub struct UnverifiedToken<'a> {
    pub(crate) signing_input: &'a str,
    pub(crate) kid: KeyId,
    /// `alg` where it is a string; compared with the key's own, never used to choose anything.
    pub(crate) alg: Option<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("UnverifiedToken");
        shown.field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

impl<'a> UnverifiedToken<'a> {
    /// Cuts the compact serialization (RFC 7515 §7.1) and reads the header strictly.
    ///
    /// Only for whoever must know the key before the check, to choose among several issuers, say.
    /// What it answers is a claim of the sender and nothing more.
    ///
    /// ```
    /// use resetd_verify::{UnverifiedToken, VerifyError};
    ///
    /// // {"alg":"ES256","typ":"reset+jwt","kid":"2027-01"} . {} . a signature that is none
    /// let text = "eyJhbGciOiJFUzI1NiIsInR5cCI6InJlc2V0K2p3dCIsImtpZCI6IjIwMjctMDEifQ.e30.AA";
    /// let token = UnverifiedToken::parse(text)?;
    /// assert_eq!(token.key_id().as_str(), "2027-01");
    ///
    /// let error = UnverifiedToken::parse("two.parts").unwrap_err();
    /// assert_eq!(error, VerifyError::PartCount { found: 2 });
    /// # Ok::<(), VerifyError>(())
    /// ```
    ///
    /// # Errors
    /// The variants of [`VerifyError`] from `TooLong` to `MissingKeyId`.
    pub fn parse(text: &'a str) -> Result<Self, VerifyError> {
        if text.len() > MAX_TOKEN_LENGTH {
            return Err(VerifyError::TooLong { length: text.len(), limit: MAX_TOKEN_LENGTH });
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifyError::PartCount { found: text.split('.').count() });
        };
        let header_json = decode(header, Part::Header)?;
        let payload = decode(claims, Part::Claims)?;
        let signature = decode(signature, Part::Signature)?;
        let (kid, alg) = read_header(&header_json)?;
        let signing_input = &text[..header.len() + 1 + claims.len()];
        Ok(Self { signing_input, kid, alg, payload, signature })
    }

    /// The key that the token says it was signed with.
    pub fn key_id(&self) -> &KeyId {
        &self.kid
    }
}

/// Canonical only: with padding or stray trailing bits one token would have several spellings.
fn decode(text: &str, part: Part) -> Result<Vec<u8>, VerifyError> {
    match URL_SAFE_NO_PAD.decode(text) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(VerifyError::Encoding { part }),
    }
}

fn read_header(bytes: &[u8]) -> Result<(KeyId, Option<String>), VerifyError> {
    if bytes.len() > MAX_HEADER_LENGTH {
        return Err(VerifyError::HeaderTooLong { length: bytes.len(), limit: MAX_HEADER_LENGTH });
    }
    let header = json::parse_object(bytes)
        .map_err(|error| VerifyError::Json { part: Part::Header, error })?;
    if let Some(name) = REFUSED_PARAMETERS.into_iter().find(|name| header.member(name).is_some()) {
        return Err(VerifyError::RefusedHeaderParameter { name });
    }
    let typ = text_of(&header, "typ");
    if !matches!(typ, Some(TOKEN_TYPE | TOKEN_MEDIA_TYPE)) {
        return Err(VerifyError::WrongType { found: typ.map(json::excerpt) });
    }
    let kid = text_of(&header, "kid").and_then(KeyId::parse).ok_or(VerifyError::MissingKeyId)?;
    Ok((kid, text_of(&header, "alg").map(json::excerpt)))
}

fn text_of<'h>(header: &'h Object<'_>, name: &str) -> Option<&'h str> {
    header.member(name).and_then(Value::as_str)
}
