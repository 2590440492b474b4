//! What is said of one token, and what may become of that. Pure: `memory.rs` makes each step atomic.
//!
//! ```text
//!            redeem
//!      live ────────────────────────────────▶ used
//!       │ ▲                                    ▲
//!  hold │ │ it is over, or a cancel is written │ a commit is written
//!       ▼ │                                    │
//!      held ── commit, cancel ──▶ ending ──────┘
//!
//!      live, held ── revoke ──▶ revoked
//! ```
//!
//! What cannot be written goes back to where it came from.

use std::sync::Arc;

use resetd_verify::Timestamp;

use crate::journal::{CallerTag, Hold, UserTag, Why};

/// What is said of a token of which anything is said. The others are live.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mark {
    /// It was redeemed at once.
    Used,
    /// It was revoked.
    Revoked,
    /// It is set aside until its hold is over.
    Held(Arc<Held>),
    /// Its commit or cancel is on its way to the disk, so nothing else may become of it.
    Ending(Arc<Held>),
    /// It was held and then redeemed.
    Committed(Arc<Committed>),
}

/// A hold and the end of all interest in its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) hold: Hold,
    pub(super) until: Timestamp,
}

/// A hold that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Committed {
    pub(super) hold: Hold,
    pub(super) at: Timestamp,
}

/// Why a token that verifies is not live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was redeemed.
    Used,
    /// It was revoked, by itself or with others.
    Revoked,
    /// It is set aside for a redemption.
    Held {
        /// From when it may be live again.
        end: Timestamp,
        /// For whom.
        caller: CallerTag,
    },
    /// It was issued before the time from which on it is known what was spent.
    PredatesStart,
    /// It expired while it was claimed.
    Expired(Timestamp),
}

/// Why a hold cannot be committed or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// It was committed.
    Committed {
        /// When.
        at: Timestamp,
        /// Whose token it was.
        user: UserTag,
    },
    /// Its commit or cancel is on its way to the disk.
    Ending,
    /// It was cancelled.
    Cancelled,
    /// This caller has no such hold.
    Unknown,
    /// It was over then.
    Expired(Timestamp),
    /// Its token was revoked meanwhile.
    Revoked,
    /// It is not known any more what became of its token.
    PredatesStart,
}

impl Mark {
    /// A mark that nothing takes away: a token that was spent or revoked.
    pub(super) fn last(why: Why, hold: Option<Hold>, at: Timestamp) -> Self {
        match (why, hold) {
            (Why::Revoked, _) => Self::Revoked,
            (Why::Used, None) => Self::Used,
            (Why::Used, Some(hold)) => Self::Committed(Arc::new(Committed { hold, at })),
        }
    }

    /// Whether anybody but a holder may have the token now.
    pub(super) fn refuses(&self, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::Used | Self::Committed(_) => Err(Refusal::Used),
            Self::Revoked => Err(Refusal::Revoked),
            Self::Held(held) if held.hold.end <= now => Ok(()),
            Self::Held(held) | Self::Ending(held) => {
                Err(Refusal::Held { end: held.hold.end, caller: held.hold.caller })
            }
        }
    }

    /// Whether it can be revoked, and the hold that ends with it.
    pub(super) fn revoke(&self, now: Timestamp) -> Result<Option<Held>, Refusal> {
        if let Self::Held(held) = self
            && held.hold.end > now
        {
            return Ok(Some(**held));
        }
        self.refuses(now).map(|()| None)
    }

    /// Whether this hold is in force, so that its caller can commit or cancel it.
    pub(super) fn end(
        mark: Option<&Self>,
        wanted: &HoldRef,
        now: Timestamp,
    ) -> Result<Held, NotHeld> {
        let is_it = |other: &Hold| (other.nonce, other.caller) == (wanted.nonce, wanted.caller);
        match mark {
            Some(Self::Ending(held)) if is_it(&held.hold) => Err(NotHeld::Ending),
            Some(Self::Committed(done)) if is_it(&done.hold) => {
                Err(NotHeld::Committed { at: done.at, user: done.hold.user })
            }
            Some(Self::Revoked) => Err(NotHeld::Revoked),
            // Everything below is over whatever stands there.
            _ if wanted.end <= now => Err(NotHeld::Expired(wanted.end)),
            Some(Self::Held(held)) if is_it(&held.hold) => Ok(**held),
            _ => Err(NotHeld::Cancelled),
        }
    }
}

/// Which hold is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HoldRef {
    pub(super) nonce: [u8; 8],
    pub(super) caller: CallerTag,
    pub(super) end: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    #[test]
    fn what_can_be_said_of_a_hold_depends_on_what_became_of_its_token() {
        let hold = |nonce: u8, end| Hold {
            nonce: [nonce; 8],
            caller: CallerTag([1; 8]),
            user: UserTag([1; 16]),
            iat: NOW,
            end,
        };
        let (end, over) = (NOW.plus(5), NOW.plus(5));
        let of = |nonce| Arc::new(Held { hold: hold(nonce, end), until: NOW.plus(900) });
        let done = |nonce| Arc::new(Committed { hold: hold(nonce, end), at: NOW });
        let wanted = HoldRef { nonce: [1; 8], caller: CallerTag([1; 8]), end };
        let expired = Err(NotHeld::Expired(end));
        for (mark, now, later) in [
            (None, Err(NotHeld::Cancelled), expired),
            (Some(Mark::Used), Err(NotHeld::Cancelled), expired),
            (Some(Mark::Revoked), Err(NotHeld::Revoked), Err(NotHeld::Revoked)),
            (Some(Mark::Held(of(1))), Ok(*of(1)), expired),
            (Some(Mark::Held(of(2))), Err(NotHeld::Cancelled), expired),
            (Some(Mark::Ending(of(1))), Err(NotHeld::Ending), Err(NotHeld::Ending)),
            (Some(Mark::Ending(of(2))), Err(NotHeld::Cancelled), expired),
            (
                Some(Mark::Committed(done(1))),
                Err(NotHeld::Committed { at: NOW, user: UserTag([1; 16]) }),
                Err(NotHeld::Committed { at: NOW, user: UserTag([1; 16]) }),
            ),
            (Some(Mark::Committed(done(2))), Err(NotHeld::Cancelled), expired),
        ] {
            assert_eq!(Mark::end(mark.as_ref(), &wanted, NOW), now, "{mark:?}");
            assert_eq!(Mark::end(mark.as_ref(), &wanted, over), later, "{mark:?}, later");
        }
    }

    #[test]
    fn what_is_being_ended_is_refused_also_after_its_time() {
        let hold = Hold {
            nonce: [1; 8],
            caller: CallerTag([1; 8]),
            user: UserTag([1; 16]),
            iat: NOW,
            end: NOW,
        };
        let ending = Mark::Ending(Arc::new(Held { hold, until: NOW }));
        let refused = Refusal::Held { end: NOW, caller: CallerTag([1; 8]) };
        assert_eq!(ending.refuses(NOW.plus(1)), Err(refused));
        assert_eq!(ending.revoke(NOW.plus(1)), Err(refused));
    }
}
