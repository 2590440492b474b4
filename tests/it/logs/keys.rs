//! What the log says of who changed the keys, and what it must never say of those that are imported.

use std::fs::{self, File};
use std::io::Write as _;
use std::sync::mpsc;

use notify::{RecursiveMode, Watcher as _};
use resetd::domain::caller::{KeyHash, api_key};
use serde_json::{Value, json};

use super::wait_until;
use crate::server::{PATIENCE, Server};

/// The keys of a caller of the default tenant, and of one of `acme`.
const OPS: [u8; 32] = [7; 32];
const ACME: [u8; 32] = [8; 32];

fn server() -> Server {
    let caller = |name: &str, key, tenant: &str| {
        let hash = KeyHash::of(api_key(key).expose());
        format!(
            "[[callers]]\nname = \"{name}\"\nkey_sha256 = \"{hash}\"\n\
             scopes = [\"keys:read\", \"keys:write\"]\n{tenant}"
        )
    };
    let settings = "[log]\nlevel = \"trace\"\n[tenants.acme]\naudience = \"acme\"\n";
    let callers = caller("ops", OPS, "") + &caller("acme-ops", ACME, "tenant = \"acme\"\n");
    Server::start_with(&(settings.to_owned() + &callers), &[])
}

fn request(key: [u8; 32], method: &str, path: &str, body: &Value) -> String {
    let (key, body) = (api_key(key), body.to_string());
    let (key, length) = (key.expose(), body.len());
    format!(
        "{method} /admin/keys{path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The body of the answer, and the whole of it.
fn step(server: &Server, key: [u8; 32], path: &str, body: &Value) -> (Value, String) {
    let answer = server.exchange(request(key, "POST", path, body).as_bytes());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (serde_json::from_str(body).unwrap(), answer)
}

/// What is said of each change: the message, who did it, and which key.
fn changes(server: &Server) -> Vec<Value> {
    let log = server.log();
    let lines = super::lines(&log);
    let is_change = |line: &&Value| {
        ["a key was changed", "a key was removed"].map(Value::from).contains(&line["message"])
    };
    let members = ["message", "caller", "tenant", "kid", "state", "breaks"];
    let told = |line: &Value| members.iter().map(|name| line[name].clone()).collect();
    lines.iter().filter(is_change).map(told).collect()
}

fn fixture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys/");
    fs::read_to_string(format!("{folder}{name}")).unwrap()
}

#[test]
fn each_change_of_a_key_is_logged_with_who_did_it_and_for_which_tenant() {
    let server = server();
    let kid = |body: &Value| body["keys"][0]["kid"].clone();
    let (made, _) = step(&server, OPS, "", &json!({}));
    let (other, _) = step(&server, ACME, "/rotate", &json!({}));
    let path = format!("/{}/retire", kid(&made).as_str().unwrap());
    step(&server, OPS, &path, &json!({ "dryRun": true }));
    step(&server, OPS, &path, &json!({}));
    step(&server, OPS, &path, &json!({}));
    step(&server, OPS, "/prune", &json!({ "dryRun": true }));
    step(&server, OPS, "/prune", &json!({}));
    let (made, other) = (kid(&made), kid(&other));
    let changed = "a key was changed";
    assert_eq!(
        changes(&server),
        [
            json!([changed, "ops", "default", made, "next", false]),
            json!([changed, "acme-ops", "acme", other, "next", false]),
            json!([changed, "ops", "default", made, "expired", true]),
            json!(["a key was removed", "ops", "default", made, null, null]),
        ]
    );
}

#[test]
fn a_change_and_its_request_are_logged_under_one_id() {
    let server = server();
    let (_, answer) = step(&server, OPS, "", &json!({}));
    let (_, id) = answer.split_once("x-request-id: ").unwrap();
    let id = id.lines().next().unwrap();
    let log = server.log();
    let told = super::lines(&log).into_iter().filter(|line| line["request_id"] == id);
    let told: Vec<_> = told.map(|line| line["message"].clone()).collect();
    assert_eq!(told, ["a key was changed", "request"]);
}

#[test]
fn a_change_is_logged_also_when_who_asked_for_it_has_hung_up() {
    let server = server();
    let path = server.folder.path().join("keys/.lock");
    let lock = File::options().write(true).create(true).truncate(false).open(&path).unwrap();
    lock.lock().unwrap();
    let (opened, openings) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(opened).unwrap();
    watcher.watch(&path, RecursiveMode::NonRecursive).unwrap();
    let mut stream = server.connect();
    stream.write_all(request(OPS, "POST", "/rotate", &json!({})).as_bytes()).unwrap();
    // Nobody but the step that waits for the lock opens it.
    openings.recv_timeout(PATIENCE).unwrap().unwrap();
    drop(stream);
    wait_until(&server, || server.log().contains("a connection ended with an error"));
    lock.unlock().unwrap();
    wait_until(&server, || server.log().contains("a key was changed"));
    let told = changes(&server);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0][1], &told[0][2]), (&json!("ops"), &json!("default")));
}

#[test]
fn no_private_key_and_no_passphrase_that_is_sent_is_ever_logged_or_told_back() {
    let server = server();
    let plain = fixture("p256.pkcs8.pem");
    let one_line = plain.replace('\n', "");
    let cut = plain.split("-----END").next().unwrap().to_owned();
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let mut halves_that_do_not_fit = jwk.clone();
    halves_that_do_not_fit["x"] = json!("Kru4wXb-6K0kJ7dGZ5uXZ9iYqW6pVGZ0kMKz8b8E0Xw");
    let encrypted = fixture("p256.encrypted.pem");
    let sent = [
        json!({ "key": plain }),
        json!({ "key": one_line }),
        json!({ "key": cut }),
        json!({ "key": fixture("p384.pkcs8.pem") }),
        json!({ "key": fixture("rsa-1024.pkcs8.pem") }),
        json!({ "key": jwk.to_string() }),
        json!({ "key": jwk.to_string().replace("\"crv\"", "\"d\":1,\"crv\"") }),
        json!({ "key": halves_that_do_not_fit.to_string() }),
        json!({ "key": jwk }),
        json!({ "key": encrypted, "passphrase": "correct-horse" }),
        json!({ "key": encrypted, "passphrase": "mistaken-horse" }),
        json!({ "key": encrypted, "passphrase": ["mistaken-horse"] }),
    ];
    let answers = sent.each_ref().map(|body| step(&server, OPS, "/import", body).1);
    assert!(answers.iter().any(|answer| answer.starts_with("HTTP/1.1 201")));
    let bodies = [plain, cut, encrypted, fixture("p384.pkcs8.pem"), fixture("rsa-1024.pkcs8.pem")];
    let mut secrets: Vec<&str> = bodies.iter().flat_map(|text| text.lines()).collect();
    // The header of each kind of key is the same for all, so it is no secret by itself.
    secrets.retain(|line| line.len() > 20 && !line.starts_with('-'));
    assert!(secrets.len() > 20);
    secrets.extend(["nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "-horse"]);
    let log = server.log();
    for secret in secrets {
        assert!(!log.contains(secret), "the log has {secret:?}");
        let told = answers.iter().find(|answer| answer.contains(secret));
        assert!(told.is_none(), "{secret:?} in {told:?}");
    }
}
