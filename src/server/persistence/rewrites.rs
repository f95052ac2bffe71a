//! The state of rewrites of the log: whether one is due, and the results of the last ones.

use std::time::Duration;

/// After this many failures in a row, automatic rewrites are tried less and less often.
const FAILURES: u32 = 3;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// See the module's head.
#[derive(Debug)]
pub struct Rewrites {
    /// Whether a rewrite waits for another child to exit.
    pub scheduled: bool,
    /// Whether the last rewrite succeeded.
    pub succeeded: bool,
    /// How long it took.
    pub last_duration: Option<Duration>,
    /// Bytes that were copied because parent or child wrote to them while the last one ran.
    pub last_cow_bytes: u64,
    /// Rewrites that have begun since the start.
    pub begun: u64,
    /// Failures since the last success.
    pub failures: u32,
    /// The size of the log after the last rewrite, or at the start.
    pub base_size: u64,
    next_try_us: Option<u64>,
}

impl Default for Rewrites {
    fn default() -> Self {
        Rewrites {
            scheduled: false,
            succeeded: true,
            last_duration: None,
            last_cow_bytes: 0,
            begun: 0,
            failures: 0,
            base_size: 0,
            next_try_us: None,
        }
    }
}

impl Rewrites {
    /// Returns by how many percent a log of `size` has grown since the last rewrite, if that makes another one due:
    /// `auto-aof-rewrite-percentage` and `auto-aof-rewrite-min-size`.
    pub fn due(&self, size: u64, percentage: u32, min_size: u64) -> Option<u64> {
        if percentage == 0 || size <= min_size {
            return None;
        }
        let growth = (u128::from(size) * 100 / u128::from(self.base_size.max(1))).saturating_sub(100);
        let growth = u64::try_from(growth).unwrap_or(u64::MAX);
        (growth >= u64::from(percentage)).then_some(growth)
    }

    /// Whether an automatic rewrite has to wait because the last ones failed: a minute after the third failure, twice
    /// as long after each further one, at most an hour. Also returns the new pause if one begins with this call.
    pub fn is_limited(&mut self, now_us: u64) -> (bool, Option<Duration>) {
        if self.failures < FAILURES {
            self.next_try_us = None;
            return (false, None);
        }
        match self.next_try_us {
            Some(next) if now_us < next => (true, None),
            Some(_) => {
                self.next_try_us = None;
                (false, None)
            }
            None => {
                let doubled = 1u64.checked_shl(self.failures - FAILURES).unwrap_or(u64::MAX);
                let pause = Duration::from_secs(doubled.saturating_mul(60)).min(LONGEST_PAUSE);
                self.next_try_us = Some(now_us + pause.as_micros() as u64);
                (true, Some(pause))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_is_due_when_the_log_has_grown_by_its_percentage() {
        let rewrites = Rewrites { base_size: 1000, ..Rewrites::default() };
        assert_eq!(rewrites.due(1999, 100, 0), None);
        assert_eq!(rewrites.due(2000, 100, 0), Some(100));
        assert_eq!(rewrites.due(2000, 100, 2000), None, "it has to be larger than the least size");
        assert_eq!(rewrites.due(2000, 0, 0), None);
        assert_eq!(Rewrites::default().due(u64::MAX, 100, 0), Some(u64::MAX), "there was no rewrite yet");
    }

    #[test]
    fn failures_make_the_next_tries_wait_longer_and_longer() {
        let start = 1_000_000;
        let at = |minutes: u64| start + minutes * 60_000_000;
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        let mut rewrites = Rewrites { failures: 2, ..Rewrites::default() };
        assert_eq!(rewrites.is_limited(start), (false, None));
        rewrites.failures = 3;
        assert_eq!(rewrites.is_limited(start), (true, minutes(1)));
        assert_eq!(rewrites.is_limited(start), (true, None));
        assert_eq!(rewrites.is_limited(at(1)), (false, None));
        rewrites.failures = 5;
        assert_eq!(rewrites.is_limited(at(1)), (true, minutes(4)));
        assert_eq!(rewrites.is_limited(at(5)), (false, None));
        rewrites.failures = 200;
        assert_eq!(rewrites.is_limited(at(5)), (true, minutes(60)));
        rewrites.failures = 0;
        assert_eq!(rewrites.is_limited(at(6)), (false, None), "one that worked ends the pause");
    }
}
