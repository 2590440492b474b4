//! `keys/` ⇄ [`Keyring`]: one private JWK per file, `*.jwk`, mode 0600. No other module touches the
//! folder. The state of a key stands in its own members, so there is no index to go wrong.
//!
//! Whoever reads needs no lock: a file is written whole or not at all. Whoever changes the folder
//! holds its lock ([`Keystore::lock`]), so that each change is planned from what is there.

mod der;
mod error;
mod export;
mod file;
#[cfg(test)]
mod fixtures;
mod import;
mod jwk;
mod lock;
mod passphrase;
mod private;
mod seal;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resetd_verify::{Algorithm, KeyId, Timestamp};
use ring::digest;
use zeroize::Zeroizing;

use crate::domain::keyring::{Key, KeyTimes, Keyring};

pub use error::{ImportError, KeystoreError, SealError};
pub use export::{PrivateFormat, public_pem};
pub use import::Source;
pub use lock::Locked;
pub use passphrase::{PassphraseError, Passphrases};

use error::io_error;

/// The ending of a key's file. Everything else in the folder is left alone.
pub const FILE_EXTENSION: &str = "jwk";

/// The folder of keys.
#[derive(Clone, Debug)]
pub struct Keystore {
    directory: PathBuf,
    acceptance: u64,
    passphrases: Passphrases,
    known: Known,
}

/// The keys that were read, by file and by the digest of its text. To decrypt and prove a key takes
/// long, so it is done once for each text.
type Known = Arc<Mutex<HashMap<PathBuf, ([u8; 32], Key)>>>;

/// What is in the folder: the keys that can be used, and what is wrong with the others.
#[derive(Debug)]
pub struct Contents {
    /// The usable keys.
    pub keyring: Keyring,
    /// One error for each file that is no usable key, in the order of their names.
    pub faults: Vec<KeystoreError>,
}

/// What the folder looked like, to see cheaply whether anything changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, u64, i64, i64)>);

impl Keystore {
    /// Names the folder. `acceptance` is the longest time in seconds for which a token can be
    /// accepted after it was signed.
    pub fn new(directory: impl Into<PathBuf>, acceptance: u64) -> Self {
        let (directory, passphrases) = (directory.into(), Passphrases::none());
        Self { directory, acceptance, passphrases, known: Known::default() }
    }

    /// Encrypts what is written with the first of these, and decrypts with any.
    #[must_use]
    pub fn with_passphrases(self, passphrases: Passphrases) -> Self {
        Self { passphrases, ..self }
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
        file::check_folder(&self.directory)?;
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
        let mut contents = self.read()?;
        if contents.faults.is_empty() {
            Ok(contents.keyring)
        } else {
            Err(contents.faults.swap_remove(0))
        }
    }

    /// Reads every file, and tells of each that is faulty. To look at, never to sign with.
    ///
    /// # Errors
    /// [`KeystoreError`] when the folder itself cannot be used.
    pub fn read(&self) -> Result<Contents, KeystoreError> {
        file::check_folder(&self.directory)?;
        let mut keys: Vec<(PathBuf, Key)> = Vec::new();
        let mut faults = Vec::new();
        for path in self.files()? {
            let key = match self.read_key(&path) {
                Ok(key) => key,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            match keys.iter().find(|(_, known)| known.kid() == key.kid()) {
                Some((other, _)) => {
                    let (other, kid) = (other.clone(), key.kid().clone());
                    faults.push(KeystoreError::Duplicate { path, other, kid });
                }
                None => keys.push((path, key)),
            }
        }
        self.known().retain(|path, _| keys.iter().any(|(used, _)| used == path));
        let keys = keys.into_iter().map(|(_, key)| key).collect();
        Ok(Contents { keyring: Keyring::new(keys, self.acceptance), faults })
    }

    /// What the folder looks like now.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn fingerprint(&self) -> Result<Fingerprint, KeystoreError> {
        let look = |path: PathBuf| {
            // Of what a link leads to, since that is what is read.
            let metadata = fs::metadata(&path).map_err(io_error(&path))?;
            // The time of the last change of any kind: `chmod` leaves the time of writing alone.
            Ok((path, metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
        };
        self.files()?.into_iter().map(look).collect::<Result<_, _>>().map(Fingerprint)
    }

    /// Waits for the right to change the folder and takes it. What an earlier process left half
    /// written is removed.
    ///
    /// # Errors
    /// [`KeystoreError::Locked`] when another process holds it for seconds.
    pub fn lock(&self) -> Result<Locked<'_>, KeystoreError> {
        Locked::wait(self)
    }

    /// Takes the right to change the folder, if nobody has it.
    ///
    /// # Errors
    /// [`KeystoreError`] when the folder cannot be written to.
    pub fn try_lock(&self) -> Result<Option<Locked<'_>>, KeystoreError> {
        Locked::try_now(self)
    }

    /// Makes a key that may sign from `not_before` on.
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
        self.lock()?.add(algorithm, &KeyTimes::new(created, not_before), None)
    }

    /// Makes the first key of a folder that has none. Of several processes one does it.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn generate_first(
        &self,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<Option<KeyId>, KeystoreError> {
        if !self.is_empty()? {
            return Ok(None);
        }
        let locked = self.lock()?;
        if !self.is_empty()? {
            return Ok(None);
        }
        locked.add(algorithm, &KeyTimes::new(now, now), None).map(Some)
    }

    /// Both halves of a key, in clear.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn export_private(
        &self,
        kid: &KeyId,
        format: PrivateFormat,
    ) -> Result<Zeroizing<String>, KeystoreError> {
        let path = self.file_of(kid)?;
        let text = file::read(&self.directory, &path)?;
        export::private(&path, &text, &self.passphrases, format)
    }

    /// The keys whose private halves are not encrypted with the first passphrase.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn to_encrypt(&self) -> Result<Vec<KeyId>, KeystoreError> {
        file::check_folder(&self.directory)?;
        let mut waiting = Vec::new();
        for path in self.files()? {
            let text = file::read(&self.directory, &path)?;
            if jwk::reseal(&path, &text, &self.passphrases)?.is_some() {
                waiting.push(self.read_key(&path)?.kid().clone());
            }
        }
        Ok(waiting)
    }

    /// The file of a key need not have its name.
    fn file_of(&self, kid: &KeyId) -> Result<PathBuf, KeystoreError> {
        for path in self.files()? {
            if self.read_key(&path)?.kid() == kid {
                return Ok(path);
            }
        }
        Err(KeystoreError::NoKey { path: self.directory.clone(), kid: kid.clone() })
    }

    fn read_key(&self, path: &Path) -> Result<Key, KeystoreError> {
        let text = file::read(&self.directory, path)?;
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, &text).as_ref());
        if let Some((_, key)) = self.known().get(path).filter(|(known, _)| *known == digest) {
            return Ok(key.clone());
        }
        let key = jwk::parse(path, &text, &self.passphrases)?;
        self.known().insert(path.into(), (digest, key.clone()));
        Ok(key)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PathBuf, ([u8; 32], Key)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Writes a file that is not there yet and that only its owner can read.
///
/// # Errors
/// [`KeystoreError::Io`].
pub fn write_new_private(path: &Path, text: &[u8]) -> Result<(), KeystoreError> {
    file::write(path, text, false)
}
