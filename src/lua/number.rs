//! Numbers as text, by Lua's rules: `tonumber`, and the output of `tostring` and `..`.

use crate::text::{number, printf, words};

/// The significant digits of a number converted to a string.
const DIGITS: usize = 14;
/// Whole numbers below this have at most that many digits, and are printed as integers.
const WHOLE: f64 = 1e14;

/// The longest number. Numbers are read in one piece, so longer strings are not converted.
pub const LONGEST: usize = 1 << 18;

/// Like [`parse`]; rejects strings that are too long.
pub fn parse_short(bytes: &[u8]) -> Option<f64> {
    if bytes.len() <= LONGEST { parse(bytes) } else { None }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Parses the number in a string, with white space around it: decimal, hexadecimal (`0x1p4`), `inf` or `nan`, as C's
/// `strtod` reads it. As in C, a zero byte ends the string.
pub fn parse(bytes: &[u8]) -> Option<f64> {
    // Every integer below 10^15 is exact as a double.
    if matches!(bytes.len(), 1..=15) && bytes.iter().all(u8::is_ascii_digit) {
        return Some(bytes.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')) as f64);
    }
    let text = words::shown(bytes);
    let start = text.iter().position(|&byte| !is_space(byte))?;
    let end = text.iter().rposition(|&byte| !is_space(byte))? + 1;
    number::strtod(&text[start..end])
}

/// Appends a number as C's `%.14g` prints it.
pub fn format(value: f64, buffer: &mut Vec<u8>) {
    let whole = value as i64;
    if whole as f64 == value && value.abs() < WHOLE && (whole != 0 || value.is_sign_positive()) {
        number::push_i64(buffer, whole);
    } else {
        printf::push_general(buffer, value, DIGITS);
    }
}

/// Truncates a number to an integer, as C's cast does on x86-64: NaN and numbers out of range become the smallest
/// integer.
pub fn to_integer(value: f64) -> i64 {
    const LIMIT: f64 = (1u64 << 63) as f64;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// Truncates a number to an unsigned integer, as C's cast does on x86-64: a negative one is taken modulo 2^64. Out of
/// range, numbers that are too large become 0, and others 2^63.
pub fn to_unsigned(value: f64) -> u64 {
    const HALF: f64 = (1u64 << 63) as f64;
    if value >= HALF { to_integer(value - HALF) as u64 ^ 1 << 63 } else { to_integer(value) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: f64) -> String {
        let mut buffer = Vec::new();
        format(value, &mut buffer);
        String::from_utf8(buffer).expect("ASCII")
    }

    #[test]
    fn strings_are_numbers_as_lua_takes_them() {
        for (text, value) in [
            (&b"0x1p4"[..], 16.0),
            (b"0X10", 16.0),
            (b" \t12\x0b\x0c\n\r ", 12.0),
            (b"007", 7.0),
            (b"1\0", 1.0),
            (b"1\0junk", 1.0),
            (b".5", 0.5),
            (b"5.", 5.0),
            (b"-.5", -0.5),
            (b"+.5", 0.5),
            (b"-0x10", -16.0),
            (b"0x.8", 0.5),
            (b"0x8.", 8.0),
            (b"1e5", 1e5),
            (b"1E+2", 1e2),
            (b"123456789012345", 123_456_789_012_345.0),
            (b"1e400", f64::INFINITY),
            (b"-1e400", f64::NEG_INFINITY),
            (b"1e-400", 0.0),
            (b"0x1p99999", f64::INFINITY),
            (b"-0x1p-99999", 0.0),
            (b"inf", f64::INFINITY),
            (b"-Infinity", f64::NEG_INFINITY),
            (b"0xffffffffffffffffff", 4_722_366_482_869_645_213_695.0),
        ] {
            assert_eq!(parse(text), Some(value), "{}", text.escape_ascii());
        }
        for text in [&b"nan"[..], b"NaN", b" -nan ", b"nan()", b"nan(a_1)"] {
            assert!(parse(text).is_some_and(f64::is_nan), "{}", text.escape_ascii());
        }
        for text in [
            &b""[..],
            b"  ",
            b"\0",
            b"0x",
            b"0xg",
            b"0x1p",
            b"1e",
            b"1e+",
            b"1 2",
            b"1..2",
            b".",
            b"--5",
            b"+ 5",
            b"0x 10",
            b"1_0",
            b"1f",
            b"infx",
            b"in",
            b"nan(a-b)",
            b"nan(",
            b"\xb9",
        ] {
            assert_eq!(parse(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn numbers_print_with_fourteen_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (-7.0, "-7"),
            (99_999_999_999_999.0, "99999999999999"),
            (1e14, "1e+14"),
            (-1e15, "-1e+15"),
            (99_999_999_999_999.5, "1e+14"),
            (123_456_789_012_345.0, "1.2345678901234e+14"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333333333"),
            (2.0 / 3.0, "0.66666666666667"),
            (0.1 + 0.2, "0.3"),
            (3.25, "3.25"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1e100, "1e+100"),
            (9_007_199_254_740_992.0, "9.007199254741e+15"),
            (5e-324, "4.9406564584125e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "-nan"),
        ] {
            assert_eq!(printed(value), text, "{value:e}");
        }
    }

    #[test]
    fn numbers_become_integers_as_in_c() {
        for (value, signed, unsigned) in [
            (-1.9, -1, u64::MAX),
            (2f64.powi(63), i64::MIN, 1 << 63),
            (2f64.powi(63) + 2048.0, i64::MIN, (1 << 63) + 2048),
            (2f64.powi(64), i64::MIN, 0),
            (-1e300, i64::MIN, 1 << 63),
            (f64::INFINITY, i64::MIN, 0),
            (f64::NAN, i64::MIN, 1 << 63),
        ] {
            assert_eq!((to_integer(value), to_unsigned(value)), (signed, unsigned), "{value}");
        }
    }
}
