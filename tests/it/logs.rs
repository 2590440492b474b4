//! What the log says, and what it must never say.

mod keys;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{PATIENCE, Server, stdout};

/// A run that touches everything secret, at the most talkative level.
fn talkative_run() -> (Server, String) {
    let server = Server::start_with("[log]\nlevel = \"trace\"\n", &[]);
    let issue = |arguments: &[&str]| {
        let output = server.client().args(arguments).stdin(Stdio::null()).output().unwrap();
        stdout(&output)
    };
    let answer = issue(&["issue", "alice.anderson@example.com", "--output", "json"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let token = answer["token"].as_str().unwrap().to_owned();
    let key = server.api_key.clone();
    let get = |path: &str, header: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
        server.exchange(request.as_bytes())
    };
    let authorization = format!("Authorization: Bearer {key}\r\n");
    get(&format!("/password-tokens/{token}"), &authorization);
    get(&format!("/password-tokens/{token}x"), &authorization);
    get(&format!("/password-tokens/{token}"), &format!("Authorization: Bearer {token}\r\n"));
    get(&format!("/health/live?access_token={token}&key={key}"), "");
    get("/%0a%1b[31mforged", "X-Request-Id: forged\r\n");
    issue(&["redeem", &token]);
    issue(&["redeem", &token]);
    (server, token)
}

fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn no_token_key_or_whole_address_is_ever_logged() {
    let (server, token) = talkative_run();
    let log = server.log();
    let mut secrets: Vec<&str> = token.split('.').skip(1).collect();
    secrets.extend([server.api_key.as_str(), "alice.anderson", "forged", "\u{1b}"]);
    for secret in secrets {
        assert!(!log.contains(secret), "the log has {secret:?}");
    }
}

#[test]
fn a_token_in_the_place_of_a_key_is_not_logged() {
    let key = resetd::domain::caller::api_key([7; 32]);
    let hash = resetd::domain::caller::KeyHash::of(key.expose());
    let caller =
        format!("[[callers]]\nname = \"ops\"\nkey_sha256 = \"{hash}\"\nscopes = [\"keys:read\"]\n");
    let server = Server::start_with(&caller, &[]);
    let request = format!(
        "GET /admin/keys/eyJhbGciOi HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
        key.expose()
    );
    assert!(server.exchange(request.as_bytes()).contains("key_unknown"));
    let log = server.log();
    assert!(log.contains("key_unknown") && !log.contains("eyJhbGciOi"), "{log}");
}

#[test]
fn every_request_has_one_line_that_says_who_what_and_how_it_ended() {
    let (server, _) = talkative_run();
    let log = server.log();
    let requests: Vec<_> =
        lines(&log).into_iter().filter(|line| line["message"] == "request").collect();
    let told: Vec<_> = requests
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            (
                text("method"),
                text("route"),
                line["status"].as_u64().unwrap(),
                text("caller"),
                text("code"),
            )
        })
        .collect();
    let row = |method: &str, route: &str, status, caller: &str, code: &str| {
        (method.into(), route.into(), status, caller.into(), code.into())
    };
    assert_eq!(
        told,
        [
            row("POST", "/password-tokens", 201, "one-run", "ok"),
            row("GET", "/password-tokens/{token}", 200, "one-run", "ok"),
            row("GET", "/password-tokens/{token}", 404, "one-run", "token_unknown"),
            row("GET", "/password-tokens/{token}", 401, "-", "unauthenticated"),
            row("GET", "/health/live", 200, "-", "ok"),
            row("GET", "-", 404, "-", "not_found"),
            row("POST", "/redemptions", 201, "one-run", "ok"),
            row("POST", "/redemptions", 409, "one-run", "token_used"),
        ]
    );
    let ids: std::collections::HashSet<_> =
        requests.iter().map(|line| line["request_id"].as_str()).collect();
    assert_eq!(ids.len(), requests.len());
    // The token of an issue, a check, a redeem and a replay is the same one, by its identifier.
    let jti = |index: usize| requests[index]["jti"].as_str().unwrap();
    assert!([1, 6, 7].iter().all(|index| jti(*index) == jti(0)));
    assert!(requests.iter().all(|line| line["duration_ms"].is_number()));
    // A refusal says why, to the log alone.
    assert_eq!(requests[2]["reason"], "the signature is not canonical base64url");
}

#[test]
fn a_faulty_key_leaves_the_running_keys_in_use_and_is_named_in_the_log() {
    let server = Server::start();
    std::fs::write(server.folder.path().join("keys/broken.jwk"), "{").unwrap();
    wait_until(&server, || server.log().contains("broken.jwk"));
    let issued = server.client().args(["issue", "alice"]).output().unwrap();
    assert!(issued.status.success());
}

#[test]
fn a_folder_that_lost_its_keys_leaves_the_running_keys_in_use() {
    let server = Server::start();
    for entry in std::fs::read_dir(server.folder.path().join("keys")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    wait_until(&server, || server.log().contains("has no key any more"));
    let issued = server.client().args(["issue", "alice"]).output().unwrap();
    assert!(issued.status.success());
}

#[test]
fn a_key_whose_mode_is_mended_is_taken_up() {
    let server = Server::start();
    let made = server.client().args(["keys", "generate", "--keys", "other"]).output().unwrap();
    assert!(made.status.success());
    let mut files = std::fs::read_dir(server.folder.path().join("other")).unwrap().flatten();
    let file = files.find(|file| file.path().extension().is_some_and(|it| it == "jwk")).unwrap();
    let path = server.folder.path().join("keys").join(file.file_name());
    let chmod = |mode| std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    std::fs::copy(file.path(), &path).unwrap();
    chmod(0o644);
    wait_until(&server, || server.log().contains("0644"));
    chmod(0o600);
    wait_until(&server, || server.log().contains("the keys changed and are in use"));
}

#[test]
fn a_key_made_beside_a_running_server_is_published_without_a_restart() {
    let server = Server::start();
    let made = server.client().args(["keys", "generate", "--output", "json"]).output().unwrap();
    let made: Value = serde_json::from_str(&stdout(&made)).unwrap();
    let kid = made["keys"][0]["kid"].as_str().unwrap();
    let published = || {
        let request =
            b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        server.exchange(request)
    };
    wait_until(&server, || published().contains(kid));
}

pub(crate) fn wait_until(server: &Server, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
}
