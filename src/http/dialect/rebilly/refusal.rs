//! What is refused to a client of Rebilly, whichever layer refuses it: the same facts as in the native API, as
//! `application/json` and with the statuses that its clients know.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;

use super::client::Spoken;
use crate::domain::dialect::Rebilly;
use crate::http::limit;
use crate::http::observe::request_id;
use crate::http::problem::{InvalidField, ProblemKind, Refusal};
use crate::service::ResetService;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RETRY_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-retry-after");

/// Marks what is said in this dialect, and answers it so.
pub(super) async fn translate(
    State((service, dialect)): State<(ResetService, Rebilly)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(spoken) = Spoken::of(&request, &dialect) else {
        return next.run(request).await;
    };
    request.extensions_mut().insert(spoken);
    let is_write = [Method::POST, Method::DELETE].contains(request.method());
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        if let (ProblemKind::RateLimited, Some(wait)) = (refusal.kind, refusal.retry_after) {
            let again = service.now().plus(wait).seconds();
            response.headers_mut().insert(RETRY_AFTER, again.into());
        }
        tell(refusal, spoken, &mut response);
    }
    if let Some((quota, left)) = limit::scarcest().filter(|_| is_write) {
        response.headers_mut().insert(LIMIT, quota.into());
        response.headers_mut().insert(REMAINING, left.into());
    }
    response
}

/// Replaces the body of a refusal.
fn tell(refusal: Refusal, spoken: Spoken, response: &mut Response) {
    let Words { status, detail, field } = words(refusal.kind, spoken);
    let status = status.unwrap_or(refusal.status);
    let mut invalid_fields = refusal.invalid_fields;
    invalid_fields.extend(field.map(|(field, message)| InvalidField::known(field, message)));
    let body = Told {
        status: status.as_u16(),
        r#type: format!("urn:resetd:problem:{}", refusal.kind.code()),
        title: refusal.kind.title(),
        detail: detail.unwrap_or(refusal.kind.detail()),
        instance: request_id().map(|id| format!("urn:resetd:request:{id}")),
        invalid_fields: &invalid_fields,
    };
    *response.body_mut() = Body::from(serde_json::to_string(&body).unwrap_or_default());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
}

/// A refusal as Rebilly's clients read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'t> {
    status: u16,
    r#type: String,
    title: &'static str,
    detail: &'static str,
    /// By the id in the `X-Request-Id` header. Never the path: it may hold a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    invalid_fields: &'t [InvalidField],
}

/// What is said otherwise than in the native API.
#[derive(Default)]
struct Words {
    status: Option<StatusCode>,
    detail: Option<&'static str>,
    /// A member of the request and what is wrong with it.
    field: Option<(&'static str, &'static str)>,
}

impl Words {
    fn detail(detail: &'static str) -> Self {
        Self { detail: Some(detail), ..Self::default() }
    }

    fn invalid(field: &'static str, message: &'static str) -> Self {
        let status = Some(StatusCode::UNPROCESSABLE_ENTITY);
        Self { status, field: Some((field, message)), ..Self::default() }
    }
}

/// Its clients know 401, 403, 404, 405, 409, 422 and 429 by name, and one of them shows of a 422 nothing but its
/// fields. All other statuses are as they are.
fn words(kind: ProblemKind, spoken: Spoken) -> Words {
    use ProblemKind as Kind;
    match kind {
        Kind::Unauthenticated => Words::detail(
            "Send a key as REB-APIKEY: rsk_…, or a key or an access token as Authorization: Bearer …. Of both, one must be good.",
        ),
        Kind::SeveralCredentials => {
            Words::detail("Send at most one REB-APIKEY header and at most one Authorization header.")
        }
        Kind::MethodNotAllowed if spoken == Spoken::OfAll => Words::detail(
            "Tokens are signed and not stored, so there is no list of them. The Allow header lists the methods of this path.",
        ),
        Kind::UserUnknown => Words::invalid("username", "the directory has nobody of this name"),
        Kind::UserDisabled => {
            Words::invalid("username", "the directory says that the user may not log in")
        }
        Kind::UserMismatch => {
            Words::invalid("credentialId", "the directory has another one of this user")
        }
        Kind::ExpiryInPast => Words::invalid("expiredTime", "wanted a time in the future"),
        // What the paths of this dialect answer as the native ones do.
        Kind::MethodNotAllowed
        | Kind::TokenUnknown
        | Kind::TokenExpired
        | Kind::TokenUsed
        | Kind::TokenRevoked
        | Kind::TokenPredatesStart
        | Kind::TokenHeld
        | Kind::RedemptionRunning
        | Kind::CredentialInQuery
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::MalformedJson
        | Kind::InvalidRequest
        | Kind::DeliveryOnly
        | Kind::DirectoryUnavailable
        | Kind::UnsupportedMediaType
        | Kind::BodyTooLarge
        | Kind::BodyTimeout
        | Kind::BodyIncomplete
        | Kind::BadHost
        | Kind::BadFraming
        | Kind::TargetTooLong
        | Kind::HeadersTooLarge
        | Kind::RateLimited
        | Kind::Busy
        | Kind::Full
        | Kind::NoActiveKey
        | Kind::JournalFull
        | Kind::JournalFailed
        | Kind::ClockBehind
        | Kind::Internal
        // What they never answer.
        | Kind::CredentialMismatch
        | Kind::VersionMismatch
        | Kind::RedemptionUnknown
        | Kind::RedemptionCommitted
        | Kind::HoldCancelled
        | Kind::HoldExpired
        | Kind::CutoffInFuture
        | Kind::AttemptKey
        | Kind::AttemptRunning
        | Kind::AttemptOther
        | Kind::NotSendable
        | Kind::OutboxFull
        | Kind::OutboxFailed
        | Kind::KeyUnknown
        | Kind::KeyTooSoon
        | Kind::KeyWrongState
        | Kind::KeyInUse
        | Kind::TooManyKeys
        | Kind::KeyExists
        | Kind::KeysShared
        | Kind::KeyRejected
        | Kind::KeysUnusable
        | Kind::ConfigInvalid => Words::default(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::http::REGISTRY;
    use crate::http::problem::Problem;

    #[tokio::test]
    async fn every_refusal_is_an_object_of_this_dialect_with_the_status_of_its_answer() {
        for kind in REGISTRY {
            for spoken in [Spoken::OfAll, Spoken::OfOne] {
                let mut response = Problem::new(*kind).into_response();
                let refusal = response.extensions_mut().remove::<Refusal>().unwrap();
                tell(refusal, spoken, &mut response);
                assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
                let status = response.status();
                let body = to_bytes(response.into_body(), 65_536).await.unwrap();
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(body["status"], status.as_u16());
                assert_eq!(body["type"], format!("urn:resetd:problem:{}", kind.code()));
                for member in ["title", "detail"] {
                    assert!(!body[member].as_str().unwrap().is_empty(), "{kind:?}");
                }
                let names = body.as_object().unwrap().len();
                assert_eq!(names, if body["invalidFields"].is_null() { 4 } else { 5 });
            }
        }
    }

    #[test]
    fn who_is_told_of_a_user_is_told_by_the_field_that_names_the_user() {
        for (kind, field) in [
            (ProblemKind::UserUnknown, "username"),
            (ProblemKind::UserDisabled, "username"),
            (ProblemKind::UserMismatch, "credentialId"),
            (ProblemKind::ExpiryInPast, "expiredTime"),
        ] {
            let words = words(kind, Spoken::OfAll);
            assert_eq!(words.status, Some(StatusCode::UNPROCESSABLE_ENTITY));
            assert_eq!(words.field.unwrap().0, field);
        }
    }
}
