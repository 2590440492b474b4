//! The dialects: APIs of others, translated. Each file has one vendor's routes, what comes in, what goes out and
//! how refusals look there. A dialect calls the same operations of the service as the native API, for a caller
//! with the same scopes, so a caller can do nothing that the native API would refuse. Where a vendor's clients bring no
//! key, the dialect says who they are and sees to it that they do not ask too often.

mod fabric;
mod loginradius;
mod rebilly;
mod servicestack;

use axum::Router;
use axum::middleware::from_fn_with_state;

use super::limit::{self, Gate};
use crate::domain::dialect::Dialects;
use crate::service::ResetService;

/// The routes of every dialect that is on.
pub(super) fn routes(dialects: &Dialects, gate: &Gate) -> Router<ResetService> {
    let Dialects { rebilly, fabric, loginradius, servicestack } = dialects;
    let mut routes = Router::new();
    if let Some(rebilly) = rebilly {
        routes = routes.merge(rebilly::routes(rebilly, gate));
    }
    if let Some(loginradius) = loginradius {
        routes = routes.merge(loginradius::routes(loginradius, gate));
    }
    if let Some(servicestack) = servicestack {
        routes = routes.merge(servicestack::routes(servicestack, gate));
    }
    if routes.has_routes() {
        routes = routes.route_layer(from_fn_with_state(gate.clone(), limit::per_source));
    }
    // It limits sources itself, to refuse in its own words.
    if let Some(fabric) = fabric {
        routes = routes.merge(fabric::routes(fabric, gate));
    }
    routes
}

/// The native routes of tokens, with those dialects in front of them that have the same paths: each answers its own
/// clients alone.
pub(super) fn before(
    mut native: Router<ResetService>,
    dialects: &Dialects,
    service: &ResetService,
    gate: &Gate,
) -> Router<ResetService> {
    if let Some(rebilly) = &dialects.rebilly {
        native = rebilly::before(native, rebilly, service, gate);
    }
    native
}

/// All routes, with refusals in the words of the dialect that a request is in, whichever layer refuses.
pub(super) fn translated(
    mut routes: Router,
    dialects: &Dialects,
    service: &ResetService,
) -> Router {
    if let Some(rebilly) = &dialects.rebilly {
        routes = rebilly::translated(routes, rebilly, service);
    }
    routes
}
