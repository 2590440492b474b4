//! How many connections each address has, so that one alone does not take all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So often it is said that an address has its share. One that opens and closes connections could else
/// write the log full.
const SAID_EVERY: Duration = Duration::from_secs(60);

type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The connections of each address. None is kept of an address that has none.
#[derive(Debug)]
pub(super) struct Shares {
    each: usize,
    counts: Counts,
    said: Option<Instant>,
}

impl Shares {
    /// So many for each.
    pub(super) fn new(each: usize) -> Self {
        Self { each, counts: Counts::default(), said: None }
    }

    /// One more for this address, unless it has its share. Nobody's is always let in.
    pub(super) fn take(&mut self, address: Option<IpAddr>) -> Option<Place> {
        let Some(address) = address else { return Some(Place(None)) };
        let taken = self.count(address);
        if taken.is_none() && self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            self.said = Some(Instant::now());
            let share = self.each;
            tracing::warn!(%address, share, "an address has its share of connections, more are turned away; a proxy belongs into limits.trusted_proxies");
        }
        taken
    }

    fn count(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&address).copied().unwrap_or(0);
        if count >= self.each {
            return None;
        }
        counts.insert(address, count + 1);
        Some(Place(Some((address, Arc::clone(&self.counts)))))
    }
}

/// What one connection has of the share of its address, if it is counted; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<(IpAddr, Counts)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((address, counts)) = &self.0 else { return };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_share_and_gives_it_back() {
        let mut shares = Shares::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| Some(text.parse().unwrap()));
        let places = [shares.take(one).unwrap(), shares.take(one).unwrap()];
        assert!(shares.take(one).is_none());
        assert!(shares.take(other).is_some());
        let uncounted = [(); 3].map(|()| shares.take(None));
        assert!(uncounted.iter().all(Option::is_some));
        let [first, second] = places;
        drop(first);
        let third = shares.take(one).unwrap();
        assert!(shares.take(one).is_none());
        drop((second, third));
        assert!(shares.counts.lock().unwrap().is_empty(), "nobody is remembered for nothing");
    }
}
