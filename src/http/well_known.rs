//! What everybody may read: the keys, who the issuer is, and whether it works.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use resetd_verify::{PublicKey, TOKEN_TYPE};
use serde::Serialize;
use serde_json::json;

use super::problem::Problem;
use crate::service::ResetService;

/// `GET /.well-known/jwks.json` (RFC 7517 §5). Any page may read it: there is nothing secret in it.
pub(super) async fn jwks(State(service): State<ResetService>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Set {
        keys: Vec<PublicKey>,
    }
    let jwks = service.jwks()?;
    let headers = [
        (header::CONTENT_TYPE, "application/jwk-set+json".to_owned()),
        (header::CACHE_CONTROL, format!("public, max-age={}", jwks.max_age)),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    let set = serde_json::to_string(&Set { keys: jwks.keys }).unwrap_or_default();
    Ok((headers, set).into_response())
}

/// `GET /.well-known/reset-token-issuer`: what an edge needs to know to verify, in the manner of
/// RFC 8414.
pub(super) async fn issuer(State(service): State<ResetService>) -> Result<Response, Problem> {
    let jwks = service.jwks()?;
    let mut algorithms: Vec<_> = jwks.keys.iter().map(PublicKey::algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let policy = service.policy();
    let at = |path: &str| format!("{}{path}", policy.issuer);
    let metadata = json!({
        "issuer": policy.issuer,
        "audience": policy.audience,
        "jwks_uri": at("/.well-known/jwks.json"),
        "token_type": TOKEN_TYPE,
        "signing_alg_values_supported": algorithms,
        "max_lifetime_seconds": policy.lifetime.max,
        "password_tokens_endpoint": at("/password-tokens"),
        "redemptions_endpoint": at("/redemptions"),
        "revocations_endpoint": at("/revocations"),
    });
    let headers = [
        (header::CACHE_CONTROL, format!("public, max-age={}", jwks.max_age)),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    Ok((headers, Json(metadata)).into_response())
}

/// `GET /health/live`: the process answers.
pub(super) async fn live() -> Json<serde_json::Value> {
    Json(json!({ "status": "live" }))
}

/// `GET /health/ready`: tokens can be issued and redeemed; else a problem names what is missing.
pub(super) async fn ready(
    State(service): State<ResetService>,
) -> Result<Json<serde_json::Value>, Problem> {
    service.readiness()?;
    Ok(Json(json!({ "status": "ready" })))
}
