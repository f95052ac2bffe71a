//! Per-second rates from two samples.
//!
//! A counter that is smaller than before has restarted at 0: the server was restarted, or CONFIG RESETSTAT was called.
//! Its value has then been counted since. Attributing it to the whole interval makes the rate too low, but never
//! nonsense. RESETSTAT resets all counters at once, so if one counter shows a reset, all are taken to have restarted at
//! 0, even those that already exceed their old value.

use std::collections::BTreeMap;

use super::sample::{Command, Counters, Sample};

/// Figures for the time between two samples; per second unless they are percentages.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// The length of that time in seconds.
    pub seconds: f64,
    /// Whether the server was restarted between the samples.
    pub restarted: bool,
    /// Whether its statistics were reset between the samples.
    pub reset: bool,
    /// Commands per second.
    pub ops: f64,
    /// Microseconds per call over all commands; `None` without calls.
    pub usec_per_call: Option<f64>,
    /// The percentage of lookups that found a key; `None` without lookups.
    pub hit_percent: Option<f64>,
    pub hits: f64,
    pub misses: f64,
    pub input_bytes: f64,
    pub output_bytes: f64,
    pub connections: f64,
    pub rejected_connections: f64,
    pub expired: f64,
    pub evicted: f64,
    pub errors: f64,
    /// Processor time of all threads; 100 is one fully used processor.
    pub cpu_percent: f64,
    /// The commands with statistics.
    pub commands: BTreeMap<String, CommandRate>,
    /// Error replies per second by kind of error.
    pub errors_by_kind: BTreeMap<String, f64>,
    /// The growth of each non-empty database, in keys per second.
    pub growth: BTreeMap<u32, f64>,
}

/// The figures of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CommandRate {
    pub calls: f64,
    /// The time spent in the command, in percent of the interval.
    pub busy_percent: f64,
    /// During the interval; `None` if it was not called.
    pub usec_per_call: Option<f64>,
    /// Since the start of the statistics.
    pub usec_per_call_ever: Option<f64>,
    pub errors: f64,
    /// Calls since the start of the statistics.
    pub total: u64,
}

impl Rates {
    /// Computes the rates between two samples; `None` if no time has passed.
    pub fn between(before: &Sample, now: &Sample) -> Option<Rates> {
        let seconds = now.at.checked_sub(before.at).filter(|passed| !passed.is_zero())?.as_secs_f64();
        let restarted =
            before.server.run_id != now.server.run_id || now.server.uptime_s < before.server.uptime_s;
        let reset = !restarted && was_reset(before, now);
        let zero = Sample::default();
        let counted = if restarted || reset { &zero } else { before };
        let cpu_before = if restarted { 0.0 } else { before.counters.cpu_s };

        let (old, new) = (&counted.counters, &now.counters);
        let rate = |counter: fn(&Counters) -> u64| grown(counter(old), counter(new)) / seconds;
        let (hits, misses) = (rate(|c| c.hits), rate(|c| c.misses));
        let (commands, usec_per_call) = commands(counted, now, seconds);
        Some(Rates {
            seconds,
            restarted,
            reset,
            ops: rate(|c| c.commands),
            usec_per_call,
            hit_percent: (hits + misses > 0.0).then(|| hits / (hits + misses) * 100.0),
            hits,
            misses,
            input_bytes: rate(|c| c.input_bytes),
            output_bytes: rate(|c| c.output_bytes),
            connections: rate(|c| c.connections),
            rejected_connections: rate(|c| c.rejected_connections),
            expired: rate(|c| c.expired),
            evicted: rate(|c| c.evicted),
            errors: rate(|c| c.errors),
            cpu_percent: (new.cpu_s - cpu_before).max(0.0) / seconds * 100.0,
            commands,
            errors_by_kind: now
                .errors
                .iter()
                .map(|(kind, &count)| {
                    let old = counted.errors.get(kind).copied().unwrap_or(0);
                    (kind.clone(), grown(old, count) / seconds)
                })
                .collect(),
            growth: growth(before, now, seconds),
        })
    }
}

/// Returns the growth of a counter; its whole value if it has restarted.
fn grown(before: u64, now: u64) -> f64 {
    now.checked_sub(before).unwrap_or(now) as f64
}

/// Whether one of the counters that CONFIG RESETSTAT resets is smaller than before.
fn was_reset(before: &Sample, now: &Sample) -> bool {
    let of = |sample: &Sample| {
        let c = &sample.counters;
        [c.commands, c.connections, c.input_bytes, c.output_bytes, c.hits, c.misses, c.expired, c.errors]
    };
    let back = of(before).iter().zip(of(now)).any(|(&before, now)| now < before);
    let calls = |sample: &Sample, name: &str| sample.commands.get(name).map_or(0, |command| command.calls);
    back || before.commands.iter().any(|(name, command)| calls(now, name) < command.calls)
}

/// Returns the commands' figures, and the microseconds per call over all of them.
fn commands(before: &Sample, now: &Sample, seconds: f64) -> (BTreeMap<String, CommandRate>, Option<f64>) {
    let none = Command::default();
    let (mut all_calls, mut all_usec) = (0.0, 0.0);
    let mut rates = BTreeMap::new();
    for (name, command) in &now.commands {
        let old = before.commands.get(name).unwrap_or(&none);
        // The calls decide: the time is a measurement, which may be corrected slightly downwards.
        let begun = command.calls < old.calls;
        let old = if begun { &none } else { old };
        let (calls, usec) = (grown(old.calls, command.calls), command.usec.saturating_sub(old.usec) as f64);
        all_calls += calls;
        all_usec += usec;
        let rate = CommandRate {
            calls: calls / seconds,
            busy_percent: usec / 1e6 / seconds * 100.0,
            usec_per_call: (calls > 0.0).then(|| usec / calls),
            usec_per_call_ever: (command.calls > 0).then(|| command.usec as f64 / command.calls as f64),
            errors: grown(old.errors, command.errors) / seconds,
            total: command.calls,
        };
        rates.insert(name.clone(), rate);
    }
    (rates, (all_calls > 0.0).then(|| all_usec / all_calls))
}

fn growth(before: &Sample, now: &Sample, seconds: f64) -> BTreeMap<u32, f64> {
    let keys = |sample: &Sample, number: u32| {
        let found = sample.databases.iter().find(|database| database.number == number);
        found.map_or(0.0, |database| database.keys as f64)
    };
    let numbers = now.databases.iter().map(|database| database.number);
    numbers.map(|number| (number, (keys(now, number) - keys(before, number)) / seconds)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sample(seconds: u64, text: &str) -> Sample {
        Sample::parse(text, Duration::from_secs(seconds))
    }

    const FIRST: &str = "run_id:a\nuptime_in_seconds:100\ntotal_commands_processed:1000\nkeyspace_hits:10\n\
        keyspace_misses:0\nused_cpu_sys:1.0\ncmdstat_get:calls=1000,usec=2000\nerrorstat_ERR:count=5\ndb1:keys=10";

    #[test]
    fn rates_are_differences_by_time() {
        let second = "run_id:a\nuptime_in_seconds:102\ntotal_commands_processed:3000\nkeyspace_hits:40\n\
            keyspace_misses:10\nused_cpu_sys:2.0\ncmdstat_get:calls=3000,usec=12000,failed_calls=4\n\
            cmdstat_set:calls=0,usec=0\nerrorstat_ERR:count=9\ndb1:keys=6";
        let rates = Rates::between(&sample(10, FIRST), &sample(12, second)).unwrap();
        assert_eq!((rates.seconds, rates.ops, rates.cpu_percent), (2.0, 1000.0, 50.0));
        assert_eq!((rates.hit_percent, rates.usec_per_call), (Some(75.0), Some(5.0)));
        assert!(!rates.reset && !rates.restarted);
        let get = rates.commands["get"];
        assert_eq!((get.calls, get.busy_percent, get.errors, get.total), (1000.0, 0.5, 2.0, 3000));
        assert_eq!((get.usec_per_call, get.usec_per_call_ever), (Some(5.0), Some(4.0)));
        let set = rates.commands["set"];
        assert_eq!((set.calls, set.usec_per_call, set.usec_per_call_ever), (0.0, None, None));
        assert_eq!((rates.errors_by_kind["ERR"], rates.growth[&1]), (2.0, -2.0));
    }

    #[test]
    fn without_a_call_or_a_lookup_there_is_no_latency_and_no_ratio() {
        let rates = Rates::between(&sample(1, FIRST), &sample(2, FIRST)).unwrap();
        assert_eq!((rates.ops, rates.hit_percent, rates.usec_per_call), (0.0, None, None));
    }

    #[test]
    fn after_a_reset_all_statistics_begin_at_zero_and_processor_time_goes_on() {
        // The hits already exceed their old value; the commands show that there was a reset.
        let second = "run_id:a\nuptime_in_seconds:101\ntotal_commands_processed:50\nkeyspace_hits:30\n\
            used_cpu_sys:1.5\ncmdstat_get:calls=50,usec=100";
        let rates = Rates::between(&sample(1, FIRST), &sample(2, second)).unwrap();
        assert!(rates.reset && !rates.restarted);
        assert_eq!((rates.ops, rates.hits, rates.cpu_percent), (50.0, 30.0, 50.0));
        assert_eq!(rates.commands["get"].calls, 50.0);
    }

    #[test]
    fn after_a_restart_everything_begins_at_zero() {
        let second = "run_id:b\nuptime_in_seconds:1\ntotal_commands_processed:2000\nused_cpu_sys:0.25\n\
            cmdstat_get:calls=2000,usec=100";
        let rates = Rates::between(&sample(1, FIRST), &sample(2, second)).unwrap();
        assert!(rates.restarted && !rates.reset);
        assert_eq!((rates.ops, rates.cpu_percent), (2000.0, 25.0));
        assert_eq!(rates.commands["get"].calls, 2000.0);
    }

    #[test]
    fn time_that_is_corrected_downwards_is_no_time() {
        let second = FIRST.replace("calls=1000,usec=2000", "calls=1001,usec=1999");
        let rates = Rates::between(&sample(1, FIRST), &sample(2, &second)).unwrap();
        let get = rates.commands["get"];
        assert_eq!((get.calls, get.busy_percent, get.usec_per_call), (1.0, 0.0, Some(0.0)));
        assert_eq!(rates.usec_per_call, Some(0.0));
    }

    #[test]
    fn two_samples_of_the_same_moment_say_nothing() {
        assert!(Rates::between(&sample(1, FIRST), &sample(1, FIRST)).is_none());
        assert!(Rates::between(&sample(2, FIRST), &sample(1, FIRST)).is_none());
    }
}
