//! What everybody may read: the keys, who the issuer is, and whether it works.

use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use resetd_verify::{PublicKey, TOKEN_TYPE};
use serde::Serialize;
use serde_json::json;

use super::document::{Document, Keep};
use super::problem::{Problem, ProblemKind};
use crate::domain::policy::TenantName;
use crate::domain::time::to_rfc3339;
use crate::key_admin::RunningKeys;
use crate::service::{ResetService, Tenant};
use crate::tls::RunningTls;

/// The tenant whose documents a path is about; a path that names none is about the default one.
#[derive(Debug)]
pub(super) struct Of(pub(super) Tenant);

impl FromRequestParts<ResetService> for Of {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &ResetService,
    ) -> Result<Self, Problem> {
        let not_found = || Problem::new(ProblemKind::NotFound);
        let params = RawPathParams::from_request_parts(parts, service);
        let params = params.await.map_err(|_| not_found())?;
        let name = match params.iter().next() {
            None => Some(TenantName::default()),
            Some((_, name)) => TenantName::parse(name),
        };
        let tenant = name.and_then(|name| service.tenant(&name).cloned());
        tenant.map(Self).ok_or_else(not_found)
    }
}

/// `GET /.well-known/jwks.json` (RFC 7517 §5).
pub(super) async fn jwks(Of(tenant): Of, headers: HeaderMap) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Set {
        keys: Vec<PublicKey>,
    }
    let jwks = tenant.jwks()?;
    let document = Document {
        media_type: "application/jwk-set+json",
        text: serde_json::to_string(&Set { keys: jwks.keys }).unwrap_or_default().into(),
        keep: Keep::Public(jwks.max_age),
    };
    Ok(document.answer(&headers))
}

/// `GET /.well-known/reset-token-issuer`: what an edge needs to know to verify, in the manner of
/// RFC 8414. The documents of a tenant are below its issuer, the API is the same for all.
pub(super) async fn issuer(Of(tenant): Of, headers: HeaderMap) -> Result<Response, Problem> {
    let jwks = tenant.jwks()?;
    let mut algorithms: Vec<_> = jwks.keys.iter().map(PublicKey::algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let policy = tenant.policy();
    let at = |path: &str| format!("{}{path}", tenant.base_url());
    let metadata = json!({
        "issuer": policy.issuer,
        "audience": policy.audience,
        "jwks_uri": format!("{}/.well-known/jwks.json", policy.issuer),
        "token_type": TOKEN_TYPE,
        "signing_alg_values_supported": algorithms,
        "max_lifetime_seconds": policy.lifetime.max,
        "password_tokens_endpoint": at("/password-tokens"),
        "redemptions_endpoint": at("/redemptions"),
        "revocations_endpoint": at("/revocations"),
    });
    let (media_type, text) = ("application/json", metadata.to_string().into());
    Ok(Document { media_type, text, keep: Keep::Public(jwks.max_age) }.answer(&headers))
}

/// `GET /health/live`: the process answers.
pub(super) async fn live() -> Json<serde_json::Value> {
    Json(json!({ "status": "live" }))
}

/// `GET /health/ready`: tokens can be issued and redeemed; else a problem names what is missing. How
/// the rotation of keys goes stands beside it, for all tenants together: no name is told here. So does
/// what is not known of the time before the start, and the certificate where there is one.
pub(super) async fn ready(
    State(keys): State<RunningKeys>,
    tls: Option<Extension<RunningTls>>,
) -> Result<Response, Problem> {
    keys.service().readiness()?;
    let health = keys.health();
    let rotation = json!({
        "activeKeyAgeSeconds": health.iter().filter_map(|it| it.active_for).max(),
        "nextRotation": health.iter().filter_map(|it| it.next_rotation).min().map(to_rfc3339),
        "rotationFailing": health.iter().any(|it| it.is_failing),
        "lastRotationFailure": health.iter().filter_map(|it| it.last_failure).max().map(to_rfc3339),
        "faultyFiles": health.iter().map(|it| it.faults.len()).sum::<usize>(),
    });
    let past = keys.service().past();
    let state = json!({
        "refusesIssuedBefore": past.refused_before.map(to_rfc3339),
        "because": past.because,
    });
    let mut answer = json!({ "status": "ready", "keys": rotation, "state": state });
    // Not how much waits: what is sent to users who are there waits longer, and anybody may ask this.
    answer["outbox"] = json!({ "failing": keys.service().outbox().is_failing() });
    if let Some(Extension(tls)) = tls {
        let health = tls.health();
        answer["tls"] = json!({
            "certificateExpires": health.expires.map(to_rfc3339),
            "reloadFailing": health.is_failing,
        });
    }
    Ok(Json(answer).into_response())
}
