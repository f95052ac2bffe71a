//! How often values occurred, counted in buckets whose width grows with the value.
//!
//! Each doubling of the value is cut into `PARTS` buckets of equal width, so a bucket is never wider than 1/`PARTS` of
//! its values. Below `2 * PARTS` every value has its own bucket. For 1,024 parts:
//!
//! ```text
//!   0 … 2047      2048 … 4095     4096 … 8191
//!   width 1       width 2         width 4         …
//! ```
//!
//! Finding the bucket of a value takes a count of leading zeros and a shift. Values beyond the last bucket are counted
//! there.

/// Counts of values; `BUCKETS` is one more than the [`bucket`] of the largest value that has its own bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<const PARTS: usize, const BUCKETS: usize>(Box<[u64; BUCKETS]>);

/// Returns the bucket of a value if each doubling has `parts` buckets, a power of two.
#[inline(always)]
pub const fn bucket(value: u64, parts: usize) -> usize {
    let shift = (value | parts as u64).ilog2() - parts.ilog2();
    shift as usize * parts + (value >> shift) as usize
}

/// Returns the largest value in a bucket.
pub const fn highest(bucket: usize, parts: usize) -> u64 {
    if bucket < 2 * parts {
        return bucket as u64;
    }
    let shift = bucket / parts - 1;
    (((bucket - shift * parts + 1) as u64) << shift) - 1
}

impl<const PARTS: usize, const BUCKETS: usize> Default for Histogram<PARTS, BUCKETS> {
    fn default() -> Self {
        Histogram(vec![0; BUCKETS].into_boxed_slice().try_into().expect("as many as the array has"))
    }
}

impl<const PARTS: usize, const BUCKETS: usize> Histogram<PARTS, BUCKETS> {
    /// Counts `value` `times` times.
    #[inline(always)]
    pub fn record(&mut self, value: u64, times: u64) {
        self.0[bucket(value, PARTS).min(BUCKETS - 1)] += times;
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(count, more)| *count += more);
    }

    /// Returns the number of values counted.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The count of each bucket.
    pub fn buckets(&self) -> &[u64; BUCKETS] {
        &self.0
    }

    /// Returns the largest value of the bucket that holds the given percentile; 0 if nothing was counted.
    pub fn percentile(&self, percent: f64) -> u64 {
        let total = self.count();
        let rank = ((percent / 100.0 * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= rank
        };
        self.0.iter().position(reaches).map_or(0, |bucket| highest(bucket, PARTS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        for parts in [64, 1024] {
            for index in 1..20 * parts {
                let first = highest(index - 1, parts) + 1;
                let last = highest(index, parts);
                assert_eq!((bucket(first, parts), bucket(last, parts)), (index, index));
                assert!(last - first <= first / parts as u64, "bucket {index} is too wide");
            }
        }
    }

    #[test]
    fn percentiles_of_a_uniform_sample_are_its_ranks() {
        let mut histogram = Histogram::<64, 1664>::default();
        assert_eq!((histogram.percentile(50.0), histogram.count()), (0, 0));
        (1..=10_000).for_each(|i| histogram.record(i * 100, 1));
        for (percent, exact) in
            [(50.0, 500_000.0), (99.0, 990_000.0), (99.9, 999_000.0), (100.0, 1_000_000.0)]
        {
            let ratio = histogram.percentile(percent) as f64 / exact;
            assert!((1.0..1.02).contains(&ratio), "p{percent}: {ratio}");
        }
        histogram.record(u64::MAX, 7);
        assert_eq!((histogram.buckets()[1663], histogram.count()), (7, 10_007));
    }
}
