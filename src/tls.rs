//! The certificate that is shown to clients: read at the start, and again when its files change.

mod files;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use resetd_verify::Timestamp;
use rustls::ServerConfig;

use crate::config::Tls;
use crate::domain::time::to_rfc3339;
use files::{Loaded, load};

pub use files::TlsError;

/// Seconds before its end at which a certificate is warned about.
const SOON: u64 = 14 * 24 * 60 * 60;

/// The certificate of a running server. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct RunningTls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Tls,
    current: ArcSwap<Loaded>,
    /// Whether the last look found something that cannot be used. Apart from what is watched, so that
    /// who asks for it does not wait for a slow disk.
    is_failing: AtomicBool,
    watched: Mutex<Watched>,
}

/// What was last seen of the files, and what was told of it.
#[derive(Debug)]
struct Watched {
    /// How the files looked when they were last taken up.
    taken: Stamps,
    /// How they looked at the last look.
    seen: Stamps,
    /// What keeps them from being taken up; told in the log once.
    problem: Option<String>,
    /// What was last told of the end of the certificate.
    told: Validity,
}

/// How much longer a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    Long,
    Short,
    Over,
}

/// How the certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsHealth {
    /// Until when the one in use is valid, if that can be read from it.
    pub expires: Option<Timestamp>,
    /// Whether the files have changed and cannot be used.
    pub is_failing: bool,
}

impl RunningTls {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn open(files: Tls) -> Result<Self, TlsError> {
        let taken = stamps(&files);
        let current = ArcSwap::from_pointee(load(&files)?);
        let seen = taken.clone();
        let watched = Mutex::new(Watched { taken, seen, problem: None, told: Validity::Long });
        let is_failing = AtomicBool::new(false);
        Ok(Self(Arc::new(Inner { files, current, is_failing, watched })))
    }

    /// What a new connection is to be met with.
    pub fn for_apps(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.load().apps)
    }

    /// The same on the listener for admins.
    pub fn for_admins(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.load().admins)
    }

    /// How the certificate is.
    pub fn health(&self) -> TlsHealth {
        let is_failing = self.0.is_failing.load(Ordering::Relaxed);
        TlsHealth { expires: self.0.current.load().expires, is_failing }
    }

    /// Looks at the files and takes up what has changed. Connections that are there go on as they are.
    pub fn look(&self, now: Timestamp) {
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.0.files);
        // Certificate and key are two files: what changed since the last look may be half of a pair.
        let is_settled = stamps == watched.seen;
        watched.seen.clone_from(&stamps);
        if is_settled && (stamps != watched.taken || watched.problem.is_some()) {
            self.take_up(&mut watched, stamps);
        }
        watched.tell_validity(self.0.current.load().expires, now);
    }

    fn take_up(&self, watched: &mut Watched, stamps: Stamps) {
        match load(&self.0.files) {
            Ok(loaded) => {
                self.0.current.store(Arc::new(loaded));
                watched.taken = stamps;
                watched.problem = None;
                tracing::info!("the changed certificate is shown to new connections");
            }
            Err(error) => watched.tell_problem(error.to_string()),
        }
        self.0.is_failing.store(watched.problem.is_some(), Ordering::Relaxed);
    }
}

impl Watched {
    fn tell_problem(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(problem, "the changed certificate cannot be used; the old one stays");
        }
        self.problem = Some(problem);
    }

    fn tell_validity(&mut self, expires: Option<Timestamp>, now: Timestamp) {
        let Some(expires) = expires else {
            return;
        };
        let validity = validity(expires, now);
        if validity != self.told {
            let expires = to_rfc3339(expires);
            match validity {
                Validity::Long => {}
                Validity::Short => tracing::warn!(expires, "the certificate expires soon"),
                Validity::Over => {
                    tracing::error!(expires, "the certificate has expired: clients refuse it");
                }
            }
        }
        self.told = validity;
    }
}

fn validity(expires: Timestamp, now: Timestamp) -> Validity {
    match expires.seconds().saturating_sub(now.seconds()) {
        0 => Validity::Over,
        1..=SOON => Validity::Short,
        _ => Validity::Long,
    }
}

/// How each file looks, without reading it.
type Stamps = Vec<Option<Stamp>>;

/// Device, inode, length, and times of change in seconds and nanoseconds.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

fn stamps(files: &Tls) -> Stamps {
    let Tls { certificate, key, client_ca, admin_client_ca } = files;
    let optional = [client_ca, admin_client_ca].into_iter().flatten();
    [certificate, key].into_iter().chain(optional).map(|path| stamp(path)).collect()
}

/// Links are followed: who renews certificates often replaces a link.
fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    let modified = (file.mtime(), file.mtime_nsec());
    let changed = (file.ctime(), file.ctime_nsec());
    Some((file.dev(), file.ino(), file.size(), modified, changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_about_for_its_last_fourteen_days() {
        let at = Timestamp::from_seconds;
        let expires = at(2_000_000_000);
        for (now, wanted) in [
            (2_000_000_000 - SOON - 1, Validity::Long),
            (2_000_000_000 - SOON, Validity::Short),
            (1_999_999_999, Validity::Short),
            (2_000_000_000, Validity::Over),
            (2_000_000_001, Validity::Over),
        ] {
            assert_eq!(validity(expires, at(now)), wanted, "{now}");
        }
    }
}
