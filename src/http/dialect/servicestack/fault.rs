//! Refusals in the vendor's words. What happened is told to the log in ours.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::ext::ReasonPhrase;

use super::answer::{ResponseError, ResponseStatus, write};
use super::format::Style;
use super::members::{Member, Unreadable};
use super::route::Operation;
use crate::http::problem::{Problem, ProblemKind};

/// A refusal.
#[derive(Debug)]
pub(super) struct Fault {
    /// For the log.
    problem: Box<Problem>,
    status: StatusCode,
    told: ResponseStatus,
}

impl Fault {
    fn new(kind: ProblemKind, status: StatusCode, told: ResponseStatus) -> Self {
        Self { problem: Box::new(Problem::new(kind)), status, told }
    }

    /// What can be wrong with members. The first one gives the whole its code and its text.
    pub(super) fn of_members(errors: Vec<ResponseError>) -> Option<Self> {
        let ResponseError { error_code, message, .. } = *errors.first()?;
        let told = ResponseStatus { error_code, message, errors };
        Some(Self::new(ProblemKind::InvalidRequest, StatusCode::BAD_REQUEST, told))
    }

    /// The same of one member.
    pub(super) fn of_member(
        member: Member,
        error_code: &'static str,
        message: &'static str,
    ) -> Self {
        let errors = vec![error(member, error_code, message)];
        let told = ResponseStatus { error_code, message, errors };
        Self::new(ProblemKind::InvalidRequest, StatusCode::BAD_REQUEST, told)
    }

    /// What cannot be taken, and is no member.
    pub(super) fn of_argument(message: &'static str) -> Self {
        let told = ResponseStatus { error_code: "ArgumentException", message, errors: Vec::new() };
        Self::new(ProblemKind::InvalidRequest, StatusCode::BAD_REQUEST, told)
    }

    /// On a route that every operation has, there is none of this name.
    pub(super) fn no_operation() -> Self {
        let message =
            "There is no such operation. There are GetResetPasswordToken and PasswordReset.";
        Self {
            told: ResponseStatus { message, ..told(ProblemKind::MethodNotAllowed) },
            ..Problem::new(ProblemKind::MethodNotAllowed).into()
        }
    }

    /// As the client sees it, and the log.
    pub(super) fn into_response(self, style: &Style, operation: Operation) -> Response {
        let Self { problem, status, told } = self;
        let mut response = write(style, operation, status, Some(&told));
        let (kind, _, retry_after) = problem.facts();
        let headers = response.headers_mut();
        if kind == ProblemKind::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer realm=\"resetd\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        let extensions = response.extensions_mut();
        // HTTP/1 says the code beside the status, as the vendor does.
        extensions.insert(ReasonPhrase::from_static(told.error_code.as_bytes()));
        extensions.insert(problem.into_reported());
        response
    }
}

/// What is wrong with one member.
pub(super) fn error(
    member: Member,
    error_code: &'static str,
    message: &'static str,
) -> ResponseError {
    ResponseError { error_code, field_name: member.name(), message }
}

impl From<Unreadable> for Fault {
    fn from(Unreadable(message): Unreadable) -> Self {
        let told =
            ResponseStatus { error_code: "SerializationException", message, errors: Vec::new() };
        Self::new(ProblemKind::InvalidRequest, StatusCode::BAD_REQUEST, told)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let (kind, status, _) = problem.facts();
        // The vendor has 400 for whatever is wrong with a request.
        let is_unprocessable = status == StatusCode::UNPROCESSABLE_ENTITY;
        let status = if is_unprocessable { StatusCode::BAD_REQUEST } else { status };
        Self { problem: Box::new(problem), status, told: told(kind) }
    }
}

fn told(kind: ProblemKind) -> ResponseStatus {
    let message = if kind == ProblemKind::UnsupportedMediaType {
        "Send JSON, XML, JSV or a form in UTF-8, say in Content-Type which, and no Content-Encoding."
    } else {
        kind.detail()
    };
    ResponseStatus { error_code: error_code(kind), message, errors: Vec::new() }
}

/// The vendor's names where it has some, else .NET's of the status, else the name of what became of a token.
fn error_code(kind: ProblemKind) -> &'static str {
    use ProblemKind as P;
    match kind {
        P::Unauthenticated => "Unauthorized",
        P::Forbidden | P::DeliveryOnly | P::KeysShared => "Forbidden",
        P::TokenUnknown | P::NotFound | P::UserUnknown | P::RedemptionUnknown | P::KeyUnknown => {
            "NotFound"
        }
        P::TokenExpired => "TokenExpired",
        P::TokenUsed => "TokenUsed",
        P::TokenRevoked => "TokenRevoked",
        P::TokenPredatesStart => "TokenPredatesStart",
        P::TokenHeld => "TokenHeld",
        P::MethodNotAllowed => "NotImplementedException",
        P::MalformedJson => "SerializationException",
        P::SeveralCredentials
        | P::CredentialInQuery
        | P::InvalidRequest
        | P::CredentialMismatch
        | P::VersionMismatch
        | P::ExpiryInPast
        | P::CutoffInFuture
        | P::AttemptKey
        | P::AttemptOther
        | P::KeyRejected
        | P::ConfigInvalid
        | P::BodyIncomplete
        | P::BadHost
        | P::BadFraming => "ArgumentException",
        P::AttemptRunning
        | P::RedemptionRunning
        | P::RedemptionCommitted
        | P::UserDisabled
        | P::UserMismatch
        | P::NotSendable
        | P::KeyTooSoon
        | P::KeyWrongState
        | P::KeyInUse
        | P::TooManyKeys
        | P::KeyExists => "Conflict",
        P::HoldCancelled | P::HoldExpired => "Gone",
        P::UnsupportedMediaType => "UnsupportedMediaType",
        P::BodyTooLarge => "RequestEntityTooLarge",
        P::BodyTimeout => "RequestTimeout",
        P::TargetTooLong => "RequestUriTooLong",
        P::HeadersTooLarge => "RequestHeaderFieldsTooLarge",
        P::RateLimited => "TooManyRequests",
        P::DirectoryUnavailable
        | P::OutboxFull
        | P::OutboxFailed
        | P::KeysUnusable
        | P::Busy
        | P::Full
        | P::NoActiveKey
        | P::JournalFull
        | P::JournalFailed
        | P::ClockBehind => "ServiceUnavailable",
        P::Internal => "InternalServerError",
    }
}
