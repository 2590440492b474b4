//! Two listeners: one for apps, one for admins, each with its own paths and no other.

use std::net::TcpListener;

use resetd::domain::caller::{KeyHash, api_key};

use crate::server::{Server, resetd, run, stderr};

const ADMIN: [&str; 3] = ["/admin/keys", "/admin/keys/x", "/metrics"];
const APPS: [&str; 4] =
    ["/password-tokens/x", "/.well-known/jwks.json", "/health/live", "/health/ready"];

fn settings(more: &str) -> String {
    let hash = KeyHash::of(api_key([7; 32]).expose());
    format!(
        "[server]\n{more}\n[[callers]]\nname = \"all\"\nkey_sha256 = \"{hash}\"\nscopes = [\"check\", \"keys:read\", \"keys:write\", \"metrics\"]\n"
    )
}

/// The status of an answer to the caller who may do everything.
fn status(address: &str, path: &str) -> (u16, String) {
    let key = api_key([7; 32]);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
        key.expose()
    );
    let answer = Server::exchange_at(address, request.as_bytes());
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[test]
fn with_an_address_of_their_own_admins_and_apps_do_not_meet() {
    let server = Server::start_with(&settings("admin_listen = \"127.0.0.1:0\""), &[]);
    let mark = "keys are managed and metrics are read on http://";
    let (_, admin) = server.banner.split_once(mark).expect(&server.banner);
    let admin = admin.lines().next().unwrap();
    for path in ADMIN {
        let (status_here, answer) = status(server.address(), path);
        assert!(status_here == 404 && answer.contains("\"code\":\"not_found\""), "{answer}");
        let (_, answer) = status(admin, path);
        assert!(!answer.contains("\"code\":\"not_found\""), "{answer}");
    }
    for path in APPS {
        let (status_there, answer) = status(admin, path);
        assert!(status_there == 404 && answer.contains("\"code\":\"not_found\""), "{answer}");
        let (_, answer) = status(server.address(), path);
        assert!(!answer.contains("\"code\":\"not_found\""), "{answer}");
    }
    let admin = admin.to_owned();
    let (ended, _folder) = server.stop();
    assert!(ended.success());
    assert!(TcpListener::bind(&admin).is_ok(), "{admin} is free again");
}

#[test]
fn without_one_all_are_on_one_address() {
    let server = Server::start_with(&settings(""), &[]);
    for path in ADMIN.iter().chain(&APPS) {
        let (_, answer) = status(server.address(), path);
        assert!(!answer.contains("\"code\":\"not_found\""), "{path}: {answer}");
    }
}

#[test]
fn an_address_for_admins_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut serve = resetd(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    serve.env("RESETD_SERVER_ADMIN_LISTEN", address.to_string());
    let output = crate::server::end_of(&mut serve);
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    assert!(told.contains(&format!("cannot listen on {address}: ")), "{told}");
}

#[test]
fn an_address_for_admins_that_others_can_reach_needs_callers() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("c.toml"),
        "[server]\nadmin_listen = \"0.0.0.0:0\"\nallow_plain_http = true\n",
    )
    .unwrap();
    let serve = ["--config", "c.toml", "serve", "--listen", "127.0.0.1:0"];
    let output = run(folder.path(), &serve);
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    assert!(
        told.contains("no caller is configured, and 0.0.0.0:0 is no loopback address"),
        "{told}"
    );
}
