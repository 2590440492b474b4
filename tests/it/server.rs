//! The real program in a folder of its own, on a real port, ended with the test.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything here may take before the test fails. Generous: it bounds a hang and judges
/// no speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server listens unless it is told.
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// `resetd` with nothing inherited that could change what it does.
pub(crate) fn resetd(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resetd"));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RESETD_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `resetd` to its end.
pub(crate) fn run<A: AsRef<OsStr>>(folder: &Path, arguments: &[A]) -> Output {
    end_of(resetd(folder).args(arguments))
}

/// Runs a command to its end; one that does not come to it in time is killed, and so has no code.
pub(crate) fn end_of(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let id = child.id().to_string();
    let (ended, waiting) = mpsc::channel::<()>();
    thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    output
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A running `resetd serve`.
pub(crate) struct Server {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    /// The key of the one-run caller; empty where callers are configured.
    pub(crate) api_key: String,
    /// What it printed up to the moment it listened.
    pub(crate) banner: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with("", &[])
    }

    /// With this `config.toml` and these arguments.
    pub(crate) fn start_with(config: &str, arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config, arguments)
    }

    /// In this folder, which may hold keys. The log goes to `log.jsonl` in it.
    pub(crate) fn start_in(folder: TempDir, config: &str, arguments: &[&str]) -> Self {
        let path = folder.path();
        fs::write(path.join("settings.toml"), config).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(path.join("log.jsonl"));
        let listen = if arguments.contains(&"--listen") { &[][..] } else { &LISTEN[..] };
        let mut child = resetd(path)
            .args(["--config", "settings.toml", "serve"])
            .args(listen)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let banner = read_banner(&mut child, path);
        let word_after = |mark: &str| {
            let rest = banner.split_once(mark).map_or("", |(_, rest)| rest);
            rest.split_whitespace().next().unwrap_or_default().to_owned()
        };
        let (url, api_key) = (word_after("listens on "), word_after("RESETD_API_KEY="));
        Self { child, folder, url, api_key, banner }
    }

    /// `resetd` as a client of this server.
    pub(crate) fn client(&self) -> Command {
        let mut command = resetd(self.folder.path());
        command.env("RESETD_URL", &self.url).env("RESETD_API_KEY", &self.api_key);
        command
    }

    /// The host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    /// Sends bytes on a new connection and reads until the server closes it.
    pub(crate) fn exchange(&self, request: &[u8]) -> String {
        Self::exchange_at(self.address(), request)
    }

    /// The same at another address of the server.
    pub(crate) fn exchange_at(address: &str, request: &[u8]) -> String {
        let mut stream = connect(address);
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The same where the server may be gone: nothing if it is.
    pub(crate) fn try_exchange_at(address: &str, request: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        String::from_utf8(answer).ok()
    }

    /// Kills it in the middle of whatever it does.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log.jsonl")).unwrap()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self) -> (ExitStatus, TempDir) {
        self.signal("TERM");
        let status = self.wait();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (status, folder)
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(killed.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the server did not stop within {PATIENCE:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The banner ends with the line that can be pasted, or with the address where callers are
/// configured. It is written in one piece, so what has arrived with the address is all of it.
fn read_banner(child: &mut Child, folder: &Path) -> String {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert!(
        first.starts_with("resetd listens on "),
        "the server did not start: {}",
        fs::read_to_string(folder.join("log.jsonl")).unwrap_or_default()
    );
    first + &String::from_utf8_lossy(reader.buffer())
}
