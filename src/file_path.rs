//! Where a file is that a setting names, and what is said when it cannot be read: a relative path alone does
//! not tell where somebody looked.

use std::io;
use std::path::{Path, PathBuf};

/// The whole path, as it would be looked for. Where the working folder is gone, what was given.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Why what is `wanted` cannot be read, where it was looked for, and the mend.
pub fn unreadable(path: &Path, error: &io::Error, wanted: &str) -> String {
    let (is_missing, is_kept_from_us) =
        (error.kind() == io::ErrorKind::NotFound, error.kind() == io::ErrorKind::PermissionDenied);
    let mend = if is_missing && path.is_relative() {
        "make it, or name the right path (a relative one begins where resetd is started)"
    } else if is_missing {
        "make it, or name the right path"
    } else if is_kept_from_us {
        "let the user that resetd runs as read it"
    } else {
        "mend it, or name another path"
    };
    format!("{}: {error}; wanted {wanted}; {mend}", absolute(path).display())
}
