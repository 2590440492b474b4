//! A folder of mails, as mail programs and servers know it: written whole in `tmp/`, then moved into `new/`.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Hindrance, MailerError, SendError};
use super::letter::Message;

/// The three folders that make one.
const FOLDERS: [&str; 3] = ["tmp", "new", "cur"];
/// What has been in `tmp/` for longer was left there by a process that died.
const LONGEST_WRITTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder of mails.
#[derive(Clone, Debug)]
pub(super) struct Maildir {
    directory: PathBuf,
}

impl Maildir {
    /// Makes what is not there, for its owner only, and refuses what others may look into.
    pub(super) fn open(directory: PathBuf) -> Result<Self, MailerError> {
        for folder in FOLDERS {
            let path = directory.join(folder);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| MailerError::Folder { path, error })?;
        }
        require_private(&directory)?;
        let path = directory.join("tmp");
        remove_left_over(&path).map_err(|error| MailerError::Folder { path, error })?;
        Ok(Self { directory })
    }

    /// It waits for the disk, so it is done beside the requests.
    pub(super) async fn send(&self, message: Message) -> Result<(), SendError> {
        let maildir = self.clone();
        let written = tokio::task::spawn_blocking(move || maildir.write(&message)).await;
        let written = written.unwrap_or_else(|_| Err(io::Error::other("the writer ended early")));
        written.map_err(|error| {
            let (path, problem) = (self.directory.clone(), error.to_string());
            Hindrance::Folder { path, problem }.into()
        })
    }

    fn write(&self, message: &Message) -> io::Result<()> {
        if self.contains(&message.id)? {
            return Ok(());
        }
        let new = self.directory.join("new");
        // Its permissions are 0600, and it goes by itself when something below fails.
        let mut file = tempfile::Builder::new().tempfile_in(self.directory.join("tmp"))?;
        file.write_all(message.bytes())?;
        file.as_file().sync_all()?;
        // The name follows from the mail, so of two who write the same one the second replaces the first.
        file.persist(new.join(&message.id)).map_err(|error| error.error)?;
        File::open(new)?.sync_all()
    }

    /// Whether the mail stands here, seen or not: a mail program that has seen it moves it into `cur/` and
    /// adds what it knows of it after a colon.
    fn contains(&self, id: &str) -> io::Result<bool> {
        let is_there = fs::exists(self.directory.join("new").join(id))?;
        Ok(is_there || is_among(&self.directory.join("cur"), id)?)
    }
}

fn require_private(directory: &Path) -> Result<(), MailerError> {
    let path = directory.to_owned();
    let found = match fs::metadata(directory) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(error) => return Err(MailerError::Folder { path, error }),
    };
    if found & 0o077 != 0 {
        return Err(MailerError::TooOpen { path, found });
    }
    Ok(())
}

/// How old a file is, is told by a new one: both have their time from the same clock.
fn remove_left_over(tmp: &Path) -> io::Result<()> {
    let now = tempfile::tempfile_in(tmp)?.metadata()?.modified()?;
    for entry in fs::read_dir(tmp)? {
        let entry = entry?;
        // What is gone meanwhile was somebody else's, who is done with it.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let age = now.duration_since(metadata.modified()?).unwrap_or_default();
        if metadata.is_file() && age > LONGEST_WRITTEN {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_among(folder: &Path, id: &str) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.split_once(':').map_or(&*name, |(name, _)| name) == id {
            return Ok(true);
        }
    }
    Ok(false)
}
