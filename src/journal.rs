//! The log of what is spent and revoked, under `state/`: appended, synced before anything is answered,
//! read back at the start. `docs/journal.md` has the format.
//!
//! The order of things is the promise: an event is decided in memory, written, synced, and only then
//! told to anybody. So whatever was told is on disk, whenever the process dies.

mod disk;
mod record;
mod replay;
mod writer;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use resetd_verify::Timestamp;
use tokio::sync::oneshot;

use crate::file_lock;

pub use disk::{Disk, Files};
pub use record::{Attempt, CallerTag, Change, Event, Hold, Scope, TenantTag, UserTag, Why};
pub use replay::{Cut, Recovered, ReplayError};
pub use writer::{Health, Sink};

use writer::Job;

/// Makes sure that one process writes.
const LOCK_FILE: &str = ".lock";
/// Holds what makes the tags of users and callers unlike those of any other journal.
const SALT_FILE: &str = "salt";

/// The folder of a journal, locked.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    salt: [u8; 16],
    _lock: File,
}

/// Why the folder of state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Somebody else could change what was spent.
    #[error(
        "{path}: has mode {found:04o}, wanted no write permission for group and others; mend it: chmod go-w {path}"
    )]
    TooOpen {
        /// The folder.
        path: PathBuf,
        /// The mode found.
        found: u32,
    },
    /// Another process has it.
    #[error(
        "{path}: another process keeps its journal here; stop it first, or give this one a folder of its own: state.directory"
    )]
    Locked {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The file of the salt is not what it was.
    #[error(
        "{path}: has {found} bytes, wanted 16; restore it, or move the whole folder away: tokens issued before the next start are refused then"
    )]
    Salt {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> StateError + use<> {
    let path = path.to_owned();
    move |error| StateError::Io { path: path.clone(), error }
}

impl StateFolder {
    /// Makes the folder if it is not there, mode 0700, and locks it. `fresh` is the salt of a new one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path, fresh: [u8; 16]) -> Result<Self, StateError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error(path))?;
        let found = fs::metadata(path).map_err(io_error(path))?.permissions().mode() & 0o7777;
        if found & 0o022 != 0 {
            return Err(StateError::TooOpen { path: path.into(), found });
        }
        let lock = lock(&path.join(LOCK_FILE))?;
        let salt_file = path.join(SALT_FILE);
        let salt = match fs::read(&salt_file) {
            Ok(bytes) => {
                let found = bytes.len();
                let salt = bytes.try_into();
                salt.map_err(|_| StateError::Salt { path: salt_file, found })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::write_whole(path, &salt_file, &fresh).map_err(io_error(&salt_file))?;
                fresh
            }
            Err(error) => return Err(io_error(&salt_file)(error)),
        };
        Ok(Self { path: path.into(), salt, _lock: lock })
    }

    /// What makes user tags of this journal unlike those of any other.
    pub fn salt(&self) -> [u8; 16] {
        self.salt
    }

    /// Reads back what can still matter at `now`, and makes sure that it is on disk. A torn end is cut
    /// off. `told` hears how many bytes of
    /// how many are read, from several threads.
    ///
    /// # Errors
    /// [`StateError::Replay`] names file, offset and mend.
    pub fn recover(
        &self,
        now: Timestamp,
        told: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Recovered, StateError> {
        Ok(replay::recover(&self.path, now, told)?)
    }

    /// Starts to write behind what was recovered. `sink` learns of each event when it is on disk.
    pub fn start(self, recovered: &Recovered, sink: Arc<dyn Sink>) -> Journal {
        let files = Files::new(self.path.clone());
        Journal::start(Box::new(files), recovered, sink, Some(self))
    }
}

fn lock(path: &Path) -> Result<File, StateError> {
    let locked = file_lock::lock(path).map_err(io_error(path))?;
    locked.ok_or_else(|| StateError::Locked { path: path.into() })
}

/// Appends events. When it is dropped, everything handed over is written and the folder is let go.
#[derive(Debug)]
pub struct Journal {
    /// Nothing only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    health: Arc<writer::SharedHealth>,
    /// Locked until the writer is done.
    _folder: Option<StateFolder>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// An event could not be made durable, so it must not be answered as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritten {
    /// There is no room. It did not happen and can be tried again.
    #[error("the journal cannot grow: the disk is full")]
    Full,
    /// The disk failed; nothing more is written until a restart has read back what is there.
    #[error("the journal failed, so nothing can be spent or issued; mend the disk and restart")]
    Failed,
}

impl Journal {
    /// Starts to write with this disk.
    pub fn start(
        disk: Box<dyn Disk>,
        recovered: &Recovered,
        sink: Arc<dyn Sink>,
        folder: Option<StateFolder>,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel();
        let health = Arc::default();
        let writer = writer::spawn(disk, recovered, sink, waiting, Arc::clone(&health));
        Self { jobs: Some(jobs), writer: Some(writer), health, _folder: folder }
    }

    /// Hands an event over to be written. It is on its way then, whether anybody waits or not.
    pub fn append(&self, event: Event, now: Timestamp) -> Receipt {
        self.append_all(vec![event], now)
    }

    /// Hands over events that happen together or not at all.
    pub fn append_all(&self, events: Vec<Event>, now: Timestamp) -> Receipt {
        let (done, receipt) = oneshot::channel();
        self.hand_over(Job::Append { events, at: now, done });
        Receipt(receipt)
    }

    /// Lets go of segments in which nothing can matter any more.
    pub fn tidy(&self, now: Timestamp) {
        self.hand_over(Job::Tidy(now));
    }

    /// If the writer is gone, so is the other end of the receipt, which says so.
    fn hand_over(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.health.get()
    }
}

/// The word that an event is on disk.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<(), Unwritten>>);

impl Receipt {
    /// Waits for it.
    ///
    /// # Errors
    /// [`Unwritten`].
    pub async fn wait(self) -> Result<(), Unwritten> {
        self.0.await.unwrap_or(Err(Unwritten::Failed))
    }
}
