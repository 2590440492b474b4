//! Where to listen: an address of the network or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a Unix socket is written with.
const SOCKET_PREFIX: &str = "unix:";

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On an address and a port.
    Address(SocketAddr),
    /// On a Unix socket at this path.
    Socket(PathBuf),
}

impl Listen {
    /// Reads an address and a port, or `unix:` and a path.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(SOCKET_PREFIX) {
            Some("") => None,
            Some(path) => Some(Self::Socket(path.into())),
            None => text.parse().ok().map(Self::Address),
        }
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Socket(_) => None,
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        self.address().is_none_or(|address| address.ip().is_loopback())
    }

    /// Where clients find it. A Unix socket has no URL, and TLS is not spoken on it.
    pub fn url(&self, has_tls: bool) -> String {
        match self {
            Self::Address(address) if has_tls => format!("https://{address}"),
            Self::Address(address) => format!("http://{address}"),
            Self::Socket(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Socket(path) => write!(formatter, "{SOCKET_PREFIX}{}", path.display()),
        }
    }
}
