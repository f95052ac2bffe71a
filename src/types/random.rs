//! Pseudo-random numbers for sampling and the Morris counter; not for secrets.

/// A 64-bit xorshift generator with a multiplied output (Vigna, *xorshift64\**).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with this state; any will do.
    pub const fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// The next number.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`, each with the same chance but for 2⁻⁶⁴ of `limit`.
    #[inline]
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}
