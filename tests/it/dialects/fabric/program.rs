//! fabric's dialect of the running program, as its users have it: there is no client of the vendor's, so Python
//! sends the recorded requests, and requests made from the vendor's `OpenAPI` document.

use std::io::Write as _;

use resetd::domain::caller::{KeyHash, api_key};
use resetd::domain::secret::Secret;
use serde_json::{Value, json};

use super::RECORDED;
use crate::interop::tools::Tools;
use crate::server::{Server, end_of, stderr, stdout};

const OPENAPI: &str = include_str!("../../../fixtures/dialects/fabric/openapi.json");

/// Examples of each operation; more find more, and take longer.
const EXAMPLES: u64 = 40;

/// `RESETD_TEST_SEED=…` makes other requests.
const SEED: u64 = 1;

struct App {
    server: Server,
    all: Secret,
    check: Secret,
}

fn start() -> App {
    let (all, check) = (api_key([1; 32]), api_key([2; 32]));
    let caller = |name: &str, key: &Secret, scopes: &[&str]| {
        let hash = KeyHash::of(key.expose());
        format!("[[callers]]\nname = \"{name}\"\nscopes = {scopes:?}\nkey_sha256 = \"{hash}\"\n")
    };
    let settings = format!(
        "token.min_lifetime_seconds = 1\ntoken.supersede = false\naudit.sink = \"file\"\n\
         [limits]\nsource_per_minute = 0\nuser_tokens_per_hour = 0\nholder_revocations_per_minute = 1000000\n\
         [fabric]\nenabled = true\naccounts = [\"acme5678acme5678acme5678=acme\"]\n\
         [tenants.acme]\naudience = \"acme\"\n{}{}",
        caller("all", &all, &["issue", "check", "redeem", "revoke"]),
        caller("check", &check, &["check"]),
    );
    App { server: Server::start_with(&settings, &[]), all, check }
}

impl App {
    /// Runs a script that gets this, where the program is, and keys.
    fn run(&self, script: &str, mut more: Value) -> String {
        more["url"] = self.server.url.clone().into();
        more["key"] = self.all.expose().into();
        more["checkKey"] = self.check.expose().into();
        let input = self.server.folder.path().join("input.json");
        std::fs::File::create(&input).unwrap().write_all(more.to_string().as_bytes()).unwrap();
        let mut python = Tools::installed().python(script);
        let output = end_of(python.arg(&input).current_dir(self.server.folder.path()));
        assert!(output.status.success(), "{}\n{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    /// What was logged and recorded.
    fn told(&self) -> String {
        let folder = self.server.folder.path().join("audit");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let trail = files.filter(|path| path.is_file()).map(std::fs::read_to_string);
        trail.map(Result::unwrap).fold(self.server.log(), |told, text| told + &text)
    }
}

#[test]
fn every_recorded_request_is_answered_as_recorded_and_nothing_of_it_is_told() {
    let app = start();
    let parse = |text| serde_json::from_str::<Vec<Value>>(text).unwrap();
    let pairs: Vec<Value> = RECORDED.into_iter().flat_map(parse).collect();
    let count = pairs.len().to_string();
    assert_eq!(
        app.run(include_str!("../../../clients/fabric_replay.py"), json!({ "pairs": pairs }))
            .trim(),
        count
    );
    let told = app.told();
    for secret in ["ABC123", "pat@example.com", "fe6c2ce00773dc40ad6626b5", "eyJ", app.all.expose()]
    {
        assert!(!told.contains(secret), "{secret}");
    }
    for (action, route) in [
        ("check", "/api-commerceIdentity/auth/token/{token}"),
        ("issue", "/api-commerceIdentity/auth/local/reset"),
        ("redeem", "/api-commerceIdentity/auth/password"),
    ] {
        assert!(told.contains(&format!("\"action\":\"{action}\"")), "{action}");
        assert!(told.contains(route), "{route}");
    }
}

#[test]
fn no_request_made_from_the_document_gets_an_answer_that_the_document_does_not_have() {
    let app = start();
    let seed = std::env::var("RESETD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let told = app.run(
        include_str!("../../../clients/fabric_fuzz.py"),
        json!({ "document": document, "seed": seed.unwrap_or(SEED), "examples": EXAMPLES }),
    );
    assert!(told.contains("requests were made"), "{told}");
    let failed = |line: &&str| line.contains("\"level\":\"ERROR\"");
    assert_eq!(app.server.log().lines().find(failed), None);
}
