//! The unit for systemd: what it says is understood, and what it hands over is taken.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use resetd::config::Layers;

use crate::server::{resetd, stderr};

const UNIT: &str = include_str!("../../contrib/resetd.service");

#[test]
fn the_unit_names_settings_that_exist_and_a_copy_for_each() {
    let known: Vec<_> = Layers::defaults().unwrap().values().into_iter().map(|it| it.0).collect();
    let mut named = 0;
    for line in UNIT.lines().filter(|line| line.contains("/run/credentials/resetd.service/")) {
        let (setting, rest) = line.trim_start_matches(['#', ' ']).split_once(" = ").unwrap();
        let is_known = known.iter().any(|known| known == setting);
        assert!(is_known || setting == "webhooks: secret_files", "{line}");
        let (_, copy) = rest.split_once("/run/credentials/resetd.service/").unwrap();
        let copy = copy.split('"').next().unwrap();
        assert!(UNIT.contains(&format!("\n#LoadCredential={copy}:/etc/resetd/")), "{line}");
        named += 1;
    }
    assert_eq!(UNIT.matches("LoadCredential=").count(), named);
}

/// Where systemd is not installed, nobody knows all that a unit may say. That is told, and the rest of this
/// file does without.
#[test]
fn systemd_understands_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("resetd.service");
    let program = env!("CARGO_BIN_EXE_resetd");
    // With all that is commented out for whoever has such files.
    let text = UNIT
        .replace("/usr/local/bin/resetd", program)
        .replace("\n#LoadCredential=", "\nLoadCredential=")
        .replace("file:///usr/share/doc/resetd/README.md", "https://reset.example");
    fs::write(&unit, text).unwrap();
    match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&unit).output() {
        Ok(output) => {
            let told = stderr(&output);
            assert!(!told.contains("resetd.service:"), "{told}");
        }
        Err(error) => eprintln!("not checked, as systemd-analyze cannot be run: {error}"),
    }
}

/// systemd gives the service leave to read by an access list, or makes the service the owner.
#[test]
fn a_secret_that_systemd_hands_over_is_taken_and_no_other_that_a_group_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let allow = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.path().join("smtp-password"), mode).unwrap();
    };
    let password = folder.path().join("smtp-password");
    write("smtp-password", "hunter2\n");
    write(
        "c.toml",
        &format!(
            "[mail]\ntransport = \"smtp\"\nhost = \"a.example\"\nfrom = \"a@a.example\"\nusername = \"resetd\"\npassword_file = {password:?}\n"
        ),
    );
    let check = |credentials: Option<&Path>| {
        let mut command = resetd(folder.path());
        command.args(["--config", "c.toml", "config", "check"]);
        if let Some(credentials) = credentials {
            command.env("CREDENTIALS_DIRECTORY", credentials);
        }
        command.output().unwrap()
    };
    for mode in [0o400, 0o440] {
        allow(mode);
        let output = check(Some(folder.path()));
        assert!(output.status.success(), "{mode:o}: {}", stderr(&output));
    }
    for credentials in [None, Some(Path::new("/run/credentials/other")), Some(Path::new(""))] {
        let output = check(credentials);
        assert!(stderr(&output).contains("has mode 0440"), "{}", stderr(&output));
    }
    for mode in [0o444, 0o460] {
        allow(mode);
        let output = check(Some(folder.path()));
        assert!(stderr(&output).contains("has mode"), "{mode:o}: {}", stderr(&output));
    }
}
