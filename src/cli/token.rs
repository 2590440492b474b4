//! A token as it comes from a command line or a pipe.

use std::convert::Infallible;
use std::io::{self, Read as _};

use anyhow::{Context as _, Result, bail};
use resetd_verify::MAX_TOKEN_LENGTH;

use crate::domain::secret::Secret;

/// Keeps what was typed out of whatever prints arguments.
#[expect(clippy::unnecessary_wraps, reason = "clap asks for a parser that can fail")]
pub(super) fn argument(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Takes the argument, or standard input for `-`. A token in an argument can be seen by other users
/// of the machine, so the pipe is the better way.
pub(super) fn read(argument: &str) -> Result<String> {
    if argument != "-" {
        return Ok(argument.into());
    }
    let limit = MAX_TOKEN_LENGTH as u64 + 2;
    let mut text = String::new();
    io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .context("cannot read a token from standard input")?;
    let token = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if token.is_empty() {
        bail!("wanted a token on standard input, found nothing");
    }
    Ok(token.into())
}

/// The most common reason why a good token does not verify, if it is that.
pub(super) fn mend(token: &str) -> Option<String> {
    let at = token.find(char::is_whitespace)?;
    Some(format!(
        "there is white space after {at} characters: a token has none, so it was broken when it was copied"
    ))
}
