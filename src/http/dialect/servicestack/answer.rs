//! Writes an answer: nothing when it went well, or a `ResponseStatus`. All its texts are our own, and it never has
//! a stack trace, a token or anything else that was sent.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::format::{Format, Style};
use super::route::Operation;

const NAMESPACE: &str =
    "http://schemas.datacontract.org/2004/07/Eros.Subtle.Canvara.WebAPIModel.ServiceModel";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
const TYPES: &str = "http://schemas.servicestack.net/types";
const ARRAYS: &str = "http://schemas.microsoft.com/2003/10/Serialization/Arrays";

/// What a client is told of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResponseStatus {
    pub(super) error_code: &'static str,
    pub(super) message: &'static str,
    pub(super) errors: Vec<ResponseError>,
}

/// What is wrong with one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseError {
    pub(super) error_code: &'static str,
    pub(super) field_name: &'static str,
    pub(super) message: &'static str,
}

/// An answer in the format that was chosen.
pub(super) fn write(
    style: &Style,
    operation: Operation,
    status: StatusCode,
    told: Option<&ResponseStatus>,
) -> Response {
    let tree = Node::of(told);
    let json = || tree.json(style.has_camel_names);
    let (media_type, body) = match style.format {
        Format::Json => match &style.callback {
            None => ("application/json; charset=utf-8", json()),
            Some(callback) => ("text/javascript; charset=utf-8", format!("{callback}({})", json())),
        },
        Format::Xml => ("application/xml; charset=utf-8", xml(operation, told)),
        Format::Jsv => ("application/jsv; charset=utf-8", tree.jsv(style.has_camel_names)),
        Format::Csv => ("text/csv; charset=utf-8", csv(&tree, style.has_camel_names)),
        Format::Html => ("text/html; charset=utf-8", html(operation, &json())),
        Format::Jsonl => ("text/jsonl; charset=utf-8", json() + "\n"),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::VARY, HeaderValue::from_static("accept")),
    ];
    (status, headers, file_name(style.format, operation), body).into_response()
}

/// What a browser saves CSV as.
fn file_name(format: Format, operation: Operation) -> Option<[(HeaderName, HeaderValue); 1]> {
    let text = format!("attachment;filename={}.csv", operation.answer());
    let value = HeaderValue::try_from(text).ok().filter(|_| format == Format::Csv);
    value.map(|value| [(header::CONTENT_DISPOSITION, value)])
}

/// An answer as a tree, for the formats that have names and values.
enum Node {
    Text(&'static str),
    List(Vec<Node>),
    Object(Vec<(&'static str, Node)>),
}

impl Node {
    /// What is not there is left out; a list of errors is always there.
    fn of(told: Option<&ResponseStatus>) -> Self {
        let Some(ResponseStatus { error_code, message, errors }) = told else {
            return Self::Object(Vec::new());
        };
        let errors = errors.iter().map(|error| {
            Self::Object(vec![
                ("ErrorCode", Self::Text(error.error_code)),
                ("FieldName", Self::Text(error.field_name)),
                ("Message", Self::Text(error.message)),
            ])
        });
        let status = Self::Object(vec![
            ("ErrorCode", Self::Text(error_code)),
            ("Message", Self::Text(message)),
            ("Errors", Self::List(errors.collect())),
        ]);
        Self::Object(vec![("ResponseStatus", status)])
    }

    fn json(&self, has_camel_names: bool) -> String {
        self.written(has_camel_names, &|text| serde_json::Value::from(text).to_string(), true)
    }

    fn jsv(&self, has_camel_names: bool) -> String {
        self.written(has_camel_names, &quoted_if_needed, false)
    }

    /// JSON and JSV differ in what stands in quotes.
    fn written(
        &self,
        has_camel_names: bool,
        text: &dyn Fn(&str) -> String,
        quotes_names: bool,
    ) -> String {
        let inner = |node: &Self| node.written(has_camel_names, text, quotes_names);
        match self {
            Self::Text(value) => text(value),
            Self::List(nodes) => {
                format!("[{}]", nodes.iter().map(inner).collect::<Vec<_>>().join(","))
            }
            Self::Object(members) => {
                let member = |(name, node): &(&str, Self)| {
                    let quote = if quotes_names { "\"" } else { "" };
                    format!("{quote}{}{quote}:{}", cased(name, has_camel_names), inner(node))
                };
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
            }
        }
    }
}

fn cased(name: &str, has_camel_names: bool) -> String {
    let (first, rest) = name.split_at(1);
    let first = if has_camel_names { first.to_lowercase() } else { first.to_owned() };
    first + rest
}

/// A text in JSV: in quotes if it has anything of the grammar in it.
fn quoted_if_needed(text: &str) -> String {
    if text.contains(['"', ',', '{', '}', '[', ']', ':', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// One row with one cell. It stands in quotes, and never begins with what a spreadsheet takes for a formula.
fn csv(tree: &Node, has_camel_names: bool) -> String {
    let name = cased("ResponseStatus", has_camel_names);
    let cell = match tree {
        Node::Object(members) => members.first().map(|(_, status)| status.jsv(has_camel_names)),
        Node::Text(_) | Node::List(_) => None,
    };
    let cell = cell.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).unwrap_or_default();
    format!("{name}\r\n{cell}\r\n")
}

/// For people who opened it in a browser.
fn html(operation: Operation, json: &str) -> String {
    let (name, json) = (operation.answer(), escaped(json));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}</title>\n<h1>{name}</h1>\n<pre>{json}</pre>\n</html>\n"
    )
}

/// As .NET's serializer of data contracts writes it, with everything that is not there as nil.
fn xml(operation: Operation, told: Option<&ResponseStatus>) -> String {
    let name = operation.answer();
    let status = told.map_or_else(
        || format!("<ResponseStatus xmlns:d2p1=\"{TYPES}\" i:nil=\"true\" />"),
        |told| {
            format!("<ResponseStatus xmlns:d2p1=\"{TYPES}\">{}</ResponseStatus>", xml_status(told))
        },
    );
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><{name} xmlns:i=\"{INSTANCE}\" xmlns=\"{NAMESPACE}\">{status}</{name}>"
    )
}

fn xml_status(told: &ResponseStatus) -> String {
    let errors = told.errors.iter().map(|error| {
        format!(
            "<d2p1:ResponseError>{}{}{}<d2p1:Meta xmlns:d5p1=\"{ARRAYS}\" i:nil=\"true\" /></d2p1:ResponseError>",
            element("ErrorCode", error.error_code),
            element("FieldName", error.field_name),
            element("Message", error.message),
        )
    });
    let errors: String = errors.collect();
    let errors = if errors.is_empty() {
        "<d2p1:Errors />".to_owned()
    } else {
        format!("<d2p1:Errors>{errors}</d2p1:Errors>")
    };
    format!(
        "{}{}<d2p1:StackTrace i:nil=\"true\" />{errors}<d2p1:Meta xmlns:d3p1=\"{ARRAYS}\" i:nil=\"true\" />",
        element("ErrorCode", told.error_code),
        element("Message", told.message),
    )
}

fn element(name: &str, text: &str) -> String {
    format!("<d2p1:{name}>{}</d2p1:{name}>", escaped(text))
}

/// For XML and HTML alike.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
