//! Keeps the keys of identity providers: read from files when they change, fetched from time to time and
//! when a token names one that is not known. What cannot be read leaves the keys that are known.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::config::{Bearer as Configured, BearerKeys, read_text};
use crate::domain::bearer::bearer_keys;
use crate::fetch;
use crate::service::Bearer;

/// How often it is looked whether anything is to be done.
const PERIOD: Duration = Duration::from_millis(500);
/// Age at which keys are fetched again.
const REFRESH: Duration = Duration::from_secs(300);
/// At least so long lies between two fetches: tokens with made-up keys must not become requests.
const COOL_DOWN: Duration = Duration::from_secs(10);
/// Time for one fetch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One provider, and when its keys were last looked for.
pub(super) struct Kept {
    bearer: Arc<Bearer>,
    keys: BearerKeys,
    modified: Option<SystemTime>,
    fetched: Option<Instant>,
    /// Whether the last look failed; told in the log once.
    is_failing: bool,
}

impl Kept {
    pub(super) fn new(configured: Configured) -> Self {
        let bearer = Arc::new(Bearer::new(configured.issuer));
        let (modified, fetched, is_failing) = (None, None, false);
        Self { bearer, keys: configured.keys, modified, fetched, is_failing }
    }

    pub(super) fn bearer(&self) -> Arc<Bearer> {
        Arc::clone(&self.bearer)
    }

    /// Looks for keys if it is time. It may wait for the network.
    pub(super) fn look(&mut self) {
        let found = match &self.keys {
            BearerKeys::File(path) => {
                let modified = fs::metadata(path).and_then(|found| found.modified()).ok();
                // What could not be read is tried again: to mend its mode is no change of the file.
                if modified.is_some() && modified == self.modified && !self.is_failing {
                    return;
                }
                self.modified = modified;
                let text = read_text(path).map(|text| text.as_bytes().to_vec());
                text.map_err(|error| format!("{}: {error}", path.display()))
            }
            BearerKeys::Url(url) => {
                let age = self.fetched.map(|at| at.elapsed());
                let is_stale = age.is_none_or(|age| age >= COOL_DOWN) && self.bearer.take_stale();
                if age.is_some_and(|age| age < REFRESH) && !is_stale {
                    return;
                }
                self.fetched = Some(Instant::now());
                fetch::get(url, TIMEOUT)
            }
        };
        let keys = found.and_then(|jwks| {
            bearer_keys(&jwks).ok_or_else(|| "there is no key in it that can be used".into())
        });
        match keys {
            Ok(keys) => {
                self.is_failing = false;
                self.bearer.replace_keys(keys);
            }
            Err(reason) if !self.is_failing => {
                self.is_failing = true;
                let bearer = self.bearer.name();
                tracing::error!(bearer, reason, "its keys cannot be read; those known stay in use");
            }
            Err(_) => {}
        }
    }
}

/// Looks after all of them for as long as the server runs.
pub(super) async fn keep(mut kept: Vec<Kept>) {
    while !kept.is_empty() {
        tokio::time::sleep(PERIOD).await;
        let looked = tokio::task::spawn_blocking(move || {
            kept.iter_mut().for_each(Kept::look);
            kept
        });
        match looked.await {
            Ok(again) => kept = again,
            Err(error) => {
                tracing::error!(%error, "looking after the keys of identity providers failed");
                return;
            }
        }
    }
}

/// A provider that does not answer keeps nobody else out; its clients are let in when it does.
pub(super) async fn first_keys_of(configured: Vec<Configured>) -> Vec<Kept> {
    let looked = tokio::task::spawn_blocking(move || {
        let mut kept: Vec<_> = configured.into_iter().map(Kept::new).collect();
        kept.iter_mut().for_each(Kept::look);
        kept
    });
    looked.await.unwrap_or_default()
}
