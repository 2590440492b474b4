//! Who calls, and whether they may.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, ProblemKind};
use crate::domain::caller::{API_KEY_PREFIX, Caller, Scope};
use crate::service::{Error, ResetService};

/// The name of a caller that is known; travels in the response's extensions to the log.
#[derive(Clone, Debug)]
pub(super) struct CallerName(pub(super) String);

/// Lets a request through if its caller is known and has the scope.
pub(super) async fn require(
    State((service, scope)): State<(ResetService, Scope)>,
    request: Request,
    next: Next,
) -> Response {
    let caller = match authenticate(&service, &request) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let mut response = if caller.may(scope) {
        next.run(request).await
    } else {
        Problem::new(ProblemKind::Forbidden).into_response()
    };
    response.extensions_mut().insert(CallerName(caller.name.clone()));
    response
}

fn authenticate<'s>(service: &'s ResetService, request: &Request) -> Result<&'s Caller, Problem> {
    let query = request.uri().query().unwrap_or_default();
    if query.contains("access_token=") || query.contains(API_KEY_PREFIX) {
        return Err(Problem::new(ProblemKind::CredentialInQuery));
    }
    Ok(service.authenticate(api_key(request.headers())?)?)
}

/// The one credential of a request (RFC 6750 §2.1). Two of them would leave it to each reader which
/// one counts.
fn api_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().map(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let keys = headers.get_all("x-api-key").iter().map(|value| value.to_str().ok());
    let mut credentials = bearers.chain(keys);
    match (credentials.next(), credentials.next()) {
        (_, Some(_)) => Err(Problem::new(ProblemKind::SeveralCredentials)),
        (Some(Some(key)), None) => Ok(key),
        (Some(None) | None, None) => Err(Error::Unauthenticated.into()),
    }
}
