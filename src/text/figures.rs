//! Numbers for people: short, with a unit, or in groups of digits.

/// A number with three digits that count and one of `units`, each of which is `step` times the one before: `1.23k`.
/// A whole number of the first unit has no decimals.
pub fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be rounded up to a thousand is one of the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let whole = value == value.trunc() && unit == 0;
    let digits = match value {
        _ if whole => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", units[unit])
}

/// A whole number in groups of three digits: `1,234,567`.
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
        let short = |value| scaled(value, 1000.0, &["", "k", "M"]);
        assert_eq!(
            [0.0, 7.0, 9.5, 999.4, 999.6, 1234.0, 12_345.0, 1e9].map(short),
            ["0", "7", "9.50", "999", "1.00k", "1.23k", "12.3k", "1000M"]
        );
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!([0, 999, 1000, 1_234_567].map(exact), ["0", "999", "1,000", "1,234,567"]);
    }
}
