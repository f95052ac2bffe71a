//! The constants of the functions in the making: each is found again by its value.
//!
//! One table serves all functions of a chunk, so that a small function needs none of its own. It is keyed, since a chunk
//! may be made of numbers that collide.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::{Compiler, Result};
use crate::lua::value::{StringId, Value};

/// The most constants of a function, and the most functions in it.
pub(super) const MOST_CONSTANTS: usize = (1 << 18) - 1;

/// A constant, as the key by which it is found again. Numbers are their bits, but both zeros are one constant, as in the
/// reference implementation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Constant {
    Nil,
    Boolean(bool),
    Number(u64),
    String(StringId),
}

/// Makes hashes of keys of a few words: a folded multiplication for each.
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
    /// The index of a constant of the current function.
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

    /// The contents of the string that is the current token.
    pub(super) fn token_constant(&mut self) -> Result<u32> {
        let string = self.heap.string(self.lexer.contents());
        self.constant(Constant::String(string), Value::String(string))
    }
}
