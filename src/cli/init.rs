//! `resetd init`: a folder to start from.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::Outcome;
use super::output::{Output, facts};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, DEFAULTS, Layers};
use crate::keystore::Keystore;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder to set up; made if it is not there
    #[arg(default_value = ".")]
    directory: PathBuf,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome> {
    let defaults = Config::from_layers(&Layers::defaults()?)?;
    let config = args.directory.join("config.toml");
    let keys = args.directory.join(&defaults.default_tenant().keys.directory);
    if config.exists() {
        bail!(
            "{}: is there already and stays as it is; move it away to get a new one",
            config.display()
        );
    }
    fs::create_dir_all(&args.directory)
        .with_context(|| format!("cannot make {}", args.directory.display()))?;
    let keystore = Keystore::new(&keys, defaults.default_tenant().policy.longest_acceptance());
    keystore.create()?;
    let first_key = if keystore.load()?.is_empty() {
        let now = SystemClock::new().now();
        Some(keystore.generate(defaults.default_tenant().keys.algorithm, now, now)?)
    } else {
        None
    };
    write_new(&config)?;
    let json = json!({ "config": config, "keys": keys, "first_key": first_key });
    output.print(&json, || {
        facts([
            ("wrote", config.display().to_string()),
            ("keys", keys.display().to_string()),
            ("first key", first_key.map_or_else(|| "was there".into(), |kid| kid.to_string())),
            (
                "next",
                format!(
                    "cd {} && resetd callers add --name web --scopes issue,check,redeem,revoke",
                    args.directory.display()
                ),
            ),
            ("then", "resetd serve --config config.toml".into()),
        ])
    })?;
    Ok(Outcome::Done)
}

/// Never over a file that is there, not even one that came a moment ago.
fn write_new(path: &Path) -> Result<()> {
    let written =
        OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| {
            file.write_all(DEFAULTS.as_bytes()).and_then(|()| file.sync_all())
        });
    written.with_context(|| format!("cannot write {}", path.display()))
}
