//! The folders of keys: opened at the start, each with the rules for its keys.

use std::path::PathBuf;

use resetd_verify::{KeyId, Timestamp};

use crate::config::{Config, Tenant};
use crate::domain::rotation::KeyRules;
use crate::key_admin::KeyFolder;
use crate::keystore::{Fingerprint, Keystore, Passphrases};
use crate::service::{KeysOf, Sending, TenantParts};

use super::ServeError;

/// The folder of the keys that a tenant signs with, with what decrypts them and the rules for them. A
/// key is kept there for as long as any who share it need it.
///
/// # Errors
/// [`ServeError::Passphrase`] when what is configured is no passphrase.
pub fn key_folder(config: &Config, tenant: &Tenant) -> Result<KeyFolder, ServeError> {
    let keys = &tenant.keys;
    let passphrases = match &config.keys.passphrases {
        None => Passphrases::none(),
        Some(text) => Passphrases::parse(text.expose())?,
    };
    let rules = KeyRules {
        algorithm: keys.algorithm,
        jwks_max_age: config.keys.jwks_max_age,
        publish_ahead: keys.publish_ahead,
        rotate_every: keys.rotate_every,
    };
    let keystore = Keystore::new(&keys.directory, config.longest_acceptance(&keys.owner));
    let keystore = keystore.with_passphrases(passphrases);
    Ok(KeyFolder::new(keys.owner.clone(), keystore, rules))
}
/// What was found in the folders of keys.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) tenants: Vec<TenantParts>,
    pub(super) folders: Vec<(KeyFolder, Fingerprint)>,
    pub(super) first_keys: Vec<(KeyId, PathBuf)>,
}
/// The keys of each tenant, the default one first. An empty folder gets its first key; a tenant that
/// shares the keys of the default one has no folder.
pub(super) fn open_folders(
    config: &Config,
    sending: &impl Fn(&Tenant) -> Sending,
    now: Timestamp,
) -> Result<Opened, ServeError> {
    let mut opened = Opened::default();
    for tenant in &config.tenants {
        let (policy, sending) = (tenant.policy.clone(), sending(tenant));
        if tenant.shares_keys() {
            opened.tenants.push(TenantParts { policy, keys: KeysOf::Default, sending });
            continue;
        }
        let folder = key_folder(config, tenant)?;
        let keystore = folder.keystore();
        // The default folder is made, and so is a tenant's in a folder that is there. One that was
        // named and is not there is a mistake: new keys in the wrong place would break every link.
        if config.keys.is_default_directory || !policy.tenant.is_default() {
            keystore.create()?;
            keystore.close_if_empty()?;
        }
        let first_key = keystore.generate_first(tenant.keys.algorithm, now)?;
        opened.first_keys.extend(first_key.map(|kid| (kid, tenant.keys.directory.clone())));
        let (keyring, fingerprint) = folder.take()?;
        opened.tenants.push(TenantParts { policy, keys: KeysOf::Itself(keyring), sending });
        opened.folders.push((folder, fingerprint));
    }
    Ok(opened)
}
