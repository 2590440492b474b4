//! Signing and verifying: against the RFCs' own signatures, against jsonwebtoken, and both halves
//! of every kind of key against each other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use resetd_verify::crypto::{
    PROVIDER, RsaAlgorithm, RsaPrivateMembers, SigningKey, generate_ed25519, generate_p256,
};
use resetd_verify::{Algorithm, KeySet, PublicKey, Timestamp, Verifier, VerifyError, json};
use serde_json::{Value, json};
use signature::{Signer as _, Verifier as _};

const PUBLIC_KEYS: &str = include_str!("vectors/keys.json");
const PRIVATE_KEYS: &str = include_str!("vectors/private-keys.json");
const RFC_TOKENS: &str = include_str!("vectors/rfc.json");

const ISSUER: &str = "https://reset.example.com";
const AUDIENCE: &str = "https://app.example.com";
const NOW: u64 = 1_800_000_000;

/// A private key of the vectors: its JWK, members included.
struct Pair(Value);

impl Pair {
    fn of(algorithm: Algorithm) -> Self {
        let set: Value = serde_json::from_str(PRIVATE_KEYS).unwrap();
        let keys = set["keys"].as_array().unwrap();
        let wanted = |jwk: &&Value| jwk["alg"] == algorithm.name();
        Self(keys.iter().find(wanted).unwrap().clone())
    }

    fn text(&self, member: &str) -> &str {
        self.0[member].as_str().unwrap()
    }

    fn bytes(&self, member: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(self.text(member)).unwrap()
    }

    fn point(&self) -> Vec<u8> {
        [vec![4], self.bytes("x"), self.bytes("y")].concat()
    }

    fn public(&self) -> PublicKey {
        public_key(&self.0)
    }

    /// The RSA key, with the last byte of one member changed by these bits.
    fn rsa_with(&self, algorithm: RsaAlgorithm, member: &str, bits: u8) -> Option<SigningKey> {
        let bytes = |name| {
            let mut bytes = self.bytes(name);
            if name == member {
                *bytes.last_mut().unwrap() ^= bits;
            }
            bytes
        };
        let members = RsaPrivateMembers {
            n: &bytes("n"),
            e: &bytes("e"),
            d: &bytes("d"),
            p: &bytes("p"),
            q: &bytes("q"),
            dp: &bytes("dp"),
            dq: &bytes("dq"),
            qi: &bytes("qi"),
        };
        SigningKey::from_rsa(algorithm, &members).ok()
    }
}

fn signing_key(algorithm: Algorithm) -> SigningKey {
    let pair = Pair::of(algorithm);
    match algorithm {
        Algorithm::Es256 => SigningKey::from_p256(&pair.bytes("d"), &pair.point()).unwrap(),
        Algorithm::EdDsa => SigningKey::from_ed25519(&pair.bytes("d"), &pair.bytes("x")).unwrap(),
        Algorithm::Rs256 => pair.rsa_with(RsaAlgorithm::Rs256, "", 0).unwrap(),
        Algorithm::Ps256 => pair.rsa_with(RsaAlgorithm::Ps256, "", 0).unwrap(),
    }
}

fn public_key(jwk: &Value) -> PublicKey {
    let text = jwk.to_string();
    PublicKey::from_jwk(&json::parse_object(text.as_bytes()).unwrap()).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "iat": NOW,
        "exp": NOW + 900,
        "jti": "AAECAwQFBgcICQoLDA0ODw",
    })
}

/// A token by our own signing key, put together by hand.
fn token(algorithm: Algorithm) -> String {
    let kid = Pair::of(algorithm).text("kid").to_owned();
    let header = json!({"alg": algorithm, "typ": "reset+jwt", "kid": kid});
    let [header, claims] = [header, claims()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = signing_key(algorithm).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn verified(token: &str) -> Result<Value, VerifyError> {
    let keys = KeySet::from_jwks(PUBLIC_KEYS.as_bytes()).unwrap();
    let verifier = Verifier::new(ISSUER, AUDIENCE);
    let token = verifier.verify(token, &keys, Timestamp::from_seconds(NOW))?;
    Ok(serde_json::to_value(token.claims()).unwrap())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this process is a test; a program that wants the provider installs it so"
)]
fn install_provider() {
    // A second test of this process finds it installed already.
    let _ = PROVIDER.install_default();
}

fn decoded_by_jsonwebtoken(token: &str, algorithm: Algorithm) -> Result<Value, ErrorKind> {
    install_provider();
    let pair = Pair::of(algorithm);
    let key = match algorithm {
        Algorithm::Es256 => DecodingKey::from_ec_components(pair.text("x"), pair.text("y")),
        Algorithm::EdDsa => DecodingKey::from_ed_components(pair.text("x")),
        Algorithm::Rs256 | Algorithm::Ps256 => {
            DecodingKey::from_rsa_components(pair.text("n"), pair.text("e"))
        }
    };
    let mut validation = Validation::new(algorithm.into());
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    // jsonwebtoken reads the clock; the tokens of this file live at a fixed time.
    validation.validate_exp = false;
    jsonwebtoken::decode(token, &key.unwrap(), &validation)
        .map(|data| data.claims)
        .map_err(|error| error.kind().clone())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match u16::try_from(content.len()).unwrap().to_be_bytes() {
        [0, short @ 0..=127] => vec![short],
        [0, one] => vec![0x81, one],
        two => [&[0x82], &two[..]].concat(),
    };
    [vec![tag], length, content.into()].concat()
}

/// PKCS#8 for the curves (RFC 5958), PKCS#1 for RSA (RFC 8017 §A.1.2).
fn private_der(algorithm: Algorithm) -> Vec<u8> {
    const VERSION: [u8; 3] = [2, 1, 0];
    let pair = Pair::of(algorithm);
    let integer = |member| {
        let bytes = pair.bytes(member);
        let sign: &[u8] = if bytes[0] < 0x80 { &[] } else { &[0] };
        der(2, &[sign, &bytes].concat())
    };
    match algorithm {
        Algorithm::Es256 => {
            let curve = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
            let public = der(0xa1, &der(3, &[&[0], &pair.point()[..]].concat()));
            let key = [&[2, 1, 1], &der(4, &pair.bytes("d"))[..], &public].concat();
            der(0x30, &[&VERSION, &curve[..], &der(4, &der(0x30, &key))].concat())
        }
        Algorithm::EdDsa => {
            let curve = b"\x30\x05\x06\x03\x2b\x65\x70";
            let key = der(4, &der(4, &pair.bytes("d")));
            der(0x30, &[&VERSION, &curve[..], &key].concat())
        }
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let members = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(integer);
            der(0x30, &[&VERSION, &members.concat()[..]].concat())
        }
    }
}

fn encoded_by_jsonwebtoken(algorithm: Algorithm) -> String {
    install_provider();
    let der = private_der(algorithm);
    let key = match algorithm {
        Algorithm::Es256 => EncodingKey::from_ec_der(&der),
        Algorithm::EdDsa => EncodingKey::from_ed_der(&der),
        Algorithm::Rs256 | Algorithm::Ps256 => EncodingKey::from_rsa_der(&der),
    };
    let mut header = Header::new(algorithm.into());
    header.typ = Some("reset+jwt".into());
    header.kid = Some(Pair::of(algorithm).text("kid").into());
    jsonwebtoken::encode(&header, &claims(), &key).unwrap()
}

#[test]
fn the_signatures_of_the_rfcs_are_good() {
    let rfc: Value = serde_json::from_str(RFC_TOKENS).unwrap();
    let cases = rfc["cases"].as_array().unwrap();
    for (name, algorithm) in [
        ("RFC 7515 A.2, RS256", Algorithm::Rs256),
        ("RFC 7515 A.3, ES256", Algorithm::Es256),
        ("RFC 8037 A.4, EdDSA", Algorithm::EdDsa),
    ] {
        let case = cases.iter().find(|case| case["name"] == name).unwrap();
        let (signed, signature) = case["token"].as_str().unwrap().rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = Pair::of(algorithm).public();
        let verify = |signature: &Vec<u8>| key.verifying_key().verify(signed.as_bytes(), signature);
        assert!(verify(&signature).is_ok(), "{name}");
        signature[0] ^= 1;
        assert!(verify(&signature).is_err(), "{name}, changed");
    }
}

#[test]
fn the_deterministic_signatures_of_the_rfcs_come_out_again() {
    let rfc: Value = serde_json::from_str(RFC_TOKENS).unwrap();
    let cases = rfc["cases"].as_array().unwrap();
    for (name, algorithm) in
        [("RFC 7515 A.2, RS256", Algorithm::Rs256), ("RFC 8037 A.4, EdDSA", Algorithm::EdDsa)]
    {
        let case = cases.iter().find(|case| case["name"] == name).unwrap();
        let (signed, wanted) = case["token"].as_str().unwrap().rsplit_once('.').unwrap();
        let signature = signing_key(algorithm).sign(signed.as_bytes());
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), wanted, "{name}");
    }
}

#[test]
fn what_we_sign_we_and_jsonwebtoken_accept() {
    for algorithm in Algorithm::ALL {
        let token = token(algorithm);
        assert_eq!(verified(&token).as_ref(), Ok(&claims()), "{algorithm}");
        let decoded = decoded_by_jsonwebtoken(&token, algorithm);
        assert_eq!(decoded, Ok(claims()), "{algorithm}");
    }
}

#[test]
fn what_jsonwebtoken_signs_with_the_provider_we_accept() {
    for algorithm in Algorithm::ALL {
        let token = encoded_by_jsonwebtoken(algorithm);
        assert_eq!(verified(&token).as_ref(), Ok(&claims()), "{algorithm}");
    }
}

#[test]
fn jsonwebtoken_refuses_a_changed_token_with_the_provider() {
    for algorithm in Algorithm::ALL {
        let mut token = token(algorithm);
        let at = token.rfind('.').unwrap() + 1;
        let other = if token[at..].starts_with('A') { "B" } else { "A" };
        token.replace_range(at..=at, other);
        assert_eq!(verified(&token), Err(VerifyError::BadSignature));
        let decoded = decoded_by_jsonwebtoken(&token, algorithm);
        assert_eq!(decoded, Err(ErrorKind::InvalidSignature), "{algorithm}");
    }
}

#[test]
fn the_provider_knows_no_symmetric_algorithm() {
    install_provider();
    let key = EncodingKey::from_secret(b"secret");
    let error = jsonwebtoken::encode(&Header::default(), &claims(), &key).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidAlgorithm);
}

#[test]
fn what_a_generated_p256_key_signs_its_public_half_verifies() {
    let (d, point) = generate_p256().unwrap();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    let public = public_key(&json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "x": x, "y": y}));
    let signature = SigningKey::from_p256(&d, &point).unwrap().sign(b"text");
    assert_eq!(signature.len(), 64);
    assert!(public.verifying_key().verify(b"text", &signature).is_ok());
    assert!(public.verifying_key().verify(b"other", &signature).is_err());
    assert_ne!(generate_p256().unwrap().0, d);
}

#[test]
fn what_a_generated_ed25519_key_signs_its_public_half_verifies() {
    let (d, x) = generate_ed25519().unwrap();
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": URL_SAFE_NO_PAD.encode(&x)});
    let public = public_key(&jwk);
    let signature = SigningKey::from_ed25519(&d, &x).unwrap().sign(b"text");
    assert_eq!(signature.len(), 64);
    assert!(public.verifying_key().verify(b"text", &signature).is_ok());
    assert!(public.verifying_key().verify(b"other", &signature).is_err());
    assert_ne!(generate_ed25519().unwrap().0, d);
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let (d, point) = generate_p256().unwrap();
    let (_, other_point) = generate_p256().unwrap();
    assert!(SigningKey::from_p256(&d, &other_point).is_err());
    assert!(SigningKey::from_p256(&d[1..], &point).is_err());
    assert!(SigningKey::from_p256(&[0; 32], &point).is_err());

    let (d, x) = generate_ed25519().unwrap();
    let (_, other_x) = generate_ed25519().unwrap();
    assert!(SigningKey::from_ed25519(&d, &other_x).is_err());
    assert!(SigningKey::from_ed25519(&d[1..], &x).is_err());

    let rsa = Pair::of(Algorithm::Rs256);
    for member in ["n", "p", "q", "qi"] {
        let key = rsa.rsa_with(RsaAlgorithm::Rs256, member, 2);
        assert!(key.is_none(), "another {member} was taken");
    }
}

#[test]
fn an_rsa_key_with_a_wrong_crt_exponent_never_gives_a_wrong_signature() {
    let rsa = Pair::of(Algorithm::Rs256);
    for member in ["dp", "dq"] {
        let key = rsa.rsa_with(RsaAlgorithm::Rs256, member, 2).unwrap();
        assert!(key.try_sign(b"text").is_err(), "signed with another {member}");
    }
}

#[test]
fn the_debug_text_of_a_signing_key_is_its_algorithm_only() {
    for (algorithm, wanted) in [
        (Algorithm::Es256, "SigningKey { algorithm: Es256, .. }"),
        (Algorithm::EdDsa, "SigningKey { algorithm: EdDsa, .. }"),
        (Algorithm::Rs256, "SigningKey { algorithm: Rs256, .. }"),
        (Algorithm::Ps256, "SigningKey { algorithm: Ps256, .. }"),
    ] {
        assert_eq!(format!("{:?}", signing_key(algorithm)), wanted);
    }
}
