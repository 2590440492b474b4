//! Reads members of JSON that another service wrote. A reason names the member and never its value.

use resetd_verify::json::{Object, Value, parse_object};

pub(super) fn object(body: &[u8]) -> Result<Object<'_>, String> {
    parse_object(body).map_err(|error| format!("the answer cannot be read: {error}"))
}

/// A member that is there, and not `null`.
fn member<'o, 'a>(object: &'o Object<'a>, name: &str) -> Option<&'o Value<'a>> {
    object.member(name).filter(|value| !matches!(value, Value::Null))
}

fn odd(name: &str, wanted: &str, found: &Value<'_>) -> String {
    format!("the answer cannot be used: {name}: wanted {wanted}, found {}", found.kind())
}

pub(super) fn text<'o>(object: &'o Object<'_>, name: &str) -> Result<Option<&'o str>, String> {
    let text = |value: &'o Value<'_>| value.as_str().ok_or_else(|| odd(name, "a string", value));
    member(object, name).map(text).transpose()
}

pub(super) fn needed_text<'o>(object: &'o Object<'_>, name: &str) -> Result<&'o str, String> {
    let missing = || format!("the answer cannot be used: {name} is missing");
    text(object, name)?.ok_or_else(missing)
}

pub(super) fn flag(object: &Object<'_>, name: &str) -> Result<Option<bool>, String> {
    match member(object, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(odd(name, "true or false", other)),
    }
}

pub(super) fn list<'o, 'a>(object: &'o Object<'a>, name: &str) -> Result<&'o [Value<'a>], String> {
    match member(object, name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(odd(name, "an array", other)),
    }
}

pub(super) fn texts<'o>(object: &'o Object<'_>, name: &str) -> Result<Vec<&'o str>, String> {
    let text = |value: &'o Value<'_>| value.as_str().ok_or_else(|| odd(name, "strings", value));
    list(object, name)?.iter().map(text).collect()
}

pub(super) fn objects<'o, 'a>(
    object: &'o Object<'a>,
    name: &str,
) -> Result<Vec<&'o Object<'a>>, String> {
    let inner = |value: &'o Value<'a>| {
        if let Value::Object(inner) = value { Ok(inner) } else { Err(odd(name, "objects", value)) }
    };
    list(object, name)?.iter().map(inner).collect()
}

pub(super) fn count(object: &Object<'_>, name: &str) -> Result<i128, String> {
    match object.member(name) {
        Some(Value::Integer(count)) => Ok(*count),
        Some(other) => Err(odd(name, "a whole number", other)),
        None => Err(format!("the answer cannot be used: {name} is missing")),
    }
}
