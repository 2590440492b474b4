//! Identity providers whose access tokens are taken.

use std::path::PathBuf;

use axum::http::Uri;

use super::check::Check;
use super::raw::{RawBearer, RawConfig};
use super::tenants::Tenant;
use super::{CALLER_NAME_WANTED, ConfigError, is_caller_name, parse_scopes};
use crate::domain::bearer::BearerIssuer;
use crate::domain::policy::TenantName;
use crate::domain::target::is_loopback;

/// An identity provider.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// Who it is and what its tokens grant.
    pub issuer: BearerIssuer,
    /// Where its keys are.
    pub keys: BearerKeys,
}

/// Where the keys of an identity provider are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BearerKeys {
    /// A file with its key set.
    File(PathBuf),
    /// The address of its key set.
    Url(String),
}

impl Check<'_> {
    pub(super) fn bearers(
        &self,
        raw: &RawConfig,
        tenants: &[Tenant],
    ) -> Result<Vec<Bearer>, ConfigError> {
        let mut bearers: Vec<Bearer> = Vec::new();
        for (index, raw) in raw.bearers.iter().enumerate() {
            let bearer = self.bearer(&format!("bearers.{index}"), raw, tenants)?;
            if bearers.iter().any(|known| known.issuer.name == bearer.issuer.name) {
                let problem = format!("{:?} is the name of an earlier one", bearer.issuer.name);
                return self.refuse(&format!("bearers.{index}.name"), problem);
            }
            bearers.push(bearer);
        }
        Ok(bearers)
    }

    fn bearer(
        &self,
        section: &str,
        raw: &RawBearer,
        tenants: &[Tenant],
    ) -> Result<Bearer, ConfigError> {
        let key = |name: &str| format!("{section}.{name}");
        if !is_caller_name(&raw.name) {
            return self.refuse(&key("name"), CALLER_NAME_WANTED);
        }
        for (name, value) in [("issuer", &raw.issuer), ("audience", &raw.audience)] {
            if value.is_empty() {
                return self
                    .refuse(&key(name), "wanted a text as it stands in the tokens, found none");
            }
        }
        let tenant = raw.tenant.as_deref().unwrap_or(TenantName::DEFAULT);
        let tenant = self.named_tenant(&key("tenant"), tenant, tenants)?.policy.tenant.clone();
        let scopes = match parse_scopes(&tenant, raw.scopes.iter().map(String::as_str)) {
            Ok(scopes) => scopes,
            Err(problem) => return self.refuse(&key("scopes"), problem),
        };
        let issuer = BearerIssuer {
            name: raw.name.clone(),
            issuer: raw.issuer.clone(),
            audience: raw.audience.clone(),
            tenant,
            scope_prefix: raw.scope_prefix.clone().unwrap_or_default(),
            scopes,
            networks: self.networks(&key("networks"), &raw.networks)?,
        };
        Ok(Bearer { issuer, keys: self.bearer_keys(section, raw)? })
    }

    fn bearer_keys(&self, section: &str, raw: &RawBearer) -> Result<BearerKeys, ConfigError> {
        match (&raw.jwks_file, &raw.jwks_url) {
            (Some(file), None) => Ok(BearerKeys::File(PathBuf::from(file))),
            (None, Some(url)) if is_safe(url) => Ok(BearerKeys::Url(url.clone())),
            (None, Some(url)) if url.contains('@') => self.refuse(
                &format!("{section}.jwks_url"),
                "wanted an https URL without a user or password in it",
            ),
            (None, Some(url)) => {
                let wanted = "wanted an https URL (http only on a loopback address)";
                self.refuse(&format!("{section}.jwks_url"), format!("{wanted}, found {url:?}"))
            }
            (Some(_), Some(_)) | (None, None) => {
                self.refuse(section, "wanted exactly one of jwks_file and jwks_url")
            }
        }
    }
}

/// Whoever could change the answer could let anybody in.
fn is_safe(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    match uri.as_ref().and_then(Uri::scheme_str) {
        _ if url.contains('@') => false,
        Some("https") => !host.is_empty(),
        Some("http") => is_loopback(host),
        _ => false,
    }
}
