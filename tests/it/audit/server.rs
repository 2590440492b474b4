//! The audit trail of the real program: over restarts, on a full disk, beside another process, and
//! after it was killed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::lines;
use crate::server::{PATIENCE, Server, end_of, resetd, run, stderr, stdout};

const TO_FILES: &str = "[audit]\nsink = \"file\"\n";

fn verified(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["audit", "verify", "-o", "json"];
    all.extend(arguments);
    let output = run(folder, &all);
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{}", stderr(&output)));
    (output.status.code().unwrap(), report)
}

fn client(server: &Server, arguments: &[&str]) -> Output {
    end_of(server.client().args(arguments))
}

fn issue(server: &Server, username: &str) -> String {
    let output = client(server, &["issue", username, "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

/// Waits until this is so: what is written is written a moment after the answer.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

fn actions(folder: &Path) -> Vec<String> {
    let action = |line: &Value| line["action"].as_str().unwrap().to_owned();
    lines(&folder.join("audit")).iter().map(action).collect()
}

#[test]
fn without_a_setting_there_is_no_trail() {
    let server = Server::start();
    issue(&server, "alice");
    assert!(!server.folder.path().join("audit").exists());
}

#[test]
fn no_token_key_or_whole_address_is_in_the_trail() {
    let server = Server::start_with(TO_FILES, &[]);
    let token = issue(&server, "alice.anderson@example.com");
    client(&server, &["redeem", &token]);
    client(&server, &["redeem", &token]);
    client(&server, &["revoke", "--user", "alice.anderson@example.com"]);
    let key = server.api_key.clone();
    for (path, key) in
        [(token.as_str(), token.as_str()), (&key, &key), (&format!("{token}x"), &key)]
    {
        let request = format!(
            "GET /password-tokens/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        );
        server.exchange(request.as_bytes());
    }
    let request = format!(
        "GET /password-tokens/x?access_token={key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    server.exchange(request.as_bytes());
    let (status, folder) = server.stop();
    assert!(status.success());
    let all = lines(&folder.path().join("audit"));
    assert_eq!(all.len(), 10, "{all:#?}");
    for line in &all[4..9] {
        assert_ne!(line["outcome"], "unanswered", "{line}");
    }
    let text = Value::from(all).to_string();
    let mut secrets: Vec<&str> = token.split('.').skip(1).collect();
    secrets.extend([key.as_str(), &key[4..], "alice.anderson", "@example"]);
    for secret in secrets {
        assert!(!text.contains(secret), "the trail has {secret:?}");
    }
}

#[test]
fn a_restart_goes_on_with_the_chain() {
    let first = Server::start_with(TO_FILES, &[]);
    issue(&first, "alice");
    let (_, folder) = first.stop();
    let (code, kept) = verified(folder.path(), &[]);
    assert_eq!((code, &kept["lastSeq"]), (0, &json!(3)));
    let second = Server::start_in(folder, TO_FILES, &[]);
    issue(&second, "bob");
    let (_, folder) = second.stop();
    assert_eq!(
        actions(folder.path()),
        ["started", "issue", "stopped", "started", "issue", "stopped"]
    );
    let hash = kept["lastHash"].as_str().unwrap();
    let (code, report) = verified(folder.path(), &["--last-seq", "3", "--last-hash", hash]);
    assert_eq!((code, &report["lastSeq"], &report["intact"]), (0, &json!(6), &json!(true)));
    assert_eq!(lines(&folder.path().join("audit"))[1]["source"], "127.0.0.1");
}

#[test]
fn files_rotate_and_go_as_configured() {
    let config = format!("{TO_FILES}rotate_bytes = 65536\nkeep_files = 2\n");
    let server = Server::start_with(&config, &[]);
    let request = |more| format!("GET /password-tokens/x HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let requests = request("").repeat(999) + &request("Connection: close\r\n");
    let answers = server.exchange(requests.as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 401").count(), 1000);
    let (_, folder) = server.stop();
    let (code, report) = verified(folder.path(), &[]);
    assert_eq!((code, &report["files"]), (0, &json!(2)), "{report}");
    assert!(report["lastSeq"].as_u64() > Some(1002), "no line tells of what went: {report}");
    let sizes = fs::read_dir(folder.path().join("audit")).unwrap();
    for size in sizes.map(|entry| entry.unwrap().metadata().unwrap().len()) {
        assert!(size < 65_536 + 1024, "{size}");
    }
}

#[test]
fn verify_says_file_line_what_was_wanted_and_what_was_found() {
    let server = Server::start_with(TO_FILES, &[]);
    issue(&server, "alice");
    let (_, folder) = server.stop();
    let path = folder.path().join("audit/audit-00000000000000000001.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("a***", "b***")).unwrap();
    let output = run(folder.path(), &["audit", "verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told = stdout(&output);
    let told = |name: &str| {
        let row = told.lines().find(|line| line.starts_with(name)).unwrap();
        row[name.len()..].trim().to_owned()
    };
    assert_eq!((told("intact"), told("lines")), ("no".into(), "2".into()));
    assert_eq!(told("file "), "audit/audit-00000000000000000001.jsonl");
    assert_eq!(told("line "), "3");
    assert!(told("wanted").starts_with("previous "), "{}", told("wanted"));
    assert!(told("found").starts_with("previous "), "{}", told("found"));
    assert_ne!(told("wanted"), told("found"));
    // The file by its name, the folder by its name, and the configured folder are one.
    fs::write(&path, good).unwrap();
    for arguments in [vec![], vec!["audit"], vec![path.to_str().unwrap()]] {
        assert_eq!(verified(folder.path(), &arguments).0, 0, "{arguments:?}");
    }
    let output = run(folder.path(), &["audit", "verify", "none"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot read none"), "{}", stderr(&output));
}

#[test]
fn a_trail_that_somebody_cut_is_missed_by_what_was_kept() {
    let server = Server::start_with(TO_FILES, &[]);
    issue(&server, "alice");
    let (_, folder) = server.stop();
    let (_, kept) = verified(folder.path(), &[]);
    let path = folder.path().join("audit/audit-00000000000000000001.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let cut: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&path, cut).unwrap();
    assert_eq!(verified(folder.path(), &[]).0, 0);
    let (code, report) = verified(folder.path(), &["--last-seq", "3"]);
    assert_eq!((code, &report["fault"]["wanted"]), (1, &json!("a line of seq 3")));
    let hash = kept["lastHash"].as_str().unwrap();
    assert_eq!(verified(folder.path(), &["--last-hash", hash]).0, 1);
}

#[test]
fn keys_that_changed_in_the_folder_make_a_line() {
    let server = Server::start_with(TO_FILES, &[]);
    assert!(run(server.folder.path(), &["keys", "generate"]).status.success());
    let folder = server.folder.path();
    wait_until("keys_changed", || actions(folder).contains(&"keys_changed".to_owned()));
}

#[test]
fn two_processes_do_not_write_one_trail() {
    let first = Server::start_with(TO_FILES, &[]);
    let folder = first.folder.path();
    let mut second = resetd(folder);
    second.args(["--config", "settings.toml", "serve", "--listen", "127.0.0.1:0"]).args([
        "--state",
        "other-state",
        "--keys",
        "keys",
    ]);
    let output = end_of(&mut second);
    assert_eq!(output.status.code(), Some(2));
    let wanted = "another process writes its audit trail here; stop it first, or give this one a folder of its own: audit.directory";
    assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    assert!(!folder.join("other-state").exists());
}

#[test]
fn a_server_that_was_killed_leaves_a_trail_that_goes_on() {
    let mut folder = tempfile::tempdir().unwrap();
    for run in 1..=5_u64 {
        let server = Server::start_in(folder, TO_FILES, &[]);
        for _ in 0..run {
            issue(&server, "alice");
        }
        folder = server.kill();
        let (code, report) = verified(folder.path(), &[]);
        let torn =
            report["fault"]["found"].as_str().is_some_and(|it| it.contains("torn last line"));
        assert!(code == 0 || torn, "{report}");
    }
    let (_, folder) = Server::start_in(folder, TO_FILES, &[]).stop();
    assert_eq!(verified(folder.path(), &[]).0, 0);
    let all = actions(folder.path());
    assert_eq!(all.iter().filter(|action| *action == "started").count(), 6);
    // What was answered a moment before the end may be missing, and nothing else.
    assert!(all.iter().filter(|action| *action == "issue").count() >= 10, "{all:?}");
}

#[test]
fn a_torn_last_line_is_cut_at_the_start_and_told() {
    let (_, folder) = Server::start_with(TO_FILES, &[]).stop();
    let path = folder.path().join("audit/audit-00000000000000000001.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{{\"seq\":3,")).unwrap();
    let (code, report) = verified(folder.path(), &[]);
    assert_eq!((code, &report["fault"]["line"]), (1, &json!(3)));
    let server = Server::start_in(folder, TO_FILES, &[]);
    assert!(server.log().contains("the last line of the audit trail was torn and is cut off"));
    let (_, folder) = server.stop();
    assert_eq!(verified(folder.path(), &[]).0, 0);
    let lines = lines(&folder.path().join("audit"));
    assert_eq!(lines[2]["reason"], "9 bytes of a torn last line were cut off");
}

/// Adds a caller who may read the metrics as well, and says its key.
fn with_metrics(folder: &Path, settings: &str) -> (String, String) {
    let scopes = "issue,check,redeem,revoke,metrics";
    let arguments = ["callers", "add", "--name", "web", "--scopes", scopes, "-o", "json"];
    let output = run(folder, &arguments);
    let caller: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |name: &str| caller[name].as_str().unwrap().to_owned();
    (text("key"), settings.to_owned() + &text("toml"))
}

/// One line of the metrics.
fn metric(server: &Server, key: &str, name: &str) -> u64 {
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    );
    let answer = server.exchange(request.as_bytes());
    let line = answer.lines().find(|line| line.starts_with(&format!("{name} ")));
    let value = line.unwrap_or_else(|| panic!("{answer}")).split(' ').nth(1).unwrap();
    value.trim().parse().unwrap()
}

fn post_token(server: &Server, key: &str) -> String {
    let body = r#"{"username":"alice"}"#;
    let request = format!(
        "POST /password-tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    server.exchange(request.as_bytes())
}

/// A limit on the size of files stands in for a disk that is full.
#[test]
fn a_full_disk_stops_no_request_and_what_is_lost_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "[limits]\nuser_tokens_per_hour = 0\n[state]\ndurability = \"guard\"\n[log]\nlevel = \"error\"\n[audit]\nsink = \"file\"\n";
    let (key, settings) = with_metrics(folder.path(), settings);
    let server = Server::start_in(folder, &settings, &[]);
    let path = server.folder.path().to_owned();
    for _ in 0..20 {
        assert!(post_token(&server, &key).starts_with("HTTP/1.1 201"));
    }
    wait_until("the lines", || actions(&path).len() == 21);
    let file = path.join("audit/audit-00000000000000000001.jsonl");
    let good = fs::metadata(&file).unwrap().len();
    limit_files(&server, &(good + 100).to_string());
    for _ in 0..3 {
        assert!(post_token(&server, &key).starts_with("HTTP/1.1 201"));
    }
    wait_until("the loss", || metric(&server, &key, "resetd_audit_lost_total") == 3);
    assert_eq!(metric(&server, &key, "resetd_audit_failing"), 1);
    assert_eq!(fs::metadata(&file).unwrap().len(), good, "a part of a line was left");
    assert_eq!(server.log().matches("the audit trail loses events").count(), 1);
    limit_files(&server, "unlimited");
    wait_until("the end", || metric(&server, &key, "resetd_audit_failing") == 0);
    assert!(post_token(&server, &key).starts_with("HTTP/1.1 201"));
    let (_, folder) = server.stop();
    let lines = lines(&folder.path().join("audit"));
    let lost: Vec<_> = lines.iter().filter(|line| line["action"] == "lost").collect();
    assert_eq!((lost.len(), &lost[0]["count"]), (1, &json!(3)));
    let all = actions(folder.path());
    assert_eq!(all[20..], ["issue", "lost", "issue", "stopped"]);
    assert_eq!(verified(folder.path(), &[]).0, 0);
}

fn limit_files(server: &Server, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let id = server.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap().success());
}

/// A server whose trail goes to its standard output.
struct Talking {
    child: Child,
    folder: TempDir,
    address: String,
}

impl Talking {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = resetd(folder.path());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("RESETD_AUDIT_SINK", "stdout")
            .env("RESETD_LIMITS_SOURCE_PER_MINUTE", "0")
            .env("RESETD_LOG_LEVEL", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("log")).unwrap());
        let child = command.spawn().unwrap();
        let log = || fs::read_to_string(folder.path().join("log")).unwrap();
        wait_until("the banner", || log().contains('\n'));
        let address = log().lines().next().unwrap().replace("resetd listens on http://", "");
        Self { child, folder, address }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn ask(&self, times: usize) {
        let request =
            |more: &str| format!("GET /password-tokens/x HTTP/1.1\r\nHost: x\r\n{more}\r\n");
        let requests = request("").repeat(times - 1) + &request("Connection: close\r\n");
        let answers = Server::exchange_at(&self.address, requests.as_bytes());
        assert_eq!(answers.matches("HTTP/1.1 401").count(), times);
    }

    fn stop(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Everything that it prints up to its end, as a file that was collected.
    fn collect(mut self) -> (TempDir, Vec<Value>) {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        fs::write(folder.path().join("collected.jsonl"), &text).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (folder, lines)
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn on_standard_output_there_is_the_trail_and_nothing_else() {
    let server = Talking::start();
    server.ask(2);
    server.stop();
    let (folder, lines) = server.collect();
    let (code, report) = verified(folder.path(), &["collected.jsonl"]);
    assert_eq!((code, &report["lastSeq"]), (0, &json!(4)), "{lines:?}");
}

#[test]
fn a_reader_that_reads_nothing_does_not_keep_the_server_from_its_end() {
    let mut server = Talking::start();
    // More than the pipe holds.
    server.ask(600);
    server.stop();
    wait_until("the end", || server.child.try_wait().unwrap().is_some());
}

#[test]
fn what_comes_faster_than_it_can_be_written_holds_no_request_and_is_counted() {
    let server = Talking::start();
    // More than the pipe, the writer and the queue hold.
    let asked = 9_500;
    for _ in 0..asked / 500 {
        server.ask(500);
    }
    assert_eq!(server.log().matches("more events wait than may").count(), 1, "{}", server.log());
    server.stop();
    let (folder, lines) = server.collect();
    assert_eq!(verified(folder.path(), &["collected.jsonl"]).0, 0);
    let count = |action: &str| lines.iter().filter(|line| line["action"] == action).count();
    let lost: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    // The end of the server is an event as well, and may be among them.
    let told = count("check") + count("stopped") + usize::try_from(lost).unwrap();
    assert_eq!((told, count("started")), (asked + 1, 1));
    assert!(lost > 0);
}

#[test]
fn a_client_that_hangs_up_before_its_answer_makes_a_line() {
    let server = Server::start_with(TO_FILES, &[]);
    let key = &server.api_key;
    let mut stream = server.connect();
    let head = format!(
        "POST /password-tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(100));
    drop(stream);
    let folder = server.folder.path();
    wait_until("the line", || actions(folder).len() == 2);
    let line = lines(&folder.join("audit")).remove(1);
    assert_eq!((&line["action"], &line["source"]), (&json!("issue"), &json!("127.0.0.1")));
    assert!(
        ["unanswered", "body_incomplete"].contains(&line["outcome"].as_str().unwrap()),
        "{line}"
    );
    assert_eq!(line["caller"], "one-run", "{line}");
}
