//! How links of each tenant go to its users, as configured: what the service promises, and the ways that
//! promises are kept by.

use std::collections::BTreeMap;

use super::ServeError;
use super::mail::{MailError, link_of, mailer, product, templates};
use crate::config::{Config, MailTransport, Tenant};
use crate::delivery::{TenantMail, Ways};
use crate::directory::Directory;
use crate::domain::policy::TenantName;
use crate::file_path::absolute;
use crate::mail::Mailer;
use crate::service::{Sending, Users};
use crate::webhook::Endpoint;

/// The directories of the tenants that have one.
pub(super) type Directories = BTreeMap<TenantName, Directory>;

/// What the service may promise for a tenant.
pub(super) fn sending_of(
    config: &Config,
    tenant: &Tenant,
    endpoints: &[Endpoint],
    directories: &Directories,
) -> Sending {
    let name = &tenant.policy.tenant;
    let has_mail = !matches!(config.mail.transport, MailTransport::Off);
    let are_revealed = tenant.directory.as_ref().is_some_and(|it| it.reveal_unknown_users);
    let directory = directories.get(name).cloned();
    Sending {
        link: link_of(tenant),
        return_urls: tenant.link.return_urls.clone(),
        has_mail,
        has_webhook: endpoints.iter().any(|endpoint| endpoint.takes_links_of(name)),
        has_notices: has_mail && config.mail.notices && directory.is_some(),
        users: directory.map(|directory| Users { directory, are_revealed }),
    }
}

/// The ways that things leave by.
///
/// # Errors
/// [`ServeError::Mail`].
pub(super) fn ways(config: &Config, endpoints: Vec<Endpoint>) -> Result<Ways, ServeError> {
    let mails = config.tenants.iter().map(|tenant| {
        let mail = TenantMail {
            from: tenant.mail.from.clone(),
            templates: templates(tenant)?,
            product: product(tenant).to_owned(),
        };
        Ok((tenant.policy.tenant.clone(), mail))
    });
    let mails = mails.collect::<Result<_, ServeError>>()?;
    Ok(Ways { mailer: mailer_of(config)?, mails, endpoints })
}

/// Where no tenant has anything to send, no folder is made.
fn mailer_of(config: &Config) -> Result<Option<Mailer>, ServeError> {
    let sends = |tenant: &Tenant| link_of(tenant).is_some() || tenant.directory.is_some();
    if !config.tenants.iter().any(sends) {
        return Ok(None);
    }
    if let MailTransport::Maildir(folder) = &config.mail.transport {
        tracing::warn!(
            folder = %absolute(folder).display(),
            "mails are written into this folder and sent to nobody; set mail.transport to \"smtp\" to send them"
        );
    }
    Ok(mailer(config).map_err(MailError::from)?)
}
