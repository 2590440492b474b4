//! The vectors of `resetd-verify` once more, through the doors that users have: HTTP and the
//! command line. What the verifier refuses, no door may let in, and each says why in its own words.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use resetd::domain::time::to_rfc3339;
use resetd::keystore::Keystore;
use resetd_verify::{MAX_LEEWAY, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp};
use crate::server::resetd;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/verify/tests/vectors");

/// A run that sees fewer has lost vectors. Raise it with the number of cases.
const LEAST_CASES: usize = 800;

/// The key of the vectors that has a name of its own choice. The keystore takes only keys named by
/// their thumbprint, so no running service can have it.
const NO_THUMBPRINT: &str = "rsa-pss";

/// What a path must percent-encode (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[tokio::test]
async fn every_vector_gets_its_answer_over_http() {
    let vectors = vectors();
    let start = start_before(&vectors);
    let (mut apps, mut failures, mut left_out) = (BTreeMap::new(), Failures::default(), 0);
    for vector in &vectors {
        if vector.kid().as_deref() == Some(NO_THUMBPRINT) {
            left_out += 1;
            continue;
        }
        let leeway = vector.leeway();
        let app = apps
            .entry((&vector.issuer, &vector.audience, leeway))
            .or_insert_with(|| start_app(vector, leeway, start));
        app.clock.set(Timestamp::from_seconds(vector.case.now));
        let path = utf8_percent_encode(&vector.case.token, RESERVED).to_string();
        let found = told_by_http(&app.check(&path).await);
        failures.note(vector, &vector.wanted_of_http(), &found);
    }
    failures.assert_none();
    assert!(left_out <= 30, "{left_out} of {}", vectors.len());
}

#[test]
fn every_vector_gets_its_answer_on_the_command_line() {
    let vectors = vectors();
    let keys = Path::new(FOLDER).join("keys.json");
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Failures::default();
        while let Some(vector) = vectors.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = told_by_command(vector, &keys);
            failures.note(vector, &vector.wanted_of_command(), &found);
        }
        failures
    };
    let mut failures = Failures::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            failures.0.extend(worker.join().unwrap().0);
        }
    });
    failures.assert_none();
}

#[derive(Deserialize)]
struct Group {
    issuer: String,
    audience: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    token: String,
    now: u64,
    #[serde(default)]
    leeway: u64,
    expect: Value,
}

/// A case with what its group says for all.
struct Vector {
    group: String,
    issuer: String,
    audience: String,
    case: Case,
}

impl Vector {
    /// What the token's header says, if it can be read at all.
    fn kid(&self) -> Option<String> {
        let (header, _) = self.case.token.split_once('.')?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let header: Value = serde_json::from_slice(&header).ok()?;
        header["kid"].as_str().map(ToOwned::to_owned)
    }

    /// The verifier cuts more than the most to the most. Both doors refuse it beforehand.
    fn leeway(&self) -> u64 {
        self.case.leeway.min(MAX_LEEWAY)
    }

    fn claims(&self) -> Option<&Value> {
        self.case.expect.get("claims")
    }

    fn error(&self) -> &Value {
        &self.case.expect["error"]
    }

    /// An expiry is told apart and nothing else. An empty text leaves a path that has no token.
    fn wanted_of_http(&self) -> Value {
        let Some(claims) = self.claims() else {
            let code = match self.error().as_str() {
                _ if self.case.token.is_empty() => "not_found",
                Some("expired") => "token_expired",
                _ => "token_unknown",
            };
            return json!({ "status": 404, "code": code });
        };
        let token = &self.case.token;
        let exp = claims["exp"].as_u64().map(Timestamp::from_seconds);
        let mut resource = json!({
            "token": token,
            "username": claims["sub"],
            "expiredTime": to_rfc3339(exp.unwrap()),
            "_links": [{ "href": format!("{}/password-tokens/{token}", self.issuer), "rel": "self" }],
        });
        for (member, claim) in [("credentialId", "credential_id"), ("userId", "user_id")] {
            if let Some(value) = claims.get(claim) {
                resource[member] = value.clone();
            }
        }
        json!({ "status": 200, "body": resource })
    }

    /// The verifier's own code. An empty text on standard input is no token but a wrong use.
    fn wanted_of_command(&self) -> Value {
        match self.claims() {
            Some(claims) => json!({ "exit": 0, "valid": true, "claims": claims, "code": null }),
            None if self.case.token.is_empty() => json!({ "exit": 2 }),
            None => json!({ "exit": 1, "valid": false, "claims": null, "code": self.error() }),
        }
    }
}

fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for entry in fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        let group = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        if !is_json || group.ends_with("keys") {
            continue;
        }
        let Group { issuer, audience, cases } =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        vectors.extend(cases.into_iter().map(|case| Vector {
            group: group.clone(),
            issuer: issuer.clone(),
            audience: audience.clone(),
            case,
        }));
    }
    let found = vectors.len();
    assert!(found >= LEAST_CASES, "only {found} vectors, {LEAST_CASES} are wanted");
    vectors
}

/// The vectors that do not get what is written.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn note(&mut self, vector: &Vector, wanted: &Value, found: &Value) {
        if found != wanted {
            let (group, name) = (&vector.group, &vector.case.name);
            let failure = format!("{group}: {name}\n  wanted {wanted}\n  found  {found}");
            self.0.push(failure);
        }
    }

    fn assert_none(&self) {
        let Self(failures) = self;
        assert!(failures.is_empty(), "{} vectors fail:\n{}", failures.len(), failures.join("\n"));
    }
}

/// The latest start from which on no accepted vector predates the process.
fn start_before(vectors: &[Vector]) -> Timestamp {
    let accepted = vectors.iter().filter_map(Vector::claims);
    let earliest = accepted.filter_map(|claims| claims["iat"].as_u64()).min();
    Timestamp::from_seconds(earliest.unwrap()).minus(1)
}

fn start_app(vector: &Vector, leeway: u64, started: Timestamp) -> TestApp {
    let mut options = Options { started, ..Options::default() };
    options.policy.issuer.clone_from(&vector.issuer);
    options.policy.audience.clone_from(&vector.audience);
    options.policy.leeway = leeway;
    let folder = tempfile::tempdir().unwrap();
    // The vectors know no life of keys, so here no key ever retires for good.
    let keystore = Keystore::new(folder.path().join("keys"), u64::MAX);
    make_folder(keystore.directory());
    for key in private_keys() {
        let kid = key["kid"].as_str().unwrap();
        if kid != NO_THUMBPRINT {
            let path = keystore.directory().join(format!("{kid}.jwk"));
            write_key(&path, key.to_string().as_bytes());
        }
    }
    TestApp::start_on(keystore, options, folder)
}

/// The private halves of the vectors' keys, with the times of a key that has always been there.
pub(crate) fn private_keys() -> Vec<Value> {
    let text = fs::read(Path::new(FOLDER).join("private-keys.json")).unwrap();
    let mut set: Value = serde_json::from_slice(&text).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    for key in keys.iter_mut() {
        for time in ["created", "not_before"] {
            key[time] = "1970-01-01T00:00:00Z".into();
        }
    }
    std::mem::take(keys)
}

/// Writes a file that only its owner may read, as a key must lie in its folder.
pub(crate) fn write_key(path: &Path, text: &[u8]) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).unwrap().write_all(text).unwrap();
}

/// Makes a folder that only its owner may use.
pub(crate) fn make_folder(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
}

fn told_by_http(answer: &Answer) -> Value {
    let body = answer.json();
    let status = answer.status.as_u16();
    if answer.status.is_success() {
        json!({ "status": status, "body": body })
    } else {
        json!({ "status": status, "code": body["code"] })
    }
}

fn told_by_command(vector: &Vector, keys: &Path) -> Value {
    let Vector { issuer, audience, case, .. } = vector;
    let mut child = resetd(Path::new(FOLDER))
        .args(["--output", "json", "verify", "-", "--jwks"])
        .arg(keys)
        .args(["--issuer", issuer, "--audience", audience])
        .args(["--at", &case.now.to_string()])
        .args(["--leeway", &vector.leeway().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // As `echo` sends it. The command takes off the one line break that `echo` adds, so a token
    // that ends with a line break of its own arrives with it.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{}\n", case.token).as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let exit = output.status.code();
    match serde_json::from_slice::<Value>(&output.stdout) {
        Ok(told) => json!({
            "exit": exit,
            "valid": told["valid"],
            "claims": told["claims"],
            "code": told["code"],
        }),
        Err(_) => json!({ "exit": exit }),
    }
}
