//! One tenant: the story of each operation, in reading order: verify completely, decide, then change.

mod deliver;
mod redeem;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use resetd_verify::{Claims, PublicKey, Timestamp, TokenId, VerifiedToken, Verifier, VerifyError};

use super::Shared;
use super::answers::{Asked, Given};
use super::error::{Error, TokenError};
use super::keys::{Keys, KeysInUse};
use crate::domain::identifier::Username;
use crate::domain::issue::{self, IssueRequest, IssuedToken};
use crate::domain::keyring::{Key, Keyring};
use crate::domain::policy::{Policy, PolicyError, TenantName};
use crate::domain::secret::Secret;
use crate::journal::{Attempt, Health};
use crate::revocation::{Refusal, Written};
use crate::webhook::{Revoked, What};

pub use deliver::{DeliveryRequest, Prepared, Promised, Sending, Unsent, Users};
pub use redeem::{Phase, RedeemRequest, Redemption};

/// Issues, checks, redeems and revokes the tokens of one tenant, and knows nothing of any other's.
/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Tenant(Arc<Inner>);

struct Inner {
    policy: Policy,
    sending: Sending,
    verifier: Verifier,
    keys: Arc<KeysInUse>,
    reuses: [AtomicU64; Reuse::ALL.len()],
    shared: Arc<Shared>,
}

impl fmt::Debug for Tenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tenant({})", self.0.policy.tenant)
    }
}

/// Which tokens to revoke.
#[derive(Debug)]
pub enum Revocation {
    /// One, by itself.
    Token(Secret),
    /// One, by its identifier.
    TokenId(TokenId),
    /// All of a user's issued before a time; without one, all issued so far.
    User(Username, Option<Timestamp>),
    /// All issued before a time; without one, all issued so far.
    Everything(Option<Timestamp>),
}

/// What a revocation was about: for the log and the answer.
#[derive(Clone, Copy, Debug)]
pub struct Applied {
    /// The one token, where it is known.
    pub token_id: Option<TokenId>,
    /// The time before which tokens are refused, for the kinds that have one.
    pub before: Option<Timestamp>,
}

/// What a token was presented for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// To learn whether it is live.
    ToCheck,
    /// To spend it.
    ToRedeem,
}

/// A token that somebody has done with was presented: by mistake, or because somebody else had the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It was spent.
    Spent(Presented),
    /// It is held for another caller.
    Held(Presented),
}

impl fmt::Display for Presented {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Presented {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::ToCheck => "check",
            Self::ToRedeem => "redeem",
        }
    }
}

impl Reuse {
    /// Every kind there is.
    pub const ALL: [Self; 4] = [
        Self::Spent(Presented::ToCheck),
        Self::Spent(Presented::ToRedeem),
        Self::Held(Presented::ToCheck),
        Self::Held(Presented::ToRedeem),
    ];

    /// In one word.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Spent(_) => "spent",
            Self::Held(_) => "held",
        }
    }

    /// What the token was presented for.
    pub fn presented(self) -> Presented {
        match self {
            Self::Spent(presented) | Self::Held(presented) => presented,
        }
    }
}

/// The published keys.
#[derive(Clone, Debug)]
pub struct Jwks {
    /// Newest first, public members only.
    pub keys: Vec<PublicKey>,
    /// Seconds for which they may be cached: never longer than until they change.
    pub max_age: u64,
}

impl Tenant {
    pub(super) fn new(
        policy: Policy,
        sending: Sending,
        keys: Arc<KeysInUse>,
        shared: Arc<Shared>,
    ) -> Self {
        let (verifier, reuses) = (policy.verifier(), Default::default());
        Self(Arc::new(Inner { policy, sending, verifier, keys, reuses, shared }))
    }

    /// Signs a token. The same attempt gets the same token again for an hour.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Full`], [`Error::NoActiveKey`], [`Error::NoRandomness`],
    /// [`Error::Unwritten`], and for an attempt [`Error::AttemptRunning`], [`Error::AttemptOther`].
    pub async fn issue(
        &self,
        caller: &str,
        request: &IssueRequest,
        attempt: Option<Attempt>,
    ) -> Result<Arc<IssuedToken>, Error> {
        let Some(attempt) = attempt else {
            return self.issue_once(caller, request).await.map(Arc::new);
        };
        match self.0.shared.answers.ask(attempt) {
            Asked::First(ticket) => {
                let issued = Arc::new(self.issue_once(caller, request).await?);
                ticket.answer(Given::Token(Arc::clone(&issued)));
                Ok(issued)
            }
            Asked::Before(Given::Token(issued)) => Ok(issued),
            Asked::Running => Err(Error::AttemptRunning),
            Asked::Before(Given::Promise(_)) | Asked::Other => Err(Error::AttemptOther),
        }
    }

    /// Whether a request for a token came before, so that it makes no other.
    pub fn is_repeat(&self, attempt: Attempt) -> bool {
        self.0.shared.answers.knows(attempt)
    }

    async fn issue_once(&self, caller: &str, request: &IssueRequest) -> Result<IssuedToken, Error> {
        let issued = self.issue_untold(request).await?;
        self.announce_issued(&issued.claims, caller);
        Ok(issued)
    }

    /// Signs a token, and no webhook is told.
    ///
    /// # Errors
    /// Those of [`issue`](Self::issue) without an attempt.
    pub async fn issue_untold(&self, request: &IssueRequest) -> Result<IssuedToken, Error> {
        let request = &*self.known_user(request).await?;
        let Inner { policy, shared, .. } = &*self.0;
        let Shared { revocations, random, .. } = &**shared;
        let now = self.now();
        self.require_room(now).await?;
        let keys = self.keys(now)?;
        let key = keys.active(self.keys_owner())?;
        let issued = issue::issue(request, policy, key, now, random.token_id()?)?;
        revocations.admit(policy, &issued.claims).wait().await?;
        Ok(issued)
    }

    /// Where nothing can be written or remembered, nothing is promised, also where there would be nothing
    /// to write.
    async fn require_room(&self, now: Timestamp) -> Result<(), Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let Shared { revocations, answers, .. } = &**shared;
        if revocations.health() != Health::Well {
            revocations.settled(now).wait().await?;
        }
        if revocations.is_full(answers.count(), now) {
            return Err(Error::Full { retry_after: policy.lifetime.min });
        }
        Ok(())
    }

    /// Says whether a caller can redeem a token now. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub fn check(&self, caller: &str, token: &str) -> Result<Claims, Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let now = self.now();
        let claims = self.verify(token, now)?;
        match shared.revocations.check(&policy.tenant, &claims, now) {
            Ok(()) => Ok(claims),
            Err(refusal) => {
                Err(self.refused(Presented::ToCheck, refusal, caller, &claims, now).into())
            }
        }
    }

    /// The issuer that a token names, if it is signed with a key of this tenant and is this tenant's, or
    /// is for another issuer. Nothing else is said of it.
    pub(super) fn issuer_in(&self, token: &str) -> Option<String> {
        match self.verify_even_early(token, self.now()) {
            Ok(claims) => Some(claims.iss),
            Err(Error::Token(TokenError::Unknown(VerifyError::WrongIssuer { found, .. }))) => {
                Some(found)
            }
            Err(_) => None,
        }
    }

    /// Says whether a token is live to whoever holds it. Changes nothing, and nobody is counted for
    /// asking.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub fn look(&self, token: &str) -> Result<Claims, Error> {
        match self.examine(token)? {
            (claims, None) => Ok(claims),
            (_, Some(dead)) => Err(dead.into()),
        }
    }

    /// The same for whoever may know what a dead token said, if its time is not over: what it says, and why
    /// it is dead if it is. Changes nothing, and nobody is counted for asking.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub fn examine(&self, token: &str) -> Result<(Claims, Option<TokenError>), Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let now = self.now();
        let claims = self.verify(token, now)?;
        let refusal = shared.revocations.check(&policy.tenant, &claims, now).err();
        let dead = refusal.map(|refusal| TokenError::refused(refusal, &claims, now, false));
        Ok((claims, dead))
    }

    /// Whether a token is live or held, so that its holder can still kill it.
    pub fn can_be_killed(&self, token: &str) -> bool {
        self.look(token).map_or_else(|error| error.is_about_held(), |_| true)
    }

    /// What a caller's try of an operation hashes to, so that it can be repeated.
    pub fn attempt(&self, caller: &str, key: &str, body: &[u8]) -> Attempt {
        let Inner { policy, shared, .. } = &*self.0;
        shared.revocations.attempt(&policy.tenant, caller, key, body)
    }

    /// Kills a token for whoever holds it. It does not tell whether there was anything to kill.
    ///
    /// # Errors
    /// [`Error::RedemptionRunning`], [`Error::Unwritten`].
    pub async fn disown(&self, token: &str) -> Result<Applied, Error> {
        self.revoke_presented(None, token).await
    }

    /// Revokes one live token. Of all who try, exactly one succeeds.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::RedemptionRunning`], [`Error::Unwritten`].
    pub async fn revoke(&self, caller: &str, token: &str) -> Result<Claims, Error> {
        let now = self.now();
        let claims = self.verify(token, now)?;
        self.revoke_verified(Some(caller), claims, now).await
    }

    /// Makes sure that tokens cannot be redeemed any more. It may be repeated, and it does not tell
    /// whether there was anything to revoke.
    ///
    /// # Errors
    /// [`Error::Rejected`] when a cut-off lies in the future, [`Error::RedemptionRunning`],
    /// [`Error::Unwritten`].
    pub async fn apply(
        &self,
        caller: Option<&str>,
        revocation: &Revocation,
    ) -> Result<Applied, Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let (revocations, now) = (&shared.revocations, self.now());
        match revocation {
            Revocation::Token(token) => self.revoke_presented(caller, token.expose()).await,
            Revocation::TokenId(jti) => {
                let kill = || revocations.revoke_id(policy, *jti, now);
                if self.until_settled(*jti, now, kill).await?.is_ok() {
                    self.announce_revoked(Revoked::TokenId(*jti), caller);
                }
                Ok(Applied { token_id: Some(*jti), before: None })
            }
            Revocation::User(username, before) => {
                let through = last_second(*before, now)?;
                revocations.revoke_user(policy, username.as_str(), through, now).wait().await?;
                if let Some(same) = self.other_spelling(username).await {
                    revocations.revoke_user(policy, same.as_str(), through, now).wait().await?;
                }
                let (username, before) = (username.clone(), through.plus(1));
                self.announce_revoked(Revoked::User { username, before }, caller);
                Ok(Applied { token_id: None, before: Some(before) })
            }
            Revocation::Everything(before) => {
                let through = last_second(*before, now)?;
                revocations.revoke_tenant(policy, through, now).wait().await?;
                let before = through.plus(1);
                self.announce_revoked(Revoked::Everything { before }, caller);
                Ok(Applied { token_id: None, before: Some(before) })
            }
        }
    }

    /// The keys that verifiers need now.
    ///
    /// # Errors
    /// [`Error::Keys`].
    pub fn jwks(&self) -> Result<Jwks, Error> {
        let now = self.now();
        let snapshot = &self.keys(now)?.snapshot;
        Ok(Jwks {
            keys: snapshot.published.clone(),
            max_age: snapshot.holds_for(now, self.0.shared.jwks_max_age),
        })
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The rules, for those who publish them.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// The URL under which others reach the API: the issuer of the default tenant, for all tenants.
    pub fn base_url(&self) -> &str {
        &self.0.shared.base_url
    }

    /// Whose keys it signs with: its own, or those of the default tenant.
    pub fn keys_owner(&self) -> &TenantName {
        self.0.keys.owner()
    }

    /// Whether it signs with the keys of another tenant.
    pub fn shares_keys(&self) -> bool {
        *self.keys_owner() != self.0.policy.tenant
    }

    /// The keys, for another tenant that signs with them.
    pub(super) fn keys_in_use(&self) -> Arc<KeysInUse> {
        Arc::clone(&self.0.keys)
    }

    /// All keys it signs with, whatever they do now.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.0.keys.keyring()
    }

    /// The key that signs now.
    ///
    /// # Errors
    /// [`Error::NoActiveKey`], [`Error::Keys`].
    pub fn active_key(&self) -> Result<Arc<Key>, Error> {
        self.0.keys.active(self.now())
    }

    /// Swaps all keys at once, for all who sign with them; requests under way go on with the ones they
    /// began with.
    ///
    /// # Errors
    /// [`Error::Keys`] when the keys contradict each other; the old ones stay.
    pub fn replace_keyring(&self, keyring: Keyring) -> Result<(), Error> {
        self.0.keys.replace(keyring, self.now())
    }

    /// How often tokens were presented that somebody has done with, since the start.
    pub fn reuses(&self) -> impl Iterator<Item = (Reuse, u64)> {
        let counts = self.0.reuses.iter().map(|count| count.load(Ordering::Relaxed));
        Reuse::ALL.into_iter().zip(counts)
    }

    /// The one place that finds out that a token is presented by somebody who should not have it.
    fn refused(
        &self,
        presented: Presented,
        refusal: Refusal,
        caller: &str,
        claims: &Claims,
        now: Timestamp,
    ) -> TokenError {
        let Inner { policy, shared, reuses, .. } = &*self.0;
        let reuse = match refusal {
            Refusal::Used => Some(Reuse::Spent(presented)),
            Refusal::Held { caller: holder, .. } => {
                let is_its_own = shared.revocations.is_callers(&policy.tenant, caller, holder);
                (!is_its_own).then_some(Reuse::Held(presented))
            }
            Refusal::Revoked | Refusal::PredatesStart | Refusal::Expired(_) => None,
        };
        if let Some(reuse) = reuse {
            for (_, count) in Reuse::ALL.iter().zip(reuses).filter(|(kind, _)| **kind == reuse) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            let (tenant, jti) = (policy.tenant.as_str(), claims.jti);
            tracing::warn!(
                event = "token_reused", tenant, caller, %jti, reason = reuse.reason(), operation = %presented,
                "a token was presented that somebody has done with"
            );
            self.announce_of(claims, |token| What::Reused {
                token,
                reason: reuse.reason(),
                operation: presented.name(),
                caller: caller.into(),
            });
        }
        TokenError::refused(refusal, claims, now, reuse.is_some())
    }

    fn now(&self) -> Timestamp {
        self.0.shared.clock.now()
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Error> {
        self.open(token, now).map(|(verified, _)| verified.into_claims())
    }

    /// Verifies a token, and says with which keys.
    fn open(&self, token: &str, now: Timestamp) -> Result<(VerifiedToken, Arc<Keys>), Error> {
        let keys = self.keys(now)?;
        match self.0.verifier.verify(token, &keys.snapshot.verifying, now) {
            Ok(verified) => Ok((verified, keys)),
            Err(error) => Err(TokenError::from(error).into()),
        }
    }

    /// Revokes a token if there is anything to revoke.
    async fn revoke_presented(&self, caller: Option<&str>, token: &str) -> Result<Applied, Error> {
        let now = self.now();
        let revoked = match self.verify_even_early(token, now) {
            Ok(claims) => self.revoke_verified(caller, claims, now).await,
            Err(error) => Err(error),
        };
        match revoked {
            Ok(claims) => Ok(Applied { token_id: Some(claims.jti), before: None }),
            Err(Error::Token(error)) => Ok(Applied { token_id: error.token_id(), before: None }),
            Err(error) => Err(error),
        }
    }

    async fn revoke_verified(
        &self,
        caller: Option<&str>,
        claims: Claims,
        now: Timestamp,
    ) -> Result<Claims, Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let kill = || shared.revocations.revoke(policy, &claims, now);
        match self.until_settled(claims.jti, now, kill).await? {
            Ok(()) => {
                self.announce_revoked_token(&claims, caller);
                Ok(claims)
            }
            Err(refusal) => Err(TokenError::refused(refusal, &claims, now, false).into()),
        }
    }

    /// Revokes a token and waits for the disk. Where it is dead already, what killed it may not be on
    /// disk yet and be given up; so it is tried again when that is settled.
    async fn until_settled(
        &self,
        jti: TokenId,
        now: Timestamp,
        kill: impl Fn() -> Result<Written, Refusal>,
    ) -> Result<Result<(), Refusal>, Error> {
        let revocations = &self.0.shared.revocations;
        loop {
            let undone = revocations.undone();
            let refusal = match kill() {
                Ok(written) => return Ok(Ok(written.wait().await?)),
                Err(Refusal::Held { .. }) => return Err(Error::RedemptionRunning { jti }),
                Err(refusal) => refusal,
            };
            revocations.settled(now).wait().await?;
            if revocations.undone() == undone {
                return Ok(Err(refusal));
            }
        }
    }

    /// For revoking only: a good token of a machine whose clock is ahead is not valid yet, and it
    /// must not become so after it was revoked.
    fn verify_even_early(&self, token: &str, now: Timestamp) -> Result<Claims, Error> {
        match self.verify(token, now) {
            Err(Error::Token(TokenError::Unknown(
                VerifyError::IssuedInFuture { iat: then, .. }
                | VerifyError::NotYetValid { nbf: then, .. },
            ))) => self.verify(token, then),
            verified => verified,
        }
    }

    fn keys(&self, now: Timestamp) -> Result<Arc<Keys>, Error> {
        self.0.keys.at(now)
    }
}

/// The last second of which all tokens were issued before the cut-off.
fn last_second(before: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Error> {
    match before {
        None => Ok(now),
        Some(before) if before > now.plus(1) => {
            Err(PolicyError::CutoffInFuture { before, now }.into())
        }
        Some(before) => Ok(before.minus(1)),
    }
}
