//! Who a mail comes from, and how the way to its server is kept private.

use std::fmt;

use resetd_verify::is_identifier;

use super::email::EmailAddress;
use super::identifier::masked;

/// An address, with the name that people see beside it if there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Sender {
    name: Option<String>,
    address: EmailAddress,
}

impl Sender {
    /// What a text must be to be one.
    pub const WANTED: &str =
        "an e-mail address, or a name and an address such as \"Example <reset@example.com>\"";

    /// The longest name in bytes.
    const MAX_NAME_BYTES: usize = 128;

    /// Reads an address, or a name and an address in angle brackets. Quotes around the name are not
    /// wanted; whoever writes it into a header adds what it needs there.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(rest) = text.strip_suffix('>') else {
            return EmailAddress::parse(text).map(|address| Self { name: None, address });
        };
        let (name, address) = rest.split_once('<')?;
        let (name, address) = (name.trim(), EmailAddress::parse(address)?);
        // Two addresses in one sender, or what a reader could take for another address, are none.
        let is_name = is_identifier(name)
            && name.len() <= Self::MAX_NAME_BYTES
            && !name.contains(['"', '<', '>', '@', '\\'])
            && !name.contains("=?");
        is_name.then(|| Self { name: Some(name.into()), address })
    }

    /// The name, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address.
    pub fn address(&self) -> &EmailAddress {
        &self.address
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sender({})", masked(self.address.as_str()))
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => formatter.write_str(self.address.as_str()),
            Some(name) => write!(formatter, "{name} <{}>", self.address.as_str()),
        }
    }
}

/// How the way to a mail server is kept private. "If the server offers it" is not among these: whoever
/// stands between could take the offer away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// The connection begins in the clear, and nothing is said on it before TLS (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all: for a server on this machine.
    None,
}

impl Encryption {
    /// What a text must be to be one.
    pub const WANTED: &str = "\"starttls\", \"tls\" or \"none\"";

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "starttls" => Some(Self::StartTls),
            "tls" => Some(Self::Tls),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    /// The port on which servers speak it.
    pub fn usual_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        let plain = Sender::parse("reset@example.com").unwrap();
        assert_eq!((plain.name(), plain.address().as_str()), (None, "reset@example.com"));
        let named = Sender::parse("Zoë's Shop, Ltd. <reset@example.com>").unwrap();
        assert_eq!(named.name(), Some("Zoë's Shop, Ltd."));
        assert_eq!(named.to_string(), "Zoë's Shop, Ltd. <reset@example.com>");
    }

    #[test]
    fn nothing_that_could_be_two_senders_or_two_headers_is_one() {
        for text in [
            "",
            "<reset@example.com>",
            " <reset@example.com>",
            "Example reset@example.com",
            "Example <reset@example.com",
            "Example <>",
            "Example <a@example.com>, Other <b@example.com>",
            "boss@bank.example <reset@example.com>",
            "\"Example\" <reset@example.com>",
            "Example\r\nBcc: b@example.com <reset@example.com>",
            "Example\u{202e} <reset@example.com>",
            "=?utf-8?q?Bank?= <reset@example.com>",
            &format!("{} <reset@example.com>", "a".repeat(129)),
        ] {
            assert!(Sender::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn debug_masks_the_address() {
        let sender = Sender::parse("Example <reset@example.com>").unwrap();
        assert_eq!(format!("{sender:?}"), "Sender(r***@e***.com)");
    }
}
