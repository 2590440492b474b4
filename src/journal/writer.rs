//! The one thread that writes. All events that wait are written and synced together, then all who wait
//! are told.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};

use resetd_verify::Timestamp;
use tokio::sync::oneshot;

use super::Unwritten;
use super::disk::Disk;
use super::record::{BYTES, Event, HOUR, Record, head};
use super::replay::Recovered;

/// The most events that are synced together.
const MAX_BATCH: usize = 4096;

/// Learns what became of events. Called by the writer, in the order of the journal.
pub trait Sink: Send + Sync + fmt::Debug {
    /// The event is on disk.
    fn written(&self, event: &Event, at: Timestamp);

    /// The event did not happen and will not.
    fn given_up(&self, event: &Event, at: Timestamp);
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Append { events: Vec<Event>, at: Timestamp, done: oneshot::Sender<Result<(), Unwritten>> },
    Tidy(Timestamp),
}

/// How a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It writes.
    Well,
    /// The last event found no room. The next one tries again.
    Full,
    /// The disk failed, and nothing more is written.
    Failed,
}

/// The health, for all threads.
#[derive(Debug, Default)]
pub(super) struct SharedHealth(AtomicU8);

impl SharedHealth {
    pub(super) fn get(&self) -> Health {
        match self.0.load(Ordering::SeqCst) {
            0 => Health::Well,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    fn set(&self, health: Health) {
        self.0.store(health as u8, Ordering::SeqCst);
    }
}

pub(super) fn spawn(
    disk: Box<dyn Disk>,
    recovered: &Recovered,
    sink: Arc<dyn Sink>,
    jobs: Receiver<Job>,
    health: Arc<SharedHealth>,
) -> JoinHandle<()> {
    let mut writer = Writer {
        disk,
        lengths: recovered.lengths.clone(),
        number: recovered.next_number,
        batch: recovered.next_batch,
        sink,
        health,
    };
    thread::spawn(move || {
        while let Ok(first) = jobs.recv() {
            let more = jobs.try_iter().take(MAX_BATCH - 1);
            writer.work(std::iter::once(first).chain(more).collect());
        }
    })
}

struct Writer {
    disk: Box<dyn Disk>,
    /// Records in each segment.
    lengths: BTreeMap<u64, u32>,
    number: u64,
    batch: u64,
    sink: Arc<dyn Sink>,
    health: Arc<SharedHealth>,
}

/// Events that happen together or not at all.
type Waiting = (Vec<Event>, Timestamp, oneshot::Sender<Result<(), Unwritten>>);

impl Writer {
    fn work(&mut self, jobs: Vec<Job>) {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut tidy = None;
        for job in jobs {
            match job {
                Job::Append { events, at, done } => waiting.push((events, at, done)),
                Job::Tidy(now) => tidy = Some(now),
            }
        }
        if let Some(now) = tidy {
            self.tidy(now);
        }
        if !waiting.is_empty() {
            let result = self.commit(&waiting);
            self.tell(waiting, result);
        }
    }

    /// One batch: everything is written, then everything is synced.
    fn commit(&mut self, waiting: &[Waiting]) -> Result<(), Unwritten> {
        if self.health.get() == Health::Failed {
            return Err(Unwritten::Failed);
        }
        let batch = self.encode(waiting);
        match self.write(&batch) {
            Ok(()) => {}
            Err(error) if is_full(&error) => return self.take_back(&batch, &error),
            Err(error) => return Err(self.fail(&error)),
        }
        for hour in batch.keys() {
            // What a failed sync left on disk nobody can know, so nothing is retried.
            self.disk.sync(*hour).map_err(|error| self.fail(&error))?;
        }
        for (hour, records) in &batch {
            let added = u32::try_from(records.len() / BYTES).unwrap_or(u32::MAX);
            *self.lengths.entry(*hour).or_default() += added;
        }
        self.number += waiting.iter().map(|(events, ..)| events.len() as u64).sum::<u64>();
        self.batch += 1;
        self.health.set(Health::Well);
        Ok(())
    }

    /// The bytes of a batch for each segment.
    fn encode(&self, waiting: &[Waiting]) -> BTreeMap<u64, Vec<u8>> {
        let mut batch: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let each = waiting.iter().flat_map(|(events, at, _)| events.iter().map(move |it| (it, at)));
        for (number, (event, at)) in (self.number..).zip(each) {
            let hour = event.until(*at).seconds() / HOUR;
            let first = self.lengths.get(&hour).copied().unwrap_or_default();
            let record = Record { number, batch: self.batch, first, at: *at, event: *event };
            batch.entry(hour).or_default().extend(record.encode());
        }
        batch
    }

    fn write(&mut self, batch: &BTreeMap<u64, Vec<u8>>) -> io::Result<()> {
        for (hour, bytes) in batch {
            if !self.lengths.contains_key(hour) {
                self.disk.create(*hour, &head(*hour))?;
                self.lengths.insert(*hour, 0);
            }
            self.disk.write(*hour, self.end_of(*hour), bytes)?;
        }
        Ok(())
    }

    /// Bytes of a segment up to its end: its head and its records.
    fn end_of(&self, hour: u64) -> u64 {
        let records = self.lengths.get(&hour).copied().unwrap_or_default();
        (u64::from(records) + 1) * BYTES as u64
    }

    /// Nothing was synced yet, so a batch that found no room can be undone as a whole.
    fn take_back(
        &mut self,
        batch: &BTreeMap<u64, Vec<u8>>,
        error: &io::Error,
    ) -> Result<(), Unwritten> {
        for hour in batch.keys().filter(|hour| self.lengths.contains_key(hour)) {
            let undone = self.disk.truncate(*hour, self.end_of(*hour));
            if let Err(error) = undone.and_then(|()| self.disk.sync(*hour)) {
                return Err(self.fail(&error));
            }
        }
        if self.health.get() != Health::Full {
            tracing::error!(%error, "the journal is full: nothing is spent or issued until there is room");
        }
        self.health.set(Health::Full);
        Err(Unwritten::Full)
    }

    fn fail(&self, error: &io::Error) -> Unwritten {
        tracing::error!(%error, "the journal failed: nothing is spent or issued any more; mend the disk and restart");
        self.health.set(Health::Failed);
        Unwritten::Failed
    }

    fn tell(&self, waiting: Vec<Waiting>, result: Result<(), Unwritten>) {
        for (events, at, done) in waiting {
            for event in &events {
                match result {
                    Ok(()) => self.sink.written(event, at),
                    Err(Unwritten::Full) => self.sink.given_up(event, at),
                    // It may be on disk or not: in memory it stays as if it were.
                    Err(Unwritten::Failed) => {}
                }
            }
            // Nobody may be waiting any more.
            let _ = done.send(result);
        }
    }

    fn tidy(&mut self, now: Timestamp) {
        let first = now.seconds() / HOUR;
        if self.lengths.keys().next().is_none_or(|oldest| *oldest >= first) {
            return;
        }
        // What is removed is over at this time, so it must be known after a restart that it was reached:
        // a clock that was ahead for a moment would bring spent tokens back else.
        let (done, _) = oneshot::channel();
        if self.commit(&[(vec![Event::Tick], now, done)]).is_err() {
            return;
        }
        match self.disk.remove_before(first) {
            Ok(()) => self.lengths.retain(|hour, _| *hour >= first),
            Err(error) => tracing::warn!(%error, "old segments of the journal cannot be removed"),
        }
    }
}

/// No room: on the disk, of the quota, or by a limit on the size of files.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    [StorageFull, QuotaExceeded, FileTooLarge].contains(&error.kind())
}
