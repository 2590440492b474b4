//! The key of a request that may be repeated (draft-ietf-httpapi-idempotency-key-header §2.1).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::body::JsonBody;
use super::caller::CalledBy;
use super::problem::{Problem, ProblemKind};
use crate::journal::Attempt;

/// The key of a request, if it has one: a string in quotes, or as most clients send it without.
#[derive(Clone, Debug)]
pub(super) struct IdempotencyKey(Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut keys = parts.headers.get_all("idempotency-key").iter();
        let refused = || Problem::new(ProblemKind::AttemptKey);
        match (keys.next(), keys.next()) {
            (None, _) => Ok(Self(None)),
            (Some(_), Some(_)) => Err(refused()),
            (Some(key), None) => {
                let key = key.to_str().map_err(|_| refused())?;
                let bare =
                    key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
                let is_visible = bare.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
                let is_key = (1..=255).contains(&bare.len()) && is_visible;
                is_key.then(|| Self(Some(bare.into()))).ok_or_else(refused)
            }
        }
    }
}

impl IdempotencyKey {
    /// The try that it makes of a request.
    pub(super) fn attempt(&self, by: &CalledBy, body: &JsonBody) -> Option<Attempt> {
        let key = self.0.as_deref()?;
        Some(by.tenant.attempt(&by.caller, key, body.bytes()))
    }
}
