//! The dialect of `LoginRadius`' identity API.

use axum::Router;

use crate::domain::dialect::LoginRadius;
use crate::http::limit::Gate;
use crate::service::ResetService;

/// Its routes.
pub(super) fn routes(_dialect: &LoginRadius, _gate: &Gate) -> Router<ResetService> {
    Router::new()
}
