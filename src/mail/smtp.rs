//! To a mail server (RFC 5321, 6409): few connections, kept for a while, and a time limit over each mail.
//!
//! The library's own pool is not used. It takes a connection back also when its user gave up in the middle of
//! a mail, and the late answers would be taken for those to the next mail: one person's recipient could end
//! up on another one's link. Here a connection is kept only after a mail that went through to its end.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::{
    Hindrance, MailerError, SendError, Step, failed, not_encrypted, without_secrets,
};
use super::letter::Message;
use super::plain::Plain;
use super::tls::{Encrypted, Tls};
use crate::domain::mail::Encryption;
use crate::domain::secret::Secret;

/// Connections at once, and so mails under way at once.
const MOST_CONNECTIONS: usize = 4;
/// A connection that did nothing for this long is not used again; servers close idle ones themselves.
const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// The longest that one address of a server is tried: another one may answer.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// The longest that a kept connection may take to show that it is alive. A firewall that forgot it gives no
/// error, and a new one is quickly made.
const LONGEST_PROBE: Duration = Duration::from_secs(3);

/// A mail server, and who we are to it.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way to it is kept private.
    pub encryption: Encryption,
    /// Who we are, if it wants to know.
    pub login: Option<Login>,
    /// Certificates (PEM) of those who may have signed its own, if not those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The longest that sending one mail may take.
    pub timeout: Duration,
}

/// Who we are to a mail server.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// A mail server, made ready.
#[derive(Debug)]
pub(super) struct Smtp {
    settings: SmtpSettings,
    tls: Option<Tls>,
    hello: ClientId,
    slots: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

/// A connection that has carried a mail to its end, and since when nothing happened on it.
struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl Smtp {
    pub(super) fn new(settings: SmtpSettings) -> Result<Self, MailerError> {
        let tls = Tls::new(&settings)?;
        let slots = Semaphore::new(MOST_CONNECTIONS);
        Ok(Self { settings, tls, hello: hello(), slots, idle: Mutex::default() })
    }

    /// Waiting for a connection is not counted: each one before has its own limit.
    pub(super) async fn send(&self, message: &Message) -> Result<(), SendError> {
        let _slot = self.slots.acquire().await;
        let limit = self.settings.timeout;
        timeout(limit, self.deliver(message))
            .await
            .unwrap_or_else(|_| Err(Hindrance::TimedOut { seconds: limit.as_secs() }.into()))
    }

    /// When this is given up, or fails, the connection is closed with it.
    async fn deliver(&self, message: &Message) -> Result<(), SendError> {
        let mut connection = match self.idle_connection().await {
            Some(connection) => connection,
            None => self.new_connection(message).await?,
        };
        hand_over(&mut connection, message).await?;
        let idle = Idle { connection, since: Instant::now() };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        Ok(())
    }

    /// One that the server still answers on, and soon.
    async fn idle_connection(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Idle { mut connection, since } = idle?;
            if since.elapsed() >= LONGEST_IDLE {
                continue;
            }
            let limit = LONGEST_PROBE.min(self.settings.timeout / 3);
            if timeout(limit, connection.test_connected()).await == Ok(true) {
                return Some(connection);
            }
        }
    }

    /// Encrypted as was asked for, and logged in after that.
    async fn new_connection(&self, message: &Message) -> Result<AsyncSmtpConnection, SendError> {
        let (mut connection, is_encrypted) = match &self.tls {
            // The library does not know that there is TLS around it.
            Some(Tls::FromTheStart(tls, name)) => {
                (self.connect_with_tls(tls, name, message).await?, true)
            }
            Some(Tls::Starttls(tls)) => {
                let connection = self.connect_with_starttls(tls.clone(), message).await?;
                let is_encrypted = connection.is_encrypted();
                (connection, is_encrypted)
            }
            None => (self.connect_in_the_clear(message).await?, false),
        };
        if let Some(login) = &self.settings.login {
            require_encryption(is_encrypted)?;
            log_in(&mut connection, login, message).await?;
        }
        Ok(connection)
    }

    async fn connect_with_tls(
        &self,
        tls: &TlsConnector,
        name: &ServerName<'static>,
        message: &Message,
    ) -> Result<AsyncSmtpConnection, SendError> {
        let plain = Plain::new(self.reach().await?);
        let encrypted = tls.connect(name.clone(), plain).await;
        let encrypted = Encrypted(encrypted.map_err(|error| not_encrypted(&error))?);
        AsyncSmtpConnection::connect_with_transport(Box::new(encrypted), &self.hello)
            .await
            .map_err(|error| failed(Step::Connection, &error, &message.to))
    }

    async fn connect_with_starttls(
        &self,
        tls: TlsParameters,
        message: &Message,
    ) -> Result<AsyncSmtpConnection, SendError> {
        let mut connection = self.connect_in_the_clear(message).await?;
        require_starttls(&connection)?;
        let encrypted = connection.starttls(tls, &self.hello).await;
        encrypted.map_err(|error| failed(Step::Encryption, &error, &message.to))?;
        Ok(connection)
    }

    async fn connect_in_the_clear(
        &self,
        message: &Message,
    ) -> Result<AsyncSmtpConnection, SendError> {
        let plain = Box::new(Plain::new(self.reach().await?));
        AsyncSmtpConnection::connect_with_transport(plain, &self.hello)
            .await
            .map_err(|error| failed(Step::Connection, &error, &message.to))
    }

    fn connect_limit(&self) -> Duration {
        LONGEST_CONNECT.min(self.settings.timeout / 3)
    }

    /// The first address of the server that answers.
    async fn reach(&self) -> Result<TcpStream, Hindrance> {
        let unreachable = |problem: String| Hindrance::Unreachable { problem };
        let server = (self.settings.host.as_str(), self.settings.port);
        let addresses =
            lookup_host(server).await.map_err(|error| unreachable(error.to_string()))?;
        let mut problem = "its name has no address".to_owned();
        for address in addresses {
            match timeout(self.connect_limit(), TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => problem = tried(address, &error.to_string()),
                Err(_) => problem = tried(address, "no answer"),
            }
        }
        Err(unreachable(problem))
    }
}

fn tried(address: SocketAddr, problem: &str) -> String {
    format!("{address}: {problem}")
}

/// No fall back to plain text: whoever stands between could take the offer out of the server's answer.
fn require_starttls(connection: &AsyncSmtpConnection) -> Result<(), Hindrance> {
    if connection.can_starttls() {
        return Ok(());
    }
    let problem = "the server offers no STARTTLS, so nothing was sent; set mail.encryption to \"tls\" if this port speaks TLS from the start".into();
    Err(Hindrance::Misconfigured { step: Step::Encryption, problem })
}

/// No password passes in the clear, whatever the settings say.
fn require_encryption(is_encrypted: bool) -> Result<(), Hindrance> {
    if is_encrypted {
        return Ok(());
    }
    let problem = "the password would pass in the clear, so nothing was sent".into();
    Err(Hindrance::Misconfigured { step: Step::Login, problem })
}

async fn log_in(
    connection: &mut AsyncSmtpConnection,
    login: &Login,
    message: &Message,
) -> Result<(), SendError> {
    let (name, password) = (login.username.clone(), login.password.expose().into());
    let mechanisms = [Mechanism::Plain, Mechanism::Login];
    let said = connection.auth(&mechanisms, &Credentials::new(name, password)).await;
    said.map(drop).map_err(|error| failed(Step::Login, &error, &message.to))
}

/// The mail itself, step by step, so that it is known which one was refused.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    message: &Message,
) -> Result<(), SendError> {
    let Message { to, from, .. } = message;
    let parameters = parameters(connection, message)?;
    let said = connection.command(Mail::new(Some(from.address().clone()), parameters)).await;
    expect(Step::Sender, said, Severity::PositiveCompletion, message)?;
    let recipient: Address = to.address().clone();
    let said = connection.command(Rcpt::new(recipient, vec![])).await;
    expect(Step::Recipient, said, Severity::PositiveCompletion, message)?;
    let said = connection.command(Data).await;
    expect(Step::Content, said, Severity::PositiveIntermediate, message)?;
    let said = connection.message(message.bytes()).await;
    expect(Step::Content, said, Severity::PositiveCompletion, message)
}

/// An answer of another kind than the command has is not its answer.
fn expect(
    step: Step,
    said: Result<Response, smtp::Error>,
    wanted: Severity,
    message: &Message,
) -> Result<(), SendError> {
    let said = said.map_err(|error| failed(step, &error, &message.to))?;
    if said.code().severity == wanted {
        return Ok(());
    }
    let text = without_secrets(said.first_line().unwrap_or_default(), &message.to);
    let problem = format!("the server answered {} {text}, which is no answer to this", said.code());
    Err(Hindrance::BrokeOff { step, problem }.into())
}

/// Addresses with letters beyond ASCII go only to servers that know them (RFC 6531). All else is ASCII.
fn parameters(
    connection: &AsyncSmtpConnection,
    message: &Message,
) -> Result<Vec<MailParameter>, SendError> {
    if message.bytes().is_ascii() {
        return Ok(vec![]);
    }
    let knows = |extension| connection.server_info().supports_feature(extension);
    if knows(Extension::SmtpUtfEight) && knows(Extension::EightBitMime) {
        return Ok(vec![
            MailParameter::SmtpUtfEight,
            MailParameter::Body(MailBodyParameter::EightBitMime),
        ]);
    }
    let said = "the address has letters beyond ASCII, and the server does not know such (SMTPUTF8)";
    Err(SendError::Permanent { step: Step::Recipient, said: said.into() })
}

/// Names this machine if its name is one that others can look up, else no name at all: many servers refuse
/// a bare host name, as a container has.
fn hello() -> ClientId {
    let name = ClientId::default();
    let is_bare = matches!(&name, ClientId::Domain(name) if !name.contains('.'));
    if is_bare { ClientId::Ipv4(Ipv4Addr::LOCALHOST) } else { name }
}

impl fmt::Debug for Idle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Idle({:?})", self.since)
    }
}
