//! How long to wait before something is tried again.

use std::time::Duration;

/// The wait after the first try.
const FIRST: u64 = 2_000;
/// The longest wait.
const LONGEST: u64 = 300_000;

/// Twice as long after every try, and a random part of it less, so that what failed at once does not come
/// back at once. `chance` is that part: all of its values are as likely.
pub(super) fn pause(tries: u32, chance: u8) -> Duration {
    let whole = FIRST.saturating_mul(1 << tries.min(16)).min(LONGEST);
    Duration::from_millis(whole - whole / 2 * u64::from(chance) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_as_long_up_to_five_minutes() {
        let pauses: Vec<_> = (0..10).map(|tries| pause(tries, 0).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause(u32::MAX, 0).as_secs(), 300);
    }

    #[test]
    fn chance_takes_up_to_a_half_of_it() {
        assert_eq!(pause(0, 255), Duration::from_secs(1));
        assert_eq!(pause(8, 255), Duration::from_secs(150));
        let middle = pause(0, 128).as_millis();
        assert!((1400..1600).contains(&middle), "{middle}");
    }
}
