//! What messages say: one of each kind, whole.

use std::collections::BTreeSet;

use resetd::domain::email::EmailAddress;
use resetd::domain::identifier::{CredentialId, UserId, Username};
use resetd::domain::language::Language;
use resetd::domain::order::Channel;
use resetd::domain::policy::TenantName;
use resetd::domain::secret::Secret;
use resetd::domain::webhook::EventKind;
use resetd::webhook::{Delivery, Endpoint, Event, Revoked, TokenFacts, What};
use resetd_verify::{Timestamp, TokenId};
use serde_json::{Value, json};

use super::{TOKEN, endpoint, webhook};

pub(super) const AT: Timestamp = Timestamp::from_seconds(1_800_000_000);

pub(super) fn facts() -> TokenFacts {
    TokenFacts {
        id: TokenId::from_bytes([7; 16]),
        username: Username::parse("alice@example.com").unwrap(),
        credential_id: CredentialId::parse("alice-password"),
        user_id: UserId::parse("4711"),
        expires: Timestamp::from_seconds(1_800_000_900),
    }
}

/// Everything there is to tell, of each kind but the one with a token.
pub(super) fn events() -> Vec<Event> {
    let caller = || "web".to_owned();
    let (channel, before) = (Channel::Email, AT);
    let username = facts().username;
    let revoked = |revoked| What::Revoked { revoked, caller: Some(caller()) };
    [
        What::Issued { token: facts(), caller: caller() },
        What::Delivered { token: facts(), channel },
        What::DeliveryFailed { token: facts(), channel, reason: "no such mailbox".into() },
        What::Redeemed { token: facts(), caller: caller() },
        revoked(Revoked::Token(facts())),
        revoked(Revoked::TokenId(facts().id)),
        revoked(Revoked::User { username, before }),
        revoked(Revoked::Everything { before }),
        What::Revoked { revoked: Revoked::Token(facts()), caller: None },
        What::Reused { token: facts(), reason: "spent", operation: "redeem", caller: caller() },
        What::Test { webhook: "app".into() },
    ]
    .map(|what| Event { at: AT, tenant: TenantName::default(), what })
    .into()
}

pub(super) fn delivery() -> Delivery {
    Delivery {
        at: AT,
        tenant: TenantName::default(),
        facts: facts(),
        token: Secret::new(TOKEN),
        link: Secret::new(format!("https://app.example.com/reset#{TOKEN}")),
        caller: "web".into(),
        to: EmailAddress::parse("alice@example.com"),
        language: Language::parse("de"),
    }
}

/// The one message with a token, as an endpoint gets it that may.
pub(super) fn delivery_body(endpoint: &Endpoint) -> Vec<u8> {
    delivery().to_body(&endpoint.may_carry_token().unwrap()).unwrap().to_vec()
}

fn carrying() -> Endpoint {
    let mut webhook = webhook("https://app.example.com/");
    webhook.may_carry_token = true;
    Endpoint::new(webhook)
}

pub(super) fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// The body of one of each kind.
pub(super) fn bodies() -> Vec<Value> {
    let bodies = events().into_iter().map(|event| json_of(&event.to_body().unwrap()));
    bodies.chain([json_of(&delivery_body(&carrying()))]).collect()
}

#[test]
fn a_message_says_its_type_its_time_and_what_happened_and_nothing_else() {
    let token = json!({
        "tenant": "default",
        "tokenId": "BwcHBwcHBwcHBwcHBwcHBw",
        "username": "alice@example.com",
        "credentialId": "alice-password",
        "userId": "4711",
        "expiredTime": "2027-01-15T08:15:00Z",
    });
    let and = |more: Value| {
        let mut data = token.clone();
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    let (id, before) = (&token["tokenId"], "2027-01-15T08:00:00Z");
    let link = format!("https://app.example.com/reset#{TOKEN}");
    let wanted = [
        ("password-token.issued", and(json!({ "caller": "web" }))),
        ("password-token.delivered", and(json!({ "channel": "email" }))),
        (
            "password-token.delivery_failed",
            and(json!({ "channel": "email", "reason": "no such mailbox" })),
        ),
        ("password-token.redeemed", and(json!({ "caller": "web" }))),
        ("password-token.revoked", and(json!({ "revoked": "token", "caller": "web" }))),
        (
            "password-token.revoked",
            json!({ "tenant": "default", "revoked": "token", "tokenId": id, "caller": "web" }),
        ),
        (
            "password-token.revoked",
            json!({ "tenant": "default", "revoked": "user", "username": "alice@example.com", "before": before, "caller": "web" }),
        ),
        (
            "password-token.revoked",
            json!({ "tenant": "default", "revoked": "everything", "before": before, "caller": "web" }),
        ),
        ("password-token.revoked", and(json!({ "revoked": "token" }))),
        (
            "password-token.reused",
            and(json!({ "reason": "spent", "operation": "redeem", "caller": "web" })),
        ),
        ("webhook.test", json!({ "tenant": "default", "webhook": "app" })),
        (
            "password-token.delivery",
            and(json!({
                "caller": "web",
                "carriesToken": true,
                "token": TOKEN,
                "link": link,
                "to": "alice@example.com",
                "language": "de",
            })),
        ),
    ];
    let found = bodies();
    assert_eq!(found.len(), wanted.len());
    for (found, (kind, data)) in found.into_iter().zip(wanted) {
        let timestamp = "2027-01-15T08:00:00Z";
        assert_eq!(found, json!({ "type": kind, "timestamp": timestamp, "data": data }));
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let token = TokenFacts { credential_id: None, user_id: None, ..facts() };
    let what = What::Issued { token, caller: "web".into() };
    let event = Event { at: AT, tenant: TenantName::default(), what };
    let body = json_of(&event.to_body().unwrap());
    let members: BTreeSet<_> =
        body["data"].as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = BTreeSet::from(["tenant", "tokenId", "username", "expiredTime", "caller"]);
    assert_eq!(members, wanted);
}

#[test]
fn no_message_but_the_one_that_hands_a_token_on_can_hold_one() {
    for event in events() {
        let body = String::from_utf8(event.to_body().unwrap()).unwrap();
        assert!(!body.contains("eyJ") && !body.contains("\"token\":"), "{body}");
        assert_ne!(event.kind(), EventKind::Delivery);
    }
    assert!(String::from_utf8(delivery_body(&carrying())).unwrap().contains(TOKEN));
    // Whoever is not configured for it cannot even have it written.
    assert!(endpoint("https://app.example.com/").may_carry_token().is_none());
    assert!(!format!("{:?}", delivery()).contains(TOKEN));
}

#[test]
fn the_longest_message_is_sent() {
    let name = "\u{e9}".repeat(128);
    let token = TokenFacts {
        username: Username::parse(&name).unwrap(),
        credential_id: CredentialId::parse(&name),
        user_id: UserId::parse(&name),
        ..facts()
    };
    // As of an RSA key of 8192 bits, with all that a token can say.
    let longest = "a".repeat(4000);
    let delivery = Delivery {
        facts: token.clone(),
        token: Secret::new(longest.clone()),
        link: Secret::new(format!("https://a.example/{}#{longest}", "a".repeat(1000))),
        ..delivery()
    };
    let permit = carrying().may_carry_token().unwrap();
    assert!(delivery.to_body(&permit).unwrap().len() < resetd::webhook::MAX_BODY_BYTES);
    let reason = "\"".repeat(100_000);
    let what = What::DeliveryFailed { token, channel: Channel::Email, reason };
    let event = Event { at: AT, tenant: TenantName::default(), what };
    assert!(event.to_body().unwrap().len() < 5000);
}
