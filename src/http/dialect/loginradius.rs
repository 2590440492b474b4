//! The dialect of `LoginRadius`' identity API: a token for a user, the link by mail, and the end of a token.
//! `entrance.rs` lets callers in, `wish.rs` reads what they want, `refusal.rs` says no in the vendor's words.

mod entrance;
mod refusal;
mod wish;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post, put};
use axum::{Extension, Json, Router};
use resetd_verify::{Claims, TokenId};
use serde::Serialize;

use crate::domain::caller::Scope;
use crate::domain::dialect::LoginRadius;
use crate::domain::order::News;
use crate::http::api::about;
use crate::http::audited::AboutUser;
use crate::http::limit::Gate;
use crate::http::observe::AboutToken;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::undisturbed::undisturbed;
use crate::service::{Error, RedeemRequest, ResetService};
use entrance::{Desk, Visit};
use refusal::Refusal;
use wish::Wish;

/// Its routes. Whatever else the libraries may call is refused in a way that they take for a refusal.
pub(super) fn routes(dialect: &LoginRadius, gate: &Gate) -> Router<ResetService> {
    Router::new()
        .route(
            "/identity/v2/manage/account/forgot/token",
            post(forgot_token).fallback(other_method),
        )
        .route("/identity/v2/auth/password", post(forgot_password).fallback(other_method))
        .route("/identity/v2/auth/password/reset", put(reset).fallback(other_method))
        .route("/identity/{*rest}", any(nothing_here))
        .layer(Extension(Desk::new(dialect, gate)))
}

async fn other_method() -> Refusal {
    Problem::new(ProblemKind::MethodNotAllowed).into()
}

async fn nothing_here() -> Refusal {
    Problem::new(ProblemKind::NotFound).into()
}

/// `POST /identity/v2/manage/account/forgot/token`
async fn forgot_token(
    State(service): State<ResetService>,
    Extension(desk): Extension<Desk>,
    request: Request,
) -> Response {
    let (by, visit) = desk.let_in(&service, &request, Scope::Issue);
    let answer = match visit {
        Ok(visit) => issue(&visit, request).await,
        Err(refusal) => Err(refusal),
    };
    (by.map(Extension), answer).into_response()
}

async fn issue(visit: &Visit, request: Request) -> Result<Response, Refusal> {
    let wish = Wish::read(visit, request).await?;
    let user = Extension(AboutUser::new(wish.username.as_str()));
    let answer = issue_for(visit, &wish).await.map(|(id, answer)| {
        let about = Extension(AboutToken(id));
        (about, Json(answer))
    });
    Ok((user, answer).into_response())
}

async fn issue_for(visit: &Visit, wish: &Wish) -> Result<(TokenId, Forgotten), Refusal> {
    let (tenant, caller) = (visit.by.tenant.clone(), visit.by.caller.clone());
    // As natively: what nobody gets is not counted.
    if tenant.sending().hides_users() {
        return Err(Problem::from(Error::DeliveryOnly).into());
    }
    let delivery = wish.sends_mail.then(|| wish.delivery(&tenant)).transpose()?;
    if let Some(delivery) = &delivery {
        tenant.require_sendable(delivery).map_err(Problem::from)?;
    }
    visit.admit_user(&wish.username).map_err(Refusal::too_many_tokens)?;
    let (request, is_quiet) = (wish.issue(), wish.prevents_webhooks);
    let issue = async move {
        let identity_providers = tenant.identity_providers(&request.username).await?;
        let issued = match delivery {
            Some(delivery) => {
                let news = if is_quiet { News::None } else { News::Sending };
                Arc::new(tenant.issue_and_deliver(&caller, &delivery, news).await?)
            }
            None if is_quiet => Arc::new(tenant.issue_untold(&request).await?),
            None => tenant.issue(&caller, &request, None).await?,
        };
        Ok((issued, identity_providers))
    };
    let issued: Result<_, Error> = undisturbed(issue).await?;
    let (issued, identity_providers) = issued.map_err(Problem::from)?;
    let forgot_token = issued.token.expose().to_owned();
    Ok((issued.claims.jti, Forgotten { forgot_token, identity_providers }))
}

/// `POST /identity/v2/auth/password`
async fn forgot_password(
    State(service): State<ResetService>,
    Extension(desk): Extension<Desk>,
    request: Request,
) -> Response {
    let (by, visit) = desk.let_in(&service, &request, Scope::Deliver);
    let answer = match visit {
        Ok(visit) => mail(&visit, request).await,
        Err(refusal) => Err(refusal),
    };
    (by.map(Extension), answer).into_response()
}

async fn mail(visit: &Visit, request: Request) -> Result<Response, Refusal> {
    let wish = Wish::read(visit, request).await?;
    let user = Extension(AboutUser::new(wish.username.as_str()));
    let answer = mail_to(visit, &wish).await.map(|id| (Extension(AboutToken(id)), DONE));
    Ok((user, answer).into_response())
}

async fn mail_to(visit: &Visit, wish: &Wish) -> Result<TokenId, Refusal> {
    let (tenant, caller) = (visit.by.tenant.clone(), visit.by.caller.clone());
    // Else whoever knows the key of the app could have mails sent to anybody.
    if !visit.is_known && tenant.sending().users.is_none() {
        return Err(Refusal::secret_missing());
    }
    let delivery = wish.delivery(&tenant)?;
    tenant.require_sendable(&delivery).map_err(Problem::from)?;
    if !visit.is_known {
        visit.admit_stranger()?;
    }
    let is_throttled = visit.is_throttled(&wish.username).map_err(Refusal::too_many_mails)?;
    let deliver = async move { tenant.deliver(&caller, &delivery, None, is_throttled).await };
    let promised = undisturbed(deliver).await?.map_err(Problem::from)?;
    Ok(promised.id)
}

/// `PUT /identity/v2/auth/password/reset`: spends the token. The password is for whoever calls to set; here it
/// is passed over unread.
async fn reset(
    State(service): State<ResetService>,
    Extension(desk): Extension<Desk>,
    request: Request,
) -> Response {
    let (by, visit) = desk.let_in(&service, &request, Scope::Redeem);
    let answer = match visit {
        Ok(visit) => redeem(&visit, request).await.map_err(Refusal::of_put),
        Err(refusal) => Err(refusal),
    };
    (by.map(Extension), answer).into_response()
}

async fn redeem(visit: &Visit, request: Request) -> Result<Response, Refusal> {
    let token = wish::token(request).await?;
    let (tenant, caller) = (visit.by.tenant.clone(), visit.by.caller.clone());
    // Whoever holds a live token is heard, however many try with others. One that is held stays so, and one that
    // is bound to a version cannot be spent here, so those could be tried for ever.
    let can_be_spent = |claims: Claims| claims.credential_version.is_none();
    if !visit.is_known && !tenant.look(token.expose()).is_ok_and(can_be_spent) {
        visit.admit_stranger()?;
    }
    let request =
        RedeemRequest { token, credential_id: None, credential_version: None, hold: None };
    let redeem = async move { tenant.redeem(&caller, &request, None).await };
    let redeemed = undisturbed(redeem).await?.map_err(Problem::from)?;
    Ok((about(&redeemed.claims), DONE).into_response())
}

/// A token, and by which other ways its user signs in.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Forgotten {
    forgot_token: String,
    identity_providers: Vec<String>,
}

/// What was asked for is done.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Posted {
    is_posted: bool,
}

const DONE: Json<Posted> = Json(Posted { is_posted: true });
