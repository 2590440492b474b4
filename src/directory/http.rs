//! A service that answers for one user with one JSON object, and the exchange itself, which SCIM needs too.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, header};
use ureq::tls::{Certificate, RootCerts};
use ureq::{Agent, Error};

use super::OpenError;
use super::json::{flag, needed_text, object, text, texts};
use super::person::{Person, Told, language};
use super::trust::certificates;
use crate::domain::directory::{UserUrl, WebAccess};
use crate::domain::identifier::Username;
use crate::domain::secret::Secret;
use crate::fetch;

/// A service with a format of ours.
pub(super) struct JsonService {
    url: UserUrl,
    web: Web,
}

impl JsonService {
    pub(super) fn open(
        url: UserUrl,
        access: WebAccess,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let web = Web::open(access, timeout)?;
        Ok(Self { url, web })
    }

    /// Waits for the network.
    pub(super) fn find(
        &self,
        username: &Username,
        left: Duration,
    ) -> Result<Option<Person>, String> {
        let cannot = "a name of dots, or with a slash, cannot be asked for in the path of a URL; put {username} into the query of directory.url instead";
        let url = self.url.of(username).ok_or(cannot)?;
        let answer = self.web.get(&url, "application/json", left)?;
        let origin = self.url.origin();
        match answer.status {
            StatusCode::OK => person(&answer.body, username).map(Some),
            StatusCode::NOT_FOUND if answer.is_json && object(&answer.body).is_ok() => Ok(None),
            // So answer servers and proxies that know nothing of users, where the URL is wrong.
            StatusCode::NOT_FOUND => Err(format!(
                "{origin} answered 404 without a JSON object, which may be no word about the user"
            )),
            status => Err(format!("{origin} answered {status}, wanted 200 or 404")),
        }
    }
}

fn person(body: &[u8], asked: &Username) -> Result<Person, String> {
    let told = object(body)?;
    let username = needed_text(&told, "username")?;
    if username != asked.as_str() {
        return Err("the answer is about another user than was asked for".into());
    }
    let person = Told {
        username,
        is_disabled: flag(&told, "enabled")? == Some(false),
        email: text(&told, "email")?,
        user_id: text(&told, "userId")?,
        credential_id: text(&told, "credentialId")?,
        identity_providers: texts(&told, "identityProviders")?,
        language: language(text(&told, "language")?)?,
    };
    person.into_person()
}

/// What was answered over the web.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    is_json: bool,
    pub(super) body: Vec<u8>,
}

/// Who is asked over the web, and how.
pub(super) struct Web {
    agent: Agent,
    token: Option<Secret>,
}

impl Web {
    pub(super) fn open(access: WebAccess, timeout: Duration) -> Result<Self, OpenError> {
        let trusted = match &access.ca_file {
            None => RootCerts::PlatformVerifier,
            Some(path) => {
                let found = certificates(path)?;
                found.iter().map(|der| Certificate::from_der(der).to_owned()).into()
            }
        };
        let agent = fetch::direct_agent(trusted, timeout);
        Ok(Self { agent, token: access.token })
    }

    /// The URL has the name of a user in it, so no reason repeats it.
    pub(super) fn get(&self, url: &str, accept: &str, left: Duration) -> Result<Answer, String> {
        let mut request = self.agent.get(url).header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        let answer = request.config().timeout_global(Some(left)).build().call();
        let mut answer = answer.map_err(|error| reason(&error))?;
        let (status, is_json) = (answer.status(), is_json(answer.headers()));
        let body = answer.body_mut().with_config().limit(fetch::MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| reason(&error))?;
        Ok(Answer { status, is_json, body })
    }
}

/// Of JSON, as data or as a problem (RFC 9457).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    ["application/json", "application/problem+json"].iter().any(|it| kind.eq_ignore_ascii_case(it))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only what is told here repeats no URL")]
fn reason(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "no answer in time".into(),
        Error::Io(error) => format!("the connection failed: {error}"),
        Error::Rustls(error) => format!("the connection failed: {error}"),
        Error::HostNotFound => "the name of its host is not known".into(),
        Error::BodyExceedsLimit(most) => format!("the answer is longer than {most} bytes"),
        Error::Protocol(_) => "the answer is not as HTTP has it".into(),
        _ => "the exchange failed".into(),
    }
}
