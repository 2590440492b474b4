//! Configuration in four layers: the compiled-in `config.toml`, the user's file, `RESETD_…`
//! variables, flags. [`Config`] is valid by construction; every refusal names the place.

mod layers;
mod raw;

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use resetd_verify::{Algorithm, MAX_LEEWAY};
use tracing::level_filters::LevelFilter;
use zeroize::Zeroizing;

use crate::domain::caller::{Caller, Callers, KeyHash, Scope, is_api_key, without_api_keys};
use crate::domain::policy::{Lifetime, Policy, TenantName};

pub use layers::{ENVIRONMENT_PREFIX, Layers, Origin, RESERVED_VARIABLES};

use raw::{RawCaller, RawConfig};

/// The documented defaults: `config.toml` of this repository.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// Everything the server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listener and its limits.
    pub server: Server,
    /// Logs.
    pub log: Log,
    /// The rules for tokens.
    pub policy: Policy,
    /// Whether no issuer is configured, so that it is the address listened on.
    pub issuer_is_address: bool,
    /// The folder of keys.
    pub keys: Keys,
    /// Marks of spent tokens.
    pub state: State,
    /// Who may call.
    pub callers: Callers,
}

/// The listener and its limits.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Connections at once.
    pub max_connections: usize,
    /// Time for all headers, and the longest idle time.
    pub header_timeout: Duration,
    /// Time for the whole body.
    pub body_timeout: Duration,
    /// Age at which a connection is asked to close.
    pub max_connection_age: Duration,
    /// Longest body in bytes.
    pub max_body_bytes: usize,
    /// Time for requests under way when the server stops.
    pub shutdown: Duration,
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// Logs.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// The least level that is written.
    pub level: LevelFilter,
    /// How it looks.
    pub format: LogFormat,
}

/// The folder of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The folder.
    pub directory: PathBuf,
    /// Whether the folder is the default one, which may be made without asking. A folder that was
    /// named must exist: a mistyped name must not lead to new keys that break all links.
    pub is_default_directory: bool,
    /// Algorithm of new keys.
    pub algorithm: Algorithm,
    /// Longest time in seconds that verifiers may keep the key set.
    pub jwks_max_age: u64,
}

impl Keys {
    /// Seconds for which a new key is published before it may sign: every cached key set has been
    /// fetched again by then, with a minute to spare for slow clients and clocks.
    pub fn publish_ahead(&self) -> u64 {
        /// The spare minute.
        const MARGIN: u64 = 60;
        self.jwks_max_age + MARGIN
    }
}

/// Marks of spent tokens.
#[derive(Clone, Debug)]
pub struct State {
    /// Where state is kept.
    pub directory: PathBuf,
    /// Marks at which no more tokens are issued.
    pub capacity: u64,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The file is no TOML.
    #[error("{path}:{line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was expected there.
        message: String,
    },
    /// A variable looks like a setting and is none.
    #[error("environment variable {name}: no such setting{}", suggestion(.nearest.as_deref()))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The setting it may have meant.
        nearest: Option<String>,
    },
    /// A value is not what it must be.
    #[error("{origin}: {}", without_api_keys(&format!("{key}: {problem}")))]
    Invalid {
        /// Where it was set.
        origin: Origin,
        /// The setting, with its section.
        key: String,
        /// What was wanted and what was found.
        problem: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// The issuer where none is configured: the loopback address listened on.
pub fn address_as_issuer(address: SocketAddr) -> String {
    format!("http://{address}")
}

impl Config {
    /// Puts the layers together and checks the whole.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let raw = layers.read()?;
        let check = Check { layers };
        Ok(Self {
            server: check.server(&raw)?,
            log: check.log(&raw)?,
            policy: check.policy(&raw)?,
            issuer_is_address: raw.token.issuer.is_empty(),
            keys: check.keys(&raw)?,
            state: check.state(&raw)?,
            callers: check.callers(&raw)?,
        })
    }
}

/// Turns raw values into valid ones, and knows where each came from.
struct Check<'l> {
    layers: &'l Layers,
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

    fn server(&self, raw: &RawConfig) -> Result<Server, ConfigError> {
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
            max_connection_age: self
                .seconds("server.max_connection_seconds", server.max_connection_seconds)?,
            max_body_bytes: self.size("server.max_body_bytes", server.max_body_bytes)?,
            shutdown: self.seconds("server.shutdown_seconds", server.shutdown_seconds)?,
        })
    }

    fn log(&self, raw: &RawConfig) -> Result<Log, ConfigError> {
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

    fn policy(&self, raw: &RawConfig) -> Result<Policy, ConfigError> {
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

    fn keys(&self, raw: &RawConfig) -> Result<Keys, ConfigError> {
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

    fn state(&self, raw: &RawConfig) -> Result<State, ConfigError> {
        if raw.state.durability != "guard" {
            let problem = format!("wanted \"guard\", found {:?}", raw.state.durability);
            return self.refuse("state.durability", problem);
        }
        Ok(State {
            directory: self.directory("state.directory", &raw.state.directory)?,
            capacity: self.within("state.capacity", raw.state.capacity, 1..=1_000_000_000)?,
        })
    }

    fn callers(&self, raw: &RawConfig) -> Result<Callers, ConfigError> {
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

/// What a caller's name must be.
pub const CALLER_NAME_WANTED: &str = "wanted a name of 1 to 64 characters A-Z a-z 0-9 . _ -";

/// Whether a text can name a caller in logs and files.
pub fn is_caller_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// Reads a list of scopes.
///
/// # Errors
/// What was wanted and what was found.
pub fn parse_scopes<'s>(names: impl Iterator<Item = &'s str>) -> Result<Vec<Scope>, String> {
    let known = || Scope::ALL.map(Scope::name).join(", ");
    let mut scopes = Vec::new();
    for name in names {
        match Scope::parse(name) {
            Some(scope) if scopes.contains(&scope) => {
                return Err(format!("{name:?} stands there twice"));
            }
            Some(scope) => scopes.push(scope),
            None => return Err(format!("wanted some of {}, found {name:?}", known())),
        }
    }
    if scopes.is_empty() {
        Err(format!("wanted some of {}, found none", known()))
    } else {
        Ok(scopes)
    }
}

/// Reads a text that people write: UTF-8, at most a mebibyte. It is wiped when dropped.
///
/// # Errors
/// What the system said, or that the file is too long.
pub fn read_text(path: &Path) -> io::Result<Zeroizing<String>> {
    const MAX_BYTES: u64 = 1024 * 1024;
    let mut text = Zeroizing::new(String::new());
    fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        let problem = "is longer than 1 MiB, so it is not what was meant";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}

/// Reads a file that holds an API key. A newline at its end is what editors leave; any other white
/// space is a mistake worth naming.
fn read_api_key_hash(path: &Path) -> Result<KeyHash, String> {
    let failed = |error| format!("{}: {error}", path.display());
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(format!(
            "{0}: others may write to it, so the key may be anybody's; mend it: chmod go-w {0}",
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

/// Whether the host of a URL is this machine and no other.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
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
