//! `resetd inspect`: shows what a token says, and says loudly that nobody checked it.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::output::{Output, facts, remark};
use super::{Outcome, token};
use crate::domain::secret::Secret;

/// Said wherever an unchecked claim is shown.
const WARNING: &str = "NOT VERIFIED: anybody can write this. To check it: resetd verify TOKEN";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The token, or - to read it from standard input
    #[arg(value_parser = token::argument)]
    token: Secret,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome> {
    let token = token::read(args.token.expose())?;
    let mut parts = token.split('.').map(decode);
    let (Some(Some(header)), Some(Some(claims))) = (parts.next(), parts.next()) else {
        let wanted = "this is no JWT: wanted base64url parts between dots, the first two JSON";
        let reason = token::mend(&token).unwrap_or_else(|| wanted.into());
        let json = json!({ "verified": false, "reason": reason });
        output.print(&json, || facts([("verified", "no".into()), ("reason", reason.clone())]))?;
        return Ok(Outcome::NotValid);
    };
    remark(WARNING);
    let json = json!({ "verified": false, "warning": WARNING, "header": header, "claims": claims });
    output.print(&json, || format!("header {header:#}\nclaims {claims:#}"))?;
    Ok(Outcome::Done)
}

fn decode(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}
