//! Programs from Debian's packages, installed by the first test that needs them. One at a time, whichever
//! process or thread it is: the package manager lets nobody wait.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// What a test needs.
pub(crate) struct Wanted {
    /// What for, as in "these tests …".
    pub(crate) purpose: &'static str,
    pub(crate) packages: &'static [&'static str],
    /// What the installation asks, answered, as `debconf-set-selections` takes it.
    pub(crate) answers: Option<&'static str>,
    pub(crate) is_there: fn() -> bool,
}

impl Wanted {
    /// Installs what is not there.
    pub(crate) fn install(&self) -> Result<(), String> {
        let lock = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian.lock");
        let lock = File::create(lock).map_err(|error| self.failed("a lock", &error.to_string()))?;
        lock.lock().map_err(|error| self.failed("a lock", &error.to_string()))?;
        if (self.is_there)() {
            return Ok(());
        }
        // Past the test runner: it takes long enough to wonder.
        let _ = writeln!(io::stderr(), "installing {:?} with apt-get", self.packages);
        if let Some(answers) = self.answers {
            let answer = format!("echo {answers} | debconf-set-selections");
            self.run(Command::new("sh").args(["-c", &answer]))?;
        }
        self.run(Command::new("apt-get").args(["-qq", "update"]))?;
        let wait = "DPkg::Lock::Timeout=300";
        let mut install = Command::new("apt-get");
        install.args(["-qq", "-y", "-o", wait, "--no-install-recommends", "install"]);
        self.run(install.args(self.packages))?;
        let lacking = || Err(self.failed("apt-get", "it is still not there"));
        if (self.is_there)() { Ok(()) } else { lacking() }
    }

    fn run(&self, command: &mut Command) -> Result<(), String> {
        let command = command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(self.failed(&format!("{command:?}"), &why))
            }
            Err(error) => Err(self.failed(&format!("{command:?}"), &error.to_string())),
        }
    }

    fn failed(&self, what: &str, why: &str) -> String {
        format!(
            "these tests {}, and could not set it up.\n{what}\nfailed: {why}\nTo mend it, as root: apt-get install {}. Then run the tests again.",
            self.purpose,
            self.packages.join(" ")
        )
    }
}
