//! The time of an iteration, and how long commands take.
//!
//! The loop reads the monotonic clock once an iteration; the wall clock follows from it, and is read only by cron.
//!
//! Commands are timed by the processor's tick counter, which is read once a command: the end of one is the start of the
//! next. A command that takes as long as a slow one is told apart by a comparison of ticks; only then is its time looked
//! at more closely.

use crate::sys::clock::{self, TickRate};

/// The two clocks as of this iteration.
pub struct LoopClock {
    now_us: u64,
    /// Both clocks as cron has read them last: monotonic and wall, microseconds.
    anchor: (u64, u64),
}

impl LoopClock {
    /// Reads both.
    pub fn new() -> Self {
        let anchor = (clock::monotonic_us(), clock::wall_us());
        LoopClock { now_us: anchor.0, anchor }
    }

    /// Reads the monotonic clock.
    #[inline]
    pub fn update(&mut self) {
        self.now_us = clock::monotonic_us();
    }

    /// Reads both: the wall clock may have been set.
    pub fn synchronize(&mut self) {
        *self = LoopClock::new();
    }

    /// The monotonic clock in microseconds.
    #[inline]
    pub fn monotonic_us(&self) -> u64 {
        self.now_us
    }

    /// Unix time in milliseconds.
    #[inline]
    pub fn unix_ms(&self) -> i64 {
        ((self.anchor.1 + (self.now_us - self.anchor.0)) / 1000) as i64
    }
}

/// Measures commands one after the other.
pub struct Stopwatch {
    /// The ticks at which the current command began.
    since: u64,
    /// From this many ticks on a command is of interest to the slow log or the latency monitor.
    slow_ticks: u64,
    slow_ns: u64,
}

impl Stopwatch {
    /// No command is slow.
    pub fn new() -> Self {
        Stopwatch { since: 0, slow_ticks: u64::MAX, slow_ns: u64::MAX }
    }

    /// A command of `slow_ns` and more is slow.
    pub fn set_slow(&mut self, slow_ns: u64, rate: &TickRate) {
        self.slow_ns = slow_ns;
        self.refresh(rate);
    }

    /// How long ticks are is known better now.
    pub fn refresh(&mut self, rate: &TickRate) {
        self.slow_ticks = rate.to_ticks(self.slow_ns);
    }

    /// A command begins; nothing was measured before it.
    #[inline]
    pub fn start(&mut self) {
        self.since = clock::ticks();
    }

    /// The ticks at which the current command began.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// The current command is one that began at `since`: those that it consists of have been measured apart.
    pub fn resume(&mut self, since: u64) {
        self.since = since;
    }

    /// The command ends and the next one begins. Returns the ticks that it took.
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
