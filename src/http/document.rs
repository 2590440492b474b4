//! A public document that clients keep for a while.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// A document. Any page may read it: there is nothing secret in it.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) media_type: &'static str,
    pub(super) text: String,
    /// Seconds for which it may be kept.
    pub(super) max_age: u64,
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.media_type.to_owned()),
            (header::CACHE_CONTROL, format!("public, max-age={}", self.max_age)),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
        ];
        (headers, self.text).into_response()
    }
}
