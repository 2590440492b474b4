//! Users as TOML: one `[[people]]` for each.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FIELDS, Fault, Row};

const TOP_WANTED: &str = "wanted [[people]] and nothing else at the top";

pub(super) fn rows(text: &str) -> Result<Vec<Row>, Fault> {
    let read = DeTable::parse(text)
        .map_err(|error| Fault::new(error.span().map_or(0, |span| span.start), error.message()))?;
    if read.get_ref().is_empty() {
        return Err(Fault::new(
            0,
            "wanted [[people]], found none; for no users at all: people = []",
        ));
    }
    let mut rows = Vec::new();
    for (name, value) in read.get_ref() {
        let DeValue::Array(people) = value.get_ref() else {
            return Err(Fault::new(name.span().start, TOP_WANTED));
        };
        if name.get_ref() != "people" {
            return Err(Fault::new(name.span().start, TOP_WANTED));
        }
        for person in people {
            rows.push(row(person)?);
        }
    }
    Ok(rows)
}

fn row(person: &Spanned<DeValue<'_>>) -> Result<Row, Fault> {
    let at = person.span().start;
    let DeValue::Table(members) = person.get_ref() else {
        return Err(Fault::new(at, "wanted a table for each of people"));
    };
    let mut row = Row { at, ..Row::default() };
    for (name, value) in members {
        let (at, name) = (name.span().start, name.get_ref().as_ref());
        match name {
            "username" => row.username = Some(text(at, name, value)?),
            "email" => row.email = Some(text(at, name, value)?),
            "user_id" => row.user_id = Some(text(at, name, value)?),
            "credential_id" => row.credential_id = Some(text(at, name, value)?),
            "language" => row.language = Some(text(at, name, value)?),
            "identity_providers" => row.identity_providers = texts(at, name, value)?,
            "enabled" => {
                let DeValue::Boolean(is_enabled) = value.get_ref() else {
                    return Err(Fault::new(at, "enabled: wanted true or false"));
                };
                row.enabled = Some(*is_enabled);
            }
            _ => {
                let known = FIELDS.join(", ");
                return Err(Fault::new(at, format!("no such setting; wanted some of {known}")));
            }
        }
    }
    Ok(row)
}

fn text(at: usize, name: &str, value: &Spanned<DeValue<'_>>) -> Result<String, Fault> {
    let DeValue::String(text) = value.get_ref() else {
        return Err(Fault::new(at, format!("{name}: wanted a text in quotes")));
    };
    Ok(text.clone().into_owned())
}

fn texts(at: usize, name: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Fault> {
    let DeValue::Array(items) = value.get_ref() else {
        return Err(Fault::new(at, format!("{name}: wanted a list")));
    };
    items.iter().map(|item| text(at, name, item)).collect()
}
