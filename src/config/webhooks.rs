//! Webhooks: who gets which events, and the secrets that sign them, from files or the environment.

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::check::Check;
use super::layers::{Origin, WEBHOOK_SECRETS_PREFIX};
use super::raw::{RawConfig, RawWebhook};
use super::tenants::Tenant;
use super::{CALLER_NAME_WANTED, ConfigError, is_caller_name, read_private_text};
use crate::domain::policy::TenantName;
use crate::domain::target::Target;
use crate::domain::webhook::{EventKind, MOST_SECRETS, SigningSecret, Webhook};

/// Seconds that a receiver has if it is not said.
const TIMEOUT: u64 = 10;

impl Check<'_> {
    pub(super) fn webhooks(
        &self,
        raw: &RawConfig,
        tenants: &[Tenant],
    ) -> Result<Vec<Webhook>, ConfigError> {
        let mut webhooks: Vec<Webhook> = Vec::new();
        for (index, raw) in raw.webhooks.iter().enumerate() {
            let section = format!("webhooks.{index}");
            let webhook = self.webhook(&section, raw, tenants)?;
            let is_variable_of = |known: &Webhook| variable(&known.name) == variable(&raw.name);
            if let Some(known) = webhooks.iter().find(|known| is_variable_of(known)) {
                let problem =
                    format!("{:?} is too like {:?}, an earlier one", raw.name, known.name);
                return self.refuse(&format!("{section}.name"), problem);
            }
            if let Some(known) = webhooks.iter().find(|known| have_one_secret(known, &webhook)) {
                let problem = format!(
                    "has a secret of {:?}, so each could send what seems to be from here to the other; make one of its own: resetd webhook secret",
                    known.name
                );
                return self.refuse(&section, problem);
            }
            webhooks.push(webhook);
        }
        self.refuse_unused_secrets(&webhooks)?;
        Ok(webhooks)
    }

    fn webhook(
        &self,
        section: &str,
        raw: &RawWebhook,
        tenants: &[Tenant],
    ) -> Result<Webhook, ConfigError> {
        let key = |name: &str| format!("{section}.{name}");
        if !is_caller_name(&raw.name) {
            return self.refuse(&key("name"), CALLER_NAME_WANTED);
        }
        let tenant = raw.tenant.as_deref().unwrap_or(TenantName::DEFAULT);
        let tenant = self.named_tenant(&key("tenant"), tenant, tenants)?.policy.tenant.clone();
        let timeout = raw.timeout_seconds.unwrap_or(TIMEOUT);
        let timeout = self.within(&key("timeout_seconds"), timeout, 1..=60)?;
        Ok(Webhook {
            name: raw.name.clone(),
            tenant,
            target: self.webhook_target(section, raw)?,
            events: self.events(section, raw)?,
            secrets: self.signing_secrets(section, raw)?,
            timeout: Duration::from_secs(timeout),
            may_carry_token: raw.carry_token,
        })
    }

    fn webhook_target(&self, section: &str, raw: &RawWebhook) -> Result<Target, ConfigError> {
        let key = format!("{section}.networks");
        let networks = self.networks(&key, &raw.networks)?;
        if let Some(wide) = networks.iter().find(|network| !Target::is_narrow(network)) {
            let problem = format!("wanted {}, found \"{wide}\"", Target::NETWORKS_WANTED);
            return self.refuse(&key, problem);
        }
        let networks: Vec<IpNet> = networks.iter().map(IpNet::trunc).collect();
        Target::parse(&raw.url, &networks).map_or_else(
            || {
                let problem = format!("wanted {}{}", Target::WANTED, found(&raw.url));
                self.refuse(&format!("{section}.url"), problem)
            },
            Ok,
        )
    }

    fn events(&self, section: &str, raw: &RawWebhook) -> Result<Vec<EventKind>, ConfigError> {
        let key = format!("{section}.events");
        let known = || {
            let names: Vec<_> = EventKind::ALL.into_iter().filter_map(EventKind::name).collect();
            names.join(", ")
        };
        let mut kinds = Vec::new();
        for name in &raw.events {
            match EventKind::parse(name) {
                None => {
                    return self
                        .refuse(&key, format!("wanted some of {}, found {name:?}", known()));
                }
                Some(kind) if kinds.contains(&kind) => {
                    return self.refuse(&key, format!("{name:?} stands there twice"));
                }
                Some(EventKind::Delivery) if !raw.carry_token => {
                    let problem = "\"delivery\" sends live tokens, and whoever reads one can set a password; if that is meant, set carry_token = true";
                    return self.refuse(&key, problem);
                }
                Some(kind) => kinds.push(kind),
            }
        }
        if kinds.is_empty() {
            return self.refuse(&key, format!("wanted some of {}, found none", known()));
        }
        Ok(kinds)
    }

    fn signing_secrets(
        &self,
        section: &str,
        raw: &RawWebhook,
    ) -> Result<Vec<SigningSecret>, ConfigError> {
        let key = format!("{section}.secret_files");
        let variable = variable(&raw.name);
        let secrets = match self.layers.webhook_secrets().get(&variable) {
            Some(_) if !raw.secret_files.is_empty() => {
                let problem = format!(
                    "is set beside the environment variable {variable}; wanted one of the two"
                );
                return self.refuse(&key, problem);
            }
            Some(text) => parse_secrets(text.expose().split_ascii_whitespace())
                .map_err(|problem| of_variable(variable, problem))?,
            None => {
                let mut secrets = Vec::new();
                for file in &raw.secret_files {
                    match read_secrets(Path::new(file)) {
                        Ok(read) => secrets.extend(read),
                        Err(problem) => return self.refuse(&key, problem),
                    }
                }
                secrets
            }
        };
        if secrets.is_empty() {
            let problem =
                "wanted a file with a secret, found none; make one: resetd webhook secret";
            return self.refuse(&key, problem);
        }
        if secrets.len() > MOST_SECRETS {
            let problem = format!("wanted at most {MOST_SECRETS} secrets, found {}", secrets.len());
            return self.refuse(&key, problem);
        }
        Ok(secrets)
    }

    /// A variable with a mistake in its name would leave its webhook with an older secret, or none.
    fn refuse_unused_secrets(&self, webhooks: &[Webhook]) -> Result<(), ConfigError> {
        let is_used =
            |name: &String| webhooks.iter().any(|webhook| variable(&webhook.name) == *name);
        match self.layers.webhook_secrets().keys().find(|name| !is_used(name)) {
            None => Ok(()),
            Some(name) => {
                Err(of_variable(name.clone(), "no webhook of this name is configured".into()))
            }
        }
    }
}

/// The variable that may hold the secrets of a webhook.
fn variable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    WEBHOOK_SECRETS_PREFIX.to_owned() + &name.chars().map(plain).collect::<String>()
}

fn of_variable(name: String, problem: String) -> ConfigError {
    let key = "the secrets of a webhook".into();
    ConfigError::Invalid { origin: Origin::Variable(name), key, problem }
}

fn have_one_secret(one: &Webhook, other: &Webhook) -> bool {
    one.secrets.iter().any(|secret| other.secrets.iter().any(|known| known.is_same_as(secret)))
}

/// One secret per line; the newline at the end is what editors leave.
fn read_secrets(path: &Path) -> Result<Vec<SigningSecret>, String> {
    let text = read_private_text(path, "a secret")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    parse_secrets(text.split('\n')).map_err(|problem| format!("{}: {problem}", path.display()))
}

fn parse_secrets<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<SigningSecret>, String> {
    let mut secrets: Vec<SigningSecret> = Vec::new();
    for (text, number) in texts.zip(1..) {
        let secret = SigningSecret::parse(text).map_err(|error| format!("{number}: {error}"))?;
        if secrets.iter().any(|known| known.is_same_as(&secret)) {
            return Err(format!("{number}: is an earlier secret again"));
        }
        secrets.push(secret);
    }
    Ok(secrets)
}

/// A URL that is refused, as far as it may be shown: passwords, paths and queries hold secrets.
fn found(url: &str) -> String {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#', '\\']).map_or(url.len(), |at| host + at);
    match &url[..end] {
        shown if shown.contains('@') => String::new(),
        shown if end < url.len() => format!(", found \"{}/…\"", shown.escape_debug()),
        shown => format!(", found {shown:?}"),
    }
}
