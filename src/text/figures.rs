//! Numbers for people: short with a unit, or with digit grouping.

/// The units of large counts.
pub const COUNTS: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// Returns a number in the largest of `units` in which it is at least 1, and that unit. Each unit is `step` times the
/// previous one.
pub fn in_unit<'a>(mut value: f64, step: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut unit = 0;
    // A value that would round up to 1,000 belongs to the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    (value, units[unit])
}

/// Formats a number with three significant digits and its unit: `1.23k`. A whole number of the first unit has no
/// decimals.
pub fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (value, unit) = in_unit(value, step, units);
    let whole = value == value.trunc() && unit == units[0];
    let digits = match value {
        _ if whole => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{unit}")
}

/// Formats a count or a rate per second: `0`, `0.25`, `9.50`, `950`, `1.23k`, `12.3k`, `123k`, `1.23M`.
pub fn count(value: f64) -> String {
    scaled(value, 1000.0, &COUNTS)
}

/// Formats a whole number in groups of three digits: `1,234,567`.
pub fn exact(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count_and_whole_numbers_have_no_more() {
        assert_eq!(
            [0.0, 7.0, 9.5, 999.4, 999.6, 1234.0, 12_345.0, 1e9].map(count),
            ["0", "7", "9.50", "999", "1.00k", "1.23k", "12.3k", "1.00G"]
        );
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!([0, 999, 1000, 1_234_567].map(exact), ["0", "999", "1,000", "1,234,567"]);
    }
}
