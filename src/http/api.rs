//! The native resources: handlers in the order of a token's life, then their wire types.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use resetd_verify::{Claims, Timestamp, TokenId};
use serde::Serialize;

use super::body::{JsonBody, Members, positive, text};
use super::caller::{ActingFor, CalledBy};
use super::observe::AboutToken;
use super::problem::{Problem, ProblemKind};
use crate::domain::identifier::{CredentialId, UserId, Username};
use crate::domain::issue::IssueRequest;
use crate::domain::policy::Expiry;
use crate::domain::time::{from_rfc3339, from_rfc3339_rounded_up, to_rfc3339};
use crate::service::{Revocation, Tenant};

/// What a time in a request must be.
const TIME: &str = "a time such as \"2026-01-31T12:00:00Z\"";
/// What a token in a request must be; whether it is one is not for the form to say.
const TOKEN: &str = "a token as it was issued";

/// `POST /password-tokens`
pub(super) async fn issue(
    ActingFor(tenant): ActingFor,
    body: JsonBody,
) -> Result<Response, Problem> {
    let request = read_issue_request(&body)?;
    let issued = tenant.issue(&request).await?;
    let resource = PasswordToken::new(&tenant, issued.token.expose(), &issued.claims);
    let location = [(header::LOCATION, resource.links[0].href.clone())];
    let about = Extension(AboutToken(issued.claims.jti));
    Ok((StatusCode::CREATED, location, about, Json(&resource)).into_response())
}

/// `GET /password-tokens/{token}`
pub(super) async fn check(
    ActingFor(tenant): ActingFor,
    token: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let token = token_in(token)?;
    let claims = tenant.check(&token)?;
    let about = Extension(AboutToken(claims.jti));
    Ok((about, Json(PasswordToken::new(&tenant, &token, &claims))).into_response())
}

/// `DELETE /password-tokens/{token}`
pub(super) async fn delete(
    ActingFor(tenant): ActingFor,
    token: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let claims = tenant.revoke(&token_in(token)?).await?;
    Ok((StatusCode::NO_CONTENT, Extension(AboutToken(claims.jti))).into_response())
}

/// `POST /redemptions`
pub(super) async fn redeem(
    CalledBy { caller, tenant }: CalledBy,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let attempt = key.map(|key| tenant.attempt(&caller, key, body.bytes()));
    let mut members = Members::of(&body)?;
    let token = members.required("token", TOKEN, text(owned));
    let credential_id =
        members.optional("credentialId", CredentialId::WANTED, text(CredentialId::parse));
    let token = members.finish(token)?;
    let redemption = tenant
        .redeem(&token, credential_id.as_ref(), attempt)
        .await
        .map_err(|error| Problem::from(error).on_redeeming())?;
    let about = Extension(AboutToken(redemption.claims.jti));
    let resource = Redeemed::new(redemption.claims, redemption.redeemed_at);
    Ok((StatusCode::CREATED, about, Json(resource)).into_response())
}

/// `POST /revocations`
pub(super) async fn revoke(
    ActingFor(tenant): ActingFor,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut members = Members::of(&body)?;
    let token = members.optional("token", TOKEN, text(owned));
    let token_id = members.optional("tokenId", "22 characters of base64url", text(TokenId::parse));
    let username = members.optional("username", Username::WANTED, text(Username::parse));
    let before = members.optional("before", "a time, or \"now\"", text(cutoff));
    let revocation = match (&token, token_id, username, before) {
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
    let applied = tenant.apply(&revocation).await?;
    let before = applied.before.map(to_rfc3339);
    let about = applied.token_id.map(|jti| Extension(AboutToken(jti)));
    let resource = Revoked { revoked: kind(&revocation), before };
    Ok((StatusCode::CREATED, about, Json(resource)).into_response())
}

/// The key of a request that may be repeated (draft-ietf-httpapi-idempotency-key-header §2.1): a string
/// in quotes, or as most clients send it without.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let refused = || Problem::new(ProblemKind::AttemptKey);
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(refused()),
        (Some(key), None) => {
            let key = key.to_str().map_err(|_| refused())?;
            let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
            let is_visible = bare.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
            let is_key = (1..=255).contains(&bare.len()) && is_visible;
            is_key.then_some(Some(bare)).ok_or_else(refused)
        }
    }
}

fn read_issue_request(body: &JsonBody) -> Result<IssueRequest, Problem> {
    let mut members = Members::of(body)?;
    let username = members.required("username", Username::WANTED, text(Username::parse));
    let credential_id =
        members.optional("credentialId", CredentialId::WANTED, text(CredentialId::parse));
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
    let username = members.finish(username)?;
    Ok(IssueRequest { username, credential_id, user_id, expiry })
}

/// A path that is not even UTF-8 names no token, like any other text that is none.
fn token_in(token: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    token.map(|Path(token)| token).map_err(|_| Problem::new(ProblemKind::TokenUnknown))
}

#[expect(clippy::unnecessary_wraps, reason = "any string may be presented as a token")]
fn owned(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// "now" is none: everything issued so far.
#[expect(clippy::option_option, reason = "the outer one says whether the text could be read")]
fn cutoff(text: &str) -> Option<Option<Timestamp>> {
    if text == "now" { Some(None) } else { from_rfc3339_rounded_up(text).map(Some) }
}

fn kind(revocation: &Revocation<'_>) -> &'static str {
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
struct Link {
    href: String,
    rel: &'static str,
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

/// A spent token: whose password may be set.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Redeemed {
    token_id: TokenId,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(rename = "redeemedTime")]
    at: String,
}

impl Redeemed {
    fn new(claims: Claims, redeemed_at: Timestamp) -> Self {
        Self {
            token_id: claims.jti,
            username: claims.sub,
            credential_id: claims.credential_id,
            user_id: claims.user_id,
            at: to_rfc3339(redeemed_at),
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
