//! Where a request came from. What a client says of itself counts only if a proxy that is trusted
//! passed it on.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use super::limit::Gate;

/// The address that a request came from; travels in its extensions. The listener puts in that of the
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(pub IpAddr);

impl Source {
    /// Where there are no addresses, as on a Unix socket; all are one then.
    pub const UNKNOWN: Self = Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED));

    /// What is counted as one: whoever has one address of an IPv6 network has 2^64 of them.
    pub fn household(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// Replaces the address of a trusted proxy by the one that it speaks for.
pub(super) async fn resolve(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(Source(peer)) = request.extensions().get().copied() {
        match client_of(peer, request.headers(), &gate.rules().trusted_proxies) {
            Some(client) => request.extensions_mut().insert(Source(client)),
            None => request.extensions_mut().remove::<Source>(),
        };
    }
    next.run(request).await
}

/// Each proxy adds the address that it was asked by to the end of `X-Forwarded-For`. So the list is
/// read from its end, as long as trusted proxies wrote it: the first address that is none of theirs is
/// the client. Whatever stands before it may be made up. Where a trusted proxy wrote something that is no
/// address, the client is nobody, and never the proxy.
fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    // By bytes: one that is no text must not hide what a proxy wrote behind it.
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        client = address_of(hop)?.to_canonical();
    }
    Some(client)
}

/// An address, as some proxies write it with its port.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    text.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append("x-forwarded-for", line);
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let client = client_of(peer.parse().unwrap(), &headers, &trusted);
        client.map_or_else(|| "nobody".into(), |client| client.to_string())
    }

    #[test]
    fn nobody_is_believed_but_a_trusted_proxy() {
        for (peer, lines, trusted, wanted) in [
            ("192.0.2.1", &["198.51.100.1"][..], &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.1"], &["10.0.0.0/8"], "192.0.2.1"),
            ("10.0.0.1", &[], &["10.0.0.0/8"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1"),
            // What the client sent itself stands before what the proxy added.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2,10.0.0.3"], &["10.0.0.0/8"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.2"], &["10.0.0.0/8"], "10.0.0.2"),
            ("10.0.0.1", &["198.51.100.1, junk"], &["10.0.0.0/8"], "nobody"),
            ("10.0.0.1", &["\u{ff}, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1"),
            ("10.0.0.1", &["\u{ff}"], &["10.0.0.0/8"], "nobody"),
            ("10.0.0.1", &["198.51.100.1:4711"], &["10.0.0.0/8"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], &["10.0.0.0/8"], "2001:db8::7"),
            ("10.0.0.1", &["junk, 198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1"),
            ("10.0.0.1", &[""], &["10.0.0.0/8"], "nobody"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], &["10.0.0.0/8"], "198.51.100.1"),
            ("2001:db8::1", &["2001:db8:1::7"], &["2001:db8::/64"], "2001:db8:1::7"),
        ] {
            assert_eq!(client(peer, lines, trusted), wanted, "{peer} {lines:?} {trusted:?}");
        }
    }
}
