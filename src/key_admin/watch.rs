//! The folders of a running server: taken up when they change, rotated when it is time, and what
//! there is to tell about both.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resetd_verify::Timestamp;

use super::{KeyAdminError, KeyFolder};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::domain::keyring::{KeyState, Keyring};
use crate::domain::policy::TenantName;
use crate::domain::rotation;
use crate::domain::time::to_rfc3339;
use crate::keystore::{Fingerprint, KeystoreError};
use crate::service::{ResetService, Tenant};

/// Seconds between two tries of a rotation that failed.
const RETRY: u64 = 60;

/// All key folders of a running server. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct RunningKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: ResetService,
    clock: Arc<dyn Clock>,
    audit: Audit,
    folders: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    folder: KeyFolder,
    seen: Mutex<Seen>,
}

/// What was last seen of a folder, and how its rotation went.
#[derive(Debug, Default)]
struct Seen {
    /// What it looked like when its keys were last taken up.
    fingerprint: Option<Fingerprint>,
    /// What keeps the keys from being taken up; told in the log once.
    faults: Vec<Fault>,
    /// Rotations that failed since the start.
    failures: u64,
    last_failure: Option<Timestamp>,
    /// Whether the last try failed.
    is_failing: bool,
}

/// A file that keeps the keys from being taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name, without the folder.
    pub file: String,
    /// What is wrong and how to mend it.
    pub problem: String,
}

/// How the keys of a folder are.
#[derive(Debug)]
pub struct KeyHealth {
    /// Whose they are.
    pub tenant: TenantName,
    /// How many keys are in each state.
    pub states: Vec<(KeyState, u64)>,
    /// Seconds for which the active key has been signing.
    pub active_for: Option<u64>,
    /// When the next key takes over, if that is known.
    pub next_rotation: Option<Timestamp>,
    /// Rotations that failed since the start.
    pub failures: u64,
    /// When the last one failed.
    pub last_failure: Option<Timestamp>,
    /// Whether the last try to rotate failed.
    pub is_failing: bool,
    /// What keeps the keys in the folder from being taken up.
    pub faults: Vec<Fault>,
}

impl KeyFolder {
    /// Takes the keys, and what the folder looked like just before.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn take(&self) -> Result<(Keyring, Fingerprint), KeystoreError> {
        let fingerprint = self.keystore().fingerprint()?;
        Ok((self.keystore().load()?, fingerprint))
    }
}

impl RunningKeys {
    /// Begins to watch folders whose keys the service has taken; each once, also where tenants share it. The audit trail learns of changes.
    pub fn new(
        service: ResetService,
        clock: Arc<dyn Clock>,
        audit: Audit,
        folders: Vec<(KeyFolder, Fingerprint)>,
    ) -> Self {
        let watched = |(folder, fingerprint)| {
            let seen = Seen { fingerprint: Some(fingerprint), ..Seen::default() };
            Watched { folder, seen: Mutex::new(seen) }
        };
        let folders = folders.into_iter().map(watched).collect();
        Self(Arc::new(Inner { service, clock, audit, folders }))
    }

    /// The service that uses the keys.
    pub fn service(&self) -> &ResetService {
        &self.0.service
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The audit trail.
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// The folder of the keys that a tenant signs with.
    pub fn folder(&self, tenant: &Tenant) -> Option<&KeyFolder> {
        self.folders().find(|folder| folder.tenant() == tenant.keys_owner())
    }

    /// All folders.
    pub fn folders(&self) -> impl Iterator<Item = &KeyFolder> {
        self.0.folders.iter().map(|watched| &watched.folder)
    }

    /// Takes up what has changed. A folder in which any file is faulty, or in which there is no key
    /// any more, changes nothing: it is tried again until it can be.
    pub fn reload(&self) {
        for watched in &self.0.folders {
            watched.reload(&self.0, self.now());
        }
    }

    /// Publishes the next key of every folder whose schedule asks for it. Of several processes, the
    /// one that gets the folder's lock does it; the others find it done.
    pub fn rotate_due(&self) {
        for watched in &self.0.folders {
            watched.rotate_due(&self.0, self.now());
        }
    }

    /// How the keys of each folder are, whoever signs with them.
    pub fn health(&self) -> Vec<KeyHealth> {
        self.0.folders.iter().map(|it| it.health(&self.0.service, self.now())).collect()
    }
}

impl Watched {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, Inner { service, audit, .. }: &Inner, now: Timestamp) {
        // Held to the end: of two at once, the one that read first must not come last.
        let mut seen = self.seen();
        let fingerprint = self.folder.keystore().fingerprint().ok();
        if fingerprint.is_some() && fingerprint == seen.fingerprint {
            return;
        }
        let Some(tenant) = service.tenant(self.folder.tenant()) else { return };
        match self.read(tenant, now) {
            Ok(()) => {
                seen.fingerprint = fingerprint;
                seen.faults.clear();
                let (name, active) = (self.folder.tenant().as_str(), tenant.active_key());
                audit.keys_changed(self.folder.tenant(), active.as_ref().ok().map(|key| key.kid()));
                match active {
                    Ok(_) => tracing::info!(tenant = name, "the keys changed and are in use"),
                    Err(error) => {
                        tracing::error!(tenant = name, %error, "the keys changed and are in use");
                    }
                }
            }
            Err(faults) => seen.tell(self.folder.tenant(), faults),
        }
    }

    fn read(&self, tenant: &Tenant, now: Timestamp) -> Result<(), Vec<Fault>> {
        let folder = self.folder.keystore().directory();
        let contents = self.folder.keystore().read().map_err(|error| vec![Fault::of(&error)])?;
        if !contents.faults.is_empty() {
            return Err(contents.faults.iter().map(Fault::of).collect());
        }
        let at_fault = |problem: String| vec![Fault { file: name_of(folder), problem }];
        if contents.keyring.is_empty() {
            return Err(at_fault(format!("{}: has no key any more", folder.display())));
        }
        self.warn_of_surprise(&tenant.keyring(), &contents.keyring, now);
        tenant.replace_keyring(contents.keyring).map_err(|error| at_fault(error.to_string()))
    }

    /// A key put into the folder by hand, or by force, can sign before anybody knows it. All processes
    /// must agree, so nothing is held back here, but it is said.
    fn warn_of_surprise(&self, known: &Keyring, keyring: &Keyring, now: Timestamp) {
        let known_from = now.plus(self.folder.rules().jwks_max_age);
        for key in keyring.keys().filter(|key| key.times().not_before < known_from) {
            let will_sign = [KeyState::Next, KeyState::Active].contains(&keyring.state(key, now));
            if will_sign && !known.keys().any(|other| other.kid() == key.kid()) {
                tracing::warn!(
                    tenant = self.folder.tenant().as_str(),
                    kid = %key.kid(),
                    until = to_rfc3339(known_from),
                    "a key signs before all verifiers know it: those that keep an older key set \
                     refuse new links until then"
                );
            }
        }
    }

    fn rotate_due(&self, running: &Inner, now: Timestamp) {
        let Some(tenant) = running.service.tenant(self.folder.tenant()) else { return };
        let keyring = tenant.keyring();
        let due = rotation::due(&keyring, self.folder.rules(), now);
        if self.seen().waits(now) || matches!(due, Ok(None)) {
            return;
        }
        let tenant = self.folder.tenant().as_str();
        match self.rotate(now) {
            Ok(()) => self.reload(running, now),
            Err(error) => {
                self.seen().failed(now);
                tracing::error!(tenant, %error, "the keys should rotate and cannot");
            }
        }
    }

    fn rotate(&self, now: Timestamp) -> Result<(), KeyAdminError> {
        let Some(locked) = self.folder.keystore().try_lock()? else {
            return Ok(());
        };
        // What is there now may be what another process just did.
        let Some(plan) = rotation::due(&locked.load()?, self.folder.rules(), now)? else {
            return Ok(());
        };
        let added = locked.carry_out(&plan, None)?;
        self.seen().is_failing = false;
        let tenant = self.folder.tenant().as_str();
        tracing::info!(tenant, ?added, "the next key is published");
        Ok(())
    }

    fn health(&self, service: &ResetService, now: Timestamp) -> KeyHealth {
        let tenant = service.tenant(self.folder.tenant());
        let keyring = tenant.map(Tenant::keyring).unwrap_or_default();
        let count = |state| keyring.keys().filter(|key| keyring.state(key, now) == state).count();
        let active = keyring.active(now);
        let seen = self.seen();
        KeyHealth {
            tenant: self.folder.tenant().clone(),
            states: KeyState::ALL.map(|state| (state, count(state) as u64)).into(),
            active_for: active.map(|key| now.since(key.times().not_before)),
            next_rotation: rotation::next_rotation(&keyring, self.folder.rules(), now),
            failures: seen.failures,
            last_failure: seen.last_failure,
            is_failing: seen.is_failing,
            faults: seen.faults.clone(),
        }
    }
}

impl Seen {
    /// Whether the last try failed a moment ago.
    fn waits(&self, now: Timestamp) -> bool {
        let is_recent = |at: Timestamp| at <= now && now < at.plus(RETRY);
        self.is_failing && self.last_failure.is_some_and(is_recent)
    }

    fn failed(&mut self, now: Timestamp) {
        self.failures += 1;
        self.last_failure = Some(now);
        self.is_failing = true;
    }

    /// Until the folder is mended it is tried again and again, and told once.
    fn tell(&mut self, tenant: &TenantName, faults: Vec<Fault>) {
        self.fingerprint = None;
        if faults == self.faults {
            return;
        }
        for Fault { file, problem } in &faults {
            tracing::error!(
                tenant = tenant.as_str(),
                file,
                fault = problem,
                "the keys changed and are not used; those in use stay"
            );
        }
        self.faults = faults;
    }
}

impl Fault {
    fn of(error: &KeystoreError) -> Self {
        Self { file: error.path().map(name_of).unwrap_or_default(), problem: error.to_string() }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
