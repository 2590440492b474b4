//! Clients of Rebilly: how one is told from those of the native API, and who it is.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, header};

use crate::domain::caller::{NoCaller, Scope};
use crate::domain::dialect::Rebilly;
use crate::domain::policy::TenantName;
use crate::http::caller::{self, CalledBy};
use crate::http::limit::Gate;
use crate::http::problem::{Problem, ProblemKind};
use crate::service::{Error, ResetService};

const KEY: HeaderName = HeaderName::from_static("reb-apikey");
const CONSUMER: HeaderName = HeaderName::from_static("reb-api-consumer");
/// What the name of an SDK begins with.
const AGENT: &str = "RebillySDK/";

/// A request in this dialect, by what it is about; travels in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// All tokens.
    OfAll,
    /// One token.
    OfOne,
}

impl Spoken {
    /// Whether a request is in this dialect. Where the native API has the path as well, its headers tell.
    pub(super) fn of(request: &Request, dialect: &Rebilly) -> Option<Self> {
        let route = request.extensions().get::<MatchedPath>()?.as_str();
        let (path, is_its_own) = match route.strip_prefix("/organizations/{organization}") {
            Some(path) => (path, true),
            None => (route, false),
        };
        let spoken = match path {
            "/password-tokens" => Self::OfAll,
            "/password-tokens/{token}" => Self::OfOne,
            _ => return None,
        };
        let is_its = is_its_own || dialect.takes_all_callers || is_client(request.headers());
        is_its.then_some(spoken)
    }
}

fn is_client(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    headers.contains_key(KEY)
        || headers.contains_key(CONSUMER)
        || agent.is_some_and(|agent| agent.starts_with(AGENT))
}

/// Lets a caller in by any of its credentials: an SDK goes on sending its key beside a session token. The first
/// that is known decides, so whoever sends a token with fewer scopes than the key has those of the token.
pub(super) fn let_in(
    parts: (&ResetService, &Gate),
    request: &Request,
    scope: Scope,
    tenant: &TenantName,
) -> (Option<CalledBy>, Result<(), Problem>) {
    if caller::is_in_query(request.uri()) {
        return (None, Err(Problem::new(ProblemKind::CredentialInQuery)));
    }
    let credentials = match credentials(request.headers()) {
        Ok(credentials) => credentials,
        Err(problem) => return (None, Err(problem)),
    };
    let mut refused = Problem::from(Error::from(NoCaller::Missing));
    for credential in credentials.into_iter().flatten() {
        match caller::let_in(parts, request.extensions(), credential, scope, tenant) {
            (None, Err(problem)) => refused = problem,
            known => return known,
        }
    }
    (None, Err(refused))
}

/// The session token, then the key. Of two in one header it would be left to each reader which one counts.
fn credentials(headers: &HeaderMap) -> Result<[Option<&str>; 2], Problem> {
    let one = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Problem::new(ProblemKind::SeveralCredentials)),
            (value, None) => Ok(value),
        }
    };
    let (bearer, key) = (one(header::AUTHORIZATION)?, one(KEY)?);
    Ok([bearer.and_then(caller::bearer), key.and_then(|key| key.to_str().ok())])
}
