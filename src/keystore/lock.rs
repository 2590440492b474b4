//! The right to change the folder, held by one process at a time, and what can be done with it.

use std::fs::File;
use std::thread;
use std::time::Duration;

use resetd_verify::{Algorithm, KeyId, Timestamp};
use zeroize::Zeroizing;

use super::error::{KeystoreError, io_error};
use super::{FILE_EXTENSION, Keystore, Passphrases, Source, file, import, jwk};
use crate::domain::keyring::{KeyTimes, Keyring};
use crate::domain::rotation::{Change, Plan};
use crate::file_lock;

/// The file that is locked. It stays; only its lock means something, and that ends with its process.
const LOCK_FILE: &str = ".lock";
/// How often a lock that is held by another process is tried for, and how long between.
const TRIES: u32 = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// The folder, locked.
#[derive(Debug)]
pub struct Locked<'k> {
    keystore: &'k Keystore,
    _lock: File,
}

impl<'k> Locked<'k> {
    pub(super) fn wait(keystore: &'k Keystore) -> Result<Self, KeystoreError> {
        for _ in 0..TRIES {
            if let Some(locked) = Self::try_now(keystore)? {
                return Ok(locked);
            }
            thread::sleep(BETWEEN_TRIES);
        }
        Err(KeystoreError::Locked { path: keystore.directory.join(LOCK_FILE) })
    }

    pub(super) fn try_now(keystore: &'k Keystore) -> Result<Option<Self>, KeystoreError> {
        file::check_folder(&keystore.directory)?;
        let path = keystore.directory.join(LOCK_FILE);
        let Some(lock) = file_lock::try_lock(&path).map_err(io_error(&path))? else {
            return Ok(None);
        };
        file::remove_unfinished(&keystore.directory)?;
        Ok(Some(Self { keystore, _lock: lock }))
    }

    /// The keys as they are and stay while this lock is held.
    ///
    /// # Errors
    /// As [`Keystore::load`].
    pub fn load(&self) -> Result<Keyring, KeystoreError> {
        self.keystore.load()
    }

    /// Makes the changes, one file after the other, and names the keys that were added.
    ///
    /// # Errors
    /// [`KeystoreError`]; what was changed before it stays so.
    pub fn carry_out(
        &self,
        plan: &Plan,
        source: Option<&Source<'_>>,
    ) -> Result<Vec<KeyId>, KeystoreError> {
        let mut added = Vec::new();
        for change in &plan.changes {
            match change {
                Change::Add { algorithm, times } => {
                    added.push(self.add(*algorithm, times, source)?);
                }
                Change::Amend { kid, times } => self.amend(kid, times)?,
                Change::Remove { kid } => file::remove(&self.keystore.file_of(kid)?)?,
            }
        }
        Ok(added)
    }

    /// Encrypts the private half of every key with the first passphrase.
    ///
    /// # Errors
    /// [`KeystoreError`]; what was changed before it stays so.
    pub fn encrypt(&self) -> Result<(), KeystoreError> {
        for path in self.keystore.files()? {
            let text = file::read(&self.keystore.directory, &path)?;
            if let Some(sealed) = jwk::reseal(&path, &text, &self.keystore.passphrases)? {
                file::write(&path, &sealed, true)?;
            }
        }
        Ok(())
    }

    pub(super) fn add(
        &self,
        algorithm: Algorithm,
        times: &KeyTimes,
        source: Option<&Source<'_>>,
    ) -> Result<KeyId, KeystoreError> {
        let (kid, text) = self.keystore.new_file(algorithm, times, source)?;
        if self.load()?.keys().any(|key| *key.kid() == kid) {
            return Err(KeystoreError::AlreadyThere { path: self.keystore.directory.clone(), kid });
        }
        let path = self.keystore.directory.join(format!("{kid}.{FILE_EXTENSION}"));
        file::write(&path, &text, false)?;
        Ok(kid)
    }

    fn amend(&self, kid: &KeyId, times: &KeyTimes) -> Result<(), KeystoreError> {
        let path = self.keystore.file_of(kid)?;
        let text = file::read(&self.keystore.directory, &path)?;
        file::write(&path, &jwk::with_times(&path, &text, times)?, true)
    }
}

impl Keystore {
    /// The name and the algorithm of a key that is brought along: nothing is written.
    ///
    /// # Errors
    /// [`KeystoreError`] says what is wrong with it.
    pub fn read_import(&self, source: &Source<'_>) -> Result<(KeyId, Algorithm), KeystoreError> {
        let (never, clear) = (Timestamp::from_seconds(0), Passphrases::none());
        let (kid, text) = import::read(source, &KeyTimes::new(never, never), &clear)?;
        Ok((kid, jwk::parse(source.name, &text, &clear)?.public().algorithm()))
    }

    /// The text of a key's file that could be added: nothing is written.
    pub(super) fn new_file(
        &self,
        algorithm: Algorithm,
        times: &KeyTimes,
        source: Option<&Source<'_>>,
    ) -> Result<(KeyId, Zeroizing<Vec<u8>>), KeystoreError> {
        match source {
            None => jwk::generate(&self.directory, algorithm, times, &self.passphrases),
            Some(source) => import::read(source, times, &self.passphrases),
        }
    }
}
