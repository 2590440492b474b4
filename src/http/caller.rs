//! Who calls, for which tenant, and whether they may.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::audited::KnownCaller;
use super::limit::Gate;
use super::problem::{Problem, ProblemKind};
use super::source::Source;
use crate::domain::caller::{API_KEY_PREFIX, Caller, NoCaller, Scope};
use crate::domain::policy::TenantName;
use crate::service::{Error, ResetService, Tenant};

/// Headers that hold a key and nothing else: our own, and those that clients of others know.
const API_KEY_HEADERS: [&str; 3] = ["x-api-key", "reb-apikey", "x-loginradius-apisecret"];

/// A caller that is known, and its tenant; travels in the request's extensions to the handler and in
/// the response's to the log.
#[derive(Clone, Debug)]
pub(super) struct CalledBy {
    pub(super) caller: String,
    pub(super) tenant: Tenant,
}

impl<S: Sync> FromRequestParts<S> for CalledBy {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let called_by = parts.extensions.get::<Self>().cloned();
        called_by.ok_or_else(|| Problem::new(ProblemKind::Internal))
    }
}

/// The tenant that the caller acts for. A handler has no other tenant to mistake it for.
#[derive(Clone, Debug)]
pub(super) struct ActingFor(pub(super) Tenant);

impl<S: Sync> FromRequestParts<S> for ActingFor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        CalledBy::from_request_parts(parts, state).await.map(|by| Self(by.tenant))
    }
}

/// Lets a request through if its caller is known and has the scope.
pub(super) async fn require(
    State((service, gate, scope)): State<(ResetService, Gate, Scope)>,
    mut request: Request,
    next: Next,
) -> Response {
    let (called_by, admitted) = admit((&service, &gate), &request, scope);
    let Some(called_by) = called_by else {
        return admitted.err().unwrap_or(Problem::new(ProblemKind::Internal)).into_response();
    };
    let mut response = match admitted {
        Ok(()) => {
            request.extensions_mut().insert(called_by.clone());
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(called_by);
    response
}

/// Lets a caller of any tenant in, by the credential of the native API. Whoever is known is told beside the refusal
/// as well, for the log.
pub(super) fn admit(
    (service, gate): (&ResetService, &Gate),
    request: &Request,
    scope: Scope,
) -> (Option<CalledBy>, Result<(), Problem>) {
    let (caller, tenant) = match authenticate(service, request) {
        Ok(known) => known,
        Err(problem) => return (None, Err(problem)),
    };
    let called_by = noted(&caller, tenant, request.extensions());
    (Some(called_by), count(gate, &caller).and_then(|()| require_scopes(&caller, &[scope])))
}

/// Lets a caller of one tenant in, by a credential that a dialect found in a place of its own. Whoever is known
/// is told beside the refusal as well, for the log: put it into the answer's extensions.
pub(super) fn let_in(
    (service, gate): (&ResetService, &Gate),
    request: &Extensions,
    credential: &str,
    scope: Scope,
    tenant: &TenantName,
) -> (Option<CalledBy>, Result<(), Problem>) {
    let_in_for_all((service, gate), request, credential, &[scope], tenant)
}

/// The same for what needs several scopes natively.
pub(super) fn let_in_for_all(
    (service, gate): (&ResetService, &Gate),
    request: &Extensions,
    credential: &str,
    scopes: &[Scope],
    tenant: &TenantName,
) -> (Option<CalledBy>, Result<(), Problem>) {
    let source = request.get::<Source>().map(|source| source.0);
    let known = service.authenticate(credential, source);
    let (caller, called_by) = match known_of_tenant(known, request, tenant) {
        Ok(known) => known,
        Err(error) => return (None, Err(error.into())),
    };
    (Some(called_by), count(gate, &caller).and_then(|()| require_scopes(&caller, scopes)))
}

/// The same for whoever brings no credential where a dialect is set to have them act as a caller. Nobody is
/// counted: who asks is not known, so the dialect has to see to it that not too many do.
pub(super) fn let_in_as(
    service: &ResetService,
    request: &Extensions,
    name: &str,
    scope: Scope,
    tenant: &TenantName,
) -> (Option<CalledBy>, Result<(), Problem>) {
    let source = request.get::<Source>().map(|source| source.0);
    match known_of_tenant(service.caller_named(name, source), request, tenant) {
        Ok((caller, called_by)) => (Some(called_by), require_scopes(&caller, &[scope])),
        Err(error) => (None, Err(error.into())),
    }
}

fn known_of_tenant(
    known: Result<(Arc<Caller>, Tenant), Error>,
    request: &Extensions,
    tenant: &TenantName,
) -> Result<(Arc<Caller>, CalledBy), Error> {
    let (caller, its_tenant) = known?;
    // The caller of another tenant is nobody here.
    if caller.tenant != *tenant {
        return Err(NoCaller::Unknown.into());
    }
    let called_by = noted(&caller, its_tenant, request);
    Ok((caller, called_by))
}

/// Whoever is known, and noted so for a line about a request that is never answered.
fn noted(caller: &Caller, tenant: Tenant, request: &Extensions) -> CalledBy {
    let called_by = CalledBy { caller: caller.name.clone(), tenant };
    if let Some(known) = request.get::<KnownCaller>() {
        known.is(&called_by);
    }
    called_by
}

fn count(gate: &Gate, caller: &Caller) -> Result<(), Problem> {
    gate.rules().admit_caller(&caller.tenant, &caller.name)
}

fn require_scopes(caller: &Caller, scopes: &[Scope]) -> Result<(), Problem> {
    let may_all = scopes.iter().all(|scope| caller.may(*scope));
    if may_all { Ok(()) } else { Err(Problem::new(ProblemKind::Forbidden)) }
}

/// Whether a request says in any way who calls.
pub(super) fn has_credential(request: &Request) -> bool {
    let headers = request.headers();
    headers.contains_key(header::AUTHORIZATION)
        || API_KEY_HEADERS.iter().any(|name| headers.contains_key(*name))
        || is_in_query(request.uri())
}

/// Whether a credential stands where logs have it.
pub(super) fn is_in_query(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.contains("access_token=") || query.contains(API_KEY_PREFIX)
}

fn authenticate(
    service: &ResetService,
    request: &Request,
) -> Result<(Arc<Caller>, Tenant), Problem> {
    let source = request.extensions().get::<Source>().map(|source| source.0);
    Ok(service.authenticate(credential(request)?, source)?)
}

/// The one credential of a request, where the native API has it.
fn credential(request: &Request) -> Result<&str, Problem> {
    if is_in_query(request.uri()) {
        return Err(Problem::new(ProblemKind::CredentialInQuery));
    }
    api_key(request.headers())
}

/// The one credential of a request (RFC 6750 §2.1). Two of them would leave it to each reader which
/// one counts.
fn api_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().map(bearer);
    let keys = API_KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name));
    let mut credentials = bearers.chain(keys.map(|value| value.to_str().ok()));
    match (credentials.next(), credentials.next()) {
        (_, Some(_)) => Err(Problem::new(ProblemKind::SeveralCredentials)),
        (Some(Some(key)), None) => Ok(key),
        (Some(None) | None, None) => Err(Error::from(NoCaller::Missing).into()),
    }
}

/// What an Authorization header bears.
pub(super) fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential.trim())
}
