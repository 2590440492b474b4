//! fabric's dialect: which of its accounts are which tenants.

use std::collections::BTreeMap;

use crate::config::ConfigError;
use crate::config::check::Check;
use crate::config::raw::RawFabric;
use crate::config::tenants::Tenant;
use crate::domain::dialect::{Fabric, FabricAccount};
use crate::domain::policy::TenantName;

impl Check<'_> {
    /// What is written of one that is off must be right, too.
    pub(super) fn fabric(
        &self,
        raw: &RawFabric,
        tenants: &[Tenant],
    ) -> Result<Option<Fabric>, ConfigError> {
        let tenant =
            self.named_tenant("fabric.tenant", &raw.tenant, tenants)?.policy.tenant.clone();
        let accounts = self.accounts_of_fabric(&raw.accounts, tenants)?;
        if raw.strict_accounts && accounts.is_empty() {
            return self.refuse(
                "fabric.strict_accounts",
                "is true and fabric.accounts is empty, so every account would be refused; list accounts, or have it false",
            );
        }
        Ok(raw.enabled.then_some(Fabric {
            tenant,
            accounts,
            strict_accounts: raw.strict_accounts,
            lenient_site_context: raw.lenient_site_context,
        }))
    }

    fn accounts_of_fabric(
        &self,
        raw: &[String],
        tenants: &[Tenant],
    ) -> Result<BTreeMap<FabricAccount, TenantName>, ConfigError> {
        const KEY: &str = "fabric.accounts";
        let mut accounts = BTreeMap::new();
        for text in raw {
            let parts =
                text.split_once('=').map(|(account, tenant)| (account.trim(), tenant.trim()));
            let read =
                parts.and_then(|(account, tenant)| Some((FabricAccount::parse(account)?, tenant)));
            let Some((account, tenant)) = read else {
                let wanted = "an account of 24 letters and digits, = and a tenant";
                let example = "\"6169b2d892a5f30009d76480=acme\"";
                return self
                    .refuse(KEY, format!("wanted {wanted}, such as {example}, found {text:?}"));
            };
            let tenant = self.named_tenant(KEY, tenant, tenants)?.policy.tenant.clone();
            if accounts.contains_key(&account) {
                return self.refuse(KEY, format!("has {:?} twice", account.as_str()));
            }
            accounts.insert(account, tenant);
        }
        Ok(accounts)
    }
}
