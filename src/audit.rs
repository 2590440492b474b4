//! The audit trail: one line for each thing that somebody did, or was refused, chained so that a
//! line that was altered, removed or moved is found. `docs/audit.md` has the format.
//!
//! Nothing waits for it. Events go into a bounded queue, one thread writes them; what cannot be
//! written is counted, and the count is written as soon as it can be.

mod line;
mod queue;
mod trail;
mod verify;
mod writer;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use resetd_verify::KeyId;
use serde::Serialize;

use crate::clock::Clock;
use crate::domain::policy::TenantName;

pub use line::Head;
pub use trail::{AuditError, Cut, Rotation, Trail, files_in};
pub use verify::{Expected, Fault, Report, Unreadable, verify};

use queue::{Entry, Queue};

/// The outcome of what was done.
pub const OK: &str = "ok";

/// How long the end of the process waits for the queue to be written. A disk or a reader that hangs
/// must not keep the process.
const DRAIN: Duration = Duration::from_secs(5);

macro_rules! actions {
    ($($action:ident $name:literal $meaning:literal;)*) => {
        /// What was done, or asked for and refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum Action {
            $(#[doc = $meaning] #[serde(rename = $name)] $action,)*
        }

        impl Action {
            /// Every action there is, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$action),*];

            /// As it stands in a line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$action => $name),* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$action => $meaning),* }
            }
        }
    };
}

actions! {
    Issue "issue" "a token was asked for";
    Deliver "deliver" "a link was asked to be sent";
    Delivered "delivered" "a link or a notice was sent, or is given up: `outcome` says why";
    Check "check" "a token was presented to learn whether it is live; without `caller`, by whoever holds the token";
    Redeem "redeem" "a token was presented to be spent";
    Hold "hold" "a token was presented to be set aside";
    Commit "commit" "a token that was set aside was to be spent";
    Cancel "cancel" "a token that was set aside was to be given back";
    Revoke "revoke" "tokens were to be revoked; without `caller`, by whoever holds the token";
    KeysList "keys_list" "the keys were listed";
    KeysShow "keys_show" "a key was shown";
    KeysExport "keys_export" "the public half of a key was exported";
    KeysGenerate "keys_generate" "a key was to be made";
    KeysImport "keys_import" "a key was to be taken along";
    KeysRotate "keys_rotate" "the key that signs was to be replaced";
    KeysPrune "keys_prune" "keys that are over were to be removed";
    KeysActivate "keys_activate" "a key was to sign";
    KeysRetire "keys_retire" "a key was to sign no more";
    KeysRevoke "keys_revoke" "a key was to be trusted no more";
    Metrics "metrics" "the metrics were asked for and refused";
    KeysChanged "keys_changed" "changed keys were taken up from their folder";
    ConfigReload "config_reload" "the configuration was to be read again";
    ConfigReloaded "config_reloaded" "a changed configuration was read";
    Started "started" "the server started";
    Stopped "stopped" "the server stopped";
    Lost "lost" "`count` events could not be written";
    Pruned "pruned" "files were removed by `audit.keep_files`; `firstSeq` is the first line left";
}

/// A reason is told up to here, in characters, so that a line stays a line.
pub const MAX_REASON: usize = 512;

/// One event. Whatever is not known is left out of its line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What was done or asked for.
    pub action: Action,
    /// [`OK`], or the code of the problem.
    pub outcome: &'static str,
    /// Whether somebody else had done with the token already: it was spent, or is held for another.
    #[serde(skip_serializing_if = "is_false")]
    pub reuse: bool,
    /// Whether only a plan was wanted, and nothing was changed.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// The name of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The identifier of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The user, masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The identifiers of the keys it was about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// The address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The request, as in the log and in `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Why it ended so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many events are not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The first line that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Event {
    /// An event of which nothing else is known.
    pub fn new(action: Action, outcome: &'static str) -> Self {
        Self {
            action,
            outcome,
            reuse: false,
            dry_run: false,
            caller: None,
            tenant: None,
            jti: None,
            username: None,
            keys: Vec::new(),
            source: None,
            request_id: None,
            reason: None,
            count: None,
            first_seq: None,
        }
    }
}

/// Where lines go.
#[derive(Debug)]
pub enum Sink {
    /// Nowhere.
    Off,
    /// To standard output, for whoever collects it.
    Stdout,
    /// To files.
    File(Trail),
}

/// Takes events and never waits. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Audit(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// How the trail is.
#[derive(Debug, Default)]
struct Health {
    lost: AtomicU64,
    is_failing: AtomicBool,
}

impl Health {
    /// Counts an event that will never be written.
    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// It is said once, when it begins.
    fn fail(&self, why: &str) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::error!(reason = why, "the audit trail loses events; requests are answered");
        }
    }

    fn recover(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            let lost = self.lost.load(Ordering::Relaxed);
            tracing::warn!(lost_since_start = lost, "the audit trail is written again");
        }
    }
}

impl Audit {
    /// A trail that nobody keeps.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the thread that writes.
    pub fn start(sink: Sink, clock: Arc<dyn Clock>) -> Self {
        let (queue, health) = (Arc::new(Queue::default()), Arc::new(Health::default()));
        let writer = writer::spawn(sink, &queue, &health, &clock);
        Self(writer.map(|writer| {
            Arc::new(Inner { queue, health, clock, writer: Mutex::new(Some(writer)) })
        }))
    }

    /// Whether anybody keeps what is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands an event over to be written. It never waits: where too many wait already, the event is
    /// lost, and counted.
    pub fn record(&self, event: Event) {
        let Some(inner) = &self.0 else { return };
        if !inner.queue.push(Entry { event, at: inner.clock.now() }) {
            inner.health.lose();
            inner.health.fail("more events wait than may");
        }
    }

    /// The server started; `cut` is what its last end left torn.
    pub fn started(&self, cut: Option<&Cut>) {
        let reason = cut.map(|cut| format!("{} bytes of a torn last line were cut off", cut.bytes));
        self.record(Event { reason, ..Event::new(Action::Started, OK) });
    }

    /// A changed configuration was taken up, or refused for this reason.
    pub fn config_reloaded(&self, refused: Option<String>) {
        let outcome = if refused.is_none() { OK } else { "config_invalid" };
        // It quotes the configuration, which may hold anything.
        let reason = refused.map(|reason| reason.chars().take(MAX_REASON).collect());
        self.record(Event { reason, ..Event::new(Action::ConfigReloaded, outcome) });
    }

    /// Changed keys of a tenant are in use; `active` is the one that signs now.
    pub fn keys_changed(&self, tenant: &TenantName, active: Option<&KeyId>) {
        let outcome = if active.is_some() { OK } else { "no_active_key" };
        self.record(Event {
            tenant: Some(tenant.to_string()),
            keys: active.map(ToString::to_string).into_iter().collect(),
            ..Event::new(Action::KeysChanged, outcome)
        });
    }

    /// Events that could not be written, since the start.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.health.lost.load(Ordering::Relaxed))
    }

    /// Whether events are being lost, or may be.
    pub fn is_failing(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.health.is_failing.load(Ordering::Relaxed))
    }

    /// Writes everything that waits and ends the thread; what comes later is lost. It waits for the
    /// disk, for a while.
    pub fn stop(&self) {
        let Some(inner) = &self.0 else { return };
        self.record(Event::new(Action::Stopped, OK));
        inner.queue.close();
        let writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return };
        let deadline = Instant::now() + DRAIN;
        while !writer.is_finished() {
            if Instant::now() > deadline {
                tracing::error!("the last events of the audit trail could not be written in time");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = writer.join();
    }
}
