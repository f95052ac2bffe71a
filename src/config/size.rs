//! Sizes (`1k`, `64mb`, `1gb`) and lenient integers, as written in the config file.
//!
//! `k`, `m`, `g` are powers of 1000; `kb`, `mb`, `gb` are powers of 1024; `b` or no unit means bytes; case is ignored.
//! A unit without digits is 0, because Redis reads `maxmemory ""` as 0. A size that does not fit into 64 bits becomes
//! the largest one that does; Redis lets it wrap around and runs with an unintended limit.

/// Reads a size in bytes.
pub fn parse_size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let mut value: u64 = 0;
    for digit in number {
        value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    }
    Some(value.saturating_mul(factor))
}

/// Formats a size in the largest binary unit that divides it, for `CONFIG REWRITE`.
pub fn format_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Reads an integer like C's `strtoll`, for directives where Redis requires only that it consumes the whole word:
/// leading white space and a sign are accepted, an empty word is 0, and a number that is too large becomes the largest.
pub fn lenient_integer(text: &[u8], radix: u32) -> Option<i64> {
    let text = text.trim_ascii_start();
    let negative = text.starts_with(b"-");
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() && !text.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for &byte in digits {
        let digit = i64::from((byte as char).to_digit(radix)?);
        value = value.saturating_mul(i64::from(radix)).saturating_add(digit);
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_know_decimal_and_binary_units_in_any_case() {
        for (text, bytes) in [
            ("0", 0),
            ("", 0),
            ("mb", 0),
            ("17", 17),
            ("1b", 1),
            ("1k", 1000),
            ("1KB", 1024),
            ("3m", 3_000_000),
            ("64mb", 64 << 20),
            ("2G", 2_000_000_000),
            ("1gB", 1 << 30),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551616", u64::MAX),
            ("20000000000gb", u64::MAX),
        ] {
            assert_eq!(parse_size(text.as_bytes()), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["-1", "1.5gb", "1 gb", "x", "1tb", "0x10", " 1"] {
            assert_eq!(parse_size(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_divides_it_and_reads_back() {
        for (bytes, text) in
            [(0, "0"), (1000, "1000"), (1024, "1kb"), (3 << 20, "3mb"), (1 << 40, "1024gb"), (1025, "1025")]
        {
            assert_eq!(format_size(bytes), text);
            assert_eq!(parse_size(text.as_bytes()), Some(bytes));
        }
    }

    #[test]
    fn lenient_integers_take_spaces_signs_and_saturate() {
        for (text, value) in [("", 0), (" +5", 5), ("-7", -7), ("007", 7), ("99999999999999999999", i64::MAX)]
        {
            assert_eq!(lenient_integer(text.as_bytes(), 10), Some(value), "{text}");
        }
        assert_eq!(lenient_integer(b"777", 8), Some(0o777));
        for text in ["+", "-", "1x", "0x3", "1 "] {
            assert_eq!(lenient_integer(text.as_bytes(), 10), None, "{text}");
        }
        assert_eq!(lenient_integer(b"9", 8), None);
    }
}
