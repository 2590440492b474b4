//! Answers to requests for tokens and links that may be repeated, in memory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::Entry;
use moka::ops::compute::Op;
use moka::sync::Cache;
use resetd_verify::Claims;

use super::tenant::Promised;
use crate::domain::issue::IssuedToken;
use crate::domain::policy::MAX_HOLD;
use crate::journal::Attempt;
use crate::revocation::RedemptionId;

/// How long an answer can be repeated.
const LIFE: Duration = Duration::from_secs(3600);

/// The answers. They hold tokens, so `Debug` only counts them.
pub(super) struct Answers(Cache<[u8; 16], Answer>);

#[derive(Clone)]
struct Answer {
    body: [u8; 8],
    /// Nothing while it is being made.
    given: Option<Given>,
}

/// What a request was answered with.
#[derive(Clone)]
pub(super) enum Given {
    /// A token.
    Token(Arc<IssuedToken>),
    /// The promise of a link.
    Promise(Promised),
}

/// What is known of a request that may have come before.
pub(super) enum Asked<'a> {
    /// It did not. It is under way until the ticket is used or dropped.
    First(Ticket<'a>),
    /// This was the answer.
    Before(Given),
    /// It is under way.
    Running,
    /// Its key came with another body.
    Other,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self(Cache::builder().time_to_live(LIFE).build())
    }

    /// Of all with the same key, one is the first.
    pub(super) fn ask(&self, attempt: Attempt) -> Asked<'_> {
        let running = Answer { body: attempt.body, given: None };
        let entry = self.0.entry(attempt.key).or_insert_with(|| running);
        if entry.is_fresh() {
            return Asked::First(Ticket { answers: self, attempt });
        }
        match entry.into_value() {
            Answer { body, .. } if body != attempt.body => Asked::Other,
            Answer { given: Some(given), .. } => Asked::Before(given),
            Answer { given: None, .. } => Asked::Running,
        }
    }

    /// Whether a request has its answer, or will have.
    pub(super) fn knows(&self, attempt: Attempt) -> bool {
        self.0.contains_key(&attempt.key)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.entry_count()
    }

    pub(super) fn tidy(&self) {
        self.0.run_pending_tasks();
    }
}

/// What tokens say that are held, so that others can be told when one is spent. In memory: the name of a
/// redemption does not tell. Nothing stands for one that others were told of.
pub(super) struct Held(Cache<RedemptionId, Option<Arc<Claims>>>);

/// What can be told of a redemption that ended.
pub(super) enum Ended {
    /// All of it.
    Of(Arc<Claims>),
    /// It was told before.
    Told,
    /// No more than its name says: it began before this process did.
    Unseen,
}

impl Held {
    pub(super) fn new() -> Self {
        Self(Cache::builder().time_to_live(Duration::from_secs(2 * MAX_HOLD)).build())
    }

    pub(super) fn insert(&self, id: RedemptionId, claims: &Claims) {
        self.0.entry(id).or_insert_with(|| Some(Arc::new(claims.clone())));
    }

    /// Of all who ask, one learns what there is to tell.
    pub(super) fn end(&self, id: &RedemptionId) -> Ended {
        let mut before = None;
        self.0.entry(*id).and_compute_with(|entry| {
            before = entry.map(Entry::into_value);
            Op::Put(None)
        });
        match before {
            Some(Some(claims)) => Ended::Of(claims),
            Some(None) => Ended::Told,
            None => Ended::Unseen,
        }
    }

    pub(super) fn tidy(&self) {
        self.0.run_pending_tasks();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Held({})", self.0.entry_count())
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Answers({})", self.count())
    }
}

/// The right to give the answer. Dropped without one, as when its client went away, it frees the key.
pub(super) struct Ticket<'a> {
    answers: &'a Answers,
    attempt: Attempt,
}

impl Ticket<'_> {
    pub(super) fn answer(self, given: Given) {
        let answer = Answer { body: self.attempt.body, given: Some(given) };
        self.answers.0.insert(self.attempt.key, answer);
        std::mem::forget(self);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.answers.0.invalidate(&self.attempt.key);
    }
}
