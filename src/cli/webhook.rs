//! `resetd webhook secret | test`.

use anyhow::{Result, anyhow, bail};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::output::{Output, facts, remark};
use super::{Outcome, Settings};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::webhook::{SecretKind, SigningSecret};
use crate::random::Random;
use crate::webhook::{Endpoint, Event, What, message_id};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a secret that signs messages; it is printed once
    Secret {
        /// hmac: the receiver has the same secret; ed25519: the receiver has the public half
        #[arg(long, default_value = "hmac")]
        kind: Kind,
    },
    /// Send a message to a configured webhook and say what it answers
    Test {
        /// The name of the webhook
        name: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Hmac,
    Ed25519,
}

pub(super) fn run(settings: &Settings, command: &Command, output: Output) -> Result<Outcome> {
    match command {
        Command::Secret { kind } => secret(*kind, output),
        Command::Test { name } => test(&settings.config(&[])?, name, output),
    }
}

/// The secret stands alone on standard output, so that it can go into a file at once.
fn secret(kind: Kind, output: Output) -> Result<Outcome> {
    let kind = match kind {
        Kind::Hmac => SecretKind::Hmac,
        Kind::Ed25519 => SecretKind::Ed25519,
    };
    let secret = SigningSecret::from_random(kind, Random::new().bytes()?);
    let (encoded, public) = (secret.encoded(), secret.public_half());
    output.print(&json!({ "secret": encoded.expose(), "public": public }), || {
        encoded.expose().to_owned()
    })?;
    remark(
        "The secret is shown this once; it goes into a file that secret_files names (chmod 600).",
    );
    match public {
        Some(public) => remark(&format!("The receiver gets its public half: {public}")),
        None => remark("The receiver gets the same secret."),
    }
    Ok(Outcome::Done)
}

fn test(config: &Config, name: &str, output: Output) -> Result<Outcome> {
    let Some(webhook) = config.webhooks.iter().find(|webhook| webhook.name == name) else {
        let names: Vec<_> = config.webhooks.iter().map(|webhook| webhook.name.as_str()).collect();
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        bail!("no webhook {name:?} is configured, there is {known}");
    };
    let endpoint = Endpoint::new(webhook.clone());
    let (id, at) = (message_id(&Random::new())?, SystemClock::new().now());
    let what = What::Test { webhook: name.into() };
    let event = Event { at, tenant: endpoint.tenant().clone(), what };
    let origin = endpoint.target().origin();
    let status = endpoint
        .status_of(&id, at, &event.to_body()?)
        .map_err(|error| anyhow!("{name} at {origin} did not take the message: {error}"))?;
    output.print(&json!({ "webhook": name, "id": id, "status": status }), || {
        facts([
            ("webhook", name.into()),
            ("at", origin.clone()),
            ("message", id.clone()),
            ("answer", format!("{status}, taken")),
        ])
    })?;
    Ok(Outcome::Done)
}
