//! What a configuration is made and looked at with: `init`, `callers` and `config`.

use std::fs;

use serde_json::{Value, json};

use super::keys::{keys_in, with_key};
use super::{contents, issue, tell};
use crate::server::{Server, resetd};

#[test]
fn init_makes_a_folder_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    let told = tell(resetd(folder.path()).args(["init", "my/reset", "-o", "json"]), 0);
    let kid = told.json()["first_key"].as_str().unwrap().to_owned();
    let made = folder.path().join("my/reset");
    let wanted = ["config.toml".into(), "keys/.lock".into(), format!("keys/{kid}.jwk")];
    assert_eq!(contents(&made).into_keys().collect::<Vec<_>>(), wanted);
    assert_eq!(fs::read_to_string(made.join("config.toml")).unwrap(), resetd::config::DEFAULTS);

    let config = fs::read_to_string(made.join("config.toml")).unwrap();
    let keys = made.join("keys").display().to_string();
    let server = Server::start_with(&config, &["--keys", &keys]);
    assert!(!server.banner.contains("made the first key"));
    issue(&server, "alice");
}

#[test]
fn init_leaves_what_is_there_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), "# mine").unwrap();
    let before = contents(folder.path());
    let told = tell(resetd(folder.path()).arg("init"), 2);
    assert_eq!(
        told.err,
        "resetd: ./config.toml: is there already and stays as it is; move it away to get a new one\n"
    );
    assert_eq!(contents(folder.path()), before);

    let keys = tempfile::tempdir().unwrap();
    with_key(&keys.path().join("keys"), |_| {});
    let told = tell(resetd(keys.path()).args(["init", "-o", "json"]), 0);
    assert_eq!(told.json()["first_key"], Value::Null);
    assert_eq!(keys_in(&keys.path().join("keys")), ["a.jwk"]);
}

#[test]
fn the_lines_that_callers_add_prints_let_that_key_in_and_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let add = ["callers", "add", "--name", "web", "--scopes", "issue,check", "-o", "json"];
    let made = tell(resetd(folder.path()).args(add), 0).json();
    let toml = made["toml"].as_str().unwrap();
    let server = Server::start_with(toml, &[]);
    assert_eq!(server.api_key, "");
    let client = |arguments: &[&str], code| {
        let mut command = server.client();
        command.env("RESETD_API_KEY", made["key"].as_str().unwrap());
        tell(command.args(arguments), code)
    };
    let token = client(&["issue", "alice", "-o", "json"], 0).json();
    let told = client(&["redeem", token["token"].as_str().unwrap()], 2);
    assert!(told.err.contains("refused: The caller lacks the scope."));
    let told = client(&["callers", "list", "--config", "settings.toml"], 0);
    assert_eq!(
        told.out,
        "NAME  TENANT   SCOPES        FROM      KEYS EXPIRE\nweb   default  issue, check  anywhere  never\n"
    );
}

#[test]
fn a_new_key_is_shown_once_above_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let add = ["callers", "add", "--name", "web", "--scopes", "keys:read"];
    let told = tell(resetd(folder.path()).args(add), 0);
    let lines: Vec<_> = told.out.lines().collect();
    let [
        key,
        "",
        "[[callers]]",
        "name = \"web\"",
        "scopes = [\"keys:read\"]",
        "tenant = \"default\"",
        hash,
    ] = lines[..]
    else {
        panic!("{}", told.out)
    };
    assert!(resetd::domain::caller::is_api_key(key));
    assert!(hash.starts_with("key_sha256 = \""));
    assert_eq!(told.err, "The key is shown this once; the lines go into config.toml.\n");
    assert!(contents(folder.path()).is_empty());
}

#[test]
fn a_caller_that_could_not_be_let_in_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let scopes = "wanted some of issue, deliver, check, redeem, revoke, keys:read, keys:write, metrics, config";
    let name = "wanted a name of 1 to 64 characters A-Z a-z 0-9 . _ -";
    for (arguments, wanted) in [
        (["a b", "issue", "default"], format!("--name: {name}, found \"a b\"")),
        (["", "issue", "default"], format!("--name: {name}, found \"\"")),
        (["web", "fly", "default"], format!("--scopes: {scopes}, found \"fly\"")),
        (["web", "", "default"], format!("--scopes: {scopes}, found \"\"")),
        (["web", "issue,issue", "default"], "--scopes: \"issue\" stands there twice".into()),
        (
            ["web", "issue", "acme"],
            "--tenant: no tenant \"acme\" is configured, there is \"default\"".into(),
        ),
    ] {
        let [name, scopes, tenant] = arguments;
        let add = ["callers", "add", "--name", name, "--scopes", scopes, "--tenant", tenant];
        let told = tell(resetd(folder.path()).args(add), 2);
        assert_eq!((told.out.as_str(), told.err), ("", format!("resetd: {wanted}\n")));
    }
}

#[test]
fn config_show_says_where_every_value_comes_from_and_masks_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let hash = "a44efcc3e13b07e60b5db919d97f84f8fd1d95808d6625e979ba12b3321b6bb9";
    let config = format!(
        "[token]\nlifetime_seconds = 120\n[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\nkey_sha256 = \"{hash}\"\n"
    );
    fs::write(folder.path().join("c.toml"), config).unwrap();
    let show = |more: &[&str]| {
        let mut command = resetd(folder.path());
        command.env("RESETD_LOG_LEVEL", "warn");
        command.env("RESETD_CONFIG", "c.toml");
        tell(command.args(["config", "show"]).args(more), 0)
    };
    let told = show(&["-o", "json"]);
    let values = told.json();
    for (key, value, origin) in [
        ("token.lifetime_seconds", "120", "c.toml:2"),
        ("token.min_lifetime_seconds", "60", "default"),
        ("log.level", "\"warn\"", "environment variable RESETD_LOG_LEVEL"),
        ("callers.0.name", "\"web\"", "c.toml:4"),
        ("callers.0.key_sha256", "\"***\"", "c.toml:6"),
    ] {
        let shown = json!({ "key": key, "value": value, "origin": origin });
        assert!(values.as_array().unwrap().contains(&shown), "{shown}");
    }
    let table = show(&[]).out;
    assert!(table.starts_with("KEY "));
    assert!(!table.contains(&hash[..8]) && !told.out.contains(&hash[..8]));
}

#[test]
fn config_check_says_yes_or_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let check = |config: &str, code| {
        fs::write(folder.path().join("c.toml"), config).unwrap();
        tell(resetd(folder.path()).args(["--config", "c.toml", "config", "check"]), code)
    };
    assert_eq!(check("", 0).out, "valid  yes\nfile   c.toml\n");
    let told = check("[log]\nlevel = \"loud\"\n", 2);
    assert_eq!(
        told.err,
        "resetd: c.toml:2: log.level: wanted error, warn, info, debug or trace, found \"loud\"\n"
    );
}
