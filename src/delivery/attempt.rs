//! One try to send one order: find out who it is for, make it, hand it over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, TenantMail, Ways};
use crate::domain::email::EmailAddress;
use crate::domain::identifier::Username;
use crate::domain::language::Language;
use crate::domain::order::{Channel, Errand, Link, News, Order};
use crate::mail::{About, Letter, LetterId, SendError as MailError, Values};
use crate::service::{Prepared, Tenant, Unsent, facts};
use crate::webhook::{self, Endpoint, MAX_BODY_BYTES, SendError as WebhookError, TokenFacts};

/// Something was sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// The token in it.
    pub(super) token: Option<TokenFacts>,
}

/// Something was not sent.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why, in one word.
    pub(super) code: &'static str,
    /// Why, in a sentence without addresses, links and tokens.
    pub(super) reason: String,
    /// After which time at least it is worth trying again, if it is.
    pub(super) again_after: Option<Duration>,
    /// Whether a token was signed.
    pub(super) is_signed: bool,
    /// Whether there is such a user, as far as this try has found out.
    pub(super) is_of_a_user: bool,
}

impl Failure {
    fn new(code: &'static str, reason: &dyn fmt::Display, again_after: Option<Duration>) -> Self {
        let reason = reason.to_string();
        Self { code, reason, again_after, is_signed: false, is_of_a_user: true }
    }

    fn for_good(code: &'static str, reason: &dyn fmt::Display) -> Self {
        Self::new(code, reason, None)
    }

    /// The try ended in a fault of ours. What a panic says may be anything, also a link.
    pub(super) fn broken_off() -> Self {
        Self::new("internal", &"the try broke off by a fault of this service", Some(Duration::ZERO))
    }

    fn signed(self) -> Self {
        Self { is_signed: true, ..self }
    }
}

impl From<Unsent> for Failure {
    fn from(unsent: Unsent) -> Self {
        let is_of_a_user = !matches!(
            unsent,
            Unsent::Throttled | Unsent::UserUnknown | Unsent::UserDisabled | Unsent::Unavailable(_)
        );
        let again_after = unsent.is_transient().then_some(Duration::ZERO);
        Self { is_of_a_user, ..Self::new(unsent.code(), &unsent, again_after) }
    }
}

impl From<MailError> for Failure {
    fn from(error: MailError) -> Self {
        let (code, again_after) = if error.is_permanent() {
            ("mail_refused", None)
        } else if error.is_misconfiguration() {
            ("mail_misconfigured", Some(Duration::ZERO))
        } else {
            ("mail_unavailable", Some(Duration::ZERO))
        };
        Self::new(code, &error, again_after)
    }
}

impl From<WebhookError> for Failure {
    fn from(error: WebhookError) -> Self {
        let again_after = error.retry_after().unwrap_or_default();
        let again_after = (!error.is_permanent()).then_some(again_after);
        let code = if again_after.is_some() { "webhook_unavailable" } else { "webhook_refused" };
        Self::new(code, &error, again_after)
    }
}

impl Delivery {
    /// Tries it. `is_signed` says whether its token was told of before.
    pub(super) async fn attempt(&self, order: &Order, is_signed: bool) -> Result<Sent, Failure> {
        let now = self.0.service.now();
        if order.until <= now {
            // A directory was perhaps never asked.
            let expired = Failure::for_good("expired", &"its time is over");
            return Err(Failure { is_of_a_user: false, ..expired });
        }
        let tenant = self.0.service.tenant(&order.tenant).ok_or(Unsent::NoTenant)?;
        match &order.errand {
            Errand::Link(link) => self.send_link(tenant, order, link, is_signed).await,
            Errand::Notice { username } => self.send_notice(tenant, order, username).await,
            Errand::Event { endpoint, body } => {
                let body = Arc::new(body.0.clone().into_bytes());
                self.send_to(self.endpoint(endpoint)?, order, body).await?;
                Ok(Sent { token: None })
            }
        }
    }

    async fn send_link(
        &self,
        tenant: &Tenant,
        order: &Order,
        link: &Link,
        is_signed: bool,
    ) -> Result<Sent, Failure> {
        let prepared = tenant.prepare(order, link).await?;
        if !is_signed && link.news == News::All {
            tenant.announce_issued(&prepared.claims, &link.caller);
        }
        let sent = match link.channel {
            Channel::Email => self.mail_link(order, &prepared).await,
            Channel::Webhook => self.hand_over_link(order, link, &prepared).await,
        };
        sent.map_err(Failure::signed)?;
        Ok(Sent { token: facts(&prepared.claims) })
    }

    async fn mail_link(&self, order: &Order, prepared: &Prepared) -> Result<(), Failure> {
        let to = prepared.to.clone().ok_or(Unsent::NoAddress)?;
        let (expires, now) = (prepared.claims.exp, self.0.service.now());
        let about = About::Reset { link: prepared.link.clone(), expires, now };
        let username = Username::parse(&prepared.claims.sub).ok_or_else(Failure::broken_off)?;
        self.mail(order, &username, to, &prepared.languages, about).await
    }

    async fn send_notice(
        &self,
        tenant: &Tenant,
        order: &Order,
        username: &Username,
    ) -> Result<Sent, Failure> {
        let (to, languages) = tenant.address_of(username).await?;
        let about = About::Redeemed { at: order.accepted };
        self.mail(order, username, to, &languages, about).await?;
        Ok(Sent { token: None })
    }

    async fn mail(
        &self,
        order: &Order,
        username: &Username,
        to: EmailAddress,
        languages: &[Language],
        about: About,
    ) -> Result<(), Failure> {
        let Ways { mailer, mails, .. } = &self.0.ways;
        let not_configured = || Failure::for_good("not_configured", &"no mail is sent any more");
        let (Some(mailer), Some(mail)) = (mailer, mails.get(&order.tenant)) else {
            return Err(not_configured());
        };
        let TenantMail { from, templates, product } = mail;
        let rendered = templates.render(languages, &Values { username, product, about });
        let rendered = rendered.map_err(|error| Failure::for_good("template", &error))?;
        let id = LetterId::parse(&order.id.to_string()).ok_or_else(not_configured)?;
        let letter = Letter { id, to, from: from.clone(), date: order.accepted, rendered };
        Ok(mailer.send(&letter).await?)
    }

    /// Hands a link to the service that sends it in its own way.
    async fn hand_over_link(
        &self,
        order: &Order,
        link: &Link,
        prepared: &Prepared,
    ) -> Result<(), Failure> {
        let is_it = |endpoint: &&Endpoint| endpoint.takes_links_of(&order.tenant);
        let endpoint = self.0.ways.endpoints.iter().find(is_it).ok_or_else(gone)?;
        let may_carry_token = endpoint.may_carry_token().ok_or_else(gone)?;
        let message = webhook::Delivery {
            at: order.accepted,
            tenant: order.tenant.clone(),
            facts: facts(&prepared.claims).ok_or_else(gone)?,
            token: prepared.token.clone(),
            link: prepared.link.clone(),
            caller: link.caller.clone(),
            to: prepared.to.clone(),
            language: prepared.languages.first().cloned(),
        };
        let body = message.to_body(&may_carry_token);
        let body = body.map_err(|error| Failure::for_good("internal", &error))?;
        debug_assert!(body.len() <= MAX_BODY_BYTES);
        self.send_to(endpoint, order, Arc::new(body)).await
    }

    /// Sends a message on a thread that may wait.
    async fn send_to(
        &self,
        endpoint: &Endpoint,
        order: &Order,
        body: Arc<impl AsRef<[u8]> + Send + Sync + 'static>,
    ) -> Result<(), Failure> {
        let (endpoint, id) = (endpoint.clone(), format!("msg_{}", order.id));
        let now = self.0.service.now();
        let sent =
            tokio::task::spawn_blocking(move || endpoint.send(&id, now, (*body).as_ref())).await;
        match sent {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Failure::broken_off()),
        }
    }

    fn endpoint(&self, name: &str) -> Result<&Endpoint, Failure> {
        self.0.ways.endpoints.iter().find(|endpoint| endpoint.name() == name).ok_or_else(gone)
    }
}

/// It was there when it was promised.
fn gone() -> Failure {
    Failure::for_good("not_configured", &"the webhook is not configured any more")
}
