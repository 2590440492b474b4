//! Access tokens of an identity provider (RFC 9068), by which its clients may call: who issued one, and
//! what it grants here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use resetd_verify::json::{self, Object, Value};
use resetd_verify::{KeyId, KeySet, PublicKey, Timestamp};
use signature::Verifier as _;

use super::caller::{Caller, Scope};
use super::policy::TenantName;

/// Longest token in bytes.
const MAX_BYTES: usize = 8192;
/// Seconds granted to clocks that disagree.
const LEEWAY: u64 = 60;
/// Longest `client_id` that is taken as a name.
const MAX_CLIENT: usize = 128;
/// The most keys of one issuer.
const MAX_KEYS: usize = 64;

/// An identity provider, as configured.
#[derive(Clone, Debug)]
pub struct BearerIssuer {
    /// Its name here, for logs.
    pub name: String,
    /// `iss` of its tokens.
    pub issuer: String,
    /// `aud` of the tokens that are meant for this service.
    pub audience: String,
    /// The tenant that its clients act for.
    pub tenant: TenantName,
    /// What stands in its scopes before the name of one of ours.
    pub scope_prefix: String,
    /// The most that its tokens can grant.
    pub scopes: Vec<Scope>,
    /// Where its clients may call from; anywhere, if there are none.
    pub networks: Vec<IpNet>,
}

/// Why a token lets nobody in. What it says is not repeated: it is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// It is no signed JWT.
    #[error("it is not a JWT in its compact form")]
    Malformed,
    /// It is a JWT for something else.
    #[error("its typ is not at+jwt (RFC 9068)")]
    WrongType,
    /// It asks for an extension that is not known.
    #[error("it has a crit header")]
    Critical,
    /// None of the keys is the one that it names.
    #[error("its kid is none of the issuer's keys")]
    UnknownKey,
    /// The signature is not good, or not by the key's algorithm.
    #[error("its signature is not good")]
    BadSignature,
    /// Another issuer.
    #[error("its iss is not the configured issuer")]
    WrongIssuer,
    /// It is meant for another service.
    #[error("its aud is not the configured audience")]
    WrongAudience,
    /// Its time is over, has not come, or is not told.
    #[error("its exp, iat or nbf does not fit the present time")]
    WrongTime,
    /// It does not say who calls.
    #[error("it has no client_id, or none that can stand in a log")]
    NoClient,
}

impl BearerIssuer {
    /// Who calls with this token, and what they may do.
    ///
    /// # Errors
    /// [`BearerError`], the first check that fails.
    pub fn open(
        &self,
        token: &str,
        keys: &KeySet,
        now: Timestamp,
    ) -> Result<Arc<Caller>, BearerError> {
        let payload = proven_payload(token, keys)?;
        let claims = json::parse_object(&payload).map_err(|_| BearerError::Malformed)?;
        let text = |name| claims.member(name).and_then(Value::as_str);
        if text("iss") != Some(&self.issuer) {
            return Err(BearerError::WrongIssuer);
        }
        if !names(&claims, "aud", &self.audience) {
            return Err(BearerError::WrongAudience);
        }
        check_times(&claims, now)?;
        let client = text("client_id").filter(|it| is_client(it)).ok_or(BearerError::NoClient)?;
        Ok(Arc::new(Caller {
            name: format!("{}:{client}", self.name),
            tenant: self.tenant.clone(),
            scopes: self.granted(text("scope").unwrap_or_default()),
            keys: Vec::new(),
            networks: self.networks.clone(),
        }))
    }

    /// Those of its scopes that are ours and that it may grant.
    fn granted(&self, scope: &str) -> Vec<Scope> {
        let ours = scope.split(' ').filter_map(|name| name.strip_prefix(&*self.scope_prefix));
        ours.filter_map(Scope::parse).filter(|scope| self.scopes.contains(scope)).collect()
    }
}

/// The keys of an issuer. It may have others beside those that sign for us, so what cannot be used is
/// passed over.
pub fn bearer_keys(jwks: &[u8]) -> Option<KeySet> {
    let set = json::parse_object(jwks).ok()?;
    let Value::Array(keys) = set.member("keys")? else {
        return None;
    };
    let key = |key: &Value<'_>| {
        let Value::Object(jwk) = key else { return None };
        PublicKey::from_jwk(jwk).ok()
    };
    let mut known: Vec<PublicKey> = keys.iter().take(MAX_KEYS).filter_map(key).collect();
    // Of two by one name nobody can say which is meant.
    let names: Vec<KeyId> = known.iter().map(|key| key.kid().clone()).collect();
    known.retain(|key| names.iter().filter(|name| *name == key.kid()).count() == 1);
    KeySet::from_keys(known).ok().filter(|it| !it.is_empty())
}

/// The claims of a token whose signature is good. Nothing of them is looked at before.
fn proven_payload(token: &str, keys: &KeySet) -> Result<Vec<u8>, BearerError> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BearerError::Malformed);
    };
    let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| BearerError::Malformed);
    if token.len() > MAX_BYTES {
        return Err(BearerError::Malformed);
    }
    let header_json = decode(header)?;
    let (payload, signature) = (decode(claims)?, decode(signature)?);
    let parameters = json::parse_object(&header_json).map_err(|_| BearerError::Malformed)?;
    let text = |name| parameters.member(name).and_then(Value::as_str);
    if !matches!(text("typ"), Some("at+jwt" | "application/at+jwt")) {
        return Err(BearerError::WrongType);
    }
    if parameters.member("crit").is_some() {
        return Err(BearerError::Critical);
    }
    let kid = text("kid").and_then(KeyId::parse).ok_or(BearerError::UnknownKey)?;
    let key = keys.key(&kid).ok_or(BearerError::UnknownKey)?;
    // The key names the algorithm (RFC 8725 §3.1).
    if text("alg") != Some(key.algorithm().name()) {
        return Err(BearerError::BadSignature);
    }
    let signed = &token.as_bytes()[..header.len() + 1 + claims.len()];
    key.verifying_key().verify(signed, &signature).map_err(|_| BearerError::BadSignature)?;
    Ok(payload)
}

fn check_times(claims: &Object<'_>, now: Timestamp) -> Result<(), BearerError> {
    let time = |name| match claims.member(name) {
        None => Ok(None),
        Some(Value::Integer(seconds)) => u64::try_from(*seconds)
            .map(|seconds| Some(Timestamp::from_seconds(seconds)))
            .map_err(|_| BearerError::WrongTime),
        Some(_) => Err(BearerError::WrongTime),
    };
    let (Some(exp), Some(iat), nbf) = (time("exp")?, time("iat")?, time("nbf")?) else {
        return Err(BearerError::WrongTime);
    };
    let is_early = |time: Timestamp| time > now.plus(LEEWAY);
    if now >= exp.plus(LEEWAY) || is_early(iat) || nbf.is_some_and(is_early) {
        return Err(BearerError::WrongTime);
    }
    Ok(())
}

/// Whether a claim is this text, or a list that has it.
fn names(claims: &Object<'_>, name: &str, wanted: &str) -> bool {
    match claims.member(name) {
        Some(Value::String(text)) => text == wanted,
        Some(Value::Array(list)) => list.iter().any(|item| item.as_str() == Some(wanted)),
        _ => false,
    }
}

/// Whether a text can stand for a caller in logs.
fn is_client(text: &str) -> bool {
    (1..=MAX_CLIENT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
