//! From files of PEM to what a handshake needs, all of it on ring. Nothing is installed for the whole
//! process.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resetd_verify::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::config::{Tls, read_private_text, read_text};
use crate::file_path::unreadable;

/// What is offered to clients that ask for it, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A file of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct TlsError {
    /// The setting that names the file.
    setting: &'static str,
    /// The file, what is wrong with it, and how to mend it.
    problem: String,
}

/// What was read from all files.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) apps: Arc<ServerConfig>,
    pub(super) admins: Arc<ServerConfig>,
    pub(super) expires: Option<Timestamp>,
}

pub(super) fn load(files: &Tls) -> Result<Loaded, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates("tls.certificate_file", &files.certificate)?;
    let expires = chain.first().and_then(expiry);
    let pair = Arc::new(SingleCertAndKey::from(pair(files, chain)?));
    let config = |setting, client_ca: &Option<PathBuf>| {
        let clients = client_ca.as_deref().map(|path| clients(setting, path, &provider));
        server_config(&provider, Arc::clone(&pair), clients.transpose()?)
            .map_err(|error| refuse("tls.certificate_file", &files.certificate, &error))
    };
    Ok(Loaded {
        apps: config("tls.client_ca_file", &files.client_ca)?,
        admins: config("tls.admin_client_ca_file", &files.admin_client_ca)?,
        expires,
    })
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    pair: Arc<SingleCertAndKey>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let mut config = match clients {
        None => builder.with_no_client_auth().with_cert_resolver(pair),
        Some(clients) => {
            let mut config = builder.with_client_cert_verifier(clients).with_cert_resolver(pair);
            // A session that is resumed shows no certificate, so one that has expired would still do.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
    Ok(Arc::new(config))
}

/// The certificate with the key that belongs to it.
fn pair(files: &Tls, chain: Vec<CertificateDer<'static>>) -> Result<CertifiedKey, TlsError> {
    let refuse_key = |problem: &str| refuse("tls.key_file", &files.key, &problem);
    let text = read_private_text(&files.key, "a key")
        .map_err(|problem| TlsError { setting: "tls.key_file", problem })?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| refuse_key("wanted a private key in PEM that is not encrypted, found none"))?;
    let key = ring::sign::any_supported_type(&key)
        .map_err(|_| refuse_key("wanted an RSA, ECDSA or Ed25519 key, found something else"))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(Error::InconsistentKeys(_)) => {
            let certificate = files.certificate.display();
            Err(refuse_key(&format!("is not the key of the certificate in {certificate}")))
        }
        Err(error) => Err(refuse("tls.certificate_file", &files.certificate, &error)),
    }
}

fn clients(
    setting: &'static str,
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(setting, path)? {
        roots.add(certificate).map_err(|error| refuse(setting, path, &error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| refuse(setting, path, &error))
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read_text(path).map_err(|error| {
        let problem = unreadable(path, &error, "certificates in PEM");
        TlsError { setting, problem }
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| refuse(setting, path, &error))?;
    if found.is_empty() {
        return Err(refuse(setting, path, &"wanted certificates in PEM, found none"));
    }
    Ok(found)
}

/// Some certificates that handshakes bear are too odd for this reader; their end is not known then.
fn expiry(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let not_after = certificate.tbs_certificate().validity().not_after;
    Some(Timestamp::from_seconds(not_after.to_unix_duration().as_secs()))
}

fn refuse(setting: &'static str, path: &Path, problem: &dyn Display) -> TlsError {
    TlsError { setting, problem: format!("{}: {problem}", path.display()) }
}
