//! Encryption of a private half at rest: PKCS#8 `EncryptedPrivateKeyInfo` (RFC 5958 §3) with PBES2
//! (RFC 8018 §6.2), which any other tool can decrypt.

use pkcs5::pbes2::{Kdf, PBES2_OID, Parameters, Pbkdf2Params, ScryptParams};
use pkcs5::scrypt;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Decode as _, Encode as _, ErrorKind, Reader as _};
use pkcs8::{AlgorithmIdentifierRef, EncryptedPrivateKeyInfo, PrivateKeyInfoRef};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::error::{KeystoreError, SealError};
use super::private::Wiped;
use crate::domain::secret::Secret;

/// scrypt with N = 2^15, r = 8 and p = 1: 32 MiB and about a tenth of a second in a release build, for
/// each key and passphrase tried. A folder has a handful of keys and is read when it changes; whoever
/// guesses pays this for every guess.
const LOG_N: u8 = 15;
const R: u32 = 8;
const P: u32 = 1;

/// The most of N·r·p that is read: 128 MiB, four times what is written. A file from elsewhere must
/// not take all memory before it turns out that its passphrase is wrong.
const MOST_SCRYPT: u64 = 1 << 20;
/// The most rounds of PBKDF2 that are read: seconds. OpenSSL writes 2048, password managers 600,000.
const MOST_PBKDF2: u32 = 2_000_000;

/// The block of AES, and so the most that padding adds.
const BLOCK: usize = 16;

/// A private half that was decrypted.
pub(super) struct Opened {
    /// DER of a PKCS#8 `PrivateKeyInfo`.
    pub(super) der: Wiped,
    /// Which of the passphrases it was, from 0.
    pub(super) by: usize,
}

/// Encrypts DER of a PKCS#8 `PrivateKeyInfo`. Salt and IV are new each time.
pub(super) fn seal(private: &[u8], passphrase: &Secret) -> Result<Vec<u8>, KeystoreError> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    let random = SystemRandom::new();
    for bytes in [&mut salt, &mut iv] {
        random.fill(bytes).map_err(|_| KeystoreError::NoRandomness)?;
    }
    let invalid = |_| pkcs8::Error::ParametersMalformed;
    let cost = scrypt::Params::new(LOG_N, R, P).map_err(invalid)?;
    let parameters =
        Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(pkcs8::Error::from)?;
    let mut buffer = Zeroizing::new([private, &[0; BLOCK]].concat());
    let encrypted = parameters
        .encrypt_in_place(passphrase.expose(), &mut buffer, private.len())
        .map_err(pkcs8::Error::from)?;
    let encrypted_data = OctetStringRef::new(encrypted).map_err(pkcs8::Error::from)?;
    let sealed =
        EncryptedPrivateKeyInfo { encryption_algorithm: parameters.into(), encrypted_data };
    Ok(sealed.to_der().map_err(pkcs8::Error::from)?)
}

/// Decrypts with the first passphrase that fits.
pub(super) fn open(sealed: &[u8], passphrases: &[Secret]) -> Result<Opened, SealError> {
    let (algorithm, encrypted) = container(sealed).map_err(faulty)?;
    let other = || SealError::Unsupported { found: algorithm.oid.to_string() };
    let parameters = algorithm.parameters.filter(|_| algorithm.oid == PBES2_OID);
    let parameters: Parameters = parameters.ok_or_else(other)?.try_into().map_err(faulty)?;
    check_cost(&parameters.kdf)?;
    for (by, passphrase) in passphrases.iter().enumerate() {
        if let Some(der) = decrypt(&parameters, encrypted.as_bytes(), passphrase)? {
            return Ok(Opened { der, by });
        }
    }
    Err(match passphrases.len() {
        0 => SealError::NoPassphrase,
        tried => SealError::WrongPassphrase { tried },
    })
}

/// An `EncryptedPrivateKeyInfo`, of whichever algorithm: its own reader takes other ones than PBES2
/// for malformed.
fn container(sealed: &[u8]) -> der::Result<(AlgorithmIdentifierRef<'_>, &OctetStringRef)> {
    AnyRef::from_der(sealed)?.sequence(|reader| Ok((reader.decode()?, reader.decode()?)))
}

/// Nothing where the passphrase is another one's. Of wrong passphrases, one in 256 leaves a padding
/// that looks right, so what comes out must look like a key too.
fn decrypt(
    parameters: &Parameters,
    encrypted: &[u8],
    passphrase: &Secret,
) -> Result<Option<Wiped>, SealError> {
    let mut buffer = Zeroizing::new(encrypted.to_vec());
    let length = match parameters.decrypt_in_place(passphrase.expose(), &mut buffer) {
        Ok(plain) => plain.len(),
        Err(pkcs5::Error::DecryptFailed) => return Ok(None),
        Err(error) => return Err(unsupported(error)),
    };
    buffer.truncate(length);
    Ok(PrivateKeyInfoRef::from_der(&buffer).is_ok().then_some(buffer))
}

fn check_cost(kdf: &Kdf) -> Result<(), SealError> {
    match (kdf.scrypt(), kdf.pbkdf2()) {
        (Some(scrypt), _) => check_scrypt(scrypt),
        (_, Some(pbkdf2)) => check_pbkdf2(pbkdf2),
        _ => Err(SealError::Unsupported { found: kdf.oid().to_string() }),
    }
}

/// Also N itself: pkcs5 panics at 0.
fn check_scrypt(scrypt: &ScryptParams) -> Result<(), SealError> {
    let (n, r, p) = (scrypt.cost_parameter, scrypt.block_size, scrypt.parallelization);
    let work = n.checked_mul(r.into()).and_then(|work| work.checked_mul(p.into()));
    if n.is_power_of_two() && n > 1 && work.is_some_and(|work| (1..=MOST_SCRYPT).contains(&work)) {
        return Ok(());
    }
    Err(SealError::Cost {
        found: format!("scrypt of N = {n}, r = {r}, p = {p}"),
        wanted: format!("N a power of two and N·r·p at most {MOST_SCRYPT}"),
    })
}

fn check_pbkdf2(pbkdf2: &Pbkdf2Params) -> Result<(), SealError> {
    let rounds = pbkdf2.iteration_count;
    if (1..=MOST_PBKDF2).contains(&rounds) {
        return Ok(());
    }
    Err(SealError::Cost {
        found: format!("{rounds} rounds of PBKDF2"),
        wanted: format!("1 to {MOST_PBKDF2}"),
    })
}

fn faulty(error: der::Error) -> SealError {
    if let ErrorKind::OidUnknown { oid } = error.kind() {
        return SealError::Unsupported { found: oid.to_string() };
    }
    SealError::Malformed { error }
}

fn unsupported(error: pkcs5::Error) -> SealError {
    use pkcs5::Error::{AlgorithmParametersInvalid, UnsupportedAlgorithm};
    if let UnsupportedAlgorithm { oid } | AlgorithmParametersInvalid { oid } = error {
        return SealError::Unsupported { found: oid.to_string() };
    }
    SealError::Unsupported { found: error.to_string() }
}

#[cfg(test)]
mod tests;
