//! Deliveries: having the link sent to its user, without seeing the token.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::api::read_issue_members;
use super::audited::AboutUser;
use super::body::{JsonBody, Members, text};
use super::caller::CalledBy;
use super::idempotency::IdempotencyKey;
use super::limit::Gate;
use super::observe::AboutToken;
use super::problem::Problem;
use super::undisturbed::undisturbed;
use crate::domain::email::EmailAddress;
use crate::domain::language::Language;
use crate::domain::order::Channel;
use crate::domain::time::to_rfc3339;
use crate::journal::Attempt;
use crate::service::{DeliveryRequest, Promised, Tenant};

/// `POST /deliveries`
pub(super) async fn deliver(
    by: CalledBy,
    Extension(gate): Extension<Gate>,
    key: IdempotencyKey,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let attempt = key.attempt(&by, &body);
    let request = read_request(&by.tenant, &headers, &body)?;
    let username = request.issue.username.as_str();
    let user = Extension(AboutUser::new(username));
    let promised = promise(&by, &gate, &request, attempt).await;
    let answer = promised.map(|promised| {
        let about = Extension(AboutToken(promised.id));
        (StatusCode::ACCEPTED, about, Json(Delivery::new(&request, promised)))
    });
    Ok((user, answer).into_response())
}

/// Promises a link for whoever may have it sent, and counts it.
pub(super) async fn promise(
    by: &CalledBy,
    gate: &Gate,
    request: &DeliveryRequest,
    attempt: Option<Attempt>,
) -> Result<Promised, Problem> {
    let (tenant, username) = (&by.tenant.policy().tenant, request.issue.username.as_str());
    by.tenant.require_sendable(request)?;
    let is_repeat = attempt.is_some_and(|attempt| by.tenant.is_repeat(attempt));
    // Where nobody may learn who is a user, a flood of requests for one looks like the first of them.
    let is_throttled = if is_repeat {
        false
    } else if by.tenant.sending().hides_users() {
        !gate.rules().admits_user_unseen(tenant, username)
    } else {
        gate.rules().admit_user(tenant, username)?;
        false
    };
    let (CalledBy { caller, tenant }, request) = (by.clone(), request.clone());
    let deliver = async move { tenant.deliver(&caller, &request, attempt, is_throttled).await };
    Ok(undisturbed(deliver).await??)
}

fn read_request(
    tenant: &Tenant,
    headers: &HeaderMap,
    body: &JsonBody,
) -> Result<DeliveryRequest, Problem> {
    let mut members = Members::of(body)?;
    let issue = read_issue_members(&mut members);
    let channel = members.optional("channel", Channel::WANTED, text(Channel::parse));
    let channel = channel.unwrap_or(Channel::Email);
    let to = read_address(tenant, channel, &mut members);
    let language = members.optional("language", Language::WANTED, text(Language::parse));
    let return_url = members.optional(
        "returnUrl",
        "one of the addresses in link.return_urls of the tenant",
        text(|url| tenant.sending().return_urls.allow(url).map(|url| url.as_str().to_owned())),
    );
    let issue = members.finish(issue)?;
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let accepted = accepted.map(Language::accepted).unwrap_or_default();
    let languages = language.into_iter().chain(accepted).collect();
    Ok(DeliveryRequest { issue, channel, to, languages, return_url })
}

/// Where a directory says where to, no caller may say otherwise.
fn read_address(
    tenant: &Tenant,
    channel: Channel,
    members: &mut Members<'_>,
) -> Option<EmailAddress> {
    let read = text(EmailAddress::parse);
    if tenant.sending().users.is_some() {
        if members.optional("to", EmailAddress::WANTED, &read).is_some() {
            let wanted = "wanted none: the directory of the tenant says where the link goes";
            members.refuse("to", wanted.into());
        }
        return None;
    }
    match channel {
        Channel::Email => members.required("to", EmailAddress::WANTED, read),
        Channel::Webhook => members.optional("to", EmailAddress::WANTED, read),
    }
}

/// A promise to send a link. It is the same whoever the user is, and whether there is one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Delivery<'d> {
    username: &'d str,
    channel: Channel,
    expired_time: String,
}

impl<'d> Delivery<'d> {
    fn new(request: &'d DeliveryRequest, promised: Promised) -> Self {
        Self {
            username: request.issue.username.as_str(),
            channel: request.channel,
            expired_time: to_rfc3339(promised.exp),
        }
    }
}
