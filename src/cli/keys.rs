//! `resetd keys …`: the folder of keys, by hand. The same words and members as `/admin/keys`.

mod change;
mod export;
mod show;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use resetd_verify::Algorithm;

use super::output::Output;
use super::{Outcome, Settings, named_tenant};
use crate::config::Config;
use crate::domain::policy::TenantName;
use crate::domain::rotation::{Step, can_be_made};
use crate::key_admin::{KeyAdminError, KeyFolder};
use crate::serve::key_folder;

/// The furthest ahead that a key is made, in seconds.
const A_YEAR: u64 = 365 * 24 * 60 * 60;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all keys, newest first, and what is wrong with the files that are none
    List {
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Show one key, its public half only
    Show {
        /// The key's identifier, or its beginning
        kid: String,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Make a key. The first one signs at once, every other one when all verifiers know it
    Generate {
        /// `ES256` or `EdDSA`; the configured one by default
        #[arg(long)]
        algorithm: Option<String>,
        #[command(flatten)]
        start: StartArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Take a key that was made elsewhere: PEM (PKCS#8, SEC1, PKCS#1) or a private JWK
    Import(change::ImportArgs),
    /// Write a key's public half, or its private half into a file
    Export(export::ExportArgs),
    /// Let a published key sign from now on
    Activate {
        /// The key's identifier, or its beginning
        kid: String,
        /// Let it sign sooner than all verifiers know it: they will refuse new links
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Let a key sign no more; its links stay good
    Retire {
        /// The key's identifier, or its beginning
        kid: String,
        /// Retire the key that signs too: nothing is issued then
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// For a leaked key: trust nothing that it signed, and let another one sign
    Revoke {
        /// The key's identifier, or its beginning
        kid: String,
        /// Algorithm of the replacement, if one must be made
        #[arg(long)]
        algorithm: Option<String>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Replace the key that signs, in the order that breaks no link: publish, wait, sign, retire
    Rotate {
        /// `ES256` or `EdDSA`; the configured one by default
        #[arg(long)]
        algorithm: Option<String>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Remove the files of keys whose last token has expired
    Prune {
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Encrypt the private halves with the configured passphrase, or with another one than before
    Encrypt {
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// Whose keys.
#[derive(Debug, Args)]
pub(super) struct FolderArgs {
    /// Folder of private keys; the configured one by default
    #[arg(long, value_name = "DIR")]
    keys: Option<String>,
    /// The tenant whose keys they are
    #[arg(long, default_value = TenantName::DEFAULT)]
    tenant: String,
}

/// From when a new key signs.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// Seconds until it signs; by default as long as verifiers may keep an older key set
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=A_YEAR))]
    signs_in: Option<u64>,
    /// Let it sign sooner than all verifiers know it: they will refuse new links
    #[arg(long)]
    force: bool,
}

/// How carefully.
#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// Say what would be done and what follows, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before something is lost
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    folder: FolderArgs,
}

impl FolderArgs {
    /// To look at the keys that the tenant signs with.
    fn open(&self, settings: &Settings) -> Result<KeyFolder> {
        let config = self.config(settings)?;
        Ok(key_folder(&config, named_tenant(&config, &self.tenant)?)?)
    }

    /// To change the keys, or to take a private half, which whoever only shares them may not.
    fn open_own(&self, settings: &Settings) -> Result<KeyFolder> {
        let config = self.config(settings)?;
        let tenant = named_tenant(&config, &self.tenant)?;
        if tenant.shares_keys() {
            let (owner, tenant) = (tenant.keys.owner.clone(), tenant.policy.tenant.clone());
            let mend = format!("for that: --tenant {owner}");
            return Err(anyhow!("--tenant: {}; {mend}", KeyAdminError::Shared { tenant, owner }));
        }
        Ok(key_folder(&config, tenant)?)
    }

    fn config(&self, settings: &Settings) -> Result<Config> {
        Ok(settings.config(&[("--keys", "keys.directory", self.keys.as_deref())])?)
    }
}

pub(super) fn run(settings: &Settings, command: Command, output: Output) -> Result<Outcome> {
    let by_kid = |kid: &str, change: &ChangeArgs| -> Result<_> {
        let folder = change.folder.open_own(settings)?;
        let kid = folder.kid(kid)?;
        Ok((folder, kid))
    };
    match command {
        Command::List { folder } => show::list(&folder.open(settings)?, output),
        Command::Show { kid, folder } => show::show(&folder.open(settings)?, &kid, output),
        Command::Import(args) => change::import(settings, &args, output),
        Command::Export(args) => export::run(settings, &args),
        Command::Generate { algorithm, start: StartArgs { signs_in, force }, change } => {
            let folder = change.folder.open_own(settings)?;
            let algorithm = algorithm_of(algorithm.as_deref(), &folder)?;
            change.carry_out(&folder, &Step::Add { algorithm, signs_in, force }, output)
        }
        Command::Activate { kid, force, change } => {
            let (folder, kid) = by_kid(&kid, &change)?;
            change.carry_out(&folder, &Step::Activate { kid, force }, output)
        }
        Command::Retire { kid, force, change } => {
            let (folder, kid) = by_kid(&kid, &change)?;
            change.carry_out(&folder, &Step::Retire { kid, force }, output)
        }
        Command::Revoke { kid, algorithm, change } => {
            let (folder, kid) = by_kid(&kid, &change)?;
            let algorithm = algorithm_of(algorithm.as_deref(), &folder)?;
            change.carry_out(&folder, &Step::Revoke { kid, algorithm }, output)
        }
        Command::Rotate { algorithm, change } => {
            let folder = change.folder.open_own(settings)?;
            let algorithm = algorithm_of(algorithm.as_deref(), &folder)?;
            change.carry_out(&folder, &Step::Rotate { algorithm }, output)
        }
        Command::Prune { change } => {
            change.carry_out(&change.folder.open_own(settings)?, &Step::Prune, output)
        }
        Command::Encrypt { change } => change::encrypt(settings, &change, output),
    }
}

/// The algorithm of a key that is made here.
fn algorithm_of(name: Option<&str>, folder: &KeyFolder) -> Result<Algorithm> {
    let Some(name) = name else {
        return Ok(folder.rules().algorithm);
    };
    match Algorithm::parse(name) {
        Some(algorithm) if can_be_made(algorithm) => Ok(algorithm),
        Some(_) => bail!(
            "--algorithm: {name} keys cannot be made here, only ES256 and EdDSA keys; resetd keys import takes one"
        ),
        None => bail!("--algorithm: wanted ES256 or EdDSA, found {name:?}"),
    }
}
