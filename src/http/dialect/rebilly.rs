//! The dialect of Rebilly's password tokens. All paths below `/organizations/{organization}` are its own; those
//! that the native API has as well are answered here for its clients only (`rebilly/client.rs`). Whatever is
//! refused on the way is told in its words (`rebilly/refusal.rs`).

mod client;
mod refusal;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequest as _, FromRequestParts as _, RawPathParams, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use resetd_verify::Claims;
use resetd_verify::json::Value;
use serde::Serialize;

use crate::domain::caller::Scope;
use crate::domain::dialect::Rebilly;
use crate::domain::identifier::{CredentialId, Username};
use crate::domain::issue::IssueRequest;
use crate::domain::policy::Expiry;
use crate::domain::secret::Secret;
use crate::domain::time::{from_rfc3339, to_rfc3339};
use crate::http::api::{self, Link, TIME, about};
use crate::http::audited::AboutUser;
use crate::http::body::{JsonBody, Members, text};
use crate::http::caller::CalledBy;
use crate::http::idempotency::IdempotencyKey;
use crate::http::limit::Gate;
use crate::http::observe::AboutToken;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::undisturbed::undisturbed;
use crate::service::{ResetService, Tenant};
use client::Spoken;

/// The longest identifier that Rebilly gives anything.
const MAX_ORGANIZATION: usize = 50;

/// Its own routes.
pub(super) fn routes(dialect: &Rebilly, gate: &Gate) -> Router<ResetService> {
    Router::new()
        .route("/organizations/{organization}/password-tokens", post(answer))
        .route("/organizations/{organization}/password-tokens/{token}", get(answer).delete(answer))
        .layer(Extension(dialect.clone()))
        .layer(Extension(gate.clone()))
}

/// The native routes of tokens, with this dialect in front of them for its clients.
pub(super) fn before(
    native: Router<ResetService>,
    dialect: &Rebilly,
    service: &ResetService,
    gate: &Gate,
) -> Router<ResetService> {
    let shared = (service.clone(), gate.clone(), dialect.clone());
    native.route_layer(from_fn_with_state(shared, answer_clients))
}

/// All routes, with refusals in the words of this dialect for its clients.
pub(super) fn translated(routes: Router, dialect: &Rebilly, service: &ResetService) -> Router {
    routes.layer(from_fn_with_state((service.clone(), dialect.clone()), refusal::translate))
}

async fn answer(
    State(service): State<ResetService>,
    Extension(gate): Extension<Gate>,
    Extension(dialect): Extension<Rebilly>,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response {
    answer_client((&service, &gate, &dialect), Target::of(parameters), request).await
}

async fn answer_clients(
    State((service, gate, dialect)): State<(ResetService, Gate, Rebilly)>,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    if request.extensions().get::<Spoken>().is_none() {
        return next.run(request).await;
    }
    answer_client((&service, &gate, &dialect), Target::of(parameters), request).await
}

/// Who calls is settled before anything is looked at.
async fn answer_client(
    (service, gate, dialect): (&ResetService, &Gate, &Rebilly),
    target: Result<Target, Problem>,
    request: Request,
) -> Response {
    let scope = match *request.method() {
        Method::POST => Scope::Issue,
        Method::DELETE => Scope::Revoke,
        _ => Scope::Check,
    };
    let (called_by, admitted) = client::let_in((service, gate), &request, scope, &dialect.tenant);
    let answer = match (&called_by, admitted, target) {
        (Some(by), Ok(()), Ok(target)) => act(by, gate, &target, request).await,
        (_, Err(problem), _) | (_, _, Err(problem)) => Err(problem),
        (None, Ok(()), Ok(_)) => Err(Problem::new(ProblemKind::Internal)),
    };
    let mut response = answer.into_response();
    if let Some(called_by) = called_by {
        response.extensions_mut().insert(called_by);
    }
    response
}

async fn act(
    by: &CalledBy,
    gate: &Gate,
    target: &Target,
    request: Request,
) -> Result<Response, Problem> {
    match (request.method(), &target.token) {
        (&Method::POST, None) => create(by, gate, target, request).await,
        (&Method::GET | &Method::HEAD, Some(token)) => read(by, target, token),
        (&Method::DELETE, Some(token)) => invalidate(by, token).await,
        _ => Err(Problem::new(ProblemKind::MethodNotAllowed)),
    }
}

/// `POST /password-tokens`
async fn create(
    by: &CalledBy,
    gate: &Gate,
    target: &Target,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let key = IdempotencyKey::from_request_parts(&mut parts, &()).await?;
    // The SDK for PHP says nothing of the type of its bodies.
    let json = HeaderValue::from_static("application/json");
    parts.headers.entry(header::CONTENT_TYPE).or_insert(json);
    let body = JsonBody::from_request(Request::from_parts(parts, body), &()).await?;
    let (attempt, wish) = (key.attempt(by, &body), read_wish(&body)?);
    let user = Extension(AboutUser::new(wish.username.as_str()));
    let issued = match api::issue_to(by, gate, &wish, attempt).await {
        Ok(issued) => issued,
        Err(problem) => return Ok((user, problem).into_response()),
    };
    let token = issued.token.expose();
    let resource = ResetPasswordToken::new(&by.tenant, target, token, &issued.claims);
    let location = [(header::LOCATION, resource.links[0].href.clone())];
    let about = (user, Extension(AboutToken(issued.claims.jti)));
    Ok((StatusCode::CREATED, location, about, Json(&resource)).into_response())
}

/// `GET /password-tokens/{id}`
fn read(by: &CalledBy, target: &Target, token: &str) -> Result<Response, Problem> {
    let claims = by.tenant.check(&by.caller, token)?;
    let resource = ResetPasswordToken::new(&by.tenant, target, token, &claims);
    Ok((about(&claims), Json(resource)).into_response())
}

/// `DELETE /password-tokens/{id}`
async fn invalidate(by: &CalledBy, token: &str) -> Result<Response, Problem> {
    let (CalledBy { caller, tenant }, token) = (by.clone(), Secret::new(token));
    let revoke = async move { tenant.revoke(&caller, token.expose()).await };
    let claims = undisturbed(revoke).await??;
    Ok((StatusCode::NO_CONTENT, about(&claims)).into_response())
}

/// Its clients send back what they were told of another token, and `null` for what they do not know.
fn read_wish(body: &JsonBody) -> Result<IssueRequest, Problem> {
    let mut members = Members::of(body)?;
    let username = members.required("username", Username::WANTED, text(Username::parse));
    let credential_id = members
        .optional("credentialId", CredentialId::WANTED, or_null(text(CredentialId::parse)))
        .flatten();
    let time = format!("{TIME}, or null");
    let expired_time =
        members.optional("expiredTime", &time, or_null(text(from_rfc3339))).flatten();
    for read_only in ["token", "_links"] {
        members.optional(read_only, "anything", |_| Some(()));
    }
    let username = members.finish(username)?;
    let expiry = expired_time.map_or(Expiry::Default, Expiry::At);
    Ok(IssueRequest { username, credential_id, credential_version: None, user_id: None, expiry })
}

fn or_null<T>(read: impl Fn(&Value<'_>) -> Option<T>) -> impl Fn(&Value<'_>) -> Option<Option<T>> {
    move |value| if matches!(value, Value::Null) { Some(None) } else { read(value).map(Some) }
}

/// What a path is about.
struct Target {
    /// What stands before `/password-tokens`.
    prefix: String,
    token: Option<String>,
}

impl Target {
    /// An organization stands for nothing here, since the key says whose tokens are meant; it is told back in links.
    /// A path that is not even UTF-8 names no token, like any other text that is none.
    fn of(parameters: Result<RawPathParams, RawPathParamsRejection>) -> Result<Self, Problem> {
        let parameters = parameters.map_err(|_| Problem::new(ProblemKind::TokenUnknown))?;
        let named = |wanted| parameters.iter().find(|(name, _)| *name == wanted).map(|it| it.1);
        let prefix = match named("organization") {
            Some(id) if is_organization(id) => format!("/organizations/{id}"),
            Some(_) => return Err(Problem::new(ProblemKind::NotFound)),
            None => String::new(),
        };
        Ok(Self { prefix, token: named("token").map(ToOwned::to_owned) })
    }
}

fn is_organization(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@~-._".contains(&byte);
    id.len() <= MAX_ORGANIZATION && id.bytes().all(is_plain)
}

/// A live token, as its clients know it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResetPasswordToken<'t> {
    token: &'t str,
    username: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<&'t str>,
    expired_time: String,
    #[serde(rename = "_links")]
    links: [Link; 1],
}

impl<'t> ResetPasswordToken<'t> {
    fn new(tenant: &Tenant, target: &Target, token: &'t str, claims: &'t Claims) -> Self {
        let (base_url, prefix) = (tenant.base_url(), &target.prefix);
        let href = format!("{base_url}{prefix}/password-tokens/{token}");
        Self {
            token,
            username: &claims.sub,
            credential_id: claims.credential_id.as_deref(),
            expired_time: to_rfc3339(claims.exp),
            links: [Link { href, rel: "self" }],
        }
    }
}
