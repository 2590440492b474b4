//! `resetd config check | show | reload`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::output::{Output, facts, rows};
use super::{Outcome, Settings, client};
use crate::config::Config;
use crate::domain::caller::without_api_keys;
use crate::serve::{self, directory_of};
use crate::tls::RunningTls;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether the configuration can be used, and where it is wrong
    Check,
    /// Show every setting in force and where it comes from; secrets are masked
    Show,
    /// Have a running service read its configuration again
    Reload(client::ReloadArgs),
}

pub(super) fn run(settings: &Settings, command: &Command, output: Output) -> Result<Outcome> {
    if let Command::Reload(args) = command {
        return client::reload(args, output);
    }
    let layers = settings.layers(&[])?;
    let config = Config::from_layers(&layers)?;
    match command {
        Command::Reload(_) => {}
        Command::Check => {
            // What the server would stumble over only when it starts.
            for tenant in &config.tenants {
                directory_of(tenant)?;
            }
            serve::mail::check(&config)?;
            config.tls.map(RunningTls::open).transpose()?;
            output.print(&json!({ "valid": true }), || {
                let file = settings.file.as_ref().map(|file| file.display().to_string());
                facts([("valid", "yes".into()), ("file", file.unwrap_or_else(|| "none".into()))])
            })?;
        }
        Command::Show => {
            let values: Vec<_> = layers
                .values()
                .into_iter()
                .map(|(key, value)| {
                    let shown = shown(&key, &value.to_string());
                    let origin = layers.origin(&key).to_string();
                    (key, shown, origin)
                })
                .collect();
            let json: Vec<_> = values
                .iter()
                .map(|(key, value, origin)| json!({ "key": key, "value": value, "origin": origin }))
                .collect();
            output.print(&json, || {
                let row = |(key, value, origin): &(String, String, String)| {
                    vec![key.clone(), value.clone(), origin.clone()]
                };
                rows(&["KEY", "VALUE", "FROM"], values.iter().map(row).collect())
            })?;
        }
    }
    Ok(Outcome::Done)
}

/// A value as it may be shown. Of an address that is called the query is left out, since some receivers
/// know their senders by a secret there.
fn shown(key: &str, value: &str) -> String {
    if key.ends_with("sha256") {
        return "\"***\"".into();
    }
    let is_called = key.starts_with("webhooks.") && key.split('.').next_back() == Some("url");
    match value.split_once('?') {
        Some((before, _)) if is_called => format!("{before}?***\""),
        _ => without_api_keys(value),
    }
}
