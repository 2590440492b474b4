//! The vendor's own clients against the running program: each call that they take for a success has its mail.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::interop::tools::Tools;
use crate::mail::messages::parsed;
use crate::server::{PATIENCE, Server, end_of, stderr, stdout};

fn server(names: &str) -> Server {
    let settings = format!(
        "token.supersede = false\naudit.sink = \"file\"\nlimits.user_tokens_per_hour = 0\n[link]\ntemplate = \"https://app.example.com/reset#{{token}}\"\nreturn_urls = [\"https://app.example.com/other\"]\n[servicestack]\nenabled = true\njson_names = \"{names}\"\n"
    );
    Server::start_with(&settings, &[])
}

/// What a script says of itself, as JSON.
fn told(server: &Server, client: &mut Command, arguments: &[&str]) -> Value {
    let client = client.args(arguments).env("RESETD_URL", &server.url);
    let output = end_of(client.env("RESETD_API_KEY", &server.api_key));
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// The mails, once there are so many.
fn mails(server: &Server, count: usize) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let entries = fs::read_dir(server.folder.path().join("mail/new"));
        let files: Vec<_> =
            entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        if files.len() >= count {
            return files.iter().map(|file| fs::read(file).unwrap()).collect();
        }
        assert!(Instant::now() < deadline, "{} mails of {count}", files.len());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The lines of the trail about what was asked for, once there are so many.
fn trail(server: &Server, count: usize) -> Vec<Value> {
    let path = server.folder.path().join(format!("audit/audit-{:020}.jsonl", 1));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let asked = |line: &Value| line["action"] == "deliver" || line["action"] == "redeem";
        let lines: Vec<_> = lines.filter(asked).collect();
        // The last thing that was asked for is the last one that is awaited.
        if lines.len() >= count && lines.iter().any(|line| line["outcome"] == "token_unknown") {
            return lines;
        }
        assert!(Instant::now() < deadline, "{} lines of {count}", lines.len());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The links in mails.
fn links(mails: &[Vec<u8>]) -> Vec<String> {
    let link = |mail: &Vec<u8>| {
        let mail = parsed(mail);
        assert_eq!(mail["to"], serde_json::json!(["ann@example.com"]));
        let text = mail["parts"][0][1].as_str().unwrap().to_owned();
        let link = text.lines().find(|line| line.starts_with("https://"));
        link.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    mails.iter().map(link).collect()
}

/// Has links sent in every way the client knows, and spends the token of one of them.
fn walk(names: &str, client: impl Fn() -> Command) {
    let server = server(names);
    let sent = told(&server, &mut client(), &["send"]);
    let count = usize::try_from(sent["sent"].as_u64().unwrap()).unwrap();
    assert!(count >= 5, "{sent}");
    let links = links(&mails(&server, count));
    assert_eq!(links.len(), count, "{sent}");
    let elsewhere = links.iter().filter(|link| link.starts_with("https://app.example.com/other#"));
    assert_eq!(elsewhere.count() as u64, sent["elsewhere"].as_u64().unwrap());
    let token = links[0].split_once('#').unwrap().1;
    let reset = told(&server, &mut client(), &["reset", token]);
    assert_eq!(reset["codes"], serde_json::json!(["", "TokenUsed", "NotFound"]));
    let trail = trail(&server, count + 3);
    let told = |action: &str, outcome: &str| {
        let is_it = |line: &&Value| line["action"] == action && line["outcome"] == outcome;
        trail.iter().filter(is_it).count()
    };
    assert_eq!(told("deliver", "ok"), count);
    assert_eq!(told("redeem", "ok"), 1);
    assert_eq!(told("redeem", "token_used"), 1);
    assert_eq!(told("redeem", "token_unknown"), 1);
    let log = server.log();
    for secret in [token, "hunter2", "ann@example.com"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn the_client_for_javascript_has_links_sent_and_reads_refusals() {
    walk("pascal", || Tools::installed().node(include_str!("../../../clients/servicestack.mjs")));
}

#[test]
fn the_client_for_javascript_reads_small_names_as_well() {
    walk("camel", || Tools::installed().node(include_str!("../../../clients/servicestack.mjs")));
}

#[test]
fn the_client_for_python_has_links_sent_and_reads_refusals() {
    walk("camel", || Tools::installed().python(include_str!("../../../clients/servicestack.py")));
}

#[test]
fn head_sends_as_get_does_and_its_answer_has_no_body() {
    let server = server("pascal");
    let request = format!(
        "HEAD /api/account/ann@example.com/passwordresettoken HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
        server.api_key
    );
    let answer = server.exchange(request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(mails(&server, 1).len(), 1);
    let refused = server.exchange(
        b"GET /api/GetResetPasswordToken HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(refused.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{refused}");
    let request = request.replace("HEAD", "POST").replace("ann@example.com", "ann");
    let refused = server.exchange(request.as_bytes());
    assert!(refused.starts_with("HTTP/1.1 400 Email\r\n"), "{refused}");
}
