//! `bit`: operations on the 32 bits of numbers, as the library of that name for Lua 5.1 defines them.
//!
//! A number stands for its remainder modulo 2³², rounded to the nearest integer, ties to even; results are signed.
//! Numbers beyond ±2⁵¹ give arbitrary bits, but the same on every platform: bits are read from the number's
//! representation after adding 2⁵² + 2⁵¹, which leaves the integer in the low bits.

use crate::lua::machine::{Call, Machine, Outcome, Raised};
use crate::lua::value::Value;

/// Added to a number to move its integer part into the low bits of the representation.
const ALIGN: f64 = ((1u64 << 52) + (1u64 << 51)) as f64;

/// Returns the bits that `number` stands for.
fn bits_of(number: f64) -> u32 {
    (number + ALIGN).to_bits() as u32
}

/// Formats `x` in hexadecimal: its lowest digits, as many as `digits` says, at most 8; in capitals if `digits` is
/// negative.
fn hexadecimal(x: u32, digits: i32) -> Vec<u8> {
    let shown = digits.unsigned_abs().min(8) as usize;
    let mut text = if digits < 0 { format!("{x:08X}") } else { format!("{x:08x}") }.into_bytes();
    text.drain(..8 - shown);
    text
}

pub fn open(m: &mut Machine) {
    let library = m.library("bit");
    m.register(library, "tobit", |m, call| unary(m, call, |x| x));
    m.register(library, "bnot", |m, call| unary(m, call, |x| !x));
    m.register(library, "bswap", |m, call| unary(m, call, u32::swap_bytes));
    m.register(library, "band", |m, call| fold(m, call, |x, y| x & y));
    m.register(library, "bor", |m, call| fold(m, call, |x, y| x | y));
    m.register(library, "bxor", |m, call| fold(m, call, |x, y| x ^ y));
    m.register(library, "lshift", |m, call| shift(m, call, |x, by| x << by));
    m.register(library, "rshift", |m, call| shift(m, call, |x, by| x >> by));
    m.register(library, "arshift", |m, call| shift(m, call, |x, by| (x as i32 >> by) as u32));
    m.register(library, "rol", |m, call| shift(m, call, u32::rotate_left));
    m.register(library, "ror", |m, call| shift(m, call, u32::rotate_right));
    m.register(library, "tohex", tohex);
}

fn argument(m: &mut Machine, call: Call, n: usize) -> Result<u32, Raised> {
    Ok(bits_of(m.check_number(call, n)?))
}

fn result(m: &mut Machine, bits: u32) -> Result<Outcome, Raised> {
    m.push(Value::Number(f64::from(bits as i32)));
    Ok(Outcome::Values(1))
}

/// `f(x)`
fn unary(m: &mut Machine, call: Call, f: fn(u32) -> u32) -> Result<Outcome, Raised> {
    let x = argument(m, call, 1)?;
    result(m, f(x))
}

/// `f(… f(f(x1, x2), x3) …)`
fn fold(m: &mut Machine, call: Call, f: fn(u32, u32) -> u32) -> Result<Outcome, Raised> {
    let mut x = argument(m, call, 1)?;
    for n in 2..=call.count() {
        x = f(x, argument(m, call, n)?);
    }
    result(m, x)
}

/// `f(x, by)`, using only the lowest five bits of `by`.
fn shift(m: &mut Machine, call: Call, f: fn(u32, u32) -> u32) -> Result<Outcome, Raised> {
    let x = argument(m, call, 1)?;
    let by = argument(m, call, 2)?;
    result(m, f(x, by & 31))
}

/// `bit.tohex(x [, digits])`
fn tohex(m: &mut Machine, call: Call) -> Result<Outcome, Raised> {
    let x = argument(m, call, 1)?;
    let digits = if call.count() < 2 { 8 } else { argument(m, call, 2)? as i32 };
    m.push_bytes(&hexadecimal(x, digits));
    Ok(Outcome::Values(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_their_remainder_rounded_to_even() {
        for (number, bits) in [
            (0.0, 0),
            (-1.0, -1),
            (2_147_483_648.0, i32::MIN),
            (4_294_967_295.0, -1),
            (4_294_967_296.0, 0),
            (8_589_934_597.0, 5),
            (-2_147_483_649.0, i32::MAX),
            (0.5, 0),
            (1.5, 2),
            (2.5, 2),
            (-0.5, 0),
            (-1.5, -2),
            (0.499_999_999_9, 0),
            (3.7, 4),
            (1e15, -1_530_494_976),
            (4.6e15, 2_063_319_040),
            (1e300, -2_013_235_812),
            (-1e300, -2_013_235_812),
            (f64::INFINITY, 0),
            (f64::NEG_INFINITY, 0),
            (f64::NAN, 0),
        ] {
            assert_eq!(bits_of(number) as i32, bits, "{number}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_cut_from_the_left() {
        for (digits, text) in [
            (8, "deadbeef"),
            (9, "deadbeef"),
            (i32::MAX, "deadbeef"),
            (1, "f"),
            (0, ""),
            (-1, "F"),
            (-4, "BEEF"),
            (-9, "DEADBEEF"),
            (i32::MIN, "DEADBEEF"),
        ] {
            assert_eq!(hexadecimal(0xDEAD_BEEF, digits), text.as_bytes(), "{digits}");
        }
    }
}
