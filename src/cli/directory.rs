//! `resetd directory find`: what the configured directory says about a user.

use anyhow::{Context as _, Result, anyhow};
use clap::Subcommand;
use serde_json::json;

use super::output::{Output, facts};
use super::{Outcome, Settings, named_tenant};
use crate::directory::Person;
use crate::domain::email::EmailAddress;
use crate::domain::identifier::{CredentialId, UserId, Username};
use crate::domain::language::Language;
use crate::domain::policy::TenantName;
use crate::serve::directory_of;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look a user up as the service would, and show what is found
    Find(FindArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct FindArgs {
    /// The user
    username: String,
    /// The tenant whose directory is asked
    #[arg(long, value_name = "NAME", default_value = TenantName::DEFAULT)]
    tenant: String,
}

pub(super) fn run(settings: &Settings, command: &Command, output: Output) -> Result<Outcome> {
    let Command::Find(FindArgs { username, tenant }) = command;
    let username = Username::parse(username)
        .ok_or_else(|| anyhow!("USERNAME: wanted {}", Username::WANTED))?;
    let config = settings.config(&[])?;
    let directory = directory_of(named_tenant(&config, tenant)?)?.ok_or_else(|| {
        anyhow!("the tenant {tenant:?} has no directory; set directory.kind for it, which docs/directory.md is about")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    match runtime.block_on(directory.find(&username))? {
        Some(person) => found(&person, output),
        None => missing(output),
    }
}

fn found(person: &Person, output: Output) -> Result<Outcome> {
    let email = person.email.as_ref().map(EmailAddress::as_str);
    let user_id = person.user_id.as_ref().map(UserId::as_str);
    let credential_id = person.credential_id.as_ref().map(CredentialId::as_str);
    let language = person.language.as_ref().map(Language::as_str);
    let json = json!({
        "found": true,
        "username": person.username.as_str(),
        "enabled": person.is_enabled,
        "email": email,
        "userId": user_id,
        "credentialId": credential_id,
        "identityProviders": person.identity_providers,
        "language": language,
    });
    output.print(&json, || {
        let optional = |value: Option<&str>| value.unwrap_or("-").to_owned();
        let providers = person.identity_providers.join(", ");
        facts([
            ("found", "yes".into()),
            ("username", person.username.as_str().into()),
            ("enabled", if person.is_enabled { "yes" } else { "no" }.into()),
            ("email", optional(email)),
            ("user id", optional(user_id)),
            ("credential", optional(credential_id)),
            ("signs in by", optional((!providers.is_empty()).then_some(&providers))),
            ("language", optional(language)),
        ])
    })?;
    Ok(Outcome::Done)
}

fn missing(output: Output) -> Result<Outcome> {
    output.print(&json!({ "found": false }), || facts([("found", "no".into())]))?;
    Ok(Outcome::NotValid)
}
