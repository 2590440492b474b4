//! A key as it is told of: the same members on the command line and over HTTP.

use resetd_verify::{Algorithm, KeyId, Timestamp};
use serde::Serialize;

use crate::domain::keyring::{Key, KeyState, Keyring};
use crate::domain::rotation::{self, KeyRules};
use crate::domain::time::rfc3339;
use crate::keystore::Contents;

/// A key and where it is in its life.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyDescription {
    /// Its identifier.
    pub kid: KeyId,
    /// What it does now.
    pub state: KeyState,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// When it was put into the folder.
    #[serde(with = "rfc3339")]
    pub created: Timestamp,
    /// From when it signs.
    #[serde(with = "rfc3339")]
    pub signs_from: Timestamp,
    /// When the last token it signed has expired.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_token_expires: Option<Timestamp>,
    /// Seconds until its file can be removed; 0 when it can be now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removable_in_seconds: Option<u64>,
}

impl KeyDescription {
    /// Describes a key of this ring.
    pub fn of(key: &Key, keyring: &Keyring, now: Timestamp) -> Self {
        Self {
            kid: key.kid().clone(),
            state: keyring.state(key, now),
            algorithm: key.public().algorithm(),
            created: key.times().created,
            signs_from: key.times().not_before,
            last_token_expires: keyring.last_token_expires(key, now),
            removable_in_seconds: keyring.removable_from(key, now).map(|from| from.since(now)),
        }
    }
}

/// The keys of a folder, the files that are none, and when the next key takes over.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyList {
    /// Newest first.
    pub keys: Vec<KeyDescription>,
    /// What is wrong with the other files, by name. While there is one, a running server goes on
    /// with the keys it has.
    pub faults: Vec<String>,
    /// When the next key takes over, if that is known.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<Timestamp>,
}

impl KeyList {
    pub(super) fn of(contents: &Contents, rules: &KeyRules, now: Timestamp) -> Self {
        let Contents { keyring, faults } = contents;
        Self {
            keys: keyring.keys().map(|key| KeyDescription::of(key, keyring, now)).collect(),
            faults: faults.iter().map(ToString::to_string).collect(),
            next_rotation: rotation::next_rotation(keyring, rules, now),
        }
    }
}
