//! Messages of LDAP as they come over the network (RFC 4511 §5.1): read within bounds, and only looked at.
//! The library that understands them reads without bounds, and follows every nesting.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest message in bytes. A user has a few attributes.
const MOST_BYTES: usize = 64 * 1024;
/// How deep elements may nest; a value of an attribute is six deep.
const MOST_DEPTH: usize = 16;

/// Asks for TLS (RFC 4511 §4.14.1), as message 1.
pub(super) const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// A message as it came, or none at the end.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; 2];
    if from.read(&mut message[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut message[1..]).await?;
    let length = match (message[0], message[1]) {
        (0x30, length @ 0..=0x7f) => usize::from(length),
        (0x30, more @ 0x81..=0x84) => {
            let begin = message.len();
            message.resize(begin + usize::from(more - 0x80), 0);
            from.read_exact(&mut message[begin..]).await?;
            number(&message[begin..])
        }
        _ => return Err(odd("the answer is not as LDAP has it")),
    };
    if length > MOST_BYTES {
        return Err(odd(&format!("the answer is longer than {MOST_BYTES} bytes")));
    }
    let begin = message.len();
    message.resize(begin + length, 0);
    from.read_exact(&mut message[begin..]).await?;
    if is_well_formed(&message[begin..], MOST_DEPTH) {
        Ok(Some(message))
    } else {
        Err(odd("the answer is not as LDAP has it"))
    }
}

/// Whether the answer to [`START_TLS`] is that TLS begins.
pub(super) fn starts_tls(message: &[u8]) -> bool {
    let content = |bytes, wanted| match element(bytes) {
        Some((tag, content, rest)) if tag == wanted => Some((content, rest)),
        _ => None,
    };
    let result = || {
        let (message, _) = content(message, 0x30)?;
        let (id, rest) = content(message, 0x02)?;
        let (response, _) = content(rest, 0x78)?;
        let (code, _) = content(response, 0x0a)?;
        Some((id, code))
    };
    result() == Some((&[1], &[0]))
}

fn odd(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// At most four bytes.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Whether the content is elements through and through, none of which says to be longer than it can be.
fn is_well_formed(mut content: &[u8], depth: usize) -> bool {
    while !content.is_empty() {
        let Some((tag, inner, rest)) = element(content) else {
            return false;
        };
        let is_constructed = tag & 0x20 != 0;
        if is_constructed && (depth == 0 || !is_well_formed(inner, depth - 1)) {
            return false;
        }
        content = rest;
    }
    true
}

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (number(length), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    (tag & 0x1f != 0x1f).then_some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut bytes = bytes;
        runtime.block_on(read(&mut bytes)).map_err(|error| error.to_string())
    }

    /// A sequence in a sequence, and so on.
    fn nested(depth: usize) -> Vec<u8> {
        (0..depth).fold(Vec::new(), |inner, _| {
            let mut outer = vec![0x30, 0x82];
            outer.extend(u16::try_from(inner.len()).unwrap().to_be_bytes());
            outer.extend(inner);
            outer
        })
    }

    #[test]
    fn a_message_is_read_as_it_is_and_what_follows_is_left() {
        let done = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(reading(&[done, &b"\x30"[..]].concat()).unwrap().unwrap(), done);
        assert_eq!(reading(b"").unwrap(), None);
        assert!(reading(START_TLS).unwrap().is_some());
        assert!(reading(&nested(17)).unwrap().is_some());
    }

    #[test]
    fn what_could_take_all_memory_or_stack_is_refused() {
        for (bytes, wanted) in [
            (&b"\x30\x84\xff\xff\xff\xff"[..], "longer than 65536"),
            (b"\x30\x80\x00\x00", "not as LDAP"),
            (b"\x30\x85\x00\x00\x00\x00\x01\x00", "not as LDAP"),
            (b"HTTP/1.1 400", "not as LDAP"),
            (b"\x30\x02\x04\x7f", "not as LDAP"),
            (b"\x30\x03\x1f\x81\x00", "not as LDAP"),
            (b"\x30\x05\x02", "eof"),
        ] {
            let reason = reading(bytes).unwrap_err();
            assert!(reason.contains(wanted), "{bytes:x?}: {reason}");
        }
        assert!(reading(&nested(18)).is_err());
        assert!(reading(&nested(10_000)).is_err());
    }

    #[test]
    fn only_success_starts_tls() {
        assert!(starts_tls(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"));
        for refused in [
            &b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"[..],
            b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
            b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
            b"\x30\x00",
            b"",
        ] {
            assert!(!starts_tls(refused), "{refused:x?}");
        }
    }
}
