//! `DEBUG`: for tests of the server and of applications. Refused unless `enable-debug-command` allows it.
//!
//! | file | subcommands |
//! |---|---|
//! | here | those that turn something on or off, and the small ones |
//! | `object` | facts about a key or a table |
//! | `protocol` | a reply of each type |
//! | `end` | the ways to end the process |
//!
//! `REPLICATE` and the subcommands for parts of Redis that this server lacks (fixed-size reply buffers) are accepted
//! without effect, so that tests which use them run. `MALLCTL` is unknown, as in a Redis without jemalloc.

mod end;
mod object;
mod protocol;

use std::fmt::Write;
use std::time::Duration;

use crate::codec::hex;
use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::introspect;
use crate::config::parse_size;
use crate::db::{Access, Event, digest};
use crate::resp::Reply;
use crate::server::Server;
use crate::server::cron::PEAK_PERIOD_MS;
use crate::server::invoke::Caller;
use crate::server::syncing::random_id;
use crate::text::words::shown;
use crate::text::{glob, number};
use crate::types::Entry;

/// `CLIENT-EVICTION` groups clients by the power of two above their size, in this range; larger ones are in the last
/// group.
const SIZES: std::ops::Range<u32> = 15..33;

/// The largest `QUICKLIST-PACKED-THRESHOLD`, which 0 stands for.
const MAX_PACKED_THRESHOLD: u64 = (4 << 30) - (1 << 20);
const PACKED_THRESHOLD: u64 = 1 << 30;

/// The number of random patterns that `STRINGMATCH-TEST` tries, and the length of the longest.
const GLOB_TRIES: usize = 200_000;
const GLOB_LENGTH: usize = 24;

/// Parses the number at the beginning of a word like C's `atoi`; 0 if there is none.
fn leading_number(word: &[u8]) -> i64 {
    let word = word.trim_ascii_start();
    let signs = usize::from(word.first().is_some_and(|byte| matches!(byte, b'+' | b'-')));
    let mut value: i64 = 0;
    for digit in word[signs..].iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    if word.first() == Some(&b'-') { -value } else { value }
}

/// Parses the seconds at the beginning of a word like C's `strtod`.
fn leading_seconds(word: &[u8]) -> Duration {
    let longest = (1..=word.len()).rev().find_map(|end| number::parse_f64(&word[..end]));
    Duration::try_from_secs_f64(longest.unwrap_or(0.0)).unwrap_or_default()
}

impl Server {
    /// `DEBUG subcommand …`.
    pub(super) fn debug(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let name = args.get(1).to_ascii_lowercase();
        if let Some(done) = self.debug_switch(&name, args) {
            done?;
            caller.reply(&mut self.net).ok();
            return Ok(());
        }
        match (name.as_slice(), args.len()) {
            (b"object", 3) => return self.debug_object(caller, args.get(2)),
            (b"sdslen", 3) => return self.debug_sdslen(caller, args.get(2)),
            (b"listpack", 3) => return self.debug_listpack(caller, args.get(2)),
            (b"quicklist", 3 | 4) => return self.debug_quicklist(caller, args),
            (b"htstats", 3..) => return self.debug_htstats(caller, args),
            (b"htstats-key", 3..) => return self.debug_htstats_key(caller, args),
            (b"digest", 2) => {
                let text = hex(&digest::of_keyspace(&self.core.keyspace));
                caller.reply(&mut self.net).simple(&text);
            }
            (b"journal", 3) => return self.debug_journal(caller, args.get(2)),
            (b"digest-value", 2..) => self.debug_digest_value(caller, args),
            (b"structsize", 2) => self.debug_structsize(caller),
            (b"populate", 3..=5) => return self.debug_populate(caller, args),
            (b"protocol", 3) => return self.debug_protocol(caller, args.get(2)),
            (b"error", 3) => debug_error(&mut caller.reply(&mut self.net), args.get(2)),
            (b"stringmatch-len", 4) => {
                let matches = glob::matches(args.get(2), args.get(3), false);
                caller.reply(&mut self.net).integer(i64::from(matches));
            }
            (b"stringmatch-test", 2) => {
                self.try_patterns();
                caller.reply(&mut self.net).simple("Apparently Redis did not crash: test passed");
            }
            (b"reload", _) => return self.debug_reload(caller, args),
            (b"loadaof", 2) => return self.debug_loadaof(caller),
            (b"client-eviction", 2) => return self.debug_client_eviction(caller),
            (b"config-rewrite-force-all", 2) => return self.debug_rewrite_all(caller),
            (b"segfault" | b"panic" | b"assert" | b"oom", _) => Self::debug_crash(&name),
            (b"restart" | b"crash-and-recover", _) => return self.debug_restart(&name, args),
            (b"help", 2) => {
                introspect::help(caller.command, args.get(0), &mut caller.reply(&mut self.net));
            }
            _ => {
                let name = args.get(1);
                return Err(Error::concat(&[
                    b"ERR unknown subcommand or wrong number of arguments for '",
                    shown(&name[..name.len().min(128)]),
                    b"'. Try DEBUG HELP.",
                ]));
            }
        }
        Ok(())
    }

    /// `DEBUG JOURNAL ON | OFF | TAKE`: starts or stops recording changes and propagated calls, or returns and clears
    /// them: an array of `[db, event, key]` and an array of `[db, word, …]`.
    fn debug_journal(&mut self, caller: &mut Caller<'_>, word: &[u8]) -> Result {
        if word.eq_ignore_ascii_case(b"take") {
            let is_recorded = self.audience.reply_with_record(&mut caller.reply(&mut self.net));
            return if is_recorded { Ok(()) } else { Err(Error::new("ERR DEBUG JOURNAL is off")) };
        }
        let on = word.eq_ignore_ascii_case(b"on");
        if !on && !word.eq_ignore_ascii_case(b"off") {
            return Err(SYNTAX);
        }
        self.audience.record(on, self.core.keyspace.journal.stream_mut());
        self.refresh_gate();
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// The subcommands that reply with `OK`; `None` if the call is none of these.
    fn debug_switch(&mut self, name: &[u8], args: Args<'_>) -> Option<Result> {
        let word = |i: usize| args.get(i);
        match (name, args.len()) {
            (b"sleep", 3) => std::thread::sleep(leading_seconds(word(2))),
            (b"set-active-expire", 3) => self.cron.expires = leading_number(word(2)) != 0,
            (b"dict-resizing", 3) => self.core.keyspace.shrinks_tables = leading_number(word(2)) != 0,
            (b"pause-cron", 3) => self.cron.paused = leading_number(word(2)) != 0,
            (b"quicklist-packed-threshold", 3) => match packed_threshold(word(2)) {
                Ok(bytes) => self.core.keyspace.shapes.list_packed_threshold = bytes as usize,
                Err(error) => return Some(Err(error)),
            },
            // Replies have only a list, no other buffer.
            (b"replybuffer", 4) if args.is(2, "resizing") => {}
            (b"replybuffer", 4) if args.is(2, "peak-reset-time") => match peak_period(word(3)) {
                Ok(period_ms) => self.cron.peak_period_ms = period_ms,
                Err(error) => return Some(Err(error)),
            },
            // `REPLICATE` would send only to replicas; it is ignored.
            (b"client-enforce-reply-list", 3) | (b"replicate", 3..) => {}
            (b"set-disable-deny-scripts", 3) => self.core.scripts_call_all = leading_number(word(2)) != 0,
            (b"drop-cluster-packet-filter", 3) => {
                return Some(integer(word(2)).map(|kind| self.drop_packets_of(kind)));
            }
            (b"close-cluster-link-on-packet-drop", 3) => {
                self.close_links_on_drop(leading_number(word(2)) != 0);
            }
            (b"clusterlink", 5) if args.is(2, "kill") => {
                return Some(self.kill_cluster_links(word(3), word(4)));
            }
            (b"set-skip-checksum-validation", 3) => {
                self.core.keyspace.verifies_checksums = leading_number(word(2)) == 0;
            }
            (b"aof-flush-sleep", 3) => {
                self.persistence.append_delay_us =
                    leading_number(word(2)).clamp(0, i64::from(i32::MAX)) as i32;
            }
            (b"leak", 3) => _ = word(2).to_vec().leak(),
            (b"log", 3) => {
                let text = String::from_utf8_lossy(shown(word(2))).replace(['\r', '\n'], " ");
                self.process.log.warning(format_args!("DEBUG LOG: {text}"));
            }
            (b"change-repl-id", 2) => {
                self.process
                    .log
                    .notice(format_args!("Changing replication IDs after receiving change-repl-id"));
                let end = self.core.keyspace.journal.stream().settled();
                self.replication.history.restart(random_id(), end);
            }
            _ => return None,
        }
        Some(Ok(()))
    }

    /// `DEBUG POPULATE count [prefix] [size]`: keys `prefix:0` … with values `value:0` …, truncated or padded with zero
    /// bytes to `size`. Existing keys are not changed.
    fn debug_populate(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        const RANGE: Error = Error::new("ERR value is out of range, must be positive");
        let positive = |i: usize| match integer(args.get(i)) {
            Ok(n) => usize::try_from(n).map_err(|_| RANGE),
            Err(_) => Err(RANGE),
        };
        let count = positive(2)?;
        let prefix = if args.len() > 3 { args.get(3) } else { b"key" };
        let size = if args.len() > 4 { positive(4)? } else { 0 };
        let db = caller.session(&mut self.net).db;
        let mut key = Vec::new();
        for i in 0..count {
            key.clear();
            key.extend_from_slice(prefix);
            key.extend_from_slice(format!(":{i}").as_bytes());
            let name = self.core.keyspace.key(db, &key);
            if self.core.keyspace.find(name, Access::Write).is_some() {
                continue;
            }
            let mut value = format!("value:{i}").into_bytes();
            if size > 0 {
                value.resize(size, 0);
            }
            self.core.keyspace.insert(name, Entry::string(&key, &value, None));
            self.core.keyspace.changed(name, Event::Unnamed, 0);
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `DEBUG CLIENT-EVICTION`: the number of evictable clients by size, and their total memory, as Redis prints its
    /// client buckets. O(clients).
    fn debug_client_eviction(&mut self, caller: &mut Caller<'_>) -> Result {
        let ledger = self.net.ledger.as_ref().ok_or(Error::new("ERR maxmemory-clients is disabled."))?;
        let mut buckets = vec![(0, 0); SIZES.len() + 1];
        for bytes in ledger.evictable() {
            let log = bytes.checked_ilog2().map_or(0, |log| log + 1);
            let (total, clients) =
                &mut buckets[log.clamp(SIZES.start, SIZES.end) as usize - SIZES.start as usize];
            *total += bytes;
            *clients += 1;
        }
        let mut text = String::new();
        for (log, (total, clients)) in (SIZES.start..).zip(buckets) {
            let first = if log == SIZES.start { 0 } else { 1_u64 << (log - 1) };
            let range = if log == SIZES.end {
                format!("{first:>10}+            ")
            } else {
                format!("{first:>10} - {:>10}", (1_u64 << log) - 1)
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "bucket {range}: tot-mem: {total:>10}, clients: {clients}");
        }
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    /// `DEBUG CONFIG-REWRITE-FORCE-ALL`: writes a line for every directive to the configuration file.
    fn debug_rewrite_all(&mut self, caller: &mut Caller<'_>) -> Result {
        let failed = |why: &str| format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {why}");
        // Without a file Redis passes an empty path to the system, and repeats the system's error.
        if self.core.config.file.is_none() {
            return Err(failed("Bad address").into());
        }
        self.rewrite_config(true).map_err(|why| failed(&why))?;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// Matches random patterns against random texts: a bug would show as a panic or as an endless match.
    fn try_patterns(&mut self) {
        const LETTERS: &[u8] = b"ab*?[]^-\\";
        let (mut pattern, mut text) = (Vec::new(), Vec::new());
        for _ in 0..GLOB_TRIES {
            for word in [&mut pattern, &mut text] {
                word.clear();
                for _ in 0..self.core.keyspace.random.below(GLOB_LENGTH) {
                    word.push(LETTERS[self.core.keyspace.random.below(LETTERS.len())]);
                }
            }
            glob::matches(&pattern, &text, false);
        }
    }
}

/// `DEBUG ERROR text`: an error with this text, without a code before it.
fn debug_error(reply: &mut Reply<'_>, text: &[u8]) {
    reply.buf.push(b'-');
    reply.buf.extend(shown(text).iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    reply.buf.extend_from_slice(b"\r\n");
}

/// Parses the milliseconds after which the peak of a client's replies is reset; `None`: never.
fn peak_period(word: &[u8]) -> Result<Option<u32>, Error> {
    match word.to_ascii_lowercase().as_slice() {
        b"never" => Ok(None),
        b"reset" => Ok(Some(PEAK_PERIOD_MS)),
        _ => integer(word).map(|ms| (ms >= 0).then(|| u32::try_from(ms).unwrap_or(u32::MAX))),
    }
}

fn packed_threshold(word: &[u8]) -> Result<u64, Error> {
    match parse_size(word) {
        Some(0) => Ok(PACKED_THRESHOLD),
        Some(bytes) if bytes <= MAX_PACKED_THRESHOLD => Ok(bytes),
        _ => Err(Error::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (word, value) in [("1", 1), ("0", 0), (" 12x", 12), ("-3", -3), ("abc", 0), ("", 0), ("+", 0)] {
            assert_eq!(leading_number(word.as_bytes()), value, "{word:?}");
        }
        for (word, ms) in [("0.01", 10), ("0.01x", 10), ("abc", 0), ("-1", 0), ("", 0), ("inf", 0)] {
            assert_eq!(leading_seconds(word.as_bytes()).as_millis(), ms, "{word:?}");
        }
    }
}
