//! The one thing that anybody may do who holds a token: say that they did not ask for it.

use axum::extract::{FromRequest as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::api;
use super::body::JsonBody;
use super::caller::has_credential;
use super::limit::{Gate, per_source};
use super::problem::Problem;
use super::source::Source;
use crate::domain::secret::Secret;
use crate::service::{ResetService, Tenant};

/// `POST /revocations` without a credential; a request with one goes on to its caller's, so often from one
/// address.
pub(super) async fn disown(
    State((service, gate)): State<(ResetService, Gate)>,
    request: Request,
    next: Next,
) -> Response {
    if has_credential(&request) {
        return per_source(State(gate), request, next).await;
    }
    let source = request.extensions().get::<Source>().copied();
    let body = JsonBody::from_request(request, &()).await;
    let disowned = async {
        let token = match api::disowned_token(body) {
            Ok(token) => token,
            Err(problem) => {
                gate.rules().admit_source(source)?;
                return Err(problem);
            }
        };
        let tenant = service.tenant_of(token.expose());
        admit(&gate, tenant, &token, source)?;
        api::disown(tenant, token).await
    };
    disowned.await.unwrap_or_else(Problem::into_response)
}

/// A token that is live, or held, can be killed once, so whoever has one is never kept waiting by those who
/// have none, though all of them come through one proxy.
pub(super) fn admit(
    gate: &Gate,
    tenant: Option<&Tenant>,
    token: &Secret,
    source: Option<Source>,
) -> Result<(), Problem> {
    if tenant.is_some_and(|tenant| tenant.can_be_killed(token.expose())) {
        return Ok(());
    }
    gate.rules().admit_holder(source)
}
