//! The page for people: whether there is one, and where it leads to.

use resetd_verify::is_identifier;

use super::ConfigError;
use super::check::Check;
use super::raw::{RawPage, RawTenantPage};
use super::{Tenant, Tls};
use crate::domain::link::LinkTemplate;

/// What is written of a page.
struct WrittenPage<'w> {
    enabled: bool,
    continue_url: &'w str,
    name: &'w str,
}

/// The page of one tenant.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where a person goes on to, to set the password.
    pub continue_url: LinkTemplate,
    /// What the product is called, if that is to be shown.
    pub name: Option<String>,
}

impl Check<'_> {
    /// A browser has no certificate to show, so its connection would end before the page.
    pub(super) fn people_reach_pages(
        &self,
        tls: Option<&Tls>,
        tenants: &[Tenant],
    ) -> Result<(), ConfigError> {
        let asks_clients = tls.is_some_and(|tls| tls.client_ca.is_some());
        let Some(tenant) = tenants.iter().find(|tenant| asks_clients && tenant.page.is_some())
        else {
            return Ok(());
        };
        let problem = format!(
            "asks every client for a certificate, and {}page.enabled is true: browsers of people have none, so nobody could open the page; wanted tls.admin_client_ca_file instead, which asks admins alone, or no page",
            tenant.above_sections()
        );
        self.refuse("tls.client_ca_file", problem)
    }

    pub(super) fn default_page(&self, raw: &RawPage) -> Result<Option<Page>, ConfigError> {
        let RawPage { enabled, continue_url, name } = raw;
        self.page("page", &WrittenPage { enabled: *enabled, continue_url, name })
    }

    /// That of another tenant leads to another app, so nothing of it is as in `[page]`.
    pub(super) fn tenant_page(
        &self,
        section: &str,
        raw: &RawTenantPage,
    ) -> Result<Option<Page>, ConfigError> {
        let RawTenantPage { enabled, continue_url, name } = raw;
        let written = WrittenPage { enabled: *enabled, continue_url, name };
        self.page(&format!("{section}.page"), &written)
    }

    /// The page, if it is on. What is written of one that is off must be right, too.
    fn page(&self, section: &str, written: &WrittenPage<'_>) -> Result<Option<Page>, ConfigError> {
        const MOST_CHARACTERS: usize = 64;
        let key = |name: &str| format!("{section}.{name}");
        let (url, name) = (written.continue_url, written.name);
        if url.is_empty() && !written.enabled {
            return Ok(None);
        }
        let Some(continue_url) = LinkTemplate::parse(url) else {
            let problem = format!("wanted {}, found {url:?}", LinkTemplate::WANTED);
            return self.refuse(&key("continue_url"), problem);
        };
        let is_name = is_identifier(name) && name.chars().count() <= MOST_CHARACTERS;
        if !name.is_empty() && !is_name {
            let problem = "wanted at most 64 characters without control characters, or nothing";
            return self.refuse(&key("name"), problem);
        }
        let name = (!name.is_empty()).then(|| name.to_owned());
        Ok(written.enabled.then_some(Page { continue_url, name }))
    }
}
