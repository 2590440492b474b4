//! A private key ⇄ DER: PKCS#8 (RFC 5958, RFC 8410), SEC 1 (RFC 5915) and PKCS#1 (RFC 8017). The
//! grammar is that of `RustCrypto`'s crates; what is taken and refused is decided here.

use pkcs1::{RsaPrivateKey, RsaPrivateKeyRef};
use pkcs8::der::asn1::{AnyRef, BitStringRef, Null, OctetStringRef, UintRef};
use pkcs8::der::{self, Decode as _, Encode as _, ErrorKind, SecretDocument, Tag, Tagged as _};
use pkcs8::spki::AlgorithmIdentifier;
use pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier, PrivateKeyInfo, PrivateKeyInfoRef};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use super::error::ImportError;
use super::private::{PrivateKey, RsaKey};

/// id-ecPublicKey (RFC 5480 §2.1.1).
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// secp256r1, which is P-256 (RFC 5480 §2.1.1.1).
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// id-Ed25519 (RFC 8410 §3).
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// rsaEncryption (RFC 8017 appendix A.1).
pub(super) const RSA: ObjectIdentifier = pkcs1::ALGORITHM_OID;

/// Reads a `PrivateKeyInfo`.
pub(super) fn read_pkcs8(text: &[u8]) -> Result<PrivateKey, ImportError> {
    let info = PrivateKeyInfoRef::from_der(text).map_err(faulty("PKCS#8 PrivateKeyInfo"))?;
    let private = info.private_key.as_bytes();
    match info.algorithm.oid {
        EC => {
            check_curve(named_curve(info.algorithm.parameters)?)?;
            read_point(&ec_private_key(private)?)
        }
        ED25519 => read_ed25519(private, info.public_key),
        RSA => read_pkcs1(private),
        other => Err(ImportError::Kind { found: name(other) }),
    }
}

/// Reads an `ECPrivateKey`, which must name its curve by itself.
pub(super) fn read_sec1(text: &[u8]) -> Result<PrivateKey, ImportError> {
    let key = ec_private_key(text)?;
    if key.parameters.is_none() {
        return Err(ImportError::UnnamedCurve);
    }
    read_point(&key)
}

/// Reads an `RSAPrivateKey`.
pub(super) fn read_pkcs1(text: &[u8]) -> Result<PrivateKey, ImportError> {
    let key = RsaPrivateKeyRef::from_der(text).map_err(faulty("PKCS#1 RSAPrivateKey"))?;
    if key.other_prime_infos.is_some() {
        return Err(ImportError::MultiPrime);
    }
    let private = |number: UintRef<'_>| Zeroizing::new(number.as_bytes().to_vec());
    Ok(PrivateKey::Rsa(RsaKey {
        n: key.modulus.as_bytes().into(),
        e: key.public_exponent.as_bytes().into(),
        d: private(key.private_exponent),
        p: private(key.prime1),
        q: private(key.prime2),
        dp: private(key.exponent1),
        dq: private(key.exponent2),
        qi: private(key.coefficient),
    }))
}

/// Writes a `PrivateKeyInfo`. A P-256 key has its public half in it, so that it can be read back; an
/// Ed25519 key has none, since OpenSSL does not read version 2.
pub(super) fn write_pkcs8(key: &PrivateKey) -> der::Result<SecretDocument> {
    match key {
        PrivateKey::P256 { x, y, d } => {
            let point = [&[4], &x[..], &y[..]].concat();
            let (parameters, public_key) = (None, Some(&point[..]));
            let inner = EcPrivateKey { private_key: d, parameters, public_key };
            info(EC, Some((&P256).into()), &Zeroizing::new(inner.to_der()?))
        }
        PrivateKey::Ed25519 { d, .. } => {
            info(ED25519, None, &Zeroizing::new(OctetStringRef::new(d)?.to_der()?))
        }
        PrivateKey::Rsa(key) => {
            let inner = RsaPrivateKey {
                modulus: UintRef::new(&key.n)?,
                public_exponent: UintRef::new(&key.e)?,
                private_exponent: UintRef::new(&key.d)?,
                prime1: UintRef::new(&key.p)?,
                prime2: UintRef::new(&key.q)?,
                exponent1: UintRef::new(&key.dp)?,
                exponent2: UintRef::new(&key.dq)?,
                coefficient: UintRef::new(&key.qi)?,
                other_prime_infos: None,
            };
            info(RSA, Some(Null.into()), &Zeroizing::new(inner.to_der()?))
        }
    }
}

fn info(
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'_>>,
    private: &[u8],
) -> der::Result<SecretDocument> {
    let algorithm: AlgorithmIdentifierRef<'_> = AlgorithmIdentifier { oid, parameters };
    let private = OctetStringRef::new(private)?;
    let info: PrivateKeyInfoRef<'_> = PrivateKeyInfo::new(algorithm, private);
    SecretDocument::encode_msg(&info)
}

fn ec_private_key(text: &[u8]) -> Result<EcPrivateKey<'_>, ImportError> {
    /// What the reader says to a curve that is written out where a name belongs.
    const WRITTEN_OUT: ErrorKind =
        ErrorKind::TagUnexpected { expected: Some(Tag::ObjectIdentifier), actual: Tag::Sequence };
    EcPrivateKey::from_der(text).map_err(|error| {
        let form = "SEC 1 ECPrivateKey";
        let is_written_out = error.kind() == WRITTEN_OUT;
        if is_written_out { ImportError::UnnamedCurve } else { ImportError::Der { form, error } }
    })
}

fn read_point(key: &EcPrivateKey<'_>) -> Result<PrivateKey, ImportError> {
    if let Some(EcParameters::NamedCurve(curve)) = key.parameters {
        check_curve(curve)?;
    }
    match key.public_key {
        None => Err(ImportError::NoPublicHalf),
        Some([4, point @ ..]) if point.len() == 64 => {
            let d = Zeroizing::new(key.private_key.to_vec());
            Ok(PrivateKey::P256 { x: point[..32].into(), y: point[32..].into(), d })
        }
        Some(_) => Err(ImportError::CompressedPoint),
    }
}

/// RFC 8410 §7: the seed is an octet string within an octet string, and version 2 brings the public
/// half along. That this belongs to the seed is ring's to say.
fn read_ed25519(
    private: &[u8],
    public: Option<BitStringRef<'_>>,
) -> Result<PrivateKey, ImportError> {
    let faulty = faulty("CurvePrivateKey of RFC 8410");
    let seed = <&OctetStringRef>::from_der(private).map_err(faulty)?.as_bytes();
    match public.and_then(|public| public.as_bytes()) {
        Some(x) => Ok(PrivateKey::Ed25519 { x: x.into(), d: Zeroizing::new(seed.into()) }),
        None => PrivateKey::from_seed(seed).map_err(|_| ImportError::Seed { found: seed.len() }),
    }
}

fn named_curve(parameters: Option<AnyRef<'_>>) -> Result<ObjectIdentifier, ImportError> {
    let parameters = parameters.filter(|any| any.tag() == Tag::ObjectIdentifier);
    let curve = parameters.ok_or(ImportError::UnnamedCurve)?;
    curve.decode_as().map_err(faulty("named curve"))
}

fn check_curve(curve: ObjectIdentifier) -> Result<(), ImportError> {
    if curve == P256 { Ok(()) } else { Err(ImportError::Curve { found: name(curve) }) }
}

/// The names of what people try; of everything else the number.
fn name(oid: ObjectIdentifier) -> String {
    let number = oid.to_string();
    match number.as_str() {
        "1.3.132.0.34" => "P-384".into(),
        "1.3.132.0.35" => "P-521".into(),
        "1.3.132.0.10" => "secp256k1".into(),
        "1.3.101.110" => "X25519".into(),
        "1.3.101.111" => "X448".into(),
        "1.3.101.113" => "Ed448".into(),
        "1.2.840.113549.1.1.10" => "RSASSA-PSS".into(),
        "1.2.840.10040.4.1" => "DSA".into(),
        _ => number,
    }
}

fn faulty(form: &'static str) -> impl Fn(der::Error) -> ImportError {
    move |error| ImportError::Der { form, error }
}
