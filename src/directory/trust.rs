//! The certificates that a directory's own must be signed by.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::OpenError;
use crate::file_path::unreadable;

const SETTING: &str = "ca_file";

/// All certificates of a file in PEM.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let refuse = |problem: String| OpenError {
        setting: SETTING,
        problem: format!("{}: {problem}", path.display()),
    };
    let text = read(path).map_err(|error| OpenError {
        setting: SETTING,
        problem: unreadable(path, &error, "certificates in PEM"),
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found.map_err(|error| refuse(error.to_string()))? {
        found if found.is_empty() => Err(refuse("wanted certificates in PEM, found none".into())),
        found => Ok(found),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    const MOST_BYTES: u64 = 1024 * 1024;
    let mut text = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// What a TLS client needs that trusts the certificates of this file, or whom the system trusts. On ring, and
/// nothing is installed for the whole process.
pub(super) fn tls_client(ca_file: Option<&Path>) -> Result<ClientConfig, OpenError> {
    let failed = |error: Error| OpenError { setting: SETTING, problem: error.to_string() };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    let builder = match ca_file {
        None => builder.with_platform_verifier().map_err(failed)?,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(failed)?;
            }
            return Ok(builder.with_root_certificates(roots).with_no_client_auth());
        }
    };
    Ok(builder.with_no_client_auth())
}
