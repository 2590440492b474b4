//! The only place that reads the clock.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use resetd_verify::Timestamp;

/// A source of the current time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Seconds by which the machine's own clock lags behind [`now`](Self::now), because it was set
    /// back.
    fn lag(&self) -> u64;
}

/// The machine's clock, made steady: it never runs backwards and never slower than the monotonic
/// clock.
///
/// Marks of spent tokens are dropped by the monotonic clock, while `exp` is wall-clock time. Were
/// the wall clock to be set back and obeyed, a token would become valid again after its mark is
/// gone.
#[derive(Debug)]
pub struct SystemClock(Mutex<Steady>);

impl SystemClock {
    /// Starts from the machine's clock.
    pub fn new() -> Self {
        Self(Mutex::new(Steady { time: wall_clock(), at: Instant::now() }))
    }

    /// Starts from the machine's clock, or from this time if that is later: what was written down at a
    /// time is not before it.
    pub fn not_before(floor: Timestamp) -> Self {
        let time = wall_clock().max(Duration::from_secs(floor.seconds()));
        Self(Mutex::new(Steady { time, at: Instant::now() }))
    }

    fn read(&self) -> (Duration, Duration) {
        let wall = wall_clock();
        let mut steady = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (steady.advance(wall, Instant::now()), wall)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.read().0.as_secs())
    }

    fn lag(&self) -> u64 {
        let (now, wall) = self.read();
        now.saturating_sub(wall).as_secs()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The last answer and the monotonic moment it was given.
#[derive(Debug)]
struct Steady {
    time: Duration,
    at: Instant,
}

impl Steady {
    fn advance(&mut self, wall: Duration, at: Instant) -> Duration {
        let monotonic = self.time + at.saturating_duration_since(self.at);
        *self = Self { time: monotonic.max(wall), at };
        self.time
    }
}

/// A clock that stands still until it is moved. For tests, and for `--at` on the command line.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.seconds()))
    }

    /// Goes to `now`, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.seconds(), Ordering::SeqCst);
    }

    /// Goes forward by so many seconds.
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::SeqCst))
    }

    fn lag(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_goes_on_at_the_pace_of_the_monotonic_clock() {
        let second = Duration::from_secs;
        let start = Instant::now();
        let mut steady = Steady { time: second(1000), at: start };
        assert_eq!(steady.advance(second(1010), start + second(10)), second(1010));
        // An hour back: neither backwards nor standing still.
        assert_eq!(steady.advance(second(0), start + second(15)), second(1015));
        assert_eq!(steady.advance(second(5), start + second(20)), second(1020));
        // Forward again, past where it would be.
        assert_eq!(steady.advance(second(2000), start + second(21)), second(2000));
    }
}
