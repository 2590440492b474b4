//! The service: its tenants side by side, and what they share. Each operation on tokens is one
//! tenant's, in `service/tenant.rs`.

mod announce;
mod answers;
mod bearers;
pub mod error;
mod keys;
mod tenant;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use resetd_verify::{MAX_LEEWAY, Timestamp};

use crate::clock::Clock;
use crate::domain::caller::{API_KEY_PREFIX, Caller, Callers, NoCaller};
use crate::domain::keyring::Keyring;
use crate::domain::policy::{Policy, TenantName};
use crate::journal::{Health, Unwritten};
use crate::outbox::Outbox;
use crate::random::Random;
use crate::revocation::{Past, Revocations};
use crate::webhook::Endpoint;

pub use crate::revocation::RedemptionId;
pub use announce::facts;
pub use bearers::Bearer;
pub use error::{Error, TokenError};
pub use tenant::{
    Applied, DeliveryRequest, Jwks, Phase, Prepared, Presented, Promised, RedeemRequest,
    Redemption, Reuse, Revocation, Sending, Tenant, Unsent, Users,
};

use answers::{Answers, Held};
use keys::KeysInUse;

/// Issues, checks, redeems and revokes reset tokens of its tenants. Cheap to clone; all clones are one
/// service.
#[derive(Clone, Debug)]
pub struct ResetService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenants: BTreeMap<TenantName, Tenant>,
    callers: ArcSwap<Callers>,
    bearers: Vec<Arc<Bearer>>,
    shared: Arc<Shared>,
}

/// What all tenants have in common. Nothing in it tells one from the other: marks are kept by tenant.
#[derive(Debug)]
struct Shared {
    base_url: String,
    revocations: Revocations,
    outbox: Outbox,
    endpoints: Vec<Endpoint>,
    held: Held,
    answers: Answers,
    clock: Arc<dyn Clock>,
    random: Random,
    jwks_max_age: u64,
}

/// What a service is made of; only `serve` and tests make one.
#[derive(Debug)]
pub struct Parts {
    /// The tenants, the default one first: its issuer is the URL of the whole.
    pub tenants: Vec<TenantParts>,
    /// Who may call.
    pub callers: Callers,
    /// Identity providers whose clients may call.
    pub bearers: Vec<Arc<Bearer>>,
    /// What is spent and revoked.
    pub revocations: Revocations,
    /// What is to be sent.
    pub outbox: Outbox,
    /// Services that are told of what happens.
    pub endpoints: Vec<Endpoint>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Longest time in seconds that verifiers may keep the key set.
    pub jwks_max_age: u64,
}

/// How much is remembered of spent, revoked and replaced tokens.
#[derive(Clone, Copy, Debug)]
pub struct Remembered {
    /// Marks and cut-offs.
    pub count: u64,
    /// At so many no more tokens are issued.
    pub capacity: u64,
    /// Whether what is decided can be made to last.
    pub journal: Health,
}

/// What one tenant is made of.
#[derive(Debug)]
pub struct TenantParts {
    /// The rules.
    pub policy: Policy,
    /// The keys at the start.
    pub keys: KeysOf,
    /// How links go to users.
    pub sending: Sending,
}

/// Whose keys a tenant signs with.
#[derive(Debug)]
pub enum KeysOf {
    /// Its own: these.
    Itself(Keyring),
    /// Those of the default tenant, at every moment.
    Default,
}

impl ResetService {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`Error::Keys`] when the keys of a tenant contradict each other, [`Error::NoActiveKey`] when a
    /// tenant shares those of a default one that does not come before it.
    pub fn new(parts: Parts) -> Result<Self, Error> {
        let (first, now) = (parts.tenants.first(), parts.clock.now());
        let shared = Arc::new(Shared {
            base_url: first.map(|tenant| tenant.policy.issuer.clone()).unwrap_or_default(),
            revocations: parts.revocations,
            outbox: parts.outbox,
            endpoints: parts.endpoints,
            held: Held::new(),
            answers: Answers::new(),
            clock: parts.clock,
            random: Random::new(),
            jwks_max_age: parts.jwks_max_age,
        });
        let mut tenants: BTreeMap<TenantName, Tenant> = BTreeMap::new();
        for TenantParts { policy, keys, sending } in parts.tenants {
            let name = policy.tenant.clone();
            let keys = match keys {
                KeysOf::Itself(keyring) => Arc::new(KeysInUse::new(name.clone(), keyring, now)?),
                KeysOf::Default => {
                    let tenant = TenantName::default();
                    let default = tenants.get(&tenant).map(Tenant::keys_in_use);
                    default.ok_or(Error::NoActiveKey { tenant })?
                }
            };
            tenants.insert(name, Tenant::new(policy, sending, keys, Arc::clone(&shared)));
        }
        let callers = ArcSwap::from_pointee(parts.callers);
        let bearers = parts.bearers;
        Ok(Self(Arc::new(Inner { tenants, callers, bearers, shared })))
    }

    /// Who calls, by API key or by access token, and the tenant they act for. The caller of a tenant that is not there is nobody.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub fn authenticate(
        &self,
        credential: &str,
        source: Option<IpAddr>,
    ) -> Result<(Arc<Caller>, Tenant), Error> {
        let now = self.0.shared.clock.now();
        let caller = if credential.starts_with(API_KEY_PREFIX) || self.0.bearers.is_empty() {
            self.0.callers.load().authenticate(credential, source, now)?
        } else {
            let caller = bearers::authenticate(&self.0.bearers, credential, now)?;
            if !caller.may_call_from(source) {
                let name = caller.name.clone();
                return Err(NoCaller::WrongNetwork { name, address: source }.into());
            }
            caller
        };
        let tenant = self.tenant(&caller.tenant).ok_or(NoCaller::Unknown)?.clone();
        Ok((caller, tenant))
    }

    /// The caller of this name, and its tenant: for a dialect that is set to act as one.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub fn caller_named(
        &self,
        name: &str,
        source: Option<IpAddr>,
    ) -> Result<(Arc<Caller>, Tenant), Error> {
        let caller = self.callers().named(name, source)?;
        let tenant = self.tenant(&caller.tenant).ok_or(NoCaller::Unknown)?.clone();
        Ok((caller, tenant))
    }

    /// Whether clients of an identity provider may call.
    pub fn has_bearers(&self) -> bool {
        !self.0.bearers.is_empty()
    }

    /// Who may call now.
    pub fn callers(&self) -> Arc<Callers> {
        self.0.callers.load_full()
    }

    /// Who may call from now on; requests under way go on.
    pub fn replace_callers(&self, callers: Callers) {
        callers.remember(&self.0.callers.load());
        self.0.callers.store(Arc::new(callers));
    }

    /// The tenant that a token is of, as far as its signature and issuer say. All who share keys think
    /// the same of a signature, so it is verified once for them, however many they are.
    pub fn tenant_of(&self, token: &str) -> Option<&Tenant> {
        self.tenants().filter(|tenant| !tenant.shares_keys()).find_map(|owner| {
            let issuer = owner.issuer_in(token)?;
            self.tenants().find(|tenant| {
                tenant.policy().issuer == issuer && tenant.keys_owner() == owner.keys_owner()
            })
        })
    }

    /// The tenant of this name, if there is one.
    pub fn tenant(&self, name: &TenantName) -> Option<&Tenant> {
        self.0.tenants.get(name)
    }

    /// All tenants, in the order of their names.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.0.tenants.values()
    }

    /// Whether tokens can be issued and redeemed for every tenant, and are good elsewhere.
    ///
    /// # Errors
    /// What stands in the way: [`Error::ClockBehind`], [`Error::Unwritten`], [`Error::NoActiveKey`],
    /// [`Error::Keys`].
    pub fn readiness(&self) -> Result<(), Error> {
        match self.0.shared.revocations.health() {
            Health::Well => {}
            Health::Full => return Err(Unwritten::Full.into()),
            Health::Failed => return Err(Unwritten::Failed.into()),
        }
        let lag = self.clock_lag();
        if lag > MAX_LEEWAY {
            return Err(Error::ClockBehind { lag });
        }
        self.tenants().try_for_each(|tenant| tenant.active_key().map(drop))
    }

    /// What is known of the time before the start.
    pub fn past(&self) -> Past {
        self.0.shared.revocations.past()
    }

    /// How much of what may be remembered is.
    pub fn remembered(&self) -> Remembered {
        let Shared { revocations, answers, .. } = &*self.0.shared;
        let count = revocations.count() + answers.count();
        let capacity = revocations.capacity();
        Remembered { count, capacity, journal: revocations.health() }
    }

    /// What is to be sent.
    pub fn outbox(&self) -> &Outbox {
        &self.0.shared.outbox
    }

    /// The time, as all of this goes by.
    pub fn now(&self) -> Timestamp {
        self.0.shared.clock.now()
    }

    /// Gives back the memory and the disk of what has expired.
    pub fn tidy(&self) {
        self.0.shared.answers.tidy();
        self.0.shared.held.tidy();
        self.0.shared.revocations.tidy(self.0.shared.clock.now());
    }

    /// Writes down that time went on, so that it does not go back behind this after a restart.
    pub fn tick(&self) {
        self.0.shared.revocations.tick(self.0.shared.clock.now());
    }

    /// Seconds by which the machine's clock was set back; while it lags, time goes on from where it
    /// was.
    pub fn clock_lag(&self) -> u64 {
        self.0.shared.clock.lag()
    }
}
