//! What is taken from elsewhere, and each refusal.

use std::path::Path;

use resetd_verify::Algorithm;
use serde_json::{Value, json};

use super::Source;
use crate::keystore::fixtures::{PASSPHRASE, fixture, import, import_with, json as read, jwk};
use crate::keystore::passphrase::Passphrases;

#[track_caller]
fn taken(text: &str, algorithm: &str) -> Value {
    let file = read(&import(text, None).unwrap());
    assert_eq!(file["alg"], algorithm);
    assert_eq!(file["use"], "sig");
    assert_eq!(file["created"], "2026-01-31T12:00:00Z");
    assert_eq!(file["not_before"], "2026-02-01T12:00:00Z");
    file
}

#[track_caller]
fn refused(text: &str, wanted: &str) {
    let error = import(text, None).unwrap_err().to_string();
    assert_eq!(error, format!("old.pem: {wanted}"));
}

#[track_caller]
fn refused_as(text: &str, algorithm: Algorithm, wanted: &str) {
    let error = import(text, Some(algorithm)).unwrap_err().to_string();
    assert_eq!(error, format!("old.pem: {wanted}"));
}

fn with(algorithm: Algorithm, change: impl FnOnce(&mut Value)) -> String {
    let mut jwk = jwk(algorithm);
    change(&mut jwk);
    jwk.to_string()
}

fn without(algorithm: Algorithm, members: &[&str]) -> String {
    with(algorithm, |jwk| {
        for name in members {
            jwk.as_object_mut().unwrap().remove(*name);
        }
    })
}

#[test]
fn a_p256_key_is_the_same_key_in_pkcs8_in_sec1_and_decrypted() {
    let file = taken(fixture!("p256.pkcs8"), "ES256");
    assert_eq!(taken(fixture!("p256.sec1"), "ES256"), file);
    let text = fixture!("p256.encrypted");
    let decrypted = import_with(text, None, Some(PASSPHRASE), &Passphrases::none()).unwrap();
    assert_eq!(read(&decrypted), file);
}

#[test]
fn a_p256_key_after_the_block_with_the_name_of_its_curve_is_taken() {
    taken(fixture!("p256.parameters"), "ES256");
}

#[test]
fn an_ed25519_key_is_the_same_key_in_clear_and_decrypted() {
    let file = taken(fixture!("ed25519.pkcs8"), "EdDSA");
    let text = fixture!("ed25519.scrypt");
    let decrypted = import_with(text, None, Some(PASSPHRASE), &Passphrases::none()).unwrap();
    assert_eq!(read(&decrypted), file);
}

#[test]
fn an_ed25519_key_of_version_2_with_its_public_half_is_taken() {
    let file = taken(fixture!("ed25519.v2"), "EdDSA");
    assert_eq!(file["x"], "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
}

#[test]
fn an_rsa_key_is_the_same_key_in_pkcs8_and_in_pkcs1() {
    let file = taken(fixture!("rsa.pkcs8"), "RS256");
    assert_eq!(taken(fixture!("rsa.pkcs1"), "RS256"), file);
}

#[test]
fn an_rsa_key_is_for_ps256_where_that_is_asked_for() {
    let file = import(fixture!("rsa.pkcs8"), Some(Algorithm::Ps256)).unwrap();
    assert_eq!(read(&file)["alg"], "PS256");
}

#[test]
fn a_jwk_keeps_its_key_and_algorithm_and_loses_its_name_and_foreign_members() {
    for algorithm in Algorithm::ALL {
        let wanted = taken(&jwk(algorithm).to_string(), algorithm.name());
        let foreign = with(algorithm, |jwk| {
            jwk["kid"] = json!("2011-04-29");
            jwk["key_ops"] = json!(["sign"]);
            jwk["created"] = json!("long ago");
        });
        assert_eq!(taken(&foreign, algorithm.name()), wanted);
        for (name, value) in jwk(algorithm).as_object().unwrap() {
            assert_eq!(&wanted[name], value);
        }
    }
}

#[test]
fn a_jwk_need_not_say_what_it_is_for() {
    for (algorithm, wanted) in
        [(Algorithm::Es256, "ES256"), (Algorithm::EdDsa, "EdDSA"), (Algorithm::Ps256, "RS256")]
    {
        taken(&without(algorithm, &["alg", "use"]), wanted);
    }
    taken(&with(Algorithm::EdDsa, |jwk| jwk["alg"] = json!("Ed25519")), "EdDSA");
}

#[test]
fn text_before_a_pem_block_and_other_line_ends_are_no_harm() {
    let wanted = taken(fixture!("p256.pkcs8"), "ES256");
    let explained = format!("Bag Attributes\n{}\n\n", fixture!("p256.pkcs8"));
    assert_eq!(taken(&explained, "ES256"), wanted);
    assert_eq!(taken(&fixture!("p256.pkcs8").replace('\n', "\r\n"), "ES256"), wanted);
}

#[test]
fn p384_is_refused_by_its_name() {
    let wanted = "is a key on the curve P-384; wanted P-256 or Ed25519";
    refused(fixture!("p384.pkcs8"), wanted);
    refused(fixture!("p384.sec1"), wanted);
    refused(&with(Algorithm::Es256, |jwk| jwk["crv"] = json!("P-384")), wanted);
}

#[test]
fn secp256k1_is_refused_by_its_name() {
    refused(
        fixture!("secp256k1.pkcs8"),
        "is a key on the curve secp256k1; wanted P-256 or Ed25519",
    );
}

#[test]
fn a_key_that_cannot_sign_is_refused_by_its_kind() {
    refused(
        fixture!("x25519.pkcs8"),
        "is a key of the kind X25519; wanted EC on P-256, Ed25519 or RSA",
    );
    let x25519 = with(Algorithm::EdDsa, |jwk| jwk["crv"] = json!("X25519"));
    refused(&x25519, "is a key on the curve X25519; wanted P-256 or Ed25519");
}

#[test]
fn an_rsa_key_bound_to_pss_is_refused_by_its_kind() {
    refused(
        fixture!("rsa-pss.pkcs8"),
        "is a key of the kind RSASSA-PSS; wanted EC on P-256, Ed25519 or RSA",
    );
}

#[test]
fn an_rsa_key_of_1024_bits_is_refused() {
    refused(fixture!("rsa-1024.pkcs8"), "is an RSA key of 1024 bits; wanted 2048 to 4096");
}

#[test]
fn an_rsa_key_of_8192_bits_is_refused() {
    refused(fixture!("rsa-8192.pkcs8"), "is an RSA key of 8192 bits; wanted 2048 to 4096");
}

#[test]
fn an_rsa_exponent_of_3_is_refused() {
    refused(
        fixture!("rsa-e3.pkcs8"),
        "has the RSA exponent 0x3; wanted an odd one from 0x10001 to 0xffffffff",
    );
}

#[test]
fn an_rsa_key_of_three_primes_is_refused() {
    let wanted = "is an RSA key of more than two primes; wanted two";
    refused(fixture!("rsa-3-primes.pkcs8"), wanted);
    refused(&with(Algorithm::Rs256, |jwk| jwk["oth"] = json!([{}])), wanted);
}

#[test]
fn a_p256_key_without_public_half_is_refused_with_the_mend() {
    refused(
        fixture!("p256.no-public"),
        "has no public half; mend it: openssl ec -in old.pem -out new.pem",
    );
}

#[test]
fn a_compressed_public_half_is_refused_with_the_mend() {
    refused(
        fixture!("p256.compressed"),
        "has a compressed public half; mend it: openssl ec -in old.pem -conv_form uncompressed -out new.pem",
    );
}

#[test]
fn a_curve_that_is_written_out_is_refused_with_the_mend() {
    let wanted = "does not name its curve; mend it: openssl ec -in old.pem -param_enc named_curve -out new.pem";
    refused(fixture!("p256.explicit"), wanted);
    refused(fixture!("p256.explicit-pkcs8"), wanted);
}

#[test]
fn halves_of_two_keys_are_refused() {
    let inconsistent = "the private members do not make a key: InconsistentComponents; put a copy of the right key in its place";
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        refused(&with(algorithm, |jwk| jwk["d"] = jwk["x"].clone()), inconsistent);
    }
    refused(
        &with(Algorithm::Rs256, |jwk| jwk["dp"] = jwk["dq"].clone()),
        "the private members do not sign for the public ones; put a copy of the right key in its place",
    );
    let pem = fixture!("ed25519.v2").replace("wtrbLDFw4rXAxZuE=", "wtrbLDFw4rXAxZuA=");
    refused(&pem, inconsistent);
}

#[test]
fn a_public_key_is_refused_as_such() {
    let wanted = "holds a public key; wanted the private key that belongs to it";
    refused(fixture!("p256.public"), wanted);
    refused(fixture!("rsa.public"), wanted);
    refused(&without(Algorithm::Es256, &["d"]), wanted);
}

#[test]
fn a_certificate_is_refused_as_such() {
    refused(
        fixture!("certificate"),
        "holds a certificate; wanted the private key that belongs to it",
    );
}

#[test]
fn a_pem_block_for_something_else_is_refused_by_its_name() {
    let ssh = fixture!("p256.pkcs8").replace("PRIVATE KEY", "OPENSSH PRIVATE KEY");
    refused(
        &ssh,
        "holds a PEM block \"OPENSSH PRIVATE KEY\"; wanted PRIVATE KEY, ENCRYPTED PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY",
    );
}

#[test]
fn an_encrypted_key_without_passphrase_is_refused() {
    refused(fixture!("p256.encrypted"), "is encrypted; give the passphrase that decrypts it");
}

#[test]
fn an_encrypted_key_with_another_passphrase_is_refused() {
    for text in [fixture!("p256.encrypted"), fixture!("ed25519.scrypt")] {
        let error = import_with(text, None, Some("battery-staple"), &Passphrases::none());
        assert_eq!(
            error.unwrap_err().to_string(),
            "old.pem: is encrypted with another passphrase than the one given"
        );
    }
}

#[test]
fn the_old_encryption_of_pem_is_refused_with_the_mend() {
    refused(
        fixture!("p256.proc-type"),
        "is encrypted in an old way (Proc-Type: 4,ENCRYPTED); mend it: openssl pkcs8 -topk8 -in old.pem -out new.pem",
    );
}

#[test]
fn the_old_encryption_of_pkcs8_is_refused_with_the_mend() {
    refused(
        fixture!("p256.pbes1"),
        "is encrypted with 1.2.840.113549.1.12.1.3; wanted PBES2 of scrypt or PBKDF2 with SHA-2, and AES; mend it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in old.pem -out new.pem",
    );
}

#[test]
fn an_encryption_that_takes_long_to_undo_is_refused_before_it_is_tried() {
    refused(
        fixture!("p256.slow"),
        "derives its key with 20000000 rounds of PBKDF2; wanted 1 to 2000000; encrypt it anew with less",
    );
}

#[test]
fn the_file_of_another_resetd_is_taken_with_its_passphrase() {
    let file = taken(fixture!("p256.pkcs8"), "ES256");
    let theirs = Passphrases::parse(PASSPHRASE).unwrap();
    let sealed = import_with(fixture!("p256.pkcs8"), None, None, &theirs).unwrap();
    let sealed = str::from_utf8(&sealed).unwrap();
    let ours = import_with(sealed, None, Some(PASSPHRASE), &Passphrases::none()).unwrap();
    assert_eq!(read(&ours), file);
    refused(sealed, "is encrypted; give the passphrase that decrypts it");
}

#[test]
fn several_keys_in_one_file_are_refused() {
    let keys = [fixture!("p256.pkcs8"), fixture!("ed25519.pkcs8")].concat();
    refused(&keys, "holds 2 PEM blocks; wanted one private key; put each into a file of its own");
}

#[test]
fn a_set_of_keys_is_refused() {
    let set = json!({ "keys": [jwk(Algorithm::Es256)] }).to_string();
    refused(&set, "is a set of keys; wanted one private JWK by itself, without \"keys\"");
}

#[test]
fn a_symmetric_key_is_refused() {
    refused(
        r#"{"kty":"oct","k":"AAAA","alg":"HS256"}"#,
        "is a symmetric key; wanted a private key whose public half verifiers may know",
    );
}

#[test]
fn a_jwk_for_another_algorithm_is_refused() {
    refused(
        &with(Algorithm::Rs256, |jwk| jwk["alg"] = json!("RSA-OAEP")),
        "the member \"alg\" is no algorithm for this key; wanted RS256 or PS256",
    );
    refused(
        &with(Algorithm::Es256, |jwk| jwk["alg"] = json!("RS256")),
        "the member \"alg\" is no algorithm for this key; wanted ES256",
    );
}

#[test]
fn a_jwk_for_encryption_is_refused() {
    refused(
        &with(Algorithm::Rs256, |jwk| jwk["use"] = json!("enc")),
        "the member \"use\" must be \"sig\"",
    );
}

#[test]
fn a_name_that_is_no_text_is_refused() {
    refused(
        &with(Algorithm::Es256, |jwk| jwk["kid"] = json!(1)),
        "the member \"kid\" must be a text, which the thumbprint takes the place of",
    );
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_is_refused() {
    refused_as(fixture!("p256.pkcs8"), Algorithm::EdDsa, "is a key for ES256, not for EdDSA");
    refused_as(fixture!("ed25519.pkcs8"), Algorithm::Rs256, "is a key for EdDSA, not for RS256");
    refused_as(
        fixture!("rsa.pkcs8"),
        Algorithm::Es256,
        "is a key for RS256 or PS256, not for ES256",
    );
    let ps256 = jwk(Algorithm::Ps256).to_string();
    refused_as(&ps256, Algorithm::Rs256, "is a key for PS256, not for RS256");
}

#[test]
fn text_after_the_key_is_refused() {
    refused(
        &(fixture!("p256.pkcs8").to_owned() + "MIGH"),
        "has text after the key; remove it, the key may not be what you think it is",
    );
}

#[test]
fn bytes_after_the_key_within_its_block_are_refused() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\nAAAA\n-----END PRIVATE KEY-----\n";
    refused(
        pem,
        "is no PKCS#8 PrivateKeyInfo: trailing data at end of DER message: decoded 48 bytes, 3 bytes remaining at DER byte 48; put a whole copy in its place",
    );
}

#[test]
fn a_pem_block_that_is_cut_off_is_refused() {
    let text = fixture!("p256.pkcs8");
    let wanted = "the PEM block \"PRIVATE KEY\" does not end; put a whole copy in its place";
    refused(&text[..100], wanted);
    refused(&format!("{}\n{text}", &text[..100]), wanted);
    refused("-----BEGIN ", "the PEM block \"\" does not end; put a whole copy in its place");
}

#[test]
fn a_key_that_is_cut_off_within_its_block_is_refused() {
    let lines: Vec<_> = fixture!("rsa.pkcs1").lines().collect();
    let text = [&lines[..10], &lines[lines.len() - 1..]].concat().join("\n");
    let error = import(&text, None).unwrap_err().to_string();
    assert!(error.starts_with("old.pem: is no PKCS#1 RSAPrivateKey: "), "{error}");
}

#[test]
fn a_pem_block_that_is_no_base64_is_refused() {
    let error = import(&fixture!("p256.pkcs8").replace("MIGH", "M!GH"), None);
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("old.pem: the PEM block \"PRIVATE KEY\" cannot be read: "),
        "{error}"
    );
}

#[test]
fn a_text_that_is_no_key_at_all_is_refused() {
    let wanted = "is neither PEM nor a JWK; wanted one private key; mend it, if it is DER: openssl pkey -inform DER -in old.der -out new.pem";
    refused("", wanted);
    refused("hunter2", wanted);
    refused("{}", wanted);
}

#[test]
fn a_jwk_that_is_cut_off_is_refused() {
    let text = jwk(Algorithm::Es256).to_string();
    let error = import(&text[..50], None).unwrap_err().to_string();
    assert!(error.contains("the text stops being JSON at line 1, column 50"), "{error}");
}

#[test]
fn a_source_does_not_show_its_text() {
    let (name, text, passphrase) = (Path::new("old.pem"), &b"secret"[..], None);
    let source = Source { name, text, algorithm: None, passphrase };
    assert_eq!(format!("{source:?}"), "Source { name: \"old.pem\", .. }");
}

#[test]
fn no_refusal_shows_a_private_half() {
    let secret = jwk(Algorithm::Es256)["d"].as_str().unwrap().to_owned();
    for text in [
        format!("-----BEGIN {secret}"),
        format!("-----BEGIN {secret}-----\n-----END {secret}-----"),
        with(Algorithm::Es256, |jwk| jwk["y"] = jwk["x"].clone()),
        with(Algorithm::EdDsa, |jwk| jwk["d"] = json!(format!("{secret}="))),
    ] {
        let error = import(&text, None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&secret[4..]), "{error:?}");
    }
}
