//! The link that leads a person to the form for a new password. Its address is the tenant's, or one that
//! the tenant allows; nothing of it comes from where a request was sent to.

use std::fmt;

use url::{Host, Url};

use super::secret::Secret;

/// Where the token stands in a template.
const PLACE: &str = "{token}";
/// The longest template in bytes.
const MAX_BYTES: usize = 1024;

/// A link without its token: an `https` URL with `{token}` in its fragment or as the value of a
/// parameter of its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTemplate {
    base: Url,
    place: Place,
}

/// Where in a link the token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// After `#` and this text. A browser sends it to nobody, so no server, proxy or log has it.
    Fragment { before: String },
    /// As the value of this parameter.
    Query { name: String },
}

impl LinkTemplate {
    /// What a text must be to be one.
    pub const WANTED: &str = "an https URL (http only on a loopback address) of at most 1024 bytes with {token} at its end, after # or as the value of a parameter, such as \"https://app.example.com/reset#{token}\"";

    /// Reads a template.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let before = text.strip_suffix(PLACE)?;
        if let Some((base, before)) = before.split_once('#') {
            let base = link_target(base)?;
            // The fragment is ours to escape; these need none.
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&b);
            let place = Place::Fragment { before: before.into() };
            return before.bytes().all(is_plain).then_some(Self { base, place });
        }
        let (base, name) = before.strip_suffix('=')?.rsplit_once(['?', '&'])?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_plain) || !before.contains('?') {
            return None;
        }
        let place = Place::Query { name: name.into() };
        Some(Self { base: link_target(base)?, place })
    }

    /// The link for a token, which is base64url and dots: nothing in it needs escaping.
    pub fn link(&self, token: &Secret) -> Secret {
        self.link_on(&self.base, token)
    }

    /// The same on an address that the caller chose among those that are allowed. What stands before the
    /// token, in the fragment or in the query, goes with it, unless the address says it already: of two values
    /// of one name, readers differ on which counts.
    pub fn link_to(&self, target: &ReturnUrl, token: &Secret) -> Secret {
        let mut base = target.0.clone();
        if matches!(self.place, Place::Query { .. }) {
            let is_new = |name: &str| target.0.query_pairs().all(|(known, _)| known != name);
            for (name, value) in self.base.query_pairs().filter(|(name, _)| is_new(name)) {
                base.query_pairs_mut().append_pair(&name, &value);
            }
        }
        self.link_on(&base, token)
    }

    fn link_on(&self, base: &Url, token: &Secret) -> Secret {
        let (mut base, token) = (base.clone(), token.expose());
        match &self.place {
            Place::Fragment { before } => Secret::new(format!("{base}#{before}{token}")),
            Place::Query { name } => {
                base.query_pairs_mut().append_pair(name, token);
                Secret::new(String::from(base))
            }
        }
    }
}

impl fmt::Display for LinkTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = &self.base;
        match &self.place {
            Place::Fragment { before } => write!(formatter, "{base}#{before}{PLACE}"),
            Place::Query { name } if base.query().is_none() => {
                write!(formatter, "{base}?{name}={PLACE}")
            }
            Place::Query { name } => write!(formatter, "{base}&{name}={PLACE}"),
        }
    }
}

/// An address that a caller asked links to lead to, and that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnUrl(Url);

impl ReturnUrl {
    /// The address as it is written in links.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The addresses that a caller may have links lead to. An address is allowed if it is one of them, read
/// as browsers read it: letter case and default port of the host do not matter, everything else does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReturnUrls(Vec<Url>);

impl ReturnUrls {
    /// What each of them must be.
    pub const WANTED: &str = "an https URL (http only on a loopback address) without user name, password or fragment, of at most 1024 bytes";

    /// Reads the list; otherwise the first one that cannot be allowed.
    ///
    /// # Errors
    /// That one.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, &'t str> {
        let urls = texts.into_iter().map(|text| {
            let is_short = text.len() <= MAX_BYTES;
            is_short.then(|| link_target(text)).flatten().ok_or(text)
        });
        urls.collect::<Result<_, _>>().map(Self)
    }

    /// The address, if it is one of those that are allowed.
    pub fn allow(&self, text: &str) -> Option<ReturnUrl> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let wanted = link_target(text)?;
        self.0.iter().find(|url| **url == wanted).map(|url| ReturnUrl(url.clone()))
    }
}

/// An address that a link may lead to.
pub(super) fn link_target(text: &str) -> Option<Url> {
    // The parser drops tabs and ends of lines, and takes a backslash for a slash. Nobody means that.
    if text.bytes().any(|b| b <= b' ' || b == b'\\' || b == 0x7f) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    // Written out, since the parser also takes "https:host" and "https:/host".
    let has_authority = text.get(url.scheme().len()..)?.starts_with("://");
    let is_private = match url.scheme() {
        "https" => url.host().is_some(),
        "http" => url.host().is_some_and(|host| is_loopback(&host)),
        _ => false,
    };
    (is_plain && has_authority && is_private && !text.contains('@')).then_some(url)
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Secret {
        Secret::new("a.b-c_d.e")
    }

    #[test]
    fn the_token_stands_where_the_template_says() {
        for (template, link) in [
            ("https://a.example/reset#{token}", "https://a.example/reset#a.b-c_d.e"),
            ("https://a.example/#/reset?t={token}", "https://a.example/#/reset?t=a.b-c_d.e"),
            ("https://a.example/reset?token={token}", "https://a.example/reset?token=a.b-c_d.e"),
            ("https://a.example/r?x=1&t={token}", "https://a.example/r?x=1&t=a.b-c_d.e"),
            ("http://127.0.0.1:3000/reset#{token}", "http://127.0.0.1:3000/reset#a.b-c_d.e"),
            ("https://BÜCHER.example/#{token}", "https://xn--bcher-kva.example/#a.b-c_d.e"),
        ] {
            let parsed = LinkTemplate::parse(template).unwrap();
            assert_eq!(parsed.link(&token()).expose(), link);
            assert_eq!(LinkTemplate::parse(&parsed.to_string()), Some(parsed));
        }
    }

    #[test]
    fn a_template_is_an_https_url_with_one_place_for_the_token() {
        for template in [
            "",
            "{token}",
            "https://a.example/reset",
            "https://a.example/reset/{token}",
            "https://{token}",
            "https://{token}.example/#x",
            "https://a.example/#{token}x",
            "https://a.example/?{token}",
            "https://a.example/?={token}",
            "http://a.example/#{token}",
            "https://user@a.example/#{token}",
            "javascript://a.example/#{token}",
            "https://a.example/\n#{token}",
            "https://a.example/#<{token}",
            "https:a.example/#{token}",
            &format!("https://a.example/{}#{{token}}", "a".repeat(1024)),
        ] {
            assert!(LinkTemplate::parse(template).is_none(), "{template}");
        }
    }

    #[test]
    fn a_link_leads_to_an_allowed_address_with_the_token_in_its_usual_place() {
        let urls = ReturnUrls::parse(["https://b.example/x?y=1"]).unwrap();
        let url = urls.allow("https://b.example/x?y=1").unwrap();
        let link = |template| LinkTemplate::parse(template).unwrap().link_to(&url, &token());
        let fragment = link("https://a.example/reset#{token}");
        assert_eq!(fragment.expose(), "https://b.example/x?y=1#a.b-c_d.e");
        let query = link("https://a.example/reset?token={token}");
        assert_eq!(query.expose(), "https://b.example/x?y=1&token=a.b-c_d.e");
        let query = link("https://a.example/reset?vtype=reset&vtoken={token}");
        assert_eq!(query.expose(), "https://b.example/x?y=1&vtype=reset&vtoken=a.b-c_d.e");
        let fragment = link("https://a.example/#vtype=reset&vtoken={token}");
        assert_eq!(fragment.expose(), "https://b.example/x?y=1#vtype=reset&vtoken=a.b-c_d.e");
    }

    #[test]
    fn what_the_address_says_already_is_not_said_twice() {
        let urls = ReturnUrls::parse(["https://b.example/x?vtype=mine"]).unwrap();
        let url = urls.allow("https://b.example/x?vtype=mine").unwrap();
        let template =
            LinkTemplate::parse("https://a.example/r?vtype=reset&lang=de&t={token}").unwrap();
        let link = template.link_to(&url, &token());
        assert_eq!(link.expose(), "https://b.example/x?vtype=mine&lang=de&t=a.b-c_d.e");
    }

    #[test]
    fn only_the_very_same_address_is_allowed() {
        let urls = ReturnUrls::parse(["https://app.example.com/reset", "https://bücher.example/"]);
        let urls = urls.unwrap();
        for same in [
            "https://app.example.com/reset",
            "HTTPS://APP.example.COM/reset",
            "https://app.example.com:443/reset",
            "https://xn--bcher-kva.example/",
            "https://BÜCHER.example",
        ] {
            assert!(urls.allow(same).is_some(), "{same}");
        }
        for other in [
            "",
            "https://app.example.com",
            "https://app.example.com/Reset",
            "https://app.example.com/reset/",
            "https://app.example.com/reset/../x",
            "https://app.example.com/reset?x",
            "https://app.example.com/reset#x",
            "https://app.example.com.evil.example/reset",
            "https://evil.example/https://app.example.com/reset",
            "https://evilapp.example.com/reset",
            "https://app.example.com@evil.example/reset",
            "https://evil.example#@app.example.com/reset",
            "https://evil.example\\@app.example.com/reset",
            "https://app.example.com\\reset",
            "https://app.example.com:8443/reset",
            "http://app.example.com/reset",
            "//app.example.com/reset",
            "https:app.example.com/reset",
            "https:/app.example.com/reset",
            "https://app.exаmple.com/reset",
            " https://app.example.com/reset",
            "https://app.example.com/re\nset",
            "javascript:https://app.example.com/reset",
        ] {
            assert!(urls.allow(other).is_none(), "{other:?}");
        }
        // What the parser itself makes the same is the same.
        assert!(urls.allow("https://app.example.com/x/../reset").is_some());
    }

    #[test]
    fn the_first_address_that_cannot_be_allowed_is_named() {
        let refused = |text| ReturnUrls::parse(["https://a.example/", text]).unwrap_err();
        for text in ["http://a.example/", "https://u:p@a.example/", "https://a.example/#x", "x"] {
            assert_eq!(refused(text), text);
        }
        assert!(ReturnUrls::parse(["http://localhost:3000/x", "http://[::1]/"]).is_ok());
    }
}
