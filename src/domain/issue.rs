//! Turns one request into one signed token. Pure: the caller brings the key, the time and the
//! randomness.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resetd_verify::{Claims, Timestamp, TokenId};
use signature::Signer as _;

use super::binding::{Bound, CredentialVersion};
use super::identifier::{CredentialId, UserId, Username};
use super::keyring::Key;
use super::policy::{Expiry, Policy, PolicyError};
use super::secret::Secret;

/// What an app asks for.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// Who may set a password.
    pub username: Username,
    /// For which credential.
    pub credential_id: Option<CredentialId>,
    /// In which version of it.
    pub credential_version: Option<CredentialVersion>,
    /// The app's own identifier of the user.
    pub user_id: Option<UserId>,
    /// How long.
    pub expiry: Expiry,
}

/// A signed token and what it says.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The compact serialization. Whoever holds it can set the password.
    pub token: Secret,
    /// Its claims.
    pub claims: Claims,
}

/// Why no token was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The request is outside the policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The key did not sign.
    #[error("the key did not sign")]
    SigningFailed,
}

/// Signs a token for `request` with `key`.
///
/// # Errors
/// [`IssueError`].
pub fn issue(
    request: &IssueRequest,
    policy: &Policy,
    key: &Key,
    now: Timestamp,
    jti: TokenId,
) -> Result<IssuedToken, IssueError> {
    let mut claims = claims(request, policy, now, jti)?;
    let (username, credential_id) = (&claims.sub, claims.credential_id.as_deref());
    let bound = Bound { jti, username, credential_id };
    let version = request.credential_version.as_ref();
    claims.credential_version = version.map(|version| key.binding().tag(&bound, version));
    let token = sign(&claims, key)?;
    Ok(IssuedToken { token, claims })
}

/// What a token will say, but for the version of its credential, which only the key that signs can tell.
///
/// # Errors
/// [`PolicyError`].
pub fn claims(
    request: &IssueRequest,
    policy: &Policy,
    now: Timestamp,
    jti: TokenId,
) -> Result<Claims, PolicyError> {
    Ok(Claims {
        iss: policy.issuer.clone(),
        aud: vec![policy.audience.clone()],
        sub: request.username.as_str().into(),
        credential_id: request.credential_id.as_ref().map(|id| id.as_str().into()),
        credential_version: None,
        user_id: request.user_id.as_ref().map(|id| id.as_str().into()),
        iat: now,
        exp: policy.expiry(request.expiry, now)?,
        nbf: None,
        jti,
        status: None,
    })
}

/// JWS Signing Input and signature (RFC 7515 §5.1).
fn sign(claims: &Claims, key: &Key) -> Result<Secret, IssueError> {
    let payload = serde_json::to_vec(claims).map_err(|_| IssueError::SigningFailed)?;
    let mut token = String::with_capacity(700);
    token.push_str(key.encoded_header());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature =
        key.signing_key().try_sign(token.as_bytes()).map_err(|_| IssueError::SigningFailed)?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(Secret::new(token))
}
