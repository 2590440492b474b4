//! Whole rotations under a clock that is moved by hand, seen as an app and an edge see them.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use resetd_verify::{KeyId, KeySet, Timestamp, Verifier};
use serde_json::{Value, json};

use crate::app::{AUDIENCE, Options, TestApp};

/// What a test of a whole life needs to be short: tokens of 100 seconds, key sets of 20.
fn short_lives(options: &mut Options) {
    options.policy.lifetime.max = 100;
    options.policy.lifetime.default = 40;
    options.policy.lifetime.min = 1;
    options.jwks_max_age = 20;
    options.tenants = vec!["acme"];
}

/// A key set as a client keeps it: for as long as its header allows.
struct Fetched {
    at: Timestamp,
    until: Timestamp,
    keys: KeySet,
}

struct Issued {
    iat: Timestamp,
    exp: Timestamp,
    kid: KeyId,
}

/// What a client of one tenant saw, second by second.
#[derive(Default)]
struct Seen {
    fetched: Vec<Fetched>,
    issued: Vec<Issued>,
}

impl Seen {
    /// Fetches the key set, then has two tokens issued, of the usual and of the longest life.
    async fn look(&mut self, app: &TestApp) {
        let policy = app.tenant().policy();
        let path = policy.issuer.strip_prefix("https://reset.example.com").unwrap();
        let answer = app.get(&format!("{path}/.well-known/jwks.json")).await;
        let header = answer.header("cache-control").unwrap();
        let max_age: u64 = header.strip_prefix("public, max-age=").unwrap().parse().unwrap();
        assert!(max_age <= 20, "{header}");
        let keys = KeySet::from_jwks(answer.text.as_bytes()).unwrap();
        let now = app.now();
        let verifier = Verifier::new(policy.issuer.as_str(), AUDIENCE);
        for ttl in [40, 100] {
            let body = json!({ "username": "alice", "ttl": ttl });
            let token = app.post("/password-tokens", body).await.json()["token"].clone();
            let token = verifier.verify(token.as_str().unwrap(), &keys, now).unwrap();
            let (iat, exp) = (token.claims().iat, token.claims().exp);
            self.issued.push(Issued { iat, exp, kid: token.key_id().clone() });
        }
        // Without the right to keep it, a client uses it at once and never again.
        self.fetched.push(Fetched { at: now, until: now.plus(max_age.max(1)), keys });
    }

    /// Whatever a client has and may still use knows the key of every token that is alive meanwhile.
    fn assert_all_verifiable(&self) {
        for Fetched { at, until, keys } in &self.fetched {
            for Issued { iat, exp, kid } in &self.issued {
                if iat < until && exp > at {
                    assert!(keys.key(kid).is_some(), "{kid} of {iat}, key set of {at} to {until}");
                }
            }
        }
    }

    fn signers(&self) -> usize {
        self.issued.iter().map(|token| &token.kid).collect::<BTreeSet<_>>().len()
    }
}

#[tokio::test]
async fn no_token_of_any_second_of_a_rotation_fails_at_a_client_that_obeys_the_cache_header() {
    let app = TestApp::start_with(|options| {
        short_lives(options);
        // The shortest schedule that makes sense here; `acme` rotates by it, `default` by hand too.
        options.rotate_every = Some(250);
    });
    let acme = app.acting_for("acme");
    let (mut seen, mut seen_by_acme) = (Seen::default(), Seen::default());
    for second in 0..900 {
        match second {
            30 => step(&app, "/admin/keys/rotate", json!({})).await,
            // Published long before it is meant to sign, then let sign by hand.
            200 => step(&app, "/admin/keys", json!({ "signsInSeconds": 700 })).await,
            281 => step(&app, &on(&app, "next", "activate"), json!({})).await,
            // A key that is taken back before it signs.
            400 => step(&app, "/admin/keys", json!({ "signsInSeconds": 90 })).await,
            430 => step(&app, &on(&app, "next", "retire"), json!({})).await,
            _ if second % 50 == 0 => {
                step(&app, "/admin/keys/prune", json!({})).await;
                step(&acme, "/admin/keys/prune", json!({})).await;
            }
            _ => {}
        }
        app.running.rotate_due();
        seen.look(&app).await;
        seen_by_acme.look(&acme).await;
        app.clock.advance(1);
    }
    for seen in [&seen, &seen_by_acme] {
        seen.assert_all_verifiable();
        assert!(seen.signers() >= 4, "only {} keys signed", seen.signers());
    }
    let signed: BTreeSet<_> = seen.issued.iter().map(|token| &token.kid).collect();
    assert!(seen_by_acme.issued.iter().all(|token| !signed.contains(&token.kid)));
}

#[tokio::test]
async fn a_token_of_the_last_second_of_a_key_is_good_to_its_last_second() {
    let app = TestApp::start_with(short_lives);
    step(&app, "/admin/keys/rotate", json!({})).await;
    app.clock.advance(79);
    let body = json!({ "username": "alice", "ttl": 100 });
    let token = app.post("/password-tokens", body).await.json()["token"].clone();
    let token = token.as_str().unwrap();
    let old = active(&app);
    app.clock.advance(1);
    assert_ne!(active(&app), old);
    app.clock.advance(98);
    assert_eq!(app.check(token).await.status, StatusCode::OK);
    assert_eq!(app.redeem(token).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn two_processes_on_one_folder_agree_on_the_active_key_at_every_second() {
    let scheduled = |options: &mut Options| {
        short_lives(options);
        options.rotate_every = Some(250);
    };
    let one = TestApp::start_with(scheduled);
    let two = one.another(scheduled);
    let mut signers = BTreeSet::new();
    for second in 0..900 {
        // The second process sees each change a second late, as one on another machine may.
        two.running.reload();
        match second {
            30 => step(&one, "/admin/keys/rotate", json!({})).await,
            300 => step(&one, "/admin/keys", json!({ "signsInSeconds": 700 })).await,
            381 => step(&one, &on(&one, "next", "activate"), json!({})).await,
            450 => step(&one, "/admin/keys", json!({ "signsInSeconds": 90 })).await,
            460 => step(&one, &on(&one, "next", "retire"), json!({})).await,
            _ => {}
        }
        // Whichever process comes first rotates.
        let in_turn = if second % 2 == 0 { [&one, &two] } else { [&two, &one] };
        for app in in_turn {
            app.running.rotate_due();
        }
        one.running.reload();
        assert_eq!(active(&one), active(&two), "second {second}");
        signers.insert(active(&one));
        one.clock.advance(1);
    }
    assert!(signers.len() >= 4, "only {} keys signed", signers.len());
    // One key for each rotation, though both processes keep the schedule.
    let keys = one.get("/admin/keys").await.json();
    let made = keys["keys"].as_array().unwrap().len();
    let next = keys["keys"].as_array().unwrap().iter().filter(|key| key["state"] == "next").count();
    assert!(next <= 1, "{keys}");
    assert!(made <= signers.len() + next + 1, "{keys}");
}

#[tokio::test]
async fn a_revocation_reaches_a_second_process_with_the_next_look_at_the_folder() {
    let one = TestApp::start();
    let two = one.another(|_| {});
    let token = one.issue("alice").await;
    step(&one, &on(&one, "active", "revoke"), json!({})).await;
    one.check(&token).await.assert_problem(404, "token_unknown");
    two.running.reload();
    two.check(&token).await.assert_problem(404, "token_unknown");
    assert_eq!(active(&one), active(&two));
}

#[tokio::test]
async fn a_clock_that_is_set_back_breaks_nothing_that_is_published() {
    let app = TestApp::start_with(short_lives);
    let old = active(&app);
    step(&app, "/admin/keys/rotate", json!({})).await;
    app.clock.advance(80);
    assert_ne!(active(&app), old);
    // As a process that starts under a clock that was set back sees it: the rotation is still ahead.
    app.clock.set(app.now().minus(50));
    assert_eq!(active(&app), old);
    let token = app.issue("alice").await;
    assert_eq!(app.check(&token).await.status, StatusCode::OK);
    let before = app.get("/admin/keys").await.json()["keys"].as_array().unwrap().len();
    step(&app, "/admin/keys/rotate", json!({})).await;
    let after = app.get("/admin/keys").await.json()["keys"].as_array().unwrap().len();
    assert_eq!(before, after, "what is published is not published again");
    let mut seen = Seen::default();
    for _ in 0..200 {
        seen.look(&app).await;
        app.clock.advance(1);
    }
    seen.assert_all_verifiable();
    assert_ne!(active(&app), old);
}

fn active(app: &TestApp) -> KeyId {
    app.tenant().active_key().unwrap().kid().clone()
}

/// The path of a step on the key in this state.
fn on(app: &TestApp, state: &str, step: &str) -> String {
    let keyring = app.tenant().keyring();
    let is_so =
        |key: &&resetd::domain::keyring::Key| keyring.state(key, app.now()).to_string() == state;
    let kid = keyring.keys().find(is_so).unwrap().kid();
    format!("/admin/keys/{kid}/{step}")
}

async fn step(app: &TestApp, path: &str, body: Value) {
    let answer = app.post(path, body).await;
    assert!(answer.status.is_success(), "{path}: {}", answer.text);
}
