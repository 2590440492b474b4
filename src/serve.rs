//! Wires a configuration into a running server. The only place that builds the parts.

mod connection;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use resetd_verify::KeyId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, address_as_issuer};
use crate::domain::caller::{Caller, Callers, KeyHash, Scope, api_key};
use crate::domain::keyring::Keyring;
use crate::domain::policy::{Policy, TenantName};
use crate::domain::secret::Secret;
use crate::http::{Limits, router};
use crate::keystore::{Fingerprint, Keystore, KeystoreError};
use crate::random::{NoRandomness, Random};
use crate::service::{Error, Parts, ResetService};

/// How often the folder of keys is looked at and expired marks give their memory back.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// What a start did that its user should know.
#[derive(Debug)]
pub struct Started {
    /// The address listened on.
    pub address: SocketAddr,
    /// The folder of keys.
    pub keys: PathBuf,
    /// The first key, if it was made now.
    pub first_key: Option<KeyId>,
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
    let policy = policy_at(&config, address);
    let keystore = Keystore::new(&config.keys.directory, policy.longest_acceptance());
    let first_key = make_first_key(&config, &keystore, clock.as_ref())?;
    let mut folder = WatchedFolder::new(keystore);
    let (callers, one_run_api_key) = callers_or_one_run(&config)?;
    let service = ResetService::new(Parts {
        policy,
        callers,
        keyring: folder.load()?,
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
    let housekeeping = tokio::spawn(keep_house(service, folder));
    started(&Started { address, keys: config.keys.directory, first_key, one_run_api_key });
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

/// Where no issuer is configured, it is the address really listened on.
fn policy_at(config: &Config, address: SocketAddr) -> Policy {
    let mut policy = config.policy.clone();
    if config.issuer_is_address {
        policy.issuer = address_as_issuer(address);
    }
    policy
}

/// An empty folder gets its first key, and the default folder is made. A folder that was named and
/// is not there is a mistake: new keys in the wrong place would break every link.
fn make_first_key(
    config: &Config,
    keystore: &Keystore,
    clock: &dyn Clock,
) -> Result<Option<KeyId>, KeystoreError> {
    if config.keys.is_default_directory {
        keystore.create()?;
        keystore.close_if_empty()?;
    }
    if !keystore.is_empty()? {
        return Ok(None);
    }
    let now = clock.now();
    keystore.generate(config.keys.algorithm, now, now).map(Some)
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

/// Looks after what changes without a request: the folder of keys, marks that have expired, the
/// machine's clock.
async fn keep_house(service: ResetService, mut folder: WatchedFolder) {
    let mut lagging = false;
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        lagging = report_lag(service.clock_lag(), lagging);
        let service = service.clone();
        let work = move || {
            service.tidy();
            folder.reload(&service);
            folder
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(looked_at) => folder = looked_at,
            Err(error) => return tracing::error!(%error, "the folder of keys is watched no more"),
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

/// The folder of keys as it was when its keys were last taken up.
struct WatchedFolder {
    keystore: Keystore,
    seen: Option<Fingerprint>,
    /// The last fault told, so that it is told once.
    told: String,
}

impl WatchedFolder {
    fn new(keystore: Keystore) -> Self {
        Self { keystore, seen: None, told: String::new() }
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
        let fault = match self.load() {
            Ok(keyring) if keyring.is_empty() => {
                self.seen = None;
                format!("{}: has no key any more", self.keystore.directory().display())
            }
            Ok(keyring) => match service.replace_keyring(keyring) {
                Ok(()) => return self.report(service),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if fault != self.told {
            tracing::error!(%fault, "the keys changed and are not used; those in use stay");
            self.told = fault;
        }
    }

    fn report(&mut self, service: &ResetService) {
        self.told.clear();
        match service.readiness() {
            Ok(()) => tracing::info!("the keys changed and are in use"),
            Err(error) => tracing::error!(%error, "the keys changed and are in use"),
        }
    }
}
