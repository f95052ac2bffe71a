//! The arithmetic of the benchmark: medians, percentiles, means, and figures as text.
//!
//! Figures are exact and use all samples. A run has at most a few million of them, so they are kept and sorted; no
//! histogram rounds them.

/// The middle value, or the mean of the two middle ones; `None` without values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The nearest-rank percentile: the smallest sample that at least `fraction` of all samples do not exceed.
/// `sorted` must be ascending.
pub fn percentile(sorted: &[u32], fraction: f64) -> Option<u32> {
    debug_assert!(sorted.is_sorted());
    let rank = (fraction * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The n-th root of the product of n positive values; `None` without values.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let logs: f64 = values.iter().map(|value| value.ln()).sum();
    Some((logs / values.len() as f64).exp())
}

/// A figure with about three significant digits: `0.482`, `6.41`, `115.9`, `9,704`.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if v < 0.9995 => format!("{value:.3}"),
        v if v < 99.995 => format!("{value:.2}"),
        v if v < 999.95 => format!("{value:.1}"),
        _ => grouped(value.round() as i64),
    }
}

/// An integer with a comma between groups of three digits.
pub fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The UTC date of a Unix time as `2024-02-29`.
///
/// Days are counted in years that begin in March, so that the leap day is the last of its year and needs no special case;
/// 146,097 days are 400 years.
pub fn date(unix_seconds: u64) -> String {
    let days = unix_seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_and_no_values() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([7.0]), Some(7.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let samples: Vec<u32> = (1..=1000).collect();
        assert_eq!(percentile(&samples, 0.5), Some(500));
        assert_eq!(percentile(&samples, 0.99), Some(990));
        assert_eq!(percentile(&samples, 0.999), Some(999));
        assert_eq!(percentile(&samples, 1.0), Some(1000));
        assert_eq!(percentile(&samples, 0.0), Some(1));
        assert_eq!(percentile(&[5], 0.999), Some(5));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn one_slow_sample_in_a_thousand_shows_above_p999_only() {
        let mut samples = vec![1; 999];
        samples.push(1_000_000);
        assert_eq!(percentile(&samples, 0.999), Some(1));
        assert_eq!(percentile(&samples, 0.9991), Some(1_000_000));
    }

    #[test]
    fn geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        assert!((geometric_mean(&[4.0, 0.25]).unwrap() - 1.0).abs() < 1e-12);
        assert!((geometric_mean(&[2.0, 8.0]).unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn figures_keep_three_significant_digits() {
        assert_eq!(figure(0.4823), "0.482");
        assert_eq!(figure(0.9996), "1.00");
        assert_eq!(figure(6.405), "6.41");
        assert_eq!(figure(115.94), "115.9");
        assert_eq!(figure(9703.6), "9,704");
        assert_eq!(figure(1_234_567.0), "1,234,567");
        assert_eq!(grouped(-1234), "-1,234");
        assert_eq!(grouped(100), "100");
        assert_eq!(grouped(0), "0");
    }

    #[test]
    fn dates_around_leap_days_and_year_ends() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(951_868_800), "2000-03-01");
        assert_eq!(date(1_709_164_800), "2024-02-29");
        assert_eq!(date(1_735_689_599), "2024-12-31");
        assert_eq!(date(1_735_689_600), "2025-01-01");
    }
}
