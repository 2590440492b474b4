//! The dialect of fabric's identity service: a link is looked at without a key, and a caller has tokens made and
//! spent. A password is set by nobody here, so what stands in a request of it is passed over.

mod context;
mod refusal;
mod wire;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, patch};
use axum::{Extension, Json, Router};
use resetd_verify::Claims;

use crate::domain::caller::Scope;
use crate::domain::dialect::{Fabric, FabricAccount};
use crate::domain::identifier::Username;
use crate::domain::issue::{IssueRequest, IssuedToken};
use crate::domain::policy::Expiry;
use crate::domain::secret::Secret;
use crate::http::api::about;
use crate::http::audited::{AboutTenant, AboutUser};
use crate::http::body::JsonBody;
use crate::http::caller::CalledBy;
use crate::http::limit::Gate;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::source::Source;
use crate::http::undisturbed::undisturbed;
use crate::service::{Error, Phase, RedeemRequest, Redemption, ResetService, Tenant, TokenError};
use context::SiteContext;
use refusal::Refusal;
use wire::{Owner, ResetToken, Worth, milliseconds, object_in, text_of, user_id_of};

/// Its routes. What else is below is refused in its words.
pub(super) fn routes(dialect: &Fabric, gate: &Gate) -> Router<ResetService> {
    let not_here = || async { Refusal::from(Problem::new(ProblemKind::NotFound)) };
    let not_so = || async { Refusal::from(Problem::new(ProblemKind::MethodNotAllowed)) };
    Router::new()
        .route("/api-commerceIdentity/auth/token/{token}", get(verify))
        .route("/api-commerceIdentity/auth/local/reset", patch(reset))
        .route("/api-commerceIdentity/auth/password", patch(password))
        .route("/api-commerceIdentity/{*rest}", any(not_here))
        .method_not_allowed_fallback(not_so)
        .layer(Extension(Arc::new(dialect.clone())))
        .layer(Extension(gate.clone()))
        .route_layer(from_fn_with_state(gate.clone(), per_source))
}

/// Lets through what an address may ask.
async fn per_source(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match gate.rules().admit_source(request.extensions().get().copied()) {
        Ok(()) => next.run(request).await,
        Err(problem) => Refusal::from(problem).into_response(),
    }
}

/// `GET …/auth/token/{token}`, by whoever holds it. Nothing is changed and nobody is counted for asking, but
/// those who ask about what is not live, so often from one address.
async fn verify(
    State(service): State<ResetService>,
    Extension(gate): Extension<Gate>,
    source: Option<Extension<Source>>,
    context: SiteContext,
    token: Result<Path<String>, PathRejection>,
) -> Response {
    let Some(tenant) = context.tenant.and_then(|name| service.tenant(&name)) else {
        // Who is nobody has no token. It is counted like any other that is not there.
        let admitted = gate.rules().admit_stranger(source.map(|Extension(source)| source));
        let problem = admitted.err().unwrap_or_else(|| Problem::new(ProblemKind::TokenUnknown));
        return Refusal::from(problem).into_response();
    };
    // A path that is not even UTF-8 names no token, like any other text that is none.
    let token = token.map(|Path(token)| token).unwrap_or_default();
    let worth = tenant.examine(&token);
    let is_live = matches!(worth, Ok((_, None)));
    let of_tenant = Extension(AboutTenant(tenant.policy().tenant.to_string()));
    let admitted = if is_live {
        Ok(())
    } else {
        gate.rules().admit_stranger(source.map(|Extension(source)| source))
    };
    let answer = admitted.map_err(Refusal::from).and_then(|()| told(worth));
    (of_tenant, answer).into_response()
}

/// What a token is worth, to whoever holds it. Of one that was good and is spent, revoked or set aside it is said
/// that it is not valid; the log has why.
fn told(worth: Result<(Claims, Option<TokenError>), Error>) -> Result<Response, Refusal> {
    let (claims, dead) = worth.map_err(Problem::from)?;
    let answer = |is_valid| {
        let worth = Worth { token_valid: is_valid, user_id: user_id_of(&claims) };
        (about(&claims), Json(worth))
    };
    match dead {
        None => Ok(answer(true).into_response()),
        Some(error @ (TokenError::Unknown(_) | TokenError::Expired { .. })) => {
            Err(Problem::from(Error::from(error)).into())
        }
        Some(
            error @ (TokenError::Used { .. }
            | TokenError::Revoked { .. }
            | TokenError::Held { .. }
            | TokenError::PredatesStart { .. }),
        ) => {
            let reported = Problem::from(Error::from(error)).into_reported();
            Ok((Extension(reported), answer(false)).into_response())
        }
    }
}

/// `PATCH …/auth/local/reset`
async fn reset(
    State(service): State<ResetService>,
    Extension(gate): Extension<Gate>,
    context: SiteContext,
    request: Request,
) -> Response {
    let (known, admitted) = context.let_in((&service, &gate), &request, Scope::Issue);
    let answer = match admitted {
        Ok(by) => issue(&by, &gate, request).await,
        Err(refusal) => Err(refusal),
    };
    (known.map(Extension), answer).into_response()
}

async fn issue(by: &CalledBy, gate: &Gate, request: Request) -> Result<Response, Refusal> {
    let body = JsonBody::from_request(request, &()).await?;
    let username = text_of(&object_in(&body)?, "username").and_then(Username::parse);
    let username = username.ok_or_else(|| Refusal::invalid("username is no user name"))?;
    let user = Extension(AboutUser::new(username.as_str()));
    let answer = match issue_to(by, gate, username).await {
        Ok(issued) => Ok((about(&issued.claims), Json(ResetToken::new(&issued))).into_response()),
        Err(problem) => Err(Refusal::from(problem)),
    };
    Ok((user, answer).into_response())
}

async fn issue_to(
    by: &CalledBy,
    gate: &Gate,
    username: Username,
) -> Result<Arc<IssuedToken>, Problem> {
    let CalledBy { caller, tenant } = by;
    // What nobody gets is not counted: what is left would tell how often others asked.
    if tenant.sending().hides_users() {
        return Err(Error::DeliveryOnly.into());
    }
    gate.rules().admit_user(&tenant.policy().tenant, username.as_str())?;
    let request = IssueRequest {
        username,
        credential_id: None,
        credential_version: None,
        user_id: None,
        expiry: Expiry::Default,
    };
    Ok(tenant.issue(caller, &request, None).await?)
}

/// `PATCH …/auth/password`
async fn password(
    State(service): State<ResetService>,
    Extension(gate): Extension<Gate>,
    context: SiteContext,
    request: Request,
) -> Response {
    let (known, admitted) = context.let_in((&service, &gate), &request, Scope::Redeem);
    let answer = match admitted {
        Ok(by) => redeem(by, &context, request).await,
        Err(refusal) => Err(refusal),
    };
    (known.map(Extension), answer).into_response()
}

/// The new password is not looked at, and need not be there.
async fn redeem(
    by: CalledBy,
    context: &SiteContext,
    request: Request,
) -> Result<Response, Refusal> {
    let body = JsonBody::from_request(request, &()).await?;
    let object = object_in(&body)?;
    let wanted = || Refusal::invalid("userId and resetToken are wanted, both strings");
    let user_id = text_of(&object, "userId").ok_or_else(wanted)?;
    let token = Secret::new(text_of(&object, "resetToken").ok_or_else(wanted)?);
    require_user(&by.tenant, &token, user_id)?;
    let CalledBy { caller, tenant } = by;
    let request =
        RedeemRequest { token, credential_id: None, credential_version: None, hold: None };
    let redeem = async move { tenant.redeem(&caller, &request, None).await };
    let Redemption { claims, phase } = undisturbed(redeem).await?.map_err(Problem::from)?;
    let redeemed_time = match phase {
        Phase::Redeemed(at) => Some(milliseconds(at)),
        Phase::Held(_) => None,
    };
    let account = context.account.as_ref().map(FabricAccount::as_str);
    let owner =
        Owner { user_id: user_id_of(&claims), account, username: &claims.sub, redeemed_time };
    Ok((about(&claims), Json(owner)).into_response())
}

/// A token of another user is not spent. One that is dead is for the redemption to refuse, and to count.
fn require_user(tenant: &Tenant, token: &Secret, user_id: &str) -> Result<(), Refusal> {
    match tenant.examine(token.expose()) {
        Ok((claims, None)) if user_id_of(&claims) != user_id => {
            let error = Error::CredentialMismatch { jti: claims.jti };
            Err(Problem::from(error).into())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
