//! The native resources: handlers in the order of a token's life, then their wire types.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use resetd_verify::{Claims, Timestamp, TokenId};
use serde::Serialize;

use super::audited::{AboutTenant, AboutUser};
use super::body::{JsonBody, Members, positive, text};
use super::caller::CalledBy;
use super::idempotency::IdempotencyKey;
use super::limit::Gate;
use super::observe::AboutToken;
use super::problem::{Problem, ProblemKind};
use super::undisturbed::undisturbed;
use crate::domain::binding::CredentialVersion;
use crate::domain::caller::NoCaller;
use crate::domain::identifier::{CredentialId, UserId, Username};
use crate::domain::issue::{IssueRequest, IssuedToken};
use crate::domain::policy::Expiry;
use crate::domain::secret::Secret;
use crate::domain::time::{from_rfc3339, from_rfc3339_rounded_up, to_rfc3339};
use crate::journal::Attempt;
use crate::service::{Applied, Error, Revocation, Tenant};

/// What a time in a request must be.
pub(super) const TIME: &str = "a time such as \"2026-01-31T12:00:00Z\"";
/// What a token in a request must be; whether it is one is not for the form to say.
pub(super) const TOKEN: &str = "a token as it was issued";

/// `POST /password-tokens`
pub(super) async fn issue(
    by: CalledBy,
    Extension(gate): Extension<Gate>,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<Response, Problem> {
    let attempt = key.attempt(&by, &body);
    let request = read_issue_request(&body)?;
    let user = Extension(AboutUser::new(request.username.as_str()));
    let issued = match issue_to(&by, &gate, &request, attempt).await {
        Ok(issued) => issued,
        Err(problem) => return Ok((user, problem).into_response()),
    };
    let resource = PasswordToken::new(&by.tenant, issued.token.expose(), &issued.claims);
    let location = [(header::LOCATION, resource.links[0].href.clone())];
    let about = (user, Extension(AboutToken(issued.claims.jti)));
    Ok((StatusCode::CREATED, location, about, Json(&resource)).into_response())
}

/// A token, if this caller may see one of this user now.
pub(super) async fn issue_to(
    by: &CalledBy,
    gate: &Gate,
    request: &IssueRequest,
    attempt: Option<Attempt>,
) -> Result<Arc<IssuedToken>, Problem> {
    let tenant = &by.tenant.policy().tenant;
    // What nobody gets is not counted: what is left would tell how often others asked.
    if by.tenant.sending().hides_users() {
        return Err(Error::DeliveryOnly.into());
    }
    // An answer that is given again is no other link.
    match attempt.filter(|attempt| by.tenant.is_repeat(*attempt)) {
        Some(_) => {}
        None => gate.rules().admit_user(tenant, request.username.as_str())?,
    }
    Ok(by.tenant.issue(&by.caller, request, attempt).await?)
}

/// `GET /password-tokens/{token}`
pub(super) async fn check(
    CalledBy { caller, tenant }: CalledBy,
    token: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let token = token_in(token)?;
    let claims = tenant.check(&caller, &token)?;
    Ok((about(&claims), Json(PasswordToken::new(&tenant, &token, &claims))).into_response())
}

/// `DELETE /password-tokens/{token}`
pub(super) async fn delete(
    CalledBy { caller, tenant }: CalledBy,
    token: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let token = token_in(token)?;
    let claims = undisturbed(async move { tenant.revoke(&caller, &token).await }).await??;
    Ok((StatusCode::NO_CONTENT, about(&claims)).into_response())
}

/// What the log and the audit trail need to know of an answer about a token.
pub(super) fn about(claims: &Claims) -> (Extension<AboutToken>, Extension<AboutUser>) {
    (Extension(AboutToken(claims.jti)), Extension(AboutUser::new(&claims.sub)))
}

/// The token of a request that has nothing but a token. Anything else needs a caller.
pub(super) fn disowned_token(body: Result<JsonBody, Problem>) -> Result<Secret, Problem> {
    let token = body.and_then(|body| {
        let mut members = Members::of(&body)?;
        let token = members.required("token", TOKEN, text(secret));
        members.finish(token)
    });
    token.map_err(|_| Error::from(NoCaller::Missing).into())
}

/// `POST /revocations` by the holder of a token.
pub(super) async fn disown(tenant: Option<&Tenant>, token: Secret) -> Result<Response, Problem> {
    let Some(tenant) = tenant.cloned() else {
        return Ok(revoked("token", &Applied { token_id: None, before: None }));
    };
    let disowning = tenant.clone();
    let applied = undisturbed(async move { disowning.disown(token.expose()).await }).await??;
    // Of a token that is none of its own, the tenant has nothing in the trail.
    let is_known = applied.token_id.is_some();
    let about = is_known.then(|| Extension(AboutTenant(tenant.policy().tenant.to_string())));
    Ok((about, revoked("token", &applied)).into_response())
}

/// `POST /revocations`
pub(super) async fn revoke(
    CalledBy { caller, tenant }: CalledBy,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut members = Members::of(&body)?;
    let token = members.optional("token", TOKEN, text(secret));
    let token_id = members.optional("tokenId", "22 characters of base64url", text(TokenId::parse));
    let username = members.optional("username", Username::WANTED, text(Username::parse));
    let before = members.optional("before", "a time, or \"now\"", text(cutoff));
    let revocation = match (token, token_id, username, before) {
        (Some(token), None, None, None) => Some(Revocation::Token(token)),
        (None, Some(id), None, None) => Some(Revocation::TokenId(id)),
        (None, None, Some(user), before) => Some(Revocation::User(user, before.flatten())),
        (None, None, None, Some(before)) => Some(Revocation::Everything(before)),
        _ => {
            let wanted = "wanted token, tokenId, username, username and before, or before alone";
            members.refuse("(body)", wanted.into());
            None
        }
    };
    let revocation = members.finish(revocation)?;
    let user = match &revocation {
        Revocation::User(user, _) => Some(Extension(AboutUser::new(user.as_str()))),
        Revocation::Token(_) | Revocation::TokenId(_) | Revocation::Everything(_) => None,
    };
    let kind = kind(&revocation);
    let revoke = async move { tenant.apply(Some(&caller), &revocation).await };
    let applied = undisturbed(revoke).await?.map_err(Problem::from);
    Ok((user, applied.map(|applied| revoked(kind, &applied))).into_response())
}

fn revoked(kind: &'static str, applied: &Applied) -> Response {
    let about = applied.token_id.map(|jti| Extension(AboutToken(jti)));
    let resource = Revoked { revoked: kind, before: applied.before.map(to_rfc3339) };
    (StatusCode::CREATED, about, Json(resource)).into_response()
}

fn read_issue_request(body: &JsonBody) -> Result<IssueRequest, Problem> {
    let mut members = Members::of(body)?;
    let request = read_issue_members(&mut members);
    members.finish(request)
}

/// What a token is to say.
pub(super) fn read_issue_members(members: &mut Members<'_>) -> Option<IssueRequest> {
    let username = members.required("username", Username::WANTED, text(Username::parse));
    let (credential_id, credential_version) = credential(members);
    let user_id = members.optional("userId", UserId::WANTED, text(UserId::parse));
    let expired_time = members.optional("expiredTime", TIME, text(from_rfc3339));
    let ttl = members.optional("ttl", "whole seconds, 1 or more", positive);
    let expiry = match (expired_time, ttl) {
        (None, None) => Expiry::Default,
        (Some(time), None) => Expiry::At(time),
        (None, Some(seconds)) => Expiry::In(seconds),
        (Some(_), Some(_)) => {
            members.refuse("ttl", "wanted expiredTime or ttl; found both".into());
            Expiry::Default
        }
    };
    let username = username?;
    Some(IssueRequest { username, credential_id, credential_version, user_id, expiry })
}

/// Which credential is meant, and in which version.
pub(super) fn credential(
    members: &mut Members<'_>,
) -> (Option<CredentialId>, Option<CredentialVersion>) {
    let id = members.optional("credentialId", CredentialId::WANTED, text(CredentialId::parse));
    let version = members.optional(
        "credentialVersion",
        CredentialVersion::WANTED,
        text(CredentialVersion::parse),
    );
    (id, version)
}

/// A path that is not even UTF-8 names no token, like any other text that is none.
fn token_in(token: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    token.map(|Path(token)| token).map_err(|_| Problem::new(ProblemKind::TokenUnknown))
}

#[expect(clippy::unnecessary_wraps, reason = "any string may be presented as a token")]
pub(super) fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text))
}

/// "now" is none: everything issued so far.
#[expect(clippy::option_option, reason = "the outer one says whether the text could be read")]
fn cutoff(text: &str) -> Option<Option<Timestamp>> {
    if text == "now" { Some(None) } else { from_rfc3339_rounded_up(text).map(Some) }
}

fn kind(revocation: &Revocation) -> &'static str {
    match revocation {
        Revocation::Token(_) | Revocation::TokenId(_) => "token",
        Revocation::User(..) => "user",
        Revocation::Everything(_) => "everything",
    }
}

/// A live token as a resource.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PasswordToken<'t> {
    token: &'t str,
    username: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'t str>,
    expired_time: String,
    #[serde(rename = "_links")]
    links: [Link; 1],
}

#[derive(Serialize)]
pub(super) struct Link {
    pub(super) href: String,
    pub(super) rel: &'static str,
}

impl<'t> PasswordToken<'t> {
    fn new(tenant: &Tenant, token: &'t str, claims: &'t Claims) -> Self {
        let base_url = tenant.base_url();
        Self {
            token,
            username: &claims.sub,
            credential_id: claims.credential_id.as_deref(),
            user_id: claims.user_id.as_deref(),
            expired_time: to_rfc3339(claims.exp),
            links: [Link { href: format!("{base_url}/password-tokens/{token}"), rel: "self" }],
        }
    }
}

/// A revocation: the same for a token that was live and for one that never was.
#[derive(Serialize)]
struct Revoked {
    revoked: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}
