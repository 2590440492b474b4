//! Turns the settings as written into a [`Config`](super::Config): bounds, contradictions, secrets
//! in files. Every refusal says what was wanted and what was found.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use resetd_verify::{Algorithm, MAX_LEEWAY};
use tracing::level_filters::LevelFilter;

use super::raw::{RawCaller, RawConfig};
use super::{
    CALLER_NAME_WANTED, ConfigError, Keys, Layers, Log, LogFormat, Origin, Server, State,
    address_as_issuer, is_caller_name, is_loopback, parse_scopes, read_text,
};
use crate::domain::caller::{Caller, Callers, KeyHash, is_api_key};
use crate::domain::policy::{Lifetime, Policy, TenantName};

/// Turns raw values into valid ones, and knows where each came from.
pub(super) struct Check<'l> {
    pub(super) layers: &'l Layers,
}

impl Check<'_> {
    fn refuse<T>(&self, key: &str, problem: impl Into<String>) -> Result<T, ConfigError> {
        let origin = self.layers.origin(key).clone();
        Err(ConfigError::Invalid { origin, key: key.into(), problem: problem.into() })
    }

    /// A number within bounds.
    fn within(
        &self,
        key: &str,
        value: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        if bounds.contains(&value) {
            return Ok(value);
        }
        self.refuse(key, format!("wanted {} to {}, found {value}", bounds.start(), bounds.end()))
    }

    fn seconds(&self, key: &str, value: u64) -> Result<Duration, ConfigError> {
        self.within(key, value, 1..=86_400).map(Duration::from_secs)
    }

    fn size(&self, key: &str, value: u64) -> Result<usize, ConfigError> {
        let value = self.within(key, value, 1..=16 * 1024 * 1024)?;
        usize::try_from(value).or_else(|_| self.refuse(key, "is too large for this machine"))
    }

    fn directory(&self, key: &str, value: &str) -> Result<PathBuf, ConfigError> {
        if value.is_empty() {
            return self.refuse(key, "wanted a folder, found nothing");
        }
        Ok(PathBuf::from(value))
    }

    pub(super) fn server(&self, raw: &RawConfig) -> Result<Server, ConfigError> {
        let server = &raw.server;
        let Ok(listen) = server.listen.parse() else {
            let problem = format!(
                "wanted an address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", found {:?}",
                server.listen
            );
            return self.refuse("server.listen", problem);
        };
        Ok(Server {
            listen,
            max_connections: self.size("server.max_connections", server.max_connections)?,
            header_timeout: self
                .seconds("server.header_timeout_seconds", server.header_timeout_seconds)?,
            body_timeout: self
                .seconds("server.body_timeout_seconds", server.body_timeout_seconds)?,
            answer_timeout: self
                .seconds("server.answer_timeout_seconds", server.answer_timeout_seconds)?,
            max_connection_age: self
                .seconds("server.max_connection_seconds", server.max_connection_seconds)?,
            max_body_bytes: self.size("server.max_body_bytes", server.max_body_bytes)?,
            shutdown: self.seconds("server.shutdown_seconds", server.shutdown_seconds)?,
        })
    }

    pub(super) fn log(&self, raw: &RawConfig) -> Result<Log, ConfigError> {
        let level = match raw.log.level.as_str() {
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            other => {
                let problem = format!("wanted error, warn, info, debug or trace, found {other:?}");
                return self.refuse("log.level", problem);
            }
        };
        let format = match raw.log.format.as_str() {
            "auto" => LogFormat::Auto,
            "pretty" => LogFormat::Pretty,
            "json" => LogFormat::Json,
            other => {
                let problem = format!("wanted auto, pretty or json, found {other:?}");
                return self.refuse("log.format", problem);
            }
        };
        Ok(Log { level, format })
    }

    pub(super) fn policy(&self, raw: &RawConfig) -> Result<Policy, ConfigError> {
        let token = &raw.token;
        let issuer = self.issuer(raw)?;
        if !resetd_verify::is_identifier(&token.audience) {
            return self
                .refuse("token.audience", "wanted 1 to 256 bytes without control characters");
        }
        Ok(Policy {
            tenant: TenantName::default(),
            issuer,
            audience: token.audience.clone(),
            lifetime: self.lifetime(raw)?,
            leeway: self.within("token.leeway_seconds", token.leeway_seconds, 0..=MAX_LEEWAY)?,
            supersede: token.supersede,
        })
    }

    fn issuer(&self, raw: &RawConfig) -> Result<String, ConfigError> {
        let issuer = &raw.token.issuer;
        let Ok(listen) = raw.server.listen.parse::<SocketAddr>() else {
            return Ok(issuer.clone());
        };
        if issuer.is_empty() && listen.ip().is_loopback() {
            return Ok(address_as_issuer(listen));
        }
        if issuer.is_empty() {
            let problem = format!(
                "must be set, since server.listen is {listen}, which is no loopback address: wanted the https URL under which others reach this service"
            );
            return self.refuse("token.issuer", problem);
        }
        match check_issuer(issuer) {
            Ok(()) => Ok(issuer.clone()),
            Err(problem) => self.refuse("token.issuer", problem),
        }
    }

    fn lifetime(&self, raw: &RawConfig) -> Result<Lifetime, ConfigError> {
        let token = &raw.token;
        let max =
            self.within("token.max_lifetime_seconds", token.max_lifetime_seconds, 1..=86_400)?;
        let min =
            self.within("token.min_lifetime_seconds", token.min_lifetime_seconds, 1..=86_400)?;
        let default = token.lifetime_seconds;
        if min > max {
            let problem = format!("is {min}, more than token.max_lifetime_seconds, which is {max}");
            return self.refuse("token.min_lifetime_seconds", problem);
        }
        if !(min..=max).contains(&default) {
            let problem = format!(
                "wanted {min} to {max}, as token.min_lifetime_seconds and token.max_lifetime_seconds say, found {default}"
            );
            return self.refuse("token.lifetime_seconds", problem);
        }
        Ok(Lifetime { default, min, max })
    }

    pub(super) fn keys(&self, raw: &RawConfig) -> Result<Keys, ConfigError> {
        let keys = &raw.keys;
        let algorithm = match Algorithm::parse(&keys.algorithm) {
            Some(algorithm @ (Algorithm::Es256 | Algorithm::EdDsa)) => algorithm,
            Some(Algorithm::Rs256 | Algorithm::Ps256) | None => {
                let problem = format!("wanted ES256 or EdDSA, found {:?}", keys.algorithm);
                return self.refuse("keys.algorithm", problem);
            }
        };
        Ok(Keys {
            directory: self.directory("keys.directory", &keys.directory)?,
            is_default_directory: *self.layers.origin("keys.directory") == Origin::Default,
            algorithm,
            jwks_max_age: self.within(
                "keys.jwks_max_age_seconds",
                keys.jwks_max_age_seconds,
                1..=86_400,
            )?,
        })
    }

    pub(super) fn state(&self, raw: &RawConfig) -> Result<State, ConfigError> {
        if raw.state.durability != "guard" {
            let problem = format!("wanted \"guard\", found {:?}", raw.state.durability);
            return self.refuse("state.durability", problem);
        }
        Ok(State {
            directory: self.directory("state.directory", &raw.state.directory)?,
            capacity: self.within("state.capacity", raw.state.capacity, 1..=1_000_000_000)?,
        })
    }

    pub(super) fn callers(&self, raw: &RawConfig) -> Result<Callers, ConfigError> {
        let mut callers: Vec<Caller> = Vec::new();
        for (index, raw) in raw.callers.iter().enumerate() {
            let caller = self.caller(index, raw)?;
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

    fn caller(&self, index: usize, raw: &RawCaller) -> Result<Caller, ConfigError> {
        let key = |name: &str| format!("callers.{index}.{name}");
        if !is_caller_name(&raw.name) {
            return self.refuse(&key("name"), CALLER_NAME_WANTED);
        }
        let tenant = raw.tenant.as_deref().unwrap_or(TenantName::DEFAULT);
        if tenant != TenantName::DEFAULT {
            let problem = format!("no tenant {tenant:?} is configured, there is \"default\"");
            return self.refuse(&key("tenant"), problem);
        }
        let scopes = match parse_scopes(raw.scopes.iter().map(String::as_str)) {
            Ok(scopes) => scopes,
            Err(problem) => return self.refuse(&key("scopes"), problem),
        };
        let key_hash = match (&raw.key_sha256, &raw.key_file) {
            (Some(hash), None) => {
                let Some(hash) = KeyHash::parse(hash) else {
                    let problem = "wanted the 64 hexadecimal digits of the key's SHA-256";
                    return self.refuse(&key("key_sha256"), problem);
                };
                hash
            }
            (None, Some(file)) => match read_api_key_hash(Path::new(file)) {
                Ok(hash) => hash,
                Err(problem) => return self.refuse(&key("key_file"), problem),
            },
            (Some(_), Some(_)) | (None, None) => {
                let problem = "wanted exactly one of key_sha256 and key_file";
                return self.refuse(&format!("callers.{index}"), problem);
            }
        };
        Ok(Caller { name: raw.name.clone(), tenant: TenantName::default(), scopes, key_hash })
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

fn check_issuer(issuer: &str) -> Result<(), String> {
    const WANTED: &str =
        "wanted an https URL (http only on a loopback address) without query or trailing slash";
    let refuse = || Err(format!("{WANTED}, found {issuer:?}"));
    let Ok(uri) = issuer.parse::<Uri>() else {
        return refuse();
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse();
    };
    let is_allowed = scheme == "https" || (scheme == "http" && is_loopback(authority.host()));
    let is_plain = !authority.host().is_empty()
        && !issuer.ends_with('/')
        && !issuer.contains(['#', '@'])
        && uri.query().is_none()
        && issuer.len() <= 256;
    if is_allowed && is_plain { Ok(()) } else { refuse() }
}
