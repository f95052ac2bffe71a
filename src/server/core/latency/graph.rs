//! The graph of a series, as Redis draws it:
//!
//! ```text
//! command - high 100 ms, low 1 ms (all time high 100 ms)
//! --------------------------------------------------------------------------------
//!   #     _              four rows of three levels each: `_`, `o`, `#`, and `|` below them
//!   |    o|
//!   |o   ||
//! _#||___||
//!                        an empty row, then the age of each sample, downwards
//! 198765431
//! 0ssssssss
//! s
//! ```
//!
//! The lowest sample is at level 0 and the highest at level 11. A new graph begins after 80 samples.

use std::fmt::Write;

use super::{Sample, Series};

/// Samples in one graph, and the length of the rule above it.
const COLUMNS: usize = 80;

const ROWS: usize = 4;

/// The characters for the levels of a row.
const LEVELS: [char; 3] = ['_', 'o', '#'];

/// Returns the whole text.
pub fn draw(event: &str, series: &Series, now_seconds: u64) -> String {
    let samples: Vec<Sample> = series.iter().collect();
    let times = || samples.iter().map(|sample| sample.milliseconds);
    let (low, high) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{event} - high {high} ms, low {low} ms (all time high {} ms)", series.worst_ms());
    let _ = writeln!(text, "{}", "-".repeat(COLUMNS));
    for (part, samples) in samples.chunks(COLUMNS).enumerate() {
        if part > 0 {
            text.push('\n');
        }
        let levels: Vec<usize> = samples.iter().map(|sample| level(sample.milliseconds, low, high)).collect();
        for row in (0..ROWS).rev() {
            text.extend(levels.iter().map(|level| cell(*level, row)));
            text.push('\n');
        }
        let ages: Vec<String> = samples.iter().map(|sample| age(now_seconds, sample.unix_seconds)).collect();
        push_downwards(&mut text, &ages);
    }
    text
}

/// Returns the level of a sample, from 0.
fn level(milliseconds: u64, low: u64, high: u64) -> usize {
    let steps = ROWS * LEVELS.len();
    let range = u128::from(high - low).max(1);
    let level = u128::from(milliseconds - low) * steps as u128 / range;
    (level as usize).min(steps - 1)
}

/// Returns the character for a sample of `level` in `row`, counted from the bottom.
fn cell(level: usize, row: usize) -> char {
    match level.checked_sub(row * LEVELS.len()) {
        None => ' ',
        Some(above) => LEVELS.get(above).copied().unwrap_or('|'),
    }
}

fn age(now: u64, then: u64) -> String {
    match now.saturating_sub(then) {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Appends an empty row, then `labels` side by side, each written from top to bottom.
fn push_downwards(text: &mut String, labels: &[String]) {
    let height = labels.iter().map(String::len).max().unwrap_or(0);
    let _ = writeln!(text, "{}", " ".repeat(labels.len()));
    for row in 0..height {
        text.extend(
            labels.iter().map(|label| label.as_bytes().get(row).map_or(' ', |byte| char::from(*byte))),
        );
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(times: &[u64]) -> Series {
        let mut series = Series::default();
        for (second, milliseconds) in times.iter().enumerate() {
            series.add(Sample { unix_seconds: second as u64, milliseconds: *milliseconds });
        }
        series
    }

    #[test]
    fn the_picture_is_the_one_that_redis_draws() {
        let series = series(&[5, 20, 100, 40, 1, 2, 4, 60, 80]);
        let expected = "command - high 100 ms, low 1 ms (all time high 100 ms)\n\
            --------------------------------------------------------------------------------\n\
            \x20\x20#     _\n\
            \x20\x20|    o|\n\
            \x20\x20|o   ||\n\
            _#||___||\n\
            \x20\x20\x20\x20\x20\x20\x20\x20\x20\n\
            198765432\n\
            0ssssssss\n\
            s        \n";
        assert_eq!(draw("command", &series, 10), expected);
    }

    #[test]
    fn equal_samples_lie_on_the_ground() {
        let text = draw("command", &series(&[7, 7]), 2);
        assert!(text.contains("high 7 ms, low 7 ms"));
        assert!(text.ends_with("-\n  \n  \n  \n__\n  \n21\nss\n"), "{text}");
    }

    #[test]
    fn more_samples_than_columns_make_another_picture() {
        let text = draw("command", &series(&[1; 81]), 81);
        let lines: Vec<&str> = text.lines().collect();
        // The first graph has ages of two and three characters below it, the second has ages of two.
        assert_eq!(lines[5], "_".repeat(80));
        assert_eq!(&lines[10..], ["", " ", " ", " ", "_", " ", "1", "s"]);
    }

    #[test]
    fn ages_are_told_in_the_largest_whole_unit() {
        let ages = [0, 59, 60, 3599, 3600, 86_399, 86_400, 864_000].map(|seconds| age(seconds, 0));
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "10d"]);
        assert_eq!(age(5, 6), "0s", "the clock was set back");
    }
}
