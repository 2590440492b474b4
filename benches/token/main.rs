//! What a token costs above the bare signature: encoding, verifying and claiming one, each beside
//! ring's own operation on the same bytes.
//!
//! `cargo bench --bench token` first measures the time of each by itself. Such times drift on a
//! machine that does other things, so a table of ratios comes last (`measure.rs`).

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod measure;

use std::fs;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use resetd::clock::{Clock as _, SystemClock};
use resetd::domain::caller::Callers;
use resetd::domain::identifier::Username;
use resetd::domain::issue::{self, IssueRequest, IssuedToken};
use resetd::domain::keyring::Key;
use resetd::domain::policy::{Expiry, Lifetime, Policy, TenantName};
use resetd::keystore::Keystore;
use resetd::outbox::Outbox;
use resetd::random::Random;
use resetd::revocation::Revocations;
use resetd::service::{KeysOf, Parts, RedeemRequest, ResetService, Sending, Tenant, TenantParts};
use resetd_verify::crypto::PROVIDER;
use resetd_verify::{Algorithm, Claims, KeySet, TOKEN_TYPE, Timestamp, TokenId};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use measure::{Group, Operation};

#[expect(clippy::disallowed_methods, reason = "this process is a benchmark of jsonwebtoken, too")]
fn main() {
    PROVIDER.install_default().unwrap();
    let mut groups = Vec::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let issuer = Issuer::with_new_key(algorithm);
        groups.push(encoding(&issuer));
        groups.push(verifying(&issuer));
        if algorithm == Algorithm::Es256 {
            groups.push(claiming(&issuer));
        }
    }
    measure::run(&mut groups);
}

/// The answer of what waits for no disk.
fn at_once<T>(operation: impl Future<Output = T>) -> T {
    match pin!(operation).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("in guard mode nothing waits for a disk"),
    }
}

fn encoding(issuer: &Issuer) -> Group {
    let (policy, key, now) = (issuer.policy.clone(), issuer.key(), issuer.now);
    let (request, random) = (request(1), Random::new());
    let encode =
        move || issue::issue(&request, &policy, &key, now, random.token_id().unwrap()).unwrap();

    let (service, mut users) = (issuer.service(), 0..);
    let whole =
        move || at_once(service.issue("bench", &request_of_next(&mut users), None)).unwrap();

    let mut header = Header::new(issuer.algorithm.into());
    header.typ = Some(TOKEN_TYPE.into());
    header.kid = Some(issuer.key().kid().to_string());
    let (claims, key) = (issuer.token().claims, issuer.encoding_key());
    let jsonwebtoken = move || jsonwebtoken::encode(&header, &claims, &key).unwrap();

    Group {
        name: format!("{} encode", issuer.algorithm),
        operations: vec![
            issuer.raw_sign(),
            Operation::repeat("issue", encode),
            Operation::repeat("Tenant::issue", whole),
            Operation::repeat("jsonwebtoken::encode", jsonwebtoken),
        ],
    }
}

fn verifying(issuer: &Issuer) -> Group {
    let (token, keys, now) = (issuer.token().token, issuer.key_set(), issuer.now);
    let verifier = issuer.policy.verifier();
    let verify = move || verifier.verify(token.expose(), &keys, now).unwrap();

    let (service, mut users) = (issuer.service(), 0..);
    let issuing = service.clone();
    let issue = move |times| {
        let issue = |_| {
            let answer =
                at_once(issuing.issue("bench", &request_of_next(&mut users), None)).unwrap();
            let token = answer.token.clone();
            RedeemRequest { token, credential_id: None, credential_version: None, hold: None }
        };
        (0..times).map(issue).collect()
    };
    let redeem =
        move |request: &RedeemRequest| at_once(service.redeem("web", request, None)).unwrap();

    let (token, key) = (issuer.token().token, issuer.decoding_key());
    let mut validation = Validation::new(issuer.algorithm.into());
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let jsonwebtoken =
        move || jsonwebtoken::decode::<Decoded>(token.expose(), &key, &validation).unwrap();

    Group {
        name: format!("{} verify", issuer.algorithm),
        operations: vec![
            issuer.raw_verify(),
            Operation::repeat("Verifier::verify", verify),
            Operation::consume("Tenant::redeem", issue, redeem),
            Operation::repeat("jsonwebtoken::decode", jsonwebtoken),
        ],
    }
}

/// Tokens that were never seen before, by a memory that starts empty in each slice.
fn claiming(issuer: &Issuer) -> Group {
    let (policy, claims, now) = (issuer.policy.clone(), issuer.token().claims, issuer.now);
    let random = Random::new();
    let fresh = move |times| {
        let revocations = Arc::new(Revocations::guarding(now.minus(1), u64::MAX, [0; 16]));
        let claims = |_| Claims { jti: random.token_id().unwrap(), ..claims.clone() };
        (0..times).map(claims).map(|claims| (revocations.clone(), claims)).collect()
    };
    let redeem = move |(revocations, claims): &(Arc<Revocations>, Claims)| {
        let _ = revocations.redeem(&policy, claims, None, || now).unwrap();
    };
    Group {
        name: "claim".into(),
        operations: vec![Operation::consume("Revocations::redeem", fresh, redeem)],
    }
}

const ISSUER: &str = "https://reset.example.com";
const AUDIENCE: &str = "https://app.example.com";

/// One key, ready for resetd, for ring and for jsonwebtoken.
struct Issuer {
    algorithm: Algorithm,
    policy: Policy,
    now: Timestamp,
    keystore: Keystore,
    _folder: TempDir,
}

impl Issuer {
    fn with_new_key(algorithm: Algorithm) -> Self {
        let policy = Policy {
            tenant: TenantName::default(),
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
            lifetime: Lifetime { default: 900, min: 60, max: 86_400 },
            leeway: 0,
            supersede: true,
        };
        // jsonwebtoken looks at the real time.
        let now = SystemClock::new().now();
        let folder = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(folder.path(), policy.longest_acceptance());
        keystore.generate(algorithm, now, now).unwrap();
        Self { algorithm, policy, now, keystore, _folder: folder }
    }

    fn key(&self) -> Arc<Key> {
        let snapshot = self.keystore.load().unwrap().at(self.now).unwrap();
        snapshot.active.unwrap()
    }

    fn key_set(&self) -> KeySet {
        self.keystore.load().unwrap().at(self.now).unwrap().verifying
    }

    fn service(&self) -> Tenant {
        let keyring = self.keystore.load().unwrap();
        let clock = Arc::new(SystemClock::new());
        let service = ResetService::new(Parts {
            tenants: vec![TenantParts {
                policy: self.policy.clone(),
                keys: KeysOf::Itself(keyring),
                sending: Sending::default(),
            }],
            callers: Callers::new(Vec::new()),
            bearers: Vec::new(),
            revocations: Revocations::guarding(clock.now(), u64::MAX, [0; 16]),
            outbox: Outbox::in_memory(0),
            endpoints: Vec::new(),
            clock,
            jwks_max_age: 300,
        });
        service.unwrap().tenant(&TenantName::default()).unwrap().clone()
    }

    fn token(&self) -> IssuedToken {
        let jti = TokenId::from_bytes([7; 16]);
        issue::issue(&request(1), &self.policy, &self.key(), self.now, jti).unwrap()
    }

    /// Bytes of the key: members of its file, one after the other.
    fn key_bytes(&self, members: &[&str]) -> Vec<u8> {
        let file = format!("{}.jwk", self.key().kid());
        let text = fs::read(self.keystore.directory().join(file)).unwrap();
        let jwk: Value = serde_json::from_slice(&text).unwrap();
        let bytes = |name: &&str| URL_SAFE_NO_PAD.decode(jwk[*name].as_str().unwrap()).unwrap();
        members.iter().flat_map(bytes).collect()
    }

    /// An uncompressed point, or the key of Ed25519.
    fn public_bytes(&self) -> Vec<u8> {
        if self.algorithm == Algorithm::Es256 {
            [vec![4], self.key_bytes(&["x", "y"])].concat()
        } else {
            self.key_bytes(&["x"])
        }
    }

    fn raw_sign(&self) -> Operation {
        let token = self.token().token;
        let input = token.expose().rsplit_once('.').unwrap().0.to_owned().into_bytes();
        let (private, public) = (self.key_bytes(&["d"]), self.public_bytes());
        if self.algorithm == Algorithm::Es256 {
            let random = SystemRandom::new();
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = EcdsaKeyPair::from_private_key_and_public_key(
                algorithm, &private, &public, &random,
            );
            let pair = pair.unwrap();
            Operation::repeat("ring", move || pair.sign(&random, &input).unwrap())
        } else {
            let pair = Ed25519KeyPair::from_seed_and_public_key(&private, &public).unwrap();
            Operation::repeat("ring", move || pair.sign(&input))
        }
    }

    fn raw_verify(&self) -> Operation {
        let token = self.token().token;
        let (input, signature) = token.expose().rsplit_once('.').unwrap();
        let input = input.as_bytes().to_vec();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let algorithm: &'static dyn VerificationAlgorithm =
            if self.algorithm == Algorithm::Es256 { &ECDSA_P256_SHA256_FIXED } else { &ED25519 };
        let key = UnparsedPublicKey::new(algorithm, self.public_bytes());
        Operation::repeat("ring", move || key.verify(&input, &signature).unwrap())
    }

    /// Another key of the same kind: jsonwebtoken wants PKCS#8, which the folder of keys has not.
    fn encoding_key(&self) -> EncodingKey {
        let random = SystemRandom::new();
        if self.algorithm == Algorithm::Es256 {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            EncodingKey::from_ec_der(pkcs8.as_ref())
        } else {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            EncodingKey::from_ed_der(pkcs8.as_ref())
        }
    }

    fn decoding_key(&self) -> DecodingKey {
        if self.algorithm == Algorithm::Es256 {
            DecodingKey::from_ec_der(&self.public_bytes())
        } else {
            DecodingKey::from_ed_der(&self.public_bytes())
        }
    }
}

/// What an app reads of a token that jsonwebtoken decodes.
#[derive(Deserialize)]
#[expect(dead_code, reason = "they are read by nobody, and reading them has a cost")]
struct Decoded {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    exp: u64,
    jti: String,
}

fn request(user: u64) -> IssueRequest {
    IssueRequest {
        username: Username::parse(&format!("user-{user}@example.com")).unwrap(),
        credential_version: None,
        credential_id: None,
        user_id: None,
        expiry: Expiry::Default,
    }
}

/// A user without older tokens, which a new one would supersede.
fn request_of_next(users: &mut impl Iterator<Item = u64>) -> IssueRequest {
    request(users.next().unwrap())
}
