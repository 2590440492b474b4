//! `resetd verify`: the checks of an edge, on the command line.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use resetd_verify::{KeySet, MAX_LEEWAY, Timestamp, VerifiedToken, Verifier, VerifyError};
use serde_json::json;

use super::client::get;
use super::output::{Output, facts, remark};
use super::{Outcome, Settings, named_tenant, token};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Tenant, read_text};
use crate::domain::policy::TenantName;
use crate::domain::secret::Secret;
use crate::domain::time::{from_rfc3339, to_rfc3339};
use crate::serve::key_folder;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The token, or - to read it from standard input
    #[arg(value_parser = token::argument)]
    token: Secret,
    /// Public keys: a file or a URL. Without it, the folder of keys is used
    #[arg(long, value_name = "FILE|URL")]
    jwks: Option<String>,
    /// Folder of private keys, whose public halves are used
    #[arg(long, value_name = "DIR", conflicts_with = "jwks")]
    keys: Option<String>,
    /// Tenant whose issuer, audience and keys are taken where they are not given
    #[arg(long, value_name = "NAME", default_value = TenantName::DEFAULT)]
    tenant: String,
    /// Issuer to trust; the configured one by default
    #[arg(long)]
    issuer: Option<String>,
    /// Audience to be; the configured one by default
    #[arg(long)]
    audience: Option<String>,
    /// Seconds granted to clocks that disagree, at most 60; the configured ones by default
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=MAX_LEEWAY))]
    leeway: Option<u64>,
    /// Verify as of this time instead of now: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let seconds = || text.parse().ok().map(Timestamp::from_seconds);
    seconds().or_else(|| from_rfc3339(text)).ok_or_else(|| {
        "wanted a time such as 2026-01-31T12:00:00Z, or whole seconds since 1970".into()
    })
}

pub(super) fn run(settings: &Settings, args: &Args, output: Output) -> Result<Outcome> {
    let config = settings.config(&[("--keys", "keys.directory", args.keys.as_deref())])?;
    let tenant = named_tenant(&config, &args.tenant)?;
    let policy = &tenant.policy;
    let now = args.at.unwrap_or_else(|| SystemClock::new().now());
    let keys = key_set(args, &config, tenant, now)?;
    let verifier = Verifier::new(
        args.issuer.as_deref().unwrap_or(&policy.issuer),
        args.audience.as_deref().unwrap_or(&policy.audience),
    )
    .with_leeway(args.leeway.unwrap_or(policy.leeway))
    .with_max_lifetime(policy.lifetime.max);
    let token = token::read(args.token.expose())?;
    match verifier.verify(&token, &keys, now) {
        Ok(proof) => accepted(&proof, output),
        Err(error) => refused(&token, &error, output),
    }
}

fn key_set(args: &Args, config: &Config, tenant: &Tenant, now: Timestamp) -> Result<KeySet> {
    let Some(jwks) = &args.jwks else {
        return Ok(key_folder(config, tenant)?.keystore().load()?.at(now)?.verifying);
    };
    let bytes = if jwks.starts_with("https://") || jwks.starts_with("http://") {
        get(jwks)?
    } else {
        let text = read_text(Path::new(jwks));
        text.with_context(|| format!("cannot read the key set {jwks}"))?.as_bytes().to_vec()
    };
    let keys = KeySet::from_jwks(&bytes).with_context(|| jwks.clone())?;
    if keys.is_empty() {
        bail!("{jwks}: has no key that can verify reset tokens");
    }
    Ok(keys)
}

fn accepted(verified: &VerifiedToken, output: Output) -> Result<Outcome> {
    let claims = verified.claims();
    let json = json!({ "valid": true, "kid": verified.key_id(), "claims": claims });
    output.print(&json, || {
        let optional = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        facts([
            ("valid", "yes, as far as can be said offline".into()),
            ("username", claims.sub.clone()),
            ("credential", optional(&claims.credential_id)),
            ("user id", optional(&claims.user_id)),
            ("issued", to_rfc3339(claims.iat)),
            ("expires", to_rfc3339(claims.exp)),
            ("token id", claims.jti.to_string()),
            ("key", verified.key_id().to_string()),
        ])
    })?;
    remark("Whether it was used or revoked is known to its issuer only.");
    Ok(Outcome::Done)
}

/// The most common reason why a good token is not taken here.
fn mend(error: &VerifyError) -> Option<String> {
    matches!(error, VerifyError::WrongIssuer { .. })
        .then(|| "if that is your service, give --issuer or set RESETD_TOKEN_ISSUER".into())
}

fn refused(token: &str, error: &VerifyError, output: Output) -> Result<Outcome> {
    let mut json = json!({ "valid": false, "code": error.code(), "reason": error.to_string() });
    let mend = token::mend(token).or_else(|| mend(error));
    if let Some(mend) = &mend {
        json["mend"] = mend.as_str().into();
    }
    output.print(&json, || {
        let lines = [("valid", "no".into()), ("reason", error.to_string())];
        facts(lines.into_iter().chain(mend.clone().map(|mend| ("mend", mend))))
    })?;
    Ok(Outcome::NotValid)
}
