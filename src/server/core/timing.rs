//! The time of an iteration, and the duration of commands.
//!
//! The loop reads the monotonic clock once an iteration; the wall clock is derived from it, and only cron reads it.
//!
//! Commands are timed by the processor's tick counter, which is read once a command: the end of one command is the
//! start of the next. A comparison of ticks detects a slow command; only then is its time determined more precisely.

use crate::sys::clock::{self, TickRate};

/// The two clocks as of this iteration.
pub struct LoopClock {
    now_us: u64,
    /// Both clocks as cron last read them: monotonic and wall, microseconds.
    anchor: (u64, u64),
}

impl LoopClock {
    /// Reads both clocks.
    pub fn new() -> Self {
        let anchor = (clock::monotonic_us(), clock::wall_us());
        LoopClock { now_us: anchor.0, anchor }
    }

    /// Reads the monotonic clock.
    #[inline]
    pub fn update(&mut self) {
        self.now_us = clock::monotonic_us();
    }

    /// Reads both clocks: the wall clock may have been set.
    pub fn synchronize(&mut self) {
        *self = LoopClock::new();
    }

    /// Returns the monotonic clock in microseconds.
    #[inline]
    pub fn monotonic_us(&self) -> u64 {
        self.now_us
    }

    /// Returns Unix time in milliseconds.
    #[inline]
    pub fn unix_ms(&self) -> i64 {
        ((self.anchor.1 + (self.now_us - self.anchor.0)) / 1000) as i64
    }
}

/// Measures commands one after the other.
pub struct Stopwatch {
    /// The ticks at which the current command began.
    since: u64,
    /// From this many ticks on, a command concerns the slow log or the latency monitor.
    slow_ticks: u64,
    slow_ns: u64,
}

impl Stopwatch {
    /// Creates a stopwatch for which no command is slow.
    pub fn new() -> Self {
        Stopwatch { since: 0, slow_ticks: u64::MAX, slow_ns: u64::MAX }
    }

    /// Treats commands of `slow_ns` and more as slow.
    pub fn set_slow(&mut self, slow_ns: u64, rate: &TickRate) {
        self.slow_ns = slow_ns;
        self.refresh(rate);
    }

    /// Adopts a more exact tick rate.
    pub fn refresh(&mut self, rate: &TickRate) {
        self.slow_ticks = rate.to_ticks(self.slow_ns);
    }

    /// Begins a command; nothing was measured before it.
    #[inline]
    pub fn start(&mut self) {
        self.since = clock::ticks();
    }

    /// The ticks at which the current command began.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Continues the command that began at `since`: the commands that it consists of have been measured separately.
    pub fn resume(&mut self, since: u64) {
        self.since = since;
    }

    /// Ends the command and begins the next. Returns the ticks that it took.
    #[inline]
    pub fn lap(&mut self) -> u64 {
        let now = clock::ticks();
        let taken = now.wrapping_sub(self.since);
        self.since = now;
        taken
    }

    /// Whether a command that took `ticks` is slow.
    #[inline]
    pub fn is_slow(&self, ticks: u64) -> bool {
        ticks >= self.slow_ticks
    }
}
