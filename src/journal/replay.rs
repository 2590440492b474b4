//! Reads a journal back. What was synced is whole or the start is refused; what was on its way when the
//! process died is at the very end, and is cut off.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

use resetd_verify::Timestamp;

use super::disk::segments;
use super::record::{BYTES, Event, HOUR, Record, VERSION, read_head};

/// What a journal holds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Every event that can still matter, in order, and when it was written.
    pub events: Vec<(Event, Timestamp)>,
    /// The latest time at which anything was written: time never goes back behind it.
    pub high_water: Timestamp,
    /// What was cut off, file by file.
    pub cuts: Vec<Cut>,
    /// Whether nothing was ever written, or all of it is lost: what was spent before is not known then.
    pub is_blank: bool,
    pub(super) lengths: BTreeMap<u64, u32>,
    pub(super) next_number: u64,
    pub(super) next_batch: u64,
}

/// A torn end that was cut off: nobody was ever told of what stood there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub path: PathBuf,
    /// The byte from which on it was cut.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Why a journal is not used.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A segment cannot be read or cut.
    #[error("{path}: {error}")]
    Io {
        /// The folder or segment.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Something that was synced is not what was written.
    #[error(
        "{path}: is damaged at byte {at}, before its end; restore the file, or move the folder away: tokens issued before the next start are refused then"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The byte.
        at: u64,
    },
    /// Another version wrote it.
    #[error(
        "{path}: has layout {found}, wanted {VERSION}; start the version of resetd that wrote it, or move the folder away"
    )]
    Version {
        /// The segment.
        path: PathBuf,
        /// The layout it names.
        found: u32,
    },
}

/// A segment as it was read.
struct Segment {
    hour: u64,
    path: PathBuf,
    /// Its length in bytes.
    length: u64,
    /// Nothing where a record is not whole.
    records: Vec<Option<Record>>,
    /// The batch that the first record that is not whole says it is of.
    torn_batch: Option<u64>,
}

pub(super) fn recover(
    folder: &Path,
    now: Timestamp,
    told: &(dyn Fn(u64, u64) + Sync),
) -> Result<Recovered, ReplayError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ReplayError::Io { path: path.clone(), error }
    };
    let (over, to_read): (Vec<_>, Vec<_>) = segments(folder)
        .map_err(failed(folder))?
        .into_iter()
        .partition(|(hour, _)| (hour + 1) * HOUR <= now.seconds());
    let read = read_all(&to_read, told)?;
    let last_batch = read.iter().flat_map(Segment::whole).map(|record| record.batch).max();
    let has_record = |(_, path): &(u64, PathBuf)| {
        fs::metadata(path).is_ok_and(|found| found.len() >= 2 * BYTES as u64)
    };
    let is_blank = last_batch.is_none() && !over.iter().any(has_record);
    let mut recovered = Recovered { is_blank, ..Recovered::default() };
    let mut records: Vec<(u64, &Record)> = Vec::new();
    for segment in &read {
        let keep = segment.sound_length(last_batch)?;
        let end = (keep as u64 + 1) * BYTES as u64;
        let found = segment.length;
        if found > end {
            let cut = OpenOptions::new().write(true).open(&segment.path);
            cut.and_then(|file| file.set_len(end).and_then(|()| file.sync_all()))
                .map_err(failed(&segment.path))?;
            let (path, bytes) = (segment.path.clone(), found - end);
            recovered.cuts.push(Cut { path, at: end, bytes });
        }
        segment.make_durable(keep, last_batch).map_err(failed(&segment.path))?;
        records.extend(segment.records[..keep].iter().flatten().map(|it| (it.number, it)));
        recovered.lengths.insert(segment.hour, u32::try_from(keep).unwrap_or(u32::MAX));
    }
    if !read.is_empty() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    }
    // Each segment is in order already, and this sort is quick to merge what is.
    records.sort_by_key(|(number, _)| *number);
    recovered.next_number = records.last().map_or(0, |(number, _)| number + 1);
    recovered.next_batch = last_batch.map_or(1, |batch| batch + 1);
    recovered.high_water = records.iter().map(|(_, record)| record.at).max().unwrap_or_default();
    let records = records.into_iter().map(|(_, record)| record);
    let alive = records.filter(|record| record.event.until(record.at) > now);
    recovered.events.reserve(read.iter().map(|segment| segment.records.len()).sum());
    recovered.events.extend(alive.map(|record| (record.event, record.at)));
    Ok(recovered)
}

/// On as many threads as there are cores: most of the time goes into checksums.
fn read_all(
    segments: &[(u64, PathBuf)],
    told: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<Segment>, ReplayError> {
    let length = |(_, path): &(u64, PathBuf)| fs::metadata(path).map_or(0, |it| it.len());
    let (done, total) = (AtomicU64::new(0), segments.iter().map(length).sum());
    let read_one = |(hour, path): &(u64, PathBuf)| {
        let segment = Segment::read(*hour, path.clone())?;
        let before = done.fetch_add(segment.length, Ordering::Relaxed);
        told(before + segment.length, total);
        Ok(segment)
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = segments.len().div_ceil(threads).max(1);
    let read_share =
        |share: &[(u64, PathBuf)]| share.iter().map(read_one).collect::<Result<Vec<_>, _>>();
    let shares = thread::scope(|scope| {
        let readers: Vec<_> =
            segments.chunks(share).map(|share| scope.spawn(move || read_share(share))).collect();
        readers.into_iter().map(ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut read = Vec::new();
    for share in shares {
        read.extend(share.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    }
    Ok(read)
}

impl Segment {
    fn read(hour: u64, path: PathBuf) -> Result<Self, ReplayError> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return Err(ReplayError::Io { path, error }),
        };
        // A head is written whole, with the file, so it is never torn.
        let head = bytes.first_chunk().and_then(read_head);
        match head {
            Some((VERSION, named)) if named == hour => {}
            Some((VERSION, _)) | None => return Err(ReplayError::Damaged { path, at: 0 }),
            Some((found, _)) => return Err(ReplayError::Version { path, found }),
        }
        let chunks = bytes[BYTES..].chunks_exact(BYTES);
        let records: Vec<Option<Record>> =
            chunks.map(|chunk| chunk.first_chunk().and_then(Record::decode)).collect();
        let whole = records.iter().take_while(|record| record.is_some()).count();
        let torn_batch = Record::batch_of(&bytes[(whole + 1) * BYTES..]);
        Ok(Self { hour, path, length: bytes.len() as u64, records, torn_batch })
    }

    /// Of the last batch it is not known whether it was synced: the process may have died in between, or
    /// the sync may have failed and left what only seems to be there. It is written again before
    /// anything is answered from it.
    fn make_durable(&self, keep: usize, last_batch: Option<u64>) -> io::Result<()> {
        let is_last = |record: &&Record| Some(record.batch) == last_batch;
        let Some(first) = self.records[..keep].iter().flatten().find(is_last) else {
            return Ok(());
        };
        let (first, mut bytes) = (first.first as usize, Vec::new());
        for record in self.records[first..keep].iter().flatten() {
            bytes.extend(record.encode());
        }
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.write_all_at(&bytes, (first as u64 + 1) * BYTES as u64)?;
        file.sync_all()
    }

    fn whole(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().flatten()
    }

    /// How many records were synced and are whole. A record that is not whole is the torn end if it does
    /// not say that it is of an earlier batch than the last, and if all that follows it in the segment is
    /// of its own batch and that batch was the last: else it was synced, and somebody was told of it.
    fn sound_length(&self, last_batch: Option<u64>) -> Result<usize, ReplayError> {
        let torn = self.records.iter().position(Option::is_none).unwrap_or(self.records.len());
        let at = (torn as u64 + 1) * BYTES as u64;
        let damaged = || ReplayError::Damaged { path: self.path.clone(), at };
        if self.torn_batch.is_some_and(|batch| Some(batch) < last_batch) {
            return Err(damaged());
        }
        let after = self.records[torn..].iter().flatten();
        for record in after {
            let is_of_it = record.first as usize <= torn && Some(record.batch) == last_batch;
            if !is_of_it {
                return Err(damaged());
            }
        }
        Ok(torn)
    }
}
