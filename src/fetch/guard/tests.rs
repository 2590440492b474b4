use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

/// Each with what it is, and whether listing its network lets it be dialled.
const NOT_PUBLIC: [(&str, &str, bool); 59] = [
    ("0.0.0.0", "an unspecified address", false),
    ("0.1.2.3", "an unspecified address", false),
    ("10.0.0.0", "a private address", true),
    ("10.255.255.255", "a private address", true),
    ("100.64.0.0", "a shared address of a provider's network", true),
    ("100.100.100.200", CLOUD, true),
    ("100.127.255.255", "a shared address of a provider's network", true),
    ("127.0.0.1", "a loopback address", true),
    ("127.255.255.255", "a loopback address", true),
    ("168.63.129.16", CLOUD, true),
    ("169.254.0.1", "a link-local address", true),
    ("169.254.169.254", CLOUD, true),
    ("169.254.170.2", CLOUD, true),
    ("169.254.170.23", CLOUD, true),
    ("172.16.0.0", "a private address", true),
    ("172.31.255.255", "a private address", true),
    ("192.0.0.1", "an address for protocols", true),
    ("192.0.0.192", CLOUD, true),
    ("192.0.2.1", "an address for documentation", true),
    ("192.88.99.1", "an address of a 6to4 relay", true),
    ("192.168.0.1", "a private address", true),
    ("198.18.0.1", "an address for benchmarks", true),
    ("198.19.255.255", "an address for benchmarks", true),
    ("198.51.100.1", "an address for documentation", true),
    ("203.0.113.1", "an address for documentation", true),
    ("224.0.0.1", "a multicast address", false),
    ("239.255.255.255", "a multicast address", false),
    ("240.0.0.1", "a reserved address", false),
    ("255.255.255.254", "a reserved address", false),
    ("255.255.255.255", "the broadcast address", false),
    ("::", "an unspecified address", false),
    ("::1", "a loopback address", true),
    ("::2", "an IPv4 address in the form of an IPv6 address", false),
    ("::127.0.0.1", "an IPv4 address in the form of an IPv6 address", false),
    ("::ffff:127.0.0.1", "an IPv4 address in the form of an IPv6 address", false),
    ("::ffff:8.8.8.8", "an IPv4 address in the form of an IPv6 address", false),
    ("::ffff:0:10.0.0.1", "an address that is not for public use", true),
    ("64:ff9b::127.0.0.1", "a loopback address", true),
    ("64:ff9b::10.0.0.1", "a private address", true),
    ("64:ff9b::169.254.169.254", CLOUD, true),
    ("64:ff9b:1::8.8.8.8", "an address that is not for public use", true),
    ("100::1", "an address that is not for public use", true),
    ("2001::1", "an address for protocols, such as Teredo", true),
    ("2001:0:7f00:1::", "an address for protocols, such as Teredo", true),
    ("2001:2::1", "an address for protocols, such as Teredo", true),
    ("2001:20::1", "an address for protocols, such as Teredo", true),
    ("2001:db8::1", "an address for documentation", true),
    ("2002:7f00:1::1", "a 6to4 address", true),
    ("2002:808:808::1", "a 6to4 address", true),
    ("3fff::1", "an address for documentation", true),
    ("5f00::1", "an address that is not for public use", true),
    ("fc00::1", "a private address", true),
    ("fd00:ec2::23", CLOUD, true),
    ("fd00:ec2::254", CLOUD, true),
    ("fd20:ce::254", CLOUD, true),
    ("fe80::1", "a link-local address", true),
    ("febf::1", "a link-local address", true),
    ("fec0::1", "a site-local address", true),
    ("ff02::1", "a multicast address", false),
];

const CLOUD: &str = "an address of a cloud's own services";

/// Also those next to what is not public.
const PUBLIC: [&str; 24] = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2606:4700::1111",
    "2a00:1450::1",
    "3ffe::1",
    "64:ff9b::8.8.8.8",
];

fn guard(reach: Reach, found: &'static [&'static str]) -> Guard {
    let lookup = |_: &str, port| {
        Ok(found.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect())
    };
    Guard { reach, lookup: Arc::new(lookup) }
}

fn resolve(guard: &Guard, url: &str) -> Result<Vec<String>, String> {
    let uri = url.parse().unwrap();
    let found = guard.resolve(&uri, &Config::default(), within(60));
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.iter().map(ToString::to_string).collect())
}

fn within(seconds: u64) -> NextTimeout {
    let after = Duration::from_secs(seconds).into();
    NextTimeout { after, ..NextTimeout::default() }
}

fn networks(texts: &[&str]) -> Reach {
    Reach::AllowedNetworks(texts.iter().map(|text| text.parse().unwrap()).collect())
}

#[test]
fn only_public_addresses_are_dialled_unless_a_network_is_listed() {
    for (text, what, can_be_listed) in NOT_PUBLIC {
        let address: IpAddr = text.parse().unwrap();
        let told = may_be_dialled(&Reach::Public, address).unwrap_err();
        assert_eq!(told.0, what, "{text}");
        let listed = Reach::AllowedNetworks(vec![address.into()]);
        assert_eq!(may_be_dialled(&listed, address).is_ok(), can_be_listed, "{text}");
        let other = networks(&["10.1.2.0/24", "fd00:1::/32"]);
        assert_eq!(may_be_dialled(&other, address), Err(told), "{text}");
    }
    for text in PUBLIC {
        let address = text.parse().unwrap();
        assert_eq!(may_be_dialled(&Reach::Public, address), Ok(()), "{text}");
        assert_eq!(may_be_dialled(&networks(&["10.0.0.0/8"]), address), Ok(()), "{text}");
        assert!(may_be_dialled(&Reach::Loopback, address).is_err(), "{text}");
    }
}

#[test]
fn a_network_that_is_listed_lets_nobody_reach_what_a_cloud_tells_its_machines() {
    let wide = networks(&[
        "100.64.0.0/10",
        "168.0.0.0/8",
        "169.254.169.254/31",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "64:ff9b::/96",
        "fc00::/7",
        "fd00:ec2::254/127",
    ]);
    for (text, what, _) in NOT_PUBLIC.iter().filter(|(_, what, _)| *what == CLOUD) {
        let told = may_be_dialled(&wide, text.parse().unwrap()).unwrap_err();
        let mend = "list this one address with the target if that is meant";
        assert_eq!(told, (*what, mend), "{text}");
    }
    for beside in ["100.100.100.201", "169.254.169.253", "fd00:ec2::253", "64:ff9b::10.0.0.1"] {
        assert_eq!(may_be_dialled(&wide, beside.parse().unwrap()), Ok(()), "{beside}");
    }
}

#[test]
fn a_target_on_this_machine_is_nowhere_else() {
    for (address, is_here) in [
        ("127.0.0.1", true),
        ("127.0.0.2", true),
        ("::1", true),
        ("::ffff:127.0.0.1", false),
        ("10.0.0.1", false),
        ("8.8.8.8", false),
    ] {
        let found = may_be_dialled(&Reach::Loopback, address.parse().unwrap());
        assert_eq!(found.is_ok(), is_here, "{address}");
    }
}

#[test]
fn one_address_that_is_not_public_is_refused_with_the_others() {
    let good = guard(Reach::Public, &["8.8.8.8", "2606:4700::1111"]);
    assert_eq!(
        resolve(&good, "https://hooks.example/x"),
        Ok(vec!["8.8.8.8:443".into(), "[2606:4700::1111]:443".into()])
    );
    let bad = guard(Reach::Public, &["8.8.8.8", "10.0.0.7", "2606:4700::1111"]);
    assert_eq!(
        resolve(&bad, "https://hooks.example/x?token=s3cret"),
        Err("other: hooks.example leads to 10.0.0.7, which is a private address; list its network with the target if that is meant".into())
    );
    let none = guard(Reach::Public, &[]);
    assert_eq!(resolve(&none, "https://hooks.example/"), Err("host not found".into()));
}

#[test]
fn of_more_addresses_than_are_tried_all_are_checked() {
    const MANY: [&str; 40] = ["8.8.8.8"; 40];
    const LAST_IS_BAD: [&str; 40] = {
        let mut many = MANY;
        many[39] = "127.0.0.1";
        many
    };
    assert_eq!(resolve(&guard(Reach::Public, &MANY), "https://a.example/").unwrap().len(), 16);
    assert!(resolve(&guard(Reach::Public, &LAST_IS_BAD), "https://a.example/").is_err());
}

#[test]
fn a_host_written_as_a_number_is_the_address_that_it_is() {
    for url in [
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://%31%32%37.0.0.1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://localhost/",
        "https://0/",
    ] {
        let read = url::Url::parse(url).unwrap();
        let found = resolve(&Guard::new(Reach::Public), read.as_str());
        assert!(found.as_ref().is_err_and(|told| told.contains("leads to")), "{url}: {found:?}");
    }
}

/// First a public address, then this machine's: a name that changes while it is used.
#[test]
fn what_was_checked_is_what_is_dialled_and_is_looked_up_once() {
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let lookup = move |_: &str, port| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        let ip: IpAddr = if first { "8.8.8.8" } else { "127.0.0.1" }.parse().unwrap();
        Ok(vec![SocketAddr::new(ip, port)])
    };
    let guard = Guard { reach: Reach::Public, lookup: Arc::new(lookup) };
    assert_eq!(resolve(&guard, "https://a.example/"), Ok(vec!["8.8.8.8:443".into()]));
    assert_eq!(looks.load(Ordering::SeqCst), 1);
    assert!(resolve(&guard, "https://a.example/").unwrap_err().contains("127.0.0.1"));
    assert_eq!(looks.load(Ordering::SeqCst), 2);
}

/// The same on real sockets: 127.0.0.2 stands for the network that is allowed.
#[test]
fn a_name_that_flips_reaches_the_checked_address_and_then_nobody() {
    let allowed = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = allowed.local_addr().unwrap().port();
    let forbidden = TcpListener::bind(("127.0.0.1", port)).unwrap();
    forbidden.set_nonblocking(true).unwrap();
    let looks = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&looks);
    let lookup = move |host: &str, port| {
        let mut seen = seen.lock().unwrap();
        let ip: IpAddr = if seen.is_empty() { "127.0.0.2" } else { "127.0.0.1" }.parse().unwrap();
        seen.push(host.to_owned());
        Ok(vec![SocketAddr::new(ip, port)])
    };
    let guard = Guard { reach: networks(&["127.0.0.2/32"]), lookup: Arc::new(lookup) };
    let agent = crate::fetch::agent_with(guard, Duration::from_secs(60), false);
    let url = format!("http://flips.example:{port}/");
    let receiver = thread::spawn(move || {
        let (mut stream, _) = allowed.accept().unwrap();
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    });
    assert_eq!(agent.get(&url).call().unwrap().status(), 204);
    assert!(receiver.join().unwrap().contains(&format!("host: flips.example:{port}")));
    assert_eq!(*looks.lock().unwrap(), ["flips.example"]);
    let refused = agent.get(&url).call().unwrap_err().to_string();
    assert!(refused.contains("flips.example leads to 127.0.0.1"), "{refused}");
    assert_eq!(looks.lock().unwrap().len(), 2);
    let nobody = forbidden.accept().unwrap_err();
    assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_look_up_that_hangs_ends_by_the_time_limit() {
    let (keep, never) = sync_channel::<()>(0);
    let never = Mutex::new(never);
    let lookup = move |_: &str, _| {
        let _ = never.lock().unwrap().recv();
        Ok(Vec::new())
    };
    let guard = Guard { reach: Reach::Public, lookup: Arc::new(lookup) };
    let uri = "https://a.example/".parse().unwrap();
    let error = guard.resolve(&uri, &Config::default(), within(0)).unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    drop(keep);
}
