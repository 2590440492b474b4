//! Around every request: an id, one line in the log and one in the audit trail, and the headers that
//! every answer has. This is the one place that logs a refusal.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, map_response};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE32_NOPAD;
use resetd_verify::TokenId;

use super::audited::Pending;
use super::caller::CalledBy;
use super::limit;
use super::problem::{Problem, ProblemKind, Reported};
use crate::audit::{Audit, OK};
use crate::random::Random;
use crate::service::Error;

/// What a browser must do with every answer that does not say otherwise, whatever it opens it as.
pub const ON_EVERY_ANSWER: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// For how long a browser speaks nothing but TLS with a host that told it so: a year.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

tokio::task_local! {
    /// The id of the request that this task answers.
    static REQUEST_ID: String;
}

/// The id under which the log has the request that is being answered.
pub(super) fn request_id() -> Option<String> {
    REQUEST_ID.try_with(Clone::clone).ok()
}

/// The token that an answer is about; travels in the response's extensions to the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct AboutToken(pub(super) TokenId);

/// What is made of every request, and where its line goes.
#[derive(Clone, Debug)]
pub(super) struct Observer {
    random: Arc<Random>,
    audit: Audit,
}

impl Observer {
    pub(super) fn new(audit: Audit) -> Self {
        Self { random: Arc::new(Random::new()), audit }
    }
}

/// What is known of a request when it is answered: for the log and for the audit trail.
#[derive(Debug)]
pub(super) struct Facts<'r> {
    pub(super) caller: Option<&'r str>,
    pub(super) tenant: Option<&'r str>,
    /// [`OK`], or the code of the problem.
    pub(super) code: &'static str,
    pub(super) jti: Option<String>,
    pub(super) reason: Option<String>,
    /// Whether somebody had done with the token that was presented.
    pub(super) is_reuse: bool,
}

impl<'r> Facts<'r> {
    fn of(response: &'r Response) -> Self {
        let extensions = response.extensions();
        let refusal = extensions.get::<Reported>();
        let cause = refusal.and_then(|refusal| refusal.cause.as_deref());
        let error = cause.and_then(|cause| cause.downcast_ref::<Error>());
        let jti = extensions.get::<AboutToken>().map(|about| about.0);
        let called_by = extensions.get::<CalledBy>();
        let code = refusal.map_or(OK, |refusal| refusal.code);
        // That no key is known by a name repeats the name, which came in the path and may be anything.
        let reason = cause.filter(|_| code != ProblemKind::KeyUnknown.code());
        Self {
            caller: called_by.map(|by| by.caller.as_str()),
            tenant: called_by.map(|by| by.tenant.policy().tenant.as_str()),
            code,
            jti: jti.or_else(|| error.and_then(Error::token_id)).map(|jti| jti.to_string()),
            reason: reason.map(ToString::to_string),
            is_reuse: error.is_some_and(Error::is_reuse),
        }
    }

    pub(super) fn is_ok(&self) -> bool {
        self.code == OK
    }
}

/// Always our own: a header from outside never becomes a header or a line in the log.
fn new_request_id(random: &Random) -> String {
    let bytes: [u8; 10] = random.bytes().unwrap_or_default();
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}

pub(super) async fn observe(
    State(observer): State<Observer>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = new_request_id(&observer.random);
    let method = request.method().clone();
    // The route's pattern, never the path: a path may hold a token.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned());
    let extensions = request.extensions_mut();
    let pending = Pending::new(&observer.audit, &method, &route, &id, extensions);
    let answer = limit::TOLD.scope(RefCell::default(), async {
        let mut response = next.run(request).await;
        limit::add_headers(response.headers_mut());
        response
    });
    let mut response = REQUEST_ID.scope(id.clone(), answer).await;
    add_headers(response.headers_mut(), &id);
    let facts = Facts::of(&response);
    log(&response, &facts, &id, method.as_str(), &route, started);
    pending.answered(&facts, response.extensions());
    response
}

fn log(
    response: &Response,
    facts: &Facts<'_>,
    id: &str,
    method: &str,
    route: &str,
    started: Instant,
) {
    let Facts { caller, tenant, code, jti, reason, .. } = facts;
    let status = response.status().as_u16();
    let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = id,
                method,
                route,
                status,
                duration_ms,
                caller,
                tenant,
                code,
                jti,
                reason,
                "request"
            )
        };
    }
    if response.status().is_server_error() {
        line!(error);
    } else {
        line!(info);
    }
}

fn add_headers(headers: &mut HeaderMap, id: &str) {
    // The page for people has a policy of its own, which lets its script run.
    for (name, value) in ON_EVERY_ANSWER {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // Whatever does not say otherwise may hold or judge a token.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

/// Has every answer say that this host is to be reached over TLS only (RFC 6797). Over plain HTTP that
/// would mean nothing.
pub fn only_over_tls(router: Router) -> Router {
    router.layer(map_response(async |mut response: Response| {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
        response
    }))
}

/// A fault of ours is answered like any other, and its text stays in the log.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands over the panic")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text");
    tracing::error!(panic = text, "a request handler panicked");
    Problem::new(ProblemKind::Internal).into_response()
}
