//! Why the service did not do what it was asked: by what the caller can do about it.

use resetd_verify::{Claims, JwksError, Timestamp, TokenId, VerifyError};

use crate::directory::Unavailable;
use crate::domain::caller::NoCaller;
use crate::domain::issue::IssueError;
use crate::domain::policy::{PolicyError, TenantName};
use crate::journal::Unwritten;
use crate::outbox::NotTaken;
use crate::random::NoRandomness;
use crate::revocation::Refusal;

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller is not known.
    #[error(transparent)]
    Unauthenticated(#[from] NoCaller),
    /// The request is outside the policy.
    #[error(transparent)]
    Rejected(#[from] PolicyError),
    /// The token is not live.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is for another credential than the one named.
    #[error("the token {jti} is for another credential")]
    CredentialMismatch {
        /// The token.
        jti: TokenId,
    },
    /// The credential has another version than when the token was issued, or none was named.
    #[error("the token {jti} is for another version of the credential")]
    VersionMismatch {
        /// The token.
        jti: TokenId,
    },
    /// The caller has begun no such redemption.
    #[error("the caller has begun no such redemption")]
    RedemptionUnknown,
    /// Another request about the token is being written.
    #[error("the hold of the token {jti} is being committed or cancelled")]
    RedemptionRunning {
        /// The token.
        jti: TokenId,
    },
    /// What should be cancelled was committed.
    #[error("the redemption of the token {jti} was committed at {at}")]
    RedemptionCommitted {
        /// The token.
        jti: TokenId,
        /// When.
        at: Timestamp,
    },
    /// What should be committed was cancelled.
    #[error("the hold of the token {jti} was cancelled")]
    HoldCancelled {
        /// The token.
        jti: TokenId,
    },
    /// What should be committed is over.
    #[error("the hold of the token {jti} was over at {end}")]
    HoldExpired {
        /// The token.
        jti: TokenId,
        /// When.
        end: Timestamp,
    },
    /// So much is remembered that no more tokens may be issued.
    #[error("as many marks are kept as state.capacity allows")]
    Full {
        /// Seconds after which it is worth trying again.
        retry_after: u64,
    },
    /// No key of a tenant may sign now.
    #[error(
        "no key is active for the tenant {tenant}, so nothing can be signed; make one: resetd keys generate --tenant {tenant}"
    )]
    NoActiveKey {
        /// The tenant.
        tenant: TenantName,
    },
    /// The machine's clock lags so far behind that nobody else takes the tokens issued here.
    #[error(
        "the machine's clock is {lag} seconds behind the latest time seen here; set it right, or wait until it has caught up"
    )]
    ClockBehind {
        /// Seconds.
        lag: u64,
    },
    /// The keys contradict each other.
    #[error(transparent)]
    Keys(#[from] JwksError),
    /// Nothing can be sent this way.
    #[error(transparent)]
    NotSendable(#[from] NotSendable),
    /// Nothing more can be promised to be sent.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The caller may not learn who is a user, so it gets no token.
    #[error("with a directory and without directory.reveal_unknown_users, tokens are only sent")]
    DeliveryOnly,
    /// There is no such user.
    #[error("the directory has no such user")]
    UserUnknown,
    /// The user may not log in.
    #[error("the directory says that the user is disabled")]
    UserDisabled,
    /// The caller named another credential or another user.
    #[error("the directory has another credential or another identifier of the user")]
    UserMismatch,
    /// The directory does not answer.
    #[error(transparent)]
    DirectoryUnavailable(#[from] Unavailable),
    /// The same attempt is under way.
    #[error("a request with this Idempotency-Key is under way")]
    AttemptRunning,
    /// The key of the attempt was used for another request.
    #[error("this Idempotency-Key was used with another body")]
    AttemptOther,
    /// What was decided could not be made to last, so it is not answered as done.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The system gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The key did not sign.
    #[error("the key did not sign")]
    SigningFailed,
}

/// Why links cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSendable {
    /// It is not known where they lead.
    #[error("the tenant has neither link.template nor [page], so nobody knows where links lead")]
    NoLink,
    /// No mails are sent.
    #[error("mail.transport is \"off\"")]
    NoMail,
    /// No service sends links for the tenant.
    #[error("no webhook of the tenant takes \"delivery\"")]
    NoWebhook,
    /// The address that the link should lead to is not allowed.
    #[error("the link should lead to an address that is not in link.return_urls")]
    ReturnUrl,
}

/// Why a token is not live.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not verify, or not here.
    #[error(transparent)]
    Unknown(VerifyError),
    /// It was good and has expired.
    #[error("the token expired at {exp}")]
    Expired {
        /// When.
        exp: Timestamp,
    },
    /// It was redeemed.
    #[error("the token {jti} was redeemed before")]
    Used {
        /// The token.
        jti: TokenId,
    },
    /// It was revoked, by itself or with others.
    #[error("the token {jti} is revoked")]
    Revoked {
        /// The token.
        jti: TokenId,
    },
    /// It is set aside for a redemption.
    #[error("the token {jti} is held")]
    Held {
        /// The token.
        jti: TokenId,
        /// Seconds after which it may be live again.
        retry_after: u64,
        /// Whether by somebody else than who presents it.
        by_another: bool,
    },
    /// It was issued before this process started, so whether it was spent is not known.
    #[error("the token {jti} was issued before this process started")]
    PredatesStart {
        /// The token.
        jti: TokenId,
    },
}

impl TokenError {
    /// The refusal of a token that verifies. `is_reuse` says whether it is presented by somebody who
    /// should not have it.
    pub(super) fn refused(
        refusal: Refusal,
        claims: &Claims,
        now: Timestamp,
        is_reuse: bool,
    ) -> Self {
        let jti = claims.jti;
        match refusal {
            Refusal::Used => Self::Used { jti },
            Refusal::Revoked => Self::Revoked { jti },
            // A hold whose end is being written may be over, and is still not live.
            Refusal::Held { end, .. } => {
                Self::Held { jti, retry_after: end.since(now).max(1), by_another: is_reuse }
            }
            Refusal::PredatesStart => Self::PredatesStart { jti },
            Refusal::Expired(exp) => Self::Expired { exp },
        }
    }

    /// The token, where it is known.
    pub fn token_id(&self) -> Option<TokenId> {
        match self {
            Self::Used { jti }
            | Self::Revoked { jti }
            | Self::Held { jti, .. }
            | Self::PredatesStart { jti } => Some(*jti),
            Self::Unknown(_) | Self::Expired { .. } => None,
        }
    }
}

impl Error {
    /// Whether somebody has done with the token already: it is spent, or held for another caller.
    pub fn is_reuse(&self) -> bool {
        let Self::Token(error) = self else { return false };
        matches!(error, TokenError::Used { .. } | TokenError::Held { by_another: true, .. })
    }

    /// Whether the token is held, so that it is not live and can be killed all the same.
    pub fn is_about_held(&self) -> bool {
        matches!(self, Self::Token(TokenError::Held { .. }))
    }

    /// The token, where it is known.
    pub fn token_id(&self) -> Option<TokenId> {
        match self {
            Self::Token(error) => error.token_id(),
            Self::CredentialMismatch { jti }
            | Self::VersionMismatch { jti }
            | Self::RedemptionRunning { jti }
            | Self::RedemptionCommitted { jti, .. }
            | Self::HoldCancelled { jti }
            | Self::HoldExpired { jti, .. } => Some(*jti),
            Self::Unauthenticated(_)
            | Self::Rejected(_)
            | Self::RedemptionUnknown
            | Self::Full { .. }
            | Self::NoActiveKey { .. }
            | Self::ClockBehind { .. }
            | Self::Unwritten(_)
            | Self::AttemptRunning
            | Self::AttemptOther
            | Self::NotSendable(_)
            | Self::NotTaken(_)
            | Self::DeliveryOnly
            | Self::UserUnknown
            | Self::UserDisabled
            | Self::UserMismatch
            | Self::DirectoryUnavailable(_)
            | Self::Keys(_)
            | Self::NoRandomness(_)
            | Self::SigningFailed => None,
        }
    }
}

impl From<VerifyError> for TokenError {
    /// Only an expiry is told apart: it is found after the signature, so whoever learns it held a
    /// token that was good once.
    fn from(error: VerifyError) -> Self {
        if let VerifyError::Expired { exp, .. } = error {
            Self::Expired { exp }
        } else {
            Self::Unknown(error)
        }
    }
}

impl From<IssueError> for Error {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Policy(error) => Self::Rejected(error),
            IssueError::SigningFailed => Self::SigningFailed,
        }
    }
}
