//! What is listened on: an address, or a Unix socket in a file that is ours as long as we run.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::ServeError;
use crate::config::Listen;
use crate::http::Source;

/// Connections that wait to be accepted; as many as tokio lets wait on an address.
const BACKLOG: i32 = 1024;

/// Something that is listened on.
#[derive(Debug)]
pub(super) enum Listener {
    Address(TcpListener),
    Socket(UnixListener, SocketFile),
}

/// A connection that was accepted.
pub(super) enum Stream {
    Address(TcpStream),
    Socket(UnixStream),
}

impl Listener {
    /// `socket_mode` are the permissions of a Unix socket.
    pub(super) async fn bind(listen: &Listen, socket_mode: u32) -> Result<Self, ServeError> {
        match listen {
            Listen::Address(address) => TcpListener::bind(address)
                .await
                .map(Self::Address)
                .map_err(|error| ServeError::Listen { address: *address, error }),
            Listen::Socket(path) => bind_socket(path, socket_mode)
                .map_err(|error| ServeError::ListenOnSocket { path: path.clone(), error }),
        }
    }

    /// What is really listened on, which port 0 leaves open.
    pub(super) fn place(&self) -> io::Result<Listen> {
        match self {
            Self::Address(listener) => listener.local_addr().map(Listen::Address),
            Self::Socket(_, file) => Ok(Listen::Socket(file.path.clone())),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Source)> {
        match self {
            Self::Address(listener) => {
                let (stream, source) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Stream::Address(stream), Source(source.ip())))
            }
            Self::Socket(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Socket(stream), Source::UNKNOWN))
            }
        }
    }
}

/// The file of a Unix socket. It is removed in the end.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The system lets go of it when the process ends, however it does.
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Nobody can connect before the permissions are what they should be: it is listened on only then.
fn bind_socket(path: &Path, mode: u32) -> io::Result<Listener> {
    let lock = lock_beside(path)?;
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.into(), _lock: lock };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = net::UnixListener::from(OwnedFd::from(socket));
    Ok(Listener::Socket(UnixListener::from_std(listener)?, file))
}

/// Of two processes that find a socket left behind, one alone may replace it. The file stays: were it
/// removed, each of two could hold a lock of its own.
fn lock_beside(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(in_use()),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// A process that was killed leaves its socket behind. What anybody listens on, or what is no socket,
/// is left alone.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "is there and is no socket")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Else a process with many connections waiting would keep us waiting, too.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Err(in_use()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(in_use()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "another process listens on it")
}
