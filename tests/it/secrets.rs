//! Keys end up in places that are not meant for them. No message may show one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Output;

use resetd::domain::caller::api_key;

use crate::server::{Server, resetd, stderr, stdout};

#[test]
fn a_key_in_the_wrong_place_of_a_configuration_is_not_shown() {
    let key = api_key([9; 32]);
    let key = key.expose();
    let folder = tempfile::tempdir().unwrap();
    let caller = |scopes: &str, rest: &str| {
        format!("[[callers]]\nname = \"web\"\nscopes = [\"{scopes}\"]\n{rest}\n")
    };
    let configs = [
        caller(key, "key_sha256 = \"ab\""),
        caller("issue", &format!("key_sha256 = \"{key}\"")),
        caller("issue", &format!("key_file = \"{key}\"")),
        format!("[log]\nlevel = \"{key}\"\n"),
        format!("{key} = 1\n"),
        format!("[server]\nmax_connections = \"{key}\"\n"),
    ];
    for config in configs {
        fs::write(folder.path().join("settings.toml"), &config).unwrap();
        let arguments = ["--config", "settings.toml", "config", "check"];
        let output = resetd(folder.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{config}");
        let told = stdout(&output) + &stderr(&output);
        assert!(told.contains("settings.toml"), "{told}");
        assert!(!told.contains(key), "{told}");
    }
}

#[test]
fn a_key_that_is_not_even_text_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let output = resetd(folder.path())
        .args(["issue", "alice"])
        .env("RESETD_API_KEY", OsStr::from_bytes(b"rsk_secret\xff"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("secret"), "{}", stderr(&output));
}

#[test]
fn what_kubernetes_puts_beside_a_service_of_this_name_is_no_setting() {
    let folder = tempfile::tempdir().unwrap();
    let output = resetd(folder.path())
        .args(["config", "check"])
        .env("RESETD_PORT", "tcp://10.0.0.1:8080")
        .env("RESETD_PORT_8080_TCP", "tcp://10.0.0.1:8080")
        .env("RESETD_SERVICE_HOST", "10.0.0.1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mistaken = run_with(folder.path(), "RESETD_PORT", "9000");
    assert_eq!(mistaken.status.code(), Some(2), "{}", stderr(&mistaken));
}

fn run_with(folder: &Path, name: &str, value: &str) -> Output {
    resetd(folder).args(["config", "check"]).env(name, value).output().unwrap()
}

#[test]
fn a_key_does_not_go_to_a_proxy_on_its_way_to_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    // Neither address answers; the message tells which one was asked.
    let output = resetd(folder.path())
        .args(["issue", "alice", "--url", "http://127.0.0.1:1"])
        .env("RESETD_API_KEY", api_key([9; 32]).expose())
        .env("HTTP_PROXY", "http://proxy.invalid:3128")
        .env("ALL_PROXY", "http://proxy.invalid:3128")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("refused"), "{}", stderr(&output));
}

#[test]
fn no_core_file_can_hold_a_key() {
    let server = Server::start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(words, ["0", "0"]);
}
