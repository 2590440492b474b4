//! Opens the directories of tenants, and takes up files of users that change while the server runs.

use std::time::Duration;

use super::ServeError;
use super::sending::Directories;
use crate::config::{Config, Tenant};
use crate::directory::{Directory, DirectoryLimits};

/// How often it is looked whether a file has changed.
const PERIOD: Duration = Duration::from_millis(500);

/// Where the users of this tenant are looked up, if anywhere.
///
/// # Errors
/// [`ServeError::Directory`] names the setting.
pub fn directory_of(tenant: &Tenant) -> Result<Option<Directory>, ServeError> {
    let Some(configured) = &tenant.directory else {
        return Ok(None);
    };
    let limits = DirectoryLimits { timeout: configured.timeout, cache_for: configured.cache_for };
    let opened = Directory::open(configured.source.clone(), limits);
    opened.map(Some).map_err(|error| {
        let section = tenant.above_sections() + "directory";
        ServeError::Directory { section, error }
    })
}

/// Looks after all of them for as long as the server runs.
pub(super) async fn keep(directories: Vec<Directory>) {
    while !directories.is_empty() {
        tokio::time::sleep(PERIOD).await;
        for directory in &directories {
            let directory = directory.clone();
            look_after(move || directory.look()).await;
        }
    }
}

/// Each look is by itself: one that breaks off ends neither the others nor the next one.
async fn look_after(look: impl FnOnce() + Send + 'static) {
    if tokio::task::spawn_blocking(look).await.is_err() {
        tracing::error!("looking after a file of users broke off; it is looked at again");
    }
}

/// Opened before anything is changed: a file that cannot be used is no reason to make a key.
pub(super) fn open_directories(config: &Config) -> Result<Directories, ServeError> {
    let opened = config.tenants.iter().filter_map(|tenant| {
        let name = tenant.policy.tenant.clone();
        directory_of(tenant).transpose().map(|opened| Ok((name, opened?)))
    });
    opened.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_breaks_off_ends_no_other() {
        let (sender, seen) = std::sync::mpsc::channel();
        for text in ["1", "none", "3"] {
            let sender = sender.clone();
            look_after(move || sender.send(text.parse::<u8>().unwrap()).unwrap()).await;
        }
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [1, 3]);
    }
}
