//! The members that decide a key's state, for `jwk.rs`: read, and written.

use resetd_verify::json::Object;
use resetd_verify::{JwkError, KeyId, Timestamp};
use serde::Serialize;

use crate::domain::keyring::KeyTimes;
use crate::domain::time::{from_rfc3339, to_rfc3339};

/// The members that say what a key does when.
pub(super) const TIMES: [&str; 5] =
    ["created", "not_before", "retired_at", "revoked_at", "revokes"];

/// What the times in a key's file must be.
const TIME: &str = "a time such as \"2026-01-31T12:00:00Z\"";

/// Reads the times.
pub(super) fn read(jwk: &Object<'_>) -> Result<KeyTimes, JwkError> {
    Ok(KeyTimes {
        created: time(jwk, "created")?.ok_or(JwkError::invalid("created", TIME))?,
        not_before: time(jwk, "not_before")?.ok_or(JwkError::invalid("not_before", TIME))?,
        retired_at: time(jwk, "retired_at")?,
        revoked_at: time(jwk, "revoked_at")?,
        revokes: revokes(jwk)?,
    })
}

fn time(jwk: &Object<'_>, name: &'static str) -> Result<Option<Timestamp>, JwkError> {
    match jwk.member(name) {
        None => Ok(None),
        Some(value) => {
            let time = value.as_str().and_then(from_rfc3339);
            time.map(Some).ok_or(JwkError::invalid(name, TIME))
        }
    }
}

fn revokes(jwk: &Object<'_>) -> Result<Option<KeyId>, JwkError> {
    let Some(value) = jwk.member("revokes") else {
        return Ok(None);
    };
    let kid = value.as_str().and_then(KeyId::parse);
    kid.map(Some).ok_or(JwkError::invalid("revokes", "the identifier of the key it replaced"))
}

/// The times as they are written.
#[derive(Serialize)]
pub(super) struct Times<'a> {
    created: String,
    not_before: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revokes: Option<&'a KeyId>,
}

impl<'a> From<&'a KeyTimes> for Times<'a> {
    fn from(times: &'a KeyTimes) -> Self {
        Self {
            created: to_rfc3339(times.created),
            not_before: to_rfc3339(times.not_before),
            retired_at: times.retired_at.map(to_rfc3339),
            revoked_at: times.revoked_at.map(to_rfc3339),
            revokes: times.revokes.as_ref(),
        }
    }
}
