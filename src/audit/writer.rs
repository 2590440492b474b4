//! The one thread that writes, and so the one place where the chain is made.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use resetd_verify::Timestamp;

use super::line::{Head, encode};
use super::queue::{Entry, Queue};
use super::{Action, Event, Health, OK, Sink, Trail};
use crate::clock::Clock;

/// How often the disk is made to keep what was written, and how often it is tried again when it
/// failed. The disk may be that of the journal, which is waited for: more often would slow it.
const PERIOD: Duration = Duration::from_secs(1);
/// While there is nothing to do.
const IDLE: Duration = Duration::from_secs(600);

/// Starts the thread, if anybody keeps what it writes.
pub(super) fn spawn(
    sink: Sink,
    queue: &Arc<Queue>,
    health: &Arc<Health>,
    clock: &Arc<dyn Clock>,
) -> Option<JoinHandle<()>> {
    let (target, head) = match sink {
        Sink::Off => return None,
        Sink::Stdout => (Target::Stdout, Head::of_nothing()),
        Sink::File(trail) => {
            let head = trail.head().clone();
            (Target::File(trail), head)
        }
    };
    let writer = Writer {
        target,
        head,
        health: Arc::clone(health),
        clock: Arc::clone(clock),
        untold: 0,
        is_troubled: false,
        unsynced: None,
    };
    let queue = Arc::clone(queue);
    Some(thread::spawn(move || writer.run(&queue)))
}

#[derive(Debug)]
enum Target {
    Stdout,
    File(Trail),
}

impl Target {
    fn append(&mut self, line: &[u8], head: &Head) -> io::Result<()> {
        match self {
            Self::File(trail) => trail.append(line, head),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&[line, b"\n"].concat())?;
                stdout.flush()
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(trail) => trail.sync(),
            Self::Stdout => Ok(()),
        }
    }
}

struct Writer {
    target: Target,
    head: Head,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    /// Lost events of which no line tells yet.
    untold: u64,
    /// Whether the disk failed, and has not been heard of since.
    is_troubled: bool,
    /// Since when something may not be durable.
    unsynced: Option<Instant>,
}

impl Writer {
    fn run(mut self, queue: &Queue) {
        loop {
            let taken = queue.take(self.patience());
            for Entry { event, at } in taken.entries {
                self.append(&event, at);
            }
            self.untold += taken.lost;
            self.tell_lost();
            self.prune();
            self.sync(taken.is_last);
            if taken.is_last {
                return;
            }
        }
    }

    fn patience(&self) -> Duration {
        if self.untold > 0 || self.unsynced.is_some() { PERIOD } else { IDLE }
    }

    /// What was lost before an event is told before it.
    fn append(&mut self, event: &Event, at: Timestamp) {
        let written = self.tell_lost() && self.write(event, at);
        if !written {
            self.untold += 1;
            self.health.lose();
        }
    }

    /// Says whether nothing is left to tell.
    fn tell_lost(&mut self) -> bool {
        if self.untold == 0 {
            return true;
        }
        let reason = "they came faster than they could be written, or the disk failed";
        let event = Event {
            count: Some(self.untold),
            reason: Some(reason.into()),
            ..Event::new(Action::Lost, OK)
        };
        if !self.write(&event, self.clock.now()) {
            return false;
        }
        (self.untold, self.is_troubled) = (0, false);
        self.health.recover();
        true
    }

    /// A line that was not written takes no number, so the chain has no gap.
    fn write(&mut self, event: &Event, at: Timestamp) -> bool {
        let (line, head) = encode(&self.head, event, at);
        match self.target.append(&line, &head) {
            Ok(()) => {
                self.head = head;
                self.unsynced.get_or_insert_with(Instant::now);
                true
            }
            Err(error) => {
                self.trouble(&error);
                false
            }
        }
    }

    fn trouble(&mut self, error: &io::Error) {
        self.is_troubled = true;
        self.health.fail(&error.to_string());
    }

    /// The line that tells of it comes first: files that are gone without one were taken away.
    fn prune(&mut self) {
        let Target::File(trail) = &self.target else { return };
        let Some(first) = trail.kept_from() else { return };
        let event = Event { first_seq: Some(first), ..Event::new(Action::Pruned, OK) };
        // Else a power cut could keep the removal and lose the line that accounts for it.
        if self.write(&event, self.clock.now())
            && self.target.sync().is_ok()
            && let Target::File(trail) = &mut self.target
        {
            trail.remove_before(first);
        }
    }

    fn sync(&mut self, at_once: bool) {
        let is_due = self.unsynced.is_some_and(|since| at_once || since.elapsed() >= PERIOD);
        if !is_due {
            return;
        }
        match self.target.sync() {
            Ok(()) => {
                self.unsynced = None;
                if self.is_troubled && self.untold == 0 {
                    self.is_troubled = false;
                    self.health.recover();
                }
            }
            Err(error) => {
                self.unsynced = Some(Instant::now());
                self.trouble(&error);
            }
        }
    }
}
