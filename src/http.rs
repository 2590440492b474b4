//! The whole route table and the layers around it. A request enters here.

mod admin;
mod api;
mod audited;
mod body;
mod caller;
mod deliveries;
mod dialect;
mod document;
mod head;
mod holder;
mod idempotency;
mod limit;
mod metrics;
mod observe;
mod page;
mod problem;
mod redemptions;
mod reload;
mod source;
mod undisturbed;
mod well_known;

pub use limit::{Gate, Rates, TenantRates};
pub use observe::{ON_EVERY_ANSWER, only_over_tls};
pub use page::{Page, PageError, Pages};
pub use problem::{ProblemKind, REGISTRY};
pub use reload::{ReloadConfig, Reloaded};
pub use source::Source;

use std::time::Duration;

use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;

use crate::domain::caller::Scope;
use crate::domain::dialect::Dialects;
use crate::key_admin::RunningKeys;
use body::BodyLimits;
use caller::require;
use observe::Observer;
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

/// What is there if the configuration says so.
#[derive(Clone, Debug, Default)]
pub struct Optional {
    /// The pages for people.
    pub pages: Pages,
    /// The APIs of others.
    pub dialects: Dialects,
}

/// Who is let in where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Apps, edges and people.
    Apps,
    /// Admins.
    Admins,
    /// Both.
    Everybody,
}

/// All that is behind a door.
pub fn router(
    keys: &RunningKeys,
    limits: Limits,
    gate: &Gate,
    optional: &Optional,
    door: Door,
) -> Router {
    let routes = match door {
        Door::Apps => app_routes(keys, gate, optional),
        Door::Admins => admin_routes(keys, gate),
        Door::Everybody => app_routes(keys, gate, optional).merge(admin_routes(keys, gate)),
    };
    let routes = routes
        .fallback(|| async { Problem::new(ProblemKind::NotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(ProblemKind::MethodNotAllowed) })
        .layer(Extension(BodyLimits::from(limits)))
        .layer(from_fn(head::judge))
        .layer(CatchPanicLayer::custom(observe::panicked));
    dialect::translated(routes, &optional.dialects, keys.service())
        .layer(from_fn_with_state(Observer::new(keys.audit().clone()), observe::observe))
        .layer(from_fn_with_state(gate.clone(), source::resolve))
}

/// Every route of apps, edges and people, with the scope it asks for.
fn app_routes(keys: &RunningKeys, gate: &Gate, optional: &Optional) -> Router {
    let service = keys.service();
    let needs = |scope: Scope| from_fn_with_state((service.clone(), gate.clone(), scope), require);
    let holders = from_fn_with_state((service.clone(), gate.clone()), holder::disown);
    let tokens =
        Router::new().route("/password-tokens", post(api::issue).layer(needs(Scope::Issue))).route(
            "/password-tokens/{token}",
            get(api::check)
                .layer(needs(Scope::Check))
                .merge(delete(api::delete).layer(needs(Scope::Revoke))),
        );
    let api = dialect::before(tokens, &optional.dialects, service, gate)
        .route("/deliveries", post(deliveries::deliver).layer(needs(Scope::Deliver)))
        .route("/redemptions", post(redemptions::redeem).layer(needs(Scope::Redeem)))
        .route("/redemptions/{id}/commit", post(redemptions::commit).layer(needs(Scope::Redeem)))
        .route("/redemptions/{id}/cancel", post(redemptions::cancel).layer(needs(Scope::Redeem)))
        .layer(Extension(gate.clone()))
        .route_layer(from_fn_with_state(gate.clone(), limit::per_source))
        // Counts for itself, since whoever has a live token is not counted.
        .route("/revocations", post(api::revoke).layer(needs(Scope::Revoke)).layer(holders));
    let open = Router::new()
        .route("/.well-known/jwks.json", get(well_known::jwks))
        .route("/.well-known/reset-token-issuer", get(well_known::issuer))
        .route("/tenants/{tenant}/.well-known/jwks.json", get(well_known::jwks))
        .route("/tenants/{tenant}/.well-known/reset-token-issuer", get(well_known::issuer))
        .route("/health/live", get(well_known::live));
    let ready = Router::new().route("/health/ready", get(well_known::ready));
    let people = page::routes(&optional.pages, gate);
    let others = dialect::routes(&optional.dialects, gate);
    api.merge(open)
        .merge(people)
        .merge(others)
        .with_state(service.clone())
        .merge(ready.with_state(keys.clone()))
}

/// Every route of admins, with the scope it asks for.
fn admin_routes(keys: &RunningKeys, gate: &Gate) -> Router {
    let service = keys.service();
    let needs = |scope: Scope| from_fn_with_state((service.clone(), gate.clone(), scope), require);
    let read = Router::new()
        .route("/admin/keys", get(admin::list))
        .route("/admin/keys/{kid}", get(admin::show))
        .route("/admin/keys/{kid}/export", get(admin::export))
        .route_layer(needs(Scope::KeysRead));
    let write = Router::new()
        .route("/admin/keys", post(admin::generate))
        .route("/admin/keys/import", post(admin::import))
        .route("/admin/keys/rotate", post(admin::rotate))
        .route("/admin/keys/prune", post(admin::prune))
        .route("/admin/keys/{kid}/activate", post(admin::activate))
        .route("/admin/keys/{kid}/retire", post(admin::retire))
        .route("/admin/keys/{kid}/revoke", post(admin::revoke))
        .route_layer(from_fn(admin::of_own_keys))
        .route_layer(needs(Scope::KeysWrite));
    let metrics =
        Router::new().route("/metrics", get(metrics::metrics)).route_layer(needs(Scope::Metrics));
    let config = Router::new()
        .route("/admin/config/reload", post(reload::reload))
        .route_layer(needs(Scope::Config));
    let all = read.merge(write).merge(metrics).merge(config);
    all.route_layer(from_fn_with_state(gate.clone(), limit::per_source)).with_state(keys.clone())
}
