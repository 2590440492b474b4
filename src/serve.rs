//! Wires a configuration into a running server. The only place that builds the parts.

mod activity;
mod bearers;
mod connection;
mod directories;
mod doors;
mod folders;
mod housekeeping;
mod listener;
pub mod mail;
mod reload;
mod sending;
mod shares;
mod state;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Extension;
use resetd_verify::KeyId;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::audit::AuditError;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Listen, Tenant};
use crate::delivery::Delivery;
use crate::directory::OpenError;
use crate::domain::caller::{Caller, Callers, KeyHash, Scope, api_key};
use crate::domain::policy::TenantName;
use crate::domain::secret::Secret;
use crate::http::{Gate, Limits, Optional, Page, PageError, Pages, ReloadConfig, router};
use crate::journal::StateError;
use crate::key_admin::RunningKeys;
use crate::keystore::{KeystoreError, PassphraseError};
use crate::outbox::OutboxError;
use crate::random::{NoRandomness, Random};
use crate::service::{Error, Parts, ResetService};
use crate::tls::{RunningTls, TlsError};
use crate::webhook::Endpoint;
use bearers::{Kept, first_keys_of};
use connection::Behind;
use directories::open_directories;
use doors::{Bound, behind};
use folders::open_folders;
use housekeeping::keep_house;
use listener::Listener;
use reload::{Reloader, rates, reload_when};
use sending::{Directories, sending_of, ways};
use state::{audit_sink, close_outbox, outbox, revocations, start_audit};

pub use directories::directory_of;
pub use folders::key_folder;
pub use reload::{ReadConfig, Settings};

/// What a start did that its user should know.
#[derive(Debug)]
pub struct Started {
    /// What is listened on.
    pub listen: Listen,
    /// Where keys are managed and metrics are read, if that is elsewhere.
    pub admin_listen: Option<Listen>,
    /// Whether TLS is spoken on addresses.
    pub has_tls: bool,
    /// The first key of each tenant for which it was made now, and the folder it is in.
    pub first_keys: Vec<(KeyId, PathBuf)>,
    /// The key of the one-run caller, if no caller is configured.
    pub one_run_api_key: Option<Secret>,
}

/// How the configuration is read again.
#[derive(Debug)]
pub struct Reload {
    /// How.
    pub read: ReadConfig,
    /// What is in force now.
    pub settings: Settings,
    /// Told whenever it is to be done.
    pub wanted: Arc<Notify>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {error}; choose another address: --listen 127.0.0.1:0 takes any free port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The Unix socket cannot be listened on.
    #[error("cannot listen on unix:{path}: {error}")]
    ListenOnSocket {
        /// Where it would be.
        path: PathBuf,
        /// What the system said, or what is there.
        #[source]
        error: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The directory of a tenant cannot be used.
    #[error("{section}.{error}")]
    Directory {
        /// The section that describes it.
        section: String,
        /// The setting, and why not.
        error: OpenError,
    },
    /// Mail cannot be sent as it is configured.
    #[error(transparent)]
    Mail(#[from] mail::MailError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// What should encrypt the keys is no passphrase.
    #[error("keys.passphrase_file or RESETD_KEYS_PASSPHRASE: {0}")]
    Passphrase(#[from] PassphraseError),
    /// The journal cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// What is to be sent cannot be written down.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The audit trail cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The service cannot be put together.
    #[error(transparent)]
    Service(#[from] Error),
    /// Anyone could reach the server and nobody may call it.
    #[error(
        "no caller is configured, and {address} is no loopback address; make one: resetd callers add --name web --scopes issue,deliver,check,redeem,revoke"
    )]
    NoCallers {
        /// The address.
        address: SocketAddr,
    },
    /// Two tenants cannot be told apart by their tokens.
    #[error(
        "{issuer:?} is the issuer of two tenants; wanted another one for each: tenants.*.issuer"
    )]
    SameIssuer {
        /// The issuer.
        issuer: String,
    },
    /// The page for people cannot be written.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The system gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Runs the server until `shutdown` is done and the requests under way are answered. `reading` hears
/// how many bytes of how many of the journal are read, from several threads; `started` is called once,
/// when it listens.
///
/// # Errors
/// [`ServeError`] when it cannot start. Once it listens, it runs.
pub async fn serve(
    config: Config,
    reload: Reload,
    reading: &(dyn Fn(u64, u64) + Sync),
    started: impl FnOnce(&Started),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    require_callers(&config)?;
    mail::check(&config)?;
    let tls = config.tls.clone().map(RunningTls::open).transpose()?;
    let directories = open_directories(&config)?;
    let bound = Bound::bind(&config.server).await?;
    let config = config.listening_on(&bound.listen);
    if let Some(issuer) = config.doubled_issuer() {
        return Err(ServeError::SameIssuer { issuer: issuer.into() });
    }
    let built = build(&config, &directories, reading).await?;
    let started_with = Started {
        listen: bound.listen.clone(),
        admin_listen: bound.admin.as_ref().map(|(_, listen)| listen.clone()),
        has_tls: tls.is_some(),
        first_keys: built.first_keys,
        one_run_api_key: built.one_run_api_key,
    };
    let is_one_run = started_with.one_run_api_key.is_some();
    let gate = Gate::new(rates(&config));
    let (reload_config, wanted) = reloading(reload, &built.keys, &gate, is_one_run);
    let doors = doors(&config, bound, &built.keys, &gate, tls.as_ref(), &reload_config)?;
    let (outbox, audit) = (built.keys.service().outbox().clone(), built.keys.audit().clone());
    let beside = [
        tokio::spawn(reload_when(wanted, reload_config)),
        tokio::spawn(keep_house(built.keys, tls, built.clock)),
        tokio::spawn(bearers::keep(built.providers)),
        tokio::spawn(directories::keep(directories.into_values().collect())),
    ];
    started(&started_with);
    answer_until(shutdown, doors, built.delivery, config.server.shutdown).await;
    close_outbox(outbox).await;
    beside.iter().for_each(JoinHandle::abort);
    // It waits for the disk. That it is done is all there is to know.
    let _ = tokio::task::spawn_blocking(move || audit.stop()).await;
    Ok(())
}

/// What a server is made of.
struct Built {
    keys: RunningKeys,
    delivery: Delivery,
    providers: Vec<Kept>,
    clock: Arc<dyn Clock>,
    first_keys: Vec<(KeyId, PathBuf)>,
    one_run_api_key: Option<Secret>,
}

/// Builds all parts, in the order in which a fault changes least.
async fn build(
    config: &Config,
    directories: &Directories,
    reading: &(dyn Fn(u64, u64) + Sync),
) -> Result<Built, ServeError> {
    let sink = audit_sink(&config.audit)?;
    let endpoints: Vec<_> = config.webhooks.iter().cloned().map(Endpoint::new).collect();
    let ways = ways(config, endpoints.clone())?;
    let sending = |tenant: &Tenant| sending_of(config, tenant, &endpoints, directories);
    let opened = open_folders(config, &sending, SystemClock::new().now())?;
    let (revocations, clock) = revocations(config, reading).await?;
    let outbox = outbox(config)?;
    let (callers, one_run_api_key) = callers_or_one_run(config)?;
    let providers = first_keys_of(config.bearers.clone()).await;
    let service = ResetService::new(Parts {
        tenants: opened.tenants,
        callers,
        bearers: providers.iter().map(Kept::bearer).collect(),
        revocations,
        outbox,
        endpoints,
        clock: Arc::clone(&clock),
        jwks_max_age: config.keys.jwks_max_age,
    })?;
    match service.readiness() {
        // Time stands still until the clock has caught up; that is no reason not to redeem.
        Err(error @ Error::ClockBehind { .. }) => tracing::warn!(%error, "time stands still"),
        ready => ready?,
    }
    let audit = start_audit(sink, &clock);
    let delivery = Delivery::new(service.clone(), ways, audit.clone());
    let keys = RunningKeys::new(service, Arc::clone(&clock), audit, opened.folders);
    let first_keys = opened.first_keys;
    Ok(Built { keys, delivery, providers, clock, first_keys, one_run_api_key })
}

/// How the configuration is taken up again, and whoever wants it to be.
fn reloading(
    reload: Reload,
    keys: &RunningKeys,
    gate: &Gate,
    is_one_run: bool,
) -> (ReloadConfig, Arc<Notify>) {
    let reloader = Reloader {
        read: reload.read,
        service: keys.service().clone(),
        gate: gate.clone(),
        audit: keys.audit().clone(),
        settings: Mutex::new(reload.settings),
        is_one_run: AtomicBool::new(is_one_run),
    };
    (reloader.into_config(), reload.wanted)
}

/// Each listener, and what is behind it.
fn doors(
    config: &Config,
    bound: Bound,
    keys: &RunningKeys,
    gate: &Gate,
    tls: Option<&RunningTls>,
    reload_config: &ReloadConfig,
) -> Result<Vec<(Listener, Behind)>, ServeError> {
    let limits = Limits {
        max_body_bytes: config.server.max_body_bytes,
        body_timeout: config.server.body_timeout,
    };
    let optional = Optional { pages: pages(config)?, dialects: config.dialects.clone() };
    let doors = bound.doors().into_iter().map(|(listener, door)| {
        let app = router(keys, limits, gate, &optional, door);
        let app = app.layer(Extension(reload_config.clone()));
        let behind = behind(&listener, door, app, tls, &config.server, gate);
        (listener, behind)
    });
    Ok(doors.collect())
}

/// Answers and sends until it is to stop. Then what is under way may end, all of it within one time: first
/// the requests, and then what they promised.
async fn answer_until(
    shutdown: impl Future<Output = ()>,
    doors: Vec<(Listener, Behind)>,
    delivery: Delivery,
    patience: Duration,
) {
    let (stop, stopping) = watch::channel(false);
    let (cease, ceasing) = watch::channel(None);
    let delivering = tokio::spawn(delivery.run(ceasing));
    let accepting: Vec<JoinHandle<()>> = doors
        .into_iter()
        .map(|(listener, behind)| connection::accept(listener, behind, stopping.clone()))
        .map(tokio::spawn)
        .collect();
    shutdown.await;
    tracing::info!("stopping: requests under way are answered first");
    let end = Instant::now() + patience;
    let _ = stop.send(true);
    for accepting in accepting {
        let _ = accepting.await;
    }
    let _ = cease.send(Some(end));
    let _ = delivering.await;
}

fn pages(config: &Config) -> Result<Pages, PageError> {
    let with_page =
        config.tenants.iter().filter_map(|tenant| Some((tenant, tenant.page.as_ref()?)));
    let pages = with_page.map(|(tenant, page)| {
        let shown = Page::new(page.continue_url.clone(), page.name.as_deref())?;
        Ok((tenant.policy.tenant.clone(), shown))
    });
    Ok(Pages::new(pages.collect::<Result<Vec<_>, _>>()?))
}

/// A key that is made up for one run is for this machine alone.
fn require_callers(config: &Config) -> Result<(), ServeError> {
    let listeners = [Some(&config.server.listen), config.server.admin_listen.as_ref()];
    let mut open = listeners.into_iter().flatten().filter(|listen| !listen.is_local());
    match open.find_map(Listen::address) {
        Some(address) if config.callers.is_empty() && config.bearers.is_empty() => {
            Err(ServeError::NoCallers { address })
        }
        Some(_) | None => Ok(()),
    }
}

fn callers_or_one_run(config: &Config) -> Result<(Callers, Option<Secret>), NoRandomness> {
    if !config.callers.is_empty() || !config.bearers.is_empty() {
        return Ok((config.callers.clone(), None));
    }
    let key = api_key(Random::new().bytes()?);
    let scopes = [Scope::Issue, Scope::Deliver, Scope::Check, Scope::Redeem, Scope::Revoke];
    let hash = KeyHash::of(key.expose());
    let caller = Caller::with_key("one-run", TenantName::default(), &scopes, hash);
    Ok((Callers::new(vec![caller]), Some(key)))
}
