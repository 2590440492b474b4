//! Refusals as RFC 9457 problem details. What is told outside comes from one fixed table; what
//! really happened goes to the log by way of the response's extensions.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::observe::request_id;
use crate::domain::policy::PolicyError;
use crate::domain::rotation::RotationError;
use crate::journal::Unwritten;
use crate::key_admin::{KeyAdminError, KeystoreError};
use crate::outbox::NotTaken;
use crate::service::{Error, TokenError};

macro_rules! problems {
    ($($kind:ident $code:literal $status:ident $title:literal $detail:literal;)*) => {
        /// Every kind of problem there is. `code` is stable; `docs/problems.md` explains each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemKind {
            $(#[doc = $title] $kind,)*
        }

        /// Every kind, in the order of the documentation.
        pub const REGISTRY: &[ProblemKind] = &[$(ProblemKind::$kind),*];

        impl ProblemKind {
            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$kind => $code),* }
            }

            /// The HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status),* }
            }

            /// What kind of problem it is, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title),* }
            }

            /// What to do about it.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$kind => $detail),* }
            }

            /// The whole body of the problem, where there is nothing more to say.
            pub(crate) fn to_json(self) -> String {
                Problem::new(self).to_json()
            }
        }
    };
}

problems! {
    TokenUnknown "token_unknown" NOT_FOUND "No such token"
        "No live token is known by this text. It may be cut off, or made for another service; ask for a new one.";
    TokenExpired "token_expired" NOT_FOUND "The token has expired"
        "The token was good and its time is over. Ask for a new one.";
    TokenUsed "token_used" NOT_FOUND "The token was already used"
        "A token can be used once. If that was not its owner, act on it; else ask for a new one.";
    TokenRevoked "token_revoked" NOT_FOUND "The token is revoked"
        "The token was revoked, or a newer one took its place. Use the newest, or ask for a new one.";
    TokenPredatesStart "token_predates_start" NOT_FOUND "The token is older than this server"
        "The server restarted since and cannot know whether the token was used. Ask for a new one.";
    TokenHeld "token_held" NOT_FOUND "The token is held"
        "A redemption has set it aside and was neither committed nor cancelled yet. Retry-After says when it is over.";
    CredentialMismatch "credential_mismatch" UNPROCESSABLE_ENTITY "The token is for another credential"
        "The token was not used. Redeem it for the credential it was issued for.";
    VersionMismatch "credential_version_mismatch" UNPROCESSABLE_ENTITY "The credential has changed since"
        "The token was not used. It is good only for the credentialVersion it was issued with: send that one, or ask for a new token.";
    RedemptionUnknown "redemption_unknown" NOT_FOUND "No such redemption"
        "This caller has not begun a redemption of this name, or the state of the server was lost since. Redeem the token again.";
    RedemptionRunning "redemption_running" CONFLICT "The redemption is being ended"
        "It is being committed or cancelled by another request. Wait a moment and send it again.";
    RedemptionCommitted "redemption_committed" CONFLICT "The redemption was committed"
        "The token is used, so it cannot be given back. Issue a new one.";
    HoldCancelled "hold_cancelled" GONE "The hold was cancelled"
        "The token is not set aside any more. Undo what was done with it, or redeem it again.";
    HoldExpired "hold_expired" GONE "The hold is over"
        "The commit came too late, so the token was given back. Undo what was done with it, or redeem it again.";
    Unauthenticated "unauthenticated" UNAUTHORIZED "A known API key is needed"
        "Send it as Authorization: Bearer rsk_…, or as X-API-Key: rsk_….";
    SeveralCredentials "several_credentials" BAD_REQUEST "More than one credential was sent"
        "Send either one Authorization header or one X-API-Key header.";
    CredentialInQuery "credential_in_query" BAD_REQUEST "A credential was sent in the query"
        "Queries end up in logs. Send the key in a header, and make a new one: this one may be known.";
    Forbidden "forbidden" FORBIDDEN "The caller lacks the scope"
        "The key is known and its caller may not do this. Give the caller the scope in config.toml.";
    NotFound "not_found" NOT_FOUND "No such resource"
        "There is nothing at this path. README.md lists the paths.";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The method is not allowed here"
        "The Allow header lists the methods of this path.";
    MalformedJson "malformed_json" BAD_REQUEST "The body is not strict JSON"
        "Send one JSON object in UTF-8, no member twice, at most 16 levels deep.";
    InvalidRequest "invalid_request" UNPROCESSABLE_ENTITY "Members of the request are not as wanted"
        "invalidFields names each member and what it must be. Nothing was changed.";
    ExpiryInPast "expiry_in_past" UNPROCESSABLE_ENTITY "The token would have expired already"
        "expiredTime must lie in the future. Leave it out for the default.";
    CutoffInFuture "cutoff_in_future" UNPROCESSABLE_ENTITY "The cut-off lies in the future"
        "before must not lie in the future. Use \"now\" for everything issued so far.";
    AttemptKey "idempotency_key_invalid" BAD_REQUEST "The Idempotency-Key is not as wanted"
        "Send one Idempotency-Key header of 1 to 255 visible ASCII characters, with or without quotes.";
    AttemptRunning "idempotency_key_running" CONFLICT "A request with this key is under way"
        "Its answer is not known yet. Wait a moment and send it again, with the same key and body.";
    AttemptOther "idempotency_key_reused" UNPROCESSABLE_ENTITY "The key was used for another request"
        "A key stands for one body. Send the same body, or make a new key.";
    NotSendable "delivery_not_configured" CONFLICT "Links cannot be sent this way"
        "It takes link.template or [page] of the tenant, and for e-mail a mail.transport, for a webhook one with the event \"delivery\". The log says what is missing.";
    DeliveryOnly "delivery_only" FORBIDDEN "Tokens are only sent"
        "Users are in a directory, and whoever gets a token learns who is one. Use POST /deliveries, or set directory.reveal_unknown_users.";
    UserUnknown "user_unknown" NOT_FOUND "No such user"
        "The directory has nobody of this name.";
    UserDisabled "user_disabled" CONFLICT "The user is disabled"
        "The directory says that the user may not log in.";
    UserMismatch "user_mismatch" CONFLICT "The directory says otherwise"
        "It has another credentialId or userId of this user. Send the one it has, or none.";
    DirectoryUnavailable "directory_unavailable" SERVICE_UNAVAILABLE "The directory does not answer"
        "Whether there is such a user is not known now. Try again later.";
    OutboxFull "outbox_full" SERVICE_UNAVAILABLE "Nothing more can be promised to be sent"
        "As much waits to be sent as outbox.capacity allows. Try again later.";
    OutboxFailed "outbox_failed" SERVICE_UNAVAILABLE "What is to be sent cannot be written down"
        "An administrator must make room on the disk or mend it; no restart is needed.";
    KeyUnknown "key_unknown" NOT_FOUND "No such key"
        "No key, or more than one, is meant by this identifier. GET /admin/keys lists all.";
    KeyTooSoon "key_too_soon" CONFLICT "The key would sign before all verifiers know it"
        "Wait as long as Retry-After says, or break links with \"force\": true.";
    KeyWrongState "key_wrong_state" CONFLICT "The key is not in a state for this step"
        "GET /admin/keys shows the state of each key.";
    KeyInUse "key_in_use" CONFLICT "No other key would sign"
        "Rotate instead, or stop issuing with \"force\": true.";
    TooManyKeys "too_many_keys" CONFLICT "No more keys can be published"
        "Wait until some of the retired ones have expired.";
    KeyExists "key_exists" CONFLICT "The key is there already"
        "One that was retired or revoked does not come back. Make a new key.";
    KeysShared "keys_shared" FORBIDDEN "The keys are another tenant's"
        "reason says whose they are. Only callers of that tenant change them, for all who sign with them.";
    KeyRejected "key_rejected" UNPROCESSABLE_ENTITY "The key cannot be used"
        "reason says what is wrong with it. Nothing was changed.";
    KeysUnusable "keys_unusable" SERVICE_UNAVAILABLE "The folder of keys cannot be used"
        "reason names the file and the mend. The keys in use stay in use.";
    ConfigInvalid "config_invalid" UNPROCESSABLE_ENTITY "The configuration is refused"
        "reason says where it is wrong and how to mend it. The old one stays in force.";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body must be plain JSON"
        "Send Content-Type: application/json and no Content-Encoding.";
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "The body is too large"
        "The limit is server.max_body_bytes of the configuration.";
    BodyTimeout "body_timeout" REQUEST_TIMEOUT "The body did not arrive in time"
        "Send the whole body at once, on a new connection.";
    BodyIncomplete "body_incomplete" BAD_REQUEST "The body ended early"
        "The connection broke off or the framing was wrong. Send the request again.";
    BadHost "bad_host" BAD_REQUEST "The host is missing or malformed"
        "Send exactly one Host header: the host and port of this service.";
    BadFraming "bad_framing" BAD_REQUEST "The body is wrapped in a way that is not taken"
        "Send it with a Content-Length, or with Transfer-Encoding: chunked and nothing else.";
    TargetTooLong "target_too_long" URI_TOO_LONG "The request target is too long"
        "A token has at most 8192 bytes.";
    HeadersTooLarge "headers_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE "The headers are too large"
        "All headers together may have 16 kB.";
    RateLimited "rate_limited" TOO_MANY_REQUESTS "Too many requests"
        "Wait as long as Retry-After says.";
    Busy "busy" SERVICE_UNAVAILABLE "All connections are taken"
        "All there are, or all that one address may have. Try again in a moment. The limits are server.max_connections and server.max_connections_per_address of the configuration.";
    Full "full" SERVICE_UNAVAILABLE "No more tokens can be issued now"
        "As much is remembered of spent, revoked and replaced tokens as state.capacity allows. Redeeming and revoking go on. Try again later.";
    NoActiveKey "no_active_key" SERVICE_UNAVAILABLE "No key can sign"
        "An administrator must make one: resetd keys generate.";
    JournalFull "journal_full" SERVICE_UNAVAILABLE "The journal cannot grow"
        "The disk is full, so nothing was done. Checking goes on. Make room and try again: no restart is needed.";
    JournalFailed "journal_failed" SERVICE_UNAVAILABLE "The journal failed"
        "What was asked for may or may not have been done. An administrator must mend the disk and restart the service.";
    ClockBehind "clock_behind" SERVICE_UNAVAILABLE "The machine's clock was set back"
        "Tokens go on being issued and spent, and other machines may find them too new. Set the clock right, or wait until it has caught up.";
    Internal "internal" INTERNAL_SERVER_ERROR "Something went wrong here"
        "The log has the reason under the request id.";
}

/// One refusal, ready to be sent.
#[derive(Debug)]
pub(super) struct Problem {
    kind: ProblemKind,
    status: StatusCode,
    retry_after: Option<u64>,
    invalid_fields: Vec<InvalidField>,
    /// More than the table says; for admins, who know the keys by name.
    reason: Option<String>,
    cause: Option<Cause>,
}

/// What is behind a refusal.
pub(super) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// A member of a request that is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct InvalidField {
    field: String,
    message: String,
    #[serde(skip)]
    is_known: bool,
}

impl InvalidField {
    /// A member that there is.
    pub(super) fn known(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), is_known: true }
    }

    /// A member that there is not.
    pub(super) fn unknown(field: String, message: String) -> Self {
        Self { field, message, is_known: false }
    }
}

/// Which members were not as wanted, for the log. Names that are none of ours may be anything, the name of
/// a user as well: they are counted.
#[derive(Debug)]
struct NotAsWanted {
    known: Vec<String>,
    unknown: usize,
}

impl NotAsWanted {
    fn of(fields: &[InvalidField]) -> Self {
        let (known, unknown): (Vec<_>, Vec<_>) = fields.iter().partition(|field| field.is_known);
        let known = known.into_iter().map(|field| field.field.clone()).collect();
        Self { known, unknown: unknown.len() }
    }
}

impl fmt::Display for NotAsWanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut faults = self.known.clone();
        faults.extend((self.unknown > 0).then(|| format!("{} not known here", self.unknown)));
        write!(formatter, "not as wanted: {}", faults.join(", "))
    }
}

impl std::error::Error for NotAsWanted {}

/// What the log needs to know of a refusal; travels in the response's extensions.
#[derive(Clone, Debug)]
pub(super) struct Reported {
    pub(super) code: &'static str,
    pub(super) cause: Option<Cause>,
}

/// What was refused, for a dialect that says it in words of its own; travels in the response's extensions.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) kind: ProblemKind,
    pub(super) status: StatusCode,
    /// Seconds after which it is worth trying again.
    pub(super) retry_after: Option<u64>,
    pub(super) invalid_fields: Vec<InvalidField>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'b> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'b str>,
    /// The same as in the `X-Request-Id` header.
    #[serde(rename = "request_id", skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    invalid_fields: &'b [InvalidField],
}

impl Problem {
    pub(super) fn new(kind: ProblemKind) -> Self {
        let status = kind.status();
        Self {
            kind,
            status,
            // What this service lacks can come back at any moment, so the next try may be soon.
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
            invalid_fields: Vec::new(),
            reason: None,
            cause: None,
        }
    }

    /// The client may try again after so many seconds.
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// More than the table says; for admins only.
    pub(super) fn because(self, reason: String) -> Self {
        Self { reason: Some(reason), ..self }
    }

    pub(super) fn invalid(invalid_fields: Vec<InvalidField>) -> Self {
        let cause: Cause = Arc::new(NotAsWanted::of(&invalid_fields));
        Self { invalid_fields, cause: Some(cause), ..Self::new(ProblemKind::InvalidRequest) }
    }

    /// The same problem where it is about spending a token: a conflict, or gone for good. Whoever
    /// presents a token to redeem it may know why it is refused, since its signature was good.
    pub(super) fn on_redeeming(self) -> Self {
        const GONE: [ProblemKind; 3] =
            [ProblemKind::TokenExpired, ProblemKind::TokenRevoked, ProblemKind::TokenPredatesStart];
        let status = if [ProblemKind::TokenUsed, ProblemKind::TokenHeld].contains(&self.kind) {
            StatusCode::CONFLICT
        } else if GONE.contains(&self.kind) {
            StatusCode::GONE
        } else {
            self.status
        };
        Self { status, ..self }
    }

    /// What a dialect says in its own words: the kind, its status here, and when to come again.
    pub(super) fn facts(&self) -> (ProblemKind, StatusCode, Option<u64>) {
        (self.kind, self.status, self.retry_after)
    }

    /// What the log needs to know of it; a dialect puts it into its answer's extensions.
    pub(super) fn into_reported(self) -> Reported {
        Reported { code: self.kind.code(), cause: self.cause }
    }

    fn to_json(&self) -> String {
        let kind = self.kind;
        let body = Body {
            r#type: format!("urn:resetd:problem:{}", kind.code()),
            title: kind.title(),
            status: self.status.as_u16(),
            detail: kind.detail(),
            code: kind.code(),
            reason: self.reason.as_deref(),
            request_id: request_id(),
            invalid_fields: &self.invalid_fields,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Unauthenticated(_) => ProblemKind::Unauthenticated,
            Error::Rejected(PolicyError::ExpiryInPast { .. }) => ProblemKind::ExpiryInPast,
            Error::Rejected(PolicyError::CutoffInFuture { .. }) => ProblemKind::CutoffInFuture,
            Error::Token(TokenError::Unknown(_)) => ProblemKind::TokenUnknown,
            Error::Token(TokenError::Expired { .. }) => ProblemKind::TokenExpired,
            Error::Token(TokenError::Used { .. }) => ProblemKind::TokenUsed,
            Error::Token(TokenError::Revoked { .. }) => ProblemKind::TokenRevoked,
            Error::Token(TokenError::Held { .. }) => ProblemKind::TokenHeld,
            Error::Token(TokenError::PredatesStart { .. }) => ProblemKind::TokenPredatesStart,
            Error::CredentialMismatch { .. } => ProblemKind::CredentialMismatch,
            Error::VersionMismatch { .. } => ProblemKind::VersionMismatch,
            Error::RedemptionUnknown => ProblemKind::RedemptionUnknown,
            Error::RedemptionRunning { .. } => ProblemKind::RedemptionRunning,
            Error::RedemptionCommitted { .. } => ProblemKind::RedemptionCommitted,
            Error::HoldCancelled { .. } => ProblemKind::HoldCancelled,
            Error::HoldExpired { .. } => ProblemKind::HoldExpired,
            Error::Full { .. } => ProblemKind::Full,
            Error::NoActiveKey { .. } => ProblemKind::NoActiveKey,
            Error::ClockBehind { .. } => ProblemKind::ClockBehind,
            Error::AttemptRunning => ProblemKind::AttemptRunning,
            Error::AttemptOther => ProblemKind::AttemptOther,
            Error::NotSendable(_) => ProblemKind::NotSendable,
            Error::NotTaken(NotTaken::Full) => ProblemKind::OutboxFull,
            Error::NotTaken(NotTaken::Unwritten) => ProblemKind::OutboxFailed,
            Error::DeliveryOnly => ProblemKind::DeliveryOnly,
            Error::UserUnknown => ProblemKind::UserUnknown,
            Error::UserDisabled => ProblemKind::UserDisabled,
            Error::UserMismatch => ProblemKind::UserMismatch,
            Error::DirectoryUnavailable(_) => ProblemKind::DirectoryUnavailable,
            Error::Unwritten(Unwritten::Full) => ProblemKind::JournalFull,
            Error::Unwritten(Unwritten::Failed) => ProblemKind::JournalFailed,
            Error::Keys(_) | Error::NoRandomness(_) | Error::SigningFailed => ProblemKind::Internal,
        };
        let mut problem = Self::new(kind);
        if let Error::Full { retry_after } | Error::Token(TokenError::Held { retry_after, .. }) =
            error
        {
            problem.retry_after = Some(retry_after);
        }
        if matches!(error, Error::RedemptionRunning { .. } | Error::AttemptRunning) {
            problem.retry_after = Some(1);
        }
        problem.cause = Some(Arc::new(error));
        problem
    }
}

impl From<KeyAdminError> for Problem {
    fn from(error: KeyAdminError) -> Self {
        let kind = match &error {
            KeyAdminError::Rotation(
                RotationError::UnknownKey(_) | RotationError::AmbiguousKey(_),
            ) => ProblemKind::KeyUnknown,
            KeyAdminError::Rotation(RotationError::TooSoon { .. }) => ProblemKind::KeyTooSoon,
            KeyAdminError::Rotation(RotationError::WrongState { .. }) => ProblemKind::KeyWrongState,
            KeyAdminError::Rotation(RotationError::LastKey { .. }) => ProblemKind::KeyInUse,
            KeyAdminError::Rotation(RotationError::TooManyKeys) => ProblemKind::TooManyKeys,
            KeyAdminError::Keystore(KeystoreError::AlreadyThere { .. }) => ProblemKind::KeyExists,
            KeyAdminError::Shared { .. } => ProblemKind::KeysShared,
            KeyAdminError::Import(_) => ProblemKind::KeyRejected,
            KeyAdminError::Keystore(_) | KeyAdminError::Changed => ProblemKind::KeysUnusable,
        };
        let mut problem = Self::new(kind);
        if let KeyAdminError::Rotation(RotationError::TooSoon { wait, .. }) = error {
            problem.retry_after = Some(wait);
        }
        // What a caller named that is not there is not told back.
        problem.reason = (kind != ProblemKind::KeyUnknown).then(|| error.to_string());
        problem.cause = Some(Arc::new(error));
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = self.kind;
        let mut response = (self.status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if kind == ProblemKind::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer realm=\"resetd\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        let Self { status, retry_after, invalid_fields, cause, .. } = self;
        let extensions = response.extensions_mut();
        extensions.insert(Refusal { kind, status, retry_after, invalid_fields });
        extensions.insert(Reported { code: kind.code(), cause });
        response
    }
}
