//! The keys in use: one set for all tenants that sign with it, so that they change for all at once.

use std::sync::Arc;

use arc_swap::ArcSwap;
use resetd_verify::Timestamp;

use super::error::Error;
use crate::domain::keyring::{Key, Keyring, Snapshot};
use crate::domain::policy::TenantName;

/// The keys of one folder.
#[derive(Debug)]
pub(super) struct KeysInUse {
    owner: TenantName,
    keys: ArcSwap<Keys>,
}

/// The keys, and what follows from them now. One pointer, so that neither can be that of another
/// moment.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) keyring: Arc<Keyring>,
    pub(super) snapshot: Snapshot,
}

impl Keys {
    fn at(keyring: Arc<Keyring>, now: Timestamp) -> Result<Self, Error> {
        let snapshot = keyring.at(now)?;
        Ok(Self { keyring, snapshot })
    }

    /// The one that signs; whoever has to make one is told whose keys they are.
    pub(super) fn active(&self, owner: &TenantName) -> Result<&Arc<Key>, Error> {
        let active = self.snapshot.active.as_ref();
        active.ok_or_else(|| Error::NoActiveKey { tenant: owner.clone() })
    }
}

impl KeysInUse {
    pub(super) fn new(owner: TenantName, keyring: Keyring, now: Timestamp) -> Result<Self, Error> {
        let keys = ArcSwap::from_pointee(Keys::at(Arc::new(keyring), now)?);
        Ok(Self { owner, keys })
    }

    /// Whose they are.
    pub(super) fn owner(&self) -> &TenantName {
        &self.owner
    }

    /// All of them, whatever they do now.
    pub(super) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keys.load().keyring)
    }

    /// The one that signs now.
    pub(super) fn active(&self, now: Timestamp) -> Result<Arc<Key>, Error> {
        self.at(now)?.active(&self.owner).cloned()
    }

    /// Swaps all at once; requests under way go on with the ones they began with.
    pub(super) fn replace(&self, keyring: Keyring, now: Timestamp) -> Result<(), Error> {
        let keys = Keys::at(Arc::new(keyring), now)?;
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// As they are now. The states of keys change by themselves, so the snapshot is derived again when
    /// one of them does; keys that were replaced meanwhile are left alone.
    pub(super) fn at(&self, now: Timestamp) -> Result<Arc<Keys>, Error> {
        let known = self.keys.load_full();
        if known.snapshot.holds_at(now) {
            return Ok(known);
        }
        let derived = Arc::new(Keys::at(Arc::clone(&known.keyring), now)?);
        self.keys.compare_and_swap(&known, Arc::clone(&derived));
        Ok(derived)
    }
}
