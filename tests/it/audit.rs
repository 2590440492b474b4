//! The audit trail: what makes a line, what a line says and does not say, and that no line can be
//! altered, removed or put in without being found. Here in this process; `audit/server.rs` has the
//! real program.

mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, header};
use resetd::audit::{
    Action, Audit, AuditError, Event, Expected, OK, Report, Rotation, Sink, Trail, files_in, verify,
};
use resetd::clock::ManualClock;
use resetd::domain::caller::Scope;
use resetd::http::Source;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{Answer, STARTED, TestApp};

const ALL_IN_ONE: Rotation = Rotation { bytes: u64::MAX, keep: 0 };

/// An app that keeps a trail, and the folder of it.
fn audited() -> (TestApp, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(&folder.path().join("audit"), ALL_IN_ONE).unwrap();
    let app = TestApp::start_with(|options| {
        options.audit = Sink::File(trail);
        options.tenants = vec!["acme"];
    });
    (app, folder)
}

/// All lines, once everything is written.
fn lines_of(app: &TestApp, folder: &TempDir) -> Vec<Value> {
    app.running.audit().stop();
    lines(&folder.path().join("audit"))
}

/// All whole lines; a running server may be writing the next one.
pub(crate) fn lines(folder: &Path) -> Vec<Value> {
    let texts = files_in(folder).unwrap().into_iter().map(|path| fs::read_to_string(path).unwrap());
    let text: String = texts.collect();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A trail of its own, with so many events.
fn trail_with(folder: &Path, rotation: Rotation, events: usize) {
    let clock = Arc::new(ManualClock::new(STARTED));
    let audit = Audit::start(Sink::File(Trail::open(folder, rotation).unwrap()), clock);
    for number in 0..events {
        audit.record(Event {
            caller: Some(format!("caller-{number}")),
            ..Event::new(Action::Issue, OK)
        });
    }
    audit.stop();
}

fn checked(folder: &Path, expected: &Expected) -> Report {
    verify(&files_in(folder).unwrap(), expected).unwrap()
}

fn whole() -> Expected {
    Expected { whole: true, ..Expected::default() }
}

/// What a line says, in one text. What is different in every run is a word.
fn told(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let is_there = |name: &'static str| if line[name].is_null() { "-" } else { name };
    [
        text("action"),
        text("outcome"),
        text("caller"),
        text("tenant"),
        is_there("jti").to_owned(),
        text("username"),
        is_there("keys").to_owned(),
        is_there("reason").to_owned(),
        if line["reuse"] == true { "reuse".into() } else { "-".into() },
    ]
    .join(" ")
}

async fn send(app: &TestApp, method: Method, path: &str, key: Option<&str>, body: Value) -> Answer {
    let mut request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .extension(Source("192.0.2.7".parse().unwrap()));
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    if body.is_null() {
        return app.send(request.body(Body::empty()).unwrap()).await;
    }
    let request = request.header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(body.to_string().into()).unwrap()).await
}

/// Sends each request and compares the lines that all of them together make.
struct Story {
    app: TestApp,
    folder: TempDir,
    key: String,
    wanted: Vec<String>,
}

impl Story {
    fn new() -> Self {
        let (app, folder) = audited();
        let key = app.api_key.expose().to_owned();
        Self { app, folder, key, wanted: Vec::new() }
    }

    async fn post(&mut self, path: &str, body: Value, wanted: &str) -> Value {
        let key = self.key.clone();
        self.send(Method::POST, path, Some(&key), body, wanted).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Value,
        wanted: &str,
    ) -> Value {
        self.wanted.extend((!wanted.is_empty()).then(|| wanted.to_owned()));
        let answer = send(&self.app, method, path, key, body).await;
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    async fn issue(&mut self) -> String {
        let wanted = "issue ok all default jti a***@e***.com - - -";
        let body = json!({ "username": "alice@example.com" });
        let answer = self.post("/password-tokens", body, wanted).await;
        answer["token"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn assert(self) {
        let lines = lines_of(&self.app, &self.folder);
        let found: Vec<_> = lines.iter().map(told).collect();
        let mut wanted = self.wanted;
        wanted.push("stopped ok - - - - - - -".into());
        assert_eq!(found, wanted);
        assert!(checked(&self.folder.path().join("audit"), &whole()).intact);
        for line in &lines[..lines.len() - 1] {
            if line["action"] != "keys_changed" {
                assert_eq!(line["source"], "192.0.2.7", "{line}");
                assert_eq!(line["requestId"].as_str().unwrap().len(), 16, "{line}");
            }
        }
    }
}

#[tokio::test]
async fn everything_that_becomes_of_a_token_makes_one_line() {
    let mut story = Story::new();
    let all = story.key.clone();
    let key = Some(all.as_str());
    let token = story.issue().await;
    let path = format!("/password-tokens/{token}");
    let good = "check ok all default jti a***@e***.com - - -";
    story.send(Method::GET, &path, key, Value::Null, good).await;
    story.send(Method::HEAD, &path, key, Value::Null, good).await;
    let redeem = json!({ "token": token });
    let good = "redeem ok all default jti a***@e***.com - - -";
    story.post("/redemptions", redeem.clone(), good).await;
    let used = "redeem token_used all default jti - - reason reuse";
    story.post("/redemptions", redeem, used).await;
    let used = "check token_used all default jti - - reason reuse";
    story.send(Method::GET, &path, key, Value::Null, used).await;
    let used = "revoke token_used all default jti - - reason -";
    story.send(Method::DELETE, &path, key, Value::Null, used).await;
    let path = format!("/password-tokens/{}", story.issue().await);
    let good = "revoke ok all default jti a***@e***.com - - -";
    story.send(Method::DELETE, &path, key, Value::Null, good).await;
    let gone = "check token_revoked all default jti - - reason -";
    story.send(Method::GET, &path, key, Value::Null, gone).await;
    let unknown = "check token_unknown all default - - - reason -";
    story.send(Method::GET, "/password-tokens/none", key, Value::Null, unknown).await;
    story.assert();
}

#[tokio::test]
async fn everything_that_becomes_of_a_hold_makes_one_line() {
    let mut story = Story::new();
    let token = story.issue().await;
    let wish = json!({ "token": token, "hold": 60 });
    let good = "hold ok all default jti a***@e***.com - - -";
    let held = story.post("/redemptions", wish.clone(), good).await;
    let own = "hold token_held all default jti - - reason -";
    story.post("/redemptions", wish, own).await;
    let other = story.app.key_for(Scope::Redeem).to_owned();
    let others = "redeem token_held redeem default jti - - reason reuse";
    let body = json!({ "token": token });
    story.send(Method::POST, "/redemptions", Some(&other), body, others).await;
    let other = story.app.key_for(Scope::Check).to_owned();
    let others = "check token_held check default jti - - reason reuse";
    let path = format!("/password-tokens/{token}");
    story.send(Method::GET, &path, Some(&other), Value::Null, others).await;
    let id = held["redemptionId"].as_str().unwrap();
    let (commit, cancel) =
        (format!("/redemptions/{id}/commit"), format!("/redemptions/{id}/cancel"));
    story.post(&cancel, Value::Null, "cancel ok all default jti - - - -").await;
    story.post(&commit, Value::Null, "commit hold_cancelled all default jti - - reason -").await;
    let unknown = "commit redemption_unknown all default - - - reason -";
    story.post("/redemptions/none/commit", Value::Null, unknown).await;
    let wish = json!({ "token": token, "hold": 61 });
    let held = story.post("/redemptions", wish, good).await;
    let commit = format!("/redemptions/{}/commit", held["redemptionId"].as_str().unwrap());
    story.post(&commit, Value::Null, "commit ok all default jti - - - -").await;
    story.assert();
}

#[tokio::test]
async fn revocations_say_whose_and_by_whom() {
    let mut story = Story::new();
    let token = story.issue().await;
    let holder = "revoke ok - default jti - - - -";
    let body = json!({ "token": token });
    story.send(Method::POST, "/revocations", None, body.clone(), holder).await;
    story.post("/revocations", body, "revoke ok all default jti - - - -").await;
    let body = json!({ "token": "none" });
    story.send(Method::POST, "/revocations", None, body, "revoke ok - - - - - - -").await;
    let user = json!({ "username": "alice@example.com" });
    story.post("/revocations", user, "revoke ok all default - a***@e***.com - - -").await;
    let all = json!({ "before": "now" });
    story.post("/revocations", all, "revoke ok all default - - - - -").await;
    let later = json!({ "username": "bob", "before": "2999-01-01T00:00:00Z" });
    let refused = "revoke cutoff_in_future all default - b*** - reason -";
    story.post("/revocations", later, refused).await;
    story
        .post("/revocations", json!({}), "revoke invalid_request all default - - - reason -")
        .await;
    story.assert();
}

#[tokio::test]
async fn whoever_is_not_let_in_makes_a_line() {
    let mut story = Story::new();
    let issue = json!({ "username": "alice" });
    let nobody = "issue unauthenticated - - - - - reason -";
    story.send(Method::POST, "/password-tokens", None, issue.clone(), nobody).await;
    story.send(Method::POST, "/password-tokens", Some("rsk_no"), issue.clone(), nobody).await;
    let other = story.app.key_for(Scope::Check).to_owned();
    let forbidden = "issue forbidden check default - - - - -";
    story.send(Method::POST, "/password-tokens", Some(&other), issue, forbidden).await;
    let query = "/password-tokens/x?access_token=y";
    let wanted = "check credential_in_query - - - - - - -";
    story.send(Method::GET, query, None, Value::Null, wanted).await;
    let nobody = "metrics unauthenticated - - - - - reason -";
    story.send(Method::GET, "/metrics", None, Value::Null, nobody).await;
    let nobody = "revoke unauthenticated - - - - - reason -";
    story.send(Method::POST, "/revocations", None, json!({}), nobody).await;
    let wanted = "issue invalid_request all default - - - reason -";
    story.post("/password-tokens", json!({ "user": 1 }), wanted).await;
    let past = json!({ "username": "bob", "expiredTime": "2001-01-01T00:00:00Z" });
    let wanted = "issue expiry_in_past all default - b*** - reason -";
    story.post("/password-tokens", past, wanted).await;
    story.assert();
}

#[tokio::test]
async fn members_that_are_not_as_wanted_are_named_and_what_they_hold_is_not() {
    let (app, folder) = audited();
    let body = json!({ "username": 17, "ttl": "secret-value", "alice": 1, "bob": { "a": 2 } });
    app.post("/password-tokens", body).await.assert_problem(422, "invalid_request");
    app.post("/password-tokens", json!({})).await.assert_problem(422, "invalid_request");
    let lines = lines_of(&app, &folder);
    assert_eq!(lines[0]["reason"], "not as wanted: username, ttl, 2 not known here");
    assert_eq!(lines[1]["reason"], "not as wanted: username");
}

#[tokio::test]
async fn what_anybody_may_read_makes_no_line() {
    let mut story = Story::new();
    let key = story.key.clone();
    for path in ["/health/live", "/health/ready", "/.well-known/jwks.json", "/none", "/metrics"] {
        story.send(Method::GET, path, Some(&key), Value::Null, "").await;
    }
    story.send(Method::PUT, "/redemptions", Some(&key), Value::Null, "").await;
    story.assert();
}

#[tokio::test]
async fn a_caller_of_another_tenant_makes_lines_of_that_tenant() {
    let mut story = Story::new();
    let key = story.app.acting_for("acme").api_key.expose().to_owned();
    let wanted = "issue ok all acme jti b*** - - -";
    let body = json!({ "username": "bob" });
    let answer = story.send(Method::POST, "/password-tokens", Some(&key), body, wanted).await;
    let body = json!({ "token": answer["token"] });
    let holder = "revoke ok - acme jti - - - -";
    story.send(Method::POST, "/revocations", None, body, holder).await;
    story.assert();
}

#[tokio::test]
async fn every_step_of_a_key_and_every_look_at_one_makes_one_line() {
    let mut story = Story::new();
    let all = story.key.clone();
    let key = Some(all.as_str());
    let kid = story.app.tenant().active_key().unwrap().kid().to_string();
    let look = |path: &str| format!("/admin/keys{path}");
    let list = "keys_list ok all default - - - - -";
    story.send(Method::GET, &look(""), key, Value::Null, list).await;
    let show = "keys_show ok all default - - keys - -";
    story.send(Method::GET, &look(&format!("/{kid}")), key, Value::Null, show).await;
    let export = "keys_export ok all default - - keys - -";
    story.send(Method::GET, &look(&format!("/{kid}/export")), key, Value::Null, export).await;
    let unknown = "keys_show key_unknown all default - - - - -";
    story.send(Method::GET, &look("/none"), key, Value::Null, unknown).await;
    let planned = "keys_rotate ok all default - - - - -";
    story.post(&look("/rotate"), json!({ "dryRun": true }), planned).await;
    let changed = "keys_changed ok - default - - keys - -";
    for (path, action) in [("/rotate", "rotate"), ("", "generate")] {
        story.wanted.push(changed.into());
        let wanted = format!("keys_{action} ok all default - - keys - -");
        story.post(&look(path), Value::Null, &wanted).await;
    }
    let nothing = "keys_prune ok all default - - - - -";
    story.post(&look("/prune"), Value::Null, nothing).await;
    let refused = "keys_retire key_unknown all default - - - - -";
    story.post(&look("/none/retire"), Value::Null, refused).await;
    let refused = "keys_activate key_unknown all default - - - - -";
    story.post(&look("/none/activate"), Value::Null, refused).await;
    let refused = "keys_import key_rejected all default - - - reason -";
    story.post(&look("/import"), json!({ "key": "none" }), refused).await;
    let other = story.app.key_for(Scope::KeysRead).to_owned();
    let refused = "keys_revoke forbidden keys:read default - - - - -";
    let path = look(&format!("/{kid}/revoke"));
    story.send(Method::POST, &path, Some(&other), Value::Null, refused).await;
    story.wanted.push(changed.into());
    story.post(&path, Value::Null, "keys_revoke ok all default - - keys - -").await;
    story.assert();
}

#[tokio::test]
async fn a_plan_that_was_only_wanted_is_told_apart() {
    let (app, folder) = audited();
    app.post("/admin/keys/rotate", json!({ "dryRun": true })).await;
    let lines = lines_of(&app, &folder);
    assert_eq!(lines[0]["dryRun"], true);
}

#[tokio::test]
async fn a_token_in_the_place_of_a_key_is_not_kept() {
    let (app, folder) = audited();
    let token = app.issue("alice").await;
    let path = format!("/admin/keys/{token}");
    app.get(&path).await.assert_problem(404, "key_unknown");
    let path = format!("/admin/keys/{token}/retire");
    app.post(&path, json!({})).await.assert_problem(404, "key_unknown");
    let path = format!("/redemptions/{token}/commit");
    app.post(&path, json!({})).await.assert_problem(404, "redemption_unknown");
    let lines = lines_of(&app, &folder);
    assert_eq!(lines[1]["outcome"], "key_unknown");
    let secret = token.split('.').nth(1).unwrap();
    assert!(!Value::from(lines).to_string().contains(secret));
}

#[test]
fn what_others_report_makes_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let sink = Sink::File(Trail::open(&path, ALL_IN_ONE).unwrap());
    let audit = Audit::start(sink, Arc::new(ManualClock::new(STARTED)));
    audit.config_reloaded(None);
    audit.config_reloaded(Some("wanted 1, found 2".into()));
    audit.stop();
    let lines = lines(&path);
    assert_eq!(told(&lines[0]), "config_reloaded ok - - - - - - -");
    assert_eq!(told(&lines[1]), "config_reloaded config_invalid - - - - - reason -");
}

#[tokio::test]
async fn a_line_has_the_members_that_are_documented_and_no_other() {
    let (app, folder) = audited();
    app.issue("alice@example.com").await;
    let line = lines_of(&app, &folder).remove(0);
    let members: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
    let wanted = [
        "action",
        "caller",
        "jti",
        "outcome",
        "previous",
        "requestId",
        "seq",
        "tenant",
        "time",
        "username",
    ];
    assert_eq!(members, wanted);
    assert_eq!((&line["seq"], &line["previous"]), (&json!(1), &json!("0".repeat(64))));
    assert_eq!(line["time"], "2027-01-15T05:13:30Z");
    let page = fs::read_to_string("docs/audit.md").unwrap();
    let others = ["source", "keys", "reason", "reuse", "dryRun", "count", "firstSeq"];
    for member in wanted.iter().chain(&others) {
        assert!(page.contains(&format!("| `{member}` |")), "{member} is not documented");
    }
    for action in Action::ALL {
        let row = format!("| `{}` | {} |", action.name(), action.meaning());
        assert!(page.contains(&row), "docs/audit.md lacks {row}");
    }
}

/// One small trail, and everything that can be done to its bytes.
struct Tampered {
    folder: TempDir,
    path: PathBuf,
    good: Vec<u8>,
    expected: Expected,
}

impl Tampered {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        trail_with(folder.path(), ALL_IN_ONE, 4);
        let path = files_in(folder.path()).unwrap().remove(0);
        let good = fs::read(&path).unwrap();
        let report = checked(folder.path(), &whole());
        assert!(report.intact, "{report:?}");
        let expected = Expected { whole: true, seq: report.last_seq, hash: report.last_hash };
        Self { folder, path, good, expected }
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        self.good.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    #[track_caller]
    fn assert_found(&self, bytes: &[u8], what: &str) {
        assert_ne!(bytes, self.good, "{what} changes nothing");
        fs::write(&self.path, bytes).unwrap();
        let report = checked(self.folder.path(), &self.expected);
        assert!(!report.intact, "{what} is not found");
        assert!(report.fault.is_some(), "{what}");
    }
}

#[test]
fn every_altered_byte_is_found() {
    let trail = Tampered::new();
    let last = trail.good.len() - trail.lines().last().unwrap().len();
    for at in 0..trail.good.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut bytes = trail.good.clone();
            bytes[at] ^= bit;
            trail.assert_found(&bytes, &format!("byte {at} ^ {bit:#x}"));
            // Of the last line alone nothing else in the file vouches for.
            let is_by_chain = !checked(trail.folder.path(), &whole()).intact;
            assert!(is_by_chain || at >= last, "byte {at} ^ {bit:#x}");
        }
    }
}

#[test]
fn every_line_that_is_removed_swapped_or_doubled_is_found() {
    let trail = Tampered::new();
    let lines = trail.lines();
    for at in 0..lines.len() {
        let mut removed = lines.clone();
        removed.remove(at);
        trail.assert_found(&removed.concat(), &format!("the removal of line {at}"));
        for to in 0..=lines.len() {
            let mut doubled = lines.clone();
            doubled.insert(to, lines[at].clone());
            trail.assert_found(&doubled.concat(), &format!("line {at} once more at {to}"));
        }
        for other in at + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, other);
            trail.assert_found(&swapped.concat(), &format!("lines {at} and {other} swapped"));
        }
    }
}

#[test]
fn a_cut_at_any_byte_is_found_by_what_was_kept_elsewhere() {
    let trail = Tampered::new();
    for length in (0..trail.good.len()).step_by(97) {
        trail.assert_found(&trail.good[..length], &format!("a cut at {length}"));
    }
    let lines = trail.lines();
    for length in 0..lines.len() {
        let cut = lines[..length].concat();
        trail.assert_found(&cut, &format!("a cut behind line {length}"));
        // By itself a cut between two lines leaves no trace: docs/audit.md says so.
        assert!(checked(trail.folder.path(), &whole()).intact);
    }
}

#[test]
fn a_trail_that_was_written_anew_is_found_by_what_was_kept_elsewhere() {
    let trail = Tampered::new();
    let folder = tempfile::tempdir().unwrap();
    trail_with(folder.path(), ALL_IN_ONE, 9);
    let report = checked(folder.path(), &whole());
    assert!(report.intact);
    assert!(!checked(folder.path(), &trail.expected).intact);
}

#[test]
fn a_trail_that_went_on_is_still_the_one_that_was_kept_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    trail_with(folder.path(), ALL_IN_ONE, 4);
    let kept = checked(folder.path(), &whole());
    trail_with(folder.path(), ALL_IN_ONE, 4);
    let expected = Expected { whole: true, seq: kept.last_seq, hash: kept.last_hash };
    let report = checked(folder.path(), &expected);
    assert!(report.intact, "{report:?}");
    assert_eq!((report.first_seq, report.last_seq), (Some(1), Some(10)));
    for expected in
        [Expected { seq: Some(11), ..whole() }, Expected { hash: Some("0".repeat(64)), ..whole() }]
    {
        assert!(!checked(folder.path(), &expected).intact, "{expected:?}");
    }
}

#[test]
fn the_chain_goes_on_over_files() {
    let folder = tempfile::tempdir().unwrap();
    let small = Rotation { bytes: 400, keep: 0 };
    trail_with(folder.path(), small, 10);
    trail_with(folder.path(), small, 10);
    let report = checked(folder.path(), &whole());
    assert!(report.intact, "{report:?}");
    assert_eq!((report.lines, report.last_seq), (22, Some(22)));
    assert!(report.files >= 8, "{}", report.files);
    let files = files_in(folder.path()).unwrap();
    for at in 0..files.len() - 1 {
        let mut without = files.clone();
        without.remove(at);
        let report = verify(&without, &whole()).unwrap();
        assert!(!report.intact, "the removal of {} is not found", files[at].display());
        let mut swapped = files.clone();
        swapped.swap(at, at + 1);
        assert!(!verify(&swapped, &whole()).unwrap().intact);
    }
}

#[test]
fn files_that_the_server_removes_are_told_of_and_others_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    trail_with(folder.path(), Rotation { bytes: 400, keep: 2 }, 30);
    let files = files_in(folder.path()).unwrap();
    assert!(files.len() <= 3, "{files:?}");
    let report = checked(folder.path(), &whole());
    assert!(report.intact, "{report:?}");
    assert!(report.first_seq > Some(1));
    fs::remove_file(&files[0]).unwrap();
    let fault = checked(folder.path(), &whole()).fault.unwrap();
    assert!(fault.wanted.starts_with("seq 1, or a line that tells"), "{fault:?}");
}

#[test]
fn a_torn_last_line_is_told_and_cut_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    trail_with(folder.path(), ALL_IN_ONE, 2);
    let path = files_in(folder.path()).unwrap().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let good = bytes.clone();
    bytes.extend_from_slice(b"{\"seq\":4,\"ti");
    fs::write(&path, &bytes).unwrap();
    let fault = checked(folder.path(), &whole()).fault.unwrap();
    assert_eq!(fault.line, 4);
    assert!(fault.found.starts_with("a torn last line of 12 bytes"), "{fault:?}");
    let trail = Trail::open(folder.path(), ALL_IN_ONE).unwrap();
    assert_eq!(trail.cut().map(|cut| cut.bytes), Some(12));
    assert_eq!(fs::read(&path).unwrap(), good);
    drop(trail);
    trail_with(folder.path(), ALL_IN_ONE, 2);
    let report = checked(folder.path(), &whole());
    assert!(report.intact, "{report:?}");
    assert_eq!(report.last_seq, Some(6));
}

#[test]
fn a_trail_cut_anywhere_goes_on_from_its_last_whole_line() {
    let small = Rotation { bytes: 400, keep: 0 };
    let original = tempfile::tempdir().unwrap();
    trail_with(original.path(), small, 3);
    let files = files_in(original.path()).unwrap();
    let last = fs::read(files.last().unwrap()).unwrap();
    for length in (0..last.len()).step_by(23) {
        let folder = tempfile::tempdir().unwrap();
        for file in &files {
            fs::copy(file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let path = folder.path().join(files.last().unwrap().file_name().unwrap());
        fs::write(&path, &last[..length]).unwrap();
        trail_with(folder.path(), small, 1);
        let report = checked(folder.path(), &whole());
        assert!(report.intact, "cut at {length}: {report:?}");
    }
}

#[test]
fn a_trail_whose_last_line_is_none_is_not_written_on() {
    let folder = tempfile::tempdir().unwrap();
    trail_with(folder.path(), ALL_IN_ONE, 2);
    let path = files_in(folder.path()).unwrap().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"something else\n");
    fs::write(&path, &bytes).unwrap();
    let error = Trail::open(folder.path(), ALL_IN_ONE).unwrap_err().to_string();
    assert!(error.contains("is none of an audit trail"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_folder_or_file_that_others_can_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    trail_with(&path, ALL_IN_ONE, 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let file = files_in(&path).unwrap().remove(0);
    assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
    for (which, bad, good) in [(&path, 0o770, 0o700), (&file, 0o602, 0o600)] {
        fs::set_permissions(which, fs::Permissions::from_mode(bad)).unwrap();
        let error = Trail::open(&path, ALL_IN_ONE).unwrap_err().to_string();
        let wanted = format!("has mode {bad:04o}, wanted no write permission for group and others");
        assert!(error.contains(&wanted), "{error}");
        fs::set_permissions(which, fs::Permissions::from_mode(good)).unwrap();
    }
    Trail::open(&path, ALL_IN_ONE).unwrap();
}

#[test]
fn what_is_too_long_to_be_a_torn_line_is_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit-00000000000000000001.jsonl");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&file, vec![0; 200_000]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = Trail::open(folder.path(), Rotation { bytes: 1 << 20, keep: 0 }).unwrap_err();
    assert!(matches!(refused, AuditError::Unreadable { .. }), "{refused}");
    assert_eq!(fs::metadata(&file).unwrap().len(), 200_000);
}
