//! What is to be sent, until it was sent: bounded, in memory, and written down under `state/` where the
//! journal is, so that a restart loses nothing that was promised. `delivery.rs` takes orders out and says
//! what came of them.
//!
//! An order is promised when it is on disk, and crossed out when it was sent. Whoever is killed between the
//! two sends it again, under the same identifier.

mod log;
mod queue;

use std::fmt;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use resetd_verify::Timestamp;
use tokio::sync::{Notify, oneshot};

use crate::domain::order::{Lane, Order};

use log::{Job, Log, Writer};
use queue::{Next, Queue};

/// The name of the file under `state/`.
pub const LOG_FILE: &str = "outbox.log";

/// Orders that wait. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    log: Mutex<Paper>,
}

/// Where orders are written down.
enum Paper {
    /// Nowhere.
    None,
    /// In a file.
    Log { jobs: mpsc::Sender<Job>, writer: JoinHandle<()> },
    /// Nothing more is taken.
    Closed,
}

/// What the writer and those who send have in common.
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
    is_failing: AtomicBool,
    lost: AtomicU64,
}

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// So many wait already.
    #[error("as many orders wait to be sent as outbox.capacity allows")]
    Full,
    /// It cannot be written down.
    #[error("the outbox cannot be written, so nothing more can be promised")]
    Unwritten,
}

/// Why there is no outbox.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct OutboxError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub error: std::io::Error,
}

/// An order that is being sent. It counts as waiting until it is said what came of it.
#[derive(Debug)]
pub struct Taken {
    /// What is to be sent.
    pub order: Order,
    /// How often it was tried before, in this process.
    pub tries: u32,
    /// Whether a token was signed for it before, in this process.
    pub is_signed: bool,
}

/// What became of orders, for those who count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// For whom they were.
    pub lane: Lane,
    /// What, in one word.
    pub what: &'static str,
}

/// How much of one kind waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For whom.
    pub lane: Lane,
    /// How many, those that are being sent among them.
    pub count: u64,
    /// When the oldest of them was taken.
    pub oldest: Option<Timestamp>,
}

impl Outbox {
    /// Keeps orders in memory only.
    pub fn in_memory(capacity: usize) -> Self {
        Self(Arc::new(Inner { shared: Shared::new(capacity), log: Mutex::new(Paper::None) }))
    }

    /// Keeps them in a folder as well, and takes up what waits there. Only one process may: the folder is
    /// that of the journal, which is locked.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn open(folder: &Path, capacity: usize) -> Result<Self, OutboxError> {
        let path = folder.join(LOG_FILE);
        let (log, orders) = Log::open(&path).map_err(|error| OutboxError { path, error })?;
        let shared = Shared::new(capacity);
        if !orders.is_empty() {
            tracing::info!(orders = orders.len(), "what was not sent before the start is sent now");
        }
        for order in orders {
            // Promised is promised, also where fewer would be taken now.
            shared.queue().take_in(order, Instant::now());
        }
        let (jobs, waiting) = mpsc::channel();
        let writer = Writer::new(log, Arc::clone(&shared));
        let writer = thread::spawn(move || writer.run(&waiting));
        Ok(Self(Arc::new(Inner { shared, log: Mutex::new(Paper::Log { jobs, writer }) })))
    }

    /// Keeps room for an order.
    ///
    /// # Errors
    /// [`NotTaken::Full`].
    pub fn reserve(&self) -> Result<Room<'_>, NotTaken> {
        if self.0.shared.queue().reserve() { Ok(Room(self)) } else { Err(NotTaken::Full) }
    }

    /// Takes an order that nobody waits for. It is written down soon; what finds no room is counted.
    pub fn offer(&self, order: Order) {
        if self.0.shared.queue().reserve_beside(&order.lane()) {
            self.hand_over(order, None);
        } else {
            self.0.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The next order that is due, as soon as there is one.
    pub async fn next(&self) -> Taken {
        let shared = &self.0.shared;
        loop {
            let changed = shared.changed.notified();
            let next = shared.queue().next(Instant::now());
            match next {
                Next::Due(taken) => return taken,
                Next::Nothing => changed.await,
                Next::At(then) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(then.into()) => {}
                    }
                }
            }
        }
    }

    /// The order was sent, or will never be.
    pub fn done(&self, order: &Order, what: &'static str) {
        let shared = &self.0.shared;
        shared.queue().done(order, what);
        // There may be room for the next one of its kind.
        shared.changed.notify_one();
        self.cross_out(order);
    }

    /// The order is to be tried again after a while.
    pub fn again(&self, taken: Taken, after: Duration) {
        let shared = &self.0.shared;
        shared.queue().again(taken, Instant::now() + after);
        shared.changed.notify_one();
    }

    /// An order that is due now, if there is one.
    pub fn due(&self) -> Option<Taken> {
        match self.0.shared.queue().next(Instant::now()) {
            Next::Due(taken) => Some(taken),
            Next::At(_) | Next::Nothing => None,
        }
    }

    /// How often what came of orders, since the start.
    pub fn outcomes(&self) -> Vec<(Outcome, u64)> {
        self.0.shared.queue().outcomes()
    }

    /// What waits now.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.0.shared.queue().waiting()
    }

    /// Orders that found no room, since the start.
    pub fn lost(&self) -> u64 {
        self.0.shared.lost.load(Ordering::Relaxed)
    }

    /// Whether what is to be sent cannot be written down.
    pub fn is_failing(&self) -> bool {
        self.0.shared.is_failing.load(Ordering::Relaxed)
    }

    /// Writes what is to be written, and says how many orders still wait. Those that are written down are
    /// sent after the next start.
    pub fn close(&self) -> u64 {
        let paper = mem::replace(&mut *self.log(), Paper::Closed);
        if let Paper::Log { jobs, writer } = paper {
            drop(jobs);
            let _ = writer.join();
        }
        self.waiting().iter().map(|waiting| waiting.count).sum()
    }

    /// Whether orders survive this process.
    pub fn is_durable(&self) -> bool {
        matches!(*self.log(), Paper::Log { .. })
    }

    fn hand_over(&self, order: Order, promise: Option<Promise>) {
        let order = Box::new(order);
        match &*self.log() {
            Paper::Log { jobs, .. } => {
                let _ = jobs.send(Job::Add { order, promise });
            }
            Paper::None => self.0.shared.tell(order, promise, Ok(())),
            Paper::Closed => self.0.shared.tell(order, promise, Err(NotTaken::Unwritten)),
        }
    }

    fn cross_out(&self, order: &Order) {
        if let Paper::Log { jobs, .. } = &*self.log() {
            let _ = jobs.send(Job::CrossOut(order.id));
        }
    }

    fn log(&self) -> MutexGuard<'_, Paper> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.waiting().iter().map(|waiting| waiting.count).sum();
        write!(formatter, "Outbox({count})")
    }
}

/// Gives an order back to whoever waits until it is written down.
type Promise = oneshot::Sender<Result<Box<Order>, NotTaken>>;

/// Room for one order.
#[derive(Debug)]
pub struct Room<'o>(&'o Outbox);

impl<'o> Room<'o> {
    /// Writes the order down. From then on it will be sent, whatever happens to the process, unless it is
    /// withdrawn.
    ///
    /// # Errors
    /// [`NotTaken::Unwritten`].
    pub async fn write(self, order: Order) -> Result<Written<'o>, NotTaken> {
        let outbox = self.0;
        mem::forget(self);
        let (promise, written) = oneshot::channel();
        outbox.hand_over(order, Some(promise));
        let order = written.await.unwrap_or(Err(NotTaken::Unwritten))?;
        Ok(Written { outbox, order: Some(order) })
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.0.shared.queue().give_back();
    }
}

/// An order that is written down. Dropped, it is sent: after a restart it would be, too.
#[derive(Debug)]
#[must_use = "it is not sent before it is released"]
pub struct Written<'o> {
    outbox: &'o Outbox,
    /// Nothing once it was released or withdrawn.
    order: Option<Box<Order>>,
}

impl Written<'_> {
    /// Has it sent after a while.
    pub fn release(mut self, after: Duration) {
        if let Some(order) = self.order.take() {
            self.outbox.0.shared.enqueue(*order, after);
        }
    }

    /// Crosses it out: it was not promised after all.
    pub fn withdraw(mut self) {
        if let Some(order) = self.order.take() {
            self.outbox.0.shared.queue().give_back();
            self.outbox.cross_out(&order);
        }
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let Some(order) = self.order.take() {
            self.outbox.0.shared.enqueue(*order, Duration::ZERO);
        }
    }
}

impl Shared {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::new(capacity)),
            changed: Notify::new(),
            is_failing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An order for which room was reserved is written, or is not.
    fn tell(&self, order: Box<Order>, promise: Option<Promise>, result: Result<(), NotTaken>) {
        match (result, promise) {
            (Ok(()), None) => self.enqueue(*order, Duration::ZERO),
            (Ok(()), Some(promise)) => {
                // Whoever waited may be gone. What is written is sent all the same.
                if let Err(Ok(order)) = promise.send(Ok(order)) {
                    self.enqueue(*order, Duration::ZERO);
                }
            }
            (Err(error), promise) => {
                self.queue().give_back();
                match promise {
                    Some(promise) => {
                        let _ = promise.send(Err(error));
                    }
                    // Nobody waits, so somebody has to know.
                    None => {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    fn enqueue(&self, order: Order, after: Duration) {
        self.queue().push(order, Instant::now() + after);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use resetd_verify::TokenId;
    use tempfile::TempDir;

    use super::*;
    use crate::domain::order::{Body, Errand};
    use crate::domain::policy::TenantName;

    async fn accept(outbox: &Outbox, order: Order) -> Result<(), NotTaken> {
        outbox.reserve()?.write(order).await?.release(Duration::ZERO);
        Ok(())
    }

    fn order(n: u8) -> Order {
        Order {
            id: TokenId::from_bytes([n; 16]),
            tenant: TenantName::default(),
            accepted: Timestamp::from_seconds(1_800_000_000),
            until: Timestamp::from_seconds(1_800_000_900),
            errand: Errand::Event { endpoint: "crm".into(), body: Body(format!("{{\"n\":{n}}}")) },
        }
    }

    fn open(folder: &TempDir) -> Outbox {
        Outbox::open(folder.path(), 100).unwrap()
    }

    fn text(folder: &TempDir) -> String {
        fs::read_to_string(folder.path().join(LOG_FILE)).unwrap()
    }

    async fn all(outbox: &Outbox) -> Vec<Order> {
        let count = outbox.waiting().iter().map(|waiting| waiting.count).sum();
        let mut orders = Vec::new();
        for _ in 0..count {
            orders.push(outbox.next().await.order);
        }
        orders
    }

    #[tokio::test]
    async fn what_was_promised_is_there_after_a_restart_and_what_was_sent_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(&folder);
        for n in 1..=3 {
            accept(&outbox, order(n)).await.unwrap();
        }
        outbox.done(&outbox.next().await.order, "sent");
        let taken = outbox.next().await;
        outbox.again(taken, Duration::from_secs(60));
        assert_eq!(outbox.close(), 2);
        assert_eq!(all(&open(&folder)).await, [order(2), order(3)]);
    }

    #[tokio::test]
    async fn a_promise_is_on_disk_before_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(&folder);
        accept(&outbox, order(1)).await.unwrap();
        // As a process finds it that starts after this one was killed.
        let elsewhere = tempfile::tempdir().unwrap();
        fs::copy(folder.path().join(LOG_FILE), elsewhere.path().join(LOG_FILE)).unwrap();
        assert_eq!(all(&open(&elsewhere)).await, [order(1)]);
    }

    #[tokio::test]
    async fn what_is_written_is_sent_when_it_is_released_or_dropped_and_never_when_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(&folder);
        let write = async |n| outbox.reserve().unwrap().write(order(n)).await.unwrap();
        let (released, dropped, withdrawn) = (write(1).await, write(2).await, write(3).await);
        assert!(outbox.due().is_none());
        released.release(Duration::ZERO);
        drop(dropped);
        withdrawn.withdraw();
        assert_eq!(all(&outbox).await, [order(1), order(2)]);
        outbox.close();
        assert_eq!(all(&open(&folder)).await, [order(1), order(2)]);
    }

    #[tokio::test]
    async fn a_torn_line_is_cut_off_and_a_damaged_one_costs_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(&folder);
        for n in 1..=3 {
            accept(&outbox, order(n)).await.unwrap();
        }
        outbox.close();
        let damaged = text(&folder).replace("{\\\"n\\\":2}", "{\\\"n\\\":9}");
        let torn = &damaged[..damaged.len() - 5];
        fs::write(folder.path().join(LOG_FILE), torn).unwrap();
        assert_eq!(all(&open(&folder)).await, [order(1)]);
        assert_eq!(text(&folder).lines().count(), 1, "the file is whole again");
    }

    #[tokio::test]
    async fn more_than_the_capacity_is_refused_and_offers_are_counted() {
        let outbox = Outbox::in_memory(2);
        accept(&outbox, order(1)).await.unwrap();
        outbox.offer(order(2));
        assert_eq!(outbox.lost(), 1, "half of the room is not for offers");
        accept(&outbox, order(3)).await.unwrap();
        assert_eq!(accept(&outbox, order(4)).await, Err(NotTaken::Full));
        outbox.done(&outbox.next().await.order, "sent");
        accept(&outbox, order(5)).await.unwrap();
        assert_eq!(outbox.close(), 2);
        assert_eq!(accept(&outbox, order(6)).await, Err(NotTaken::Full));
    }

    #[tokio::test]
    async fn after_the_end_nothing_is_promised() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(&folder);
        outbox.close();
        assert_eq!(accept(&outbox, order(1)).await, Err(NotTaken::Unwritten));
        assert!(all(&open(&folder)).await.is_empty());
    }

    #[tokio::test]
    async fn a_long_file_of_what_was_sent_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(&folder);
        let long = "x".repeat(64 * 1024);
        for n in 1..=40 {
            let errand = Errand::Event { endpoint: "crm".into(), body: Body(long.clone()) };
            accept(&outbox, Order { errand, ..order(n) }).await.unwrap();
            outbox.done(&outbox.next().await.order, "sent");
        }
        accept(&outbox, order(50)).await.unwrap();
        assert!(text(&folder).len() < 2 * 1024 * 1024);
        outbox.close();
        assert_eq!(all(&open(&folder)).await, [order(50)]);
    }
}
