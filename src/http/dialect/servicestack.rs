//! The dialect of a `ServiceStack` service's password resets.

use axum::Router;

use crate::domain::dialect::ServiceStack;
use crate::http::limit::Gate;
use crate::service::ResetService;

/// Its routes.
pub(super) fn routes(_dialect: &ServiceStack, _gate: &Gate) -> Router<ResetService> {
    Router::new()
}
