//! `keys/` ⇄ [`Keyring`]: one private JWK per file, `*.jwk`, mode 0600. No other module touches the
//! folder. The state of a key stands in its own members, so there is no index to go wrong.

pub mod admin;
mod der;
mod error;
mod export;
#[cfg(test)]
mod fixtures;
mod import;
mod jwk;
mod passphrase;
mod private;
mod seal;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use resetd_verify::{Algorithm, KeyId, Timestamp};
use zeroize::Zeroizing;

use crate::domain::keyring::{Key, KeyTimes, Keyring};

pub use error::{ImportError, KeystoreError, SealError};
pub use export::{PrivateFormat, public_pem};
pub use import::Source;
pub use passphrase::{PassphraseError, Passphrases};

use error::io_error;

/// The ending of a key's file. Everything else in the folder is left alone.
pub const FILE_EXTENSION: &str = "jwk";

/// The longest file that is read: an 8192-bit RSA key in JWK form has about 7 KiB.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// The folder of keys.
#[derive(Clone, Debug)]
pub struct Keystore {
    directory: PathBuf,
    retention: u64,
}

/// What the folder looked like, to see cheaply whether anything changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, u64, i64, i64)>);

impl Keystore {
    /// Names the folder. `retention` is how long in seconds a retired key must be trusted.
    pub fn new(directory: impl Into<PathBuf>, retention: u64) -> Self {
        Self { directory: directory.into(), retention }
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the folder exists.
    pub fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// Makes the folder, mode 0700, unless it is there.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn create(&self) -> Result<(), KeystoreError> {
        if !self.exists() && self.directory.symlink_metadata().is_ok() {
            return Err(KeystoreError::NotAFolder { path: self.directory.clone() });
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(io_error(&self.directory))
    }

    /// Whether the folder is there and has no file of a key. No key is read.
    ///
    /// # Errors
    /// [`KeystoreError`] when the folder cannot be used.
    pub fn is_empty(&self) -> Result<bool, KeystoreError> {
        self.check_folder()?;
        Ok(self.files()?.is_empty())
    }

    /// Takes the right to write from group and others, if there is no key yet: a checkout made with a
    /// lax umask is no reason not to start, a folder of keys that others could write to is one.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn close_if_empty(&self) -> Result<(), KeystoreError> {
        if !self.files()?.is_empty() {
            return Ok(());
        }
        let path = &self.directory;
        let mode = fs::metadata(path).map_err(io_error(path))?.permissions().mode();
        let closed = fs::Permissions::from_mode(mode & !0o022);
        fs::set_permissions(path, closed).map_err(io_error(path))
    }

    /// Reads every key. One faulty file refuses the whole folder: a key that is silently left out
    /// breaks the links it signed.
    ///
    /// # Errors
    /// [`KeystoreError`] names the file, what is wrong and the mend.
    pub fn load(&self) -> Result<Keyring, KeystoreError> {
        self.check_folder()?;
        let mut keys: Vec<(PathBuf, Key)> = Vec::new();
        for path in self.files()? {
            let key = read_key(&path)?;
            if let Some((other, _)) = keys.iter().find(|(_, known)| known.kid() == key.kid()) {
                let (other, kid) = (other.clone(), key.kid().clone());
                return Err(KeystoreError::Duplicate { path, other, kid });
            }
            keys.push((path, key));
        }
        Ok(Keyring::new(keys.into_iter().map(|(_, key)| key).collect(), self.retention))
    }

    /// What the folder looks like now.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn fingerprint(&self) -> Result<Fingerprint, KeystoreError> {
        let look = |path: PathBuf| {
            let metadata = fs::symlink_metadata(&path).map_err(io_error(&path))?;
            // The time of the last change of any kind: `chmod` leaves the time of writing alone.
            Ok((path, metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
        };
        self.files()?.into_iter().map(look).collect::<Result<_, _>>().map(Fingerprint)
    }

    /// Makes a key that may sign from `not_before` on and writes its file: all of it or nothing.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn generate(
        &self,
        algorithm: Algorithm,
        created: Timestamp,
        not_before: Timestamp,
    ) -> Result<KeyId, KeystoreError> {
        self.create()?;
        self.check_folder()?;
        let times = KeyTimes::new(created, not_before);
        let (kid, text) = jwk::generate(&self.directory, algorithm, &times, &Passphrases::none())?;
        self.write(&kid, &text)?;
        Ok(kid)
    }

    /// Temporary file, `fsync`, rename, `fsync` of the folder: a crash leaves the old state or the
    /// new one.
    fn write(&self, kid: &KeyId, text: &[u8]) -> Result<(), KeystoreError> {
        let path = self.directory.join(format!("{kid}.{FILE_EXTENSION}"));
        let failed = io_error(&path);
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(&self.directory)
            .map_err(&failed)?;
        file.write_all(text).map_err(&failed)?;
        file.write_all(b"\n").map_err(&failed)?;
        file.as_file().sync_all().map_err(&failed)?;
        file.persist_noclobber(&path).map_err(|error| failed(error.error))?;
        File::open(&self.directory).and_then(|folder| folder.sync_all()).map_err(&failed)
    }

    fn check_folder(&self) -> Result<(), KeystoreError> {
        let path = &self.directory;
        if !self.exists() {
            let path = path.clone();
            let is_something = path.symlink_metadata().is_ok();
            return Err(if is_something {
                KeystoreError::NotAFolder { path }
            } else {
                KeystoreError::NoFolder { path }
            });
        }
        let found = fs::metadata(path).map_err(io_error(path))?.permissions().mode() & 0o7777;
        if found & 0o022 != 0 {
            let (wanted, mend) = ("no write permission for group and others", "go-w");
            return Err(KeystoreError::TooOpen { path: path.clone(), found, wanted, mend });
        }
        Ok(())
    }

    /// The files of keys, in the order of their names.
    fn files(&self) -> Result<Vec<PathBuf>, KeystoreError> {
        let failed = io_error(&self.directory);
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            if path.extension().is_some_and(|extension| extension == FILE_EXTENSION) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn read_key(path: &Path) -> Result<Key, KeystoreError> {
    let failed = io_error(path);
    let seen = fs::symlink_metadata(path).map_err(&failed)?;
    let not_a_file = || KeystoreError::NotAFile { path: path.into() };
    if !seen.is_file() {
        return Err(not_a_file());
    }
    let file = File::open(path).map_err(&failed)?;
    let metadata = file.metadata().map_err(&failed)?;
    // What was looked at is what is read, even if somebody swaps the name for a link in between.
    if (seen.dev(), seen.ino()) != (metadata.dev(), metadata.ino()) {
        return Err(not_a_file());
    }
    let found = metadata.permissions().mode() & 0o7777;
    if found & 0o077 != 0 {
        let wanted = "0600 or 0400: only its owner may read a key";
        return Err(KeystoreError::TooOpen { path: path.into(), found, wanted, mend: "600" });
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(KeystoreError::TooLong { path: path.into(), found: metadata.len() });
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(&failed)?;
    jwk::parse(path, &text, &Passphrases::none())
}
