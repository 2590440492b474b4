//! What the documents say is true: every command of the README is run and prints what stands there,
//! every problem is documented, and every link leads to a file.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use clap::CommandFactory as _;
use resetd::cli::Cli;
use resetd::domain::caller::Scope;
use resetd::domain::time::from_rfc3339;
use resetd::http::REGISTRY;
use tempfile::TempDir;

use crate::server::{PATIENCE, resetd, run, stderr};
use crate::tls::certificates::Authority;
use crate::vectors::{make_folder, private_keys, write_key};

/// Where the README's server listens; the one that is tested listens elsewhere.
const ADDRESS: &str = "127.0.0.1:8080";
/// Where the README's reader puts the key that their own server printed.
const API_KEY: &str = "rsk_…";

#[test]
fn every_command_of_the_readme_prints_what_stands_there() {
    let steps = steps(&read("README.md"));
    assert!(steps.len() >= 12, "only {} commands", steps.len());
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
}

#[test]
fn every_command_of_the_page_for_admins_prints_what_stands_there() {
    let steps = steps(&read("docs/keys.md"));
    assert!(steps.len() >= 5, "only {} commands", steps.len());
    // A key that has been signing for long, as the page has it.
    let folder = tempfile::tempdir().unwrap();
    make_folder(&folder.path().join("keys"));
    let mut key = private_keys().into_iter().find(|key| key["alg"] == "ES256").unwrap();
    for member in ["created", "not_before"] {
        key[member] = "2026-01-01T00:00:00Z".into();
    }
    write_key(&folder.path().join("keys/key.jwk"), key.to_string().as_bytes());
    run_all(&steps, Session::start(folder));
}

#[test]
fn every_command_of_the_page_about_single_use_prints_what_stands_there() {
    let steps = steps(&read("docs/single-use.md"));
    assert!(steps.len() >= 12, "only {} commands", steps.len());
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
}

#[test]
fn every_command_of_the_page_about_webhooks_prints_what_stands_there() {
    let steps = steps(&read("docs/webhooks.md"));
    assert!(steps.len() >= 2, "only {} commands", steps.len());
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
}

#[test]
fn every_command_and_every_example_of_the_page_about_directories_works() {
    let page = read("docs/directory.md");
    let steps = steps(&page);
    assert!(steps.len() >= 4, "only {} commands", steps.len());
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        fs::write(folder.path().join(file), text).unwrap();
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(folder.path().join(file), private).unwrap();
    };
    for (file, text) in [("token", "a"), ("password", "a"), ("ca.pem", &Authority::new().pem)] {
        write(file, text);
    }
    let (settings, users): (Vec<_>, Vec<_>) =
        blocks(&page, "toml").into_iter().partition(|block| block.starts_with("[directory]"));
    assert_eq!((settings.len(), users.len()), (5, 1));
    write("users.toml", &users[0]);
    write("users.csv", &blocks(&page, "csv")[0]);
    let csv = "[directory]\nkind = \"file\"\nfile = \"users.csv\"\n".to_owned();
    for settings in settings.into_iter().chain([csv]) {
        write("settings.toml", &settings);
        let output = run(folder.path(), &["--config", "settings.toml", "config", "check"]);
        assert!(output.status.success(), "{settings}\n{}", stderr(&output));
    }
}

#[test]
fn every_command_of_the_page_about_sending_prints_what_stands_there() {
    let steps = steps(&read("docs/delivery.md"));
    assert!(steps.len() >= 6, "only {} commands", steps.len());
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
}

#[test]
fn every_command_of_the_page_about_mail_prints_what_stands_there() {
    let steps = steps(&read("docs/mail.md"));
    assert_eq!(steps.len(), 2);
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
}

#[test]
fn every_command_of_the_page_for_clients_of_rebilly_prints_what_stands_there() {
    let steps = steps(&read("docs/dialects/rebilly.md"));
    assert!(steps.len() >= 7, "only {} commands", steps.len());
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
}

#[test]
fn every_command_and_every_example_of_the_page_about_fabric_works() {
    let page = read("docs/dialects/fabric.md");
    let steps = steps(&page);
    assert!(steps.len() >= 8, "only {} commands", steps.len());
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("settings.toml"), blocks(&page, "toml").remove(0)).unwrap();
    let output = run(folder.path(), &["--config", "settings.toml", "config", "check"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn every_command_of_the_page_about_loginradius_prints_what_stands_there() {
    let page = read("docs/dialects/loginradius.md");
    let steps = steps(&page);
    assert_eq!(steps.len(), 11);
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("settings.toml"), &blocks(&page, "toml")[0]).unwrap();
    let output = run(folder.path(), &["--config", "settings.toml", "config", "check"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn every_command_of_the_page_about_servicestack_prints_what_stands_there() {
    let steps = steps(&read("docs/dialects/servicestack.md"));
    assert_eq!(steps.len(), 7);
    run_all(&steps, Session::start(tempfile::tempdir().unwrap()));
}

fn run_all(steps: &[Step], mut session: Session) {
    let mut failures = Vec::new();
    for step in steps {
        let found = mask(&session.run(&step.command));
        if found != mask(&step.output) {
            let Step { command, output } = step;
            failures.push(format!("$ {command}\n-- wanted\n{output}\n-- found\n{found}\n"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_two_commands_at_the_top_start_it_and_test_it_as_is_done_here() {
    let readme = read("README.md");
    let first = blocks(&readme, "sh").remove(0);
    let commands: Vec<_> =
        first.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    let [start, test] = commands[..] else {
        panic!("wanted two commands, found {commands:?}");
    };
    assert_eq!(start, steps(&readme)[0].command);
    let ci = read(".ci/run");
    let is_run = |line: &str| line.ends_with(test) || line.ends_with(&format!("{test} --locked"));
    assert!(ci.lines().any(is_run), "{test} does not stand in .ci/run");
}

#[test]
fn the_readme_names_every_command_and_every_scope() {
    let readme = read("README.md");
    let mut commands = vec![(Cli::command(), "resetd".to_owned())];
    while let Some((command, path)) = commands.pop() {
        let mut inner = command.get_subcommands().peekable();
        if inner.peek().is_none() {
            assert!(readme.contains(&format!("`{path}")), "{path}");
        }
        commands.extend(inner.map(|inner| (inner.clone(), format!("{path} {}", inner.get_name()))));
    }
    for scope in Scope::ALL {
        assert!(readme.contains(&format!("| `{scope}` |")), "{scope}");
    }
}

#[test]
fn every_problem_has_its_section_with_status_and_title_and_no_other_has() {
    let text = read("docs/problems.md");
    let found: Vec<_> = text
        .split("\n## ")
        .skip(1)
        .map(|section| section.lines().take(2).collect::<Vec<_>>().join("\n"))
        .collect();
    let wanted: Vec<_> = REGISTRY
        .iter()
        .map(|kind| format!("{}\n{}: {}", kind.code(), kind.status(), kind.title()))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn every_test_and_file_that_proves_a_requirement_is_there() {
    let document = read("docs/security.md");
    let code = code_in(["src", "crates/verify", "tests"].map(|folder| root().join(folder)));
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let rows: Vec<Vec<&str>> = rows
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|row: &Vec<&str>| row[0] != "requirement")
        .collect();
    assert!(rows.len() > 50, "{}", rows.len());
    for row in rows {
        let [_, files, tests] = row[..] else { panic!("wanted three cells: {row:?}") };
        let quoted = |text: &str| -> Vec<String> {
            text.split('`').skip(1).step_by(2).map(String::from).collect()
        };
        for file in quoted(files) {
            let is_there = [root().join(&file), root().join("src").join(&file)];
            assert!(is_there.iter().any(|path| path.is_file()), "{file}");
        }
        let tests = quoted(tests);
        assert!(!tests.is_empty(), "{row:?}");
        for test in tests {
            assert!(code.contains(&format!("fn {test}()")), "no test is called {test}");
        }
    }
}

/// All Rust code below these folders.
fn code_in(folders: impl IntoIterator<Item = PathBuf>) -> String {
    let mut code = String::new();
    let mut left: Vec<PathBuf> = folders.into_iter().collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == "rs") {
            code.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    code
}

#[test]
fn every_link_inside_the_repository_leads_to_a_file() {
    let mut seen = 0;
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/audit.md",
        "docs/delivery.md",
        "docs/dialects/fabric.md",
        "docs/dialects/loginradius.md",
        "docs/dialects/rebilly.md",
        "docs/dialects/servicestack.md",
        "docs/directory.md",
        "docs/journal.md",
        "docs/keys.md",
        "docs/mail.md",
        "docs/page.md",
        "docs/security.md",
        "docs/single-use.md",
        "docs/webhooks.md",
        "docs/problems.md",
        "keys/README.md",
    ] {
        let folder = root().join(document).parent().unwrap().to_owned();
        for link in links(&read(document)) {
            assert!(folder.join(&link).exists(), "{document}: {link}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} links");
}

/// A command and what stands below it.
struct Step {
    command: String,
    output: String,
}

/// The commands of all `console` blocks. One that ends with a backslash goes on in the next line.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in blocks(document, "console") {
        let mut is_command = false;
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                let (command, output) = (command.into(), String::new());
                steps.push(Step { command, output });
                is_command = true;
            } else {
                let step = steps.last_mut().unwrap();
                let text = if is_command { &mut step.command } else { &mut step.output };
                text.push_str(if text.is_empty() { "" } else { "\n" });
                text.push_str(line);
            }
            is_command &= line.ends_with('\\');
        }
    }
    steps
}

/// The fenced blocks in this language.
pub(crate) fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let rest = document.split(&fence).skip(1);
    rest.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The targets of links that are no URLs, without their fragments.
fn links(document: &str) -> Vec<String> {
    let targets = document.split("](").skip(1);
    targets
        .map(|rest| rest.split([')', '#']).next().unwrap().to_owned())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

/// Takes out what is different in every run: tokens, API keys, the names of keys, tokens and
/// requests, and times. In the README the first two may be cut short with an ellipsis.
fn mask(text: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "-_.:…".contains(c);
    let mut masked = String::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let end = if in_word(first) {
            rest.find(|c| !in_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(end);
        masked.push_str(match word {
            token if token.starts_with("eyJ") => "(token)",
            key if key.starts_with("rsk_") => "(API key)",
            time if from_rfc3339(time).is_some() => "(time)",
            name if is_base64url(name, 43) => "(key)",
            name if is_base64url(name, 64) => "(redemption)",
            name if is_base64url(name, 22) => "(token id)",
            id if is_base32(id.trim_start_matches("urn:resetd:request:"), 16) => "(request id)",
            other => other,
        });
        rest = after;
    }
    masked
}

fn is_base64url(word: &str, length: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    word.len() == length && word.bytes().all(allowed)
}

fn is_base32(word: &str, length: usize) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'2'..=b'7');
    word.len() == length && word.bytes().all(allowed)
}

/// One bash in which the commands of the README mean what they mean to its reader, except that
/// `serve` goes to the background, as into the reader's other terminal, and takes a free port.
struct Session {
    bash: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// What the server really has in the place of [`ADDRESS`] and [`API_KEY`].
    address: String,
    api_key: String,
    _folder: TempDir,
}

impl Session {
    /// Stands between the output of one command and of the next.
    const MARK: &str = "--- done ---";

    const PRELUDE: &str = r#"
        exec 2>&1
        trap '[ -z "$server" ] || kill $server' EXIT
        cargo() {
            [ "$1 $2 $3" = 'run --release --' ] && resetd "${@:4}"
        }
        resetd() {
            if [ "$1" = serve ]; then serve; else "$program" "$@"; fi
        }
        serve() {
            exec 3< <(exec "$program" serve 2> log.jsonl)
            server=$!
            while IFS= read -r -u 3 line; do
                printf '%s\n' "$line"
                # The last line of the banner.
                case $line in *"-d '"*) return ;; esac
            done
            cat log.jsonl
        }
    "#;

    fn start(folder: TempDir) -> Self {
        let mut clean = resetd(folder.path());
        clean.env("RESETD_SERVER_LISTEN", "127.0.0.1:0");
        let mut command = Command::new("timeout");
        command
            .args([&PATIENCE.as_secs().to_string(), "bash", "--norc"])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        for (name, value) in clean.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut bash = command.spawn().unwrap();
        let mut session = Self {
            stdin: bash.stdin.take(),
            stdout: BufReader::new(bash.stdout.take().unwrap()),
            bash,
            address: ADDRESS.into(),
            api_key: API_KEY.into(),
            _folder: folder,
        };
        session.send(&format!("program='{}'", env!("CARGO_BIN_EXE_resetd")));
        session.send(Self::PRELUDE);
        session
    }

    /// Runs one command and gives its output as the README would have it.
    fn run(&mut self, command: &str) -> String {
        let command = command.replace(ADDRESS, &self.address).replace(API_KEY, &self.api_key);
        // The exit code of the command stays what the next one sees.
        self.send(&format!("{command}\nstatus=$?; printf '\\n{}\\n'; (exit $status)", Self::MARK));
        let output = self.read_to_mark();
        if let Some((_, banner)) = output.split_once("resetd listens on http://") {
            self.learn(banner);
        }
        output.replace(&self.address, ADDRESS)
    }

    /// Takes the address and the key from the banner. The commands that work offline get the
    /// address as the server's configuration has it.
    fn learn(&mut self, banner: &str) {
        let (_, key) = banner.split_once("RESETD_API_KEY=").unwrap();
        let first_line = |text: &str| text.lines().next().unwrap().to_owned();
        (self.address, self.api_key) = (first_line(banner), first_line(key));
        self.send(&format!("export RESETD_SERVER_LISTEN={}", self.address));
    }

    fn send(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{text}").unwrap();
    }

    fn read_to_mark(&mut self) -> String {
        let mut output = String::new();
        loop {
            let mut line = String::new();
            let length = self.stdout.read_line(&mut line).unwrap();
            assert!(length > 0, "the session ended early: {output}");
            if line.trim_end() == Self::MARK {
                return output;
            }
            output.push_str(&line);
        }
    }
}

impl Drop for Session {
    /// At the end of its input bash ends, and takes the server with it.
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.bash.wait();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).expect(document)
}
