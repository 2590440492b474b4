//! What messages say. A message about a token names it, and does not hold it; a [`Delivery`], which is
//! handed on by its receiver, is a type of its own, and can be written only for who may have it.

use std::fmt;

use resetd_verify::{Timestamp, TokenId};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::domain::email::EmailAddress;
use crate::domain::identifier::{CredentialId, UserId, Username};
use crate::domain::language::Language;
use crate::domain::order::Channel;
use crate::domain::policy::TenantName;
use crate::domain::secret::Secret;
use crate::domain::time::rfc3339;
use crate::domain::webhook::EventKind;

/// The longest reason that is told, in characters: a mail server may have written it.
const MAX_REASON: usize = 300;

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To whose tokens.
    pub tenant: TenantName,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// A token was issued.
    Issued {
        /// Which.
        token: TokenFacts,
        /// For whom.
        caller: String,
    },
    /// A token was handed on.
    Delivered {
        /// Which.
        token: TokenFacts,
        /// By which way.
        channel: Channel,
    },
    /// A token could not be handed on.
    DeliveryFailed {
        /// Which.
        token: TokenFacts,
        /// By which way.
        channel: Channel,
        /// Why not, as one sentence for people.
        reason: String,
    },
    /// A token was redeemed.
    Redeemed {
        /// Which.
        token: TokenFacts,
        /// By whom.
        caller: String,
    },
    /// A token was redeemed that was held since before the start of this process, so that no more is known
    /// of it.
    Committed {
        /// Its identifier.
        id: TokenId,
        /// By whom.
        caller: String,
    },
    /// Tokens were revoked.
    Revoked {
        /// Which.
        revoked: Revoked,
        /// By whom; nobody is named where the holder of a token did it.
        caller: Option<String>,
    },
    /// A token was presented though it was spent or held.
    Reused {
        /// Which.
        token: TokenFacts,
        /// `spent` or `held`.
        reason: &'static str,
        /// What was asked for with it: `check` or `redeem`.
        operation: &'static str,
        /// Who asked.
        caller: String,
    },
    /// Somebody tries out whether messages arrive.
    Test {
        /// The name of the webhook.
        webhook: String,
    },
}

/// Which token, and whose.
#[derive(Clone, Debug)]
pub struct TokenFacts {
    /// Its identifier, which is not the token.
    pub id: TokenId,
    /// Who may set a password with it.
    pub username: Username,
    /// For which credential.
    pub credential_id: Option<CredentialId>,
    /// The app's own name of the user.
    pub user_id: Option<UserId>,
    /// When it expires.
    pub expires: Timestamp,
}

/// What was revoked.
#[derive(Clone, Debug)]
pub enum Revoked {
    /// One token, which was there to be seen.
    Token(TokenFacts),
    /// One token, of which the identifier is known.
    TokenId(TokenId),
    /// A user's tokens.
    User {
        /// Whose.
        username: Username,
        /// Those issued before this time.
        before: Timestamp,
    },
    /// All tokens of the tenant.
    Everything {
        /// Those issued before this time.
        before: Timestamp,
    },
}

impl Event {
    /// Which kind it is.
    pub fn kind(&self) -> EventKind {
        match self.what {
            What::Issued { .. } => EventKind::Issued,
            What::Delivered { .. } => EventKind::Delivered,
            What::DeliveryFailed { .. } => EventKind::DeliveryFailed,
            What::Redeemed { .. } | What::Committed { .. } => EventKind::Redeemed,
            What::Revoked { .. } => EventKind::Revoked,
            What::Reused { .. } => EventKind::Reused,
            What::Test { .. } => EventKind::Test,
        }
    }

    /// The body of its message.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn to_body(&self) -> serde_json::Result<Vec<u8>> {
        let data = self.data();
        serde_json::to_vec(&Body { kind: self.kind().type_name(), timestamp: self.at, data })
    }

    fn data(&self) -> Data<'_> {
        let tenant = self.tenant.as_str();
        match &self.what {
            What::Issued { token, caller } | What::Redeemed { token, caller } => {
                Data { caller: Some(caller), ..Data::of(tenant, token) }
            }
            What::Committed { id, caller } => {
                Data { tenant, token_id: Some(*id), caller: Some(caller), ..Data::default() }
            }
            What::Delivered { token, channel } => {
                Data { channel: Some(channel.name()), ..Data::of(tenant, token) }
            }
            What::DeliveryFailed { token, channel, reason } => Data {
                channel: Some(channel.name()),
                reason: Some(reason.chars().take(MAX_REASON).collect()),
                ..Data::of(tenant, token)
            },
            What::Revoked { revoked, caller } => {
                Data { caller: caller.as_deref(), ..Data::of_revoked(tenant, revoked) }
            }
            What::Reused { token, reason, operation, caller } => Data {
                reason: Some((*reason).into()),
                operation: Some(operation),
                caller: Some(caller),
                ..Data::of(tenant, token)
            },
            What::Test { webhook } => Data { tenant, webhook: Some(webhook), ..Data::default() },
        }
    }
}

/// A token for the receiver to hand on: the way of an app that writes its own mails.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When it was asked for.
    pub at: Timestamp,
    /// Of which tenant.
    pub tenant: TenantName,
    /// Which token, and whose.
    pub facts: TokenFacts,
    /// The token itself.
    pub token: Secret,
    /// The link with the token.
    pub link: Secret,
    /// Who asked for it.
    pub caller: String,
    /// Where to send it, if that is known.
    pub to: Option<EmailAddress>,
    /// The language that its reader wants.
    pub language: Option<Language>,
}

/// Shows that a message with a token may be written: only an endpoint that is configured for it gives one.
pub struct MayCarryToken(());

impl MayCarryToken {
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl fmt::Debug for MayCarryToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MayCarryToken")
    }
}

impl Delivery {
    /// The body of its message, wiped when dropped.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn to_body(&self, _: &MayCarryToken) -> serde_json::Result<Zeroizing<Vec<u8>>> {
        // Room for all of it: a vector that grows leaves copies behind.
        const ROOM: usize = 32 * 1024;
        let mut body = Zeroizing::new(Vec::with_capacity(ROOM));
        let data =
            Data { caller: Some(&self.caller), ..Data::of(self.tenant.as_str(), &self.facts) };
        let data = DeliveryData {
            data,
            carries_token: true,
            token: self.token.expose(),
            link: self.link.expose(),
            to: self.to.as_ref().map(EmailAddress::as_str),
            language: self.language.as_ref().map(Language::as_str),
        };
        let kind = EventKind::Delivery.type_name();
        serde_json::to_writer(&mut *body, &Body { kind, timestamp: self.at, data })?;
        Ok(body)
    }
}

/// A message as it is written.
#[derive(Serialize)]
struct Body<D> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(with = "rfc3339")]
    timestamp: Timestamp,
    data: D,
}

/// What every message is made of. There is no place for a token in it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'d> {
    tenant: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339::option")]
    expired_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339::option")]
    before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'d str>,
}

impl<'d> Data<'d> {
    fn of(tenant: &'d str, token: &'d TokenFacts) -> Self {
        Self {
            tenant,
            token_id: Some(token.id),
            username: Some(token.username.as_str()),
            credential_id: token.credential_id.as_ref().map(CredentialId::as_str),
            user_id: token.user_id.as_ref().map(UserId::as_str),
            expired_time: Some(token.expires),
            ..Self::default()
        }
    }

    fn of_revoked(tenant: &'d str, revoked: &'d Revoked) -> Self {
        match revoked {
            Revoked::Token(token) => Self { revoked: Some("token"), ..Self::of(tenant, token) },
            Revoked::TokenId(id) => {
                Self { tenant, revoked: Some("token"), token_id: Some(*id), ..Self::default() }
            }
            Revoked::User { username, before } => Self {
                tenant,
                revoked: Some("user"),
                username: Some(username.as_str()),
                before: Some(*before),
                ..Self::default()
            },
            Revoked::Everything { before } => Self {
                tenant,
                revoked: Some("everything"),
                before: Some(*before),
                ..Self::default()
            },
        }
    }
}

/// The one message that holds a token, and says so.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryData<'d> {
    #[serde(flatten)]
    data: Data<'d>,
    carries_token: bool,
    token: &'d str,
    link: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'d str>,
}
