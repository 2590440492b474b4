//! The names a token carries: who may set a password, for which credential, under which app id.

use std::fmt;

use resetd_verify::is_identifier;
use unicode_normalization::UnicodeNormalization as _;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// What a text must be to be one.
            pub const WANTED: &str =
                "1 to 256 bytes of text in Unicode form NFC, without control or direction characters";

            /// Takes the text as it was given, or not at all: two spellings of one name would be
            /// two users to everything that compares bytes.
            pub fn parse(text: &str) -> Option<Self> {
                (is_identifier(text) && text.nfc().eq(text.chars())).then(|| Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({})", stringify!($name), masked(&self.0))
            }
        }
    };
}

identifier! {
    /// Who may set a password: `sub` of the token. `Debug` masks it, since it is often an address.
    Username
}
identifier! {
    /// The credential that may be reset: `credential_id` of the token.
    CredentialId
}
identifier! {
    /// The app's own identifier of the user: `user_id` of the token.
    UserId
}

/// Enough of a name to recognise it in a log, not enough to write to: `u***@e***.com`. What is no name of a
/// top domain is left out, since it could be anything.
pub fn masked(text: &str) -> String {
    let head = |text: &str| text.chars().find(|&c| is_harmless(c)).map(String::from);
    let head = |text: &str| head(text).unwrap_or_default() + "***";
    match text.rsplit_once('@') {
        None => head(text),
        Some((local, domain)) => {
            let top = domain.rsplit_once('.').map(|(_, top)| top);
            let top = top.filter(|top| is_plain(top)).map(|top| format!(".{top}"));
            format!("{}@{}{}", head(local), head(domain), top.unwrap_or_default())
        }
    }
}

/// Whether a character can stand in a line of text: it controls nothing and turns nothing round.
pub fn is_harmless(c: char) -> bool {
    is_identifier(c.encode_utf8(&mut [0; 4]))
}

fn is_plain(top: &str) -> bool {
    const MOST_BYTES: usize = 24;
    top.len() <= MOST_BYTES && top.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nfc_text_of_bounded_length() {
        assert!(Username::parse("alice@example.com").is_some());
        assert!(Username::parse("Zo\u{eb} \u{1f600}").is_some());
        assert!(Username::parse(&"a".repeat(256)).is_some());
        for text in
            ["", "zoe\u{308}", "a\nb", "a\u{202e}b", "\u{0}", "a\u{2028}b", &"a".repeat(257)]
        {
            assert!(Username::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn debug_masks_the_name() {
        let name = Username::parse("alice@example.com").unwrap();
        assert_eq!(format!("{name:?}"), "Username(a***@e***.com)");
        assert_eq!(masked("bob"), "b***");
        assert_eq!(masked("bob@localhost"), "b***@l***");
        assert_eq!(masked("bob@example.xn--p1ai"), "b***@e***.xn--p1ai");
        assert_eq!(masked("a@b.\u{1b}[31mRED"), "a***@b***");
        assert_eq!(masked(&format!("a@b.{}", "x".repeat(25))), "a***@b***");
        assert_eq!(masked("\u{1b}\u{202e}a@\u{7}b.c"), "a***@b***.c");
    }
}
