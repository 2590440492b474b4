//! Webhooks: what can be configured, what is refused, and where secrets come from.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use resetd::config::{Config, ConfigError, DEFAULTS, Layers};
use resetd::domain::target::Reach;
use resetd::domain::webhook::{EventKind, SecretKind, SigningSecret};

use super::Setup;
use crate::docs::{blocks, read};
use crate::server::{resetd, stderr, stdout};

const URL: &str = "url = \"https://app.example.com/hook\"\n";
const EVENTS: &str = "events = [\"redeemed\"]\n";

fn secret(kind: SecretKind, byte: u8) -> String {
    SigningSecret::from_random(kind, [byte; 32]).encoded().expose().to_owned()
}

/// A folder with files of secrets: `one`, `two` and `both`, one to a line.
fn setup() -> Setup {
    let setup = Setup::new();
    let (one, two) = (secret(SecretKind::Hmac, 1), secret(SecretKind::Ed25519, 2));
    write(&setup, "one", &(one.clone() + "\n"));
    write(&setup, "two", &two);
    write(&setup, "both", &format!("{one}\n{two}\n"));
    setup
}

fn write(setup: &Setup, name: &str, text: &str) {
    let path = setup.0.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The line that names these files.
fn files(setup: &Setup, names: &[&str]) -> String {
    let paths: Vec<_> = names.iter().map(|name| setup.0.path().join(name)).collect();
    format!("secret_files = {paths:?}\n")
}

fn config_with(setup: &Setup, text: &str, variable: (&str, &str)) -> Result<Config, ConfigError> {
    let mut layers = Layers::defaults()?;
    layers.add_file(&setup.write(text))?;
    layers.add_variables([(variable.0.to_owned(), variable.1.to_owned())].into_iter())?;
    Config::from_layers(&layers)
}

#[test]
fn a_webhook_needs_a_name_a_url_events_and_a_secret() {
    let setup = setup();
    let files = files(&setup, &["one"]);
    let config = setup.config(&format!("[[webhooks]]\nname = \"app\"\n{URL}{EVENTS}{files}"));
    let [webhook] = &config.unwrap().webhooks[..] else { panic!("wanted one") };
    assert_eq!(webhook.name, "app");
    assert!(webhook.tenant.is_default());
    assert_eq!(webhook.target.as_str(), "https://app.example.com/hook");
    assert_eq!(*webhook.target.reach(), Reach::Public);
    assert_eq!(webhook.events, [EventKind::Redeemed]);
    assert_eq!(webhook.timeout, Duration::from_secs(10));
    assert!(!webhook.may_carry_token);
    let kinds: Vec<_> = webhook.secrets.iter().map(SigningSecret::kind).collect();
    assert_eq!(kinds, [SecretKind::Hmac]);
}

#[test]
fn the_webhooks_of_config_toml_and_of_the_page_can_be_used() {
    let setup = setup();
    let at = |text: &str, file: &str| {
        text.replace(&format!("\"{file}\""), &format!("{:?}", setup.0.path().join("both")))
    };
    let (_, example) = DEFAULTS.split_once("\n# [[webhooks]]").unwrap();
    let example: String = example
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let example = at(&example, "/run/secrets/webhook-app");
    let config = setup.config(&format!("[[webhooks]]{example}")).unwrap();
    let webhook = &config.webhooks[0];
    assert_eq!(webhook.events, [EventKind::Redeemed, EventKind::Revoked, EventKind::Reused]);
    assert_eq!(webhook.secrets.len(), 2);
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    assert_eq!(*webhook.target.reach(), Reach::AllowedNetworks(networks));
    for block in blocks(&read("docs/webhooks.md"), "toml") {
        let config = setup.config(&at(&block, "webhook-app")).unwrap();
        assert_eq!(config.webhooks.len(), 1, "{block}");
    }
}

#[test]
fn the_environment_can_hold_the_secrets_instead_of_files() {
    let setup = setup();
    let (one, two) = (secret(SecretKind::Hmac, 1), secret(SecretKind::Ed25519, 2));
    let text = format!("[[webhooks]]\nname = \"my.app-1\"\n{URL}{EVENTS}");
    let variable = "RESETD_WEBHOOK_SECRETS_MY_APP_1";
    let config = config_with(&setup, &text, (variable, &format!("{one} {two}\n"))).unwrap();
    let found: Vec<_> = config.webhooks[0]
        .secrets
        .iter()
        .map(|known| known.encoded().expose().to_owned())
        .collect();
    assert_eq!(found, [one.clone(), two]);
    let with_files = text.clone() + &files(&setup, &["one"]);
    for (text, variable, value, wanted) in [
        (
            &with_files,
            variable,
            one.as_str(),
            format!(
                "settings.toml:5: webhooks.0.secret_files: is set beside the environment variable {variable}; wanted one of the two"
            ),
        ),
        (
            &text,
            "RESETD_WEBHOOK_SECRETS_APP",
            one.as_str(),
            "settings.toml:1: webhooks.0.secret_files: wanted a file with a secret, found none; make one: resetd webhook secret".into(),
        ),
        (
            &with_files,
            "RESETD_WEBHOOK_SECRETS_APP",
            one.as_str(),
            "environment variable RESETD_WEBHOOK_SECRETS_APP: the secrets of a webhook: no webhook of this name is configured".into(),
        ),
        (
            &text,
            variable,
            "hunter2",
            format!(
                "environment variable {variable}: the secrets of a webhook: 1: wanted a text that begins with whsec_ or whsk_; make one: resetd webhook secret"
            ),
        ),
        (
            &text,
            variable,
            " ",
            "settings.toml:1: webhooks.0.secret_files: wanted a file with a secret, found none; make one: resetd webhook secret".into(),
        ),
    ] {
        let error = config_with(&setup, text, (variable, value)).map(drop).unwrap_err();
        assert_eq!(setup.plain(&error.to_string()), wanted);
    }
}

#[test]
fn a_webhook_that_cannot_be_meant_is_refused_with_its_line() {
    let setup = setup();
    let one = files(&setup, &["one"]);
    let url_wanted = "wanted an https URL (http only on localhost, 127.0.0.1 or [::1]) without user name, password or fragment, of at most 1024 bytes";
    let events_wanted =
        "wanted some of issued, delivered, delivery_failed, redeemed, revoked, reused, delivery";
    let url = |url: &str| format!("name = \"app\"\nurl = \"{url}\"\n{EVENTS}{one}");
    let events = |list: &str| format!("name = \"app\"\n{URL}events = {list}\n{one}");
    let more = |more: &str| format!("name = \"app\"\n{URL}{EVENTS}{one}{more}\n");
    for (text, wanted) in [
        (
            format!("name = \"a b\"\n{URL}{EVENTS}{one}"),
            "2: webhooks.0.name: wanted a name of 1 to 64 characters A-Z a-z 0-9 . _ -".into(),
        ),
        (format!("name = \"app\"\n{URL}{one}"), "1: webhooks.0: missing field `events`".into()),
        (
            more("secret = \"whsec_\""),
            "6: webhooks.0.secret: unknown field `secret`, expected one of `name`, `url`, `events`, `secret_files`, `tenant`, `networks`, `timeout_seconds`, `carry_token`".into(),
        ),
        (
            url("http://app.example.com/T0/s3cret?key=s3cret"),
            format!("3: webhooks.0.url: {url_wanted}, found \"http://app.example.com/…\""),
        ),
        (url("http://0x7f.1:80"), format!("3: webhooks.0.url: {url_wanted}, found \"http://0x7f.1:80\"")),
        (url("https://user:s3cret@a.example/"), format!("3: webhooks.0.url: {url_wanted}")),
        (url("app.example.com"), format!("3: webhooks.0.url: {url_wanted}, found \"app.example.com\"")),
        (events("[]"), format!("4: webhooks.0.events: {events_wanted}, found none")),
        (
            events("[\"password-token.issued\"]"),
            format!("4: webhooks.0.events: {events_wanted}, found \"password-token.issued\""),
        ),
        (events("[\"test\"]"), format!("4: webhooks.0.events: {events_wanted}, found \"test\"")),
        (
            events("[\"issued\", \"issued\"]"),
            "4: webhooks.0.events: \"issued\" stands there twice".into(),
        ),
        (
            events("[\"issued\", \"delivery\"]"),
            "4: webhooks.0.events: \"delivery\" sends live tokens, and whoever reads one can set a password; if that is meant, set carry_token = true".into(),
        ),
        (
            more("tenant = \"acme\""),
            "6: webhooks.0.tenant: no tenant \"acme\" is configured, there is \"default\"".into(),
        ),
        (
            more("networks = [\"10.0.0.0/8\", \"0.0.0.0/0\"]"),
            "6: webhooks.0.networks: wanted networks of at least 8 bits (IPv4) or 7 bits (IPv6), found \"0.0.0.0/0\"".into(),
        ),
        (
            more("networks = [\"internal\"]"),
            "6: webhooks.0.networks: wanted a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address, found \"internal\"".into(),
        ),
        (more("timeout_seconds = 61"), "6: webhooks.0.timeout_seconds: wanted 1 to 60, found 61".into()),
    ] {
        let error = setup.config(&format!("[[webhooks]]\n{text}")).map(drop).unwrap_err();
        assert_eq!(setup.plain(&error.to_string()), format!("settings.toml:{wanted}"), "{text}");
    }
    let carrying = events("[\"delivery\"]") + "carry_token = true\n";
    let config = setup.config(&format!("[[webhooks]]\n{carrying}")).unwrap();
    assert!(config.webhooks[0].may_carry_token);
}

#[test]
fn a_file_of_secrets_is_private_and_holds_nothing_else() {
    let setup = setup();
    let good = secret(SecretKind::Hmac, 1);
    for (text, mode, wanted) in [
        (
            "",
            0o600,
            "1: wanted a text that begins with whsec_ or whsk_; make one: resetd webhook secret",
        ),
        (
            " ",
            0o600,
            "1: wanted a text that begins with whsec_ or whsk_; make one: resetd webhook secret",
        ),
        (
            &format!("{good}\n\n"),
            0o600,
            "2: wanted a text that begins with whsec_ or whsk_; make one: resetd webhook secret",
        ),
        (
            &format!("{good}\r\n"),
            0o600,
            "1: wanted base64 (with + / and padding) after whsec_ or whsk_, and nothing else",
        ),
        (&format!("{good}\n{good}\n"), 0o600, "2: is an earlier secret again"),
        (
            "whpk_AAAA",
            0o600,
            "1: is the public half, which is for the receiver; wanted the private one, whsk_…",
        ),
        ("whsec_AAAA", 0o600, "1: wanted 24 to 64 bytes in base64, found 3 bytes"),
        (
            good.as_str(),
            0o640,
            "has mode 0640, wanted 0600 or 0400: only its owner may use a secret; mend it: chmod 600 file",
        ),
    ] {
        write(&setup, "file", text);
        let path = setup.0.path().join("file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let files = files(&setup, &["file"]);
        let error = setup.config(&format!("[[webhooks]]\nname = \"app\"\n{URL}{EVENTS}{files}"));
        let error = setup.plain(&error.map(drop).unwrap_err().to_string());
        assert_eq!(error, format!("settings.toml:5: webhooks.0.secret_files: file: {wanted}"));
        assert!(!error.contains(&good[8..20]));
    }
    let many: Vec<_> = (0..9).map(|byte| secret(SecretKind::Hmac, byte)).collect();
    write(&setup, "file", &many.join("\n"));
    let files = files(&setup, &["file"]);
    let error = setup.config(&format!("[[webhooks]]\nname = \"app\"\n{URL}{EVENTS}{files}"));
    assert_eq!(
        setup.plain(&error.map(drop).unwrap_err().to_string()),
        "settings.toml:5: webhooks.0.secret_files: wanted at most 8 secrets, found 9"
    );
}

#[test]
fn two_webhooks_have_neither_one_name_nor_one_secret() {
    let setup = setup();
    let webhook = |name: &str, file: &str| {
        format!("[[webhooks]]\nname = \"{name}\"\n{URL}{EVENTS}{}", files(&setup, &[file]))
    };
    for (second, wanted) in [
        (
            webhook("App", "two"),
            "settings.toml:7: webhooks.1.name: \"App\" is too like \"app\", an earlier one",
        ),
        (
            webhook("other", "both"),
            "settings.toml:6: webhooks.1: has a secret of \"app\", so each could send what seems to be from here to the other; make one of its own: resetd webhook secret",
        ),
    ] {
        let error = setup.config(&(webhook("app", "one") + &second)).map(drop).unwrap_err();
        assert_eq!(setup.plain(&error.to_string()), wanted);
    }
    let both = setup.config(&(webhook("app", "one") + &webhook("other", "two"))).unwrap();
    assert_eq!(both.webhooks.len(), 2);
    let shown = format!("{both:?}");
    for secret in [secret(SecretKind::Hmac, 1), secret(SecretKind::Ed25519, 2)] {
        assert!(!shown.contains(&secret[7..20]), "{shown}");
    }
}

#[test]
fn a_secret_of_a_webhook_in_the_wrong_place_is_not_shown() {
    let setup = setup();
    let secret = secret(SecretKind::Hmac, 0xfb);
    let one = files(&setup, &["one"]);
    for text in [
        format!("[[webhooks]]\nname = \"app\"\n{URL}{EVENTS}secret_files = [\"{secret}\"]\n"),
        format!("[[webhooks]]\nname = \"app\"\n{URL}events = [\"{secret}\"]\n{one}"),
        format!("[[webhooks]]\nname = \"app\"\nurl = \"{secret}\"\n{EVENTS}{one}"),
        format!("[[webhooks]]\nname = \"app\"\n{URL}{EVENTS}{one}tenant = \"{secret}\"\n"),
        format!("[[webhooks]]\nname = \"app\"\n{URL}{EVENTS}{one}timeout_seconds = \"{secret}\"\n"),
        format!("[log]\nlevel = \"{secret}\"\n"),
    ] {
        let error = setup.config(&text).map(drop).unwrap_err().to_string();
        assert!(error.contains("settings.toml") && !error.contains(&secret[6..20]), "{error}");
    }
    setup.write(&format!(
        "[[webhooks]]\nname = \"app\"\nurl = \"https://a.example/hook?key=s3cret\"\n{EVENTS}{one}[audit]\ndirectory = \"{secret}\"\n"
    ));
    for format in ["table", "json"] {
        let arguments = ["--config", "settings.toml", "-o", format, "config", "show"];
        let output = resetd(setup.0.path()).args(arguments).output().unwrap();
        let told = stdout(&output) + &stderr(&output);
        assert!(told.contains("https://a.example/hook?***"), "{told}");
        assert!(!told.contains("s3cret") && !told.contains(&secret[6..20]), "{told}");
    }
}

#[test]
fn a_file_of_secrets_that_is_not_there_is_named_with_its_whole_path_and_the_mend() {
    let text = "[[webhooks]]\nname = \"app\"\nurl = \"https://app.example.com\"\nevents = [\"redeemed\"]\nsecret_files = [\"nowhere\"]\n";
    let setup = Setup::new();
    let error = setup.config(text).map(drop).unwrap_err();
    let place = std::path::absolute("nowhere").unwrap();
    assert_eq!(
        setup.plain(&error.to_string()),
        format!(
            "settings.toml:5: webhooks.0.secret_files: {}: No such file or directory (os error 2); wanted a file with a secret; make it, or name the right path (a relative one begins where resetd is started)",
            place.display()
        )
    );
}
