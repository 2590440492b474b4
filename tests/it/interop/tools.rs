//! `PyJWT`, jose, aiosmtpd and others, installed once per target directory by the first test that needs them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const PYTHON_PACKAGES: [&str; 9] = [
    "pyjwt[crypto]==2.15.1",
    "cryptography==50.0.2",
    "prometheus-client==0.26.0",
    "standardwebhooks==1.1.0",
    "aiosmtpd==1.4.6",
    "requests==2.34.2",
    "schemathesis==4.32.5",
    "LoginRadius-v2==11.7.0",
    "servicestack==0.1.15",
];
const NODE_PACKAGES: [&str; 6] = [
    "jose@6.2.18",
    "standardwebhooks@1.1.1",
    "smtp-server@3.21.6",
    "rebilly-js-sdk@62.162.1",
    "loginradius-sdk@11.7.0",
    "@servicestack/client@2.1.13",
];

const GET_PYTHON: &str =
    "install Python 3 with its venv module (Debian: apt-get install python3-venv)";
const GET_NODE: &str = "install Node.js with npm (Debian: apt-get install nodejs npm)";
const REACH_INDEX: &str = "let pip reach a Python package index";
const REACH_REGISTRY: &str = "install npm and let it reach a package registry";

/// Where both are installed.
pub(crate) struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Installs what is not there yet. Every test that needs it fails where that fails.
    #[expect(clippy::panic, reason = "the failure is a text to read, not to quote")]
    pub(crate) fn installed() -> &'static Self {
        static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
        TOOLS
            .get_or_init(|| {
                let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
                install_into(&folder).map(|()| Self { folder })
            })
            .as_ref()
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Python with `PyJWT`, to run `verify.py`.
    pub(crate) fn pyjwt(&self) -> Command {
        self.python(include_str!("verify.py"))
    }

    /// Python with cryptography, to run `keys.py`.
    pub(crate) fn cryptography(&self) -> Command {
        self.python(include_str!("keys.py"))
    }

    /// Python with prometheus-client, to run `metrics.py`.
    pub(crate) fn prometheus(&self) -> Command {
        self.python(include_str!("metrics.py"))
    }

    /// Python with all of its packages.
    pub(crate) fn python(&self, script: &str) -> Command {
        let mut python = Command::new(venv(&self.folder).join("bin/python"));
        python.args(["-c", script]);
        python
    }

    /// Node with jose, to run `verify.mjs`.
    pub(super) fn jose(&self) -> Command {
        self.node(include_str!("verify.mjs"))
    }

    /// Node with all of its packages. It looks for packages around a script's own file, and around the
    /// working directory for one given as text.
    pub(crate) fn node(&self, script: &str) -> Command {
        let mut node = Command::new("node");
        node.current_dir(&self.folder)
            .args(["--input-type=module", "--eval"])
            .arg(script)
            .arg("--");
        node
    }
}

/// One process at a time. The stamp is written last: a folder without the right one is begun anew.
fn install_into(folder: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;

    let python = output(Command::new("python3").arg("--version"), GET_PYTHON)?;
    let node = output(Command::new("node").arg("--version"), GET_NODE)?;
    let wanted = format!("{python}, {PYTHON_PACKAGES:?}, {node}, {NODE_PACKAGES:?}\n");
    let stamp = folder.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    say(&format!("installing {PYTHON_PACKAGES:?} and {NODE_PACKAGES:?} into {}", folder.display()));
    fs::remove_dir_all(folder).map_err(failed)?;
    fs::create_dir_all(folder).map_err(failed)?;
    install_python_packages(folder)?;
    install_node_packages(folder)?;
    fs::write(stamp, wanted).map_err(failed)
}

fn install_python_packages(folder: &Path) -> Result<(), String> {
    let venv = venv(folder);
    let mut python = Command::new("python3");
    output(python.args(["-m", "venv"]).arg(&venv), GET_PYTHON)?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    output(pip.args(PYTHON_PACKAGES), REACH_INDEX).map(drop)
}

fn install_node_packages(folder: &Path) -> Result<(), String> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-save", "--no-package-lock"])
        .args(["--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
        .arg(folder);
    output(npm.args(NODE_PACKAGES), REACH_REGISTRY).map(drop)
}

fn venv(folder: &Path) -> PathBuf {
    folder.join("venv")
}

/// What a command prints, or what was wanted, what happened and how to mend it.
fn output(command: &mut Command, mend: &str) -> Result<String, String> {
    let why = match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "these tests talk to programs that nobody here wrote, and could not set them up.\n\
         {command:?}\nfailed: {why}\nTo mend it: {mend}. Then run the tests again."
    ))
}

/// Past the test runner, which shows what a test prints only when it fails: an installation takes
/// long enough to wonder.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "interop: {what}");
}
