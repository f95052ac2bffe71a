//! Numbers and strings as C's `printf` prints them: a conversion with its flags, width and precision.
//!
//! The rules are those of C99 (7.19.6.1), and glibc's where C leaves them open. The digits of a double are exact at any
//! precision, halves to even: the standard library's formatter provides them, and this file adds C's layout. Every
//! number that a script turns into a string passes through `%g` with at most 14 digits, which uses Grisu's digits where
//! they certainly round alike: see [`push_general`].

use std::io::Write;

use super::{grisu, number};

/// The part between `%` and the letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Specification {
    /// `-`: padded on the right.
    pub left: bool,
    /// `+`: a sign before positive numbers, too.
    pub plus: bool,
    /// A space before positive numbers.
    pub space: bool,
    /// `#`: a prefix for the base, or always a dot.
    pub alternate: bool,
    /// `0`: numbers are padded with zeros after the sign.
    pub zero: bool,
    /// The minimum number of bytes.
    pub width: usize,
    /// The number after the dot: digits, or the maximum bytes of a string.
    pub precision: Option<usize>,
}

/// The base of an unsigned integer, and the letters of its digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `%u`
    Decimal,
    /// `%o`
    Octal,
    /// `%x`
    LowerHex,
    /// `%X`
    UpperHex,
}

/// The notation of a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// `%f`
    Fixed,
    /// `%e`
    Scientific,
    /// `%g`: one of the two, whichever is shorter.
    General,
}

impl Specification {
    /// `%s`: `bytes`, or as many as the precision allows.
    pub fn push_bytes(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        let length = self.precision.map_or(bytes.len(), |most| bytes.len().min(most));
        let start = out.len();
        out.extend_from_slice(&bytes[..length]);
        self.pad(out, start, start, false);
    }

    /// `%d`
    pub fn push_signed(&self, out: &mut Vec<u8>, value: i64) {
        let start = out.len();
        self.push_sign(out, value < 0);
        self.push_magnitude(out, start, value.unsigned_abs(), Base::Decimal);
    }

    /// `%u`, `%o`, `%x` or `%X`
    pub fn push_unsigned(&self, out: &mut Vec<u8>, value: u64, base: Base) {
        let start = out.len();
        if self.alternate && value != 0 {
            match base {
                Base::LowerHex => out.extend_from_slice(b"0x"),
                Base::UpperHex => out.extend_from_slice(b"0X"),
                Base::Decimal | Base::Octal => {}
            }
        }
        self.push_magnitude(out, start, value, base);
    }

    /// Appends the digits of an integer whose sign or prefix begins at `start`, and the padding.
    fn push_magnitude(&self, out: &mut Vec<u8>, start: usize, value: u64, base: Base) {
        let digits = out.len();
        match base {
            _ if value == 0 && self.precision == Some(0) => {}
            Base::Decimal => number::push_u64(out, value),
            Base::Octal => push_shifted(out, value, 3, b"01234567"),
            Base::LowerHex => push_shifted(out, value, 4, b"0123456789abcdef"),
            Base::UpperHex => push_shifted(out, value, 4, b"0123456789ABCDEF"),
        }
        let count = out.len() - digits;
        let least = self.precision.unwrap_or(0);
        if count < least {
            insert(out, digits, least - count, b'0');
        } else if base == Base::Octal && self.alternate && out.get(digits) != Some(&b'0') {
            insert(out, digits, 1, b'0');
        }
        self.pad(out, start, digits, self.precision.is_none());
    }

    /// `%f`, `%e` or `%g`; with `upper`, the result has upper-case letters, as with `%E` and `%G`.
    pub fn push_float(&self, out: &mut Vec<u8>, value: f64, notation: Notation, upper: bool) {
        let start = out.len();
        self.push_sign(out, value.is_sign_negative());
        let digits = out.len();
        if value.is_finite() {
            let precision = self.precision.unwrap_or(6);
            match notation {
                Notation::Fixed => {
                    print(out, format_args!("{:.*}", precision, value.abs()));
                    if precision == 0 && self.alternate {
                        out.push(b'.');
                    }
                }
                Notation::Scientific => {
                    let exact = Exact::new(value.abs(), precision + 1);
                    push_scientific(out, exact.digits(), exact.exponent, self.alternate);
                }
                Notation::General => push_general_magnitude(out, value.abs(), precision, self.alternate),
            }
        } else {
            out.extend_from_slice(if value.is_nan() { b"nan" } else { b"inf" });
        }
        if upper {
            out[digits..].make_ascii_uppercase();
        }
        self.pad(out, start, digits, value.is_finite());
    }

    fn push_sign(&self, out: &mut Vec<u8>, is_negative: bool) {
        if is_negative {
            out.push(b'-');
        } else if self.plus {
            out.push(b'+');
        } else if self.space {
            out.push(b' ');
        }
    }

    /// Pads the text from `start` on to the width. Zeros, if `takes_zeros` allows them, are inserted at `digits`, after
    /// the sign or the prefix.
    fn pad(&self, out: &mut Vec<u8>, start: usize, digits: usize, takes_zeros: bool) {
        let missing = (start + self.width).saturating_sub(out.len());
        if missing == 0 {
            return;
        }
        if self.left {
            out.resize(out.len() + missing, b' ');
        } else if self.zero && takes_zeros {
            insert(out, digits, missing, b'0');
        } else {
            insert(out, start, missing, b' ');
        }
    }
}

/// Inserts `count` times `byte` at `at`.
fn insert(out: &mut Vec<u8>, at: usize, count: usize, byte: u8) {
    let end = out.len();
    out.resize(end + count, byte);
    out.copy_within(at..end, at + count);
    out[at..at + count].fill(byte);
}

/// Appends `value` in a base of `1 << bits`.
fn push_shifted(out: &mut Vec<u8>, value: u64, bits: u32, letters: &[u8]) {
    let places = (u64::BITS - (value | 1).leading_zeros()).div_ceil(bits);
    for place in (0..places).rev() {
        out.push(letters[(value >> (place * bits)) as usize & ((1 << bits) - 1)]);
    }
}

/// Appends formatted text.
fn print(out: &mut Vec<u8>, text: std::fmt::Arguments) {
    // Writing to a vector does not fail.
    let _ = out.write_fmt(text);
}

/// The maximum number of digits of an [`Exact`].
const MOST_DIGITS: usize = 128;

/// The digits of a double, rounded to a given count, halves to even, and the power of ten of the first.
struct Exact {
    bytes: [u8; MOST_DIGITS],
    count: usize,
    exponent: i32,
}

impl Exact {
    /// Computes `count` digits of `value`, which is finite and not negative; `count` is 1 to [`MOST_DIGITS`].
    fn new(value: f64, count: usize) -> Exact {
        let count = count.clamp(1, MOST_DIGITS);
        let mut text = [0; MOST_DIGITS + 8];
        let mut rest = &mut text[..];
        // The buffer has room for the dot, the `e`, and an exponent of four bytes.
        let _ = write!(rest, "{:.*e}", count - 1, value);
        let unused = rest.len();
        let text = &text[..text.len() - unused];
        let mut bytes = [b'0'; MOST_DIGITS];
        bytes[0] = text[0];
        let end = if count > 1 { count + 1 } else { 1 };
        bytes[1..count].copy_from_slice(&text[2.min(end)..end]);
        let exponent = number::parse_exponent(&text[end + 1..]).unwrap_or(0) as i32;
        Exact { bytes, count, exponent }
    }

    fn digits(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

/// Appends a double as `%.{digits}g` prints it, with at most `digits` significant digits, without trailing zeros.
pub fn push_general(out: &mut Vec<u8>, value: f64, digits: usize) {
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(b"inf");
    } else {
        push_general_magnitude(out, value.abs(), digits, false);
    }
}

/// Does the same as [`push_general`] for a finite, non-negative number; keeps trailing zeros if `keep_zeros`.
fn push_general_magnitude(out: &mut Vec<u8>, value: f64, digits: usize, keep_zeros: bool) {
    let digits = digits.max(1);
    if !keep_zeros && let Some((bytes, count, exponent)) = short_digits(value, digits) {
        return lay_out(out, &bytes[..count], exponent, digits, false);
    }
    let exact = Exact::new(value, digits);
    let mut shown = exact.digits();
    if !keep_zeros {
        while let [rest @ .., b'0'] = shown
            && !rest.is_empty()
        {
            shown = rest;
        }
    }
    lay_out(out, shown, exact.exponent, digits, keep_zeros);
}

/// Lays out digits as `%.{most}g` does, in one of its two layouts; `exponent` is the power of ten of the first digit.
fn lay_out(out: &mut Vec<u8>, digits: &[u8], exponent: i32, most: usize, always_dot: bool) {
    if exponent < -4 || exponent >= most as i32 {
        push_scientific(out, digits, exponent, always_dot);
    } else if exponent < 0 {
        out.extend_from_slice(&b"0.000"[..=exponent.unsigned_abs() as usize]);
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        if digits.len() > whole {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        } else {
            out.extend_from_slice(digits);
            out.resize(out.len() + whole - digits.len(), b'0');
            if always_dot {
                out.push(b'.');
            }
        }
    }
}

/// Appends digits with an exponent of at least two digits.
fn push_scientific(out: &mut Vec<u8>, digits: &[u8], exponent: i32, always_dot: bool) {
    out.push(digits[0]);
    if digits.len() > 1 || always_dot {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        out.push(b'0');
    }
    number::push_u64(out, u64::from(exponent.unsigned_abs()));
}

/// Returns the digits of `value`, which is finite and not negative, rounded to at most `most` digits, without trailing
/// zeros; their count; and the power of ten of the first. `None` if Grisu's digits do not determine them.
///
/// Grisu's digits differ from the exact value by less than 2^-53 of it. If there are no more than `most`, which is at
/// most 14, they are the digits wanted, since a decimal number of up to 15 digits survives a round trip through a
/// double. If there are more, they round as the exact value does, unless the rest is close to a half: in units of the
/// last digit kept, the difference is below 10^14 × 2^-53 = 0.0112.
fn short_digits(value: f64, most: usize) -> Option<([u8; grisu::MAX_DIGITS], usize, i32)> {
    // In ten thousandths of a unit.
    const UNSURE: std::ops::RangeInclusive<u32> = 5000 - 120..=5000 + 120;
    if most > 14 || value < f64::MIN_POSITIVE {
        return None;
    }
    let (mut bytes, count, last) = grisu::digits(value);
    let mut exponent = last + count as i32 - 1;
    if count <= most {
        let kept = bytes[..count].iter().rposition(|&byte| byte != b'0').map_or(1, |last| last + 1);
        return Some((bytes, kept, exponent));
    }
    let rest = (most..most + 4)
        .fold(0, |rest, at| rest * 10 + if at < count { u32::from(bytes[at] - b'0') } else { 0 });
    if UNSURE.contains(&rest) {
        return None;
    }
    let mut kept = most;
    if rest > 5000 {
        // Nines become zeros, which are dropped.
        while kept > 0 && bytes[kept - 1] == b'9' {
            kept -= 1;
        }
        if kept == 0 {
            bytes[0] = b'1';
            exponent += 1;
            kept = 1;
        } else {
            bytes[kept - 1] += 1;
        }
    } else {
        while kept > 1 && bytes[kept - 1] == b'0' {
            kept -= 1;
        }
    }
    Some((bytes, kept, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parses a format of one conversion; returns it and its letter.
    fn specification(format: &str) -> (Specification, u8) {
        let flags = format.len() - format.trim_start_matches(['-', '+', ' ', '#', '0']).len();
        let (flags, rest) = format.split_at(flags);
        let (rest, letter) = rest.split_at(rest.len() - 1);
        let (width, precision) = rest.split_once('.').map_or((rest, None), |(w, p)| (w, Some(p)));
        let specification = Specification {
            left: flags.contains('-'),
            plus: flags.contains('+'),
            space: flags.contains(' '),
            alternate: flags.contains('#'),
            zero: flags.contains('0'),
            width: width.parse().unwrap_or(0),
            precision: precision.map(|p| p.parse().unwrap_or(0)),
        };
        (specification, letter.as_bytes()[0])
    }

    fn integer(format: &str, value: i64) -> String {
        let (specification, letter) = specification(format);
        let mut out = b"before".to_vec();
        let base = match letter {
            b'u' => Base::Decimal,
            b'o' => Base::Octal,
            b'x' => Base::LowerHex,
            _ => Base::UpperHex,
        };
        if letter == b'd' {
            specification.push_signed(&mut out, value);
        } else {
            specification.push_unsigned(&mut out, value as u64, base);
        }
        String::from_utf8(out)
            .expect("ASCII")
            .strip_prefix("before")
            .expect("what was there stays")
            .to_owned()
    }

    fn float(format: &str, value: f64) -> String {
        let (specification, letter) = specification(format);
        let notation = match letter.to_ascii_lowercase() {
            b'f' => Notation::Fixed,
            b'e' => Notation::Scientific,
            _ => Notation::General,
        };
        let mut out = b"before".to_vec();
        specification.push_float(&mut out, value, notation, letter.is_ascii_uppercase());
        String::from_utf8(out)
            .expect("ASCII")
            .strip_prefix("before")
            .expect("what was there stays")
            .to_owned()
    }

    #[test]
    fn integers_print_as_glibc_prints_them() {
        for (format, value, text) in [
            ("5d", 65, "   65"),
            ("-5d", 65, "65   "),
            ("05d", -65, "-0065"),
            ("-05d", 65, "65   "),
            ("+d", 65, "+65"),
            (" d", 65, " 65"),
            ("+ d", 65, "+65"),
            (".3d", -3, "-003"),
            ("5.3d", 65, "  065"),
            ("05.3d", 65, "  065"),
            (".0d", 0, ""),
            ("+.0d", 0, "+"),
            ("3.0d", 0, "   "),
            ("d", i64::MIN, "-9223372036854775808"),
            ("u", -1, "18446744073709551615"),
            ("x", -1, "ffffffffffffffff"),
            ("X", 0xbeef, "BEEF"),
            ("#x", 0xbeef, "0xbeef"),
            ("#X", 0xbeef, "0XBEEF"),
            ("#8x", 10, "     0xa"),
            ("#08x", 10, "0x00000a"),
            ("#.3x", 10, "0x00a"),
            ("#x", 0, "0"),
            ("#.0x", 0, ""),
            ("o", 65, "101"),
            ("#o", 65, "0101"),
            ("#.4o", 65, "0101"),
            ("#.0o", 0, "0"),
            ("#o", 0, "0"),
            ("#6o", 65, "  0101"),
            ("+u", 1, "1"),
        ] {
            assert_eq!(integer(format, value), text, "%{format} of {value}");
        }
    }

    #[test]
    fn doubles_print_as_glibc_prints_them() {
        for (format, value, text) in [
            ("e", 65.0, "6.500000e+01"),
            (".0e", 65.0, "6e+01"),
            ("#.0e", 65.0, "6.e+01"),
            ("E", -3.7, "-3.700000E+00"),
            (".0e", 2.5, "2e+00"),
            (".0e", 3.5, "4e+00"),
            ("e", 1e-310, "1.000000e-310"),
            ("f", 65.0, "65.000000"),
            (".0f", 0.5, "0"),
            (".0f", 1.5, "2"),
            (".0f", 2.5, "2"),
            (".1f", 0.25, "0.2"),
            ("#.0f", 65.0, "65."),
            (".1f", 0.05, "0.1"),
            ("f", -0.0, "-0.000000"),
            ("010.2f", -1.25, "-000001.25"),
            ("-010.2f", 1.25, "1.25      "),
            ("+010.2f", 1.25, "+000001.25"),
            ("g", 65.0, "65"),
            ("#g", 65.0, "65.0000"),
            (".0g", 65.0, "6e+01"),
            ("#.0g", 65.0, "6.e+01"),
            ("g", 0.0001, "0.0001"),
            ("g", 0.00001, "1e-05"),
            ("G", 0.00001, "1E-05"),
            ("g", 999_999.5, "1e+06"),
            ("#g", 0.5, "0.500000"),
            ("g", 0.0, "0"),
            ("#g", 0.0, "0.00000"),
            (".20g", -3.7, "-3.7000000000000001776"),
            (".3g", 99.95, "100"),
            (".3g", 99.94, "99.9"),
            ("05f", f64::INFINITY, "  inf"),
            ("5G", f64::NEG_INFINITY, " -INF"),
            ("+g", f64::NAN, "+nan"),
            ("g", -f64::NAN, "-nan"),
            ("-5e", f64::NAN, "nan  "),
        ] {
            assert_eq!(float(format, value), text, "%{format} of {value}");
        }
        assert_eq!(
            float(".99f", -3.7),
            format!("-3.{:0<99}", "700000000000000177635683940025046467781066894531250")
        );
        assert_eq!(float(".99e", 0.1).len(), 1 + 1 + 99 + 4);
    }

    #[test]
    fn strings_are_cut_and_padded() {
        for (format, bytes, text) in
            [("s", "abc", "abc"), ("5.1s", "abc", "    a"), ("-5s", "abc", "abc  "), ("05s", "abc", "  abc")]
        {
            let mut out = Vec::new();
            specification(format).0.push_bytes(&mut out, bytes.as_bytes());
            assert_eq!(String::from_utf8(out).expect("ASCII"), text, "%{format} of {bytes}");
        }
    }

    /// `%.{digits}g` from the exact digits.
    fn exactly(value: f64, digits: usize) -> String {
        let exact = Exact::new(value, digits);
        let mut shown = exact.digits();
        while shown.len() > 1 && shown.ends_with(b"0") {
            shown = &shown[..shown.len() - 1];
        }
        let mut out = Vec::new();
        lay_out(&mut out, shown, exact.exponent, digits, false);
        String::from_utf8(out).expect("ASCII")
    }

    fn generally(value: f64, digits: usize) -> String {
        let mut out = Vec::new();
        push_general(&mut out, value, digits);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn short_digits_round_as_the_exact_value_does() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..100_000 {
            let any = f64::from_bits(random() & (i64::MAX as u64));
            // Decimal numbers of 14 to 16 digits, many of which are ties or near ties.
            let tie = (random() % 10u64.pow(15) * 10 + 5) as f64 / 10f64.powi((random() % 20) as i32);
            for value in [any, tie] {
                if value.is_finite() {
                    for digits in [1, 6, 13, 14, 17] {
                        assert_eq!(generally(value, digits), exactly(value, digits), "{value:e}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_conversion_has_at_least_its_width(
            value: f64, width in 0usize..100, precision in 0usize..100, left: bool, zero: bool, alternate: bool,
        ) {
            let specification = Specification {
                left, zero, alternate, width, precision: Some(precision), ..Specification::default()
            };
            for notation in [Notation::Fixed, Notation::Scientific, Notation::General] {
                let mut out = Vec::new();
                specification.push_float(&mut out, value, notation, false);
                prop_assert!(out.len() >= width);
                let shown = std::str::from_utf8(&out).expect("ASCII");
                prop_assert!(shown.trim().parse::<f64>().is_ok(), "{shown:?}");
            }
        }
    }
}
