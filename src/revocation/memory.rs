//! What is spent and revoked, in memory.
//!
//! - One atomic step per token decides who redeems, holds, commits, cancels or revokes it
//!   (`mark.rs` says which may). `entry().and_compute_with()` is atomic; `entry().or_insert()` of this
//!   cache is not, and was seen to have two winners.
//! - A mark lives until the token's `exp` plus the longest leeway that verification could grant. Were it
//!   shorter, a spent token would come back to life.
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

use super::mark::{Held, HoldRef, Mark, NotHeld, Refusal};
use crate::journal::{Attempt, Change, Event, Hold, Scope, Sink, TenantTag, UserTag};

/// A token of a tenant.
pub(super) type Token = (TenantTag, TokenId);

/// The marks and cut-offs of one process.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) marks: Cache<Token, Remembered<Mark>>,
    pub(super) users: Cache<(TenantTag, UserTag), Remembered<UserCutoff>>,
    /// The marks of earlier processes that nothing takes away. Read back into the cache they would take
    /// seconds for a million; here they only leave, when they are over.
    recovered: RwLock<HashMap<Token, (Mark, Timestamp)>>,
    /// Tries that may be repeated: their body, and when they succeeded, if they have.
    attempts: Cache<AttemptKey, Remembered<Attempted>>,
    recovered_attempts: RwLock<HashMap<AttemptKey, Attempted>>,
    /// The hour in which those that are over were last let go.
    purged: AtomicU64,
    /// How often a step of a token was taken back.
    undone: AtomicU64,
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

    fn refuses(&self, iat: Timestamp, jti: TokenId) -> bool {
        self.reaches(iat) && !self.exempt.contains(&jti)
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
            undone: AtomicU64::default(),
            tenants: RwLock::default(),
            start: RwLock::default(),
            capacity,
        }
    }

    /// Takes in what a journal holds, in its order.
    pub(super) fn recover(&self, events: &[(Event, Timestamp)], now: Timestamp) {
        let mut recovered = write(&self.recovered);
        let mut attempts = write(&self.recovered_attempts);
        let mut holds: HashMap<Token, Held> = HashMap::new();
        recovered.reserve(events.len());
        for (event, at) in events {
            match *event {
                Event::Mark { tenant, jti, why, until, hold, .. } => {
                    let mark = Mark::last(why, hold, *at);
                    recovered.entry((tenant, jti)).or_insert((mark, until));
                }
                Event::Hold { tenant, jti, hold, until, .. } => {
                    let held = holds.entry((tenant, jti)).or_insert(Held { hold, until });
                    // Of two holds that were on their way at once, the later one is in force.
                    if hold.end >= held.hold.end {
                        *held = Held { hold, until };
                    }
                }
                Event::Cancel { tenant, jti, hold, .. } => {
                    let is_it = |held: &Held| held.hold.nonce == hold.nonce;
                    if holds.get(&(tenant, jti)).is_some_and(is_it) {
                        holds.remove(&(tenant, jti));
                    }
                }
                Event::Cutoff { scope, change, until } => self.cut(scope, change, until, now),
                Event::Tick => {}
            }
            if let Some((tenant, Attempt { key, body }, until)) = event.attempt() {
                attempts.insert((tenant, key), Attempted { body, done: Some(*at), until });
            }
        }
        for (token, held) in holds {
            if held.hold.end > now && !recovered.contains_key(&token) {
                let life = held.until.since(now);
                self.marks.insert(token, kept(Mark::Held(Arc::new(held)), life));
            }
        }
    }

    pub(super) fn is_full(&self, besides: u64, now: Timestamp) -> bool {
        /// The cache counts lazily; this near to the bound it is made to count.
        const SLACK: u64 = 4096;
        if self.count() + besides + SLACK < self.capacity {
            return false;
        }
        self.tidy(now);
        self.count() + besides >= self.capacity
    }

    pub(super) fn undone(&self) -> u64 {
        self.undone.load(Ordering::SeqCst)
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn count(&self) -> u64 {
        let recovered = read(&self.recovered).len() + read(&self.recovered_attempts).len();
        let fresh =
            [self.marks.entry_count(), self.users.entry_count(), self.attempts.entry_count()];
        fresh.iter().sum::<u64>() + recovered as u64
    }

    pub(super) fn tidy(&self, now: Timestamp) {
        self.marks.run_pending_tasks();
        self.users.run_pending_tasks();
        self.attempts.run_pending_tasks();
        // It takes all of them a while, so not more often than it is worth.
        let hour = now.seconds() / 3600;
        if self.purged.swap(hour, Ordering::Relaxed) != hour {
            write(&self.recovered).retain(|_, (_, until)| *until > now);
            write(&self.recovered_attempts).retain(|_, attempted| attempted.until > now);
        }
    }

    /// What an earlier process, or this one, said of a token.
    pub(super) fn mark_of(&self, token: &Token) -> Option<Mark> {
        let recovered = read(&self.recovered).get(token).map(|(mark, _)| mark.clone());
        recovered.or_else(|| self.marks.get(token).map(|mark| mark.what))
    }

    /// Says something of a token, whatever was said before.
    #[cfg(test)]
    pub(super) fn put(&self, token: Token, mark: Option<Mark>) {
        self.marks.invalidate(&token);
        if let Some(mark) = mark {
            self.marks.insert(token, kept(mark, 3600));
        }
    }

    /// Whether a token is live. Changes nothing.
    pub(super) fn check(
        &self,
        tenant: TenantTag,
        user: UserTag,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if let Some(mark) = self.mark_of(&(tenant, claims.jti)) {
            mark.refuses(now)?;
        }
        self.check_cutoffs(tenant, user, claims.iat, claims.jti)
    }

    fn check_cutoffs(
        &self,
        tenant: TenantTag,
        user: UserTag,
        iat: Timestamp,
        jti: TokenId,
    ) -> Result<(), Refusal> {
        if read(&self.start).refuses(iat, jti) {
            return Err(Refusal::PredatesStart);
        }
        let by_tenant =
            read(&self.tenants).get(&tenant).is_some_and(|cutoff| cutoff.refuses(iat, jti));
        let user = self.users.get(&(tenant, user));
        if by_tenant || user.is_some_and(|user| user.what.cutoff.refuses(iat, jti)) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }

    /// Spends a token: exactly one of all who try gets `Ok`.
    pub(super) fn redeem(
        &self,
        token: Token,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.step(token, now, |mark| {
            mark.map_or(Ok(()), |mark| mark.refuses(now))?;
            Ok((Mark::Used, until, ()))
        })
    }

    /// Sets a token aside: exactly one of all who try gets `Ok`.
    pub(super) fn hold(&self, token: Token, held: Held, now: Timestamp) -> Result<(), Refusal> {
        self.step(token, now, |mark| {
            mark.map_or(Ok(()), |mark| mark.refuses(now))?;
            Ok((Mark::Held(Arc::new(held)), held.until, ()))
        })
    }

    /// Begins to commit a hold. Revoking its token meanwhile was stronger.
    pub(super) fn commit(
        &self,
        token: Token,
        wanted: &HoldRef,
        now: Timestamp,
    ) -> Result<Held, NotHeld> {
        let (tenant, jti) = token;
        self.step(token, now, |mark| {
            let held = Mark::end(mark, wanted, now)?;
            let Hold { user, iat, .. } = held.hold;
            match self.check_cutoffs(tenant, user, iat, jti) {
                Ok(()) => Ok((Mark::Ending(Arc::new(held)), held.until, held)),
                Err(Refusal::PredatesStart) => Err(NotHeld::PredatesStart),
                Err(_) => Err(NotHeld::Revoked),
            }
        })
    }

    /// Begins to cancel a hold.
    pub(super) fn cancel(
        &self,
        token: Token,
        wanted: &HoldRef,
        now: Timestamp,
    ) -> Result<Held, NotHeld> {
        self.step(token, now, |mark| {
            let held = Mark::end(mark, wanted, now)?;
            Ok((Mark::Ending(Arc::new(held)), held.until, held))
        })
    }

    /// Revokes a token: exactly one of all who try gets `Ok`, with the hold that ended with it, and until
    /// when this matters.
    pub(super) fn revoke(
        &self,
        token: Token,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(Option<Hold>, Timestamp), Refusal> {
        self.step(token, now, |mark| {
            let held = mark.map_or(Ok(None), |mark| mark.revoke(now))?;
            // As long as the hold is on disk, so must be this.
            let until = held.map_or(until, |held| until.max(held.until));
            Ok((Mark::Revoked, until, (held.map(|held| held.hold), until)))
        })
    }

    /// One atomic step of a token, or none.
    fn step<T, E>(
        &self,
        token: Token,
        now: Timestamp,
        decide: impl Fn(Option<&Mark>) -> Result<(Mark, Timestamp, T), E>,
    ) -> Result<T, E> {
        if let Some((last, _)) = read(&self.recovered).get(&token) {
            decide(Some(last))?;
        }
        let mut outcome = None;
        self.marks.entry(token).and_compute_with(|entry| {
            match decide(entry.as_ref().map(|entry| &entry.value().what)) {
                Ok((mark, until, told)) => {
                    outcome = Some(Ok(told));
                    Op::Put(kept(mark, until.since(now)))
                }
                Err(error) => {
                    outcome = Some(Err(error));
                    Op::Nop
                }
            }
        });
        outcome.expect("the cache computes each entry once")
    }

    /// Whatever comes of it that an event is on disk, or not: only if the mark is still the one that
    /// waited for it.
    fn settle(&self, token: Token, life: u64, change: impl FnOnce(&Mark) -> Option<Op<Mark>>) {
        self.marks.entry(token).and_compute_with(|entry| {
            match entry.and_then(|entry| change(&entry.value().what)) {
                Some(Op::Put(mark)) => Op::Put(kept(mark, life)),
                Some(Op::Remove) => Op::Remove,
                Some(Op::Nop) | None => Op::Nop,
            }
        });
    }

    /// What is known of a try.
    pub(super) fn earlier(
        &self,
        tenant: TenantTag,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Option<Earlier> {
        let key = (tenant, attempt.key);
        let is_kept = |known: &Attempted| known.until > now;
        let recovered = read(&self.recovered_attempts).get(&key).copied().filter(is_kept);
        let fresh = || self.attempts.get(&key).map(|known| known.what).filter(is_kept);
        let known = recovered.or_else(fresh)?;
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

    /// The last second of which all tokens are refused for everybody.
    pub(super) fn start(&self) -> Option<Timestamp> {
        read(&self.start).through
    }

    /// Changes a cut-off.
    pub(super) fn cut(&self, scope: Scope, change: Change, until: Timestamp, now: Timestamp) {
        match scope {
            Scope::Everything => write(&self.start).apply(change),
            Scope::Tenant(tenant) => write(&self.tenants).entry(tenant).or_default().apply(change),
            Scope::User(tenant, user) => self.change_user((tenant, user), change, until, now),
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
            Event::Cutoff { scope, change, until } => self.cut(scope, change, until, at),
            Event::Mark { tenant, jti, why, hold: Some(hold), until, .. } => {
                self.settle((tenant, jti), until.since(at), |mark| {
                    let is_ending = matches!(mark, Mark::Ending(_));
                    is_ending.then(|| Op::Put(Mark::last(why, Some(hold), at)))
                });
            }
            Event::Cancel { tenant, jti, .. } => self.settle((tenant, jti), 0, |mark| {
                matches!(mark, Mark::Ending(_)).then_some(Op::Remove)
            }),
            // These were taken before they were written.
            Event::Mark { hold: None, .. } | Event::Hold { .. } | Event::Tick => {}
        }
        if let Some((tenant, attempt, until)) = event.attempt() {
            self.finish(tenant, &attempt, until, at);
        }
    }

    fn given_up(&self, event: &Event, at: Timestamp) {
        self.undone.fetch_add(1, Ordering::SeqCst);
        let back = |hold, until| Op::Put(Mark::Held(Arc::new(Held { hold, until })));
        match *event {
            Event::Mark { tenant, jti, until, hold, .. } => {
                self.settle((tenant, jti), until.since(at), |_| {
                    Some(hold.map_or(Op::Remove, |hold| back(hold, until)))
                });
            }
            Event::Cancel { tenant, jti, hold, until } => {
                self.settle((tenant, jti), until.since(at), |_| Some(back(hold, until)));
            }
            Event::Hold { tenant, jti, hold, .. } => self.settle((tenant, jti), 0, |mark| {
                let is_it = matches!(mark, Mark::Held(held) if held.hold == hold);
                is_it.then_some(Op::Remove)
            }),
            Event::Cutoff { .. } | Event::Tick => {}
        }
        if let Some((tenant, attempt, _)) = event.attempt() {
            self.abandon(tenant, &attempt);
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
