//! One line, and how it holds on to the one before.

use data_encoding::HEXLOWER;
use resetd_verify::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::Event;
use crate::domain::time::to_rfc3339;

/// Far more than any line has. It bounds what is read for one.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// The last line of a trail: its number, and the hash that the next one will hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// The SHA-256 of its bytes in hexadecimal digits.
    pub hash: String,
}

impl Head {
    /// Before the first line.
    pub(super) fn of_nothing() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }

    /// Behind this line.
    pub(super) fn of(seq: u64, line: &[u8]) -> Self {
        Self { seq, hash: HEXLOWER.encode(digest(&SHA256, line).as_ref()) }
    }
}

#[derive(Serialize)]
struct Line<'e> {
    seq: u64,
    time: String,
    #[serde(flatten)]
    event: &'e Event,
    previous: &'e str,
}

/// The line of an event behind this head, without its end, and the head that it makes.
pub(super) fn encode(head: &Head, event: &Event, at: Timestamp) -> (Vec<u8>, Head) {
    let (seq, time) = (head.seq + 1, to_rfc3339(at));
    let line = Line { seq, time, event, previous: &head.hash };
    let bytes = serde_json::to_vec(&line).unwrap_or_default();
    let next = Head::of(seq, &bytes);
    (bytes, next)
}

/// What the chain needs to know of a line.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) previous: String,
    /// The first line that was left when files were removed.
    pub(super) first_seq: Option<u64>,
}

impl Link {
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}
