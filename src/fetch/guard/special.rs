//! The addresses that are not public: the special-purpose registries of IANA (RFC 6890), and what else
//! leads to a machine of one's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use Special::{Alone, Listed, Never};

/// Why an address is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// Nothing that could be called is there, whatever a network says.
    Never(&'static str),
    /// It may be called where its network is listed.
    Listed(&'static str),
    /// It may be called where it is listed itself: whoever lists a network around it does not mean it.
    Alone(&'static str),
}

impl Special {
    /// What kind of address it is, with its article.
    pub(super) fn what(self) -> &'static str {
        match self {
            Never(what) | Listed(what) | Alone(what) => what,
        }
    }
}

/// What tells every process of a machine in a cloud who it is, with credentials, or serves it otherwise.
const CLOUD: Special = Alone("an address of a cloud's own services");

/// The first that fits counts.
const V4: [(Ipv4Addr, u32, Special); 22] = [
    (Ipv4Addr::new(169, 254, 169, 254), 32, CLOUD),
    (Ipv4Addr::new(169, 254, 170, 2), 32, CLOUD),
    (Ipv4Addr::new(169, 254, 170, 23), 32, CLOUD),
    (Ipv4Addr::new(100, 100, 100, 200), 32, CLOUD),
    (Ipv4Addr::new(168, 63, 129, 16), 32, CLOUD),
    (Ipv4Addr::new(192, 0, 0, 192), 32, CLOUD),
    (Ipv4Addr::UNSPECIFIED, 8, Never("an unspecified address")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Listed("a private address")),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Listed("a shared address of a provider's network")),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Listed("a loopback address")),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Listed("a link-local address")),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Listed("a private address")),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Listed("an address for protocols")),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Listed("an address for documentation")),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Listed("an address of a 6to4 relay")),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Listed("a private address")),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Listed("an address for benchmarks")),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Listed("an address for documentation")),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Listed("an address for documentation")),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Never("a multicast address")),
    (Ipv4Addr::BROADCAST, 32, Never("the broadcast address")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Never("a reserved address")),
];

/// Within `2000::/3`, which is all that is handed out for public use. Addresses of tunnels hold another
/// address, which is the one that is reached; nobody offers a service there, so none is taken apart.
const V6_WITHIN_GLOBAL: [(Ipv6Addr, u32, Special); 4] = [
    // Teredo (2001::/32), benchmarks (2001:2::/48), ORCHID (2001:10::/28, 2001:20::/28) and the like.
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        Listed("an address for protocols, such as Teredo"),
    ),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Listed("an address for documentation")),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Listed("a 6to4 address")),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Listed("an address for documentation")),
];

/// Outside of it nothing is public, whether it stands here or not; here it has its name.
const V6_ELSEWHERE: [(Ipv6Addr, u32, Special); 12] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, CLOUD),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23), 128, CLOUD),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, CLOUD),
    (Ipv6Addr::UNSPECIFIED, 128, Never("an unspecified address")),
    (Ipv6Addr::LOCALHOST, 128, Listed("a loopback address")),
    (
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),
        96,
        Never("an IPv4 address in the form of an IPv6 address"),
    ),
    (Ipv6Addr::UNSPECIFIED, 96, Never("an IPv4 address in the form of an IPv6 address")),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Listed("a private address")),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Listed("a link-local address")),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Listed("a site-local address")),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Never("a multicast address")),
    (Ipv6Addr::UNSPECIFIED, 0, Listed("an address that is not for public use")),
];

/// Where a network with IPv6 alone reaches IPv4 (RFC 6052). Each IPv4 address has one there, so it is
/// as public as that one.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// Why this address is not public, unless it is.
pub(super) fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) if is_within_v6(address, NAT64, 96) => {
            let [.., a, b, c, d] = address.octets();
            special_v4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V6(address) => {
            let is_global = is_within_v6(address, Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
            let table = if is_global { &V6_WITHIN_GLOBAL[..] } else { &V6_ELSEWHERE[..] };
            let found =
                table.iter().find(|(network, bits, _)| is_within_v6(address, *network, *bits));
            found.map(|(_, _, special)| *special)
        }
    }
}

fn special_v4(address: Ipv4Addr) -> Option<Special> {
    let is_within = |network: Ipv4Addr, bits: u32| {
        let mask = u32::MAX << (32 - bits);
        address.to_bits() & mask == network.to_bits()
    };
    let found = V4.iter().find(|(network, bits, _)| is_within(*network, *bits));
    found.map(|(_, _, special)| *special)
}

fn is_within_v6(address: Ipv6Addr, network: Ipv6Addr, bits: u32) -> bool {
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    address.to_bits() & mask == network.to_bits()
}
