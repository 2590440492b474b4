//! What others have of a server that is abused: thousands of connections that do nothing, thousands of
//! clients that send a byte at a time, a flood of forged tokens and of tokens with unknown keys. Beside
//! each, honest clients issue and redeem, and at the end every honest token is spent exactly once.
//!
//! `cargo bench --bench abuse`; `cargo test --bench abuse` does the same on little.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use resetd::domain::caller::{KeyHash, api_key};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

/// How much of everything.
struct Scale {
    idle: usize,
    slow: usize,
    flooders: usize,
    time: Duration,
}

fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let scale = if is_test {
        Scale { idle: 100, slow: 50, flooders: 2, time: Duration::from_millis(300) }
    } else {
        Scale { idle: 10_000, slow: 2_000, flooders: 8, time: Duration::from_secs(10) }
    };
    raise_file_limit();
    let server = Server::start(scale.idle + scale.slow + 1000);
    println!(
        "{:<42} {:>8} {:>9} {:>9} {:>9}",
        "beside", "honest/s", "median ms", "99 % ms", "RSS MB"
    );
    let mut tokens = Vec::new();
    server.measure("nothing", scale.time, &mut tokens);

    let idle: Vec<_> = (0..scale.idle).map(|_| server.connect()).collect();
    server.measure(&format!("{} idle connections", idle.len()), scale.time, &mut tokens);
    drop(idle);

    let slow: Vec<_> = (0..scale.slow).map(|_| server.connect()).collect();
    beside(
        |stop| dribble(&slow, stop),
        || {
            server.measure(&format!("{} slow clients", slow.len()), scale.time, &mut tokens);
        },
    );
    drop(slow);

    let honest = server.issue("victim").1;
    let (signed, _) = honest.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    for (what, token) in [("forged signatures", forged), ("unknown keys", unknown_key(&honest))] {
        let sent = AtomicU64::new(0);
        beside(
            |stop| server.flood(&token, scale.flooders, stop, &sent),
            || {
                server.measure(
                    &format!("{} flooding with {what}", scale.flooders),
                    scale.time,
                    &mut tokens,
                );
            },
        );
        let sent = u32::try_from(sent.load(Ordering::Relaxed)).unwrap();
        println!("    {:.0} of them a second", f64::from(sent) / scale.time.as_secs_f64());
    }
    let count = tokens.len();
    server.spend_each_once(tokens);
    println!("{count} honest tokens: each was spent once, and none twice");
}

/// Does one thing for as long as the other takes.
fn beside(abuse: impl FnOnce(&AtomicBool) + Send, honest: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| abuse(&stop));
        honest();
        stop.store(true, Ordering::SeqCst);
    });
}

/// A byte of a head now and then, on each of them.
fn dribble(clients: &[TcpStream], stop: &AtomicBool) {
    let head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    for at in 0.. {
        for mut client in clients {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            // It may have been cut, which is what it deserves.
            let _ = client.write_all(&[*head.get(at).unwrap_or(&b'a')]);
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// The token with the name of a key that nobody has.
fn unknown_key(token: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (header, rest) = token.split_once('.').unwrap();
    let mut header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"] = "A".repeat(43).into();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

struct Server {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Server {
    fn start(connections: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hash = KeyHash::of(api_key([7; 32]).expose());
        let settings = format!(
            "[server]\nmax_connections = {connections}\nmax_connections_per_address = {connections}\n[log]\nlevel = \"error\"\n[limits]\nsource_per_minute = 0\nuser_tokens_per_hour = 0\n[[callers]]\nname = \"app\"\nkey_sha256 = \"{hash}\"\nscopes = [\"issue\", \"redeem\"]\n"
        );
        fs::write(folder.path().join("settings.toml"), settings).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_resetd"))
            .args(["--config", "settings.toml", "serve", "--listen", "127.0.0.1:0"])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().replace("resetd listens on http://", "");
        Self { child, address, _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Two honest clients, each issuing a token and redeeming every second one.
    fn measure(&self, beside: &str, time: Duration, left: &mut Vec<String>) {
        let until = Instant::now() + time;
        let results: Vec<(Vec<Duration>, Vec<String>)> = thread::scope(|scope| {
            let clients: Vec<_> = (0..2)
                .map(|client| {
                    scope.spawn(move || {
                        let (mut took, mut left, mut number) = (Vec::new(), Vec::new(), 0_u32);
                        let mut connection = Connection::new(self);
                        while Instant::now() < until {
                            number += 1;
                            let body = format!("{{\"username\":\"{beside}-{client}-{number}\"}}");
                            let began = Instant::now();
                            let (status, answer) = connection.post("/password-tokens", &body);
                            assert_eq!(status, 201, "{answer}");
                            took.push(began.elapsed());
                            let token = answer["token"].as_str().unwrap().to_owned();
                            if number % 2 == 0 {
                                left.push(token);
                                continue;
                            }
                            let body = format!("{{\"token\":\"{token}\"}}");
                            let began = Instant::now();
                            let (status, answer) = connection.post("/redemptions", &body);
                            assert_eq!(status, 201, "{answer}");
                            took.push(began.elapsed());
                        }
                        (took, left)
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let mut took = Vec::new();
        for (times, tokens) in results {
            took.extend(times);
            left.extend(tokens);
        }
        took.sort_unstable();
        let at =
            |part: usize| took[(took.len() * part / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
        let rate = f64::from(u32::try_from(took.len()).unwrap()) / time.as_secs_f64();
        println!(
            "{beside:<42} {rate:>8.0} {:>9.2} {:>9.2} {:>9}",
            at(50),
            at(99),
            self.resident() / 1_000_000
        );
    }

    fn issue(&self, user: &str) -> (u16, String) {
        let (status, answer) =
            Connection::new(self).post("/password-tokens", &format!("{{\"username\":\"{user}\"}}"));
        (status, answer["token"].as_str().unwrap().to_owned())
    }

    fn flood(&self, token: &str, clients: usize, stop: &AtomicBool, sent: &AtomicU64) {
        let body = format!("{{\"token\":\"{token}\"}}");
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let mut connection = Connection::new(self);
                    while !stop.load(Ordering::SeqCst) {
                        let (status, answer) = connection.post("/redemptions", &body);
                        assert_eq!(status, 404, "{answer}");
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
    }

    fn spend_each_once(&self, tokens: Vec<String>) {
        let mut connection = Connection::new(self);
        for token in tokens {
            let body = format!("{{\"token\":\"{token}\"}}");
            let statuses = [(); 2].map(|()| connection.post("/redemptions", &body).0);
            assert_eq!(statuses, [201, 409]);
        }
    }

    /// Bytes of memory, as Linux tells.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes =
            line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok());
        kilobytes.map_or(0, |kilobytes: u64| kilobytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept, and made again when the server has closed it for its age.
struct Connection<'s> {
    server: &'s Server,
    stream: BufReader<TcpStream>,
}

impl<'s> Connection<'s> {
    fn new(server: &'s Server) -> Self {
        Self { server, stream: BufReader::new(server.connect()) }
    }

    fn post(&mut self, path: &str, body: &str) -> (u16, Value) {
        let key = api_key([7; 32]);
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            key.expose(),
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length, mut closes) = (0, 0, false);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            }
            closes |= line == "connection: close";
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        if closes {
            self.stream = BufReader::new(self.server.connect());
        }
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// Two ends of each connection need a descriptor each, in two processes.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
}
