//! What is spent and revoked. The one invariant: **a token that was refused here is refused until
//! nobody can accept it any more.**
//!
//! Memory decides (`revocation/memory.rs`), the journal makes it last. With a journal, a claim is
//! taken in memory, written, and told only then; a cut-off is written and then taken into memory, in
//! the order of the journal, so that a restart comes to the same state. Without one, what was issued
//! before the start is refused, for nobody can know what became of it.

mod hold;
mod mark;
mod memory;
#[cfg(test)]
mod model;

use std::sync::Arc;

use resetd_verify::{Claims, MAX_LEEWAY, Timestamp, TokenId};
use ring::digest;
use serde::Serialize;

use crate::domain::policy::{MAX_HOLD, Policy, TenantName};
use crate::journal::{
    Attempt, Change, Event, Health, Journal, Receipt, Recovered, Scope, Sink as _, StateFolder,
    TenantTag, Unwritten, UserTag, Why,
};

pub use hold::RedemptionId;
pub use mark::{NotHeld, Refusal};
pub use memory::Earlier;

use memory::{Memory, Token};

/// The spent and revoked tokens of one process.
#[derive(Debug)]
pub struct Revocations {
    memory: Arc<Memory>,
    journal: Option<Journal>,
    /// Makes tags and the names of redemptions unlike those of any other journal.
    salt: [u8; 16],
    /// Why this process does not know what was spent before it started, if it does not.
    forgotten: Option<Forgotten>,
}

/// Why it is not known what was spent before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgotten {
    /// Nothing is written down.
    Guard,
    /// There was no journal yet, or it is lost.
    NewState,
    /// The journal was restored, and what was spent after the backup is not in it.
    AfterRestore,
}

/// What is known of the time before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Tokens issued before this are refused, whatever became of them.
    pub refused_before: Option<Timestamp>,
    /// Why, if this start is the reason.
    pub because: Option<Forgotten>,
}

/// Something is decided and on its way to the disk; it may be answered when it is there.
#[derive(Debug)]
#[must_use = "it is not durable until it was waited for"]
pub struct Written(Option<Receipt>);

impl Written {
    /// Waits until it is on disk.
    ///
    /// # Errors
    /// [`Unwritten`]: it must not be answered as done.
    pub async fn wait(self) -> Result<(), Unwritten> {
        match self.0 {
            Some(receipt) => receipt.wait().await,
            None => Ok(()),
        }
    }
}

impl Revocations {
    /// Remembers in memory only. Tokens issued up to and including this second are refused.
    /// `salt` is random.
    pub fn guarding(started: Timestamp, capacity: u64, salt: [u8; 16]) -> Self {
        let (memory, forgotten) = (Arc::new(Memory::new(capacity)), Some(Forgotten::Guard));
        let revocations = Self { memory, journal: None, salt, forgotten };
        let for_ever = Timestamp::from_seconds(u64::MAX);
        let _ = revocations.record(vec![raise(Scope::Everything, started, for_ever)], started);
        revocations
    }

    /// Goes on from a journal.
    pub fn journalled(
        folder: StateFolder,
        recovered: &Recovered,
        now: Timestamp,
        capacity: u64,
    ) -> Self {
        let memory = Arc::new(Memory::new(capacity));
        memory.recover(&recovered.events, now);
        let salt = folder.salt();
        let journal = folder.start(recovered, Arc::clone(&memory) as _);
        Self { memory, journal: Some(journal), salt, forgotten: None }
    }

    /// Refuses from now on all tokens that were issued up to and including this second, since what
    /// became of them is not known. `acceptance` is the longest time in seconds for which one of
    /// them can be accepted.
    pub fn forget_before(&mut self, now: Timestamp, acceptance: u64, why: Forgotten) -> Written {
        self.forgotten = Some(why);
        let until = now.plus(acceptance).plus(MAX_LEEWAY + MAX_HOLD);
        self.record(vec![raise(Scope::Everything, now, until)], now)
    }

    /// What is known of the time before the start.
    pub fn past(&self) -> Past {
        let refused_before = self.memory.start().map(|through| through.plus(1));
        Past { refused_before, because: self.forgotten }
    }

    /// Whether so much is remembered, here and `besides`, that no more tokens should be issued.
    pub fn is_full(&self, besides: u64, now: Timestamp) -> bool {
        self.memory.is_full(besides, now)
    }

    /// Marks and cut-offs remembered; exact after [`tidy`](Self::tidy).
    pub fn count(&self) -> u64 {
        self.memory.count()
    }

    /// Marks at which no more tokens are issued.
    pub fn capacity(&self) -> u64 {
        self.memory.capacity()
    }

    /// Gives back the memory and the segments of what has expired.
    pub fn tidy(&self, now: Timestamp) {
        self.memory.tidy(now);
        if let Some(journal) = &self.journal {
            journal.tidy(now);
        }
    }

    /// Writes down that time went on.
    pub fn tick(&self, now: Timestamp) {
        drop(self.settled(now));
    }

    /// Waits for all that was decided before it. What is refused because of an earlier request must not be
    /// told as done before that is on disk. It may have found no room: if [`undone`](Self::undone) is
    /// another number then than before the refusal, ask again.
    pub fn settled(&self, now: Timestamp) -> Written {
        Written(self.journal.as_ref().map(|journal| journal.append(Event::Tick, now)))
    }

    /// How often something that was decided was undone, because it could not be written.
    pub fn undone(&self) -> u64 {
        self.memory.undone()
    }

    /// Whether what is decided can be made to last.
    pub fn health(&self) -> Health {
        self.journal.as_ref().map_or(Health::Well, Journal::health)
    }

    /// Takes note of a token that is about to be handed out: with `supersede` it becomes the only
    /// live token of its user.
    pub fn admit(&self, policy: &Policy, claims: &Claims) -> Written {
        let tenant = tenant_tag(&policy.tenant);
        let user = Scope::User(tenant, self.user_tag(tenant, &claims.sub));
        let (iat, jti) = (claims.iat, claims.jti);
        // Every token that this one replaces was admitted here and has its expiry in the entry, so
        // keeping that for as long as the longest of them is long enough.
        let until = policy.cut_until(claims.exp);
        let mut events: Vec<_> = [Scope::Everything, Scope::Tenant(tenant), user]
            .into_iter()
            .filter(|scope| self.memory.reaches(*scope, iat))
            .map(|scope| Event::Cutoff { scope, change: Change::Admit(iat, jti), until })
            .collect();
        if policy.supersede {
            events.retain(|event| !matches!(event, Event::Cutoff { scope, .. } if *scope == user));
            events.push(Event::Cutoff { scope: user, change: Change::Supersede(iat, jti), until });
        }
        self.record(events, iat)
    }

    /// Whether a verified token is live. Changes nothing.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(
        &self,
        tenant: &TenantName,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let tenant = tenant_tag(tenant);
        self.memory.check(tenant, self.user_tag(tenant, &claims.sub), claims, now)
    }

    /// Spends a verified token: exactly one of all who try gets `Ok`. With `supersede`, the user's
    /// other tokens are revoked.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn redeem(
        &self,
        policy: &Policy,
        claims: &Claims,
        attempt: Option<Attempt>,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Written, Refusal> {
        let now = clock();
        let (token, until) = (token(policy, claims.jti), policy.remembered_until(claims.exp));
        let (tenant, jti) = token;
        let spent = self
            .check(&policy.tenant, claims, now)
            .and_then(|()| self.memory.redeem(token, until, now))
            .and_then(|()| in_time(policy, claims, clock()));
        spent.inspect_err(|_| self.abandon(tenant, attempt))?;
        let mark = Event::Mark { tenant, jti, why: Why::Used, until, attempt, hold: None };
        let mut events = vec![mark];
        if policy.supersede {
            events.push(self.raise_user(policy, &claims.sub, now, policy.cut_until(claims.exp)));
        }
        Ok(self.record(events, now))
    }

    /// Makes sure that the user's other tokens are revoked, as a redemption then did: if a crash cut it in
    /// half, the claim may be all that is left of it.
    pub fn supersede_again(
        &self,
        policy: &Policy,
        claims: &Claims,
        at: Timestamp,
        now: Timestamp,
    ) -> Written {
        let tenant = tenant_tag(&policy.tenant);
        let user = (tenant, self.user_tag(tenant, &claims.sub));
        self.raise_again(policy, user, (at, policy.cut_until(claims.exp)), now)
    }

    fn raise_again(
        &self,
        policy: &Policy,
        (tenant, user): (TenantTag, UserTag),
        (at, until): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Written {
        let scope = Scope::User(tenant, user);
        if !policy.supersede || self.memory.reaches(scope, at) {
            return Written(None);
        }
        self.record(vec![raise(scope, at, until)], now)
    }

    /// Revokes a verified token: exactly one of all who try gets `Ok`.
    ///
    /// # Errors
    /// Why there was nothing to revoke.
    pub fn revoke(
        &self,
        policy: &Policy,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<Written, Refusal> {
        match self.check(&policy.tenant, claims, now) {
            Ok(()) | Err(Refusal::Held { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
        self.mark_revoked(policy, claims.jti, policy.remembered_until(claims.exp), now)
    }

    /// Revokes a token of which only the identifier is known.
    ///
    /// # Errors
    /// Why there was nothing to revoke.
    pub fn revoke_id(
        &self,
        policy: &Policy,
        jti: TokenId,
        now: Timestamp,
    ) -> Result<Written, Refusal> {
        self.mark_revoked(policy, jti, policy.remembered_until(latest_expiry(policy, now)), now)
    }

    /// Revokes all tokens of a user issued up to and including this second.
    pub fn revoke_user(
        &self,
        policy: &Policy,
        username: &str,
        through: Timestamp,
        now: Timestamp,
    ) -> Written {
        let until = policy.cut_until(latest_expiry(policy, now));
        self.record(vec![self.raise_user(policy, username, through, until)], now)
    }

    /// Revokes all tokens of the tenant issued up to and including this second.
    pub fn revoke_tenant(&self, policy: &Policy, through: Timestamp, now: Timestamp) -> Written {
        let scope = Scope::Tenant(tenant_tag(&policy.tenant));
        let until = policy.cut_until(latest_expiry(policy, now));
        self.record(vec![raise(scope, through, until)], now)
    }

    fn raise_user(
        &self,
        policy: &Policy,
        username: &str,
        through: Timestamp,
        until: Timestamp,
    ) -> Event {
        let tenant = tenant_tag(&policy.tenant);
        raise(Scope::User(tenant, self.user_tag(tenant, username)), through, until)
    }

    fn mark_revoked(
        &self,
        policy: &Policy,
        jti: TokenId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Written, Refusal> {
        let (tenant, _) = token(policy, jti);
        let (hold, until) = self.memory.revoke((tenant, jti), until, now)?;
        let why = Why::Revoked;
        let mark = Event::Mark { tenant, jti, why, until, attempt: None, hold };
        Ok(self.record(vec![mark], now))
    }

    /// What became of a token is in memory already; cut-offs follow when they are written.
    fn record(&self, events: Vec<Event>, now: Timestamp) -> Written {
        if events.is_empty() {
            return Written(None);
        }
        if let Some(journal) = &self.journal {
            return Written(Some(journal.append_all(events, now)));
        }
        for event in &events {
            self.memory.written(event, now);
        }
        Written(None)
    }

    fn abandon(&self, tenant: TenantTag, attempt: Option<Attempt>) {
        if let Some(attempt) = attempt {
            self.memory.abandon(tenant, &attempt);
        }
    }

    /// What a caller's try hashes to.
    pub fn attempt(&self, tenant: &TenantName, caller: &str, key: &str, body: &[u8]) -> Attempt {
        let (tenant, length) = (tenant_tag(tenant), (caller.len() as u64).to_le_bytes());
        let key = [&self.salt[..], &tenant.0, &length, caller.as_bytes(), key.as_bytes()];
        Attempt { key: hash(&key), body: hash(&[body]) }
    }

    /// Begins a try to spend a verified token: of all with the same key, one gets `true`. It ends with
    /// [`redeem`](Self::redeem).
    pub fn begin(
        &self,
        policy: &Policy,
        claims: &Claims,
        attempt: &Attempt,
        now: Timestamp,
    ) -> bool {
        let until = policy.remembered_until(claims.exp);
        self.memory.begin(tenant_tag(&policy.tenant), attempt, until, now)
    }

    /// What is known of a try that may have been made before.
    pub fn earlier(
        &self,
        tenant: &TenantName,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Option<Earlier> {
        self.memory.earlier(tenant_tag(tenant), attempt, now)
    }

    fn user_tag(&self, tenant: TenantTag, username: &str) -> UserTag {
        UserTag(hash(&[&self.salt, &tenant.0, username.as_bytes()]))
    }
}

/// Whose tokens are refused that were issued up to and including a second.
fn raise(scope: Scope, through: Timestamp, until: Timestamp) -> Event {
    Event::Cutoff { scope, change: Change::Raise(through), until }
}

/// Between the look at the clock and the claim the process may have stood still, until what was known of
/// the token was over.
fn in_time(policy: &Policy, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
    let exp = claims.exp;
    if now < exp.plus(policy.leeway) { Ok(()) } else { Err(Refusal::Expired(exp)) }
}

/// When the last token that could have been issued by now expires.
fn latest_expiry(policy: &Policy, now: Timestamp) -> Timestamp {
    now.plus(policy.lifetime.max)
}

fn token(policy: &Policy, jti: TokenId) -> Token {
    (tenant_tag(&policy.tenant), jti)
}

fn tenant_tag(tenant: &TenantName) -> TenantTag {
    TenantTag(hash(&[tenant.as_str().as_bytes()]))
}

/// The beginning of a SHA-256. The parts before the last have fixed lengths, so no two lists of parts
/// are one text.
fn hash<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut beginning = [0; N];
    beginning.copy_from_slice(&context.finish().as_ref()[..N]);
    beginning
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

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
            credential_version: None,
            user_id: None,
            iat,
            exp: iat.plus(900),
            nbf: None,
            jti: TokenId::from_bytes(id.to_be_bytes()),
            status: None,
        }
    }

    fn check(revocations: &Revocations, claims: &Claims) -> Result<(), Refusal> {
        revocations.check(&TenantName::default(), claims, START)
    }

    #[test]
    fn eight_threads_on_the_same_hundred_thousand_tokens_have_one_winner_each() {
        const THREADS: usize = 8;
        const TOKENS: usize = 100_000;
        let revocations = Revocations::guarding(START, 1_000_000, [0; 16]);
        let policy = policy(false);
        let wins: Vec<_> = (0..TOKENS).map(|_| AtomicUsize::new(0)).collect();
        let barrier = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    for (id, wins) in wins.iter().enumerate() {
                        let claims = claims(id as u128, "alice", START.plus(1));
                        if revocations.redeem(&policy, &claims, None, || START.plus(2)).is_ok() {
                            wins.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(wins.iter().all(|wins| wins.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn a_process_that_stood_still_until_the_token_was_over_does_not_spend_it() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let (policy, claims) = (policy(false), claims(1, "alice", START.plus(1)));
        let last = claims.exp.plus(policy.leeway);
        let looks = std::cell::Cell::new(0);
        let clock = || {
            looks.set(looks.get() + 1);
            if looks.get() == 1 { last.minus(1) } else { last }
        };
        let expired = Err(Refusal::Expired(claims.exp));
        assert_eq!(revocations.redeem(&policy, &claims, None, clock).map(drop), expired);
        looks.set(0);
        let end = last.plus(60);
        let id = revocations.redemption_id(&policy.tenant, "web", claims.jti, [1; 8], end);
        let held = Revocations::guarding(START, 1000, [0; 16])
            .hold(&policy, &claims, "web", &id, None, clock)
            .map(drop);
        assert_eq!(held, expired);
    }

    #[test]
    fn nothing_is_dropped_for_size() {
        let revocations = Revocations::guarding(START, 100, [0; 16]);
        let policy = policy(false);
        for id in 0..10_000 {
            let claims = claims(id, "alice", START.plus(1));
            let _ = revocations.redeem(&policy, &claims, None, || START.plus(1)).unwrap();
        }
        revocations.tidy(START);
        for id in 0..10_000 {
            let claims = claims(id, "alice", START.plus(1));
            assert_eq!(check(&revocations, &claims), Err(Refusal::Used));
        }
    }

    #[test]
    fn it_says_full_at_its_capacity_and_goes_on_redeeming() {
        let revocations = Revocations::guarding(START, 3, [0; 16]);
        let policy = policy(false);
        for id in 0..4 {
            assert_eq!(revocations.is_full(0, START), id >= 3, "after {id} marks");
            let claims = claims(id, "alice", START.plus(1));
            assert_eq!(
                revocations.redeem(&policy, &claims, None, || START.plus(1)).map(drop),
                Ok(())
            );
        }
    }

    #[test]
    fn a_mark_lives_as_long_as_any_leeway_could_have_its_token_accepted() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(false);
        let claims = claims(1, "alice", START.plus(1));
        let _ = revocations.redeem(&policy, &claims, None, || START.plus(2)).unwrap();
        let mark = revocations
            .memory
            .marks
            .get(&(tenant_tag(&TenantName::default()), claims.jti))
            .unwrap();
        assert_eq!(START.plus(2).plus(mark.life.as_secs()), claims.exp.plus(MAX_LEEWAY));
    }

    #[test]
    fn a_mark_whose_life_is_over_gives_its_memory_back() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = Policy { leeway: MAX_LEEWAY, ..policy(false) };
        let claims = claims(1, "alice", START.plus(1));
        // Redeemed as late as can be: the mark lives for a second.
        let last = claims.exp.plus(MAX_LEEWAY - 1);
        let _ = revocations.redeem(&policy, &claims, None, || last).unwrap();
        // The cache looks at its clock about once a second; a minute is for a machine that stalls.
        let given_back = (0..600).any(|_| {
            thread::sleep(Duration::from_millis(100));
            revocations.tidy(START);
            revocations.count() == 0
        });
        assert!(given_back);
    }

    #[test]
    fn tokens_issued_up_to_the_second_of_the_start_are_refused_unless_issued_here() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(false);
        let older = claims(1, "alice", START.minus(1));
        let same_second = claims(2, "alice", START);
        let fresh = claims(3, "alice", START);
        let _ = revocations.admit(&policy, &fresh);
        assert_eq!(check(&revocations, &older), Err(Refusal::PredatesStart));
        assert_eq!(check(&revocations, &same_second), Err(Refusal::PredatesStart));
        assert_eq!(
            revocations.redeem(&policy, &older, None, || START).map(drop),
            Err(Refusal::PredatesStart)
        );
        assert_eq!(check(&revocations, &fresh), Ok(()));
        assert_eq!(check(&revocations, &claims(4, "alice", START.plus(1))), Ok(()));
    }

    #[test]
    fn a_new_token_supersedes_the_older_ones_of_its_user_also_within_one_second() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(true);
        let now = START.plus(5);
        let (first, second) = (claims(1, "alice", now), claims(2, "alice", now));
        let other = claims(3, "bob", now);
        for claims in [&first, &other, &second] {
            let _ = revocations.admit(&policy, claims);
        }
        assert_eq!(check(&revocations, &first), Err(Refusal::Revoked));
        assert_eq!(check(&revocations, &second), Ok(()));
        assert_eq!(check(&revocations, &other), Ok(()));
    }

    #[test]
    fn a_token_that_was_overtaken_while_it_was_signed_does_not_replace_the_later_one() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(true);
        let (slow, fast) = (claims(1, "alice", START.plus(5)), claims(2, "alice", START.plus(6)));
        let _ = revocations.admit(&policy, &fast);
        let _ = revocations.admit(&policy, &slow);
        assert_eq!(check(&revocations, &slow), Err(Refusal::Revoked));
        assert_eq!(check(&revocations, &fast), Ok(()));
    }

    #[test]
    fn without_supersede_a_user_may_have_several_live_tokens() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(false);
        let now = START.plus(5);
        let (first, second) = (claims(1, "alice", now), claims(2, "alice", now));
        let _ = revocations.admit(&policy, &first);
        let _ = revocations.admit(&policy, &second);
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
            let revocations = Revocations::guarding(START, 1000, [0; 16]);
            let revoke = || {
                let _ = if bobs.is_ok() {
                    revocations.revoke_user(&policy, "alice", now, now)
                } else {
                    revocations.revoke_tenant(&policy, now, now)
                };
            };
            let _ = revocations.admit(&policy, &before);
            let _ = revocations.admit(&policy, &bob);
            revoke();
            let _ = revocations.admit(&policy, &after);
            assert_eq!(check(&revocations, &before), Err(Refusal::Revoked));
            assert_eq!(check(&revocations, &after), Ok(()));
            assert_eq!(check(&revocations, &bob), bobs);
            // A second cut-off in the same second also takes what was exempt from the first.
            revoke();
            assert_eq!(check(&revocations, &after), Err(Refusal::Revoked));
        }
    }

    #[test]
    fn a_users_cut_off_is_kept_as_long_as_any_token_or_hold_it_refuses_could_last_and_no_longer() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(true);
        let now = START.plus(5);
        let life = || {
            let tenant = tenant_tag(&TenantName::default());
            let key = (tenant, revocations.user_tag(tenant, "alice"));
            revocations.memory.users.get(&key).unwrap().life.as_secs()
        };
        let with_life = |id, seconds| Claims { exp: now.plus(seconds), ..claims(id, "alice", now) };
        let _ = revocations.admit(&policy, &with_life(1, 3600));
        assert_eq!(life(), 3600 + MAX_LEEWAY + MAX_HOLD);
        // The short one replaces the long one, which must stay dead for all its life.
        let _ = revocations.admit(&policy, &with_life(2, 60));
        assert_eq!(life(), 3600 + MAX_LEEWAY + MAX_HOLD);
        let _ = revocations.redeem(&policy, &with_life(2, 60), None, || now).unwrap();
        assert_eq!(life(), 3600 + MAX_LEEWAY + MAX_HOLD);
        let _ = revocations.revoke_user(&policy, "alice", now, now);
        assert_eq!(life(), policy.lifetime.max + MAX_LEEWAY + MAX_HOLD);
    }

    #[test]
    fn a_token_revoked_by_its_identifier_stays_so_for_as_long_as_any_token_can_live() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(false);
        let token = claims(1, "alice", START.plus(1));
        let _ = revocations.revoke_id(&policy, token.jti, START);
        let mark =
            revocations.memory.marks.get(&(tenant_tag(&TenantName::default()), token.jti)).unwrap();
        assert_eq!(mark.life.as_secs(), policy.lifetime.max + MAX_LEEWAY);
        assert_eq!(check(&revocations, &token), Err(Refusal::Revoked));
    }

    #[test]
    fn a_cut_off_never_moves_back() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(false);
        let _ = revocations.revoke_user(&policy, "alice", START.plus(10), START.plus(10));
        let _ = revocations.revoke_user(&policy, "alice", START.plus(5), START.plus(10));
        assert_eq!(check(&revocations, &claims(1, "alice", START.plus(8))), Err(Refusal::Revoked));
    }

    #[test]
    fn what_a_token_already_is_decides_over_what_is_asked_of_it() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let policy = policy(false);
        let now = START.plus(5);
        let (used, revoked) = (claims(1, "alice", now), claims(2, "alice", now));
        let _ = revocations.redeem(&policy, &used, None, || now).unwrap();
        let _ = revocations.revoke(&policy, &revoked, now).unwrap();
        let _ = revocations.revoke_id(&policy, used.jti, now);
        let _ = revocations.revoke_tenant(&policy, now, now);
        assert_eq!(revocations.revoke(&policy, &used, now).map(drop), Err(Refusal::Used));
        assert_eq!(
            revocations.redeem(&policy, &revoked, None, || now).map(drop),
            Err(Refusal::Revoked)
        );
        assert_eq!(check(&revocations, &used), Err(Refusal::Used));
    }

    #[test]
    fn tenants_do_not_spend_each_others_tokens() {
        let revocations = Revocations::guarding(START, 1000, [0; 16]);
        let now = START.plus(5);
        let token = claims(1, "alice", now);
        let other = Policy { tenant: TenantName::parse("other").unwrap(), ..policy(false) };
        assert_eq!(revocations.redeem(&policy(false), &token, None, || now).map(drop), Ok(()));
        assert_eq!(revocations.redeem(&other, &token, None, || now).map(drop), Ok(()));
    }
}
