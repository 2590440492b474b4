//! `resetd keys list | show | generate`.

use anyhow::{Result, bail};
use clap::Subcommand;
use resetd_verify::Algorithm;
use serde::Serialize;
use serde_json::json;

use super::output::{Output, facts, rows};
use super::{Outcome, Settings};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::keyring::{Key, KeyState, Keyring};
use crate::domain::time::to_rfc3339;
use crate::keystore::Keystore;

/// The furthest ahead that a key is made, in seconds.
const A_YEAR: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all keys, newest first
    List {
        #[command(flatten)]
        folder: Folder,
    },
    /// Show one key, its public half only
    Show {
        /// The key's identifier, or its beginning
        kid: String,
        #[command(flatten)]
        folder: Folder,
    },
    /// Make a key. The first one signs at once, every other one when all verifiers know it
    Generate {
        /// `ES256` or `EdDSA`; the configured one by default
        #[arg(long)]
        algorithm: Option<String>,
        /// Seconds until it signs; by default as long as verifiers may keep an older key set
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=A_YEAR))]
        signs_in: Option<u64>,
        /// Let it sign sooner than all verifiers know it
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Folder {
    /// Folder of private keys; the configured one by default
    #[arg(long, value_name = "DIR")]
    keys: Option<String>,
}

impl Folder {
    fn open(&self, settings: &Settings) -> Result<(Config, Keystore)> {
        let config = settings.config(&[("--keys", "keys.directory", self.keys.as_deref())])?;
        let tenant = config.default_tenant();
        let retention = tenant.policy.longest_acceptance();
        let keystore = Keystore::new(&tenant.keys.directory, retention);
        Ok((config, keystore))
    }
}

pub(super) fn run(settings: &Settings, command: Command, output: Output) -> Result<Outcome> {
    match command {
        Command::List { folder } => list(&folder.open(settings)?.1, output),
        Command::Show { kid, folder } => show(&folder.open(settings)?.1, &kid, output),
        Command::Generate { algorithm, signs_in, force, folder } => {
            let (mut config, keystore) = folder.open(settings)?;
            if let Some(name) = algorithm {
                let Some(algorithm) = Algorithm::parse(&name) else {
                    bail!("--algorithm: wanted ES256 or EdDSA, found {name:?}");
                };
                config.tenants[0].keys.algorithm = algorithm;
            }
            generate(&config, &keystore, signs_in, force, output)
        }
    }
}

/// A key as it is told of.
#[derive(Serialize)]
struct Description {
    kid: String,
    state: String,
    algorithm: Algorithm,
    created: String,
    signs_from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_token_expires: Option<String>,
}

impl Description {
    fn of(key: &Key, keyring: &Keyring) -> Self {
        let now = SystemClock::new().now();
        Self {
            kid: key.kid().to_string(),
            state: keyring.state(key, now).to_string(),
            algorithm: key.public().algorithm(),
            created: to_rfc3339(key.times().created),
            signs_from: to_rfc3339(key.times().not_before),
            last_token_expires: keyring.last_token_expires(key, now).map(to_rfc3339),
        }
    }
}

fn list(keystore: &Keystore, output: Output) -> Result<Outcome> {
    let keyring = keystore.load()?;
    let keys: Vec<_> = keyring.keys().map(|key| Description::of(key, &keyring)).collect();
    output.print(&keys, || {
        let row = |key: &Description| {
            vec![
                key.kid.clone(),
                key.state.clone(),
                key.algorithm.to_string(),
                key.created.clone(),
                key.signs_from.clone(),
                key.last_token_expires.clone().unwrap_or_else(|| "-".into()),
            ]
        };
        rows(
            &["KID", "STATE", "ALGORITHM", "CREATED", "SIGNS FROM", "LAST TOKEN EXPIRES"],
            keys.iter().map(row).collect(),
        )
    })?;
    Ok(Outcome::Done)
}

fn show(keystore: &Keystore, kid: &str, output: Output) -> Result<Outcome> {
    let keyring = keystore.load()?;
    let mut found = keyring.keys().filter(|key| key.kid().as_str().starts_with(kid));
    let key = match (found.next(), found.next()) {
        (Some(key), None) => key,
        (None, _) => bail!(
            "no key in {} begins with {kid:?}; resetd keys list shows all",
            keystore.directory().display()
        ),
        (Some(_), Some(_)) => bail!("several keys begin with {kid:?}; give more of it"),
    };
    let description = Description::of(key, &keyring);
    let json = json!({ "key": description, "jwk": key.public() });
    let jwk = serde_json::to_string(key.public())?;
    output.print(&json, || {
        facts([
            ("kid", description.kid.clone()),
            ("state", description.state.clone()),
            ("algorithm", description.algorithm.to_string()),
            ("created", description.created.clone()),
            ("signs from", description.signs_from.clone()),
            ("last token expires", description.last_token_expires.clone().unwrap_or("-".into())),
            ("public jwk", jwk),
        ])
    })?;
    Ok(Outcome::Done)
}

fn generate(
    config: &Config,
    keystore: &Keystore,
    signs_in: Option<u64>,
    force: bool,
    output: Output,
) -> Result<Outcome> {
    let now = SystemClock::new().now();
    let known = if keystore.exists() { keystore.load()? } else { Keyring::default() };
    let signs_now = known.at(now)?.active.is_some();
    // Where nothing signs yet, no verifier can be taken by surprise.
    let keys = &config.default_tenant().keys;
    let needed = if signs_now { keys.publish_ahead } else { 0 };
    let wait = signs_in.unwrap_or(needed);
    if wait < needed && !force {
        bail!(
            "--signs-in {wait}: verifiers may keep the key set for {} seconds, so a key that signs sooner than {needed} seconds from now breaks links; wait, or break them with --force",
            config.keys.jwks_max_age
        );
    }
    // Of two keys that may sign from the same second on, their names would decide.
    let mut not_before = now.plus(wait);
    while known.keys().any(|key| key.times().not_before == not_before) {
        not_before = not_before.plus(1);
    }
    let kid = keystore.generate(keys.algorithm, now, not_before)?;
    let keyring = keystore.load()?;
    let state = keyring
        .keys()
        .find(|key| *key.kid() == kid)
        .map_or(KeyState::Next, |key| keyring.state(key, now));
    let signs_from = to_rfc3339(not_before);
    let json = json!({ "kid": kid, "state": state.to_string(), "signs_from": signs_from });
    output.print(&json, || {
        facts([
            ("made", kid.to_string()),
            ("in", keystore.directory().display().to_string()),
            ("state", state.to_string()),
            ("signs from", signs_from.clone()),
        ])
    })?;
    Ok(Outcome::Done)
}
