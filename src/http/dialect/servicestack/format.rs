//! What an answer is written in, and how a request chooses it.

use axum::http::{HeaderMap, header};

use super::members::{Query, Written};
use super::route::Route;

/// What requests and answers are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
    Jsv,
    Csv,
    Html,
    Jsonl,
}

impl Format {
    const ALL: [Self; 6] = [Self::Json, Self::Xml, Self::Jsv, Self::Csv, Self::Html, Self::Jsonl];

    /// As it stands in paths and queries.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Jsv => "jsv",
            Self::Csv => "csv",
            Self::Html => "html",
            Self::Jsonl => "jsonl",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// A media type without parameters, in lower case or not.
    pub(super) fn of_media_type(essence: &str) -> Option<Self> {
        match essence.to_ascii_lowercase().as_str() {
            "application/json" | "text/json" => Some(Self::Json),
            "application/xml" | "text/xml" => Some(Self::Xml),
            "application/jsv" | "text/jsv" => Some(Self::Jsv),
            "text/csv" => Some(Self::Csv),
            "text/html" => Some(Self::Html),
            "text/jsonl" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// How an answer is written.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub(super) format: Format,
    /// The function of a script that JSON is handed to.
    pub(super) callback: Option<String>,
    pub(super) has_camel_names: bool,
}

/// A callback that could be more than the name of a function.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoCallback;

impl Style {
    /// The first that says so: the suffix, the query, the route, what is accepted. Where nothing does it is JSON,
    /// and a callback that is none is told beside it.
    pub(super) fn of(
        route: &Route,
        query: &Query,
        headers: &HeaderMap,
        has_camel_names: bool,
    ) -> (Self, Result<(), NoCallback>) {
        let has_camel_names =
            query.get("jsconfig").and_then(asks_for_camel_names).unwrap_or(has_camel_names);
        let callback = query.get("callback").filter(|name| !name.is_empty());
        let callback = callback.filter(|_| route.suffix.is_none_or(|it| it == Format::Json));
        let by_query = || match callback {
            Some(_) => Some(Format::Json),
            None => query.get("format").and_then(Format::named),
        };
        let format = route.suffix.or_else(by_query).or(route.own);
        let format = format.unwrap_or_else(|| accepted(headers));
        let is_name = callback.is_none_or(is_function);
        let callback = callback.filter(|_| is_name).map(str::to_owned);
        let style = Self { format, callback, has_camel_names };
        (style, if is_name { Ok(()) } else { Err(NoCallback) })
    }
}

fn is_function(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.$".contains(&b);
    name.len() <= 64 && name.bytes().all(allowed)
}

/// `EmitCamelCaseNames` or `eccn`, alone or with a value, among other settings.
fn asks_for_camel_names(settings: &str) -> Option<bool> {
    settings.split(',').find_map(|setting| {
        let (name, value) = setting.split_once(':').unwrap_or((setting, "true"));
        let is_it = ["EmitCamelCaseNames", "eccn"].iter().any(|it| name.eq_ignore_ascii_case(it));
        is_it.then(|| !["false", "0"].iter().any(|no| value.eq_ignore_ascii_case(no)))
    })
}

/// As the vendor reads `Accept`: by its own order of formats, and whatever weights are given. But the format of the
/// request counts first, if it is accepted.
fn accepted(headers: &HeaderMap) -> Format {
    const FIRST: [Format; 4] = [Format::Html, Format::Json, Format::Xml, Format::Jsv];
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let types = lines.flat_map(|line| line.split(','));
    let types = types.map(|text| text.split(';').next().unwrap_or_default().trim());
    let types: Vec<&str> = types.collect();
    let known: Vec<_> = types.iter().filter_map(|text| Format::of_media_type(text)).collect();
    let own = match Written::of(headers) {
        Ok(Some(Written::In(format))) => Some(format),
        Ok(Some(Written::Form) | None) | Err(_) => None,
    };
    let is_any = types.contains(&"*/*");
    let first = own.filter(|own| known.contains(own));
    let first = first.or_else(|| FIRST.into_iter().find(|format| known.contains(format)));
    let last = || if is_any { own } else { known.first().copied() };
    first.or_else(last).unwrap_or(Format::Json)
}
