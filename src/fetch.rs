//! Requests to other services: with a time limit, within bounds, and to nobody but who was named. Guarded
//! ones go to a target of the configuration; the others are those of commands, to directories of users, and
//! for public keys.

mod guard;

use std::io::{self, Read as _};
use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Proxy};

use crate::domain::target::{Reach, Target, is_loopback};

pub use guard::ForbiddenAddress;

use guard::Guard;

/// Longest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// So much of an answer that nobody looks at is taken, so that who sends it is not cut for nothing.
const MAX_DISCARDED_BYTES: u64 = 64 * 1024;

/// The system's certificates decide whom to trust; redirects are not followed, since a key must go
/// nowhere else. A proxy of the environment is for hosts that are not this machine. `timeout` is for one
/// whole exchange.
pub fn agent(url: &str, timeout: Duration) -> Agent {
    let uri: Option<Uri> = url.parse().ok();
    let is_here = uri.as_ref().and_then(Uri::host).is_some_and(is_loopback);
    let proxy = if is_here { None } else { Proxy::try_from_env() };
    unguarded(proxy, RootCerts::PlatformVerifier, timeout)
}

/// The same past every proxy, and where others may decide whom to trust.
pub fn direct_agent(roots: RootCerts, timeout: Duration) -> Agent {
    unguarded(None, roots, timeout)
}

fn unguarded(proxy: Option<Proxy>, roots: RootCerts, timeout: Duration) -> Agent {
    let tls = TlsConfig::builder().root_certs(roots).build();
    Agent::config_builder()
        .tls_config(tls)
        .proxy(proxy)
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .into()
}

/// Fetches a small public document.
///
/// # Errors
/// What stood in the way.
pub fn get(url: &str, timeout: Duration) -> Result<Vec<u8>, String> {
    let answer = agent(url, timeout).get(url).call();
    let mut answer = answer.map_err(|error| format!("cannot fetch {url}: {error}"))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{url} answered {}, wanted 200 OK", answer.status()));
    }
    let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
    body.map_err(|error| format!("the answer of {url} broke off or is too long: {error}"))
}

/// Sends requests to one target, and only to addresses that it may have.
#[derive(Clone, Debug)]
pub struct Guarded {
    target: Target,
    timeout: Duration,
    agent: Agent,
}

/// What is kept of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its `Retry-After`, as it was sent.
    pub retry_after: Option<String>,
}

/// Why there is no answer. None of these holds anything of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The host has an address that may not be dialled.
    #[error(transparent)]
    Forbidden(ForbiddenAddress),
    /// The host has no address, or nobody could be asked for it.
    #[error("no address is known of its host")]
    UnknownHost,
    /// The time for the whole exchange was over.
    #[error("there was no whole answer within {} seconds", .0.as_secs_f32())]
    TimedOut(Duration),
    /// Who answers is not who is meant, or speaks no TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The connection was not made, or broke off.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// What came back is no answer.
    #[error("the answer is none of HTTP: {0}")]
    NotHttp(String),
}

impl Guarded {
    /// Makes it ready; nothing is sent yet. `timeout` is for one whole exchange, from the look-up of the
    /// host to the end of the answer.
    pub fn new(target: Target, timeout: Duration) -> Self {
        let is_https_only = *target.reach() != Reach::Loopback;
        let agent = agent_with(Guard::new(target.reach().clone()), timeout, is_https_only);
        Self { target, timeout, agent }
    }

    /// Whom it sends to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends one body. A redirect is an answer like any other. What the answer holds is not kept.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, FetchError> {
        let mut request = self.agent.post(self.target.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = request.header(header::CONNECTION, "close").send(body);
        let answer = sent.map_err(|error| self.failure(error))?;
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(Into::into);
        let status = answer.status().as_u16();
        discard(answer);
        Ok(Reply { status, retry_after })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "ureq may add further ones at any time")]
    fn failure(&self, error: ureq::Error) -> FetchError {
        match error {
            ureq::Error::Other(error) => match error.downcast::<ForbiddenAddress>() {
                Ok(forbidden) => FetchError::Forbidden(*forbidden),
                Err(other) => FetchError::Connection(other.to_string()),
            },
            ureq::Error::HostNotFound => FetchError::UnknownHost,
            ureq::Error::Timeout(_) => FetchError::TimedOut(self.timeout),
            ureq::Error::Rustls(error) => FetchError::Tls(error.to_string()),
            ureq::Error::Tls(reason) => FetchError::Tls(reason.into()),
            ureq::Error::Io(error) => of_io(&error),
            ureq::Error::Protocol(error) => FetchError::NotHttp(error.to_string()),
            ureq::Error::LargeResponseHeader(..) => {
                FetchError::NotHttp("its head is too long".into())
            }
            // Others would be mistakes of ours, and some repeat the URL.
            _ => FetchError::Connection("the request cannot be sent".into()),
        }
    }
}

/// What rustls finds while bytes are read or written comes as an error of input and output.
fn of_io(error: &io::Error) -> FetchError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(tls) => FetchError::Tls(tls.to_string()),
        None => FetchError::Connection(error.to_string()),
    }
}

/// The status is known, so nothing that happens to the rest changes what became of the request.
fn discard(answer: Response<Body>) {
    let mut rest = answer.into_body().into_reader().take(MAX_DISCARDED_BYTES);
    let _ = io::copy(&mut rest, &mut io::sink());
}

/// Without a proxy, which would look up the host by itself; without connections that are kept, so that
/// each request goes to an address that was checked for it.
fn agent_with(guard: Guard, timeout: Duration, is_https_only: bool) -> Agent {
    let config = Agent::config_builder()
        .tls_config(system_tls())
        .proxy(None)
        .https_only(is_https_only)
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_idle_connections(0)
        .http_status_as_error(false)
        .build();
    Agent::with_parts(config, DefaultConnector::default(), guard)
}

fn system_tls() -> TlsConfig {
    TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build()
}
