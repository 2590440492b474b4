//! Redemptions: spending a token at once, or holding it and saying later what became of it.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use resetd_verify::json::Value;
use resetd_verify::{Claims, TokenId};
use serde::Serialize;

use super::api::{Link, TOKEN, about, credential, secret};
use super::audited::AskedToHold;
use super::body::{JsonBody, Members, text};
use super::caller::CalledBy;
use super::idempotency::IdempotencyKey;
use super::observe::AboutToken;
use super::problem::Problem;
use super::undisturbed::undisturbed;
use crate::domain::policy::MAX_HOLD;
use crate::domain::time::to_rfc3339;
use crate::service::{Error, Phase, RedeemRequest, Redemption, RedemptionId, Tenant};

/// `POST /redemptions`
pub(super) async fn redeem(
    by: CalledBy,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<Response, Problem> {
    let attempt = key.attempt(&by, &body);
    let request = read_request(&body)?;
    let asked = request.hold.map(|_| Extension(AskedToHold));
    let CalledBy { caller, tenant } = by.clone();
    let redeem = async move { tenant.redeem(&caller, &request, attempt).await };
    let answer = undisturbed(redeem)
        .await?
        .map_err(|error| Problem::from(error).on_redeeming())
        .map(|it| (StatusCode::CREATED, about(&it.claims), Json(Resource::new(&by.tenant, it))));
    Ok((asked, answer).into_response())
}

/// `POST /redemptions/{id}/commit`
pub(super) async fn commit(
    by: CalledBy,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = read_id(id)?;
    let CalledBy { caller, tenant } = by;
    let committed = undisturbed(async move { tenant.commit(&caller, &id).await }).await?;
    let at = committed.map_err(|error| Problem::from(error).on_redeeming())?;
    Ok(ended(&id, "redeemed", Some(to_rfc3339(at))))
}

/// `POST /redemptions/{id}/cancel`
pub(super) async fn cancel(
    by: CalledBy,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = read_id(id)?;
    by.tenant.cancel(&by.caller, &id).await?;
    Ok(ended(&id, "cancelled", None))
}

fn read_request(body: &JsonBody) -> Result<RedeemRequest, Problem> {
    let mut members = Members::of(body)?;
    let token = members.required("token", TOKEN, text(secret));
    let (credential_id, credential_version) = credential(&mut members);
    let hold = members.optional("hold", &format!("whole seconds, 1 to {MAX_HOLD}"), hold);
    let token = members.finish(token)?;
    Ok(RedeemRequest { token, credential_id, credential_version, hold })
}

fn hold(value: &Value<'_>) -> Option<u64> {
    super::body::positive(value).filter(|seconds| *seconds <= MAX_HOLD)
}

/// Whatever is no identifier names no redemption.
fn read_id(id: Result<Path<String>, PathRejection>) -> Result<RedemptionId, Problem> {
    let id = id.ok().and_then(|Path(id)| RedemptionId::parse(&id));
    id.ok_or_else(|| Error::RedemptionUnknown.into())
}

fn ended(id: &RedemptionId, status: &'static str, redeemed_time: Option<String>) -> Response {
    let token_id = id.token_id();
    let ended = Ended { redemption_id: *id, status, token_id, redeemed_time };
    (Extension(AboutToken(token_id)), Json(ended)).into_response()
}

/// A token that is spent, or held: whose password may be set.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    redemption_id: Option<RedemptionId>,
    token_id: TokenId,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redeemed_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_expired_time: Option<String>,
    #[serde(rename = "_links", skip_serializing_if = "<[_]>::is_empty")]
    links: Vec<Link>,
}

impl Resource {
    fn new(tenant: &Tenant, Redemption { claims, phase }: Redemption) -> Self {
        let Claims { jti, sub, credential_id, user_id, .. } = claims;
        let (status, id, redeemed) = match phase {
            Phase::Redeemed(at) => ("redeemed", None, Some(at)),
            Phase::Held(id) => ("held", Some(id), None),
        };
        let link = |rel, id: RedemptionId| {
            let base_url = tenant.base_url();
            Link { href: format!("{base_url}/redemptions/{id}/{rel}"), rel }
        };
        Self {
            status,
            redemption_id: id,
            token_id: jti,
            username: sub,
            credential_id,
            user_id,
            redeemed_time: redeemed.map(to_rfc3339),
            hold_expired_time: id.map(|id| to_rfc3339(id.end())),
            links: id.map_or_else(Vec::new, |id| vec![link("commit", id), link("cancel", id)]),
        }
    }
}

/// What became of a token that was held.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    status: &'static str,
    redemption_id: RedemptionId,
    token_id: TokenId,
    #[serde(skip_serializing_if = "Option::is_none")]
    redeemed_time: Option<String>,
}
