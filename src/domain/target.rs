//! Whom this service calls by itself: an address from the configuration, and where its host may lie.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use ureq::http::Uri;
use url::Url;

use super::link::link_target;

/// The longest address in bytes.
const MAX_BYTES: usize = 1024;

/// A URL that is called, and which addresses its host may have. `Debug` and [`Target::origin`] leave out
/// path and query, since some services put a secret there.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    reach: Reach,
}

/// Which addresses the host of a target may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public ones.
    Public,
    /// Those of this machine, since the URL itself says so.
    Loopback,
    /// Public ones and those in these networks.
    AllowedNetworks(Vec<IpNet>),
}

impl Target {
    /// What a text must be to be one.
    pub const WANTED: &str = "an https URL (http only on localhost, 127.0.0.1 or [::1]) without user name, password or fragment, of at most 1024 bytes";
    /// What the networks must be. A wider one would be half of the internet, and a mistake.
    pub const NETWORKS_WANTED: &str = "networks of at least 8 bits (IPv4) or 7 bits (IPv6)";

    /// Reads the URL of a target that may also be in these networks.
    pub fn parse(text: &str, networks: &[IpNet]) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let url = link_target(text)?;
        let reach = match networks {
            _ if is_loopback_as_written(text) => Reach::Loopback,
            [] => Reach::Public,
            networks => Reach::AllowedNetworks(networks.to_vec()),
        };
        let is_private = url.scheme() == "https" || reach == Reach::Loopback;
        // The client of HTTP reads it again, and takes fewer characters in a host.
        let can_be_called = url.as_str().parse::<Uri>().is_ok();
        (is_private && can_be_called).then_some(Self { url, reach })
    }

    /// Whether a network is narrow enough to be meant.
    pub fn is_narrow(network: &IpNet) -> bool {
        match network {
            IpNet::V4(network) => network.prefix_len() >= 8,
            IpNet::V6(network) => network.prefix_len() >= 7,
        }
    }

    /// The whole URL, for the one who calls it.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Scheme, host and port: what may be shown.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Which addresses its host may have.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Target({}, {:?})", self.origin(), self.reach)
    }
}

/// Whether the host is this machine for everybody who reads the URL. The parser reads `0x7f.1` as
/// `127.0.0.1`, and people do not; a name that only leads here is no statement either.
fn is_loopback_as_written(text: &str) -> bool {
    let after_scheme = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    is_loopback(host)
}

/// Whether the host of a URL is this machine and no other.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Option<Reach> {
        Target::parse(text, &[]).map(|target| target.reach().clone())
    }

    #[test]
    fn a_target_is_on_this_machine_only_where_its_url_says_so() {
        for text in [
            "http://localhost/hook",
            "http://LOCALHOST:8080/hook",
            "https://127.0.0.1/hook",
            "http://127.1.2.3:1/hook?x=1",
            "http://[::1]:8080/hook",
            "http://[0:0:0:0:0:0:0:1]/",
        ] {
            assert_eq!(reach(text), Some(Reach::Loopback), "{text}");
        }
        for text in [
            "https://app.example.com/hook",
            "https://localhost./hook",
            "https://localhost.example.com/hook",
            "https://0x7f.1/hook",
            "https://2130706433/hook",
            "https://0177.0.0.1/hook",
            "https://127.1/hook",
            "https://[::ffff:127.0.0.1]/hook",
            "https://app.example.com/?x=://localhost/",
        ] {
            assert_eq!(reach(text), Some(Reach::Public), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_on_its_way_or_by_two_readers_in_two_ways_is_no_target() {
        for text in [
            "",
            "app.example.com",
            "http://app.example.com/hook",
            "http://0x7f.1/hook",
            "http://2130706433/hook",
            "http://127.1/hook",
            "http://localhost./hook",
            "http://[::ffff:127.0.0.1]/hook",
            "https://user@app.example.com/hook",
            "https://localhost@app.example.com/hook",
            "https://app.example.com/hook#x",
            "https:app.example.com/hook",
            "https://localhost\\@app.example.com/",
            "https://app.example.com/ho\nok",
            "ftp://app.example.com/hook",
            "https://app\".example.com/hook",
            "https://app{}.example.com/hook",
            &format!("https://app.example.com/{}", "a".repeat(1024)),
        ] {
            assert!(reach(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn networks_are_for_targets_that_do_not_say_they_are_here() {
        let networks = ["10.0.0.0/8".parse().unwrap()];
        let of = |text| Target::parse(text, &networks).unwrap().reach().clone();
        assert_eq!(of("https://hooks.internal/"), Reach::AllowedNetworks(networks.to_vec()));
        assert_eq!(of("http://localhost/"), Reach::Loopback);
        for (network, is_narrow) in
            [("10.0.0.0/8", true), ("0.0.0.0/0", false), ("fc00::/7", true), ("::/0", false)]
        {
            assert_eq!(Target::is_narrow(&network.parse().unwrap()), is_narrow, "{network}");
        }
    }

    #[test]
    fn what_is_shown_has_no_path_and_no_query() {
        let target = Target::parse("https://a.example:8443/T0/s3cret?key=s3cret", &[]).unwrap();
        assert_eq!(target.origin(), "https://a.example:8443");
        assert_eq!(format!("{target:?}"), "Target(https://a.example:8443, Public)");
        assert!(target.as_str().ends_with("/T0/s3cret?key=s3cret"));
    }
}
