//! How an LDAP server is reached, and how it is asked for one user.

use std::fmt;
use std::path::PathBuf;

use ldap3::{ldap_escape, parse_filter};

use super::{MAX_BYTES, PLACE};
use crate::domain::identifier::Username;
use crate::domain::secret::Secret;

/// An LDAP server, and how users are found in it.
#[derive(Clone, Debug)]
pub struct LdapSource {
    /// The name or address of its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What protects the connection.
    pub security: LdapSecurity,
    /// The file with the certificates that are trusted; without one, those of the system.
    pub ca_file: Option<PathBuf>,
    /// The name and the password to bind with; without them nobody says who asks.
    pub bind: Option<(String, Secret)>,
    /// The entry below which users are.
    pub base: String,
    /// How one is found.
    pub filter: UserFilter,
    /// What holds for users who are disabled.
    pub disabled_filter: Option<String>,
    /// What is read of a user.
    pub attributes: LdapAttributes,
}

/// What protects the connection to an LDAP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdapSecurity {
    /// TLS from the first byte: `ldaps`.
    Tls,
    /// TLS after one request in the clear (RFC 4511 §4.14).
    StartTls,
    /// Nothing. For loopback addresses.
    None,
}

/// The attributes of a user. What has none is not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapAttributes {
    /// Holds the username.
    pub username: String,
    /// Holds the e-mail address.
    pub email: Option<String>,
    /// Holds the app's own identifier of the user.
    pub user_id: Option<String>,
    /// Holds the name of the credential.
    pub credential_id: Option<String>,
    /// Holds the names of the user's identity providers.
    pub identity_providers: Option<String>,
    /// Holds the languages the user reads.
    pub language: Option<String>,
}

/// An LDAP filter (RFC 4515) with `{username}` as the value of an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFilter(String);

impl UserFilter {
    /// What a text must be to be one.
    pub const WANTED: &str = "an LDAP filter of at most 1024 bytes with {username} as a value, such as \"(&(objectClass=inetOrgPerson)(uid={username}))\"";

    /// Reads a template.
    pub fn parse(text: &str) -> Option<Self> {
        // An escaped byte may stand in values only, not in the name of an attribute or of a rule.
        let is_value = is_filter(&text.replace(PLACE, "\\2a"));
        (text.contains(PLACE) && is_value).then(|| Self(text.into()))
    }

    /// The filter for this user.
    pub fn of(&self, username: &Username) -> String {
        self.0.replace(PLACE, &ldap_escape(username.as_str()))
    }
}

impl fmt::Display for UserFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether a text is an LDAP filter that can be sent.
pub fn is_filter(text: &str) -> bool {
    text.len() <= MAX_BYTES && text.starts_with('(') && parse_filter(text).is_ok()
}

/// Whether a text can name an attribute (RFC 4512 §1.4), without options.
pub fn is_attribute(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::directory::HOSTILE;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_one_value_of_an_ldap_filter() {
        let template =
            UserFilter::parse("(&(objectClass=person)(|(uid={username})(mail={username})))")
                .unwrap();
        for text in HOSTILE {
            let filter = template.of(&name(text));
            assert!(is_filter(&filter), "{filter}");
            assert_eq!(filter.matches('(').count(), 5, "{filter}");
            assert!(!filter.contains('*'), "{filter}");
        }
        let literal = template.of(&name("\\00*"));
        assert!(literal.contains("(uid=\\5c00\\2a)"), "{literal}");
    }

    #[test]
    fn a_filter_that_cannot_be_sent_is_no_template() {
        for text in [
            "",
            "(uid=ann)",
            "uid={username}",
            "(uid={username}",
            "(uid={username}))",
            "({username}=ann)",
            "(cn:{username}:=ann)",
            "(&(uid={username})",
        ] {
            assert_eq!(UserFilter::parse(text), None, "{text}");
        }
        for text in ["(uid={username})", "(uid={username}*)", "(!(uid:2.5.13.2:={username}))"] {
            assert!(UserFilter::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn an_attribute_has_a_plain_name() {
        assert!(is_attribute("entryUUID") && is_attribute("0.9.2342.19200300.100.1.1"));
        for text in ["", "mail;lang-en", "*", "+", "a b", "-a", "a)(b"] {
            assert!(!is_attribute(text), "{text}");
        }
    }
}
