//! `resetd issue | redeem | revoke | config reload`: a client of a running service.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use resetd_verify::UnverifiedToken;
use serde_json::{Map, Value, json};
use ureq::Body;
use ureq::http::Response;
use zeroize::Zeroizing;

use super::output::{Output, facts, remark};
use super::{Outcome, token};
use crate::config::read_text;
use crate::domain::caller::is_api_key;
use crate::domain::secret::Secret;
use crate::fetch::{self, MAX_ANSWER_BYTES};

/// Refusals of a token that is good, and not for what was named beside it.
const MISMATCHES: [&str; 2] = ["credential_mismatch", "credential_version_mismatch"];
/// Time for one whole exchange.
const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
struct Service {
    /// Where the service is
    #[arg(long, env = "RESETD_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// File that holds the API key; the environment variable `RESETD_API_KEY` is the other way
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct IssueArgs {
    /// Whose password may be set
    username: String,
    /// The credential that may be reset
    #[arg(long, value_name = "ID")]
    credential_id: Option<String>,
    /// The present version of the credential; the token is good for no other
    #[arg(long, value_name = "TEXT")]
    credential_version: Option<String>,
    /// The app's own identifier of the user
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Life of the token in seconds
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
    #[command(flatten)]
    service: Service,
}

#[derive(Debug, clap::Args)]
pub(super) struct RedeemArgs {
    /// The token, or - to read it from standard input
    #[arg(value_parser = token::argument)]
    token: Secret,
    /// Spend it only if it is for this credential
    #[arg(long, value_name = "ID")]
    credential_id: Option<String>,
    /// The present version of the credential, if the token was issued with one
    #[arg(long, value_name = "TEXT")]
    credential_version: Option<String>,
    #[command(flatten)]
    service: Service,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct RevokeArgs {
    /// The token, or - to read it from standard input
    #[arg(group = "what", value_parser = token::argument)]
    token: Option<Secret>,
    /// The identifier (jti) of one token
    #[arg(long, value_name = "JTI", group = "what", allow_hyphen_values = true)]
    token_id: Option<String>,
    /// All tokens of this user
    #[arg(long, value_name = "NAME", group = "what")]
    user: Option<String>,
    /// All tokens of all users
    #[arg(long, group = "what")]
    everything: bool,
    /// Only those issued before this time
    #[arg(long, value_name = "TIME", conflicts_with_all = ["token", "token_id"])]
    before: Option<String>,
    #[command(flatten)]
    service: Service,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    service: Service,
}

/// Has a running service read its configuration again.
pub(super) fn reload(args: &ReloadArgs, output: Output) -> Result<Outcome> {
    let answer = args.service.post("/admin/config/reload", &json!({}), "status")?;
    answer.show(output, |answer| {
        let list = |name: &str| {
            let items = answer[name].as_array().into_iter().flatten();
            let items: Vec<_> = items.filter_map(Value::as_str).collect();
            if items.is_empty() { "-".into() } else { items.join(", ") }
        };
        facts([("in force now", list("applied")), ("needs a restart", list("needsRestart"))])
    })
}

pub(super) fn issue(args: &IssueArgs, output: Output) -> Result<Outcome> {
    let body = members([
        ("username", Some(args.username.as_str().into())),
        ("credentialId", args.credential_id.as_deref().map(Into::into)),
        ("credentialVersion", args.credential_version.as_deref().map(Into::into)),
        ("userId", args.user_id.as_deref().map(Into::into)),
        ("ttl", args.ttl.map(Into::into)),
    ]);
    args.service.post("/password-tokens", &body, "token")?.show(output, |answer| {
        facts([
            ("token", text(answer, "token")),
            ("username", text(answer, "username")),
            ("expires", text(answer, "expiredTime")),
        ])
    })
}

pub(super) fn redeem(args: &RedeemArgs, output: Output) -> Result<Outcome> {
    let token = token::read(args.token.expose())?;
    if let Some(answer) = broken(&token) {
        return answer.show(output, |_| String::new());
    }
    let body = members([
        ("token", Some(token.into())),
        ("credentialId", args.credential_id.as_deref().map(Into::into)),
        ("credentialVersion", args.credential_version.as_deref().map(Into::into)),
    ]);
    args.service.post("/redemptions", &body, "tokenId")?.show(output, |answer| {
        facts([
            ("redeemed", text(answer, "redeemedTime")),
            ("username", text(answer, "username")),
            ("credential", text(answer, "credentialId")),
            ("token id", text(answer, "tokenId")),
        ])
    })
}

pub(super) fn revoke(args: &RevokeArgs, output: Output) -> Result<Outcome> {
    let token = args.token.as_ref().map(Secret::expose).map(token::read).transpose()?;
    if let Some(answer) = token.as_deref().and_then(broken) {
        return answer.show(output, |_| String::new());
    }
    let before = args.before.clone().or_else(|| args.everything.then(|| "now".into()));
    let body = members([
        ("token", token.map(Into::into)),
        ("tokenId", args.token_id.as_deref().map(Into::into)),
        ("username", args.user.as_deref().map(Into::into)),
        ("before", before.map(Into::into)),
    ]);
    args.service.post("/revocations", &body, "revoked")?.show(output, |answer| {
        facts([("revoked", text(answer, "revoked")), ("issued before", text(answer, "before"))])
    })
}

/// What the service said.
enum Answer {
    /// It was done.
    Done(Value),
    /// The token is not valid, or not for this.
    NotValid(Value),
}

/// The answer to a text that has not the form of a token. The service is not asked: it calls any text
/// revoked, and the token that was meant would live on unnoticed.
fn broken(token: &str) -> Option<Answer> {
    let error = UnverifiedToken::parse(token).err()?;
    let reason = token::mend(token).unwrap_or_else(|| error.to_string());
    let problem = json!({ "code": "token_unknown", "title": "No such token", "detail": reason });
    Some(Answer::NotValid(problem))
}

impl Answer {
    fn show(self, output: Output, lines: impl FnOnce(&Value) -> String) -> Result<Outcome> {
        match self {
            Self::Done(answer) => {
                output.print(&answer, || lines(&answer))?;
                Ok(Outcome::Done)
            }
            Self::NotValid(problem) => {
                output.print(&problem, || {
                    facts([
                        ("valid", "no".into()),
                        ("code", text(&problem, "code")),
                        ("reason", text(&problem, "title")),
                        ("mend", text(&problem, "detail")),
                    ])
                })?;
                Ok(Outcome::NotValid)
            }
        }
    }
}

impl Service {
    /// Only an answer with the member `proof` counts as done: anything may listen at a wrong URL.
    fn post(&self, path: &str, body: &Value, proof: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let key = self.api_key()?;
        let mut response = fetch::agent(&url, TIMEOUT)
            .post(&url)
            .header("Authorization", format!("Bearer {}", key.expose()))
            .header("Content-Type", "application/json")
            .send(body.to_string())
            .map_err(|error| {
                anyhow!("cannot reach {url}: {error}; is it running? --url says where")
            })?;
        let status = response.status();
        let answer: Value = serde_json::from_slice(&read(&mut response)?).with_context(|| {
            format!("{url} answered {status} with something that is not JSON: is it resetd?")
        })?;
        match answer["code"].as_str() {
            None if status.is_success() && answer[proof].is_string() => Ok(Answer::Done(answer)),
            None => bail!("{url} answered {status} with JSON of another kind: is it resetd?"),
            Some(code) if code.starts_with("token_") || MISMATCHES.contains(&code) => {
                Ok(Answer::NotValid(answer))
            }
            Some(_) => Err(failure(&url, &answer)),
        }
    }

    /// From a file or the environment, never from an argument: those are seen by everybody.
    fn api_key(&self) -> Result<Secret> {
        let (text, origin) = if let Some(file) = &self.api_key_file {
            let text = read_text(file)
                .with_context(|| format!("cannot read the API key {}", file.display()))?;
            (text, file.display().to_string())
        } else {
            let Some(text) = std::env::var_os("RESETD_API_KEY") else {
                bail!("no API key; set RESETD_API_KEY or give --api-key-file FILE");
            };
            let text = text.to_string_lossy().into_owned();
            (Zeroizing::new(text), "RESETD_API_KEY".into())
        };
        let key = Secret::new(text.strip_suffix('\n').unwrap_or(&text));
        if is_api_key(key.expose()) {
            return Ok(key);
        }
        let found = match key.expose().find(char::is_whitespace) {
            Some(at) => format!("white space after {at} characters"),
            None => format!("{} bytes of another form", key.expose().len()),
        };
        bail!("{origin}: wanted an API key, rsk_ and 52 characters of a-z 2-7; found {found}")
    }
}

fn failure(url: &str, answer: &Value) -> anyhow::Error {
    let fields = answer["invalidFields"].as_array().into_iter().flatten();
    for field in fields {
        remark(&format!("  {}: {}", text(field, "field"), text(field, "message")));
    }
    let reason = answer["reason"].as_str().map(|reason| format!(" ({reason})"));
    let (title, detail) = (text(answer, "title"), text(answer, "detail"));
    anyhow!("{url} refused: {title}{}. {detail}", reason.unwrap_or_default())
}

/// Fetches a small public document.
pub(super) fn get(url: &str) -> Result<Vec<u8>> {
    fetch::get(url, TIMEOUT).map_err(|error| anyhow!(error))
}

fn read(response: &mut Response<Body>) -> Result<Vec<u8>> {
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
    body.context("the answer broke off or is too long")
}

fn members<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or("-").into()
}
