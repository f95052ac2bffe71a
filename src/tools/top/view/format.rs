//! Formats figures as short texts of a stable width.

use crate::text::figures::scaled;
pub use crate::text::figures::{count, exact};

/// Formats bytes: `0 B`, `950 B`, `1.23 KB` (of 1024), `12.3 MB`.
pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &[" B", " KB", " MB", " GB", " TB", " PB"])
}

/// Formats microseconds: `0.85 µs`, `12.3 µs`, `1.23 ms`, `4.56 s`.
pub fn micros(value: f64) -> String {
    scaled(value, 1000.0, &[" µs", " ms", " s"])
}

/// Formats a number with appropriate decimals: `0.15`, `12.3`, `6,543`.
pub fn decimal(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => exact(value.round() as u64),
    }
}

/// Formats a percentage, with at most four characters and the sign: `0 %`, `0.5 %`, `12.3 %`, `100 %`.
pub fn percent(value: f64) -> String {
    if value == 0.0 || value >= 99.95 { format!("{value:.0} %") } else { format!("{value:.1} %") }
}

/// Formats a count: exact up to seven digits, then short.
pub fn things(value: u64) -> String {
    if value < 10_000_000 { exact(value) } else { count(value as f64) }
}

/// Formats an uptime: `0:42`, `1:02:03`, `3d 04:05:06`.
pub fn uptime(seconds: u64) -> String {
    let (days, hours, minutes, rest) =
        (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{rest:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => format!("{days}d {hours:02}:{minutes:02}:{rest:02}"),
    }
}

/// Formats a time span in its largest unit: `42s`, `5m`, `3h`, `2d`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// Formats seconds without trailing zeros: `1`, `0.5`, `2.25`.
pub fn seconds(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits() {
        let cases = [
            (0.0, "0"),
            (0.25, "0.25"),
            (7.0, "7"),
            (9.5, "9.50"),
            (950.4, "950"),
            (999.6, "1.00k"),
            (1234.0, "1.23k"),
            (12_345.0, "12.3k"),
            (123_456.0, "123k"),
            (999_999.0, "1.00M"),
            (2.5e21, "2500000P"),
        ];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn bytes_times_and_shares_have_their_units() {
        assert_eq!(
            (bytes(0.0), bytes(512.0), bytes(1536.0)),
            ("0 B".into(), "512 B".into(), "1.50 KB".into())
        );
        assert_eq!((bytes(1000.0), bytes(3.0 * 1024.0 * 1024.0)), ("0.98 KB".into(), "3.00 MB".into()));
        assert_eq!((micros(0.85), micros(1500.0)), ("0.85 µs".into(), "1.50 ms".into()));
        assert_eq!(
            (decimal(0.15), decimal(10.0), decimal(6543.2)),
            ("0.15".into(), "10.0".into(), "6,543".into())
        );
        assert_eq!(micros(7.2e7), "72.0 s");
        assert_eq!(
            (percent(0.0), percent(12.34), percent(99.97)),
            ("0 %".into(), "12.3 %".into(), "100 %".into())
        );
    }

    #[test]
    fn numbers_and_spans_can_be_read() {
        assert_eq!((exact(0), exact(999), exact(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!((things(9_999_999), things(12_345_678)), ("9,999,999".into(), "12.3M".into()));
        assert_eq!(
            (uptime(42), uptime(3723), uptime(273_906)),
            ("0:42".into(), "1:02:03".into(), "3d 04:05:06".into())
        );
        assert_eq!(
            (span(59), span(300), span(7200), span(200_000)),
            ("59s".into(), "5m".into(), "2h".into(), "2d".into())
        );
        assert_eq!((seconds(1.0), seconds(0.5), seconds(2.25)), ("1".into(), "0.5".into(), "2.25".into()));
    }
}
