//! The whole route table and the layers around it. A request enters here.

mod api;
mod body;
mod caller;
mod document;
mod head;
mod observe;
mod problem;
mod well_known;

pub use observe::ON_EVERY_ANSWER;
pub use problem::{ProblemKind, REGISTRY};

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::domain::caller::Scope;
use crate::random::Random;
use crate::service::ResetService;
use body::BodyLimits;
use caller::require;
use problem::Problem;

/// The longest request target in bytes: the longest token and as much again.
const MAX_TARGET_BYTES: usize = 16 * 1024;
/// The most bytes of headers.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// What a connection must be able to buffer for the two above to be judged here.
pub const MAX_HEAD_BYTES: usize = MAX_TARGET_BYTES + MAX_HEADER_BYTES + 1024;

/// Limits on what a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest body in bytes.
    pub max_body_bytes: usize,
    /// Time for the whole body.
    pub body_timeout: Duration,
}

/// Every route, with the scope it asks for.
pub fn router(service: ResetService, limits: Limits) -> Router {
    let needs = |scope: Scope| from_fn_with_state((service.clone(), scope), require);
    let api = Router::new()
        .route("/password-tokens", post(api::issue).layer(needs(Scope::Issue)))
        .route(
            "/password-tokens/{token}",
            get(api::check)
                .layer(needs(Scope::Check))
                .merge(delete(api::delete).layer(needs(Scope::Revoke))),
        )
        .route("/redemptions", post(api::redeem).layer(needs(Scope::Redeem)))
        .route("/revocations", post(api::revoke).layer(needs(Scope::Revoke)));
    let open = Router::new()
        .route("/.well-known/jwks.json", get(well_known::jwks))
        .route("/.well-known/reset-token-issuer", get(well_known::issuer))
        .route("/tenants/{tenant}/.well-known/jwks.json", get(well_known::jwks))
        .route("/tenants/{tenant}/.well-known/reset-token-issuer", get(well_known::issuer))
        .route("/health/live", get(well_known::live))
        .route("/health/ready", get(well_known::ready));
    api.merge(open)
        .fallback(|| async { Problem::new(ProblemKind::NotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(ProblemKind::MethodNotAllowed) })
        .with_state(service)
        .layer(axum::Extension(BodyLimits::from(limits)))
        .layer(from_fn(head::judge))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(Arc::new(Random::new()), observe::observe))
}
