//! Mail as it is configured: the way it leaves by, and what each tenant says in it.

use crate::config::{Config, MailTransport, Smtp, Tenant};
use crate::domain::link::LinkTemplate;
use crate::domain::secret::Secret;
use crate::mail::{Login, Mailer, MailerError, SmtpSettings, TemplateError, Templates, Transport};

/// A link for mails that nobody shall follow, where the tenant has neither one of its own nor a page.
const LINK_OF_NOBODY: &str = "https://app.example.com/reset#";
/// Together as long as a real token (ES256, with the usual claims), and none.
const TOKEN_OF_NOBODY: (&str, &str) = ("this-is-an-example-and-no-token.", "0123456789abcdef");

/// The mailer, unless mail is off.
///
/// # Errors
/// [`MailerError`].
pub fn mailer(config: &Config) -> Result<Option<Mailer>, MailerError> {
    let transport = match &config.mail.transport {
        MailTransport::Off => return Ok(None),
        MailTransport::Maildir(directory) => Transport::Maildir(directory.clone()),
        MailTransport::Smtp(smtp) => Transport::Smtp(settings(smtp.clone())),
    };
    Mailer::new(transport).map(Some)
}

fn settings(smtp: Smtp) -> SmtpSettings {
    let Smtp { host, port, encryption, login, ca_file, timeout } = smtp;
    let login = login.map(|(username, password)| Login { username, password });
    SmtpSettings { host, port, encryption, login, ca_file, timeout }
}

/// What a tenant says in its mails.
///
/// # Errors
/// [`MailError::Template`] names the setting.
pub fn templates(tenant: &Tenant) -> Result<Templates, MailError> {
    let mail = &tenant.mail;
    Templates::load(mail.templates.as_deref(), &mail.default_language)
        .map_err(|error| MailError::Template { section: tenant.above_sections() + "mail", error })
}

/// What people know a tenant as: the name its mails come from, or else their domain.
pub fn product(tenant: &Tenant) -> &str {
    let from = &tenant.mail.from;
    from.name().unwrap_or_else(|| from.address().domain())
}

/// Where links lead: as configured, or else to the tenant's own page.
pub(super) fn link_of(tenant: &Tenant) -> Option<LinkTemplate> {
    let of_page = || {
        let page =
            tenant.page.as_ref().map(|_| format!("{}/reset#{{token}}", tenant.policy.issuer));
        page.and_then(|page| LinkTemplate::parse(&page))
    };
    tenant.link.template.clone().or_else(of_page)
}

/// A link as a tenant's mails have it, with something in the place of the token that is none.
pub fn example_link(tenant: &Tenant) -> Secret {
    let (words, digits) = TOKEN_OF_NOBODY;
    let token = Secret::new(format!("{words}{}", digits.repeat(24)));
    match link_of(tenant) {
        Some(template) => template.link(&token),
        None => Secret::new(format!("{LINK_OF_NOBODY}{}", token.expose())),
    }
}

/// Whether all tenants' templates can be used, and the certificates that are trusted. Nothing is made.
///
/// # Errors
/// What stands in the way.
pub fn check(config: &Config) -> Result<(), MailError> {
    for tenant in &config.tenants {
        templates(tenant)?;
    }
    if let MailTransport::Smtp(_) = config.mail.transport {
        mailer(config)?;
    }
    Ok(())
}

/// Why mail cannot be sent as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// What a tenant says.
    #[error("{section}.{}: {error}", error.setting)]
    Template {
        /// The section of the tenant that the setting is in.
        section: String,
        /// The file, and why it cannot be used.
        error: TemplateError,
    },
    /// How it leaves.
    #[error(transparent)]
    Mailer(#[from] MailerError),
}
