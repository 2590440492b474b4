//! One mail, and how it is written down (RFC 5322). Every part is of a type that cannot hold the end of a
//! line, so no part can become another header.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use resetd_verify::Timestamp;
use url::Host;
use zeroize::Zeroizing;

use super::error::{SendError, Step};
use super::template::Rendered;
use crate::domain::email::EmailAddress;
use crate::domain::mail::Sender;

/// What names a mail for good, so that sending it again is known to be the same mail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LetterId(String);

impl LetterId {
    /// What a text must be to be one.
    pub const WANTED: &str = "1 to 64 characters A-Z a-z 0-9 _ -";

    /// Takes a name that can stand in a header and name a file.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(is_plain)).then(|| Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A mail to one person.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its name: the first half of its `Message-ID`.
    pub id: LetterId,
    /// Who it goes to.
    pub to: EmailAddress,
    /// Who it comes from.
    pub from: Sender,
    /// Its `Date`.
    pub date: Timestamp,
    /// What it says.
    pub rendered: Rendered,
}

/// A mail as it is sent.
#[derive(Clone)]
pub struct Message {
    /// Its `Message-ID` without the brackets.
    pub(super) id: String,
    pub(super) to: EmailAddress,
    pub(super) from: EmailAddress,
    bytes: Zeroizing<Vec<u8>>,
}

impl Letter {
    /// Writes the mail down, always in the same way.
    ///
    /// # Errors
    /// [`SendError::Permanent`] if it cannot be written.
    pub fn message(&self) -> Result<Message, SendError> {
        let Self { id, to, from, rendered, .. } = self;
        let domain = from.address().domain();
        // A Message-ID is ASCII, whatever the domain is.
        let domain =
            Host::parse(domain).map_or_else(|_| "localhost".into(), |host| host.to_string());
        let message_id = format!("{}@{domain}", id.as_str());
        let sender = Mailbox::new(from.name().map(String::from), from.address().address().clone());
        let message = lettre::Message::builder()
            .from(sender)
            .to(Mailbox::new(None, to.address().clone()))
            .raw_header(subject(rendered.subject()))
            .date(UNIX_EPOCH + Duration::from_secs(self.date.seconds().min(LAST_SECOND)))
            .message_id(Some(format!("<{message_id}>")))
            // No answering machine shall answer, and none shall take it for a person's mail (RFC 3834).
            .raw_header(header(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated"))
            .raw_header(header(HeaderName::new_from_ascii_str("X-Auto-Response-Suppress"), "All"))
            .multipart(
                // No line of quoted-printable holds these two characters side by side.
                MultiPart::alternative()
                    .boundary(format!("=_{}", id.as_str()))
                    .singlepart(part(ContentType::TEXT_PLAIN, rendered.text().expose()))
                    .singlepart(part(ContentType::TEXT_HTML, rendered.html().expose())),
            )
            .map_err(|error| SendError::Permanent {
                step: Step::Content,
                said: error.to_string(),
            })?;
        let (to, from) = (to.clone(), from.address().clone());
        Ok(Message { id: message_id, to, from, bytes: Zeroizing::new(message.formatted()) })
    }
}

/// The last second of the year 9999, after which there is no way to write a date.
const LAST_SECOND: u64 = 253_402_300_799;

/// What looks like an encoded word would be read as one (RFC 2047 §6.2), so it is encoded as well. The
/// library does that only with what is beyond ASCII.
fn subject(text: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("Subject");
    if !text.contains("=?") {
        return header(name, text);
    }
    HeaderValue::dangerous_new_pre_encoded(name, text.into(), encoded_words(text))
}

/// Words of at most 75 characters, each with whole characters in it, on a line of its own.
fn encoded_words(text: &str) -> String {
    const MOST_BYTES: usize = 36;
    let mut words = vec![String::new()];
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= MOST_BYTES => word.push(c),
            _ => words.push(c.into()),
        }
    }
    let words = words.iter().map(|word| format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
    words.collect::<Vec<_>>().join("\r\n ")
}

fn header(name: HeaderName, value: &str) -> HeaderValue {
    HeaderValue::new(name, value.into())
}

/// Quoted-printable, also where lines are short: no line becomes longer than 76 characters, so no server on
/// the way folds one, and a link arrives as it was.
fn part(content_type: ContentType, text: &str) -> SinglePart {
    SinglePart::builder()
        .header(content_type)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(text.to_owned())
}

impl Message {
    /// The bytes, with lines that end as RFC 5322 has it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Message({} to {:?})", self.id, self.to)
    }
}
