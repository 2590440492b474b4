//! What the operations do: the same as the native API, for whoever may do it there.

use axum::http::{HeaderMap, header};

use super::answer::ResponseError;
use super::fault::{Fault, error};
use super::members::{Member, Members};
use crate::domain::dialect::{Guid, Misplaced, Named, ServiceStack};
use crate::domain::email::EmailAddress;
use crate::domain::identifier::Username;
use crate::domain::issue::IssueRequest;
use crate::domain::language::Language;
use crate::domain::order::Channel;
use crate::domain::policy::{Expiry, TenantName};
use crate::domain::secret::Secret;
use crate::http::problem::{Problem, ProblemKind};
use crate::service::{DeliveryRequest, RedeemRequest, Tenant};

/// The tenant whose users a request means. What is listed for another tenant than the caller's is as if it were not.
pub(super) fn tenant_of<'d>(
    dialect: &'d ServiceStack,
    members: &Members,
    of_caller: Option<&TenantName>,
) -> Result<&'d TenantName, Fault> {
    let guid = |member| match members.get(member).map(Guid::parse) {
        Some(None) => {
            Err(Fault::of_member(member, "SerializationException", "Wanted a GUID of 32 digits."))
        }
        Some(guid) => Ok(guid),
        None => Ok(None),
    };
    let named = Named {
        appliance: guid(Member::ApplianceId)?,
        suite: guid(Member::SuiteId)?,
        subdomain: members.get(Member::SubdomainName),
    };
    dialect.tenant_of(named, of_caller).map_err(|misplaced| {
        let member = match misplaced {
            Misplaced::Appliance => Member::ApplianceId,
            Misplaced::Suite => Member::SuiteId,
            Misplaced::Subdomain => Member::SubdomainName,
        };
        let message = "It names nothing here, or something else than another member does.";
        Fault::of_member(member, "Predicate", message)
    })
}

/// What `GetResetPasswordToken` asks to have sent. Where no directory says where to, the user's name does, which
/// must be an address then.
pub(super) fn delivery(
    tenant: &Tenant,
    members: &Members,
    headers: &HeaderMap,
) -> Result<DeliveryRequest, Fault> {
    let mut errors = Vec::new();
    let addressee = addressee(tenant, members).map_err(|error| errors.push(error)).ok();
    let wanted = members.get(Member::ApplianceLoginUrl);
    let return_url = wanted.and_then(|url| tenant.sending().return_urls.allow(url));
    if wanted.is_some() && return_url.is_none() {
        let message = "It is not one of the addresses that links may lead to.";
        errors.push(error(Member::ApplianceLoginUrl, "Predicate", message));
    }
    match (addressee, Fault::of_members(errors)) {
        (Some((username, to)), None) => Ok(DeliveryRequest {
            issue: IssueRequest {
                username,
                credential_id: None,
                credential_version: None,
                user_id: None,
                expiry: Expiry::Default,
            },
            channel: Channel::Email,
            to,
            languages: languages(headers),
            return_url: return_url.map(|url| url.as_str().to_owned()),
        }),
        (_, Some(fault)) => Err(fault),
        (None, None) => Err(Problem::new(ProblemKind::Internal).into()),
    }
}

/// Whom a link is for, and where to if no directory says so.
fn addressee(
    tenant: &Tenant,
    members: &Members,
) -> Result<(Username, Option<EmailAddress>), ResponseError> {
    let refused = |code, message| error(Member::UserName, code, message);
    let name = members.get(Member::UserName);
    let name = name.ok_or(refused("NotEmpty", "'User Name' must not be empty."))?;
    let wanted = "Wanted at most 256 bytes of text in Unicode form NFC.";
    let username = Username::parse(name).ok_or(refused("Predicate", wanted))?;
    if tenant.sending().users.is_some() {
        return Ok((username, None));
    }
    let wanted = "'User Name' is not a valid email address.";
    let to = EmailAddress::parse(name).ok_or(refused("Email", wanted))?;
    Ok((username, Some(to)))
}

/// The token that `PasswordReset` asks to have spent. Of the passwords it is looked at whether they are the same,
/// so that no token is spent for one that was mistyped; the app behind it sets the password.
pub(super) fn redemption(members: &Members) -> Result<RedeemRequest, Fault> {
    let mut errors = Vec::new();
    let (token, password) = (members.get(Member::Token), members.get(Member::NewPassword));
    if token.is_none() {
        errors.push(error(Member::Token, "NotEmpty", "'Token' must not be empty."));
    }
    if password != members.get(Member::ConfirmPassword) {
        let message = "'Confirm Password' must be equal to 'New Password'.";
        errors.push(error(Member::ConfirmPassword, "Equal", message));
    }
    Fault::of_members(errors).map_or(Ok(()), Err)?;
    Ok(RedeemRequest {
        token: Secret::new(token.unwrap_or_default()),
        credential_id: None,
        credential_version: None,
        hold: None,
    })
}

fn languages(headers: &HeaderMap) -> Vec<Language> {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    accepted.map(Language::accepted).unwrap_or_default()
}
