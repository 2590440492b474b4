//! The folder of a trail: who may write to it, where it was left off, and when the next file begins.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::line::{Head, Link, MAX_LINE};
use crate::file_lock;

/// Makes sure that one process writes. Not the name of the journal's, whose folder this may be.
const LOCK_FILE: &str = ".audit.lock";

/// When another file begins and when old ones go.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// A file that has so many bytes is the last line's last.
    pub bytes: u64,
    /// So many files are kept; 0 keeps all.
    pub keep: usize,
}

/// Why a trail cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Somebody else could change it.
    #[error(
        "{path}: has mode {found:04o}, wanted no write permission for group and others; mend it: chmod go-w {path}"
    )]
    TooOpen {
        /// The folder or file.
        path: PathBuf,
        /// The mode found.
        found: u32,
    },
    /// Another process has it.
    #[error(
        "{path}: another process writes its audit trail here; stop it first, or give this one a folder of its own: audit.directory"
    )]
    Locked {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The chain cannot go on from what stands there.
    #[error(
        "{path}: the last whole line is none of an audit trail, so no line can follow it; look at it with resetd audit verify, then move the folder away: a new chain begins at 1"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |error| AuditError::Io { path: path.clone(), error }
}

/// A torn end that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// How many bytes stood there.
    pub bytes: u64,
}

/// The files of a trail, locked.
#[derive(Debug)]
pub struct Trail {
    folder: PathBuf,
    rotation: Rotation,
    /// The number of the first line of each file.
    files: BTreeSet<u64>,
    /// The last file, its length up to the last whole line, and whether it may be longer than that.
    file: Option<File>,
    length: u64,
    is_torn: bool,
    head: Head,
    cut: Option<Cut>,
    _lock: File,
}

impl Trail {
    /// Makes the folder if it is not there, mode 0700, locks it, cuts off a torn end and finds the
    /// last line.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(folder: &Path, rotation: Rotation) -> Result<Self, AuditError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error(folder))?;
        refuse_if_open(folder)?;
        let lock = lock(&folder.join(LOCK_FILE))?;
        let mut trail = Self {
            folder: folder.into(),
            rotation,
            files: numbers_in(folder).map_err(io_error(folder))?,
            file: None,
            length: 0,
            is_torn: false,
            head: Head::of_nothing(),
            cut: None,
            _lock: lock,
        };
        trail.find_end()?;
        Ok(trail)
    }

    /// The last line.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The torn end that was cut off.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    fn path_of(&self, first: u64) -> PathBuf {
        self.folder.join(name_of(first))
    }

    /// A crash between the making of a file and its first line leaves it empty; the line before is
    /// the last one of the file before then.
    fn find_end(&mut self) -> Result<(), AuditError> {
        let newest_first: Vec<_> = self.files.iter().rev().copied().collect();
        for first in newest_first {
            let path = self.path_of(first);
            refuse_if_open(&path)?;
            let mut options = OpenOptions::new();
            let mut file = options.read(true).append(true).open(&path).map_err(io_error(&path))?;
            let (line, length, torn) = end_of(&mut file).map_err(io_error(&path))?;
            // A line is never so long: that is no torn line but something that nobody here wrote.
            if torn > MAX_LINE as u64 {
                return Err(AuditError::Unreadable { path });
            }
            if self.file.is_none() {
                if torn > 0 {
                    file.set_len(length).map_err(io_error(&path))?;
                    self.cut = Some(Cut { path: path.clone(), bytes: torn });
                }
                (self.file, self.length) = (Some(file), length);
            }
            if length > 0 {
                let last = Link::read(&line).ok_or(AuditError::Unreadable { path })?;
                self.head = Head::of(last.seq, &line);
                break;
            }
        }
        Ok(())
    }

    /// Appends a line, as a whole or not at all.
    pub(super) fn append(&mut self, line: &[u8], head: &Head) -> io::Result<()> {
        let is_full = self.length >= self.rotation.bytes && self.length > 0;
        if is_full || self.file.is_none() {
            self.begin_file(head.seq)?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if self.is_torn {
            file.set_len(self.length)?;
            self.is_torn = false;
        }
        let bytes = [line, b"\n"].concat();
        if let Err(error) = file.write_all(&bytes) {
            // A part of it may stand there. If it cannot be cut off now, then before the next line.
            self.is_torn = file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn begin_file(&mut self, first: u64) -> io::Result<()> {
        self.sync()?;
        // One may be there that was made for this line before, when more than that failed.
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(self.path_of(first))?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.set_len(0)?;
        File::open(&self.folder)?.sync_all()?;
        self.files.insert(first);
        (self.file, self.length, self.is_torn) = (Some(file), 0, false);
        Ok(())
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// The first line that is kept, where older files are too many.
    pub(super) fn kept_from(&self) -> Option<u64> {
        let keep = self.rotation.keep;
        let is_over = keep > 0 && self.files.len() > keep;
        is_over.then(|| self.files.iter().rev().nth(keep - 1).copied()).flatten()
    }

    /// Removes the files before this line. One that stays is tried again after the next start.
    pub(super) fn remove_before(&mut self, first: u64) {
        let kept = self.files.split_off(&first);
        for old in std::mem::replace(&mut self.files, kept) {
            let path = self.path_of(old);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), %error, "an old file of the audit trail stays");
            }
        }
    }
}

/// The last whole line, the length up to its end, and the bytes behind it.
fn end_of(file: &mut File) -> io::Result<(Vec<u8>, u64, u64)> {
    let length = file.metadata()?.len();
    // A torn line and the whole one before it.
    let start = length.saturating_sub(2 * MAX_LINE as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let is_end = |byte: &u8| *byte == b'\n';
    let Some(end) = tail.iter().rposition(is_end) else {
        return Ok((Vec::new(), 0, length));
    };
    let torn = (tail.len() - end - 1) as u64;
    let begin = tail[..end].iter().rposition(is_end).map_or(0, |before| before + 1);
    Ok((tail[begin..end].to_vec(), length - torn, torn))
}

fn refuse_if_open(path: &Path) -> Result<(), AuditError> {
    let found = fs::metadata(path).map_err(io_error(path))?.permissions().mode() & 0o7777;
    if found & 0o022 != 0 {
        return Err(AuditError::TooOpen { path: path.into(), found });
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, AuditError> {
    let locked = file_lock::lock(path).map_err(io_error(path))?;
    locked.ok_or_else(|| AuditError::Locked { path: path.into() })
}

/// So many digits that the order of names is the order of lines.
fn name_of(first: u64) -> String {
    format!("audit-{first:020}.jsonl")
}

/// The number of the first line, in the name of a file.
pub(super) fn first_in_name(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    digits.parse().ok().filter(|first| name_of(*first) == name)
}

fn numbers_in(folder: &Path) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(first_in_name(&entry?.path()));
    }
    Ok(numbers)
}

/// The files of a trail in a folder, in order.
///
/// # Errors
/// What the system said.
pub fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(numbers_in(folder)?.into_iter().map(|first| folder.join(name_of(first))).collect())
}
