//! A real Chromium without a window, driven by `chromedriver` over its HTTP protocol. It and axe-core are
//! installed by the first test that needs them; where that fails, the test does.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use crate::debian::Wanted;
use crate::server::PATIENCE;

const AXE: &str = "axe-core@4.14.1";
const CHROMIUM: Wanted = Wanted {
    purpose: "look at the page in Chromium",
    packages: &["chromium", "chromium-driver"],
    answers: None,
    is_there: || {
        let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
        ["chromium", "chromedriver"].into_iter().all(has)
    },
};
/// Quiet: whatever it asks for is asked for by the page.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with one window, ended with the test.
pub(super) struct Browser {
    driver: Child,
    agent: Agent,
    session: String,
    /// Goes with it.
    profile: TempDir,
}

impl Browser {
    /// A new one that has seen nothing.
    pub(super) fn start() -> Self {
        installed();
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = port_of(&mut driver);
        let agent = Agent::config_builder()
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build()
            .into();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, agent, session, profile };
        let data = format!("--user-data-dir={}", browser.profile.path().display());
        let arguments: Vec<_> = FLAGS.into_iter().chain([data.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let session = browser.post("", &wanted)["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{session}", browser.session);
        browser.cdp("Network.enable", &json!({}));
        // It starts with a page of its own, which asks for things of its own.
        browser.post("/url", &json!({ "url": "about:blank" }));
        browser.requests();
        browser.complaints();
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let request = self.agent.post(&url).header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).unwrap();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["value"]["error"], Value::Null, "{path} {answer}");
        answer["value"].clone()
    }

    fn cdp(&self, command: &str, parameters: &Value) {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// The page at this address from scratch, even if only the fragment differs.
    pub(super) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": "about:blank" }));
        self.post("/url", &json!({ "url": url }));
    }

    /// What a function body returns in the page.
    pub(super) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The same in words.
    pub(super) fn text(&self, expression: &str) -> String {
        self.run(&format!("return String({expression});")).as_str().unwrap().to_owned()
    }

    /// Waits until this is so in the page.
    #[track_caller]
    pub(super) fn wait_until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(&format!("return Boolean({expression});")) != true {
            let seen = self.text("document.body.innerText");
            assert!(Instant::now() < deadline, "{expression} did not come: {seen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the page has been drawn twice and has nothing to do.
    pub(super) fn wait_for_two_frames(&self) {
        let script = "const done = arguments[0]; requestAnimationFrame(() => \
            requestAnimationFrame(() => requestIdleCallback(() => done(true))));";
        self.post("/execute/async", &json!({ "script": script, "args": [] }));
    }

    /// Presses what is found, as with a mouse.
    pub(super) fn press(&self, selector: &str) {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }));
        let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap();
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types a key where the focus is.
    pub(super) fn type_key(&self, key: char) {
        let keys = [("keyDown", key), ("keyUp", key)];
        let actions = keys.map(|(kind, key)| json!({ "type": kind, "value": key.to_string() }));
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// A window of this size, in pixels.
    pub(super) fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", &size);
    }

    pub(super) fn prefer_scheme(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.cdp("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    pub(super) fn prefer_language(&self, language: &str) {
        let headers = json!({ "headers": { "Accept-Language": language } });
        self.cdp("Network.setExtraHTTPHeaders", &headers);
    }

    /// Lets nothing of this kind be loaded, and no longer what was blocked before.
    pub(super) fn block(&self, pattern: &str) {
        let patterns: Vec<_> = Some(pattern).filter(|it| !it.is_empty()).into_iter().collect();
        self.cdp("Network.setBlockedURLs", &json!({ "urls": patterns }));
    }

    pub(super) fn turn_scripts_off(&self) {
        self.cdp("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    }

    /// The text that is seen where no script runs.
    pub(super) fn seen_text(&self) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": "body" }));
        let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap();
        let url = format!("{}/element/{element}/text", self.session);
        let text = self.agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["value"].as_str().unwrap().to_owned()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        self.post("/se/log", &json!({ "type": kind })).as_array().unwrap().clone()
    }

    /// What the console has to complain of since it was asked last.
    pub(super) fn complaints(&self) -> Vec<String> {
        let lines = self.log("browser");
        lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The address of every request since this was asked last, with the headers and the body.
    pub(super) fn requests(&self) -> Vec<Value> {
        let events = self.log("performance").into_iter().map(|line| {
            let text = line["message"].as_str().unwrap();
            serde_json::from_str::<Value>(text).unwrap()["message"].clone()
        });
        let sent = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"].clone()).collect()
    }

    /// What axe-core finds wrong with the page as it is now.
    pub(super) fn violations(&self) -> Vec<String> {
        self.run(&format!("{}\nreturn true;", axe()));
        let script = "const done = arguments[0]; axe.run(document).then((found) => \
            done(found.violations.map((it) => it.id + ': ' + it.nodes.map((node) => node.html))));";
        let found = self.post("/execute/async", &json!({ "script": script, "args": [] }));
        found.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    }

    /// A picture of the whole window, below the target directory.
    pub(super) fn picture(&self, name: &str) {
        let url = format!("{}/screenshot", self.session);
        let mut answer = self.agent.get(&url).call().unwrap();
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let bytes = data_encoding::BASE64.decode(answer["value"].as_str().unwrap().as_bytes());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-pictures");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes.unwrap()).unwrap();
    }
}

impl Drop for Browser {
    /// The session's end ends the browser; the driver would leave it behind.
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// It says so on its first lines; whatever it says later is read and dropped.
fn port_of(driver: &mut Child) -> u16 {
    const MARK: &str = "started successfully on port ";
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let (found, port) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, port)) = line.split_once(MARK) {
                let _ = found.send(port.trim_end_matches('.').parse().unwrap());
            }
        }
    });
    port.recv_timeout(PATIENCE).expect("chromedriver does not say where it listens")
}

fn axe() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        fs::read_to_string(folder().join("node_modules/axe-core/axe.min.js")).unwrap()
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("page")
}

/// Installs what is not there yet, one process at a time.
#[expect(clippy::panic, reason = "the failure is a text to read, not to quote")]
fn installed() {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    if let Err(failure) = DONE.get_or_init(install) {
        panic!("{failure}");
    }
}

fn install() -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", folder().display());
    fs::create_dir_all(folder()).map_err(failed)?;
    let lock = File::create(folder().with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    CHROMIUM.install()?;
    let stamp = folder().join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == AXE) {
        return Ok(());
    }
    say(&format!("installing {AXE} into {}", folder().display()));
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"])
        .args(["--ignore-scripts", "--prefix"])
        .arg(folder());
    output(npm.arg(AXE))?;
    fs::write(stamp, AXE).map_err(failed)
}

fn output(command: &mut Command) -> Result<(), String> {
    let why = match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "these tests look at the page with axe-core, and could not set it up.\n{command:?}\nfailed: {why}\nTo mend it: install npm and let it reach a package registry. Then run the tests again."
    ))
}

/// Past the test runner: an installation takes long enough to wonder.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "page: {what}");
}
