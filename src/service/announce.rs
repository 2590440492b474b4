//! Telling others what happened: services by their webhooks, users by mail. Nobody waits for it; it goes by
//! way of the outbox.

use resetd_verify::{Claims, Timestamp, TokenId};

use super::Shared;
use super::tenant::Tenant;
use crate::domain::identifier::{CredentialId, UserId, Username};
use crate::domain::order::{Body, Errand, Order};
use crate::domain::policy::TenantName;
use crate::webhook::{Event, Revoked, TokenFacts, What};

/// For so many seconds it is tried to tell of something that happened: a day.
const NEWS_LIFE: u64 = 86_400;

impl Shared {
    /// Tells every webhook of the tenant that wants to know.
    fn announce(&self, tenant: &TenantName, what: What) {
        let now = self.clock.now();
        let event = Event { at: now, tenant: tenant.clone(), what };
        let kind = event.kind();
        let mut endpoints = self.endpoints.iter().filter(|it| it.wants(kind, tenant)).peekable();
        if endpoints.peek().is_none() {
            return;
        }
        let body = event.to_body().ok().and_then(|body| String::from_utf8(body).ok());
        let Some(body) = body else {
            tracing::error!(
                kind = kind.type_name(),
                "an event cannot be written, so nobody is told"
            );
            return;
        };
        for endpoint in endpoints {
            let (endpoint, body) = (endpoint.name().to_owned(), Body(body.clone()));
            self.offer(tenant, now, Errand::Event { endpoint, body });
        }
    }

    fn offer(&self, tenant: &TenantName, now: Timestamp, errand: Errand) {
        let Ok(id) = self.random.token_id() else {
            tracing::error!("there are no random bytes, so nobody is told of what happened");
            return;
        };
        let (tenant, until) = (tenant.clone(), now.plus(NEWS_LIFE));
        self.outbox.offer(Order { id, tenant, accepted: now, until, errand });
    }
}

impl Tenant {
    /// A token was signed.
    pub fn announce_issued(&self, claims: &Claims, caller: &str) {
        let caller = caller.into();
        self.announce_of(claims, |token| What::Issued { token, caller });
    }

    /// A token was spent: services are told, and its user.
    pub(super) fn announce_redeemed(&self, claims: &Claims, caller: &str) {
        let (shared, sending) = (self.shared(), self.sending());
        let caller = caller.into();
        self.announce_of(claims, |token| What::Redeemed { token, caller });
        if sending.has_notices
            && let Some(username) = Username::parse(&claims.sub)
        {
            let now = shared.clock.now();
            shared.offer(&self.policy().tenant, now, Errand::Notice { username });
        }
    }

    /// A token was spent of which no more is known than its identifier: services are told.
    pub(super) fn announce_committed(&self, id: TokenId, caller: &str) {
        self.announce(What::Committed { id, caller: caller.into() });
    }

    /// A live token was revoked.
    pub(super) fn announce_revoked_token(&self, claims: &Claims, caller: Option<&str>) {
        let caller = caller.map(Into::into);
        self.announce_of(claims, |token| What::Revoked { revoked: Revoked::Token(token), caller });
    }

    /// Tokens were revoked that were not shown.
    pub(super) fn announce_revoked(&self, revoked: Revoked, caller: Option<&str>) {
        let caller = caller.map(Into::into);
        self.announce(What::Revoked { revoked, caller });
    }

    /// Tells of something else.
    pub fn announce(&self, what: What) {
        self.shared().announce(&self.policy().tenant, what);
    }

    /// Tells of something about one token.
    pub fn announce_of(&self, claims: &Claims, what: impl FnOnce(TokenFacts) -> What) {
        // Whoever signed the token had a username.
        if let Some(token) = facts(claims) {
            self.announce(what(token));
        }
    }
}

/// What may be told of a token.
pub fn facts(claims: &Claims) -> Option<TokenFacts> {
    Some(TokenFacts {
        id: claims.jti,
        username: Username::parse(&claims.sub)?,
        credential_id: claims.credential_id.as_deref().and_then(CredentialId::parse),
        user_id: claims.user_id.as_deref().and_then(UserId::parse),
        expires: claims.exp,
    })
}
