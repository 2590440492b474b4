//! Callers: who may call, for which tenant, and the hash of each one's key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::check::Check;
use super::raw::{RawCaller, RawConfig};
use super::tenants::{Tenant, find_tenant};
use super::{CALLER_NAME_WANTED, ConfigError, is_caller_name, parse_scopes, read_text};
use crate::domain::caller::{Caller, Callers, KeyHash, is_api_key};
use crate::domain::policy::TenantName;

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
            if callers.iter().any(|known| known.key_hash == caller.key_hash) {
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
        let tenant = match find_tenant(tenants, tenant) {
            Ok(tenant) => tenant.policy.tenant.clone(),
            Err(problem) => return self.refuse(&key("tenant"), problem),
        };
        let scopes = match parse_scopes(raw.scopes.iter().map(String::as_str)) {
            Ok(scopes) => scopes,
            Err(problem) => return self.refuse(&key("scopes"), problem),
        };
        let key_hash = self.key_hash(index, raw)?;
        Ok(Caller { name: raw.name.clone(), tenant, scopes, key_hash })
    }

    fn key_hash(&self, index: usize, raw: &RawCaller) -> Result<KeyHash, ConfigError> {
        let key = |name: &str| format!("callers.{index}.{name}");
        match (&raw.key_sha256, &raw.key_file) {
            (Some(hash), None) => KeyHash::parse(hash).map_or_else(
                || {
                    let problem = "wanted the 64 hexadecimal digits of the key's SHA-256";
                    self.refuse(&key("key_sha256"), problem)
                },
                Ok,
            ),
            (None, Some(file)) => read_api_key_hash(Path::new(file))
                .or_else(|problem| self.refuse(&key("key_file"), problem)),
            (Some(_), Some(_)) | (None, None) => {
                let problem = "wanted exactly one of key_sha256 and key_file";
                self.refuse(&format!("callers.{index}"), problem)
            }
        }
    }
}

/// Reads a file that holds an API key. A newline at its end is what editors leave; any other white
/// space is a mistake worth naming.
fn read_api_key_hash(path: &Path) -> Result<KeyHash, String> {
    let failed = |error| format!("{}: {error}", path.display());
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
