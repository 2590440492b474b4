//! What a directory said just now, found or not found alike, so that a burst of requests does not become one.
//! That it did not answer is not remembered.

use std::time::Duration;

use moka::sync::Cache as Memory;

use super::person::Person;
use crate::domain::identifier::Username;

/// Answers remembered. The oldest ones may go: they are asked for again.
const MOST: u64 = 10_000;

/// What was said: the person, or that there is none.
pub(super) type Found = Option<Person>;

/// Answers by the exact name that was asked for.
pub(super) struct Cache(Option<Memory<Username, Found>>);

impl Cache {
    /// Remembers each answer for so long, or nothing if that is zero.
    pub(super) fn new(keep: Duration) -> Self {
        let memory = || Memory::builder().max_capacity(MOST).time_to_live(keep).build();
        Self((!keep.is_zero()).then(memory))
    }

    pub(super) fn get(&self, username: &Username) -> Option<Found> {
        self.0.as_ref()?.get(username)
    }

    pub(super) fn put(&self, username: &Username, found: Found) {
        if let Some(memory) = &self.0 {
            memory.insert(username.clone(), found);
        }
    }
}
