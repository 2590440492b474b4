//! One file of the folder, and the folder itself: who may read and write them, and how a file is read
//! and written so that nobody ever meets half of one.

use std::fs::{self, File, Metadata};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::error::{KeystoreError, io_error};

/// The longest file that is read: an encrypted 4096-bit RSA key has about 5 KiB.
pub(super) const MAX_FILE_BYTES: u64 = 16 * 1024;

/// What the name of a file begins with until it is whole.
const UNFINISHED: &str = ".new-";

/// Refuses a folder that somebody else could change.
pub(super) fn check_folder(path: &Path) -> Result<(), KeystoreError> {
    if !path.is_dir() {
        let is_something = path.symlink_metadata().is_ok();
        let path = path.into();
        return Err(if is_something {
            KeystoreError::NotAFolder { path }
        } else {
            KeystoreError::NoFolder { path }
        });
    }
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    check_owner(path, &metadata)?;
    let found = metadata.permissions().mode() & 0o7777;
    if found & 0o022 != 0 {
        let (wanted, mend) = ("no write permission for group and others", "go-w");
        return Err(KeystoreError::TooOpen { path: path.into(), found, wanted, mend });
    }
    Ok(())
}

/// Reads a key's file, if only its owner can and it lies in the folder. A link within the folder is
/// followed, as secrets are mounted that way; one that leads out of it is refused.
pub(super) fn read(folder: &Path, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let failed = io_error(path);
    let place = fs::canonicalize(path).map_err(&failed)?;
    if !place.starts_with(fs::canonicalize(folder).map_err(io_error(folder))?) {
        return Err(KeystoreError::OutsideFolder { path: path.into(), place });
    }
    let seen = fs::symlink_metadata(&place).map_err(&failed)?;
    let not_a_file = || KeystoreError::NotAFile { path: path.into() };
    if !seen.is_file() {
        return Err(not_a_file());
    }
    let file = File::open(&place).map_err(&failed)?;
    let metadata = file.metadata().map_err(&failed)?;
    // What was looked at is what is read, even if somebody swaps the name for a link in between.
    if (seen.dev(), seen.ino()) != (metadata.dev(), metadata.ino()) {
        return Err(not_a_file());
    }
    check_owner(path, &metadata)?;
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
    Ok(text)
}

/// Writes a whole file or none: a temporary one, `fsync`, rename, `fsync` of the folder. One that is
/// there is replaced only where that is meant. The last line ends like the others.
pub(super) fn write(path: &Path, text: &[u8], replace: bool) -> Result<(), KeystoreError> {
    let failed = io_error(path);
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(&failed)?;
    file.write_all(text).map_err(&failed)?;
    if !text.ends_with(b"\n") {
        file.write_all(b"\n").map_err(&failed)?;
    }
    file.as_file().sync_all().map_err(&failed)?;
    let written = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    written.map_err(|error| failed(error.error))?;
    sync_folder(folder)
}

/// Removes a file for good.
pub(super) fn remove(path: &Path) -> Result<(), KeystoreError> {
    fs::remove_file(path).map_err(io_error(path))?;
    sync_folder(folder_of(path))
}

/// Removes what a process that was killed left half written. Only who holds the lock may: nobody
/// else writes then.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), KeystoreError> {
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(UNFINISHED) {
            fs::remove_file(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(folder: &Path) -> Result<(), KeystoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))
}

/// Whoever owns a file can change it at any time, whatever its mode.
fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), KeystoreError> {
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if is_trusted_owner(owner, own) {
        return Ok(());
    }
    Err(KeystoreError::ForeignOwner { path: path.into(), owner, own })
}

/// Root can change everything anyway.
fn is_trusted_owner(owner: u32, own: u32) -> bool {
    owner == own || owner == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_this_user_and_of_root_are_trusted_and_no_others() {
        assert!(is_trusted_owner(1000, 1000));
        assert!(is_trusted_owner(0, 1000));
        assert!(!is_trusted_owner(1001, 1000));
        assert!(!is_trusted_owner(1000, 0));
    }
}
