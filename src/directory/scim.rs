//! A service that speaks SCIM (RFC 7643, RFC 7644).

use std::time::Duration;

use resetd_verify::json::Object;
use ureq::http::StatusCode;

use super::OpenError;
use super::http::Web;
use super::json::{count, flag, needed_text, object, objects, text};
use super::person::{Person, Told, is_same_but_for_case};
use crate::domain::directory::{ScimUrl, WebAccess};
use crate::domain::identifier::Username;
use crate::domain::language::Language;

pub(super) struct ScimService {
    url: ScimUrl,
    web: Web,
}

impl ScimService {
    pub(super) fn open(
        url: ScimUrl,
        access: WebAccess,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let web = Web::open(access, timeout)?;
        Ok(Self { url, web })
    }

    /// Waits for the network.
    pub(super) fn find(
        &self,
        username: &Username,
        left: Duration,
    ) -> Result<Option<Person>, String> {
        let accept = "application/scim+json, application/json";
        let answer = self.web.get(&self.url.of(username), accept, left)?;
        match answer.status {
            StatusCode::OK => listed(&answer.body, username),
            // That there is no such user is told by an empty list (RFC 7644 §3.4.2).
            status => Err(format!("{} answered {status}, wanted 200", self.url.origin())),
        }
    }
}

fn listed(body: &[u8], asked: &Username) -> Result<Option<Person>, String> {
    let answer = object(body)?;
    let total = count(&answer, "totalResults")?;
    match (total, objects(&answer, "Resources")?.as_slice()) {
        (0, []) => Ok(None),
        (1, [user]) => person(user, asked).map(Some),
        (2.., _) => Err("more than one user has this name".into()),
        (_, found) => {
            let found = found.len();
            Err(format!("the answer cannot be used: totalResults is {total}, and it has {found}"))
        }
    }
}

/// `userName` is the same in any case (RFC 7643 §4.1.1).
fn person(user: &Object<'_>, asked: &Username) -> Result<Person, String> {
    let username = needed_text(user, "userName")?;
    if !is_same_but_for_case(username, asked.as_str()) {
        return Err("the answer is about another user than was asked for".into());
    }
    let person = Told {
        username,
        is_disabled: flag(user, "active")? == Some(false),
        email: email(user)?,
        user_id: Some(needed_text(user, "id")?),
        language: preferred_language(user)?,
        ..Told::default()
    };
    person.into_person()
}

/// The primary address, else the first one.
fn email<'u>(user: &'u Object<'_>) -> Result<Option<&'u str>, String> {
    let emails = objects(user, "emails")?;
    let mut primary = Vec::new();
    for email in &emails {
        if flag(email, "primary")? == Some(true) {
            primary.push(*email);
        }
    }
    let email = match primary.as_slice() {
        [] => emails.first().copied(),
        [email] => Some(*email),
        _ => return Err("the answer cannot be used: emails: more than one is primary".into()),
    };
    email.map(|email| needed_text(email, "value")).transpose()
}

/// As in `Accept-Language` (RFC 7643 §4.1.1). What cannot be read there is no language, and no reason to
/// leave the person without mail.
fn preferred_language(user: &Object<'_>) -> Result<Option<Language>, String> {
    let told = match text(user, "preferredLanguage")? {
        None => text(user, "locale")?,
        told => told,
    };
    Ok(told.and_then(|told| Language::accepted(told).into_iter().next()))
}
