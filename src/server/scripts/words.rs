//! Converts the arguments of `redis.call` to those of a request.
//!
//! They are copied once, into buffers that are used again for the next call; a long one gets a block of its own, which
//! the command may keep as the value. A number is written with the digits that lead back to it, in whole numbers without
//! an exponent.

use crate::command::Places;
use crate::lua::{Call, Machine, Value};
use crate::resp::{BIG_ARGUMENT, Span};
use crate::text::number::{push_f64_short, push_i64};
use crate::types::block::Block;

/// The capacity that is kept for arguments.
const KEEP: usize = 64 * 1024;

/// Bytes of all arguments of a call, which are copied at once: as many as a client's request may have by default.
const LONGEST: usize = 1 << 30;

/// Whole numbers up to this are written without an exponent.
const WHOLE: f64 = (1_u64 << 62) as f64;

/// See the module's head.
#[derive(Debug, Default)]
pub struct Words {
    window: Vec<u8>,
    spans: Vec<Span>,
    blocks: Vec<Block>,
    /// Bytes in `blocks`.
    in_blocks: usize,
}

impl Words {
    /// Takes the arguments of a call over.
    ///
    /// # Errors
    /// There are none, one is neither a string nor a number, or they are too long together: says which.
    pub fn fill(&mut self, machine: &Machine, call: Call) -> Result<(), &'static str> {
        self.clear();
        if call.count() == 0 {
            return Err("ERR Please specify at least one argument for this redis lib call");
        }
        for n in 1..=call.count() {
            match machine.argument(call, n) {
                Value::String(string) => self.push(machine.heap.bytes(string))?,
                Value::Number(number) => {
                    let start = self.window.len();
                    push_number(&mut self.window, number);
                    self.spans.push(Span::window(start, self.window.len() - start));
                }
                _ => return Err("ERR Lua redis lib command arguments must be strings or integers"),
            }
        }
        Ok(())
    }

    /// Copies the arguments of a command.
    ///
    /// # Errors
    /// Fails if they are too long in sum.
    pub fn set(&mut self, words: &[Vec<u8>]) -> Result<(), &'static str> {
        self.clear();
        words.iter().try_for_each(|word| self.push(word))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let start = self.window.len();
        if start + self.in_blocks + bytes.len() > LONGEST {
            return Err("ERR the arguments of this redis lib call are too long");
        }
        if bytes.len() >= BIG_ARGUMENT {
            self.in_blocks += bytes.len();
            self.blocks.push(Block::from(bytes));
            self.spans.push(Span::detached(self.blocks.len() - 1));
        } else {
            self.window.extend_from_slice(bytes);
            self.spans.push(Span::window(start, bytes.len()));
        }
        Ok(())
    }

    /// Returns the places of the arguments.
    #[inline]
    pub fn places(&self) -> Places<'_> {
        Places { window: &self.window, spans: &self.spans, blocks: &self.blocks }
    }

    /// Removes the arguments.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.blocks.clear();
        self.in_blocks = 0;
        self.window.clear();
        if self.window.capacity() > KEEP {
            self.window.shrink_to(KEEP);
        }
        if self.spans.capacity() > KEEP / size_of::<Span>() {
            self.spans.shrink_to(KEEP / size_of::<Span>());
        }
    }
}

fn push_number(out: &mut Vec<u8>, number: f64) {
    if number.abs() <= WHOLE && number.trunc() == number {
        push_i64(out, number as i64);
    } else {
        if number.is_nan() && number.is_sign_negative() {
            out.push(b'-');
        }
        push_f64_short(out, number);
    }
}

#[cfg(test)]
mod tests {
    use super::push_number;

    /// Checked with redis-server 7.2.6.
    #[test]
    fn numbers_are_written_as_redis_writes_them() {
        for (number, expected) in [
            (3.0, "3"),
            (-0.0, "0"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1e15, "1000000000000000"),
            (1e17, "100000000000000000"),
            (1e20, "1e+20"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (9_223_372_036_854_775_808.0, "9223372036854776000"),
            (-9_223_372_036_854_775_808.0, "-9223372036854776000"),
            (1e-7, "1e-7"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (-f64::NAN.abs(), "-nan"),
            (f64::NAN.abs(), "nan"),
        ] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{number}");
        }
    }
}
