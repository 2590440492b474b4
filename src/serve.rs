//! Wires a configuration into a running server. The only place that builds the parts.

mod activity;
mod bearers;
mod connection;
mod directories;
mod housekeeping;
mod listener;
pub mod mail;
mod reload;
mod sending;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use axum::{Extension, Router};
use resetd_verify::{KeyId, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::audit::{Audit, AuditError, Rotation, Sink, Trail};
use crate::clock::{Clock, SystemClock};
use crate::config::{
    self, AuditSink, Config, Durability, Listen, Server, Tenant as TenantConfig, TenantLimits,
};
use crate::delivery::Delivery;
use crate::directory::OpenError;
use crate::domain::caller::{Caller, Callers, KeyHash, Scope, api_key};
use crate::domain::policy::TenantName;
use crate::domain::rotation::KeyRules;
use crate::domain::secret::Secret;
use crate::http::{
    Door, Gate, Limits, Page, PageError, Pages, Rates, ReloadConfig, TenantRates, only_over_tls,
    router,
};
use crate::journal::{Cut, Recovered, StateError, StateFolder};
use crate::key_admin::{KeyFolder, RunningKeys};
use crate::keystore::{Fingerprint, Keystore, KeystoreError, PassphraseError, Passphrases};
use crate::outbox::{Outbox, OutboxError};
use crate::random::{NoRandomness, Random};
use crate::revocation::{Forgotten, Revocations};
use crate::service::{Error, KeysOf, Parts, ResetService, Sending, TenantParts};
use crate::tls::{RunningTls, TlsError};
use crate::webhook::Endpoint;
use bearers::Kept;
use connection::{Behind, Handshakes};
use housekeeping::keep_house;
use reload::Reloader;
use sending::{Directories, sending_of, ways};

pub use directories::directory_of;
use listener::Listener;
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
    let (listener, listen) = bind(&config.server.listen, &config.server).await?;
    let admin = match &config.server.admin_listen {
        None => None,
        Some(listen) => Some(bind(listen, &config.server).await?),
    };

    let config = config.listening_on(&listen);
    if let Some(issuer) = config.doubled_issuer() {
        return Err(ServeError::SameIssuer { issuer: issuer.into() });
    }
    let sink = audit_sink(&config.audit)?;
    let endpoints: Vec<_> = config.webhooks.iter().cloned().map(Endpoint::new).collect();
    let ways = ways(&config, endpoints.clone())?;
    let sending = |tenant: &TenantConfig| sending_of(&config, tenant, &endpoints, &directories);
    let Opened { tenants, folders, first_keys } =
        open_folders(&config, &sending, SystemClock::new().now())?;
    let (revocations, clock) = revocations(&config, reading).await?;
    let outbox = outbox(&config)?;
    let (callers, one_run_api_key) = callers_or_one_run(&config)?;
    let providers = first_keys_of(config.bearers.clone()).await;
    let service = ResetService::new(Parts {
        tenants,
        callers,
        bearers: providers.iter().map(Kept::bearer).collect(),
        revocations,
        outbox: outbox.clone(),
        endpoints: endpoints.clone(),
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
    let keys = RunningKeys::new(service, Arc::clone(&clock), audit.clone(), folders);

    let limits = Limits {
        max_body_bytes: config.server.max_body_bytes,
        body_timeout: config.server.body_timeout,
    };
    let (gate, pages) = (Gate::new(rates(&config)), pages(&config)?);
    let is_one_run = AtomicBool::new(one_run_api_key.is_some());
    let (service, settings) = (keys.service().clone(), Mutex::new(reload.settings));
    let (read, gate_of, audit_of) = (reload.read, gate.clone(), audit.clone());
    let reloader = Reloader { read, service, gate: gate_of, audit: audit_of, settings, is_one_run };
    let reload_config = reloader.into_config();
    let reloading = tokio::spawn(reload_when(reload.wanted, reload_config.clone()));
    let (stop, stopping) = watch::channel(false);
    let admin_listen = admin.as_ref().map(|(_, listen)| listen.clone());
    let doors = match admin {
        None => vec![(listener, Door::Everybody)],
        Some((admin, _)) => vec![(listener, Door::Apps), (admin, Door::Admins)],
    };
    let has_tls = tls.is_some();
    let behind = |listener: &Listener, door| {
        let app =
            router(&keys, limits, &gate, &pages, door).layer(Extension(reload_config.clone()));
        behind(listener, door, app, tls.as_ref(), &config.server)
    };
    let doors = doors.into_iter().map(|(listener, door)| {
        let behind = behind(&listener, door);
        (listener, behind)
    });
    let doors: Vec<_> = doors.collect();
    let housekeeping = tokio::spawn(keep_house(keys, tls, clock));
    let providers = tokio::spawn(bearers::keep(providers));
    let looking = tokio::spawn(directories::keep(directories.into_values().collect()));
    started(&Started { listen, admin_listen, has_tls, first_keys, one_run_api_key });
    let (cease, ceasing) = watch::channel(None);
    let delivering = tokio::spawn(delivery.run(ceasing));
    let accepting: Vec<JoinHandle<()>> = doors
        .into_iter()
        .map(|(listener, behind)| connection::accept(listener, behind, stopping.clone()))
        .map(tokio::spawn)
        .collect();
    shutdown.await;
    tracing::info!("stopping: requests under way are answered first");
    let end = Instant::now() + config.server.shutdown;
    let _ = stop.send(true);
    for accepting in accepting {
        let _ = accepting.await;
    }
    // What the last requests promised is sent as well, if it can be in time.
    let _ = cease.send(Some(end));
    let _ = delivering.await;
    close_outbox(outbox).await;
    housekeeping.abort();
    reloading.abort();
    providers.abort();
    looking.abort();
    // It waits for the disk. That it is done is all there is to know.
    let _ = tokio::task::spawn_blocking(move || audit.stop()).await;
    Ok(())
}

/// A provider that does not answer keeps nobody else out; its clients are let in when it does.
async fn first_keys_of(configured: Vec<config::Bearer>) -> Vec<Kept> {
    let looked = tokio::task::spawn_blocking(move || {
        let mut kept: Vec<_> = configured.into_iter().map(Kept::new).collect();
        kept.iter_mut().for_each(Kept::look);
        kept
    });
    looked.await.unwrap_or_default()
}

/// It waits for the disk.
async fn close_outbox(outbox: Outbox) {
    let is_durable = outbox.is_durable();
    let left = tokio::task::spawn_blocking(move || outbox.close()).await.unwrap_or_default();
    match (left, is_durable) {
        (0, _) => {}
        (left, true) => tracing::info!(left, "what was not sent yet is sent after the next start"),
        (left, false) => tracing::warn!(left, "what was not sent yet is lost: there is no journal"),
    }
}

/// Reloads whenever somebody asks for it with a signal.
async fn reload_when(wanted: Arc<Notify>, config: ReloadConfig) {
    loop {
        wanted.notified().await;
        let config = config.clone();
        // What came of it is in the log.
        let _ = tokio::task::spawn_blocking(move || config.run()).await;
    }
}

fn rates(Config { limits, tenants, .. }: &Config) -> Rates {
    let of_tenant = |tenant: &TenantConfig| {
        let TenantLimits { caller_per_minute, user_tokens_per_hour } = tenant.limits;
        let rates = TenantRates { caller_per_minute, user_tokens_per_hour };
        (tenant.policy.tenant.clone(), rates)
    };
    Rates {
        source_per_minute: limits.source_per_minute,
        all: TenantRates {
            caller_per_minute: limits.caller_per_minute,
            user_tokens_per_hour: limits.user_tokens_per_hour,
        },
        tenants: tenants.iter().map(of_tenant).collect(),
        holder_revocations_per_minute: limits.holder_revocations_per_minute,
        trusted_proxies: limits.trusted_proxies.clone(),
    }
}

/// Opened before anything is changed: a file that cannot be used is no reason to make a key.
fn open_directories(config: &Config) -> Result<Directories, ServeError> {
    let opened = config.tenants.iter().filter_map(|tenant| {
        let name = tenant.policy.tenant.clone();
        directory_of(tenant).transpose().map(|opened| Ok((name, opened?)))
    });
    opened.collect()
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

/// Opened before anything is changed: a trail that cannot be kept is no reason to make a key.
fn audit_sink(audit: &config::Audit) -> Result<Sink, AuditError> {
    let rotation = Rotation { bytes: audit.rotate_bytes, keep: audit.keep_files };
    Ok(match audit.sink {
        AuditSink::Off => Sink::Off,
        AuditSink::Stdout => Sink::Stdout,
        AuditSink::File => Sink::File(Trail::open(&audit.directory, rotation)?),
    })
}

/// Writes the first line of this process.
fn start_audit(sink: Sink, clock: &Arc<dyn Clock>) -> Audit {
    let cut = if let Sink::File(trail) = &sink { trail.cut().cloned() } else { None };
    if let Some(cut) = &cut {
        tracing::warn!(
            file = %cut.path.display(), bytes = cut.bytes,
            "the last line of the audit trail was torn and is cut off"
        );
    }
    let audit = Audit::start(sink, Arc::clone(clock));
    audit.started(cut.as_ref());
    audit
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

async fn bind(listen: &Listen, server: &Server) -> Result<(Listener, Listen), ServeError> {
    let listener = Listener::bind(listen, server.socket_mode).await?;
    // It is known what was asked for; what came of port 0 is asked of the system.
    let place = listener.place().unwrap_or_else(|_| listen.clone());
    Ok((listener, place))
}

/// On a Unix socket plain HTTP is spoken, on an address TLS if there is a certificate.
fn behind(
    listener: &Listener,
    door: Door,
    app: Router,
    tls: Option<&RunningTls>,
    limits: &Server,
) -> Behind {
    let limits = Arc::new(limits.clone());
    let Some(tls) = tls else {
        return Behind { app, tls: None, limits };
    };
    // Wherever health and metrics are asked for, they tell of the certificate.
    let app = app.layer(Extension(tls.clone()));
    match listener {
        Listener::Socket(..) => Behind { app, tls: None, limits },
        Listener::Address(_) => {
            Behind { app: only_over_tls(app), tls: Some(handshakes(tls.clone(), door)), limits }
        }
    }
}

fn handshakes(tls: RunningTls, door: Door) -> Handshakes {
    Box::new(move || {
        TlsAcceptor::from(match door {
            Door::Apps | Door::Everybody => tls.for_apps(),
            Door::Admins => tls.for_admins(),
        })
    })
}

/// What was spent and revoked, and a clock that is not behind it.
async fn revocations(
    config: &Config,
    reading: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Revocations, Arc<dyn Clock>), ServeError> {
    let (state, clock) = (&config.state, SystemClock::new());
    if state.durability == Durability::Guard {
        let salt = Random::new().bytes()?;
        return Ok((Revocations::guarding(clock.now(), state.capacity, salt), Arc::new(clock)));
    }
    let folder = StateFolder::open(&state.directory, Random::new().bytes()?)?;
    let recovered = folder.recover(clock.now(), reading)?;
    report(&recovered);
    let clock = SystemClock::not_before(recovered.high_water);
    let forgotten = match (recovered.is_blank, state.after_restore) {
        (_, true) => Some(Forgotten::AfterRestore),
        (true, false) => Some(Forgotten::NewState),
        (false, false) => None,
    };
    let (now, acceptance) = (clock.now(), longest_acceptance(config));
    let mut revocations = Revocations::journalled(folder, &recovered, now, state.capacity);
    if let Some(why) = forgotten {
        revocations.forget_before(now, acceptance, why).wait().await.map_err(Error::from)?;
        tracing::info!("what was spent before is not known: older tokens are refused");
    }
    // What was read back is not the last batch from here on, so damage to it is told from a torn end. Not
    // sooner: a journal in which anything stands is not new.
    revocations.tick(now);
    Ok((revocations, Arc::new(clock)))
}

/// What is to be sent. The folder is locked by now, so no other process has it.
fn outbox(config: &Config) -> Result<Outbox, OutboxError> {
    let (state, capacity) = (&config.state, config.outbox.capacity);
    match state.durability {
        Durability::Journal => Outbox::open(&state.directory, capacity),
        Durability::Guard => Ok(Outbox::in_memory(capacity)),
    }
}

fn report(recovered: &Recovered) {
    for Cut { path, at, bytes } in &recovered.cuts {
        tracing::warn!(
            file = %path.display(), at, bytes,
            "the end of the journal was torn and is cut off; nobody was told of what stood there"
        );
    }
    if !recovered.events.is_empty() {
        tracing::info!(events = recovered.events.len(), "the journal is read");
    }
}

fn longest_acceptance(config: &Config) -> u64 {
    let acceptances = config.tenants.iter().map(|tenant| tenant.policy.longest_acceptance());
    acceptances.max().unwrap_or_default()
}

/// The folder of the keys that a tenant signs with, with what decrypts them and the rules for them. A
/// key is kept there for as long as any who share it need it.
///
/// # Errors
/// [`ServeError::Passphrase`] when what is configured is no passphrase.
pub fn key_folder(config: &Config, tenant: &TenantConfig) -> Result<KeyFolder, ServeError> {
    let keys = &tenant.keys;
    let passphrases = match &config.keys.passphrases {
        None => Passphrases::none(),
        Some(text) => Passphrases::parse(text.expose())?,
    };
    let rules = KeyRules {
        algorithm: keys.algorithm,
        jwks_max_age: config.keys.jwks_max_age,
        publish_ahead: keys.publish_ahead,
        rotate_every: keys.rotate_every,
    };
    let keystore = Keystore::new(&keys.directory, config.longest_acceptance(&keys.owner));
    let keystore = keystore.with_passphrases(passphrases);
    Ok(KeyFolder::new(keys.owner.clone(), keystore, rules))
}

/// What was found in the folders of keys.
#[derive(Default)]
struct Opened {
    tenants: Vec<TenantParts>,
    folders: Vec<(KeyFolder, Fingerprint)>,
    first_keys: Vec<(KeyId, PathBuf)>,
}

/// The keys of each tenant, the default one first. An empty folder gets its first key; a tenant that
/// shares the keys of the default one has no folder.
fn open_folders(
    config: &Config,
    sending: &impl Fn(&TenantConfig) -> Sending,
    now: Timestamp,
) -> Result<Opened, ServeError> {
    let mut opened = Opened::default();
    for tenant in &config.tenants {
        let (policy, sending) = (tenant.policy.clone(), sending(tenant));
        if tenant.shares_keys() {
            opened.tenants.push(TenantParts { policy, keys: KeysOf::Default, sending });
            continue;
        }
        let folder = key_folder(config, tenant)?;
        let keystore = folder.keystore();
        // The default folder is made, and so is a tenant's in a folder that is there. One that was
        // named and is not there is a mistake: new keys in the wrong place would break every link.
        if config.keys.is_default_directory || !policy.tenant.is_default() {
            keystore.create()?;
            keystore.close_if_empty()?;
        }
        let first_key = keystore.generate_first(tenant.keys.algorithm, now)?;
        opened.first_keys.extend(first_key.map(|kid| (kid, tenant.keys.directory.clone())));
        let (keyring, fingerprint) = folder.take()?;
        opened.tenants.push(TenantParts { policy, keys: KeysOf::Itself(keyring), sending });
        opened.folders.push((folder, fingerprint));
    }
    Ok(opened)
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
