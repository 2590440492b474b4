//! Mails: what they say (`template.rs`), how that is written down (`letter.rs`), and how it leaves: to a mail
//! server (`smtp.rs`) or into a folder (`maildir.rs`). It knows no queue: whoever calls tries again.

mod error;
mod letter;
mod maildir;
mod plain;
mod smtp;
mod template;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;

use maildir::Maildir;
use smtp::Smtp;

pub use error::{Hindrance, MailerError, SendError, Step};
pub use letter::{Letter, LetterId, Message};
pub use smtp::{Login, SmtpSettings};
pub use template::{About, Kind, Part, Rendered, TemplateError, Templates, VALUES, Values};

/// How mail leaves.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Into a folder.
    Maildir(PathBuf),
    /// To a mail server.
    Smtp(SmtpSettings),
}

/// Sends mails. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Mailer(Arc<Way>);

#[derive(Debug)]
enum Way {
    Maildir(Maildir),
    Smtp(Box<Smtp>),
}

impl Mailer {
    /// Makes ready: makes the folder, or reads the certificates that are trusted. Nothing is sent, and no
    /// mail server is asked.
    ///
    /// # Errors
    /// [`MailerError`].
    pub fn new(transport: Transport) -> Result<Self, MailerError> {
        let way = match transport {
            Transport::Maildir(directory) => Way::Maildir(Maildir::open(directory)?),
            Transport::Smtp(settings) => Way::Smtp(Box::new(Smtp::new(settings)?)),
        };
        Ok(Self(Arc::new(way)))
    }

    /// Sends one letter to its one recipient. Sent again, it has the same `Message-ID`, by which mail
    /// programs can tell that it is the same; in a folder it stands once.
    ///
    /// # Errors
    /// [`SendError`] says whether trying again can help.
    pub async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        let message = letter.message()?;
        match &*self.0 {
            Way::Maildir(maildir) => maildir.send(message).await,
            Way::Smtp(smtp) => smtp.send(&message).await,
        }
    }
}
