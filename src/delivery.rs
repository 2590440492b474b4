//! Sends what waits in the outbox: links and notices by mail, links and news to webhooks. What fails for now
//! is tried again until it is of no use any more; what came of it is logged, recorded and told.

mod attempt;
mod pause;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::audit::{Action, Audit, Event, MAX_REASON, OK};
use crate::domain::identifier::masked;
use crate::domain::mail::Sender;
use crate::domain::order::{Channel, Errand, News, Order};
use crate::domain::policy::TenantName;
use crate::mail::{Mailer, Templates};
use crate::outbox::Taken;
use crate::random::Random;
use crate::service::ResetService;
use crate::webhook::{Endpoint, TokenFacts, What};

use attempt::{Failure, Sent};
use pause::pause;

/// Sends what waits. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Delivery(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: ResetService,
    ways: Ways,
    audit: Audit,
    random: Random,
}

/// The ways that things leave by.
#[derive(Debug, Default)]
pub struct Ways {
    /// By mail.
    pub mailer: Option<Mailer>,
    /// What the mails of each tenant are like.
    pub mails: BTreeMap<TenantName, TenantMail>,
    /// To services.
    pub endpoints: Vec<Endpoint>,
}

/// What the mails of a tenant are like.
#[derive(Clone, Debug)]
pub struct TenantMail {
    /// Who they come from.
    pub from: Sender,
    /// What they say.
    pub templates: Templates,
    /// What people know the place as where the password is for.
    pub product: String,
}

/// A task that ends with whoever waits for it.
struct EndedWithUs<T>(JoinHandle<T>);

impl<T> Drop for EndedWithUs<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Delivery {
    /// Gets ready; nothing is sent yet.
    pub fn new(service: ResetService, ways: Ways, audit: Audit) -> Self {
        Self(Arc::new(Inner { service, ways, audit, random: Random::new() }))
    }

    /// Sends whatever is due, until it is told when to be done. What is due by then is sent, and what is on
    /// its way may arrive.
    pub async fn run(self, mut end: watch::Receiver<Option<Instant>>) {
        let mut running = JoinSet::new();
        let end = loop {
            let taken = tokio::select! {
                taken = self.0.service.outbox().next() => taken,
                end = end.wait_for(Option::is_some) => {
                    break end.map_or_else(|_| Instant::now(), |end| end.unwrap_or_else(Instant::now));
                }
            };
            running.spawn(self.clone().settle(taken));
            while running.try_join_next().is_some() {}
        };
        // What is cut off here was not crossed out, so it is sent after the next start.
        let _ = timeout_at(end, self.drain(&mut running)).await;
    }

    async fn drain(&self, running: &mut JoinSet<()>) {
        loop {
            while let Some(taken) = self.0.service.outbox().due() {
                running.spawn(self.clone().settle(taken));
            }
            if running.join_next().await.is_none() {
                return;
            }
        }
    }

    /// Tries an order once and says what came of it. Whatever happens in there, the order is not lost.
    async fn settle(self, mut taken: Taken) {
        let (delivery, order, is_signed) = (self.clone(), taken.order.clone(), taken.is_signed);
        let attempt = async move { delivery.attempt(&order, is_signed).await };
        let mut attempt = EndedWithUs(tokio::spawn(attempt));
        let ended = (&mut attempt.0).await.unwrap_or_else(|_| Err(Failure::broken_off()));
        match ended {
            Ok(sent) => self.sent(&taken.order, &sent),
            Err(failure) => {
                taken.is_signed |= failure.is_signed;
                if let Some(pause) = self.pause(&taken, &failure) {
                    let order = &taken.order;
                    tracing::warn!(
                        tenant = order.tenant.as_str(), id = %order.id, lane = lane(order), tries = taken.tries + 1,
                        again_in_seconds = pause.as_secs(), reason = failure.reason,
                        "not sent; it is tried again"
                    );
                    self.0.service.outbox().again(taken, pause);
                    return;
                }
                self.given_up(&taken.order, &failure, taken.is_signed);
            }
        }
    }

    /// How long to wait before the next try, if there is to be one.
    fn pause(&self, taken: &Taken, failure: &Failure) -> Option<Duration> {
        let chance = self.0.random.bytes().map_or(u8::MAX, u8::from_be_bytes);
        let left = Duration::from_secs(taken.order.until.since(self.0.service.now()));
        // Whoever wants to be left alone for longer than there is time is asked once more half-way.
        let wished = failure.again_after?.min(left / 2);
        let pause = pause(taken.tries, chance).max(wished);
        (pause < left).then_some(pause)
    }

    fn sent(&self, order: &Order, sent: &Sent) {
        tracing::info!(
            tenant = order.tenant.as_str(), id = %order.id, lane = lane(order), "sent"
        );
        self.record(order, OK, None);
        if let (Some(token), Some(channel)) = (&sent.token, channel(order)) {
            let token = token.clone();
            self.announce(order, What::Delivered { token, channel });
        }
        self.0.service.outbox().done(order, "sent");
    }

    fn given_up(&self, order: &Order, failure: &Failure, is_signed: bool) {
        let (code, reason) = (failure.code, &failure.reason);
        tracing::warn!(
            tenant = order.tenant.as_str(), id = %order.id, lane = lane(order), code, reason,
            "not sent, and not tried again"
        );
        self.record(order, code, Some(reason.chars().take(MAX_REASON).collect()));
        let was_answered =
            matches!(&order.errand, Errand::Link(link) if link.news == News::Sending);
        let is_signed = is_signed || was_answered;
        if let (Some(token), Some(channel)) = (failed_token(order), channel(order))
            && (failure.is_of_a_user || is_signed || !self.hides_users(order))
        {
            self.announce(order, What::DeliveryFailed { token, channel, reason: reason.clone() });
        }
        self.0.service.outbox().done(order, code);
    }

    /// Whether it may be that there is no such user.
    fn hides_users(&self, order: &Order) -> bool {
        let tenant = self.0.service.tenant(&order.tenant);
        tenant.is_none_or(|tenant| tenant.sending().users.is_some())
    }

    fn announce(&self, order: &Order, what: What) {
        if matches!(&order.errand, Errand::Link(link) if link.news == News::None) {
            return;
        }
        if let Some(tenant) = self.0.service.tenant(&order.tenant) {
            tenant.announce(what);
        }
    }

    /// News to services make no line of their own: what they are about has made one.
    fn record(&self, order: &Order, outcome: &'static str, reason: Option<String>) {
        let (username, caller, jti) = match &order.errand {
            Errand::Link(link) => {
                (&link.username, Some(link.caller.clone()), Some(order.id.to_string()))
            }
            Errand::Notice { username } => (username, None, None),
            Errand::Event { .. } => return,
        };
        self.0.audit.record(Event {
            tenant: Some(order.tenant.to_string()),
            username: Some(masked(username.as_str())),
            caller,
            jti,
            reason,
            ..Event::new(Action::Delivered, outcome)
        });
    }
}

fn lane(order: &Order) -> &'static str {
    order.lane().kind()
}

/// By which way a link goes.
fn channel(order: &Order) -> Option<Channel> {
    let Errand::Link(link) = &order.errand else { return None };
    Some(link.channel)
}

/// What is known of a token that was perhaps never signed.
fn failed_token(order: &Order) -> Option<TokenFacts> {
    let Errand::Link(link) = &order.errand else { return None };
    Some(TokenFacts {
        id: order.id,
        username: link.username.clone(),
        credential_id: link.credential_id.clone(),
        user_id: link.user_id.clone(),
        expires: order.until,
    })
}
