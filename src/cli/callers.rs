//! `resetd callers add | list`.

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::output::{Output, remark, rows};
use super::{Outcome, Settings, named_tenant};
use crate::config::{CALLER_NAME_WANTED, is_caller_name, parse_scopes};
use crate::domain::caller::{ApiKey, Caller, KeyHash, Scope, api_key};
use crate::domain::policy::TenantName;
use crate::domain::time::to_rfc3339;
use crate::random::Random;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an API key; it is printed once, with the lines for config.toml
    Add {
        /// The caller's name, for logs
        #[arg(long)]
        name: String,
        /// What it may do: issue, deliver, check, redeem, revoke, keys:read, keys:write, metrics, config
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// The tenant it acts for
        #[arg(long, default_value = TenantName::DEFAULT)]
        tenant: String,
    },
    /// List the configured callers
    List,
}

pub(super) fn run(settings: &Settings, command: Command, output: Output) -> Result<Outcome> {
    match command {
        Command::Add { name, scopes, tenant } => add(settings, &name, &scopes, &tenant, output),
        Command::List => list(settings, output),
    }
}

fn add(
    settings: &Settings,
    name: &str,
    scopes: &[String],
    tenant: &str,
    output: Output,
) -> Result<Outcome> {
    if !is_caller_name(name) {
        bail!("--name: {CALLER_NAME_WANTED}, found {name:?}");
    }
    // The default tenant is always there, also where the configuration is not finished yet.
    let owner = if tenant == TenantName::DEFAULT {
        TenantName::default()
    } else {
        named_tenant(&settings.config(&[])?, tenant)?.policy.tenant.clone()
    };
    let scopes = parse_scopes(&owner, scopes.iter().map(String::as_str))
        .map_err(|problem| anyhow::anyhow!("--scopes: {problem}"))?;
    let names: Vec<_> = scopes.iter().map(|scope| format!("{:?}", scope.name())).collect();
    let key = api_key(Random::new().bytes()?);
    let toml = format!(
        "[[callers]]\nname = \"{name}\"\nscopes = [{}]\ntenant = \"{tenant}\"\nkey_sha256 = \"{}\"\n",
        names.join(", "),
        KeyHash::of(key.expose())
    );
    output.print(&json!({ "key": key.expose(), "toml": toml }), || {
        format!("{}\n\n{toml}", key.expose())
    })?;
    remark("The key is shown this once; the lines go into config.toml.");
    Ok(Outcome::Done)
}

fn list(settings: &Settings, output: Output) -> Result<Outcome> {
    let config = settings.config(&[])?;
    let callers: Vec<&Caller> = config.callers.iter().collect();
    let scopes =
        |caller: &Caller| -> Vec<_> { caller.scopes.iter().copied().map(Scope::name).collect() };
    let networks = |caller: &Caller| -> Vec<String> {
        caller.networks.iter().map(ToString::to_string).collect()
    };
    let key = |key: &ApiKey| {
        let expires = key.expires().map(to_rfc3339);
        json!({ "sha256": key.hash().to_string(), "expires": expires })
    };
    let json: Vec<_> = callers
        .iter()
        .map(|caller| {
            json!({
                "name": caller.name,
                "tenant": caller.tenant.as_str(),
                "scopes": scopes(caller),
                "networks": networks(caller),
                "keys": caller.keys.iter().map(key).collect::<Vec<_>>(),
            })
        })
        .collect();
    output.print(&json, || {
        let row = |caller: &&Caller| {
            let networks = networks(caller).join(", ");
            vec![
                caller.name.clone(),
                caller.tenant.as_str().into(),
                scopes(caller).join(", "),
                if networks.is_empty() { "anywhere".into() } else { networks },
                expiries(caller),
            ]
        };
        let head = ["NAME", "TENANT", "SCOPES", "FROM", "KEYS EXPIRE"];
        rows(&head, callers.iter().map(row).collect())
    })?;
    Ok(Outcome::Done)
}

fn expiries(caller: &Caller) -> String {
    let expiry = |key: &ApiKey| key.expires().map_or_else(|| "never".into(), to_rfc3339);
    caller.keys.iter().map(expiry).collect::<Vec<_>>().join(", ")
}
