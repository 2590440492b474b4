//! The claims of a reset token (RFC 7519 §4), read strictly: a wrong type is an error, never
//! "absent".

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::error::{Part, VerifyError};
use crate::json::{self, Object, Value};

/// The longest `sub`, `credential_id` or `user_id`, in bytes.
pub const MAX_IDENTIFIER_LENGTH: usize = 256;

/// The most audiences one token may name.
const MAX_AUDIENCES: usize = 16;

/// 2^53, the largest integer that every JSON reader keeps exact (RFC 8259 §6). Arithmetic on
/// timestamps below it cannot overflow a `u64`.
const MAX_TIMESTAMP: u64 = 1 << 53;

/// Whole seconds since 1970-01-01T00:00:00Z (`NumericDate`, RFC 7519 §2), at most 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Takes seconds since the epoch; what lies beyond 2^53 becomes 2^53.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(if seconds > MAX_TIMESTAMP { MAX_TIMESTAMP } else { seconds })
    }

    /// Seconds since the epoch.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// This time and so many seconds more.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self::from_seconds(self.0.saturating_add(seconds))
    }

    /// This time and so many seconds less, never below zero.
    #[must_use]
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to this time; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// `jti` (RFC 7519 §4.1.7): 128 random bits, written as 22 characters of base64url. Together with
/// the issuer it names one token for ever; it is no secret and may be logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// Takes 16 bytes from a cryptographic random source.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the 22 characters; another length or spelling is not an identifier.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The 16 bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenId({self})")
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a token's bit stands in a Token Status List. Serialized, it is the whole `status` claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReference {
    /// The position in the list, from 0.
    pub idx: u64,
    /// The address of the list.
    pub uri: String,
}

impl Serialize for StatusReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Position<'a> {
            idx: u64,
            uri: &'a str,
        }
        let position = Position { idx: self.idx, uri: &self.uri };
        let mut claim = serializer.serialize_map(Some(1))?;
        claim.serialize_entry("status_list", &position)?;
        claim.end()
    }
}

/// What a verified token says. Serialized, it is the claims set with absent members left out. `Debug` does not
/// name the user.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The audiences, written as a plain string where there is one.
    #[serde(serialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// The username whose password may be set.
    pub sub: String,
    /// The credential that may be reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<String>,
    /// A keyed hash of the credential's version when the token was issued. Only the issuer can tell
    /// whether it is the present one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_version: Option<String>,
    /// The user's identifier in the app, where it differs from the username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// When the token was issued.
    pub iat: Timestamp,
    /// The first second in which it is no longer valid.
    pub exp: Timestamp,
    /// The first second in which it is valid, where that is later than `iat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<Timestamp>,
    /// The token's identifier.
    pub jti: TokenId,
    /// Its place in a status list, where the issuer keeps one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusReference>,
}

impl fmt::Debug for Claims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Claims")
            .field("iss", &self.iss)
            .field("aud", &self.aud)
            .field("jti", &self.jti)
            .field("iat", &self.iat)
            .field("exp", &self.exp)
            .finish_non_exhaustive()
    }
}

impl Claims {
    /// Reads the payload of a token whose signature has been found good.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, VerifyError> {
        let claims = json::parse_object(payload)
            .map_err(|error| VerifyError::Json { part: Part::Claims, error })?;
        Ok(Self {
            iss: required(string(&claims, "iss", "a string")?, "iss", "a string")?,
            aud: audiences(&claims)?,
            sub: required(identifier(&claims, "sub")?, "sub", IDENTIFIER)?,
            credential_id: identifier(&claims, "credential_id")?,
            credential_version: identifier(&claims, "credential_version")?,
            user_id: identifier(&claims, "user_id")?,
            iat: required(timestamp(&claims, "iat")?, "iat", TIMESTAMP)?,
            exp: required(timestamp(&claims, "exp")?, "exp", TIMESTAMP)?,
            nbf: timestamp(&claims, "nbf")?,
            jti: token_id(&claims)?,
            status: status(&claims)?,
        })
    }
}

/// Whether a text may name a user or a credential: 1 to [`MAX_IDENTIFIER_LENGTH`] bytes without
/// control characters and without the marks that reorder text on a screen.
pub fn is_identifier(text: &str) -> bool {
    let reorders = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_lines = |c| matches!(c, '\u{2028}' | '\u{2029}');
    (1..=MAX_IDENTIFIER_LENGTH).contains(&text.len())
        && !text.chars().any(|c| c.is_control() || reorders(c) || breaks_lines(c))
}

const IDENTIFIER: &str = "a string of 1 to 256 bytes without control or direction characters";
const TIMESTAMP: &str = "whole seconds since 1970, above 0 and at most 2^53";
const AUDIENCE: &str = "a string or a list of 1 to 16 strings";
const STATUS: &str = "an object whose status_list has an index and a URI";

fn invalid(name: &'static str, wanted: &'static str) -> VerifyError {
    VerifyError::InvalidClaim { name, wanted }
}

fn required<T>(
    value: Option<T>,
    name: &'static str,
    wanted: &'static str,
) -> Result<T, VerifyError> {
    value.ok_or(invalid(name, wanted))
}

fn string(
    claims: &Object<'_>,
    name: &'static str,
    wanted: &'static str,
) -> Result<Option<String>, VerifyError> {
    match claims.member(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone().into_owned())),
        Some(_) => Err(invalid(name, wanted)),
    }
}

fn identifier(claims: &Object<'_>, name: &'static str) -> Result<Option<String>, VerifyError> {
    match string(claims, name, IDENTIFIER)? {
        Some(text) if !is_identifier(&text) => Err(invalid(name, IDENTIFIER)),
        text => Ok(text),
    }
}

fn timestamp(claims: &Object<'_>, name: &'static str) -> Result<Option<Timestamp>, VerifyError> {
    match claims.member(name) {
        None => Ok(None),
        Some(Value::Integer(seconds)) => match u64::try_from(*seconds) {
            Ok(seconds @ 1..=MAX_TIMESTAMP) => Ok(Some(Timestamp(seconds))),
            _ => Err(invalid(name, TIMESTAMP)),
        },
        Some(_) => Err(invalid(name, TIMESTAMP)),
    }
}

fn audiences(claims: &Object<'_>) -> Result<Vec<String>, VerifyError> {
    let wrong = || invalid("aud", AUDIENCE);
    match claims.member("aud") {
        Some(Value::String(text)) => Ok(vec![text.clone().into_owned()]),
        Some(Value::Array(values)) if (1..=MAX_AUDIENCES).contains(&values.len()) => {
            values.iter().map(|value| value.as_str().map(String::from).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

fn token_id(claims: &Object<'_>) -> Result<TokenId, VerifyError> {
    claims
        .member("jti")
        .and_then(Value::as_str)
        .and_then(TokenId::parse)
        .ok_or(invalid("jti", "22 characters of base64url"))
}

fn status(claims: &Object<'_>) -> Result<Option<StatusReference>, VerifyError> {
    let Some(status) = claims.member("status") else {
        return Ok(None);
    };
    let reference = || {
        let Value::Object(status) = status else {
            return None;
        };
        let Value::Object(list) = status.member("status_list")? else {
            return None;
        };
        let Value::Integer(idx) = list.member("idx")? else {
            return None;
        };
        let uri = list.member("uri")?.as_str().filter(|uri| !uri.is_empty())?;
        Some(StatusReference { idx: u64::try_from(*idx).ok()?, uri: uri.into() })
    };
    reference().map(Some).ok_or(invalid("status", STATUS))
}

fn one_or_many<S: Serializer>(audiences: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match audiences {
        [one] => serializer.serialize_str(one),
        many => many.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Timestamp = Timestamp(MAX_TIMESTAMP);

    #[test]
    fn a_timestamp_saturates_at_both_ends() {
        assert_eq!(Timestamp::from_seconds(MAX_TIMESTAMP + 1), LAST);
        assert_eq!(Timestamp::from_seconds(u64::MAX), LAST);
        assert_eq!(LAST.plus(1), LAST);
        assert_eq!(LAST.plus(u64::MAX), LAST);
        assert_eq!(Timestamp(5).plus(7), Timestamp(12));
        assert_eq!(Timestamp(5).minus(7), Timestamp(0));
        assert_eq!(Timestamp(5).minus(u64::MAX), Timestamp(0));
        assert_eq!(Timestamp(12).since(Timestamp(5)), 7);
        assert_eq!(Timestamp(5).since(Timestamp(12)), 0);
        assert_eq!(LAST.since(Timestamp(0)), MAX_TIMESTAMP);
    }

    #[test]
    fn a_token_id_has_one_spelling() {
        let id = TokenId::from_bytes([0xfb; 16]);
        assert_eq!(id.to_string(), "-_v7-_v7-_v7-_v7-_v7-w");
        assert_eq!(format!("{id:?}"), "TokenId(-_v7-_v7-_v7-_v7-_v7-w)");
        assert_eq!(TokenId::parse(&id.to_string()), Some(id));
        for other in [
            "",
            "-_v7-_v7-_v7-_v7-_v7-",
            "-_v7-_v7-_v7-_v7-_v7-_",
            "-_v7-_v7-_v7-_v7-_v7-x",
            "-_v7-_v7-_v7-_v7-_v7-w==",
            "+/v7+/v7+/v7+/v7+/v7+w",
            "-_v7-_v7-_v7-_v7-_v7-wA",
            " -_v7-_v7-_v7-_v7-_v7-w",
        ] {
            assert_eq!(TokenId::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_identifier_is_1_to_256_bytes_that_a_screen_shows_as_they_are() {
        let longest = "x".repeat(MAX_IDENTIFIER_LENGTH);
        for good in ["x", " ", "o'Neil", "\u{674e}", "a\u{301}", &longest] {
            assert!(is_identifier(good), "{good:?}");
        }
        let too_long = "x".repeat(MAX_IDENTIFIER_LENGTH + 1);
        let too_long_in_bytes = "\u{e9}".repeat(MAX_IDENTIFIER_LENGTH / 2 + 1);
        for bad in ["", &too_long, &too_long_in_bytes] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
        let unseen = [
            '\0', '\t', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{61c}', '\u{200e}', '\u{200f}',
            '\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}',
        ];
        for c in unseen {
            assert!(!is_identifier(&format!("ada{c}")), "{c:?}");
        }
    }

    #[test]
    fn claims_read_back_what_they_serialize_to() {
        let text = r#"{"iss":"i","aud":["a","b"],"sub":"s","credential_id":"c","credential_version":"v","user_id":"u","iat":1,"exp":2,"nbf":1,"jti":"AAECAwQFBgcICQoLDA0ODw","status":{"status_list":{"idx":7,"uri":"https://s"}}}"#;
        let claims = Claims::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&claims).unwrap(), text);
    }
}
