//! The metrics, as the parser of Prometheus for Python reads them.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::tools::Tools;
use crate::app::TestApp;

/// Each sample: type and unit of its family, its name, its labels and its value.
fn samples(text: &str) -> Vec<Value> {
    let mut python = Tools::installed().prometheus();
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "not read: {text}");
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_metrics_are_read_by_prometheus_also_with_odd_names_of_files() {
    let app = TestApp::start_with(|options| {
        options.rotate_every = Some(86_400);
        options.tenants = vec!["acme"];
    });
    let odd = "a \"b\"\\n{x=\"1\"} 1\nresetd_keys 9\n# EOF\n\u{85}é\r\t.jwk";
    let path = app.keystore.directory().join(odd);
    crate::vectors::write_key(&path, b"{");
    app.clock.advance(86_400);
    app.running.reload();
    app.running.rotate_due();
    let samples = samples(&app.get("/metrics").await.text);
    fs::remove_file(path).unwrap();
    let now = app.now().seconds();
    let of_default = json!({ "tenant": "default" });
    for wanted in [
        json!(["gauge", "", "resetd_keys", { "tenant": "default", "state": "active" }, 1]),
        json!(["gauge", "seconds", "resetd_active_key_age_seconds", of_default, 86_410]),
        json!(["gauge", "", "resetd_key_rotation_failing", of_default, 1]),
        json!([
            "gauge",
            "seconds",
            "resetd_key_rotation_failure_timestamp_seconds",
            of_default,
            now
        ]),
        json!(["gauge", "", "resetd_key_file_faulty", { "tenant": "default", "file": odd }, 1]),
        json!(["gauge", "", "resetd_key_rotation_failing", { "tenant": "acme" }, 0]),
    ] {
        assert!(samples.contains(&wanted), "{wanted} in {samples:#?}");
    }
}
