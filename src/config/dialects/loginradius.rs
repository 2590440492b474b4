//! The dialect of `LoginRadius`: its app, whom those without a secret act as, and what cannot go together.

use crate::config::ConfigError;
use crate::config::check::Check;
use crate::config::raw::RawLoginRadius;
use crate::config::tenants::Tenant;
use crate::domain::caller::{API_KEY_PREFIX, Caller, Callers};
use crate::domain::dialect::LoginRadius;

impl Check<'_> {
    pub(super) fn loginradius(
        &self,
        dialect: &RawLoginRadius,
        tenants: &[Tenant],
        callers: &Callers,
    ) -> Result<Option<LoginRadius>, ConfigError> {
        let RawLoginRadius { enabled, tenant, api_key, caller } = dialect;
        let tenant = self.named_tenant("loginradius.tenant", tenant, tenants)?;
        let name = &tenant.policy.tenant;
        let is_known = |known: &Caller| known.name == *caller && known.tenant == *name;
        if !caller.is_empty() && !callers.iter().any(is_known) {
            let problem = format!(
                "wanted the name of one of [[callers]] of the tenant {:?}, found {caller:?}; make one: resetd callers add",
                name.as_str()
            );
            return self.refuse("loginradius.caller", problem);
        }
        if !enabled {
            return Ok(None);
        }
        self.app_key("loginradius.api_key", api_key)?;
        if tenant.directory.as_ref().is_some_and(|it| !it.reveal_unknown_users) {
            let above = if name.is_default() { String::new() } else { format!("tenants.{name}.") };
            let problem = format!(
                "is true, and {above}directory hides who is a user; the answers of this API are tokens, and tell of unknown users: set {above}directory.reveal_unknown_users = true, or have this API off"
            );
            return self.refuse("loginradius.enabled", problem);
        }
        let caller = (!caller.is_empty()).then(|| caller.clone());
        Ok(Some(LoginRadius { tenant: name.clone(), api_key: api_key.clone(), caller }))
    }

    /// The key of an app, which everybody may see.
    fn app_key(&self, key: &str, text: &str) -> Result<(), ConfigError> {
        const WANTED: &str =
            "wanted what your clients send as apikey, 1 to 128 characters A-Z a-z 0-9 . _ -";
        if text.starts_with(API_KEY_PREFIX) {
            let problem = "is the secret key of a caller, and is seen by everybody; make another caller's key, and send that as apisecret; ";
            return self.refuse(key, format!("{problem}{WANTED}"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(());
        }
        self.refuse(key, format!("{WANTED}, found {text:?}"))
    }
}
