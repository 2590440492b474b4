//! One connection to an LDAP server. The library speaks to one end of a pair of sockets; between the other end
//! and the network stands what keeps answers within bounds.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::Fault;
use super::message;
use crate::directory::OpenError;
use crate::directory::trust::tls_client;
use crate::domain::directory::{LdapSecurity, LdapSource};
use crate::domain::secret::Secret;

/// What a server may send for one look-up, in bytes; and at all while nobody asks anything.
const MOST_BYTES: usize = 1024 * 1024;

/// How a server is reached.
pub(super) struct Connector {
    host: String,
    port: u16,
    security: LdapSecurity,
    /// None where nothing protects the connection, so that nothing is wanted of the system's certificates.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A connection. Dropping it closes it.
pub(super) struct Connection {
    ldap: Ldap,
    _carrying: JoinSet<()>,
    carried: Arc<Carried>,
    /// Whether something was begun on it and not ended.
    is_suspect: AtomicBool,
}

/// What passes over a connection.
struct Carried {
    /// Bytes that the server may still send.
    left: AtomicUsize,
    /// Why it ended.
    fault: OnceLock<String>,
}

impl Connector {
    pub(super) fn new(source: &LdapSource) -> Result<Self, OpenError> {
        let LdapSource { host, port, security, ca_file, .. } = source;
        let tls = match security {
            LdapSecurity::None => None,
            LdapSecurity::Tls | LdapSecurity::StartTls => {
                let name = ServerName::try_from(host.clone()).map_err(|_| OpenError {
                    setting: "url",
                    problem: format!("{host:?} is no name of a host"),
                })?;
                let config = Arc::new(tls_client(ca_file.as_deref())?);
                Some((TlsConnector::from(config), name))
            }
        };
        Ok(Self { host: host.clone(), port: *port, security: *security, tls })
    }

    /// Connects and binds.
    pub(super) async fn open(&self, bind: Option<&(String, Secret)>) -> Result<Connection, Fault> {
        let failed = |error| Fault::Connection(format!("the connection failed: {error}"));
        let mut tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let (left, fault) = (AtomicUsize::new(MOST_BYTES), OnceLock::new());
        let carried = Arc::new(Carried { left, fault });
        let mut carrying = JoinSet::new();
        if let Some((tls, name)) = &self.tls {
            self.start_tls(&mut tcp).await.map_err(failed)?;
            let stream = tls.connect(name.clone(), tcp).await.map_err(failed)?;
            carrying.spawn(carry(stream, ours, Arc::clone(&carried)));
        } else {
            carrying.spawn(carry(tcp, ours, Arc::clone(&carried)));
        }
        let theirs = theirs.into_std().map_err(failed)?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(theirs));
        let (driver, ldap) = LdapConnAsync::with_settings(settings, "ldapi:///").await?;
        carrying.spawn(async move {
            // What ended it is told to whoever waits for an answer.
            let _ = driver.drive().await;
        });
        let is_suspect = AtomicBool::new(false);
        let connection = Connection { ldap, _carrying: carrying, carried, is_suspect };
        connection.bind(bind).await?;
        Ok(connection)
    }

    /// Nothing that came in the clear is kept: what follows the answer is read as TLS.
    async fn start_tls(&self, tcp: &mut TcpStream) -> io::Result<()> {
        if self.security != LdapSecurity::StartTls {
            return Ok(());
        }
        tcp.write_all(message::START_TLS).await?;
        let answer = message::read(tcp).await?.unwrap_or_default();
        if message::starts_tls(&answer) {
            Ok(())
        } else {
            Err(io::Error::other("the server does not start TLS"))
        }
    }
}

impl Connection {
    async fn bind(&self, bind: Option<&(String, Secret)>) -> Result<(), Fault> {
        let Some((name, password)) = bind else {
            return Ok(());
        };
        let bound = self.handle().simple_bind(name, password.expose()).await;
        let because = |fault| self.fault().map_or(fault, Fault::Connection);
        match bound.map_err(|error| because(error.into()))?.rc {
            0 => Ok(()),
            code => Err(Fault::of_code(code)),
        }
    }

    /// What asks on this connection.
    pub(super) fn handle(&self) -> Ldap {
        self.ldap.clone()
    }

    /// Why it ended, if it is known.
    pub(super) fn fault(&self) -> Option<String> {
        self.carried.fault.get().cloned()
    }

    /// Whether something more can be asked on it.
    pub(super) fn is_good(&self) -> bool {
        let is_suspect = self.is_suspect.load(Ordering::Relaxed);
        !is_suspect && self.fault().is_none() && !self.handle().is_closed()
    }

    /// Begins a look-up.
    pub(super) fn use_it(&self) -> InUse<'_> {
        self.carried.left.store(MOST_BYTES, Ordering::Relaxed);
        InUse(Some(self))
    }
}

/// A look-up on a connection. If it is dropped before it is done, the connection is not used again.
pub(super) struct InUse<'c>(Option<&'c Connection>);

impl InUse<'_> {
    pub(super) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            connection.is_suspect.store(true, Ordering::Relaxed);
        }
    }
}

/// Carries bytes both ways until one side ends.
async fn carry(server: impl AsyncRead + AsyncWrite, library: UnixStream, carried: Arc<Carried>) {
    let (mut from_server, mut to_server) = split(server);
    let (mut from_library, mut to_library) = library.into_split();
    let ended = tokio::select! {
        ended = copy(&mut from_library, &mut to_server) => ended.map(drop),
        ended = messages(&mut from_server, &mut to_library, &carried.left) => ended,
    };
    let reason = ended.err().map_or("the server closed the connection".into(), |error| {
        if error.kind() == io::ErrorKind::InvalidData {
            error.to_string()
        } else {
            format!("the connection failed: {error}")
        }
    });
    let _ = carried.fault.set(reason);
}

async fn messages(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    left: &AtomicUsize,
) -> io::Result<()> {
    while let Some(message) = message::read(from).await? {
        let take = |left: usize| left.checked_sub(message.len());
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            let reason = format!("the answer is longer than {MOST_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        to.write_all(&message).await?;
    }
    Ok(())
}
