//! Tenants in a file of settings.

use std::num::NonZeroU32;
use std::path::Path;

use resetd::config::{Config, DEFAULTS, Layers, Listen, Tenant, TenantLimits};
use resetd::domain::policy::{Lifetime, Policy};
use resetd_verify::Algorithm;

use super::{HASH, Setup};

fn issuers(config: &Config) -> Vec<String> {
    config.tenants.iter().map(|tenant| tenant.policy.issuer.clone()).collect()
}

#[test]
fn the_tenant_that_stands_in_config_toml_as_a_comment_can_be_used() {
    let (_, example) = DEFAULTS.split_once("\n# [tenants.acme]").unwrap();
    let (example, _) = example.split_once("\n\n").unwrap();
    let example: String =
        example.lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let config = Setup::new().config(&format!("[tenants.acme]\n{example}")).unwrap();
    let tenant = config.tenant("acme").unwrap();
    assert_eq!(tenant.policy.audience, "https://app.acme.example");
    assert_eq!(tenant.policy.issuer, "https://reset.acme.example");
    let Policy { lifetime, supersede, .. } = tenant.policy;
    assert_eq!((lifetime.default, lifetime.min, lifetime.max, supersede), (600, 60, 3600, false));
    assert_eq!(tenant.keys.algorithm, Algorithm::EdDsa);
    assert_eq!(tenant.keys.rotate_every, Some(7_776_000));
    assert_eq!(tenant.keys.publish_ahead, 3600);
    assert_eq!(tenant.limits, limits(600, 5));
    let page = tenant.page.as_ref().unwrap();
    assert_eq!(page.continue_url.to_string(), "https://app.acme.example/new-password#{token}");
    assert_eq!(page.name.as_deref(), Some("Acme"));
}

fn limits(caller: u32, user: u32) -> TenantLimits {
    let (caller, user) = (NonZeroU32::new(caller), NonZeroU32::new(user));
    TenantLimits { caller_per_minute: caller, user_tokens_per_hour: user }
}

#[test]
fn a_tenant_that_shares_keys_has_those_of_the_default_one_for_as_long_as_either_needs_them() {
    let text = "
        [token]
        issuer = \"https://reset.example.com\"
        max_lifetime_seconds = 3600
        leeway_seconds = 5
        [keys]
        directory = \"secret\"
        rotate_every_seconds = 86400
        [tenants.acme]
        audience = \"acme\"
        keys = \"shared\"
        max_lifetime_seconds = 7200
        [tenants.beta]
        audience = \"beta\"
        keys = \"own\"
        max_lifetime_seconds = 86400
    ";
    let config = Setup::new().config(text).unwrap();
    let tenant = |name| config.tenant(name).unwrap();
    let (default, acme, beta) = (tenant("default"), tenant("acme"), tenant("beta"));
    assert_eq!([default, acme, beta].map(Tenant::shares_keys), [false, true, false]);
    assert!(acme.keys.owner.is_default());
    assert_eq!(acme.keys.directory, default.keys.directory);
    assert_eq!((acme.keys.rotate_every, acme.keys.publish_ahead), (Some(86_400), 360));
    assert_eq!(beta.keys.directory, Path::new("secret/beta"));
    assert_ne!(acme.policy.issuer, default.policy.issuer);
    let kept = [default, acme, beta].map(|tenant| config.longest_acceptance(&tenant.keys.owner));
    assert_eq!(kept, [7205, 7205, 86_405]);
}

#[test]
fn a_tenant_has_limits_of_its_own_and_where_it_does_not_say_those_of_all() {
    let text = "
        [limits]
        caller_per_minute = 50
        [tenants.acme]
        audience = \"acme\"
        [tenants.acme.limits]
        user_tokens_per_hour = 3
        [tenants.beta]
        audience = \"beta\"
        limits = { caller_per_minute = 0 }
    ";
    let config = Setup::new().config(text).unwrap();
    let found = ["default", "acme", "beta"].map(|name| config.tenant(name).unwrap().limits);
    assert_eq!(found, [limits(50, 20), limits(50, 3), limits(0, 20)]);
}

#[test]
fn a_tenant_is_like_the_default_one_but_for_its_name_audience_issuer_and_folder() {
    let text = "
        [token]
        issuer = \"https://reset.example.com\"
        leeway_seconds = 5
        supersede = false
        [keys]
        directory = \"secret\"
        algorithm = \"EdDSA\"
        rotate_every_seconds = 86400
        publish_ahead_seconds = 600
        [tenants.acme]
        audience = \"acme\"
    ";
    let config = Setup::new().config(text).unwrap();
    let (default, acme) = (config.default_tenant(), config.tenant("acme").unwrap());
    let Policy { tenant, issuer, audience, lifetime, leeway, supersede } = &acme.policy;
    assert_eq!(tenant.as_str(), "acme");
    assert_eq!(issuer, "https://reset.example.com/tenants/acme");
    assert_eq!(audience, "acme");
    assert_eq!((*lifetime, *leeway, *supersede), (default.policy.lifetime, 5, false));
    assert_eq!(acme.keys.directory, Path::new("secret/acme"));
    assert_eq!(acme.keys.algorithm, Algorithm::EdDsa);
    assert_eq!((acme.keys.rotate_every, acme.keys.publish_ahead), (Some(86_400), 600));
}

#[test]
fn a_tenant_has_lifetimes_of_its_own_within_the_same_bounds() {
    let tenant = |rest: &str| {
        let text = format!(
            "[token]\nlifetime_seconds = 900\n[tenants.acme]\naudience = \"acme\"\n{rest}\n"
        );
        let setup = Setup::new();
        let config = setup.config(&text);
        let lifetime = config.map(|config| config.tenant("acme").unwrap().policy.lifetime);
        lifetime.map_err(|error| setup.plain(&error.to_string()))
    };
    let lifetime = |default, min, max| Ok(Lifetime { default, min, max });
    assert_eq!(tenant(""), lifetime(900, 60, 86_400));
    assert_eq!(tenant("max_lifetime_seconds = 1000"), lifetime(900, 60, 1000));
    assert_eq!(tenant("lifetime_seconds = 300"), lifetime(300, 60, 86_400));
    for (rest, wanted) in [
        (
            "max_lifetime_seconds = 600",
            "settings.toml:3: tenants.acme.lifetime_seconds: wanted 60 to 600, as tenants.acme.min_lifetime_seconds and tenants.acme.max_lifetime_seconds say, found 900",
        ),
        (
            "max_lifetime_seconds = 86401",
            "settings.toml:5: tenants.acme.max_lifetime_seconds: wanted 1 to 86400, found 86401",
        ),
        (
            "min_lifetime_seconds = 3600\nmax_lifetime_seconds = 1800",
            "settings.toml:5: tenants.acme.min_lifetime_seconds: is 3600, more than tenants.acme.max_lifetime_seconds, which is 1800",
        ),
    ] {
        assert_eq!(tenant(rest), Err(wanted.to_owned()));
    }
}

#[test]
fn a_tenant_may_turn_off_what_holds_for_the_others() {
    let text = "
        [keys]
        rotate_every_seconds = 86400
        publish_ahead_seconds = 600
        [tenants.acme]
        audience = \"acme\"
        rotate_every_seconds = 0
        publish_ahead_seconds = 0
    ";
    let config = Setup::new().config(text).unwrap();
    let acme = config.tenant("acme").unwrap();
    assert_eq!((acme.keys.rotate_every, acme.keys.publish_ahead), (None, 360));
}

#[test]
fn the_default_tenant_comes_first_whatever_the_others_are_called() {
    let text = "[tenants.zeta]\naudience = \"z\"\n[tenants.0]\naudience = \"0\"\n";
    let config = Setup::new().config(text).unwrap();
    let names: Vec<_> =
        config.tenants.iter().map(|tenant| tenant.policy.tenant.to_string()).collect();
    assert_eq!(names, ["default", "0", "zeta"]);
    assert_eq!(config.default_tenant().policy.tenant.as_str(), "default");
}

#[test]
fn issuers_that_are_not_configured_follow_the_address_listened_on() {
    let text = "
        [server]
        listen = \"127.0.0.1:0\"
        [tenants.acme]
        audience = \"acme\"
        [tenants.beta]
        audience = \"beta\"
        issuer = \"https://beta.example.com\"
    ";
    let config =
        Setup::new().config(text).unwrap().listening_on(&Listen::parse("127.0.0.1:4321").unwrap());
    assert_eq!(
        issuers(&config),
        ["http://127.0.0.1:4321", "http://127.0.0.1:4321/tenants/acme", "https://beta.example.com",]
    );
}

#[test]
fn issuers_below_a_configured_one_do_not_follow_the_address() {
    let text = "
        [token]
        issuer = \"https://reset.example.com\"
        [tenants.acme]
        audience = \"acme\"
    ";
    let config =
        Setup::new().config(text).unwrap().listening_on(&Listen::parse("127.0.0.1:4321").unwrap());
    let wanted = ["https://reset.example.com", "https://reset.example.com/tenants/acme"];
    assert_eq!(issuers(&config), wanted);
}

#[test]
fn a_tenant_has_a_page_of_its_own_or_none() {
    let text = "
        [page]
        enabled = true
        continue_url = \"https://app.example.com/#{token}\"
        [tenants.acme]
        audience = \"acme\"
        [tenants.acme.page]
        enabled = true
        continue_url = \"https://acme.example/?t={token}\"
        [tenants.beta]
        audience = \"beta\"
        [tenants.zeta]
        audience = \"zeta\"
        page = { enabled = false, continue_url = \"https://zeta.example/#{token}\" }
    ";
    let config = Setup::new().config(text).unwrap();
    let url = |name| {
        let page = config.tenant(name).unwrap().page.as_ref();
        page.map(|page| page.continue_url.to_string())
    };
    assert_eq!(url("default").as_deref(), Some("https://app.example.com/#{token}"));
    assert_eq!(url("acme").as_deref(), Some("https://acme.example/?t={token}"));
    assert_eq!((url("beta"), url("zeta")), (None, None));
}

#[test]
fn an_issuer_that_turns_out_to_be_another_tenants_is_found() {
    let text = "
        [server]
        listen = \"127.0.0.1:0\"
        [tenants.acme]
        audience = \"a\"
        issuer = \"http://127.0.0.1:4321/tenants/beta\"
        [tenants.beta]
        audience = \"a\"
        keys = \"shared\"
    ";
    let on = |port: u16| {
        let listen = Listen::parse(&format!("127.0.0.1:{port}")).unwrap();
        Setup::new().config(text).unwrap().listening_on(&listen)
    };
    assert_eq!(on(4321).doubled_issuer(), Some("http://127.0.0.1:4321/tenants/beta"));
    assert_eq!(on(4322).doubled_issuer(), None);
}

#[test]
fn a_caller_acts_for_the_tenant_that_is_named() {
    let text = format!(
        "[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\ntenant = \"acme\"\nkey_sha256 = \"{HASH}\"\n[tenants.acme]\naudience = \"a\"\n"
    );
    let config = Setup::new().config(&text).unwrap();
    assert_eq!(config.callers.iter().next().unwrap().tenant.as_str(), "acme");
}

#[test]
fn a_tenant_that_is_not_there_is_refused_with_those_that_are() {
    let text = format!(
        "[tenants.beta]\naudience = \"b\"\n[[callers]]\nname = \"web\"\nscopes = [\"issue\"]\ntenant = \"acme\"\nkey_sha256 = \"{HASH}\"\n"
    );
    let setup = Setup::new();
    let error = setup.config(&text).map(drop).unwrap_err();
    assert_eq!(
        setup.plain(&error.to_string()),
        "settings.toml:6: callers.0.tenant: no tenant \"acme\" is configured, there are \"default\", \"beta\""
    );
}

#[test]
fn a_mistake_about_a_tenant_is_refused_with_its_line() {
    let setup = Setup::new();
    for (text, wanted) in MISTAKES {
        let error = setup.config(text).map(drop).unwrap_err();
        let found = setup.plain(&error.to_string());
        assert_eq!(found, format!("settings.toml:{wanted}"), "in {text:?}");
    }
}

/// Each with the message that it gets, from the line number on.
const MISTAKES: [(&str, &str); 24] = [
    ("tenants = 5\n", "1: tenants: invalid type: integer `5`, expected a map"),
    ("[tenants]\nacme = 5\n", "2: tenants.acme: invalid type: integer `5`, expected a tenant"),
    ("\n[tenants.acme]\n", "2: tenants.acme: missing field `audience`"),
    (
        "[tenants.acme]\naudience = \"a\"\nleeway_seconds = 5\n",
        "3: tenants.acme.leeway_seconds: unknown field `leeway_seconds`, expected one of `issuer`, `audience`, `lifetime_seconds`, `min_lifetime_seconds`, `max_lifetime_seconds`, `supersede`, `keys`, `algorithm`, `rotate_every_seconds`, `publish_ahead_seconds`, `limits`, `directory`, `link`, `mail`, `page`",
    ),
    (
        "[tenants.default]\naudience = \"a\"\n",
        "1: tenants.default: is the tenant that [token] and [keys] describe; wanted another name here",
    ),
    (
        "[tenants.Acme]\naudience = \"a\"\n",
        "1: tenants.Acme: wanted a name of 1 to 64 characters a-z 0-9 -",
    ),
    (
        "[tenants.\"../acme\"]\naudience = \"a\"\n",
        "1: tenants.../acme: wanted a name of 1 to 64 characters a-z 0-9 -",
    ),
    (
        "[tenants.\"\"]\naudience = \"a\"\n",
        "1: tenants.: wanted a name of 1 to 64 characters a-z 0-9 -",
    ),
    (
        "[tenants.acme]\naudience = \"\"\n",
        "2: tenants.acme.audience: wanted 1 to 256 bytes without control characters",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\nissuer = \"http://acme.example\"\n",
        "3: tenants.acme.issuer: wanted an https URL (http only on a loopback address) without query or trailing slash, found \"http://acme.example\"",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\nissuer = \"\"\n",
        "3: tenants.acme.issuer: wanted an https URL (http only on a loopback address) without query or trailing slash, found \"\"",
    ),
    (
        "[token]\nissuer = \"https://a.example\"\n[tenants.acme]\naudience = \"a\"\nissuer = \"https://a.example\"\n",
        "5: tenants.acme.issuer: is \"https://a.example\", like that of the tenant \"default\"; wanted another one for each tenant",
    ),
    (
        "[tenants.a]\naudience = \"a\"\nissuer = \"http://127.0.0.1:8080/tenants/b\"\n[tenants.b]\naudience = \"b\"\n",
        "4: tenants.b.issuer: is \"http://127.0.0.1:8080/tenants/b\", like that of the tenant \"a\"; wanted another one for each tenant",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\nkeys = \"acme\"\n",
        "3: tenants.acme.keys: wanted \"own\" or \"shared\", found \"acme\"",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\nkeys = \"shared\"\nalgorithm = \"ES256\"\n",
        "4: tenants.acme.algorithm: stands beside tenants.acme.keys = \"shared\", and the keys of the default tenant live as keys.algorithm says; take one of the two out",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\nrotate_every_seconds = 0\nkeys = \"shared\"\n",
        "3: tenants.acme.rotate_every_seconds: stands beside tenants.acme.keys = \"shared\", and the keys of the default tenant live as keys.rotate_every_seconds says; take one of the two out",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\nkeys = \"shared\"\npublish_ahead_seconds = 3600\n",
        "4: tenants.acme.publish_ahead_seconds: stands beside tenants.acme.keys = \"shared\", and the keys of the default tenant live as keys.publish_ahead_seconds says; take one of the two out",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\n[tenants.acme.limits]\ncaller_per_minute = 1000001\n",
        "4: tenants.acme.limits.caller_per_minute: wanted 0 to 1000000, found 1000001",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\n[tenants.acme.page]\nenabled = true\n",
        "3: tenants.acme.page.continue_url: wanted an https URL (http only on a loopback address) of at most 1024 bytes with {token} at its end, after # or as the value of a parameter, such as \"https://app.example.com/reset#{token}\", found \"\"",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\n[tenants.acme.limits]\nsource_per_minute = 1\n",
        "4: tenants.acme.limits.source_per_minute: unknown field `source_per_minute`, expected `caller_per_minute` or `user_tokens_per_hour`",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\nalgorithm = \"RS256\"\n",
        "3: tenants.acme.algorithm: wanted ES256 or EdDSA, found \"RS256\"",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\nrotate_every_seconds = 60\n",
        "3: tenants.acme.rotate_every_seconds: wanted 0, or 3960 to 315360000: a key is published for 360 seconds before it signs, and with less than an hour more the key after it would be due while it waits; found 60",
    ),
    (
        "[tenants.acme]\naudience = \"a\"\npublish_ahead_seconds = 359\n",
        "3: tenants.acme.publish_ahead_seconds: wanted 0, or 360 to 2592000: verifiers may keep the key set for keys.jwks_max_age_seconds, and with less than a minute more they meet tokens whose key they do not know; found 359",
    ),
    (
        "[keys]\nrotate_every_seconds = 86400\n[tenants.acme]\naudience = \"a\"\npublish_ahead_seconds = 86400\n",
        "3: tenants.acme.rotate_every_seconds: wanted 0, or 90000 to 315360000: a key is published for 86400 seconds before it signs, and with less than an hour more the key after it would be due while it waits; found 86400",
    ),
];

#[test]
fn a_tenant_stands_in_files_only() {
    let setup = Setup::new();
    let mut layers = Layers::defaults().unwrap();
    layers.add_file(&setup.write("[tenants.acme]\naudience = \"a\"\n")).unwrap();
    let variable = ("RESETD_TENANTS_ACME_AUDIENCE".to_owned(), "b".to_owned());
    let error = layers.add_variables([variable].into_iter()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable RESETD_TENANTS_ACME_AUDIENCE: no such setting"
    );
}

#[test]
fn what_is_about_the_whole_service_is_for_callers_of_the_default_tenant_alone() {
    let setup = Setup::new();
    let jwks = "jwks_url = \"https://login.example/jwks\"\n";
    for scope in ["metrics", "config"] {
        for (section, more) in [
            ("callers", format!("key_sha256 = \"{HASH}\"\n")),
            ("bearers", format!("issuer = \"https://login.example\"\naudience = \"a\"\n{jwks}")),
        ] {
            let text = |tenant: &str| {
                format!(
                    "[tenants.acme]\naudience = \"a\"\n[[{section}]]\nname = \"x\"\nscopes = [\"issue\", \"{scope}\"]\ntenant = \"{tenant}\"\n{more}"
                )
            };
            setup.config(&text("default")).unwrap();
            let error = setup.config(&text("acme")).map(drop).unwrap_err();
            assert_eq!(
                setup.plain(&error.to_string()),
                format!(
                    "settings.toml:5: {section}.0.scopes: \"{scope}\" is about the whole service, so callers of the default tenant alone may have it; this one is of \"acme\"; take it out"
                )
            );
        }
    }
}
