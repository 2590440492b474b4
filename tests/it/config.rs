//! Settings: the documented defaults are the ones in force, each layer covers the one below, and
//! every mistake is refused with its place, what was wanted and what was found.

mod directory;
mod keys;
mod mail;
mod tenants;
mod webhooks;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use resetd::config::{AuditSink, Config, ConfigError, DEFAULTS, Layers, LogFormat};
use resetd::domain::caller::{KeyHash, Scope, api_key};
use resetd::domain::policy::Lifetime;
use resetd::domain::time::to_rfc3339;
use resetd_verify::Algorithm;
use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

use crate::server::{run, stderr};

/// Every setting there is, with its documented default.
const SETTINGS: [(&str, &str); 98] = [
    ("audit.directory", r#""audit""#),
    ("audit.keep_files", "0"),
    ("audit.rotate_bytes", "67108864"),
    ("audit.sink", r#""off""#),
    ("directory.base", r#""""#),
    ("directory.bind_dn", r#""""#),
    ("directory.bind_password_file", r#""""#),
    ("directory.ca_file", r#""""#),
    ("directory.cache_seconds", "30"),
    ("directory.credential_id_attribute", r#""""#),
    ("directory.disabled_filter", r#""""#),
    ("directory.email_attribute", r#""mail""#),
    ("directory.file", r#""""#),
    ("directory.filter", r#""(&(objectClass=inetOrgPerson)(uid={username}))""#),
    ("directory.identity_providers_attribute", r#""""#),
    ("directory.kind", r#""none""#),
    ("directory.language_attribute", r#""preferredLanguage""#),
    ("directory.reveal_unknown_users", "false"),
    ("directory.start_tls", "true"),
    ("directory.timeout_seconds", "3"),
    ("directory.token_file", r#""""#),
    ("directory.url", r#""""#),
    ("directory.user_id_attribute", r#""entryUUID""#),
    ("directory.username_attribute", r#""uid""#),
    ("fabric.accounts", "[]"),
    ("fabric.enabled", "false"),
    ("fabric.lenient_site_context", "false"),
    ("fabric.strict_accounts", "false"),
    ("fabric.tenant", r#""default""#),
    ("keys.algorithm", r#""ES256""#),
    ("keys.directory", r#""keys""#),
    ("keys.jwks_max_age_seconds", "300"),
    ("keys.passphrase_file", r#""""#),
    ("keys.publish_ahead_seconds", "0"),
    ("keys.rotate_every_seconds", "0"),
    ("limits.caller_per_minute", "0"),
    ("limits.holder_revocations_per_minute", "10"),
    ("limits.source_per_minute", "6000"),
    ("limits.trusted_proxies", "[]"),
    ("limits.user_tokens_per_hour", "20"),
    ("link.return_urls", "[]"),
    ("link.template", r#""""#),
    ("log.format", r#""auto""#),
    ("log.level", r#""info""#),
    ("loginradius.api_key", r#""""#),
    ("loginradius.caller", r#""""#),
    ("loginradius.enabled", "false"),
    ("loginradius.tenant", r#""default""#),
    ("mail.ca_file", r#""""#),
    ("mail.default_language", r#""en""#),
    ("mail.directory", r#""mail""#),
    ("mail.encryption", r#""starttls""#),
    ("mail.from", r#""""#),
    ("mail.host", r#""""#),
    ("mail.notices", "true"),
    ("mail.password_file", r#""""#),
    ("mail.port", "0"),
    ("mail.templates", r#""""#),
    ("mail.timeout_seconds", "30"),
    ("mail.transport", r#""maildir""#),
    ("mail.username", r#""""#),
    ("outbox.capacity", "10000"),
    ("page.continue_url", r#""""#),
    ("page.enabled", "false"),
    ("page.name", r#""""#),
    ("rebilly.all_callers", "false"),
    ("rebilly.enabled", "false"),
    ("rebilly.tenant", r#""default""#),
    ("server.admin_listen", r#""""#),
    ("server.allow_plain_http", "false"),
    ("server.answer_timeout_seconds", "10"),
    ("server.body_timeout_seconds", "5"),
    ("server.header_timeout_seconds", "10"),
    ("server.listen", r#""127.0.0.1:8080""#),
    ("server.max_body_bytes", "65536"),
    ("server.max_connection_seconds", "300"),
    ("server.max_connections", "1024"),
    ("server.max_connections_per_address", "0"),
    ("server.shutdown_seconds", "10"),
    ("server.socket_mode", r#""0660""#),
    ("servicestack.enabled", "false"),
    ("servicestack.json_names", r#""pascal""#),
    ("servicestack.public", "false"),
    ("servicestack.tenant", r#""default""#),
    ("state.capacity", "1000000"),
    ("state.directory", r#""state""#),
    ("state.durability", r#""journal""#),
    ("tls.admin_client_ca_file", r#""""#),
    ("tls.certificate_file", r#""""#),
    ("tls.client_ca_file", r#""""#),
    ("tls.key_file", r#""""#),
    ("token.audience", r#""resetd""#),
    ("token.issuer", r#""""#),
    ("token.leeway_seconds", "0"),
    ("token.lifetime_seconds", "900"),
    ("token.max_lifetime_seconds", "86400"),
    ("token.min_lifetime_seconds", "60"),
    ("token.supersede", "true"),
];

/// A hash that is the hash of something.
const HASH: &str = "a44efcc3e13b07e60b5db919d97f84f8fd1d95808d6625e979ba12b3321b6bb9";

#[test]
fn config_toml_has_every_setting_and_no_other() {
    let layers = Layers::defaults().unwrap();
    let found: Vec<_> =
        layers.values().into_iter().map(|(key, value)| (key, value.to_string())).collect();
    let wanted = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(found, wanted);
    // It is read without a default of serde's and without an unknown member: nothing is missing.
    Config::from_layers(&layers).unwrap();
}

#[test]
fn config_toml_says_what_every_setting_means() {
    let lines: Vec<_> = DEFAULTS.lines().collect();
    let settings = lines.iter().enumerate().filter(|(_, line)| {
        let first = line.chars().next();
        first.is_some_and(|first| first.is_ascii_lowercase())
    });
    for (at, setting) in settings {
        let mut above = lines[..at].iter().rev();
        let beside = above.find(|line| line.starts_with(['#', '[']) || line.is_empty());
        assert!(beside.unwrap().starts_with('#'), "{setting}");
    }
}

#[test]
fn the_documented_defaults_are_in_force() {
    let config = Setup::new().config("").unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.admin_listen, None);
    assert_eq!(config.server.socket_mode, 0o660);
    assert!(!config.server.allow_plain_http);
    assert_eq!(config.tls, None);
    assert_eq!(config.server.max_connections, 1024);
    assert_eq!(config.server.max_connections_per_address, 256);
    assert_eq!(config.server.header_timeout, seconds(10));
    assert_eq!(config.server.body_timeout, seconds(5));
    assert_eq!(config.server.answer_timeout, seconds(10));
    assert_eq!(config.server.max_connection_age, seconds(300));
    assert_eq!(config.server.max_body_bytes, 65_536);
    assert_eq!(config.server.shutdown, seconds(10));
    assert_eq!(config.log.level, LevelFilter::INFO);
    assert_eq!(config.log.format, LogFormat::Auto);
    let [tenant] = config.tenants.as_slice() else {
        panic!("wanted the default tenant alone");
    };
    assert!(tenant.policy.tenant.is_default());
    assert_eq!(tenant.policy.issuer, "http://127.0.0.1:8080");
    assert!(tenant.issuer_is_derived);
    assert_eq!(tenant.policy.audience, "resetd");
    let (default, min, max) = (900, 60, 86_400);
    assert_eq!(tenant.policy.lifetime, Lifetime { default, min, max });
    assert_eq!(tenant.policy.leeway, 0);
    assert!(tenant.policy.supersede);
    assert_eq!(tenant.keys.directory, Path::new("keys"));
    assert_eq!(tenant.keys.algorithm, Algorithm::Es256);
    assert_eq!(tenant.keys.publish_ahead, 360);
    assert_eq!(tenant.keys.rotate_every, None);
    assert!(tenant.directory.is_none());
    assert!(config.keys.is_default_directory);
    assert_eq!(config.keys.jwks_max_age, 300);
    assert_eq!(config.keys.passphrases, None);
    assert_eq!(config.state.directory, Path::new("state"));
    assert_eq!(config.state.capacity, 1_000_000);
    assert_eq!(config.audit.sink, AuditSink::Off);
    assert_eq!(config.audit.directory, Path::new("audit"));
    assert_eq!((config.audit.rotate_bytes, config.audit.keep_files), (67_108_864, 0));
    assert!(config.callers.is_empty());
    assert!(tenant.page.is_none());
}

#[test]
fn the_caller_that_stands_in_config_toml_as_a_comment_can_be_used() {
    let (_, example) = DEFAULTS.split_once("\n# [[callers]]").unwrap();
    let example: String = example
        .lines()
        .take_while(|line| *line != "#")
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| !line.starts_with("key_file"))
        .map(|line| line.replace("<64 hexadecimal digits>", HASH) + "\n")
        .collect();
    let config = Setup::new().config(&format!("[[callers]]\n{example}")).unwrap();
    assert_eq!(config.callers.iter().count(), 1, "{example}");
    let caller = config.callers.iter().next().unwrap();
    assert_eq!(caller.name, "web");
    assert_eq!(caller.scopes, [Scope::Issue, Scope::Check, Scope::Redeem, Scope::Revoke]);
}

#[test]
fn a_file_covers_the_defaults_a_variable_the_file_and_a_flag_the_variable() {
    let setup = Setup::new();
    let file = setup.write("[server]\nlisten = \"127.0.0.1:1\"\n");
    let variable = ("RESETD_SERVER_LISTEN".to_owned(), "127.0.0.1:2".to_owned());
    let mut layers = Layers::defaults().unwrap();
    let mut seen = Vec::new();
    let mut look = |layers: &Layers| {
        let config = Config::from_layers(layers).unwrap();
        let origin = layers.origin("server.listen").to_string();
        seen.push((config.server.listen.address().unwrap().port(), setup.plain(&origin)));
    };
    look(&layers);
    layers.add_file(&file).unwrap();
    look(&layers);
    layers.add_variables([variable].into_iter()).unwrap();
    look(&layers);
    layers.add_flag("--listen", "server.listen", "127.0.0.1:3").unwrap();
    look(&layers);
    let wanted = [
        (8080, "default"),
        (1, "settings.toml:2"),
        (2, "environment variable RESETD_SERVER_LISTEN"),
        (3, "flag --listen"),
    ];
    assert_eq!(seen, wanted.map(|(port, origin)| (port, origin.to_owned())));
}

#[test]
fn a_file_needs_only_what_differs() {
    let config = Setup::new().config("[token]\nlifetime_seconds = 120\n").unwrap();
    let (default, min, max) = (120, 60, 86_400);
    assert_eq!(config.default_tenant().policy.lifetime, Lifetime { default, min, max });
}

#[test]
fn one_address_has_a_quarter_of_all_connections_or_what_is_said() {
    for (settings, share) in [
        ("max_connections = 8", 2),
        ("max_connections = 3", 1),
        ("max_connections = 8\nmax_connections_per_address = 8", 8),
    ] {
        let config = Setup::new().config(&format!("[server]\n{settings}\n")).unwrap();
        assert_eq!(config.server.max_connections_per_address, share, "{settings}");
    }
}

#[test]
fn every_setting_can_be_given_by_a_variable() {
    for (key, default) in SETTINGS {
        let name = format!("RESETD_{}", key.replace('.', "_").to_uppercase());
        let value = default.trim_matches(['"', '[', ']']).to_owned();
        let mut layers = Layers::defaults().unwrap();
        layers.add_variables([(name.clone(), value)].into_iter()).unwrap();
        let origin = layers.origin(key).to_string();
        assert_eq!(origin, format!("environment variable {name}"));
        Config::from_layers(&layers).unwrap();
    }
}

#[test]
fn a_list_is_given_by_a_variable_with_commas() {
    let mut layers = Layers::defaults().unwrap();
    let name = "RESETD_LIMITS_TRUSTED_PROXIES".to_owned();
    layers.add_variables([(name, "10.0.0.0/8, 2001:db8::1,".to_owned())].into_iter()).unwrap();
    let config = Config::from_layers(&layers).unwrap();
    let proxies: Vec<_> = config.limits.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "2001:db8::1/128"]);
}

#[test]
fn a_variable_that_is_no_setting_is_refused_with_the_one_it_may_have_meant() {
    let cases = [
        (
            "RESETD_SERVER_LISTN",
            "127.0.0.1:1",
            "environment variable RESETD_SERVER_LISTN: no such setting; did you mean RESETD_SERVER_LISTEN?",
        ),
        (
            "RESETD_TOKEN_LIFETIME_SECOND",
            "900",
            "environment variable RESETD_TOKEN_LIFETIME_SECOND: no such setting; did you mean RESETD_TOKEN_LIFETIME_SECONDS?",
        ),
        (
            "RESETD_SOMETHING_ELSE",
            "1",
            "environment variable RESETD_SOMETHING_ELSE: no such setting",
        ),
        (
            "RESETD_TOKEN_LIFETIME_SECONDS",
            "15m",
            "environment variable RESETD_TOKEN_LIFETIME_SECONDS: token.lifetime_seconds: wanted a whole number, found \"15m\"",
        ),
        (
            "RESETD_TOKEN_SUPERSEDE",
            "yes",
            "environment variable RESETD_TOKEN_SUPERSEDE: token.supersede: wanted true or false, found \"yes\"",
        ),
        (
            "RESETD_STATE_CAPACITY",
            "0",
            "environment variable RESETD_STATE_CAPACITY: state.capacity: wanted 1 to 1000000000, found 0",
        ),
    ];
    for (name, value, wanted) in cases {
        assert_eq!(with_variable(name, value).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn variables_of_the_command_line_and_of_other_programs_are_no_settings() {
    for name in [
        "RESETD_CONFIG",
        "RESETD_URL",
        "RESETD_API_KEY",
        "RESETD_OUTPUT",
        "RESETD_SERVICE_HOST",
        "RESETD_PORT_8080_TCP_ADDR",
        "RESET_SERVER_LISTEN",
        "PATH",
    ] {
        with_variable(name, "anything").unwrap();
    }
}

#[test]
fn a_mistake_is_refused_with_its_line_what_was_wanted_and_what_was_found() {
    let setup = Setup::new();
    for (text, wanted) in MISTAKES {
        let error = setup.config(text).map(drop).unwrap_err();
        let found = setup.plain(&error.to_string());
        assert_eq!(found, format!("settings.toml:{wanted}"), "in {text:?}");
    }
}

/// Each with the message that it gets, from the line number on.
const MISTAKES: [(&str, &str); 82] = [
    // Not TOML.
    ("[token\n", "1: unclosed table, expected `]`"),
    ("[token]\nlifetime_seconds = 60\nlifetime_seconds = 61\n", "3: duplicate key"),
    // No such setting.
    (
        "[tokens]\n",
        "1: tokens: unknown field `tokens`, expected one of `server`, `tls`, `limits`, `log`, `token`, `keys`, `page`, `state`, `outbox`, `audit`, `link`, `mail`, `directory`, `rebilly`, `fabric`, `loginradius`, `servicestack`, `tenants`, `callers`, `bearers`, `webhooks`; did you mean token?",
    ),
    (
        "[mial]\n",
        "1: mial: unknown field `mial`, expected one of `server`, `tls`, `limits`, `log`, `token`, `keys`, `page`, `state`, `outbox`, `audit`, `link`, `mail`, `directory`, `rebilly`, `fabric`, `loginradius`, `servicestack`, `tenants`, `callers`, `bearers`, `webhooks`; did you mean mail?",
    ),
    (
        "[mail]\nhsot = \"a.example\"\n",
        "2: mail.hsot: unknown field `hsot`, expected one of `transport`, `directory`, `host`, `port`, `encryption`, `username`, `password_file`, `ca_file`, `from`, `templates`, `default_language`, `timeout_seconds`, `notices`; did you mean host?",
    ),
    (
        "[log]\n\n# a comment\ncolour = true\n",
        "4: log.colour: unknown field `colour`, expected `level` or `format`",
    ),
    ("log.colour = true\n", "1: log.colour: unknown field `colour`, expected `level` or `format`"),
    (
        "\nlog = { level = \"info\", colour = true }\n",
        "2: log.colour: unknown field `colour`, expected `level` or `format`",
    ),
    // Of another type.
    ("token = 5\n", "1: token: invalid type: integer `5`, expected a section"),
    (
        "[token]\nlifetime_seconds = \"60\"\n",
        "2: token.lifetime_seconds: invalid type: string \"60\", wanted a whole number, 0 or more",
    ),
    (
        "[token]\r\nlifetime_seconds = -60\r\n",
        "2: token.lifetime_seconds: invalid value: integer `-60`, wanted a whole number, 0 or more",
    ),
    (
        "[token]\nlifetime_seconds = 60.5\n",
        "2: token.lifetime_seconds: invalid type: floating point `60.5`, wanted a whole number, 0 or more",
    ),
    (
        "[token]\nsupersede = \"true\"\n",
        "2: token.supersede: invalid type: string \"true\", expected a boolean",
    ),
    ("[callers]\nname = \"web\"\n", "1: callers: invalid type: map, expected a sequence"),
    ("callers = [5]\n", "1: callers.0: invalid type: integer `5`, expected a caller"),
    // Out of range.
    ("[server]\nmax_connections = 0\n", "2: server.max_connections: wanted 1 to 16777216, found 0"),
    (
        "[server]\nmax_connections_per_address = 16777217\n",
        "2: server.max_connections_per_address: wanted 0 to 16777216, found 16777217",
    ),
    (
        "[server]\nheader_timeout_seconds = 0\n",
        "2: server.header_timeout_seconds: wanted 1 to 86400, found 0",
    ),
    (
        "[server]\nbody_timeout_seconds = 86401\n",
        "2: server.body_timeout_seconds: wanted 1 to 86400, found 86401",
    ),
    (
        "[server]\nmax_body_bytes = 16777217\n",
        "2: server.max_body_bytes: wanted 1 to 16777216, found 16777217",
    ),
    ("[token]\nleeway_seconds = 61\n", "2: token.leeway_seconds: wanted 0 to 60, found 61"),
    (
        "[token]\nmax_lifetime_seconds = 86401\n",
        "2: token.max_lifetime_seconds: wanted 1 to 86400, found 86401",
    ),
    (
        "[token]\nmin_lifetime_seconds = 0\n",
        "2: token.min_lifetime_seconds: wanted 1 to 86400, found 0",
    ),
    (
        "[keys]\njwks_max_age_seconds = 0\n",
        "2: keys.jwks_max_age_seconds: wanted 1 to 86400, found 0",
    ),
    ("[state]\ncapacity = 0\n", "2: state.capacity: wanted 1 to 1000000000, found 0"),
    // Another word.
    (
        "[server]\nlisten = \"localhost:8080\"\n",
        "2: server.listen: wanted an address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a Unix socket such as \"unix:/run/resetd/resetd.sock\", found \"localhost:8080\"",
    ),
    (
        "[server]\nlisten = \"unix:\"\n",
        "2: server.listen: wanted an address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a Unix socket such as \"unix:/run/resetd/resetd.sock\", found \"unix:\"",
    ),
    (
        "[server]\nsocket_mode = \"rw-rw----\"\n",
        "2: server.socket_mode: wanted \"0600\" to \"0777\", found \"rw-rw----\"",
    ),
    (
        "[server]\nsocket_mode = \"1777\"\n",
        "2: server.socket_mode: wanted \"0600\" to \"0777\", found \"1777\"",
    ),
    (
        "[log]\nlevel = \"loud\"\n",
        "2: log.level: wanted error, warn, info, debug or trace, found \"loud\"",
    ),
    ("[log]\nformat = \"xml\"\n", "2: log.format: wanted auto, pretty or json, found \"xml\""),
    (
        "[keys]\nalgorithm = \"RS256\"\n",
        "2: keys.algorithm: wanted ES256 or EdDSA, found \"RS256\"",
    ),
    ("[keys]\ndirectory = \"\"\n", "2: keys.directory: wanted a folder, found nothing"),
    (
        "[state]\ndurability = \"hope\"\n",
        "2: state.durability: wanted \"journal\" or \"guard\", found \"hope\"",
    ),
    (
        "[rebilly]\ntenant = \"acme\"\n",
        "2: rebilly.tenant: no tenant \"acme\" is configured, there is \"default\"",
    ),
    (
        "[rebilly]\nall_callers = 1\n",
        "2: rebilly.all_callers: invalid type: integer `1`, expected a boolean",
    ),
    (
        "[fabric]\ntenant = \"acme\"\n",
        "2: fabric.tenant: no tenant \"acme\" is configured, there is \"default\"",
    ),
    (
        "[fabric]\naccounts = [\"6169b2d8=default\"]\n",
        "2: fabric.accounts: wanted an account of 24 letters and digits, = and a tenant, such as \"6169b2d892a5f30009d76480=acme\", found \"6169b2d8=default\"",
    ),
    (
        "[fabric]\naccounts = [\"6169b2d892a5f30009d76480=acme\"]\n",
        "2: fabric.accounts: no tenant \"acme\" is configured, there is \"default\"",
    ),
    (
        "[fabric]\naccounts = [\"6169b2d892a5f30009d76480=default\", \"6169b2d892a5f30009d76480=default\"]\n",
        "2: fabric.accounts: has \"6169b2d892a5f30009d76480\" twice",
    ),
    (
        "[fabric]\nstrict_accounts = true\n",
        "2: fabric.strict_accounts: is true and fabric.accounts is empty, so every account would be refused; list accounts, or have it false",
    ),
    (
        "[loginradius]\nenabled = true\napi_key = \"\"\n",
        "3: loginradius.api_key: wanted what your clients send as apikey, 1 to 128 characters A-Z a-z 0-9 . _ -, found \"\"",
    ),
    (
        "[loginradius]\nenabled = true\napi_key = \"rsk_aaaa\"\n",
        "3: loginradius.api_key: is the secret key of a caller, and is seen by everybody; make another caller's key, and send that as apisecret; wanted what your clients send as apikey, 1 to 128 characters A-Z a-z 0-9 . _ -",
    ),
    (
        "[loginradius]\ntenant = \"acme\"\n",
        "2: loginradius.tenant: no tenant \"acme\" is configured, there is \"default\"",
    ),
    (
        "[loginradius]\ncaller = \"web\"\n",
        "2: loginradius.caller: wanted the name of one of [[callers]] of the tenant \"default\", found \"web\"; make one: resetd callers add",
    ),
    (
        "[loginradius]\nenabled = true\napi_key = \"a\"\n[directory]\nkind = \"file\"\nfile = \"a.toml\"\n",
        "2: loginradius.enabled: is true, and directory hides who is a user; the answers of this API are tokens, and tell of unknown users: set directory.reveal_unknown_users = true, or have this API off",
    ),
    (
        "[loginradius]\nenabled = true\ntenant = \"acme\"\napi_key = \"a\"\n[tenants.acme]\naudience = \"a\"\n[tenants.acme.directory]\nkind = \"file\"\nfile = \"a.toml\"\n",
        "2: loginradius.enabled: is true, and tenants.acme.directory hides who is a user; the answers of this API are tokens, and tell of unknown users: set tenants.acme.directory.reveal_unknown_users = true, or have this API off",
    ),
    (
        "[servicestack]\njson_names = \"snake\"\n",
        "2: servicestack.json_names: wanted \"pascal\" or \"camel\", found \"snake\"",
    ),
    (
        "[servicestack]\nenabled = true\n",
        "2: servicestack.enabled: is true, and it is not known where the links of the tenant \"default\" lead; set link.template, or page.enabled = true",
    ),
    ("[outbox]\ncapacity = 0\n", "2: outbox.capacity: wanted 1 to 1000000, found 0"),
    (
        "[audit]\nsink = \"syslog\"\n",
        "2: audit.sink: wanted \"file\", \"stdout\" or \"off\", found \"syslog\"",
    ),
    ("[audit]\ndirectory = \"\"\n", "2: audit.directory: wanted a folder, found nothing"),
    (
        "[audit]\nrotate_bytes = 1000\n",
        "2: audit.rotate_bytes: wanted 65536 to 1099511627776, found 1000",
    ),
    ("[audit]\nkeep_files = 1000001\n", "2: audit.keep_files: wanted 0 to 1000000, found 1000001"),
    (
        "[token]\naudience = \"\"\n",
        "2: token.audience: wanted 1 to 256 bytes without control characters",
    ),
    (
        "[mail]\ntransport = \"sendmail\"\n",
        "2: mail.transport: wanted \"maildir\", \"smtp\" or \"off\", found \"sendmail\"",
    ),
    ("[mail]\ndirectory = \"\"\n", "2: mail.directory: wanted a folder, found nothing"),
    (
        "[mail]\nfrom = \"Example\"\n",
        "2: mail.from: wanted an e-mail address, or a name and an address such as \"Example <reset@example.com>\", found \"Example\"",
    ),
    (
        "[mail]\ndefault_language = \"e\"\n",
        "2: mail.default_language: wanted a language tag such as \"en\" or \"pt-BR\", of at most 35 characters, found \"e\"",
    ),
    (
        "[link]\ntemplate = \"https://app.example.com/reset\"\n",
        "2: link.template: wanted an https URL (http only on a loopback address) of at most 1024 bytes with {token} at its end, after # or as the value of a parameter, such as \"https://app.example.com/reset#{token}\", found \"https://app.example.com/reset\"",
    ),
    // A page that leads nowhere.
    (
        "[page]\nenabled = true\ncontinue_url = \"\"\n",
        "3: page.continue_url: wanted an https URL (http only on a loopback address) of at most 1024 bytes with {token} at its end, after # or as the value of a parameter, such as \"https://app.example.com/reset#{token}\", found \"\"",
    ),
    (
        "[page]\ncontinue_url = \"https://app.example.com\"\n",
        "2: page.continue_url: wanted an https URL (http only on a loopback address) of at most 1024 bytes with {token} at its end, after # or as the value of a parameter, such as \"https://app.example.com/reset#{token}\", found \"https://app.example.com\"",
    ),
    (
        "[page]\ncontinue_url = \"https://a.example/#{token}\"\nname = \"a\\nb\"\n",
        "3: page.name: wanted at most 64 characters without control characters, or nothing",
    ),
    (
        "[page]\nenabled = \"yes\"\n",
        "2: page.enabled: invalid type: string \"yes\", expected a boolean",
    ),
    // A contradiction.
    (
        "[token]\nmin_lifetime_seconds = 600\nmax_lifetime_seconds = 300\n",
        "2: token.min_lifetime_seconds: is 600, more than token.max_lifetime_seconds, which is 300",
    ),
    (
        "[token]\nlifetime_seconds = 59\n",
        "2: token.lifetime_seconds: wanted 60 to 86400, as token.min_lifetime_seconds and token.max_lifetime_seconds say, found 59",
    ),
    // TLS that would not be what somebody believes it is.
    (
        "[tls]\nkey_file = \"\"\ncertificate_file = \"cert.pem\"\n",
        "2: tls.key_file: wanted a file in PEM, as tls.certificate_file is set, found nothing",
    ),
    (
        "[tls]\ncertificate_file = \"\"\nkey_file = \"key.pem\"\n",
        "2: tls.certificate_file: wanted a file in PEM, as tls.key_file is set, found nothing",
    ),
    (
        "[tls]\ncertificate_file = \"\"\nclient_ca_file = \"ca.pem\"\n",
        "2: tls.certificate_file: wanted a file in PEM, as tls.client_ca_file is set, found nothing",
    ),
    (
        "[tls]\nadmin_client_ca_file = \"ca.pem\"\n",
        "2: tls.admin_client_ca_file: wanted an address in server.admin_listen, found nothing",
    ),
    (
        "server.listen = \"unix:a\"\ntls = { certificate_file = \"c\", key_file = \"k\", client_ca_file = \"a\" }\n",
        "2: tls.client_ca_file: wanted an address in server.listen, found a Unix socket, where no TLS is spoken; for the listener of admins alone there is tls.admin_client_ca_file",
    ),
    (
        "tls = { certificate_file = \"c\", key_file = \"k\", client_ca_file = \"a\" }\npage = { enabled = true, continue_url = \"https://a.example/#{token}\" }\n",
        "1: tls.client_ca_file: asks every client for a certificate, and page.enabled is true: browsers of people have none, so nobody could open the page; wanted tls.admin_client_ca_file instead, which asks admins alone, or no page",
    ),
    // A caller that cannot be one.
    ("[[callers]]\nname = \"web\"\n", "1: callers.0: missing field `scopes`"),
    (
        "[[callers]]\nname = \"web app\"\nscopes = [\"issue\"]\n",
        "2: callers.0.name: wanted a name of 1 to 64 characters A-Z a-z 0-9 . _ -",
    ),
    (
        "[[callers]]\nname = \"web\"\nscopes = []\n",
        "3: callers.0.scopes: wanted some of issue, deliver, check, redeem, revoke, keys:read, keys:write, metrics, config, found none",
    ),
    (
        "[[callers]]\nname = \"web\"\nscopes = [\"issue\", \"fly\"]\n",
        "3: callers.0.scopes: wanted some of issue, deliver, check, redeem, revoke, keys:read, keys:write, metrics, config, found \"fly\"",
    ),
    (
        "[[callers]]\nname = \"web\"\nscopes = [\"issue\", \"issue\"]\n",
        "3: callers.0.scopes: \"issue\" stands there twice",
    ),
    (
        "[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\ntenant = \"acme\"\n",
        "4: callers.0.tenant: no tenant \"acme\" is configured, there is \"default\"",
    ),
    (
        "[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\nkey = \"rsk_\"\n",
        "4: callers.0.key: unknown field `key`, expected one of `name`, `scopes`, `tenant`, `key_sha256`, `key_file`, `keys`, `networks`; did you mean keys?",
    ),
    (
        "\n[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\n",
        "2: callers.0: wanted exactly one of key_sha256 and key_file",
    ),
    (
        "[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\nkey_sha256 = \"00\"\nkey_file = \"key\"\n",
        "1: callers.0: wanted exactly one of key_sha256 and key_file",
    ),
    (
        "[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\nkey_sha256 = \"00\"\n",
        "4: callers.0.key_sha256: wanted the 64 hexadecimal digits of the key's SHA-256",
    ),
];

#[test]
fn an_issuer_is_an_https_url_or_http_on_a_loopback_address() {
    let setup = Setup::new();
    let text = |issuer: &str| format!("[token]\nissuer = \"{issuer}\"\n");
    for issuer in [
        "https://reset.example.com",
        "https://reset.example.com:8443/tenants/a",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://localhost",
    ] {
        let config = setup.config(&text(issuer)).unwrap();
        assert_eq!(config.default_tenant().policy.issuer, issuer);
    }
    for issuer in [
        "http://reset.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "https://reset.example.com/",
        "https://reset.example.com/a/",
        "https://reset.example.com?tenant=a",
        "https://reset.example.com#a",
        "https://user@reset.example.com",
        "ftp://reset.example.com",
        "reset.example.com",
        "/reset",
        " https://reset.example.com",
        &format!("https://{}", "a".repeat(256)),
    ] {
        let error = setup.config(&text(issuer)).map(drop).unwrap_err();
        assert_eq!(
            setup.plain(&error.to_string()),
            format!(
                "settings.toml:2: token.issuer: wanted an https URL (http only on a loopback address) without query or trailing slash, found {issuer:?}"
            )
        );
    }
}

#[test]
fn on_an_address_that_others_reach_an_issuer_must_be_named() {
    for listen in ["0.0.0.0:8080", "192.0.2.1:8080", "[::]:8080", "unix:/run/a.sock"] {
        let error = Setup::new()
            .config(&format!("[server]\nlisten = \"{listen}\"\nallow_plain_http = true\n"))
            .map(drop)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "default: token.issuer: must be set, since server.listen is {listen}, which is no loopback address: wanted the https URL under which others reach this service"
            )
        );
    }
}

#[test]
fn plain_http_is_for_this_machine_alone_unless_it_is_allowed() {
    let setup = Setup::new();
    let issuer = "[token]\nissuer = \"https://a.example\"\n";
    for (server, place) in [
        ("listen = \"0.0.0.0:80\"", Some(("2: server.listen", "0.0.0.0:80"))),
        ("listen = \"[::]:80\"", Some(("2: server.listen", "[::]:80"))),
        ("admin_listen = \"192.0.2.1:80\"", Some(("2: server.admin_listen", "192.0.2.1:80"))),
        ("listen = \"192.0.2.1:80\"\nallow_plain_http = true", None),
        ("listen = \"127.0.0.2:80\"\nadmin_listen = \"[::1]:80\"", None),
        ("listen = \"unix:a.sock\"", None),
        ("listen = \"0.0.0.0:80\"\n[tls]\ncertificate_file = \"c\"\nkey_file = \"k\"", None),
    ] {
        let error = setup.config(&format!("[server]\n{server}\n{issuer}")).map(drop).err();
        let wanted = place.map(|(place, found)| {
            format!(
                "settings.toml:{place}: is {found}, which others can reach, and without TLS they could read tokens and API keys; set tls.certificate_file and tls.key_file, or server.allow_plain_http = true if only a proxy with TLS can reach it"
            )
        });
        assert_eq!(error.map(|error| setup.plain(&error.to_string())), wanted, "{server}");
    }
}

#[test]
fn with_tls_the_issuer_that_follows_from_the_address_is_https() {
    let tls = "[tls]\ncertificate_file = \"c\"\nkey_file = \"k\"\n";
    let config = Setup::new().config(tls).unwrap();
    assert_eq!(config.default_tenant().policy.issuer, "https://127.0.0.1:8080");
    let tls = config.tls.unwrap();
    assert_eq!((tls.client_ca, tls.admin_client_ca), (None, None));
}

#[test]
fn who_asks_clients_for_certificates_asks_admins_too() {
    let config = Setup::new().config(
        "server.admin_listen = \"127.0.0.1:1\"\ntls = { certificate_file = \"c\", key_file = \"k\", client_ca_file = \"a\" }\n",
    );
    let tls = config.unwrap().tls.unwrap();
    assert_eq!(tls.client_ca.as_deref(), Some(Path::new("a")));
    assert_eq!(tls.admin_client_ca, tls.client_ca);
}

#[test]
fn the_listener_for_administrators_is_another_one() {
    let setup = Setup::new();
    let text = |listen: &str, admin: &str| {
        format!("[server]\nlisten = \"{listen}\"\nadmin_listen = \"{admin}\"\n")
    };
    for (listen, admin) in [
        ("127.0.0.1:8080", "127.0.0.1:8081"),
        ("127.0.0.1:8080", "127.0.0.2:8080"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:8080", "unix:/run/admin.sock"),
    ] {
        let config = setup.config(&text(listen, admin)).unwrap();
        assert_eq!(config.server.admin_listen.unwrap().to_string(), admin);
    }
    for (admin, problem) in [
        (
            "127.0.0.1:8080",
            "wanted another address or port than server.listen, found \"127.0.0.1:8080\" in both; leave it empty to have one listener for everything",
        ),
        (
            "8081",
            "wanted an address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a Unix socket such as \"unix:/run/resetd/resetd.sock\", found \"8081\"",
        ),
    ] {
        let error = setup.config(&text("127.0.0.1:8080", admin)).map(drop).unwrap_err();
        let wanted = format!("settings.toml:3: server.admin_listen: {problem}");
        assert_eq!(setup.plain(&error.to_string()), wanted);
    }
}

#[test]
fn on_an_address_that_others_reach_no_caller_is_made_up() {
    let setup = Setup::new();
    setup.write("[server]\nlisten = \"0.0.0.0:0\"\nallow_plain_http = true\n[token]\nissuer = \"https://a.example\"\n");
    let output = run(setup.0.path(), &["--config", "settings.toml", "serve"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "resetd: no caller is configured, and 0.0.0.0:0 is no loopback address; make one: resetd callers add --name web --scopes issue,deliver,check,redeem,revoke\n"
    );
    assert!(output.stdout.is_empty());
    assert!(!setup.0.path().join("keys").exists());
}

#[test]
fn two_callers_have_neither_one_name_nor_one_key() {
    let setup = Setup::new();
    let caller = |name: &str, hash: &str| {
        format!("[[callers]]\nname = \"{name}\"\nscopes = [\"issue\"]\nkey_sha256 = \"{hash}\"\n")
    };
    let other = HASH.replace('a', "b");
    let twin = HASH.to_uppercase();
    for (second, wanted) in [
        (
            caller("web", &other),
            "settings.toml:6: callers.1.name: \"web\" is the name of an earlier caller",
        ),
        (
            caller("app", &twin),
            "settings.toml:5: callers.1: has the key of an earlier caller; make one: resetd callers add",
        ),
    ] {
        let text = caller("web", HASH) + &second;
        let error = setup.config(&text).map(drop).unwrap_err();
        assert_eq!(setup.plain(&error.to_string()), wanted);
    }
    let both = setup.config(&(caller("web", HASH) + &caller("app", &other)));
    assert_eq!(both.unwrap().callers.iter().count(), 2);
}

#[test]
fn a_caller_has_keys_that_expire_and_networks_that_it_calls_from() {
    let setup = Setup::new();
    let file = setup.0.path().join("key");
    fs::write(&file, api_key([7; 32]).expose()).unwrap();
    let caller =
        |rest: &str| format!("[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\n{rest}\n");
    let config = setup.config(&caller(&format!(
        "networks = [\"10.0.0.0/8\", \"2001:db8::7\"]\nkeys = [\n  {{ sha256 = \"{HASH}\", expires = \"2027-01-31T12:00:00Z\" }},\n  {{ file = {file:?} }},\n]"
    )));
    let callers = config.unwrap().callers;
    let found = callers.iter().next().unwrap();
    let networks: Vec<_> = found.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "2001:db8::7/128"]);
    let expiries: Vec<_> = found.keys.iter().map(|key| key.expires().map(to_rfc3339)).collect();
    assert_eq!(expiries, [Some("2027-01-31T12:00:00Z".to_owned()), None]);
    for (rest, wanted) in [
        (
            format!("key_sha256 = \"{HASH}\"\nnetworks = [\"10.0.0.0/33\"]"),
            "settings.toml:5: callers.0.networks: wanted a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address, found \"10.0.0.0/33\"",
        ),
        (
            format!("key_sha256 = \"{HASH}\"\nkeys = [{{ sha256 = \"{HASH}\" }}]"),
            "settings.toml:1: callers.0: wanted key_sha256, key_file or keys, found more than one of them",
        ),
        (
            format!("keys = [{{ sha256 = \"{HASH}\", expires = \"tomorrow\" }}]"),
            "settings.toml:4: callers.0.keys.0.expires: wanted a time such as \"2027-01-31T12:00:00Z\", found \"tomorrow\"",
        ),
        (
            format!("keys = [{{ sha256 = \"{HASH}\" }}, {{ sha256 = \"{HASH}\" }}]"),
            "settings.toml:4: callers.0.keys.1: is an earlier key again",
        ),
        (
            "keys = [{ expires = \"2027-01-31T12:00:00Z\" }]".into(),
            "settings.toml:4: callers.0.keys.0: wanted exactly one of sha256 and file",
        ),
        (
            "keys = []".into(),
            "settings.toml:1: callers.0: wanted exactly one of key_sha256 and key_file",
        ),
    ] {
        let error = setup.config(&caller(&rest)).map(drop).unwrap_err();
        assert_eq!(setup.plain(&error.to_string()), wanted);
    }
}

#[test]
fn a_key_file_holds_one_key_and_at_most_the_newline_that_editors_leave() {
    let setup = Setup::new();
    let key = api_key([7; 32]);
    let (key, file) = (key.expose(), setup.0.path().join("key"));
    let config = || setup.config(&caller_with_file(&file));
    for good in [key.to_owned(), format!("{key}\n")] {
        fs::write(&file, good).unwrap();
        let callers = config().unwrap().callers;
        assert_eq!(*callers.iter().next().unwrap().keys[0].hash(), KeyHash::of(key));
    }
    for (bad, length) in [
        (String::new(), 0),
        (format!("{}\n{}", &key[..30], &key[30..]), 57),
        (format!("{key}\n\n"), 57),
        (format!("{key}\r\n"), 57),
        (format!(" {key}"), 57),
        (format!("{key}\n{key}\n"), 113),
    ] {
        fs::write(&file, &bad).unwrap();
        let error = setup.plain(&config().map(drop).unwrap_err().to_string());
        assert_eq!(
            error,
            format!(
                "settings.toml:4: callers.0.key_file: key: wanted one API key, rsk_ and 52 characters of a-z 2-7, and nothing else; found {length} bytes that are none"
            ),
            "{bad:?}"
        );
        assert!(!error.contains(&key[4..20]));
    }
}

#[test]
fn a_key_file_that_everybody_may_write_to_is_refused() {
    let setup = Setup::new();
    let file = setup.0.path().join("key");
    fs::write(&file, api_key([7; 32]).expose()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o602)).unwrap();
    let error = setup.config(&caller_with_file(&file)).map(drop).unwrap_err();
    assert_eq!(
        setup.plain(&error.to_string()),
        "settings.toml:4: callers.0.key_file: key: everybody may write to it, so the key may be anybody's; mend it: chmod o-w key"
    );
}

#[test]
fn a_key_file_that_cannot_be_read_is_named() {
    let setup = Setup::new();
    fs::create_dir(setup.0.path().join("folder")).unwrap();
    for (file, reason) in [
        (
            "nowhere",
            "No such file or directory (os error 2); wanted a file with an API key; make it, or name the right path",
        ),
        (
            "folder",
            "Is a directory (os error 21); wanted a file with an API key; mend it, or name another path",
        ),
    ] {
        let path = setup.0.path().join(file);
        let error = setup.config(&caller_with_file(&path)).map(drop).unwrap_err();
        assert_eq!(
            setup.plain(&error.to_string()),
            format!("settings.toml:4: callers.0.key_file: {file}: {reason}")
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let setup = Setup::new();
    fs::write(setup.0.path().join("bytes.toml"), b"\xff\n").unwrap();
    fs::create_dir(setup.0.path().join("folder")).unwrap();
    for (file, reason) in [
        (
            "nowhere.toml",
            "No such file or directory (os error 2); wanted a file of settings in TOML, as resetd init makes one; make it, or name the right path (a relative one begins where resetd is started)",
        ),
        (
            "folder",
            "Is a directory (os error 21); wanted a file of settings in TOML, as resetd init makes one; mend it, or name another path",
        ),
        (
            "bytes.toml",
            "stream did not contain valid UTF-8; wanted a file of settings in TOML, as resetd init makes one; mend it, or name another path",
        ),
    ] {
        let output = run(setup.0.path(), &["--config", file, "config", "check"]);
        assert_eq!(output.status.code(), Some(2));
        let place = setup.0.path().join(file);
        let wanted = format!("resetd: --config or RESETD_CONFIG: {}: {reason}\n", place.display());
        assert_eq!(stderr(&output), wanted);
    }
}

#[test]
fn a_mistake_in_the_file_is_told_although_a_variable_covers_it() {
    let setup = Setup::new();
    let mut layers = Layers::defaults().unwrap();
    let file = setup.write("[token]\nlifetime_seconds = \"900\"\n");
    let error = layers.add_file(&file).unwrap_err().to_string();
    assert!(setup.plain(&error).starts_with("settings.toml:2: "));
}

/// A folder for a file of settings.
struct Setup(TempDir);

impl Setup {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, text: &str) -> std::path::PathBuf {
        let path = self.0.path().join("settings.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// What this file makes of the defaults.
    fn config(&self, text: &str) -> Result<Config, ConfigError> {
        let mut layers = Layers::defaults()?;
        layers.add_file(&self.write(text))?;
        Config::from_layers(&layers)
    }

    /// A message without the name of the folder.
    fn plain(&self, message: &str) -> String {
        message.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn with_variable(name: &str, value: &str) -> Result<Config, ConfigError> {
    let mut layers = Layers::defaults()?;
    layers.add_variables([(name.to_owned(), value.to_owned())].into_iter())?;
    Config::from_layers(&layers)
}

fn caller_with_file(file: &Path) -> String {
    let file = file.display();
    format!("[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\nkey_file = \"{file}\"\n")
}
