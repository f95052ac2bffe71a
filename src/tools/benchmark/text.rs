//! Results as text: redis-benchmark's report, its one-line and CSV formats, and a table for comparisons.

use std::fmt::Write;

use super::histogram::Histogram;
use super::options::Options;
use super::report::Measured;
use super::subject::Subject;

/// The columns of `--csv`, which scripts rely on.
const COLUMNS: [&str; 8] = [
    "test",
    "rps",
    "avg_latency_ms",
    "min_latency_ms",
    "p50_latency_ms",
    "p95_latency_ms",
    "p99_latency_ms",
    "max_latency_ms",
];

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// Average, shortest, p50, p95, p99 and longest latency in milliseconds.
fn summary(latencies: &Histogram) -> [f64; 6] {
    let percentile = |percent| ms(latencies.percentile(percent));
    [
        latencies.mean() / 1000.0,
        ms(latencies.min()),
        percentile(50.0),
        percentile(95.0),
        percentile(99.0),
        ms(latencies.max()),
    ]
}

/// Percentiles that halve the distance to 100 each time, up to the longest latency: percent, microseconds, and the
/// number of requests that took at most that.
pub fn spectrum(latencies: &Histogram) -> Vec<(f64, u64, u64)> {
    let mut points = Vec::new();
    let mut percent = 0.0;
    loop {
        let us = latencies.percentile(percent);
        let count = latencies.count_up_to(us);
        points.push((percent, us, count));
        if count >= latencies.count() {
            break;
        }
        percent = if percent == 0.0 { 50.0 } else { f64::midpoint(percent, 100.0) };
    }
    points.push((100.0, latencies.max(), latencies.count()));
    points
}

/// The number of requests that took at most 0.1 ms, 0.2 ms, …, and from 2 ms on 3 ms, 4 ms, …; lists only changes.
fn distribution(latencies: &Histogram) -> Vec<(u64, u64)> {
    let mut points = Vec::new();
    let (mut us, mut last) = (100, 0);
    while last < latencies.count() {
        let count = latencies.count_up_to(us);
        if count != last {
            points.push((us, count));
            last = count;
        }
        us += if us < 2000 { 100 } else { 1000 };
    }
    points
}

/// Formatting into a string does not fail.
macro_rules! line {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($format:tt)*) => { { let _ = writeln!($out, $($format)*); } };
}

/// Formats the report of a test as redis-benchmark does, with further lines for features that it lacks.
pub fn full(options: &Options, subject: &Subject, measured: &Measured) -> String {
    if !measured.has_figures() {
        return refused(measured);
    }
    let round = measured.typical();
    let latencies = &round.tally.latencies;
    let mut out = String::new();
    line!(out, "====== {} ======", measured.title);
    line!(out, "  {} requests completed in {:.2} seconds", latencies.count(), round.seconds);
    line!(out, "  {} parallel clients", options.clients);
    line!(out, "  {} bytes payload", options.size);
    line!(out, "  keep alive: {}", u8::from(options.keeps_alive));
    for (name, value) in &subject.configuration {
        line!(out, "  host configuration \"{name}\": {value}");
    }
    line!(out, "  multi-thread: {}", if options.threads.is_some() { "yes" } else { "no" });
    if let Some(threads) = options.threads {
        line!(out, "  threads: {threads}");
    }
    for remark in remarks(options, measured) {
        line!(out, "  {remark}");
    }
    line!(out);
    let digits = options.precision;
    let share = |count: u64| count as f64 * 100.0 / latencies.count().max(1) as f64;
    line!(out, "Latency by percentile distribution:");
    for (percent, us, count) in spectrum(latencies) {
        line!(out, "{percent:.3}% <= {:.digits$} milliseconds (cumulative count {count})", ms(us));
    }
    line!(out);
    line!(out, "Cumulative distribution of latencies:");
    for (us, count) in distribution(latencies) {
        line!(out, "{:.3}% <= {:.digits$} milliseconds (cumulative count {count})", share(count), ms(us));
    }
    line!(out);
    line!(out, "Summary:");
    line!(out, "  throughput summary: {:.2} requests per second", round.rate());
    line!(out, "  latency summary (msec):");
    line!(out, "    {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}", "avg", "min", "p50", "p95", "p99", "max");
    let figures = summary(latencies).map(|figure| format!("{figure:>9.digits$}"));
    line!(out, "    {}", figures.join(" "));
    line!(out);
    out
}

/// Remarks on a result besides its figures.
pub fn remarks(options: &Options, measured: &Measured) -> Vec<String> {
    let round = measured.typical();
    let mut remarks = Vec::new();
    if let Some(pace) = options.pace {
        let spacing = if pace.is_poisson { "at random distances (Poisson)" } else { "at even distances" };
        remarks.push(format!("open loop: {} requests per second {spacing}", pace.rate));
        if measured.misses(pace) {
            remarks
                .push(format!("the rate was missed: {:.2} requests per second were reached", round.rate()));
        }
        let delays = &round.tally.delays;
        let (p99, longest) = (ms(delays.percentile(99.0)), ms(delays.max()));
        remarks.push(format!("sent after they were due: p99={p99:.3} msec, max={longest:.3} msec"));
    }
    if let Some((least, most)) = measured.spread() {
        let count = measured.rounds.len();
        remarks.push(format!(
            "{count} rounds, from {least:.2} to {most:.2} requests per second, of which the median is shown"
        ));
    }
    if round.unsent > 0 {
        remarks.push(format!(
            "{} requests were due and could not be sent: too few connections for the rate",
            round.unsent
        ));
    }
    if measured.errors() > 0 {
        remarks.push(format!("{} replies were errors", measured.errors()));
    }
    if round.tally.unanswered > 0 && round.failure.is_none() {
        remarks.push(format!("{} requests were not replied to in time", round.tally.unanswered));
    }
    if let Some(failure) = measured.failure() {
        remarks.push(format!("partial result: {failure}"));
    }
    remarks
}

/// The line of `-q`.
pub fn quiet(options: &Options, measured: &Measured) -> String {
    if measured.has_figures() {
        format!("{}: {}\n", measured.title, figures(options, measured))
    } else {
        refused(measured)
    }
}

/// The text for a test whose replies were all errors.
fn refused(measured: &Measured) -> String {
    format!("{}: no result, all {} replies were errors\n", measured.title, measured.replies())
}

/// The text of `-q` after a test's title.
fn figures(options: &Options, measured: &Measured) -> String {
    let round = measured.typical();
    let p50 = ms(round.tally.latencies.percentile(50.0));
    let digits = options.precision;
    let mut out = format!("{:.2} requests per second, p50={p50:.digits$} msec", round.rate());
    if options.pace.is_some() {
        let p99 = ms(round.tally.latencies.percentile(99.0));
        let _ = write!(out, ", p99={p99:.digits$} msec");
    }
    match measured.errors() {
        0 => {}
        1 => out.push_str(", 1 error"),
        errors => {
            let _ = write!(out, ", {errors} errors");
        }
    }
    if options.pace.is_some_and(|pace| measured.misses(pace)) {
        out.push_str(" (below the rate)");
    }
    if round.failure.is_some() {
        out.push_str(" (partial)");
    }
    out
}

/// The line of `-q` for a test on several servers: each with its ratio to the first one's throughput.
pub fn quiet_comparison(options: &Options, all: &[Measured]) -> String {
    let Some(first) = all.first() else { return String::new() };
    let part = |measured: &Measured| {
        let name = options.name(measured.subject);
        match (measured.has_figures(), ratio(measured, first)) {
            (false, _) => format!("{name} no result, all {} replies were errors", measured.replies()),
            (true, Some(ratio)) if measured.subject != first.subject => {
                format!("{name} {}, {ratio:.2}x", figures(options, measured))
            }
            (true, _) => format!("{name} {}", figures(options, measured)),
        }
    };
    let parts: Vec<String> = all.iter().map(part).collect();
    format!("{}: {}\n", first.title, parts.join("; "))
}

/// The ratio of its throughput to that of `first`, if that has one.
pub fn ratio(measured: &Measured, first: &Measured) -> Option<f64> {
    first.has_figures().then(|| measured.rate() / first.rate().max(f64::MIN_POSITIVE))
}

/// The first line of `--csv`. With several servers, each line names one at its end.
pub fn csv_head(compares: bool) -> String {
    let mut columns: Vec<String> = COLUMNS.iter().map(|name| quoted(name)).collect();
    if compares {
        columns.push(quoted("server"));
    }
    columns.join(",") + "\n"
}

/// A test's line of `--csv`.
pub fn csv(options: &Options, measured: &Measured) -> String {
    let round = measured.typical();
    let digits = options.precision;
    let mut columns = vec![quoted(&measured.title), quoted(&format!("{:.2}", round.rate()))];
    columns.extend(summary(&round.tally.latencies).map(|figure| quoted(&format!("{figure:.digits$}"))));
    if options.targets.len() > 1 {
        columns.push(quoted(&options.name(measured.subject)));
    }
    columns.join(",") + "\n"
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A test on several servers: medians, and each server's ratio to the first one's throughput.
pub fn comparison(options: &Options, all: &[Measured]) -> String {
    let mut out = String::new();
    let Some(first) = all.first() else { return out };
    let rounds = first.rounds.len();
    let plural = if rounds == 1 { "one round" } else { &format!("medians of {rounds} rounds") };
    line!(out, "====== {} ({plural}) ======", first.title);
    let names: Vec<String> = all.iter().map(|measured| options.name(measured.subject)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0).max(6);
    line!(
        out,
        "  {:width$} {:>12} {:>7} {:>9} {:>9} {:>9} {:>9} {:>14}",
        "server",
        "rps",
        "ratio",
        "p50",
        "p99",
        "p99.9",
        "max",
        "server CPU/req"
    );
    for (measured, name) in all.iter().zip(&names) {
        if !measured.has_figures() {
            line!(out, "  {name:width$} no result, all {} replies were errors", measured.replies());
            continue;
        }
        let ratio = ratio(measured, first).map_or("-".to_string(), |ratio| format!("{ratio:.2}x"));
        let cpu = measured.server_cpu_us().map_or("-".to_string(), |us| format!("{us:.2} us"));
        let latencies = [50.0, 99.0, 99.9, 100.0].map(|percent| measured.percentile_ms(percent));
        line!(
            out,
            "  {name:width$} {:>12.2} {ratio:>7} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {cpu:>14}",
            measured.rate(),
            latencies[0],
            latencies[1],
            latencies[2],
            latencies[3],
        );
        for remark in
            remarks(options, measured).into_iter().filter(|remark| !remark.contains(" rounds, from "))
        {
            line!(out, "    {remark}");
        }
    }
    line!(out);
    out
}
