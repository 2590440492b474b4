//! `resetd webhook secret` and `resetd webhook test`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use resetd::domain::webhook::{SecretKind, SigningSecret};
use serde_json::Value;
use tempfile::TempDir;

use super::receiver::Receiver;
use super::{TAKEN, secret};
use crate::server::{end_of, resetd, run, stderr, stdout};
use crate::tls::certificates::Authority;

#[test]
fn a_secret_that_is_made_stands_alone_so_that_it_can_go_into_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["webhook", "secret"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let made = SigningSecret::parse(stdout(&output).strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(made.kind(), SecretKind::Hmac);
    assert_eq!(
        stderr(&output),
        "The secret is shown this once; it goes into a file that secret_files names (chmod 600).\nThe receiver gets the same secret.\n"
    );
    let output = run(folder.path(), &["webhook", "secret", "--kind", "ed25519"]);
    let made = SigningSecret::parse(stdout(&output).strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(made.kind(), SecretKind::Ed25519);
    let public = made.public_half().unwrap();
    assert!(stderr(&output).ends_with(&format!("The receiver gets its public half: {public}\n")));
    let output = run(folder.path(), &["webhook", "secret", "--kind", "ed25519", "-o", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let made = SigningSecret::parse(json["secret"].as_str().unwrap()).unwrap();
    assert_eq!(made.public_half().as_deref(), json["public"].as_str());
}

/// A folder with one webhook and its secret.
fn configured(url: &str, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("secret"), secret(SecretKind::Hmac).encoded().expose());
    let config = format!(
        "[[webhooks]]\nname = \"app\"\nurl = \"{url}\"\nevents = [\"redeemed\"]\nsecret_files = [\"secret\"]\n{more}\n"
    );
    fs::write(folder.path().join("c.toml"), config).unwrap();
    folder
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

const TEST: [&str; 5] = ["--config", "c.toml", "webhook", "test", "app"];

#[test]
fn a_test_sends_a_message_and_says_what_became_of_it() {
    let receiver = Receiver::answering(TAKEN);
    let folder = configured(&receiver.url(), "");
    let output = run(folder.path(), &TEST);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let message = receiver.next();
    let body: Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!(body["type"], "webhook.test");
    assert_eq!(body["data"]["webhook"], "app");
    let (id, origin) = (message.header("webhook-id"), format!("http://{}", receiver.address));
    assert_eq!(
        stdout(&output),
        format!("webhook  app\nat       {origin}\nmessage  {id}\nanswer   204, taken\n")
    );

    let receiver = Receiver::answering("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n");
    let folder = configured(&(receiver.url() + "?key=s3cret"), "");
    let output = run(folder.path(), &TEST);
    assert_eq!(output.status.code(), Some(2));
    let origin = format!("http://{}", receiver.address);
    assert_eq!(
        stderr(&output),
        format!(
            "resetd: app at {origin} did not take the message: it answered 401, wanted 200 to 299\n"
        )
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_webhook_that_is_not_configured_cannot_be_tried_out() {
    let folder = configured("https://app.example.com/", "");
    for (config, name, known) in [("c.toml", "ap", "app"), ("empty.toml", "app", "none")] {
        fs::write(folder.path().join("empty.toml"), "").unwrap();
        let output = run(folder.path(), &["--config", config, "webhook", "test", name]);
        assert_eq!(output.status.code(), Some(2));
        let wanted = format!("resetd: no webhook {name:?} is configured, there is {known}\n");
        assert_eq!(stderr(&output), wanted);
    }
}

#[test]
fn a_receiver_is_trusted_by_whom_the_system_trusts_under_its_name_and_reached_past_every_proxy() {
    let authority = Authority::new();
    let receiver = Receiver::with_tls("127.0.0.1", &authority.sign(), TAKEN);
    let proxy = Receiver::answering(TAKEN);
    let port = receiver.address.port();
    // Not on this machine as its URL has it, so that nothing but the guard keeps the proxy away.
    let url = format!("https://0x7f.1:{port}/hook");
    let folder = configured(&url, "networks = [\"127.0.0.1\"]");
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(folder.path().join("other.pem"), &Authority::named("other").pem).unwrap();
    let configs = [("c.toml", "ca.pem", 0), ("c.toml", "other.pem", 2), ("name.toml", "ca.pem", 2)];
    // The certificate is for the address, and not for this name of it.
    let elsewhere = fs::read_to_string(folder.path().join("c.toml")).unwrap();
    let elsewhere = elsewhere.replace("0x7f.1", "localhost");
    fs::write(folder.path().join("name.toml"), elsewhere).unwrap();
    for (config, trusted, code) in configs {
        let mut command = resetd(folder.path());
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(name, format!("http://{}", proxy.address));
        }
        command.args(TEST.map(|it| if it == "c.toml" { config } else { it }));
        let output = end_of(command.env("SSL_CERT_FILE", trusted));
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{config} {trusted}: {told}");
        if config == "name.toml" {
            assert!(told.contains("certificate not valid for name \"localhost\""), "{told}");
        }
    }
    assert_eq!(receiver.next().header("host"), format!("127.0.0.1:{port}"));
    assert!(receiver.has_none());
    assert_eq!(proxy.connections(), 0);
}
