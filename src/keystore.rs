//! `keys/` ⇄ [`Keyring`]: one private JWK per file, `*.jwk`, mode 0600. No other module touches the
//! folder. The state of a key stands in its own members, so there is no index to go wrong.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::crypto::{self, KeyRejected, RsaAlgorithm, RsaPrivateMembers, SigningKey};
use resetd_verify::json::{self, JsonError, Object};
use resetd_verify::{Algorithm, JwkError, KeyId, PublicKey, Timestamp, member_bytes};
use serde::Serialize;
use signature::{Signer as _, Verifier as _};
use zeroize::Zeroizing;

use crate::domain::keyring::{Key, KeyTimes, Keyring};
use crate::domain::time::{from_rfc3339, to_rfc3339};

/// The ending of a key's file. Everything else in the folder is left alone.
pub const FILE_EXTENSION: &str = "jwk";

/// The longest file that is read: an 8192-bit RSA key in JWK form has about 7 KiB.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// The folder of keys.
#[derive(Clone, Debug)]
pub struct Keystore {
    directory: PathBuf,
    retention: u64,
}

/// What the folder looked like, to see cheaply whether anything changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, u64, i64, i64)>);

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
    #[error("{path}: is no regular file; put the key itself here, not a link to it")]
    NotAFile {
        /// The file.
        path: PathBuf,
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
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl Keystore {
    /// Names the folder. `retention` is how long in seconds a retired key must be trusted.
    pub fn new(directory: impl Into<PathBuf>, retention: u64) -> Self {
        Self { directory: directory.into(), retention }
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the folder exists.
    pub fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// Makes the folder, mode 0700, unless it is there.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn create(&self) -> Result<(), KeystoreError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(io_error(&self.directory))
    }

    /// Takes the right to write from group and others, if there is no key yet: a checkout made with a
    /// lax umask is no reason not to start, a folder of keys that others could write to is one.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn close_if_empty(&self) -> Result<(), KeystoreError> {
        if !self.files()?.is_empty() {
            return Ok(());
        }
        let path = &self.directory;
        let mode = fs::metadata(path).map_err(io_error(path))?.permissions().mode();
        let closed = fs::Permissions::from_mode(mode & !0o022);
        fs::set_permissions(path, closed).map_err(io_error(path))
    }

    /// Reads every key. One faulty file refuses the whole folder: a key that is silently left out
    /// breaks the links it signed.
    ///
    /// # Errors
    /// [`KeystoreError`] names the file, what is wrong and the mend.
    pub fn load(&self) -> Result<Keyring, KeystoreError> {
        self.check_folder()?;
        let mut keys: Vec<(PathBuf, Key)> = Vec::new();
        for path in self.files()? {
            let key = read_key(&path)?;
            if let Some((other, _)) = keys.iter().find(|(_, known)| known.kid() == key.kid()) {
                let (other, kid) = (other.clone(), key.kid().clone());
                return Err(KeystoreError::Duplicate { path, other, kid });
            }
            keys.push((path, key));
        }
        Ok(Keyring::new(keys.into_iter().map(|(_, key)| key).collect(), self.retention))
    }

    /// What the folder looks like now.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn fingerprint(&self) -> Result<Fingerprint, KeystoreError> {
        let look = |path: PathBuf| {
            let metadata = fs::symlink_metadata(&path).map_err(io_error(&path))?;
            // The time of the last change of any kind: `chmod` leaves the time of writing alone.
            Ok((path, metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
        };
        self.files()?.into_iter().map(look).collect::<Result<_, _>>().map(Fingerprint)
    }

    /// Makes a key that may sign from `not_before` on and writes its file: all of it or nothing.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn generate(
        &self,
        algorithm: Algorithm,
        created: Timestamp,
        not_before: Timestamp,
    ) -> Result<KeyId, KeystoreError> {
        self.create()?;
        self.check_folder()?;
        let mut jwk = new_private_jwk(algorithm, created, not_before)?;
        // Read back before it is written: the halves belong together, and it gets its name.
        let kid = parse_key(&self.directory, &jwk.to_json(&self.directory)?)?.kid().clone();
        jwk.kid = kid.to_string();
        self.write(&kid, &jwk.to_json(&self.directory)?)?;
        Ok(kid)
    }

    /// Temporary file, `fsync`, rename, `fsync` of the folder: a crash leaves the old state or the
    /// new one.
    fn write(&self, kid: &KeyId, text: &[u8]) -> Result<(), KeystoreError> {
        let path = self.directory.join(format!("{kid}.{FILE_EXTENSION}"));
        let failed = io_error(&path);
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(&self.directory)
            .map_err(&failed)?;
        file.write_all(text).map_err(&failed)?;
        file.write_all(b"\n").map_err(&failed)?;
        file.as_file().sync_all().map_err(&failed)?;
        file.persist_noclobber(&path).map_err(|error| failed(error.error))?;
        File::open(&self.directory).and_then(|folder| folder.sync_all()).map_err(&failed)
    }

    fn check_folder(&self) -> Result<(), KeystoreError> {
        let path = &self.directory;
        if !self.exists() {
            let path = path.clone();
            let is_something = path.symlink_metadata().is_ok();
            return Err(if is_something {
                KeystoreError::NotAFolder { path }
            } else {
                KeystoreError::NoFolder { path }
            });
        }
        let found = fs::metadata(path).map_err(io_error(path))?.permissions().mode() & 0o7777;
        if found & 0o022 != 0 {
            let (wanted, mend) = ("no write permission for group and others", "go-w");
            return Err(KeystoreError::TooOpen { path: path.clone(), found, wanted, mend });
        }
        Ok(())
    }

    /// The files of keys, in the order of their names.
    fn files(&self) -> Result<Vec<PathBuf>, KeystoreError> {
        let failed = io_error(&self.directory);
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            if path.extension().is_some_and(|extension| extension == FILE_EXTENSION) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> KeystoreError {
    let path = path.to_owned();
    move |error| KeystoreError::Io { path: path.clone(), error }
}

fn read_key(path: &Path) -> Result<Key, KeystoreError> {
    let failed = io_error(path);
    let seen = fs::symlink_metadata(path).map_err(&failed)?;
    let not_a_file = || KeystoreError::NotAFile { path: path.into() };
    if !seen.is_file() {
        return Err(not_a_file());
    }
    let file = File::open(path).map_err(&failed)?;
    let metadata = file.metadata().map_err(&failed)?;
    // What was looked at is what is read, even if somebody swaps the name for a link in between.
    if (seen.dev(), seen.ino()) != (metadata.dev(), metadata.ino()) {
        return Err(not_a_file());
    }
    let found = metadata.permissions().mode() & 0o7777;
    if found & 0o077 != 0 {
        let wanted = "0600 or 0400: only its owner may read a key";
        return Err(KeystoreError::TooOpen { path: path.into(), found, wanted, mend: "600" });
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(KeystoreError::TooLong { path: path.into(), found: metadata.len() });
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(&failed)?;
    parse_key(path, &text)
}

fn parse_key(path: &Path, text: &[u8]) -> Result<Key, KeystoreError> {
    let jwk = json::parse_object(text)
        .map_err(|error| KeystoreError::Json { path: path.into(), error })?;
    let faulty = |error| KeystoreError::Jwk { path: path.into(), error };
    let public = PublicKey::from_jwk(&jwk).map_err(faulty)?;
    if *public.kid() != public.thumbprint() {
        return Err(faulty(JwkError::invalid(
            "kid",
            "the RFC 7638 thumbprint of the key; leave it out and it is",
        )));
    }
    let times = KeyTimes {
        created: time(&jwk, "created").and_then(required("created")).map_err(faulty)?,
        not_before: time(&jwk, "not_before").and_then(required("not_before")).map_err(faulty)?,
        retired_at: time(&jwk, "retired_at").map_err(faulty)?,
        revoked_at: time(&jwk, "revoked_at").map_err(faulty)?,
    };
    let signing = private_half(path, &jwk, public.algorithm())?;
    // Once, at load: some faulty RSA members are noticed only by signing.
    if !signs_for(&signing, &public) {
        return Err(KeystoreError::Mismatch { path: path.into() });
    }
    Ok(Key::new(public, signing, times))
}

fn signs_for(signing: &SigningKey, public: &PublicKey) -> bool {
    const PROBE: &[u8] = b"resetd";
    let signature = signing.try_sign(PROBE);
    signature.is_ok_and(|signature| public.verifying_key().verify(PROBE, &signature).is_ok())
}

/// What the times in a key's file must be.
const TIME: &str = "a time such as \"2026-01-31T12:00:00Z\"";

fn time(jwk: &Object<'_>, name: &'static str) -> Result<Option<Timestamp>, JwkError> {
    match jwk.member(name) {
        None => Ok(None),
        Some(value) => {
            let time = value.as_str().and_then(from_rfc3339);
            time.map(Some).ok_or(JwkError::invalid(name, TIME))
        }
    }
}

fn required(name: &'static str) -> impl Fn(Option<Timestamp>) -> Result<Timestamp, JwkError> {
    move |time| time.ok_or(JwkError::invalid(name, TIME))
}

fn private_half(
    path: &Path,
    jwk: &Object<'_>,
    algorithm: Algorithm,
) -> Result<SigningKey, KeystoreError> {
    let bytes = |name| {
        member_bytes(jwk, name)
            .map(Zeroizing::new)
            .map_err(|error| KeystoreError::Jwk { path: path.into(), error })
    };
    let rsa = |algorithm| {
        Ok(SigningKey::from_rsa(
            algorithm,
            &RsaPrivateMembers {
                n: &bytes("n")?,
                e: &bytes("e")?,
                d: &bytes("d")?,
                p: &bytes("p")?,
                q: &bytes("q")?,
                dp: &bytes("dp")?,
                dq: &bytes("dq")?,
                qi: &bytes("qi")?,
            },
        ))
    };
    match algorithm {
        Algorithm::Es256 => {
            let point = [&[4], &bytes("x")?[..], &bytes("y")?[..]].concat();
            SigningKey::from_p256(&bytes("d")?, &point)
        }
        Algorithm::EdDsa => SigningKey::from_ed25519(&bytes("d")?, &bytes("x")?),
        Algorithm::Rs256 => rsa(RsaAlgorithm::Rs256)?,
        Algorithm::Ps256 => rsa(RsaAlgorithm::Ps256)?,
    }
    .map_err(|error| KeystoreError::Rejected { path: path.into(), error })
}

/// A key as it stands in its file (RFC 7517 §4, RFC 7518 §6.2, RFC 8037 §2).
#[derive(Serialize)]
struct PrivateJwk {
    #[serde(skip_serializing_if = "String::is_empty")]
    kid: String,
    kty: &'static str,
    crv: &'static str,
    alg: Algorithm,
    #[serde(rename = "use")]
    key_use: &'static str,
    created: String,
    not_before: String,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    d: Zeroizing<String>,
}

impl PrivateJwk {
    fn to_json(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        serde_json::to_vec_pretty(self)
            .map(Zeroizing::new)
            .map_err(|error| io_error(path)(error.into()))
    }
}

fn new_private_jwk(
    algorithm: Algorithm,
    created: Timestamp,
    not_before: Timestamp,
) -> Result<PrivateJwk, KeystoreError> {
    let (kty, crv, d, x, y) = match algorithm {
        Algorithm::Es256 => {
            let (d, point) = crypto::generate_p256().map_err(|_| KeystoreError::NoRandomness)?;
            ("EC", "P-256", d, point[1..33].to_vec(), Some(point[33..].to_vec()))
        }
        Algorithm::EdDsa => {
            let (d, x) = crypto::generate_ed25519().map_err(|_| KeystoreError::NoRandomness)?;
            ("OKP", "Ed25519", d, x, None)
        }
        Algorithm::Rs256 | Algorithm::Ps256 => {
            return Err(KeystoreError::CannotGenerate { algorithm });
        }
    };
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let d = Zeroizing::new(d);
    Ok(PrivateJwk {
        kid: String::new(),
        kty,
        crv,
        alg: algorithm,
        key_use: "sig",
        created: to_rfc3339(created),
        not_before: to_rfc3339(not_before),
        x: encode(&x),
        y: y.map(|y| encode(&y)),
        d: Zeroizing::new(encode(&d)),
    })
}
