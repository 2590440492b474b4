//! A person as a directory tells of one: whole and valid, or not at all.

use std::fmt;

use resetd_verify::is_identifier;

use crate::domain::email::EmailAddress;
use crate::domain::identifier::{CredentialId, UserId, Username};
use crate::domain::language::Language;

/// The most identity providers of one person.
const MOST_PROVIDERS: usize = 64;

/// Who a user is. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// The username as the directory spells it: the one that was asked for, but for its case where the
    /// directory does not tell cases apart. Whoever counts by user counts by this one.
    pub username: Username,
    /// Whether the account may be used.
    pub is_enabled: bool,
    /// Where mail for the person goes.
    pub email: Option<EmailAddress>,
    /// The app's own identifier of the user.
    pub user_id: Option<UserId>,
    /// The credential that may be reset.
    pub credential_id: Option<CredentialId>,
    /// The identity providers by which the person signs in.
    pub identity_providers: Vec<String>,
    /// The language the person reads.
    pub language: Option<Language>,
}

impl Person {
    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = [
            Some(self.username.as_str()),
            self.email.as_ref().map(EmailAddress::as_str),
            self.user_id.as_ref().map(UserId::as_str),
            self.credential_id.as_ref().map(CredentialId::as_str),
            self.language.as_ref().map(Language::as_str),
        ];
        let providers = self.identity_providers.iter().map(|name| size_of_val(name) + name.len());
        let texts = texts.into_iter().flatten().map(str::len);
        size_of_val(self) + texts.chain(providers).sum::<usize>()
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Person(…)")
    }
}

/// A person as told, nothing checked yet.
#[derive(Clone, Default)]
pub(super) struct Told<'t> {
    pub(super) username: &'t str,
    pub(super) is_disabled: bool,
    pub(super) email: Option<&'t str>,
    pub(super) user_id: Option<&'t str>,
    pub(super) credential_id: Option<&'t str>,
    pub(super) identity_providers: Vec<&'t str>,
    pub(super) language: Option<Language>,
}

impl Told<'_> {
    /// The person, if all of it can be used. The reason repeats nothing of what was told.
    pub(super) fn into_person(self) -> Result<Person, String> {
        Ok(Person {
            username: read("username", Some(self.username), Username::parse, Username::WANTED)?
                .ok_or("the username is missing")?,
            is_enabled: !self.is_disabled,
            email: read("email", self.email, EmailAddress::parse, EmailAddress::WANTED)?,
            user_id: read("user_id", self.user_id, UserId::parse, UserId::WANTED)?,
            credential_id: read(
                "credential_id",
                self.credential_id,
                CredentialId::parse,
                CredentialId::WANTED,
            )?,
            identity_providers: providers(&self.identity_providers)?,
            language: self.language,
        })
    }
}

/// A language in a format of our own, where nothing else may stand.
pub(super) fn language(text: Option<&str>) -> Result<Option<Language>, String> {
    read("language", text, Language::parse, Language::WANTED)
}

fn read<T>(
    what: &str,
    text: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
    wanted: &str,
) -> Result<Option<T>, String> {
    let refuse = || format!("its {what} cannot be used: wanted {wanted}");
    text.map(|text| parse(text).ok_or_else(refuse)).transpose()
}

fn providers(told: &[&str]) -> Result<Vec<String>, String> {
    if told.len() > MOST_PROVIDERS || !told.iter().all(|name| is_identifier(name)) {
        return Err(format!(
            "its identity providers cannot be used: wanted at most {MOST_PROVIDERS} names of 1 to 256 bytes without control characters"
        ));
    }
    Ok(told.iter().map(|&name| name.to_owned()).collect())
}

/// Whether two names differ in the case of their letters at most. A letter of ASCII is no other than one of
/// ASCII: the Kelvin sign is not a K, though its lower case is. Beyond, both cases must be the same: the
/// theta symbol is not a theta, though its lower case is.
pub(super) fn is_same_but_for_case(one: &str, other: &str) -> bool {
    let is_same = |(a, b): (char, char)| match (a.is_ascii(), b.is_ascii()) {
        (true, true) => a.eq_ignore_ascii_case(&b),
        (false, false) => {
            let is_folded =
                a.to_lowercase().eq(b.to_lowercase()) && a.to_uppercase().eq(b.to_uppercase());
            a == b || is_folded
        }
        _ => false,
    };
    one.chars().count() == other.chars().count() && one.chars().zip(other.chars()).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_whole_or_not_there() {
        let ann = Told { username: "ann", email: Some("ann@example.com"), ..Told::default() };
        assert!(ann.clone().into_person().unwrap().is_enabled);
        for (broken, what) in [
            (Told { username: "", ..ann.clone() }, "username"),
            (Told { username: "zoe\u{308}", ..ann.clone() }, "username"),
            (Told { email: Some("ann@a, bob@b"), ..ann.clone() }, "email"),
            (Told { email: Some(""), ..ann.clone() }, "email"),
            (Told { user_id: Some("a\nb"), ..ann.clone() }, "user_id"),
            (Told { credential_id: Some(""), ..ann.clone() }, "credential_id"),
            (Told { identity_providers: vec![""], ..ann.clone() }, "identity providers"),
            (Told { identity_providers: vec!["a"; 65], ..ann.clone() }, "identity providers"),
        ] {
            let reason = broken.into_person().unwrap_err();
            assert!(reason.contains(what) && !reason.contains("ann@a"), "{reason}");
        }
    }

    #[test]
    fn debug_shows_no_person() {
        let ann = Told { username: "ann", email: Some("ann@example.com"), ..Told::default() };
        assert_eq!(format!("{:?}", ann.into_person().unwrap()), "Person(…)");
    }

    #[test]
    fn names_are_the_same_in_another_case_only() {
        for (one, other) in [
            ("ann", "ANN"),
            ("Zo\u{eb}", "zO\u{cb}"),
            ("a b", "A B"),
            ("\u{398}", "\u{3b8}"),
            ("\u{436}", "\u{416}"),
        ] {
            assert!(is_same_but_for_case(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("ann", "anne"),
            ("ann", " ann"),
            ("k", "\u{212a}"),
            ("zo\u{eb}", "zoe"),
            ("ss", "\u{df}"),
            ("\u{3f4}", "\u{398}"),
            ("\u{3f4}", "\u{3b8}"),
            ("\u{3d1}", "\u{3b8}"),
            ("\u{212b}", "\u{e5}"),
            ("\u{1e9e}", "\u{df}"),
            ("s", "\u{17f}"),
            ("a[", "a{"),
        ] {
            assert!(!is_same_but_for_case(one, other), "{one} {other}");
        }
    }
}
