//! Spending a token: at once, or in two phases, of which the second says whether the password was
//! changed.

use resetd_verify::{Claims, Timestamp};

use super::{Inner, Presented, Tenant};
use crate::domain::binding::{Bound, CredentialVersion, same_tag};
use crate::domain::identifier::CredentialId;
use crate::domain::secret::Secret;
use crate::journal::Attempt;
use crate::revocation::{Earlier, NotHeld, RedemptionId};
use crate::service::answers::Ended;
use crate::service::error::{Error, TokenError};

/// Which token to spend, and under which conditions.
#[derive(Clone, Debug)]
pub struct RedeemRequest {
    /// The token.
    pub token: Secret,
    /// The credential that it must be for.
    pub credential_id: Option<CredentialId>,
    /// The version that its credential must have had when it was issued.
    pub credential_version: Option<CredentialVersion>,
    /// Seconds for which it is only set aside, to be committed or cancelled.
    pub hold: Option<u64>,
}

/// A token was spent or set aside.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// What the token said.
    pub claims: Claims,
    /// Which of the two.
    pub phase: Phase,
}

/// How far a redemption went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The token was spent then: the password may be set, once.
    Redeemed(Timestamp),
    /// The token is set aside for its caller, to be committed or cancelled by this name.
    Held(RedemptionId),
}

impl Tenant {
    /// Spends a token or sets it aside. Of all who try, exactly one succeeds; the same attempt gets the
    /// same answer again, as long as the token could live.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::CredentialMismatch`], [`Error::VersionMismatch`],
    /// [`Error::NoRandomness`], [`Error::Unwritten`], and for an attempt [`Error::AttemptRunning`],
    /// [`Error::AttemptOther`].
    pub async fn redeem(
        &self,
        caller: &str,
        request: &RedeemRequest,
        attempt: Option<Attempt>,
    ) -> Result<Redemption, Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let (revocations, now) = (&shared.revocations, self.now());
        let phase = |claims: &Claims, nonce, at: Timestamp| match request.hold {
            None => Phase::Redeemed(at),
            Some(seconds) => {
                let (tenant, end) = (&policy.tenant, at.plus(seconds));
                Phase::Held(revocations.redemption_id(tenant, caller, claims.jti, nonce, end))
            }
        };
        let nonce = match (request.hold, attempt) {
            (None, _) => [0; 8],
            // So that the answer can be given again.
            (Some(_), Some(attempt)) => attempt.nonce(),
            (Some(_), None) => shared.random.bytes()?,
        };
        match attempt.and_then(|it| revocations.earlier(&policy.tenant, &it, now)) {
            // The same body has the same token, so this is the answer that was lost.
            Some(Earlier::Done(at)) => {
                let claims = self.verify(request.token.expose(), at)?;
                let phase = phase(&claims, nonce, at);
                if let Phase::Held(id) = &phase {
                    shared.held.insert(*id, &claims);
                }
                if let Phase::Redeemed(at) = phase {
                    revocations.supersede_again(policy, &claims, at, now).wait().await?;
                }
                return Ok(Redemption { claims, phase });
            }
            Some(Earlier::Running) => return Err(Error::AttemptRunning),
            Some(Earlier::Other) => return Err(Error::AttemptOther),
            None => {}
        }
        let claims = self.verify_bound(request, now)?;
        let begin = |attempt| revocations.begin(policy, &claims, &attempt, now);
        if attempt.is_some_and(|attempt| !begin(attempt)) {
            return Err(Error::AttemptRunning);
        }
        let phase = phase(&claims, nonce, now);
        let written = match &phase {
            Phase::Redeemed(_) => revocations.redeem(policy, &claims, attempt, || self.now()),
            Phase::Held(id) => {
                revocations.hold(policy, &claims, caller, id, attempt, || self.now())
            }
        };
        let refused = |refusal| self.refused(Presented::ToRedeem, refusal, caller, &claims, now);
        written.map_err(refused)?.wait().await?;
        match &phase {
            Phase::Redeemed(_) => self.announce_redeemed(&claims, caller),
            Phase::Held(id) => shared.held.insert(*id, &claims),
        }
        Ok(Redemption { claims, phase })
    }

    /// Spends a token that is held: the password was changed. It may be repeated.
    ///
    /// # Errors
    /// [`Error::RedemptionUnknown`], [`Error::RedemptionRunning`], [`Error::HoldCancelled`],
    /// [`Error::HoldExpired`], [`Error::Token`] if it was revoked meanwhile, [`Error::Unwritten`].
    pub async fn commit(&self, caller: &str, id: &RedemptionId) -> Result<Timestamp, Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let (now, jti) = (self.now(), id.token_id());
        match shared.revocations.commit(policy, caller, id, now) {
            Ok((at, written)) => {
                written.wait().await?;
                match shared.held.end(id) {
                    Ended::Of(claims) => self.announce_redeemed(&claims, caller),
                    // An earlier time is that of an earlier commit, which was told of.
                    Ended::Unseen if at == now => self.announce_committed(jti, caller),
                    Ended::Unseen | Ended::Told => {}
                }
                Ok(at)
            }
            Err(NotHeld::Committed { at, .. }) => Ok(at),
            Err(NotHeld::Unknown) => Err(Error::RedemptionUnknown),
            Err(NotHeld::Ending) => Err(Error::RedemptionRunning { jti }),
            Err(NotHeld::Cancelled) => Err(Error::HoldCancelled { jti }),
            Err(NotHeld::Expired(end)) => Err(Error::HoldExpired { jti, end }),
            Err(NotHeld::Revoked) => Err(TokenError::Revoked { jti }.into()),
            Err(NotHeld::PredatesStart) => Err(TokenError::PredatesStart { jti }.into()),
        }
    }

    /// Gives back a token that is held: the password was not changed. It may be repeated, and it is as
    /// good if the hold is over already.
    ///
    /// # Errors
    /// [`Error::RedemptionUnknown`], [`Error::RedemptionRunning`], [`Error::RedemptionCommitted`],
    /// [`Error::Unwritten`].
    pub async fn cancel(&self, caller: &str, id: &RedemptionId) -> Result<(), Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let (revocations, now, jti) = (&shared.revocations, self.now(), id.token_id());
        loop {
            let undone = revocations.undone();
            match revocations.cancel(policy, caller, id, now) {
                Ok(written) => {
                    written.wait().await?;
                    shared.held.end(id);
                    return Ok(());
                }
                Err(NotHeld::Unknown) => return Err(Error::RedemptionUnknown),
                Err(NotHeld::Ending) => return Err(Error::RedemptionRunning { jti }),
                Err(NotHeld::Committed { at, .. }) => {
                    return Err(Error::RedemptionCommitted { jti, at });
                }
                Err(NotHeld::Cancelled | NotHeld::Expired(_) | NotHeld::PredatesStart) => {
                    return Ok(());
                }
                // What revoked it may not be on disk yet, and give the hold back if it finds no room.
                Err(NotHeld::Revoked) => revocations.settled(now).wait().await?,
            }
            if revocations.undone() == undone {
                return Ok(());
            }
        }
    }

    /// Verifies a token, and that it is for the credential as it is now. A token that is bound to a
    /// version is never spent without one: whoever forgot to send it would undo the binding.
    fn verify_bound(&self, request: &RedeemRequest, now: Timestamp) -> Result<Claims, Error> {
        let RedeemRequest { token, credential_id, credential_version, .. } = request;
        let (verified, keys) = self.open(token.expose(), now)?;
        let claims = verified.claims();
        let (jti, token_credential) = (claims.jti, claims.credential_id.as_deref());
        if credential_id.as_ref().is_some_and(|id| token_credential != Some(id.as_str())) {
            return Err(Error::CredentialMismatch { jti });
        }
        let bound = Bound { jti, username: &claims.sub, credential_id: token_credential };
        let is_same = match (claims.credential_version.as_deref(), credential_version) {
            (None, None) => true,
            (Some(tag), Some(version)) => {
                let key = keys.keyring.keys().find(|key| key.kid() == verified.key_id());
                key.is_some_and(|key| same_tag(&key.binding().tag(&bound, version), tag))
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if is_same { Ok(verified.into_claims()) } else { Err(Error::VersionMismatch { jti }) }
    }
}
