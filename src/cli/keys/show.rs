//! `resetd keys list | show`.

use anyhow::{Result, bail};
use serde_json::json;

use super::Outcome;
use crate::cli::output::{Output, facts, rows};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::time::to_rfc3339;
use crate::key_admin::{KeyDescription, KeyFolder};

/// A folder with a faulty file is told of as far as it can be read; the exit code says that it is
/// not well.
pub(super) fn list(folder: &KeyFolder, output: Output) -> Result<Outcome> {
    let list = folder.list(SystemClock::new().now())?;
    if !list.keys.is_empty() || list.faults.is_empty() {
        output.print(&list, || table(&list.keys))?;
    }
    if list.faults.is_empty() {
        return Ok(Outcome::Done);
    }
    bail!("{}", list.faults.join("\nresetd: "))
}

pub(super) fn show(folder: &KeyFolder, kid: &str, output: Output) -> Result<Outcome> {
    let (key, public) = folder.show(kid, SystemClock::new().now())?;
    let jwk = serde_json::to_string(&public)?;
    output.print(&json!({ "key": key, "jwk": public }), || {
        let [kid, state, algorithm, created, signs_from, expires, removable] = cells(&key);
        facts([
            ("kid", kid),
            ("state", state),
            ("algorithm", algorithm),
            ("created", created),
            ("signs from", signs_from),
            ("last token expires", expires),
            ("removable in", removable),
            ("public jwk", jwk),
        ])
    })?;
    Ok(Outcome::Done)
}

/// Keys under a head, if there are any.
pub(super) fn table(keys: &[KeyDescription]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let head = [
        "KID",
        "STATE",
        "ALGORITHM",
        "CREATED",
        "SIGNS FROM",
        "LAST TOKEN EXPIRES",
        "REMOVABLE IN",
    ];
    rows(&head, keys.iter().map(|key| cells(key).into()).collect())
}

fn cells(key: &KeyDescription) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    [
        key.kid.to_string(),
        key.state.to_string(),
        key.algorithm.to_string(),
        to_rfc3339(key.created),
        to_rfc3339(key.signs_from),
        or_dash(key.last_token_expires.map(to_rfc3339)),
        or_dash(key.removable_in_seconds.map(|seconds| format!("{seconds} s"))),
    ]
}
