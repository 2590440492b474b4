//! Refusals in the vendor's words: a number, a message and a description. Libraries go by the number, most
//! of them whatever the status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use crate::domain::caller::NoCaller;
use crate::http::problem::{Problem, ProblemKind, Reported};
use crate::service::Error;

/// One refusal, ready to be sent.
pub(super) struct Refusal {
    says: Says,
    retry_after: Option<u64>,
    reported: Reported,
}

/// What is told outside.
#[derive(Clone, Copy)]
struct Says {
    status: StatusCode,
    code: u16,
    message: &'static str,
    description: &'static str,
}

const fn says(
    status: StatusCode,
    code: u16,
    message: &'static str,
    description: &'static str,
) -> Says {
    Says { status, code, message, description }
}

const KEY_MISSING: Says = says(
    StatusCode::BAD_REQUEST,
    922,
    "API key is missing",
    "The request has no apikey: send that of the app.",
);
const KEY_WRONG: Says = says(
    StatusCode::FORBIDDEN,
    901,
    "The API key is unauthorized",
    "The apikey is not that of the app, or two different ones were sent.",
);
const SECRET_MISSING: Says = says(
    StatusCode::BAD_REQUEST,
    1209,
    "API-Signature/API-Secret is missing",
    "The request has no apisecret: send it. Signed requests are not taken instead of it.",
);
const SECRET_WRONG: Says = says(
    StatusCode::UNAUTHORIZED,
    902,
    "The API secret is unauthorized",
    "The provided LoginRadius API secret is invalid or is not authorized, please use a valid or authorized LoginRadius API secret or check the API secret for your LoginRadius account.",
);
const PARAMETER: Says = says(
    StatusCode::BAD_REQUEST,
    908,
    "A parameter is not formatted correctly",
    "A parameter is not as it must be.",
);
const NOT_PERMITTED: Says = says(
    StatusCode::FORBIDDEN,
    909,
    "Your LoginRadius site does not have permission to access this endpoint",
    "The caller with this secret lacks the scope for it.",
);
const USER_UNKNOWN: Says = says(
    StatusCode::FORBIDDEN,
    938,
    "User does not exist",
    "The user does not exist, please use a valid user in order to process this request.",
);
const USER_BLOCKED: Says = says(
    StatusCode::FORBIDDEN,
    991,
    "Your account is blocked",
    "The directory says that the user may not log in.",
);
const POST_BODY: Says = says(
    StatusCode::BAD_REQUEST,
    965,
    "The post body is invalid",
    "The body is no whole JSON object.",
);
const NO_JSON: Says = says(
    StatusCode::BAD_REQUEST,
    1090,
    "Invalid request body or payload",
    "The body is not strict JSON in UTF-8, or was cut off.",
);
const CONTENT_TYPE: Says = says(
    StatusCode::BAD_REQUEST,
    1083,
    "This content type header is not supported",
    "Send Content-Type: application/json and no Content-Encoding.",
);
const TOKEN_INVALID: Says = says(
    StatusCode::FORBIDDEN,
    1063,
    "Verification token (vtoken) is invalid",
    "No live token is known by this text; ask for a new link.",
);
const LINK_USED: Says = says(
    StatusCode::FORBIDDEN,
    974,
    "The email verification link has already been used",
    "A link can be used once; ask for a new one.",
);
const LINK_EXPIRED: Says = says(
    StatusCode::FORBIDDEN,
    975,
    "Your verification link has expired",
    "Its time is over, or a newer one took its place; ask for a new link.",
);
const TOO_MANY_TOKENS: Says = says(
    StatusCode::FORBIDDEN,
    1178,
    "You have reached a limit for generating token",
    "As many tokens as are allowed were made for this user. Wait as long as Retry-After says.",
);
const TOO_MANY_MAILS: Says = says(
    StatusCode::FORBIDDEN,
    1122,
    "You have reached a limit for sending emails",
    "As many mails as are allowed were sent to this user. Wait as long as Retry-After says.",
);
const TOO_MANY_REQUESTS: Says = says(
    StatusCode::TOO_MANY_REQUESTS,
    429,
    "Too many requests in a particular time frame",
    "Wait as long as Retry-After says.",
);
/// The vendor has no number for what is not there; the libraries want one.
const NOT_SERVED: Says = says(
    StatusCode::NOT_FOUND,
    971,
    "Invalid request",
    "Of this API there is what belongs to a forgotten password, and nothing else.",
);
const FAILED: Says = says(
    StatusCode::INTERNAL_SERVER_ERROR,
    950,
    "Operation failed due to an unknown error",
    "The log of the service has the reason.",
);

impl Refusal {
    fn new(says: Says, problem: Problem) -> Self {
        let (_, _, retry_after) = problem.facts();
        Self { says, retry_after, reported: problem.into_reported() }
    }

    pub(super) fn key_missing() -> Self {
        Self::new(KEY_MISSING, Error::from(NoCaller::Missing).into())
    }

    pub(super) fn key_wrong() -> Self {
        Self::new(KEY_WRONG, Error::from(NoCaller::Unknown).into())
    }

    pub(super) fn secret_missing() -> Self {
        Self::new(SECRET_MISSING, Error::from(NoCaller::Missing).into())
    }

    pub(super) fn secret_wrong() -> Self {
        Self::new(SECRET_WRONG, Error::from(NoCaller::Unknown).into())
    }

    /// A parameter, of the query or of the body, is not as it must be.
    pub(super) fn parameter(description: &'static str) -> Self {
        let says = Says { description, ..PARAMETER };
        Self::new(says, Problem::new(ProblemKind::InvalidRequest))
    }

    /// The body is JSON and no object.
    pub(super) fn no_object() -> Self {
        Self::new(POST_BODY, Problem::new(ProblemKind::MalformedJson))
    }

    /// So many tokens were asked for a user that there is none.
    pub(super) fn too_many_tokens(problem: Problem) -> Self {
        Self::new(TOO_MANY_TOKENS, problem)
    }

    /// The same of mails.
    pub(super) fn too_many_mails(problem: Problem) -> Self {
        Self::new(TOO_MANY_MAILS, problem)
    }

    /// The same refusal where the body was put.
    pub(super) fn of_put(mut self) -> Self {
        if self.says.code == POST_BODY.code {
            (self.says.code, self.says.message) = (1079, "Put body is invalid");
        }
        self
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let (kind, status, _) = problem.facts();
        let says = words(kind);
        // The vendor has no status for what it does not know; ours is as good as any.
        let is_ours = [POST_BODY.code, NOT_SERVED.code, FAILED.code].contains(&says.code);
        let says = if is_ours { Says { status, ..says } } else { says };
        Self::new(says, problem)
    }
}

/// Every kind of problem has its words.
fn words(kind: ProblemKind) -> Says {
    use ProblemKind as Kind;
    match kind {
        Kind::Unauthenticated | Kind::SeveralCredentials | Kind::CredentialInQuery => SECRET_WRONG,
        Kind::Forbidden => NOT_PERMITTED,
        Kind::DeliveryOnly => Says {
            description: "The directory hides who is a user, so tokens are not given out.",
            ..NOT_PERMITTED
        },
        Kind::NotSendable => Says {
            description: "Mails cannot be sent: link.template or mail.transport is not set.",
            ..NOT_PERMITTED
        },
        Kind::InvalidRequest | Kind::ExpiryInPast | Kind::CutoffInFuture | Kind::AttemptKey => {
            PARAMETER
        }
        Kind::UserUnknown => USER_UNKNOWN,
        Kind::UserDisabled => USER_BLOCKED,
        Kind::MalformedJson => NO_JSON,
        Kind::UnsupportedMediaType => CONTENT_TYPE,
        Kind::BodyTooLarge | Kind::BodyTimeout | Kind::BodyIncomplete | Kind::BadFraming => {
            POST_BODY
        }
        Kind::TokenUnknown | Kind::CredentialMismatch | Kind::VersionMismatch => TOKEN_INVALID,
        Kind::TokenUsed | Kind::TokenHeld => LINK_USED,
        Kind::TokenExpired | Kind::TokenRevoked | Kind::TokenPredatesStart => LINK_EXPIRED,
        Kind::RateLimited => TOO_MANY_REQUESTS,
        Kind::NotFound
        | Kind::MethodNotAllowed
        | Kind::BadHost
        | Kind::TargetTooLong
        | Kind::HeadersTooLarge => NOT_SERVED,
        Kind::RedemptionUnknown
        | Kind::RedemptionRunning
        | Kind::RedemptionCommitted
        | Kind::HoldCancelled
        | Kind::HoldExpired
        | Kind::AttemptRunning
        | Kind::AttemptOther
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
        | Kind::Busy
        | Kind::Full
        | Kind::NoActiveKey
        | Kind::JournalFull
        | Kind::JournalFailed
        | Kind::ClockBehind
        | Kind::Internal => Says { description: kind.detail(), ..FAILED },
    }
}

/// The body of a refusal.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    error_code: u16,
    message: &'static str,
    description: &'static str,
    is_provider_error: bool,
    provider_error_response: Option<&'static str>,
    errors: Option<&'static str>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Says { status, code, message, description } = self.says;
        let body = Body {
            error_code: code,
            message,
            description,
            is_provider_error: false,
            provider_error_response: None,
            errors: None,
        };
        let mut response = (status, Extension(self.reported), Json(body)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("ApiSecret realm=\"resetd\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        // One of the libraries counts letters as bytes: what it cut off stands before its next request.
        if code == NO_JSON.code {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
