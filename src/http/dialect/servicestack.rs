//! The dialect of a `ServiceStack` service's password resets: `GetResetPasswordToken`, which has a link sent, and
//! `PasswordReset`, which spends a token. A token goes out by mail only and is in no answer.

mod answer;
mod fault;
mod format;
mod jsv;
mod members;
mod operations;
mod route;
mod xml;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Extension, Router};

use crate::audit::Action;
use crate::domain::caller::{NoCaller, Scope};
use crate::domain::dialect::ServiceStack;
use crate::http::audited::{AboutTenant, AboutUser, KnownAction};
use crate::http::body::read_any;
use crate::http::caller::{CalledBy, admit, has_credential};
use crate::http::deliveries::promise;
use crate::http::limit::Gate;
use crate::http::observe::AboutToken;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::source::Source;
use crate::http::undisturbed::undisturbed;
use crate::service::{Error, ResetService};
use answer::write;
use fault::Fault;
use format::{NoCallback, Style};
use members::{Members, Query, Written};
use route::{Found, Operation, Route};

/// Who has links sent where nobody says who they are. No caller can have this name.
const ANYBODY: &str = "(anybody)";

/// The methods of the operation that sends: all of the vendor's, but for OPTIONS, which browsers send by themselves.
const TO_SEND: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// Those of the operation that spends: no safe request spends a token.
const TO_SPEND: [Method; 4] = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Its routes. What is below the mount is found by [`route::find`], since it is the same in any case.
pub(super) fn routes(dialect: &ServiceStack, gate: &Gate) -> Router<ResetService> {
    let shared = Shared { dialect: Arc::new(dialect.clone()), gate: gate.clone() };
    let mut routes = Router::new();
    for mount in ["/api/{*operation}", "/Api/{*operation}", "/API/{*operation}"] {
        routes = routes.route(mount, any(answer));
    }
    routes.layer(Extension(shared))
}

#[derive(Clone, Debug)]
struct Shared {
    dialect: Arc<ServiceStack>,
    gate: Gate,
}

/// Finds the operation and how to answer, and then answers, however it goes.
async fn answer(
    State(service): State<ResetService>,
    Extension(shared): Extension<Shared>,
    request: Request,
) -> Response {
    let action = request.extensions().get::<KnownAction>().cloned().unwrap_or_default();
    let route = match route::find(request.uri().path()) {
        Found::Route(route) if *request.method() != Method::OPTIONS => route,
        other @ (Found::Route(_) | Found::NoOperation(_) | Found::Nothing) => {
            action.is(None);
            return elsewhere(&other, shared.dialect.has_camel_names);
        }
    };
    let operation = route.operation;
    action.is(Some(action_of(operation)));
    let query = Query::of(request.uri().query().unwrap_or_default());
    let has_camel_names = shared.dialect.has_camel_names;
    let (style, callback) = Style::of(&route, &query, request.headers(), has_camel_names);
    let mut about = Extensions::new();
    let asked = Asked { service, shared, route, query };
    let done = match callback {
        Ok(()) => asked.run(request, &mut about).await,
        Err(NoCallback) => Err(Fault::of_argument(
            "Wanted a callback of at most 64 letters and digits, or . _ and $.",
        )),
    };
    let mut response = match done {
        Ok(()) => write(&style, operation, StatusCode::OK, None),
        Err(fault) => fault.into_response(&style, operation),
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, allow(operation));
    }
    response.extensions_mut().extend(about);
    response
}

/// Where nothing is done: no operation is asked for, or only by which methods it can be.
fn elsewhere(found: &Found, has_camel_names: bool) -> Response {
    match found {
        Found::Route(route) => {
            (StatusCode::NO_CONTENT, [(header::ALLOW, allow(route.operation))]).into_response()
        }
        Found::NoOperation(format) => {
            let style = Style { format: *format, callback: None, has_camel_names };
            let none = [(header::ALLOW, HeaderValue::from_static(""))];
            // Its answers would have this form.
            let fault = Fault::no_operation();
            (none, fault.into_response(&style, Operation::GetResetPasswordToken)).into_response()
        }
        Found::Nothing => Problem::new(ProblemKind::NotFound).into_response(),
    }
}

fn action_of(operation: Operation) -> Action {
    match operation {
        Operation::GetResetPasswordToken => Action::Deliver,
        Operation::PasswordReset => Action::Redeem,
    }
}

fn methods(operation: Operation) -> &'static [Method] {
    match operation {
        Operation::GetResetPasswordToken => &TO_SEND,
        Operation::PasswordReset => &TO_SPEND,
    }
}

fn allow(operation: Operation) -> HeaderValue {
    let names: Vec<_> = methods(operation).iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// A request for an operation.
struct Asked {
    service: ResetService,
    shared: Shared,
    route: Route,
    query: Query,
}

impl Asked {
    /// Does what is asked for. What the log needs to know is noted beside it.
    async fn run(&self, request: Request, about: &mut Extensions) -> Result<(), Fault> {
        if !methods(self.route.operation).contains(request.method()) {
            return Err(Problem::new(ProblemKind::MethodNotAllowed).into());
        }
        let caller = self.let_in(&request, about)?;
        let (parts, body) = request.into_parts();
        let members = self.members(&parts, body).await?;
        let by = self.acting(caller, &members, about)?;
        match self.route.operation {
            Operation::GetResetPasswordToken => {
                let request = operations::delivery(&by.tenant, &members, &parts.headers)?;
                about.insert(AboutUser::new(request.issue.username.as_str()));
                let promised = promise(&by, &self.shared.gate, &request, None).await?;
                about.insert(AboutToken(promised.id));
            }
            Operation::PasswordReset => {
                let request = operations::redemption(&members)?;
                let CalledBy { caller, tenant } = by;
                let redeem = async move { tenant.redeem(&caller, &request, None).await };
                let redeemed = undisturbed(redeem).await?;
                let redeemed = redeemed.map_err(|error| Problem::from(error).on_redeeming())?;
                about.insert(AboutToken(redeemed.claims.jti));
                about.insert(AboutUser::new(&redeemed.claims.sub));
            }
        }
        Ok(())
    }

    /// Who calls, if they may, found before a byte of the body is read; nobody, if anybody may ask, and not too often.
    fn let_in(
        &self,
        request: &Request,
        about: &mut Extensions,
    ) -> Result<Option<CalledBy>, Problem> {
        let is_open = self.shared.dialect.is_public
            && self.route.operation == Operation::GetResetPasswordToken;
        if is_open && !has_credential(request) {
            let source = request.extensions().get::<Source>().copied();
            return self.shared.gate.rules().admit_stranger(source).map(|()| None);
        }
        let scope = match self.route.operation {
            Operation::GetResetPasswordToken => Scope::Deliver,
            Operation::PasswordReset => Scope::Redeem,
        };
        let (by, admitted) = admit((&self.service, &self.shared.gate), request, scope);
        if let Some(by) = &by {
            about.insert(by.clone());
        }
        admitted?;
        // To go on without a caller is for the open route alone.
        by.map(Some).ok_or_else(|| Problem::new(ProblemKind::Internal))
    }

    /// What the request says. On the operation's own route its path counts over its body, its query over both, and
    /// a form over all; on the others its body counts over its query.
    async fn members(&self, parts: &Parts, body: Body) -> Result<Members, Fault> {
        let (path, query) =
            (Members::of_path(self.route.user.as_deref())?, Members::of_query(&self.query)?);
        let bytes = read_any(parts, body).await?;
        if bytes.is_empty() {
            return Ok(query.or(path));
        }
        let Ok(Some(written)) = Written::of(&parts.headers) else {
            return Err(Problem::new(ProblemKind::UnsupportedMediaType).into());
        };
        let body = members::of_body(&bytes, written, self.route.operation.name())?;
        let counts_first = self.route.is_predefined || written == Written::Form;
        Ok(if counts_first { body.or(query).or(path) } else { query.or(path).or(body) })
    }

    /// Who has it done, for the tenant that the request means.
    fn acting(
        &self,
        caller: Option<CalledBy>,
        members: &Members,
        about: &mut Extensions,
    ) -> Result<CalledBy, Fault> {
        let of_caller = caller.as_ref().map(|by| &by.tenant.policy().tenant);
        let tenant = operations::tenant_of(&self.shared.dialect, members, of_caller)?;
        match caller {
            // The caller of another tenant is nobody here.
            Some(by) if by.tenant.policy().tenant != *tenant => {
                Err(Problem::from(Error::from(NoCaller::Unknown)).into())
            }
            Some(by) => Ok(by),
            None => {
                about.insert(AboutTenant(tenant.to_string()));
                let tenant = self.service.tenant(tenant).cloned();
                let tenant = tenant.ok_or_else(|| Problem::new(ProblemKind::Internal))?;
                Ok(CalledBy { caller: ANYBODY.into(), tenant })
            }
        }
    }
}
