//! Computes a cardinality from register values.
//!
//! Source: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284, the improved
//! raw estimator (algorithm 6 with the series sigma and tau). It needs only the number of registers with each value.
//! The operations are those of Redis in the same order, so that both round alike: the estimate is stored in the sketch.

use super::{INDEX_BITS, REGISTERS};

/// The highest value that a hash can give a register is one more than this.
const RANK_BITS: usize = u64::BITS as usize - INDEX_BITS;
/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The counts are spread over this many tables, so that an increment need not wait for a previous one of the same value.
const LANES: usize = 8;

/// The number of registers with each value.
pub struct RankCounts {
    lanes: [[u16; 64]; LANES],
}

impl RankCounts {
    /// The histogram of no registers.
    #[expect(clippy::new_without_default, reason = "a kilobyte is not made by default")]
    pub fn new() -> Self {
        RankCounts { lanes: [[0; 64]; LANES] }
    }

    /// The histogram of these registers, whose values are below 64.
    pub fn of(values: &[u8; REGISTERS]) -> Self {
        let mut histogram = RankCounts::new();
        for eight in values.as_chunks::<LANES>().0 {
            for (lane, value) in histogram.lanes.iter_mut().zip(eight) {
                lane[usize::from(value & 63)] += 1;
            }
        }
        histogram
    }

    /// Counts `registers` more with `value`. The total must not exceed the registers of a sketch.
    pub fn add(&mut self, value: u8, registers: usize) {
        self.lanes[0][usize::from(value)] += registers as u16;
    }

    /// The number of registers with `value`.
    fn count(&self, value: usize) -> f64 {
        f64::from(self.lanes.iter().map(|lane| u32::from(lane[value])).sum::<u32>())
    }

    /// The estimated number of distinct elements. For registers that no set of elements can produce, 2^63 if the
    /// formula does not yield a number.
    pub fn cardinality(&self) -> u64 {
        let registers = REGISTERS as f64;
        let mut z = registers * tau((registers - self.count(RANK_BITS + 1)) / registers);
        for value in (1..=RANK_BITS).rev() {
            z = (z + self.count(value)) * 0.5;
        }
        z += registers * sigma(self.count(0) / registers);
        let estimate = (ALPHA * registers * registers / z).round();
        if estimate < (1u64 << 63) as f64 { estimate as u64 } else { 1 << 63 }
    }
}

/// Corrects for registers at the highest value; `x` is the share of the others.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z.to_bits() == before.to_bits() {
            return z / 3.0;
        }
    }
}

/// Corrects for registers at zero; `x` is their share.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z.to_bits() == before.to_bits() {
            return z;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cardinality(runs: &[(u8, usize)]) -> u64 {
        let mut histogram = RankCounts::new();
        for (value, registers) in runs {
            histogram.add(*value, *registers);
        }
        histogram.cardinality()
    }

    #[test]
    fn the_estimate_is_that_of_redis_for_any_registers() {
        // From redis-server 7.0: SET of such registers, then PFCOUNT.
        assert_eq!(cardinality(&[(0, 16_384)]), 0);
        assert_eq!(cardinality(&[(1, 16_384)]), 23_637);
        assert_eq!(cardinality(&[(33, 16_384)]), 101_520_638_258_700);
        assert_eq!(cardinality(&[(47, 16_384)]), 1_663_314_137_230_540_288);
        assert_eq!(cardinality(&[(49, 16_384)]), 6_653_256_548_922_161_152);
        assert_eq!(cardinality(&[(50, 16_384)]), 1 << 63);
        assert_eq!(cardinality(&[(51, 16_384)]), 1 << 63);
        assert_eq!(cardinality(&[(63, 16_384)]), 1 << 63);
        assert_eq!(cardinality(&[(51, 16_383), (1, 1)]), 387_270_501);
        assert_eq!(cardinality(&[(51, 16_383), (0, 1)]), 193_623_433);
        assert_eq!(cardinality(&[(60, 8000), (0, 8384)]), 12_712);
    }

    #[test]
    fn counting_in_lanes_and_in_runs_is_the_same() {
        let values = std::array::from_fn(|register| (register * register % 53) as u8);
        let all = RankCounts::of(&values);
        let mut runs = RankCounts::new();
        for value in values {
            runs.add(value, 1);
        }
        assert!((0..64).all(|value| all.count(value).total_cmp(&runs.count(value)).is_eq()));
        assert_eq!(all.cardinality(), runs.cardinality());
    }
}
