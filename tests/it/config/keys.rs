//! Settings of keys: rotation within bounds, and passphrases that nobody else may read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use resetd::config::{Config, Layers};
use resetd::domain::secret::Secret;

use super::{Setup, with_variable};
use crate::server::{resetd, stderr, stdout};

const VARIABLE: &str = "RESETD_KEYS_PASSPHRASE";

#[test]
fn a_key_is_published_ahead_for_as_long_as_the_key_set_is_kept_and_a_minute() {
    for (text, wanted) in [
        ("", 360),
        ("jwks_max_age_seconds = 60", 120),
        ("jwks_max_age_seconds = 60\npublish_ahead_seconds = 120", 120),
        ("publish_ahead_seconds = 2592000", 2_592_000),
    ] {
        let config = Setup::new().config(&format!("[keys]\n{text}\n")).unwrap();
        assert_eq!(config.default_tenant().keys.publish_ahead, wanted, "{text}");
    }
}

#[test]
fn a_rotation_is_at_least_as_long_as_a_key_waits_and_an_hour() {
    for (text, wanted) in [
        ("rotate_every_seconds = 0", None),
        ("rotate_every_seconds = 3960", Some(3960)),
        ("rotate_every_seconds = 315360000", Some(315_360_000)),
        ("publish_ahead_seconds = 600\nrotate_every_seconds = 4200", Some(4200)),
    ] {
        let config = Setup::new().config(&format!("[keys]\n{text}\n")).unwrap();
        assert_eq!(config.default_tenant().keys.rotate_every, wanted, "{text}");
    }
}

#[test]
fn a_rotation_out_of_bounds_is_refused_with_the_reason() {
    let setup = Setup::new();
    let ahead = "verifiers may keep the key set for keys.jwks_max_age_seconds, and with less than a minute more they meet tokens whose key they do not know";
    let due = |ahead| {
        format!(
            "a key is published for {ahead} seconds before it signs, and with less than an hour more the key after it would be due while it waits"
        )
    };
    for (text, wanted) in [
        (
            "publish_ahead_seconds = 359",
            format!(
                "2: keys.publish_ahead_seconds: wanted 0, or 360 to 2592000: {ahead}; found 359"
            ),
        ),
        (
            "jwks_max_age_seconds = 3600\npublish_ahead_seconds = 3600",
            format!(
                "3: keys.publish_ahead_seconds: wanted 0, or 3660 to 2592000: {ahead}; found 3600"
            ),
        ),
        (
            "publish_ahead_seconds = 2592001",
            format!(
                "2: keys.publish_ahead_seconds: wanted 0, or 360 to 2592000: {ahead}; found 2592001"
            ),
        ),
        (
            "rotate_every_seconds = 3959",
            format!(
                "2: keys.rotate_every_seconds: wanted 0, or 3960 to 315360000: {}; found 3959",
                due(360)
            ),
        ),
        (
            "rotate_every_seconds = 315360001",
            format!(
                "2: keys.rotate_every_seconds: wanted 0, or 3960 to 315360000: {}; found 315360001",
                due(360)
            ),
        ),
        (
            "publish_ahead_seconds = 86400\nrotate_every_seconds = 86400",
            format!(
                "3: keys.rotate_every_seconds: wanted 0, or 90000 to 315360000: {}; found 86400",
                due(86_400)
            ),
        ),
    ] {
        let error = setup.config(&format!("[keys]\n{text}\n")).map(drop).unwrap_err();
        assert_eq!(setup.plain(&error.to_string()), format!("settings.toml:{wanted}"));
    }
}

/// A file of passphrases with this mode, named by a file of settings.
fn with_file(setup: &Setup, text: &str, mode: u32) -> String {
    let file = setup.0.path().join("passphrases");
    // Read-only files of an earlier case cannot be written over.
    let _ = fs::remove_file(&file);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    format!("[keys]\npassphrase_file = \"{}\"\n", file.display())
}

#[test]
fn passphrases_are_handed_over_as_they_stand_in_their_file() {
    let setup = Setup::new();
    for mode in [0o600, 0o400] {
        let config = setup.config(&with_file(&setup, "new one\nold one\n", mode)).unwrap();
        assert_eq!(config.keys.passphrases, Some(Secret::new("new one\nold one\n")));
    }
}

#[test]
fn a_file_of_passphrases_that_anybody_else_may_use_is_refused() {
    let setup = Setup::new();
    for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644] {
        let error = setup.config(&with_file(&setup, "hunter2", mode)).map(drop).unwrap_err();
        assert_eq!(
            setup.plain(&error.to_string()),
            format!(
                "settings.toml:2: keys.passphrase_file: passphrases: has mode {mode:04o}, wanted 0600 or 0400: only its owner may use a passphrase; mend it: chmod 600 passphrases"
            )
        );
    }
}

#[test]
fn a_file_of_passphrases_that_holds_none_is_refused() {
    let setup = Setup::new();
    for text in ["", "\n", " \n\t\n"] {
        let error = setup.config(&with_file(&setup, text, 0o600)).map(drop).unwrap_err();
        assert_eq!(
            setup.plain(&error.to_string()),
            "settings.toml:2: keys.passphrase_file: passphrases: wanted a passphrase, found nothing"
        );
    }
}

#[test]
fn a_file_of_passphrases_that_cannot_be_read_is_named() {
    let setup = Setup::new();
    let text = with_file(&setup, "hunter2", 0o600).replace("passphrases\"", "nowhere\"");
    let error = setup.config(&text).map(drop).unwrap_err();
    assert_eq!(
        setup.plain(&error.to_string()),
        "settings.toml:2: keys.passphrase_file: nowhere: No such file or directory (os error 2); wanted a file with a passphrase; make it, or name the right path"
    );
}

#[test]
fn a_passphrase_may_come_from_the_environment() {
    let config = with_variable(VARIABLE, " correct horse ").unwrap();
    assert_eq!(config.keys.passphrases, Some(Secret::new(" correct horse ")));
}

#[test]
fn a_variable_that_is_no_passphrase_is_refused_and_not_shown() {
    for (text, problem) in [
        ("", "wanted a passphrase, found nothing; to encrypt nothing, unset the variable"),
        (
            "hunter2\nhunter3",
            "wanted one line of UTF-8, found something else; keys.passphrase_file may have several lines",
        ),
        (
            "hunter2\u{fffd}",
            "wanted one line of UTF-8, found something else; keys.passphrase_file may have several lines",
        ),
    ] {
        let error = with_variable(VARIABLE, text).map(drop).unwrap_err();
        let wanted =
            format!("environment variable {VARIABLE}: the passphrase of the keys: {problem}");
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn a_passphrase_from_two_places_is_refused() {
    let setup = Setup::new();
    let mut layers = Layers::defaults().unwrap();
    layers.add_file(&setup.write(&with_file(&setup, "hunter2", 0o600))).unwrap();
    layers.add_variables([(VARIABLE.to_owned(), "hunter2".to_owned())].into_iter()).unwrap();
    let error = Config::from_layers(&layers).map(drop).unwrap_err();
    assert_eq!(
        setup.plain(&error.to_string()),
        "settings.toml:2: keys.passphrase_file: is set beside the environment variable RESETD_KEYS_PASSPHRASE; wanted one of the two"
    );
}

#[test]
fn a_variable_that_nearly_is_the_passphrase_is_refused_and_not_shown() {
    let error = with_variable("RESETD_KEY_PASSPHRASE", "hunter2").map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable RESETD_KEY_PASSPHRASE: no such setting; did you mean RESETD_KEYS_PASSPHRASE?"
    );
}

#[test]
fn no_passphrase_is_ever_shown() {
    let setup = Setup::new();
    setup.write(&with_file(&setup, "hunter2", 0o600));
    let from_file = ["--config", "settings.toml"];
    for (arguments, variable) in [(&from_file[..], None), (&[][..], Some("hunter2"))] {
        for format in ["table", "json"] {
            let mut command = resetd(setup.0.path());
            command.args(arguments).args(["config", "show", "-o", format]);
            command.envs(variable.map(|value| (VARIABLE, value)));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            assert!(!stdout(&output).contains("hunter2"), "{}", stdout(&output));
        }
    }
    for config in [
        setup.config(&with_file(&setup, "hunter2", 0o600)).unwrap(),
        with_variable(VARIABLE, "hunter2").unwrap(),
    ] {
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
