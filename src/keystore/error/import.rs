//! What can be wrong with a private key that comes from elsewhere.

use pkcs8::der;
use resetd_verify::Algorithm;

use super::SealError;

/// Why a file from elsewhere is not taken as a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It has no PEM block and is no JSON.
    #[error(
        "is neither PEM nor a JWK; wanted one private key; mend it, if it is DER: openssl pkey -inform DER -in old.der -out new.pem"
    )]
    NotAKey,
    /// A PEM block has no end.
    #[error("the PEM block {label:?} does not end; put a whole copy in its place")]
    CutOff {
        /// What the block is called.
        label: String,
    },
    /// There is more than one key.
    #[error("holds {found} PEM blocks; wanted one private key; put each into a file of its own")]
    Several {
        /// Blocks found.
        found: usize,
    },
    /// There is a JWK Set.
    #[error("is a set of keys; wanted one private JWK by itself, without \"keys\"")]
    KeySet,
    /// There is text after the key.
    #[error("has text after the key; remove it, the key may not be what you think it is")]
    TextAfter,
    /// A PEM block is not that of RFC 7468.
    #[error("the PEM block {label:?} cannot be read: {error}; put a whole copy in its place")]
    Pem {
        /// What the block is called.
        label: String,
        /// Where it goes wrong.
        #[source]
        error: der::pem::Error,
    },
    /// There is no private half.
    #[error("holds {found}; wanted the private key that belongs to it")]
    NotPrivate {
        /// What there is.
        found: &'static str,
    },
    /// The PEM block is for something else.
    #[error(
        "holds a PEM block {label:?}; wanted PRIVATE KEY, ENCRYPTED PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY"
    )]
    OtherBlock {
        /// What the block is called.
        label: String,
    },
    /// It is encrypted as OpenSSL did before PKCS#8.
    #[error(
        "is encrypted in an old way (Proc-Type: 4,ENCRYPTED); mend it: openssl pkcs8 -topk8 -in old.pem -out new.pem"
    )]
    LegacyEncryption,
    /// It is encrypted and there is nothing to decrypt it with.
    #[error("is encrypted; give the passphrase that decrypts it")]
    NoPassphrase,
    /// The passphrase is another one's.
    #[error("is encrypted with another passphrase than the one given")]
    WrongPassphrase,
    /// It is encrypted in a way that is not read.
    #[error(transparent)]
    Sealed(SealError),
    /// The bytes in the PEM block are no such key.
    #[error("is no {form}: {error}; put a whole copy in its place")]
    Der {
        /// The standard that they should keep to.
        form: &'static str,
        /// Where they go wrong.
        #[source]
        error: der::Error,
    },
    /// The key is of a kind that no token is signed with.
    #[error("is a key of the kind {found}; wanted EC on P-256, Ed25519 or RSA")]
    Kind {
        /// The name or object identifier of the kind.
        found: String,
    },
    /// The key lies on another curve.
    #[error("is a key on the curve {found}; wanted P-256 or Ed25519")]
    Curve {
        /// The name or object identifier of the curve.
        found: String,
    },
    /// The curve is given by its numbers or not at all.
    #[error(
        "does not name its curve; mend it: openssl ec -in old.pem -param_enc named_curve -out new.pem"
    )]
    UnnamedCurve,
    /// There is only the scalar, and ring does not compute the point.
    #[error("has no public half; mend it: openssl ec -in old.pem -out new.pem")]
    NoPublicHalf,
    /// The point is written by one coordinate, and ring does not compute the other.
    #[error(
        "has a compressed public half; mend it: openssl ec -in old.pem -conv_form uncompressed -out new.pem"
    )]
    CompressedPoint,
    /// An RSA key is too weak or too long.
    #[error("is an RSA key of {found} bits; wanted 2048 to 4096")]
    ModulusBits {
        /// The bits of its modulus.
        found: usize,
    },
    /// The public exponent of an RSA key is weak or unusual.
    #[error("has the RSA exponent 0x{found}; wanted an odd one from 0x10001 to 0xffffffff")]
    Exponent {
        /// The exponent, hexadecimal.
        found: String,
    },
    /// An RSA key has more than two primes.
    #[error("is an RSA key of more than two primes; wanted two")]
    MultiPrime,
    /// The key is a shared secret.
    #[error("is a symmetric key; wanted a private key whose public half verifiers may know")]
    Symmetric,
    /// A member of a JWK names another algorithm than those that resetd signs with.
    #[error("the member \"alg\" is no algorithm for this key; wanted {wanted}")]
    OtherAlgorithm {
        /// The algorithms for this kind of key.
        wanted: &'static str,
    },
    /// The key is not for the algorithm that was asked for.
    #[error("is a key for {wanted}, not for {asked}")]
    Algorithm {
        /// The algorithms that it is for.
        wanted: &'static str,
        /// What was asked for.
        asked: Algorithm,
    },
    /// An Ed25519 key is cut or padded.
    #[error("has an Ed25519 seed of {found} bytes; wanted 32")]
    Seed {
        /// Its bytes.
        found: usize,
    },
}

impl From<SealError> for ImportError {
    /// Says what concerns the passphrases in the words of an import.
    fn from(error: SealError) -> Self {
        match error {
            SealError::NoPassphrase => Self::NoPassphrase,
            SealError::WrongPassphrase { .. } => Self::WrongPassphrase,
            SealError::NothingToSealWith
            | SealError::AlsoInClear
            | SealError::Malformed { .. }
            | SealError::Unsupported { .. }
            | SealError::Cost { .. } => Self::Sealed(error),
        }
    }
}
