//! The addresses at which a service is asked for one user.

use std::fmt;
use std::fmt::Write as _;

use super::{MAX_BYTES, PLACE};
use crate::domain::identifier::Username;
use crate::domain::target::Target;

/// Stands where the username does while an address is read, and is as long as that.
const STAND_IN: &str = "0username0";

/// The address at which one user is found: an `https` URL with `{username}` in a segment of its path or as
/// the value of a parameter of its query. It is kept as it is called: as the parser of URLs writes it.
/// `Debug` shows its origin, since there may be a secret in the rest.
#[derive(Clone, PartialEq, Eq)]
pub struct UserUrl {
    before: String,
    after: String,
    origin: String,
}

impl UserUrl {
    /// What a text must be to be one.
    pub const WANTED: &str = "an https URL (http only on localhost, 127.0.0.1 or [::1]) of at most 1024 bytes with {username} once, in its path or as the value of a parameter, such as \"https://users.example.com/users/{username}\"";

    /// Reads a template.
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(PLACE)?;
        let is_plain = |part: &str| !part.contains(['{', '}']);
        if text.len() > MAX_BYTES || !is_plain(before) || !is_plain(after) {
            return None;
        }
        let target = Target::parse(&format!("{before}{STAND_IN}{after}"), &[])?;
        let (_, from_host) = before.split_once("://")?;
        let is_in_place = match from_host.split_once('?') {
            Some((_, query)) => query.rsplit('&').next()?.contains('='),
            None => from_host.contains('/'),
        };
        let (before, after) = target.as_str().split_once(STAND_IN)?;
        let is_once = !after.contains(STAND_IN);
        let (before, after, origin) = (before.into(), after.into(), target.origin());
        (is_in_place && is_once).then_some(Self { before, after, origin })
    }

    /// The address of this user. None, if the name stands in the path and would not be one name there for
    /// everybody on the way: many read an encoded slash as one that parts.
    pub fn of(&self, username: &Username) -> Option<String> {
        let encoded = percent_encoded(username.as_str());
        let is_in_path = !self.before.contains('?');
        let parts = username.as_str().contains(['/', '\\']);
        if is_in_path && (parts || is_step(&self.segment_with(&encoded))) {
            return None;
        }
        Some(format!("{}{encoded}{}", self.before, self.after))
    }

    /// Scheme, host and port: what may be shown.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    fn segment_with(&self, encoded: &str) -> String {
        let before = self.before.rsplit('/').next().unwrap_or_default();
        let after = self.after.split(['/', '?']).next().unwrap_or_default();
        format!("{before}{encoded}{after}")
    }
}

impl fmt::Debug for UserUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UserUrl({})", self.origin)
    }
}

/// Servers and proxies leave such a segment out (RFC 3986 §5.2.4), also where its dots are encoded.
fn is_step(segment: &str) -> bool {
    matches!(segment.replace("%2e", ".").replace("%2E", ".").as_str(), "." | "..")
}

/// The base of a SCIM service, below which its users are. `Debug` shows its origin.
#[derive(Clone, PartialEq, Eq)]
pub struct ScimUrl {
    base: String,
    origin: String,
}

impl ScimUrl {
    /// What a text must be to be one.
    pub const WANTED: &str = "an https URL (http only on localhost, 127.0.0.1 or [::1]) of at most 1024 bytes without a query, such as \"https://id.example.com/scim/v2\"";

    /// Reads a base.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() <= MAX_BYTES && !text.contains(['?', '{', '}']);
        let target = Target::parse(text, &[]).filter(|_| is_plain)?;
        let base = target.as_str().trim_end_matches('/').into();
        Some(Self { base, origin: target.origin() })
    }

    /// The address that lists the users of this name (RFC 7644 §3.4.2.2): none, or one. Two are asked for, so
    /// that a second one is seen.
    pub fn of(&self, username: &Username) -> String {
        // Comparison values are JSON strings there.
        let value = serde_json::Value::from(username.as_str()).to_string();
        let filter = percent_encoded(&format!("userName eq {value}"));
        format!("{}/Users?filter={filter}&startIndex=1&count=2", self.base)
    }

    /// Scheme, host and port: what may be shown.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl fmt::Debug for ScimUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ScimUrl({})", self.origin)
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
                let Some(url) = template.of(&name(text)) else {
                    assert!(!template.before.contains('?') && text.contains(['/', '\\']), "{text}");
                    continue;
                };
                let url = url::Url::parse(&url).unwrap();
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
    fn a_name_that_could_part_a_path_is_asked_for_in_a_query_only() {
        let path = UserUrl::parse("https://u.example/users/{username}").unwrap();
        let query = UserUrl::parse("https://u.example/users?name={username}").unwrap();
        for (text, encoded) in [("a/b", "a%2Fb"), ("a\\b", "a%5Cb"), ("/..", "%2F..")] {
            assert_eq!(path.of(&name(text)), None, "{text}");
            let wanted = format!("https://u.example/users?name={encoded}");
            assert_eq!(query.of(&name(text)).unwrap(), wanted);
        }
    }

    #[test]
    fn an_address_is_kept_as_it_is_called_and_shown_without_its_path() {
        for (text, wanted) in [
            ("https://BÜCHER.example/U/{username}", "https://xn--bcher-kva.example/U/ann"),
            ("https://u.example:443/a/../b/{username}?ä", "https://u.example/b/ann?%C3%A4"),
            ("https://0x7f.1/{username}", "https://127.0.0.1/ann"),
        ] {
            assert_eq!(UserUrl::parse(text).unwrap().of(&name("ann")).unwrap(), wanted);
        }
        let url = UserUrl::parse("https://u.example:8443/T0/{username}?key=s3cret").unwrap();
        assert_eq!(format!("{url:?}"), "UserUrl(https://u.example:8443)");
        let url = ScimUrl::parse("https://ID.example/T0/s3cret/").unwrap();
        assert_eq!(format!("{url:?}"), "ScimUrl(https://id.example)");
        assert!(url.of(&name("ann")).starts_with("https://id.example/T0/s3cret/Users?"));
    }

    #[test]
    fn every_address_that_is_taken_can_be_called() {
        let (mut taken, mut tried) = (0, 0);
        for c in ('!'..='~').chain(['ä', '\u{1f600}']) {
            for text in [
                format!("https://u{c}.example/{{username}}"),
                format!("https://u.example/{c}/{{username}}"),
                format!("https://u.example/{{username}}{c}"),
                format!("https://u.example/?{c}=x&n={{username}}&{c}"),
            ] {
                tried += 1;
                if let Some(url) = UserUrl::parse(&text) {
                    let url = url.of(&name("ann")).unwrap();
                    assert!(url.parse::<ureq::http::Uri>().is_ok(), "{url}");
                    taken += 1;
                }
            }
        }
        assert!(taken > tried * 3 / 4 && taken < tried, "{taken} of {tried}");
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
            "http://127.1/{username}",
            "http://0x7f.1/{username}",
            "http://2130706433/{username}",
            "https://u.example/0username0/{username}",
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
        for text in [
            "http://id.example",
            "http://127.1/",
            "https://id.example/?a=b",
            "https://a@id.example",
            "id",
        ] {
            assert_eq!(ScimUrl::parse(text), None, "{text}");
        }
    }
}
