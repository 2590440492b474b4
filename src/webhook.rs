//! Signed messages to the apps that want to know (Standard Webhooks 1.0.0): one attempt at a time. Whoever
//! calls this decides when to try again, and keeps what is not sent yet.

mod event;
mod sign;

use std::time::Duration;

use resetd_verify::Timestamp;

use crate::domain::policy::TenantName;
use crate::domain::target::Target;
use crate::domain::time::from_http_date;
use crate::domain::webhook::{EventKind, SigningSecret, Webhook};
use crate::fetch::{FetchError, Guarded, Reply};
use crate::random::{NoRandomness, Random};

pub use event::{Delivery, Event, MayCarryToken, Revoked, TokenFacts, What};

use sign::signatures;

/// What a message calls its sender.
const USER_AGENT: &str = concat!("resetd/", env!("CARGO_PKG_VERSION"));

/// A receiver may ask for this much patience and not more: no token lives longer.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest body. Receivers may refuse longer ones, and nothing that is told needs as much.
pub const MAX_BODY_BYTES: usize = 20_000;

/// A receiver of messages.
#[derive(Clone, Debug)]
pub struct Endpoint {
    name: String,
    tenant: TenantName,
    events: Vec<EventKind>,
    may_carry_token: bool,
    secrets: Vec<SigningSecret>,
    client: Guarded,
}

/// Why a message was not taken. All of them can be tried again unless [`SendError::is_permanent`] says
/// otherwise: an app that answers 404 or has a bad certificate today is mended tomorrow. None of them
/// holds a token, a secret, or more of the URL than its host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The receiver wants no more messages.
    #[error("it answered 410, so it wants no more messages; remove it from the configuration")]
    Gone,
    /// It answered, and not that it took the message.
    #[error("it answered {status}, wanted 200 to 299")]
    Refused {
        /// The status.
        status: u16,
        /// For how long it asked to be left alone, at most [`MAX_RETRY_AFTER`].
        retry_after: Option<Duration>,
    },
    /// It answered that it is elsewhere. Where that is, is the word of whoever answered.
    #[error("it answered {status}, and redirects are not followed; configure the URL it is at")]
    Redirected {
        /// The status.
        status: u16,
    },
    /// There is no answer.
    #[error(transparent)]
    Unanswered(FetchError),
    /// The message cannot be sent to anybody: its name has a dot, so its signature could be another's.
    #[error("the message's id is not 1 to 128 characters A-Z a-z 0-9 _ -")]
    BadId,
    /// The message is longer than [`MAX_BODY_BYTES`].
    #[error("the message has {0} bytes, and at most {MAX_BODY_BYTES} are sent")]
    TooLong(usize),
    /// A secret that was good when it was read does not sign.
    #[error("a secret cannot be used to sign")]
    Unsigned,
}

impl SendError {
    /// Whether trying again is of no use.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Gone | Self::BadId | Self::TooLong(_) | Self::Unsigned => true,
            Self::Refused { .. } | Self::Redirected { .. } | Self::Unanswered(_) => false,
        }
    }

    /// For how long the receiver asked to be left alone, at most [`MAX_RETRY_AFTER`].
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Refused { retry_after, .. } = self else {
            return None;
        };
        *retry_after
    }
}

impl Endpoint {
    /// Makes it ready; nothing is sent yet.
    pub fn new(webhook: Webhook) -> Self {
        Self {
            name: webhook.name,
            tenant: webhook.tenant,
            events: webhook.events,
            may_carry_token: webhook.may_carry_token,
            secrets: webhook.secrets,
            client: Guarded::new(webhook.target, webhook.timeout),
        }
    }

    /// Its name, for logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tenant whose events it gets.
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// Where it is.
    pub fn target(&self) -> &Target {
        self.client.target()
    }

    /// Whether it gets such an event of this tenant.
    pub fn wants(&self, kind: EventKind, tenant: &TenantName) -> bool {
        *tenant == self.tenant && self.events.contains(&kind)
    }

    /// Whether it sends the links of this tenant.
    pub fn takes_links_of(&self, tenant: &TenantName) -> bool {
        self.may_carry_token && self.wants(EventKind::Delivery, tenant)
    }

    /// What a message that holds a token is made with, if this endpoint may get one.
    pub fn may_carry_token(&self) -> Option<MayCarryToken> {
        self.may_carry_token.then(MayCarryToken::new)
    }

    /// Sends a message once, and blocks until it is known what became of it. `id` stays the same however
    /// often the message is sent, and `timestamp` is the time of this attempt.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, id: &str, timestamp: Timestamp, body: &[u8]) -> Result<(), SendError> {
        self.status_of(id, timestamp, body).map(drop)
    }

    /// The same, for whoever wants to see the status with which it was taken.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn status_of(&self, id: &str, timestamp: Timestamp, body: &[u8]) -> Result<u16, SendError> {
        if !is_message_id(id) {
            return Err(SendError::BadId);
        }
        if body.len() > MAX_BODY_BYTES {
            return Err(SendError::TooLong(body.len()));
        }
        let signatures = signatures(&self.secrets, id, timestamp, body);
        let headers = [
            ("content-type", "application/json"),
            ("user-agent", USER_AGENT),
            ("webhook-id", id),
            ("webhook-timestamp", &timestamp.seconds().to_string()),
            ("webhook-signature", &signatures.map_err(|_| SendError::Unsigned)?),
        ];
        let reply = self.client.post(&headers, body).map_err(SendError::Unanswered)?;
        verdict(&reply, timestamp)
    }
}

/// What an answer means.
fn verdict(reply: &Reply, now: Timestamp) -> Result<u16, SendError> {
    match reply.status {
        status @ 200..=299 => Ok(status),
        status @ 300..=399 => Err(SendError::Redirected { status }),
        410 => Err(SendError::Gone),
        status => {
            let asked = reply.retry_after.as_deref().and_then(|text| retry_after(text, now));
            Err(SendError::Refused { status, retry_after: asked })
        }
    }
}

/// Seconds, or a date (RFC 9110 §10.2.3). What cannot be read asks for nothing.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = if is_number {
        // One with more digits than fit is a long time all the same.
        text.parse().unwrap_or(u64::MAX)
    } else {
        from_http_date(text)?.seconds().saturating_sub(now.seconds())
    };
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// A name for a new message. It tells nothing of what the message is about.
///
/// # Errors
/// [`NoRandomness`].
pub fn message_id(random: &Random) -> Result<String, NoRandomness> {
    Ok(format!("msg_{}", random.token_id()?))
}

/// The parts of what is signed are told apart by dots, so the first may have none.
fn is_message_id(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=128).contains(&id.len()) && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn answered(status: u16, retry_after: Option<&str>) -> Result<u16, SendError> {
        verdict(&Reply { status, retry_after: retry_after.map(Into::into) }, NOW)
    }

    #[test]
    fn whatever_is_no_2xx_is_tried_again_but_410() {
        for status in [200, 202, 204, 299] {
            assert_eq!(answered(status, None), Ok(status));
        }
        for status in [301, 302, 303, 307, 308, 304] {
            let error = answered(status, None).unwrap_err();
            assert_eq!(error, SendError::Redirected { status });
            assert!(!error.is_permanent());
        }
        for status in [100, 400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 504, 999] {
            let error = answered(status, None).unwrap_err();
            assert_eq!(error, SendError::Refused { status, retry_after: None });
            assert!(!error.is_permanent());
        }
        assert!(answered(410, Some("60")).unwrap_err().is_permanent());
    }

    #[test]
    fn a_receiver_may_say_when_to_come_again_within_bounds() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("86401", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("Fri, 15 Jan 2027 08:01:00 GMT", Some(60)),
            ("Thu, 14 Jan 2027 08:00:00 GMT", Some(0)),
            ("Sun, 31 Jan 2027 08:00:00 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let found = answered(503, Some(text)).unwrap_err().retry_after();
            assert_eq!(found, seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_message_is_named_without_a_dot() {
        let random = Random::new();
        let ids = [message_id(&random).unwrap(), message_id(&random).unwrap()];
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| is_message_id(id) && id.len() == 26), "{ids:?}");
        for id in ["", "a.b", "a b", "a\r\nb", "é", &"a".repeat(129)] {
            assert!(!is_message_id(id), "{id:?}");
        }
    }
}
