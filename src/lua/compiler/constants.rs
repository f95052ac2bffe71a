//! The constants of the functions being compiled, deduplicated by value.
//!
//! One table serves all functions of a chunk, so a small function needs none of its own. Its hash is keyed, since a
//! chunk may contain numbers chosen to collide.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::{Compiler, Result};
use crate::lua::value::{StringId, Value};

/// The maximum number of constants of a function, and of functions nested directly in it.
pub(super) const MOST_CONSTANTS: usize = (1 << 18) - 1;

/// A constant, as the key for deduplication. Numbers are compared by their bits, but both zeros are one constant, as in
/// the reference implementation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Constant {
    Nil,
    Boolean(bool),
    Number(u64),
    String(StringId),
}

/// Hashes keys of a few words with one folded multiplication per word.
#[derive(Clone, Copy)]
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn new() -> Seeded {
        Seeded(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(self.0)
    }
}

pub(super) struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Compiler<'_, '_> {
    /// Returns the index of a constant of the current function; adds it if it is new.
    fn constant(&mut self, key: Constant, value: Value) -> Result<u32> {
        let constants = &mut self.function.constants;
        let next = constants.len();
        let index = *self.constants.entry((self.function.number, key)).or_insert(next as u32);
        if index as usize == next {
            if next >= MOST_CONSTANTS {
                return Err(b"constant table overflow"[..].into());
            }
            constants.push(value);
        }
        Ok(index)
    }

    pub(super) fn nil_constant(&mut self) -> Result<u32> {
        self.constant(Constant::Nil, Value::Nil)
    }

    pub(super) fn boolean_constant(&mut self, value: bool) -> Result<u32> {
        self.constant(Constant::Boolean(value), Value::Boolean(value))
    }

    pub(super) fn number_constant(&mut self, value: f64) -> Result<u32> {
        // `-0.0 + 0.0` is `0.0`.
        self.constant(Constant::Number((value + 0.0).to_bits()), Value::Number(value))
    }

    pub(super) fn string_constant(&mut self, bytes: &[u8]) -> Result<u32> {
        let string = self.heap.string(bytes);
        self.constant(Constant::String(string), Value::String(string))
    }

    /// Returns the string in the current token as a constant.
    pub(super) fn token_constant(&mut self) -> Result<u32> {
        let string = self.heap.string(self.lexer.contents());
        self.constant(Constant::String(string), Value::String(string))
    }
}
