//! What a caller wants: a user by any of the vendor's names, and the parameters that come with it.

use axum::extract::{FromRequest as _, Request};
use axum::http::header;
use resetd_verify::json::{self, JsonError, Object, Value};

use super::entrance::{Differ, Visit, flag, same};
use super::refusal::Refusal;
use crate::domain::email::EmailAddress;
use crate::domain::identifier::Username;
use crate::domain::issue::IssueRequest;
use crate::domain::language::Language;
use crate::domain::order::Channel;
use crate::domain::policy::Expiry;
use crate::domain::secret::Secret;
use crate::http::body::JsonBody;
use crate::http::problem::{Problem, ProblemKind};
use crate::service::{DeliveryRequest, Tenant};

/// The names of the member that says who a user is, in any case.
const USER: [&str; 4] = ["username", "email", "phone", "phoneid"];

/// A token for a user, perhaps by mail.
pub(super) struct Wish {
    pub(super) username: Username,
    pub(super) sends_mail: bool,
    /// Whether webhooks are not to be told.
    pub(super) prevents_webhooks: bool,
    return_url: Option<String>,
    languages: Vec<Language>,
}

impl Wish {
    /// Reads one. What is not named here is passed over, as the vendor does.
    pub(super) async fn read(visit: &Visit, request: Request) -> Result<Self, Refusal> {
        let body = read(request).await?;
        let username = text_of(&object(&body)?, &USER)?;
        let username =
            username.ok_or_else(|| Refusal::parameter("The email is a required parameter."))?;
        let username = Username::parse(&username).ok_or_else(|| {
            Refusal::parameter(
                "The user is named by 1 to 256 bytes of text in Unicode form NFC, without control characters.",
            )
        })?;
        let (parameters, headers) = (&visit.parameters, &visit.headers);
        let of_header = headers.get("x-preventwebhook").map(|value| value.to_str().unwrap_or("?"));
        let prevents_webhooks = match of_header {
            Some(text) => flag(text),
            None => parameters.flag("prevent_webhook"),
        };
        let sends_mail = parameters.flag("sendemail");
        let once = |_: Differ| Refusal::parameter("The resetpasswordurl is there twice.");
        let return_url = parameters.one("resetpasswordurl").map_err(once)?;
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Self {
            username,
            sends_mail: sends_mail
                .ok_or_else(|| Refusal::parameter("The sendemail is \"true\" or \"false\"."))?,
            prevents_webhooks: prevents_webhooks.ok_or_else(|| {
                Refusal::parameter("The prevent_webhook is \"true\" or \"false\".")
            })?,
            return_url: return_url.map(ToOwned::to_owned),
            languages: accepted.map(Language::accepted).unwrap_or_default(),
        })
    }

    /// The token that is wanted.
    pub(super) fn issue(&self) -> IssueRequest {
        IssueRequest {
            username: self.username.clone(),
            credential_id: None,
            credential_version: None,
            user_id: None,
            expiry: Expiry::Default,
        }
    }

    /// The mail that is wanted. It goes where the directory says; without one the user's name is the address.
    pub(super) fn delivery(&self, tenant: &Tenant) -> Result<DeliveryRequest, Refusal> {
        let sending = tenant.sending();
        let to = if sending.users.is_some() {
            None
        } else {
            let address = EmailAddress::parse(self.username.as_str());
            Some(address.ok_or_else(|| {
                Refusal::parameter(
                    "The email is wanted for a mail, since no directory knows that of the user.",
                )
            })?)
        };
        let return_url = self.return_url.as_deref().map(|url| {
            let allowed = sending.return_urls.allow(url).map(|url| url.as_str().to_owned());
            allowed.ok_or_else(|| Refusal::parameter("The resetpasswordurl is not allowed."))
        });
        Ok(DeliveryRequest {
            issue: self.issue(),
            channel: Channel::Email,
            to,
            languages: self.languages.clone(),
            return_url: return_url.transpose()?,
        })
    }
}

/// The token of a request to spend one. Nothing else of it is looked at.
pub(super) async fn token(request: Request) -> Result<Secret, Refusal> {
    let body = read(request).await?;
    let token = text_of(&object(&body)?, &["resettoken"])?;
    let token = token.map(Secret::new);
    token.ok_or_else(|| Refusal::parameter("The resettoken is a required parameter."))
}

async fn read(request: Request) -> Result<JsonBody, Refusal> {
    Ok(JsonBody::from_request(request, &()).await?)
}

fn object(body: &JsonBody) -> Result<Object<'_>, Refusal> {
    json::parse_object(body.bytes()).map_err(|error| match error {
        JsonError::NotAnObject => Refusal::no_object(),
        JsonError::NotUtf8
        | JsonError::Syntax { .. }
        | JsonError::DuplicateMember { .. }
        | JsonError::TooDeep
        | JsonError::TooManyMembers
        | JsonError::NumberTooLong => Problem::new(ProblemKind::MalformedJson).into(),
    })
}

/// The text of a member that has one of these names, in any case. `null` and an empty text are none.
fn text_of(object: &Object<'_>, names: &[&str]) -> Result<Option<String>, Refusal> {
    let is_wanted = |name: &&str| names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted));
    let mut texts = Vec::new();
    for name in object.names().filter(is_wanted) {
        match object.member(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::String(text)) => texts.push(text.as_ref()),
            Some(_) => return Err(Refusal::parameter("Users and tokens are texts.")),
        }
    }
    let one = same(texts.into_iter());
    let twice = |_: Differ| Refusal::parameter("The body names two of what is wanted once.");
    Ok(one.map_err(twice)?.map(ToOwned::to_owned))
}
