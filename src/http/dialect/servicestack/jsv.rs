//! Reads JSV, the vendor's own text format: `{Name:value,Other:"with, comma"}`. Values that hold something of the
//! grammar stand in quotes, and a quote in them stands twice.

use super::members::{Pair, Unreadable};

const UNREADABLE: Unreadable = Unreadable("The body is not one object in JSV.");
/// Objects and lists in each other; the requests that are known here have one.
const MAX_DEPTH: usize = 4;

/// The members of an object; nothing for one that is an object or a list itself.
pub(super) fn read(text: &str) -> Result<Vec<Pair>, Unreadable> {
    let mut reader = Reader { rest: text.trim() };
    let mut members = Vec::new();
    reader.take('{')?;
    if !reader.takes('}') {
        loop {
            let name = reader.text()?;
            reader.take(':')?;
            members.push((name, reader.value(1)?));
            if reader.takes('}') {
                break;
            }
            reader.take(',')?;
        }
    }
    if reader.rest.is_empty() { Ok(members) } else { Err(UNREADABLE) }
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn takes(&mut self, wanted: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take(&mut self, wanted: char) -> Result<(), Unreadable> {
        if self.takes(wanted) { Ok(()) } else { Err(UNREADABLE) }
    }

    /// A text; nothing for an object or a list.
    fn value(&mut self, depth: usize) -> Result<Option<String>, Unreadable> {
        let close = if self.takes('{') {
            '}'
        } else if self.takes('[') {
            ']'
        } else {
            return self.text_until(&[',', '}', ']']).map(Some);
        };
        if depth == MAX_DEPTH {
            return Err(Unreadable("The body is nested too deeply."));
        }
        if self.takes(close) {
            return Ok(None);
        }
        loop {
            if close == '}' {
                self.text()?;
                self.take(':')?;
            }
            self.value(depth + 1)?;
            if self.takes(close) {
                return Ok(None);
            }
            self.take(',')?;
        }
    }

    /// The name of a member.
    fn text(&mut self) -> Result<String, Unreadable> {
        self.text_until(&[':', ',', '{', '}', '[', ']'])
    }

    fn text_until(&mut self, ends: &[char]) -> Result<String, Unreadable> {
        if self.takes('"') {
            return self.quoted();
        }
        let end = self.rest.find(ends).ok_or(UNREADABLE)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        if text.contains('"') { Err(UNREADABLE) } else { Ok(text.trim().into()) }
    }

    fn quoted(&mut self) -> Result<String, Unreadable> {
        let mut text = String::new();
        loop {
            let (before, rest) = self.rest.split_once('"').ok_or(UNREADABLE)?;
            text.push_str(before);
            self.rest = rest;
            // Only right behind the first one is a second quote one of the text.
            let Some(rest) = rest.strip_prefix('"') else { return Ok(text) };
            text.push('"');
            self.rest = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_plain_or_in_quotes() {
        let found = read(
            r#" {UserName:ann b@example.com,ApplianceLoginUrl:"https://a.example/?a=1,2",Said:"a ""b""",Other:{A:[1,{B:2}]},Empty:} "#,
        );
        let wanted = [
            ("UserName", Some("ann b@example.com")),
            ("ApplianceLoginUrl", Some("https://a.example/?a=1,2")),
            ("Said", Some("a \"b\"")),
            ("Other", None),
            ("Empty", Some("")),
        ];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(found.unwrap(), wanted);
        assert_eq!(read("{}").unwrap(), []);
        // Only the first colon of a member ends its name.
        assert_eq!(read("{A:b:c}").unwrap(), [("A".to_owned(), Some("b:c".to_owned()))]);
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for text in [
            "",
            "x",
            "{",
            "}",
            "{A}",
            "{A:",
            "{A:b",
            "{A:b,",
            "{A:b,}",
            "{A:b}}",
            "{A:b}x",
            "{A:\"b}",
            "{A:\"b\"c}",
            "{A:b\"c}",
            "[1]",
            "{A:[1}",
            "{A:{B:1]}",
            "{A:[[[[[1]]]]]}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let bomb = format!("{{A:{}", "[".repeat(60_000));
        assert!(read(&bomb).is_err());
    }
}
