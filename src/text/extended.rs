//! 80-bit extended floating point in software, for INCRBYFLOAT, HINCRBYFLOAT, and the timeouts of blocking commands.
//!
//! Redis computes these commands in C's `long double`, which on x86-64 is the x87 format: a sign, 15 bits of
//! exponent and 64 bits of mantissa. Clients can see it (`0.1 + 0.2` gives `0.3`, where doubles give
//! `0.30000000000000004`), and replicas and the append-only file get the result. Rust has no such type, so parsing,
//! addition and printing are done here on integers, with the same result on every machine.
//!
//! A value is `mantissa × 2^exponent`. Every operation first computes its exact result, or at least its upper 65 bits
//! and whether anything nonzero was cut off (`sticky`). Then `Extended::rounded` rounds it to the format, to nearest,
//! halves to even; no other function rounds. Ordinary decimal numbers fit in `u128` on the way; long ones and those
//! with a large exponent use `Natural`, an integer of any size. Worst case, at the 5,119 characters that a number may
//! have or at `1e4932`: about 100 µs.

use super::number::{HexFloat, parse_exponent, round_half_even};

/// The longest text that is parsed as a number.
pub const MAX_TEXT: usize = 5 * 1024 - 1;

/// The exponent of the smallest unit, that of denormal numbers and of zero.
const MIN_EXPONENT: i32 = -16_445;
/// The exponent of the largest finite numbers.
const MAX_EXPONENT: i32 = 16_383 - 63;
/// The largest power of five in a `u64`.
const MAX_FIVES: u32 = 27;

/// An extended-precision number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    class: Class,
    negative: bool,
    /// Its top bit is set unless `exponent` is [`MIN_EXPONENT`].
    mantissa: u64,
    exponent: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Finite,
    Infinite,
    Nan,
}

impl From<i64> for Extended {
    fn from(value: i64) -> Self {
        Self { negative: value < 0, ..Self::rounded(u128::from(value.unsigned_abs()), 0, false) }
    }
}

impl Extended {
    const ZERO: Self = Self { class: Class::Finite, negative: false, mantissa: 0, exponent: MIN_EXPONENT };
    const INFINITY: Self = Self { class: Class::Infinite, ..Self::ZERO };
    const NAN: Self = Self { class: Class::Nan, ..Self::ZERO };

    /// Whether it is neither infinite nor NaN.
    pub fn is_finite(self) -> bool {
        self.class == Class::Finite
    }

    /// Parses a whole string by the rules of C's `strtold`: decimal or hexadecimal, `inf` and `infinity` in any case,
    /// an optional sign, no space before or after. Rejects NaN, a finite number out of range, and a nonzero one that
    /// rounds to zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if text.len() > MAX_TEXT {
            return None;
        }
        let value = match magnitude {
            [b'0', b'x' | b'X', rest @ ..] => {
                let hex = HexFloat::parse(rest)?;
                in_range(Self::rounded(hex.mantissa, hex.exponent, hex.sticky), hex.mantissa != 0)?
            }
            [b'0'..=b'9' | b'.', ..] => parse_decimal(magnitude)?,
            _ if magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity") => {
                Self::INFINITY
            }
            _ => return None,
        };
        Some(Self { negative, ..value })
    }

    /// Returns the number nearest to `mantissa × 2^exponent`, halves to even. `sticky` means that the exact value is
    /// slightly larger; the mantissa must then have more than 64 bits.
    fn rounded(mantissa: u128, exponent: i64, sticky: bool) -> Self {
        debug_assert!(!sticky || mantissa >> 64 != 0);
        if mantissa == 0 {
            return Self::ZERO;
        }
        let bits = 128 - i64::from(mantissa.leading_zeros());
        if exponent > i64::from(MAX_EXPONENT) + 64 {
            return Self::INFINITY;
        }
        // The number of surplus bits; negative if the mantissa has free high bits.
        let drop = (bits - 64).max(i64::from(MIN_EXPONENT) - exponent);
        let kept = match drop {
            ..=0 => mantissa << -drop,
            1..=127 => round_half_even(mantissa, drop as u32, sticky),
            128 => u128::from(mantissa > 1 << 127 || (mantissa == 1 << 127 && sticky)),
            _ => 0,
        };
        let (mantissa, carried) = if kept >> 64 == 0 { (kept as u64, 0) } else { (1 << 63, 1) };
        let exponent = exponent + drop + carried;
        if mantissa == 0 {
            Self::ZERO
        } else if exponent > i64::from(MAX_EXPONENT) {
            Self::INFINITY
        } else {
            Self { class: Class::Finite, negative: false, mantissa, exponent: exponent as i32 }
        }
    }

    /// Returns the sum, rounded to nearest, halves to even. Infinities of different signs give NaN.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "an operator that can give NaN would look like exact arithmetic"
    )]
    pub fn add(self, other: Self) -> Self {
        match (self.class, other.class) {
            (Class::Finite, Class::Finite) => self.add_finite(other),
            (Class::Infinite, Class::Finite) => self,
            (Class::Finite, Class::Infinite) => other,
            (Class::Infinite, Class::Infinite) if self.negative == other.negative => self,
            _ => Self::NAN,
        }
    }

    fn add_finite(self, other: Self) -> Self {
        let (large, small) = if (self.exponent, self.mantissa) < (other.exponent, other.mantissa) {
            (other, self)
        } else {
            (self, other)
        };
        // The larger number is at bits 62 to 125, which leaves room for a carry above and for the smaller number's bits
        // below. If bits of the smaller one are cut off, the difference loses at most one leading bit, and enough
        // remain to round.
        let distance = (large.exponent - small.exponent) as u32;
        let wide = u128::from(small.mantissa) << 62;
        let aligned = wide.checked_shr(distance).unwrap_or(0);
        let sticky = aligned.checked_shl(distance).unwrap_or(0) != wide;
        let top = u128::from(large.mantissa) << 62;
        let exponent = i64::from(large.exponent) - 62;
        if large.negative == small.negative {
            return Self { negative: large.negative, ..Self::rounded(top + aligned, exponent, sticky) };
        }
        // The cut-off bits are subtracted too: one less, plus a little.
        let difference = top - aligned - u128::from(sticky);
        Self { negative: large.negative && difference != 0, ..Self::rounded(difference, exponent, sticky) }
    }

    /// Returns the product with `factor`, rounded to the format, then up to an integer; saturates at the limits of
    /// `i64`. The number must not be NaN.
    pub fn scaled_up(self, factor: u32) -> i64 {
        let product =
            Self::rounded(u128::from(self.mantissa) * u128::from(factor), self.exponent.into(), false);
        let mantissa = u128::from(product.mantissa);
        let magnitude = match product.exponent {
            _ if self.class != Class::Finite || product.class != Class::Finite => u128::MAX,
            64.. => u128::MAX,
            shift @ 0.. => mantissa << shift,
            shift => {
                let whole = mantissa.checked_shr(shift.unsigned_abs()).unwrap_or(0);
                let is_whole = whole.checked_shl(shift.unsigned_abs()).unwrap_or(0) == mantissa;
                whole + u128::from(!is_whole && !self.negative)
            }
        };
        match i64::try_from(magnitude) {
            Ok(magnitude) if self.negative => -magnitude,
            Ok(magnitude) => magnitude,
            Err(_) if self.negative => i64::MIN,
            Err(_) => i64::MAX,
        }
    }

    /// Appends the number as Redis prints such results: up to 17 digits after the dot, without an exponent or trailing
    /// zeros. Numbers that round to minus zero print as `0`.
    pub fn push_to(self, out: &mut Vec<u8>) {
        let mark = out.len();
        if self.negative {
            out.push(b'-');
        }
        match self.class {
            Class::Nan => out.extend_from_slice(b"nan"),
            Class::Infinite => out.extend_from_slice(b"inf"),
            Class::Finite if self.exponent >= 0 => {
                Natural::from_parts(u128::from(self.mantissa), self.exponent as u32).push_decimal(out);
            }
            Class::Finite => {
                let (whole, fraction) = self.fixed_point();
                super::number::push_u64(out, whole);
                if fraction != 0 {
                    let digits = format!(".{fraction:017}");
                    out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
                }
                if out[mark..] == *b"-0" {
                    out.remove(mark);
                }
            }
        }
    }

    /// Returns the whole part, and the fraction in units of 10^-17 rounded half to even, of a number with bits below
    /// one.
    fn fixed_point(self) -> (u64, u64) {
        const UNITS: u64 = 100_000_000_000_000_000;
        let below = self.exponent.unsigned_abs();
        let whole = self.mantissa.checked_shr(below).unwrap_or(0);
        let rest = self.mantissa - whole.checked_shl(below).unwrap_or(0);
        // Below 2^64 times 10^17, so shifting by 128 bits or more leaves zero.
        let scaled = u128::from(rest) * u128::from(UNITS);
        let units = if below < 128 { round_half_even(scaled, below, false) as u64 } else { 0 };
        if units == UNITS { (whole + 1, 0) } else { (whole, units) }
    }
}

/// Rejects numbers that overflowed or underflowed.
fn in_range(value: Extended, is_nonzero: bool) -> Option<Extended> {
    if !value.is_finite() || (value.mantissa == 0 && is_nonzero) { None } else { Some(value) }
}

/// Parses digits with an optional dot and an optional exponent.
fn parse_decimal(text: &[u8]) -> Option<Extended> {
    let split = text.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(text.len());
    let mut power = match text.get(split + 1..) {
        Some(exponent) => parse_exponent(exponent)?,
        None => 0,
    };
    let mut digits = Vec::with_capacity(split);
    let mut dot = false;
    for &byte in &text[..split] {
        match byte {
            b'.' if !dot => dot = true,
            b'0'..=b'9' => {
                digits.push(byte - b'0');
                power -= i64::from(dot);
            }
            _ => return None,
        }
    }
    if digits.is_empty() {
        return None;
    }
    let zeros = digits.iter().rev().take_while(|&&digit| digit == 0).count();
    digits.truncate(digits.len() - zeros);
    let leading = digits.iter().take_while(|&&digit| digit == 0).count();
    let digits = &digits[leading..];
    if digits.is_empty() {
        return Some(Extended::ZERO);
    }
    let power = power.saturating_add(zeros as i64);
    // The power of ten of the first digit; the format ends at about 10^±4950.
    let magnitude = power.saturating_add(digits.len() as i64);
    if magnitude.abs() > 5000 {
        return None;
    }
    in_range(scale(digits, power), true)
}

/// Returns `digits × 10^power`, rounded. The first digit is not zero.
fn scale(digits: &[u8], power: i64) -> Extended {
    let fives = power.unsigned_abs() as u32;
    if digits.len() <= 19 && fives <= MAX_FIVES {
        let number = digits.iter().fold(0, |number, &digit| number * 10 + u64::from(digit));
        let five = 5u64.pow(fives);
        if power >= 0 {
            return Extended::rounded(u128::from(number) * u128::from(five), power, false);
        }
        // 128 bits divided by at most 63: the quotient has at least 65.
        let shift = 64 + number.leading_zeros();
        let (dividend, divisor) = (u128::from(number) << shift, u128::from(five));
        let exact = dividend % divisor == 0;
        return Extended::rounded(dividend / divisor, power - i64::from(shift), !exact);
    }
    let number = Natural::from_digits(digits);
    if power >= 0 {
        let (top, exponent, sticky) = number.times_five_to(fives).top_bits();
        return Extended::rounded(top, i64::from(exponent) + power, sticky);
    }
    let divisor = Natural::from_parts(1, 0).times_five_to(fives);
    let (quotient, exponent, sticky) = number.divide(divisor);
    Extended::rounded(quotient, i64::from(exponent) + power, sticky)
}

/// A natural number of any size: 64-bit limbs, the lowest first, the last one not zero.
struct Natural(Vec<u64>);

impl Natural {
    /// `value × 2^shift`.
    fn from_parts(value: u128, shift: u32) -> Self {
        let mut natural = Self(vec![value as u64, (value >> 64) as u64]);
        natural.trim();
        natural.shift_left(shift);
        natural
    }

    /// The number with these decimal digits.
    fn from_digits(digits: &[u8]) -> Self {
        let mut natural = Self(Vec::with_capacity(digits.len() / 19 + 1));
        for chunk in digits.chunks(19) {
            let low = chunk.iter().fold(0, |number, &digit| number * 10 + u64::from(digit));
            natural.multiply_add(10u64.pow(chunk.len() as u32), low);
        }
        natural
    }

    fn times_five_to(mut self, mut power: u32) -> Self {
        while power > 0 {
            let step = power.min(MAX_FIVES);
            self.multiply_add(5u64.pow(step), 0);
            power -= step;
        }
        self
    }

    fn multiply_add(&mut self, factor: u64, summand: u64) {
        let mut carry = u128::from(summand);
        for limb in &mut self.0 {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry != 0 {
            self.0.push(carry as u64);
        }
    }

    fn bits(&self) -> u32 {
        self.0.last().map_or(0, |top| self.0.len() as u32 * 64 - top.leading_zeros())
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn shift_left(&mut self, shift: u32) {
        let (limbs, bits) = ((shift / 64) as usize, shift % 64);
        self.multiply_add(1 << bits, 0);
        self.0.splice(..0, std::iter::repeat_n(0, limbs));
    }

    /// Halves the number; its lowest bit is lost.
    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.0.iter_mut().rev() {
            let low = *limb << 63;
            *limb = *limb >> 1 | carry;
            carry = low;
        }
        self.trim();
    }

    fn at_least(&self, other: &Self) -> bool {
        let order = self.0.len().cmp(&other.0.len());
        order.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_ge()
    }

    /// Subtracts a number that is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (i, limb) in self.0.iter_mut().enumerate() {
            let (difference, first) = limb.overflowing_sub(other.0.get(i).copied().unwrap_or(0));
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        self.trim();
    }

    /// The number as `top × 2^exponent` with at most 128 bits on top, and whether nonzero bits lie below.
    fn top_bits(&self) -> (u128, u32, bool) {
        let skip = self.0.len().saturating_sub(3);
        let mut top = 0u128;
        let mut exponent = skip as u32 * 64;
        let mut sticky = self.0[..skip].iter().any(|&limb| limb != 0);
        let excess = self.bits().saturating_sub(128).saturating_sub(exponent);
        for (i, &limb) in self.0[skip..].iter().enumerate() {
            let place = i as u32 * 64;
            if place >= excess {
                top |= u128::from(limb) << (place - excess);
            } else {
                top |= u128::from(limb) >> (excess - place);
                sticky |= limb << (64 - (excess - place)) != 0;
            }
        }
        exponent += excess;
        (top, exponent, sticky)
    }

    /// The quotient as `top × 2^exponent` with 66 or 67 bits on top, and whether there is a remainder.
    fn divide(mut self, mut divisor: Self) -> (u128, i32, bool) {
        const BITS: i32 = 66;
        let shift = BITS - (self.bits() as i32 - divisor.bits() as i32);
        if shift >= 0 {
            self.shift_left(shift as u32);
        } else {
            divisor.shift_left(shift.unsigned_abs());
        }
        // Schoolbook division, a bit at a time from the top.
        divisor.shift_left(BITS as u32);
        let mut quotient = 0;
        for _ in 0..=BITS {
            quotient <<= 1;
            if self.at_least(&divisor) {
                self.subtract(&divisor);
                quotient |= 1;
            }
            divisor.halve();
        }
        (quotient, -shift, !self.0.is_empty())
    }

    /// Appends the decimal digits.
    fn push_decimal(&self, out: &mut Vec<u8>) {
        const BASE: u64 = 1_000_000_000;
        // The number in base 10^9, the lowest digit first, built from the upper half-limbs down.
        let mut digits: Vec<u64> = Vec::new();
        for &limb in self.0.iter().rev() {
            for half in [limb >> 32, limb & 0xffff_ffff] {
                let mut carry = half;
                for digit in &mut digits {
                    carry += *digit << 32;
                    *digit = carry % BASE;
                    carry /= BASE;
                }
                while carry != 0 {
                    digits.push(carry % BASE);
                    carry /= BASE;
                }
            }
        }
        super::number::push_u64(out, digits.pop().unwrap_or(0));
        for digit in digits.iter().rev() {
            out.extend_from_slice(format!("{digit:09}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Extended {
        Extended::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is a number"))
    }

    fn printed(value: Extended) -> String {
        let mut out = Vec::new();
        value.push_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn sum(a: &str, b: &str) -> String {
        printed(read(a).add(read(b)))
    }

    #[test]
    fn sums_are_those_of_redis() {
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "1.000000000000000005", "4.00000000000000001"),
            ("1e-17", "0", "0.00000000000000001"),
            ("4e-18", "0", "0"),
            ("-4e-18", "0", "0"),
            ("-0", "-0", "0"),
            ("1", "-1", "0"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("18446744073709551616", "3", "18446744073709551620"),
            ("0x1p-3", "0X.8", "0.625"),
            ("1e30", "0", "1000000000000000000024696061952"),
            ("inf", "1", "inf"),
            ("1", "-infinity", "-inf"),
            ("inf", "-inf", "nan"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn text_that_strtold_or_redis_refuses_is_refused() {
        let long = "0".repeat(MAX_TEXT + 1);
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "+",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "0x",
            "0xp1",
            "1e5000",
            "-1e4933",
            "1e-5000",
            "1_0",
            "1.2.3",
            "0x1p16384",
            "0x1p-16447",
            "1e99999999999999999999",
            &long,
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Extended::parse(&long.as_bytes()[1..]).is_some());
        assert_eq!(printed(read("0e99999999999999999999")), "0");
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        let largest = read("0x1.fffffffffffffffep16383");
        assert!(largest.is_finite() && !largest.add(largest).is_finite());
        assert_eq!(printed(largest).len(), 4933);
        assert_eq!(read(&printed(largest)), largest);
        assert_eq!(read("1.18973149535723176502e4932"), largest);
        let smallest = read("0x1p-16445");
        assert_eq!(read("3.6451995318824746025e-4951"), smallest);
        assert_eq!(read("0x1.8p-16446"), smallest);
        assert_eq!(smallest.add(smallest), read("0x1p-16444"));
        assert_eq!(largest.add(smallest), largest);
    }

    #[test]
    fn a_half_rounds_to_even_and_anything_more_rounds_up() {
        // 2^64 + 1 lies half-way between two values; so does 2^64 + 3.
        assert_eq!(printed(read("18446744073709551617")), "18446744073709551616");
        assert_eq!(printed(read("18446744073709551619")), "18446744073709551620");
        let above = format!("18446744073709551617.{}1", "0".repeat(4000));
        assert_eq!(printed(read(&above)), "18446744073709551618");
    }

    /// An independent reference for sums of whole numbers that need no rounding.
    #[test]
    fn whole_numbers_within_64_bits_add_exactly() {
        for a in [0i64, 1, -1, 12345, i64::MAX / 2, i64::MIN / 2] {
            for b in [0i64, 7, -7, i64::MAX / 2, i64::MIN / 2] {
                assert_eq!(printed(Extended::from(a).add(Extended::from(b))), (a + b).to_string());
            }
        }
    }

    proptest! {
        #[test]
        fn the_fast_path_and_the_slow_path_of_parsing_agree(number in 1u64..1 << 63, power in -27i64..=27) {
            let digits: Vec<u8> = number.to_string().bytes().map(|b| b - b'0').collect();
            let short = scale(&digits, power);
            // Twenty more zeros make it take the slow path.
            let longer = [&digits[..], &[0; 20]].concat();
            prop_assert_eq!(scale(&longer, power - 20), short);
        }

        #[test]
        fn a_double_is_read_exactly_and_sums_of_doubles_round_like_doubles(a: f64, b: f64) {
            prop_assume!((a + b).is_finite() && a.is_finite() && b.is_finite());
            // Rust prints a double's digits; 25 of them determine an extended number closely enough to check its
            // upper 53 bits against the sum in doubles, except for double rounding.
            let exact = |value: f64| read(&format!("{value:.30e}"));
            let sum = exact(a).add(exact(b));
            let expected = exact(a + b);
            let error = sum.add(Extended { negative: !expected.negative, ..expected });
            let unit = i64::from(expected.exponent) + 63 - 52;
            prop_assert!(error.mantissa == 0 || i64::from(error.exponent) + 63 < unit.max(-1074));
        }

        #[test]
        fn addition_commutes_and_undoes_itself_without_rounding(a: i64, b: i64) {
            let (x, y) = (Extended::from(a), Extended::from(b));
            prop_assert_eq!(x.add(y), y.add(x));
            let minus = Extended { negative: !y.negative, ..y };
            if a.checked_add(b).is_some() {
                let difference = x.add(y).add(minus);
                prop_assert_eq!(printed(difference), a.to_string());
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[-+]?(0x)?[0-9a-fA-F.]{0,40}([ep][-+]?[0-9]{0,6})?") {
            if let Some(value) = Extended::parse(text.as_bytes()) {
                prop_assert!(!printed(value).is_empty());
            }
        }
    }
}
