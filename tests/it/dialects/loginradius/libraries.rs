//! The vendor's own libraries, for Node and for Python, against the running program over TLS; and the form of
//! the vendor's documentation.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use resetd::domain::caller::{KeyHash, api_key};
use resetd::domain::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{KEY, PEOPLE};
use crate::interop::tools::Tools;
use crate::mail::messages::parsed;
use crate::server::{Server, run, stdout};
use crate::tls::certificates::{Authority, SETTINGS};
use crate::webhook::TAKEN;
use crate::webhook::receiver::Receiver;

const URL: &str = "https://app.example.com/resetpassword";

/// The service as the vendor's clients want it, with no mails but those that they ask for.
const LOGINRADIUS: &str = "
[audit]
sink = \"file\"
[mail]
notices = false
[link]
template = \"https://app.example.com/?vtype=reset&vtoken={token}\"
return_urls = [\"https://app.example.com/resetpassword\"]
[directory]
kind = \"file\"
file = \"people.toml\"
reveal_unknown_users = true
[loginradius]
enabled = true
api_key = \"0b5c9f1e-7a52-4b0e-9a3c-5d1f2e3a4b5c\"
caller = \"loginradius\"
";

/// The program with this dialect on, over TLS.
struct App {
    server: Server,
    secret: Secret,
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl App {
    fn start(more: impl FnOnce(&Path) -> String) -> Self {
        let authority = Authority::new();
        let folder = authority.folder();
        write_private(&folder.path().join("people.toml"), PEOPLE);
        fs::write(folder.path().join("authority.pem"), &authority.pem).unwrap();
        let secret = api_key([7; 32]);
        let hash = KeyHash::of(secret.expose());
        let caller = format!(
            "[[callers]]\nname = \"loginradius\"\nscopes = [\"issue\", \"deliver\", \"redeem\"]\nkey_sha256 = \"{hash}\"\n"
        );
        let settings = format!("{SETTINGS}{LOGINRADIUS}{caller}{}", more(folder.path()));
        let server = Server::start_in(folder, &settings, &[]);
        Self { server, secret }
    }

    fn node(&self, calls: &Value) -> Vec<Value> {
        self.outcomes(
            Tools::installed().node(include_str!("../../../clients/loginradius.mjs")),
            calls,
        )
    }

    fn python(&self, calls: &Value) -> Vec<Value> {
        self.outcomes(
            Tools::installed().python(include_str!("../../../clients/loginradius.py")),
            calls,
        )
    }

    /// What came of calls.
    #[track_caller]
    fn outcomes(&self, mut client: Command, calls: &Value) -> Vec<Value> {
        let authority = self.server.folder.path().join("authority.pem");
        for name in ["NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
            client.env(name, &authority);
        }
        let port: u16 = self.server.address().split_once(':').unwrap().1.parse().unwrap();
        let asked = json!({
            "port": port, "apiKey": KEY, "apiSecret": self.secret.expose(), "calls": calls,
        });
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = client.spawn().unwrap();
        child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Ends it, when all that was promised is sent, and reads the mails and the audit trail. That and the log
    /// have no secret of anybody.
    fn end(self) -> (Vec<Value>, Vec<Value>) {
        let (status, folder) = self.server.stop();
        assert!(status.success(), "{status}");
        let log = fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
        let files = fs::read_dir(folder.path().join("audit")).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
        let trail: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
        for secret in ["rsk_", "eyJ", "correct horse", "ann@"] {
            assert!(!log.contains(secret) && !trail.contains(secret), "{secret}");
        }
        (mails(&folder), trail.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

fn mails(folder: &TempDir) -> Vec<Value> {
    let Ok(entries) = fs::read_dir(folder.path().join("mail/new")) else { return Vec::new() };
    let files = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.map(|bytes| parsed(&bytes)).collect()
}

/// The token of a link in the vendor's form.
#[track_caller]
fn mailed_token(mail: &Value) -> String {
    assert_eq!(mail["to"], json!(["ann@example.net"]));
    let text = mail["parts"][0][1].as_str().unwrap();
    let mark = format!("{URL}?vtype=reset&vtoken=");
    let (_, rest) = text.split_once(&mark).unwrap_or_else(|| panic!("{text}"));
    assert!(!rest.contains(&mark), "one link");
    rest.split_whitespace().next().unwrap().to_owned()
}

/// The payload of a token, of whichever of its signatures.
fn payload(token: &str) -> &str {
    token.split('.').nth(1).unwrap()
}

#[track_caller]
fn token(outcome: &Value) -> String {
    let answer = &outcome["answer"];
    assert_eq!(answer["IdentityProviders"], json!(["google", "facebook"]), "{outcome}");
    answer["ForgotToken"].as_str().unwrap().to_owned()
}

fn refusal(outcome: &Value) -> &Value {
    assert_eq!(outcome["refusal"]["IsProviderError"], false, "{outcome}");
    &outcome["refusal"]["ErrorCode"]
}

/// A call of a function of a library that is set up so.
fn call_with(settings: &Value, function: &str, parameters: Value) -> Value {
    let Value::Array(parameters) = parameters else { panic!("{parameters}") };
    let (api, method) = function.split_once('.').unwrap();
    let call: Vec<_> = [api.into(), method.into()].into_iter().chain(parameters).collect();
    json!({ "settings": settings, "call": call })
}

fn call(function: &str, parameters: Value) -> Value {
    call_with(&json!({}), function, parameters)
}

/// Spends these.
fn reset(function: &str, tokens: &[&str]) -> Value {
    let model = |token: &&str| json!([{ "resettoken": token, "password": "correct horse" }]);
    tokens.iter().map(|token| call(function, model(token))).collect()
}

#[test]
fn the_library_for_node_gets_tokens_has_mails_sent_and_spends_a_token_once() {
    let app = App::start(|_| String::new());
    let forgot = "accountApi.getForgotPasswordToken";
    let mut parallel = call(forgot, json!(["ann"]));
    parallel["times"] = 8.into();
    let everything = json!({
        "PreventWebhook": true, "originIp": "192.0.2.1", "serverRegion": "eu",
        "fieldsParam": "&fields=", "fieldsValue": "Uid",
    });
    let outcomes = app.node(&json!([
        call(forgot, json!(["ann"])),
        call(forgot, json!(["ann", "template", URL, false])),
        call(forgot, json!(["ann", null, null, null])),
        call_with(&everything, forgot, json!(["ann"])),
        parallel,
        call(forgot, json!(["ann", "template", URL, true])),
        call(forgot, json!(["nobody"])),
        call(forgot, json!(["bob"])),
        call_with(&json!({ "apiKey": "other" }), forgot, json!(["ann"])),
        call_with(&json!({ "apiSecret": "wrong" }), forgot, json!(["nobody"])),
        // It counts this as one byte less than it is, so the end of the body is missing.
        call(forgot, json!(["zo\u{eb}@example.net"])),
        call(forgot, json!(["ann", null, "https://evil.example/", true])),
        // Nothing else of the vendor's API is here, and the library takes nothing for an answer.
        call("accountApi.getAccountProfileByEmail", json!(["ann@example.net"])),
    ]));
    let tokens: Vec<_> = outcomes[..13].iter().map(token).collect();
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 13);
    let codes: Vec<_> = outcomes[13..].iter().map(refusal).collect();
    assert_eq!(json!(codes), json!([938, 991, 901, 902, 1090, 908, 971]));

    let spent = app.node(&reset(
        "authenticationApi.resetPasswordByResetToken",
        &[&tokens[12], &tokens[12], &format!("{}x", tokens[0])],
    ));
    assert_eq!(spent[0], json!({ "answer": { "IsPosted": true } }));
    assert_eq!([refusal(&spent[1]), refusal(&spent[2])], [974, 1063]);
    let (mails, trail) = app.end();
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!(payload(&mailed_token(mail)), payload(&tokens[12]));
    let of = |action: &str| trail.iter().filter(|line| line["action"] == action).count();
    assert_eq!([of("issue"), of("redeem"), of("delivered")], [19, 3, 1], "{trail:?}");
    let reused: Vec<_> = trail.iter().filter(|line| line["reuse"] == true).collect();
    assert_eq!(reused.len(), 1);
    assert_eq!(reused[0]["outcome"], "token_used");
}

#[test]
fn the_library_for_python_gets_tokens_has_mails_sent_and_spends_a_token_once() {
    let app = App::start(|_| String::new());
    let forgot = "account.get_forgot_password_token";
    let mut parallel = call(forgot, json!(["ann"]));
    parallel["times"] = 8.into();
    let everything = json!({ "ORIGIN_IP": "192.0.2.1", "SERVER_REGION": "eu" });
    let outcomes = app.python(&json!([
        call(forgot, json!(["ann"])),
        call(forgot, json!(["ann", "template", URL, false])),
        parallel,
        call_with(&everything, forgot, json!(["ann"])),
        call(forgot, json!(["ann", null, URL, true])),
        call(forgot, json!(["nobody"])),
        call_with(&json!({ "API_SECRET": "wrong" }), forgot, json!(["ann"])),
        call_with(&json!({ "API_REQUEST_SIGNING": true }), forgot, json!(["ann"])),
    ]));
    let tokens: Vec<_> = outcomes[..12].iter().map(token).collect();
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 12);
    let codes: Vec<_> = outcomes[12..].iter().map(refusal).collect();
    assert_eq!(json!(codes), json!([938, 902, 1209]));

    let spent = app.python(&reset(
        "authentication.reset_password_by_reset_token",
        &[&tokens[11], &tokens[11], "junk"],
    ));
    assert_eq!(spent[0], json!({ "answer": { "IsPosted": true } }));
    assert_eq!([refusal(&spent[1]), refusal(&spent[2])], [974, 1063]);
    let (mails, _) = app.end();
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!(payload(&mailed_token(mail)), payload(&tokens[11]));
}

#[test]
fn the_libraries_have_a_link_sent_without_a_secret_and_learn_of_no_user() {
    let app = App::start(|_| String::new());
    let calls = |function| json!(["ann", "nobody"].map(|user| call(function, json!([user, URL]))));
    let posted = json!({ "answer": { "IsPosted": true } });
    let node = app.node(&calls("authenticationApi.forgotPassword"));
    assert_eq!(node, [posted.clone(), posted.clone()]);
    let python = app.python(&calls("authentication.forgot_password"));
    assert_eq!(python, [posted.clone(), posted]);
    let (mails, trail) = app.end();
    assert_eq!(mails.len(), 2);
    let of = |action: &str, outcome: &str| {
        let is_it = |line: &&Value| line["action"] == action && line["outcome"] == outcome;
        trail.iter().filter(is_it).filter(|line| line["caller"] == "loginradius").count()
    };
    let found = [of("deliver", "ok"), of("delivered", "ok"), of("delivered", "user_unknown")];
    assert_eq!(found, [4, 2, 2], "{trail:?}");
    let tokens: BTreeSet<_> = mails.iter().map(mailed_token).collect();
    assert_eq!(tokens.len(), 2);
}

#[test]
fn a_library_that_prevents_webhooks_has_none_told_of_its_tokens() {
    let receiver = Receiver::answering(TAKEN);
    let app = App::start(|folder| {
        let secret = stdout(&run(folder, &["webhook", "secret"]));
        write_private(&folder.join("webhook.secret"), secret.trim());
        let url = receiver.url();
        format!(
            "[[webhooks]]\nname = \"app\"\nurl = \"{url}\"\nevents = [\"issued\", \"delivered\"]\nsecret_files = [\"webhook.secret\"]\n"
        )
    });
    let calls = |prevents: bool| {
        let settings = json!({ "PreventWebhook": prevents });
        let forgot = |sends_mail: bool| {
            let parameters = json!(["ann", "template", URL, sends_mail]);
            call_with(&settings, "accountApi.getForgotPasswordToken", parameters)
        };
        json!([forgot(false), forgot(true)])
    };
    app.node(&calls(true)).iter().for_each(|outcome| drop(token(outcome)));
    let tokens: Vec<_> = app.node(&calls(false)).iter().map(token).collect();
    assert_eq!(app.end().0.len(), 2);
    let mut events: Vec<_> = (0..3)
        .map(|_| {
            let event: Value = serde_json::from_str(&receiver.next().body).unwrap();
            let kind = event["type"].as_str().unwrap().to_owned();
            (kind, event["data"]["tokenId"].as_str().unwrap().to_owned())
        })
        .collect();
    events.sort();
    assert!(receiver.has_none());
    let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    let [delivered, issued] = ["delivered", "issued"].map(|kind| format!("password-token.{kind}"));
    assert_eq!(kinds, [&delivered, &issued, &issued]);
    let ids: BTreeSet<_> = events.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids.len(), tokens.len());
}

#[test]
fn a_body_that_is_cut_off_is_answered_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("people.toml"), PEOPLE);
    let settings = LOGINRADIUS.replace("caller = \"loginradius\"\n", "")
        + "[server]\nbody_timeout_seconds = 600\n";
    let server = Server::start_in(folder, &settings, &[]);
    let body = "{\"email\": \"zo";
    let request = format!(
        "POST /identity/v2/manage/account/forgot/token?apiKey={KEY} HTTP/1.1\r\nHost: a\r\nX-LoginRadius-ApiSecret: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        server.api_key,
        body.len()
    );
    let answer = server.exchange(request.as_bytes());
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"ErrorCode\":1090"),
        "{answer}"
    );
}
