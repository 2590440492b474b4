//! A configuration that changes while the server runs: taken up, or refused as a whole.

use std::fs;
use std::process::Command;

use resetd::domain::caller::{KeyHash, api_key};

use crate::cli::tell;
use crate::server::{PATIENCE, Server};

fn caller(name: &str, key: u8, scopes: &str, more: &str) -> String {
    let hash = KeyHash::of(api_key([key; 32]).expose());
    format!(
        "[[callers]]\nname = \"{name}\"\nkey_sha256 = \"{hash}\"\nscopes = [{scopes}]\n{more}\n"
    )
}

fn admin() -> String {
    caller("admin", 1, "\"config\", \"metrics\"", "")
}

fn web(key: u8) -> String {
    caller("web", key, "\"issue\", \"check\"", "")
}

fn write(server: &Server, text: &str) {
    fs::write(server.folder.path().join("settings.toml"), text).unwrap();
}

/// The status of an answer to whoever has this key.
fn issue(server: &Server, key: u8) -> u16 {
    let body = "{\"username\": \"alice\"}";
    let request = format!(
        "POST /password-tokens HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        api_key([key; 32]).expose(),
        body.len()
    );
    server.exchange(request.as_bytes())[9..12].parse().unwrap()
}

fn reload(server: &Server, code: i32) -> crate::cli::Told {
    let mut command = server.client();
    command.env("RESETD_API_KEY", api_key([1; 32]).expose());
    tell(command.args(["config", "reload", "-o", "json"]), code)
}

#[test]
fn a_key_is_replaced_without_a_gap() {
    let server = Server::start_with(&(admin() + &web(2)), &[]);
    assert_eq!((issue(&server, 2), issue(&server, 3)), (201, 401));
    let hash = |key: u8| KeyHash::of(api_key([key; 32]).expose()).to_string();
    let both = format!(
        "[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\nkeys = [{{ sha256 = \"{}\" }}, {{ sha256 = \"{}\" }}]\n",
        hash(2),
        hash(3)
    );
    write(&server, &(admin() + &both));
    let told = reload(&server, 0).json();
    assert!(told["applied"].to_string().contains("callers.1.keys"), "{told}");
    assert_eq!(told["needsRestart"], serde_json::json!([]));
    assert_eq!((issue(&server, 2), issue(&server, 3)), (201, 201));
    write(&server, &(admin() + &web(3)));
    reload(&server, 0);
    assert_eq!((issue(&server, 2), issue(&server, 3)), (401, 201));
}

#[test]
fn limits_change_at_once_and_the_rest_is_told() {
    let server = Server::start_with(&(admin() + &web(2)), &[]);
    assert_eq!((issue(&server, 2), issue(&server, 2)), (201, 201));
    write(
        &server,
        &("[limits]\nuser_tokens_per_hour = 1\n[token]\nlifetime_seconds = 100\n".to_owned()
            + &admin()
            + &web(2)),
    );
    for _ in 0..2 {
        let told = reload(&server, 0).json();
        assert_eq!(told["needsRestart"], serde_json::json!(["token.lifetime_seconds"]));
    }
    assert_eq!((issue(&server, 2), issue(&server, 2)), (201, 429));
    // A reload that changes nothing gives nobody another chance.
    assert_eq!(reload(&server, 0).json()["applied"], serde_json::json!([]));
    assert_eq!(issue(&server, 2), 429);
}

#[test]
fn a_configuration_that_is_refused_changes_nothing_and_says_so() {
    let server = Server::start_with(&(admin() + &web(2)), &[]);
    write(&server, &(web(3) + "[limits]\nuser_tokens_per_hour = -1\n"));
    let told = reload(&server, 2);
    assert!(told.err.contains("settings.toml:7: limits.user_tokens_per_hour"), "{}", told.err);
    assert!(told.err.contains("The old one stays in force"), "{}", told.err);
    assert_eq!((issue(&server, 2), issue(&server, 3)), (201, 401));
    assert!(server.log().contains("the configuration is refused"));
}

#[test]
fn a_hangup_reloads() {
    let server = Server::start_with(&(admin() + &web(2)), &[]);
    write(&server, &(admin() + &web(3)));
    let id = server.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    let until = std::time::Instant::now() + PATIENCE;
    while issue(&server, 3) != 201 {
        assert!(std::time::Instant::now() < until, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(issue(&server, 2), 401);
}

#[test]
fn a_caller_made_up_for_one_run_stays_as_long_as_there_is_no_other() {
    let server = Server::start_with("", &[]);
    let issue_as_one_run = |code: i32| {
        tell(server.client().args(["issue", "alice", "-o", "json"]), code);
    };
    issue_as_one_run(0);
    write(&server, "[limits]\nuser_tokens_per_hour = 5\n");
    let id = server.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    let until = std::time::Instant::now() + PATIENCE;
    while !server.log().contains("the configuration is reloaded") {
        assert!(std::time::Instant::now() < until, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    issue_as_one_run(0);
}

#[test]
fn a_caller_made_up_for_one_run_goes_when_there_is_another_and_does_not_come_back() {
    let server = Server::start_with("", &[]);
    write(&server, &(admin() + &web(2)));
    let id = server.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    let until = std::time::Instant::now() + PATIENCE;
    while issue(&server, 2) != 201 {
        assert!(std::time::Instant::now() < until, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    tell(server.client().args(["issue", "alice"]), 2);
    write(&server, "");
    let told = reload(&server, 2);
    assert!(told.err.contains("there would be no caller any more"), "{}", told.err);
    assert_eq!(issue(&server, 2), 201);
}

#[test]
fn another_key_in_the_same_file_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.key"), api_key([2; 32]).expose()).unwrap();
    let web = "[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\nkey_file = \"web.key\"\n";
    let server = Server::start_in(folder, &(admin() + web), &[]);
    assert_eq!((issue(&server, 2), issue(&server, 3)), (201, 401));
    fs::write(server.folder.path().join("web.key"), api_key([3; 32]).expose()).unwrap();
    assert_eq!(reload(&server, 0).json()["applied"], serde_json::json!(["callers"]));
    assert_eq!((issue(&server, 2), issue(&server, 3)), (401, 201));
    assert_eq!(reload(&server, 0).json()["applied"], serde_json::json!([]));
}

#[test]
fn limits_of_a_tenant_change_at_once_and_those_of_one_that_is_not_there_yet_wait_with_it() {
    let of_acme = caller("acme", 4, "\"issue\"", "tenant = \"acme\"");
    let tenant = |name: &str, limits: &str| {
        format!("[tenants.{name}]\naudience = \"{name}\"\n[tenants.{name}.limits]\n{limits}\n")
    };
    let callers = admin() + &web(2) + &of_acme;
    let server = Server::start_with(&(tenant("acme", "") + &callers), &[]);
    assert_eq!((issue(&server, 4), issue(&server, 4), issue(&server, 2)), (201, 201, 201));
    let one = "user_tokens_per_hour = 1";
    write(&server, &(tenant("acme", one) + &tenant("beta", one) + &callers));
    let told = reload(&server, 0).json();
    assert_eq!(told["applied"], serde_json::json!(["tenants.acme.limits.user_tokens_per_hour"]));
    let waiting = ["tenants.beta.audience", "tenants.beta.limits.user_tokens_per_hour"];
    assert_eq!(told["needsRestart"], serde_json::json!(waiting));
    assert_eq!((issue(&server, 4), issue(&server, 4)), (201, 429));
    assert_eq!((issue(&server, 2), issue(&server, 2)), (201, 201));
    // Where it does not say, it is as for all.
    let all = "[limits]\nuser_tokens_per_hour = 2\n".to_owned();
    write(&server, &(all + &tenant("acme", "") + &callers));
    reload(&server, 0);
    assert_eq!([issue(&server, 4), issue(&server, 4), issue(&server, 4)], [201, 201, 429]);
    assert_eq!([issue(&server, 2), issue(&server, 2), issue(&server, 2)], [201, 201, 429]);
}

#[test]
fn callers_of_what_is_not_in_force_yet_are_refused() {
    let server = Server::start_with(&(admin() + &web(2)), &[]);
    let acme = caller("web", 2, "\"issue\"", "tenant = \"acme\"");
    write(&server, &("[tenants.acme]\naudience = \"acme\"\n".to_owned() + &admin() + &acme));
    let told = reload(&server, 2);
    assert!(
        told.err.contains("is of the tenant acme, which is there after a restart only"),
        "{}",
        told.err
    );
    let provider = "[[bearers]]\nname = \"login\"\nissuer = \"i\"\naudience = \"a\"\nscopes = [\"issue\"]\njwks_file = \"x\"\n";
    write(&server, provider);
    let told = reload(&server, 2);
    assert!(told.err.contains("there would be no caller any more"), "{}", told.err);
    assert_eq!(issue(&server, 2), 201);
}

#[test]
fn a_limit_that_stays_keeps_its_counts() {
    let limits = |source: u32| {
        format!("[limits]\nuser_tokens_per_hour = 1\nsource_per_minute = {source}\n")
            + &admin()
            + &web(2)
    };
    let server = Server::start_with(&limits(1000), &[]);
    assert_eq!((issue(&server, 2), issue(&server, 2)), (201, 429));
    write(&server, &limits(2000));
    let told = reload(&server, 0).json();
    assert_eq!(told["applied"], serde_json::json!(["limits.source_per_minute"]));
    assert_eq!(issue(&server, 2), 429);
}
