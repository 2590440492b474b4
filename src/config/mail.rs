//! Mail: how it leaves, whom it comes from, and where the links in it lead. `[link]` and `[mail]` describe
//! the default tenant; the others have a link of their own or none, and share how mail leaves.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::DnsName;

use super::check::Check;
use super::layers::{MAIL_PASSWORD_VARIABLE, Origin};
use super::raw::{RawConfig, RawLink, RawMail, RawTenantLink, RawTenantMail};
use super::{ConfigError, read_private_text};
use crate::domain::language::Language;
use crate::domain::link::{LinkTemplate, ReturnUrls};
use crate::domain::mail::{Encryption, Sender};
use crate::domain::secret::Secret;
use crate::domain::target::is_loopback;

/// Who a mail comes from where nobody is named. No mail server takes it, and none is asked to.
const NOBODY: &str = "resetd@localhost";

/// How mail leaves, for all tenants.
#[derive(Clone, Debug)]
pub struct Mail {
    /// By which way.
    pub transport: MailTransport,
    /// Whether users are told that their password was reset.
    pub notices: bool,
}

/// The way mail leaves by.
#[derive(Clone, Debug)]
pub enum MailTransport {
    /// None.
    Off,
    /// Into a folder, from which nothing is sent.
    Maildir(PathBuf),
    /// To a mail server.
    Smtp(Smtp),
}

/// The mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Its name or address; the name is the one that its certificate must have.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way to it is kept private.
    pub encryption: Encryption,
    /// Who we are to it, if it wants to know: a name and a password.
    pub login: Option<(String, Secret)>,
    /// Who signs its certificate, if not somebody that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The longest that sending one mail may take.
    pub timeout: Duration,
}

/// The mails of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantMail {
    /// Who they come from.
    pub from: Sender,
    /// A folder of templates that go over the built-in ones.
    pub templates: Option<PathBuf>,
    /// The language where none that is wanted is there.
    pub default_language: Language,
}

/// Where the links of one tenant lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The link without its token, if the tenant has links.
    pub template: Option<LinkTemplate>,
    /// Where else callers may have links lead.
    pub return_urls: ReturnUrls,
}

impl Check<'_> {
    pub(super) fn mail(&self, raw: &RawConfig) -> Result<Mail, ConfigError> {
        let mail = &raw.mail;
        let transport = match mail.transport.as_str() {
            "off" => MailTransport::Off,
            "maildir" => MailTransport::Maildir(self.directory("mail.directory", &mail.directory)?),
            "smtp" => MailTransport::Smtp(self.smtp(mail)?),
            other => {
                let problem = format!("wanted \"maildir\", \"smtp\" or \"off\", found {other:?}");
                return self.refuse("mail.transport", problem);
            }
        };
        Ok(Mail { transport, notices: mail.notices })
    }

    fn smtp(&self, mail: &RawMail) -> Result<Smtp, ConfigError> {
        if mail.host.is_empty() {
            let problem = "is \"smtp\", which needs mail.host, found nothing there; set it to the name of your mail server, such as \"smtp.example.com\"";
            return self.refuse("mail.transport", problem);
        }
        if mail.from.is_empty() {
            let problem = "is \"smtp\", which needs mail.from, the sender of all mails, found nothing there; set it to an address for which your mail server sends, such as \"Example <reset@example.com>\"";
            return self.refuse("mail.transport", problem);
        }
        let host = self.mail_host(&mail.host)?;
        let encryption = self.encryption(&mail.encryption, &host)?;
        let port = self.within("mail.port", mail.port, 0..=u64::from(u16::MAX))?;
        let port = u16::try_from(port).ok().filter(|port| *port != 0);
        let seconds = self.within("mail.timeout_seconds", mail.timeout_seconds, 1..=300)?;
        Ok(Smtp {
            host,
            port: port.unwrap_or_else(|| encryption.usual_port()),
            encryption,
            login: self.login(mail, encryption)?,
            ca_file: (!mail.ca_file.is_empty()).then(|| mail.ca_file.clone().into()),
            timeout: Duration::from_secs(seconds),
        })
    }

    fn mail_host(&self, text: &str) -> Result<String, ConfigError> {
        let host = text.trim_start_matches('[').trim_end_matches(']');
        if host.parse::<IpAddr>().is_ok() || DnsName::try_from(host).is_ok() {
            return Ok(host.into());
        }
        let problem = format!(
            "wanted the name of your mail server such as \"smtp.example.com\", found {text:?}"
        );
        self.refuse("mail.host", problem)
    }

    fn encryption(&self, text: &str, host: &str) -> Result<Encryption, ConfigError> {
        const KEY: &str = "mail.encryption";
        let Some(encryption) = Encryption::parse(text) else {
            return self.refuse(KEY, format!("wanted {}, found {text:?}", Encryption::WANTED));
        };
        if encryption == Encryption::None && !is_loopback(host) {
            let problem = format!(
                "is \"none\", and mail.host is {host:?}, which is not this machine: everybody on the way could read the links and reset passwords; wanted \"starttls\" or \"tls\", or a mail server on a loopback address"
            );
            return self.refuse(KEY, problem);
        }
        Ok(encryption)
    }

    fn login(
        &self,
        mail: &RawMail,
        encryption: Encryption,
    ) -> Result<Option<(String, Secret)>, ConfigError> {
        const NAME: &str = "mail.username";
        let password = self.mail_password(&mail.password_file)?;
        let is_plain = encryption == Encryption::None;
        match (mail.username.as_str(), password) {
            ("", None) => Ok(None),
            ("", Some(_)) => {
                self.refuse(NAME, "wanted a name, as there is a password, found nothing")
            }
            (_, None) => {
                let problem = format!(
                    "is set, and there is no password for it; wanted one in the file mail.password_file or in the environment variable {MAIL_PASSWORD_VARIABLE}"
                );
                self.refuse(NAME, problem)
            }
            (_, Some(_)) if is_plain => self.refuse(
                NAME,
                "is set, and mail.encryption is \"none\": the password would pass in the clear; wanted \"starttls\" or \"tls\", or no name and no password",
            ),
            (name, Some(password)) => Ok(Some((name.into(), password))),
        }
    }

    fn mail_password(&self, file: &str) -> Result<Option<Secret>, ConfigError> {
        const FILE: &str = "mail.password_file";
        match (self.layers.secret(MAIL_PASSWORD_VARIABLE), file) {
            (None, "") => Ok(None),
            (None, file) => {
                let read = read_password(Path::new(file));
                read.map(Some).or_else(|problem| self.refuse(FILE, problem))
            }
            (Some(password), "") => match check_password(password.expose()) {
                Ok(()) => Ok(Some(password.clone())),
                Err(problem) => Err(ConfigError::Invalid {
                    origin: Origin::Variable(MAIL_PASSWORD_VARIABLE.into()),
                    key: "the password of the mail server".into(),
                    problem: problem.into(),
                }),
            },
            (Some(_), _) => self.refuse(
                FILE,
                format!("is set beside the environment variable {MAIL_PASSWORD_VARIABLE}; wanted one of the two"),
            ),
        }
    }

    pub(super) fn default_tenant_mail(&self, mail: &RawMail) -> Result<TenantMail, ConfigError> {
        let from = if mail.from.is_empty() { NOBODY } else { &mail.from };
        Ok(TenantMail {
            from: self.sender("mail.from", from)?,
            templates: (!mail.templates.is_empty()).then(|| mail.templates.clone().into()),
            default_language: self.language("mail.default_language", &mail.default_language)?,
        })
    }

    /// What a tenant leaves out is as in `[mail]`.
    pub(super) fn tenant_mail(
        &self,
        section: &str,
        written: Option<&RawTenantMail>,
        default: &TenantMail,
    ) -> Result<TenantMail, ConfigError> {
        let mut mail = default.clone();
        let Some(written) = written else {
            return Ok(mail);
        };
        if let Some(from) = &written.from {
            mail.from = self.sender(&format!("{section}.mail.from"), from)?;
        }
        if let Some(folder) = &written.templates {
            mail.templates = (!folder.is_empty()).then(|| folder.into());
        }
        if let Some(language) = &written.default_language {
            let key = format!("{section}.mail.default_language");
            mail.default_language = self.language(&key, language)?;
        }
        Ok(mail)
    }

    fn sender(&self, key: &str, text: &str) -> Result<Sender, ConfigError> {
        let refuse = || self.refuse(key, format!("wanted {}, found {text:?}", Sender::WANTED));
        Sender::parse(text).map_or_else(refuse, Ok)
    }

    fn language(&self, key: &str, text: &str) -> Result<Language, ConfigError> {
        let refuse = || self.refuse(key, format!("wanted {}, found {text:?}", Language::WANTED));
        Language::parse(text).map_or_else(refuse, Ok)
    }

    pub(super) fn default_link(&self, raw: &RawLink) -> Result<Link, ConfigError> {
        self.link("link", &raw.template, &raw.return_urls)
    }

    /// A tenant that says nothing has no links. Those of the default tenant would lead its users, with
    /// their tokens, into another one's app.
    pub(super) fn tenant_link(
        &self,
        section: &str,
        written: Option<&RawTenantLink>,
    ) -> Result<Link, ConfigError> {
        let Some(written) = written else {
            return Ok(Link::default());
        };
        self.link(&format!("{section}.link"), &written.template, &written.return_urls)
    }

    fn link(&self, section: &str, text: &str, urls: &[String]) -> Result<Link, ConfigError> {
        let (template_key, urls_key) =
            (format!("{section}.template"), format!("{section}.return_urls"));
        let return_urls = match ReturnUrls::parse(urls.iter().map(String::as_str)) {
            Ok(urls) => urls,
            Err(url) => {
                let problem = format!("wanted {} each, found {url:?}", ReturnUrls::WANTED);
                return self.refuse(&urls_key, problem);
            }
        };
        if text.is_empty() && urls.is_empty() {
            return Ok(Link::default());
        }
        if text.is_empty() {
            let problem = format!(
                "is set, and {template_key} is not; wanted both, since that one says where in a link the token stands"
            );
            return self.refuse(&urls_key, problem);
        }
        let Some(template) = LinkTemplate::parse(text) else {
            let problem = format!("wanted {}, found {text:?}", LinkTemplate::WANTED);
            return self.refuse(&template_key, problem);
        };
        Ok(Link { template: Some(template), return_urls })
    }
}

/// Bytes that are no text arrive here replaced, so they would be another password than the one that was
/// meant.
fn check_password(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("wanted a password, found nothing")
    } else if text.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        Err("wanted one line of UTF-8, found something else")
    } else {
        Ok(())
    }
}

/// The end of the line is the editor's, not the password's.
fn read_password(path: &Path) -> Result<Secret, String> {
    let text = read_private_text(path, "a password")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    check_password(line).map_err(|problem| format!("{}: {problem}", path.display()))?;
    Ok(Secret::new(line))
}
