//! What waits to be written: bounded, and never waited for by those who add to it.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resetd_verify::Timestamp;

use super::Event;

/// So many events may wait: some megabytes, and some seconds of a slow disk.
pub(super) const CAPACITY: usize = 8192;
/// So many are taken at once. What is taken and not yet written waits as well.
const BATCH: usize = 256;

/// An event and when it was.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) event: Event,
    pub(super) at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    lost: u64,
    is_closed: bool,
}

/// What was taken out.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) entries: Vec<Entry>,
    /// How many came after these and found no room.
    pub(super) lost: u64,
    /// Whether nothing more will come.
    pub(super) is_last: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether there was room.
    pub(super) fn push(&self, entry: Entry) -> bool {
        let mut waiting = self.waiting();
        let has_room = !waiting.is_closed && waiting.entries.len() < CAPACITY;
        if has_room {
            waiting.entries.push_back(entry);
            self.changed.notify_one();
        } else {
            waiting.lost += 1;
        }
        has_room
    }

    /// Nothing more is taken in.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.changed.notify_one();
    }

    /// Takes the oldest, as soon as there is anything, or nothing after a while.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let is_idle = |waiting: &mut Waiting| waiting.entries.is_empty() && !waiting.is_closed;
        let waited = self.changed.wait_timeout_while(self.waiting(), patience, is_idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let count = waiting.entries.len().min(BATCH);
        let entries = waiting.entries.drain(..count).collect();
        let is_all = waiting.entries.is_empty();
        let lost = if is_all { mem::take(&mut waiting.lost) } else { 0 };
        Taken { entries, lost, is_last: is_all && waiting.is_closed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Action, OK};

    fn entry() -> Entry {
        Entry { event: Event::new(Action::Check, OK), at: Timestamp::from_seconds(0) }
    }

    #[test]
    fn what_finds_no_room_is_counted_once_and_the_rest_is_kept() {
        let queue = Queue::default();
        let taken = (0..CAPACITY + 3).filter(|_| queue.push(entry())).count();
        assert_eq!(taken, CAPACITY);
        let (mut kept, mut lost) = (0, 0);
        while kept < CAPACITY {
            let taken = queue.take(Duration::ZERO);
            assert!((1..=BATCH).contains(&taken.entries.len()));
            assert_eq!(lost, 0, "told before what came before it");
            (kept, lost) = (kept + taken.entries.len(), taken.lost);
        }
        assert_eq!((kept, lost), (CAPACITY, 3));
        let nothing = queue.take(Duration::ZERO);
        assert_eq!((nothing.entries.len(), nothing.lost), (0, 0));
        assert!(queue.push(entry()));
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_no_more() {
        let queue = Queue::default();
        queue.push(entry());
        queue.close();
        assert!(!queue.push(entry()));
        let taken = queue.take(Duration::from_secs(60));
        assert_eq!((taken.entries.len(), taken.lost, taken.is_last), (1, 1, true));
    }
}
