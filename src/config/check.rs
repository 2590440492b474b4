//! Turns the settings as written into a [`Config`](super::Config): bounds and contradictions. Every
//! refusal says what was wanted and what was found. Here are the listener, the log, the state and the
//! audit trail; tenants, keys and callers have files of their own.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::raw::RawConfig;
use super::{
    Audit, AuditSink, ConfigError, Durability, Layers, Limits, Listen, Log, LogFormat, Outbox,
    Server, State,
};

/// The highest rate that is counted.
const MAX_RATE: u64 = 1_000_000;
/// The largest size or number of anything.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// Turns raw values into valid ones, and knows where each came from.
pub(super) struct Check<'l> {
    pub(super) layers: &'l Layers,
}

impl Check<'_> {
    pub(super) fn refuse<T>(
        &self,
        key: &str,
        problem: impl Into<String>,
    ) -> Result<T, ConfigError> {
        let origin = self.layers.origin(key).clone();
        Err(ConfigError::Invalid { origin, key: key.into(), problem: problem.into() })
    }

    /// A number within bounds.
    pub(super) fn within(
        &self,
        key: &str,
        value: u64,
        bounds: RangeInclusive<u64>,
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
        let value = self.within(key, value, 1..=MAX_SIZE)?;
        usize::try_from(value).or_else(|_| self.refuse(key, "is too large for this machine"))
    }

    pub(super) fn directory(&self, key: &str, value: &str) -> Result<PathBuf, ConfigError> {
        if value.is_empty() {
            return self.refuse(key, "wanted a folder, found nothing");
        }
        Ok(PathBuf::from(value))
    }

    pub(super) fn server(&self, raw: &RawConfig) -> Result<Server, ConfigError> {
        let server = &raw.server;
        let max_connections = self.size("server.max_connections", server.max_connections)?;
        Ok(Server {
            listen: self.listen("server.listen", &server.listen)?,
            admin_listen: self.admin_listen(raw)?,
            socket_mode: self.socket_mode(&server.socket_mode)?,
            allow_plain_http: server.allow_plain_http,
            max_connections,
            max_connections_per_address: self
                .share(server.max_connections_per_address, max_connections)?,
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

    /// Of all connections, so many for one address.
    fn share(&self, value: u64, all: usize) -> Result<usize, ConfigError> {
        let key = "server.max_connections_per_address";
        match self.within(key, value, 0..=MAX_SIZE)? {
            0 => Ok((all / 4).max(1)),
            value => self.size(key, value),
        }
    }

    fn listen(&self, key: &str, text: &str) -> Result<Listen, ConfigError> {
        let refuse = || {
            let problem = format!(
                "wanted an address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a Unix socket such as \"unix:/run/resetd/resetd.sock\", found {text:?}"
            );
            self.refuse(key, problem)
        };
        Listen::parse(text).map_or_else(refuse, Ok)
    }

    /// In octal, as `chmod` takes it. Bits beyond read and write mean nothing on a socket.
    fn socket_mode(&self, text: &str) -> Result<u32, ConfigError> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(mode),
            _ => {
                let problem = format!("wanted \"0600\" to \"0777\", found {text:?}");
                self.refuse("server.socket_mode", problem)
            }
        }
    }

    /// Port 0 is another port each time, so only a named one can be taken twice.
    fn admin_listen(&self, raw: &RawConfig) -> Result<Option<Listen>, ConfigError> {
        let text = &raw.server.admin_listen;
        if text.is_empty() {
            return Ok(None);
        }
        let listen = self.listen("server.admin_listen", text)?;
        let is_any_port = listen.address().is_some_and(|address| address.port() == 0);
        if !is_any_port && Listen::parse(&raw.server.listen).as_ref() == Some(&listen) {
            let problem = format!(
                "wanted another address or port than server.listen, found {text:?} in both; leave it empty to have one listener for everything"
            );
            return self.refuse("server.admin_listen", problem);
        }
        Ok(Some(listen))
    }

    /// How often something may be asked; 0 means that it is not counted.
    pub(super) fn rate(&self, key: &str, value: u64) -> Result<Option<NonZeroU32>, ConfigError> {
        let value = self.within(key, value, 0..=MAX_RATE)?;
        Ok(u32::try_from(value).ok().and_then(NonZeroU32::new))
    }

    pub(super) fn limits(&self, raw: &RawConfig) -> Result<Limits, ConfigError> {
        let limits = &raw.limits;
        let rate = |name: &str, value: u64| self.rate(&format!("limits.{name}"), value);
        let key = "limits.holder_revocations_per_minute";
        let holder = self.within(key, limits.holder_revocations_per_minute, 1..=MAX_RATE)?;
        let holder = u32::try_from(holder).ok().and_then(NonZeroU32::new);
        Ok(Limits {
            source_per_minute: rate("source_per_minute", limits.source_per_minute)?,
            caller_per_minute: rate("caller_per_minute", limits.caller_per_minute)?,
            user_tokens_per_hour: rate("user_tokens_per_hour", limits.user_tokens_per_hour)?,
            holder_revocations_per_minute: holder.unwrap_or(NonZeroU32::MIN),
            trusted_proxies: self.networks("limits.trusted_proxies", &limits.trusted_proxies)?,
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

    pub(super) fn state(&self, raw: &RawConfig) -> Result<State, ConfigError> {
        let durability = match raw.state.durability.as_str() {
            "journal" => Durability::Journal,
            "guard" => Durability::Guard,
            other => {
                let problem = format!("wanted \"journal\" or \"guard\", found {other:?}");
                return self.refuse("state.durability", problem);
            }
        };
        Ok(State {
            durability,
            after_restore: false,
            directory: self.directory("state.directory", &raw.state.directory)?,
            capacity: self.within("state.capacity", raw.state.capacity, 1..=1_000_000_000)?,
        })
    }

    pub(super) fn outbox(&self, raw: &RawConfig) -> Result<Outbox, ConfigError> {
        let capacity = self.within("outbox.capacity", raw.outbox.capacity, 1..=1_000_000)?;
        Ok(Outbox { capacity: usize::try_from(capacity).unwrap_or(usize::MAX) })
    }

    pub(super) fn audit(&self, raw: &RawConfig) -> Result<Audit, ConfigError> {
        let audit = &raw.audit;
        let sink = match audit.sink.as_str() {
            "off" => AuditSink::Off,
            "stdout" => AuditSink::Stdout,
            "file" => AuditSink::File,
            other => {
                let problem = format!("wanted \"file\", \"stdout\" or \"off\", found {other:?}");
                return self.refuse("audit.sink", problem);
            }
        };
        let (rotates, keeps) = (65_536..=1 << 40, 0..=1_000_000);
        let keep_files = self.within("audit.keep_files", audit.keep_files, keeps)?;
        Ok(Audit {
            sink,
            directory: self.directory("audit.directory", &audit.directory)?,
            rotate_bytes: self.within("audit.rotate_bytes", audit.rotate_bytes, rotates)?,
            keep_files: usize::try_from(keep_files).unwrap_or(usize::MAX),
        })
    }
}
