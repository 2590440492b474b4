//! Directories of users: files, services on real sockets and a real `OpenLDAP`. What is not known for certain is
//! never told as a user who is not there, and a name means nothing but itself.

mod command;
mod file;
mod http;
mod ldap;
mod ldap_faults;
mod scim;
mod slapd;
pub(crate) mod web;

use std::time::Duration;

use resetd::directory::{Directory, DirectoryLimits, Person, Unavailable};
use resetd::domain::directory::DirectorySource;
use resetd::domain::email::EmailAddress;
use resetd::domain::identifier::{CredentialId, UserId, Username};
use resetd::domain::language::Language;

use crate::server::PATIENCE;

/// Names that mean something to whoever does not escape them.
const HOSTILE: [&str; 12] = [
    "*)(uid=*",
    "*",
    "\\00",
    "\\2a",
    "../admin",
    "a/b?x=y#z",
    "\" or userName pr",
    "ann\"",
    "ann)(objectClass=*",
    "%2e%2e%2fadmin",
    "ann&count=9",
    "ann%00",
];

/// Each answer from the source itself, and as much time as anything here may take.
const FRESH: DirectoryLimits = DirectoryLimits { timeout: PATIENCE, cache_for: Duration::ZERO };

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn open(source: DirectorySource) -> Directory {
    Directory::open(source, FRESH).unwrap()
}

/// All of a person, as texts.
type Shown =
    (String, bool, Option<String>, Option<String>, Option<String>, Vec<String>, Option<String>);

fn shown(person: &Person) -> Shown {
    let Person {
        username,
        is_enabled,
        email,
        user_id,
        credential_id,
        identity_providers,
        language,
    } = person.clone();
    (
        username.as_str().into(),
        is_enabled,
        email.as_ref().map(EmailAddress::as_str).map(String::from),
        user_id.as_ref().map(UserId::as_str).map(String::from),
        credential_id.as_ref().map(CredentialId::as_str).map(String::from),
        identity_providers,
        language.as_ref().map(Language::as_str).map(String::from),
    )
}

async fn email(directory: &Directory, username: &str) -> Option<String> {
    let found = directory.find(&name(username)).await.unwrap();
    found.map(|person| person.email.unwrap().as_str().to_owned())
}

/// The failure, which is told without the name of the user.
#[track_caller]
fn assert_unavailable(found: &Result<Option<Person>, Unavailable>, username: &str, wanted: &str) {
    let error = found.as_ref().unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(error.reason().contains(wanted), "wanted {wanted}: {told}");
    assert!(!told.contains(username), "{told}");
}
