//! Redemptions in two phases: a token is set aside, and its caller says later what became of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::{Claims, Timestamp, TokenId};
use ring::hmac;
use serde::{Serialize, Serializer};

use super::mark::{Held, HoldRef, NotHeld};
use super::{Refusal, Revocations, Written, hash, in_time, latest_expiry, raise, tenant_tag};
use crate::domain::policy::{Policy, TenantName};
use crate::journal::{Attempt, CallerTag, Event, Hold, Scope, TenantTag, Why};

/// Which redemption, for its caller alone. It says itself what it is about, so that nothing has to be
/// remembered of a hold that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RedemptionId {
    jti: TokenId,
    end: Timestamp,
    nonce: [u8; 8],
    seal: [u8; 16],
}

impl RedemptionId {
    /// Reads the 64 characters; another length or spelling is not an identifier.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 48] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (jti, rest) = bytes.split_first_chunk()?;
        let (end, rest) = rest.split_first_chunk()?;
        let (nonce, seal) = rest.split_first_chunk()?;
        Some(Self {
            jti: TokenId::from_bytes(*jti),
            end: Timestamp::from_seconds(u64::from_be_bytes(*end)),
            nonce: *nonce,
            seal: seal.try_into().ok()?,
        })
    }

    /// The token that it is about.
    pub fn token_id(&self) -> TokenId {
        self.jti
    }

    /// The first second in which the token is not set aside any more.
    pub fn end(&self) -> Timestamp {
        self.end
    }
}

impl fmt::Display for RedemptionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.end.seconds().to_be_bytes();
        let bytes = [&self.jti.bytes()[..], &end, &self.nonce, &self.seal].concat();
        formatter.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl Serialize for RedemptionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Revocations {
    /// The name of a redemption. It is the same for the same parts, so that an answer can be repeated.
    pub fn redemption_id(
        &self,
        tenant: &TenantName,
        caller: &str,
        jti: TokenId,
        nonce: [u8; 8],
        end: Timestamp,
    ) -> RedemptionId {
        let tenant = tenant_tag(tenant);
        let caller = self.caller_tag(tenant, caller);
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.salt));
        for part in [&tenant.0[..], &caller.0, jti.bytes(), &end.seconds().to_be_bytes(), &nonce] {
            context.update(part);
        }
        let mut seal = [0; 16];
        seal.copy_from_slice(&context.sign().as_ref()[..16]);
        RedemptionId { jti, end, nonce, seal }
    }

    /// Whether a hold is this caller's.
    pub fn is_callers(&self, tenant: &TenantName, caller: &str, tag: CallerTag) -> bool {
        self.caller_tag(tenant_tag(tenant), caller) == tag
    }

    /// Sets a verified token aside for its caller: exactly one of all who try to hold or redeem gets
    /// `Ok`.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn hold(
        &self,
        policy: &Policy,
        claims: &Claims,
        caller: &str,
        id: &RedemptionId,
        attempt: Option<Attempt>,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Written, Refusal> {
        let now = clock();
        let (tenant, jti) = (tenant_tag(&policy.tenant), claims.jti);
        let hold = Hold {
            nonce: id.nonce,
            caller: self.caller_tag(tenant, caller),
            user: self.user_tag(tenant, &claims.sub),
            iat: claims.iat,
            end: id.end,
        };
        // Whoever holds a token may commit to it for the whole time, though it expires meanwhile.
        let until = policy.remembered_until(claims.exp).max(id.end);
        let decided = self
            .check(&policy.tenant, claims, now)
            .and_then(|()| self.memory.hold((tenant, jti), Held { hold, until }, now))
            .and_then(|()| in_time(policy, claims, clock()));
        decided.inspect_err(|_| self.abandon(tenant, attempt))?;
        Ok(self.record(vec![Event::Hold { tenant, jti, hold, until, attempt }], now))
    }

    /// Spends a token that is held, and tells when that was: it may be repeated. With `supersede`, the
    /// user's other tokens are revoked.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn commit(
        &self,
        policy: &Policy,
        caller: &str,
        id: &RedemptionId,
        now: Timestamp,
    ) -> Result<(Timestamp, Written), NotHeld> {
        let (tenant, wanted) = self.meant(policy, caller, id)?;
        let Held { hold, until } = match self.memory.commit((tenant, id.jti), &wanted, now) {
            Ok(held) => held,
            Err(NotHeld::Committed { at, user }) => {
                let until = policy.cut_until(latest_expiry(policy, at));
                return Ok((at, self.raise_again(policy, (tenant, user), (at, until), now)));
            }
            Err(error) => return Err(error),
        };
        let (jti, why, attempt) = (id.jti, Why::Used, None);
        let spent = Event::Mark { tenant, jti, why, until, attempt, hold: Some(hold) };
        let mut events = vec![spent];
        if policy.supersede {
            // The user's other tokens may live longer than this one.
            let until = policy.cut_until(latest_expiry(policy, now)).max(until);
            events.push(raise(Scope::User(tenant, hold.user), now, until));
        }
        Ok((now, self.record(events, now)))
    }

    /// Gives back a token that is held.
    ///
    /// # Errors
    /// Why there was nothing to give back.
    pub fn cancel(
        &self,
        policy: &Policy,
        caller: &str,
        id: &RedemptionId,
        now: Timestamp,
    ) -> Result<Written, NotHeld> {
        let (tenant, wanted) = self.meant(policy, caller, id)?;
        let Held { hold, until } = self.memory.cancel((tenant, id.jti), &wanted, now)?;
        Ok(self.record(vec![Event::Cancel { tenant, jti: id.jti, hold, until }], now))
    }

    /// Only the caller for whom a redemption was begun can name it.
    fn meant(
        &self,
        policy: &Policy,
        caller: &str,
        id: &RedemptionId,
    ) -> Result<(TenantTag, HoldRef), NotHeld> {
        let RedemptionId { jti, end, nonce, .. } = *id;
        if self.redemption_id(&policy.tenant, caller, jti, nonce, end) != *id {
            return Err(NotHeld::Unknown);
        }
        let tenant = tenant_tag(&policy.tenant);
        Ok((tenant, HoldRef { nonce, caller: self.caller_tag(tenant, caller), end }))
    }

    fn caller_tag(&self, tenant: TenantTag, caller: &str) -> CallerTag {
        CallerTag(hash(&[&self.salt, &tenant.0, b"caller", caller.as_bytes()]))
    }
}
