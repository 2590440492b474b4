//! The keys of an issuer and the life of each, derived from its own members and the time. There is
//! no index: whoever reads the same keys at the same moment comes to the same answer.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::crypto::SigningKey;
use resetd_verify::{JwksError, KeyId, KeySet, PublicKey, TOKEN_TYPE, Timestamp};

/// A key pair with the times that decide its state.
#[derive(Debug)]
pub struct Key {
    public: PublicKey,
    signing: SigningKey,
    times: KeyTimes,
    /// The JOSE header of every token it signs, encoded once.
    encoded_header: String,
}

/// What a key's file says of its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTimes {
    /// From when it may sign.
    pub not_before: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// From when it may not sign any more, where an admin said so.
    pub retired_at: Option<Timestamp>,
    /// From when it is not trusted any more.
    pub revoked_at: Option<Timestamp>,
    /// The key that it took the place of because that one leaked. So one file makes a leaked key
    /// revoked and its replacement active in one step; the leaked one is revoked from this key's
    /// `not_before` on, whatever its own file says.
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
    pub fn new(public: PublicKey, signing: SigningKey, times: KeyTimes) -> Self {
        let header = format!(
            r#"{{"alg":"{}","typ":"{TOKEN_TYPE}","kid":"{}"}}"#,
            public.algorithm(),
            public.kid()
        );
        let encoded_header = URL_SAFE_NO_PAD.encode(header);
        Self { public, signing, times, encoded_header }
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

    pub(super) fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    pub(super) fn encoded_header(&self) -> &str {
        &self.encoded_header
    }

    fn is_revoked(&self, now: Timestamp) -> bool {
        self.times.revoked_at.is_some_and(|at| at <= now)
    }

    /// Whether there was a moment up to now at which it could sign.
    fn has_signed(&self, now: Timestamp) -> bool {
        let KeyTimes { not_before, retired_at, revoked_at, .. } = self.times;
        let came_too_late = |end: Option<Timestamp>| end.is_some_and(|end| end <= not_before);
        not_before <= now && !came_too_late(retired_at) && !came_too_late(revoked_at)
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
    /// Retired so long ago that none of its tokens can be alive: neither published nor trusted.
    Expired,
    /// Not trusted.
    Revoked,
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

/// All keys of an issuer, newest first.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<Arc<Key>>,
    retention: u64,
}

impl Keyring {
    /// Takes the keys. `retention` is the longest time in seconds that a token can be accepted
    /// after it was signed: so long a retired key must stay.
    pub fn new(mut keys: Vec<Key>, retention: u64) -> Self {
        keys.sort_by_key(|key| std::cmp::Reverse(key.age()));
        Self { keys: keys.into_iter().map(Arc::new).collect(), retention }
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All keys, newest first.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// The state of a key of this ring.
    pub fn state(&self, key: &Key, now: Timestamp) -> KeyState {
        if key.is_revoked(now) {
            KeyState::Revoked
        } else if key.times.not_before > now {
            KeyState::Next
        } else {
            match self.stopped_signing(key, now) {
                None => KeyState::Active,
                Some(stopped) if now >= stopped.plus(self.retention) => KeyState::Expired,
                Some(_) => KeyState::Retired,
            }
        }
    }

    /// When the last token of a retired key has expired; nothing for a key in another state.
    pub fn last_token_expires(&self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        (self.state(key, now) == KeyState::Retired)
            .then(|| self.stopped_signing(key, now).map(|stopped| stopped.plus(self.retention)))
            .flatten()
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
                let KeyTimes { not_before, retired_at, revoked_at, .. } = key.times;
                let removal = self.last_token_expires(key, now);
                [Some(not_before), retired_at, revoked_at, removal]
            })
            .flatten()
            .filter(|change| *change > now)
            .min()
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
