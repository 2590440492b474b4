//! The keys of an issuer and the life of each, derived from its own members and the time. There is
//! no index: whoever reads the same keys at the same moment comes to the same answer.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::crypto::SigningKey;
use resetd_verify::{JwksError, KeyId, KeySet, PublicKey, TOKEN_TYPE, Timestamp};
use serde::{Serialize, Serializer};

use crate::domain::binding::BindingKey;
use crate::domain::time::rfc3339;

/// A key pair with the times that decide its state. Clones share the private half.
#[derive(Clone, Debug)]
pub struct Key {
    public: PublicKey,
    signing: Arc<SigningKey>,
    binding: BindingKey,
    times: KeyTimes,
    /// The JOSE header of every token it signs, encoded once.
    encoded_header: String,
}

/// What a key's file says of its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyTimes {
    /// From when it may sign.
    #[serde(with = "rfc3339")]
    pub not_before: Timestamp,
    /// When it was put into the folder, and so published.
    #[serde(with = "rfc3339")]
    pub created: Timestamp,
    /// From when it may not sign any more, where an admin said so.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
    /// When it was revoked. It is not trusted, whatever the time is.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The key that it took the place of because that one leaked. So one file makes a leaked key
    /// revoked and its replacement active in one step; the leaked one is revoked from this key's
    /// `not_before` on, whatever its own file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revokes: Option<KeyId>,
}

impl KeyTimes {
    /// A key made at `created` that may sign from `not_before` on.
    pub fn new(created: Timestamp, not_before: Timestamp) -> Self {
        Self { not_before, created, retired_at: None, revoked_at: None, revokes: None }
    }
}

impl Key {
    /// Puts the halves and the times of a key together.
    pub fn new(
        public: PublicKey,
        signing: SigningKey,
        binding: BindingKey,
        times: KeyTimes,
    ) -> Self {
        let header = format!(
            r#"{{"alg":"{}","typ":"{TOKEN_TYPE}","kid":"{}"}}"#,
            public.algorithm(),
            public.kid()
        );
        let encoded_header = URL_SAFE_NO_PAD.encode(header);
        Self { public, signing: Arc::new(signing), binding, times, encoded_header }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The identifier.
    pub fn kid(&self) -> &KeyId {
        self.public.kid()
    }

    /// The times in its file.
    pub fn times(&self) -> &KeyTimes {
        &self.times
    }

    /// What binds its tokens to the version of a credential.
    pub fn binding(&self) -> &BindingKey {
        &self.binding
    }

    pub(super) fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    pub(super) fn encoded_header(&self) -> &str {
        &self.encoded_header
    }

    /// At once, whatever the clock says: a clock that is slow or set back must not bring a leaked
    /// key back.
    fn is_revoked(&self) -> bool {
        self.times.revoked_at.is_some()
    }

    /// Whether its end comes before its beginning, so that it signs nothing.
    fn never_signs(&self) -> bool {
        let KeyTimes { not_before, retired_at, revoked_at, .. } = self.times;
        retired_at.into_iter().chain(revoked_at).any(|end| end <= not_before)
    }

    /// Whether there was a moment up to now at which it could sign.
    fn has_signed(&self, now: Timestamp) -> bool {
        self.times.not_before <= now && !self.never_signs()
    }

    /// Newer keys come first; the identifier decides between twins.
    fn age(&self) -> impl Ord + use<> {
        (self.times.not_before, self.times.created, self.kid().clone())
    }
}

/// What a key does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, does not sign yet.
    Next,
    /// Signs: the newest whose `not_before` has passed.
    Active,
    /// Signs no more; its tokens are good until the last one has expired.
    Retired,
    /// None of its tokens can be alive, be it that it retired long ago or before it signed: neither
    /// published nor trusted.
    Expired,
    /// Not trusted.
    Revoked,
}

impl KeyState {
    /// Every state there is, in the order of a key's life.
    pub const ALL: [Self; 5] =
        [Self::Next, Self::Active, Self::Retired, Self::Expired, Self::Revoked];
}

impl Serialize for KeyState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// Seconds granted to clocks that disagree and to servers that take a moment to see a change: added
/// to the time for which a new key is published before it signs, and to the time for which a retired
/// one is kept.
pub const MARGIN: u64 = 60;

/// All keys of an issuer, newest first.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<Arc<Key>>,
    acceptance: u64,
}

impl Keyring {
    /// Takes the keys. `acceptance` is the longest time in seconds for which a token can be accepted
    /// after it was signed: so long, and [`MARGIN`], a retired key must stay.
    pub fn new(mut keys: Vec<Key>, acceptance: u64) -> Self {
        revoke_replaced(&mut keys);
        keys.sort_by_key(|key| std::cmp::Reverse(key.age()));
        Self { keys: keys.into_iter().map(Arc::new).collect(), acceptance }
    }

    /// Seconds for which a key that signs no more must stay.
    pub fn retention(&self) -> u64 {
        self.acceptance.saturating_add(MARGIN)
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All keys, newest first.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// The key that signs.
    pub fn active(&self, now: Timestamp) -> Option<&Key> {
        self.keys().find(|key| self.state(key, now) == KeyState::Active)
    }

    /// The state of a key of this ring.
    pub fn state(&self, key: &Key, now: Timestamp) -> KeyState {
        let is_retired = key.times.retired_at.is_some_and(|at| at <= now);
        if key.is_revoked() {
            KeyState::Revoked
        } else if is_retired && key.never_signs() {
            KeyState::Expired
        } else if key.times.not_before > now {
            KeyState::Next
        } else {
            match self.stopped_signing(key, now) {
                None => KeyState::Active,
                Some(stopped) if now >= stopped.plus(self.retention()) => KeyState::Expired,
                Some(_) => KeyState::Retired,
            }
        }
    }

    /// When the last token of a retired key has expired; nothing for a key in another state.
    pub fn last_token_expires(&self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        self.retired_since(key, now).map(|stopped| stopped.plus(self.acceptance))
    }

    /// When the file of a key can be removed, as far as that is known. A revoked key stays as long
    /// as a retired one would: it says which older keys never sign again.
    pub fn removable_from(&self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        match self.state(key, now) {
            KeyState::Next | KeyState::Active => None,
            KeyState::Retired => self.retired_since(key, now).map(|at| at.plus(self.retention())),
            KeyState::Expired => Some(now),
            KeyState::Revoked => key.times.revoked_at.map(|at| at.plus(self.retention())),
        }
    }

    fn retired_since(&self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        let is_retired = self.state(key, now) == KeyState::Retired;
        is_retired.then(|| self.stopped_signing(key, now)).flatten()
    }

    /// The keys whose files can be removed now, oldest first: without the file of the key that took
    /// over from it, an older one would sign again.
    pub fn removable(&self, now: Timestamp) -> Vec<&Key> {
        let is_over = |key: &&Key| self.removable_from(key, now).is_some_and(|from| from <= now);
        self.keys().rev().filter(is_over).collect()
    }

    /// When a key that was to sign stopped: by word of an admin, or by a newer key taking over. It
    /// never signs again, also when the newer key is revoked: verifiers may have dropped it by then.
    fn stopped_signing(&self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        let told = key.times.retired_at.filter(|at| *at <= now);
        let taken_over = self
            .keys()
            .filter(|other| other.age() > key.age() && other.has_signed(now))
            .map(|other| other.times.not_before)
            .min();
        told.into_iter().chain(taken_over).min()
    }

    /// Everything that is derived from the keys at one moment, and how long it stays true.
    ///
    /// # Errors
    /// [`JwksError::DuplicateKeyId`] when two keys have one identifier.
    pub fn at(&self, now: Timestamp) -> Result<Snapshot, JwksError> {
        let in_state = |wanted: &[KeyState]| {
            let wanted = wanted.to_vec();
            self.keys.iter().filter(move |key| wanted.contains(&self.state(key, now)))
        };
        let trusted: Vec<PublicKey> =
            in_state(&[KeyState::Next, KeyState::Active, KeyState::Retired])
                .map(|key| key.public.clone())
                .collect();
        Ok(Snapshot {
            active: in_state(&[KeyState::Active]).next().cloned(),
            verifying: KeySet::from_keys(trusted.iter().cloned())?,
            published: trusted,
            from: now,
            until: self.next_change(now),
        })
    }

    /// The next moment at which any key changes its state by itself.
    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.keys()
            .flat_map(|key| {
                let KeyTimes { not_before, retired_at, .. } = key.times;
                let removal = self.removable_from(key, now);
                [Some(not_before), retired_at, removal]
            })
            .flatten()
            .filter(|change| *change > now)
            .min()
    }
}

/// What a key says of the one it replaced is part of that one's life.
fn revoke_replaced(keys: &mut [Key]) {
    let revoked: Vec<(KeyId, Timestamp)> = keys
        .iter()
        .filter_map(|key| Some((key.times.revokes.clone()?, key.times.not_before)))
        .collect();
    for (kid, at) in revoked {
        if let Some(key) = keys.iter_mut().find(|key| *key.kid() == kid) {
            key.times.revoked_at = Some(key.times.revoked_at.map_or(at, |known| known.min(at)));
        }
    }
}

/// The keyring as it is between two moments.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The key that signs, if there is one.
    pub active: Option<Arc<Key>>,
    /// The keys whose tokens are good.
    pub verifying: KeySet,
    /// The same keys as they are published, newest first.
    pub published: Vec<PublicKey>,
    from: Timestamp,
    until: Option<Timestamp>,
}

impl Snapshot {
    /// Whether this is still the truth.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now >= self.from && self.until.is_none_or(|until| now < until)
    }

    /// Seconds until it changes by itself, at most `limit`.
    pub fn holds_for(&self, now: Timestamp, limit: u64) -> u64 {
        self.until.map_or(limit, |until| until.since(now).min(limit))
    }
}
