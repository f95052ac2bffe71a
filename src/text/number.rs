//! Integers and doubles as Redis parses and prints them.
//!
//! Parsing integers is strict: each has exactly one spelling (`parse_i64(b"+1")`, `b"01"`, `b"-0"` and `b" 1"` are not
//! integers), because a string that parses as an integer is stored as one and must come back byte for byte. Printing
//! takes two digits at a time from a table of `00` to `99`, which halves the divisions, and needs no allocation.
//!
//! Doubles are parsed by the rules of C's `strtod` (Redis passes the whole string to it) and printed with few digits
//! that parse back to the same double (`grisu`). Limits: a double that overflows or underflows is rejected, as is NaN.

use super::{grisu, printf, words};

/// The longest decimal spelling of an `i64` or `u64`, sign included.
pub const MAX_DIGITS: usize = 20;

/// `00` to `99`, two bytes each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// Returns the two digits of a number below 100, or the last two of a larger one.
#[inline]
pub fn pair(value: u64) -> [u8; 2] {
    PAIRS[(value % 100) as usize]
}

/// Returns the value of a decimal digit, or a number above 9 for any other byte.
#[inline]
fn digit(byte: u8) -> u8 {
    byte.wrapping_sub(b'0')
}

/// Parses a whole string as an unsigned integer: digits only, no leading zero except in `0` itself.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let (&first, rest) = text.split_first()?;
    let mut value = u64::from(digit(first));
    if value > 9 || (value == 0 && !rest.is_empty()) || text.len() > MAX_DIGITS {
        return None;
    }
    // Eighteen more digits after the first cannot overflow; only a twentieth can.
    let (plain, last) = rest.split_at(rest.len().min(MAX_DIGITS - 2));
    for &byte in plain {
        let d = digit(byte);
        if d > 9 {
            return None;
        }
        value = value * 10 + u64::from(d);
    }
    match last {
        [] => Some(value),
        [byte] if digit(*byte) <= 9 => value.checked_mul(10)?.checked_add(u64::from(digit(*byte))),
        _ => None,
    }
}

/// Parses a whole string as a signed integer: an optional `-`, then as [`parse_u64`]; `-0` is not a number.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', magnitude @ ..] => {
            let value = parse_u64(magnitude)?;
            if value == 0 || value > 1 << 63 { None } else { Some((value as i64).wrapping_neg()) }
        }
        _ => i64::try_from(parse_u64(text)?).ok(),
    }
}

/// Returns the number at the start of a text and the rest, as C's `strtol` parses it, after optional white space and a
/// sign. Without digits the number is 0, and nothing is consumed. A number out of range becomes the nearest in range.
pub fn leading_i64(text: &[u8]) -> (i64, &[u8]) {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let (digits, is_negative) = match &text[blanks..] {
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] | digits => (digits, false),
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return (0, text);
    }
    let value = digits[..count].iter().fold(0_i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        value.saturating_mul(10).saturating_add(if is_negative { -digit } else { digit })
    });
    (value, &digits[count..])
}

/// Returns the number of bytes that [`push_u64`] writes.
#[inline]
pub fn digits_u64(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Returns the number of bytes that [`push_i64`] writes.
#[inline]
pub fn digits_i64(value: i64) -> usize {
    digits_u64(value.unsigned_abs()) + usize::from(value < 0)
}

/// Writes `value` right-aligned into `buffer` and returns where it starts.
#[inline]
fn write_back(buffer: &mut [u8; MAX_DIGITS], mut value: u64) -> usize {
    let mut at = MAX_DIGITS;
    while value >= 100 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value >= 10 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[value as usize]);
    } else {
        at -= 1;
        buffer[at] = b'0' + value as u8;
    }
    at
}

/// Appends `value` in decimal.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else if value < 100 {
        out.extend_from_slice(&PAIRS[value as usize]);
    } else {
        push_long(out, value);
    }
}

fn push_long(out: &mut Vec<u8>, value: u64) {
    if value < 10_000 {
        let (high, low) = (PAIRS[(value / 100) as usize], PAIRS[(value % 100) as usize]);
        let four = [high[0], high[1], low[0], low[1]];
        if value >= 1000 {
            out.extend_from_slice(&four);
        } else {
            out.extend_from_slice(&four[1..]);
        }
        return;
    }
    let mut buffer = [0; MAX_DIGITS];
    let at = write_back(&mut buffer, value);
    out.extend_from_slice(&buffer[at..]);
}

/// Appends `value` in decimal.
#[inline]
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// A byte, a number in decimal, and a line end, built in one piece.
pub struct Line {
    bytes: [u8; MAX_DIGITS + 3],
    start: u8,
}

impl Line {
    /// `kind`, the digits of `value`, CR and LF.
    #[inline]
    pub fn new(kind: u8, value: u64) -> Line {
        let mut digits = [0; MAX_DIGITS];
        let start = write_back(&mut digits, value);
        let mut bytes = [0; MAX_DIGITS + 3];
        bytes[1..=MAX_DIGITS].copy_from_slice(&digits);
        bytes[start] = kind;
        bytes[MAX_DIGITS + 1..].copy_from_slice(b"\r\n");
        Line { bytes, start: start as u8 }
    }

    /// The line.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// An integer's digits without a heap allocation, for comparing or hashing its text.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    bytes: [u8; MAX_DIGITS],
    start: u8,
}

impl Decimal {
    /// Formats `value`.
    #[inline]
    pub fn new(value: i64) -> Self {
        let mut bytes = [0; MAX_DIGITS];
        let mut start = write_back(&mut bytes, value.unsigned_abs());
        if value < 0 {
            start -= 1;
            bytes[start] = b'-';
        }
        Self { bytes, start: start as u8 }
    }

    /// The digits.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// Parses a whole string as a double by the rules of C's `strtod`: decimal or hexadecimal (`0x1.8p3`), `inf` and
/// `infinity` in any case, an optional sign, no space before or after. Rejects NaN, a finite number too large for a
/// double, and a nonzero one that rounds to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, magnitude) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = match magnitude {
        [b'0', b'x' | b'X', rest @ ..] => parse_hex(rest)?,
        [b'0'..=b'9' | b'.', ..] => parse_decimal(magnitude)?,
        _ if magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity") => {
            f64::INFINITY
        }
        _ => return None,
    };
    Some(if negative { -value } else { value })
}

/// Parses a double like a caller of `strtod` that only checks where parsing stopped: space before the number is
/// allowed, an empty text is 0, a number too large is infinite and one too small is zero; a zero byte ends the text.
/// Rejects NaN, and anything after the number.
pub fn parse_f64_loosely(text: &[u8]) -> Option<f64> {
    let text = words::shown(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"\x0b").map_or(text, |rest| rest.trim_ascii_start());
    strtod(text).filter(|value| !value.is_nan())
}

/// Parses a whole string as C's `strtod` does: as [`parse_f64`], but a number too large is infinite and one too small
/// is zero; `nan` is a number, also with letters, digits and underscores in parentheses after it. No space before or
/// after.
pub fn strtod(text: &[u8]) -> Option<f64> {
    let (negative, magnitude) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = match magnitude {
        [b'0', b'x' | b'X', rest @ ..] => HexFloat::parse(rest)?.to_f64(),
        [b'0'..=b'9' | b'.', ..] => std::str::from_utf8(magnitude).ok()?.parse().ok()?,
        _ if magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity") => {
            f64::INFINITY
        }
        [b'n' | b'N', b'a' | b'A', b'n' | b'N', payload @ ..] if is_payload(payload) => f64::NAN,
        _ => return None,
    };
    Some(if negative { -value } else { value })
}

/// Whether the text after `nan` is empty or a word in parentheses.
fn is_payload(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b'(', word @ .., b')'] => word.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_'),
        _ => false,
    }
}

fn parse_decimal(magnitude: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(magnitude).ok()?.parse().ok()?;
    if value.is_infinite() {
        return None;
    }
    let is_nonzero =
        || magnitude.iter().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| (b'1'..=b'9').contains(b));
    if value == 0.0 && is_nonzero() { None } else { Some(value) }
}

/// The text after `0x`: digits with at most one dot, at least one digit, an optional `p` exponent.
fn parse_hex(text: &[u8]) -> Option<f64> {
    let hex = HexFloat::parse(text)?;
    let value = hex.to_f64();
    if value.is_infinite() || (value == 0.0 && hex.mantissa != 0) { None } else { Some(value) }
}

/// Returns `value / 2^shift` rounded to the nearest integer, halves to even. `sticky` means that nonzero bits below the
/// last bit of `value` were cut off. `shift` is 1 to 127.
pub(super) fn round_half_even(value: u128, shift: u32, sticky: bool) -> u128 {
    let floor = value >> shift;
    let rest = value & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    let up = rest > half || (rest == half && (sticky || floor & 1 == 1));
    floor + u128::from(up)
}

/// A hexadecimal floating-point literal without its sign and `0x`: `mantissa * 2^exponent`, and whether nonzero
/// digits were cut off below the mantissa.
pub(super) struct HexFloat {
    pub(super) mantissa: u128,
    pub(super) exponent: i64,
    pub(super) sticky: bool,
}

impl HexFloat {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut float = Self { mantissa: 0, exponent: 0, sticky: false };
        let (mut at, mut digits, mut dot) = (0, 0, false);
        while let Some(&byte) = text.get(at) {
            if byte == b'.' && !dot {
                dot = true;
            } else if let Some(value) = (byte as char).to_digit(16) {
                digits += 1;
                if float.mantissa >> 124 == 0 {
                    float.mantissa = float.mantissa << 4 | u128::from(value);
                    float.exponent -= if dot { 4 } else { 0 };
                } else {
                    float.sticky |= value != 0;
                    float.exponent += if dot { 0 } else { 4 };
                }
            } else {
                break;
            }
            at += 1;
        }
        if digits == 0 {
            return None;
        }
        match text.get(at..)? {
            [] => {}
            [b'p' | b'P', exponent @ ..] => {
                float.exponent = float.exponent.saturating_add(parse_exponent(exponent)?);
            }
            _ => return None,
        }
        Some(float)
    }

    /// The nearest double, halves to even; infinite if it is too large.
    fn to_f64(&self) -> f64 {
        if self.mantissa == 0 {
            return 0.0;
        }
        // Keep 53 bits, or fewer if the result is below the normal range.
        let top = self.exponent.saturating_add(127 - i64::from(self.mantissa.leading_zeros()));
        if top > 1023 {
            return f64::INFINITY;
        }
        let unit = (top - 52).max(-1074);
        let drop = unit - self.exponent;
        let kept = match drop {
            ..=0 => self.mantissa << -drop,
            1..=127 => round_half_even(self.mantissa, drop as u32, self.sticky),
            128 => u128::from(self.mantissa > 1 << 127),
            _ => 0,
        };
        // Two steps, since 2^-1074 times 2^1074 would pass through values that a single factor cannot hold.
        kept as f64 * 2f64.powi((unit / 2) as i32) * 2f64.powi((unit - unit / 2) as i32)
    }
}

/// An exponent: an optional sign and digits, clamped far outside the range of any float.
pub(super) fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for &byte in digits {
        if digit(byte) > 9 {
            return None;
        }
        value = (value * 10 + i64::from(digit(byte))).min(1 << 40);
    }
    Some(if negative { -value } else { value })
}

/// Appends a double as Redis 7.2 prints it: whole numbers below 2^62 as integers; others with as few digits as Grisu2
/// needs for them to parse back to the same double, with an exponent (`1e+23`, `1.5e-7`) if plain digits would be long;
/// `inf`, `-inf`, `nan`, and `-0` for negative zero.
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    const WHOLE: f64 = (1u64 << 62) as f64;
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else if value.abs() <= WHOLE && value.trunc().to_bits() == value.to_bits() {
        push_i64(out, value as i64);
    } else {
        push_f64_short(out, value);
    }
}

/// Appends a double as [`push_f64`] does, but whole numbers, too, with as few digits as parse back to them: for the
/// digest of sorted sets. Whole numbers below 2^53 look the same.
pub fn push_f64_short(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 || !value.is_finite() {
        return push_f64(out, value);
    }
    if value < 0.0 {
        out.push(b'-');
    }
    let (digits, count, last) = grisu::digits(value.abs());
    push_scientific(out, &digits[..count], last + count as i32 - 1, value < 0.0);
}

/// Appends a double with up to 17 digits, as C's `%.17g` prints it: for scores that Redis treats as a long double.
pub fn push_f64_17(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        printf::push_general(out, value, 17);
    } else {
        push_f64(out, value);
    }
}

/// Appends a finite double with up to 17 digits after the dot, without an exponent and without trailing zeros.
pub fn push_f64_plain(out: &mut Vec<u8>, value: f64) {
    let text = format!("{value:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    out.extend_from_slice(if text == "-0" { b"0" } else { text.as_bytes() });
}

/// Appends digits in plain or scientific notation; `exponent` is the power of ten of the first digit.
fn push_scientific(out: &mut Vec<u8>, digits: &[u8], exponent: i32, negative: bool) {
    let count = digits.len() as i32;
    // The power of ten of the last digit.
    let last = exponent - count + 1;
    if last >= 0 && exponent < count + 7 {
        out.extend_from_slice(digits);
        out.resize(out.len() + last as usize, b'0');
    } else if last < 0 && (last > -7 || exponent.abs() < 4) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-exponent - 1) as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            let (whole, fraction) = digits.split_at(exponent as usize + 1);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        let digits = &digits[..digits.len().min(18 - usize::from(negative))];
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        push_u64(out, u64::from(exponent.unsigned_abs()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_may_go_on_after_the_number_that_it_begins_with() {
        for (text, value, rest) in [
            (&b"12\r\n"[..], 12, &b"\r\n"[..]),
            (b" \t+7x", 7, b"x"),
            (b"-9223372036854775809", i64::MIN, b""),
            (b"9223372036854775808 ", i64::MAX, b" "),
            (b" -x", 0, b" -x"),
            (b"", 0, b""),
        ] {
            assert_eq!(leading_i64(text), (value, rest));
        }
    }

    #[test]
    fn doubles_print_in_17_digits_as_printf_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.10000000000000001"),
            (-2.5, "-2.5"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1.25e300, "1.2500000000000001e+300"),
            (100.5, "100.5"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut out = Vec::new();
            push_f64_17(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn doubles_print_plainly_as_redis_prints_coordinates() {
        let cases = [
            (13.361_389_338_970_184, "13.36138933897018433"),
            (180.0, "180"),
            (-0.0, "0"),
            (85.051_128_78, "85.0511287799999991"),
            (-1.5, "-1.5"),
            (1e-20, "0"),
            (0.1, "0.10000000000000001"),
        ];
        for (value, text) in cases {
            let mut out = Vec::new();
            push_f64_plain(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn a_bound_is_parsed_as_strtod_parses_it() {
        let cases: [(&str, Option<f64>); 14] = [
            ("", Some(0.0)),
            ("\0x", Some(0.0)),
            ("1\0x", Some(1.0)),
            (" 1", Some(1.0)),
            ("\x0b-2", Some(-2.0)),
            ("1 ", None),
            ("1e400", Some(f64::INFINITY)),
            ("-1e400", Some(f64::NEG_INFINITY)),
            ("1e-400", Some(0.0)),
            ("0x10", Some(16.0)),
            ("+inf", Some(f64::INFINITY)),
            ("nan", None),
            ("-", None),
            (" ", None),
        ];
        for (text, value) in cases {
            assert_eq!(parse_f64_loosely(text.as_bytes()), value, "{text:?}");
        }
    }

    fn printed(value: f64) -> String {
        let mut out = Vec::new();
        push_f64(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_integer_has_exactly_one_spelling() {
        for (text, value) in [
            (&b"0"[..], 0),
            (b"7", 7),
            (b"-1", -1),
            (b"9223372036854775807", i64::MAX),
            (b"-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_i64(text), Some(value));
        }
        for text in [
            &b""[..],
            b"-",
            b"+1",
            b"01",
            b"-01",
            b"-0",
            b"00",
            b" 1",
            b"1 ",
            b"1\0",
            b"1.0",
            b"0x1",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"99999999999999999999",
            b"100000000000000000000",
            b"--1",
            b"1:",
            b"1/",
        ] {
            assert_eq!(parse_i64(text), None, "{}", text.escape_ascii());
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"1844674407370955161:"), None);
    }

    #[test]
    fn doubles_are_parsed_as_strtod_parses_them() {
        for (text, value) in [
            ("1", 1.0),
            ("+1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-0", -0.0),
            ("007.50", 7.5),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("0x10", 16.0),
            ("0X.8p1", 1.0),
            ("-0x1.8P-1", -0.75),
            ("0x1.fffffffffffff7p0", 1.999_999_999_999_999_8),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1p-1074", 5e-324),
            ("0x0.8p-1073", 5e-324),
            ("inf", f64::INFINITY),
            ("-InFiNiTy", f64::NEG_INFINITY),
            ("5e-324", 5e-324),
            ("0e999", 0.0),
            ("1.7976931348623157e308", f64::MAX),
            ("0x1.fffffffffffffp1023", f64::MAX),
        ] {
            assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "+",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "0x",
            "0x.",
            "0x1p",
            "1e400",
            "-1e400",
            "1e-400",
            "0x1p1024",
            "0x1p-1076",
            "1_0",
            "+-1",
            "infi",
            "1.2.3",
            "1\0",
            "0x1.fffffffffffff8p1023",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn doubles_print_as_redis_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (3.75, "3.75"),
            (-2.5, "-2.5"),
            (1e15, "1000000000000000"),
            (1e18, "1000000000000000000"),
            (4_611_686_018_427_387_904.0, "4611686018427387904"),
            (1e19, "1e+19"),
            (1.5e20, "1.5e+20"),
            (1e100, "1e+100"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (0.000_123_456_789, "1.23456789e-4"),
            (0.001_234_567_89, "0.00123456789"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (123_456.789, "123456.789"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(printed(value), text);
        }
    }

    proptest! {
        #[test]
        fn integers_come_back_from_their_digits(value: i64) {
            let mut out = Vec::new();
            push_i64(&mut out, value);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), value.to_string());
            let decimal = Decimal::new(value);
            prop_assert_eq!(decimal.as_bytes(), &out[..]);
            prop_assert_eq!(digits_i64(value), out.len());
            prop_assert_eq!(parse_i64(&out), Some(value));
        }

        #[test]
        fn small_integers_print_as_the_standard_library_prints_them(value in 0u64..200_000) {
            let mut out = Vec::new();
            push_u64(&mut out, value);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), value.to_string());
            prop_assert_eq!(digits_u64(value), out.len());
        }

        #[test]
        fn a_text_parses_as_an_integer_exactly_if_it_is_the_spelling_of_one(text in "[-+0-9]{0,21}") {
            let expected = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), expected);
        }

        #[test]
        fn doubles_come_back_from_their_digits(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parse_f64(printed(value).as_bytes()).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn hexadecimal_doubles_are_exact(bits in 0u64..0x7ff0_0000_0000_0000) {
            let value = f64::from_bits(bits);
            let (fraction, exponent) = (bits & ((1 << 52) - 1), bits >> 52);
            let (whole, power) = if exponent == 0 { (0, -1022) } else { (1, exponent as i64 - 1023) };
            let text = format!("0x{whole}.{fraction:013x}p{power}");
            prop_assert_eq!(parse_f64(text.as_bytes()), Some(value));
        }
    }
}
