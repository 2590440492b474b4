//! Each step, planned: what changes in the folder and what follows from it.

use resetd_verify::{Algorithm, KeyId, MAX_KEYS, Timestamp};

use super::{Change, KeyRules, Plan, RotationError, TAKE_UP, key_by_prefix};
use crate::domain::keyring::{Key, KeyState, KeyTimes, Keyring, MARGIN};
use crate::domain::time::to_rfc3339;

/// The keys, the rules and the time that every step looks at.
#[derive(Clone, Copy)]
pub(super) struct Ring<'r> {
    pub(super) keyring: &'r Keyring,
    pub(super) rules: &'r KeyRules,
    pub(super) now: Timestamp,
}

impl<'r> Ring<'r> {
    pub(super) fn key(&self, kid: &KeyId) -> Result<&'r Key, RotationError> {
        key_by_prefix(self.keyring, kid.as_str())
    }

    fn state(&self, key: &Key) -> KeyState {
        self.keyring.state(key, self.now)
    }

    pub(super) fn in_state(&self, state: KeyState) -> impl Iterator<Item = &'r Key> + use<'r> {
        let ring = *self;
        self.keyring.keys().filter(move |key| ring.state(key) == state)
    }

    fn active(&self) -> Option<&'r Key> {
        self.keyring.active(self.now)
    }

    pub(super) fn scheduled(&self) -> Option<Timestamp> {
        Some(self.active()?.times().not_before.plus(self.rules.rotate_every?))
    }

    /// Verifiers take so many keys and no more.
    pub(super) fn expect_room(&self) -> Result<(), RotationError> {
        let published = [KeyState::Next, KeyState::Active, KeyState::Retired];
        let count = self.keyring.keys().filter(|key| published.contains(&self.state(key))).count();
        if count < MAX_KEYS { Ok(()) } else { Err(RotationError::TooManyKeys) }
    }

    /// Of two keys that may sign from the same second on, their names would decide.
    pub(super) fn free_second(&self, mut from: Timestamp) -> Timestamp {
        while self.keyring.keys().any(|key| key.times().not_before == from) {
            from = from.plus(1);
        }
        from
    }

    pub(super) fn new_key(
        &self,
        algorithm: Algorithm,
        from: Timestamp,
        revokes: Option<&Key>,
    ) -> Change {
        let revokes = revokes.map(|key| key.kid().clone());
        Change::Add { algorithm, times: KeyTimes { revokes, ..KeyTimes::new(self.now, from) } }
    }

    /// Seconds until a key that is published since `published` is known to all verifiers. Where
    /// nothing signs yet, no verifier can be taken by surprise.
    fn wait(&self, published: Timestamp) -> u64 {
        let needed = if self.active().is_some() { self.rules.publish_ahead } else { 0 };
        published.plus(needed).since(self.now)
    }

    fn too_soon(&self, wait: u64) -> RotationError {
        let max_age = self.rules.jwks_max_age;
        RotationError::TooSoon { max_age, safe_from: self.now.plus(wait), wait }
    }

    pub(super) fn add(
        &self,
        algorithm: Algorithm,
        signs_in: Option<u64>,
        force: bool,
    ) -> Result<Plan, RotationError> {
        self.expect_room()?;
        let needed = self.wait(self.now);
        let signs_in = signs_in.unwrap_or(needed);
        if signs_in < needed && !force {
            return Err(self.too_soon(needed));
        }
        let from = self.free_second(self.now.plus(signs_in));
        let mut plan = Plan::default();
        plan.says(format!("the new key is published at once and signs from {}", to_rfc3339(from)));
        self.tell_take_over(&mut plan, from);
        if signs_in < needed {
            tell_break(&mut plan, self.now.plus(needed));
        }
        plan.changes.push(self.new_key(algorithm, from, None));
        Ok(plan)
    }

    pub(super) fn activate(&self, key: &Key, force: bool) -> Result<Plan, RotationError> {
        self.expect(key, &[KeyState::Next], "next")?;
        let wait = self.wait(key.times().created);
        if wait > 0 && !force {
            return Err(self.too_soon(wait));
        }
        let take_up = if self.active().is_some() { TAKE_UP } else { 0 };
        // Never later than it would by itself.
        let from = self.free_second(self.now.plus(take_up)).min(key.times().not_before);
        let mut plan = Plan::default();
        plan.says(format!("{} signs from {}", key.kid(), to_rfc3339(from)));
        self.tell_take_over(&mut plan, from);
        if wait > 0 {
            tell_break(&mut plan, self.now.plus(wait));
        }
        plan.changes.push(amend(key, |times| times.not_before = from));
        Ok(plan)
    }

    pub(super) fn retire(&self, key: &Key, force: bool) -> Result<Plan, RotationError> {
        self.expect(key, &[KeyState::Next, KeyState::Active], "next or active")?;
        let mut plan = Plan { destructive: true, ..Plan::default() };
        if self.state(key) == KeyState::Next {
            plan.says(format!("{} never signs and is published no more", key.kid()));
            plan.changes.push(amend(key, |times| times.retired_at = Some(self.now)));
            return Ok(plan);
        }
        if !force {
            return Err(RotationError::LastKey { kid: key.kid().clone() });
        }
        let at = self.now.plus(TAKE_UP);
        let next = self.in_state(KeyState::Next).map(|key| key.times().not_before).min();
        let until = next.map_or("another key signs".into(), to_rfc3339);
        plan.says(format!("no token is issued from {} until {until}", to_rfc3339(at)));
        plan.says(format!("links that {} signed stay good until they expire", key.kid()));
        plan.changes.push(amend(key, |times| times.retired_at = Some(at)));
        Ok(plan)
    }

    pub(super) fn revoke(&self, key: &Key, algorithm: Algorithm) -> Result<Plan, RotationError> {
        const TRUSTED: [KeyState; 3] = [KeyState::Next, KeyState::Active, KeyState::Retired];
        self.expect(key, &TRUSTED, "next, active or retired")?;
        let mut plan = Plan { destructive: true, ..Plan::default() };
        let max_age = self.rules.jwks_max_age;
        let until = to_rfc3339(self.now.plus(max_age));
        plan.says(format!("every link that {} signed is dead here at once", key.kid()));
        plan.says(format!(
            "verifiers that keep an older key set may trust it for {max_age} more seconds, until {until}"
        ));
        if self.state(key) == KeyState::Active {
            self.replace(&mut plan, key, algorithm);
        }
        plan.changes.push(amend(key, |times| times.revoked_at = Some(self.now)));
        Ok(plan)
    }

    /// The replacement says itself which key it revokes, so that one write decides.
    fn replace(&self, plan: &mut Plan, leaked: &Key, algorithm: Algorithm) {
        // A server whose clock is a little slow shall not be without a key until then.
        let after = leaked.times().not_before.plus(1);
        let from = self.free_second(self.now.minus(MARGIN).max(after));
        // The key that has been published for longest is known to most verifiers.
        let known = self.in_state(KeyState::Next).min_by_key(|key| key.times().created);
        let (name, published) = match known {
            Some(next) => (next.kid().to_string(), next.times().created),
            None => ("a new key".to_owned(), self.now),
        };
        plan.says(format!("{name} takes its place at once"));
        let safe_from = published.plus(self.rules.publish_ahead);
        if safe_from > self.now {
            tell_break(plan, safe_from);
        }
        plan.changes.push(match known {
            Some(next) => amend(next, |times| {
                times.not_before = from;
                times.revokes = Some(leaked.kid().clone());
            }),
            None => self.new_key(algorithm, from, Some(leaked)),
        });
    }

    pub(super) fn rotate(&self, algorithm: Algorithm) -> Result<Plan, RotationError> {
        let mut plan = self.prune();
        let next = self.in_state(KeyState::Next).min_by_key(|key| key.times().not_before);
        if let Some(next) = next {
            let from = next.times().not_before;
            let kid = next.kid();
            plan.says(format!("{kid} is published already and signs from {}", to_rfc3339(from)));
            self.tell_take_over(&mut plan, from);
            return Ok(plan);
        }
        let added = self.add(algorithm, None, false)?;
        plan.changes.splice(0..0, added.changes);
        plan.consequences.splice(0..0, added.consequences);
        Ok(plan)
    }

    pub(super) fn prune(&self) -> Plan {
        let mut plan = Plan::default();
        for key in self.keyring.removable(self.now) {
            plan.says(format!("{} is removed: nothing it signed can be alive", key.kid()));
            plan.changes.push(Change::Remove { kid: key.kid().clone() });
        }
        plan
    }

    fn expect(
        &self,
        key: &Key,
        states: &[KeyState],
        wanted: &'static str,
    ) -> Result<(), RotationError> {
        let state = self.state(key);
        if states.contains(&state) {
            return Ok(());
        }
        Err(RotationError::WrongState { kid: key.kid().clone(), state, wanted })
    }

    fn tell_take_over(&self, plan: &mut Plan, from: Timestamp) {
        if let Some(active) = self.active() {
            let gone = to_rfc3339(from.plus(self.keyring.retention()));
            plan.says(format!(
                "{} retires then; its links stay good, and its file can be removed from {gone}",
                active.kid()
            ));
        }
    }
}

fn tell_break(plan: &mut Plan, safe_from: Timestamp) {
    plan.destructive = true;
    plan.says(format!(
        "verifiers that keep an older key set do not know the key and refuse new links, until {} at the latest",
        to_rfc3339(safe_from)
    ));
}

fn amend(key: &Key, change: impl FnOnce(&mut KeyTimes)) -> Change {
    let mut times = key.times().clone();
    change(&mut times);
    Change::Amend { kid: key.kid().clone(), times }
}
