//! What a tenant allows: who it is, how long its tokens live, and how strict it is about time.

use std::fmt;

use resetd_verify::{MAX_LEEWAY, Timestamp, Verifier};

/// The longest time in seconds for which a token can be held by a redemption.
pub const MAX_HOLD: u64 = 600;

/// The name of a tenant: its claims, revocations and keys are apart from every other's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantName(String);

impl TenantName {
    /// The tenant of a configuration that names none.
    pub const DEFAULT: &str = "default";
    /// What a name must be.
    pub const WANTED: &str = "a name of 1 to 64 characters a-z 0-9 -";

    /// Reads a name of 1 to 64 characters `a-z 0-9 -`, safe in a folder name and a label.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.into()))
    }

    /// Whether it is the tenant of a configuration that names none.
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Default for TenantName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

/// The rules of one tenant, valid by construction: `min ≤ default ≤ max`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The tenant.
    pub tenant: TenantName,
    /// `iss` of its tokens, from configuration only.
    pub issuer: String,
    /// `aud` of its tokens.
    pub audience: String,
    /// Life of its tokens in seconds.
    pub lifetime: Lifetime,
    /// Seconds granted to clocks that disagree when a token is accepted; its marks are kept for the most
    /// that this can be.
    pub leeway: u64,
    /// Whether issuing or redeeming kills the user's older tokens.
    pub supersede: bool,
}

/// Bounds and default of a token's life, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Where a request does not say.
    pub default: u64,
    /// A shorter wish becomes this.
    pub min: u64,
    /// A longer wish becomes this.
    pub max: u64,
}

/// How long a token shall live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As the policy says.
    Default,
    /// So many seconds.
    In(u64),
    /// Until then.
    At(Timestamp),
    /// Until then, as was decided at an earlier time; never longer than is allowed now.
    Decided(Timestamp),
}

/// Why a request is not within the policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The wished expiry is not in the future.
    #[error("the token would expire at {expiry}, which is not after {now}")]
    ExpiryInPast {
        /// The wished expiry.
        expiry: Timestamp,
        /// The time of the request.
        now: Timestamp,
    },
    /// A revocation reaches into the future.
    #[error("tokens issued after {now} do not exist yet, wanted all before {before}")]
    CutoffInFuture {
        /// The wished cut-off.
        before: Timestamp,
        /// The time of the request.
        now: Timestamp,
    },
}

impl Policy {
    /// The moment a token issued now expires: the wish, clamped to the bounds. Only a wish for the
    /// past is refused, since no clamping could mean what its caller meant.
    ///
    /// # Errors
    /// [`PolicyError::ExpiryInPast`].
    pub fn expiry(&self, wish: Expiry, now: Timestamp) -> Result<Timestamp, PolicyError> {
        let seconds = match wish {
            Expiry::Default => self.lifetime.default,
            Expiry::In(seconds) => seconds,
            Expiry::At(expiry) if expiry <= now => {
                return Err(PolicyError::ExpiryInPast { expiry, now });
            }
            Expiry::At(expiry) => expiry.since(now),
            Expiry::Decided(expiry) => return Ok(expiry.min(now.plus(self.lifetime.max))),
        };
        Ok(now.plus(seconds.clamp(self.lifetime.min, self.lifetime.max)))
    }

    /// A verifier for exactly the tokens this policy issues.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(self.issuer.as_str(), self.audience.as_str())
            .with_leeway(self.leeway)
            .with_max_lifetime(self.lifetime.max)
    }

    /// Until when what became of a token is remembered: as long as any configuration could accept it, so
    /// that a leeway which is raised later brings nothing back.
    pub fn remembered_until(&self, exp: Timestamp) -> Timestamp {
        exp.plus(MAX_LEEWAY)
    }

    /// Until when a cut-off is remembered that refuses tokens up to this expiry: a hold may outlast its
    /// token.
    pub fn cut_until(&self, exp: Timestamp) -> Timestamp {
        self.remembered_until(exp).plus(MAX_HOLD)
    }

    /// Seconds after which no token issued now can be accepted by anyone.
    pub fn longest_acceptance(&self) -> u64 {
        self.lifetime.max + self.leeway
    }
}
