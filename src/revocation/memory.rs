//! What is spent and revoked, in memory.
//!
//! - One atomic insert-if-absent per token decides who redeems it. `entry().or_insert_with()` is
//!   atomic; `entry().or_insert()` of this cache is not, and was seen to have two winners.
//! - A mark lives until the token's `exp` plus the leeway that verification grants. Were it shorter,
//!   a spent token would come back to life.
//! - The cache has **no size bound**: a bounded one drops fresh marks. The bound is
//!   [`is_full`](Memory::is_full), on which the service refuses to *issue*; it never forgets and never
//!   refuses to redeem or revoke.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::ops::compute::Op;
use moka::sync::Cache;
use resetd_verify::{Claims, Timestamp, TokenId};

use crate::journal::{Attempt, Change, Event, Scope, Sink, TenantTag, UserTag, Why};

/// Why a token that verifies is not live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was redeemed.
    Used,
    /// It was revoked, by itself or with others.
    Revoked,
    /// It was issued before the time from which on it is known what was spent.
    PredatesStart,
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        match why {
            Why::Used => Self::Used,
            Why::Revoked => Self::Revoked,
        }
    }
}

/// The marks and cut-offs of one process.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) marks: Cache<(TenantTag, TokenId), Remembered<Why>>,
    pub(super) users: Cache<(TenantTag, UserTag), Remembered<UserCutoff>>,
    /// The marks of earlier processes. Read back into the cache they would take seconds for a million;
    /// here they only leave, when they are over.
    recovered: RwLock<HashMap<(TenantTag, TokenId), (Why, Timestamp)>>,
    /// Tries that may be repeated: their body, and when they succeeded, if they have.
    attempts: Cache<AttemptKey, Remembered<Attempted>>,
    recovered_attempts: RwLock<HashMap<AttemptKey, Attempted>>,
    /// The hour in which those that are over were last let go.
    purged: AtomicU64,
    tenants: RwLock<HashMap<TenantTag, Cutoff>>,
    start: RwLock<Cutoff>,
    capacity: u64,
}

type AttemptKey = (TenantTag, [u8; 16]);

/// What became of a try.
#[derive(Clone, Copy, Debug)]
struct Attempted {
    body: [u8; 8],
    done: Option<Timestamp>,
    /// Until its token could live: so long it can be repeated.
    until: Timestamp,
}

/// What is known of a try that comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// The same succeeded then.
    Done(Timestamp),
    /// The same is under way.
    Running,
    /// Its key was used with another body.
    Other,
}

/// Something kept for so long.
#[derive(Clone, Debug)]
pub(super) struct Remembered<T> {
    what: T,
    pub(super) life: Duration,
}

/// A user's cut-off, kept until the last token it refuses has expired.
#[derive(Clone, Debug, Default)]
pub(super) struct UserCutoff {
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

    fn apply(&mut self, change: Change) {
        match change {
            Change::Raise(through) => self.raise(through),
            // This one alone, unless a later one was faster.
            Change::Supersede(iat, jti) => {
                self.raise(iat);
                if self.through == Some(iat) {
                    self.exempt.insert(jti);
                }
            }
            Change::Admit(iat, jti) => {
                if self.reaches(iat) {
                    self.exempt.insert(jti);
                }
            }
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

impl Memory {
    /// Starts empty, to hold about `capacity` marks.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            marks: Cache::builder().expire_after(ByLife).build(),
            users: Cache::builder().expire_after(ByLife).build(),
            recovered: RwLock::default(),
            attempts: Cache::builder().expire_after(ByLife).build(),
            recovered_attempts: RwLock::default(),
            purged: AtomicU64::default(),
            tenants: RwLock::default(),
            start: RwLock::default(),
            capacity,
        }
    }

    /// Takes in what a journal holds, in its order.
    pub(super) fn recover(&self, events: &[(Event, Timestamp)], now: Timestamp) {
        let mut recovered = write(&self.recovered);
        let mut attempts = write(&self.recovered_attempts);
        recovered.reserve(events.len());
        for (event, at) in events {
            match *event {
                Event::Mark { tenant, jti, why, until, attempt } => {
                    recovered.entry((tenant, jti)).or_insert((why, until));
                    if let Some(Attempt { key, body }) = attempt {
                        let attempted = Attempted { body, done: Some(*at), until };
                        attempts.insert((tenant, key), attempted);
                    }
                }
                Event::Cutoff { .. } | Event::Tick => self.apply(event, now),
            }
        }
    }

    pub(super) fn is_full(&self, now: Timestamp) -> bool {
        /// The cache counts lazily; this near to the bound it is made to count.
        const SLACK: u64 = 4096;
        if self.count() + SLACK < self.capacity {
            return false;
        }
        self.tidy(now);
        self.count() >= self.capacity
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn count(&self) -> u64 {
        let recovered = read(&self.recovered).len() as u64;
        self.marks.entry_count() + self.users.entry_count() + recovered
    }

    pub(super) fn tidy(&self, now: Timestamp) {
        self.marks.run_pending_tasks();
        self.users.run_pending_tasks();
        // It takes all of them a while, so not more often than it is worth.
        let hour = now.seconds() / 3600;
        if self.purged.swap(hour, Ordering::Relaxed) != hour {
            write(&self.recovered).retain(|_, (_, until)| *until > now);
            write(&self.recovered_attempts).retain(|_, attempted| attempted.until > now);
        }
    }

    /// What an earlier process, or this one, said of a token.
    fn mark_of(&self, key: &(TenantTag, TokenId)) -> Option<Why> {
        let recovered = read(&self.recovered).get(key).map(|(why, _)| *why);
        recovered.or_else(|| self.marks.get(key).map(|mark| mark.what))
    }

    /// Whether a token is live. Changes nothing.
    pub(super) fn check(
        &self,
        tenant: TenantTag,
        user: UserTag,
        claims: &Claims,
    ) -> Result<(), Refusal> {
        if let Some(why) = self.mark_of(&(tenant, claims.jti)) {
            return Err(why.into());
        }
        if read(&self.start).refuses(claims) {
            return Err(Refusal::PredatesStart);
        }
        let by_tenant =
            read(&self.tenants).get(&tenant).is_some_and(|cutoff| cutoff.refuses(claims));
        let user = self.users.get(&(tenant, user));
        if by_tenant || user.is_some_and(|user| user.what.cutoff.refuses(claims)) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// Marks a token as dead: exactly one of all who try gets `Ok`.
    pub(super) fn reserve(
        &self,
        tenant: TenantTag,
        jti: TokenId,
        why: Why,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if let Some((earlier, _)) = read(&self.recovered).get(&(tenant, jti)) {
            return Err((*earlier).into());
        }
        let mark = kept(why, until.since(now));
        let entry = self.marks.entry((tenant, jti)).or_insert_with(|| mark);
        if entry.is_fresh() { Ok(()) } else { Err(entry.into_value().what.into()) }
    }

    /// What is known of a try.
    pub(super) fn earlier(
        &self,
        tenant: TenantTag,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Option<Earlier> {
        let key = (tenant, attempt.key);
        let recovered = read(&self.recovered_attempts).get(&key).copied();
        let known = recovered.or_else(|| self.attempts.get(&key).map(|known| known.what));
        let known = known.filter(|known| known.until > now)?;
        Some(match known {
            Attempted { body, .. } if body != attempt.body => Earlier::Other,
            Attempted { done: Some(at), .. } => Earlier::Done(at),
            Attempted { done: None, .. } => Earlier::Running,
        })
    }

    /// Begins a try: exactly one of all with this key gets `true`.
    pub(super) fn begin(
        &self,
        tenant: TenantTag,
        attempt: &Attempt,
        until: Timestamp,
        now: Timestamp,
    ) -> bool {
        let begun = Attempted { body: attempt.body, done: None, until };
        let begun = kept(begun, until.since(now));
        self.attempts.entry((tenant, attempt.key)).or_insert_with(|| begun).is_fresh()
    }

    /// A try came to nothing, so that its key is free again.
    pub(super) fn abandon(&self, tenant: TenantTag, attempt: &Attempt) {
        self.attempts.invalidate(&(tenant, attempt.key));
    }

    /// A try succeeded.
    pub(super) fn finish(
        &self,
        tenant: TenantTag,
        attempt: &Attempt,
        until: Timestamp,
        at: Timestamp,
    ) {
        let done = Attempted { body: attempt.body, done: Some(at), until };
        self.attempts.insert((tenant, attempt.key), kept(done, until.since(at)));
    }

    /// Whether a cut-off reaches a token issued at this second.
    pub(super) fn reaches(&self, scope: Scope, iat: Timestamp) -> bool {
        match scope {
            Scope::Everything => read(&self.start).reaches(iat),
            Scope::Tenant(tenant) => {
                read(&self.tenants).get(&tenant).is_some_and(|cutoff| cutoff.reaches(iat))
            }
            Scope::User(tenant, user) => {
                let user = self.users.get(&(tenant, user));
                user.is_some_and(|user| user.what.cutoff.reaches(iat))
            }
        }
    }

    /// Takes in what happened.
    pub(super) fn apply(&self, event: &Event, now: Timestamp) {
        match *event {
            Event::Mark { tenant, jti, why, until, .. } => {
                let _ = self.reserve(tenant, jti, why, until, now);
            }
            Event::Cutoff { scope, change, until } => match scope {
                Scope::Everything => write(&self.start).apply(change),
                Scope::Tenant(tenant) => {
                    write(&self.tenants).entry(tenant).or_default().apply(change);
                }
                Scope::User(tenant, user) => self.change_user((tenant, user), change, until, now),
            },
            Event::Tick => {}
        }
    }

    /// Changes a user's cut-off in one step and keeps it until the later of `until` and before.
    fn change_user(
        &self,
        user: (TenantTag, UserTag),
        change: Change,
        until: Timestamp,
        now: Timestamp,
    ) {
        self.users.entry(user).and_compute_with(|entry| {
            let mut user = entry.map(|entry| entry.into_value().what).unwrap_or_default();
            Arc::make_mut(&mut user.cutoff).apply(change);
            user.until = user.until.max(until);
            let life = user.until.since(now);
            Op::<Remembered<UserCutoff>>::Put(kept(user, life))
        });
    }
}

impl Sink for Memory {
    fn written(&self, event: &Event, at: Timestamp) {
        match *event {
            Event::Cutoff { .. } => self.apply(event, at),
            // The mark was taken before it was written.
            Event::Mark { tenant, until, attempt: Some(attempt), .. } => {
                self.finish(tenant, &attempt, until, at);
            }
            Event::Mark { attempt: None, .. } | Event::Tick => {}
        }
    }

    fn given_up(&self, event: &Event) {
        if let Event::Mark { tenant, jti, attempt, .. } = *event {
            self.marks.invalidate(&(tenant, jti));
            attempt.inspect(|attempt| self.abandon(tenant, attempt));
        }
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
