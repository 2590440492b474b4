//! The one verification, used by the server, the command line and every edge.

use signature::Verifier as _;

use crate::claims::{Claims, Timestamp};
use crate::error::VerifyError;
use crate::keyset::{KeyId, KeySet};
use crate::token::UnverifiedToken;

/// The largest leeway, in seconds, that any verifier may grant.
///
/// Who keeps a mark of a spent token must keep it until `exp` plus the leeway in use: were the
/// mark shorter than the acceptance, a spent token would come back to life in between.
pub const MAX_LEEWAY: u64 = 60;

/// The longest life, in seconds, that a verifier accepts unless told otherwise: 24 hours.
pub const DEFAULT_MAX_LIFETIME: u64 = 24 * 60 * 60;

/// What a verifier expects: the issuer, the audience, and how strict to be about time.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuer: String,
    audience: String,
    leeway: u64,
    max_lifetime: u64,
}

impl Verifier {
    /// Trusts tokens of exactly this issuer for exactly this audience, with no leeway and a life
    /// of at most [`DEFAULT_MAX_LIFETIME`].
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            leeway: 0,
            max_lifetime: DEFAULT_MAX_LIFETIME,
        }
    }

    /// Grants so many seconds for clocks that disagree, on `exp`, `iat` and `nbf` alike. More than
    /// [`MAX_LEEWAY`] is taken as [`MAX_LEEWAY`].
    #[must_use]
    pub fn with_leeway(self, seconds: u64) -> Self {
        Self { leeway: seconds.min(MAX_LEEWAY), ..self }
    }

    /// Refuses tokens that live longer than so many seconds.
    #[must_use]
    pub fn with_max_lifetime(self, seconds: u64) -> Self {
        Self { max_lifetime: seconds, ..self }
    }

    /// Checks everything that can be checked without asking anybody: form, header, key, algorithm,
    /// signature, claims, issuer, audience and time, in this order. Whether the token was used or
    /// revoked is a question for its issuer or for the issuer's status list.
    ///
    /// ```
    /// use resetd_verify::{KeySet, Timestamp, Verifier, VerifyError};
    ///
    /// let verifier = Verifier::new("https://reset.example.com", "https://app.example.com");
    /// let now = Timestamp::from_seconds(1_800_000_000);
    /// let error = verifier.verify("abc", &KeySet::default(), now).unwrap_err();
    /// assert_eq!(error, VerifyError::PartCount { found: 1 });
    /// assert_eq!(error.code(), "part_count");
    /// assert!(!error.signature_was_good());
    /// ```
    ///
    /// # Errors
    /// The first [`VerifyError`] in the order of the checks.
    pub fn verify(
        &self,
        token: &str,
        keys: &KeySet,
        now: Timestamp,
    ) -> Result<VerifiedToken, VerifyError> {
        let token = UnverifiedToken::parse(token)?;
        let claims = open(&token, keys)?;
        self.check_parties(&claims)?;
        self.check_times(&claims, now)?;
        Ok(VerifiedToken { kid: token.kid, claims })
    }

    fn check_parties(&self, claims: &Claims) -> Result<(), VerifyError> {
        if claims.iss != self.issuer {
            return Err(VerifyError::WrongIssuer {
                wanted: self.issuer.clone(),
                found: claims.iss.clone(),
            });
        }
        if !claims.aud.contains(&self.audience) {
            return Err(VerifyError::WrongAudience {
                wanted: self.audience.clone(),
                found: claims.aud.clone(),
            });
        }
        Ok(())
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), VerifyError> {
        let Claims { iat, exp, .. } = *claims;
        // RFC 7519 §4.1.4: on or after `exp` the token is dead.
        if now >= exp.plus(self.leeway) {
            return Err(VerifyError::Expired { exp, now });
        }
        if iat > now.plus(self.leeway) {
            return Err(VerifyError::IssuedInFuture { iat, now });
        }
        if let Some(nbf) = claims.nbf.filter(|nbf| *nbf > now.plus(self.leeway)) {
            return Err(VerifyError::NotYetValid { nbf, now });
        }
        let lifetime = exp.since(iat);
        if lifetime > self.max_lifetime {
            return Err(VerifyError::LifetimeTooLong { lifetime, limit: self.max_lifetime });
        }
        Ok(())
    }
}

/// The key comes from the set by `kid`, the algorithm comes from the key; the token chooses
/// neither (RFC 8725 §3.1). The claims are not even parsed before the signature is good.
fn open(token: &UnverifiedToken<'_>, keys: &KeySet) -> Result<Claims, VerifyError> {
    let key =
        keys.key(&token.kid).ok_or_else(|| VerifyError::UnknownKey { kid: token.kid.clone() })?;
    if token.alg.as_deref() != Some(key.algorithm().name()) {
        return Err(VerifyError::WrongAlgorithm {
            wanted: key.algorithm(),
            found: token.alg.clone(),
        });
    }
    key.verifying_key()
        .verify(token.signing_input.as_bytes(), &token.signature)
        .map_err(|_| VerifyError::BadSignature)?;
    Claims::parse(&token.payload)
}

/// Proof that a token passed every check. Only [`Verifier::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    kid: KeyId,
    claims: Claims,
}

impl VerifiedToken {
    /// What the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The key that signed it.
    pub fn key_id(&self) -> &KeyId {
        &self.kid
    }

    /// Gives up the proof and keeps the claims.
    pub fn into_claims(self) -> Claims {
        self.claims
    }
}
