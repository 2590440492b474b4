//! The passphrases that key files are encrypted with: one to write with, more to read with, so that
//! one can be changed while no file is unreadable. The command line reads them from a file.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::secret::Secret;

/// How many bytes a passphrase has: shorter ones are guessed, longer ones are a file by mistake.
const BYTES: RangeInclusive<usize> = 8..=1024;
/// One to write with and the older ones of a change; each costs a slow derivation per key to try.
const MOST: usize = 4;

/// The passphrases for the folder of keys, wiped when dropped. The first one encrypts, all are tried
/// to decrypt.
#[derive(Clone, Default)]
pub struct Passphrases(Arc<[Secret]>);

impl Passphrases {
    /// No passphrase: key files are written in clear.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the text of a file that has one passphrase per line.
    ///
    /// # Errors
    /// [`PassphraseError`] names the line and what is wrong with it, and never shows it.
    pub fn parse(text: &str) -> Result<Self, PassphraseError> {
        if text.is_empty() {
            return Err(PassphraseError::None);
        }
        let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let found = lines.clone().count();
        if found > MOST {
            return Err(PassphraseError::TooMany { found });
        }
        let read = |(index, text)| passphrase(index + 1, text);
        lines.enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that encrypts.
    pub(super) fn first(&self) -> Option<&Secret> {
        self.0.first()
    }

    /// All, in the order in which they are tried.
    pub(super) fn all(&self) -> &[Secret] {
        &self.0
    }
}

impl fmt::Debug for Passphrases {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Passphrases(…)")
    }
}

fn passphrase(line: usize, text: &str) -> Result<Secret, PassphraseError> {
    let found = text.len();
    if found == 0 {
        return Err(PassphraseError::EmptyLine { line });
    }
    // Of these the carriage return is the likely one; a file of Windows would be another passphrase
    // here than there.
    if text.chars().any(char::is_control) {
        return Err(PassphraseError::ControlCharacter { line });
    }
    if !BYTES.contains(&found) {
        return Err(PassphraseError::Length { line, found });
    }
    Ok(Secret::new(text))
}

/// Why a text is no list of passphrases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// There is no text at all.
    #[error("holds no passphrase; wanted one per line, the one to encrypt with first")]
    None,
    /// There are more lines than a change of passphrases needs.
    #[error("has {found} lines, at most {MOST} passphrases are tried; remove the oldest ones")]
    TooMany {
        /// Lines found.
        found: usize,
    },
    /// A line has no text.
    #[error("line {line} is empty; remove it")]
    EmptyLine {
        /// Its number, from 1.
        line: usize,
    },
    /// A line is too short or too long.
    #[error(
        "line {line} has {found} bytes, a passphrase has {} to {}; `openssl rand -base64 32` makes one",
        BYTES.start(),
        BYTES.end()
    )]
    Length {
        /// Its number, from 1.
        line: usize,
        /// Its bytes.
        found: usize,
    },
    /// A line has a character that nobody sees.
    #[error(
        "line {line} has a control character, maybe a carriage return; end lines with a line feed only"
    )]
    ControlCharacter {
        /// Its number, from 1.
        line: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(passphrases: &Passphrases) -> Vec<&str> {
        passphrases.all().iter().map(Secret::expose).collect()
    }

    #[track_caller]
    fn refused(text: &str, wanted: PassphraseError) {
        assert_eq!(Passphrases::parse(text).unwrap_err(), wanted);
    }

    #[test]
    fn each_line_is_a_passphrase_and_the_first_one_encrypts() {
        for text in ["first passphrase\n second one ", "first passphrase\n second one \n"] {
            let read = Passphrases::parse(text).unwrap();
            assert_eq!(texts(&read), ["first passphrase", " second one "]);
            assert_eq!(read.first().unwrap().expose(), "first passphrase");
        }
        assert!(Passphrases::none().is_empty());
        assert!(!Passphrases::parse("12345678").unwrap().is_empty());
    }

    #[test]
    fn debug_shows_nothing() {
        let shown = format!("{:?}", Passphrases::parse("correct horse\nbattery staple").unwrap());
        assert_eq!(shown, "Passphrases(…)");
    }

    #[test]
    fn a_text_without_a_passphrase_is_refused() {
        refused("", PassphraseError::None);
    }

    #[test]
    fn an_empty_line_is_refused() {
        refused("\n", PassphraseError::EmptyLine { line: 1 });
        refused("12345678\n\n12345678\n", PassphraseError::EmptyLine { line: 2 });
        refused("12345678\n\n", PassphraseError::EmptyLine { line: 2 });
    }

    #[test]
    fn a_passphrase_has_8_to_1024_bytes() {
        refused("1234567", PassphraseError::Length { line: 1, found: 7 });
        assert!(Passphrases::parse(&"x".repeat(1024)).is_ok());
        refused(&"x".repeat(1025), PassphraseError::Length { line: 1, found: 1025 });
    }

    #[test]
    fn at_most_4_passphrases_are_taken() {
        assert!(Passphrases::parse(&"12345678\n".repeat(4)).is_ok());
        refused(&"12345678\n".repeat(5), PassphraseError::TooMany { found: 5 });
    }

    #[test]
    fn a_carriage_return_or_another_control_character_is_refused() {
        refused("12345678\r\n", PassphraseError::ControlCharacter { line: 1 });
        refused("12345678\n1234\t5678\n", PassphraseError::ControlCharacter { line: 2 });
    }
}
