//! The dialect of fabric's identity service.

use axum::Router;

use crate::domain::dialect::Fabric;
use crate::http::limit::Gate;
use crate::service::ResetService;

/// Its routes.
pub(super) fn routes(_dialect: &Fabric, _gate: &Gate) -> Router<ResetService> {
    Router::new()
}
