//! Results as one JSON document.
//!
//! Latencies are milliseconds, rates are a second, processor times are microseconds a request. Figures of a result are
//! medians of its rounds, which follow one by one.

use super::options::Options;
use super::report::{Measured, PERCENTILES};
use super::run::Outcome;
use super::subject::Subject;
use super::text::ratio;
use std::fmt::Write as _;

/// Fields of INFO that say what was measured.
pub const FACTS: [&str; 14] = [
    "redis_version",
    "redstart_version",
    "valkey_version",
    "redis_mode",
    "os",
    "arch_bits",
    "multiplexing_api",
    "mem_allocator",
    "uptime_in_seconds",
    "used_memory_human",
    "maxmemory_human",
    "maxmemory_policy",
    "aof_enabled",
    "role",
];

/// A JSON value that is being written: text, with commas where they belong.
#[derive(Debug, Default)]
struct Writer {
    out: String,
}

impl Writer {
    fn comma(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with(['{', '[', ':']) {
            self.out.push(',');
        }
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.string(key);
        self.out.push(':');
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => self.out.extend(['\\', character]),
                control if control < ' ' => {
                    let _ = write!(self.out, "\\u{:04x}", control as u32);
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text);
    }

    /// A number, null if there is none.
    fn number(&mut self, key: &str, number: impl Into<Option<f64>>) {
        self.key(key);
        match number.into().filter(|number| number.is_finite()) {
            // Three digits behind the point: of a millisecond and of a microsecond of processor time.
            Some(number) => self.out.push_str(&((number * 1000.0).round() / 1000.0).to_string()),
            None => self.out.push_str("null"),
        }
    }

    fn flag(&mut self, key: &str, is_set: bool) {
        self.key(key);
        self.out.push_str(if is_set { "true" } else { "false" });
    }

    fn object(&mut self, key: &str, fill: impl FnOnce(&mut Writer)) {
        self.key(key);
        self.braces(fill);
    }

    fn braces(&mut self, fill: impl FnOnce(&mut Writer)) {
        self.out.push('{');
        fill(self);
        self.out.push('}');
    }

    fn array<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Writer, T),
    ) {
        self.key(key);
        self.out.push('[');
        for item in items {
            self.comma();
            write(self, item);
        }
        self.out.push(']');
    }
}

/// The document, with a line end.
pub fn document(options: &Options, command_line: &str, subjects: &[Subject], results: &[Measured]) -> String {
    let mut writer = Writer::default();
    writer.braces(|writer| {
        writer.text("command_line", command_line);
        writer.text("redstart_version", env!("CARGO_PKG_VERSION"));
        writer.object("options", |writer| settings(writer, options));
        writer.array("servers", subjects.iter().enumerate(), |writer, (index, subject)| {
            writer.braces(|writer| {
                writer.text("name", &options.name(index));
                for name in FACTS {
                    if let Some(value) = subject.fact(name) {
                        writer.text(name, value);
                    }
                }
                for (name, value) in &subject.configuration {
                    writer.text(name, value);
                }
            });
        });
        writer.array("results", results, |writer, measured| {
            writer.braces(|writer| result(writer, options, results, measured));
        });
    });
    writer.out + "\n"
}

fn settings(writer: &mut Writer, options: &Options) {
    let count = |number: Option<u64>| number.map(|number| number as f64);
    writer.number("clients", options.clients as f64);
    writer.number("threads", options.threads.unwrap_or(1) as f64);
    writer.number("pipeline", options.pipeline as f64);
    writer.number("requests", count(options.requests));
    writer.number("duration", options.duration);
    writer.number("rate", options.pace.map(|pace| pace.rate));
    writer.flag("poisson", options.pace.is_some_and(|pace| pace.is_poisson));
    writer.number("data_size", options.size as f64);
    writer.number("keyspace", count(options.range));
    writer.number("seed", options.seed as f64);
    writer.number("rounds", options.rounds as f64);
    writer.flag("keep_alive", options.keeps_alive);
}

fn result(writer: &mut Writer, options: &Options, all: &[Measured], measured: &Measured) {
    let round = measured.typical();
    writer.text("test", &measured.title);
    writer.text("server", &options.name(measured.subject));
    if !measured.has_figures() {
        writer.number("rps", None);
        writer.number("errors", measured.errors() as f64);
        writer.flag("partial", measured.failure().is_some());
        return;
    }
    writer.number("rps", measured.rate());
    if let Some(first) = all.iter().find(|first| first.title == measured.title && first.subject == 0) {
        writer.number("ratio", ratio(measured, first));
    }
    writer.number("avg_latency_ms", measured.median(|round| round.tally.latencies.mean() / 1000.0));
    writer.number("min_latency_ms", measured.percentile_ms(0.0));
    writer.number("max_latency_ms", measured.percentile_ms(100.0));
    writer.object("percentiles_ms", |writer| {
        for percent in PERCENTILES {
            writer.number(&percent.to_string(), measured.percentile_ms(percent));
        }
    });
    writer.number("client_cpu_us_per_request", measured.client_cpu_us());
    writer.number("client_cpu_load", measured.client_load());
    writer.number("server_cpu_us_per_request", measured.server_cpu_us());
    writer.number("errors", measured.errors() as f64);
    writer.flag("partial", measured.failure().is_some());
    if let Some(failure) = measured.failure() {
        writer.text("failure", &failure);
    }
    writer
        .array("rounds", &measured.rounds, |writer, round| writer.braces(|writer| one_round(writer, round)));
    let (width, intervals) = round.tally.timeline.intervals(500);
    writer.number("interval_seconds", width);
    writer.array("replies_over_time", &intervals, |writer, interval| {
        writer.out.push_str(&interval.replies.to_string());
    });
}

fn one_round(writer: &mut Writer, round: &Outcome) {
    let latencies = &round.tally.latencies;
    writer.number("requests", latencies.count() as f64);
    writer.number("seconds", round.seconds);
    writer.number("rps", round.rate());
    writer.number("p50_latency_ms", latencies.percentile(50.0) as f64 / 1000.0);
    writer.number("p99_latency_ms", latencies.percentile(99.0) as f64 / 1000.0);
    writer.number("max_latency_ms", latencies.max() as f64 / 1000.0);
    writer.number("client_cpu_user_seconds", round.client_cpu.0);
    writer.number("client_cpu_system_seconds", round.client_cpu.1);
    writer.number("server_cpu_seconds", round.server_cpu);
    writer.number("errors", round.tally.errors as f64);
    writer.number("unsent", round.unsent as f64);
    writer.number("unanswered", round.tally.unanswered as f64);
    if round.tally.delays.count() > 0 {
        writer.number("send_delay_p99_ms", round.tally.delays.percentile(99.0) as f64 / 1000.0);
        writer.number("send_delay_max_ms", round.tally.delays.max() as f64 / 1000.0);
    }
}
