//! Refusals in fabric's words: an object of three strings. `code` is one of them and not always the status.

use std::borrow::Cow;

use axum::Extension;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::problem::{Problem, ProblemKind};

/// One refusal, ready to be sent.
#[derive(Debug)]
pub(super) struct Refusal {
    problem: Problem,
    /// What is wrong with a request, where that is known more closely.
    closer: Option<Closer>,
}

#[derive(Clone, Copy, Debug)]
struct Closer {
    error: &'static str,
    message: &'static str,
}

#[derive(Debug, Serialize)]
struct ApiError {
    error: Cow<'static, str>,
    code: Cow<'static, str>,
    message: &'static str,
}

impl Refusal {
    /// The site context is not as wanted.
    pub(super) fn of_context(message: &'static str) -> Self {
        Self::closer("INVALID_SITE_CONTEXT", message)
    }

    /// The body is not as wanted.
    pub(super) fn invalid(message: &'static str) -> Self {
        Self::closer("INVALID_REQUEST", message)
    }

    fn closer(error: &'static str, message: &'static str) -> Self {
        let problem = Problem::new(ProblemKind::InvalidRequest);
        Self { problem, closer: Some(Closer { error, message }) }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, closer: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (kind, native, retry_after) = self.problem.facts();
        let (status, mut body) = match words(kind) {
            Words::Fabrics { status, error, code, message } => {
                (status, ApiError { error: error.into(), code: code.into(), message })
            }
            Words::Ours => {
                let error = kind.code().to_ascii_uppercase().into();
                let code = native.as_str().to_owned().into();
                (native, ApiError { error, code, message: kind.title() })
            }
        };
        if let Some(Closer { error, message }) = self.closer {
            body = ApiError { error: error.into(), message, ..body };
        }
        let retry_after = retry_after.map(|seconds| [(header::RETRY_AFTER, seconds.to_string())]);
        let reported = Extension(self.problem.into_reported());
        (status, retry_after, reported, Json(body)).into_response()
    }
}

/// In whose words something is refused.
enum Words {
    /// In those that fabric's document has, or that follow from it.
    Fabrics { status: StatusCode, error: &'static str, code: &'static str, message: &'static str },
    /// In ours, in the same form: the document knows nothing like it.
    Ours,
}

/// Where somebody may not learn more than that there is no such token, all that is not valid is that.
fn words(kind: ProblemKind) -> Words {
    use ProblemKind as Kind;
    let fabrics = |status, error, code, message| Words::Fabrics { status, error, code, message };
    match kind {
        // The code differs from the status, as documented.
        Kind::TokenExpired => fabrics(
            StatusCode::UNAUTHORIZED,
            "TOKEN_HAS_EXPIRED",
            "400",
            "This reset token is no longer valid",
        ),
        Kind::TokenUnknown
        | Kind::TokenUsed
        | Kind::TokenRevoked
        | Kind::TokenPredatesStart
        | Kind::TokenHeld
        | Kind::CredentialMismatch
        | Kind::VersionMismatch => {
            fabrics(StatusCode::NOT_FOUND, "TOKEN_NOT_FOUND", "404", "Token not found")
        }
        Kind::UserUnknown => {
            fabrics(StatusCode::NOT_FOUND, "USER_NOT_FOUND", "404", "User not found")
        }
        Kind::UserDisabled => {
            fabrics(StatusCode::UNAUTHORIZED, "USER_NOT_ACTIVE", "401", "User is not active")
        }
        Kind::InvalidRequest => {
            fabrics(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "400", "Request is not as wanted")
        }
        Kind::Unauthenticated
        | Kind::SeveralCredentials
        | Kind::CredentialInQuery
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::MethodNotAllowed
        | Kind::MalformedJson
        | Kind::ExpiryInPast
        | Kind::CutoffInFuture
        | Kind::RedemptionUnknown
        | Kind::RedemptionRunning
        | Kind::RedemptionCommitted
        | Kind::HoldCancelled
        | Kind::HoldExpired
        | Kind::AttemptKey
        | Kind::AttemptRunning
        | Kind::AttemptOther
        | Kind::NotSendable
        | Kind::DeliveryOnly
        | Kind::UserMismatch
        | Kind::DirectoryUnavailable
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
        | Kind::ConfigInvalid
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
        | Kind::Internal => Words::Ours,
    }
}
