//! Callers: who may call, for which tenant, and the hash of each one's key.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ipnet::IpNet;

use super::check::Check;
use super::raw::{RawApiKey, RawCaller, RawConfig};
use super::tenants::Tenant;
use super::{CALLER_NAME_WANTED, ConfigError, is_caller_name, parse_scopes, read_text};
use crate::domain::caller::{ApiKey, Caller, Callers, KeyHash, is_api_key};
use crate::domain::policy::TenantName;
use crate::domain::time::from_rfc3339;
use crate::file_path::unreadable;

impl Check<'_> {
    pub(super) fn callers(
        &self,
        raw: &RawConfig,
        tenants: &[Tenant],
    ) -> Result<Callers, ConfigError> {
        let mut callers: Vec<Caller> = Vec::new();
        for (index, raw) in raw.callers.iter().enumerate() {
            let caller = self.caller(index, raw, tenants)?;
            if callers.iter().any(|known| known.name == caller.name) {
                let problem = format!("{:?} is the name of an earlier caller", caller.name);
                return self.refuse(&format!("callers.{index}.name"), problem);
            }
            let mut known = callers.iter().flat_map(|known| &known.keys);
            let is_known = |key: &ApiKey| known.any(|known| known.hash() == key.hash());
            if caller.keys.iter().any(is_known) {
                let problem = "has the key of an earlier caller; make one: resetd callers add";
                return self.refuse(&format!("callers.{index}"), problem);
            }
            callers.push(caller);
        }
        Ok(Callers::new(callers))
    }

    fn caller(
        &self,
        index: usize,
        raw: &RawCaller,
        tenants: &[Tenant],
    ) -> Result<Caller, ConfigError> {
        let key = |name: &str| format!("callers.{index}.{name}");
        if !is_caller_name(&raw.name) {
            return self.refuse(&key("name"), CALLER_NAME_WANTED);
        }
        let tenant = raw.tenant.as_deref().unwrap_or(TenantName::DEFAULT);
        let tenant = self.named_tenant(&key("tenant"), tenant, tenants)?.policy.tenant.clone();
        let scopes = match parse_scopes(&tenant, raw.scopes.iter().map(String::as_str)) {
            Ok(scopes) => scopes,
            Err(problem) => return self.refuse(&key("scopes"), problem),
        };
        let keys = self.api_keys(index, raw)?;
        let networks = self.networks(&key("networks"), &raw.networks)?;
        Ok(Caller { name: raw.name.clone(), tenant, scopes, keys, networks })
    }

    /// Networks such as `10.0.0.0/8`, or single addresses.
    pub(super) fn networks(&self, key: &str, texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
        let network = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse().or_else(|_| address()).or_else(|_| {
                let wanted =
                    "wanted a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address";
                self.refuse(key, format!("{wanted}, found {text:?}"))
            })
        };
        texts.iter().map(network).collect()
    }

    fn api_keys(&self, index: usize, raw: &RawCaller) -> Result<Vec<ApiKey>, ConfigError> {
        let caller = format!("callers.{index}");
        if raw.keys.is_empty() {
            let names = ["key_sha256", "key_file"];
            let hash =
                self.key_hash(&caller, names, raw.key_sha256.as_deref(), raw.key_file.as_deref())?;
            return Ok(vec![ApiKey::new(hash, None)]);
        }
        if raw.key_sha256.is_some() || raw.key_file.is_some() {
            let problem = "wanted key_sha256, key_file or keys, found more than one of them";
            return self.refuse(&caller, problem);
        }
        let mut keys: Vec<ApiKey> = Vec::new();
        for (at, raw) in raw.keys.iter().enumerate() {
            let key = self.api_key(&format!("{caller}.keys.{at}"), raw)?;
            if keys.iter().any(|known| known.hash() == key.hash()) {
                return self.refuse(&format!("{caller}.keys.{at}"), "is an earlier key again");
            }
            keys.push(key);
        }
        Ok(keys)
    }

    fn api_key(&self, section: &str, raw: &RawApiKey) -> Result<ApiKey, ConfigError> {
        let hash =
            self.key_hash(section, ["sha256", "file"], raw.sha256.as_deref(), raw.file.as_deref())?;
        let expires = raw.expires.as_deref().map(|text| {
            from_rfc3339(text).map_or_else(
                || {
                    let problem =
                        format!("wanted a time such as \"2027-01-31T12:00:00Z\", found {text:?}");
                    self.refuse(&format!("{section}.expires"), problem)
                },
                Ok,
            )
        });
        Ok(ApiKey::new(hash, expires.transpose()?))
    }

    fn key_hash(
        &self,
        section: &str,
        [of_hash, of_file]: [&str; 2],
        hash: Option<&str>,
        file: Option<&str>,
    ) -> Result<KeyHash, ConfigError> {
        let key = |name: &str| format!("{section}.{name}");
        match (hash, file) {
            (Some(hash), None) => KeyHash::parse(hash).map_or_else(
                || {
                    let problem = "wanted the 64 hexadecimal digits of the key's SHA-256";
                    self.refuse(&key(of_hash), problem)
                },
                Ok,
            ),
            (None, Some(file)) => read_api_key_hash(Path::new(file))
                .or_else(|problem| self.refuse(&key(of_file), problem)),
            (Some(_), Some(_)) | (None, None) => {
                let problem = format!("wanted exactly one of {of_hash} and {of_file}");
                self.refuse(section, problem)
            }
        }
    }
}

/// Reads a file that holds an API key. A newline at its end is what editors leave; any other white
/// space is a mistake worth naming.
fn read_api_key_hash(path: &Path) -> Result<KeyHash, String> {
    let failed = |error| unreadable(path, &error, "a file with an API key");
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(format!(
            "{0}: everybody may write to it, so the key may be anybody's; mend it: chmod o-w {0}",
            path.display()
        ));
    }
    let text = read_text(path).map_err(failed)?;
    let key = text.strip_suffix('\n').unwrap_or(&text);
    if is_api_key(key) {
        return Ok(KeyHash::of(key));
    }
    Err(format!(
        "{}: wanted one API key, rsk_ and 52 characters of a-z 2-7, and nothing else; found {} bytes that are none",
        path.display(),
        key.len()
    ))
}
