//! Who a user is: looked up in a file, by a service or by an LDAP server, within bounds of time and number.
//! Whatever is not known for certain is told as [`Unavailable`], never as a user who is not there.

mod cache;
mod file;
mod http;
mod json;
mod ldap;
mod person;
mod scim;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::domain::directory::DirectorySource;
use crate::domain::identifier::{Username, masked};
use cache::Cache;
use file::People;
use http::JsonService;
use ldap::LdapServer;
use scim::ScimService;

pub use person::Person;

/// Look-ups under way at once. More wait for their turn, within their time.
const MOST_AT_ONCE: usize = 16;

/// Where a tenant's users are looked up. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    kind: Kind,
    cache: Cache,
    turns: Arc<Semaphore>,
    timeout: Duration,
}

enum Kind {
    File(People),
    Http(JsonService),
    Scim(ScimService),
    Ldap(Arc<LdapServer>),
}

/// Bounds of looking up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryLimits {
    /// The time for one look-up, waiting for its turn included.
    pub timeout: Duration,
    /// For how long an answer is good; zero for never.
    pub cache_for: Duration,
}

/// Why nobody can say now who a user is, or whether there is one. It may be told to a log: the name is
/// masked, and there is no secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory ({kind}) does not tell of {user}: {reason}")]
pub struct Unavailable {
    kind: &'static str,
    user: String,
    reason: String,
}

impl Unavailable {
    /// What stood in the way, without the user.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Why a directory cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct OpenError {
    /// The setting, without its section.
    setting: &'static str,
    /// What is wrong and how to mend it.
    problem: String,
}

impl Directory {
    /// Reads what must be there from the start: a file of users, certificates. Nobody is asked anything yet.
    ///
    /// # Errors
    /// The setting, and why it cannot be used.
    pub fn open(source: DirectorySource, limits: DirectoryLimits) -> Result<Self, OpenError> {
        let DirectoryLimits { timeout, cache_for } = limits;
        let kind = match source {
            DirectorySource::File(path) => Kind::File(People::open(path)?),
            DirectorySource::Http(url, access) => {
                Kind::Http(JsonService::open(url, access, timeout)?)
            }
            DirectorySource::Scim(url, access) => {
                Kind::Scim(ScimService::open(url, access, timeout)?)
            }
            DirectorySource::Ldap(source) => {
                Kind::Ldap(Arc::new(LdapServer::open(*source, timeout)?))
            }
        };
        let turns = Arc::new(Semaphore::new(MOST_AT_ONCE));
        Ok(Self(Arc::new(Inner { kind, cache: Cache::new(cache_for), turns, timeout })))
    }

    /// The person of this name, if there is one.
    ///
    /// # Errors
    /// [`Unavailable`] whenever the directory did not say so itself.
    pub async fn find(&self, username: &Username) -> Result<Option<Person>, Unavailable> {
        if let Kind::File(people) = &self.0.kind {
            return Ok(people.find(username));
        }
        if let Some(known) = self.0.cache.get(username) {
            return Ok(known);
        }
        let until = Instant::now() + self.0.timeout;
        let found = timeout_at(until, self.ask(username, until)).await;
        let too_late = || Err(format!("no answer within {:?}", self.0.timeout));
        let found = found.unwrap_or_else(|_| too_late()).map_err(|reason| Unavailable {
            kind: self.kind(),
            user: masked(username.as_str()),
            reason,
        })?;
        self.0.cache.put(username, found.clone());
        Ok(found)
    }

    /// Takes up a file of users that has changed; to be called from time to time. It may wait for the disk.
    pub fn look(&self) {
        if let Kind::File(people) = &self.0.kind {
            people.look();
        }
    }

    /// What kind of directory it is, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match &self.0.kind {
            Kind::File(_) => "file",
            Kind::Http(_) => "http",
            Kind::Scim(_) => "scim",
            Kind::Ldap(_) => "ldap",
        }
    }

    async fn ask(&self, username: &Username, until: Instant) -> Result<Option<Person>, String> {
        let turn = Arc::clone(&self.0.turns).acquire_owned().await;
        let turn = turn.map_err(|_| "nobody is asked any more".to_owned())?;
        if let Kind::Ldap(server) = &self.0.kind {
            return server.find(username, until).await;
        }
        let (directory, username) = (self.clone(), username.clone());
        let asked = spawn_blocking(move || directory.ask_web(&username, until, turn));
        asked.await.unwrap_or_else(|_| Err("the look-up broke off".into()))
    }

    /// The turn is over when the thread is free, also if nobody waits for the answer any more.
    fn ask_web(
        &self,
        username: &Username,
        until: Instant,
        _turn: OwnedSemaphorePermit,
    ) -> Result<Option<Person>, String> {
        let left = until.saturating_duration_since(Instant::now());
        match &self.0.kind {
            Kind::Http(service) => service.find(username, left),
            Kind::Scim(service) => service.find(username, left),
            Kind::File(_) | Kind::Ldap(_) => Err("it is not asked over the web".into()),
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Directory({})", self.kind())
    }
}
