//! What goes over the wire: members that are read, and the three answers.

use resetd_verify::json::{self, Object};
use resetd_verify::{Claims, Timestamp};
use serde::Serialize;

use super::refusal::Refusal;
use crate::domain::issue::IssuedToken;
use crate::domain::time::to_rfc3339;
use crate::http::body::JsonBody;
use crate::http::problem::{Problem, ProblemKind};

/// Members that are not known are passed over, as the vendor's clients expect.
pub(super) fn object_in(body: &JsonBody) -> Result<Object<'_>, Refusal> {
    let object = json::parse_object(body.bytes());
    object.map_err(|_| Problem::new(ProblemKind::MalformedJson).into())
}

pub(super) fn text_of<'o>(object: &'o Object<'_>, name: &str) -> Option<&'o str> {
    object.member(name)?.as_str()
}

/// The app's own name of the user, or the one that the token always has.
pub(super) fn user_id_of(claims: &Claims) -> &str {
    claims.user_id.as_deref().unwrap_or(&claims.sub)
}

/// A time as the vendor writes it.
pub(super) fn milliseconds(time: Timestamp) -> String {
    let text = to_rfc3339(time);
    text.strip_suffix('Z').map_or(text.clone(), |text| format!("{text}.000Z"))
}

/// What a token is worth.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Worth<'t> {
    pub(super) token_valid: bool,
    pub(super) user_id: &'t str,
}

/// A token that was made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResetToken<'t> {
    token: &'t str,
    kind: &'static str,
    expires_at: String,
    is_redeemed: bool,
    user_id: &'t str,
}

impl<'t> ResetToken<'t> {
    pub(super) fn new(IssuedToken { token, claims }: &'t IssuedToken) -> Self {
        Self {
            token: token.expose(),
            kind: "RESET_PASSWORD",
            expires_at: milliseconds(claims.exp),
            is_redeemed: false,
            user_id: user_id_of(claims),
        }
    }
}

/// Whose password may be set now, and what of a user is known here. The last two are our own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner<'u> {
    pub(super) user_id: &'u str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<&'u str>,
    pub(super) username: &'u str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redeemed_time: Option<String>,
}
