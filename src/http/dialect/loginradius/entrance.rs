//! Who calls: the key of the app, which everybody may know, then the secret, which is the key of a caller.
//! Libraries send them in the query or in headers, and write the names in any case.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, Uri};
use url::form_urlencoded;

use super::refusal::Refusal;
use crate::domain::caller::Scope;
use crate::domain::dialect::LoginRadius;
use crate::domain::identifier::Username;
use crate::http::caller::{CalledBy, let_in, let_in_as, let_in_for_all};
use crate::http::limit::Gate;
use crate::http::problem::Problem;
use crate::http::source::Source;
use crate::service::ResetService;

/// Where callers are let in. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    dialect: Arc<LoginRadius>,
    gate: Gate,
}

/// A caller that is let in.
pub(super) struct Visit {
    pub(super) by: CalledBy,
    /// Whether it showed a secret, and does not only act as a caller.
    pub(super) is_known: bool,
    pub(super) parameters: Parameters,
    pub(super) headers: HeaderMap,
    source: Option<Source>,
    gate: Gate,
}

impl Desk {
    pub(super) fn new(dialect: &LoginRadius, gate: &Gate) -> Self {
        Self { dialect: Arc::new(dialect.clone()), gate: gate.clone() }
    }

    /// Lets a caller with this scope in. Whoever is known is told beside the refusal as well, for the log.
    pub(super) fn let_in(
        &self,
        service: &ResetService,
        request: &Request,
        scope: Scope,
    ) -> (Option<CalledBy>, Result<Visit, Refusal>) {
        let parameters = Parameters::of(request.uri());
        let (dialect, headers) = (&*self.dialect, request.headers());
        let credential = |name, header| same(parameters.all(name).chain(values(headers, header)));
        match credential("apikey", "x-loginradius-apikey") {
            Ok(None) => return (None, Err(Refusal::key_missing())),
            Ok(Some(key)) if key == dialect.api_key => {}
            Ok(Some(_)) | Err(Differ) => return (None, Err(Refusal::key_wrong())),
        }
        let secret = match credential("apisecret", "x-loginradius-apisecret") {
            Ok(secret) => secret,
            Err(Differ) => return (None, Err(Refusal::secret_wrong())),
        };
        let (extensions, tenant) = (request.extensions(), &dialect.tenant);
        // Natively it takes one scope to get a token and another one to have mail sent.
        let also_mails = scope == Scope::Issue && parameters.flag("sendemail") == Some(true);
        let desk = (service, &self.gate);
        let (by, admitted) = match (secret, dialect.caller.as_deref()) {
            (Some(secret), _) if also_mails => {
                let_in_for_all(desk, extensions, secret, &[scope, Scope::Deliver], tenant)
            }
            (Some(secret), _) => let_in(desk, extensions, secret, scope, tenant),
            // Tokens in answers are for those only who can show who they are.
            (None, Some(name)) if scope != Scope::Issue => {
                let_in_as(service, extensions, name, scope, tenant)
            }
            (None, _) => return (None, Err(Refusal::secret_missing())),
        };
        let is_known = secret.is_some();
        let (headers, source) = (headers.clone(), extensions.get::<Source>().copied());
        let gate = self.gate.clone();
        let admitted = admitted.map_err(Refusal::from);
        let visit = admitted
            .and_then(|()| by.clone().ok_or_else(Refusal::secret_wrong))
            .map(|by| Visit { by, is_known, parameters, headers, source, gate });
        (by, visit)
    }
}

impl Visit {
    /// Counts one more token for a user.
    pub(super) fn admit_user(&self, username: &Username) -> Result<(), Problem> {
        let tenant = &self.by.tenant.policy().tenant;
        self.gate.rules().admit_user(tenant, username.as_str())
    }

    /// Counts one more mail to a user. Where nobody may learn who is one, too many look like the first.
    pub(super) fn is_throttled(&self, username: &Username) -> Result<bool, Problem> {
        if self.by.tenant.sending().hides_users() {
            let tenant = &self.by.tenant.policy().tenant;
            return Ok(!self.gate.rules().admits_user_unseen(tenant, username.as_str()));
        }
        self.admit_user(username).map(|()| false)
    }

    /// Counts one more request of somebody who is not known, as of those who hold a token.
    pub(super) fn admit_stranger(&self) -> Result<(), Problem> {
        self.gate.rules().admit_stranger(self.source)
    }
}

/// What stands in a query.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default().as_bytes();
        Self(form_urlencoded::parse(query).into_owned().collect())
    }

    /// All values of a parameter. An empty one is none: one of the libraries sends what it was not given so.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let is_it = move |found: &str| found.eq_ignore_ascii_case(name);
        let found = self.0.iter().filter(move |(found, _)| is_it(found));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a parameter, if it has one.
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&str>, Differ> {
        same(self.all(name))
    }

    /// Whether a parameter says yes or no, if it says one of them.
    pub(super) fn flag(&self, name: &'static str) -> Option<bool> {
        self.one(name).ok().and_then(|text| flag(text.unwrap_or_default()))
    }
}

/// Reads yes or no as the libraries write it: `true`, `True` or `1`; nothing is no.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" | "" => Some(false),
        _ => None,
    }
}

/// There are several values, and nobody can say which of them counts.
pub(super) struct Differ;

fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    // What is no text is no key either.
    let texts = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    texts.filter(|value| !value.is_empty())
}

/// The one value that all of them are.
pub(super) fn same<'v>(
    mut values: impl Iterator<Item = &'v str>,
) -> Result<Option<&'v str>, Differ> {
    let first = values.next();
    if values.all(|value| Some(value) == first) { Ok(first) } else { Err(Differ) }
}
