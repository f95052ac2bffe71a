//! `SLOWLOG`, `LATENCY`, `MONITOR`: commands for operators that show the server's activity.

use crate::command::error::{Error, Result};
use crate::command::{Args, table};
use crate::resp::Reply;
use crate::server::Server;
use crate::server::core::stats::Histogram;
use crate::server::invoke::Caller;
use crate::sys::clock;
use crate::text::number;
use crate::text::words::shown;

/// Entries of a `SLOWLOG GET` without a number.
const SLOWLOG_ENTRIES: usize = 10;

impl Server {
    /// `SLOWLOG GET [count]`: an array of entries, the latest first. O(N) in the number of entries.
    pub(super) fn slowlog_get(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let count = match args.len() {
            2 => SLOWLOG_ENTRIES,
            3 => match number::parse_i64(args.get(2)) {
                Some(-1) => usize::MAX,
                Some(count @ 0..) => usize::try_from(count).unwrap_or(usize::MAX),
                _ => return Err(Error::new("ERR count should be greater than or equal to -1")),
            },
            _ => return Err(super::usage(args)),
        };
        let mut reply = caller.reply(&mut self.net);
        reply.array(self.core.slowlog.len().min(count));
        for command in self.core.slowlog.iter().take(count) {
            reply.array(6);
            reply.integer(command.id as i64);
            reply.integer(command.unix_seconds as i64);
            reply.integer(command.micros as i64);
            reply.array(command.args.len());
            command.args.iter().for_each(|arg| reply.bulk(arg));
            reply.bulk(command.peer.as_bytes());
            reply.bulk(&command.name);
        }
        Ok(())
    }

    /// `SLOWLOG LEN`. O(1).
    pub(super) fn slowlog_len(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let len = self.core.slowlog.len();
        caller.reply(&mut self.net).integer(len as i64);
        Ok(())
    }

    /// `SLOWLOG RESET`: `OK`. O(N).
    pub(super) fn slowlog_reset(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.core.slowlog.clear();
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `LATENCY LATEST`: for each event its name, the time of the latest spike, its latency, and the maximum. O(1).
    pub(super) fn latency_latest(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let mut reply = caller.reply(&mut self.net);
        reply.array(self.core.latency.iter().count());
        for (event, series) in self.core.latency.iter() {
            let Some(latest) = series.latest() else { continue };
            reply.array(4);
            reply.bulk(event.as_bytes());
            reply.integer(latest.unix_seconds as i64);
            reply.integer(latest.milliseconds as i64);
            reply.integer(series.worst_ms() as i64);
        }
        Ok(())
    }

    /// `LATENCY HISTORY event`: an array of seconds and milliseconds, the oldest first. O(1).
    pub(super) fn latency_history(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let mut reply = caller.reply(&mut self.net);
        let Some(series) = self.core.latency.get(args.get(2)) else {
            reply.array(0);
            return Ok(());
        };
        reply.array(series.len());
        for sample in series.iter() {
            reply.array(2);
            reply.integer(sample.unix_seconds as i64);
            reply.integer(sample.milliseconds as i64);
        }
        Ok(())
    }

    /// `LATENCY RESET [event …]`: the number of events reset; without a name all are. O(1).
    pub(super) fn latency_reset(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let count = match args.len() {
            2 => self.core.latency.reset_all(),
            _ => args.iter_from(2).filter(|event| self.core.latency.reset(event)).count(),
        };
        caller.reply(&mut self.net).integer(count as i64);
        Ok(())
    }

    /// `LATENCY GRAPH event`: a graph of its history. O(1).
    pub(super) fn latency_graph(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let event = args.get(2);
        let Some(series) = self.core.latency.get(event) else {
            return Err(Error::concat(&[b"ERR No samples available for event '", shown(event), b"'"]));
        };
        let graph = series.graph(&String::from_utf8_lossy(event), clock::wall_us() / 1_000_000);
        caller.reply(&mut self.net).verbatim(*b"txt", graph.as_bytes());
        Ok(())
    }

    /// `LATENCY DOCTOR`: an analysis of the history in sentences. O(1).
    pub(super) fn latency_doctor(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let report = self.core.diagnose_latency();
        caller.reply(&mut self.net).verbatim(*b"txt", report.as_bytes());
        Ok(())
    }

    /// `LATENCY HISTOGRAM [command …]`: for each command that was called, the cumulative numbers of calls up to powers
    /// of two microseconds. A container stands for its subcommands. O(N) in the number of commands.
    pub(super) fn latency_histogram(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let asked: Vec<u16> = match args.len() {
            2 => table::all().iter().map(|command| command.id).collect(),
            _ => args
                .iter_from(2)
                .filter_map(table::lookup_full)
                .flat_map(|command| std::iter::once(command).chain(command.subcommands()))
                .map(|command| command.id)
                .collect(),
        };
        // A command may be named any number of times.
        let bound = self.output_bound(token);
        let mut reply = caller.reply(&mut self.net);
        let rows = self.core.stats.per_command();
        let latencies = asked.into_iter().filter_map(|id| {
            let latency = rows[usize::from(id)].latency.as_ref()?;
            Some((table::all()[usize::from(id)].full_name, latency))
        });
        reply.map(latencies.clone().count());
        for (name, latency) in latencies {
            if reply.buf.len() > bound {
                break;
            }
            reply.bulk(name.as_bytes());
            push_histogram(&mut reply, latency);
        }
        self.end_beyond(token, bound);
        Ok(())
    }

    /// `MONITOR`: `OK`, then a line for every command. A second `MONITOR` gets no reply.
    pub(super) fn monitor(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let token = caller.client()?;
        let flags = caller.session(&mut self.net).flags;
        if flags.transaction {
            return Err(Error::new("ERR MONITOR isn't allowed for DENY BLOCKING client"));
        }
        if !flags.monitor {
            self.start_monitoring(token);
            caller.reply(&mut self.net).ok();
        }
        Ok(())
    }
}

fn push_histogram(reply: &mut Reply<'_>, latency: &Histogram) {
    let steps = latency.powers_of_two();
    reply.map(2);
    reply.bulk(b"calls");
    reply.integer(latency.count() as i64);
    reply.bulk(b"histogram_usec");
    reply.map(steps.len());
    for (micros, calls) in steps {
        reply.integer(micros as i64);
        reply.integer(calls as i64);
    }
}
