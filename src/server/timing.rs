//! The time of an iteration, and how long commands take, for less than a clock read each.
//!
//! The loop reads the monotonic clock once an iteration; the wall clock follows from it, and is read only by cron.
//!
//! Reading the tick counter costs as much as a tenth of a `GET`. The end of one command is the start of the next, and
//! neighbours in a pipeline that are the same O(1) command are timed together: a pipeline of 16 `SET`s reads the
//! counter twice. Calls and total time stay exact; the histogram gets the run's mean for each of its calls. A command
//! whose time depends on its arguments is always timed alone.

use super::batch::Request;
use super::stats::Stats;
use crate::command::{COMMAND_IDS, Command, table};
use crate::sys::clock;

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

/// The run of commands that is being timed.
pub struct Timed {
    /// The ticks at which it began.
    since: u64,
    command: Option<&'static Command>,
    calls: u32,
    /// By id: whether the command takes the same time whatever its arguments are.
    constant: Box<[bool; COMMAND_IDS]>,
}

impl Timed {
    /// Nothing is being timed.
    pub fn new() -> Self {
        let mut constant = Box::new([false; COMMAND_IDS]);
        for command in table::all() {
            let complexity = command.docs.complexity.unwrap_or_default();
            constant[usize::from(command.id)] = complexity.starts_with("O(1)");
        }
        Timed { since: 0, command: None, calls: 0, constant }
    }

    /// A batch begins.
    #[inline]
    pub fn start(&mut self) {
        self.since = clock::ticks();
    }

    /// A command has been executed.
    #[inline]
    pub fn add(&mut self, command: &'static Command, stats: &mut Stats) {
        if self.command.is_some_and(|running| running.id != command.id) {
            self.close(stats);
        }
        self.command = Some(command);
        self.calls += 1;
    }

    /// Whether `next` belongs to the same run.
    #[inline]
    pub fn goes_on(&self, next: Option<&Request>) -> bool {
        match (self.command, next) {
            (Some(command), Some(Request { command: Ok(next), .. })) => {
                command.id == next.id && self.constant[usize::from(command.id)]
            }
            _ => false,
        }
    }

    /// The run ends: its time is recorded.
    #[inline]
    pub fn close(&mut self, stats: &mut Stats) {
        let Some(command) = self.command.take() else { return };
        let now = clock::ticks();
        stats.record(command.id, self.calls, now.wrapping_sub(self.since));
        self.since = now;
        self.calls = 0;
    }
}
