//! Why a mail did not leave, and whether trying again can help. Nothing here names a whole address, a link
//! or a token, whatever the mail server said.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use lettre::transport::smtp;
use lettre::transport::smtp::response::{Code, Severity};

use crate::domain::email::EmailAddress;
use crate::domain::identifier::{is_harmless, masked};

/// Why mails cannot be sent at all as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// The folder cannot be used.
    #[error("mail.directory: {path}: {error}")]
    Folder {
        /// The folder, or the one in it.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Others than the folder's owner could read the mails in it.
    #[error(
        "mail.directory: {path}: has mode {found:04o}, wanted 0700: mails have links that reset passwords; mend it: chmod 700 {path}"
    )]
    TooOpen {
        /// The folder.
        path: PathBuf,
        /// The mode found.
        found: u32,
    },
    /// The certificates that are trusted cannot be read.
    #[error("mail.ca_file: {problem}")]
    CaFileUnread {
        /// The file, what the system said, and the mend.
        problem: String,
    },
    /// The certificates that are trusted cannot be used.
    #[error("mail.ca_file: {path}: {problem}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What was wanted and what was found.
        problem: String,
    },
    /// TLS cannot be spoken.
    #[error("TLS to the mail server: {problem}")]
    Tls {
        /// What is in the way.
        problem: String,
    },
}

/// Why one mail was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It never will be: this recipient or this mail is refused for good.
    #[error("refused for good, {step}: {said}")]
    Permanent {
        /// What was refused.
        step: Step,
        /// What the server said.
        said: String,
    },
    /// It may be later.
    #[error(transparent)]
    Transient(#[from] Hindrance),
}

impl SendError {
    /// Whether trying again is in vain.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Permanent { .. })
    }

    /// Whether somebody must mend the configuration before any mail leaves.
    pub fn is_misconfiguration(&self) -> bool {
        matches!(self, Self::Transient(Hindrance::Misconfigured { .. }))
    }
}

/// What is in the way for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// The mail server cannot be reached.
    #[error("the mail server cannot be reached: {problem}")]
    Unreachable {
        /// What the system said.
        problem: String,
    },
    /// The mail server says "not now" (4xx).
    #[error("refused for now, {step}: {said}")]
    NotNow {
        /// What was refused.
        step: Step,
        /// What the server said.
        said: String,
    },
    /// The connection ended, or what came made no sense.
    #[error("the connection to the mail server broke off, {step}: {problem}")]
    BrokeOff {
        /// What was under way.
        step: Step,
        /// What happened.
        problem: String,
    },
    /// Sending took too long.
    #[error("the mail server took longer than the {seconds} s of mail.timeout_seconds")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// Every mail would fail in this way until somebody mends the settings, here or at the server: a wrong
    /// password, a certificate that is not trusted, a sender or a client for which the server does not send.
    /// The recipient did nothing wrong and waits for a link, so the mail is worth keeping until its token
    /// expires, though the server's answer may have been one of those that end a mail (5xx).
    #[error("mails cannot be sent as configured, {step}: {problem}")]
    Misconfigured {
        /// What was refused.
        step: Step,
        /// What the server said, or what is wrong with its certificate, and the mend.
        problem: String,
    },
    /// The folder cannot be written to.
    #[error("{path}: {problem}")]
    Folder {
        /// Where.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connecting, and the first words.
    Connection,
    /// Beginning TLS.
    Encryption,
    /// Saying who we are.
    Login,
    /// Naming the sender.
    Sender,
    /// Naming the recipient.
    Recipient,
    /// Handing over the mail.
    Content,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connection => "at the connection",
            Self::Encryption => "at the encryption",
            Self::Login => "at the login",
            Self::Sender => "at the sender",
            Self::Recipient => "at the recipient",
            Self::Content => "at the content",
        })
    }
}

/// What became of a step, from what the library says.
pub(super) fn failed(step: Step, error: &smtp::Error, to: &EmailAddress) -> SendError {
    let text = without_secrets(&cause(error), to);
    let Some(code) = error.status() else {
        return no_answer(step, error, text);
    };
    let said = format!("{code} {text}");
    if code.severity != Severity::PermanentNegativeCompletion {
        return Hindrance::NotNow { step, said }.into();
    }
    if is_about_this_mail(step, code, &text) {
        SendError::Permanent { step, said }
    } else {
        Hindrance::Misconfigured { step, problem: said }.into()
    }
}

/// Answers to the recipient and to the content are about this mail; those to all before are about us, and
/// would be the same for every mail. So are a few codes wherever they come (RFC 5321 §4.2.3, RFC 4954 §6):
/// a command that is not known or comes too early, and one that wants a login or TLS first.
fn is_about_this_mail(step: Step, code: Code, text: &str) -> bool {
    let is_about_us = matches!(u16::from(code), 500 | 502 | 503 | 521 | 530 | 534 | 535 | 538);
    match step {
        Step::Recipient => !is_about_us && is_about_the_recipient(text),
        Step::Content => !is_about_us,
        Step::Connection | Step::Encryption | Step::Login | Step::Sender => false,
    }
}

/// Many servers keep what they have against a sender, or against us as a client, until they hear of a
/// recipient ("Relay access denied"). What it is about is told by the enhanced code (RFC 3463 §3): the
/// recipient's address or mailbox, or something else. Without one, the recipient is all that was asked about.
fn is_about_the_recipient(text: &str) -> bool {
    matches!(enhanced_code(text), None | Some([_, 1, 0..=6 | 10] | [_, 2, _]))
}

/// As in `5.1.1`, where an answer begins with one.
fn enhanced_code(text: &str) -> Option<[u16; 3]> {
    let mut numbers = text.split_whitespace().next()?.split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    let code = [next()?, next()?, next()?];
    (numbers.next().is_none() && matches!(code[0], 2 | 4 | 5)).then_some(code)
}

fn no_answer(step: Step, error: &smtp::Error, said: String) -> SendError {
    let is_early = matches!(step, Step::Connection | Step::Encryption);
    match tls_problem(error) {
        Some(problem) if is_early => not_trusted(&problem).into(),
        _ if error.is_client() => Hindrance::Misconfigured { step, problem: said }.into(),
        _ if step == Step::Connection => Hindrance::Unreachable { problem: said }.into(),
        _ => Hindrance::BrokeOff { step, problem: said }.into(),
    }
}

/// What became of beginning TLS, from what the system and our own TLS say.
pub(super) fn not_encrypted(error: &io::Error) -> Hindrance {
    match tls_problem(error) {
        Some(problem) => not_trusted(&problem),
        None => Hindrance::Unreachable { problem: error.to_string() },
    }
}

fn not_trusted(problem: &str) -> Hindrance {
    let problem = format!(
        "{problem}; the certificate must be for mail.host and signed by somebody that the system trusts or that is in mail.ca_file, and mail.encryption must be what this port speaks"
    );
    Hindrance::Misconfigured { step: Step::Encryption, problem }
}

/// The fault of TLS in or below an error, if there is one.
fn tls_problem(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(fault) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(fault.to_string());
        }
        next = error.source();
    }
    None
}

/// The innermost text: the outer ones only say of which kind it is.
fn cause(error: &smtp::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a server said, fit for a log: it may repeat the address, and even the mail. What could be a link or
/// a token is left out before anything is taken for an address.
pub(super) fn without_secrets(text: &str, to: &EmailAddress) -> String {
    const MOST_CHARACTERS: usize = 300;
    const LONGEST_WORD: usize = 48;
    let local = to.as_str().rsplit_once('@').map_or("", |(local, _)| local);
    let words = text.split_whitespace().map(|word| {
        let word: String = word.chars().filter(|&c| is_harmless(c)).collect();
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if word.contains("://") || word.len() > LONGEST_WORD {
            "…".into()
        } else if bare.contains('@') || bare.eq_ignore_ascii_case(local) {
            masked(bare)
        } else {
            word
        }
    });
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().take(MOST_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_told_without_addresses_links_and_tokens() {
        let to = EmailAddress::parse("alice@example.com").unwrap();
        for (said, told) in [
            ("5.1.1 <alice@example.com>: no such user", "5.1.1 a***@e***.com no such user"),
            ("5.1.1 User Alice unknown", "5.1.1 User A*** unknown"),
            ("spam: https://app.example.com/reset#eyJ.a.b found", "spam: … found"),
            (&format!("bad {}", "eyJhbGciOi".repeat(6)), "bad …"),
            ("two\r\nlines\u{1b}[2J", "two lines[2J"),
            ("no a@b.\u{1b}[31mRED", "no a***@b***"),
            ("no a@b.c\u{202e}om", "no a***@b***.com"),
            ("see https://app.example.com/reset#eyJ.a@b.c now", "see … now"),
            ("see app.example.com/reset#eyJhbGciOi@b.eyJhbGciOiJFUzI1NiJ9eyJ", "see …"),
            ("bad a@b.eyJhbGciOiJFUzI1NiJ9eyJzdWI", "bad a***@b***"),
            ("User \u{1b}alice unknown", "User a*** unknown"),
        ] {
            assert_eq!(without_secrets(said, &to), told);
        }
        assert_eq!(without_secrets(&"word ".repeat(1000), &to).chars().count(), 300);
    }
}
