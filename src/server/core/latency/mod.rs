//! Latency spikes: for each kind of event that blocks the loop, the latest durations of at least
//! `latency-monitor-threshold` milliseconds.
//!
//! A series keeps the worst duration of each second, for the latest [`SAMPLES`] seconds with a spike, and the worst
//! of all. Durations below the threshold are not kept, and nothing is while the threshold is 0.

mod doctor;
mod graph;

use std::collections::BTreeMap;

use super::Core;
use crate::sys::clock;

/// The most samples of a series.
const SAMPLES: usize = 160;

/// The worst duration in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The second, Unix time.
    pub unix_seconds: u64,
    /// How long the event took.
    pub milliseconds: u64,
}

/// The spikes of one kind of event, the oldest first.
#[derive(Debug, Default)]
pub struct Series {
    /// A ring once it is full; `oldest` is the index of the oldest.
    samples: Vec<Sample>,
    oldest: usize,
    /// The longest duration since the start or the last reset.
    worst_ms: u64,
}

impl Series {
    fn add(&mut self, sample: Sample) {
        self.worst_ms = self.worst_ms.max(sample.milliseconds);
        let len = self.samples.len();
        if let Some(latest) = self.samples.get_mut((self.oldest + len.saturating_sub(1)) % SAMPLES)
            && latest.unix_seconds == sample.unix_seconds
        {
            latest.milliseconds = latest.milliseconds.max(sample.milliseconds);
        } else if len < SAMPLES {
            self.samples.push(sample);
        } else {
            self.samples[self.oldest] = sample;
            self.oldest = (self.oldest + 1) % SAMPLES;
        }
    }

    /// Iterates over the samples from the oldest to the latest.
    pub fn iter(&self) -> impl Iterator<Item = Sample> + '_ {
        let (newer, older) = self.samples.split_at(self.oldest);
        older.iter().chain(newer).copied()
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns the latest sample.
    pub fn latest(&self) -> Option<Sample> {
        self.iter().last()
    }

    /// The longest duration since the start or the last reset.
    pub fn worst_ms(&self) -> u64 {
        self.worst_ms
    }

    /// Returns the text of `LATENCY GRAPH`: a head line, a rule, and the graph of the samples.
    pub fn graph(&self, event: &str, now_seconds: u64) -> String {
        graph::draw(event, self, now_seconds)
    }
}

/// All series, by the event's name.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    series: BTreeMap<&'static str, Series>,
}

impl LatencyMonitor {
    /// Iterates over the series that have samples, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Series)> {
        self.series.iter().map(|(event, series)| (*event, series))
    }

    /// Returns the series of `event`, if it has samples.
    pub fn get(&self, event: &[u8]) -> Option<&Series> {
        self.series.get(std::str::from_utf8(event).ok()?)
    }

    /// Deletes the samples of `event` and returns whether there were any.
    pub fn reset(&mut self, event: &[u8]) -> bool {
        std::str::from_utf8(event).is_ok_and(|event| self.series.remove(event).is_some())
    }

    /// Deletes all samples and returns how many events had any.
    pub fn reset_all(&mut self) -> usize {
        let events = self.series.len();
        self.series.clear();
        events
    }

    /// Adds a sample of `event`.
    fn add(&mut self, event: &'static str, sample: Sample) {
        self.series.entry(event).or_default().add(sample);
    }
}

impl Core {
    /// Records that an event blocked the loop for `micros`, if that is a spike.
    pub fn note_latency(&mut self, event: &'static str, micros: u64) {
        let (threshold, milliseconds) = (self.config.latency_monitor_threshold, micros / 1000);
        if threshold > 0 && milliseconds >= threshold {
            self.latency.add(event, Sample { unix_seconds: clock::wall_us() / 1_000_000, milliseconds });
        }
    }

    /// Returns the text of `LATENCY DOCTOR`: an analysis of the spikes, in sentences.
    pub fn diagnose_latency(&self) -> String {
        doctor::report(&self.latency, &self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(samples: &[(u64, u64)]) -> Series {
        let mut series = Series::default();
        for &(unix_seconds, milliseconds) in samples {
            series.add(Sample { unix_seconds, milliseconds });
        }
        series
    }

    fn seen(series: &Series) -> Vec<(u64, u64)> {
        series.iter().map(|sample| (sample.unix_seconds, sample.milliseconds)).collect()
    }

    #[test]
    fn of_a_second_the_worst_time_is_kept() {
        let series = series(&[(1, 5), (1, 3), (2, 4), (2, 9), (4, 1)]);
        assert_eq!(seen(&series), [(1, 5), (2, 9), (4, 1)]);
        assert_eq!(series.worst_ms(), 9);
        assert_eq!(series.latest(), Some(Sample { unix_seconds: 4, milliseconds: 1 }));
    }

    #[test]
    fn a_full_series_forgets_its_oldest_samples_and_not_its_worst_time() {
        let all: Vec<(u64, u64)> = (0..1000).map(|n| (n, 1000 - n)).collect();
        let mut series = series(&all);
        assert_eq!(seen(&series), all[1000 - SAMPLES..]);
        assert_eq!(series.worst_ms(), 1000);
        series.add(Sample { unix_seconds: 999, milliseconds: 70 });
        assert_eq!((series.len(), series.latest().map(|s| s.milliseconds)), (SAMPLES, Some(70)));
    }

    #[test]
    fn series_are_reset_one_by_one_or_together() {
        let mut monitor = LatencyMonitor::default();
        for event in ["command", "fast-command", "expire-cycle"] {
            monitor.add(event, Sample { unix_seconds: 1, milliseconds: 2 });
        }
        assert!(monitor.reset(b"command") && !monitor.reset(b"command") && !monitor.reset(b"\xff"));
        assert_eq!(
            monitor.iter().map(|(event, _)| event).collect::<Vec<_>>(),
            ["expire-cycle", "fast-command"]
        );
        assert_eq!((monitor.reset_all(), monitor.reset_all()), (2, 0));
        assert!(monitor.get(b"command").is_none());
    }
}
