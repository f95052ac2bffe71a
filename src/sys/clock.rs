//! The one place that reads the time.
//!
//! Three clocks for three purposes. [`wall_us`] is the date (expiry times are dates); [`monotonic_us`] measures
//! durations; [`ticks`] measures durations so short that reading the kernel's clock would distort them: it reads the
//! processor's counter, at half the cost or less, and a [`TickRate`] converts differences to nanoseconds afterwards.
//! Neither is free (26 ns for ticks and 54 ns for the clock on one virtual machine), so a span that ends where the next
//! begins should share its reading.
//!
//! Limits: ticks are for statistics. Their rate may change when a virtual machine moves to another host, which
//! [`TickRate::refresh`] follows. Two cores may disagree by a few nanoseconds; [`TickRate::since`] returns 0 for a
//! negative difference.

use std::time::Duration;

/// Microseconds since an arbitrary moment before the process started; never goes back.
#[inline]
pub fn monotonic_us() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC) / 1000
}

/// [`monotonic_us`] in nanoseconds.
#[inline]
pub fn monotonic_ns() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC)
}

/// The start of a measured duration.
#[derive(Clone, Copy, Debug)]
pub struct Since(u64);

impl Since {
    /// Starts now.
    pub fn now() -> Since {
        Since(monotonic_ns())
    }

    /// The time elapsed since the start.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(monotonic_ns() - self.0)
    }
}

/// Microseconds since 1970-01-01 00:00 UTC; jumps when the administrator sets the clock.
#[inline]
pub fn wall_us() -> u64 {
    read_ns(libc::CLOCK_REALTIME) / 1000
}

#[inline]
fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable; the two clocks used here exist everywhere, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The processor's counter, in a unit that only a [`TickRate`] knows. Only differences are meaningful.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the instruction; it touches no memory.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let ticks: u64;
        // SAFETY: reads a register that all systems let user code read; touches no memory.
        unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
        ticks
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        read_ns(libc::CLOCK_MONOTONIC)
    }
}

/// A rate measured over this time is exact to a few millionths.
const EXACT_NS: u64 = 100_000_000;

/// How many nanoseconds a tick takes, measured by reading both clocks twice.
#[derive(Clone, Debug)]
pub struct TickRate {
    /// Nanoseconds per tick, as a fixed-point number with 32 fractional bits.
    ns_per_tick: u64,
    /// The last reading of both clocks: ticks, nanoseconds.
    anchor: (u64, u64),
    /// Whether the rate was measured over long enough to be kept.
    settled: bool,
}

impl TickRate {
    /// A first estimate, accurate to about one percent, from 20 µs of reading both clocks.
    pub fn calibrate() -> TickRate {
        const LOOK_NS: u64 = 20_000;
        let anchor = both_clocks();
        loop {
            let now = both_clocks();
            if now.1 - anchor.1 >= LOOK_NS {
                return TickRate { ns_per_tick: slope(anchor, now), anchor, settled: false };
            }
        }
    }

    /// Measures the rate again over the time since the last refresh, if that is long enough (0.1 s) to be exact to a
    /// few millionths. For a job that runs a few times a second; costs a few clock reads.
    ///
    /// A rate measured over that long stays unless it is off by a thousandth: sums of ticks are repeatedly reported as
    /// times, which must not seem to shrink.
    pub fn refresh(&mut self) {
        self.refresh_over(EXACT_NS);
    }

    /// Measures the rate again if at least `worth_ns` nanoseconds have passed since the last measurement. The shorter,
    /// the less exact.
    pub fn refresh_over(&mut self, worth_ns: u64) {
        let now = both_clocks();
        let span_ns = now.1.saturating_sub(self.anchor.1);
        if span_ns < worth_ns {
            return;
        }
        self.measured(slope(self.anchor, now), span_ns);
        self.anchor = now;
    }

    fn measured(&mut self, ns_per_tick: u64, span_ns: u64) {
        if !self.settled || ns_per_tick.abs_diff(self.ns_per_tick) > self.ns_per_tick >> 10 {
            self.ns_per_tick = ns_per_tick;
        }
        self.settled |= span_ns >= EXACT_NS;
    }

    /// Converts a difference of ticks to nanoseconds.
    #[inline]
    pub fn to_ns(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.ns_per_tick)) >> 32) as u64
    }

    /// The smallest number of ticks that last at least `ns`; `u64::MAX` if it does not fit.
    pub fn to_ticks(&self, ns: u64) -> u64 {
        let ticks = (u128::from(ns) << 32).div_ceil(u128::from(self.ns_per_tick.max(1)));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Nanoseconds since `start`, an earlier result of [`ticks`].
    #[inline]
    pub fn since(&self, start: u64) -> u64 {
        self.to_ns(ticks().saturating_sub(start))
    }
}

/// Reads both clocks at one moment: the tick counter between two readings of the other clock. Of a few tries the one
/// counts in which these two are closest, since the process may be interrupted in between.
fn both_clocks() -> (u64, u64) {
    const TRIES: usize = 5;
    let read = || {
        let before = read_ns(libc::CLOCK_MONOTONIC);
        let ticks = ticks();
        let after = read_ns(libc::CLOCK_MONOTONIC);
        (after.saturating_sub(before), (ticks, before + after.saturating_sub(before) / 2))
    };
    (0..TRIES).map(|_| read()).min_by_key(|(width, _)| *width).map_or((0, 0), |(_, clocks)| clocks)
}

/// Nanoseconds per tick between two readings; one, if the counter stood still or went back.
fn slope(from: (u64, u64), to: (u64, u64)) -> u64 {
    let ticks = to.0.saturating_sub(from.0);
    let ns = to.1.saturating_sub(from.1);
    if ticks == 0 {
        return 1 << 32;
    }
    // Rounded up, so that a span is never reported as shorter than it was.
    u64::try_from((u128::from(ns) << 32).div_ceil(u128::from(ticks))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let mut last = monotonic_us();
        for _ in 0..10_000 {
            let now = monotonic_us();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn ticks_go_on() {
        let (start, deadline) = (ticks(), monotonic_us() + 5_000_000);
        while ticks() <= start {
            assert!(monotonic_us() < deadline, "the counter stands still");
        }
    }

    #[test]
    fn a_settled_rate_does_not_follow_noise() {
        let mut rate = TickRate { ns_per_tick: 1 << 30, anchor: (0, 0), settled: false };
        let sum = 1 << 50;
        for noisy in [(1 << 30) + (1 << 10), (1 << 30) - (1 << 10)] {
            rate.measured(noisy, EXACT_NS / 2);
            assert_eq!(rate.ns_per_tick, noisy, "a young one does");
        }
        rate.measured(1 << 30, EXACT_NS);
        let told = rate.to_ns(sum);
        rate.measured((1 << 30) - (1 << 12), EXACT_NS);
        assert_eq!(rate.to_ns(sum), told);
        rate.measured(1 << 29, EXACT_NS);
        assert_eq!(rate.to_ns(sum), told / 2, "another machine's");
    }

    #[test]
    fn the_wall_clock_is_the_system_s() {
        let before = SystemTime::now();
        let ours = SystemTime::UNIX_EPOCH + Duration::from_micros(wall_us());
        let after = SystemTime::now();
        assert!(ours + Duration::from_micros(1) >= before && ours <= after);
    }

    #[test]
    fn the_rate_follows_from_two_readings_of_both_clocks() {
        // A counter of 2.5 GHz.
        let rate = TickRate {
            ns_per_tick: slope((1000, 50), (1000 + 2_500_000, 50 + 1_000_000)),
            anchor: (0, 0),
            settled: false,
        };
        assert_eq!(rate.to_ns(0), 0);
        assert!(rate.to_ns(2_500).abs_diff(1000) <= 1);
        assert!(
            rate.to_ns(2_500_000_000 * 86_400 * 365).abs_diff(86_400 * 365 * 1_000_000_000) < 1_000_000_000
        );
        assert_eq!(slope((10, 0), (10, 100)), 1 << 32, "a counter that stands still");
        assert_eq!(slope((10, 0), (5, 100)), 1 << 32, "a counter that goes back");
    }

    #[test]
    fn calibration_finds_a_rate_and_a_refresh_keeps_one() {
        let mut rate = TickRate::calibrate();
        assert!(rate.ns_per_tick > 0);
        let deadline = monotonic_us() + 110_000;
        while monotonic_us() < deadline {
            std::hint::spin_loop();
        }
        let anchor = rate.anchor;
        rate.refresh();
        assert!(rate.anchor > anchor && rate.ns_per_tick > 0);
        assert_eq!(rate.since(u64::MAX), 0, "a start that lies ahead reads as no time");
    }
}
