//! The one thing that anybody may do who holds a token: say that they did not ask for it.

use axum::extract::{FromRequest as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::api;
use super::body::JsonBody;
use super::caller::has_credential;
use super::limit::Gate;
use super::problem::Problem;
use super::source::Source;
use crate::service::ResetService;

/// `POST /revocations` without a credential; a request with one goes on to its caller's.
pub(super) async fn disown(
    State((service, gate)): State<(ResetService, Gate)>,
    request: Request,
    next: Next,
) -> Response {
    if has_credential(&request) {
        return next.run(request).await;
    }
    let source = request.extensions().get::<Source>().copied();
    let body = JsonBody::from_request(request, &()).await;
    let disowned = async {
        let token = api::disowned_token(body)?;
        // A live token can be killed once, so whoever has one is never kept waiting by those who have
        // none, though all of them come through one proxy.
        let tenant = service.tenant_of(token.expose());
        if !tenant.is_some_and(|tenant| tenant.is_live(token.expose())) {
            gate.rules().admit_holder(source)?;
        }
        api::disown(tenant, &token).await
    };
    disowned.await.unwrap_or_else(Problem::into_response)
}
