//! Request bodies: read within limits, then member by member. The reader of JSON is the verifier's
//! own, so both sides of the service agree on what a text means.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use resetd_verify::json::{self, Object, Value};

use super::Limits;
use super::problem::{InvalidField, Problem, ProblemKind};

#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    max_bytes: usize,
    timeout: Duration,
}

impl From<Limits> for BodyLimits {
    fn from(limits: Limits) -> Self {
        Self { max_bytes: limits.max_body_bytes, timeout: limits.body_timeout }
    }
}

/// The bytes of a JSON body that came within the limits.
#[derive(Debug)]
pub(super) struct JsonBody(Bytes);

impl JsonBody {
    /// As they came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let Some(limits) = request.extensions().get::<BodyLimits>().copied() else {
            return Err(Problem::new(ProblemKind::Internal));
        };
        check_media_type(request.headers())?;
        check_length(request.headers(), limits.max_bytes)?;
        read(request.into_body(), limits).await.map(Self)
    }
}

/// The same where all members may be left out: no body at all is an empty object.
#[derive(Debug)]
pub(super) struct JsonBodyOrNone(pub(super) JsonBody);

impl<S: Send + Sync> FromRequest<S> for JsonBodyOrNone {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_none = request.body().is_end_stream();
        if is_none && !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(Self(JsonBody(Bytes::from_static(b"{}"))));
        }
        JsonBody::from_request(request, state).await.map(Self)
    }
}

/// The bytes of a body of whichever kind that came within the limits, for those who read it their own way.
pub(super) async fn read_any(parts: &Parts, body: Body) -> Result<Bytes, Problem> {
    let Some(limits) = parts.extensions.get::<BodyLimits>().copied() else {
        return Err(Problem::new(ProblemKind::Internal));
    };
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::new(ProblemKind::UnsupportedMediaType));
    }
    check_length(&parts.headers, limits.max_bytes)?;
    read(body, limits).await
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = matches!((types.next(), types.next()), (Some(value), None)
        if value.to_str().is_ok_and(is_json));
    if is_json && !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::UnsupportedMediaType))
}

fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| {
            parameter.eq_ignore_ascii_case("charset=utf-8")
                || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
        })
}

/// Refused by its announcement, before a byte of it is read.
fn check_length(headers: &HeaderMap, max: usize) -> Result<(), Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match announced.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > max => Err(Problem::new(ProblemKind::BodyTooLarge)),
        _ => Ok(()),
    }
}

async fn read(body: Body, limits: BodyLimits) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, limits.max_bytes).collect();
    match tokio::time::timeout(limits.timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new(ProblemKind::BodyTooLarge))
        }
        Ok(Err(_)) => Err(Problem::new(ProblemKind::BodyIncomplete)),
        Err(_) => Err(Problem::new(ProblemKind::BodyTimeout)),
    }
}

/// The members of a body, taken one by one. Every fault is kept, so that one answer names all.
#[derive(Debug)]
pub(super) struct Members<'b> {
    object: Object<'b>,
    known: Vec<&'static str>,
    invalid: Vec<InvalidField>,
}

impl<'b> Members<'b> {
    pub(super) fn of(body: &'b JsonBody) -> Result<Self, Problem> {
        let object =
            json::parse_object(&body.0).map_err(|_| Problem::new(ProblemKind::MalformedJson))?;
        Ok(Self { object, known: Vec::new(), invalid: Vec::new() })
    }

    /// A member that must be there. Its name and what is wanted are told when it is not.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Option<T> {
        if self.object.member(name).is_none() {
            self.known.push(name);
            self.refuse(name, format!("is missing; wanted {wanted}"));
            return None;
        }
        self.optional(name, wanted, read)
    }

    /// A member that may be left out. `null` is no value of any member.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl Fn(&Value<'_>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.object.member(name)?;
        let read = read(value);
        if read.is_none() {
            let found = value.kind();
            self.refuse(name, format!("wanted {wanted}; found {found} that is not"));
        }
        read
    }

    /// Notes a fault of a member.
    pub(super) fn refuse(&mut self, name: &'static str, message: String) {
        self.invalid.push(InvalidField::known(name, message));
    }

    /// All members have been read: now nothing may be wrong and nothing may be left over. A member
    /// that is not known here may be a wish that is not granted, so it is never passed over.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Problem> {
        let unknown: Vec<String> =
            self.object.names().filter(|name| !self.known.contains(name)).map(printable).collect();
        let message = format!("is not known here; there are {}", self.known.join(", "));
        for name in unknown {
            self.invalid.push(InvalidField::unknown(name, message.clone()));
        }
        match value {
            Some(value) if self.invalid.is_empty() => Ok(value),
            _ => Err(Problem::invalid(self.invalid)),
        }
    }
}

/// A member name from outside is told back only if it cannot be a token or a trick.
fn printable(name: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.len() <= 40 && name.bytes().all(is_plain) { name.into() } else { "(not shown)".into() }
}

/// Reads a string by way of its parser.
pub(super) fn text<T>(parse: impl Fn(&str) -> Option<T>) -> impl Fn(&Value<'_>) -> Option<T> {
    move |value| value.as_str().and_then(&parse)
}

/// Reads a whole number of 1 or more.
pub(super) fn positive(value: &Value<'_>) -> Option<u64> {
    let Value::Integer(number) = value else {
        return None;
    };
    u64::try_from(*number).ok().filter(|number| *number > 0)
}
