//! Random numbers, the same in every run, and a sampler for any distribution over `0..n`.
//!
//! The sampler is Walker's alias method (1977) with Vose's construction (1991): each of `n` columns of equal width holds
//! a part of its own number and, above it, a part of one other. A draw picks a column and a height in it: exact, whatever
//! the weights, in constant time and 12 bytes a number.
//!
//! ```text
//!   weights 1/8 1/8 1/2 1/4     ┌────┬────┬────┬────┐
//!                               │ 2  │ 2  │    │    │  ◀ other
//!                               ├────┼────┤ 2  │ 3  │
//!                               │ 0  │ 1  │    │    │  ◀ own
//!                               └────┴────┴────┴────┘
//! ```

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit`.
    #[inline]
    pub fn below(&mut self, limit: u32) -> u32 {
        ((u128::from(self.word()) * u128::from(limit)) >> 64) as u32
    }

    /// A number in `0.0..1.0`.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// SplitMix64's finaliser: a bijection that maps neighbouring numbers to unrelated ones.
#[inline]
pub fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A distribution for [`Alias::draw`].
#[derive(Debug)]
pub struct Alias {
    /// For each column, the height up to which it belongs to its own number.
    own: Vec<f64>,
    /// The number to which the rest of each column belongs.
    other: Vec<u32>,
}

impl Alias {
    /// The distribution in which number `i` has a probability proportional to `weights[i]`.
    pub fn new(weights: &[f64]) -> Self {
        let scale = weights.len() as f64 / weights.iter().sum::<f64>();
        let mut own: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let mut other: Vec<u32> = (0..weights.len() as u32).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            other.iter().partition(|&&number| own[number as usize] < 1.0);
        while let (Some(less), Some(&more)) = (small.pop(), large.last()) {
            other[less as usize] = more;
            own[more as usize] -= 1.0 - own[less as usize];
            if own[more as usize] < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        // The remaining columns have a height of one, except for rounding.
        for number in small.into_iter().chain(large) {
            own[number as usize] = 1.0;
        }
        Self { own, other }
    }

    /// Zipf's distribution: rank `i`, counted from 0, has a probability proportional to `(i + 1)^-skew`.
    pub fn zipf(ranks: u32, skew: f64) -> Self {
        let weights: Vec<f64> = (0..ranks).map(|rank| f64::from(rank + 1).powf(-skew)).collect();
        Self::new(&weights)
    }

    /// Draws a number.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> u32 {
        let column = random.below(self.own.len() as u32);
        if random.unit() < self.own[column as usize] { column } else { self.other[column as usize] }
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    /// The probability of each number, summed over the columns.
    fn chances(alias: &Alias) -> Vec<f64> {
        let n = alias.own.len();
        let mut chances = vec![0.0; n];
        for column in 0..n {
            chances[column] += alias.own[column] / n as f64;
            chances[alias.other[column] as usize] += (1.0 - alias.own[column]) / n as f64;
        }
        chances
    }

    #[test]
    fn the_columns_hold_the_distribution_exactly() {
        for weights in [vec![1.0], vec![1.0, 1.0, 4.0, 2.0], vec![0.0, 3.0, 1e-9], vec![5.0; 100]] {
            let sum: f64 = weights.iter().sum();
            for (chance, weight) in chances(&Alias::new(&weights)).iter().zip(&weights) {
                assert!((chance - weight / sum).abs() < 1e-12, "{weights:?}");
            }
        }
    }

    #[test]
    fn zipf_gives_rank_after_rank_its_power() {
        for skew in [0.7, 1.0, 1.2] {
            let chances = chances(&Alias::zipf(10_000, skew));
            for rank in [1, 9, 99, 9_999] {
                let ratio = chances[rank] / chances[0];
                let expected = ((rank + 1) as f64).powf(-skew);
                assert!((ratio / expected - 1.0).abs() < 1e-6, "{skew} {rank}");
            }
        }
    }

    #[test]
    fn draws_follow_the_columns() {
        let alias = Alias::new(&[1.0, 1.0, 4.0, 2.0]);
        let mut random = Random::new(1);
        let mut counts = [0_u32; 4];
        for _ in 0..80_000 {
            counts[alias.draw(&mut random) as usize] += 1;
        }
        for (count, expected) in counts.iter().zip([10_000_u32, 10_000, 40_000, 20_000]) {
            assert!(count.abs_diff(expected) < 1_000, "{counts:?}");
        }
    }

    #[test]
    fn a_seed_gives_one_sequence() {
        let words = |seed| {
            let mut random = Random::new(seed);
            [random.word(), random.word()]
        };
        assert_eq!(words(7), words(7));
        assert_ne!(words(7), words(8));
        assert!((0..1000).all(|seed| Random::new(seed).below(10) < 10));
    }
}
