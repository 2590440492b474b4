#![doc = include_str!("../README.md")]

pub mod crypto;
pub mod json;

mod claims;
mod error;
mod keyset;
mod token;
mod verifier;

pub use claims::{
    Claims, MAX_IDENTIFIER_LENGTH, StatusReference, Timestamp, TokenId, is_identifier,
};
pub use error::{Part, VerifyError};
pub use keyset::{
    Algorithm, JwkError, JwksError, KeyId, KeySet, MAX_KEYS, PublicKey, member_bytes,
};
pub use token::{MAX_HEADER_LENGTH, MAX_TOKEN_LENGTH, TOKEN_TYPE, UnverifiedToken};
pub use verifier::{DEFAULT_MAX_LIFETIME, MAX_LEEWAY, VerifiedToken, Verifier};
