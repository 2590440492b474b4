//! Takes up a changed configuration: callers and limits at once; what else changed is named, and waits
//! for a restart. A configuration that is refused changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::audit::Audit;
use crate::config::{Config, ConfigError, Tenant, TenantLimits};
use crate::domain::caller::Caller;
use crate::domain::policy::TenantName;
use crate::http::{Gate, Rates, ReloadConfig, Reloaded, TenantRates};
use crate::service::ResetService;

/// The section of limits, of all and of a tenant.
const LIMITS: &str = "limits.";

/// Every setting in force, by dotted key.
pub type Settings = BTreeMap<String, String>;

/// How the configuration is read, at the start and again.
#[derive(Clone)]
pub struct ReadConfig(Arc<dyn Fn() -> Result<(Config, Settings), ConfigError> + Send + Sync>);

impl ReadConfig {
    /// A way to read it.
    pub fn new(
        read: impl Fn() -> Result<(Config, Settings), ConfigError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(&self) -> Result<(Config, Settings), ConfigError> {
        (self.0)()
    }
}

impl fmt::Debug for ReadConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReadConfig(…)")
    }
}

/// What a reload acts on.
pub(super) struct Reloader {
    pub(super) read: ReadConfig,
    pub(super) service: ResetService,
    pub(super) gate: Gate,
    pub(super) audit: Audit,
    /// What is in force. Held while it is changed, so that two reloads come one after the other.
    pub(super) settings: Mutex<Settings>,
    /// Whether the one caller is one that was made up for this run. It goes when there is another.
    pub(super) is_one_run: AtomicBool,
}

impl Reloader {
    pub(super) fn into_config(self) -> ReloadConfig {
        ReloadConfig::new(move || self.reload())
    }

    fn reload(&self) -> Result<Reloaded, String> {
        match self.try_reload() {
            Ok(reloaded) => {
                let applied = reloaded.applied.join(", ");
                let needs_restart = reloaded.needs_restart.join(", ");
                tracing::info!(applied, needs_restart, "the configuration is reloaded");
                self.audit.config_reloaded(None);
                Ok(reloaded)
            }
            Err(reason) => {
                tracing::error!(reason, "the configuration is refused; the old one stays in force");
                self.audit.config_reloaded(Some(reason.clone()));
                Err(reason)
            }
        }
    }

    fn try_reload(&self) -> Result<Reloaded, String> {
        let mut known = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, settings) = self.read.read().map_err(|error| error.to_string())?;
        self.refuse_to_lock_out(&config)?;
        let is_at_once = |key: &String| is_of_callers(key) || self.is_limit(key);
        let (mut applied, needs_restart): (Vec<_>, Vec<_>) =
            changed(&known, &settings).into_iter().partition(is_at_once);
        let rates = rates(&config);
        // The key in a file may be another one though nothing changed in the settings.
        if !self.keeps_one_run(&config) && !config.callers.same_as(&self.service.callers()) {
            if !applied.iter().any(|key| is_of_callers(key)) {
                applied.push("callers".into());
            }
            self.is_one_run.store(false, Ordering::SeqCst);
            self.service.replace_callers(config.callers);
        }
        if applied.iter().any(|key| self.is_limit(key)) {
            self.gate.replace(rates);
        }
        known.retain(|key, _| !is_at_once(key));
        known.extend(settings.into_iter().filter(|(key, _)| is_at_once(key)));
        Ok(Reloaded { applied, needs_restart })
    }
}

impl Reloader {
    /// Whether a setting says how often something may be asked, of all or of a tenant that is there.
    fn is_limit(&self, key: &str) -> bool {
        let of_tenant = |rest: &str| {
            let (name, rest) = rest.split_once('.')?;
            let tenant = self.service.tenant(&TenantName::parse(name)?);
            Some(rest.starts_with(LIMITS) && tenant.is_some())
        };
        let of_tenant = key.strip_prefix("tenants.").and_then(of_tenant);
        key.starts_with(LIMITS) || of_tenant.unwrap_or_default()
    }

    /// Whether the caller that was made up for this run stays.
    fn keeps_one_run(&self, config: &Config) -> bool {
        self.is_one_run.load(Ordering::SeqCst) && config.callers.is_empty()
    }

    /// What callers depend on, tenants and identity providers, waits for a restart. So must they.
    fn refuse_to_lock_out(&self, config: &Config) -> Result<(), String> {
        let is_unknown = |caller: &&Caller| self.service.tenant(&caller.tenant).is_none();
        if let Some(caller) = config.callers.iter().find(is_unknown) {
            let (name, tenant) = (&caller.name, &caller.tenant);
            return Err(format!(
                "the caller {name:?} is of the tenant {tenant}, which is there after a restart only; restart"
            ));
        }
        let is_none = config.callers.is_empty() && !self.keeps_one_run(config);
        if is_none && !self.service.has_bearers() {
            return Err("there would be no caller any more; identity providers are taken up by a restart only".into());
        }
        Ok(())
    }
}

fn is_of_callers(key: &str) -> bool {
    key.starts_with("callers.")
}

/// The keys of settings that are not the same in both.
fn changed(before: &Settings, after: &Settings) -> Vec<String> {
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let mut keys: Vec<_> =
        keys.filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
    keys.sort();
    keys
}

/// Reloads whenever somebody asks for it with a signal.
pub(super) async fn reload_when(wanted: Arc<Notify>, config: ReloadConfig) {
    loop {
        wanted.notified().await;
        let config = config.clone();
        // What came of it is in the log.
        let _ = tokio::task::spawn_blocking(move || config.run()).await;
    }
}
pub(super) fn rates(Config { limits, tenants, .. }: &Config) -> Rates {
    let of_tenant = |tenant: &Tenant| {
        let TenantLimits { caller_per_minute, user_tokens_per_hour } = tenant.limits;
        let rates = TenantRates { caller_per_minute, user_tokens_per_hour };
        (tenant.policy.tenant.clone(), rates)
    };
    Rates {
        source_per_minute: limits.source_per_minute,
        all: TenantRates {
            caller_per_minute: limits.caller_per_minute,
            user_tokens_per_hour: limits.user_tokens_per_hour,
        },
        tenants: tenants.iter().map(of_tenant).collect(),
        holder_revocations_per_minute: limits.holder_revocations_per_minute,
        trusted_proxies: limits.trusted_proxies.clone(),
    }
}
