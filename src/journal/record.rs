//! One event as it stands in a segment: 128 bytes, little-endian, with a checksum. Whoever changes the
//! layout raises [`VERSION`].

use resetd_verify::{Timestamp, TokenId};

/// The layout.
pub(super) const VERSION: u32 = 2;
/// What every segment begins with.
pub(super) const MAGIC: [u8; 12] = *b"resetd-state";
/// Bytes of a record, and of the head of a segment. Four of them fill a sector, so none lies in two.
pub(super) const BYTES: usize = 128;
/// Seconds in a segment: what is over within the same hour is dropped with it.
pub(super) const HOUR: u64 = 3600;

/// A tenant, told by the beginning of a hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantTag(pub [u8; 8]);

/// A user, told by the beginning of a salted hash: names are not written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserTag(pub [u8; 16]);

/// A caller, told by the beginning of a salted hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerTag(pub [u8; 8]);

/// A token set aside for one caller, until that says whether the password was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Tells it from other holds of the same token.
    pub nonce: [u8; 8],
    /// For whom.
    pub caller: CallerTag,
    /// Whose token it is.
    pub user: UserTag,
    /// When the token was issued.
    pub iat: Timestamp,
    /// The first second in which it is over.
    pub end: Timestamp,
}

/// One try of a caller, which may be repeated: what its key and its body hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Of tenant, caller and `Idempotency-Key`.
    pub key: [u8; 16],
    /// Of the body.
    pub body: [u8; 8],
}

impl Attempt {
    /// Bytes that no other try has.
    pub fn nonce(&self) -> [u8; 8] {
        part(&self.key, 0)
    }
}

/// Why a token is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It was redeemed.
    Used,
    /// It was revoked.
    Revoked,
}

/// Whose tokens a cut-off is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everybody's.
    Everything,
    /// A tenant's.
    Tenant(TenantTag),
    /// A user's.
    User(TenantTag, UserTag),
}

/// How a cut-off changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It refuses all tokens issued up to and including this second.
    Raise(Timestamp),
    /// It refuses all but this one, up to and including the second in which that was issued.
    Supersede(Timestamp, TokenId),
    /// It lets this one pass, which was issued after it in the same second.
    Admit(Timestamp, TokenId),
}

/// What is remembered, and until when it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A token is dead.
    Mark {
        /// Its tenant.
        tenant: TenantTag,
        /// The token.
        jti: TokenId,
        /// Why.
        why: Why,
        /// Until nobody can accept it any more.
        until: Timestamp,
        /// The try that it was, if its caller may repeat it.
        attempt: Option<Attempt>,
        /// The hold that ended with it, if it was held.
        hold: Option<Hold>,
    },
    /// A token is set aside.
    Hold {
        /// Its tenant.
        tenant: TenantTag,
        /// The token.
        jti: TokenId,
        /// For whom, and how long.
        hold: Hold,
        /// Until nobody can accept or commit it any more.
        until: Timestamp,
        /// The try that it was, if its caller may repeat it.
        attempt: Option<Attempt>,
    },
    /// A token that was set aside is live again.
    Cancel {
        /// Its tenant.
        tenant: TenantTag,
        /// The token.
        jti: TokenId,
        /// What ended.
        hold: Hold,
        /// As of the hold.
        until: Timestamp,
    },
    /// A cut-off changes.
    Cutoff {
        /// Whose.
        scope: Scope,
        /// How.
        change: Change,
        /// Until the last token it refuses has expired.
        until: Timestamp,
    },
    /// Time went on.
    Tick,
}

impl Event {
    /// The try that its caller may repeat, and until when.
    pub fn attempt(&self) -> Option<(TenantTag, Attempt, Timestamp)> {
        match *self {
            Self::Mark { tenant, attempt, until, .. }
            | Self::Hold { tenant, attempt, until, .. } => {
                attempt.map(|attempt| (tenant, attempt, until))
            }
            Self::Cancel { .. } | Self::Cutoff { .. } | Self::Tick => None,
        }
    }

    /// Until when it matters.
    pub(super) fn until(&self, at: Timestamp) -> Timestamp {
        match self {
            Self::Mark { until, .. }
            | Self::Hold { until, .. }
            | Self::Cancel { until, .. }
            | Self::Cutoff { until, .. } => *until,
            Self::Tick => at,
        }
    }
}

/// An event in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The order of all events of a journal.
    pub(super) number: u64,
    /// Records of one batch were synced together.
    pub(super) batch: u64,
    /// The place in this segment of the first record of its batch.
    pub(super) first: u32,
    /// When it was written.
    pub(super) at: Timestamp,
    pub(super) event: Event,
}

impl Record {
    pub(super) fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(4, &self.first.to_le_bytes());
        put(8, &self.number.to_le_bytes());
        put(16, &self.batch.to_le_bytes());
        put(48, &self.at.seconds().to_le_bytes());
        put(56, &self.event.until(self.at).seconds().to_le_bytes());
        let mut put_token =
            |tenant: TenantTag, jti: TokenId, attempt, hold: Option<Hold>, until| {
                put(24, &tenant.0);
                put(32, jti.bytes());
                if let Some(Attempt { key, body }) = attempt {
                    put(64, &body);
                    put(72, &key);
                }
                if let Some(hold) = hold {
                    put_hold(&mut put, &hold, self.at, until);
                }
                u8::from(hold.is_some())
            };
        let (kind, scope) = match self.event {
            Event::Mark { tenant, jti, why, until, attempt, hold } => {
                let kind = if why == Why::Used { 1 } else { 2 };
                (kind, put_token(tenant, jti, attempt, hold, until))
            }
            Event::Hold { tenant, jti, hold, until, attempt } => {
                (7, put_token(tenant, jti, attempt, Some(hold), until))
            }
            Event::Cancel { tenant, jti, hold, until } => {
                (8, put_token(tenant, jti, None, Some(hold), until))
            }
            Event::Cutoff { scope, change, .. } => {
                let (kind, second, jti) = match change {
                    Change::Raise(second) => (3, second, None),
                    Change::Supersede(second, jti) => (4, second, Some(jti)),
                    Change::Admit(second, jti) => (5, second, Some(jti)),
                };
                put(64, &second.seconds().to_le_bytes());
                if let Some(jti) = jti {
                    put(72, jti.bytes());
                }
                let scope = match scope {
                    Scope::Everything => 1,
                    Scope::Tenant(tenant) => {
                        put(24, &tenant.0);
                        2
                    }
                    Scope::User(tenant, user) => {
                        put(24, &tenant.0);
                        put(32, &user.0);
                        3
                    }
                };
                (kind, scope)
            }
            Event::Tick => (6, 0),
        };
        put(0, &[kind, scope]);
        seal(&mut bytes);
        bytes
    }

    /// The batch that bytes say they are of that are no whole record; nothing if they do not say.
    pub(super) fn batch_of(bytes: &[u8]) -> Option<u64> {
        let batch = bytes.get(16..24)?;
        Some(u64::from_le_bytes(part(batch, 0))).filter(|batch| *batch > 0)
    }

    /// Nothing for bytes that are no whole record.
    pub(super) fn decode(bytes: &[u8; BYTES]) -> Option<Self> {
        if !is_sealed(bytes) {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(part(bytes, at));
        let time = |at: usize| Timestamp::from_seconds(number(at));
        let tenant = TenantTag(part(bytes, 24));
        let until = time(56);
        let hold = || read_hold(bytes, time(48), until);
        let (jti, attempt) = (TokenId::from_bytes(part(bytes, 32)), read_attempt(bytes));
        let event = match (bytes[0], bytes[1]) {
            (kind @ (1 | 2), is_held @ (0 | 1)) => Event::Mark {
                tenant,
                jti,
                why: if kind == 1 { Why::Used } else { Why::Revoked },
                until,
                attempt,
                hold: (is_held == 1).then(hold),
            },
            (7, 1) => Event::Hold { tenant, jti, hold: hold(), until, attempt },
            (8, 1) => Event::Cancel { tenant, jti, hold: hold(), until },
            (kind @ 3..=5, scope @ 1..=3) => {
                let scope = match scope {
                    1 => Scope::Everything,
                    2 => Scope::Tenant(tenant),
                    _ => Scope::User(tenant, UserTag(part(bytes, 32))),
                };
                let jti = TokenId::from_bytes(part(bytes, 72));
                let change = match kind {
                    3 => Change::Raise(time(64)),
                    4 => Change::Supersede(time(64), jti),
                    _ => Change::Admit(time(64), jti),
                };
                Event::Cutoff { scope, change, until }
            }
            (6, 0) => Event::Tick,
            _ => return None,
        };
        Some(Self {
            number: number(8),
            batch: number(16),
            first: u32::from_le_bytes(part(bytes, 4)),
            at: time(48),
            event,
        })
    }
}

fn put_hold(put: &mut impl FnMut(usize, &[u8]), hold: &Hold, at: Timestamp, until: Timestamp) {
    let left = u16::try_from(hold.end.since(at)).unwrap_or(u16::MAX);
    let age = u32::try_from(until.since(hold.iat)).unwrap_or(u32::MAX);
    put(2, &left.to_le_bytes());
    put(88, &hold.user.0);
    put(104, &hold.nonce);
    put(112, &hold.caller.0);
    put(120, &age.to_le_bytes());
}

/// The times of a hold are told by their distance from those of the record, which saves its last bytes.
fn read_hold(bytes: &[u8; BYTES], at: Timestamp, until: Timestamp) -> Hold {
    Hold {
        nonce: part(bytes, 104),
        caller: CallerTag(part(bytes, 112)),
        user: UserTag(part(bytes, 88)),
        iat: until.minus(u32::from_le_bytes(part(bytes, 120)).into()),
        end: at.plus(u16::from_le_bytes(part(bytes, 2)).into()),
    }
}

/// Nothing is all zeros; a hash never is.
fn read_attempt(bytes: &[u8; BYTES]) -> Option<Attempt> {
    let attempt = Attempt { key: part(bytes, 72), body: part(bytes, 64) };
    (attempt.key != [0; 16]).then_some(attempt)
}

/// The head of the segment for this hour.
pub(super) fn head(hour: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..12].copy_from_slice(&MAGIC);
    bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&hour.to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// The layout that a head names, and its hour; nothing for bytes that are no whole head.
pub(super) fn read_head(bytes: &[u8; BYTES]) -> Option<(u32, u64)> {
    let is_head = bytes[..12] == MAGIC && is_sealed(bytes);
    is_head.then(|| (u32::from_le_bytes(part(bytes, 12)), u64::from_le_bytes(part(bytes, 16))))
}

fn seal(bytes: &mut [u8; BYTES]) {
    let sum = crc32fast::hash(&bytes[..BYTES - 4]);
    bytes[BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
}

fn is_sealed(bytes: &[u8; BYTES]) -> bool {
    crc32fast::hash(&bytes[..BYTES - 4]).to_le_bytes() == bytes[BYTES - 4..]
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}
