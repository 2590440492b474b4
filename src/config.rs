//! Configuration in four layers: the compiled-in `config.toml`, the user's file, `RESETD_…`
//! variables, flags. [`Config`] is valid by construction; every refusal names the place.

mod bearers;
mod callers;
mod check;
mod dialects;
mod directory;
mod keys;
mod layers;
mod listen;
mod mail;
mod page;
mod raw;
mod tenants;
mod tls;
mod webhooks;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;
use zeroize::Zeroizing;

use crate::domain::caller::{Callers, Scope, without_api_keys};
use crate::domain::dialect::Dialects;
use crate::domain::policy::TenantName;
use crate::file_path::unreadable;

pub use bearers::{Bearer, BearerKeys};
pub use directory::Directory;
pub use keys::Keys;
pub use layers::{
    ENVIRONMENT_PREFIX, Layers, MAIL_PASSWORD_VARIABLE, Origin, PASSPHRASE_VARIABLE,
    RESERVED_VARIABLES, WEBHOOK_SECRETS_PREFIX,
};
pub use listen::Listen;
pub use mail::{Link, Mail, MailTransport, Smtp, TenantMail};
pub use page::Page;
pub use tenants::{Tenant, TenantKeys, TenantLimits};
pub use tls::Tls;

pub use crate::domain::webhook::Webhook;

use check::Check;
use tenants::{Common, find_tenant, issuer_below};

/// The documented defaults: `config.toml` of this repository.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// Everything the server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listener and its limits.
    pub server: Server,
    /// The certificate, if TLS is spoken on the addresses listened on.
    pub tls: Option<Tls>,
    /// How often something may be asked.
    pub limits: Limits,
    /// Logs.
    pub log: Log,
    /// Every tenant; the first is the default one.
    pub tenants: Vec<Tenant>,
    /// What holds for the keys of all tenants.
    pub keys: Keys,
    /// Marks of spent tokens.
    pub state: State,
    /// What is to be sent.
    pub outbox: Outbox,
    /// The audit trail.
    pub audit: Audit,
    /// How mail leaves.
    pub mail: Mail,
    /// Who may call.
    pub callers: Callers,
    /// Identity providers whose clients may call.
    pub bearers: Vec<Bearer>,
    /// Who is told of events.
    pub webhooks: Vec<Webhook>,
    /// The APIs of others that are spoken.
    pub dialects: Dialects,
}

/// The listener and its limits.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen.
    pub listen: Listen,
    /// Where key management and metrics are answered, if not there.
    pub admin_listen: Option<Listen>,
    /// Who may use Unix sockets, as permissions of a file.
    pub socket_mode: u32,
    /// Whether plain HTTP is spoken where others than this machine can reach it.
    pub allow_plain_http: bool,
    /// Connections at once.
    pub max_connections: usize,
    /// Those of one address.
    pub max_connections_per_address: usize,
    /// Time for a TLS handshake, time for all headers, and the longest idle time.
    pub header_timeout: Duration,
    /// Time for the whole body.
    pub body_timeout: Duration,
    /// Time in which a client must take something more of its answer.
    pub answer_timeout: Duration,
    /// Age at which a connection is asked to close.
    pub max_connection_age: Duration,
    /// Longest body in bytes.
    pub max_body_bytes: usize,
    /// Time for requests under way when the server stops.
    pub shutdown: Duration,
}

/// How often something may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests by one address, per minute, if they are counted.
    pub source_per_minute: Option<NonZeroU32>,
    /// Requests by one caller, per minute, if they are counted.
    pub caller_per_minute: Option<NonZeroU32>,
    /// Tokens issued for one user, per hour, if they are counted.
    pub user_tokens_per_hour: Option<NonZeroU32>,
    /// Revocations by one address that has a token and no key, per minute.
    pub holder_revocations_per_minute: NonZeroU32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
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

/// What is known of spent and revoked tokens after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// All of it: it is written to disk before it is answered.
    Journal,
    /// Nothing, so tokens issued before the start are refused.
    Guard,
}

/// Marks of spent tokens.
#[derive(Clone, Debug)]
pub struct State {
    /// Whether they survive a restart.
    pub durability: Durability,
    /// Whether the folder may be older than what was done last, because it was restored.
    pub after_restore: bool,
    /// Where state is kept.
    pub directory: PathBuf,
    /// Marks at which no more tokens are issued.
    pub capacity: u64,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// Orders that may wait at once.
    pub capacity: usize,
}

/// Where the lines of the audit trail go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To files.
    File,
}

/// The audit trail.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Where its lines go.
    pub sink: AuditSink,
    /// The folder of its files.
    pub directory: PathBuf,
    /// Bytes at which another file begins.
    pub rotate_bytes: u64,
    /// Files kept; 0 keeps all.
    pub keep_files: usize,
}

/// Why a configuration is refused. `Debug` is what is told: it leaves out API keys that stand in a wrong place.
#[derive(thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "--config or RESETD_CONFIG: {}",
        unreadable(path, error, "a file of settings in TOML, as resetd init makes one")
    )]
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

impl fmt::Debug for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ConfigError({self})")
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

impl Config {
    /// Puts the layers together and checks the whole.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let raw = layers.read()?;
        let check = Check { layers };
        let (server, limits, log) = (check.server(&raw)?, check.limits(&raw)?, check.log(&raw)?);
        let (tls, keys) = (check.tls(&raw, &server)?, check.keys(&raw)?);
        // The issuer where none is configured: the loopback address listened on.
        let url = server.listen.url(tls.is_some());
        let common = Common { keys: &keys, limits: &limits };
        let tenants = check.tenants(&raw, &server.listen, &url, common)?;
        check.people_reach_pages(tls.as_ref(), &tenants)?;
        let (state, outbox) = (check.state(&raw)?, check.outbox(&raw)?);
        let (audit, mail) = (check.audit(&raw)?, check.mail(&raw)?);
        let callers = check.callers(&raw, &tenants)?;
        let bearers = check.bearers(&raw, &tenants)?;
        let webhooks = check.webhooks(&raw, &tenants)?;
        let dialects = check.dialects(&raw, &tenants, &callers)?;
        Ok(Self {
            server,
            tls,
            limits,
            log,
            tenants,
            keys,
            state,
            outbox,
            audit,
            mail,
            callers,
            bearers,
            webhooks,
            dialects,
        })
    }

    /// The tenant that `[token]`, `[keys]`, `[link]` and `[mail]` describe.
    pub fn default_tenant(&self) -> &Tenant {
        &self.tenants[0]
    }

    /// The tenant of this name.
    ///
    /// # Errors
    /// Which tenants there are.
    pub fn tenant(&self, name: &str) -> Result<&Tenant, String> {
        find_tenant(&self.tenants, name)
    }

    /// An issuer that two tenants have. None has, but where the port is taken from what is free an issuer
    /// that is derived is known only later. Tenants with one issuer and one set of keys would take each
    /// other's tokens.
    pub fn doubled_issuer(&self) -> Option<&str> {
        let mut known = BTreeSet::new();
        let mut issuers = self.tenants.iter().map(|tenant| tenant.policy.issuer.as_str());
        issuers.find(|issuer| !known.insert(*issuer))
    }

    /// The longest time in seconds for which a token can be accepted that was signed with the keys of a
    /// tenant, by whichever of those who sign with them.
    pub fn longest_acceptance(&self, owner: &TenantName) -> u64 {
        let sharers = self.tenants.iter().filter(|tenant| tenant.keys.owner == *owner);
        sharers.map(|tenant| tenant.policy.longest_acceptance()).max().unwrap_or_default()
    }

    /// The same with the address really listened on, which port 0 leaves open. An issuer that
    /// follows from it is only known then.
    #[must_use]
    pub fn listening_on(mut self, listen: &Listen) -> Self {
        if self.default_tenant().issuer_is_derived {
            let base = listen.url(self.tls.is_some());
            for tenant in self.tenants.iter_mut().filter(|tenant| tenant.issuer_is_derived) {
                tenant.policy.issuer = issuer_below(&base, &tenant.policy.tenant);
            }
        }
        self
    }
}

/// What a caller's name must be.
pub const CALLER_NAME_WANTED: &str = "wanted a name of 1 to 64 characters A-Z a-z 0-9 . _ -";

/// Whether a text can name a caller in logs and files.
pub fn is_caller_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// Reads a list of scopes of a caller of this tenant.
///
/// # Errors
/// What was wanted and what was found.
pub fn parse_scopes<'s>(
    tenant: &TenantName,
    names: impl Iterator<Item = &'s str>,
) -> Result<Vec<Scope>, String> {
    let known = || Scope::ALL.map(Scope::name).join(", ");
    let mut scopes = Vec::new();
    for name in names {
        match Scope::parse(name) {
            Some(scope) if scopes.contains(&scope) => {
                return Err(format!("{name:?} stands there twice"));
            }
            Some(scope) if scope.is_of_service() && !tenant.is_default() => {
                return Err(format!(
                    "{name:?} is about the whole service, so callers of the default tenant alone may have it; this one is of {:?}; take it out",
                    tenant.as_str()
                ));
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
    read_text_of(fs::File::open(path)?)
}

/// The same of a file that only its owner may use, for what is described by `what`. What is looked at
/// is what is read, even if somebody swaps the file in between.
///
/// # Errors
/// What the system said, or who else may use the file.
pub fn read_private_text(path: &Path, what: &str) -> Result<Zeroizing<String>, String> {
    let failed = |error| unreadable(path, &error, &format!("a file with {what}"));
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    let readers = if is_credential(path) { 0o040 } else { 0 };
    if mode & 0o077 & !readers != 0 {
        return Err(format!(
            "{0}: has mode {mode:04o}, wanted 0600 or 0400: only its owner may use {what}; mend it: chmod 600 {0}",
            path.display()
        ));
    }
    read_text_of(file).map_err(failed)
}

/// Whether it is a copy that systemd made for this service alone (`LoadCredential=`). Where it gives the
/// service leave by an access list, the mask of that list stands in the place of the group's bits.
fn is_credential(path: &Path) -> bool {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    folder.is_some_and(|folder| folder.is_absolute() && path.parent() == Some(&folder))
}

fn read_text_of(file: fs::File) -> io::Result<Zeroizing<String>> {
    const MAX_BYTES: u64 = 1024 * 1024;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        let problem = "is longer than 1 MiB, so it is not what was meant";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}
