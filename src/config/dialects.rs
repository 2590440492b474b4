//! The dialects: which are on, and for which tenant.

mod fabric;
mod loginradius;
mod servicestack;

use super::ConfigError;
use super::check::Check;
use super::raw::{RawConfig, RawRebilly};
use super::tenants::Tenant;
use crate::domain::caller::Callers;
use crate::domain::dialect::{Dialects, Rebilly};
use crate::domain::policy::TenantName;

impl Check<'_> {
    pub(super) fn dialects(
        &self,
        raw: &RawConfig,
        tenants: &[Tenant],
        callers: &Callers,
    ) -> Result<Dialects, ConfigError> {
        let RawRebilly { enabled, tenant: of, all_callers } = &raw.rebilly;
        let rebilly = self.tenant_if_enabled("rebilly", *enabled, of, tenants)?;
        Ok(Dialects {
            rebilly: rebilly.map(|tenant| Rebilly { tenant, takes_all_callers: *all_callers }),
            fabric: self.fabric(&raw.fabric, tenants)?,
            loginradius: self.loginradius(&raw.loginradius, tenants, callers)?,
            servicestack: self.servicestack(raw, tenants)?,
        })
    }

    /// The tenant of a dialect that is on. What is written of one that is off must be right, too.
    fn tenant_if_enabled(
        &self,
        section: &str,
        is_enabled: bool,
        name: &str,
        tenants: &[Tenant],
    ) -> Result<Option<TenantName>, ConfigError> {
        let tenant = self.named_tenant(&format!("{section}.tenant"), name, tenants)?;
        Ok(is_enabled.then(|| tenant.policy.tenant.clone()))
    }
}
