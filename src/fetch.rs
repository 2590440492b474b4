//! Requests to other services: with a time limit, within bounds, and to nobody but who was named.

use std::time::Duration;

use ureq::http::{StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use crate::config::is_loopback;

/// Longest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// The system's certificates decide whom to trust; redirects are not followed, since a key must go
/// nowhere else. A proxy of the environment is for hosts that are not this machine. `timeout` is for one
/// whole exchange.
pub fn agent(url: &str, timeout: Duration) -> Agent {
    let uri: Option<Uri> = url.parse().ok();
    let is_here = uri.as_ref().and_then(Uri::host).is_some_and(is_loopback);
    let proxy = if is_here { None } else { Proxy::try_from_env() };
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
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
