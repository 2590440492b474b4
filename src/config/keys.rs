//! How keys live: what holds for all tenants, and the bounds that keep a rotation from breaking links.

use std::path::{Path, PathBuf};

use resetd_verify::Algorithm;

use super::check::Check;
use super::layers::{Origin, PASSPHRASE_VARIABLE};
use super::raw::{RawConfig, RawKeys, RawTenant};
use super::tenants::TenantKeys;
use super::{ConfigError, read_private_text};
use crate::domain::keyring::MARGIN;
use crate::domain::policy::TenantName;
use crate::domain::secret::Secret;

/// What holds for the keys of all tenants.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Whether the folder is the default one, which may be made without asking. A folder that was
    /// named must exist: a mistyped name must not lead to new keys that break all links.
    pub is_default_directory: bool,
    /// Longest time in seconds that verifiers may keep the key set.
    pub jwks_max_age: u64,
    /// What encrypts private keys at rest, as it was written; without it they are not encrypted.
    pub passphrases: Option<Secret>,
}

impl Keys {
    /// The least time in seconds between publishing a key and signing with it.
    fn least_publish_ahead(&self) -> u64 {
        self.jwks_max_age + MARGIN
    }
}

/// What is written of one tenant's keys, and where.
pub(super) struct WrittenKeys<'w> {
    owner: TenantName,
    section: String,
    algorithm: &'w str,
    rotate_every: u64,
    publish_ahead: u64,
}

impl<'w> WrittenKeys<'w> {
    pub(super) fn of_default(keys: &'w RawKeys) -> Self {
        Self {
            owner: TenantName::default(),
            section: "keys".into(),
            algorithm: &keys.algorithm,
            rotate_every: keys.rotate_every_seconds,
            publish_ahead: keys.publish_ahead_seconds,
        }
    }

    /// What a tenant leaves out is as in `[keys]`.
    pub(super) fn of_tenant(
        keys: &'w RawKeys,
        tenant: &'w RawTenant,
        owner: TenantName,
        section: String,
    ) -> Self {
        Self {
            owner,
            section,
            algorithm: tenant.algorithm.as_deref().unwrap_or(&keys.algorithm),
            rotate_every: tenant.rotate_every_seconds.unwrap_or(keys.rotate_every_seconds),
            publish_ahead: tenant.publish_ahead_seconds.unwrap_or(keys.publish_ahead_seconds),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.section)
    }
}

impl Check<'_> {
    pub(super) fn keys(&self, raw: &RawConfig) -> Result<Keys, ConfigError> {
        let keys = &raw.keys;
        Ok(Keys {
            is_default_directory: *self.layers.origin("keys.directory") == Origin::Default,
            jwks_max_age: self.within(
                "keys.jwks_max_age_seconds",
                keys.jwks_max_age_seconds,
                1..=86_400,
            )?,
            passphrases: self.passphrases(&keys.passphrase_file)?,
        })
    }

    pub(super) fn tenant_keys(
        &self,
        written: &WrittenKeys<'_>,
        directory: PathBuf,
        shared: &Keys,
    ) -> Result<TenantKeys, ConfigError> {
        let algorithm = self.algorithm(written)?;
        let publish_ahead = self.publish_ahead(written, shared.least_publish_ahead())?;
        let rotate_every = self.rotate_every(written, publish_ahead)?;
        let owner = written.owner.clone();
        Ok(TenantKeys { owner, directory, algorithm, publish_ahead, rotate_every })
    }

    /// Whether a tenant signs with the keys of the default one. These live as `[keys]` says, so nothing
    /// else can be said of them.
    pub(super) fn shares_keys(
        &self,
        section: &str,
        tenant: &RawTenant,
    ) -> Result<bool, ConfigError> {
        match tenant.keys.as_deref() {
            None | Some("own") => return Ok(false),
            Some("shared") => {}
            Some(other) => {
                let problem = format!("wanted \"own\" or \"shared\", found {other:?}");
                return self.refuse(&format!("{section}.keys"), problem);
            }
        }
        let written = [
            ("algorithm", tenant.algorithm.is_some()),
            ("rotate_every_seconds", tenant.rotate_every_seconds.is_some()),
            ("publish_ahead_seconds", tenant.publish_ahead_seconds.is_some()),
        ];
        match written.into_iter().find(|(_, is_there)| *is_there) {
            None => Ok(true),
            Some((name, _)) => {
                let problem = format!(
                    "stands beside {section}.keys = \"shared\", and the keys of the default tenant live as keys.{name} says; take one of the two out"
                );
                self.refuse(&format!("{section}.{name}"), problem)
            }
        }
    }

    fn algorithm(&self, written: &WrittenKeys<'_>) -> Result<Algorithm, ConfigError> {
        match Algorithm::parse(written.algorithm) {
            Some(algorithm @ (Algorithm::Es256 | Algorithm::EdDsa)) => Ok(algorithm),
            Some(Algorithm::Rs256 | Algorithm::Ps256) | None => {
                let problem = format!("wanted ES256 or EdDSA, found {:?}", written.algorithm);
                self.refuse(&written.key("algorithm"), problem)
            }
        }
    }

    fn publish_ahead(&self, written: &WrittenKeys<'_>, least: u64) -> Result<u64, ConfigError> {
        const MOST: u64 = 30 * 24 * 60 * 60;
        match written.publish_ahead {
            0 => Ok(least),
            seconds if (least..=MOST).contains(&seconds) => Ok(seconds),
            seconds => {
                let problem = format!(
                    "wanted 0, or {least} to {MOST}: verifiers may keep the key set for keys.jwks_max_age_seconds, and with less than a minute more they meet tokens whose key they do not know; found {seconds}"
                );
                self.refuse(&written.key("publish_ahead_seconds"), problem)
            }
        }
    }

    /// A key signs for an hour at least after the time for which it waited. So one key waits at a
    /// time, and all that are published fit into the 64 keys that a verifier takes.
    fn rotate_every(
        &self,
        written: &WrittenKeys<'_>,
        publish_ahead: u64,
    ) -> Result<Option<u64>, ConfigError> {
        const LEAST_TIME_OF_SIGNING: u64 = 60 * 60;
        const MOST: u64 = 10 * 365 * 24 * 60 * 60;
        let least = publish_ahead + LEAST_TIME_OF_SIGNING;
        match written.rotate_every {
            0 => Ok(None),
            seconds if (least..=MOST).contains(&seconds) => Ok(Some(seconds)),
            seconds => {
                let problem = format!(
                    "wanted 0, or {least} to {MOST}: a key is published for {publish_ahead} seconds before it signs, and with less than an hour more the key after it would be due while it waits; found {seconds}"
                );
                self.refuse(&written.key("rotate_every_seconds"), problem)
            }
        }
    }

    fn passphrases(&self, file: &str) -> Result<Option<Secret>, ConfigError> {
        const FILE: &str = "keys.passphrase_file";
        match (self.layers.secret(PASSPHRASE_VARIABLE), file) {
            (None, "") => Ok(None),
            (None, file) => {
                let read = read_passphrases(Path::new(file));
                read.map(Some).or_else(|problem| self.refuse(FILE, problem))
            }
            (Some(passphrase), "") => check_passphrase(passphrase),
            (Some(_), _) => self.refuse(
                FILE,
                format!("is set beside the environment variable {PASSPHRASE_VARIABLE}; wanted one of the two"),
            ),
        }
    }
}

/// A variable holds one passphrase, where a file may hold several. Bytes that are no text arrive
/// here replaced, so they would be another passphrase than the one that was meant.
fn check_passphrase(passphrase: &Secret) -> Result<Option<Secret>, ConfigError> {
    let text = passphrase.expose();
    let problem = if text.is_empty() {
        "wanted a passphrase, found nothing; to encrypt nothing, unset the variable"
    } else if text.contains(['\n', '\r', char::REPLACEMENT_CHARACTER]) {
        "wanted one line of UTF-8, found something else; keys.passphrase_file may have several lines"
    } else {
        return Ok(Some(passphrase.clone()));
    };
    let (origin, key) =
        (Origin::Variable(PASSPHRASE_VARIABLE.into()), "the passphrase of the keys".into());
    Err(ConfigError::Invalid { origin, key, problem: problem.into() })
}

fn read_passphrases(path: &Path) -> Result<Secret, String> {
    let text = read_private_text(path, "a passphrase")?;
    if text.trim().is_empty() {
        return Err(format!("{}: wanted a passphrase, found nothing", path.display()));
    }
    Ok(Secret::new(text.as_str()))
}
