//! A document that clients keep for a while, and ask again whether it is still the same.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

/// A document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) media_type: &'static str,
    pub(super) text: Cow<'static, str>,
    pub(super) keep: Keep,
}

/// How long a document may be kept without asking.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    /// So many seconds. Any page may read it: there is nothing secret in it.
    Public(u64),
    /// Not at all: what goes together stays together when the server is another one.
    Asking,
}

impl Document {
    /// Answers a `GET` or `HEAD` with these headers: 304 to a client that has this very text.
    pub(super) fn answer(self, request: &HeaderMap) -> Response {
        let tag = entity_tag(&self.text);
        let (cache, readers) = match self.keep {
            Keep::Public(seconds) => {
                let any = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
                (format!("public, max-age={seconds}"), Some(any))
            }
            Keep::Asking => ("no-cache".to_owned(), None),
        };
        let headers = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, cache)];
        if !is_known(&tag, request) {
            let media_type = [(header::CONTENT_TYPE, self.media_type)];
            return (headers, readers, media_type, self.text).into_response();
        }
        let mut response = (StatusCode::NOT_MODIFIED, headers, readers, ()).into_response();
        // Any length here is that of the document (RFC 9110 §8.6); left out, it would be told as 0.
        response.headers_mut().insert(header::CONTENT_LENGTH, self.text.len().into());
        response
    }
}

/// A strong tag: the same bytes have the same one, in every process and after every restart.
fn entity_tag(text: &str) -> String {
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())))
}

/// Whether the client has the document with this tag already (RFC 9110 §13.1.2).
fn is_known(tag: &str, request: &HeaderMap) -> bool {
    let mut lists = request.get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
    lists.any(|list| list.trim_ascii() == b"*" || names(list, tag.as_bytes()))
}

/// Whether a list of entity tags has this one. The comparison is the weak one: `W/` makes no
/// difference. What follows a fault in the list is left alone, which costs one full answer.
fn names(mut list: &[u8], tag: &[u8]) -> bool {
    loop {
        let start = list.iter().position(|b| !matches!(b, b' ' | b'\t' | b','));
        let rest = &list[start.unwrap_or(list.len())..];
        let rest = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(inner) = rest.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = inner.iter().position(|b| *b == b'"') else {
            return false;
        };
        let (found, after) = rest.split_at(end + 2);
        if found == tag {
            return true;
        }
        list = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_wherever_it_stands_in_the_list() {
        for list in [
            r#""a""#,
            r#"W/"a""#,
            r#""b", "a""#,
            r#""b","a","c""#,
            r#" , "b" ,, W/"a" ,"#,
            r#""b,c", "a""#,
            "\"b\",\t\"a\"",
        ] {
            assert!(names(list.as_bytes(), b"\"a\""), "{list}");
        }
    }

    #[test]
    fn what_is_not_the_tag_is_not_taken_for_it() {
        for list in
            ["", ",", "a", r#""A""#, r#""a "#, r#""aa""#, r#"w/"a""#, r#""b", a"#, r#"",a,""#]
        {
            assert!(!names(list.as_bytes(), b"\"a\""), "{list}");
        }
    }
}
