//! What a directory said just now, found or not found alike, so that a burst of requests does not become one.
//! That it did not answer is not remembered.

use std::time::Duration;

use moka::sync::Cache as Memory;

use super::person::Person;
use crate::domain::identifier::Username;

/// Memory for answers. Those that find no room are asked for again.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// What each one takes beside its text.
const OVERHEAD_BYTES: usize = 256;

/// What was said: the person, or that there is none.
pub(super) type Found = Option<Person>;

/// Answers by the exact name that was asked for.
pub(super) struct Cache(Option<Memory<Username, Found>>);

impl Cache {
    /// Remembers each answer for so long, or nothing if that is zero.
    pub(super) fn new(keep: Duration) -> Self {
        let memory = || {
            let memory = Memory::builder().max_capacity(MOST_BYTES).weigher(bytes);
            memory.time_to_live(keep).build()
        };
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

fn bytes(username: &Username, found: &Found) -> u32 {
    let found = found.as_ref().map_or(0, Person::bytes);
    u32::try_from(OVERHEAD_BYTES + username.as_str().len() + found).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::person::Told;

    #[test]
    fn answers_take_so_much_memory_and_no_more_however_long_they_are() {
        let provider = "x".repeat(256);
        let cache = Cache::new(Duration::from_secs(3600));
        for index in 0..5_000 {
            let text = format!("user{index}");
            let identity_providers = vec![provider.as_str(); 64];
            let told = Told { username: &text, identity_providers, ..Told::default() };
            cache.put(&Username::parse(&text).unwrap(), Some(told.into_person().unwrap()));
        }
        let memory = cache.0.unwrap();
        memory.run_pending_tasks();
        let bytes: usize =
            memory.iter().map(|(_, found)| found.as_ref().map_or(0, Person::bytes)).sum();
        assert!(memory.entry_count() > 100, "{}", memory.entry_count());
        assert!(bytes as u64 <= MOST_BYTES, "{bytes}");
    }
}
