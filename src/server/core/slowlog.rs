//! The slow log: the latest commands that took at least `slowlog-log-slower-than` microseconds, with their arguments.
//!
//! Bounds: `slowlog-max-len` entries, of each at most [`MAX_ARGUMENTS`] arguments of [`MAX_BYTES`] bytes and a few
//! words.

use std::collections::VecDeque;

use super::redact;
use crate::command::{Args, Command, flags};
use crate::server::Server;
use crate::sys::clock;
use crate::sys::poller::Token;

/// Arguments kept of a command; where there are more, the last one says how many.
const MAX_ARGUMENTS: usize = 32;

/// Bytes kept of an argument.
const MAX_BYTES: usize = 128;

/// A slow command.
pub struct SlowCommand {
    /// Counts up from 0, never used again.
    pub id: u64,
    /// When it had ended.
    pub unix_seconds: u64,
    /// How long it took.
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
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All, the latest first.
    pub fn iter(&self) -> impl Iterator<Item = &SlowCommand> {
        self.entries.iter()
    }

    /// Forgets all; the numbers go on.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a command, whose `id` is given here, and forgets the oldest ones until `max_len` are left.
    fn add(&mut self, mut command: SlowCommand, max_len: usize) {
        command.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(command);
        self.entries.truncate(max_len);
    }
}

impl Server {
    /// A command took `ticks`, which is as long as a slow one takes.
    #[cold]
    #[inline(never)]
    pub(in crate::server) fn note_slow_command(
        &mut self,
        token: Token,
        command: &'static Command,
        ticks: u64,
        args: Args<'_>,
    ) {
        // How long a tick is may be known only roughly so far, and a long command is a good measure of it.
        self.core.stats.refresh_tick_rate();
        self.core.stopwatch.refresh(self.core.stats.tick_rate());
        let micros = self.core.stats.tick_rate().to_ns(ticks) / 1000;
        let event = if command.has(flags::FAST) { "fast-command" } else { "command" };
        self.note_latency(event, micros);
        let threshold = self.core.config.slowlog_log_slower_than;
        let is_slow = u64::try_from(threshold).is_ok_and(|threshold| micros >= threshold);
        if !is_slow || command.has(flags::SKIP_SLOWLOG) {
            return;
        }
        let Some(client) = self.net.clients.get(token) else { return };
        let entry = SlowCommand {
            id: 0,
            unix_seconds: clock::wall_us() / 1_000_000,
            micros,
            args: shortened(args, |index| redact::is_secret(command, args, index)),
            peer: client.socket.peer().to_string(),
            name: client.session.name().to_vec(),
        };
        self.core.slowlog.add(entry, self.core.config.slowlog_max_len);
    }
}

fn shortened(args: Args<'_>, is_secret: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
    let kept = if args.len() > MAX_ARGUMENTS { MAX_ARGUMENTS - 1 } else { args.len() };
    let mut shortened: Vec<Vec<u8>> = (0..kept)
        .map(|index| {
            let arg = if is_secret(index) { redact::REDACTED } else { args.get(index) };
            let mut text = arg[..arg.len().min(MAX_BYTES)].to_vec();
            if arg.len() > MAX_BYTES {
                text.extend_from_slice(format!("... ({} more bytes)", arg.len() - MAX_BYTES).as_bytes());
            }
            text
        })
        .collect();
    if kept < args.len() {
        shortened.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Span;

    fn texts(lengths: &[usize]) -> Vec<String> {
        let window = vec![b'x'; lengths.iter().sum()];
        let mut at = 0;
        let mut spans = Vec::new();
        for len in lengths {
            spans.push(Span::window(at, *len));
            at += len;
        }
        let args = Args::new(&window, &spans, &[]);
        shortened(args, |index| index == 2).into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn long_arguments_are_cut_and_secret_ones_replaced() {
        let x = "x".repeat(128);
        assert_eq!(texts(&[1, 128, 500, 129]), ["x", &*x, "(redacted)", &format!("{x}... (1 more bytes)")]);
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
