//! The header that shows who sent a message.

use resetd_verify::Timestamp;
use zeroize::Zeroizing;

use crate::domain::webhook::SigningSecret;

/// One signature for each secret, with a space between them: a receiver takes the one it can check.
///
/// # Errors
/// If a secret does not sign.
pub(super) fn signatures(
    secrets: &[SigningSecret],
    id: &str,
    timestamp: Timestamp,
    body: &[u8],
) -> Result<String, ring::error::Unspecified> {
    let head = format!("{id}.{}.", timestamp.seconds());
    // The body may hold a token.
    let mut signed = Zeroizing::new(Vec::with_capacity(head.len() + body.len()));
    signed.extend_from_slice(head.as_bytes());
    signed.extend_from_slice(body);
    let signatures = secrets.iter().map(|secret| secret.sign(&signed));
    Ok(signatures.collect::<Result<Vec<_>, _>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook::SecretKind;

    #[test]
    fn every_secret_signs_and_every_part_is_signed() {
        let secrets = [
            SigningSecret::from_random(SecretKind::Hmac, [1; 32]),
            SigningSecret::from_random(SecretKind::Ed25519, [2; 32]),
        ];
        let sign = |id, seconds, body: &[u8]| {
            signatures(&secrets, id, Timestamp::from_seconds(seconds), body).unwrap()
        };
        let all = sign("msg_1", 1_800_000_000, b"{}");
        let each: Vec<_> = all.split(' ').collect();
        let wanted = secrets.each_ref().map(|secret| secret.sign(b"msg_1.1800000000.{}").unwrap());
        assert_eq!(each, wanted);
        for other in [
            sign("msg_2", 1_800_000_000, b"{}"),
            sign("msg_1", 1_800_000_001, b"{}"),
            sign("msg_1", 1_800_000_000, b"{ }"),
        ] {
            assert!(other.split(' ').zip(&each).all(|(other, one)| other != *one), "{other}");
        }
    }
}
