//! Results as one JSON document.
//!
//! Latencies are in milliseconds, rates per second, processor times in microseconds per request. The figures of a
//! result are medians of its rounds, which follow individually.

use super::options::Options;
use super::report::{Measured, PERCENTILES};
use super::run::Outcome;
use super::subject::Subject;
use super::text::ratio;
use crate::text::json::Writer;

/// The INFO fields that describe the server measured.
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

/// Returns the document, with a line end.
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
    writer.whole("clients", options.clients as u64);
    writer.whole("threads", options.threads.unwrap_or(1) as u64);
    writer.whole("pipeline", options.pipeline as u64);
    writer.whole("requests", options.requests);
    writer.real("duration", options.duration);
    writer.real("rate", options.pace.map(|pace| pace.rate));
    writer.flag("poisson", options.pace.is_some_and(|pace| pace.is_poisson));
    writer.whole("data_size", options.size as u64);
    writer.whole("keyspace", options.range);
    writer.whole("seed", options.seed);
    writer.whole("rounds", options.rounds as u64);
    writer.flag("keep_alive", options.keeps_alive);
}

fn result(writer: &mut Writer, options: &Options, all: &[Measured], measured: &Measured) {
    let round = measured.typical();
    writer.text("test", &measured.title);
    writer.text("server", &options.name(measured.subject));
    if !measured.has_figures() {
        writer.real("rps", None);
        writer.whole("errors", measured.errors());
        writer.flag("partial", measured.failure().is_some());
        return;
    }
    writer.real("rps", measured.rate());
    if let Some(first) = all.iter().find(|first| first.title == measured.title && first.subject == 0) {
        writer.real("ratio", ratio(measured, first));
    }
    writer.real("avg_latency_ms", measured.median(|round| round.tally.latencies.mean() / 1000.0));
    writer.real("min_latency_ms", measured.percentile_ms(0.0));
    writer.real("max_latency_ms", measured.percentile_ms(100.0));
    writer.object("percentiles_ms", |writer| {
        for percent in PERCENTILES {
            writer.real(&percent.to_string(), measured.percentile_ms(percent));
        }
    });
    writer.real("client_cpu_us_per_request", measured.client_cpu_us());
    writer.real("client_cpu_load", measured.client_load());
    writer.real("server_cpu_us_per_request", measured.server_cpu_us());
    writer.whole("errors", measured.errors());
    writer.flag("partial", measured.failure().is_some());
    if let Some(failure) = measured.failure() {
        writer.text("failure", &failure);
    }
    writer
        .array("rounds", &measured.rounds, |writer, round| writer.braces(|writer| one_round(writer, round)));
    let (width, intervals) = round.tally.timeline.intervals(500);
    writer.real("interval_seconds", width);
    writer.array("replies_over_time", &intervals, |writer, interval| {
        writer.out.push_str(&interval.replies.to_string());
    });
}

fn one_round(writer: &mut Writer, round: &Outcome) {
    let latencies = &round.tally.latencies;
    writer.whole("requests", latencies.count());
    writer.real("seconds", round.seconds);
    writer.real("rps", round.rate());
    writer.real("p50_latency_ms", latencies.percentile(50.0) as f64 / 1000.0);
    writer.real("p99_latency_ms", latencies.percentile(99.0) as f64 / 1000.0);
    writer.real("max_latency_ms", latencies.max() as f64 / 1000.0);
    writer.real("client_cpu_user_seconds", round.client_cpu.0);
    writer.real("client_cpu_system_seconds", round.client_cpu.1);
    writer.real("server_cpu_seconds", round.server_cpu);
    writer.whole("errors", round.tally.errors);
    writer.whole("unsent", round.unsent);
    writer.whole("unanswered", round.tally.unanswered);
    if round.tally.delays.count() > 0 {
        writer.real("send_delay_p99_ms", round.tally.delays.percentile(99.0) as f64 / 1000.0);
        writer.real("send_delay_max_ms", round.tally.delays.max() as f64 / 1000.0);
    }
}
