//! Placeholder.
use crate::domain::email::EmailAddress;
use crate::domain::identifier::{CredentialId, UserId, Username};
use crate::domain::language::Language;

/// x
#[derive(Clone, Debug)]
pub struct Directory;
/// x
#[derive(Clone, Debug)]
pub struct Person {
    /// x
    pub is_enabled: bool,
    /// x
    pub email: Option<EmailAddress>,
    /// x
    pub user_id: Option<UserId>,
    /// x
    pub credential_id: Option<CredentialId>,
    /// x
    pub identity_providers: Vec<String>,
    /// x
    pub language: Option<Language>,
}
/// x
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("x")]
pub struct Unavailable;
impl Directory {
    /// x
    /// # Errors
    /// x
    #[expect(clippy::unused_async, reason = "x")]
    pub async fn find(&self, _: &Username) -> Result<Option<Person>, Unavailable> {
        Ok(None)
    }
}
