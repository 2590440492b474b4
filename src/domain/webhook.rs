//! What a webhook is: who gets which events, and the secrets that show who sent them.

mod secret;

use std::time::Duration;

use super::policy::TenantName;
use super::target::Target;

pub use secret::{SecretError, SecretKind, SigningSecret};

pub(super) use secret::without_signing_secrets;

/// A receiver of events, as it is configured.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its name, for logs.
    pub name: String,
    /// The tenant whose events it gets.
    pub tenant: TenantName,
    /// Where it is.
    pub target: Target,
    /// The events that it wants.
    pub events: Vec<EventKind>,
    /// Each of them signs every message: while one replaces another, a receiver may know either.
    pub secrets: Vec<SigningSecret>,
    /// Time for one whole exchange.
    pub timeout: Duration,
    /// Whether it may be sent tokens.
    pub may_carry_token: bool,
}

/// The most secrets of one webhook: more would be a header that not every receiver takes.
pub const MOST_SECRETS: usize = 8;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A token was issued.
    Issued,
    /// A token was handed on: to a mail server, or to a webhook.
    Delivered,
    /// A token could not be handed on, and is not tried again.
    DeliveryFailed,
    /// A token was redeemed.
    Redeemed,
    /// Tokens were revoked.
    Revoked,
    /// A token was presented after it was spent, or while somebody else held it.
    Reused,
    /// A token, to be handed on by the receiver. This message alone carries one.
    Delivery,
    /// Somebody tries out whether messages arrive.
    Test,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [Self; 8] = [
        Self::Issued,
        Self::Delivered,
        Self::DeliveryFailed,
        Self::Redeemed,
        Self::Revoked,
        Self::Reused,
        Self::Delivery,
        Self::Test,
    ];

    /// `type` of its messages.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Issued => "password-token.issued",
            Self::Delivered => "password-token.delivered",
            Self::DeliveryFailed => "password-token.delivery_failed",
            Self::Redeemed => "password-token.redeemed",
            Self::Revoked => "password-token.revoked",
            Self::Reused => "password-token.reused",
            Self::Delivery => "password-token.delivery",
            Self::Test => "webhook.test",
        }
    }

    /// The name as it stands in configuration. A test is asked for by hand, and has none.
    pub fn name(self) -> Option<&'static str> {
        self.type_name().strip_prefix("password-token.")
    }

    /// Reads a name of the configuration, exactly.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_event_is_named_without_its_prefix_and_a_test_not_at_all() {
        let names: Vec<_> = EventKind::ALL.into_iter().filter_map(EventKind::name).collect();
        assert_eq!(
            names,
            ["issued", "delivered", "delivery_failed", "redeemed", "revoked", "reused", "delivery"]
        );
        for name in names {
            assert_eq!(EventKind::parse(name).and_then(EventKind::name), Some(name));
        }
        for name in ["", "test", "webhook.test", "password-token.issued", "Issued"] {
            assert_eq!(EventKind::parse(name), None, "{name}");
        }
    }
}
