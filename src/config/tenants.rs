//! Tenants: who each one is, and how its keys live. The first is the default one, which `[token]` and
//! `[keys]` describe; each `[tenants.<name>]` adds one that says only what differs.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use axum::http::Uri;
use resetd_verify::{Algorithm, MAX_LEEWAY, is_identifier};

use super::check::Check;
use super::keys::{Keys, WrittenKeys};
use super::page::Page;
use super::raw::{RawConfig, RawTenant, RawTenantLimits};
use super::{ConfigError, Directory, Limits, Link, Listen, TenantMail};
use crate::domain::policy::{Lifetime, Policy, TenantName};
use crate::domain::target::is_loopback;

/// One tenant: its rules are its own, and so are its keys unless it shares those of the default one.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The rules for its tokens.
    pub policy: Policy,
    /// The keys it signs with.
    pub keys: TenantKeys,
    /// How often something may be asked of it.
    pub limits: TenantLimits,
    /// Where its users are looked up. A tenant without one has none, never that of another.
    pub directory: Option<Directory>,
    /// Where its links lead.
    pub link: Link,
    /// Its mails.
    pub mail: TenantMail,
    /// The page for people, if it has one.
    pub page: Option<Page>,
    /// Whether no issuer is configured for it. That of the default tenant is the address listened on
    /// then, and another tenant's lies below the default tenant's.
    pub issuer_is_derived: bool,
}

impl Tenant {
    /// What stands before the names of its sections, as in `tenants.acme.mail`; nothing for the default one.
    pub fn above_sections(&self) -> String {
        let name = &self.policy.tenant;
        if name.is_default() { String::new() } else { format!("tenants.{name}.") }
    }

    /// Whether it signs with the keys of another tenant.
    pub fn shares_keys(&self) -> bool {
        self.keys.owner != self.policy.tenant
    }
}

/// How often something may be asked of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantLimits {
    /// Requests by one caller, per minute, if they are counted.
    pub caller_per_minute: Option<NonZeroU32>,
    /// Tokens issued for one user, per hour, if they are counted.
    pub user_tokens_per_hour: Option<NonZeroU32>,
}

/// The keys of one tenant: where they are and how they live.
#[derive(Clone, Debug)]
pub struct TenantKeys {
    /// Whose keys they are.
    pub owner: TenantName,
    /// The folder.
    pub directory: PathBuf,
    /// Algorithm of new keys.
    pub algorithm: Algorithm,
    /// Seconds for which a new key is published before it may sign: every cached key set has been
    /// fetched again by then, with a minute to spare for slow clients and clocks.
    pub publish_ahead: u64,
    /// Seconds after which another key takes over by itself, if it does.
    pub rotate_every: Option<u64>,
}

/// The tenant of this name.
///
/// # Errors
/// Which tenants there are.
pub(super) fn find_tenant<'t>(tenants: &'t [Tenant], name: &str) -> Result<&'t Tenant, String> {
    let found = tenants.iter().find(|tenant| tenant.policy.tenant.as_str() == name);
    found.ok_or_else(|| {
        let verb = if tenants.len() == 1 { "is" } else { "are" };
        let names = tenants.iter().map(|tenant| format!("{:?}", tenant.policy.tenant.as_str()));
        let names = names.collect::<Vec<_>>().join(", ");
        format!("no tenant {name:?} is configured, there {verb} {names}")
    })
}

impl Check<'_> {
    /// The tenant that a key of the configuration names.
    pub(super) fn named_tenant<'t>(
        &self,
        key: &str,
        name: &str,
        tenants: &'t [Tenant],
    ) -> Result<&'t Tenant, ConfigError> {
        find_tenant(tenants, name).or_else(|problem| self.refuse(key, problem))
    }
}

/// The issuer of a tenant for which none is configured: where its documents are.
pub(super) fn issuer_below(base: &str, tenant: &TenantName) -> String {
    if tenant.is_default() { base.into() } else { format!("{base}/tenants/{tenant}") }
}

/// What holds for all tenants, some of it where a tenant does not say otherwise.
#[derive(Clone, Copy)]
pub(super) struct Common<'c> {
    pub(super) keys: &'c Keys,
    pub(super) limits: &'c Limits,
}

impl Check<'_> {
    /// All tenants, the default one first.
    pub(super) fn tenants(
        &self,
        raw: &RawConfig,
        listen: &Listen,
        url: &str,
        common: Common<'_>,
    ) -> Result<Vec<Tenant>, ConfigError> {
        let mut tenants = vec![self.default_tenant(raw, listen, url, common)?];
        for name in raw.tenants.keys() {
            let tenant = self.tenant(name, raw, &tenants[0], common.keys)?;
            let issuer = &tenant.policy.issuer;
            if let Some(other) = tenants.iter().find(|other| other.policy.issuer == *issuer) {
                let problem = format!(
                    "is {issuer:?}, like that of the tenant {:?}; wanted another one for each tenant",
                    other.policy.tenant.as_str()
                );
                return self.refuse(&format!("tenants.{name}.issuer"), problem);
            }
            tenants.push(tenant);
        }
        Ok(tenants)
    }

    fn default_tenant(
        &self,
        raw: &RawConfig,
        listen: &Listen,
        url: &str,
        common: Common<'_>,
    ) -> Result<Tenant, ConfigError> {
        let token = &raw.token;
        let policy = Policy {
            tenant: TenantName::default(),
            issuer: self.default_issuer(&token.issuer, listen, url)?,
            audience: self.audience("token.audience", &token.audience)?,
            lifetime: self.lifetime(
                "token",
                &Lifetime {
                    default: token.lifetime_seconds,
                    min: token.min_lifetime_seconds,
                    max: token.max_lifetime_seconds,
                },
            )?,
            leeway: self.within("token.leeway_seconds", token.leeway_seconds, 0..=MAX_LEEWAY)?,
            supersede: token.supersede,
        };
        let directory = self.directory("keys.directory", &raw.keys.directory)?;
        let keys = self.tenant_keys(&WrittenKeys::of_default(&raw.keys), directory, common.keys)?;
        let limits = TenantLimits {
            caller_per_minute: common.limits.caller_per_minute,
            user_tokens_per_hour: common.limits.user_tokens_per_hour,
        };
        let lookup = self.directory_of("directory", &raw.directory)?;
        let (link, mail) = (self.default_link(&raw.link)?, self.default_tenant_mail(&raw.mail)?);
        let page = self.default_page(&raw.page)?;
        let issuer_is_derived = token.issuer.is_empty();
        Ok(Tenant { policy, keys, limits, directory: lookup, link, mail, page, issuer_is_derived })
    }

    fn tenant(
        &self,
        name: &str,
        raw: &RawConfig,
        default: &Tenant,
        keys: &Keys,
    ) -> Result<Tenant, ConfigError> {
        let section = format!("tenants.{name}");
        let written = &raw.tenants[name];
        let tenant = self.tenant_name(&section, name)?;
        let policy = Policy {
            issuer: self.issuer(&section, written, &default.policy.issuer, &tenant)?,
            audience: self.audience(&format!("{section}.audience"), &written.audience)?,
            lifetime: self.tenant_lifetime(&section, written, &default.policy.lifetime)?,
            supersede: written.supersede.unwrap_or(default.policy.supersede),
            leeway: default.policy.leeway,
            tenant,
        };
        let limits = self.tenant_limits(&section, written, default.limits)?;
        let page = self.tenant_page(&section, &written.page)?;
        let keys = if self.shares_keys(&section, written)? {
            default.keys.clone()
        } else {
            let directory = Path::new(&raw.keys.directory).join(name);
            let owner = policy.tenant.clone();
            let written = WrittenKeys::of_tenant(&raw.keys, written, owner, section.clone());
            self.tenant_keys(&written, directory, keys)?
        };
        let lookup = match &written.directory {
            None => None,
            Some(written) => self.directory_of(&format!("{section}.directory"), written)?,
        };
        let link = self.tenant_link(&section, written.link.as_ref())?;
        let mail = self.tenant_mail(&section, written.mail.as_ref(), &default.mail)?;
        let issuer_is_derived = written.issuer.is_none();
        Ok(Tenant { policy, keys, limits, directory: lookup, link, mail, page, issuer_is_derived })
    }

    fn tenant_limits(
        &self,
        section: &str,
        written: &RawTenant,
        default: TenantLimits,
    ) -> Result<TenantLimits, ConfigError> {
        let rate = |name: &str, value: Option<u64>, default| match value {
            None => Ok(default),
            Some(value) => self.rate(&format!("{section}.limits.{name}"), value),
        };
        let RawTenantLimits { caller_per_minute, user_tokens_per_hour } = written.limits;
        Ok(TenantLimits {
            caller_per_minute: rate(
                "caller_per_minute",
                caller_per_minute,
                default.caller_per_minute,
            )?,
            user_tokens_per_hour: rate(
                "user_tokens_per_hour",
                user_tokens_per_hour,
                default.user_tokens_per_hour,
            )?,
        })
    }

    fn tenant_name(&self, section: &str, name: &str) -> Result<TenantName, ConfigError> {
        match TenantName::parse(name) {
            Some(name) if name.is_default() => self.refuse(
                section,
                "is the tenant that [token] and [keys] describe; wanted another name here",
            ),
            Some(name) => Ok(name),
            None => self.refuse(section, format!("wanted {}", TenantName::WANTED)),
        }
    }

    fn audience(&self, key: &str, audience: &str) -> Result<String, ConfigError> {
        if is_identifier(audience) {
            return Ok(audience.into());
        }
        self.refuse(key, "wanted 1 to 256 bytes without control characters")
    }

    fn default_issuer(
        &self,
        issuer: &str,
        listen: &Listen,
        url: &str,
    ) -> Result<String, ConfigError> {
        if !issuer.is_empty() {
            return self.checked_issuer("token.issuer", issuer);
        }
        if listen.is_local() && listen.address().is_some() {
            return Ok(url.into());
        }
        let problem = format!(
            "must be set, since server.listen is {listen}, which is no loopback address: wanted the https URL under which others reach this service"
        );
        self.refuse("token.issuer", problem)
    }

    fn issuer(
        &self,
        section: &str,
        written: &RawTenant,
        base: &str,
        tenant: &TenantName,
    ) -> Result<String, ConfigError> {
        let derived = || issuer_below(base, tenant);
        let issuer = written.issuer.clone().unwrap_or_else(derived);
        self.checked_issuer(&format!("{section}.issuer"), &issuer)
    }

    fn checked_issuer(&self, key: &str, issuer: &str) -> Result<String, ConfigError> {
        match check_issuer(issuer) {
            Ok(()) => Ok(issuer.into()),
            Err(problem) => self.refuse(key, problem),
        }
    }

    fn tenant_lifetime(
        &self,
        section: &str,
        written: &RawTenant,
        default: &Lifetime,
    ) -> Result<Lifetime, ConfigError> {
        self.lifetime(
            section,
            &Lifetime {
                default: written.lifetime_seconds.unwrap_or(default.default),
                min: written.min_lifetime_seconds.unwrap_or(default.min),
                max: written.max_lifetime_seconds.unwrap_or(default.max),
            },
        )
    }

    /// The bounds of a section, if they can be kept.
    fn lifetime(&self, section: &str, wanted: &Lifetime) -> Result<Lifetime, ConfigError> {
        let key = |name: &str| format!("{section}.{name}");
        let max = self.within(&key("max_lifetime_seconds"), wanted.max, 1..=86_400)?;
        let min = self.within(&key("min_lifetime_seconds"), wanted.min, 1..=86_400)?;
        let default = wanted.default;
        if min > max {
            let problem =
                format!("is {min}, more than {section}.max_lifetime_seconds, which is {max}");
            return self.refuse(&key("min_lifetime_seconds"), problem);
        }
        if !(min..=max).contains(&default) {
            let problem = format!(
                "wanted {min} to {max}, as {section}.min_lifetime_seconds and {section}.max_lifetime_seconds say, found {default}"
            );
            return self.refuse(&key("lifetime_seconds"), problem);
        }
        Ok(Lifetime { default, min, max })
    }
}

fn check_issuer(issuer: &str) -> Result<(), String> {
    const WANTED: &str =
        "wanted an https URL (http only on a loopback address) without query or trailing slash";
    let refuse = || Err(format!("{WANTED}, found {issuer:?}"));
    let Ok(uri) = issuer.parse::<Uri>() else {
        return refuse();
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse();
    };
    let is_allowed = scheme == "https" || (scheme == "http" && is_loopback(authority.host()));
    let is_plain = !authority.host().is_empty()
        && !issuer.ends_with('/')
        && !issuer.contains(['#', '@'])
        && uri.query().is_none()
        && issuer.len() <= 256;
    if is_allowed && is_plain { Ok(()) } else { refuse() }
}
