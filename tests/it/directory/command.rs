//! `resetd directory find`, and servers whose directory cannot be used.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::slapd::{BASE, PASSWORD, READER, Slapd};
use crate::server::{run, stderr, stdout};

const USERS: &str = "[[people]]\nusername = \"ann\"\nemail = \"ann@example.com\"\n";
const FILE: &str = "[directory]\nkind = \"file\"\nfile = \"users.toml\"\n";

fn write(folder: &Path, file: &str, text: &str) {
    fs::write(folder.join(file), text).unwrap();
    fs::set_permissions(folder.join(file), Permissions::from_mode(0o600)).unwrap();
}

/// Exit code, standard output and standard error.
fn find(folder: &Path, settings: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    write(folder, "settings.toml", settings);
    let output =
        run(folder, &[&["--config", "settings.toml", "directory", "find"], arguments].concat());
    (output.status.code(), stdout(&output), stderr(&output))
}

#[test]
fn a_user_is_shown_and_one_who_is_not_there_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "users.toml", USERS);
    let (code, out, _) = find(folder, FILE, &["ann"]);
    assert_eq!(code, Some(0));
    let wanted = "\
found         yes
username      ann
enabled       yes
email         ann@example.com
user id       -
credential    -
signs in by   -
language      -
";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&out), squeezed(wanted));
    let (code, out, _) = find(folder, FILE, &["ann", "--output", "json"]);
    let wanted = json!({
        "found": true, "username": "ann", "enabled": true, "email": "ann@example.com", "userId": null,
        "credentialId": null, "identityProviders": [], "language": null,
    });
    assert_eq!((code, serde_json::from_str::<Value>(&out).unwrap()), (Some(0), wanted));
    assert_eq!(find(folder, FILE, &["bob"]).0, Some(1));
    let (code, out, _) = find(folder, FILE, &["bob", "-o", "json"]);
    assert_eq!((code, serde_json::from_str(&out).unwrap()), (Some(1), json!({ "found": false })));
}

#[test]
fn a_tenant_has_a_directory_of_its_own_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "users.toml", USERS);
    write(folder, "acme.csv", "username\nbob\n");
    let acme = "[tenants.acme]\naudience = \"acme\"\n[tenants.acme.directory]\nkind = \"file\"\nfile = \"acme.csv\"\n[tenants.bare]\naudience = \"bare\"\n";
    let settings = format!("{FILE}{acme}");
    let of = |tenant: &str, user: &str| find(folder, &settings, &[user, "--tenant", tenant]);
    assert_eq!((of("default", "ann").0, of("default", "bob").0), (Some(0), Some(1)));
    assert_eq!((of("acme", "ann").0, of("acme", "bob").0), (Some(1), Some(0)));
    let (code, _, told) = of("bare", "ann");
    assert_eq!(code, Some(2));
    assert!(told.contains("the tenant \"bare\" has no directory"), "{told}");
    assert_eq!(of("nobody", "ann").0, Some(2));
}

#[test]
fn what_cannot_be_asked_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, _, told) = find(folder, "", &["ann"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("has no directory; set directory.kind"), "{told}");
    let (code, _, told) = find(folder, FILE, &["a\nb"]);
    assert_eq!((code, told.contains("USERNAME: wanted 1 to 256 bytes")), (Some(2), true), "{told}");
    let away = "[directory]\nkind = \"http\"\nurl = \"http://127.0.0.1:9/{username}\"\n";
    let (code, _, told) = find(folder, away, &["ann@example.com"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("the directory (http) does not tell of a***@e***.com: "), "{told}");
}

#[test]
fn a_directory_is_asked_past_every_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (kind, url) in [("http", "https://u.invalid/{username}"), ("scim", "https://u.invalid")] {
        let settings = format!("[directory]\nkind = \"{kind}\"\nurl = \"{url}\"\n");
        write(folder, "settings.toml", &settings);
        let mut command = crate::server::resetd(folder);
        command.args(["--config", "settings.toml", "directory", "find", "ann"]);
        // Nobody listens there, and the reason tells who was asked.
        for name in ["https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(name, "http://127.0.0.1:1");
        }
        let output = crate::server::end_of(&mut command);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("does not tell of a***") && !told.contains("refused"), "{told}");
    }
}

#[test]
fn a_file_of_users_that_cannot_be_used_is_told_by_check_and_keeps_a_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "settings.toml", FILE);
    write(folder, "users.toml", &USERS.repeat(2));
    for command in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let output = run(folder, &[&["--config", "settings.toml"], command].concat());
        assert_eq!(output.status.code(), Some(2));
        let told = stderr(&output);
        assert!(told.contains("directory.file: users.toml:4: this username stands"), "{told}");
    }
    assert!(!folder.join("keys").exists(), "nothing was made");
    let acme = "[tenants.acme]\naudience = \"acme\"\n[tenants.acme.directory]\nkind = \"file\"\nfile = \"nowhere.csv\"\n";
    write(folder, "settings.toml", acme);
    let output = run(folder, &["--config", "settings.toml", "config", "check"]);
    let told = stderr(&output);
    let place = folder.join("nowhere.csv");
    let wanted =
        format!("tenants.acme.directory.file: {}: No such file or directory", place.display());
    assert!(told.contains(&wanted) && told.contains("make it, or name the right path"), "{told}");
}

#[test]
fn an_ldap_server_is_asked_with_a_password_from_a_file_or_a_variable() {
    let slapd = Slapd::start();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "password", &format!("{PASSWORD}\n"));
    let source = slapd.source();
    let settings = |more: &str| {
        format!(
            "[directory]\nkind = \"ldap\"\nurl = \"ldaps://127.0.0.1:{}\"\nca_file = \"{}\"\nbind_dn = \"{READER}\"\nbase = \"{BASE}\"\n{more}",
            source.port,
            slapd.path("ca.pem").display(),
        )
    };
    let with_file = settings("bind_password_file = \"password\"\n");
    let (code, out, told) = find(folder, &with_file, &["ann", "-o", "json"]);
    assert_eq!(code, Some(0), "{told}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["email"], &found["language"]), (&json!("ann@example.com"), &json!("de-ch")));
    assert_eq!(find(folder, &with_file, &["*"]).0, Some(1));
    write(folder, "settings.toml", &settings(""));
    let with = |variable: &str| {
        let mut command = crate::server::resetd(folder);
        command.args(["--config", "settings.toml", "directory", "find", "ann"]);
        crate::server::end_of(command.env("RESETD_DIRECTORY_BIND_PASSWORD", variable))
    };
    assert_eq!(with(PASSWORD).status.code(), Some(0));
    let refused = with("wrong-and-secret");
    assert_eq!(refused.status.code(), Some(2));
    let told = stderr(&refused);
    assert!(told.contains("refuses directory.bind_dn") && !told.contains("secret"), "{told}");
}
