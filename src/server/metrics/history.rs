//! The last minutes in figures, for the charts of the status page: one sample a second of totals that are kept anyway.
//!
//! A sample costs its copy, and two system calls a second. The ring exists only while `metrics-port` is open: then it
//! takes 22 KB.

/// Samples that are kept: five minutes.
pub const SAMPLES: usize = 300;

const SECOND_US: u64 = 1_000_000;

/// Totals and levels at a moment.
#[derive(Clone, Copy, Default)]
pub struct Sample {
    /// Commands executed.
    pub commands: u64,
    /// Lookups that found a key.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Bytes received.
    pub input_bytes: u64,
    /// Bytes sent.
    pub output_bytes: u64,
    /// Processor time.
    pub cpu_us: u64,
    /// Bytes in use, now.
    pub memory: u64,
    /// Clients, now.
    pub clients: u64,
}

/// A ring of samples.
#[derive(Default)]
pub struct History {
    samples: Vec<(u64, Sample)>,
    /// Where the oldest is once the ring is full.
    oldest: usize,
    due_us: u64,
}

impl History {
    /// Whether it is time for the next sample.
    pub fn is_due(&self, now_us: u64) -> bool {
        now_us >= self.due_us
    }

    /// Adds the sample of `now_us`, a time of the monotonic clock.
    pub fn add(&mut self, now_us: u64, sample: Sample) {
        // A sample that comes late does not make the next one late.
        let due_us = self.due_us + SECOND_US;
        self.due_us = if due_us > now_us { due_us } else { now_us + SECOND_US };
        // One more than there are intervals to show.
        if self.samples.len() <= SAMPLES {
            self.samples.push((now_us, sample));
        } else {
            self.samples[self.oldest] = (now_us, sample);
            self.oldest = (self.oldest + 1) % self.samples.len();
        }
    }

    fn iter(&self) -> impl Iterator<Item = &(u64, Sample)> {
        let (newer, older) = self.samples.split_at(self.oldest);
        older.iter().chain(newer)
    }

    /// A level at each moment, the latest last.
    pub fn levels(&self, level: fn(&Sample) -> u64) -> Vec<Option<f64>> {
        self.iter().skip(1).map(|(_, sample)| Some(level(sample) as f64)).collect()
    }

    /// Returns the growth of a total per second, between each sample and the one before.
    pub fn rates(&self, total: fn(&Sample) -> u64) -> Vec<Option<f64>> {
        let pairs = self.iter().zip(self.iter().skip(1));
        pairs
            .map(|((before_us, before), (after_us, after))| {
                let seconds = after_us.saturating_sub(*before_us) as f64 / SECOND_US as f64;
                // Less than before: the statistics were reset.
                (seconds > 0.0).then(|| total(after).saturating_sub(total(before)) as f64 / seconds)
            })
            .collect()
    }

    /// The share of lookups that found a key, between each moment and the one before; nothing where there were none.
    pub fn hit_ratios(&self) -> Vec<Option<f64>> {
        let pairs = self.iter().zip(self.iter().skip(1));
        pairs
            .map(|((_, before), (_, after))| {
                let hits = after.hits.saturating_sub(before.hits) as f64;
                let misses = after.misses.saturating_sub(before.misses) as f64;
                (hits + misses > 0.0).then(|| hits / (hits + misses))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_five_minutes_the_latest_last() {
        let mut history = History::default();
        assert!(history.is_due(0) && history.rates(|s| s.commands).is_empty());
        for second in 0..1000_u64 {
            assert!(history.is_due(second * SECOND_US));
            let sample = Sample { commands: second * second, memory: second, ..Sample::default() };
            history.add(second * SECOND_US, sample);
            assert!(!history.is_due(second * SECOND_US + 1));
        }
        let rates = history.rates(|sample| sample.commands);
        assert_eq!((rates.len(), rates[0], rates[299]), (300, Some(1399.0), Some(1997.0)));
        let levels = history.levels(|sample| sample.memory);
        assert_eq!((levels.len(), levels[0], levels[299]), (300, Some(700.0), Some(999.0)));
    }

    #[test]
    fn totals_that_were_reset_and_seconds_without_a_lookup_are_no_rates() {
        let mut history = History::default();
        for (second, (hits, misses)) in [(10, 0), (13, 1), (13, 1), (2, 2)].into_iter().enumerate() {
            history.add(second as u64 * SECOND_US, Sample { hits, misses, ..Sample::default() });
        }
        assert_eq!(history.hit_ratios(), [Some(0.75), None, Some(0.0)]);
        assert_eq!(history.rates(|sample| sample.hits), [Some(3.0), Some(0.0), Some(0.0)]);
    }

    #[test]
    fn a_sample_that_comes_late_is_followed_by_one_in_time() {
        let mut history = History::default();
        history.add(10 * SECOND_US, Sample::default());
        history.add(11 * SECOND_US + 900_000, Sample::default());
        assert!(!history.is_due(11 * SECOND_US + 950_000) && history.is_due(12 * SECOND_US));
    }
}
