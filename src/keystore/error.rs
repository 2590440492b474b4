//! What can be wrong with the folder of keys: each error names the file and the mend.

mod import;
mod seal;

use std::io;
use std::path::{Path, PathBuf};

use resetd_verify::crypto::KeyRejected;
use resetd_verify::json::JsonError;
use resetd_verify::{Algorithm, JwkError, KeyId};

use super::file::MAX_FILE_BYTES;

pub use import::ImportError;
pub use seal::SealError;

/// What is wrong with the folder or with one file, how it should be, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The folder does not exist.
    #[error(
        "{path}: there is no such folder of keys; make one with its first key: resetd keys generate --keys {path}"
    )]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// There is something else in its place.
    #[error("{path}: is no folder; wanted the folder that holds the keys")]
    NotAFolder {
        /// What is there.
        path: PathBuf,
    },
    /// The folder or a file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Someone other than the owner could read a key or change the folder.
    #[error("{path}: has mode {found:04o}, wanted {wanted}; mend it: chmod {mend} {path}")]
    TooOpen {
        /// The folder or file.
        path: PathBuf,
        /// The mode found.
        found: u32,
        /// What the mode may be.
        wanted: &'static str,
        /// What `chmod` should be given.
        mend: &'static str,
    },
    /// A key is no regular file of this folder.
    #[error("{path}: is no regular file; put the key itself here")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// A link leads out of the folder.
    #[error("{path}: leads to {place}, out of the folder; put the key itself into the folder")]
    OutsideFolder {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        place: PathBuf,
    },
    /// Somebody else owns the folder or a file and could change it.
    #[error(
        "{path}: belongs to user {owner}, wanted {own}, who runs this, or root; mend it: chown {own} {path}"
    )]
    ForeignOwner {
        /// The folder or file.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
        /// The number of the user that this process runs as.
        own: u32,
    },
    /// Another process changes the folder.
    #[error("{path}: another process changes the keys and does not come to its end; try again")]
    Locked {
        /// The file that it locked.
        path: PathBuf,
    },
    /// A key that is to be added is there already, in whatever state: one that was revoked must not
    /// come back.
    #[error("{path}: has the key {kid} already; resetd keys show {kid} shows its state")]
    AlreadyThere {
        /// The folder.
        path: PathBuf,
        /// The key.
        kid: KeyId,
    },
    /// No file of the folder has this key.
    #[error("{path}: has no key {kid} any more; resetd keys list shows all")]
    NoKey {
        /// The folder.
        path: PathBuf,
        /// The key.
        kid: KeyId,
    },
    /// A file is too long to be a key.
    #[error(
        "{path}: has {found} bytes, a key has at most {MAX_FILE_BYTES}; move what is no key out of the folder"
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
    },
    /// A file is not JSON; it may be cut off.
    #[error("{path}: is no complete private JWK: {error}; put a whole copy in its place")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it stops being JSON.
        #[source]
        error: JsonError,
    },
    /// A member of the JWK is missing or wrong.
    #[error("{path}: {error}")]
    Jwk {
        /// The file.
        path: PathBuf,
        /// The member and what it must be.
        #[source]
        error: JwkError,
    },
    /// The private half is not that of the public half, or is too weak.
    #[error(
        "{path}: the private members do not make a key: {error}; put a copy of the right key in its place"
    )]
    Rejected {
        /// The file.
        path: PathBuf,
        /// ring's reason.
        error: KeyRejected,
    },
    /// What the private half signs does not verify with the public half.
    #[error(
        "{path}: the private members do not sign for the public ones; put a copy of the right key in its place"
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
    /// Two files hold one key.
    #[error("{path} and {other}: hold the same key {kid}; remove one of them")]
    Duplicate {
        /// The later file.
        path: PathBuf,
        /// The earlier file.
        other: PathBuf,
        /// The key.
        kid: KeyId,
    },
    /// A key of this kind must be imported.
    #[error(
        "{algorithm} keys cannot be made here; make an ES256 or EdDSA key, or put an RSA key into the folder as a private JWK"
    )]
    CannotGenerate {
        /// What was asked for.
        algorithm: Algorithm,
    },
    /// The private half of a key cannot be decrypted or encrypted.
    #[error("{path}: {error}")]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: SealError,
    },
    /// A private key from elsewhere is not taken.
    #[error("{path}: {error}")]
    Import {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: ImportError,
    },
    /// A key cannot be written down.
    #[error("the key cannot be written as DER: {0}")]
    Encoding(#[from] pkcs8::Error),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

pub(super) fn io_error(path: &Path) -> impl Fn(io::Error) -> KeystoreError {
    let path = path.to_owned();
    move |error| KeystoreError::Io { path: path.clone(), error }
}

impl KeystoreError {
    /// The file or folder that is at fault.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::NoFolder { path }
            | Self::NotAFolder { path }
            | Self::Io { path, .. }
            | Self::TooOpen { path, .. }
            | Self::NotAFile { path }
            | Self::OutsideFolder { path, .. }
            | Self::ForeignOwner { path, .. }
            | Self::Locked { path }
            | Self::NoKey { path, .. }
            | Self::AlreadyThere { path, .. }
            | Self::TooLong { path, .. }
            | Self::Json { path, .. }
            | Self::Jwk { path, .. }
            | Self::Rejected { path, .. }
            | Self::Mismatch { path }
            | Self::Sealed { path, .. }
            | Self::Import { path, .. }
            | Self::Duplicate { path, .. } => Some(path),
            Self::CannotGenerate { .. } | Self::Encoding(_) | Self::NoRandomness => None,
        }
    }
}
