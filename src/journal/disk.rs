//! The files of a journal, one for each hour in which something is over. The writer reaches them
//! through a trait, so that tests can have them fail.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What the writer needs of a disk.
pub trait Disk: Send + fmt::Debug {
    /// Makes the segment of an hour with this head, durably, unless it is there.
    ///
    /// # Errors
    /// What the system said.
    fn create(&mut self, hour: u64, head: &[u8]) -> io::Result<()>;

    /// Writes at this place of a segment.
    ///
    /// # Errors
    /// What the system said.
    fn write(&mut self, hour: u64, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written to a segment durable.
    ///
    /// # Errors
    /// What the system said.
    fn sync(&mut self, hour: u64) -> io::Result<()>;

    /// Cuts a segment down to this length.
    ///
    /// # Errors
    /// What the system said.
    fn truncate(&mut self, hour: u64, length: u64) -> io::Result<()>;

    /// Removes the segments of the hours before this one.
    ///
    /// # Errors
    /// What the system said.
    fn remove_before(&mut self, hour: u64) -> io::Result<()>;
}

/// Real files in a folder.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    open: HashMap<u64, File>,
}

impl Files {
    /// Segments in this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: HashMap::new() }
    }

    fn file(&mut self, hour: u64) -> io::Result<&File> {
        if !self.open.contains_key(&hour) {
            let file = OpenOptions::new().write(true).open(path_of(&self.folder, hour))?;
            self.open.insert(hour, file);
        }
        self.open.get(&hour).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Disk for Files {
    fn create(&mut self, hour: u64, head: &[u8]) -> io::Result<()> {
        let path = path_of(&self.folder, hour);
        if path.exists() {
            return Ok(());
        }
        write_whole(&self.folder, &path, head)
    }

    fn write(&mut self, hour: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(hour)?.write_all_at(bytes, at)
    }

    fn sync(&mut self, hour: u64) -> io::Result<()> {
        self.file(hour)?.sync_data()
    }

    fn truncate(&mut self, hour: u64, length: u64) -> io::Result<()> {
        self.file(hour)?.set_len(length)
    }

    fn remove_before(&mut self, hour: u64) -> io::Result<()> {
        for (old, path) in segments(&self.folder)? {
            if old < hour {
                self.open.remove(&old);
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Hour and file of each segment in a folder, in order.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hour = path.file_name().and_then(|name| hour_of(name.to_str()?));
        segments.extend(hour.map(|hour| (hour, path)));
    }
    segments.sort();
    Ok(segments)
}

fn hour_of(name: &str) -> Option<u64> {
    name.strip_prefix("journal-")?.strip_suffix(".log")?.parse().ok()
}

pub(super) fn path_of(folder: &Path, hour: u64) -> PathBuf {
    folder.join(format!("journal-{hour}.log"))
}

/// Temporary file, `fsync`, rename, `fsync` of the folder.
pub(super) fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}
