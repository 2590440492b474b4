//! The service in this process: real keys in a real folder, the real router, a clock to move by
//! hand. No socket; `server.rs` has one.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use resetd::audit::{Audit, Sink};
use resetd::clock::{Clock as _, ManualClock};
use resetd::domain::caller::{Caller, Callers, KeyHash, Scope, api_key};
use resetd::domain::dialect::Dialects;
use resetd::domain::policy::{Lifetime, Policy, TenantName};
use resetd::domain::rotation::KeyRules;
use resetd::domain::secret::Secret;
use resetd::http::{Door, Gate, Limits, Optional, Pages, Rates, TenantRates, router};
use resetd::journal::StateFolder;
use resetd::key_admin::{KeyFolder, RunningKeys};
use resetd::keystore::Keystore;
use resetd::outbox::Outbox;
use resetd::revocation::Revocations;
use resetd::service::{KeysOf, Parts, ResetService, Sending, Tenant, TenantParts};
use resetd::webhook::Endpoint;
use resetd_verify::{Algorithm, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// When the process of every in-process app started.
pub(crate) const STARTED: Timestamp = Timestamp::from_seconds(1_799_990_000);
pub(crate) const ISSUER: &str = "https://reset.example.com";
pub(crate) const AUDIENCE: &str = "https://app.example.com";

/// What a test may want to be different.
pub(crate) struct Options {
    pub(crate) policy: Policy,
    /// Names of tenants besides the default one. Each is like it but for its issuer and its keys.
    pub(crate) tenants: Vec<&'static str>,
    /// Names of more tenants, which sign with the keys of the default one.
    pub(crate) sharers: Vec<&'static str>,
    pub(crate) capacity: u64,
    pub(crate) jwks_max_age: u64,
    pub(crate) rotate_every: Option<u64>,
    pub(crate) algorithm: Algorithm,
    pub(crate) started: Timestamp,
    pub(crate) max_body_bytes: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) rates: Rates,
    /// Where the caller that may do everything may call from.
    pub(crate) networks: Vec<ipnet::IpNet>,
    pub(crate) salt: [u8; 16],
    pub(crate) audit: Sink,
    /// How links of every tenant go to its users.
    pub(crate) sending: Sending,
    pub(crate) outbox: Outbox,
    pub(crate) pages: Pages,
    /// Who is told of what happens.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Where a journal is kept; nothing is written down without.
    pub(crate) state: Option<PathBuf>,
    pub(crate) dialects: Dialects,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy {
                tenant: TenantName::default(),
                issuer: ISSUER.into(),
                audience: AUDIENCE.into(),
                lifetime: Lifetime { default: 900, min: 60, max: 86_400 },
                leeway: 0,
                supersede: false,
            },
            tenants: Vec::new(),
            sharers: Vec::new(),
            capacity: 1_000_000,
            jwks_max_age: 300,
            rotate_every: None,
            algorithm: Algorithm::Es256,
            started: STARTED,
            max_body_bytes: 65_536,
            body_timeout: Duration::from_secs(5),
            rates: Rates {
                source_per_minute: None,
                all: TenantRates::default(),
                tenants: BTreeMap::new(),
                holder_revocations_per_minute: NonZeroU32::MAX,
                trusted_proxies: Vec::new(),
            },
            networks: Vec::new(),
            salt: [0; 16],
            audit: Sink::Off,
            sending: Sending::default(),
            outbox: Outbox::in_memory(1000),
            pages: Pages::default(),
            endpoints: Vec::new(),
            state: None,
            dialects: Dialects::default(),
        }
    }
}

pub(crate) struct TestApp {
    pub(crate) service: ResetService,
    pub(crate) running: RunningKeys,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) keystore: Keystore,
    /// A key with all scopes.
    pub(crate) api_key: Secret,
    router: Router,
    keys: Vec<(Scope, Secret)>,
    tenant: TenantName,
    folder: Arc<TempDir>,
}

impl TestApp {
    /// Started long enough ago that the second of the start is over.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        change(&mut options);
        let folder = tempfile::tempdir().unwrap();
        let keystore =
            Keystore::new(folder.path().join("keys"), options.policy.longest_acceptance());
        for policy in policies(options.policy.clone(), &options.tenants) {
            keystore_of(&keystore, &policy)
                .generate(options.algorithm, options.started, options.started)
                .unwrap();
        }
        let app = Self::start_on(keystore, options, folder);
        app.clock.advance(10);
        app
    }

    /// On a folder of keys that is there already; the clock stands at the start.
    pub(crate) fn start_on(keystore: Keystore, options: Options, folder: TempDir) -> Self {
        let clock = Arc::new(ManualClock::new(options.started));
        Self::start_beside(keystore, options, Arc::new(folder), clock)
    }

    fn start_beside(
        keystore: Keystore,
        options: Options,
        folder: Arc<TempDir>,
        clock: Arc<ManualClock>,
    ) -> Self {
        let tenant = TenantName::default();
        let all = key_of(&tenant);
        let keys: Vec<_> =
            (1..).zip(Scope::ALL).map(|(n, scope)| (scope, api_key([n; 32]))).collect();
        let names = [options.tenants, options.sharers.clone()].concat();
        let policies = policies(options.policy, &names);
        let mut callers: Vec<_> = policies
            .iter()
            .map(|policy| Caller {
                networks: options.networks.clone(),
                ..caller("all", &policy.tenant, &Scope::ALL, &key_of(&policy.tenant))
            })
            .collect();
        callers
            .extend(keys.iter().map(|(scope, key)| caller(scope.name(), &tenant, &[*scope], key)));
        let rules = KeyRules {
            algorithm: options.algorithm,
            jwks_max_age: options.jwks_max_age,
            publish_ahead: options.jwks_max_age + 60,
            rotate_every: options.rotate_every,
        };
        let (mut tenants, mut folders) = (Vec::new(), Vec::new());
        for policy in policies {
            if options.sharers.contains(&policy.tenant.as_str()) {
                tenants.push(TenantParts {
                    policy,
                    keys: KeysOf::Default,
                    sending: options.sending.clone(),
                });
                continue;
            }
            let keystore = keystore_of(&keystore, &policy);
            let folder = KeyFolder::new(policy.tenant.clone(), keystore, rules);
            let (keyring, fingerprint) = folder.take().unwrap();
            tenants.push(TenantParts {
                policy,
                keys: KeysOf::Itself(keyring),
                sending: options.sending.clone(),
            });
            folders.push((folder, fingerprint));
        }
        let revocations = match &options.state {
            Some(state) => {
                let state = StateFolder::open(state, options.salt).unwrap();
                let recovered = state.recover(clock.now(), &|_, _| {}).unwrap();
                Revocations::journalled(state, &recovered, clock.now(), options.capacity)
            }
            None => Revocations::guarding(clock.now(), options.capacity, options.salt),
        };
        let service = ResetService::new(Parts {
            tenants,
            callers: Callers::new(callers),
            bearers: Vec::new(),
            revocations,
            outbox: options.outbox,
            endpoints: options.endpoints,
            clock: clock.clone(),
            jwks_max_age: options.jwks_max_age,
        })
        .unwrap();
        let audit = Audit::start(options.audit, clock.clone());
        let running = RunningKeys::new(service.clone(), clock.clone(), audit, folders);
        let limits =
            Limits { max_body_bytes: options.max_body_bytes, body_timeout: options.body_timeout };
        let gate = Gate::new(options.rates);
        let optional = Optional { pages: options.pages, dialects: options.dialects };
        let router = router(&running, limits, &gate, &optional, Door::Everybody);
        Self { service, running, clock, keystore, api_key: all, router, keys, tenant, folder }
    }

    /// Another process on the same folder, under the same clock.
    pub(crate) fn another(&self, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { started: self.now(), ..Options::default() };
        change(&mut options);
        Self::start_beside(self.keystore.clone(), options, self.folder.clone(), self.clock.clone())
    }

    /// The same service as a caller of another tenant has it.
    pub(crate) fn acting_for(&self, tenant: &str) -> Self {
        let tenant = TenantName::parse(tenant).unwrap();
        let folder = self.running.folder(self.service.tenant(&tenant).unwrap()).unwrap();
        Self {
            service: self.service.clone(),
            running: self.running.clone(),
            clock: self.clock.clone(),
            keystore: folder.keystore().clone(),
            api_key: key_of(&tenant),
            router: self.router.clone(),
            keys: Vec::new(),
            tenant,
            folder: self.folder.clone(),
        }
    }

    /// The tenant that the callers of this app act for.
    pub(crate) fn tenant(&self) -> &Tenant {
        self.service.tenant(&self.tenant).unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The key of a caller with exactly this scope.
    pub(crate) fn key_for(&self, scope: Scope) -> &str {
        self.keys.iter().find(|(known, _)| *known == scope).unwrap().1.expose()
    }

    /// A request with the key that may do everything.
    pub(crate) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let bearer = format!("Bearer {}", self.api_key.expose());
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, bearer)
    }

    /// Names the host, as every client does, unless the request names one itself.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        let host = HeaderValue::from_static("reset.example.com");
        request.headers_mut().entry(header::HOST).or_insert(host);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.into()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Sends it and is gone before it is answered.
    pub(crate) async fn send_and_leave(&self, request: Request<Body>) {
        tokio::select! {
            biased;
            answer = self.send(request) => panic!("it was answered at once: {answer:?}"),
            () = std::future::ready(()) => {}
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let request =
            self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    /// A new token for this user.
    pub(crate) async fn issue(&self, username: &str) -> String {
        let answer = self.post("/password-tokens", json!({ "username": username })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn check(&self, token: &str) -> Answer {
        self.get(&format!("/password-tokens/{token}")).await
    }

    pub(crate) async fn redeem(&self, token: &str) -> Answer {
        self.post("/redemptions", json!({ "token": token })).await
    }
}

/// The rules of all tenants, the default one first.
fn policies(default: Policy, tenants: &[&str]) -> Vec<Policy> {
    let mut policies = vec![default];
    for name in tenants {
        let default = policies[0].clone();
        let issuer = format!("{}/tenants/{name}", default.issuer);
        policies.push(Policy { tenant: TenantName::parse(name).unwrap(), issuer, ..default });
    }
    policies
}

/// A tenant's folder of keys.
fn keystore_of(default: &Keystore, policy: &Policy) -> Keystore {
    if policy.tenant.is_default() {
        return default.clone();
    }
    let folder = default.directory().join(policy.tenant.as_str());
    Keystore::new(folder, policy.longest_acceptance())
}

fn caller(name: &str, tenant: &TenantName, scopes: &[Scope], key: &Secret) -> Caller {
    Caller::with_key(name, tenant.clone(), scopes, KeyHash::of(key.expose()))
}

/// The key of a tenant's caller, who may do everything there.
fn key_of(tenant: &TenantName) -> Secret {
    let mut bytes = [255; 32];
    for (byte, of_name) in bytes.iter_mut().zip(tenant.as_str().bytes()) {
        *byte = of_name;
    }
    api_key(bytes)
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text);
    }

    /// Fails unless this is a well-formed problem with this status and code.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(body["code"], code);
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("urn:resetd:problem:{code}"));
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        for member in ["title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
        }
    }
}
