//! The dialect of Rebilly's password tokens.

use axum::Router;

use crate::domain::dialect::Rebilly;
use crate::http::limit::Gate;
use crate::service::ResetService;

/// Its routes.
pub(super) fn routes(_dialect: &Rebilly, _gate: &Gate) -> Router<ResetService> {
    Router::new()
}
