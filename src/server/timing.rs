//! How long commands take, for less than a clock read each.
//!
//! Reading the tick counter costs as much as a tenth of a `GET`. The end of one command is the start of the next, and
//! neighbours in a pipeline that are the same O(1) command are timed together: a pipeline of 16 `SET`s reads the
//! counter twice. Calls and total time stay exact; the histogram gets the run's mean for each of its calls. A command
//! whose time depends on its arguments is always timed alone.

use super::batch::Request;
use super::stats::Stats;
use crate::command::{COMMAND_IDS, Command, table};
use crate::sys::clock;

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
