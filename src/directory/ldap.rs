//! An LDAP server: one connection that is kept, one search for each user, a second one where a filter says who
//! is disabled. Referrals are not followed.

mod connection;
mod entry;
mod message;

use std::sync::Arc;
use std::time::Duration;

use ldap3::{LdapError, ResultEntry, Scope, SearchEntry, SearchOptions};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::OpenError;
use super::person::Person;
use crate::domain::directory::LdapSource;
use crate::domain::identifier::Username;
use connection::{Connection, Connector};

/// An LDAP server.
pub(super) struct LdapServer {
    source: LdapSource,
    connector: Connector,
    /// Seconds that a search may take at the server.
    time_limit: i32,
    kept: Mutex<Option<Arc<Connection>>>,
}

/// Why a search told of nobody.
pub(super) enum Fault {
    /// The connection failed, which may say nothing about the next one.
    Connection(String),
    /// The server answered, and what it said does not do.
    Answer(String),
}

impl Fault {
    fn reason(self) -> String {
        match self {
            Self::Connection(reason) | Self::Answer(reason) => reason,
        }
    }

    /// What the server says beside its code may repeat the name of a user.
    fn of_code(code: u32) -> Self {
        let meaning = match code {
            3 => "its limit of time is reached",
            4 => "more than one user matches",
            8 | 13 => "it wants a safer way to bind",
            10 => "it refers to another server; wanted one that holds all of directory.base itself",
            32 => "there is no such entry as directory.base",
            49 => "it refuses directory.bind_dn with the password in directory.bind_password_file",
            50 => "directory.bind_dn may not search there",
            51 | 52 => "it is busy or stopping",
            _ => "it cannot search",
        };
        Self::Answer(format!("{meaning} (LDAP result {code})"))
    }
}

impl From<LdapError> for Fault {
    fn from(error: LdapError) -> Self {
        Self::Connection(if let LdapError::Io { source } = error {
            format!("the connection failed: {source}")
        } else {
            "the connection was closed".into()
        })
    }
}

impl LdapServer {
    pub(super) fn open(source: LdapSource, timeout: Duration) -> Result<Self, OpenError> {
        let connector = Connector::new(&source)?;
        let time_limit = i32::try_from(timeout.as_secs().max(1)).unwrap_or(i32::MAX);
        Ok(Self { source, connector, time_limit, kept: Mutex::new(None) })
    }

    /// The library panics on answers that are not as the RFC has them. In a task of its own that is the end
    /// of the look-up and of nothing else.
    pub(super) async fn find(
        self: &Arc<Self>,
        username: &Username,
        until: Instant,
    ) -> Result<Option<Person>, String> {
        let mut task = JoinSet::new();
        let (server, username) = (Arc::clone(self), username.clone());
        task.spawn(async move { server.look_up(&username, until).await });
        match task.join_next().await {
            Some(Ok(found)) => found,
            Some(Err(_)) | None => Err("the answer is not as LDAP has it".into()),
        }
    }

    /// A kept connection may be dead without anybody having been told, so it gets half of the time, and what
    /// fails on it is tried once more on a new one.
    async fn look_up(&self, username: &Username, until: Instant) -> Result<Option<Person>, String> {
        let (connection, is_new) = self.connection(None).await?;
        if is_new {
            return self.search(&connection, username).await.map_err(Fault::reason);
        }
        let half = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
        match timeout_at(half, self.search(&connection, username)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(Fault::Answer(reason))) => return Err(reason),
            Ok(Err(Fault::Connection(_))) | Err(_) => {}
        }
        let (connection, _) = self.connection(Some(&connection)).await?;
        self.search(&connection, username).await.map_err(Fault::reason)
    }

    /// The kept connection, or a new one if it is none or this one; and whether it is new.
    async fn connection(
        &self,
        failed: Option<&Arc<Connection>>,
    ) -> Result<(Arc<Connection>, bool), String> {
        let mut kept = self.kept.lock().await;
        let has_failed = |it: &Arc<Connection>| failed.is_some_and(|other| Arc::ptr_eq(it, other));
        if let Some(it) = kept.as_ref().filter(|it| it.is_good() && !has_failed(it)) {
            return Ok((Arc::clone(it), false));
        }
        *kept = None;
        let opened = self.connector.open(self.source.bind.as_ref()).await;
        let opened = Arc::new(opened.map_err(Fault::reason)?);
        *kept = Some(Arc::clone(&opened));
        Ok((opened, true))
    }

    /// Whatever ends before it is done, also because nobody waits any more, ends with its connection.
    async fn search(
        &self,
        connection: &Connection,
        username: &Username,
    ) -> Result<Option<Person>, Fault> {
        let in_use = connection.use_it();
        let found = self.search_on(connection, username).await;
        match found {
            Err(Fault::Connection(reason)) => {
                Err(Fault::Connection(connection.fault().unwrap_or(reason)))
            }
            found => {
                in_use.done();
                found
            }
        }
    }

    async fn search_on(
        &self,
        connection: &Connection,
        username: &Username,
    ) -> Result<Option<Person>, Fault> {
        let LdapSource { base, filter, attributes, .. } = &self.source;
        let names = entry::names(attributes);
        let filter = filter.of(username);
        let mut found = self.entries(connection, base, Scope::Subtree, &filter, &names).await?;
        let entry = match (found.pop(), found.is_empty()) {
            (None, _) => return Ok(None),
            (Some(entry), true) => SearchEntry::construct(entry),
            (Some(_), false) => return Err(Fault::Answer("more than one user matches".into())),
        };
        let is_disabled = match &self.source.disabled_filter {
            None => false,
            Some(filter) => {
                let names = [attributes.username.as_str()];
                let found = self.entries(connection, &entry.dn, Scope::Base, filter, &names);
                !found.await?.is_empty()
            }
        };
        entry::person(&entry, attributes, username, is_disabled).map(Some).map_err(Fault::Answer)
    }

    /// The entries that match, two at most. An answer that is not whole is none.
    async fn entries(
        &self,
        connection: &Connection,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
    ) -> Result<Vec<ResultEntry>, Fault> {
        let options = SearchOptions::new().sizelimit(2).timelimit(self.time_limit);
        let mut ldap = connection.handle();
        let ldap = ldap.with_search_options(options);
        let mut answer = ldap.streaming_search(base, scope, filter, attributes).await?;
        let mut found = Vec::new();
        while let Some(entry) = answer.next().await? {
            if entry.is_ref() {
                return Err(Fault::of_code(10));
            }
            if !entry.is_intermediate() {
                found.push(entry);
            }
            if found.len() > 2 {
                return Err(Fault::of_code(4));
            }
        }
        match answer.finish().await.rc {
            0 => Ok(found),
            code => Err(Fault::of_code(code)),
        }
    }
}
