//! Wires a configuration into a running server. The only place that builds the parts.

mod connection;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use resetd_verify::{Algorithm, KeyId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Tenant as TenantConfig};
use crate::domain::caller::{Caller, Callers, KeyHash, Scope, api_key};
use crate::domain::keyring::Keyring;
use crate::domain::policy::TenantName;
use crate::domain::secret::Secret;
use crate::http::{Limits, router};
use crate::keystore::{Fingerprint, Keystore, KeystoreError};
use crate::random::{NoRandomness, Random};
use crate::service::{Error, Parts, ResetService, Tenant, TenantParts};

/// How often the folder of keys is looked at and expired marks give their memory back.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// What a start did that its user should know.
#[derive(Debug)]
pub struct Started {
    /// The address listened on.
    pub address: SocketAddr,
    /// The first key of each tenant for which it was made now, and the folder it is in.
    pub first_keys: Vec<(KeyId, PathBuf)>,
    /// The key of the one-run caller, if no caller is configured.
    pub one_run_api_key: Option<Secret>,
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
    /// The keys cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The service cannot be put together.
    #[error(transparent)]
    Service(#[from] Error),
    /// Anyone could reach the server and nobody may call it.
    #[error(
        "no caller is configured, and {address} is no loopback address; make one: resetd callers add --name web --scopes issue,check,redeem,revoke"
    )]
    NoCallers {
        /// The address.
        address: SocketAddr,
    },
    /// The system gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Runs the server until `shutdown` is done and the requests under way are answered. `started` is
/// called once, when it listens.
///
/// # Errors
/// [`ServeError`] when it cannot start. Once it listens, it runs.
pub async fn serve(
    config: Config,
    started: impl FnOnce(&Started),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = config.server.listen;
    if config.callers.is_empty() && !address.ip().is_loopback() {
        return Err(ServeError::NoCallers { address });
    }
    let failed = |error| ServeError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = config.listening_on(address);
    let Opened { tenants, folders, first_keys } = open_folders(&config, clock.as_ref())?;
    let (callers, one_run_api_key) = callers_or_one_run(&config)?;
    let service = ResetService::new(Parts {
        tenants,
        callers,
        capacity: config.state.capacity,
        clock,
        jwks_max_age: config.keys.jwks_max_age,
    })?;
    service.readiness()?;

    let limits = Limits {
        max_body_bytes: config.server.max_body_bytes,
        body_timeout: config.server.body_timeout,
    };
    let app = router(service.clone(), limits);
    let housekeeping = tokio::spawn(keep_house(service, folders));
    started(&Started { address, first_keys, one_run_api_key });
    let (stop, stopping) = watch::channel(false);
    let accepting = connection::accept(listener, app, config.server, stopping);
    let accepting: JoinHandle<()> = tokio::spawn(accepting);
    shutdown.await;
    tracing::info!("stopping: requests under way are answered first");
    let _ = stop.send(true);
    let _ = accepting.await;
    housekeeping.abort();
    Ok(())
}

/// What was found in the folders of keys.
#[derive(Default)]
struct Opened {
    tenants: Vec<TenantParts>,
    folders: Vec<WatchedFolder>,
    first_keys: Vec<(KeyId, PathBuf)>,
}

/// The keys of each tenant, the default one first.
fn open_folders(config: &Config, clock: &dyn Clock) -> Result<Opened, KeystoreError> {
    let mut opened = Opened::default();
    for TenantConfig { policy, keys, .. } in &config.tenants {
        let keystore = Keystore::new(&keys.directory, policy.longest_acceptance());
        let may_be_made = config.keys.is_default_directory || !policy.tenant.is_default();
        let first_key = make_first_key(&keystore, keys.algorithm, may_be_made, clock)?;
        opened.first_keys.extend(first_key.map(|kid| (kid, keys.directory.clone())));
        let mut folder = WatchedFolder::new(policy.tenant.clone(), keystore);
        opened.tenants.push(TenantParts { policy: policy.clone(), keyring: folder.load()? });
        opened.folders.push(folder);
    }
    Ok(opened)
}

/// An empty folder gets its first key. The default folder is made, and so is a tenant's in a folder
/// that is there. A folder that was named and is not there is a mistake: new keys in the wrong place
/// would break every link.
fn make_first_key(
    keystore: &Keystore,
    algorithm: Algorithm,
    may_be_made: bool,
    clock: &dyn Clock,
) -> Result<Option<KeyId>, KeystoreError> {
    if may_be_made {
        keystore.create()?;
        keystore.close_if_empty()?;
    }
    if !keystore.is_empty()? {
        return Ok(None);
    }
    let now = clock.now();
    keystore.generate(algorithm, now, now).map(Some)
}

fn callers_or_one_run(config: &Config) -> Result<(Callers, Option<Secret>), NoRandomness> {
    if !config.callers.is_empty() {
        return Ok((config.callers.clone(), None));
    }
    let key = api_key(Random::new().bytes()?);
    let caller = Caller {
        name: "one-run".into(),
        tenant: TenantName::default(),
        scopes: vec![Scope::Issue, Scope::Check, Scope::Redeem, Scope::Revoke],
        key_hash: KeyHash::of(key.expose()),
    };
    Ok((Callers::new(vec![caller]), Some(key)))
}

/// Looks after what changes without a request: the folders of keys, marks that have expired, the
/// machine's clock.
async fn keep_house(service: ResetService, mut folders: Vec<WatchedFolder>) {
    let mut lagging = false;
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        lagging = report_lag(service.clock_lag(), lagging);
        let service = service.clone();
        let work = move || {
            service.tidy();
            for folder in &mut folders {
                folder.reload(&service);
            }
            folders
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(looked_at) => folders = looked_at,
            Err(error) => return tracing::error!(%error, "the folders of keys are watched no more"),
        }
    }
}

fn report_lag(lag: u64, lagging: bool) -> bool {
    match (lagging, lag > 1) {
        (false, true) => tracing::warn!(
            lag_seconds = lag,
            "the machine's clock was set back; time goes on from where it was, so new tokens look \
             too new elsewhere; if the clock is right now, restart"
        ),
        (true, false) => tracing::info!("the machine's clock has caught up"),
        (false, false) | (true, true) => {}
    }
    lag > 1
}

/// A tenant's folder of keys as it was when its keys were last taken up.
struct WatchedFolder {
    tenant: TenantName,
    keystore: Keystore,
    seen: Option<Fingerprint>,
    /// The last fault told, so that it is told once.
    told: String,
}

impl WatchedFolder {
    fn new(tenant: TenantName, keystore: Keystore) -> Self {
        Self { tenant, keystore, seen: None, told: String::new() }
    }

    /// Takes the keys, and remembers what the folder looked like just before.
    fn load(&mut self) -> Result<Keyring, KeystoreError> {
        let seen = self.keystore.fingerprint()?;
        let keyring = self.keystore.load()?;
        self.seen = Some(seen);
        Ok(keyring)
    }

    /// Takes up what has changed. A folder that cannot be read as a whole, or in which there is no
    /// key any more, changes nothing: it is tried again until it can.
    fn reload(&mut self, service: &ResetService) {
        if self.seen.is_some() && self.keystore.fingerprint().ok() == self.seen {
            return;
        }
        let Some(tenant) = service.tenant(&self.tenant) else {
            return;
        };
        let fault = match self.load() {
            Ok(keyring) if keyring.is_empty() => {
                self.seen = None;
                format!("{}: has no key any more", self.keystore.directory().display())
            }
            Ok(keyring) => match tenant.replace_keyring(keyring) {
                Ok(()) => return self.report(tenant),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if fault != self.told {
            tracing::error!(tenant = %self.tenant, %fault, "the keys changed and are not used; those in use stay");
            self.told = fault;
        }
    }

    fn report(&mut self, tenant: &Tenant) {
        self.told.clear();
        let name = &self.tenant;
        match tenant.active_key() {
            Ok(_) => tracing::info!(tenant = %name, "the keys changed and are in use"),
            Err(error) => {
                tracing::error!(tenant = %name, %error, "the keys changed and are in use");
            }
        }
    }
}
