//! The generator behind `math.random`: the 48-bit linear congruential generator of `drand48`, as in Redis, so a seed
//! gives the same sequence in both and on every platform.
//!
//! ```text
//!   X' = (X × 5DEECE66D₁₆ + B₁₆) mod 2⁴⁸      a number of 31 bits is X >> 17
//! ```

/// `next` reduces its numbers modulo this and divides them by it.
const RANGE: u32 = i32::MAX as u32;
/// The low bits of the initial state, below the seed.
const LOW_BITS: u64 = 0x330E;

/// The state of the generator. It belongs to a machine, and outlives a script.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Default for Random {
    /// The state before any seed.
    fn default() -> Random {
        Random { state: 0x1234_ABCD_330E }
    }
}

impl Random {
    /// Starts the sequence of `seed`.
    pub fn seed(&mut self, seed: i32) {
        self.state = u64::from(seed as u32) << 16 | LOW_BITS;
    }

    /// Returns the next number of the sequence, in [0, 1).
    pub fn next(&mut self) -> f64 {
        self.state = self.state.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & ((1 << 48) - 1);
        let bits = (self.state >> 17) as u32;
        f64::from(bits % RANGE) / f64::from(RANGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_before_any_seed_is_that_of_redis() {
        let mut random = Random::default();
        assert_eq!(random.next(), 0.396_464_773_638_390_4);
        assert_eq!((random.next() * 100.0).floor() + 1.0, 85.0);
    }

    #[test]
    fn a_seed_gives_the_sequence_that_it_gives_in_redis() {
        for (seed, first, second) in [
            (0, 0.170_828_036_112_165_1, 750.0),
            (1, 0.041_630_344_484_760_586, 455.0),
            (-1, 0.300_025_727_273_908_3, 46.0),
            (5, 0.524_839_579_372_126_4, 273.0),
            (i32::MIN, 0.670_828_036_344_995_8, 250.0),
            (i32::MAX, 0.800_025_727_506_739, 546.0),
        ] {
            let mut random = Random::default();
            random.seed(seed);
            assert_eq!(random.next(), first, "seed {seed}");
            assert_eq!((random.next() * 1000.0).floor() + 1.0, second, "seed {seed}");
        }
    }
}
