//! Latencies with three significant digits from 1 µs to an hour, with their mean, minimum and maximum.
//!
//! A percentile is the highest value of its bucket, but never above the longest recorded latency. Histograms of threads
//! or rounds are merged by adding counts.

use crate::text::histogram::{self, bucket};

/// The number of buckets per doubling of the latency.
const PARTS: usize = 1024;
/// Longer latencies are counted as an hour.
pub const LONGEST_US: u64 = 3_600_000_000;
const BUCKETS: usize = bucket(LONGEST_US, PARTS) + 1;

/// Latencies in microseconds and their counts.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: histogram::Histogram<PARTS, BUCKETS>,
    count: u64,
    sum_ns: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: histogram::Histogram::default(), count: 0, sum_ns: 0, min: u64::MAX, max: 0 }
    }
}

impl Histogram {
    /// Records `times` requests that took `ns` nanoseconds each, rounded to whole microseconds, at least one.
    #[inline]
    pub fn record_ns(&mut self, ns: u64, times: u64) {
        let value = ((ns + 500) / 1000).clamp(1, LONGEST_US);
        self.counts.record(value, times);
        self.count += times;
        self.sum_ns += u128::from(ns) * u128::from(times);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds the latencies of `other`.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.merge(&other.counts);
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The number of recorded latencies.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The shortest, in microseconds; 0 if there is none.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The longest, in microseconds.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The average in microseconds, computed from the recorded nanoseconds.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum_ns as f64 / self.count as f64 / 1000.0 }
    }

    /// Returns the latency in microseconds that `percent` of the requests did not exceed, at most 1/1,024 too high. 0
    /// is the minimum, 100 the maximum.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.counts.percentile(percent).clamp(self.min(), self.max)
    }

    /// Counts the latencies of at most `us` microseconds, and those that share a bucket with it.
    pub fn count_up_to(&self, us: u64) -> u64 {
        if us >= self.max {
            return self.count;
        }
        self.counts.buckets()[..=bucket(us, PARTS)].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.record_ns(value * 1000, 1);
        }
        histogram
    }

    #[test]
    fn nothing_recorded_is_all_zeroes() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.min(), empty.max()), (0, 0, 0));
        assert_eq!((empty.mean(), empty.percentile(50.0), empty.count_up_to(5)), (0.0, 0, 0));
    }

    #[test]
    fn what_is_shorter_or_longer_than_the_range_counts_at_its_ends() {
        let mut histogram = Histogram::default();
        histogram.record_ns(0, 1);
        histogram.record_ns(u64::MAX / 2, 1);
        assert_eq!((histogram.min(), histogram.max()), (1, LONGEST_US));
        assert_eq!(histogram.percentile(100.0), LONGEST_US);
    }

    /// Values of every magnitude, to cover every bucket width.
    fn latencies() -> impl Strategy<Value = Vec<u64>> {
        let one = (0u32..32).prop_flat_map(|bits| 1u64..=(1u64 << bits).min(LONGEST_US));
        proptest::collection::vec(one, 1..300)
    }

    proptest! {
        #[test]
        fn a_percentile_is_a_recorded_value_within_a_thousandth(
            values in latencies(), percent in 0.0f64..=100.0)
        {
            let histogram = of(&values);
            let mut sorted = values;
            sorted.sort_unstable();
            let rank = ((percent / 100.0 * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
            let exact = sorted[rank - 1];
            let found = histogram.percentile(percent);
            prop_assert!(found >= exact && (found - exact) * 1000 <= exact, "{found} for {exact}");
            prop_assert_eq!(histogram.percentile(0.0).max(sorted[0]), histogram.percentile(0.0));
            prop_assert_eq!(histogram.percentile(100.0), *sorted.last().unwrap());
            prop_assert!(histogram.count_up_to(found) >= rank as u64);
        }

        #[test]
        fn merged_histograms_are_as_one(left in latencies(), right in latencies()) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let one = of(&[left, right].concat());
            prop_assert_eq!(&merged.counts, &one.counts);
            prop_assert_eq!((merged.count(), merged.min(), merged.max()), (one.count(), one.min(), one.max()));
            prop_assert_eq!(merged.mean(), one.mean());
        }
    }
}
