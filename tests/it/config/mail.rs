//! `[mail]` and `[link]`: what is refused, and what a tenant has of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use resetd::config::{Config, Layers, Link, MailTransport, Smtp};
use resetd::domain::mail::Encryption;
use resetd::domain::secret::Secret;

use super::Setup;

const VARIABLE: &str = "RESETD_MAIL_PASSWORD";

const SMTP: &str = "[mail]\ntransport = \"smtp\"\nhost = \"smtp.example.com\"\nfrom = \"Example <reset@example.com>\"\n";

fn smtp(config: Config) -> Smtp {
    let MailTransport::Smtp(smtp) = config.mail.transport else { panic!("no SMTP") };
    smtp
}

/// With this password in the environment.
fn with_password(setup: &Setup, text: &str, password: &str) -> Result<Config, String> {
    let mut layers = Layers::defaults().unwrap();
    layers.add_file(&setup.write(text)).unwrap();
    layers.add_variables([(VARIABLE.to_owned(), password.to_owned())].into_iter()).unwrap();
    Config::from_layers(&layers).map_err(|error| setup.plain(&error.to_string()))
}

fn refusal(text: &str) -> String {
    let setup = Setup::new();
    let error = setup.config(text).map(drop).unwrap_err();
    setup.plain(&error.to_string())
}

#[test]
fn by_default_mail_goes_into_a_folder_and_has_no_links() {
    let config = Setup::new().config("").unwrap();
    assert!(
        matches!(&config.mail.transport, MailTransport::Maildir(path) if path == Path::new("mail"))
    );
    let tenant = config.default_tenant();
    assert_eq!(tenant.link, Link::default());
    assert_eq!(tenant.mail.from.to_string(), "resetd@localhost");
    assert_eq!(
        (tenant.mail.templates.as_ref(), tenant.mail.default_language.as_str()),
        (None, "en")
    );
}

#[test]
fn a_mail_server_has_the_port_that_its_encryption_usually_has() {
    for (more, encryption, port) in [
        ("", Encryption::StartTls, 587),
        ("encryption = \"tls\"\n", Encryption::Tls, 465),
        ("encryption = \"tls\"\nport = 2465\n", Encryption::Tls, 2465),
        ("host = \"localhost\"\nencryption = \"none\"\n", Encryption::None, 25),
        ("host = \"[::1]\"\nencryption = \"none\"\n", Encryption::None, 25),
    ] {
        let text = if more.contains("host") {
            SMTP.replace("host = \"smtp.example.com\"\n", "")
        } else {
            SMTP.into()
        };
        let smtp = smtp(Setup::new().config(&(text + more)).unwrap());
        assert_eq!((smtp.encryption, smtp.port), (encryption, port));
        assert_eq!((smtp.login, smtp.timeout), (None, Duration::from_secs(30)));
    }
}

#[test]
fn settings_under_which_a_link_or_a_password_could_be_read_are_refused_with_the_mend() {
    for (text, wanted) in [
        (
            "[mail]\ntransport = \"smtp\"\nhost = \"a.example\"\n".to_owned(),
            "settings.toml:2: mail.transport: is \"smtp\", which needs mail.from, the sender of all mails, found nothing there; set it to an address for which your mail server sends, such as \"Example <reset@example.com>\"",
        ),
        (
            "[mail]\nfrom = \"a@a.example\"\ntransport = \"smtp\"\n".to_owned(),
            "settings.toml:3: mail.transport: is \"smtp\", which needs mail.host, found nothing there; set it to the name of your mail server, such as \"smtp.example.com\"",
        ),
        (
            SMTP.to_owned() + "encryption = \"none\"\n",
            "settings.toml:5: mail.encryption: is \"none\", and mail.host is \"smtp.example.com\", which is not this machine: everybody on the way could read the links and reset passwords; wanted \"starttls\" or \"tls\", or a mail server on a loopback address",
        ),
        (
            SMTP.to_owned() + "encryption = \"opportunistic\"\n",
            "settings.toml:5: mail.encryption: wanted \"starttls\", \"tls\" or \"none\", found \"opportunistic\"",
        ),
        (
            SMTP.replace("smtp.example.com", "smtp example"),
            "settings.toml:3: mail.host: wanted the name of your mail server such as \"smtp.example.com\", found \"smtp example\"",
        ),
        (
            SMTP.to_owned() + "username = \"resetd\"\n",
            "settings.toml:5: mail.username: is set, and there is no password for it; wanted one in the file mail.password_file or in the environment variable RESETD_MAIL_PASSWORD",
        ),
        (
            "[link]\nreturn_urls = [\"https://a.example/reset\"]\n".to_owned(),
            "settings.toml:2: link.return_urls: is set, and link.template is not; wanted both, since that one says where in a link the token stands",
        ),
    ] {
        assert_eq!(refusal(&text), wanted);
    }
}

#[test]
fn a_password_comes_from_the_variable_or_from_a_file_of_its_owner_alone() {
    let setup = Setup::new();
    let text = SMTP.to_owned() + "username = \"resetd\"\n";
    let login = |config: Config| smtp(config).login.unwrap();
    let found = login(with_password(&setup, &text, "hunter2 ").unwrap());
    assert_eq!(found, ("resetd".to_owned(), Secret::new("hunter2 ")));

    let file = setup.0.path().join("password");
    fs::write(&file, "hunter2 \r\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let with_file = format!("{text}password_file = \"{}\"\n", file.display());
    assert_eq!(login(setup.config(&with_file).unwrap()).1, Secret::new("hunter2 "));

    let both = with_password(&setup, &with_file, "hunter2").map(drop).unwrap_err();
    assert_eq!(
        both,
        "settings.toml:6: mail.password_file: is set beside the environment variable RESETD_MAIL_PASSWORD; wanted one of the two"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let open = setup.config(&with_file).map(drop).unwrap_err().to_string();
    assert!(open.contains("only its owner may use a password"), "{open}");
    for (password, wanted) in [
        ("", "wanted a password, found nothing"),
        ("two\nlines", "wanted one line of UTF-8, found something else"),
    ] {
        let error = with_password(&setup, &text, password).map(drop).unwrap_err();
        let place = "environment variable RESETD_MAIL_PASSWORD: the password of the mail server: ";
        assert_eq!(error, format!("{place}{wanted}"));
    }
}

#[test]
fn a_password_is_not_sent_in_the_clear_and_not_without_a_name() {
    let setup = Setup::new();
    let text = SMTP.replace("smtp.example.com", "127.0.0.1")
        + "encryption = \"none\"\nusername = \"resetd\"\n";
    let error = with_password(&setup, &text, "hunter2").map(drop).unwrap_err();
    assert!(
        error.contains("mail.encryption is \"none\": the password would pass in the clear"),
        "{error}"
    );
    let error = with_password(&setup, SMTP, "hunter2").map(drop).unwrap_err();
    assert!(error.contains("mail.username: wanted a name, as there is a password"), "{error}");
    let config =
        with_password(&setup, &(SMTP.to_owned() + "username = \"a\"\n"), "hunter2").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_tenant_has_no_link_of_another_and_shares_the_rest_of_mail() {
    let text = SMTP.to_owned()
        + "templates = \"mine\"\ndefault_language = \"de\"\n[link]\ntemplate = \"https://app.example.com/reset#{token}\"\n[tenants.acme]\naudience = \"acme\"\n[tenants.beta]\naudience = \"beta\"\n[tenants.beta.link]\ntemplate = \"https://beta.example/?t={token}\"\nreturn_urls = [\"https://shop.beta.example/\"]\n[tenants.beta.mail]\nfrom = \"beta@beta.example\"\ntemplates = \"\"\ndefault_language = \"en\"\n";
    let config = Setup::new().config(&text).unwrap();
    let default = config.default_tenant();
    let (acme, beta) = (config.tenant("acme").unwrap(), config.tenant("beta").unwrap());
    let template = |link: &Link| link.template.as_ref().map(ToString::to_string);
    assert_eq!(template(&default.link).unwrap(), "https://app.example.com/reset#{token}");
    assert_eq!(acme.link, Link::default());
    assert_eq!(acme.mail, default.mail);
    assert_eq!(template(&beta.link).unwrap(), "https://beta.example/?t={token}");
    assert!(beta.link.return_urls.allow("https://shop.beta.example/").is_some());
    assert_eq!(beta.mail.from.to_string(), "beta@beta.example");
    assert_eq!((beta.mail.templates.as_ref(), beta.mail.default_language.as_str()), (None, "en"));
}

#[test]
fn a_mistake_in_a_tenants_link_or_mail_is_told_with_its_place() {
    let text = |section: &str, line: &str| {
        format!("[tenants.acme]\naudience = \"acme\"\n[tenants.acme.{section}]\n{line}\n")
    };
    for (section, line, wanted) in [
        (
            "link",
            "template = \"http://acme.example/#{token}\"",
            "4: tenants.acme.link.template: wanted an https URL",
        ),
        (
            "link",
            "template = \"https://a.example/#{token}\"\nreturn_urls = [\"https://a.example/#x\"]",
            "5: tenants.acme.link.return_urls: wanted an https URL",
        ),
        (
            "mail",
            "from = \"Acme\"",
            "4: tenants.acme.mail.from: wanted an e-mail address, or a name and an address",
        ),
        (
            "mail",
            "default_language = \"deutsch!\"",
            "4: tenants.acme.mail.default_language: wanted a language tag",
        ),
        ("mail", "host = \"a\"", "4: tenants.acme.mail.host: unknown field `host`"),
    ] {
        let found = refusal(&text(section, line));
        assert!(found.starts_with(&format!("settings.toml:{wanted}")), "{found}");
    }
}
