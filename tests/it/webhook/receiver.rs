//! A receiver of messages on a real port, which keeps what it was sent and answers as a test wants.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::PATIENCE;
use crate::tls::certificates::Pair;

/// A message as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    /// The method and the path.
    pub(crate) fn request_line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The same with another text in its head.
    pub(crate) fn altered(&self, from: &str, to: &str) -> Self {
        assert!(self.head.contains(from), "{from}");
        Self { head: self.head.replace(from, to), body: self.body.clone() }
    }

    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let mut found = self.head.lines().filter_map(|line| line.strip_prefix(&prefix));
        let value = found.next().unwrap_or_else(|| panic!("no {name} in {}", self.head));
        assert_eq!(found.next(), None, "{name} stands there twice");
        value
    }
}

/// A connection in clear or over TLS.
pub(crate) trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

type Answer = dyn Fn(&mut dyn Stream) + Send + Sync;

/// Ends when it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: Mutex<mpsc::Receiver<Received>>,
    connections: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Answers with this text.
    pub(crate) fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start(move |stream| {
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    /// Does this with a connection once the message was read.
    pub(crate) fn start(answer: impl Fn(&mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", None, Arc::new(answer))
    }

    /// The same over TLS, at another address.
    pub(crate) fn with_tls(host: &str, pair: &Pair, answer: &'static str) -> Self {
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.der()], key)
            .unwrap();
        let answer = move |stream: &mut dyn Stream| {
            let _ = stream.write_all(answer.as_bytes());
        };
        Self::start_at(host, Some(Arc::new(config)), Arc::new(answer))
    }

    fn start_at(host: &str, tls: Option<Arc<ServerConfig>>, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::channel();
        let (connections, is_over) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over) = (Arc::clone(&connections), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut stream = wrapped(stream, tls.clone());
                if let Some(message) = read(&mut *stream) {
                    sender.send(message).unwrap();
                    answer(&mut *stream);
                }
            }
        });
        let (received, thread) = (Mutex::new(received), Some(thread));
        Self { address, received, connections, is_over, thread }
    }

    /// Where it is, on a path of its own.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks/resetd", self.address)
    }

    /// The next message.
    pub(crate) fn next(&self) -> Received {
        self.received.lock().unwrap().recv_timeout(PATIENCE).unwrap()
    }

    /// Whether there is none that was not looked at yet.
    pub(crate) fn has_none(&self) -> bool {
        let found = self.received.lock().unwrap().recv_timeout(Duration::ZERO);
        matches!(found, Err(RecvTimeoutError::Timeout))
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn wrapped(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Box<dyn Stream> {
    match tls {
        None => Box::new(stream),
        Some(config) => Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)),
    }
}

/// A whole message, or nothing where the other side went away before.
fn read(stream: &mut dyn Stream) -> Option<Received> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                return Some(Received { head: head.into(), body: body.into() });
            }
        }
        match stream.read(&mut part) {
            Ok(0) => return None,
            Ok(length) => bytes.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
