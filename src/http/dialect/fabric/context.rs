//! The site context of a request: JSON in a header, which says whose tokens it is about.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use resetd_verify::json::{self, Object, Value};

use super::refusal::Refusal;
use crate::domain::caller::{NoCaller, Scope};
use crate::domain::dialect::{Fabric, FabricAccount};
use crate::domain::policy::TenantName;
use crate::http::caller::{self, CalledBy};
use crate::http::limit::Gate;
use crate::http::problem::{Problem, ProblemKind};
use crate::service::{Error, ResetService};

/// What a request says of whose tokens it is about.
#[derive(Clone, Debug)]
pub(super) struct SiteContext {
    pub(super) account: Option<FabricAccount>,
    /// None where the account is nobody's.
    pub(super) tenant: Option<TenantName>,
}

impl<S: Sync> FromRequestParts<S> for SiteContext {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(fabric) = parts.extensions.get::<Arc<Fabric>>() else {
            return Err(Problem::new(ProblemKind::Internal).into());
        };
        let account = account_in(&parts.headers, fabric.lenient_site_context)?;
        let tenant = fabric.tenant_of(account.as_ref()).cloned();
        Ok(Self { account, tenant })
    }
}

impl SiteContext {
    /// Lets a caller of its tenant in. Whoever is known is told beside the refusal as well, for the log.
    pub(super) fn let_in(
        &self,
        here: (&ResetService, &Gate),
        request: &Request,
        scope: Scope,
    ) -> (Option<CalledBy>, Result<CalledBy, Refusal>) {
        let key = match api_key(request.headers(), request.uri()) {
            Ok(key) => key,
            Err(problem) => return (None, Err(problem.into())),
        };
        // Who is nobody has no callers.
        let Some(tenant) = &self.tenant else {
            return (None, Err(Problem::from(Error::from(NoCaller::Unknown)).into()));
        };
        let (known, admitted) = caller::let_in(here, request.extensions(), key, scope, tenant);
        let by = match (admitted, &known) {
            (Ok(()), Some(by)) => Ok(by.clone()),
            (Ok(()), None) => Err(Problem::new(ProblemKind::Internal).into()),
            (Err(problem), _) => Err(problem.into()),
        };
        (known, by)
    }
}

/// The one key of a request. An `Authorization` beside it is passed over: fabric's clients have that of the
/// person who is logged in there.
fn api_key<'r>(headers: &'r HeaderMap, uri: &Uri) -> Result<&'r str, Problem> {
    if caller::is_in_query(uri) {
        return Err(Problem::new(ProblemKind::CredentialInQuery));
    }
    let mut keys = headers.get_all("x-api-key").iter();
    match (keys.next(), keys.next()) {
        (Some(_), Some(_)) => Err(Problem::new(ProblemKind::SeveralCredentials)),
        (key, _) => {
            let key = key.and_then(|key| key.to_str().ok());
            key.ok_or_else(|| Error::from(NoCaller::Missing).into())
        }
    }
}

/// The account of a request, or none where that may be.
fn account_in(headers: &HeaderMap, may_be_missing: bool) -> Result<Option<FabricAccount>, Refusal> {
    let mut contexts = headers.get_all("x-site-context").iter();
    let context = match (contexts.next(), contexts.next()) {
        (Some(context), None) => context,
        (None, _) if may_be_missing => return Ok(None),
        (None, _) => return Err(Refusal::of_context("x-site-context is missing")),
        (Some(_), Some(_)) => return Err(Refusal::of_context("x-site-context is there twice")),
    };
    let context = json::parse_object(context.as_bytes())
        .map_err(|_| Refusal::of_context("x-site-context is no JSON object"))?;
    if !is_told_rightly(&context) {
        return Err(Refusal::of_context(
            "x-site-context has a channel that is no number or string, or a stage, date or site that is no string",
        ));
    }
    let account = context.member("account").and_then(Value::as_str).and_then(FabricAccount::parse);
    let wanted = || Refusal::of_context("x-site-context has no account of 24 letters and digits");
    account.map(Some).ok_or_else(wanted)
}

/// What narrows the source further has no meaning here. It must be what it can be, all the same; other members
/// may be anything.
fn is_told_rightly(context: &Object<'_>) -> bool {
    let is_text = |value: &Value<'_>| matches!(value, Value::Null | Value::String(_));
    let is_number = |value: &Value<'_>| matches!(value, Value::Integer(_) | Value::Float(_));
    let channel = context.member("channel");
    channel.is_none_or(|value| is_text(value) || is_number(value))
        && ["stage", "date", "site"].iter().all(|name| context.member(name).is_none_or(is_text))
}
