//! TLS to the mail server: whom it trusts, the system's choice or the certificates of a file and nobody else's,
//! and a connection that is TLS from its first byte. On ring; nothing is installed for the whole process.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::{
    AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::MailerError;
use super::plain::Plain;
use super::smtp::SmtpSettings;
use crate::domain::mail::Encryption;
use crate::file_path::unreadable;

/// How TLS begins, and what it needs.
pub(super) enum Tls {
    /// After a few words in the clear, by the library.
    Starttls(TlsParameters),
    /// With the first byte, by us: the library's own connection takes answers without bound.
    FromTheStart(TlsConnector, ServerName<'static>),
}

impl Tls {
    /// None where nothing is encrypted.
    pub(super) fn new(settings: &SmtpSettings) -> Result<Option<Self>, MailerError> {
        let signers = settings.ca_file.as_deref().map(signers).transpose()?;
        let made = match settings.encryption {
            Encryption::None => return Ok(None),
            Encryption::StartTls => parameters(settings, signers).map(Self::Starttls),
            Encryption::Tls => from_the_start(settings, signers),
        };
        made.map(Some).map_err(|problem| match &settings.ca_file {
            Some(path) => MailerError::CaFile { path: path.clone(), problem },
            None => MailerError::Tls { problem },
        })
    }
}

type Signers = Vec<CertificateDer<'static>>;

fn parameters(settings: &SmtpSettings, signers: Option<Signers>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(signers) = signers {
        // Who names signers means these alone.
        builder = builder.certificate_store(CertificateStore::None);
        for signer in signers {
            let signer =
                Certificate::from_der(signer.to_vec()).map_err(|error| error.to_string())?;
            builder = builder.add_root_certificate(signer);
        }
    }
    builder.build().map_err(|error| error.to_string())
}

fn from_the_start(settings: &SmtpSettings, signers: Option<Signers>) -> Result<Tls, String> {
    let name = ServerName::try_from(settings.host.clone())
        .map_err(|_| format!("{:?} is no name of a host", settings.host))?;
    let config = client(signers).map_err(|error| error.to_string())?;
    Ok(Tls::FromTheStart(Arc::new(config).into(), name))
}

fn client(signers: Option<Signers>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let Some(signers) = signers else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for signer in signers {
        roots.add(signer)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn signers(path: &Path) -> Result<Signers, MailerError> {
    let refuse = |problem: String| MailerError::CaFile { path: path.into(), problem };
    let text = fs::read(path).map_err(|error| MailerError::CaFileUnread {
        problem: unreadable(path, &error, "certificates in PEM"),
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found.map_err(|error| refuse(error.to_string()))? {
        found if found.is_empty() => Err(refuse("wanted certificates in PEM, found none".into())),
        found => Ok(found),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tls(…)")
    }
}

/// A connection that is TLS from its first byte. The one below it bounds what is taken.
#[derive(Debug)]
pub(super) struct Encrypted(pub(super) TlsStream<Plain>);

impl AsyncTokioStream for Encrypted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        let (plain, _) = self.0.get_ref();
        plain.peer_addr()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
