//! What `docs/webhooks.md` says is true: its receivers are run, and its table is compared with messages.

use std::collections::{BTreeMap, BTreeSet};

use resetd::domain::webhook::{EventKind, SecretKind, Webhook};
use resetd::webhook::Endpoint;
use serde_json::json;

use super::events::{bodies, delivery_body, json_of};
use super::receiver::{Received, Receiver};
use super::{BODY, TAKEN, now, run, secret, webhook};
use crate::docs::{blocks, read};
use crate::interop::tools::Tools;

/// Gives the receiver of the page one message per line, and tells what it made of it.
const PYTHON: &str = r#"
import json, sys
for line in sys.stdin:
    try:
        print(json.dumps(receive(**json.loads(line))["type"]))
    except Exception as error:
        print(json.dumps(f"refused: {type(error).__name__}"))
"#;
const NODE: &str = r#"
import { createInterface } from "node:readline";
for await (const line of createInterface({ input: process.stdin })) {
  const { headers, body } = JSON.parse(line);
  try {
    console.log(JSON.stringify(receive(headers, body).type));
  } catch (error) {
    console.log(JSON.stringify(`refused: ${error.constructor.name}`));
  }
}
"#;

#[test]
fn every_receiver_of_the_page_takes_a_message_once_and_no_altered_one() {
    let page = read("docs/webhooks.md");
    let (python, node) = (blocks(&page, "python"), blocks(&page, "js"));
    assert_eq!((python.len(), node.len()), (2, 2), "one for each kind of secret");
    let tools = Tools::installed();
    for (index, kind) in [SecretKind::Hmac, SecretKind::Ed25519].into_iter().enumerate() {
        let receiver = Receiver::answering(TAKEN);
        let (old, new) = (secret(kind), secret(kind));
        let known = new.public_half().unwrap_or_else(|| new.encoded().expose().to_owned());
        let webhook = Webhook { secrets: vec![old, new], ..webhook(&receiver.url()) };
        Endpoint::new(webhook).send("msg_1", now(), BODY).unwrap();
        let good = receiver.next();
        let altered = Received { body: good.body.replace("default", "acme"), ..good.clone() };
        let input = line(&altered) + &line(&good);
        let commands = [
            tools.python(&(python[index].clone() + PYTHON)),
            tools.node(&(node[index].clone() + NODE)),
        ];
        for mut command in commands {
            command.env("WEBHOOK_SECRET", &known).env("WEBHOOK_PUBLIC_KEY", &known);
            let told = run(command, &input);
            let told: Vec<String> =
                told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(told.len(), 2, "{kind:?}");
            assert!(told[0].starts_with("refused: "), "{kind:?}: {told:?}");
            assert_eq!(told[1], "webhook.test", "{kind:?}");
        }
    }
}

fn line(message: &Received) -> String {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: BTreeMap<_, _> =
        names.into_iter().map(|name| (name, message.header(name))).collect();
    json!({ "headers": headers, "body": message.body }).to_string() + "\n"
}

#[test]
fn the_table_of_events_has_every_event_with_every_member_that_it_can_have() {
    let page = read("docs/webhooks.md");
    let quoted = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(String::from).collect()
    };
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let kind = cells[0].trim_matches('`');
        if EventKind::ALL.iter().any(|known| known.type_name() == kind) {
            found.insert(kind.into(), quoted(cells[2]));
        }
    }
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for body in bodies() {
        wanted.entry(body["type"].as_str().unwrap().into()).or_default().extend(names(&body));
    }
    assert_eq!(found, wanted);
    assert_eq!(found.len(), EventKind::ALL.len());
}

#[test]
fn the_message_of_the_page_is_one_as_it_is_sent() {
    let page = read("docs/webhooks.md");
    let shown = blocks(&page, "json");
    assert!(!shown.is_empty());
    let mut webhook = webhook("https://app.example.com/");
    webhook.may_carry_token = true;
    let delivery = json_of(&delivery_body(&Endpoint::new(webhook)));
    for block in shown {
        let shown = json_of(block.as_bytes());
        let known = bodies().into_iter().chain([delivery.clone()]);
        let mut same = known.filter(|body| body["type"] == shown["type"]);
        assert!(same.any(|body| names(&body) == names(&shown)), "{block}");
    }
}

fn names(body: &serde_json::Value) -> BTreeSet<String> {
    body["data"].as_object().unwrap().keys().cloned().collect()
}
