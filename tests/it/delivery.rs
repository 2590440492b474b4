//! From the promise of a link to the password that it sets, with the real program: mail servers, services
//! and directories that answer, refuse, hang and come back, and a process that is killed meanwhile.

mod crash;
mod hooks;
mod letters;
mod notices;
mod people;
mod retry;
mod room;
mod setup;
mod unknown;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mail::messages::parsed;
use crate::mail::servers::MailServer;
use crate::server::{PATIENCE, Server};
use setup::{AwayServer, caller, directory, mail_at, mail_server, mail_to, webhook, write_private};

/// The same after a restart, wherever that listens; with a trail to look at.
const BASE: &str = "\
token.issuer = \"https://reset.example.com\"
link.template = \"https://app.example.com/reset#{token}\"
audit.sink = \"file\"
limits.source_per_minute = 0
";

/// The program, and what it was started with.
struct App {
    server: Server,
    settings: String,
}

impl App {
    /// With these settings after the usual ones, in a folder of its own.
    fn start(more: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), more)
    }

    /// The same in a folder in which there is what the settings name.
    fn start_in(folder: TempDir, more: &str) -> Self {
        Self::start_just(folder, &format!("{BASE}{more}"))
    }

    /// With these settings and no others.
    fn start_just(folder: TempDir, settings: &str) -> Self {
        let server = Server::start_in(folder, settings, &[]);
        Self { server, settings: settings.into() }
    }

    /// Killed in the middle of whatever it does.
    fn kill(self) -> (TempDir, String) {
        (self.server.kill(), self.settings)
    }

    /// Asked to stop, and ended as it should.
    fn stop(self) -> (TempDir, String) {
        let (status, folder) = self.server.stop();
        assert!(status.success(), "{status}");
        (folder, self.settings)
    }

    fn path(&self) -> &Path {
        self.server.folder.path()
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask_as(&self.server.api_key, method, path, body, "")
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, body)
    }

    /// As a caller with this key, with more lines in the head.
    fn ask_as(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: &Value,
        lines: &str,
    ) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}X-API-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = self.server.exchange(request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// Has a link sent.
    #[track_caller]
    fn deliver(&self, body: &Value) -> Value {
        self.deliver_with(body, "")
    }

    #[track_caller]
    fn deliver_with(&self, body: &Value, lines: &str) -> Value {
        let key = &self.server.api_key;
        let (status, answer) = self.ask_as(key, "POST", "/deliveries", body, lines);
        assert_eq!(status, 202, "{answer}");
        assert!(!answer.to_string().contains("eyJ"), "{answer}");
        answer
    }

    /// The answer to a redemption, in a number and a word.
    fn redeem(&self, token: &str) -> (u16, String) {
        let (status, answer) = self.post("/redemptions", &json!({ "token": token }));
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Spends a token, and finds it spent after that.
    #[track_caller]
    fn redeem_once(&self, token: &str) {
        assert_eq!(self.redeem(token), (201, String::new()));
        assert_eq!(self.redeem(token), (409, "token_used".into()));
    }

    /// The names of the orders that are written down and not crossed out.
    fn promised(&self) -> BTreeSet<String> {
        promised_in(self.path())
    }

    /// Waits until nothing is left to send.
    #[track_caller]
    fn wait_until_all_is_sent(&self) {
        eventually("the end of all orders", || self.promised().is_empty().then_some(()));
    }

    /// The lines of the trail about what came of orders, once there are so many.
    #[track_caller]
    fn delivered(&self, count: usize) -> Vec<Value> {
        eventually("lines in the trail", || {
            let lines = trail(self.path());
            let lines = lines.into_iter().filter(|line| line["action"] == "delivered");
            let lines: Vec<_> = lines.collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// The outcome of each order, once there are so many.
    #[track_caller]
    fn outcomes(&self, count: usize) -> Vec<String> {
        let lines = self.delivered(count);
        assert_eq!(lines.len(), count, "{lines:?}");
        lines.iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
    }

    /// All mails in the folder of mails.
    fn folder_of_mails(&self) -> Vec<Letter> {
        let Ok(entries) = fs::read_dir(self.path().join("mail/new")) else { return Vec::new() };
        let files = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.map(|bytes| Letter::read(&bytes)).collect()
    }

    /// The same once there are so many.
    #[track_caller]
    fn mails(&self, count: usize) -> Vec<Letter> {
        eventually("mails in the folder", || {
            let mails = self.folder_of_mails();
            (mails.len() >= count).then_some(mails)
        })
    }
}

/// What a mail says, as its reader sees it.
#[derive(Debug)]
struct Letter {
    id: String,
    to: Vec<String>,
    from: String,
    subject: String,
    text: String,
}

impl Letter {
    fn read(bytes: &[u8]) -> Self {
        let mail = parsed(bytes);
        assert_eq!(mail["defects"], json!([]));
        let header = |name: &str| {
            let headers = mail["headers"].as_array().unwrap();
            let header = headers.iter().find(|header| header[0] == name).unwrap();
            header[1].as_str().unwrap().to_owned()
        };
        Self {
            id: header("Message-ID"),
            to: serde_json::from_value(mail["to"].clone()).unwrap(),
            from: mail["from"][0][1].as_str().unwrap().into(),
            subject: header("Subject"),
            text: mail["parts"][0][1].as_str().unwrap().into(),
        }
    }

    /// The next mail that a mail server gets.
    fn next(server: &MailServer) -> Self {
        Self::read(&server.mail().2)
    }

    /// The link in it: where it leads, and the token.
    fn link(&self) -> (&str, &str) {
        let link = self.text.lines().find(|line| line.starts_with("https://"));
        link.unwrap_or_else(|| panic!("{}", self.text)).split_once('#').unwrap()
    }

    /// Its token, which has the name of the mail.
    #[track_caller]
    fn token(&self) -> &str {
        let token = self.link().1;
        let jti = claims(token)["jti"].as_str().unwrap().to_owned();
        assert_eq!(self.id.split('@').next().unwrap(), format!("<{jti}"));
        token
    }

    fn token_id(&self) -> String {
        claims(self.token())["jti"].as_str().unwrap().into()
    }
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn to_ann() -> Value {
    json!({ "username": "ann", "to": "ann@example.net" })
}

/// Waits until there is something. How long that takes is nobody's business here.
#[track_caller]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

fn outbox_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("state/outbox.log")).unwrap()
}

/// The orders that are written down in a folder and not crossed out.
fn promised_in(folder: &Path) -> BTreeSet<String> {
    let (text, mut names) = (outbox_of(folder), BTreeSet::new());
    // Half a line is not written yet.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let mut words = line.trim_end().splitn(3, ' ').skip(1);
        let (what, rest) = (words.next().unwrap(), words.next().unwrap());
        if what == "sent" {
            names.remove(rest);
        } else {
            let order: Value = serde_json::from_str(rest).unwrap();
            names.insert(order["id"].as_str().unwrap().to_owned());
        }
    }
    names
}

fn trail(folder: &Path) -> Vec<Value> {
    let path = folder.join(format!("audit/audit-{:020}.jsonl", 1));
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_warning_that_mails_are_sent_to_nobody_names_the_whole_folder() {
    let config = "[link]\ntemplate = \"https://app.example.com/reset#{token}\"\n";
    let server = Server::start_with(config, &[]);
    let warning = "sent to nobody";
    let line = || server.log().lines().find(|line| line.contains(warning)).map(str::to_owned);
    let until = Instant::now() + PATIENCE;
    let line = std::iter::repeat_with(line)
        .find(|line| line.is_some() || Instant::now() > until)
        .flatten()
        .unwrap();
    let folder = line.split(['"', '=', ' ']).find(|word| word.ends_with("/mail"));
    assert!(folder.is_some_and(|folder| folder.starts_with('/')), "{line}");
}
