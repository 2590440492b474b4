//! Identifiers as .NET writes them.

use std::fmt;

/// A GUID: 128 bits as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(u128);

impl Guid {
    /// What a text must be to be one.
    pub const WANTED: &str = "a GUID such as \"6f9619ff-8b86-4d01-b42d-00cf4fc964ff\"";

    /// All zeros, which is what .NET has where nothing was said.
    pub const ZERO: Self = Self(0);

    /// Reads 32 digits in any of the ways that `Guid.Parse` knows without a prefix: bare, with hyphens, and these
    /// in braces or parentheses.
    pub fn parse(text: &str) -> Option<Self> {
        let inside = |open, close| text.strip_prefix(open)?.strip_suffix(close);
        let hyphenated = inside('{', '}').or_else(|| inside('(', ')'));
        if let Some(text) = hyphenated {
            return Self::parse_hyphenated(text);
        }
        if text.len() == 32 { digits(text).map(Self) } else { Self::parse_hyphenated(text) }
    }

    fn parse_hyphenated(text: &str) -> Option<Self> {
        const LENGTHS: [usize; 5] = [8, 4, 4, 4, 12];
        let groups: Vec<&str> = text.split('-').collect();
        let is_grouped = groups.iter().map(|group| group.len()).eq(LENGTHS);
        is_grouped.then(|| digits(&groups.concat())).flatten().map(Self)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let (groups, last) = (&digits[..20], &digits[20..]);
        let [a, b, c, d] = [&groups[..8], &groups[8..12], &groups[12..16], &groups[16..]];
        write!(formatter, "{a}-{b}-{c}-{d}-{last}")
    }
}

/// Digits and nothing else: the parser of numbers would also take a sign.
fn digits(text: &str) -> Option<u128> {
    let is_plain = text.bytes().all(|b| b.is_ascii_hexdigit());
    is_plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";

    #[test]
    fn every_way_to_write_a_guid_is_the_same_guid() {
        let guid = Guid::parse(TEXT).unwrap();
        assert_eq!(guid.to_string(), TEXT);
        let bare = TEXT.replace('-', "");
        for text in [bare, TEXT.to_uppercase(), format!("{{{TEXT}}}"), format!("({TEXT})")] {
            assert_eq!(Guid::parse(&text), Some(guid), "{text}");
        }
        assert_eq!(Guid::parse("00000000-0000-0000-0000-000000000000"), Some(Guid::ZERO));
    }

    #[test]
    fn what_is_nearly_a_guid_is_none() {
        let cut = &TEXT[1..];
        for text in [
            "",
            "0",
            cut,
            &format!("{TEXT}0"),
            &format!("+{cut}"),
            &format!("{{{TEXT}"),
            &format!("{{{TEXT})"),
            &format!(" {TEXT}"),
            &TEXT.replace('f', "g"),
            &TEXT.replace("ff-8b86", "f-f8b86"),
            "6f9619ff8b864d01b42d00cf4fc964fé",
        ] {
            assert!(Guid::parse(text).is_none(), "{text:?}");
        }
    }
}
