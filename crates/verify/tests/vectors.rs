//! Every vector of `vectors/` through `Verifier::verify`, and every accepted one again with single
//! bytes changed. `vectors/generate.py` makes the files; nothing of this crate had a hand in them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use resetd_verify::json::JsonError;
use resetd_verify::{KeySet, Timestamp, VerifiedToken, Verifier, VerifyError};
use serde::Deserialize;
use serde_json::{Value, json};

const KEYS: &str = include_str!("vectors/keys.json");

const GROUPS: [(&str, &str); 9] = [
    ("valid", include_str!("vectors/valid.json")),
    ("form", include_str!("vectors/form.json")),
    ("header", include_str!("vectors/header.json")),
    ("key", include_str!("vectors/key.json")),
    ("signature", include_str!("vectors/signature.json")),
    ("claims", include_str!("vectors/claims.json")),
    ("parties", include_str!("vectors/parties.json")),
    ("time", include_str!("vectors/time.json")),
    ("rfc", include_str!("vectors/rfc.json")),
];

/// A run that sees fewer has lost vectors. Raise it with the number of cases.
const LEAST_CASES: usize = 800;

#[derive(Deserialize)]
struct Group {
    issuer: String,
    audience: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    token: String,
    now: u64,
    #[serde(default)]
    leeway: u64,
    expect: Value,
}

impl Group {
    fn verify(
        &self,
        case: &Case,
        token: &str,
        keys: &KeySet,
    ) -> Result<VerifiedToken, VerifyError> {
        Verifier::new(&self.issuer, &self.audience).with_leeway(case.leeway).verify(
            token,
            keys,
            Timestamp::from_seconds(case.now),
        )
    }
}

fn groups() -> Vec<(&'static str, Group)> {
    GROUPS.into_iter().map(|(name, text)| (name, serde_json::from_str(text).unwrap())).collect()
}

fn keys() -> KeySet {
    KeySet::from_jwks(KEYS.as_bytes()).unwrap()
}

#[test]
fn every_vector_answers_as_it_is_written() {
    let (keys, mut seen, mut failures) = (keys(), 0, Vec::new());
    for (group_name, group) in groups() {
        for case in &group.cases {
            seen += 1;
            let found = outcome(&group.verify(case, &case.token, &keys));
            if found != case.expect {
                let wanted = &case.expect;
                failures.push(format!(
                    "{group_name}: {}\n  wanted {wanted}\n  found  {found}",
                    case.name
                ));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {seen} vectors fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(seen >= LEAST_CASES, "only {seen} vectors, {LEAST_CASES} are wanted");
}

#[test]
fn every_kind_of_refusal_has_a_vector() {
    let mut unseen = vec![
        "too_long",
        "part_count",
        "encoding",
        "header_too_long",
        "json",
        "refused_header_parameter",
        "wrong_type",
        "missing_key_id",
        "unknown_key",
        "wrong_algorithm",
        "bad_signature",
        "invalid_claim",
        "wrong_issuer",
        "wrong_audience",
        "expired",
        "issued_in_future",
        "not_yet_valid",
        "lifetime_too_long",
    ];
    for (_, group) in groups() {
        for case in &group.cases {
            unseen.retain(|code| case.expect["error"] != *code);
        }
    }
    assert!(unseen.is_empty(), "without a vector: {unseen:?}");
}

#[test]
fn no_change_of_a_single_byte_is_accepted() {
    let (keys, mut accepted) = (keys(), Vec::new());
    for (group_name, group) in groups() {
        let valid = |case: &&Case| case.expect.get("claims").is_some();
        for case in group.cases.iter().filter(valid) {
            for mutant in mutants(&case.token) {
                if group.verify(case, &mutant, &keys).is_ok() {
                    accepted.push(format!("{group_name}: {}: {mutant}", case.name));
                }
            }
        }
    }
    assert!(
        accepted.is_empty(),
        "{} changed tokens are accepted:\n{}",
        accepted.len(),
        accepted.join("\n")
    );
}

/// The token with one byte changed, added or taken away, or cut short, at up to 512 places and
/// always at the last four, where unused bits hide.
fn mutants(token: &str) -> impl Iterator<Item = String> {
    let step = token.len().div_ceil(512);
    let places = (0..token.len()).filter(move |at| at % step == 0 || at + 4 >= token.len());
    places.flat_map(move |at| {
        let (before, byte, after) = (&token[..at], token.as_bytes()[at], &token[at + 1..]);
        let neighbour = char::from(if byte == b'A' { b'B' } else { byte ^ 1 });
        [
            format!("{before}{neighbour}{after}"),
            format!("{before}.{after}"),
            format!("{before}A{}", &token[at..]),
            format!("{before}{after}"),
            before.into(),
        ]
        .into_iter()
        .filter(move |mutant| mutant != token)
    })
}

/// The whole answer, in the words of the vectors.
fn outcome(result: &Result<VerifiedToken, VerifyError>) -> Value {
    match result {
        Ok(token) => json!({ "claims": token.claims() }),
        Err(error) => {
            let mut facts = facts(error);
            facts["error"] = error.code().into();
            facts
        }
    }
}

fn facts(error: &VerifyError) -> Value {
    match error {
        VerifyError::TooLong { length, .. } | VerifyError::HeaderTooLong { length, .. } => {
            json!({ "length": length })
        }
        VerifyError::PartCount { found } => json!({ "found": found }),
        VerifyError::Encoding { part } => json!({ "part": part.to_string() }),
        VerifyError::Json { part, error } => {
            let mut facts = json_facts(error);
            facts["part"] = part.to_string().into();
            facts
        }
        VerifyError::RefusedHeaderParameter { name } => json!({ "name": name }),
        VerifyError::WrongType { found } => json!({ "found": found }),
        VerifyError::MissingKeyId | VerifyError::BadSignature => json!({}),
        VerifyError::UnknownKey { kid } => json!({ "kid": kid }),
        VerifyError::WrongAlgorithm { wanted, found } => {
            json!({ "wanted": wanted, "found": found })
        }
        VerifyError::InvalidClaim { name, .. } => json!({ "claim": name }),
        VerifyError::WrongIssuer { found, .. } => json!({ "found": found }),
        VerifyError::WrongAudience { found, .. } => json!({ "found": found }),
        VerifyError::Expired { exp, .. } => json!({ "exp": exp }),
        VerifyError::IssuedInFuture { iat, .. } => json!({ "iat": iat }),
        VerifyError::NotYetValid { nbf, .. } => json!({ "nbf": nbf }),
        VerifyError::LifetimeTooLong { lifetime, .. } => json!({ "lifetime": lifetime }),
    }
}

fn json_facts(error: &JsonError) -> Value {
    match error {
        JsonError::NotUtf8 => json!({ "rule": "not_utf8" }),
        JsonError::Syntax { .. } => json!({ "rule": "syntax" }),
        JsonError::NotAnObject => json!({ "rule": "not_an_object" }),
        JsonError::DuplicateMember { name } => {
            json!({ "rule": "duplicate_member", "member": name })
        }
        JsonError::TooDeep => json!({ "rule": "too_deep" }),
        JsonError::TooManyMembers => json!({ "rule": "too_many_members" }),
        JsonError::NumberTooLong => json!({ "rule": "number_too_long" }),
    }
}
