//! Who may call, and what for.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ipnet::IpNet;
use resetd_verify::Timestamp;
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::bearer::BearerError;
use super::policy::TenantName;
use super::secret::Secret;
use super::webhook::without_signing_secrets;

/// What every API key begins with, so that secret scanners can find one that leaked. The whole key
/// is `rsk_` and 52 characters of `a-z 2-7`: 256 random bits.
pub const API_KEY_PREFIX: &str = "rsk_";

/// One thing a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Issue tokens.
    Issue,
    /// Have links sent, without seeing tokens.
    Deliver,
    /// Check tokens and learn why one is not live.
    Check,
    /// Redeem tokens.
    Redeem,
    /// Revoke tokens.
    Revoke,
    /// List and show keys.
    KeysRead,
    /// Make, retire and revoke keys.
    KeysWrite,
    /// Read the metrics.
    Metrics,
    /// Have the configuration reloaded.
    Config,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 9] = [
        Self::Issue,
        Self::Deliver,
        Self::Check,
        Self::Redeem,
        Self::Revoke,
        Self::KeysRead,
        Self::KeysWrite,
        Self::Metrics,
        Self::Config,
    ];

    /// The name as it stands in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Deliver => "deliver",
            Self::Check => "check",
            Self::Redeem => "redeem",
            Self::Revoke => "revoke",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::Metrics => "metrics",
            Self::Config => "config",
        }
    }

    /// Whether it is about the whole service, and so for callers of the default tenant alone.
    pub const fn is_of_service(self) -> bool {
        matches!(self, Self::Metrics | Self::Config)
    }

    /// Reads a name, exactly.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The SHA-256 of an API key: all that is ever stored of one.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a key. The key has 256 random bits, so a plain hash cannot be guessed backwards.
    pub fn of(key: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash(…)")
    }
}

/// Writes 32 random bytes as an API key.
pub fn api_key(random: [u8; 32]) -> Secret {
    let random = Zeroizing::new(random);
    let upper = Zeroizing::new(BASE32_NOPAD.encode(&*random));
    Secret::new(API_KEY_PREFIX.to_owned() + &Zeroizing::new(upper.to_ascii_lowercase()))
}

/// Whether a text has the form of an API key.
pub fn is_api_key(text: &str) -> bool {
    text.strip_prefix(API_KEY_PREFIX).is_some_and(|rest| {
        rest.len() == 52 && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
    })
}

/// The text with everything that could be an API key, or a secret of a webhook, cut to its prefix: keys end
/// up in places that are not meant for them, and then in the messages about it.
pub fn without_api_keys(text: &str) -> String {
    let text = without_signing_secrets(text);
    let mut parts = text.split(API_KEY_PREFIX);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        shown.push_str(API_KEY_PREFIX);
        shown.push_str(if rest.len() < part.len() { "***" } else { "" });
        shown.push_str(rest);
    }
    shown
}

/// An API key of a caller. Several may be good at once, so that one can replace another without a gap.
#[derive(Debug)]
pub struct ApiKey {
    hash: KeyHash,
    expires: Option<Timestamp>,
    /// Seconds since 1970; 0 if it was not used yet.
    last_used: AtomicU64,
}

impl ApiKey {
    /// A key that is good until it expires, if it does.
    pub fn new(hash: KeyHash, expires: Option<Timestamp>) -> Self {
        Self { hash, expires, last_used: AtomicU64::new(0) }
    }

    /// The hash: all that is known of it.
    pub fn hash(&self) -> &KeyHash {
        &self.hash
    }

    /// The first second in which it is no longer good.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// When it was last used, since the process started.
    pub fn last_used(&self) -> Option<Timestamp> {
        let seconds = self.last_used.load(Ordering::Relaxed);
        (seconds > 0).then(|| Timestamp::from_seconds(seconds))
    }
}

/// A caller as configured.
#[derive(Debug)]
pub struct Caller {
    /// Its name, for logs.
    pub name: String,
    /// The tenant it acts for.
    pub tenant: TenantName,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Its keys.
    pub keys: Vec<ApiKey>,
    /// Where it may call from; anywhere, if there are none.
    pub networks: Vec<IpNet>,
}

impl Caller {
    /// A caller with one key that does not expire, from anywhere.
    pub fn with_key(name: &str, tenant: TenantName, scopes: &[Scope], key: KeyHash) -> Self {
        let (name, scopes, keys) = (name.into(), scopes.into(), vec![ApiKey::new(key, None)]);
        Self { name, tenant, scopes, keys, networks: Vec::new() }
    }

    /// Whether it may do this. What is about the whole service is for no other tenant, whoever granted it.
    pub fn may(&self, scope: Scope) -> bool {
        let is_its_own = self.tenant.is_default() || !scope.is_of_service();
        is_its_own && self.scopes.contains(&scope)
    }

    /// Whether it may call from there.
    pub fn may_call_from(&self, source: Option<IpAddr>) -> bool {
        let is_in = |source: IpAddr| self.networks.iter().any(|network| network.contains(&source));
        self.networks.is_empty() || source.is_some_and(is_in)
    }
}

/// Why a request has no caller. Outside all of them look alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCaller {
    /// No key was sent, or not in a way that is read.
    #[error("no API key was sent")]
    Missing,
    /// No caller has the key.
    #[error("no caller has this key")]
    Unknown,
    /// The key was good once.
    #[error("the key of the caller {name} expired at {at}")]
    Expired {
        /// The caller.
        name: String,
        /// When.
        at: Timestamp,
    },
    /// The access token does not let anybody in.
    #[error("the token is none of {issuer}: {error}")]
    BadToken {
        /// The identity provider that was tried.
        issuer: String,
        /// What is wrong.
        error: BearerError,
    },
    /// The caller may not call from there.
    #[error("the caller {name} may not call from {}", address.map_or("an unknown address".into(), |it| it.to_string()))]
    WrongNetwork {
        /// The caller.
        name: String,
        /// Where the request came from, if that is known.
        address: Option<IpAddr>,
    },
}

/// All callers. Cheap to clone; clones share what is known of the use of keys.
#[derive(Clone, Debug, Default)]
pub struct Callers(Vec<Arc<Caller>>);

impl Callers {
    /// Takes the configured callers.
    pub fn new(callers: Vec<Caller>) -> Self {
        Self(callers.into_iter().map(Arc::new).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All callers, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Caller> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The caller of this name.
    ///
    /// # Errors
    /// [`NoCaller`].
    pub fn named(&self, name: &str, source: Option<IpAddr>) -> Result<Arc<Caller>, NoCaller> {
        let caller = self.0.iter().find(|caller| caller.name == name).ok_or(NoCaller::Unknown)?;
        if !caller.may_call_from(source) {
            return Err(NoCaller::WrongNetwork { name: name.into(), address: source });
        }
        Ok(Arc::clone(caller))
    }

    /// The caller with this key. Every hash is compared, each in constant time, so the answer's
    /// time tells neither how much of a key was right nor which caller it belongs to.
    ///
    /// # Errors
    /// [`NoCaller`].
    pub fn authenticate(
        &self,
        key: &str,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Caller>, NoCaller> {
        let hash = KeyHash::of(key);
        let mut found = None;
        for caller in &self.0 {
            for key in &caller.keys {
                let same: Choice = key.hash.0.ct_eq(&hash.0);
                if bool::from(same) {
                    found = Some((caller, key));
                }
            }
        }
        let (caller, key) = found.ok_or(NoCaller::Unknown)?;
        let name = caller.name.clone();
        if let Some(at) = key.expires.filter(|at| *at <= now) {
            return Err(NoCaller::Expired { name, at });
        }
        if !caller.may_call_from(source) {
            return Err(NoCaller::WrongNetwork { name, address: source });
        }
        key.last_used.store(now.seconds(), Ordering::Relaxed);
        Ok(Arc::clone(caller))
    }

    /// Whether they are the same, so that nothing changes for anybody.
    pub fn same_as(&self, other: &Self) -> bool {
        let same_key = |(one, other): (&ApiKey, &ApiKey)| {
            (&one.hash, one.expires) == (&other.hash, other.expires)
        };
        let same = |(one, other): (&Caller, &Caller)| {
            let rest = |it: &Caller| (it.name.clone(), it.tenant.clone(), it.networks.clone());
            rest(one) == rest(other)
                && one.scopes == other.scopes
                && one.keys.len() == other.keys.len()
                && one.keys.iter().zip(&other.keys).all(same_key)
        };
        self.0.len() == other.0.len() && self.iter().zip(other.iter()).all(same)
    }

    /// Takes over from other callers when the keys that stay were used.
    pub fn remember(&self, before: &Self) {
        let before: Vec<&ApiKey> = before.iter().flat_map(|caller| &caller.keys).collect();
        for key in self.iter().flat_map(|caller| &caller.keys) {
            if let Some(known) = before.iter().find(|known| known.hash == key.hash) {
                key.last_used.store(known.last_used.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_form_scanners_look_for() {
        let key = api_key([7; 32]);
        assert!(is_api_key(key.expose()));
        assert_eq!(key.expose().len(), 56);
        for text in
            ["", "rsk_", "rsk_short", &key.expose().to_uppercase(), &format!("{}\n", key.expose())]
        {
            assert!(!is_api_key(text), "{text:?}");
        }
    }

    #[test]
    fn a_key_in_a_message_is_cut_to_its_prefix() {
        let key = api_key([7; 32]);
        let text = format!("found {:?} and {:?}", key.expose(), key.expose());
        assert_eq!(without_api_keys(&text), r#"found "rsk_***" and "rsk_***""#);
        assert_eq!(without_api_keys("rsk_ and 52 characters"), "rsk_ and 52 characters");
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn web(keys: Vec<ApiKey>, networks: &[&str]) -> Caller {
        let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
        let (name, tenant) = ("web".into(), TenantName::default());
        Caller { name, tenant, scopes: vec![Scope::Check], keys, networks }
    }

    fn name_of(found: Result<Arc<Caller>, NoCaller>) -> Result<String, NoCaller> {
        found.map(|caller| caller.name.clone())
    }

    #[test]
    fn only_the_exact_key_finds_its_caller() {
        let key = api_key([1; 32]);
        let hash = KeyHash::of(key.expose());
        let caller = web(vec![ApiKey::new(hash.clone(), None)], &[]);
        assert!(caller.may(Scope::Check) && !caller.may(Scope::Issue));
        let callers = Callers::new(vec![caller]);
        let ask = |key: &str| name_of(callers.authenticate(key, None, NOW));
        assert_eq!(ask(key.expose()), Ok("web".into()));
        assert_eq!(ask(&format!("{} ", key.expose())), Err(NoCaller::Unknown));
        assert_eq!(ask(&hash.to_string()), Err(NoCaller::Unknown));
    }

    #[test]
    fn several_keys_are_good_at_once_each_until_it_expires() {
        let keys = [1, 2, 3].map(|byte| api_key([byte; 32]));
        let hash = |at: usize| KeyHash::of(keys[at].expose());
        let caller = web(
            vec![
                ApiKey::new(hash(0), Some(NOW)),
                ApiKey::new(hash(1), Some(NOW.plus(1))),
                ApiKey::new(hash(2), None),
            ],
            &[],
        );
        let callers = Callers::new(vec![caller]);
        let ask = |at: usize, now| name_of(callers.authenticate(keys[at].expose(), None, now));
        let expired = |at| Err(NoCaller::Expired { name: "web".into(), at });
        assert_eq!(ask(0, NOW.minus(1)), Ok("web".into()));
        assert_eq!(ask(0, NOW), expired(NOW));
        assert_eq!(ask(1, NOW), Ok("web".into()));
        assert_eq!(ask(1, NOW.plus(1)), expired(NOW.plus(1)));
        assert_eq!(ask(2, NOW.plus(1_000_000)), Ok("web".into()));
    }

    #[test]
    fn a_caller_of_a_network_may_call_from_there_alone() {
        let key = api_key([1; 32]);
        let keys = vec![ApiKey::new(KeyHash::of(key.expose()), None)];
        let callers =
            Callers::new(vec![web(keys, &["10.1.0.0/16", "2001:db8::/32", "192.0.2.7/32"])]);
        let ask = |source: Option<&str>| {
            let source = source.map(|text| text.parse().unwrap());
            callers.authenticate(key.expose(), source, NOW).is_ok()
        };
        for source in ["10.1.2.3", "2001:db8::1", "192.0.2.7"] {
            assert!(ask(Some(source)), "{source}");
        }
        for source in ["10.2.2.3", "2001:db9::1", "192.0.2.8", "127.0.0.1"] {
            assert!(!ask(Some(source)), "{source}");
        }
        assert!(!ask(None));
    }

    #[test]
    fn the_last_use_of_a_key_is_known_and_outlives_a_new_configuration() {
        let key = api_key([1; 32]);
        let callers = || {
            let keys = vec![ApiKey::new(KeyHash::of(key.expose()), None)];
            Callers::new(vec![web(keys, &["10.0.0.0/8"])])
        };
        let used = |callers: &Callers| callers.iter().next().unwrap().keys[0].last_used();
        let before = callers();
        assert!(before.authenticate(key.expose(), None, NOW).is_err());
        assert_eq!(used(&before), None);
        let source = Some("10.0.0.1".parse().unwrap());
        assert!(before.authenticate(key.expose(), source, NOW).is_ok());
        assert_eq!(used(&before), Some(NOW));
        let after = callers();
        after.remember(&before);
        assert_eq!(used(&after), Some(NOW));
    }

    #[test]
    fn a_hash_is_read_back_from_its_hexadecimal_form_and_does_not_print() {
        let hash = KeyHash::of("rsk_x");
        assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash.clone()));
        assert_eq!(KeyHash::parse("abc"), None);
        assert_eq!(format!("{hash:?}"), "KeyHash(…)");
    }
}
