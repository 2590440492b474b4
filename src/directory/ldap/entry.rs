//! An entry of LDAP as a person.

use ldap3::SearchEntry;

use crate::directory::person::{Person, Told, is_same_but_for_case};
use crate::domain::directory::LdapAttributes;
use crate::domain::identifier::Username;
use crate::domain::language::Language;

/// The attributes that are asked for.
pub(super) fn names(attributes: &LdapAttributes) -> Vec<&str> {
    let LdapAttributes { username, email, user_id, credential_id, identity_providers, language } =
        attributes;
    let optional = [email, user_id, credential_id, identity_providers, language];
    let optional = optional.into_iter().flatten().map(String::as_str);
    let mut names: Vec<_> = [username.as_str()].into_iter().chain(optional).collect();
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn person(
    entry: &SearchEntry,
    attributes: &LdapAttributes,
    asked: &Username,
    is_disabled: bool,
) -> Result<Person, String> {
    let all =
        |name: &Option<String>| name.as_ref().map_or(Ok(Vec::new()), |name| values(entry, name));
    let one = |name: &Option<String>| match all(name)?.as_slice() {
        [] => Ok(None),
        [value] => Ok(Some(*value)),
        _ => {
            let name = name.as_deref().unwrap_or_default();
            Err(format!(
                "the entry has more than one value of {name}, in no order; wanted one, or another attribute"
            ))
        }
    };
    let usernames = values(entry, &attributes.username)?;
    // The server compares by the rule of the attribute, which may leave out blanks and accents too.
    let is_asked = |name: &&str| is_same_but_for_case(name, asked.as_str());
    let username = usernames.into_iter().find(is_asked).ok_or_else(|| {
        format!("the entry is of another user than was asked for, by its {}", attributes.username)
    })?;
    let languages = all(&attributes.language)?.join(",");
    let person = Told {
        username,
        is_disabled,
        email: one(&attributes.email)?,
        user_id: one(&attributes.user_id)?,
        credential_id: one(&attributes.credential_id)?,
        identity_providers: all(&attributes.identity_providers)?,
        // As in Accept-Language (RFC 2798 §2.7). What cannot be read there is no language.
        language: Language::accepted(&languages).into_iter().next(),
    };
    person.into_person()
}

/// The values of an attribute, whose name is the same in any case.
fn values<'e>(entry: &'e SearchEntry, name: &str) -> Result<Vec<&'e str>, String> {
    if entry.bin_attrs.keys().any(|found| found.eq_ignore_ascii_case(name)) {
        return Err(format!("the entry has a value of {name} that is no text"));
    }
    let found = entry.attrs.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
    Ok(found.map(|(_, values)| values.iter().map(String::as_str).collect()).unwrap_or_default())
}
