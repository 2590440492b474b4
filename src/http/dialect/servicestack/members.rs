//! The members of a request: from its path, query and body, in the order in which they count.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use resetd_verify::json::{self, Value};
use url::form_urlencoded;

use super::format::Format;
use super::{jsv, xml};
use crate::domain::dialect::Guid;
use crate::domain::secret::Secret;

macro_rules! members {
    ($($member:ident),*) => {
        /// A member that some operation knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Member {
            $($member),*
        }

        impl Member {
            const ALL: &[Self] = &[$(Self::$member),*];

            /// As the vendor writes it.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$member => stringify!($member)),* }
            }
        }
    };
}

members! {
    UserName, ApplianceId, SuiteId, SubdomainName, ApplianceLoginUrl, NewPassword, ConfirmPassword, Token
}

impl Member {
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|member| member.name().eq_ignore_ascii_case(name))
    }
}

/// Why the members of a request cannot be read. The text says nothing of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

/// A name and a value; nothing for a value that is no text.
pub(super) type Pair = (String, Option<String>);

/// What a request says. Some of it is secret, so none of it prints.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(BTreeMap<Member, Secret>);

impl Members {
    /// Reads names and values. Names match in any case, and what no operation knows is passed over, as the vendor
    /// does. An empty value, and a GUID of zeros, is what its clients send where nothing is meant.
    pub(super) fn of<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Unreadable> {
        let mut members = BTreeMap::new();
        for (name, value) in pairs {
            let (Some(member), value) = (Member::named(name.as_ref()), value.as_ref()) else {
                continue;
            };
            if value.contains(char::REPLACEMENT_CHARACTER) {
                return Err(Unreadable("A member of the request is not UTF-8."));
            }
            let is_guid = [Member::ApplianceId, Member::SuiteId].contains(&member);
            if value.is_empty() || (is_guid && Guid::parse(value) == Some(Guid::ZERO)) {
                continue;
            }
            if members.insert(member, Secret::new(value)).is_some() {
                return Err(Unreadable("A member stands twice in one part of the request."));
            }
        }
        Ok(Self(members))
    }

    /// The value of a member, if it was said.
    pub(super) fn get(&self, member: Member) -> Option<&str> {
        self.0.get(&member).map(Secret::expose)
    }

    /// What these say, and for the rest what others do.
    pub(super) fn or(self, others: Self) -> Self {
        let mut members = others.0;
        members.extend(self.0);
        Self(members)
    }

    /// The user of the path.
    pub(super) fn of_path(user: Option<&str>) -> Result<Self, Unreadable> {
        let user = user.map(|user| percent_decode_str(user).decode_utf8_lossy());
        Self::of(user.map(|user| (Member::UserName.name(), user)))
    }

    pub(super) fn of_query(query: &Query) -> Result<Self, Unreadable> {
        Self::of(query.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The names and values of a query.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value under a name, in any case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let is_it = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.0.iter().find(is_it).map(|(_, value)| value.as_str())
    }
}

/// What a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    In(Format),
    Form,
}

impl Written {
    /// What the head of a request says.
    ///
    /// # Errors
    /// If it is nothing that can be read, or said twice.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, NotRead> {
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let text = match (types.next(), types.next()) {
            (None, _) => return Ok(None),
            (Some(text), None) => text.to_str().map_err(|_| NotRead)?,
            (Some(_), Some(_)) => return Err(NotRead),
        };
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let is_utf8 = |parameter: &str| {
            let charset = parameter.to_ascii_lowercase();
            charset.strip_prefix("charset=").is_none_or(|it| it.trim_matches('"') == "utf-8")
        };
        if !parts.all(is_utf8) {
            return Err(NotRead);
        }
        if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Ok(Some(Self::Form));
        }
        match Format::of_media_type(essence) {
            Some(format @ (Format::Json | Format::Xml | Format::Jsv)) => Ok(Some(Self::In(format))),
            Some(Format::Csv | Format::Html | Format::Jsonl) | None => Err(NotRead),
        }
    }
}

/// A body that is in nothing that can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotRead;

/// The members of a body. In XML its root has the name of the operation.
pub(super) fn of_body(
    bytes: &[u8],
    written: Written,
    operation: &str,
) -> Result<Members, Unreadable> {
    let text = || std::str::from_utf8(bytes).map_err(|_| Unreadable("The body is not UTF-8."));
    match written {
        Written::Form => Members::of(form_urlencoded::parse(text()?.as_bytes())),
        Written::In(Format::Xml) => of_pairs(xml::read(text()?, operation)?),
        Written::In(Format::Jsv) => of_pairs(jsv::read(text()?)?),
        Written::In(Format::Json | Format::Csv | Format::Html | Format::Jsonl) => of_json(bytes),
    }
}

fn of_json(bytes: &[u8]) -> Result<Members, Unreadable> {
    let unreadable = "The body is not one strict JSON object in UTF-8, with no member twice and at most 16 levels deep.";
    let object = json::parse_object(bytes).map_err(|_| Unreadable(unreadable))?;
    let read = |name: &str| match object.member(name) {
        Some(Value::Null) | None => None,
        Some(value) => Some((name.to_owned(), value.as_str().map(str::to_owned))),
    };
    of_pairs(object.names().filter_map(read))
}

/// A member that is known must be a text, whatever it is written in.
fn of_pairs(pairs: impl IntoIterator<Item = Pair>) -> Result<Members, Unreadable> {
    let texts = pairs.into_iter().map(|(name, value)| match value {
        None if Member::named(&name).is_some() => {
            Err(Unreadable("A member of the request is not a text."))
        }
        value => Ok((name, value.unwrap_or_default())),
    });
    Members::of(texts.collect::<Result<Vec<_>, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str, written: Written) -> Result<Vec<(Member, String)>, Unreadable> {
        let members = of_body(text.as_bytes(), written, "GetResetPasswordToken")?;
        Ok(members.0.iter().map(|(member, value)| (*member, value.expose().into())).collect())
    }

    #[test]
    fn names_match_in_any_case_and_what_is_unknown_or_empty_is_passed_over() {
        let wanted = vec![(Member::UserName, "ann".to_owned())];
        for (text, written) in [
            (r#"{"userName":"ann","x":[{"y":1}],"SuiteId":null}"#, Written::In(Format::Json)),
            ("USERNAME=ann&x=1&x=2&Token=", Written::Form),
            ("{username:ann,x:{y:[1,2]},Token:}", Written::In(Format::Jsv)),
            (
                r#"{"UserName":"ann","ApplianceId":"00000000000000000000000000000000"}"#,
                Written::In(Format::Json),
            ),
        ] {
            assert_eq!(body(text, written), Ok(wanted.clone()), "{text}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_not_read() {
        for (text, written) in [
            (r#"{"UserName":"ann","userName":"bob"}"#, Written::In(Format::Json)),
            (r#"{"UserName":5}"#, Written::In(Format::Json)),
            (r#"{"UserName":["ann"]}"#, Written::In(Format::Json)),
            ("[]", Written::In(Format::Json)),
            ("UserName=ann&username=bob", Written::Form),
            ("UserName=%ff", Written::Form),
            ("{UserName:ann,username:bob}", Written::In(Format::Jsv)),
            ("{UserName:[ann]}", Written::In(Format::Jsv)),
            (
                "<GetResetPasswordToken><UserName><A/></UserName></GetResetPasswordToken>",
                Written::In(Format::Xml),
            ),
        ] {
            assert!(body(text, written).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_said_first_counts() {
        let members = |pairs: &[(&str, &str)]| Members::of(pairs.iter().copied()).unwrap();
        let merged =
            members(&[("UserName", "ann")]).or(members(&[("UserName", "bob"), ("Token", "t")]));
        assert_eq!(merged.get(Member::UserName), Some("ann"));
        assert_eq!(merged.get(Member::Token), Some("t"));
    }

    #[test]
    fn a_plus_in_a_path_is_a_plus_and_in_a_query_a_space() {
        let path = Members::of_path(Some("a+b%40example.com")).unwrap();
        assert_eq!(path.get(Member::UserName), Some("a+b@example.com"));
        let query = Members::of_query(&Query::of("username=a+b%2Bc")).unwrap();
        assert_eq!(query.get(Member::UserName), Some("a b+c"));
        assert!(Members::of_path(Some("%ff")).is_err());
    }
}
