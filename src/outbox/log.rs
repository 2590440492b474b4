//! Orders on disk: one line each when it is taken, another when it is crossed out, each with a checksum.
//! One thread writes; all that wait are written and synced together, then told.
//!
//! After a failure the file is written anew, with what is still promised and nothing else. So a full disk
//! needs no restart, and a line of which nobody was told does not come back.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use resetd_verify::TokenId;

use super::{NotTaken, Promise, Shared};
use crate::domain::order::Order;

/// The most jobs that are synced together.
const MAX_BATCH: usize = 1024;
/// A file that has this many bytes is written anew when most of them are crossed out.
const COMPACT_BYTES: u64 = 256 * 1024;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Add { order: Box<Order>, promise: Option<Promise> },
    CrossOut(TokenId),
}

/// The file and what is promised in it.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// The line of each order that is not crossed out, in the order in which they came.
    live: BTreeMap<u64, String>,
    live_bytes: u64,
    places: BTreeMap<[u8; 16], u64>,
    next: u64,
    /// Whether it is not known what the file holds.
    is_doubtful: bool,
}

impl Log {
    /// Reads back what is promised, and writes it anew.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Order>)> {
        let text = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut is_damaged = false;
        let mut orders: Vec<Option<Order>> = Vec::new();
        let mut places: BTreeMap<[u8; 16], usize> = BTreeMap::new();
        for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            match Line::parse(line) {
                Some(Line::Add(order)) => {
                    places.insert(*order.id.bytes(), orders.len());
                    orders.push(Some(order));
                }
                Some(Line::CrossOut(id)) => {
                    if let Some(place) = places.remove(id.bytes()) {
                        orders[place] = None;
                    }
                }
                // Nobody was told of a line that was torn. Any other one is a promise that is broken.
                None if line.ends_with(b"\n") => {
                    is_damaged = true;
                    tracing::error!(
                        file = %path.display(), line = number,
                        "a line of the outbox is damaged: what stood there is not sent"
                    );
                }
                None => tracing::warn!(
                    file = %path.display(), "the last line of the outbox was torn and is cut off"
                ),
            }
        }
        if is_damaged {
            // Perhaps somebody can read what we cannot.
            let kept = path.with_extension("damaged");
            fs::copy(path, &kept)?;
            tracing::error!(file = %kept.display(), "the outbox is kept there as it was found");
        }
        let orders: Vec<Order> = orders.into_iter().flatten().collect();
        let lines = orders.iter().filter_map(|order| Some((*order.id.bytes(), add_line(order)?)));
        let mut live = BTreeMap::new();
        let mut places = BTreeMap::new();
        for (place, (id, line)) in (0..).zip(lines) {
            places.insert(id, place);
            live.insert(place, line);
        }
        let next = live.len() as u64;
        let (file, bytes) = write_anew(path, live.values())?;
        let (path, live_bytes, is_doubtful) = (path.into(), bytes, false);
        Ok((Self { path, file, bytes, live, live_bytes, places, next, is_doubtful }, orders))
    }

    /// Makes these lines durable.
    fn append(&mut self, lines: &str, must_last: bool) -> io::Result<()> {
        if self.is_doubtful || self.is_mostly_crossed_out() {
            return self.renew();
        }
        // Where nothing is promised, nothing has to be kept: neither names nor addresses.
        if self.live.is_empty() {
            self.bytes = 0;
            return self.file.set_len(0);
        }
        self.file.write_all(lines.as_bytes())?;
        self.bytes += lines.len() as u64;
        if must_last { self.file.sync_data() } else { Ok(()) }
    }

    /// Writes what is promised, and nothing else.
    fn renew(&mut self) -> io::Result<()> {
        (self.file, self.bytes) = write_anew(&self.path, self.live.values())?;
        self.is_doubtful = false;
        Ok(())
    }

    fn is_mostly_crossed_out(&self) -> bool {
        self.bytes >= COMPACT_BYTES && self.live_bytes * 4 < self.bytes
    }

    fn insert(&mut self, id: TokenId, line: String) {
        self.live_bytes += line.len() as u64;
        self.places.insert(*id.bytes(), self.next);
        self.live.insert(self.next, line);
        self.next += 1;
    }

    fn remove(&mut self, id: TokenId) {
        let place = self.places.remove(id.bytes());
        if let Some(line) = place.and_then(|place| self.live.remove(&place)) {
            self.live_bytes -= line.len() as u64;
        }
    }
}

/// Temporary file, `fsync`, rename, `fsync` of the folder.
fn write_anew<'l>(path: &Path, lines: impl Iterator<Item = &'l String>) -> io::Result<(File, u64)> {
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    let _ = fs::remove_file(&unfinished);
    let mut file = options.append(true).create_new(true).mode(0o600).open(&unfinished)?;
    let text: String = lines.map(String::as_str).collect();
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok((file, text.len() as u64))
}

enum Line {
    Add(Order),
    CrossOut(TokenId),
}

const ADD: &str = "add ";
const CROSS_OUT: &str = "sent ";

impl Line {
    /// Reads a line whose checksum is good.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let (sum, rest) = line.split_once(' ')?;
        if sum != checksum(rest) {
            return None;
        }
        if let Some(json) = rest.strip_prefix(ADD) {
            return Order::from_json(json).map(Self::Add);
        }
        TokenId::parse(rest.strip_prefix(CROSS_OUT)?).map(Self::CrossOut)
    }
}

fn add_line(order: &Order) -> Option<String> {
    Some(with_checksum(&format!("{ADD}{}", order.to_json()?)))
}

fn with_checksum(text: &str) -> String {
    format!("{} {text}\n", checksum(text))
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// The one thread that writes.
pub(super) struct Writer {
    log: Log,
    shared: Arc<Shared>,
}

impl Writer {
    pub(super) fn new(log: Log, shared: Arc<Shared>) -> Self {
        Self { log, shared }
    }

    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let more = jobs.try_iter().take(MAX_BATCH - 1);
            self.work(std::iter::once(first).chain(more).collect());
        }
        // Nothing is left behind of what was sent, or refused.
        if let Err(error) = self.log.renew() {
            tracing::warn!(%error, "the outbox cannot be written anew");
        }
    }

    fn work(&mut self, jobs: Vec<Job>) {
        let (mut lines, mut added) = (String::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Add { order, promise } => {
                    let line = add_line(&order).unwrap_or_default();
                    lines.push_str(&line);
                    self.log.insert(order.id, line);
                    added.push((order, promise));
                }
                Job::CrossOut(id) => {
                    lines.push_str(&with_checksum(&format!("{CROSS_OUT}{id}")));
                    self.log.remove(id);
                }
            }
        }
        let result = self.write(&lines, !added.is_empty());
        for (order, promise) in added {
            if result.is_err() {
                self.log.remove(order.id);
            }
            self.shared.tell(order, promise, result);
        }
    }

    fn is_failing(&self) -> bool {
        self.shared.is_failing.load(Ordering::Relaxed)
    }

    fn write(&mut self, lines: &str, must_last: bool) -> Result<(), NotTaken> {
        let good = self.log.bytes;
        let written = self.log.append(lines, must_last);
        // That something was crossed out does not say that more can be written.
        let is_failing = written.is_err() || self.is_failing() && !must_last;
        let was_failing = self.shared.is_failing.swap(is_failing, Ordering::Relaxed);
        match written {
            Ok(()) => {
                if was_failing && !is_failing {
                    tracing::info!("the outbox can be written again");
                }
                Ok(())
            }
            Err(error) => {
                self.log.is_doubtful = true;
                // Nobody was told of these lines, and the process may end before the file is written anew.
                let _ = self.log.file.set_len(good);
                if !was_failing {
                    tracing::error!(
                        %error,
                        "the outbox cannot be written: nothing more is taken to be sent until it can"
                    );
                }
                Err(NotTaken::Unwritten)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use resetd_verify::Timestamp;
    use tokio::sync::oneshot;

    use super::*;
    use crate::domain::order::{Body, Errand};
    use crate::domain::policy::TenantName;

    fn order(n: u8) -> Order {
        Order {
            id: TokenId::from_bytes([n; 16]),
            tenant: TenantName::default(),
            accepted: Timestamp::from_seconds(1_800_000_000),
            until: Timestamp::from_seconds(1_800_000_900),
            errand: Errand::Event { endpoint: "crm".into(), body: Body("{}".into()) },
        }
    }

    fn add(writer: &mut Writer, n: u8) -> Result<(), NotTaken> {
        let (promise, mut told) = oneshot::channel();
        assert!(writer.shared.queue().reserve());
        let order = Box::new(order(n));
        writer.work(vec![Job::Add { order, promise: Some(promise) }]);
        told.try_recv().unwrap().map(drop)
    }

    #[test]
    fn nothing_is_promised_that_cannot_be_written_and_room_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.log");
        let (log, _) = Log::open(&path).unwrap();
        let mut writer = Writer::new(log, Shared::new(3));
        assert_eq!(add(&mut writer, 1), Ok(()));
        writer.log.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(add(&mut writer, 2), Err(NotTaken::Unwritten));
        assert!(writer.shared.is_failing.load(Ordering::Relaxed));
        // A folder where the new file would be: still no way to write.
        fs::create_dir(path.with_extension("new")).unwrap();
        assert_eq!(add(&mut writer, 3), Err(NotTaken::Unwritten));
        fs::remove_dir(path.with_extension("new")).unwrap();
        assert_eq!(add(&mut writer, 4), Ok(()));
        assert!(!writer.shared.is_failing.load(Ordering::Relaxed));
        // What was refused takes no room, neither here nor in the file.
        assert_eq!(add(&mut writer, 5), Ok(()));
        let (_, orders) = Log::open(&path).unwrap();
        assert_eq!(orders, [order(1), order(4), order(5)]);
    }
}
