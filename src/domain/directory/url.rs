//! The addresses at which a service is asked for one user.

use std::fmt;
use std::fmt::Write as _;

use super::{MAX_BYTES, PLACE};
use crate::domain::identifier::Username;
use crate::domain::link::link_target;

/// The address at which one user is found: an `https` URL with `{username}` in a segment of its path or as
/// the value of a parameter of its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserUrl {
    before: String,
    after: String,
}

impl UserUrl {
    /// What a text must be to be one.
    pub const WANTED: &str = "an https URL (http only on a loopback address) of at most 1024 bytes with {username} once, in its path or as the value of a parameter, such as \"https://users.example.com/users/{username}\"";

    /// Reads a template.
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(PLACE)?;
        let is_plain = |part: &str| !part.contains(['{', '}']);
        if text.len() > MAX_BYTES || !is_plain(before) || !is_plain(after) {
            return None;
        }
        link_target(&format!("{before}x{after}"))?;
        let (_, from_host) = before.split_once("://")?;
        let is_in_place = match from_host.split_once('?') {
            Some((_, query)) => query.rsplit('&').next()?.contains('='),
            None => from_host.contains('/'),
        };
        is_in_place.then(|| Self { before: before.into(), after: after.into() })
    }

    /// The address of this user. None, if the name would be a step in the path instead of a name in it.
    pub fn of(&self, username: &Username) -> Option<String> {
        let encoded = percent_encoded(username.as_str());
        let is_in_path = !self.before.contains('?');
        if is_in_path && is_step(&self.segment_with(&encoded)) {
            return None;
        }
        Some(format!("{}{encoded}{}", self.before, self.after))
    }

    fn segment_with(&self, encoded: &str) -> String {
        let before = self.before.rsplit('/').next().unwrap_or_default();
        let after = self.after.split(['/', '?']).next().unwrap_or_default();
        format!("{before}{encoded}{after}")
    }
}

impl fmt::Display for UserUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{PLACE}{}", self.before, self.after)
    }
}

/// Servers and proxies leave such a segment out (RFC 3986 §5.2.4), also where its dots are encoded.
fn is_step(segment: &str) -> bool {
    matches!(segment.replace("%2e", ".").replace("%2E", ".").as_str(), "." | "..")
}

/// The base of a SCIM service, below which its users are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimUrl(String);

impl ScimUrl {
    /// What a text must be to be one.
    pub const WANTED: &str = "an https URL (http only on a loopback address) of at most 1024 bytes without a query, such as \"https://id.example.com/scim/v2\"";

    /// Reads a base.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() <= MAX_BYTES && !text.contains(['?', '{', '}']);
        link_target(text).filter(|_| is_plain)?;
        Some(Self(text.trim_end_matches('/').into()))
    }

    /// The address that lists the users of this name (RFC 7644 §3.4.2.2): none, or one. Two are asked for, so
    /// that a second one is seen.
    pub fn of(&self, username: &Username) -> String {
        // Comparison values are JSON strings there.
        let value = serde_json::Value::from(username.as_str()).to_string();
        let filter = percent_encoded(&format!("userName eq {value}"));
        format!("{self}?filter={filter}&startIndex=1&count=2")
    }
}

impl fmt::Display for ScimUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/Users", self.0)
    }
}

/// Keeps what is unreserved (RFC 3986 §2.3).
fn percent_encoded(text: &str) -> String {
    let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::directory::HOSTILE;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_one_segment_or_one_value_of_a_url() {
        for template in
            ["https://u.example/users/{username}/x?y", "https://u.example/?a=b&n={username}&c"]
        {
            let template = UserUrl::parse(template).unwrap();
            for text in HOSTILE {
                let url = url::Url::parse(&template.of(&name(text)).unwrap()).unwrap();
                if url.query() == Some("y") {
                    let segments: Vec<_> = url.path_segments().unwrap().collect();
                    let [_, segment, "x"] = segments[..] else { panic!("{url}") };
                    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
                    assert_eq!(decoded.unwrap(), text);
                } else {
                    let (key, value) = url.query_pairs().nth(1).unwrap();
                    assert_eq!((key.as_ref(), value.as_ref()), ("n", text));
                    assert_eq!(url.query_pairs().count(), 3);
                }
            }
        }
    }

    #[test]
    fn a_name_is_no_step_in_a_path() {
        let whole = UserUrl::parse("https://u.example/users/{username}").unwrap();
        let inside = UserUrl::parse("https://u.example/users/%2e{username}").unwrap();
        let begun = UserUrl::parse("https://u.example/users/u-{username}").unwrap();
        assert_eq!(whole.of(&name("..")), None);
        assert_eq!(whole.of(&name(".")), None);
        assert_eq!(inside.of(&name(".")), None);
        assert_eq!(begun.of(&name("..")).unwrap(), "https://u.example/users/u-..");
        assert_eq!(whole.of(&name("...")).unwrap(), "https://u.example/users/...");
    }

    #[test]
    fn a_url_that_could_be_read_in_two_ways_is_no_template() {
        for text in [
            "https://u.example/users",
            "http://u.example/{username}",
            "https://{username}.example/",
            "https://u.example{username}",
            "https://u.example:{username}/",
            "https://{username}@u.example/",
            "https://u.example/{username}/{username}",
            "https://u.example/{user}/{username}",
            "https://u.example/#{username}",
            "https://u.example/?{username}",
            "https://u.example/?a=b&{username}=c",
            "https://a:b@u.example/{username}",
            "ftp://u.example/{username}",
            "{username}",
        ] {
            assert_eq!(UserUrl::parse(text), None, "{text}");
        }
        assert!(UserUrl::parse("http://127.0.0.1:1/{username}").is_some());
    }

    #[test]
    fn a_name_is_one_string_of_a_scim_filter() {
        let base = ScimUrl::parse("https://id.example/scim/v2/").unwrap();
        for text in HOSTILE {
            let url = url::Url::parse(&base.of(&name(text))).unwrap();
            assert_eq!(url.path(), "/scim/v2/Users");
            let pairs: Vec<_> = url.query_pairs().collect();
            let (key, filter) = &pairs[0];
            assert_eq!((key.as_ref(), pairs.len()), ("filter", 3));
            let value = filter.strip_prefix("userName eq ").unwrap();
            assert_eq!(serde_json::from_str::<String>(value).unwrap(), text);
        }
        for text in ["http://id.example", "https://id.example/?a=b", "https://a@id.example", "id"] {
            assert_eq!(ScimUrl::parse(text), None, "{text}");
        }
    }
}
