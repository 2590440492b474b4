//! The steps of a key's life in the one order that breaks no link: published, signing, retired,
//! removed. Pure: a step is planned from the keyring, the rules and the time, and says what it will
//! break; who carries it out is `keystore`.

mod ring;

use resetd_verify::{Algorithm, KeyId, MAX_KEYS, Timestamp};
use serde::Serialize;

use crate::domain::keyring::{Key, KeyState, KeyTimes, Keyring};
use crate::domain::time::to_rfc3339;

use ring::Ring;

/// Seconds from which on a change that is not urgent holds, so that every process on the folder has
/// seen it by then and all agree at every moment.
pub const TAKE_UP: u64 = 2;

/// Whether a key of this kind can be made here; others are imported.
pub fn can_be_made(algorithm: Algorithm) -> bool {
    match algorithm {
        Algorithm::Es256 | Algorithm::EdDsa => true,
        Algorithm::Rs256 | Algorithm::Ps256 => false,
    }
}

/// The rules for the keys of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct KeyRules {
    /// Algorithm of new keys.
    pub algorithm: Algorithm,
    /// Longest time in seconds that verifiers may keep the key set.
    pub jwks_max_age: u64,
    /// Seconds for which a new key is published before it may sign.
    pub publish_ahead: u64,
    /// Seconds after which the next key takes over by itself, if ever.
    pub rotate_every: Option<u64>,
}

/// What is wished for.
#[derive(Clone, Debug)]
pub enum Step {
    /// A new key, made or brought along; it is published at once.
    Add {
        /// Its algorithm.
        algorithm: Algorithm,
        /// Seconds until it signs; by default as long as the rules ask for.
        signs_in: Option<u64>,
        /// Also sooner than all verifiers know it.
        force: bool,
    },
    /// A published key signs from now on.
    Activate {
        /// The key.
        kid: KeyId,
        /// Also sooner than all verifiers know it.
        force: bool,
    },
    /// A key signs no more.
    Retire {
        /// The key.
        kid: KeyId,
        /// Also when no key is left that signs.
        force: bool,
    },
    /// A key leaked: nothing it signed is trusted, and another one signs.
    Revoke {
        /// The key.
        kid: KeyId,
        /// Algorithm of the replacement, if one must be made.
        algorithm: Algorithm,
    },
    /// The next key is published, takes over when all verifiers know it, and what has expired goes.
    Rotate {
        /// Algorithm of the next key.
        algorithm: Algorithm,
    },
    /// What has expired goes.
    Prune,
}

impl Step {
    /// The same step for a key of this algorithm.
    #[must_use]
    pub fn with_algorithm(&self, algorithm: Algorithm) -> Self {
        match self {
            Self::Add { signs_in, force, .. } => {
                Self::Add { algorithm, signs_in: *signs_in, force: *force }
            }
            Self::Activate { .. }
            | Self::Retire { .. }
            | Self::Revoke { .. }
            | Self::Rotate { .. }
            | Self::Prune => self.clone(),
        }
    }

    /// Whether a folder that is not there is made for it. For any other step it is a mistyped name.
    pub fn makes_folder(&self) -> bool {
        matches!(self, Self::Add { .. })
    }
}

/// One change of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "camelCase")]
pub enum Change {
    /// A key is added.
    Add {
        /// Its algorithm.
        algorithm: Algorithm,
        /// Its life.
        #[serde(flatten)]
        times: KeyTimes,
    },
    /// A key's life is another.
    Amend {
        /// The key.
        kid: KeyId,
        /// Its life.
        #[serde(flatten)]
        times: KeyTimes,
    },
    /// A key's file is removed.
    Remove {
        /// The key.
        kid: KeyId,
    },
}

impl Change {
    /// The key whose life is changed.
    pub fn amended(&self) -> Option<&KeyId> {
        match self {
            Self::Amend { kid, .. } => Some(kid),
            Self::Add { .. } | Self::Remove { .. } => None,
        }
    }

    /// Whether both do the same to the same key, be it at another time.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Add { algorithm: one, .. }, Self::Add { algorithm: two, .. }) => one == two,
            (Self::Amend { kid: one, .. }, Self::Amend { kid: two, .. })
            | (Self::Remove { kid: one }, Self::Remove { kid: two }) => one == two,
            (Self::Add { .. } | Self::Amend { .. } | Self::Remove { .. }, _) => false,
        }
    }
}

/// What a step does. The changes are safe in this order: cut off anywhere, they leave a folder that
/// works, and all that decides is in the first.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The changes of the folder.
    pub changes: Vec<Change>,
    /// What follows from them, in sentences.
    pub consequences: Vec<String>,
    /// Whether something is lost that could be kept.
    pub destructive: bool,
}

impl Plan {
    /// Whether both do the same, be it at another time.
    pub fn is_like(&self, other: &Self) -> bool {
        let both = self.changes.iter().zip(&other.changes);
        self.changes.len() == other.changes.len()
            && self.destructive == other.destructive
            && both.clone().all(|(one, two)| one.is_like(two))
    }

    /// Whether a key is added.
    pub fn adds(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Add { .. }))
    }

    fn says(&mut self, consequence: String) {
        self.consequences.push(consequence);
    }
}

/// Why a step is refused: as the keys are, it would break links.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// No key has this identifier.
    #[error("no key begins with {0:?}; resetd keys list shows all")]
    UnknownKey(String),
    /// Several keys could be meant.
    #[error("several keys begin with {0:?}; give more of it")]
    AmbiguousKey(String),
    /// The key would sign before all verifiers know it.
    #[error(
        "verifiers may keep the key set for {max_age} seconds, so a key that signs before {} breaks links; wait {wait} seconds, or break them with --force",
        to_rfc3339(*.safe_from)
    )]
    TooSoon {
        /// Seconds for which verifiers may keep the key set.
        max_age: u64,
        /// From when it may sign.
        safe_from: Timestamp,
        /// Seconds until then.
        wait: u64,
    },
    /// The key is not in the state that the step begins with.
    #[error("{kid} is {state}; wanted a key that is {wanted}")]
    WrongState {
        /// The key.
        kid: KeyId,
        /// Its state.
        state: KeyState,
        /// What it should be.
        wanted: &'static str,
    },
    /// No key would sign.
    #[error(
        "{kid} is the key that signs, so without it no token is issued; resetd keys rotate replaces it, or stop issuing with --force"
    )]
    LastKey {
        /// The key.
        kid: KeyId,
    },
    /// No more keys can be published.
    #[error(
        "{MAX_KEYS} keys are published, and verifiers take no more; wait until some have expired"
    )]
    TooManyKeys,
}

/// Plans one step, or says why it must not be.
///
/// # Errors
/// [`RotationError`].
pub fn plan(
    keyring: &Keyring,
    rules: &KeyRules,
    step: &Step,
    now: Timestamp,
) -> Result<Plan, RotationError> {
    let ring = Ring { keyring, rules, now };
    match step {
        Step::Add { algorithm, signs_in, force } => ring.add(*algorithm, *signs_in, *force),
        Step::Activate { kid, force } => ring.activate(ring.key(kid)?, *force),
        Step::Retire { kid, force } => ring.retire(ring.key(kid)?, *force),
        Step::Revoke { kid, algorithm } => ring.revoke(ring.key(kid)?, *algorithm),
        Step::Rotate { algorithm } => ring.rotate(*algorithm),
        Step::Prune => {
            let plan = ring.prune();
            Ok(Plan { destructive: !plan.changes.is_empty(), ..plan })
        }
    }
}

/// The key that is meant by the beginning of its identifier.
///
/// # Errors
/// [`RotationError::UnknownKey`], [`RotationError::AmbiguousKey`].
pub fn key_by_prefix<'k>(keyring: &'k Keyring, prefix: &str) -> Result<&'k Key, RotationError> {
    if let Some(key) = keyring.keys().find(|key| key.kid().as_str() == prefix) {
        return Ok(key);
    }
    let mut found = keyring.keys().filter(|key| key.kid().as_str().starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => Err(RotationError::UnknownKey(prefix.into())),
        (Some(_), Some(_)) => Err(RotationError::AmbiguousKey(prefix.into())),
    }
}

/// When the next key takes over: as its file says, or by the schedule. A time that has passed means
/// that the schedule was missed.
pub fn next_rotation(keyring: &Keyring, rules: &KeyRules, now: Timestamp) -> Option<Timestamp> {
    let ring = Ring { keyring, rules, now };
    let published = ring.in_state(KeyState::Next).map(|key| key.times().not_before).min();
    let Some(scheduled) = ring.scheduled() else {
        return published;
    };
    let in_time = scheduled.max(now.plus(rules.publish_ahead));
    published.filter(|at| *at <= in_time).or(Some(scheduled))
}

/// The step that the schedule asks for now, if any. Whoever missed a time, because the machine slept,
/// publishes first as ever.
///
/// # Errors
/// [`RotationError::TooManyKeys`].
pub fn due(
    keyring: &Keyring,
    rules: &KeyRules,
    now: Timestamp,
) -> Result<Option<Plan>, RotationError> {
    let ring = Ring { keyring, rules, now };
    let Some(scheduled) = ring.scheduled() else {
        return Ok(None);
    };
    if now.plus(rules.publish_ahead) < scheduled {
        return Ok(None);
    }
    // A key that is published for a time that never comes, made by a clock gone wrong, is no answer.
    let signs_from = ring.free_second(scheduled.max(now.plus(rules.publish_ahead)));
    let mut next = ring.in_state(KeyState::Next);
    if next.any(|key| key.times().not_before <= signs_from) {
        return Ok(None);
    }
    ring.expect_room()?;
    let mut plan = ring.prune();
    plan.changes.insert(0, ring.new_key(rules.algorithm, signs_from, None));
    Ok(Some(plan))
}
