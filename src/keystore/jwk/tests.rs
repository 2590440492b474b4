//! A key's file, in clear and encrypted: made, read, and changed without what must stay as it is.

use resetd_verify::{Algorithm, KeyId, Timestamp};
use serde_json::{Value, json};

use super::{SEALED, generate, parse, reseal, with_times};
use crate::domain::keyring::KeyTimes;
use crate::keystore::error::KeystoreError;
use crate::keystore::fixtures::{
    fixture, import_with, json as read, jwk, passphrases, path, times,
};
use crate::keystore::passphrase::Passphrases;

/// The key of the vectors, encrypted.
fn sealed(algorithm: Algorithm, by: &str) -> Vec<u8> {
    reseal(path(), jwk(algorithm).to_string().as_bytes(), &passphrases(by))
        .unwrap()
        .unwrap()
        .to_vec()
}

fn later() -> KeyTimes {
    let at = |seconds| Some(Timestamp::from_seconds(seconds));
    let revokes = KeyId::parse("2027-01");
    KeyTimes { retired_at: at(1_800_000_000), revoked_at: at(1_800_000_001), revokes, ..times() }
}

fn members(file: &Value) -> Vec<&str> {
    file.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn refused(text: &[u8], by: &Passphrases, wanted: &str) {
    let error = parse(path(), text, by).unwrap_err().to_string();
    assert_eq!(error, format!("a.jwk: {wanted}"));
}

#[test]
fn a_key_that_is_made_is_read_back_with_its_name_and_times() {
    for by in [Passphrases::none(), passphrases("correct-horse")] {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            let (kid, text) = generate(path(), algorithm, &later(), &by).unwrap();
            let key = parse(path(), &text, &by).unwrap();
            assert_eq!(key.kid(), &kid);
            assert_eq!(key.public().algorithm(), algorithm);
            assert_eq!(key.times(), &later());
        }
    }
}

#[test]
fn a_key_is_written_in_clear_or_with_one_encrypted_member() {
    let public = ["alg", "created", "crv"];
    let rest = ["kid", "kty", "not_before", "use", "x", "y"];
    let (_, clear) = generate(path(), Algorithm::Es256, &times(), &Passphrases::none()).unwrap();
    assert_eq!(members(&read(&clear)), [&public[..], &["d"], &rest].concat());
    let by = passphrases("correct-horse");
    let (_, sealed) = generate(path(), Algorithm::Es256, &times(), &by).unwrap();
    assert_eq!(members(&read(&sealed)), [&public[..], &[SEALED], &rest].concat());
}

#[test]
fn a_key_of_each_kind_is_the_same_key_after_encryption() {
    for algorithm in Algorithm::ALL {
        let text = sealed(algorithm, "correct-horse");
        let file = read(&text);
        for secret in ["d", "p", "q", "dp", "dq", "qi"] {
            assert_eq!(file.get(secret), None);
        }
        let key = parse(path(), &text, &passphrases("correct-horse")).unwrap();
        let clear = jwk(algorithm).to_string();
        let wanted = parse(path(), clear.as_bytes(), &Passphrases::none()).unwrap();
        assert_eq!((key.kid(), key.times()), (wanted.kid(), wanted.times()));
    }
}

#[test]
fn the_longest_rsa_key_fits_into_a_file() {
    let clear = fixture!("rsa-4096.pkcs8");
    for by in [Passphrases::none(), passphrases("correct-horse")] {
        let text = import_with(clear, None, None, &by).unwrap();
        assert!(parse(path(), &text, &by).is_ok());
    }
}

#[test]
fn an_encrypted_key_without_passphrase_is_refused_with_the_mend() {
    refused(
        &sealed(Algorithm::Es256, "correct-horse"),
        &Passphrases::none(),
        "is encrypted and there is no passphrase; name the file that has it in keys.passphrase_file",
    );
}

#[test]
fn an_encrypted_key_with_another_passphrase_is_refused_with_the_mend() {
    refused(
        &sealed(Algorithm::Es256, "correct-horse"),
        &passphrases("battery-staple"),
        "is encrypted with another passphrase than the 1 of keys.passphrase_file; add the right one there as the last line",
    );
}

#[test]
fn a_key_in_clear_and_encrypted_is_refused() {
    let mut file = read(&sealed(Algorithm::Es256, "correct-horse"));
    let wanted = "has its private members in clear and encrypted; remove those in clear if the encrypted ones can be decrypted";
    file["d"] = jwk(Algorithm::Es256)["d"].clone();
    let text = file.to_string();
    let by = passphrases("correct-horse");
    refused(text.as_bytes(), &by, wanted);
    let error = with_times(path(), text.as_bytes(), &later()).unwrap_err().to_string();
    assert_eq!(error, format!("a.jwk: {wanted}"));
    let error = reseal(path(), text.as_bytes(), &by).unwrap_err().to_string();
    assert_eq!(error, format!("a.jwk: {wanted}"));
}

#[test]
fn the_encrypted_half_of_another_key_is_refused() {
    let by = passphrases("correct-horse");
    let mut file = read(&sealed(Algorithm::Es256, "correct-horse"));
    let (_, other) = generate(path(), Algorithm::Es256, &times(), &by).unwrap();
    for other in [other.to_vec(), sealed(Algorithm::Rs256, "correct-horse")] {
        file[SEALED] = read(&other)[SEALED].clone();
        let wanted = "the private members do not sign for the public ones; put a copy of the right key in its place";
        refused(file.to_string().as_bytes(), &by, wanted);
    }
}

#[test]
fn an_encrypted_half_that_is_no_container_is_refused() {
    let by = passphrases("correct-horse");
    let mut file = read(&sealed(Algorithm::Es256, "correct-horse"));
    file[SEALED] = json!("AAAA=");
    let wanted = "the member \"encrypted_private_key\" must be canonical base64url";
    refused(file.to_string().as_bytes(), &by, wanted);
    file[SEALED] = json!("AAAA");
    let error = parse(path(), file.to_string().as_bytes(), &by).unwrap_err().to_string();
    assert!(error.starts_with("a.jwk: is no PKCS#8 EncryptedPrivateKeyInfo: "), "{error}");
}

#[test]
fn other_times_leave_every_other_member_as_it_was_and_need_no_passphrase() {
    for algorithm in Algorithm::ALL {
        let mut clear = jwk(algorithm);
        clear["retired_at"] = json!("2026-03-01T00:00:00Z");
        clear["note"] = json!({ "by": ["ops", 1, -2, 1.5, true, null] });
        let by = passphrases("correct-horse");
        let encrypted = reseal(path(), clear.to_string().as_bytes(), &by).unwrap().unwrap();
        for before in [clear.clone(), read(&encrypted)] {
            let text = with_times(path(), before.to_string().as_bytes(), &later()).unwrap();
            let mut wanted = before;
            wanted["retired_at"] = json!("2027-01-15T08:00:00Z");
            wanted["revoked_at"] = json!("2027-01-15T08:00:01Z");
            wanted["revokes"] = json!("2027-01");
            assert_eq!(read(&text), wanted);
            assert_eq!(parse(path(), &text, &by).unwrap().times(), &later());
        }
    }
}

#[test]
fn times_that_are_gone_are_not_in_the_file() {
    let text = with_times(path(), jwk(Algorithm::EdDsa).to_string().as_bytes(), &later()).unwrap();
    let text = with_times(path(), &text, &times()).unwrap();
    assert_eq!(read(&text), jwk(Algorithm::EdDsa));
}

#[test]
fn a_key_in_clear_is_encrypted_and_one_by_an_older_passphrase_anew() {
    let both = passphrases("battery-staple\ncorrect-horse");
    for text in
        [jwk(Algorithm::Rs256).to_string().into_bytes(), sealed(Algorithm::Rs256, "correct-horse")]
    {
        assert!(parse(path(), &text, &both).is_ok());
        let anew = reseal(path(), &text, &both).unwrap().unwrap();
        assert!(parse(path(), &anew, &passphrases("battery-staple")).is_ok());
        assert!(parse(path(), &anew, &passphrases("correct-horse")).is_err());
    }
}

#[test]
fn a_key_that_is_encrypted_with_the_first_passphrase_stays_as_it_is() {
    let text = sealed(Algorithm::EdDsa, "correct-horse");
    let both = passphrases("correct-horse\nbattery-staple");
    assert!(reseal(path(), &text, &both).unwrap().is_none());
}

#[test]
fn encryption_leaves_the_times_and_foreign_members() {
    let mut clear = jwk(Algorithm::EdDsa);
    clear["retired_at"] = json!("2026-03-01T00:00:00Z");
    clear["note"] = json!("of ops");
    let text = clear.to_string();
    let text = reseal(path(), text.as_bytes(), &passphrases("correct-horse")).unwrap().unwrap();
    let mut file = read(&text);
    assert!(file.as_object_mut().unwrap().remove(SEALED).is_some());
    clear.as_object_mut().unwrap().remove("d");
    assert_eq!(file, clear);
}

#[test]
fn nothing_is_encrypted_without_a_passphrase() {
    let text = jwk(Algorithm::EdDsa).to_string();
    let error = reseal(path(), text.as_bytes(), &Passphrases::none()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.jwk: cannot be encrypted without a passphrase; name the file that has it in keys.passphrase_file"
    );
}

#[test]
fn a_file_that_would_be_too_long_to_read_is_not_written() {
    let mut file = jwk(Algorithm::Es256);
    file["note"] = json!("x".repeat(16_000));
    let error = with_times(path(), file.to_string().as_bytes(), &later()).unwrap_err();
    assert!(matches!(error, KeystoreError::Io { .. }), "{error}");
}

#[test]
fn no_error_shows_the_private_half() {
    let mut file = jwk(Algorithm::Es256);
    let secret = file["d"].as_str().unwrap().to_owned();
    file["x"] = file["y"].clone();
    let text = file.to_string();
    let error = parse(path(), text.as_bytes(), &Passphrases::none()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&secret));
}
