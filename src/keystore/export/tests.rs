//! What is written out is read back as the same key, by ourselves and by OpenSSL's own writing.

use resetd_verify::Algorithm;

use super::{PrivateFormat, private, public_pem};
use crate::keystore::fixtures::{
    fixture, import, import_with, json as read, jwk, passphrases, path,
};
use crate::keystore::jwk::parse;
use crate::keystore::passphrase::Passphrases;

#[test]
fn a_public_half_is_written_as_openssl_does() {
    for (key, public) in [
        (fixture!("p256.pkcs8"), fixture!("p256.public")),
        (fixture!("ed25519.pkcs8"), fixture!("ed25519.public")),
        (fixture!("rsa.pkcs8"), fixture!("rsa.spki")),
    ] {
        let file = import(key, None).unwrap();
        let key = parse(path(), &file, &Passphrases::none()).unwrap();
        assert_eq!(public_pem(key.public()).unwrap(), public);
    }
}

#[test]
fn a_private_half_is_written_as_openssl_does_also_from_an_encrypted_file() {
    for by in [Passphrases::none(), passphrases("correct-horse")] {
        for key in [fixture!("p256.pkcs8"), fixture!("ed25519.pkcs8"), fixture!("rsa.pkcs8")] {
            let file = import_with(key, None, None, &by).unwrap();
            let pem = private(path(), &file, &by, PrivateFormat::Pem).unwrap();
            assert_eq!(*pem, key);
        }
    }
}

#[test]
fn a_plain_jwk_has_both_halves_and_its_name_and_no_times() {
    let by = passphrases("correct-horse");
    for algorithm in Algorithm::ALL {
        let file = import_with(&jwk(algorithm).to_string(), None, None, &by).unwrap();
        let kid = read(&file)["kid"].clone();
        let text = private(path(), &file, &by, PrivateFormat::Jwk).unwrap();
        let mut wanted = jwk(algorithm);
        let members = wanted.as_object_mut().unwrap();
        members.remove("created");
        members.remove("not_before");
        members.insert("kid".into(), kid);
        assert_eq!(read(text.as_bytes()), wanted);
    }
}

#[test]
fn an_encrypted_file_without_its_passphrase_is_not_written_out() {
    let by = passphrases("correct-horse");
    let file = import_with(fixture!("p256.pkcs8"), None, None, &by).unwrap();
    for other in [Passphrases::none(), passphrases("battery-staple")] {
        assert!(private(path(), &file, &other, PrivateFormat::Pem).is_err());
    }
}
