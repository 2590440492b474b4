//! Who may call, and what for.

use std::fmt;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::policy::TenantName;
use super::secret::Secret;

/// What every API key begins with, so that secret scanners can find one that leaked. The whole key
/// is `rsk_` and 52 characters of `a-z 2-7`: 256 random bits.
pub const API_KEY_PREFIX: &str = "rsk_";

/// One thing a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Issue tokens.
    Issue,
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
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 7] = [
        Self::Issue,
        Self::Check,
        Self::Redeem,
        Self::Revoke,
        Self::KeysRead,
        Self::KeysWrite,
        Self::Metrics,
    ];

    /// The name as it stands in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Check => "check",
            Self::Redeem => "redeem",
            Self::Revoke => "revoke",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::Metrics => "metrics",
        }
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

/// The text with everything that could be an API key cut to its prefix: keys end up in places that
/// are not meant for them, and then in the messages about it.
pub fn without_api_keys(text: &str) -> String {
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

/// A caller as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name, for logs.
    pub name: String,
    /// The tenant it acts for.
    pub tenant: TenantName,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The hash of its key.
    pub key_hash: KeyHash,
}

impl Caller {
    /// Whether it may do this.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// All callers.
#[derive(Clone, Debug, Default)]
pub struct Callers(Vec<Caller>);

impl Callers {
    /// Takes the configured callers.
    pub fn new(callers: Vec<Caller>) -> Self {
        Self(callers)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All callers, in the order of the configuration.
    pub fn as_slice(&self) -> &[Caller] {
        &self.0
    }

    /// The caller with this key. Every hash is compared, each in constant time, so the answer's
    /// time tells neither how much of a key was right nor which caller it belongs to.
    pub fn authenticate(&self, key: &str) -> Option<&Caller> {
        let hash = KeyHash::of(key);
        let mut found = None;
        for caller in &self.0 {
            let same: Choice = caller.key_hash.0.ct_eq(&hash.0);
            if bool::from(same) {
                found = Some(caller);
            }
        }
        found
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

    #[test]
    fn only_the_exact_key_finds_its_caller() {
        let key = api_key([1; 32]);
        let caller = Caller {
            name: "web".into(),
            tenant: TenantName::default(),
            scopes: vec![Scope::Check],
            key_hash: KeyHash::of(key.expose()),
        };
        let callers = Callers::new(vec![caller.clone()]);
        assert_eq!(callers.authenticate(key.expose()), Some(&caller));
        assert_eq!(callers.authenticate(&format!("{} ", key.expose())), None);
        assert_eq!(callers.authenticate(&caller.key_hash.to_string()), None);
        assert!(caller.may(Scope::Check) && !caller.may(Scope::Issue));
    }

    #[test]
    fn a_hash_is_read_back_from_its_hexadecimal_form_and_does_not_print() {
        let hash = KeyHash::of("rsk_x");
        assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash.clone()));
        assert_eq!(KeyHash::parse("abc"), None);
        assert_eq!(format!("{hash:?}"), "KeyHash(…)");
    }
}
