//! What is encrypted, what decrypts it, and what is refused before any work is done.

use pkcs5::pbes2::{
    EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt, ScryptParams,
};
use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::der::Encode as _;
use pkcs8::der::asn1::OctetStringRef;
use resetd_verify::Algorithm;

use super::{MOST_PBKDF2, open, seal};
use crate::domain::secret::Secret;
use crate::keystore::der::write_pkcs8;
use crate::keystore::error::SealError;
use crate::keystore::private::PrivateKey;

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Secret::new(*text)).collect()
}

fn private() -> Vec<u8> {
    let key = PrivateKey::generate(Algorithm::EdDsa).unwrap();
    write_pkcs8(&key).unwrap().as_bytes().into()
}

/// A container around nothing that asks for this derivation.
fn asking_for(kdf: Kdf) -> Vec<u8> {
    let encryption = EncryptionScheme::Aes256Cbc { iv: [0; 16] };
    let encryption_algorithm = Parameters { kdf, encryption }.into();
    let encrypted_data = OctetStringRef::new(&[0; 16]).unwrap();
    EncryptedPrivateKeyInfo { encryption_algorithm, encrypted_data }.to_der().unwrap()
}

fn scrypt(cost_parameter: u64, block_size: u16, parallelization: u16) -> Kdf {
    let salt = Salt::new([0; 16]).unwrap();
    let key_length = None;
    ScryptParams { salt, cost_parameter, block_size, parallelization, key_length }.into()
}

fn pbkdf2(iteration_count: u32, prf: Pbkdf2Prf) -> Kdf {
    let salt = Salt::new([0; 16]).unwrap();
    Pbkdf2Params { salt, iteration_count, key_length: None, prf }.into()
}

#[track_caller]
fn refused(sealed: &[u8], wanted: &str) {
    let error = open(sealed, &secrets(&["correct-horse"])).err().unwrap();
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn what_was_encrypted_is_decrypted_by_its_passphrase_wherever_it_stands() {
    let private = private();
    let sealed = seal(&private, &Secret::new("correct-horse")).unwrap();
    for (passphrases, by) in
        [(&["correct-horse", "battery-staple"][..], 0), (&["battery-staple", "correct-horse"], 1)]
    {
        let opened = open(&sealed, &secrets(passphrases)).unwrap();
        assert_eq!((&opened.der[..], opened.by), (&private[..], by));
    }
}

#[test]
fn no_two_encryptions_are_alike() {
    let (private, passphrase) = (private(), Secret::new("correct-horse"));
    let [one, other] = [(); 2].map(|()| seal(&private, &passphrase).unwrap());
    let differing = one.iter().zip(&other).filter(|(a, b)| a != b).count();
    // Of the salt, the IV and the text hardly a byte is the same.
    assert!(differing > 64, "{differing}");
}

#[test]
fn another_passphrase_does_not_decrypt() {
    let sealed = seal(&private(), &Secret::new("correct-horse")).unwrap();
    let error = open(&sealed, &secrets(&["battery-staple", "horse-correct"])).err();
    assert_eq!(error, Some(SealError::WrongPassphrase { tried: 2 }));
}

#[test]
fn a_padding_that_looks_right_by_chance_is_no_key() {
    let sealed = seal(b"no key at all", &Secret::new("correct-horse")).unwrap();
    let error = open(&sealed, &secrets(&["correct-horse"])).err();
    assert_eq!(error, Some(SealError::WrongPassphrase { tried: 1 }));
}

#[test]
fn without_passphrase_nothing_is_decrypted() {
    let sealed = seal(&private(), &Secret::new("correct-horse")).unwrap();
    assert_eq!(open(&sealed, &[]).err(), Some(SealError::NoPassphrase));
}

#[test]
fn an_scrypt_that_takes_too_much_memory_or_time_is_refused() {
    let wanted = "wanted N a power of two and N·r·p at most 1048576; encrypt it anew with less";
    for (n, r, p) in [(1 << 18, 8, 1), (1 << 40, 8, 1), (1 << 17, 8, 2), (1 << 63, 8, 65535)] {
        refused(
            &asking_for(scrypt(n, r, p)),
            &format!("derives its key with scrypt of N = {n}, r = {r}, p = {p}; {wanted}"),
        );
    }
}

#[test]
fn an_scrypt_of_no_work_or_no_power_of_two_is_refused() {
    for (n, r, p) in [(0, 8, 1), (1, 8, 1), (3, 8, 1), (16384, 0, 1), (16384, 8, 0)] {
        let error = open(&asking_for(scrypt(n, r, p)), &secrets(&["correct-horse"])).err();
        assert!(matches!(error, Some(SealError::Cost { .. })), "{n} {r} {p}");
    }
}

#[test]
fn the_most_work_that_is_read_is_done() {
    let error = open(&asking_for(scrypt(1 << 17, 8, 1)), &secrets(&["correct-horse"])).err();
    assert_eq!(error, Some(SealError::WrongPassphrase { tried: 1 }));
}

#[test]
fn a_pbkdf2_that_takes_too_long_or_is_no_work_is_refused() {
    for rounds in [0, MOST_PBKDF2 + 1, u32::MAX] {
        refused(
            &asking_for(pbkdf2(rounds, Pbkdf2Prf::HmacWithSha256)),
            &format!(
                "derives its key with {rounds} rounds of PBKDF2; wanted 1 to 2000000; encrypt it anew with less"
            ),
        );
    }
}

#[test]
fn a_derivation_by_sha1_is_refused() {
    refused(
        &asking_for(pbkdf2(2048, Pbkdf2Prf::HmacWithSha1)),
        "is encrypted with 1.2.840.113549.2.7; wanted PBES2 of scrypt or PBKDF2 with SHA-2, and AES; mend it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in old.pem -out new.pem",
    );
}

#[test]
fn a_container_that_is_cut_off_padded_or_none_is_refused() {
    let sealed = seal(&private(), &Secret::new("correct-horse")).unwrap();
    for text in [&sealed[..sealed.len() - 1], &[&sealed[..], &[0]].concat(), &[], b"text"] {
        let error = open(text, &secrets(&["correct-horse"])).err();
        assert!(matches!(error, Some(SealError::Malformed { .. })), "{error:?}");
    }
}
