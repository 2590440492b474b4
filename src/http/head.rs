//! Judges the head of a request before anything else looks at it.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, ProblemKind};
use super::{MAX_HEADER_BYTES, MAX_TARGET_BYTES};

/// Refuses what no honest client sends before anything looks at it: a head that is too long, a
/// host that is not one, a body in more than one wrapping.
pub(super) async fn judge(request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        return Problem::new(ProblemKind::TargetTooLong).into_response();
    }
    let headers = request.headers().iter();
    let bytes: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > MAX_HEADER_BYTES {
        return Problem::new(ProblemKind::HeadersTooLarge).into_response();
    }
    if !names_one_host(&request) {
        return Problem::new(ProblemKind::BadHost).into_response();
    }
    if !is_plainly_framed(&request) {
        return Problem::new(ProblemKind::BadFraming).into_response();
    }
    next.run(request).await
}

/// Exactly one well-formed Host (RFC 9112 §3.2); HTTP/1.0 may leave it out. It shapes no answer, but
/// where two readers see two hosts, a proxy and this server would route one request two ways.
fn names_one_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes())
            .is_ok_and(|host| is_host(&host) && !contradicts(request, &host)),
        (None, _) if request.version() == Version::HTTP_2 => {
            request.uri().authority().is_some_and(is_host)
        }
        (None, _) => request.version() == Version::HTTP_10,
        (Some(_), Some(_)) => false,
    }
}

fn is_host(host: &Authority) -> bool {
    !host.host().is_empty() && !host.as_str().contains('@')
}

/// HTTP/2 has the host in `:authority`, and may have it in Host as well (RFC 9113 §8.3.1). In HTTP/1 a
/// host in the target goes over the header (RFC 9112 §3.2.2).
fn contradicts(request: &Request, host: &Authority) -> bool {
    let authority = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
    authority.is_some_and(|authority| authority != host)
}

/// No transfer coding but `chunked`, once (RFC 9112 §6.1): two readers that unwrap a body differently
/// disagree about where the next request begins.
fn is_plainly_framed(request: &Request) -> bool {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}
