//! Where the operations are, in every way that the vendor's clients know to reach them.

use std::fmt;

use super::format::Format;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Having a link sent.
    GetResetPasswordToken,
    /// Spending a token.
    PasswordReset,
}

impl Operation {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::GetResetPasswordToken => "GetResetPasswordToken",
            Self::PasswordReset => "PasswordReset",
        }
    }

    /// The name of its answers.
    pub(super) const fn answer(self) -> &'static str {
        match self {
            Self::GetResetPasswordToken => "GetResetPasswordTokenResponse",
            Self::PasswordReset => "PasswordResetResponse",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [Self::GetResetPasswordToken, Self::PasswordReset];
        all.into_iter().find(|operation| operation.name().eq_ignore_ascii_case(name))
    }
}

/// A path that leads to an operation. `Debug` leaves the user out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) operation: Operation,
    /// Whether it is one that every operation has, and not the operation's own.
    pub(super) is_predefined: bool,
    /// The user in it, still escaped.
    pub(super) user: Option<String>,
    /// What its end says that the answer is written in.
    pub(super) suffix: Option<Format>,
    /// The same said by the rest of it.
    pub(super) own: Option<Format>,
}

impl fmt::Debug for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, is_predefined, suffix, own, .. } = self;
        write!(formatter, "Route({operation:?}, {is_predefined}, {suffix:?}, {own:?})")
    }
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Route(Route),
    /// To an operation that is not there, on a route that every operation has.
    NoOperation(Format),
    Nothing,
}

/// Finds what a path leads to. Everything but the user is the same in any case.
pub(super) fn find(path: &str) -> Found {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    segments.remove(0);
    match segments[..] {
        [account, user, last] if is(account, "account") => {
            own(Operation::GetResetPasswordToken, last, "passwordresettoken", Some(user))
        }
        [account, last] if is(account, "account") => {
            own(Operation::PasswordReset, last, "passwordreset", None)
        }
        [format, way, last] if is(way, "reply") || is(way, "oneway") => {
            let Some(format) = Format::named(format) else { return Found::Nothing };
            let operation = Operation::named(last);
            let found = |operation| Found::Route(predefined(operation, None, format));
            operation.map_or(Found::NoOperation(format), found)
        }
        [last] => {
            let (name, suffix) = split_suffix(last);
            let operation = Operation::named(name);
            let found = |operation| Found::Route(predefined(operation, suffix, Format::Json));
            operation.map_or(Found::Nothing, found)
        }
        _ => Found::Nothing,
    }
}

fn is(segment: &str, literal: &str) -> bool {
    segment.eq_ignore_ascii_case(literal)
}

fn own(operation: Operation, last: &str, literal: &str, user: Option<&str>) -> Found {
    let (name, suffix) = split_suffix(last);
    if !is(name, literal) {
        return Found::Nothing;
    }
    let user = user.map(str::to_owned);
    Found::Route(Route { operation, is_predefined: false, user, suffix, own: None })
}

fn predefined(operation: Operation, suffix: Option<Format>, own: Format) -> Route {
    Route { operation, is_predefined: true, user: None, suffix, own: Some(own) }
}

/// Takes off the name of a format.
fn split_suffix(segment: &str) -> (&str, Option<Format>) {
    let format = |(name, end)| Format::named(end).map(|format| (name, Some(format)));
    segment.rsplit_once('.').and_then(format).unwrap_or((segment, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Route {
        match find(path) {
            Found::Route(route) => route,
            other @ (Found::NoOperation(_) | Found::Nothing) => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn literals_are_the_same_in_any_case_and_the_user_is_not() {
        let found = route("/api/Account/Ann.Xml%2Fb/PasswordResetToken.XML");
        assert_eq!(found.operation, Operation::GetResetPasswordToken);
        assert_eq!(found.user.as_deref(), Some("Ann.Xml%2Fb"));
        assert_eq!(
            (found.suffix, found.own, found.is_predefined),
            (Some(Format::Xml), None, false)
        );
        assert_eq!(route("/api/account/a/passwordresettoken/").suffix, None);
        assert_eq!(route("/api/account//passwordresettoken").user.as_deref(), Some(""));
        assert_eq!(route("/api/account/passwordreset.jsv").operation, Operation::PasswordReset);
    }

    #[test]
    fn every_operation_has_the_predefined_routes() {
        for (path, suffix, own) in [
            ("/api/json/reply/GetResetPasswordToken", None, Format::Json),
            ("/api/XML/OneWay/getresetpasswordtoken", None, Format::Xml),
            ("/api/PasswordReset", None, Format::Json),
            ("/api/passwordreset.csv", Some(Format::Csv), Format::Json),
        ] {
            let found = route(path);
            assert!(found.is_predefined);
            assert_eq!((found.suffix, found.own), (suffix, Some(own)), "{path}");
        }
        assert_eq!(find("/api/jsv/reply/Other"), Found::NoOperation(Format::Jsv));
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in [
            "/api",
            "/api/",
            "/api/x",
            "/api/account",
            "/api/account/a",
            "/api/account/a/b/c",
            "/api/account/a/passwordresettoken.txt",
            "/api/account/a/passwordresettokens",
            "/api/soap/reply/GetResetPasswordToken",
            "/api/json/GetResetPasswordToken",
            "/api/account/a/b/passwordresettoken",
            "/api/GetResetPasswordToken.txt",
        ] {
            assert_eq!(find(path), Found::Nothing, "{path}");
        }
    }
}
