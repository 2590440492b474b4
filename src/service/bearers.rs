//! Identity providers whose clients may call, each with the keys that are known of it now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use resetd_verify::{KeySet, Timestamp};

use crate::domain::bearer::{BearerError, BearerIssuer};
use crate::domain::caller::{Caller, NoCaller};

/// An identity provider and its keys. Until some are known, nobody gets in by it.
#[derive(Debug)]
pub struct Bearer {
    issuer: BearerIssuer,
    keys: ArcSwap<KeySet>,
    /// Whether a token named a key that is not known.
    is_stale: AtomicBool,
}

impl Bearer {
    /// Without keys yet.
    pub fn new(issuer: BearerIssuer) -> Self {
        Self { issuer, keys: ArcSwap::default(), is_stale: AtomicBool::new(false) }
    }

    /// Its name in logs.
    pub fn name(&self) -> &str {
        &self.issuer.name
    }

    /// Goes on with these keys.
    pub fn replace_keys(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
    }

    /// Whether a token named a key that is not known, since this was last asked.
    pub fn take_stale(&self) -> bool {
        self.is_stale.swap(false, Ordering::Relaxed)
    }

    fn open(&self, token: &str, now: Timestamp) -> Result<Arc<Caller>, BearerError> {
        let opened = self.issuer.open(token, &self.keys.load(), now);
        if opened.as_ref().err() == Some(&BearerError::UnknownKey) {
            self.is_stale.store(true, Ordering::Relaxed);
        }
        opened
    }
}

/// The caller whose token one of the providers issued.
pub(super) fn authenticate(
    bearers: &[Arc<Bearer>],
    token: &str,
    now: Timestamp,
) -> Result<Arc<Caller>, NoCaller> {
    let mut refused = NoCaller::Unknown;
    for bearer in bearers {
        match bearer.open(token, now) {
            Ok(caller) => return Ok(caller),
            // With several providers, the one that has the key knows best what is wrong.
            Err(BearerError::UnknownKey) if refused != NoCaller::Unknown => {}
            Err(error) => refused = NoCaller::BadToken { issuer: bearer.name().into(), error },
        }
    }
    Err(refused)
}
