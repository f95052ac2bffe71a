//! A seeded generator (SplitMix64) for tests: the same seed gives the same commands on every machine.
//!
//! The seed of a run is fixed in the test or comes from `REDSTART_SEED`, and is printed with every failure.

/// A stream of numbers determined by its seed.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// The seeds of a random test: the fixed ones, or only that of `REDSTART_SEED`.
pub fn seeds(fixed: &[u64]) -> Vec<u64> {
    match std::env::var("REDSTART_SEED") {
        Ok(text) => vec![text.parse().expect("REDSTART_SEED is a number")],
        Err(_) => fixed.to_vec(),
    }
}
