//! `/reset`: the page that a link in a mail can lead to. It says what the link is worth, and does nothing
//! with it until a person presses a button; the form for the new password is the app's.

mod texts;

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use super::api::{self, TOKEN, about};
use super::audited::AboutTenant;
use super::body::{JsonBody, Members, text};
use super::document::{Document, Keep};
use super::holder;
use super::limit::Gate;
use super::problem::{Problem, ProblemKind};
use super::source::Source;
use super::well_known::Of;
use crate::domain::identifier::masked;
use crate::domain::language::Language;
use crate::domain::link::LinkTemplate;
use crate::domain::policy::TenantName;
use crate::domain::secret::Secret;
use crate::domain::time::to_rfc3339;
use crate::service::{ResetService, Tenant};
use texts::Texts;

const HTML: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");

/// One script and one style sheet of our own; nothing else is loaded, asked, sent or framed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The page of each tenant that has one. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Pages(Arc<BTreeMap<TenantName, Page>>);

/// The page of one tenant.
#[derive(Debug)]
pub struct Page {
    continue_url: LinkTemplate,
    /// The document in each language.
    documents: Vec<(Language, String)>,
}

/// The page cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the page for people cannot be written: {0}")]
pub struct PageError(#[source] minijinja::Error);

impl Pages {
    /// These pages and no other.
    pub fn new(pages: impl IntoIterator<Item = (TenantName, Page)>) -> Self {
        Self(Arc::new(pages.into_iter().collect()))
    }
}

impl Page {
    /// A page that leads to the app's form, and says whose it is.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn new(continue_url: LinkTemplate, name: Option<&str>) -> Result<Self, PageError> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let template = environment.template_from_str(HTML).map_err(PageError)?;
        let document = |text: &Texts| {
            let texts = context! { text => Value::from(Serde(text)), name };
            let document = template.render(texts).map_err(PageError)?;
            Ok(Language::parse(text.lang).map(|language| (language, document)))
        };
        let documents = texts::ALL.into_iter().filter_map(|text| document(text).transpose());
        Ok(Self { continue_url, documents: documents.collect::<Result<_, _>>()? })
    }

    /// In the language that suits best.
    fn document(&self, accepted: &str) -> Option<&(Language, String)> {
        let there: Vec<_> = self.documents.iter().map(|(language, _)| language.clone()).collect();
        let best = Language::best(&Language::accepted(accepted), &there);
        let is_best = |(language, _): &&(Language, String)| Some(language) == best;
        self.documents.iter().find(is_best).or_else(|| self.documents.first())
    }
}

/// The routes of all pages. Where there is none, there are none. What the page is made of is the same for
/// everybody and costs next to nothing, so it is not counted: half a page would help nobody.
pub(super) fn routes(pages: &Pages, gate: &Gate) -> Router<ResetService> {
    if pages.0.is_empty() {
        return Router::new();
    }
    let mut routes = Router::new().route("/tenants/{tenant}/revocations", post(disown));
    for (page, script, style, asked) in [
        ("/reset", "/reset/page.js", "/reset/page.css", "/reset/check"),
        (
            "/tenants/{tenant}/reset",
            "/tenants/{tenant}/reset/page.js",
            "/tenants/{tenant}/reset/page.css",
            "/tenants/{tenant}/reset/check",
        ),
    ] {
        routes = routes
            .route(page, get(document))
            .route(script, get(script_of))
            .route(style, get(style_of))
            .route(asked, post(check));
    }
    routes.layer(Extension(gate.clone())).layer(Extension(pages.clone()))
}

/// The tenant that a path is about, if it has a page.
struct PageOf {
    pages: Pages,
    tenant: Tenant,
}

impl PageOf {
    fn page(&self) -> Result<&Page, Problem> {
        let page = self.pages.0.get(&self.tenant.policy().tenant);
        page.ok_or_else(|| Problem::new(ProblemKind::NotFound))
    }
}

impl FromRequestParts<ResetService> for PageOf {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &ResetService,
    ) -> Result<Self, Problem> {
        let Of(tenant) = Of::from_request_parts(parts, service).await?;
        let pages = parts.extensions.get::<Pages>().cloned().unwrap_or_default();
        let found = Self { pages, tenant };
        found.page()?;
        Ok(found)
    }
}

/// `GET /reset`
async fn document(of: PageOf, headers: HeaderMap) -> Result<Response, Problem> {
    let accepted = headers.get_all(header::ACCEPT_LANGUAGE).iter();
    let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    let document = of.page()?.document(&accepted.join(","));
    let (language, html) = document.ok_or_else(|| Problem::new(ProblemKind::Internal))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::VARY, HeaderValue::from_static("accept-language")),
    ];
    let language = [(header::CONTENT_LANGUAGE, language.as_str())];
    Ok((headers, language, html.clone()).into_response())
}

/// `GET /reset/page.js`
async fn script_of(_: PageOf, headers: HeaderMap) -> Response {
    let media_type = "text/javascript; charset=utf-8";
    Document { media_type, text: SCRIPT.into(), keep: Keep::Asking }.answer(&headers)
}

/// `GET /reset/page.css`
async fn style_of(_: PageOf, headers: HeaderMap) -> Response {
    let media_type = "text/css; charset=utf-8";
    Document { media_type, text: STYLE.into(), keep: Keep::Asking }.answer(&headers)
}

/// Whoever asks about a token, of a tenant that has a page.
struct Asked {
    of: PageOf,
    gate: Gate,
    source: Option<Source>,
    body: Result<JsonBody, Problem>,
}

impl FromRequest<ResetService> for Asked {
    type Rejection = Problem;

    async fn from_request(request: Request, service: &ResetService) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let of = PageOf::from_request_parts(&mut parts, service).await?;
        let gate = parts.extensions.get::<Gate>().cloned();
        let gate = gate.ok_or_else(|| Problem::new(ProblemKind::Internal))?;
        let source = parts.extensions.get::<Source>().copied();
        let body = JsonBody::from_request(Request::from_parts(parts, body), service).await;
        Ok(Self { of, gate, source, body })
    }
}

impl Asked {
    /// The tenant of the page, for the audit trail: of every answer there, whatever it is.
    fn about(&self) -> Extension<AboutTenant> {
        Extension(AboutTenant(self.of.tenant.policy().tenant.to_string()))
    }

    /// The token that is asked about. Whoever sends none is counted by address.
    fn token(&mut self) -> Result<Secret, Problem> {
        let body = mem::replace(&mut self.body, Err(Problem::new(ProblemKind::Internal)));
        let token = body.and_then(|body| token_in(&body));
        if token.is_err() {
            self.gate.rules().admit_source(self.source)?;
        }
        token
    }
}

/// `POST /reset/check`: whoever holds a token may learn whether it is live. Nothing is changed and nobody
/// is counted for asking, but those who ask about what is dead, so often from one address.
async fn check(mut asked: Asked) -> Response {
    let worth = worth(&mut asked).unwrap_or_else(Problem::into_response);
    (asked.about(), worth).into_response()
}

fn worth(asked: &mut Asked) -> Result<Response, Problem> {
    let token = asked.token()?;
    let claims = match asked.of.tenant.look(token.expose()) {
        Ok(claims) => claims,
        Err(error) => {
            if !error.is_about_held() {
                asked.gate.rules().admit_holder(asked.source)?;
            }
            return Err(error.into());
        }
    };
    let answer = Worth {
        live: true,
        username: masked(&claims.sub),
        expired_time: to_rfc3339(claims.exp),
        continue_url: asked.of.page()?.continue_url.link(&token).expose().to_owned(),
    };
    Ok((about(&claims), Json(answer)).into_response())
}

/// `POST /tenants/{tenant}/revocations`: as `POST /revocations` by the holder of a token, for a page that
/// is reached under the issuer of its tenant.
async fn disown(mut asked: Asked) -> Response {
    let about = asked.about();
    let disowned = async {
        let token = asked.token()?;
        let tenant = Some(&asked.of.tenant);
        holder::admit(&asked.gate, tenant, &token, asked.source)?;
        api::disown(tenant, token).await
    };
    (about, disowned.await.unwrap_or_else(Problem::into_response)).into_response()
}

fn token_in(body: &JsonBody) -> Result<Secret, Problem> {
    let mut members = Members::of(body)?;
    let token = members.required("token", TOKEN, text(api::secret));
    members.finish(token)
}

/// A live token, as its holder learns of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Worth {
    live: bool,
    username: String,
    expired_time: String,
    continue_url: String,
}
