//! What the program is set to: mail servers, services and directories as they are configured.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use resetd::domain::caller::KeyHash;
use resetd::domain::mail::Encryption;
use resetd::domain::secret::Secret;
use serde_json::json;

use crate::mail::servers::{MailServer, Maker};
use crate::server::{run, stdout};

/// Settings with which mail goes to this server.
pub(super) fn mail_to(server: &MailServer) -> String {
    let smtp = server.settings();
    let encryption = match smtp.encryption {
        Encryption::StartTls => "starttls",
        Encryption::Tls => "tls",
        Encryption::None => "none",
    };
    let mut text = mail_at(&smtp.host, smtp.port, encryption);
    if let Some(file) = smtp.ca_file.filter(|_| encryption != "none") {
        let _ = writeln!(text, "ca_file = \"{}\"", file.display());
    }
    if smtp.login.is_some() {
        text += "username = \"resetd\"\npassword_file = \"mail-password\"\n";
    }
    text
}

pub(super) fn mail_at(host: &str, port: u16, encryption: &str) -> String {
    format!(
        "[mail]\ntransport = \"smtp\"\nhost = \"{host}\"\nport = {port}\nencryption = \"{encryption}\"\nfrom = \"Example <reset@example.com>\"\n"
    )
}

/// An address at which nothing else here listens.
pub(super) const AWAY: &str = "127.0.0.3";

/// A mail server that is not there yet: its port, at which nobody answers.
pub(super) struct AwayServer(u16);

impl AwayServer {
    pub(super) fn new() -> Self {
        Self(TcpListener::bind((AWAY, 0)).unwrap().local_addr().unwrap().port())
    }

    pub(super) fn settings(&self) -> String {
        mail_at(AWAY, self.0, "none")
    }

    /// It comes.
    pub(super) fn come(&self) -> MailServer {
        let more = json!({ "host": AWAY, "port": self.0 });
        MailServer::start(Maker::Aiosmtpd, Encryption::None, &more)
    }
}

/// A mail server on this machine that behaves like this.
pub(super) fn mail_server(behaviour: &str) -> MailServer {
    let more = json!({ "behaviour": behaviour });
    MailServer::start(Maker::Aiosmtpd, Encryption::None, &more)
}

/// Writes a file that only its owner may read.
pub(super) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The settings of a webhook, whose secret is made here, and the secret.
pub(super) fn webhook(
    folder: &Path,
    name: &str,
    url: &str,
    events: &[&str],
    more: &str,
) -> (String, String) {
    let output = run(folder, &["webhook", "secret"]);
    let secret = stdout(&output).trim().to_owned();
    let file = format!("{name}.secret");
    write_private(&folder.join(&file), &secret);
    let settings = format!(
        "[[webhooks]]\nname = \"{name}\"\nurl = \"{url}\"\nevents = {events:?}\nsecret_files = [\"{file}\"]\ntimeout_seconds = 60\n{more}\n"
    );
    (settings, secret)
}

/// The settings of a directory in a file, which is written here.
pub(super) fn directory(folder: &Path, people: &str, more: &str) -> String {
    write_private(&folder.join("people.toml"), people);
    format!("[directory]\nkind = \"file\"\nfile = \"people.toml\"\n{more}\n")
}

/// The settings of a caller with this key.
pub(super) fn caller(tenant: &str, key: &Secret, scopes: &[&str]) -> String {
    let hash = KeyHash::of(key.expose());
    format!(
        "[[callers]]\nname = \"web-of-{tenant}\"\ntenant = \"{tenant}\"\nscopes = {scopes:?}\nkey_sha256 = \"{hash}\"\n"
    )
}
