//! Strict JSON (RFC 8259), read once for tokens, keys and request bodies alike.
//!
//! Readers disagree on a member that occurs twice, on bytes that are not UTF-8 and on numbers that
//! do not fit; an attacker lives in such gaps, so here each of them is an error.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// How deep objects and arrays may nest.
pub const MAX_DEPTH: usize = 16;
/// How many members one object may have.
pub const MAX_MEMBERS: usize = 64;
/// How many digits may stand in a row in a number: the longest `u64`.
pub const MAX_DIGITS: usize = 20;

/// Reads one JSON object and nothing after it.
///
/// # Errors
/// [`JsonError`] names the rule that the text breaks.
pub fn parse_object(bytes: &[u8]) -> Result<Object<'_>, JsonError> {
    // Checked over the whole text first: a parser may skip bytes inside values nobody asks for.
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    check_digits(text)?;
    let fault = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Seed { depth: 0, fault: &fault }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JsonError::NotAnObject),
        Err(error) => Err(fault
            .take()
            .unwrap_or(JsonError::Syntax { line: error.line(), column: error.column() })),
    }
}

/// A JSON value that borrows what it can from the text it was read from.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction or exponent.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

impl Value<'_> {
    /// The text of a string, else nothing.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// What kind of JSON value this is, with its article, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction or exponent",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// A JSON object: its members in the order of the text, no name twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// The value of the member with exactly this name.
    pub fn member(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The names of all members, in the order of the text.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }
}

/// Why a text is not acceptable JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("the bytes are not UTF-8")]
    NotUtf8,
    /// The text breaks the grammar of RFC 8259.
    #[error("the text stops being JSON at line {line}, column {column}")]
    Syntax {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault in bytes, from 1.
        column: usize,
    },
    /// The text is JSON, but no object.
    #[error("wanted one JSON object, found another kind of value")]
    NotAnObject,
    /// A member occurs twice.
    #[error("the member {name:?} occurs twice")]
    DuplicateMember {
        /// Its name, unescaped, cut to 64 characters.
        name: String,
    },
    /// Objects and arrays nest deeper than [`MAX_DEPTH`].
    #[error("objects and arrays nest deeper than {MAX_DEPTH}")]
    TooDeep,
    /// An object has more members than [`MAX_MEMBERS`].
    #[error("an object has more than {MAX_MEMBERS} members")]
    TooManyMembers,
    /// A number has more digits in a row than [`MAX_DIGITS`].
    #[error("a number has more than {MAX_DIGITS} digits in a row")]
    NumberTooLong,
}

/// Cuts a text from outside to what an error may carry.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

fn check_digits(text: &str) -> Result<(), JsonError> {
    let (mut in_string, mut escaped, mut digits) = (false, false, 0);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'0'..=b'9' if !in_string => {
                digits += 1;
                if digits > MAX_DIGITS {
                    return Err(JsonError::NumberTooLong);
                }
                continue;
            }
            _ => {}
        }
        digits = 0;
    }
    Ok(())
}

/// Reads one value. serde's errors carry only text, so the typed fault leaves by a side door.
#[derive(Clone, Copy)]
struct Seed<'f> {
    depth: usize,
    fault: &'f RefCell<Option<JsonError>>,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn refuse<E: serde::de::Error>(self, fault: JsonError) -> E {
        let error = E::custom(&fault);
        self.fault.replace(Some(fault));
        error
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Object::default();
        while let Some(name) = map.next_key_seed(inner)? {
            let Value::String(name) = name else {
                return Err(A::Error::custom("wanted a member name"));
            };
            if object.member(&name).is_some() {
                return Err(self.refuse(JsonError::DuplicateMember { name: excerpt(&name) }));
            }
            if object.0.len() == MAX_MEMBERS {
                return Err(self.refuse(JsonError::TooManyMembers));
            }
            let value = map.next_value_seed(inner)?;
            object.0.push((name, value));
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: impl AsRef<[u8]>, wanted: &JsonError) {
        assert_eq!(parse_object(text.as_ref()).as_ref(), Err(wanted));
    }

    fn duplicate(name: &str) -> JsonError {
        JsonError::DuplicateMember { name: name.into() }
    }

    #[test]
    fn members_are_read_by_their_unescaped_name() {
        let object =
            parse_object(br#" { "\u0069ss" : "a", "n": [1, -2, 1.5, null, true] } "#).unwrap();
        assert_eq!(object.member("iss").and_then(Value::as_str), Some("a"));
        let numbers = [
            Value::Integer(1),
            Value::Integer(-2),
            Value::Float(1.5),
            Value::Null,
            Value::Bool(true),
        ];
        assert_eq!(object.member("n"), Some(&Value::Array(numbers.into())));
        assert_eq!(object.names().collect::<Vec<_>>(), ["iss", "n"]);
    }

    #[test]
    fn a_member_that_occurs_twice_is_refused_at_any_depth_and_in_any_spelling() {
        refused(r#"{"a":1,"a":1}"#, &duplicate("a"));
        refused(r#"{"a":1,"\u0061":2}"#, &duplicate("a"));
        refused(r#"{"x":[{"b":1,"b":2}]}"#, &duplicate("b"));
    }

    #[test]
    fn text_that_is_not_utf8_or_not_one_object_is_refused() {
        refused(b"{\"a\":\"\xff\"}", &JsonError::NotUtf8);
        refused("[]", &JsonError::NotAnObject);
        refused("null", &JsonError::NotAnObject);
        for text in [
            "",
            "{",
            "{} {}",
            "{}x",
            "\u{feff}{}",
            "{\"a\":NaN}",
            "{\"a\":1,}",
            "{/**/}",
            "{a:1}",
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\u{1}\"}",
            "{\"a\":1e400}",
            "{\"a\":01}",
        ] {
            assert!(
                matches!(parse_object(text.as_bytes()), Err(JsonError::Syntax { .. })),
                "{text:?} was not refused as a syntax error"
            );
        }
    }

    #[test]
    fn depth_members_and_digits_are_capped() {
        let nested =
            |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(parse_object(nested(MAX_DEPTH).as_bytes()).is_ok());
        refused(nested(MAX_DEPTH + 1), &JsonError::TooDeep);

        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!("\"m{n}\":{n}")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse_object(members(MAX_MEMBERS).as_bytes()).is_ok());
        refused(members(MAX_MEMBERS + 1), &JsonError::TooManyMembers);

        assert!(
            parse_object(br#"{"a":18446744073709551615,"b":"123456789012345678901\"9"}"#).is_ok()
        );
        refused(r#"{"a":100000000000000000000}"#, &JsonError::NumberTooLong);
    }
}
