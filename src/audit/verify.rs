//! Checks a chain, line by line over all its files, in little memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::line::{Head, Link, MAX_LINE};
use super::trail::first_in_name;

/// A line that is being written may be seen in part; it is whole a moment later.
const MOMENT: Duration = Duration::from_millis(200);

/// What must be so besides the chain itself.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Whether the first line must be the first one ever, or one that a removal of old files left.
    pub whole: bool,
    /// A line that must be there.
    pub seq: Option<u64>,
    /// The hash of that line, or of any line where none is named.
    pub hash: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether everything was as it must be.
    pub intact: bool,
    /// Files read.
    pub files: usize,
    /// Lines that are as they must be.
    pub lines: u64,
    /// The number of the first one.
    pub first_seq: Option<u64>,
    /// The number of the last one.
    pub last_seq: Option<u64>,
    /// The hash of the last one.
    pub last_hash: Option<String>,
    /// The first thing that is not as it must be.
    pub fault: Option<Fault>,
}

/// Something is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: u64,
    /// What was wanted there.
    pub wanted: String,
    /// What was found.
    pub found: String,
}

/// A file cannot be read, so nothing can be said.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

/// Checks these files, in this order, as one chain.
///
/// # Errors
/// [`Unreadable`].
pub fn verify(files: &[PathBuf], expected: &Expected) -> Result<Report, Unreadable> {
    let mut chain = Chain { expected: expected.clone(), ..Chain::default() };
    for (number, file) in files.iter().enumerate() {
        chain.report.files += 1;
        let is_last = number + 1 == files.len();
        let read = chain.read(file, is_last);
        read.map_err(|error| Unreadable { path: file.clone(), error })?;
        if chain.report.fault.is_some() {
            return Ok(chain.report);
        }
    }
    Ok(chain.end())
}

/// What was wanted, and what was found.
type Mismatch = (String, String);

#[derive(Debug, Default)]
struct Chain {
    expected: Expected,
    report: Report,
    /// The last line, once there was one.
    head: Option<Head>,
    /// The furthest line up to which older ones were removed.
    kept_from: u64,
    has_hash: bool,
    /// Where the first and the last line stand.
    first: (PathBuf, u64),
    last: (PathBuf, u64),
}

impl Chain {
    /// Stops at the first fault.
    fn read(&mut self, path: &Path, is_last: bool) -> io::Result<()> {
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            read_line(&mut reader, &mut line)?;
            if line.is_empty() {
                break;
            }
            let checked = match line.split_last() {
                Some((b'\n', line)) => self.check(path, number, line),
                _ => Err(torn(&line, is_last)),
            };
            if let Err((wanted, found)) = checked {
                self.report.fault = Some(Fault { file: path.into(), line: number, wanted, found });
                break;
            }
            self.last = (path.into(), number);
        }
        Ok(())
    }

    fn check(&mut self, path: &Path, number: u64, line: &[u8]) -> Result<(), Mismatch> {
        let Some(found) = Link::read(line) else {
            return Err(("a line of an audit trail".into(), shown(line)));
        };
        let wanted = self.head.as_ref().map(|head| head.seq + 1);
        let named = first_in_name(path).filter(|_| number == 1);
        for wanted in [wanted, named].into_iter().flatten() {
            same("seq", &wanted, &found.seq)?;
        }
        // Nothing is known of what was before the first line that is left.
        let nothing = (found.seq == 1).then(Head::of_nothing);
        if let Some(before) = self.head.take().or(nothing) {
            same("previous", &before.hash, &found.previous).map_err(|(wanted, found)| {
                (wanted, format!("{found}, so this line or the one before was altered"))
            })?;
        }
        if self.report.first_seq.is_none() {
            self.report.first_seq = Some(found.seq);
            self.first = (path.into(), number);
        }
        self.kept_from = self.kept_from.max(found.first_seq.unwrap_or_default());
        self.take(Head::of(found.seq, line))
    }

    /// Goes on from a line, if it is the one that was kept elsewhere or has nothing to do with it.
    fn take(&mut self, head: Head) -> Result<(), Mismatch> {
        if let Some(hash) = &self.expected.hash {
            if self.expected.seq == Some(head.seq) {
                same("hash", hash, &head.hash)?;
            }
            self.has_hash |= *hash == head.hash;
        }
        self.report.lines += 1;
        self.report.last_seq = Some(head.seq);
        self.report.last_hash = Some(head.hash.clone());
        self.head = Some(head);
        Ok(())
    }

    fn end(mut self) -> Report {
        let first = self.report.first_seq.unwrap_or(1);
        let last = self.report.last_seq.unwrap_or_default();
        let at = |(file, line): (PathBuf, u64), wanted: String, found: String| {
            Some(Fault { file, line, wanted, found })
        };
        self.report.fault = if self.expected.whole && first > self.kept_from.max(1) {
            let wanted = "seq 1, or a line that tells of the removal of what was before".into();
            at(self.first, wanted, format!("seq {first}"))
        } else if let Some(seq) = self.expected.seq.filter(|seq| !(first..=last).contains(seq)) {
            at(self.last, format!("a line of seq {seq}"), format!("{first} to {last}"))
        } else if let Some(hash) = self.expected.hash.filter(|_| !self.has_hash) {
            at(self.last, format!("a line of hash {hash}"), "none".into())
        } else {
            None
        };
        self.report.intact = self.report.fault.is_none();
        self.report
    }
}

/// Reads to the end of a line, or of the file.
fn read_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<()> {
    for try_again in [true, false] {
        let limit = (MAX_LINE - line.len()) as u64;
        reader.by_ref().take(limit).read_until(b'\n', line)?;
        let is_done = line.is_empty() || line.ends_with(b"\n") || line.len() >= MAX_LINE;
        if is_done || !try_again {
            break;
        }
        thread::sleep(MOMENT);
    }
    Ok(())
}

fn torn(line: &[u8], is_last_file: bool) -> Mismatch {
    let length = line.len();
    let found = if length >= MAX_LINE {
        format!("more than {MAX_LINE} bytes without one")
    } else if is_last_file {
        format!(
            "a torn last line of {length} bytes: the process was cut off, and its next start cuts it; or somebody cut the file"
        )
    } else {
        format!("a torn last line of {length} bytes, though another file follows")
    };
    ("the end of the line".into(), found)
}

fn same<T: PartialEq + std::fmt::Display>(
    member: &str,
    wanted: &T,
    found: &T,
) -> Result<(), Mismatch> {
    if wanted == found {
        return Ok(());
    }
    Err((format!("{member} {wanted}"), format!("{member} {found}")))
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().take(80).collect()
}
