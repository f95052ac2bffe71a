//! The slow log: the latest commands that took at least `slowlog-log-slower-than` microseconds, with their arguments.
//!
//! Bounds: `slowlog-max-len` entries, each with at most [`MAX_ARGUMENTS`] arguments of [`MAX_BYTES`] bytes and a few
//! words.

use std::collections::VecDeque;

use super::{Core, redact};
use crate::command::{Args, Command, flags};
use crate::sys::clock;

/// Arguments kept of a command; if there are more, the last kept one gives their number.
const MAX_ARGUMENTS: usize = 32;

/// Bytes kept of an argument.
const MAX_BYTES: usize = 128;

/// A slow command.
pub struct SlowCommand {
    /// Counts up from 0; never reused.
    pub id: u64,
    /// When it ended.
    pub unix_seconds: u64,
    /// Its duration.
    pub micros: u64,
    /// Its arguments, shortened and without secrets.
    pub args: Vec<Vec<u8>>,
    /// The address of its client.
    pub peer: String,
    /// The name of its client.
    pub name: Vec<u8>,
}

/// The slow commands, the latest first.
#[derive(Default)]
pub struct SlowLog {
    entries: VecDeque<SlowCommand>,
    next_id: u64,
}

impl SlowLog {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of slow commands since the start.
    pub fn total(&self) -> u64 {
        self.next_id
    }

    /// Iterates over all entries, the latest first.
    pub fn iter(&self) -> impl Iterator<Item = &SlowCommand> {
        self.entries.iter()
    }

    /// Deletes all entries; the numbering continues.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a command and sets its `id`, then deletes the oldest entries until `max_len` are left.
    fn add(&mut self, mut command: SlowCommand, max_len: usize) {
        command.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(command);
        self.entries.truncate(max_len);
    }
}

impl Core {
    /// Counts a command that took `ticks`. Returns whether it belongs in the slow log.
    #[inline(always)]
    pub fn count_command(&mut self, command: &Command, ticks: u64) -> bool {
        self.stats.record(command.id, ticks);
        self.stopwatch.is_slow(ticks)
    }

    /// Records a command whose `ticks` reach the threshold of a slow one. `client` returns the address and the name
    /// of its client.
    #[cold]
    #[inline(never)]
    pub fn note_slow_command(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        ticks: u64,
        client: impl FnOnce() -> (String, Vec<u8>),
    ) {
        // The length of a tick may be known only roughly so far, and a long command measures it well.
        self.stats.refresh_tick_rate_over_a_command();
        self.stopwatch.refresh(self.stats.tick_rate());
        let micros = self.stats.tick_rate().to_ns(ticks) / 1000;
        let event = if command.has(flags::FAST) { "fast-command" } else { "command" };
        self.note_latency(event, micros);
        let threshold = self.config.slowlog_log_slower_than;
        let is_slow = u64::try_from(threshold).is_ok_and(|threshold| micros >= threshold);
        if !is_slow || command.has(flags::SKIP_SLOWLOG) {
            return;
        }
        let (peer, name) = client();
        let entry = SlowCommand {
            id: 0,
            unix_seconds: clock::wall_us() / 1_000_000,
            micros,
            args: shortened(args.len(), redact::shown_words(command, args)),
            peer,
            name,
        };
        self.slowlog.add(entry, self.config.slowlog_max_len);
    }
}

/// Returns the first arguments of a command's `count`, each shortened.
fn shortened<'a>(count: usize, args: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let kept = if count > MAX_ARGUMENTS { MAX_ARGUMENTS - 1 } else { count };
    let mut shortened: Vec<Vec<u8>> = args.take(kept).map(cut).collect();
    if kept < count {
        shortened.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    shortened
}

fn cut(arg: &[u8]) -> Vec<u8> {
    let mut text = arg[..arg.len().min(MAX_BYTES)].to_vec();
    if arg.len() > MAX_BYTES {
        text.extend_from_slice(format!("... ({} more bytes)", arg.len() - MAX_BYTES).as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lengths: &[usize]) -> Vec<String> {
        let window = vec![b'x'; 500];
        let kept = shortened(lengths.len(), lengths.iter().map(|len| &window[..*len]));
        kept.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn long_arguments_are_cut() {
        let x = "x".repeat(128);
        assert_eq!(texts(&[1, 128, 129]), ["x", &*x, &format!("{x}... (1 more bytes)")]);
    }

    #[test]
    fn the_last_of_many_arguments_says_how_many_were_left_out() {
        assert_eq!(texts(&[0; 32]).len(), 32);
        assert_eq!(texts(&[0; 32])[31], "");
        assert_eq!(texts(&[0; 33]).len(), 32);
        assert_eq!(texts(&[0; 33])[31], "... (2 more arguments)");
        assert_eq!(texts(&vec![0; 5000])[31], "... (4969 more arguments)");
    }

    #[test]
    fn the_log_forgets_its_oldest_commands_and_never_uses_a_number_again() {
        let command = |micros| SlowCommand {
            id: 0,
            unix_seconds: 0,
            micros,
            args: Vec::new(),
            peer: String::new(),
            name: Vec::new(),
        };
        let seen = |log: &SlowLog| log.iter().map(|c| (c.id, c.micros)).collect::<Vec<_>>();
        let mut log = SlowLog::default();
        for micros in 10..14 {
            log.add(command(micros), 3);
        }
        assert_eq!(seen(&log), [(3, 13), (2, 12), (1, 11)]);
        log.clear();
        log.add(command(14), 0);
        assert_eq!(log.len(), 0);
        log.add(command(15), 1);
        assert_eq!(seen(&log), [(5, 15)]);
    }
}
