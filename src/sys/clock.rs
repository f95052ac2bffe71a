//! The one place that reads the time.
//!
//! Three clocks for three questions. [`wall_us`] says what time it is (expiry times are dates), [`monotonic_us`] how
//! long something took, and [`ticks`] the same for spans so short that asking the kernel's clock would show: it reads
//! the processor's counter, at half the price or less, and a [`TickRate`] turns differences into nanoseconds
//! afterwards. Neither is free (a virtual machine was seen to take 26 ns for ticks and 54 ns for the clock), so a span
//! that ends where the next begins should share its reading.
//!
//! Limits: ticks are for statistics. A virtual machine that moves to another host may change their rate, which
//! [`TickRate::refresh`] follows, and two cores may disagree by some nanoseconds, which [`TickRate::since`] reads as 0.

/// Microseconds since some moment before the process started; never goes back.
#[inline]
pub fn monotonic_us() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC) / 1000
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

/// The processor's own counter, of a unit that only a [`TickRate`] knows. Only differences mean something.
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

/// How many nanoseconds a tick takes, learnt by reading both clocks twice.
#[derive(Clone, Debug)]
pub struct TickRate {
    /// Nanoseconds a tick as a binary fraction with 32 bits behind the point.
    ns_per_tick: u64,
    /// When both clocks were read last: ticks, nanoseconds.
    anchor: (u64, u64),
}

impl TickRate {
    /// A first estimate, good to a percent or so, from about 20 µs of reading clocks.
    pub fn calibrate() -> TickRate {
        const LOOK_NS: u64 = 20_000;
        let anchor = both_clocks();
        loop {
            let now = both_clocks();
            if now.1 - anchor.1 >= LOOK_NS {
                return TickRate { ns_per_tick: slope(anchor, now), anchor };
            }
        }
    }

    /// Measures again over the time since the last refresh, if that is long enough (0.1 s) to be exact to a few
    /// millionths. For a job that runs some times a second; costs two clock reads.
    pub fn refresh(&mut self) {
        const WORTH_NS: u64 = 100_000_000;
        let now = both_clocks();
        if now.1.saturating_sub(self.anchor.1) >= WORTH_NS {
            self.ns_per_tick = slope(self.anchor, now);
            self.anchor = now;
        }
    }

    /// Nanoseconds of a difference of ticks.
    #[inline]
    pub fn to_ns(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.ns_per_tick)) >> 32) as u64
    }

    /// The fewest ticks that take `ns`; `u64::MAX` where the number is larger than that.
    pub fn to_ticks(&self, ns: u64) -> u64 {
        let ticks = (u128::from(ns) << 32).div_ceil(u128::from(self.ns_per_tick.max(1)));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Nanoseconds since `start`, a former answer of [`ticks`].
    #[inline]
    pub fn since(&self, start: u64) -> u64 {
        self.to_ns(ticks().saturating_sub(start))
    }
}

fn both_clocks() -> (u64, u64) {
    (ticks(), read_ns(libc::CLOCK_MONOTONIC))
}

/// Nanoseconds a tick between two readings; a counter that stood still or went back counts as one nanosecond a tick.
fn slope(from: (u64, u64), to: (u64, u64)) -> u64 {
    let ticks = to.0.saturating_sub(from.0);
    let ns = to.1.saturating_sub(from.1);
    if ticks == 0 {
        return 1 << 32;
    }
    // Rounded up: what took a time by the clock never counts as less.
    u64::try_from((u128::from(ns) << 32).div_ceil(u128::from(ticks))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

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
    fn the_wall_clock_is_the_system_s() {
        let before = SystemTime::now();
        let ours = SystemTime::UNIX_EPOCH + Duration::from_micros(wall_us());
        let after = SystemTime::now();
        assert!(ours + Duration::from_micros(1) >= before && ours <= after);
    }

    #[test]
    fn the_rate_follows_from_two_readings_of_both_clocks() {
        // A counter of 2.5 GHz.
        let rate =
            TickRate { ns_per_tick: slope((1000, 50), (1000 + 2_500_000, 50 + 1_000_000)), anchor: (0, 0) };
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
