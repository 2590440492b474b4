//! Sending a link. It is promised at once, the same for every name: what it will say is decided, written
//! down, and answered. Who the user is, is found out when it is sent, when nobody waits who could tell by
//! the time whether there is such a user.

use std::borrow::Cow;
use std::time::Duration;

use resetd_verify::{Claims, Timestamp, TokenId};

use super::{Inner, Tenant};
use crate::directory::{Directory, Person, Unavailable};
use crate::domain::email::EmailAddress;
use crate::domain::identifier::Username;
use crate::domain::issue::{self, IssueRequest, IssuedToken};
use crate::domain::language::Language;
use crate::domain::link::{LinkTemplate, ReturnUrls};
use crate::domain::order::{Channel, Errand, Link, News, Order};
use crate::domain::policy::Expiry;
use crate::domain::secret::Secret;
use crate::journal::Attempt;
use crate::outbox::Room;
use crate::service::Shared;
use crate::service::answers::{Asked, Given};
use crate::service::error::{Error, NotSendable, TokenError};

/// A promise of which nobody may learn what came of it is left alone for so long, and by chance for longer.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_CHANCE: Duration = Duration::from_secs(1);

/// How links of a tenant go to its users. By default, not at all.
#[derive(Clone, Debug, Default)]
pub struct Sending {
    /// Where they lead.
    pub link: Option<LinkTemplate>,
    /// Where else a caller may have them lead.
    pub return_urls: ReturnUrls,
    /// Whether mails are sent.
    pub has_mail: bool,
    /// Whether another service sends links for it.
    pub has_webhook: bool,
    /// Who its users are, if that is known here.
    pub users: Option<Users>,
    /// Whether users are told by mail that their password was reset.
    pub has_notices: bool,
}

/// The users of a tenant.
#[derive(Clone, Debug)]
pub struct Users {
    /// Who they are.
    pub directory: Directory,
    /// Whether a caller may learn who is one.
    pub are_revealed: bool,
}

/// What an app asks to have sent.
#[derive(Clone, Debug)]
pub struct DeliveryRequest {
    /// What the token will say.
    pub issue: IssueRequest,
    /// How it goes to its user.
    pub channel: Channel,
    /// Where to, if no directory says so.
    pub to: Option<EmailAddress>,
    /// The languages the user reads, the most wanted first.
    pub languages: Vec<Language>,
    /// Where the link leads, if not where the tenant's links usually lead.
    pub return_url: Option<String>,
}

/// A link that will be sent, if there is such a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    /// The identifier of its token.
    pub id: TokenId,
    /// When its token expires.
    pub exp: Timestamp,
}

/// A link, ready to be sent.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The link. Whoever holds it can set the password.
    pub link: Secret,
    /// The token in it.
    pub token: Secret,
    /// What it says.
    pub claims: Claims,
    /// Where it goes.
    pub to: Option<EmailAddress>,
    /// The languages the user reads, the most wanted first.
    pub languages: Vec<Language>,
}

/// Why something is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// So many were asked for that this one is not sent.
    #[error("as many links were asked for as limits.user_tokens_per_hour allows")]
    Throttled,
    /// There is no such user.
    #[error("the directory has no such user")]
    UserUnknown,
    /// The user may not log in.
    #[error("the directory says that the user is disabled")]
    UserDisabled,
    /// Nobody says where to.
    #[error("the directory has no e-mail address of the user")]
    NoAddress,
    /// The caller named another credential or another user.
    #[error(
        "the directory has another credential or another identifier of the user than the caller named"
    )]
    Mismatch,
    /// Something became of the token meanwhile, or its time is over.
    #[error(transparent)]
    Dead(TokenError),
    /// The tenant is not set up for it, or not any more.
    #[error(transparent)]
    NotSendable(#[from] NotSendable),
    /// The tenant is not there any more.
    #[error("the tenant is not configured any more")]
    NoTenant,
    /// The directory does not answer. Later it may.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// No token can be made. Later it may be.
    #[error("no token can be made: {0}")]
    NoToken(Box<Error>),
}

impl Unsent {
    /// Whether it may be sent at another time.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::NoToken(_))
    }

    /// In one word, for counters and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::UserUnknown => "user_unknown",
            Self::UserDisabled => "user_disabled",
            Self::NoAddress => "no_address",
            Self::Mismatch => "user_mismatch",
            Self::Dead(TokenError::Expired { .. }) => "token_expired",
            Self::Dead(_) => "token_dead",
            Self::NotSendable(_) | Self::NoTenant => "not_configured",
            Self::Unavailable(_) => "directory_unavailable",
            Self::NoToken(_) => "no_token",
        }
    }
}

impl Tenant {
    /// How its links go to users.
    pub fn sending(&self) -> &Sending {
        &self.0.sending
    }

    /// Promises to send a link. The same attempt gets the same promise again for an hour.
    ///
    /// # Errors
    /// [`Error::NotSendable`], [`Error::NotTaken`], and those of [`issue`](Self::issue).
    pub async fn deliver(
        &self,
        caller: &str,
        request: &DeliveryRequest,
        attempt: Option<Attempt>,
        is_throttled: bool,
    ) -> Result<Promised, Error> {
        self.require_sendable(request)?;
        let Some(attempt) = attempt else {
            return self.promise(caller, request, is_throttled).await;
        };
        match self.0.shared.answers.ask(attempt) {
            Asked::First(ticket) => {
                let promised = self.promise(caller, request, is_throttled).await?;
                ticket.answer(Given::Promise(promised));
                Ok(promised)
            }
            Asked::Before(Given::Promise(promised)) => Ok(promised),
            Asked::Running => Err(Error::AttemptRunning),
            Asked::Before(Given::Token(_)) | Asked::Other => Err(Error::AttemptOther),
        }
    }

    /// Whether such a link can be promised at all.
    ///
    /// # Errors
    /// [`Error::NotSendable`].
    pub fn require_sendable(&self, request: &DeliveryRequest) -> Result<(), Error> {
        Ok(self.0.sending.require(request.channel, request.return_url.as_deref())?)
    }

    async fn promise(
        &self,
        caller: &str,
        request: &DeliveryRequest,
        is_throttled: bool,
    ) -> Result<Promised, Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let Shared { random, outbox, .. } = &**shared;
        let now = self.now();
        self.require_room(now).await?;
        let room = outbox.reserve()?;
        let claims = issue::claims(&request.issue, policy, now, random.token_id()?)?;
        let promised = Promised { id: claims.jti, exp: claims.exp };
        let order = Order {
            id: promised.id,
            tenant: policy.tenant.clone(),
            accepted: now,
            until: promised.exp,
            errand: Errand::Link(Box::new(Link {
                is_throttled,
                ..link(caller, &request.issue, request, News::All)
            })),
        };
        // What is not sent must not kill what was. So it is said of nobody, which takes as long.
        let claims = if is_throttled { of_nobody(claims, random.bytes()?) } else { claims };
        self.write_down(room, order, &claims).await?;
        Ok(promised)
    }

    /// Signs a token, and promises to send its link as well: what is answered and what is sent is one token.
    ///
    /// # Errors
    /// Those of [`deliver`](Self::deliver) and [`issue`](Self::issue) without an attempt.
    pub async fn issue_and_deliver(
        &self,
        caller: &str,
        request: &DeliveryRequest,
        news: News,
    ) -> Result<IssuedToken, Error> {
        self.require_sendable(request)?;
        let known = &*self.known_user(&request.issue).await?;
        let Inner { policy, shared, .. } = &*self.0;
        let now = self.now();
        self.require_room(now).await?;
        let room = shared.outbox.reserve()?;
        let keys = self.keys(now)?;
        let key = keys.active(self.keys_owner())?;
        let issued = issue::issue(known, policy, key, now, shared.random.token_id()?)?;
        let order = Order {
            id: issued.claims.jti,
            tenant: policy.tenant.clone(),
            accepted: now,
            until: issued.claims.exp,
            errand: Errand::Link(Box::new(link(caller, known, request, news))),
        };
        self.write_down(room, order, &issued.claims).await?;
        if news != News::None {
            self.announce_issued(&issued.claims, caller);
        }
        Ok(issued)
    }

    async fn write_down(&self, room: Room<'_>, order: Order, claims: &Claims) -> Result<(), Error> {
        let Inner { policy, shared, .. } = &*self.0;
        let pause = self.hiding_pause()?;
        // First the order, so that older links are not revoked for one that cannot be written down. It is
        // released last: whoever sends it looks whether its token is live.
        let written = room.write(order).await?;
        match shared.revocations.admit(policy, claims).wait().await {
            Ok(()) => written.release(pause),
            Err(error) => {
                written.withdraw();
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn require_live(&self, claims: &Claims) -> Result<(), Unsent> {
        let Inner { policy, shared, .. } = &*self.0;
        let now = self.now();
        let live = shared.revocations.check(&policy.tenant, claims, now);
        live.map_err(|refusal| Unsent::Dead(TokenError::refused(refusal, claims, now, false)))
    }

    /// How long to leave a promise alone. To find out who the user is takes the machine's time, and by that
    /// an answer that is still on its way would tell.
    fn hiding_pause(&self) -> Result<Duration, Error> {
        if !self.0.sending.hides_users() {
            return Ok(Duration::ZERO);
        }
        let chance = u16::from_be_bytes(self.0.shared.random.bytes()?);
        Ok(LEAST_PAUSE + LONGEST_CHANCE * u32::from(chance) / u32::from(u16::MAX))
    }

    /// Makes the link of an order. A second time, it is another signature of the same token.
    ///
    /// # Errors
    /// [`Unsent`].
    pub async fn prepare(&self, order: &Order, link: &Link) -> Result<Prepared, Unsent> {
        let Inner { policy, sending, shared, .. } = &*self.0;
        if link.is_throttled {
            return Err(Unsent::Throttled);
        }
        let request = request_of(order, link);
        let mut languages = link.languages.clone();
        let (request, to) = match &sending.users {
            None => (request, link.to.clone()),
            Some(users) => {
                let person = users.directory.find(&link.username).await?;
                let person = person.ok_or(Unsent::UserUnknown)?;
                languages.extend(person.language.clone());
                let to = person.email.clone();
                (completed(request, person)?, to)
            }
        };
        if link.channel == Channel::Email && to.is_none() {
            return Err(Unsent::NoAddress);
        }
        let failed = |error: Error| Unsent::NoToken(Box::new(error));
        let now = self.now();
        let keys = self.keys(now).map_err(failed)?;
        let key = keys.active(self.keys_owner()).map_err(failed)?;
        let issued = issue::issue(&request, policy, key, order.accepted, order.id);
        let issued = issued.map_err(|error| failed(error.into()))?;
        if issued.claims.exp <= now {
            return Err(Unsent::Dead(TokenError::Expired { exp: issued.claims.exp }));
        }
        self.require_live(&issued.claims)?;
        // What was promised, and what was revoked meanwhile, was said of the name as it was asked for. Of the
        // name as the directory has it older tokens are replaced now; never this one made good again.
        if issued.claims.sub != link.username.as_str() {
            self.require_live(&Claims {
                sub: link.username.as_str().into(),
                ..issued.claims.clone()
            })?;
            if policy.supersede {
                let (sub, before) = (issued.claims.sub.as_str(), order.accepted.minus(1));
                let replaced =
                    shared.revocations.revoke_user(policy, sub, before, now).wait().await;
                replaced.map_err(|error| failed(error.into()))?;
            }
            self.require_live(&issued.claims)?;
        }
        let link = sending.link_to(link.return_url.as_deref(), &issued.token)?;
        Ok(Prepared { link, token: issued.token, claims: issued.claims, to, languages })
    }

    /// The address of a user who is to be told of something, and the languages they read.
    ///
    /// # Errors
    /// [`Unsent`].
    pub async fn address_of(
        &self,
        username: &Username,
    ) -> Result<(EmailAddress, Vec<Language>), Unsent> {
        let users = self.0.sending.users.as_ref().ok_or(Unsent::NoAddress)?;
        let person = users.directory.find(username).await?.ok_or(Unsent::UserUnknown)?;
        let address = person.email.ok_or(Unsent::NoAddress)?;
        Ok((address, person.language.into_iter().collect()))
    }
}

impl Sending {
    /// Whether no caller may learn who is a user.
    pub fn hides_users(&self) -> bool {
        self.users.as_ref().is_some_and(|users| !users.are_revealed)
    }

    /// Whether a link can be sent this way.
    ///
    /// # Errors
    /// What is missing.
    fn require(&self, channel: Channel, return_url: Option<&str>) -> Result<(), NotSendable> {
        match channel {
            Channel::Email if !self.has_mail => return Err(NotSendable::NoMail),
            Channel::Webhook if !self.has_webhook => return Err(NotSendable::NoWebhook),
            Channel::Email | Channel::Webhook => {}
        }
        if self.link.is_none() {
            return Err(NotSendable::NoLink);
        }
        let is_allowed = return_url.is_none_or(|url| self.return_urls.allow(url).is_some());
        if is_allowed { Ok(()) } else { Err(NotSendable::ReturnUrl) }
    }

    fn link_to(&self, return_url: Option<&str>, token: &Secret) -> Result<Secret, NotSendable> {
        let template = self.link.as_ref().ok_or(NotSendable::NoLink)?;
        let Some(return_url) = return_url else { return Ok(template.link(token)) };
        let target = self.return_urls.allow(return_url).ok_or(NotSendable::ReturnUrl)?;
        Ok(template.link_to(&target, token))
    }
}

impl Tenant {
    /// A user's name as the directory spells it, where that is another: their tokens have it. A revocation
    /// does not wait for a directory that is away.
    pub(super) async fn other_spelling(&self, username: &Username) -> Option<Username> {
        let users = self.0.sending.users.as_ref()?;
        match users.directory.find(username).await {
            Ok(person) => person.map(|person| person.username).filter(|name| name != username),
            Err(error) => {
                let tenant = self.0.policy.tenant.as_str();
                tracing::warn!(tenant, %error, "only this spelling of a name is revoked");
                None
            }
        }
    }

    /// What a caller asks a token for, as the directory has the user, if there is a directory. Only a caller
    /// that may learn who is a user gets a token itself.
    pub(super) async fn known_user<'r>(
        &self,
        request: &'r IssueRequest,
    ) -> Result<Cow<'r, IssueRequest>, Error> {
        let Some(person) = self.person(&request.username).await? else {
            return Ok(Cow::Borrowed(request));
        };
        let completed = completed(request.clone(), person);
        completed.map(Cow::Owned).map_err(|denied| match denied {
            Denied::Disabled => Error::UserDisabled,
            Denied::Mismatch => Error::UserMismatch,
        })
    }
}

impl Tenant {
    /// The identity providers by which a user signs in, as far as a directory says so.
    ///
    /// # Errors
    /// [`Error::DeliveryOnly`], [`Error::UserUnknown`], [`Error::DirectoryUnavailable`].
    pub async fn identity_providers(&self, username: &Username) -> Result<Vec<String>, Error> {
        let person = self.person(username).await?;
        Ok(person.map(|person| person.identity_providers).unwrap_or_default())
    }

    /// Who a user is, for a caller that may learn it; nobody where there is no directory.
    async fn person(&self, username: &Username) -> Result<Option<Person>, Error> {
        let Some(Users { directory, are_revealed }) = &self.0.sending.users else {
            return Ok(None);
        };
        if !are_revealed {
            return Err(Error::DeliveryOnly);
        }
        directory.find(username).await?.ok_or(Error::UserUnknown).map(Some)
    }
}

/// Why a user of the directory gets no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    Disabled,
    Mismatch,
}

impl From<Denied> for Unsent {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Disabled => Self::UserDisabled,
            Denied::Mismatch => Self::Mismatch,
        }
    }
}

/// What the directory says, where the caller did not; where both speak, they must agree.
fn completed(mut request: IssueRequest, person: Person) -> Result<IssueRequest, Denied> {
    if !person.is_enabled {
        return Err(Denied::Disabled);
    }
    // A directory may not tell cases apart. Its own spelling is the one user that all of them mean.
    request.username = person.username;
    if let Some(id) = person.credential_id
        && *request.credential_id.get_or_insert_with(|| id.clone()) != id
    {
        return Err(Denied::Mismatch);
    }
    if let Some(id) = person.user_id
        && *request.user_id.get_or_insert_with(|| id.clone()) != id
    {
        return Err(Denied::Mismatch);
    }
    Ok(request)
}

/// The same claims for a user that there is not: no username has a control character.
fn of_nobody(claims: Claims, chance: [u8; 16]) -> Claims {
    Claims { sub: format!("\0{}", TokenId::from_bytes(chance)), ..claims }
}

fn request_of(order: &Order, link: &Link) -> IssueRequest {
    IssueRequest {
        username: link.username.clone(),
        credential_id: link.credential_id.clone(),
        credential_version: link.credential_version.clone(),
        user_id: link.user_id.clone(),
        expiry: Expiry::Decided(order.until),
    }
}

fn link(caller: &str, issue: &IssueRequest, request: &DeliveryRequest, news: News) -> Link {
    let IssueRequest { username, credential_id, credential_version, user_id, .. } = issue;
    Link {
        username: username.clone(),
        credential_id: credential_id.clone(),
        credential_version: credential_version.clone(),
        user_id: user_id.clone(),
        channel: request.channel,
        to: request.to.clone(),
        languages: request.languages.clone(),
        return_url: request.return_url.clone(),
        caller: caller.into(),
        is_throttled: false,
        news,
    }
}
