//! Statistics: totals, rates, and for each command its calls, its time and a histogram of its latency.
//!
//! Recording a command costs one row of the table: its time comes in ticks of the processor's counter and is converted
//! to nanoseconds by a multiplication. The histogram is log-linear: each power of two is divided into 64 parts, so a
//! percentile is exact to 1.6 %.

use std::collections::BTreeMap;

use crate::command::COMMAND_IDS;
use crate::sys::clock::TickRate;
use crate::text::histogram::{self, bucket};

/// Parts of each power of two.
const PARTS: usize = 64;
/// The longest time that the histogram distinguishes from longer ones: 2^30 ns, about a second.
const MAX_EXPONENT: usize = 30;
/// The exponent of the first power of two that a distribution reports.
const FIRST_EXPONENT: usize = 10;
/// The number of powers of two that a distribution reports.
pub const STEPS: usize = MAX_EXPONENT - FIRST_EXPONENT + 1;
const BUCKETS: usize = bucket((2 << MAX_EXPONENT) - 1, PARTS) + 1;
/// The most error codes that are counted separately.
const MAX_ERRORS: usize = 128;

/// Latencies of one command in nanoseconds.
pub type Histogram = histogram::Histogram<PARTS, BUCKETS>;

impl Histogram {
    /// Returns the microseconds of a distribution's steps: the powers of two from 1,024 ns on. The values are those of
    /// Redis, whose histogram has 128 parts for each power of two and names a part by its longest time.
    pub fn step_micros() -> [u64; STEPS] {
        std::array::from_fn(|step| {
            let exponent = step + FIRST_EXPONENT;
            ((1_u64 << exponent) + (1 << (exponent - 7)) - 1) / 1000
        })
    }

    /// Returns how many calls took no longer than each step, exact to one part of this histogram. The last step
    /// includes all longer times.
    pub fn steps(&self) -> [u64; STEPS] {
        let (mut first, mut seen) = (0, 0_u64);
        std::array::from_fn(|step| {
            let exponent = step + FIRST_EXPONENT;
            let last = if exponent < MAX_EXPONENT { bucket(1 << exponent, PARTS) } else { BUCKETS - 1 };
            seen += self.buckets()[first..=last].iter().sum::<u64>();
            first = last + 1;
            seen
        })
    }

    /// Returns the distribution that `LATENCY HISTOGRAM` reports: microseconds and cumulative calls, for each step with
    /// more calls than the step before.
    pub fn powers_of_two(&self) -> Vec<(u64, u64)> {
        let mut reported = 0;
        let grows = |(_, seen): &(u64, u64)| std::mem::replace(&mut reported, *seen) < *seen;
        Self::step_micros().into_iter().zip(self.steps()).filter(grows).collect()
    }
}

/// One command's row.
#[derive(Clone, Default)]
pub struct CommandStats {
    /// Executions.
    pub calls: u64,
    /// Time in ticks.
    ticks: u64,
    /// Calls refused before execution, for example because of the arity or missing authentication.
    pub rejected: u64,
    /// Executions that replied with an error.
    pub failed: u64,
    /// Latencies, from the first call on.
    pub latency: Option<Histogram>,
}

impl CommandStats {
    /// Time in microseconds.
    pub fn microseconds(&self, rate: &TickRate) -> u64 {
        rate.to_ns(self.ticks) / 1000
    }
}

/// How fast one total grows relative to another, as the mean of the last 16 samples.
#[derive(Default)]
pub struct Rate {
    samples: [u64; 16],
    next: usize,
    last_total: u64,
    last_base: u64,
}

impl Rate {
    /// Takes a sample of a running total, for a rate per second.
    pub fn sample(&mut self, total: u64, now_us: u64) {
        self.sample_per(total, now_us, 1_000_000);
    }

    /// Takes a sample of a running total: its growth for every `unit` of `base`.
    pub fn sample_per(&mut self, total: u64, base: u64, unit: u64) {
        let elapsed = base.saturating_sub(self.last_base);
        let delta = total.saturating_sub(self.last_total);
        if self.last_base > 0 && elapsed > 0 {
            self.samples[self.next] = delta * unit / elapsed;
            self.next = (self.next + 1) % self.samples.len();
        }
        self.last_total = total;
        self.last_base = base;
    }

    /// Returns the mean of the samples.
    pub fn mean(&self) -> u64 {
        self.samples.iter().sum::<u64>() / self.samples.len() as u64
    }
}

/// Cycles of the event loop: each lasts from the end of one wait to the beginning of the next.
#[derive(Clone, Copy, Default)]
pub struct Cycles {
    /// The number of cycles.
    pub count: u64,
    /// The most commands in one cycle.
    pub most_commands: u64,
    /// Microseconds spent in cron.
    pub cron_us: u64,
    ticks: u64,
    longest_ticks: u64,
    /// `ticks` at the last call of [`Cycles::take_ticks`].
    taken_ticks: u64,
    began_ticks: u64,
    began_commands: u64,
}

impl Cycles {
    /// Returns the ticks of the cycles since the last call.
    pub fn take_ticks(&mut self) -> u64 {
        self.ticks.wrapping_sub(std::mem::replace(&mut self.taken_ticks, self.ticks))
    }

    /// Begins a cycle, at `ticks`.
    #[inline]
    pub fn begin(&mut self, ticks: u64, commands: u64) {
        self.began_ticks = ticks;
        self.began_commands = commands;
    }

    /// Ends the cycle.
    #[inline]
    pub fn end(&mut self, ticks: u64, commands: u64) {
        let taken = ticks.wrapping_sub(self.began_ticks);
        self.count += 1;
        self.ticks += taken;
        self.longest_ticks = self.longest_ticks.max(taken);
        self.most_commands = self.most_commands.max(commands - self.began_commands);
    }

    /// The total time of all cycles, in microseconds.
    pub fn total_us(&self, rate: &TickRate) -> u64 {
        rate.to_ns(self.ticks) / 1000
    }

    /// The time of the longest cycle, in microseconds.
    pub fn longest_us(&self, rate: &TickRate) -> u64 {
        rate.to_ns(self.longest_ticks) / 1000
    }
}

/// All counters except those of the keyspace.
pub struct Stats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections refused for `maxclients`.
    pub rejected_connections: u64,
    /// Commands executed.
    pub commands: u64,
    /// Bytes received.
    pub net_input_bytes: u64,
    /// Bytes sent.
    pub net_output_bytes: u64,
    /// The part of [`Stats::net_input_bytes`] that a primary sent.
    pub repl_input_bytes: u64,
    /// The part of [`Stats::net_output_bytes`] that was sent to replicas.
    pub repl_output_bytes: u64,
    /// Readable events handled.
    pub reads: u64,
    /// Sends.
    pub writes: u64,
    /// Error replies.
    pub error_replies: u64,
    /// Error replies to commands from the AOF or a primary, where they had succeeded when first executed.
    pub unexpected_error_replies: u64,
    /// Clients closed because their output buffer exceeded its limit.
    pub output_limit_disconnections: u64,
    /// Clients closed because their query buffer exceeded its limit.
    pub query_limit_disconnections: u64,
    /// Largest `used_memory` seen by cron.
    pub peak_memory: u64,
    /// Clients disconnected because all clients together used too much memory.
    pub evicted_clients: u64,
    /// Commands a second.
    pub command_rate: Rate,
    /// Bytes received a second.
    pub input_rate: Rate,
    /// Bytes sent a second.
    pub output_rate: Rate,
    /// Bytes received from a primary a second.
    pub repl_input_rate: Rate,
    /// Bytes sent to replicas a second.
    pub repl_output_rate: Rate,
    /// Cycles of the event loop.
    pub cycles: Cycles,
    /// Cycles a second.
    pub cycle_rate: Rate,
    /// Microseconds a cycle.
    pub cycle_us: Rate,
    /// Whether latencies are recorded (`latency-tracking`).
    pub track_latency: bool,
    rate: TickRate,
    per_command: Vec<CommandStats>,
    errors: BTreeMap<Vec<u8>, u64>,
}

impl Stats {
    /// Creates the statistics with all counters 0.
    pub fn new(rate: TickRate) -> Self {
        Stats {
            connections: 0,
            rejected_connections: 0,
            commands: 0,
            net_input_bytes: 0,
            net_output_bytes: 0,
            repl_input_bytes: 0,
            repl_output_bytes: 0,
            reads: 0,
            writes: 0,
            error_replies: 0,
            unexpected_error_replies: 0,
            output_limit_disconnections: 0,
            query_limit_disconnections: 0,
            peak_memory: 0,
            evicted_clients: 0,
            command_rate: Rate::default(),
            input_rate: Rate::default(),
            output_rate: Rate::default(),
            repl_input_rate: Rate::default(),
            repl_output_rate: Rate::default(),
            cycles: Cycles::default(),
            cycle_rate: Rate::default(),
            cycle_us: Rate::default(),
            track_latency: true,
            rate,
            per_command: vec![CommandStats::default(); COMMAND_IDS],
            errors: BTreeMap::new(),
        }
    }

    /// `CONFIG RESETSTAT`.
    pub fn reset(&mut self) {
        let peak_memory = self.peak_memory;
        let track_latency = self.track_latency;
        // The current cycle continues, with none of its commands counted so far.
        let cycles = Cycles { began_ticks: self.cycles.began_ticks, ..Cycles::default() };
        *self = Stats { peak_memory, cycles, track_latency, ..Stats::new(self.rate.clone()) };
    }

    /// Returns the row of the command `id`.
    #[inline]
    pub fn command(&mut self, id: u16) -> &mut CommandStats {
        &mut self.per_command[usize::from(id)]
    }

    /// Returns the rows of all commands, by id.
    pub fn per_command(&self) -> &[CommandStats] {
        &self.per_command
    }

    /// The time of all commands together, in microseconds.
    pub fn command_us(&self) -> u64 {
        self.rate.to_ns(self.per_command.iter().map(|row| row.ticks).sum()) / 1000
    }

    /// Returns the rate that converts ticks to time.
    pub fn tick_rate(&self) -> &TickRate {
        &self.rate
    }

    /// Measures the rate of the tick counter again, more exactly the longer the server runs.
    pub fn refresh_tick_rate(&mut self) {
        self.rate.refresh();
    }

    /// Measures the rate during the long command that just ended, even if the server has just started: one millisecond
    /// is enough to measure the command's time.
    pub fn refresh_tick_rate_over_a_command(&mut self) {
        self.rate.refresh_over(1_000_000);
    }

    /// Records that `used` bytes are in use now.
    #[inline]
    pub fn note_memory(&mut self, used: u64) {
        self.peak_memory = self.peak_memory.max(used);
    }

    /// Counts bytes that a primary sent.
    pub fn note_received_from_primary(&mut self, bytes: usize) {
        self.net_input_bytes += bytes as u64;
        self.repl_input_bytes += bytes as u64;
    }

    /// Counts bytes that were sent to a replica.
    pub fn note_sent_to_replica(&mut self, bytes: usize) {
        self.net_output_bytes += bytes as u64;
        self.repl_output_bytes += bytes as u64;
    }

    /// Takes a sample of all rates, and measures the tick rate.
    pub fn sample(&mut self, now_us: u64) {
        self.refresh_tick_rate();
        self.command_rate.sample(self.commands, now_us);
        self.input_rate.sample(self.net_input_bytes, now_us);
        self.output_rate.sample(self.net_output_bytes, now_us);
        self.repl_input_rate.sample(self.repl_input_bytes, now_us);
        self.repl_output_rate.sample(self.repl_output_bytes, now_us);
        self.cycle_rate.sample(self.cycles.count, now_us);
        let cycles_us = self.cycles.total_us(&self.rate);
        self.cycle_us.sample_per(cycles_us, self.cycles.count, 1);
    }

    /// Counts an execution that took `ticks`.
    #[inline(always)]
    pub fn record(&mut self, id: u16, ticks: u64) {
        self.commands += 1;
        let row = &mut self.per_command[usize::from(id)];
        row.calls += 1;
        row.ticks += ticks;
        if self.track_latency {
            match &mut row.latency {
                Some(latency) => latency.record(self.rate.to_ns(ticks), 1),
                None => self.record_first(id, ticks),
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn record_first(&mut self, id: u16, ticks: u64) {
        let ns = self.rate.to_ns(ticks);
        self.per_command[usize::from(id)].latency.insert(Histogram::default()).record(ns, 1);
    }

    /// Counts an error reply by its code.
    pub fn count_error(&mut self, code: &[u8]) {
        self.error_replies += 1;
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < MAX_ERRORS {
            self.errors.insert(code.to_vec(), 1);
        }
    }

    /// Returns the error replies by code, in alphabetical order.
    pub fn errors(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.errors.iter().map(|(code, count)| (code.as_slice(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_told_at_the_powers_of_two_where_calls_were_added() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.powers_of_two(), []);
        for (ns, times) in [(0, 1), (1_024, 2), (1_100, 3), (10_000_000, 1), (900_000_000, 4)] {
            histogram.record(ns, times);
        }
        assert_eq!(histogram.powers_of_two(), [(1, 3), (2, 6), (16_908, 7), (1_082_130, 11)]);
        assert_eq!(histogram.count(), 11);
        let mut slow = Histogram::default();
        slow.record(u64::MAX, 1);
        assert_eq!(slow.powers_of_two(), [(1_082_130, 1)]);
    }

    #[test]
    fn a_turn_of_the_loop_counts_with_its_time_and_commands_also_when_the_counters_restart_in_it() {
        let mut stats = Stats::new(TickRate::calibrate());
        for (from, to, commands) in [(100, 150, 3), (1000, 1200, 8)] {
            stats.cycles.begin(from, stats.commands);
            stats.commands += commands;
            stats.cycles.end(to, stats.commands);
        }
        let cycles = stats.cycles;
        assert_eq!(
            (cycles.count, cycles.ticks, cycles.longest_ticks, cycles.most_commands),
            (2, 250, 200, 8)
        );
        stats.cycles.begin(5000, stats.commands);
        stats.reset();
        stats.commands += 1;
        stats.cycles.end(5010, stats.commands);
        let cycles = stats.cycles;
        assert_eq!((cycles.count, cycles.ticks, cycles.longest_ticks, cycles.most_commands), (1, 10, 10, 1));
    }

    #[test]
    fn a_rate_is_the_mean_of_its_last_sixteen_samples() {
        let mut rate = Rate::default();
        for i in 0..=16 {
            rate.sample(i * 50, 1 + i * 100_000);
        }
        assert_eq!(rate.mean(), 500);
    }
}
