//! The address a mail goes to or comes from.

use std::fmt;
use std::str::FromStr as _;

use lettre::Address;
use resetd_verify::is_identifier;

use super::identifier::masked;

/// One e-mail address (RFC 5321 §4.1.2) and nothing else: no display name, no list, no comment, and
/// nothing that could end a line of a header. `Debug` masks it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(Address);

impl EmailAddress {
    /// What a text must be to be one.
    pub const WANTED: &str = "one e-mail address such as \"ann@example.com\", of at most 254 bytes";

    /// The longest address in bytes (RFC 5321 §4.5.3.1.3, without the brackets of a path).
    const MAX_BYTES: usize = 254;

    /// Reads an address as it is written, without trimming or mending it.
    pub fn parse(text: &str) -> Option<Self> {
        // Quoted local parts may hold nearly anything, and no mailbox that people have needs one.
        let forbidden = |c: char| c.is_whitespace() || "\"(),:;<>[\\]".contains(c);
        let is_plain = is_identifier(text) && !text.contains(forbidden) && !text.contains("=?");
        if text.len() > Self::MAX_BYTES || !is_plain {
            return None;
        }
        Address::from_str(text).ok().map(Self)
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// What stands after the `@`.
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// The same for the library that sends it.
    pub fn address(&self) -> &Address {
        &self.0
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EmailAddress({})", masked(self.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plain_address_is_taken() {
        for text in ["ann@example.com", "a.b+reset@sub.example.co.uk", "o'hara@example.com"] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), text);
        }
        assert!(EmailAddress::parse("zoë@bücher.example").is_some());
    }

    #[test]
    fn nothing_that_could_be_two_addresses_or_two_headers_is_taken() {
        for text in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@example.com,bob@example.com",
            "ann@example.com;bob@example.com",
            "Ann <ann@example.com>",
            "ann@example.com\r\nBcc: bob@example.com",
            "ann@example.com\n",
            "ann@example.com\0",
            "ann\u{2028}@example.com",
            "ann\u{202e}@example.com",
            "ann@ex\u{200f}ample.com",
            " ann@example.com",
            "\"ann\\\"@evil\"@example.com",
            "=?utf-8?q?ann?=@example.com",
            "ann(bob)@example.com",
            "ann@[127.0.0.1]",
        ] {
            assert!(EmailAddress::parse(text).is_none(), "{text:?}");
        }
        assert!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(243))).is_none());
    }

    #[test]
    fn debug_masks_the_address() {
        let address = EmailAddress::parse("alice@example.com").unwrap();
        assert_eq!(format!("{address:?}"), "EmailAddress(a***@e***.com)");
    }
}
