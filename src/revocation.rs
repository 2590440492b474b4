//! What is spent and revoked. The one invariant: **a token that was refused here is refused until
//! nobody can accept it any more.**
//!
//! - One atomic insert-if-absent per token decides who redeems it. `entry().or_insert_with()` is
//!   atomic; `entry().or_insert()` of this cache is not, and was seen to have two winners.
//! - A mark lives until the token's `exp` plus the leeway that verification grants. Were it shorter,
//!   a spent token would come back to life.
//! - The cache has **no size bound**: a bounded one drops fresh marks. The bound is
//!   [`is_full`](Revocations::is_full), on which the service refuses to *issue*; it never forgets
//!   and never refuses to redeem or revoke.
//! - Memory forgets at a restart. So tokens issued up to the second in which this process started
//!   are refused ([`Refusal::PredatesStart`]), except those it issued itself in that second. This
//!   holds for one process per folder of keys, and for a clock that is not set back across the
//!   restart: without a disk nobody can know better.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::ops::compute::Op;
use moka::sync::Cache;
use resetd_verify::{Claims, Timestamp, TokenId};

use crate::domain::policy::{Policy, TenantName};

/// Why a token that verifies is not live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was redeemed.
    Used,
    /// It was revoked, by itself or with others.
    Revoked,
    /// It was issued before this process started, so whether it was spent is not known.
    PredatesStart,
}

/// The spent and revoked tokens of one process.
#[derive(Debug)]
pub struct Revocations {
    marks: Cache<(TenantName, TokenId), Remembered<Refusal>>,
    users: Cache<(TenantName, String), Remembered<UserCutoff>>,
    tenants: RwLock<HashMap<TenantName, Cutoff>>,
    start: RwLock<Cutoff>,
    capacity: u64,
}

/// Something kept for so long.
#[derive(Clone, Debug)]
struct Remembered<T> {
    what: T,
    life: Duration,
}

/// A user's cut-off, kept until the last token it refuses has expired.
#[derive(Clone, Debug, Default)]
struct UserCutoff {
    cutoff: Arc<Cutoff>,
    until: Timestamp,
}

/// Refuses all tokens issued up to a second. `iat` has no finer grain, so tokens that are known to
/// have been issued later in that second are exempt by name.
#[derive(Clone, Debug, Default)]
struct Cutoff {
    through: Option<Timestamp>,
    exempt: HashSet<TokenId>,
}

impl Cutoff {
    fn reaching(through: Timestamp) -> Self {
        Self { through: Some(through), exempt: HashSet::new() }
    }

    fn refuses(&self, claims: &Claims) -> bool {
        self.reaches(claims.iat) && !self.exempt.contains(&claims.jti)
    }

    fn reaches(&self, iat: Timestamp) -> bool {
        self.through.is_some_and(|through| iat <= through)
    }

    /// Lets a token pass that is issued after this cut-off was made.
    fn admit(&mut self, claims: &Claims) {
        if self.reaches(claims.iat) {
            self.exempt.insert(claims.jti);
        }
    }

    /// Lets this token alone pass, unless a later one was faster.
    fn supersede(&mut self, claims: &Claims) {
        self.raise(claims.iat);
        if self.through == Some(claims.iat) {
            self.admit(claims);
        }
    }

    /// Reaches further, never less far. All exempt tokens were issued before now, so they fall
    /// with the rest of their second.
    fn raise(&mut self, through: Timestamp) {
        if self.through.is_none_or(|reached| reached <= through) {
            *self = Self::reaching(through);
        }
    }
}

impl Revocations {
    /// Starts empty at `started`, to hold about `capacity` marks.
    pub fn new(started: Timestamp, capacity: u64) -> Self {
        Self {
            marks: Cache::builder().expire_after(ByLife).build(),
            users: Cache::builder().expire_after(ByLife).build(),
            tenants: RwLock::default(),
            start: RwLock::new(Cutoff::reaching(started)),
            capacity,
        }
    }

    /// Whether so much is remembered that no more tokens should be issued.
    pub fn is_full(&self) -> bool {
        /// The cache counts lazily; this near to the bound it is made to count.
        const SLACK: u64 = 4096;
        if self.count() + SLACK < self.capacity {
            return false;
        }
        self.tidy();
        self.count() >= self.capacity
    }

    /// Marks and cut-offs remembered; exact after [`tidy`](Self::tidy).
    pub fn count(&self) -> u64 {
        self.marks.entry_count() + self.users.entry_count()
    }

    /// Gives back the memory of what has expired, also when there is no traffic.
    pub fn tidy(&self) {
        self.marks.run_pending_tasks();
        self.users.run_pending_tasks();
    }

    /// Takes note of a token that is about to be handed out: with `supersede` it becomes the only
    /// live token of its user.
    pub fn admit(&self, policy: &Policy, claims: &Claims) {
        // Hardly ever so, and a lock for writing would have all requests wait for one another.
        if read(&self.start).reaches(claims.iat) {
            write(&self.start).admit(claims);
        }
        let reaches = |cutoff: &Cutoff| cutoff.reaches(claims.iat);
        if read(&self.tenants).get(&policy.tenant).is_some_and(reaches) {
            write(&self.tenants).entry(policy.tenant.clone()).or_default().admit(claims);
        }
        if policy.supersede {
            // Every token that this one replaces was admitted here and has its expiry in the entry,
            // so keeping that for as long as the longest of them is long enough.
            let until = claims.exp.plus(policy.leeway);
            self.change_user(policy, &claims.sub, claims.iat, Some(until), |cutoff| {
                cutoff.supersede(claims);
            });
        } else {
            self.change_user(policy, &claims.sub, claims.iat, None, |cutoff| {
                cutoff.admit(claims);
            });
        }
    }

    /// Whether a verified token is live. Changes nothing.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, tenant: &TenantName, claims: &Claims) -> Result<(), Refusal> {
        if let Some(mark) = self.marks.get(&(tenant.clone(), claims.jti)) {
            return Err(mark.what);
        }
        if read(&self.start).refuses(claims) {
            return Err(Refusal::PredatesStart);
        }
        let by_tenant =
            read(&self.tenants).get(tenant).is_some_and(|cutoff| cutoff.refuses(claims));
        let user = self.users.get(&(tenant.clone(), claims.sub.clone()));
        if by_tenant || user.is_some_and(|user| user.what.cutoff.refuses(claims)) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// Spends a verified token: exactly one of all who try gets `Ok`.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn redeem(&self, policy: &Policy, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        self.check(&policy.tenant, claims)?;
        self.mark(policy, claims, Refusal::Used, now)
    }

    /// Revokes a verified token: exactly one of all who try gets `Ok`.
    ///
    /// # Errors
    /// Why there was nothing to revoke.
    pub fn revoke(&self, policy: &Policy, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        self.check(&policy.tenant, claims)?;
        self.mark(policy, claims, Refusal::Revoked, now)
    }

    /// Revokes a token of which only the identifier is known.
    pub fn revoke_id(&self, policy: &Policy, jti: TokenId) {
        let mark = kept(Refusal::Revoked, policy.longest_acceptance());
        self.marks.entry((policy.tenant.clone(), jti)).or_insert_with(|| mark);
    }

    /// Revokes all tokens of a user issued up to and including this second.
    pub fn revoke_user(&self, policy: &Policy, username: &str, through: Timestamp, now: Timestamp) {
        let until = now.plus(policy.longest_acceptance());
        self.change_user(policy, username, now, Some(until), |cutoff| {
            cutoff.raise(through);
        });
    }

    /// Revokes the tokens that a user has besides the one just redeemed.
    pub fn revoke_siblings(&self, policy: &Policy, redeemed: &Claims, now: Timestamp) {
        let until = redeemed.exp.plus(policy.leeway);
        self.change_user(policy, &redeemed.sub, now, Some(until), |cutoff| {
            cutoff.raise(now);
        });
    }

    /// Revokes all tokens of the tenant issued up to and including this second.
    pub fn revoke_tenant(&self, policy: &Policy, through: Timestamp) {
        write(&self.tenants).entry(policy.tenant.clone()).or_default().raise(through);
    }

    fn mark(
        &self,
        policy: &Policy,
        claims: &Claims,
        why: Refusal,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let life = claims.exp.plus(policy.leeway).since(now);
        let key = (policy.tenant.clone(), claims.jti);
        let entry = self.marks.entry(key).or_insert_with(|| kept(why, life));
        if entry.is_fresh() { Ok(()) } else { Err(entry.into_value().what) }
    }

    /// Changes a user's cut-off in one step and keeps it until the later of `until` and before.
    /// Without `until`, a user who has none gets none.
    fn change_user(
        &self,
        policy: &Policy,
        username: &str,
        now: Timestamp,
        until: Option<Timestamp>,
        change: impl FnOnce(&mut Cutoff),
    ) {
        let key = (policy.tenant.clone(), username.into());
        self.users.entry(key).and_compute_with(|entry| {
            let known = entry.map(|entry| entry.into_value().what);
            if known.is_none() && until.is_none() {
                return Op::Nop;
            }
            let mut user = known.unwrap_or_default();
            change(Arc::make_mut(&mut user.cutoff));
            user.until = user.until.max(until.unwrap_or_default());
            let life = user.until.since(now);
            Op::Put(kept(user, life))
        });
    }
}

fn kept<T>(what: T, seconds: u64) -> Remembered<T> {
    Remembered { what, life: Duration::from_secs(seconds) }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Each entry brings its own life.
struct ByLife;

impl<K, T> Expiry<K, Remembered<T>> for ByLife {
    fn expire_after_create(&self, _: &K, value: &Remembered<T>, _: Instant) -> Option<Duration> {
        Some(value.life)
    }

    fn expire_after_update(
        &self,
        _: &K,
        value: &Remembered<T>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.life)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::domain::policy::Lifetime;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn policy(supersede: bool) -> Policy {
        Policy {
            tenant: TenantName::default(),
            issuer: "https://reset.example.com".into(),
            audience: "app".into(),
            lifetime: Lifetime { default: 900, min: 60, max: 86_400 },
            leeway: 5,
            supersede,
        }
    }

    fn claims(id: u128, sub: &str, iat: Timestamp) -> Claims {
        Claims {
            iss: "https://reset.example.com".into(),
            aud: vec!["app".into()],
            sub: sub.into(),
            credential_id: None,
            user_id: None,
            iat,
            exp: iat.plus(900),
            nbf: None,
            jti: TokenId::from_bytes(id.to_be_bytes()),
            status: None,
        }
    }

    fn check(revocations: &Revocations, claims: &Claims) -> Result<(), Refusal> {
        revocations.check(&TenantName::default(), claims)
    }

    #[test]
    fn eight_threads_on_the_same_hundred_thousand_tokens_have_one_winner_each() {
        const THREADS: usize = 8;
        const TOKENS: usize = 100_000;
        let revocations = Revocations::new(START, 1_000_000);
        let policy = policy(false);
        let wins: Vec<_> = (0..TOKENS).map(|_| AtomicUsize::new(0)).collect();
        let barrier = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    for (id, wins) in wins.iter().enumerate() {
                        let claims = claims(id as u128, "alice", START.plus(1));
                        if revocations.redeem(&policy, &claims, START.plus(2)).is_ok() {
                            wins.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(wins.iter().all(|wins| wins.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn nothing_is_dropped_for_size() {
        let revocations = Revocations::new(START, 100);
        let policy = policy(false);
        for id in 0..10_000 {
            let claims = claims(id, "alice", START.plus(1));
            revocations.redeem(&policy, &claims, START.plus(1)).unwrap();
        }
        revocations.tidy();
        for id in 0..10_000 {
            let claims = claims(id, "alice", START.plus(1));
            assert_eq!(check(&revocations, &claims), Err(Refusal::Used));
        }
    }

    #[test]
    fn it_says_full_at_its_capacity_and_goes_on_redeeming() {
        let revocations = Revocations::new(START, 3);
        let policy = policy(false);
        for id in 0..4 {
            assert_eq!(revocations.is_full(), id >= 3, "after {id} marks");
            let claims = claims(id, "alice", START.plus(1));
            assert_eq!(revocations.redeem(&policy, &claims, START.plus(1)), Ok(()));
        }
    }

    #[test]
    fn a_mark_lives_until_the_expiry_of_its_token_plus_the_leeway_of_verification() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(false);
        let claims = claims(1, "alice", START.plus(1));
        revocations.redeem(&policy, &claims, START.plus(2)).unwrap();
        let mark = revocations.marks.get(&(TenantName::default(), claims.jti)).unwrap();
        assert_eq!(START.plus(2).plus(mark.life.as_secs()), claims.exp.plus(policy.leeway));
    }

    #[test]
    fn a_mark_whose_life_is_over_gives_its_memory_back() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(false);
        let claims = claims(1, "alice", START.plus(1));
        // Redeemed as late as can be: the mark lives for no time at all.
        let last = claims.exp.plus(policy.leeway);
        revocations.redeem(&policy, &claims, last).unwrap();
        // The cache looks at its clock about once a second; a minute is for a machine that stalls.
        let given_back = (0..600).any(|_| {
            thread::sleep(Duration::from_millis(100));
            revocations.tidy();
            revocations.count() == 0
        });
        assert!(given_back);
    }

    #[test]
    fn tokens_issued_up_to_the_second_of_the_start_are_refused_unless_issued_here() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(false);
        let older = claims(1, "alice", START.minus(1));
        let same_second = claims(2, "alice", START);
        let fresh = claims(3, "alice", START);
        revocations.admit(&policy, &fresh);
        assert_eq!(check(&revocations, &older), Err(Refusal::PredatesStart));
        assert_eq!(check(&revocations, &same_second), Err(Refusal::PredatesStart));
        assert_eq!(revocations.redeem(&policy, &older, START), Err(Refusal::PredatesStart));
        assert_eq!(check(&revocations, &fresh), Ok(()));
        assert_eq!(check(&revocations, &claims(4, "alice", START.plus(1))), Ok(()));
    }

    #[test]
    fn a_new_token_supersedes_the_older_ones_of_its_user_also_within_one_second() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(true);
        let now = START.plus(5);
        let (first, second) = (claims(1, "alice", now), claims(2, "alice", now));
        let other = claims(3, "bob", now);
        for claims in [&first, &other, &second] {
            revocations.admit(&policy, claims);
        }
        assert_eq!(check(&revocations, &first), Err(Refusal::Revoked));
        assert_eq!(check(&revocations, &second), Ok(()));
        assert_eq!(check(&revocations, &other), Ok(()));
    }

    #[test]
    fn a_token_that_was_overtaken_while_it_was_signed_does_not_replace_the_later_one() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(true);
        let (slow, fast) = (claims(1, "alice", START.plus(5)), claims(2, "alice", START.plus(6)));
        revocations.admit(&policy, &fast);
        revocations.admit(&policy, &slow);
        assert_eq!(check(&revocations, &slow), Err(Refusal::Revoked));
        assert_eq!(check(&revocations, &fast), Ok(()));
    }

    #[test]
    fn without_supersede_a_user_may_have_several_live_tokens() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(false);
        let now = START.plus(5);
        let (first, second) = (claims(1, "alice", now), claims(2, "alice", now));
        revocations.admit(&policy, &first);
        revocations.admit(&policy, &second);
        assert_eq!(check(&revocations, &first), Ok(()));
        assert_eq!(check(&revocations, &second), Ok(()));
        assert_eq!(revocations.count(), 0);
    }

    #[test]
    fn a_users_and_a_tenants_cut_off_reach_what_was_issued_before_and_nothing_after() {
        let policy = policy(false);
        let now = START.plus(5);
        let before = claims(1, "alice", now);
        let after = claims(2, "alice", now);
        let bob = claims(3, "bob", now);
        for bobs in [Ok(()), Err(Refusal::Revoked)] {
            let revocations = Revocations::new(START, 1000);
            let revoke = || {
                if bobs.is_ok() {
                    revocations.revoke_user(&policy, "alice", now, now);
                } else {
                    revocations.revoke_tenant(&policy, now);
                }
            };
            revocations.admit(&policy, &before);
            revocations.admit(&policy, &bob);
            revoke();
            revocations.admit(&policy, &after);
            assert_eq!(check(&revocations, &before), Err(Refusal::Revoked));
            assert_eq!(check(&revocations, &after), Ok(()));
            assert_eq!(check(&revocations, &bob), bobs);
            // A second cut-off in the same second also takes what was exempt from the first.
            revoke();
            assert_eq!(check(&revocations, &after), Err(Refusal::Revoked));
        }
    }

    #[test]
    fn a_users_cut_off_is_kept_as_long_as_any_token_it_refuses_could_live_and_no_longer() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(true);
        let now = START.plus(5);
        let life = || {
            let key = (TenantName::default(), "alice".to_owned());
            revocations.users.get(&key).unwrap().life.as_secs()
        };
        let with_life = |id, seconds| Claims { exp: now.plus(seconds), ..claims(id, "alice", now) };
        revocations.admit(&policy, &with_life(1, 3600));
        assert_eq!(life(), 3600 + policy.leeway);
        // The short one replaces the long one, which must stay dead for all its life.
        revocations.admit(&policy, &with_life(2, 60));
        assert_eq!(life(), 3600 + policy.leeway);
        revocations.revoke_siblings(&policy, &with_life(2, 60), now);
        assert_eq!(life(), 3600 + policy.leeway);
        revocations.revoke_user(&policy, "alice", now, now);
        assert_eq!(life(), policy.longest_acceptance());
    }

    #[test]
    fn a_token_revoked_by_its_identifier_stays_so_for_as_long_as_any_token_can_live() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(false);
        let token = claims(1, "alice", START.plus(1));
        revocations.revoke_id(&policy, token.jti);
        let mark = revocations.marks.get(&(TenantName::default(), token.jti)).unwrap();
        assert_eq!(mark.life.as_secs(), policy.longest_acceptance());
        assert_eq!(check(&revocations, &token), Err(Refusal::Revoked));
    }

    #[test]
    fn a_cut_off_never_moves_back() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(false);
        revocations.revoke_user(&policy, "alice", START.plus(10), START.plus(10));
        revocations.revoke_user(&policy, "alice", START.plus(5), START.plus(10));
        assert_eq!(check(&revocations, &claims(1, "alice", START.plus(8))), Err(Refusal::Revoked));
    }

    #[test]
    fn what_a_token_already_is_decides_over_what_is_asked_of_it() {
        let revocations = Revocations::new(START, 1000);
        let policy = policy(false);
        let now = START.plus(5);
        let (used, revoked) = (claims(1, "alice", now), claims(2, "alice", now));
        revocations.redeem(&policy, &used, now).unwrap();
        revocations.revoke(&policy, &revoked, now).unwrap();
        revocations.revoke_id(&policy, used.jti);
        revocations.revoke_tenant(&policy, now);
        assert_eq!(revocations.revoke(&policy, &used, now), Err(Refusal::Used));
        assert_eq!(revocations.redeem(&policy, &revoked, now), Err(Refusal::Revoked));
        assert_eq!(check(&revocations, &used), Err(Refusal::Used));
    }

    #[test]
    fn tenants_do_not_spend_each_others_tokens() {
        let revocations = Revocations::new(START, 1000);
        let now = START.plus(5);
        let token = claims(1, "alice", now);
        let other = Policy { tenant: TenantName::parse("other").unwrap(), ..policy(false) };
        assert_eq!(revocations.redeem(&policy(false), &token, now), Ok(()));
        assert_eq!(revocations.redeem(&other, &token, now), Ok(()));
    }
}
