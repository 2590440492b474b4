//! Locks on files, so that of several processes one alone writes somewhere. The system lets go of a lock
//! when its process ends, however it does.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

const TRIES: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Locks a file, which is made if it is not there; nothing if another process has it.
///
/// # Errors
/// What the system said.
pub fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The same, after some waiting: a process that is about to end may hold it for a moment yet.
///
/// # Errors
/// What the system said.
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    for _ in 0..TRIES {
        if let Some(file) = try_lock(path)? {
            return Ok(Some(file));
        }
        thread::sleep(BETWEEN_TRIES);
    }
    Ok(None)
}
