//! Which line of the audit trail a request makes. The facts are those of the log; what an answer is
//! about travels in its extensions.

use std::sync::{Arc, OnceLock};

use axum::http::{Extensions, Method};
use resetd_verify::KeyId;

use super::caller::CalledBy;
use super::observe::Facts;
use super::source::Source;
use crate::audit::{Action, Audit, Event, MAX_REASON};
use crate::domain::caller::without_api_keys;
use crate::domain::identifier::masked;

/// The most keys that a line names.
const MAX_KEYS: usize = 64;

/// The user that an answer is about, masked.
#[derive(Clone, Debug)]
pub(super) struct AboutUser(String);

impl AboutUser {
    pub(super) fn new(username: &str) -> Self {
        Self(masked(username))
    }
}

/// The tenant of a holder, who has no caller to tell it by.
#[derive(Clone, Debug)]
pub(super) struct AboutTenant(pub(super) String);

/// The keys that an answer is about.
#[derive(Clone, Debug)]
pub(super) struct AboutKeys(pub(super) Vec<KeyId>);

/// The token was to be set aside, not spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedToHold;

/// Only a plan was wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnlyPlanned;

/// What a request asks for, if it is anything to keep a record of. HEAD does what GET does.
fn action_of(method: &Method, route: &str) -> Option<Action> {
    let is_read = [Method::GET, Method::HEAD].contains(method);
    let is_post = *method == Method::POST;
    // Below an organization Rebilly's clients find what they find without one.
    let route = route.strip_prefix("/organizations/{organization}").unwrap_or(route);
    Some(match route {
        "/password-tokens" | "/identity/v2/manage/account/forgot/token" if is_post => Action::Issue,
        "/password-tokens/{token}" | "/api-commerceIdentity/auth/token/{token}" if is_read => {
            Action::Check
        }
        "/password-tokens/{token}" if *method == Method::DELETE => Action::Revoke,
        "/deliveries" | "/identity/v2/auth/password" if is_post => Action::Deliver,
        // What it is really about, its handler says.
        "/api/{*operation}" | "/Api/{*operation}" | "/API/{*operation}" => Action::Deliver,
        "/identity/v2/auth/password/reset" if *method == Method::PUT => Action::Redeem,
        "/reset/check" | "/tenants/{tenant}/reset/check" if is_post => Action::Check,
        "/redemptions" if is_post => Action::Redeem,
        "/redemptions/{id}/commit" if is_post => Action::Commit,
        "/redemptions/{id}/cancel" if is_post => Action::Cancel,
        "/revocations" | "/tenants/{tenant}/revocations" if is_post => Action::Revoke,
        "/api-commerceIdentity/auth/local/reset" if *method == Method::PATCH => Action::Issue,
        "/api-commerceIdentity/auth/password" if *method == Method::PATCH => Action::Redeem,
        "/admin/keys" if is_read => Action::KeysList,
        "/admin/keys" if is_post => Action::KeysGenerate,
        "/admin/keys/{kid}" if is_read => Action::KeysShow,
        "/admin/keys/{kid}/export" if is_read => Action::KeysExport,
        "/admin/keys/import" if is_post => Action::KeysImport,
        "/admin/keys/rotate" if is_post => Action::KeysRotate,
        "/admin/keys/prune" if is_post => Action::KeysPrune,
        "/admin/keys/{kid}/activate" if is_post => Action::KeysActivate,
        "/admin/keys/{kid}/retire" if is_post => Action::KeysRetire,
        "/admin/keys/{kid}/revoke" if is_post => Action::KeysRevoke,
        "/admin/config/reload" if is_post => Action::ConfigReload,
        "/metrics" if is_read => Action::Metrics,
        _ => return None,
    })
}

/// Who calls, as soon as it is known: for a request that comes to no answer.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownCaller(Arc<OnceLock<CalledBy>>);

impl KnownCaller {
    pub(super) fn is(&self, called_by: &CalledBy) {
        let _ = self.0.set(called_by.clone());
    }
}

/// What is really asked for, where several things have one route.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownAction(Arc<OnceLock<Option<Action>>>);

impl KnownAction {
    /// Nothing if it is nothing to keep a record of.
    pub(super) fn is(&self, action: Option<Action>) {
        let _ = self.0.set(action);
    }
}

/// The line that a request will make. One that is dropped with its client gone, or cut at the end of
/// the server, makes it all the same: what was asked for may have been done.
#[derive(Debug)]
pub(super) struct Pending {
    audit: Audit,
    /// Nothing if it makes none, or has made it.
    event: Option<Event>,
    known: KnownCaller,
    really: KnownAction,
}

impl Pending {
    pub(super) fn new(
        audit: &Audit,
        method: &Method,
        route: &str,
        id: &str,
        extensions: &mut Extensions,
    ) -> Self {
        let action = if audit.is_on() { action_of(method, route) } else { None };
        let event = action.map(|action| Event {
            source: extensions.get::<Source>().map(|Source(source)| source.to_canonical()),
            request_id: Some(id.to_owned()),
            ..Event::new(action, "unanswered")
        });
        let (known, really) = (KnownCaller::default(), KnownAction::default());
        if event.is_some() {
            extensions.insert(known.clone());
            extensions.insert(really.clone());
        }
        Self { audit: audit.clone(), event, known, really }
    }

    /// The request is answered.
    pub(super) fn answered(mut self, facts: &Facts<'_>, answer: &Extensions) {
        let Some(event) = self.take() else { return };
        // That metrics are read is nothing that anybody does.
        if event.action == Action::Metrics && facts.is_ok() {
            return;
        }
        self.audit.record(completed(event, facts, answer));
    }

    fn take(&mut self) -> Option<Event> {
        let event = self.event.take()?;
        let action = self.really.0.get().copied().unwrap_or(Some(event.action));
        action.map(|action| Event { action, ..event })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(mut event) = self.take() else { return };
        if let Some(by) = self.known.0.get() {
            event.caller = Some(by.caller.clone());
            event.tenant = Some(by.tenant.policy().tenant.to_string());
        }
        let reason = "the client was gone, or the server stopped, before the answer";
        event.reason = Some(reason.into());
        self.audit.record(event);
    }
}

fn completed(event: Event, facts: &Facts<'_>, answer: &Extensions) -> Event {
    let asks_to_hold = answer.get::<AskedToHold>().is_some();
    let action = if asks_to_hold { Action::Hold } else { event.action };
    let presents = [Action::Check, Action::Redeem, Action::Hold].contains(&action);
    let tenant = facts.tenant.or_else(|| answer.get::<AboutTenant>().map(|it| it.0.as_str()));
    let keys = answer.get::<AboutKeys>().map(|it| it.0.iter().take(MAX_KEYS));
    Event {
        action,
        outcome: facts.code,
        reuse: presents && facts.is_reuse,
        dry_run: answer.get::<OnlyPlanned>().is_some(),
        caller: facts.caller.map(ToOwned::to_owned),
        tenant: tenant.map(ToOwned::to_owned),
        jti: facts.jti.clone(),
        username: answer.get::<AboutUser>().map(|it| it.0.clone()),
        keys: keys.into_iter().flatten().map(ToString::to_string).collect(),
        reason: facts.reason.as_deref().map(told),
        ..event
    }
}

/// The texts of errors name no secret. Should one do so some day, a key is taken out here.
fn told(reason: &str) -> String {
    without_api_keys(reason).chars().take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_changes_anything_makes_a_line_by_every_method_it_has() {
        assert_eq!(action_of(&Method::HEAD, "/password-tokens/{token}"), Some(Action::Check));
        assert_eq!(action_of(&Method::DELETE, "/password-tokens/{token}"), Some(Action::Revoke));
        let reload = action_of(&Method::POST, "/admin/config/reload");
        assert_eq!(reload, Some(Action::ConfigReload));
        let below = |path: &str| format!("/organizations/{{organization}}/password-tokens{path}");
        assert_eq!(action_of(&Method::POST, &below("")), Some(Action::Issue));
        assert_eq!(action_of(&Method::GET, &below("/{token}")), Some(Action::Check));
        assert_eq!(action_of(&Method::DELETE, &below("/{token}")), Some(Action::Revoke));
        assert_eq!(action_of(&Method::GET, &below("")), None);
        assert_eq!(action_of(&Method::GET, "/redemptions"), None);
        assert_eq!(action_of(&Method::GET, "/health/live"), None);
        assert_eq!(action_of(&Method::GET, "-"), None);
    }

    #[test]
    fn what_is_asked_for_in_fabrics_dialect_makes_the_line_of_what_it_does() {
        for (method, route, action) in [
            (Method::GET, "/api-commerceIdentity/auth/token/{token}", Action::Check),
            (Method::PATCH, "/api-commerceIdentity/auth/local/reset", Action::Issue),
            (Method::PATCH, "/api-commerceIdentity/auth/password", Action::Redeem),
        ] {
            assert_eq!(action_of(&method, route), Some(action));
        }
        assert_eq!(action_of(&Method::GET, "/api-commerceIdentity/{*rest}"), None);
    }

    #[test]
    fn a_reason_is_short_and_holds_no_key() {
        let key = format!("rsk_{}", "a".repeat(43));
        let reason = told(&format!("{key} {}", "é".repeat(1000)));
        assert!(!reason.contains(&key), "{reason}");
        assert!(reason.chars().count() <= MAX_REASON);
    }
}
