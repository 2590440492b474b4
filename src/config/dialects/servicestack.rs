//! `[servicestack]`: what it needs to send links, for every tenant that its requests can mean.

use std::collections::BTreeMap;

use crate::config::ConfigError;
use crate::config::check::Check;
use crate::config::raw::{RawConfig, RawServiceStack};
use crate::config::tenants::Tenant;
use crate::domain::dialect::{Guid, Places, ServiceStack};
use crate::domain::policy::TenantName;

impl Check<'_> {
    pub(super) fn servicestack(
        &self,
        raw: &RawConfig,
        tenants: &[Tenant],
    ) -> Result<Option<ServiceStack>, ConfigError> {
        let written = &raw.servicestack;
        let tenant = self.servicestack_tenant("tenant", &written.tenant, tenants)?;
        let has_camel_names = match written.json_names.as_str() {
            "pascal" => false,
            "camel" => true,
            other => {
                let problem = format!("wanted \"pascal\" or \"camel\", found {other:?}");
                return self.refuse("servicestack.json_names", problem);
            }
        };
        let places = self.places(written, tenants)?;
        let is_public = written.public;
        let dialect = ServiceStack { tenant, is_public, has_camel_names, places };
        if !written.enabled {
            return Ok(None);
        }
        self.require_mail(raw)?;
        for name in dialect.tenants() {
            let tenant = tenants.iter().find(|tenant| tenant.policy.tenant == *name);
            tenant.map_or(Ok(()), |tenant| self.require_links(tenant, is_public))?;
        }
        Ok(Some(dialect))
    }

    fn places(&self, written: &RawServiceStack, tenants: &[Tenant]) -> Result<Places, ConfigError> {
        Ok(Places {
            appliances: self.by_guid("appliances", &written.appliances, tenants)?,
            suites: self.by_guid("suites", &written.suites, tenants)?,
            subdomains: self.by_subdomain(&written.subdomains, tenants)?,
        })
    }

    fn by_guid(
        &self,
        section: &str,
        written: &BTreeMap<String, String>,
        tenants: &[Tenant],
    ) -> Result<BTreeMap<Guid, TenantName>, ConfigError> {
        let mut places = BTreeMap::new();
        for (text, tenant) in written {
            let key = format!("{section}.{text}");
            let guid = match Guid::parse(text) {
                Some(Guid::ZERO) => {
                    let problem = "is what clients send that name none; wanted another GUID, and the tenant of those in servicestack.tenant";
                    return self.refuse(&format!("servicestack.{key}"), problem);
                }
                Some(guid) => guid,
                None => {
                    let problem = format!("wanted {}, found {text:?}", Guid::WANTED);
                    return self.refuse(&format!("servicestack.{key}"), problem);
                }
            };
            let tenant = self.servicestack_tenant(&key, tenant, tenants)?;
            if places.insert(guid, tenant).is_some() {
                let problem = "is an earlier GUID again, written in another way";
                return self.refuse(&format!("servicestack.{key}"), problem);
            }
        }
        Ok(places)
    }

    fn by_subdomain(
        &self,
        written: &BTreeMap<String, String>,
        tenants: &[Tenant],
    ) -> Result<BTreeMap<String, TenantName>, ConfigError> {
        let mut places = BTreeMap::new();
        for (text, tenant) in written {
            let key = format!("subdomains.{text}");
            let tenant = self.servicestack_tenant(&key, tenant, tenants)?;
            let is_new = places.insert(text.to_lowercase(), tenant).is_none();
            if text.is_empty() || !is_new {
                let problem = format!(
                    "wanted a name that no other differs from by case only, found {text:?}"
                );
                return self.refuse(&format!("servicestack.{key}"), problem);
            }
        }
        Ok(places)
    }

    fn servicestack_tenant(
        &self,
        key: &str,
        name: &str,
        tenants: &[Tenant],
    ) -> Result<TenantName, ConfigError> {
        let key = format!("servicestack.{key}");
        Ok(self.named_tenant(&key, name, tenants)?.policy.tenant.clone())
    }

    fn require_mail(&self, raw: &RawConfig) -> Result<(), ConfigError> {
        if raw.mail.transport != "off" {
            return Ok(());
        }
        self.refuse(
            "servicestack.enabled",
            "is true, and mail.transport is \"off\", so no link could be sent; set it to \"smtp\", or to \"maildir\" to try it",
        )
    }

    /// A link of the tenant, and where nobody has to say who they are, a directory that says where to.
    fn require_links(&self, tenant: &Tenant, is_public: bool) -> Result<(), ConfigError> {
        let name = &tenant.policy.tenant;
        let section = if name.is_default() { String::new() } else { format!("tenants.{name}.") };
        if tenant.link.template.is_none() && tenant.page.is_none() {
            let problem = format!(
                "is true, and it is not known where the links of the tenant {:?} lead; set {section}link.template, or {section}page.enabled = true",
                name.as_str()
            );
            return self.refuse("servicestack.enabled", problem);
        }
        if is_public && tenant.directory.is_none() {
            let problem = format!(
                "is true, and the tenant {:?} has no directory: anybody could have its links sent to any address; set {section}directory.kind, or false",
                name.as_str()
            );
            return self.refuse("servicestack.public", problem);
        }
        if is_public && tenant.directory.as_ref().is_some_and(|it| it.reveal_unknown_users) {
            let problem = format!(
                "is true, and {section}directory.reveal_unknown_users is true too: anybody could learn who is a user; set one of them to false"
            );
            return self.refuse("servicestack.public", problem);
        }
        Ok(())
    }
}
