//! What an admin does with the keys of one tenant, in the same words for the command line, the HTTP
//! interface and the schedule: look, plan a step, carry it out.

mod describe;
mod watch;

use resetd_verify::{KeyId, PublicKey, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::domain::keyring::Keyring;
use crate::domain::policy::TenantName;
use crate::domain::rotation::{self, Change, KeyRules, Plan, RotationError, Step};
use crate::keystore::{Keystore, public_pem};

pub use crate::keystore::{KeystoreError, PrivateFormat as KeyFormat, Source};

pub use describe::{KeyDescription, KeyList};
pub use watch::{KeyHealth, RunningKeys};

/// The folder of a tenant's keys and the rules for it.
#[derive(Debug)]
pub struct KeyFolder {
    tenant: TenantName,
    keystore: Keystore,
    rules: KeyRules,
}

/// What a step did, or would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Whether nothing was changed, since only the plan was wanted.
    pub dry_run: bool,
    /// The changes and what follows.
    #[serde(flatten)]
    pub plan: Plan,
    /// The keys that were added or changed, as they are now.
    pub keys: Vec<KeyDescription>,
}

/// Why an admin's wish is not granted.
#[derive(Debug, thiserror::Error)]
pub enum KeyAdminError {
    /// The folder cannot be read or written.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A key that was brought along is none that can be used.
    #[error("{0}")]
    Import(#[source] KeystoreError),
    /// The step would break links.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// The keys are another tenant's, and so is the decision.
    #[error(
        "the tenant {tenant} signs with the keys of the tenant {owner}, so only those who act for {owner} can change them, for all that share them"
    )]
    Shared {
        /// Who signs with them.
        tenant: TenantName,
        /// Whose they are.
        owner: TenantName,
    },
    /// Between the plan and its confirmation somebody else changed the keys.
    #[error("the keys were changed meanwhile, so nothing was done; look at them and try again")]
    Changed,
}

impl KeyFolder {
    /// Puts the parts together.
    pub fn new(tenant: TenantName, keystore: Keystore, rules: KeyRules) -> Self {
        Self { tenant, keystore, rules }
    }

    /// Whose keys they are.
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// The folder itself.
    pub fn keystore(&self) -> &Keystore {
        &self.keystore
    }

    /// The rules for new keys.
    pub fn rules(&self) -> &KeyRules {
        &self.rules
    }

    /// All keys, newest first, and the files that are none.
    ///
    /// # Errors
    /// [`KeystoreError`] when the folder itself cannot be read.
    pub fn list(&self, now: Timestamp) -> Result<KeyList, KeystoreError> {
        Ok(KeyList::of(&self.keystore.read()?, &self.rules, now))
    }

    /// One key, by its identifier or the beginning of it: its description and its public half.
    ///
    /// # Errors
    /// [`KeyAdminError`].
    pub fn show(
        &self,
        kid: &str,
        now: Timestamp,
    ) -> Result<(KeyDescription, PublicKey), KeyAdminError> {
        let contents = self.keystore.read()?;
        let key = rotation::key_by_prefix(&contents.keyring, kid)?;
        Ok((KeyDescription::of(key, &contents.keyring, now), key.public().clone()))
    }

    /// The public half of a key, as PEM or as a JWK.
    ///
    /// # Errors
    /// [`KeyAdminError`].
    pub fn export_public(&self, kid: &str, format: KeyFormat) -> Result<String, KeyAdminError> {
        let contents = self.keystore.read()?;
        let public = rotation::key_by_prefix(&contents.keyring, kid)?.public();
        Ok(match format {
            KeyFormat::Pem => public_pem(public)?,
            KeyFormat::Jwk => json!(public).to_string() + "\n",
        })
    }

    /// The full identifier of the key that is meant.
    ///
    /// # Errors
    /// [`KeyAdminError`].
    pub fn kid(&self, prefix: &str) -> Result<KeyId, KeyAdminError> {
        Ok(rotation::key_by_prefix(&self.keystore.load()?, prefix)?.kid().clone())
    }

    /// What a step would do. Nothing is changed.
    ///
    /// # Errors
    /// [`KeyAdminError`].
    pub fn plan(&self, step: &Step, now: Timestamp) -> Result<Plan, KeyAdminError> {
        let keyring = match self.keystore.load() {
            Err(KeystoreError::NoFolder { .. }) if step.makes_folder() => Keyring::default(),
            loaded => loaded?,
        };
        Ok(rotation::plan(&keyring, &self.rules, step, now)?)
    }

    /// Plans a step again from what is there under the lock, and carries it out. If it was confirmed
    /// before, it must still be the same.
    ///
    /// # Errors
    /// [`KeyAdminError`].
    pub fn carry_out(
        &self,
        step: &Step,
        source: Option<&Source<'_>>,
        confirmed: Option<&Plan>,
        now: Timestamp,
    ) -> Result<Done, KeyAdminError> {
        let step = &self.for_source(step, source)?;
        if step.makes_folder() {
            self.keystore.create()?;
        }
        let locked = self.keystore.lock()?;
        let plan = rotation::plan(&locked.load()?, &self.rules, step, now)?;
        if confirmed.is_some_and(|confirmed| !plan.is_like(confirmed)) {
            return Err(KeyAdminError::Changed);
        }
        let mut touched = locked.carry_out(&plan, source)?;
        touched.extend(plan.changes.iter().filter_map(Change::amended).cloned());
        let keyring = locked.load()?;
        let keys = keyring.keys().filter(|key| touched.contains(key.kid()));
        let keys = keys.map(|key| KeyDescription::of(key, &keyring, now)).collect();
        Ok(Done { dry_run: false, plan, keys })
    }

    /// What a step would do, and that the key brought along is one.
    ///
    /// # Errors
    /// [`KeyAdminError`].
    pub fn dry_run(
        &self,
        step: &Step,
        source: Option<&Source<'_>>,
        now: Timestamp,
    ) -> Result<Done, KeyAdminError> {
        let plan = self.plan(&self.for_source(step, source)?, now)?;
        Ok(Done { dry_run: true, plan, keys: Vec::new() })
    }

    /// The same step for the key that is brought along. This comes before anything else: what cannot be
    /// used is the fault of who brought it, not of the folder.
    fn for_source(&self, step: &Step, source: Option<&Source<'_>>) -> Result<Step, KeyAdminError> {
        let Some(source) = source else {
            return Ok(step.clone());
        };
        let (kid, algorithm) = self.keystore.read_import(source).map_err(KeyAdminError::Import)?;
        let known = match self.keystore.read() {
            Err(KeystoreError::NoFolder { .. }) => Keyring::default(),
            contents => contents?.keyring,
        };
        if known.keys().any(|key| *key.kid() == kid) {
            let path = self.keystore.directory().into();
            return Err(KeystoreError::AlreadyThere { path, kid }.into());
        }
        Ok(step.with_algorithm(algorithm))
    }
}
