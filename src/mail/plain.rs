//! A connection that begins in the clear and may become TLS. In the clear it hands out one byte at a time,
//! so that nobody reads further than the line they wanted.
//!
//! Whoever stands between could send more lines right behind the server's "go ahead" to STARTTLS. Read ahead
//! into a buffer, they would be taken for the first answers of the encrypted session. Here they are still in
//! the socket when TLS begins, and it fails on them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The first byte of every TLS connection (RFC 8446 §5.1), and of no command of SMTP.
const HANDSHAKE: u8 = 0x16;

/// The most bytes that are taken between two things we say. The longest is a chain of certificates; who sends
/// more wants our memory, since a line is kept until it ends.
const MOST_BYTES: usize = 256 * 1024;

/// A connection that begins in the clear.
#[derive(Debug)]
pub(super) struct Plain {
    tcp: TcpStream,
    is_encrypted: bool,
    /// Bytes taken since we said something.
    taken: usize,
}

impl Plain {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, is_encrypted: false, taken: 0 }
    }
}

impl AsyncTokioStream for Plain {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.taken > MOST_BYTES {
            return Poll::Ready(Err(io::Error::other("the server says more than any answer has")));
        }
        let before = buffer.filled().len();
        if self.is_encrypted {
            ready!(Pin::new(&mut self.tcp).poll_read(context, buffer))?;
        } else {
            let mut byte = [0];
            let mut one = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.tcp).poll_read(context, &mut one))?;
            buffer.put_slice(one.filled());
        }
        self.taken += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.taken = 0;
        self.is_encrypted |= bytes.first() == Some(&HANDSHAKE);
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
