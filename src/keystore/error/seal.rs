//! What can be wrong with the encryption of a private half.

use pkcs8::der;

/// Why an encrypted private half cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is encrypted and there is nothing to decrypt it with.
    #[error(
        "is encrypted and there is no passphrase; name the file that has it in keys.passphrase_file"
    )]
    NoPassphrase,
    /// None of the passphrases decrypts it.
    #[error(
        "is encrypted with another passphrase than the {tried} of keys.passphrase_file; add the right one there as the last line"
    )]
    WrongPassphrase {
        /// How many there are.
        tried: usize,
    },
    /// It should be encrypted and there is nothing to encrypt it with.
    #[error(
        "cannot be encrypted without a passphrase; name the file that has it in keys.passphrase_file"
    )]
    NothingToSealWith,
    /// The private half stands beside its own encryption.
    #[error(
        "has its private members in clear and encrypted; remove those in clear if the encrypted ones can be decrypted"
    )]
    AlsoInClear,
    /// The container is none of RFC 5958 §3.
    #[error("is no PKCS#8 EncryptedPrivateKeyInfo: {error}; put a whole copy in its place")]
    Malformed {
        /// Where it goes wrong.
        #[source]
        error: der::Error,
    },
    /// It is encrypted in an old or unknown way.
    #[error(
        "is encrypted with {found}; wanted PBES2 of scrypt or PBKDF2 with SHA-2, and AES; mend it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in old.pem -out new.pem"
    )]
    Unsupported {
        /// The name or object identifier of the algorithm.
        found: String,
    },
    /// Deriving the key would take too long or too much memory, or is no work at all.
    #[error("derives its key with {found}; wanted {wanted}; encrypt it anew with less")]
    Cost {
        /// The parameters found.
        found: String,
        /// What they may be.
        wanted: String,
    },
}
