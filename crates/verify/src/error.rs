//! Why a token is not accepted: one variant per rule, with what was wanted and what was found.

use crate::claims::Timestamp;
use crate::json::JsonError;
use crate::keyset::{Algorithm, KeyId};

/// One of the three parts of a compact JWS (RFC 7515 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The JOSE header.
    Header,
    /// The payload: the claims.
    Claims,
    /// The signature.
    Signature,
}

impl std::fmt::Display for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims",
            Self::Signature => "signature",
        })
    }
}

/// Why a token was refused, in the order of the checks.
///
/// Texts that nobody signed are cut to 64 characters (a key identifier has at most 128), and all
/// texts are escaped in `Display`, so an error can be logged as it is. From outside, all variants for which [`signature_was_good`] answers no should
/// look alike.
///
/// [`signature_was_good`]: VerifyError::signature_was_good
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Longer than [`MAX_TOKEN_LENGTH`](crate::MAX_TOKEN_LENGTH).
    #[error("the token has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// Bytes found.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not exactly three parts between two dots (RFC 7515 §7.1).
    #[error("a token has three parts between two dots, found {found}")]
    PartCount {
        /// Parts found.
        found: usize,
    },
    /// A part is empty or is not canonical base64url: no padding, no white space, no other
    /// alphabet, unused bits zero (RFC 7515 §2, RFC 4648 §3.5).
    #[error("the {part} is not canonical base64url")]
    Encoding {
        /// The part at fault.
        part: Part,
    },
    /// The header is longer than [`MAX_HEADER_LENGTH`](crate::MAX_HEADER_LENGTH).
    #[error("the header has {length} bytes, at most {limit} are allowed")]
    HeaderTooLong {
        /// Bytes found, decoded.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A part is not one strict JSON object.
    #[error("the {part} cannot be read: {error}")]
    Json {
        /// The part at fault.
        part: Part,
        /// The rule it breaks.
        error: JsonError,
    },
    /// The header has a parameter that would change the meaning of the token or bring its own key
    /// (RFC 7515 §4.1, RFC 7797, RFC 8725 §3.10).
    #[error("the header parameter {name:?} is refused in every form")]
    RefusedHeaderParameter {
        /// The parameter.
        name: &'static str,
    },
    /// `typ` is not `reset+jwt` (RFC 8725 §3.11).
    #[error("typ must be \"reset+jwt\", found {}", or_nothing(.found.as_deref()))]
    WrongType {
        /// What the header says, if it is a string.
        found: Option<String>,
    },
    /// `kid` is missing or is no string of the key-identifier alphabet.
    #[error("kid must name a key with 1 to 128 characters of A-Z a-z 0-9 . _ ~ -")]
    MissingKeyId,
    /// No key of the set has this `kid`.
    #[error("no key {kid} is known")]
    UnknownKey {
        /// The key asked for.
        kid: KeyId,
    },
    /// `alg` is not exactly the key's own (RFC 8725 §3.1).
    #[error("alg must be {wanted:?} for this key, found {}", or_nothing(.found.as_deref()))]
    WrongAlgorithm {
        /// The key's algorithm.
        wanted: Algorithm,
        /// What the header says, if it is a string.
        found: Option<String>,
    },
    /// The signature does not belong to this header, these claims and this key.
    #[error("the signature is not good")]
    BadSignature,
    /// A claim is missing, or its value is not what the profile wants. A wrong type is never taken
    /// as absent.
    #[error("the claim {name:?} must be {wanted}")]
    InvalidClaim {
        /// The claim.
        name: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// `iss` is another issuer (RFC 7519 §4.1.1).
    #[error("iss must be {wanted:?}, found {found:?}")]
    WrongIssuer {
        /// The issuer this verifier trusts.
        wanted: String,
        /// The issuer of the token.
        found: String,
    },
    /// `aud` does not hold this verifier's audience (RFC 7519 §4.1.3).
    #[error("aud must hold {wanted:?}, found {found:?}")]
    WrongAudience {
        /// The audience of this verifier.
        wanted: String,
        /// The audiences of the token.
        found: Vec<String>,
    },
    /// `exp` has passed (RFC 7519 §4.1.4).
    #[error("the token expired at {exp}, it is now {now}")]
    Expired {
        /// When it expired.
        exp: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// `iat` lies in the future (RFC 7519 §4.1.6).
    #[error("the token says it was issued at {iat}, it is now {now}: is a clock wrong?")]
    IssuedInFuture {
        /// When it says it was issued.
        iat: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// `nbf` lies in the future (RFC 7519 §4.1.5).
    #[error("the token is not valid before {nbf}, it is now {now}")]
    NotYetValid {
        /// When it becomes valid.
        nbf: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// `exp` − `iat` is longer than the issuer ever signs.
    #[error("the token lives {lifetime} seconds, at most {limit} are allowed")]
    LifetimeTooLong {
        /// `exp` − `iat` in seconds.
        lifetime: u64,
        /// Seconds allowed.
        limit: u64,
    },
}

impl VerifyError {
    /// A stable word for this kind of refusal, for logs, vectors and tools.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::PartCount { .. } => "part_count",
            Self::Encoding { .. } => "encoding",
            Self::HeaderTooLong { .. } => "header_too_long",
            Self::Json { .. } => "json",
            Self::RefusedHeaderParameter { .. } => "refused_header_parameter",
            Self::WrongType { .. } => "wrong_type",
            Self::MissingKeyId => "missing_key_id",
            Self::UnknownKey { .. } => "unknown_key",
            Self::WrongAlgorithm { .. } => "wrong_algorithm",
            Self::BadSignature => "bad_signature",
            Self::InvalidClaim { .. } => "invalid_claim",
            Self::WrongIssuer { .. } => "wrong_issuer",
            Self::WrongAudience { .. } => "wrong_audience",
            Self::Expired { .. } => "expired",
            Self::IssuedInFuture { .. } => "issued_in_future",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::LifetimeTooLong { .. } => "lifetime_too_long",
        }
    }

    /// Whether the token was really signed by the key it names: only then may the reason be told
    /// to whoever holds the token.
    pub fn signature_was_good(&self) -> bool {
        match self {
            Self::InvalidClaim { .. }
            | Self::WrongIssuer { .. }
            | Self::WrongAudience { .. }
            | Self::Expired { .. }
            | Self::IssuedInFuture { .. }
            | Self::NotYetValid { .. }
            | Self::LifetimeTooLong { .. } => true,
            Self::Json { part, .. } => *part == Part::Claims,
            Self::TooLong { .. }
            | Self::PartCount { .. }
            | Self::Encoding { .. }
            | Self::HeaderTooLong { .. }
            | Self::RefusedHeaderParameter { .. }
            | Self::WrongType { .. }
            | Self::MissingKeyId
            | Self::UnknownKey { .. }
            | Self::WrongAlgorithm { .. }
            | Self::BadSignature => false,
        }
    }
}

fn or_nothing(found: Option<&str>) -> String {
    found.map_or_else(|| "no string".into(), |text| format!("{text:?}"))
}
