//! Which addresses a guarded request may go to. The host is looked up once for each connection, every
//! address found is checked, and the checked ones are what is dialled: a name that leads elsewhere a
//! moment later leads nobody there.

mod special;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

use ipnet::IpNet;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::domain::target::Reach;

use special::{Special, special};

/// The most addresses of one host that are tried; all of them are checked.
const MOST_ADDRESSES: usize = 16;

/// Looks up the addresses of a host.
type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Looks up hosts for `ureq`, and gives it addresses that may be dialled and no others.
pub(super) struct Guard {
    reach: Reach,
    lookup: Lookup,
}

/// A host has an address that may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} leads to {address}, which is {what}; {mend}")]
pub struct ForbiddenAddress {
    /// The host.
    pub host: String,
    /// The address.
    pub address: IpAddr,
    /// What kind of address it is.
    pub what: &'static str,
    mend: &'static str,
}

impl Guard {
    /// With the look-up of the system.
    pub(super) fn new(reach: Reach) -> Self {
        let lookup = |host: &str, port: u16| Ok((host, port).to_socket_addrs()?.collect());
        Self { reach, lookup: Arc::new(lookup) }
    }

    /// All addresses of the host, if every one of them may be dialled. One that may not is refused
    /// with the others: which one is dialled would be luck.
    fn checked(&self, host: &str, found: Vec<SocketAddr>) -> Result<ResolvedSocketAddrs, Error> {
        for address in found.iter().map(SocketAddr::ip) {
            if let Err((what, mend)) = may_be_dialled(&self.reach, address) {
                let host = host.to_owned();
                let forbidden = ForbiddenAddress { host, address, what, mend };
                return Err(Error::Other(Box::new(forbidden)));
            }
        }
        let mut addresses = self.empty();
        found.into_iter().take(MOST_ADDRESSES).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }

    /// The system's look-up knows no time limit, so it has a thread of its own, which ends when it does.
    fn look_up(
        &self,
        host: &str,
        port: u16,
        timeout: NextTimeout,
    ) -> Result<Vec<SocketAddr>, Error> {
        let (lookup, name) = (Arc::clone(&self.lookup), host.to_owned());
        let (found, waiting) = sync_channel(1);
        thread::Builder::new().name("look-up".into()).spawn(move || {
            let _ = found.send(lookup(&name, port));
        })?;
        match waiting.recv_timeout(*timeout.after) {
            Ok(found) => found.map_err(|_| Error::HostNotFound),
            Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(timeout.reason)),
            Err(RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
        }
    }
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("http") => 80,
            _ => 443,
        });
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.look_up(host, port, timeout)?,
        };
        self.checked(host, found)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Guard({:?})", self.reach)
    }
}

/// Whether an address may be dialled; if not, what it is, and what could be done about it.
fn may_be_dialled(reach: &Reach, address: IpAddr) -> Result<(), (&'static str, &'static str)> {
    const LIST: &str = "list its network with the target if that is meant";
    const LIST_IT: &str = "list this one address with the target if that is meant";
    const NEVER: &str = "no target can be there";
    let special = special(address);
    match reach {
        Reach::Loopback if address.is_loopback() => Ok(()),
        Reach::Loopback => {
            let what = special.map_or("a public address", Special::what);
            Err((what, "its URL says that it is on this machine"))
        }
        Reach::Public | Reach::AllowedNetworks(_) => match special {
            None => Ok(()),
            Some(Special::Never(what)) => Err((what, NEVER)),
            Some(Special::Listed(_)) if is_listed(reach, address, |_| true) => Ok(()),
            Some(Special::Listed(what)) => Err((what, LIST)),
            Some(Special::Alone(_)) if is_listed(reach, address, is_one_address) => Ok(()),
            Some(Special::Alone(what)) => Err((what, LIST_IT)),
        },
    }
}

fn is_listed(reach: &Reach, address: IpAddr, counts: impl Fn(&IpNet) -> bool) -> bool {
    match reach {
        Reach::AllowedNetworks(networks) => {
            networks.iter().any(|network| network.contains(&address) && counts(network))
        }
        Reach::Public | Reach::Loopback => false,
    }
}

fn is_one_address(network: &IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}
