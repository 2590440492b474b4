//! A service that answers for one user with one JSON object, and the exchange itself, which SCIM needs too.

use std::time::Duration;

use ureq::http::StatusCode;
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
        let web = Web::open(&url.to_string(), access, timeout)?;
        Ok(Self { url, web })
    }

    /// Waits for the network.
    pub(super) fn find(
        &self,
        username: &Username,
        left: Duration,
    ) -> Result<Option<Person>, String> {
        let cannot = "a name of dots cannot be asked for in the path of a URL";
        let url = self.url.of(username).ok_or(cannot)?;
        match self.web.get(&url, "application/json", left)? {
            (StatusCode::OK, body) => person(&body, username).map(Some),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => Err(format!("{} answered {status}, wanted 200 or 404", self.url)),
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

/// Who is asked over the web, and how.
pub(super) struct Web {
    agent: Agent,
    token: Option<Secret>,
}

impl Web {
    pub(super) fn open(url: &str, access: WebAccess, timeout: Duration) -> Result<Self, OpenError> {
        let trusted = match &access.ca_file {
            None => RootCerts::PlatformVerifier,
            Some(path) => {
                let found = certificates(path)?;
                found.iter().map(|der| Certificate::from_der(der).to_owned()).into()
            }
        };
        let agent = fetch::agent_trusting(url, timeout, trusted);
        Ok(Self { agent, token: access.token })
    }

    /// Status and body of the answer. The URL has the name of a user in it, so no reason repeats it.
    pub(super) fn get(
        &self,
        url: &str,
        accept: &str,
        left: Duration,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let mut request = self.agent.get(url).header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        let answer = request.config().timeout_global(Some(left)).build().call();
        let mut answer = answer.map_err(|error| reason(&error))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(fetch::MAX_ANSWER_BYTES).read_to_vec();
        Ok((status, body.map_err(|error| reason(&error))?))
    }
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
