//! Several tenants in the real program: where their keys and documents are, and who may do what.

use resetd::domain::caller::{KeyHash, api_key};
use serde_json::Value;

use super::keys::keys_in;
use super::{mode, tell};
use crate::logs::wait_until;
use crate::server::{Server, resetd};

/// Settings with the tenant acme and a caller of each tenant.
fn settings() -> String {
    let caller = |tenant: &str, byte: u8| {
        let hash = KeyHash::of(api_key([byte; 32]).expose());
        format!(
            "[[callers]]\nname = \"{tenant}-app\"\nscopes = [\"issue\", \"redeem\"]\ntenant = \"{tenant}\"\nkey_sha256 = \"{hash}\"\n"
        )
    };
    let tenant = "[tenants.acme]\naudience = \"acme\"\nalgorithm = \"EdDSA\"\n";
    tenant.to_owned() + &caller("default", 1) + &caller("acme", 2)
}

fn issue_as(server: &Server, byte: u8) -> String {
    let mut client = server.client();
    client.env("RESETD_API_KEY", api_key([byte; 32]).expose());
    let told = tell(client.args(["issue", "alice", "-o", "json"]), 0).json();
    told["token"].as_str().unwrap().to_owned()
}

fn get(server: &Server, path: &str) -> Value {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = server.exchange(request.as_bytes());
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_tenant_gets_a_folder_and_a_first_key_of_its_own() {
    let server = Server::start_with(&settings(), &[]);
    let keys = server.folder.path().join("keys");
    assert_eq!(mode(&keys.join("acme")), 0o700);
    let (of_acme, of_default): (Vec<_>, Vec<_>) =
        keys_in(&keys).into_iter().partition(|name| name.starts_with("acme/"));
    assert_eq!((of_default.len(), of_acme.len()), (1, 1));
    assert_eq!(server.banner.matches("made the first key").count(), 2);
    assert!(server.banner.contains(" in keys/acme\n"), "{}", server.banner);
}

#[test]
fn a_tenants_folder_is_not_made_below_one_that_was_named_and_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), settings()).unwrap();
    let serve = ["--config", "c.toml", "serve", "--listen", "127.0.0.1:0", "--keys", "nowhere"];
    tell(resetd(folder.path()).args(serve), 2);
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn an_issuer_that_is_derived_is_the_address_at_which_its_documents_are() {
    let server = Server::start_with(&settings(), &[]);
    for path in ["", "/tenants/acme"] {
        let metadata = get(&server, &format!("{path}/.well-known/reset-token-issuer"));
        let issuer = format!("{}{path}", server.url);
        assert_eq!(metadata["issuer"], issuer);
        assert_eq!(metadata["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
        assert_eq!(metadata["redemptions_endpoint"], format!("{}/redemptions", server.url));
    }
}

#[test]
fn verify_takes_issuer_audience_and_keys_of_the_tenant_that_is_named() {
    let server = Server::start_with(&settings(), &[]);
    let (of_default, of_acme) = (issue_as(&server, 1), issue_as(&server, 2));
    let verify = |token: &str, tenant: &[&str], code| {
        let mut command = resetd(server.folder.path());
        command.env("RESETD_SERVER_LISTEN", server.address());
        let command = command.args(["--config", "settings.toml", "verify", token, "-o", "json"]);
        tell(command.args(tenant), code).json()
    };
    assert_eq!(verify(&of_default, &[], 0)["claims"]["aud"], "resetd");
    assert_eq!(verify(&of_default, &["--tenant", "default"], 0)["valid"], true);
    assert_eq!(verify(&of_acme, &["--tenant", "acme"], 0)["claims"]["aud"], "acme");
    assert_eq!(verify(&of_acme, &[], 1)["code"], "unknown_key");
    assert_eq!(verify(&of_default, &["--tenant", "acme"], 1)["code"], "unknown_key");
}

#[test]
fn a_tenant_that_is_not_configured_is_told_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), settings()).unwrap();
    let add = ["callers", "add", "--name", "web", "--scopes", "issue"];
    for command in [&["verify", "a.b.c"][..], &add] {
        let mut program = resetd(folder.path());
        program.args(["--config", "c.toml"]).args(command);
        let told = tell(program.args(["--tenant", "beta"]), 2);
        assert_eq!(
            told.err,
            "resetd: --tenant: no tenant \"beta\" is configured, there are \"default\", \"acme\"\n"
        );
    }
}

#[test]
fn callers_add_makes_a_caller_of_a_tenant_that_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), settings()).unwrap();
    let add = ["callers", "add", "--name", "web", "--scopes", "issue", "--tenant", "acme"];
    let told = tell(resetd(folder.path()).args(["--config", "c.toml"]).args(add), 0);
    assert!(told.out.contains("tenant = \"acme\"\n"), "{}", told.out);
}

#[test]
fn callers_add_needs_no_finished_configuration_for_the_default_tenant() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), "[server]\nlisten = \"0.0.0.0:80\"\n").unwrap();
    let add = ["callers", "add", "--name", "web", "--scopes", "issue"];
    tell(resetd(folder.path()).args(["--config", "c.toml"]).args(add), 0);
}

#[test]
fn the_log_names_the_tenant_that_a_caller_acted_for() {
    let server = Server::start_with(&settings(), &[]);
    issue_as(&server, 2);
    issue_as(&server, 1);
    get(&server, "/.well-known/jwks.json");
    let log = server.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: Vec<_> = lines
        .filter(|line| line["message"] == "request")
        .map(|line| (line["caller"].clone(), line["tenant"].clone()))
        .collect();
    let by = |caller: &str, tenant: &str| (Value::from(caller), Value::from(tenant));
    let wanted = [by("acme-app", "acme"), by("default-app", "default"), (Value::Null, Value::Null)];
    assert_eq!(told, wanted);
}

#[test]
fn a_new_key_of_a_tenant_is_taken_up_while_it_runs() {
    let server = Server::start_with(&settings(), &[]);
    let config =
        ["--config", "settings.toml", "keys", "generate", "--tenant", "acme", "-o", "json"];
    let kid = tell(server.client().args(config), 0).json()["keys"][0]["kid"].clone();
    let published = |path: &str| get(&server, path)["keys"].to_string();
    wait_until(&server, || {
        published("/tenants/acme/.well-known/jwks.json").contains(kid.as_str().unwrap())
    });
    assert!(!published("/.well-known/jwks.json").contains(kid.as_str().unwrap()));
}

/// Settings with the tenant acme, which signs with the keys of the default one and has longer lives.
fn sharing() -> String {
    let shared = "keys = \"shared\"\nmax_lifetime_seconds = 86400\n";
    let default = "[token]\nmax_lifetime_seconds = 3600\n".to_owned();
    default + &settings().replace("algorithm = \"EdDSA\"\n", shared)
}

#[test]
fn a_tenant_that_shares_keys_has_no_folder_and_its_tokens_are_for_it_alone() {
    let server = Server::start_with(&sharing(), &[]);
    assert_eq!(keys_in(&server.folder.path().join("keys")).len(), 1);
    assert_eq!(server.banner.matches("made the first key").count(), 1);
    let published = |path: &str| get(&server, path)["keys"].clone();
    let of_acme = published("/tenants/acme/.well-known/jwks.json");
    assert_eq!(published("/.well-known/jwks.json"), of_acme);
    let token = issue_as(&server, 2);
    let verify = |tenant: &str, code| {
        let mut command = resetd(server.folder.path());
        command.env("RESETD_SERVER_LISTEN", server.address());
        let verify = ["--config", "settings.toml", "verify", &token, "-o", "json", "--tenant"];
        tell(command.args(verify).arg(tenant), code).json()
    };
    assert_eq!(verify("acme", 0)["claims"]["aud"], "acme");
    assert_eq!(verify("default", 1)["code"], "wrong_issuer");
}

#[test]
fn keys_that_are_shared_are_changed_for_their_owner_only_and_kept_for_whoever_needs_them_longest() {
    let server = Server::start_with(&sharing(), &[]);
    let keys = |arguments: &[&str], code| {
        let mut command = server.client();
        command.args(["--config", "settings.toml", "keys", "-o", "json"]);
        tell(command.args(arguments), code)
    };
    let kid = keys(&["list", "--tenant", "acme"], 0).json()["keys"][0]["kid"].clone();
    let kid = kid.as_str().unwrap();
    let private = ["export", kid, "--private", "--out", "private.pem"];
    for step in [
        &["generate"][..],
        &["import", "-"],
        &["activate", kid],
        &["retire", kid, "--force"],
        &["revoke", kid],
        &["rotate"],
        &["prune"],
        &["encrypt"],
        &private,
    ] {
        let told = keys(&[step, &["--tenant", "acme"]].concat(), 2);
        let wanted = "resetd: --tenant: the tenant acme signs with the keys of the tenant default, so only those who act for default can change them, for all that share them; for that: --tenant default\n";
        assert_eq!(told.err, wanted, "{step:?}");
    }
    keys(&["show", kid, "--tenant", "acme"], 0);
    keys(&["export", kid, "--tenant", "acme"], 0);
    let told = keys(&["revoke", kid, "--yes"], 0).json();
    let revoked = told["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid);
    // The default tenant alone would need it for an hour.
    let left = revoked.unwrap()["removableInSeconds"].as_u64().unwrap();
    assert!((86_400..=86_460).contains(&left), "{told}");
}
