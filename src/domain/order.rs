//! What is to be sent to somebody, as it waits to be sent: who it is for and what it is about. It holds no
//! token: a link is signed when it is sent, from what was decided when it was asked for.

use std::fmt;

use resetd_verify::{Timestamp, TokenId};
use serde::{Deserialize, Serialize};

use super::binding::CredentialVersion;
use super::email::EmailAddress;
use super::identifier::{CredentialId, UserId, Username};
use super::language::Language;
use super::policy::TenantName;

/// One thing to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Tells it from all others, and what is sent twice from what is sent anew. Of a link it is that of
    /// its token.
    pub id: TokenId,
    /// For whom.
    pub tenant: TenantName,
    /// When it was taken. Of a link, `iat` of its token.
    pub accepted: Timestamp,
    /// Until when it is of use. Of a link, `exp` of its token.
    pub until: Timestamp,
    /// What it is.
    pub errand: Errand,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A link to set a password.
    Link(Box<Link>),
    /// The word to a user that their password was reset.
    Notice {
        /// The user.
        username: Username,
    },
    /// The word to a service of what happened.
    Event {
        /// The name of its endpoint.
        endpoint: String,
        /// The message, the same at every try.
        body: Body,
    },
}

/// The text of a message. It names users, so `Debug` tells its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub String);

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Body({} bytes)", self.0.len())
    }
}

/// A link to set a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who may set a password.
    pub username: Username,
    /// For which credential, if the caller said so.
    pub credential_id: Option<CredentialId>,
    /// In which version of it.
    pub credential_version: Option<CredentialVersion>,
    /// The app's own identifier of the user, if the caller said so.
    pub user_id: Option<UserId>,
    /// How it goes there.
    pub channel: Channel,
    /// Where it goes, if the caller said so.
    pub to: Option<EmailAddress>,
    /// The languages the user reads, the most wanted first.
    pub languages: Vec<Language>,
    /// The address that the link leads to, if it is not the tenant's usual one.
    pub return_url: Option<String>,
    /// Who asked for it.
    pub caller: String,
    /// Whether so many were asked for that this one is not sent. It waits like any other, so that nobody
    /// can tell.
    pub is_throttled: bool,
    /// What services are told of it.
    pub news: News,
}

/// What services are told of a link by their webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// That its token was signed, and what came of sending it.
    #[default]
    All,
    /// What came of sending it: its token was signed before, for whoever asked for it.
    Sending,
    /// Nothing, as its caller wished.
    None,
}

/// How a link goes to its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// In a mail from here.
    Email,
    /// By a service that sends it in its own way.
    Webhook,
}

impl Channel {
    /// What a text must be to be one.
    pub const WANTED: &str = "\"email\" or \"webhook\"";

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Email, Self::Webhook].into_iter().find(|channel| channel.name() == text)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What waits for one another: a service that hangs holds up what is for itself, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Mails of this tenant, whose directory may hang.
    Mail(TenantName),
    /// Links for the service of this tenant that sends them.
    Links(TenantName),
    /// Events of this tenant for this endpoint.
    Events(TenantName, String),
}

impl Lane {
    /// What kind of things it holds, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mail(_) => "mail",
            Self::Links(_) => "links",
            Self::Events(..) => "events",
        }
    }

    /// Whose it is.
    pub fn tenant(&self) -> &TenantName {
        match self {
            Self::Mail(tenant) | Self::Links(tenant) | Self::Events(tenant, _) => tenant,
        }
    }

    /// The endpoint that events are for.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Mail(_) | Self::Links(_) => None,
            Self::Events(_, endpoint) => Some(endpoint),
        }
    }
}

impl Order {
    /// What it waits for.
    pub fn lane(&self) -> Lane {
        match &self.errand {
            Errand::Link(link) if link.channel == Channel::Webhook => {
                Lane::Links(self.tenant.clone())
            }
            Errand::Link(_) | Errand::Notice { .. } => Lane::Mail(self.tenant.clone()),
            Errand::Event { endpoint, .. } => Lane::Events(self.tenant.clone(), endpoint.clone()),
        }
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> Option<String> {
        serde_json::to_string(&Stored::from(self)).ok()
    }

    /// Reads one back, if it is whole.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str::<Stored>(text).ok()?.into_order()
    }
}

/// An order as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    id: String,
    tenant: String,
    accepted: u64,
    until: u64,
    errand: StoredErrand,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StoredErrand {
    Link(StoredLink),
    Notice { username: String },
    Event { endpoint: String, body: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLink {
    username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    channel: Channel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    languages: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    return_url: Option<String>,
    caller: String,
    is_throttled: bool,
    #[serde(default, skip_serializing_if = "is_all")]
    news: News,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_all(news: &News) -> bool {
    *news == News::All
}

impl From<&Order> for Stored {
    fn from(order: &Order) -> Self {
        let errand = match &order.errand {
            Errand::Link(link) => StoredErrand::Link(StoredLink::from(&**link)),
            Errand::Notice { username } => {
                StoredErrand::Notice { username: username.as_str().into() }
            }
            Errand::Event { endpoint, body } => {
                StoredErrand::Event { endpoint: endpoint.clone(), body: body.0.clone() }
            }
        };
        Self {
            id: order.id.to_string(),
            tenant: order.tenant.to_string(),
            accepted: order.accepted.seconds(),
            until: order.until.seconds(),
            errand,
        }
    }
}

impl Stored {
    fn into_order(self) -> Option<Order> {
        let errand = match self.errand {
            StoredErrand::Link(link) => Errand::Link(Box::new(link.into_link()?)),
            StoredErrand::Notice { username } => {
                Errand::Notice { username: Username::parse(&username)? }
            }
            StoredErrand::Event { endpoint, body } => Errand::Event { endpoint, body: Body(body) },
        };
        Some(Order {
            id: TokenId::parse(&self.id)?,
            tenant: TenantName::parse(&self.tenant)?,
            accepted: Timestamp::from_seconds(self.accepted),
            until: Timestamp::from_seconds(self.until),
            errand,
        })
    }
}

impl From<&Link> for StoredLink {
    fn from(link: &Link) -> Self {
        let version = link.credential_version.as_ref();
        Self {
            username: link.username.as_str().into(),
            credential_id: link.credential_id.as_ref().map(|id| id.as_str().into()),
            credential_version: version.map(|version| version.expose().into()),
            user_id: link.user_id.as_ref().map(|id| id.as_str().into()),
            channel: link.channel,
            to: link.to.as_ref().map(|to| to.as_str().into()),
            languages: link.languages.iter().map(ToString::to_string).collect(),
            return_url: link.return_url.clone(),
            caller: link.caller.clone(),
            is_throttled: link.is_throttled,
            news: link.news,
        }
    }
}

impl StoredLink {
    /// What is there must be good: half a link goes to the wrong place.
    fn into_link(self) -> Option<Link> {
        let languages = self.languages.iter().map(|tag| Language::parse(tag));
        Some(Link {
            username: Username::parse(&self.username)?,
            credential_id: read(self.credential_id, CredentialId::parse).ok()?,
            credential_version: read(self.credential_version, CredentialVersion::parse).ok()?,
            user_id: read(self.user_id, UserId::parse).ok()?,
            channel: self.channel,
            to: read(self.to, EmailAddress::parse).ok()?,
            languages: languages.collect::<Option<_>>()?,
            return_url: self.return_url,
            caller: self.caller,
            is_throttled: self.is_throttled,
            news: self.news,
        })
    }
}

/// What is there cannot be read.
struct Unreadable;

fn read<T>(text: Option<String>, parse: fn(&str) -> Option<T>) -> Result<Option<T>, Unreadable> {
    text.map(|text| parse(&text).ok_or(Unreadable)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(errand: Errand) -> Order {
        Order {
            id: TokenId::from_bytes([7; 16]),
            tenant: TenantName::default(),
            accepted: Timestamp::from_seconds(1_800_000_000),
            until: Timestamp::from_seconds(1_800_000_900),
            errand,
        }
    }

    fn link() -> Link {
        Link {
            username: Username::parse("ann").unwrap(),
            credential_id: CredentialId::parse("pwd-1"),
            credential_version: CredentialVersion::parse("7"),
            user_id: UserId::parse("u-1"),
            channel: Channel::Email,
            to: EmailAddress::parse("ann@example.com"),
            languages: Language::accepted("de-CH, en"),
            return_url: Some("https://app.example.com/reset".into()),
            caller: "web".into(),
            is_throttled: false,
            news: News::Sending,
        }
    }

    #[test]
    fn an_order_is_read_back_as_it_was_written() {
        let bare = Link {
            credential_id: None,
            credential_version: None,
            user_id: None,
            channel: Channel::Webhook,
            to: None,
            languages: Vec::new(),
            return_url: None,
            is_throttled: true,
            news: News::All,
            ..link()
        };
        let username = Username::parse("zoë@example.com").unwrap();
        for errand in [
            Errand::Link(Box::new(link())),
            Errand::Link(Box::new(bare)),
            Errand::Notice { username },
            Errand::Event { endpoint: "crm".into(), body: Body("{\"a\":\"\\n\"}".into()) },
        ] {
            let order = order(errand);
            let line = order.to_json().unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Order::from_json(&line), Some(order));
        }
    }

    #[test]
    fn debug_names_no_user_no_address_and_no_version() {
        let body = Body("{\"username\":\"annabel\"}".into());
        let event = Errand::Event { endpoint: "crm".into(), body };
        let username = Username::parse("annabel").unwrap();
        let credential_version = CredentialVersion::parse("secret-7");
        let link = Link { username, credential_version, ..link() };
        for errand in [event, Errand::Link(Box::new(link))] {
            let text = format!("{:?}", order(errand));
            let shown = ["annabel", "ann@", "secret-7"].map(|secret| text.contains(secret));
            assert_eq!(shown, [false; 3], "{text}");
        }
    }

    #[test]
    fn half_an_order_is_none() {
        let line = order(Errand::Link(Box::new(link()))).to_json().unwrap();
        for (what, instead) in [
            ("ann@example.com", "ann@example.com,bob@example.com"),
            ("\"ann\"", "\"a\\nn\""),
            ("\"email\"", "\"pigeon\""),
            ("\"de-ch\"", "\"../de\""),
            ("\"default\"", "\"../default\""),
            ("\"to\"", "\"bcc\""),
        ] {
            assert!(line.contains(what), "{what}");
            assert!(Order::from_json(&line.replace(what, instead)).is_none(), "{what}");
        }
        assert!(Order::from_json("").is_none());
    }

    #[test]
    fn what_goes_to_different_services_does_not_wait_for_one_another() {
        let to_webhook = Link { channel: Channel::Webhook, ..link() };
        let event =
            |endpoint: &str| Errand::Event { endpoint: endpoint.into(), body: Body("{}".into()) };
        let username = link().username;
        let lane = |errand| order(errand).lane();
        assert_eq!(lane(Errand::Link(Box::new(link()))), lane(Errand::Notice { username }));
        let lanes = [
            Lane::Mail(TenantName::default()),
            Lane::Mail(TenantName::parse("acme").unwrap()),
            lane(Errand::Link(Box::new(to_webhook))),
            lane(event("crm")),
            lane(event("siem")),
        ];
        let different: std::collections::BTreeSet<_> = lanes.iter().collect();
        assert_eq!(different.len(), lanes.len());
    }
}
