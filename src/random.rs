//! Random bytes from the operating system, drawn in one call for many tokens.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use resetd_verify::TokenId;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroize as _;

/// How many bytes are drawn at once: enough for 256 token identifiers. One system call costs as
/// much as hashing a kilobyte, so drawing 16 bytes at a time would be a tenth of the cost of a
/// token.
const POOL_BYTES: usize = 4096;

/// A pool of random bytes, each handed out once.
pub struct Random {
    source: SystemRandom,
    pool: Mutex<Pool>,
}

struct Pool {
    bytes: Vec<u8>,
    used: usize,
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

impl Random {
    /// Starts with an empty pool.
    pub fn new() -> Self {
        let pool = Mutex::new(Pool { bytes: vec![0; POOL_BYTES], used: POOL_BYTES });
        Self { source: SystemRandom::new(), pool }
    }

    /// Bytes that were never handed out before.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.used + N > POOL_BYTES {
            self.source.fill(&mut pool.bytes).map_err(|_| NoRandomness)?;
            pool.used = 0;
        }
        let range = pool.used..pool.used + N;
        pool.used = range.end;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&pool.bytes[range.clone()]);
        pool.bytes[range].zeroize();
        Ok(bytes)
    }

    /// A new token identifier of 128 random bits.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn token_id(&self) -> Result<TokenId, NoRandomness> {
        self.bytes().map(TokenId::from_bytes)
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Random(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_hundred_thousand_identifiers_are_all_different() {
        let random = Random::new();
        let ids: HashSet<_> = (0..100_000).map(|_| random.token_id().unwrap()).collect();
        assert_eq!(ids.len(), 100_000);
    }
}
