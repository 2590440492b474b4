//! Where users are looked up and how they are asked for: each template so that nothing in a username can mean
//! anything but itself.

mod ldap;
mod url;

use std::path::PathBuf;

use super::secret::Secret;

pub use ldap::{LdapAttributes, LdapSecurity, LdapSource, UserFilter, is_attribute, is_filter};
pub use url::{ScimUrl, UserUrl};

/// Where the username stands in a template.
const PLACE: &str = "{username}";
/// The longest template in bytes.
const MAX_BYTES: usize = 1024;

/// Where users are looked up.
#[derive(Clone, Debug)]
pub enum DirectorySource {
    /// In a file.
    File(PathBuf),
    /// By a service that answers with one JSON object.
    Http(UserUrl, WebAccess),
    /// By a service that speaks SCIM (RFC 7644).
    Scim(ScimUrl, WebAccess),
    /// By an LDAP server.
    Ldap(Box<LdapSource>),
}

/// How a service on the web is called.
#[derive(Clone, Debug)]
pub struct WebAccess {
    /// What shows it who asks.
    pub token: Option<Secret>,
    /// The file with the certificates that are trusted; without one, those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Names that mean something to whoever does not escape them.
#[cfg(test)]
const HOSTILE: [&str; 9] = [
    "*)(uid=*",
    "*",
    "\\00",
    "../admin",
    "a/b?x=y#z",
    "\" or userName pr",
    "ann\"",
    "a%2Fb&c=d;e",
    "zo\u{eb}\u{1f600}",
];
