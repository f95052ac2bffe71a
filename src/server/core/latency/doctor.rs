//! `LATENCY DOCTOR`: the figures of each series, and what might help.
//!
//! The opening words are those of Redis, by which people and tools recognize the report; the advice is about this
//! server.

use std::fmt::Write;

use super::{LatencyMonitor, Series};
use crate::config::Config;

const DISABLED: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You \
may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space \
mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n";

const HEALTHY: &str = "Dave, no latency spike was observed during the lifetime of this Redis instance, not in the \
slightest bit. I honestly think you ought to sit down calmly, take a stress pill, and think things over.\n";

const HEAD: &str = "Dave, I have observed latency spikes in this Redis instance. You don't mind talking about it, do \
you Dave?\n\n";

/// The figures that are reported for a series.
#[derive(Debug, PartialEq)]
struct Figures {
    mean_ms: u64,
    /// Mean distance from the mean.
    deviation_ms: u64,
    /// The mean number of seconds between spikes.
    period_seconds: f64,
}

impl Figures {
    fn of(series: &Series, now_seconds: u64) -> Figures {
        let count = series.len().max(1) as u64;
        let times = || series.iter().map(|sample| sample.milliseconds);
        let mean_ms = times().sum::<u64>() / count;
        let deviation_ms = times().map(|time| time.abs_diff(mean_ms)).sum::<u64>() / count;
        let first = series.iter().next().map_or(now_seconds, |sample| sample.unix_seconds);
        let period_seconds = now_seconds.saturating_sub(first).max(1) as f64 / count as f64;
        Figures { mean_ms, deviation_ms, period_seconds }
    }
}

/// Returns the report as of now.
pub fn report(monitor: &LatencyMonitor, config: &Config) -> String {
    report_at(monitor, config, crate::sys::clock::wall_us() / 1_000_000)
}

fn report_at(monitor: &LatencyMonitor, config: &Config, now_seconds: u64) -> String {
    if config.latency_monitor_threshold == 0 && monitor.iter().next().is_none() {
        return DISABLED.into();
    }
    if monitor.iter().next().is_none() {
        return HEALTHY.into();
    }
    let mut text = String::from(HEAD);
    let mut advice = Vec::new();
    for (index, (event, series)) in monitor.iter().enumerate() {
        let figures = Figures::of(series, now_seconds);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}. {event}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2} sec). Worst all time \
             event {}ms.",
            index + 1,
            series.len(),
            figures.mean_ms,
            figures.deviation_ms,
            figures.period_seconds,
            series.worst_ms()
        );
        for sentence in advice_for(event, config) {
            if !advice.contains(&sentence) {
                advice.push(sentence);
            }
        }
    }
    text.push_str("\nI have a few advices for you:\n\n");
    for sentence in advice {
        let _ = writeln!(text, "- {sentence}");
    }
    text
}

fn advice_for(event: &str, config: &Config) -> Vec<String> {
    let mut advice = Vec::new();
    match event {
        "command" => {
            let threshold_us = config.latency_monitor_threshold.saturating_mul(1000);
            match u64::try_from(config.slowlog_log_slower_than) {
                Err(_) => advice.push(format!(
                    "The slow log is off, so the slow commands are unknown. 'CONFIG SET \
                     slowlog-log-slower-than {threshold_us}' enables it with the threshold of the latency monitor."
                )),
                Ok(slow) if slow > threshold_us => advice.push(format!(
                    "Some of these commands were too fast for the slow log. 'CONFIG SET slowlog-log-slower-than \
                     {threshold_us}' gives it the threshold of the latency monitor."
                )),
                Ok(_) => {}
            }
            advice.push(
                "'SLOWLOG GET' shows the slow commands with their arguments. What walks over many elements at once \
                 (KEYS, a range of a long list, DEL of many keys) can be asked for in smaller pieces (SCAN, ranges \
                 with a limit, UNLINK)."
                    .into(),
            );
        }
        "fast-command" => advice.push(
            "These commands take constant or logarithmic time, so they were held up by the machine: by swapping, by \
             other processes, or by a host that gave the processor to another guest. 'vmstat 1' shows the first two, \
             and the third as stolen time."
                .into(),
        ),
        "expire-cycle" => advice.push(
            "Many keys expired at the same time. Some random seconds added to their time to live spread the work; a \
             lower active-expire-effort makes smaller steps of it."
                .into(),
        ),
        "active-defrag-cycle" => advice.push(
            "Blocks were moved out of sparse memory in longer slices than intended, most likely because a very large \
             block was among them. A lower active-defrag-cycle-max makes slices rarer, 'CONFIG SET activedefrag no' ends \
             them."
                .into(),
        ),
        _ => advice.push(format!("'LATENCY HISTORY {event}' shows when it happened; what ran then may be the cause.")),
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;

    fn monitor(event: &'static str, samples: &[(u64, u64)]) -> LatencyMonitor {
        let mut monitor = LatencyMonitor::default();
        for &(unix_seconds, milliseconds) in samples {
            monitor.add(event, Sample { unix_seconds, milliseconds });
        }
        monitor
    }

    #[test]
    fn without_samples_the_report_says_whether_anything_would_be_noticed() {
        let mut config = Config::default();
        assert!(report_at(&LatencyMonitor::default(), &config, 0).starts_with("I'm sorry, Dave"));
        config.latency_monitor_threshold = 100;
        assert!(report_at(&LatencyMonitor::default(), &config, 0).starts_with("Dave, no latency spike"));
    }

    #[test]
    fn the_figures_are_means_over_the_samples_and_the_time_since_the_first() {
        let times = [5, 20, 100, 40, 1, 2, 4, 60, 80];
        let samples: Vec<(u64, u64)> =
            times.iter().enumerate().map(|(n, ms)| (100 + n as u64, *ms)).collect();
        let monitor = monitor("command", &samples);
        let figures = Figures::of(monitor.get(b"command").unwrap(), 110);
        assert_eq!((figures.mean_ms, figures.deviation_ms), (34, 31));
        assert!((figures.period_seconds - 1.11).abs() < 0.01);
    }

    #[test]
    fn the_advice_names_the_threshold_that_would_catch_the_slow_commands() {
        let mut config = Config { latency_monitor_threshold: 1, ..Config::default() };
        let monitor = monitor("command", &[(1, 5)]);
        assert!(
            report_at(&monitor, &config, 2)
                .contains("too fast for the slow log. 'CONFIG SET slowlog-log-slower-than 1000'")
        );
        config.slowlog_log_slower_than = -1;
        assert!(report_at(&monitor, &config, 2).contains("The slow log is off"));
        config.slowlog_log_slower_than = 1000;
        let text = report_at(&monitor, &config, 2);
        assert!(!text.contains("CONFIG SET") && text.contains("SLOWLOG GET"), "{text}");
        assert!(text.contains(
            "\n1. command: 1 latency spikes (average 5ms, mean deviation 0ms, period 1.00 sec). Worst"
        ));
    }
}
