//! TLS: the files of the certificate, and where nothing but TLS may be spoken.

use std::path::PathBuf;

use super::check::Check;
use super::raw::RawConfig;
use super::{ConfigError, Listen, Server};

/// The files of the certificate that is shown on every address listened on. They are read when the
/// server starts and while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain, our own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who signs the certificates that clients must show, if they must.
    pub client_ca: Option<PathBuf>,
    /// The same on the listener for admins.
    pub admin_client_ca: Option<PathBuf>,
}

impl Check<'_> {
    pub(super) fn tls(&self, raw: &RawConfig, server: &Server) -> Result<Option<Tls>, ConfigError> {
        let written = &raw.tls;
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let pair = (path(&written.certificate_file), path(&written.key_file));
        let client_ca = path(&written.client_ca_file);
        let admin_client_ca = path(&written.admin_client_ca_file);
        self.admin_client_ca_has_a_listener(server, admin_client_ca.is_some())?;
        let (certificate, key) = match pair {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return self.refuse_alone("tls.key_file", "tls.certificate_file"),
            (None, Some(_)) => return self.refuse_alone("tls.certificate_file", "tls.key_file"),
            (None, None) if client_ca.is_some() => {
                return self.refuse_alone("tls.certificate_file", "tls.client_ca_file");
            }
            (None, None) if admin_client_ca.is_some() => {
                return self.refuse_alone("tls.certificate_file", "tls.admin_client_ca_file");
            }
            (None, None) => return self.plain_http(server).map(|()| None),
        };
        self.client_ca_has_a_listener(server, client_ca.is_some())?;
        let admin_client_ca = admin_client_ca.or_else(|| client_ca.clone());
        Ok(Some(Tls { certificate, key, client_ca, admin_client_ca }))
    }

    fn refuse_alone<T>(&self, missing: &str, set: &str) -> Result<T, ConfigError> {
        self.refuse(missing, format!("wanted a file in PEM, as {set} is set, found nothing"))
    }

    /// Who believes that certificates are asked for must not find out that they were not.
    fn client_ca_has_a_listener(&self, server: &Server, is_set: bool) -> Result<(), ConfigError> {
        let is_socket = |listen: &Listen| listen.address().is_none();
        if is_set && is_socket(&server.listen) {
            let problem = "wanted an address in server.listen, found a Unix socket, where no TLS is spoken; for the listener of admins alone there is tls.admin_client_ca_file";
            return self.refuse("tls.client_ca_file", problem);
        }
        Ok(())
    }

    fn admin_client_ca_has_a_listener(
        &self,
        server: &Server,
        is_set: bool,
    ) -> Result<(), ConfigError> {
        let found = match &server.admin_listen {
            None => "nothing",
            Some(Listen::Socket(_)) => "a Unix socket, where no TLS is spoken",
            Some(Listen::Address(_)) => return Ok(()),
        };
        if is_set {
            let problem = format!("wanted an address in server.admin_listen, found {found}");
            return self.refuse("tls.admin_client_ca_file", problem);
        }
        Ok(())
    }

    /// Tokens and API keys in the clear are for this machine alone, unless somebody says otherwise.
    fn plain_http(&self, server: &Server) -> Result<(), ConfigError> {
        let listeners = [
            ("server.listen", Some(&server.listen)),
            ("server.admin_listen", server.admin_listen.as_ref()),
        ];
        for (key, listen) in listeners {
            if let Some(listen) = listen.filter(|listen| !listen.is_local())
                && !server.allow_plain_http
            {
                let problem = format!(
                    "is {listen}, which others can reach, and without TLS they could read tokens and API keys; set tls.certificate_file and tls.key_file, or server.allow_plain_http = true if only a proxy with TLS can reach it"
                );
                return self.refuse(key, problem);
            }
        }
        Ok(())
    }
}
