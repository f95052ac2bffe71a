//! The time of an iteration, and how long commands take, for less than a clock read each.
//!
//! The loop reads the monotonic clock once an iteration; the wall clock follows from it, and is read only by cron.
//!
//! Reading the tick counter costs as much as a tenth of a `GET`. The end of one command is the start of the next, and
//! neighbours in a pipeline that are the same O(1) command are timed together: a pipeline of 16 `SET`s reads the
//! counter twice. Calls and total time stay exact; the histogram gets the run's mean for each of its calls. A command
//! whose time depends on its arguments is always timed alone.
//!
//! A run that took less than a slow command holds none: so the slow log costs one comparison a run. One that took
//! longer does not tell which of its commands it was; that is found by what they look like ([`super::slowlog`]), and
//! for a tenth of a second after it, and whenever commands below a millisecond count as slow, each is timed on its own.

use super::stats::Stats;
use crate::command::{COMMAND_IDS, Command, table};
use crate::server::net::batch::Request;
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

/// Runs that are as long as a command of this time are rare; below it, commands that may be slow are timed one by one.
const GROUPED_FROM_NS: u64 = 1_000_000;

/// For how long every command is timed on its own after a run was slow. Where runs are slow all the time, because the
/// machine is, the price of it (less than a tenth) should not last.
const CLOSELY_US: u64 = 100_000;

/// A command that takes the same time for each of few elements belongs into a run with up to so many arguments.
const FEW_ARGUMENTS: u8 = 4;

/// The run of commands that is being timed.
pub struct Timed {
    /// The ticks at which it began.
    since: u64,
    command: Option<&'static Command>,
    calls: u32,
    /// By id: with how many arguments at most calls of the command take about the same time, so that they may share a
    /// run. All zero while every command is timed on its own.
    grouped: Box<[u8; COMMAND_IDS]>,
    /// A run that takes so long is worth a look.
    slow_ns: u64,
    /// Until when commands are timed one by one because of a slow run, microseconds of the monotonic clock.
    closely_until_us: Option<u64>,
}

/// A run that took as long as a slow command.
pub struct SlowRun {
    /// What was called.
    pub command: &'static Command,
    /// How many times.
    pub calls: u32,
    /// How long all of it took.
    pub ns: u64,
}

impl Timed {
    /// Nothing is being timed.
    pub fn new() -> Self {
        let mut timed = Timed {
            since: 0,
            command: None,
            calls: 0,
            grouped: Box::new([0; COMMAND_IDS]),
            slow_ns: u64::MAX,
            closely_until_us: None,
        };
        timed.group();
        timed
    }

    /// A command of `slow_ns` and more is slow.
    pub fn set_slow(&mut self, slow_ns: u64) {
        self.slow_ns = slow_ns;
        self.group();
    }

    /// A run was slow: for a while it shall be known exactly which command is.
    pub fn look_closely(&mut self, now_us: u64) {
        self.closely_until_us = Some(now_us + CLOSELY_US);
        self.group();
    }

    /// That while is over. For cron.
    pub fn relax(&mut self, now_us: u64) {
        if self.closely_until_us.is_some_and(|until| now_us >= until) {
            self.closely_until_us = None;
            self.group();
        }
    }

    fn group(&mut self) {
        let one_by_one = self.slow_ns < GROUPED_FROM_NS || self.closely_until_us.is_some();
        for command in table::all() {
            let most = if one_by_one { 0 } else { most_arguments(command) };
            self.grouped[usize::from(command.id)] = most;
        }
    }

    /// A batch begins.
    #[inline]
    pub fn start(&mut self) {
        self.since = clock::ticks();
    }

    /// A command has been executed.
    #[inline]
    pub fn add(&mut self, command: &'static Command) {
        debug_assert!(self.command.is_none_or(|running| running.id == command.id), "a run is of one command");
        self.command = Some(command);
        self.calls += 1;
    }

    /// Whether `next` belongs to the same run as `last`, the latest of it.
    #[inline]
    pub fn goes_on(&self, last: &Request, next: Option<&Request>) -> bool {
        match (self.command, next) {
            (Some(command), Some(Request { command: Ok(after), .. })) if command.id == after.id => {
                let most = usize::from(self.grouped[usize::from(command.id)]);
                last.len() <= most && next.is_some_and(|next| next.len() <= most)
            }
            _ => false,
        }
    }

    /// The run ends: its time is recorded, and told if it may hold a slow command.
    #[inline]
    pub fn close(&mut self, stats: &mut Stats) -> Option<SlowRun> {
        let command = self.command.take()?;
        let now = clock::ticks();
        let ns = stats.record(command.id, self.calls, now.wrapping_sub(self.since));
        self.since = now;
        let calls = std::mem::take(&mut self.calls);
        (ns >= self.slow_ns).then_some(SlowRun { command, calls, ns })
    }

    /// Takes the time of `work` out of the run: it is not the command's.
    pub fn excluding(&mut self, ticks: u64) {
        self.since = self.since.wrapping_add(ticks);
    }
}

/// With how many arguments, the name included, calls of `command` take about the same time.
fn most_arguments(command: &Command) -> u8 {
    let complexity = command.docs.complexity.unwrap_or_default();
    let Some(more) = complexity.strip_prefix("O(1)") else { return 0 };
    let may_be_longer = more.replace("O(1)", "").contains("O(");
    match more {
        _ if more.starts_with(" for each") || more.starts_with(" to add every") => FEW_ARGUMENTS,
        _ if more.is_empty() || (more.starts_with('.') && !may_be_longer) => u8::MAX,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(name: &str) -> u8 {
        most_arguments(table::lookup(name.as_bytes()).unwrap())
    }

    #[test]
    fn only_commands_whose_time_does_not_depend_on_their_arguments_share_a_run() {
        for name in ["get", "set", "incr", "ping", "append"] {
            assert_eq!(most(name), u8::MAX, "{name}");
        }
        assert_eq!(most("unlink"), FEW_ARGUMENTS);
        for name in ["mget", "del", "keys", "debug", "flushall", "scan"] {
            assert_eq!(most(name), 0, "{name}");
        }
    }

    #[test]
    fn where_short_commands_may_be_slow_each_is_timed_on_its_own_and_after_a_slow_run_for_a_while() {
        let get = usize::from(table::lookup(b"get").unwrap().id);
        let mut timed = Timed::new();
        assert!(timed.grouped[get] > 0);
        timed.set_slow(GROUPED_FROM_NS - 1);
        assert_eq!(timed.grouped[get], 0);
        timed.set_slow(GROUPED_FROM_NS);
        assert!(timed.grouped[get] > 0);
        timed.look_closely(5);
        assert_eq!(timed.grouped[get], 0);
        timed.relax(4 + CLOSELY_US);
        assert_eq!(timed.grouped[get], 0);
        timed.relax(5 + CLOSELY_US);
        assert!(timed.grouped[get] > 0);
    }

    #[test]
    fn a_run_is_told_when_it_took_as_long_as_a_slow_command() {
        let get = table::lookup(b"get").unwrap();
        let mut stats = Stats::new(clock::TickRate::calibrate());
        let mut timed = Timed::new();
        timed.start();
        assert!(timed.close(&mut stats).is_none(), "nothing was executed");
        timed.add(get);
        timed.add(get);
        assert!(timed.close(&mut stats).is_none(), "nothing is slow without a threshold");
        timed.set_slow(0);
        timed.add(get);
        timed.add(get);
        timed.add(get);
        let run = timed.close(&mut stats).expect("everything is slow");
        assert_eq!((run.command.id, run.calls), (get.id, 3));
        assert_eq!(stats.per_command()[usize::from(get.id)].calls, 5);
    }
}
