//! Mail servers as processes of their own, and what they say that happened.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resetd::domain::mail::Encryption;
use resetd::domain::secret::Secret;
use resetd::mail::{Login, Mailer, SmtpSettings, Transport};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::interop::tools::Tools;
use crate::server::PATIENCE;
use crate::tls::certificates::{Authority, Pair};

/// Whose server it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Maker {
    Aiosmtpd,
    SmtpServer,
}

/// A running mail server.
pub(crate) struct MailServer {
    child: Child,
    host: String,
    port: u16,
    events: Receiver<Value>,
    folder: TempDir,
    password: Option<String>,
    encryption: Encryption,
}

impl MailServer {
    pub(crate) fn behaving(behaviour: &str) -> Self {
        Self::start(Maker::Aiosmtpd, Encryption::StartTls, &json!({ "behaviour": behaviour }))
    }

    pub(crate) fn start(maker: Maker, encryption: Encryption, more: &Value) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let Pair { certificate, key } = authority.sign();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("cert.pem", certificate), ("key.pem", key), ("ca.pem", authority.pem)]
        {
            fs::write(path(name), text).unwrap();
        }
        let mut settings = json!({
            "encryption": name_of(encryption),
            "certificate": path("cert.pem"),
            "key": path("key.pem"),
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (child, events) = spawn(maker, &settings);
        let password = settings["password"].as_str().map(String::from);
        let host = settings["host"].as_str().unwrap_or("127.0.0.1").to_owned();
        let mut server = Self { child, host, port: 0, events, folder, password, encryption };
        let port = server.next("port")["port"].as_u64().unwrap();
        server.port = u16::try_from(port).unwrap();
        server
    }

    /// What a client of this server is set to.
    pub(crate) fn settings(&self) -> SmtpSettings {
        let login = self.password.as_ref().map(|password| Login {
            username: "resetd".into(),
            password: Secret::new(password.as_str()),
        });
        SmtpSettings {
            host: self.host.clone(),
            port: self.port,
            encryption: self.encryption,
            login,
            ca_file: Some(self.folder.path().join("ca.pem")),
            timeout: PATIENCE,
        }
    }

    pub(crate) fn mailer(&self) -> Mailer {
        Mailer::new(Transport::Smtp(self.settings())).unwrap()
    }

    /// The next event of this name; others before it are passed over.
    pub(crate) fn next(&self, name: &str) -> Value {
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap();
            if event["event"] == name {
                return event;
            }
        }
    }

    /// The next mail: its sender, its recipients, its bytes.
    pub(crate) fn mail(&self) -> (String, Vec<String>, Vec<u8>) {
        let mail = self.next("mail");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let recipients = mail["recipients"].as_array().unwrap().iter().map(text).collect();
        let content = STANDARD.decode(text(&mail["content"])).unwrap();
        (text(&mail["sender"]), recipients, content)
    }

    /// Ends the server, and tells all that happened and was not asked for yet.
    pub(crate) fn end(mut self) -> Vec<Value> {
        // Events are written before they are answered, so what was answered is in the pipe.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.events.iter().collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often something happened.
pub(crate) fn count(events: &[Value], name: &str) -> usize {
    events.iter().filter(|event| event["event"] == name).count()
}

fn name_of(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::StartTls => "starttls",
        Encryption::Tls => "tls",
        Encryption::None => "none",
    }
}

fn spawn(maker: Maker, settings: &Value) -> (Child, Receiver<Value>) {
    let tools = Tools::installed();
    let mut command: Command = match maker {
        Maker::Aiosmtpd => tools.python(include_str!("server.py")),
        Maker::SmtpServer => tools.node(include_str!("server.mjs")),
    };
    let mut child = command
        .arg(settings.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, events) = mpsc::channel();
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = sender.send(serde_json::from_str(&line).unwrap());
        }
    });
    (child, events)
}

/// A short limit where nothing is to come.
pub(crate) const SOON: Duration = Duration::from_secs(1);
