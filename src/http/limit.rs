//! How often something may be done: by one address, by one caller, for one user. An answer says how much
//! is left (draft-ietf-httpapi-ratelimit-headers).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use ipnet::IpNet;

use super::problem::{Problem, ProblemKind};
use super::source::Source;
use crate::domain::policy::TenantName;

/// How often something may be asked, and who is believed about where a request came from.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Requests by one address, per minute.
    pub source_per_minute: Option<NonZeroU32>,
    /// What holds for a tenant that is not named below.
    pub all: TenantRates,
    /// What holds for each of these instead.
    pub tenants: BTreeMap<TenantName, TenantRates>,
    /// Revocations by one address that has a token and no key, per minute.
    pub holder_revocations_per_minute: NonZeroU32,
    /// Proxies whose word on where a request came from is taken.
    pub trusted_proxies: Vec<IpNet>,
}

/// How often something may be asked of one tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantRates {
    /// Requests by one caller, per minute.
    pub caller_per_minute: Option<NonZeroU32>,
    /// Tokens issued for one user, per hour.
    pub user_tokens_per_hour: Option<NonZeroU32>,
}

/// Where everybody is counted. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Gate(Arc<ArcSwap<Rules>>);

/// The counts of one configuration.
#[derive(Debug)]
pub(super) struct Rules {
    source: Option<Arc<Rate>>,
    all: TenantRules,
    tenants: BTreeMap<TenantName, TenantRules>,
    holder: Arc<Rate>,
    pub(super) trusted_proxies: Vec<IpNet>,
}

/// The counts of one tenant. Tenants with the same rate are counted in one place, each by its name.
#[derive(Clone, Debug)]
struct TenantRules {
    caller: Option<Arc<Rate>>,
    user: Option<Arc<Rate>>,
}

impl Gate {
    /// Begins to count.
    pub fn new(rates: Rates) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Rules::new(rates, None))))
    }

    /// Goes on with other rates. Where a rate is another one, earlier requests are not counted any more.
    pub fn replace(&self, rates: Rates) {
        let before = self.0.load_full();
        self.0.store(Arc::new(Rules::new(rates, Some(&before))));
    }

    /// Whether a connection from there is one of a trusted proxy.
    pub fn trusts(&self, source: Source) -> bool {
        let address = source.0.to_canonical();
        self.rules().trusted_proxies.iter().any(|network| network.contains(&address))
    }

    pub(super) fn rules(&self) -> Guard<Arc<Rules>> {
        self.0.load()
    }
}

impl Rules {
    fn new(rates: Rates, before: Option<&Self>) -> Self {
        let mut known: Vec<_> = before.into_iter().flat_map(Self::counts).collect();
        let mut rate = |name, quota: Quota, window| {
            let is_it = |rate: &&Arc<Rate>| rate.name == name && rate.quota == quota;
            if let Some(rate) = known.iter().find(is_it) {
                return Arc::clone(rate);
            }
            let rate = Arc::new(Rate::new(name, quota, window));
            known.push(Arc::clone(&rate));
            rate
        };
        let mut minute = |name, per_minute| rate(name, Quota::per_minute(per_minute), 60);
        let source = rates.source_per_minute.map(|per_minute| minute("source", per_minute));
        let holder = minute("holder", rates.holder_revocations_per_minute);
        let mut of_tenant = |rates: TenantRates| TenantRules {
            caller: rates
                .caller_per_minute
                .map(|per_minute| rate("caller", Quota::per_minute(per_minute), 60)),
            user: rates
                .user_tokens_per_hour
                .map(|per_hour| rate("user", Quota::per_hour(per_hour), 3600)),
        };
        let all = of_tenant(rates.all);
        let tenants = rates.tenants.into_iter().map(|(name, rates)| (name, of_tenant(rates)));
        let tenants = tenants.collect();
        Self { source, all, tenants, holder, trusted_proxies: rates.trusted_proxies }
    }

    fn counts(&self) -> impl Iterator<Item = Arc<Rate>> {
        let tenants = [&self.all].into_iter().chain(self.tenants.values());
        let of_tenants = tenants.flat_map(|rules| [&rules.caller, &rules.user]);
        of_tenants.chain([&self.source]).flatten().chain([&self.holder]).cloned()
    }

    fn of(&self, tenant: &TenantName) -> &TenantRules {
        self.tenants.get(tenant).unwrap_or(&self.all)
    }

    /// A request from an address, whatever it asks for.
    pub(super) fn admit_source(&self, source: Option<Source>) -> Result<(), Problem> {
        self.source.as_ref().map_or(Ok(()), |rate| rate.admit(&household(source)))
    }

    /// A request by a caller.
    pub(super) fn admit_caller(&self, tenant: &TenantName, caller: &str) -> Result<(), Problem> {
        let rate = self.of(tenant).caller.as_ref();
        rate.map_or(Ok(()), |rate| rate.admit(&(tenant, caller)))
    }

    /// A token for a user. Whether there is such a user plays no part.
    pub(super) fn admit_user(&self, tenant: &TenantName, username: &str) -> Result<(), Problem> {
        let rate = self.of(tenant).user.as_ref();
        rate.map_or(Ok(()), |rate| rate.admit(&(tenant, mailbox(username))))
    }

    /// The same, without the answer telling of it.
    pub(super) fn admits_user_unseen(&self, tenant: &TenantName, username: &str) -> bool {
        let rate = self.of(tenant).user.as_ref();
        rate.is_none_or(|rate| rate.admits(&(tenant, mailbox(username))))
    }

    /// A token by whoever has no key, and that can not be killed any more, or never could.
    pub(super) fn admit_holder(&self, source: Option<Source>) -> Result<(), Problem> {
        self.admit_source(source)?;
        self.admit_stranger(source)
    }

    /// The same, where the request was counted for its address already.
    pub(super) fn admit_stranger(&self, source: Option<Source>) -> Result<(), Problem> {
        self.holder.admit(&household(source))
    }
}

/// Lets through what an address may ask.
pub(super) async fn per_source(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let source = request.extensions().get::<Source>().copied();
    match gate.rules().admit_source(source) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Many directories take a name in any case, so all of them count as one.
fn mailbox(username: &str) -> String {
    username.to_lowercase()
}

fn household(source: Option<Source>) -> IpAddr {
    source.unwrap_or(Source::UNKNOWN).household()
}

/// So many counts are kept. Whoever is counted has one of them by a keyed hash: a flood of names fills
/// no memory and makes nobody else's count forgotten. Two that share one share what they may do.
const CELLS: u64 = 1 << 18;

type Limiter = RateLimiter<u64, Cells, DefaultClock, StateInformationMiddleware>;

/// One count for each cell, without a lock.
struct Cells(Box<[InMemoryState]>);

impl Cells {
    fn new() -> Self {
        Self((0..CELLS).map(|_| InMemoryState::default()).collect())
    }
}

impl StateStore for Cells {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, cell: &u64, count: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let cell = usize::try_from(cell % CELLS).unwrap_or_default();
        self.0[cell].measure_and_replace(&NotKeyed::NonKey, count)
    }
}

/// So often each of many may do something.
struct Rate {
    name: &'static str,
    quota: Quota,
    window: u64,
    limiter: Limiter,
    hasher: RandomState,
    clock: DefaultClock,
}

impl fmt::Debug for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Rate({} {} in {} s)", self.name, self.quota.burst_size(), self.window)
    }
}

impl Rate {
    fn new(name: &'static str, quota: Quota, window: u64) -> Self {
        let (hasher, clock) = (RandomState::new(), DefaultClock::default());
        let limiter = Limiter::new(quota, Cells::new(), clock.clone());
        Self { name, quota, window, limiter, hasher, clock }
    }

    /// Counts one more, unless it was too often.
    fn admit(&self, who: &impl Hash) -> Result<(), Problem> {
        let cell = self.hasher.hash_one(who);
        match self.limiter.check_key(&cell) {
            Ok(snapshot) => {
                self.note(snapshot.remaining_burst_capacity(), 0);
                Ok(())
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now()).as_secs() + 1;
                self.note(0, wait);
                Err(Problem::new(ProblemKind::RateLimited).retry_after(wait))
            }
        }
    }

    fn admits(&self, who: &impl Hash) -> bool {
        self.limiter.check_key(&self.hasher.hash_one(who)).is_ok()
    }

    /// Has the answer tell how much is left, and how long it takes until there is more.
    fn note(&self, left: u32, wait: u64) {
        let one_more = self.quota.replenish_interval().as_secs() + 1;
        let wait = if wait > 0 { wait } else { one_more };
        let (name, quota, window) = (self.name, self.quota.burst_size(), self.window);
        let told = Told {
            policy: format!("\"{name}\";q={quota};w={window}"),
            state: format!("\"{name}\";r={left};t={wait}"),
            quota: quota.get(),
            left,
        };
        let _ = TOLD.try_with(|all| all.borrow_mut().push(told));
    }
}

/// What an answer tells of one rate.
pub(super) struct Told {
    policy: String,
    state: String,
    quota: u32,
    left: u32,
}

tokio::task_local! {
    /// What was counted for the request that this task answers.
    pub(super) static TOLD: RefCell<Vec<Told>>;
}

/// Of all that was counted so far for this request, how often it may be done and how much of that is left, where
/// the least is.
pub(super) fn scarcest() -> Option<(u32, u32)> {
    let scarcest = TOLD.try_with(|told| {
        let told = told.borrow();
        told.iter().min_by_key(|told| told.left).map(|told| (told.quota, told.left))
    });
    scarcest.ok().flatten()
}

/// The headers of all that was counted.
pub(super) fn add_headers(headers: &mut HeaderMap) {
    let _ = TOLD.try_with(|told| {
        let told = told.borrow();
        let join = |part: fn(&Told) -> &str| told.iter().map(part).collect::<Vec<_>>().join(", ");
        for (name, text) in [
            ("ratelimit-policy", join(|told| &told.policy)),
            ("ratelimit", join(|told| &told.state)),
        ] {
            if let Some(value) = HeaderValue::from_str(&text).ok().filter(|it| !it.is_empty()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_minute: u32) -> Rate {
        Rate::new("test", Quota::per_minute(per_minute.try_into().unwrap()), 60)
    }

    #[test]
    fn each_household_has_its_own_count() {
        let rate = rate(2);
        let source = |text: &str| household(Some(Source(text.parse().unwrap())));
        for household in [
            ["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"],
            ["192.0.2.2", "192.0.2.2", "192.0.2.2"],
            ["2001:db8::1", "2001:db8::2", "2001:db8::ffff"],
            ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1::3"],
        ] {
            let admitted = household.map(|text| rate.admit(&source(text)).is_ok());
            assert_eq!(admitted, [true, true, false], "{household:?}");
        }
    }

    #[test]
    fn a_flood_of_names_frees_nobody() {
        let rate = rate(1);
        assert!(rate.admit(&"victim").is_ok());
        for name in 0..2 * CELLS {
            let _ = rate.admit(&name);
        }
        assert!(rate.admit(&"victim").is_err());
    }
}
