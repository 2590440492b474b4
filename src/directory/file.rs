//! Users in a file: read at the start, and again when it changes. A file that cannot be used leaves the one
//! before it in use.

mod csv;
mod table;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::OpenError;
use super::person::{Person, Told, language};
use crate::domain::identifier::Username;
use crate::file_path::unreadable;

/// The longest file in bytes.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What can be told of a person, by the names that stand in the file.
const FIELDS: [&str; 7] =
    ["username", "email", "user_id", "credential_id", "enabled", "identity_providers", "language"];

type Table = HashMap<Username, Person>;

/// The users of a file.
pub(super) struct People {
    path: PathBuf,
    current: ArcSwap<Table>,
    watched: Mutex<Watched>,
}

/// How the file looked at the last look, and when it was last read.
struct Watched {
    seen: Option<Stamp>,
    read: Option<Stamp>,
}

/// Device, inode, length, and times of change in seconds and nanoseconds.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// One user as the file has it.
#[derive(Default)]
struct Row {
    /// Where it begins, in bytes.
    at: usize,
    username: Option<String>,
    email: Option<String>,
    user_id: Option<String>,
    credential_id: Option<String>,
    enabled: Option<bool>,
    identity_providers: Vec<String>,
    language: Option<String>,
}

/// What is wrong, and at which byte. It repeats nothing that stands there.
struct Fault {
    at: usize,
    problem: String,
}

impl Fault {
    fn new(at: usize, problem: impl Into<String>) -> Self {
        Self { at, problem: problem.into() }
    }
}

impl People {
    pub(super) fn open(path: PathBuf) -> Result<Self, OpenError> {
        let seen = stamp(&path);
        let table = load(&path).map_err(|problem| OpenError { setting: "file", problem })?;
        let watched = Mutex::new(Watched { seen, read: seen });
        Ok(Self { path, current: ArcSwap::from_pointee(table), watched })
    }

    /// The user of exactly this name. (Both are in Unicode form NFC.)
    pub(super) fn find(&self, username: &Username) -> Option<Person> {
        self.current.load().get(username).cloned()
    }

    /// Takes up the file when it has changed and two looks in a row see it alike: it may be half written.
    pub(super) fn look(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path);
        let is_settled = stamp == watched.seen;
        watched.seen = stamp;
        if !is_settled || stamp == watched.read {
            return;
        }
        watched.read = stamp;
        match load(&self.path).and_then(|table| self.if_not_emptied(table)) {
            Ok(table) => {
                tracing::info!(users = table.len(), "the changed file of users is taken up");
                self.current.store(table.into());
            }
            Err(problem) => {
                tracing::error!(
                    problem,
                    "the changed file of users cannot be used; the old one stays"
                );
            }
        }
    }

    /// Users do not go all at once. A file without any is one that somebody begins to write, or a mistake.
    fn if_not_emptied(&self, table: Table) -> Result<Table, String> {
        if !table.is_empty() || self.current.load().is_empty() {
            return Ok(table);
        }
        let path = self.path.display();
        Err(format!("{path}: has no users any more; if that is meant, restart the server"))
    }
}

/// Links are followed: who replaces files often replaces a link.
fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    let modified = (file.mtime(), file.mtime_nsec());
    let changed = (file.ctime(), file.ctime_nsec());
    Some((file.dev(), file.ino(), file.size(), modified, changed))
}

/// All users of the file, or the first thing that is wrong with it, its line, and the mend.
fn load(path: &Path) -> Result<Table, String> {
    let text = read(path)?;
    // A mark that some programs put at the beginning of text (U+FEFF).
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let is = |wanted: &str| path.extension().is_some_and(|it| it.eq_ignore_ascii_case(wanted));
    let rows = if is("toml") {
        table::rows(text)
    } else if is("csv") {
        csv::rows(text)
    } else {
        return Err(format!(
            "{}: wanted a file whose name ends in .toml or .csv, which says how to read it",
            path.display()
        ));
    };
    rows.and_then(table_of).map_err(|Fault { at, problem }| {
        let before = text.get(..at).unwrap_or(text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        format!("{}:{line}: {problem}", path.display())
    })
}

/// What is looked at is what is read, also if somebody swaps the file in between.
fn read(path: &Path) -> Result<String, String> {
    let failed = |error| unreadable(path, &error, "a file of users");
    let not_a_file =
        || Err(format!("{}: is no regular file; wanted one with the users in it", path.display()));
    // Opening a pipe waits for whoever writes to it.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return not_a_file();
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return not_a_file();
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(format!(
            "{0}: has mode {mode:04o}, so others than its owner may write to it, and whoever does decides where tokens go; mend it: chmod go-w {0}",
            path.display()
        ));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("{}: is longer than 64 MiB, the most that is read", path.display()));
    }
    let text = String::from_utf8(bytes);
    text.map_err(|_| format!("{}: is not UTF-8; save it as that", path.display()))
}

fn table_of(rows: Vec<Row>) -> Result<Table, Fault> {
    let mut table = Table::with_capacity(rows.len());
    for row in rows {
        let person = row.person().map_err(|problem| Fault::new(row.at, problem))?;
        if table.insert(person.username.clone(), person).is_some() {
            let problem = "this username stands further up already; wanted each user once";
            return Err(Fault::new(row.at, problem));
        }
    }
    Ok(table)
}

impl Row {
    fn person(&self) -> Result<Person, String> {
        let told = Told {
            username: self.username.as_deref().ok_or("wanted a username, found none")?,
            is_disabled: self.enabled == Some(false),
            email: self.email.as_deref(),
            user_id: self.user_id.as_deref(),
            credential_id: self.credential_id.as_deref(),
            identity_providers: self.identity_providers.iter().map(String::as_str).collect(),
            language: language(self.language.as_deref())?,
        };
        told.into_person()
    }
}
