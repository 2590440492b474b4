//! Directories of users in a file of settings.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use resetd::config::{Config, Layers};
use resetd::domain::directory::{DirectorySource, LdapSecurity, LdapSource};
use resetd::domain::identifier::Username;

use super::Setup;

/// A setup with two files of secrets.
fn setup() -> Setup {
    let setup = Setup::new();
    for (file, text, mode) in [("secret", "hunter2\n", 0o600), ("open", "hunter2\n", 0o644)] {
        let path = setup.0.path().join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    setup
}

/// `PATH/` is the folder with the secrets.
fn config(setup: &Setup, text: &str) -> Result<Config, String> {
    let folder = format!("{}/", setup.0.path().display());
    let config = setup.config(&format!("[directory]\n{}", text.replace("PATH/", &folder)));
    config.map_err(|error| setup.plain(&error.to_string()))
}

fn ldap(setup: &Setup, text: &str) -> LdapSource {
    let text = format!("kind = \"ldap\"\nbase = \"dc=example\"\n{text}");
    let directory = config(setup, &text).unwrap().default_tenant().directory.clone().unwrap();
    let DirectorySource::Ldap(source) = directory.source else { panic!("{text}") };
    *source
}

#[test]
fn each_kind_needs_little() {
    let setup = setup();
    let text = "kind = \"file\"\nfile = \"users.csv\"\ncache_seconds = 0\ntimeout_seconds = 5\n";
    let directory = config(&setup, text).unwrap().default_tenant().directory.clone().unwrap();
    let times = (directory.timeout, directory.cache_for, directory.reveal_unknown_users);
    assert_eq!(times, (Duration::from_secs(5), Duration::ZERO, false));
    let DirectorySource::File(file) = directory.source else { panic!("{directory:?}") };
    assert_eq!(file, Path::new("users.csv"));
    for text in [
        "kind = \"http\"\nurl = \"https://u.example/{username}\"\ntoken_file = \"PATH/secret\"\n",
        "kind = \"scim\"\nurl = \"https://u.example/scim\"\nca_file = \"ca.pem\"\n",
    ] {
        let directory = config(&setup, text).unwrap().default_tenant().directory.clone().unwrap();
        assert!(!format!("{directory:?}").contains("hunter2"), "{directory:?}");
        match directory.source {
            DirectorySource::Http(url, access) => {
                let name = Username::parse("ann").unwrap();
                assert_eq!(url.of(&name).unwrap(), "https://u.example/ann");
                assert_eq!(access.token.unwrap().expose(), "hunter2");
            }
            DirectorySource::Scim(url, access) => {
                let name = Username::parse("ann").unwrap();
                assert!(url.of(&name).starts_with("https://u.example/scim/Users?"));
                assert!(access.token.is_none() && access.ca_file.is_some());
            }
            DirectorySource::File(_) | DirectorySource::Ldap(_) => panic!("{text}"),
        }
    }
}

#[test]
fn an_ldap_server_is_reached_over_tls_unless_it_is_this_machine() {
    let setup = setup();
    for (text, host, port, security) in [
        ("url = \"ldaps://l.example\"", "l.example", 636, LdapSecurity::Tls),
        ("url = \"ldaps://l.example:1636/\"", "l.example", 1636, LdapSecurity::Tls),
        ("url = \"ldap://l.example\"", "l.example", 389, LdapSecurity::StartTls),
        ("url = \"ldap://127.0.0.1:1389\"", "127.0.0.1", 1389, LdapSecurity::StartTls),
        ("url = \"ldap://[::1]\"\nstart_tls = false", "::1", 389, LdapSecurity::None),
        ("url = \"ldaps://l.example\"\nstart_tls = false", "l.example", 636, LdapSecurity::Tls),
    ] {
        let source = ldap(&setup, text);
        assert_eq!((source.host.as_str(), source.port, source.security), (host, port, security));
        assert!(source.bind.is_none() && source.disabled_filter.is_none());
    }
    let text = "url = \"ldaps://l.example\"\nbind_dn = \"cn=r\"\nbind_password_file = \"PATH/secret\"\nuser_id_attribute = \"\"\n";
    let source = ldap(&setup, text);
    let (name, password) = source.bind.unwrap();
    assert_eq!((name.as_str(), password.expose()), ("cn=r", "hunter2"));
    assert_eq!((source.attributes.username.as_str(), source.attributes.user_id), ("uid", None));
}

#[test]
fn a_secret_comes_from_a_file_or_a_variable() {
    let setup = setup();
    let with = |text: &str, name: &str, value: &str| {
        let mut layers = Layers::defaults().unwrap();
        layers.add_file(&setup.write(&format!("[directory]\n{text}"))).unwrap();
        layers.add_variables([(name.to_owned(), value.to_owned())].into_iter()).unwrap();
        assert!(!layers.values().iter().any(|(_, value)| value.to_string().contains("hunter3")));
        Config::from_layers(&layers).map_err(|error| error.to_string())
    };
    let (ldap, http) = (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"dc=x\"\nbind_dn = \"cn=r\"\n",
        "kind = \"http\"\nurl = \"https://u.example/{username}\"\n",
    );
    let config = with(ldap, "RESETD_DIRECTORY_BIND_PASSWORD", "hunter3").unwrap();
    let source = config.default_tenant().directory.clone().unwrap().source;
    let DirectorySource::Ldap(source) = source else { panic!("{source:?}") };
    assert_eq!(source.bind.unwrap().1.expose(), "hunter3");
    let config = with(http, "RESETD_DIRECTORY_TOKEN", "hunter3").unwrap();
    let source = config.default_tenant().directory.clone().unwrap().source;
    let DirectorySource::Http(_, access) = source else { panic!("{source:?}") };
    assert_eq!(access.token.unwrap().expose(), "hunter3");
    let both = format!("{http}token_file = \"secret\"\n");
    let error = with(&both, "RESETD_DIRECTORY_TOKEN", "hunter3").unwrap_err();
    assert!(
        error.contains("is set beside the environment variable RESETD_DIRECTORY_TOKEN"),
        "{error}"
    );
    for (value, wanted) in [("", "in one line"), ("a\nb", "in one line"), ("a b", "without blanks")]
    {
        let error = with(http, "RESETD_DIRECTORY_TOKEN", value).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_tenants_directory_starts_from_the_defaults_and_not_from_that_of_the_default_tenant() {
    let setup = setup();
    let text = "kind = \"file\"\nfile = \"a.csv\"\ntimeout_seconds = 9\nreveal_unknown_users = true\n
        [tenants.acme]\naudience = \"acme\"\n[tenants.acme.directory]\nkind = \"file\"\nfile = \"b.csv\"\n
        [tenants.bare]\naudience = \"bare\"\n";
    let config = config(&setup, text).unwrap();
    let acme = config.tenant("acme").unwrap().directory.clone().unwrap();
    let times = (acme.timeout.as_secs(), acme.cache_for.as_secs(), acme.reveal_unknown_users);
    assert_eq!(times, (3, 30, false));
    assert!(matches!(acme.source, DirectorySource::File(file) if file == Path::new("b.csv")));
    assert!(config.tenant("bare").unwrap().directory.is_none());
}

#[test]
fn a_mistake_about_a_directory_is_refused_with_its_line() {
    let setup = setup();
    for (text, wanted) in MISTAKES {
        let error = config(&setup, text).map(drop).unwrap_err();
        assert!(error.starts_with(&format!("settings.toml:{wanted}")), "in {text:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

const LDAP: &str = "[tenants.a]\naudience = \"a\"\n[tenants.a.directory]\nkind = \"ldap\"\n";

/// Each with how its message begins, from the line number on.
const MISTAKES: [(&str, &str); 37] = [
    (
        "kind = \"sql\"\n",
        "2: directory.kind: wanted \"none\", \"file\", \"http\", \"scim\" or \"ldap\", found \"sql\"",
    ),
    ("kinds = \"file\"\n", "2: directory.kinds: unknown field `kinds`"),
    ("timeout_seconds = 0\n", "2: directory.timeout_seconds: wanted 1 to 60, found 0"),
    ("timeout_seconds = 61\n", "2: directory.timeout_seconds: wanted 1 to 60, found 61"),
    ("cache_seconds = 3601\n", "2: directory.cache_seconds: wanted 0 to 3600, found 3601"),
    (
        "file = \"users.csv\"\n",
        "2: directory.file: is for the kinds file, and directory.kind is \"none\"",
    ),
    (
        "kind = \"file\"\nfile = \"u.csv\"\nbase = \"dc=x\"\n",
        "4: directory.base: is for the kinds ldap, and",
    ),
    (
        "kind = \"scim\"\nurl = \"https://a.example\"\nbind_dn = \"x\"\n",
        "4: directory.bind_dn: is for the kinds ldap",
    ),
    (
        "kind = \"file\"\nurl = \"https://a.example\"\nfile = \"u.csv\"\n",
        "3: directory.url: is for the kinds http, scim, ldap",
    ),
    ("kind = \"file\"\nfile = \"\"\n", "3: directory.file: wanted a file of users, found nothing"),
    ("kind = \"http\"\nurl = \"\"\n", "3: directory.url: wanted an https URL"),
    ("kind = \"http\"\nurl = \"https://u.example/\"\n", "3: directory.url: wanted an https URL"),
    (
        "kind = \"http\"\nurl = \"http://u.example/{username}\"\n",
        "3: directory.url: wanted an https URL",
    ),
    (
        "kind = \"http\"\nurl = \"https://a:hunter2@u.example/{username}\"\n",
        "3: directory.url: wanted an https URL",
    ),
    (
        "kind = \"http\"\nurl = \"http://u.example/{username}?key=hunter2\"\n",
        "3: directory.url: wanted an https URL",
    ),
    (
        "kind = \"http\"\nurl = \"https://u.example?key=hunter2\"\n",
        "3: directory.url: wanted an https URL",
    ),
    (
        "kind = \"http\"\nurl = \"http://127.1/{username}\"\n",
        "3: directory.url: wanted an https URL",
    ),
    ("kind = \"scim\"\nurl = \"http://0x7f.1/\"\n", "3: directory.url: wanted an https URL"),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example/hunter2\"\nbase = \"dc=x\"\n",
        "3: directory.url: wanted an address such as",
    ),
    ("kind = \"scim\"\nurl = \"http://u.example\"\n", "3: directory.url: wanted an https URL"),
    (
        "kind = \"scim\"\nurl = \"https://u.example/{username}\"\n",
        "3: directory.url: wanted an https URL",
    ),
    (
        "kind = \"scim\"\nurl = \"https://u.example\"\ntoken_file = \"PATH/open\"\n",
        "4: directory.token_file: open: has mode 0644",
    ),
    (
        "kind = \"scim\"\nurl = \"https://u.example\"\ntoken_file = \"PATH/nowhere\"\n",
        "4: directory.token_file: nowhere: No such file",
    ),
    (
        "kind = \"ldap\"\nurl = \"https://l.example\"\nbase = \"dc=x\"\n",
        "3: directory.url: wanted an address such as",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example/dc=x\"\nbase = \"dc=x\"\n",
        "3: directory.url: wanted an address such as",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://cn=x:hunter2@l.example\"\nbase = \"dc=x\"\n",
        "3: directory.url: wanted an address such as",
    ),
    (
        "kind = \"ldap\"\nurl = \"l.example\"\nbase = \"dc=x\"\n",
        "3: directory.url: wanted an address such as",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldap://l.example\"\nstart_tls = false\nbase = \"dc=x\"\n",
        "4: directory.start_tls: is false, and others could read the password",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"\"\n",
        "4: directory.base: wanted the name of the entry",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"dc=x\"\nfilter = \"(uid=ann)\"\n",
        "5: directory.filter: wanted an LDAP filter of at most",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"dc=x\"\nfilter = \"({username}=x)\"\n",
        "5: directory.filter: wanted an LDAP filter of at most",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"dc=x\"\ndisabled_filter = \"locked\"\n",
        "5: directory.disabled_filter: wanted an LDAP filter",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"dc=x\"\nbind_dn = \"cn=r\"\nbind_password_file = \"\"\n",
        "6: directory.bind_password_file: wanted a file with the password",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"dc=x\"\nbind_dn = \"\"\nbind_password_file = \"PATH/secret\"\n",
        "5: directory.bind_dn: wanted the name that the password is for",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"dc=x\"\nusername_attribute = \"\"\n",
        "5: directory.username_attribute: wanted the name of an attribute, found nothing",
    ),
    (
        "kind = \"ldap\"\nurl = \"ldaps://l.example\"\nbase = \"dc=x\"\nemail_attribute = \"*\"\n",
        "5: directory.email_attribute: wanted the name of an attribute, found \"*\"",
    ),
    (LDAP, "4: tenants.a.directory.url: wanted an address such as"),
];
