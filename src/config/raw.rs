//! The configuration as it is written: one field per key of `config.toml`, nothing checked yet.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) server: RawServer,
    pub(super) tls: RawTls,
    pub(super) limits: RawLimits,
    pub(super) log: RawLog,
    pub(super) token: RawToken,
    pub(super) keys: RawKeys,
    pub(super) page: RawPage,
    pub(super) state: RawState,
    pub(super) outbox: RawOutbox,
    pub(super) audit: RawAudit,
    pub(super) link: RawLink,
    pub(super) mail: RawMail,
    pub(super) directory: RawDirectory,
    pub(super) rebilly: RawRebilly,
    pub(super) fabric: RawFabric,
    pub(super) loginradius: RawLoginRadius,
    pub(super) servicestack: RawServiceStack,
    #[serde(default)]
    pub(super) tenants: BTreeMap<String, RawTenant>,
    #[serde(default)]
    pub(super) callers: Vec<RawCaller>,
    #[serde(default)]
    pub(super) bearers: Vec<RawBearer>,
    #[serde(default)]
    pub(super) webhooks: Vec<RawWebhook>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawServer {
    pub(super) listen: String,
    pub(super) admin_listen: String,
    pub(super) socket_mode: String,
    pub(super) allow_plain_http: bool,
    pub(super) max_connections: u64,
    pub(super) max_connections_per_address: u64,
    pub(super) header_timeout_seconds: u64,
    pub(super) body_timeout_seconds: u64,
    pub(super) answer_timeout_seconds: u64,
    pub(super) max_connection_seconds: u64,
    pub(super) max_body_bytes: u64,
    pub(super) shutdown_seconds: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
#[expect(clippy::struct_field_names, reason = "they are the names in the file")]
pub(super) struct RawTls {
    pub(super) certificate_file: String,
    pub(super) key_file: String,
    pub(super) client_ca_file: String,
    pub(super) admin_client_ca_file: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawLimits {
    pub(super) trusted_proxies: Vec<String>,
    pub(super) source_per_minute: u64,
    pub(super) caller_per_minute: u64,
    pub(super) user_tokens_per_hour: u64,
    pub(super) holder_revocations_per_minute: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawLog {
    pub(super) level: String,
    pub(super) format: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawToken {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) lifetime_seconds: u64,
    pub(super) min_lifetime_seconds: u64,
    pub(super) max_lifetime_seconds: u64,
    pub(super) leeway_seconds: u64,
    pub(super) supersede: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawKeys {
    pub(super) directory: String,
    pub(super) algorithm: String,
    pub(super) jwks_max_age_seconds: u64,
    pub(super) rotate_every_seconds: u64,
    pub(super) publish_ahead_seconds: u64,
    pub(super) passphrase_file: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawPage {
    pub(super) enabled: bool,
    pub(super) continue_url: String,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawState {
    pub(super) durability: String,
    pub(super) directory: String,
    pub(super) capacity: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawOutbox {
    pub(super) capacity: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawAudit {
    pub(super) sink: String,
    pub(super) directory: String,
    pub(super) rotate_bytes: u64,
    pub(super) keep_files: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawDirectory {
    pub(super) kind: String,
    pub(super) file: String,
    pub(super) url: String,
    pub(super) token_file: String,
    pub(super) ca_file: String,
    pub(super) start_tls: bool,
    pub(super) bind_dn: String,
    pub(super) bind_password_file: String,
    pub(super) base: String,
    pub(super) filter: String,
    pub(super) disabled_filter: String,
    pub(super) username_attribute: String,
    pub(super) email_attribute: String,
    pub(super) user_id_attribute: String,
    pub(super) credential_id_attribute: String,
    pub(super) identity_providers_attribute: String,
    pub(super) language_attribute: String,
    pub(super) timeout_seconds: u64,
    pub(super) cache_seconds: u64,
    pub(super) reveal_unknown_users: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawLink {
    pub(super) template: String,
    pub(super) return_urls: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawMail {
    pub(super) transport: String,
    pub(super) directory: String,
    pub(super) host: String,
    pub(super) port: u64,
    pub(super) encryption: String,
    pub(super) username: String,
    pub(super) password_file: String,
    pub(super) ca_file: String,
    pub(super) from: String,
    pub(super) templates: String,
    pub(super) default_language: String,
    pub(super) timeout_seconds: u64,
    pub(super) notices: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawRebilly {
    pub(super) enabled: bool,
    pub(super) tenant: String,
    pub(super) all_callers: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawFabric {
    pub(super) enabled: bool,
    pub(super) tenant: String,
    pub(super) accounts: Vec<String>,
    pub(super) strict_accounts: bool,
    pub(super) lenient_site_context: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawLoginRadius {
    pub(super) enabled: bool,
    pub(super) tenant: String,
    pub(super) api_key: String,
    pub(super) caller: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawServiceStack {
    pub(super) enabled: bool,
    pub(super) tenant: String,
    pub(super) public: bool,
    pub(super) json_names: String,
    #[serde(default)]
    pub(super) appliances: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) suites: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) subdomains: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a tenant")]
pub(super) struct RawTenant {
    #[serde(default)]
    pub(super) issuer: Option<String>,
    pub(super) audience: String,
    #[serde(default)]
    pub(super) lifetime_seconds: Option<u64>,
    #[serde(default)]
    pub(super) min_lifetime_seconds: Option<u64>,
    #[serde(default)]
    pub(super) max_lifetime_seconds: Option<u64>,
    #[serde(default)]
    pub(super) supersede: Option<bool>,
    #[serde(default)]
    pub(super) keys: Option<String>,
    #[serde(default)]
    pub(super) algorithm: Option<String>,
    #[serde(default)]
    pub(super) rotate_every_seconds: Option<u64>,
    #[serde(default)]
    pub(super) publish_ahead_seconds: Option<u64>,
    #[serde(default)]
    pub(super) limits: RawTenantLimits,
    /// What it leaves out is as in the defaults, filled in by the layers.
    #[serde(default)]
    pub(super) directory: Option<RawDirectory>,
    #[serde(default)]
    pub(super) link: Option<RawTenantLink>,
    #[serde(default)]
    pub(super) mail: Option<RawTenantMail>,
    #[serde(default)]
    pub(super) page: RawTenantPage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawTenantLimits {
    #[serde(default)]
    pub(super) caller_per_minute: Option<u64>,
    #[serde(default)]
    pub(super) user_tokens_per_hour: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawTenantPage {
    #[serde(default)]
    pub(super) enabled: bool,
    #[serde(default)]
    pub(super) continue_url: String,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawTenantLink {
    pub(super) template: String,
    #[serde(default)]
    pub(super) return_urls: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct RawTenantMail {
    #[serde(default)]
    pub(super) from: Option<String>,
    #[serde(default)]
    pub(super) templates: Option<String>,
    #[serde(default)]
    pub(super) default_language: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a caller")]
pub(super) struct RawCaller {
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) tenant: Option<String>,
    #[serde(default)]
    pub(super) key_sha256: Option<String>,
    #[serde(default)]
    pub(super) key_file: Option<String>,
    #[serde(default)]
    pub(super) keys: Vec<RawApiKey>,
    #[serde(default)]
    pub(super) networks: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a key")]
pub(super) struct RawApiKey {
    #[serde(default)]
    pub(super) sha256: Option<String>,
    #[serde(default)]
    pub(super) file: Option<String>,
    #[serde(default)]
    pub(super) expires: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an identity provider")]
pub(super) struct RawBearer {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) scope_prefix: Option<String>,
    #[serde(default)]
    pub(super) tenant: Option<String>,
    #[serde(default)]
    pub(super) networks: Vec<String>,
    #[serde(default)]
    pub(super) jwks_file: Option<String>,
    #[serde(default)]
    pub(super) jwks_url: Option<String>,
}

/// `Debug` shows its name only: some receivers know their senders by a secret in the address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a webhook")]
pub(super) struct RawWebhook {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) events: Vec<String>,
    #[serde(default)]
    pub(super) secret_files: Vec<String>,
    #[serde(default)]
    pub(super) tenant: Option<String>,
    #[serde(default)]
    pub(super) networks: Vec<String>,
    #[serde(default)]
    pub(super) timeout_seconds: Option<u64>,
    #[serde(default)]
    pub(super) carry_token: bool,
}

impl fmt::Debug for RawWebhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RawWebhook").field("name", &self.name).finish_non_exhaustive()
    }
}
