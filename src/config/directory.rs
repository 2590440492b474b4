//! Where a tenant's users are looked up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;

use super::check::Check;
use super::layers::secret_variable;
use super::raw::RawDirectory;
use super::{ConfigError, read_private_text};
use crate::domain::directory::{
    DirectorySource, LdapAttributes, LdapSecurity, LdapSource, ScimUrl, UserFilter, UserUrl,
    WebAccess, is_attribute, is_filter,
};
use crate::domain::secret::Secret;
use crate::domain::target::is_loopback;

/// The directory of one tenant.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Where it is and how it is asked.
    pub source: DirectorySource,
    /// The time for one look-up.
    pub timeout: Duration,
    /// For how long an answer is good; zero for never.
    pub cache_for: Duration,
    /// Whether callers may learn from answers who is there.
    pub reveal_unknown_users: bool,
}

/// What is written in one section, and its name.
struct Written<'w> {
    section: &'w str,
    raw: &'w RawDirectory,
}

impl Written<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.section)
    }

    /// The settings that belong to some kinds only and are empty unless they are set.
    fn particular(&self) -> [(&'static str, bool, &'static [&'static str]); 8] {
        let raw = self.raw;
        let is_set = |text: &String| !text.is_empty();
        [
            ("file", is_set(&raw.file), &["file"]),
            ("url", is_set(&raw.url), &["http", "scim", "ldap"]),
            ("token_file", is_set(&raw.token_file), &["http", "scim"]),
            ("ca_file", is_set(&raw.ca_file), &["http", "scim", "ldap"]),
            ("bind_dn", is_set(&raw.bind_dn), &["ldap"]),
            ("bind_password_file", is_set(&raw.bind_password_file), &["ldap"]),
            ("base", is_set(&raw.base), &["ldap"]),
            ("disabled_filter", is_set(&raw.disabled_filter), &["ldap"]),
        ]
    }
}

impl Check<'_> {
    /// The directory that this section describes, if it describes one.
    pub(super) fn directory_of(
        &self,
        section: &str,
        raw: &RawDirectory,
    ) -> Result<Option<Directory>, ConfigError> {
        let written = Written { section, raw };
        let key = |name: &str| written.key(name);
        let timeout = self.within(&key("timeout_seconds"), raw.timeout_seconds, 1..=60)?;
        let cache_for = self.within(&key("cache_seconds"), raw.cache_seconds, 0..=3600)?;
        let kind = raw.kind.as_str();
        let source = match kind {
            "none" => None,
            "file" => Some(DirectorySource::File(self.needed_file(&written)?)),
            "http" => Some(self.http(&written)?),
            "scim" => Some(self.scim(&written)?),
            "ldap" => Some(DirectorySource::Ldap(Box::new(self.ldap(&written)?))),
            other => {
                let problem = format!(
                    "wanted \"none\", \"file\", \"http\", \"scim\" or \"ldap\", found {other:?}"
                );
                return self.refuse(&key("kind"), problem);
            }
        };
        self.nothing_is_in_vain(&written)?;
        Ok(source.map(|source| Directory {
            source,
            timeout: Duration::from_secs(timeout),
            cache_for: Duration::from_secs(cache_for),
            reveal_unknown_users: raw.reveal_unknown_users,
        }))
    }

    /// What has no effect was meant to have one: mostly the kind was forgotten.
    fn nothing_is_in_vain(&self, written: &Written<'_>) -> Result<(), ConfigError> {
        let kind = written.raw.kind.as_str();
        let mut particular = written.particular().into_iter();
        match particular.find(|(_, is_set, kinds)| *is_set && !kinds.contains(&kind)) {
            None => Ok(()),
            Some((name, _, kinds)) => {
                let kinds = kinds.join(", ");
                let problem = format!(
                    "is for the kinds {kinds}, and {} is {kind:?}; wanted nothing here, or another kind",
                    written.key("kind")
                );
                self.refuse(&written.key(name), problem)
            }
        }
    }

    fn needed_file(&self, written: &Written<'_>) -> Result<PathBuf, ConfigError> {
        if written.raw.file.is_empty() {
            return self.refuse(&written.key("file"), "wanted a file of users, found nothing");
        }
        Ok(PathBuf::from(&written.raw.file))
    }

    fn http(&self, written: &Written<'_>) -> Result<DirectorySource, ConfigError> {
        match UserUrl::parse(&written.raw.url) {
            Some(url) => Ok(DirectorySource::Http(url, self.web_access(written)?)),
            None => self.refuse_url(written, UserUrl::WANTED),
        }
    }

    fn scim(&self, written: &Written<'_>) -> Result<DirectorySource, ConfigError> {
        match ScimUrl::parse(&written.raw.url) {
            Some(url) => Ok(DirectorySource::Scim(url, self.web_access(written)?)),
            None => self.refuse_url(written, ScimUrl::WANTED),
        }
    }

    fn refuse_url<T>(&self, written: &Written<'_>, wanted: &str) -> Result<T, ConfigError> {
        let found = shown(&written.raw.url);
        self.refuse(&written.key("url"), format!("wanted {wanted}, found {found}"))
    }

    fn web_access(&self, written: &Written<'_>) -> Result<WebAccess, ConfigError> {
        let key = written.key("token_file");
        let token = self.secret(&key, &written.raw.token_file, "a token")?;
        if let Some((token, place)) = &token
            && !token.expose().bytes().all(|b| b.is_ascii_graphic())
        {
            let problem = format!("{place}: wanted a token without blanks, in ASCII");
            return self.refuse(&key, problem);
        }
        Ok(WebAccess { token: token.map(|(token, _)| token), ca_file: ca_file(written) })
    }

    fn ldap(&self, written: &Written<'_>) -> Result<LdapSource, ConfigError> {
        let raw = written.raw;
        let (host, port, security) = self.ldap_url(written)?;
        if raw.base.is_empty() {
            let problem = "wanted the name of the entry below which users are, such as \"ou=people,dc=example,dc=com\", found nothing";
            return self.refuse(&written.key("base"), problem);
        }
        let Some(filter) = UserFilter::parse(&raw.filter) else {
            let problem = format!("wanted {}, found {:?}", UserFilter::WANTED, raw.filter);
            return self.refuse(&written.key("filter"), problem);
        };
        let disabled_filter = optional(&raw.disabled_filter);
        if disabled_filter.as_deref().is_some_and(|text| !is_filter(text)) {
            let problem = format!("wanted an LDAP filter, found {:?}", raw.disabled_filter);
            return self.refuse(&written.key("disabled_filter"), problem);
        }
        let bind = self.bind(written)?;
        let (base, attributes) = (raw.base.clone(), self.attributes(written)?);
        let ca_file = ca_file(written);
        Ok(LdapSource {
            host,
            port,
            security,
            ca_file,
            bind,
            base,
            filter,
            disabled_filter,
            attributes,
        })
    }

    fn ldap_url(&self, written: &Written<'_>) -> Result<(String, u16, LdapSecurity), ConfigError> {
        const WANTED: &str = "an address such as \"ldaps://ldap.example.com\" or \"ldap://ldap.example.com:389\", and nothing after it";
        let url = &written.raw.url;
        let uri = url.parse::<Uri>().ok();
        let uri = uri.filter(|uri| uri.path() == "/" && uri.query().is_none());
        let uri = uri.filter(|_| !url.contains(['@', '#']));
        let Some((scheme, host, port)) =
            uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?, uri.port_u16())))
        else {
            return self.refuse_url(written, WANTED);
        };
        let (security, usual) = match scheme {
            "ldaps" => (LdapSecurity::Tls, 636),
            "ldap" if written.raw.start_tls => (LdapSecurity::StartTls, 389),
            "ldap" if is_loopback(host) => (LdapSecurity::None, 389),
            "ldap" => {
                let problem = "is false, and others could read the password and change answers; wanted true, or a loopback address in url";
                return self.refuse(&written.key("start_tls"), problem);
            }
            _ => return self.refuse_url(written, WANTED),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok((host.to_owned(), port.unwrap_or(usual), security))
    }

    /// A name with an empty password binds as nobody and succeeds (RFC 4513 §5.1.2), so there must be one.
    fn bind(&self, written: &Written<'_>) -> Result<Option<(String, Secret)>, ConfigError> {
        let key = written.key("bind_password_file");
        let file = &written.raw.bind_password_file;
        let password = self.secret(&key, file, "a password")?.map(|(password, _)| password);
        match (optional(&written.raw.bind_dn), password) {
            (None, None) => Ok(None),
            (Some(name), Some(password)) => Ok(Some((name, password))),
            (Some(_), None) => {
                let name = written.key("bind_dn");
                self.refuse(
                    &key,
                    format!("wanted a file with the password, as {name} is set, found nothing"),
                )
            }
            (None, Some(_)) => {
                let problem = "wanted the name that the password is for, found nothing";
                self.refuse(&written.key("bind_dn"), problem)
            }
        }
    }

    fn attributes(&self, written: &Written<'_>) -> Result<LdapAttributes, ConfigError> {
        let raw = written.raw;
        let attribute = |name: &str, text: &String| match optional(text) {
            Some(text) if !is_attribute(&text) => {
                let problem = format!("wanted the name of an attribute, found {text:?}");
                self.refuse(&written.key(name), problem)
            }
            attribute => Ok(attribute),
        };
        let Some(username) = attribute("username_attribute", &raw.username_attribute)? else {
            let problem = "wanted the name of an attribute, found nothing: without one nobody knows whose entry it is";
            return self.refuse(&written.key("username_attribute"), problem);
        };
        Ok(LdapAttributes {
            username,
            email: attribute("email_attribute", &raw.email_attribute)?,
            user_id: attribute("user_id_attribute", &raw.user_id_attribute)?,
            credential_id: attribute("credential_id_attribute", &raw.credential_id_attribute)?,
            identity_providers: attribute(
                "identity_providers_attribute",
                &raw.identity_providers_attribute,
            )?,
            language: attribute("language_attribute", &raw.language_attribute)?,
        })
    }

    /// The secret in a file, or in the variable that stands for it, and which of the two it was.
    fn secret(
        &self,
        key: &str,
        file: &str,
        what: &str,
    ) -> Result<Option<(Secret, String)>, ConfigError> {
        let variable = secret_variable(key);
        let of_variable = variable.and_then(|name| Some((name, self.layers.secret(name)?)));
        let (secret, place) = match (of_variable, file) {
            (None, "") => return Ok(None),
            (Some((name, secret)), "") => (secret.clone(), format!("environment variable {name}")),
            (Some((name, _)), _) => {
                let problem =
                    format!("is set beside the environment variable {name}; wanted one of the two");
                return self.refuse(key, problem);
            }
            (None, file) => match read_private_text(Path::new(file), what) {
                // An end of line is what editors leave.
                Ok(text) => (Secret::new(text.strip_suffix('\n').unwrap_or(&text)), file.into()),
                Err(problem) => return self.refuse(key, problem),
            },
        };
        if secret.expose().is_empty() || secret.expose().contains(['\n', '\r', '\0']) {
            return self
                .refuse(key, format!("{place}: wanted {what} in one line, found something else"));
        }
        Ok(Some((secret, place)))
    }
}

/// What may be repeated of a URL: where there is an `@` there may be a password, and behind the host a key.
fn shown(url: &str) -> String {
    if url.contains('@') {
        return "one with an @".into();
    }
    let host = url.find("://").map_or(0, |at| at + "://".len());
    match url[host..].find(['/', '?', '#', '\\']) {
        Some(end) if host + end + 1 < url.len() => {
            format!("{:?}", url[..=host + end].to_owned() + "…")
        }
        _ => format!("{url:?}"),
    }
}

fn ca_file(written: &Written<'_>) -> Option<PathBuf> {
    optional(&written.raw.ca_file).map(PathBuf::from)
}

fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.into())
}
