//! Small charts as inline SVG: a line, the area below it, nothing else. Their numbers stand beside them.

use std::io::Write;

use super::history::SAMPLES;

/// Height of a chart in its own units, in which it is stretched to its place.
const HEIGHT: f64 = 56.0;

/// A line of a chart.
pub struct Line<'a> {
    /// A value a second, the latest last; none where there is nothing to show.
    pub values: &'a [Option<f64>],
    /// The class that gives it its colour.
    pub class: &'static str,
}

impl Line<'_> {
    /// Its largest value, if it has any.
    pub fn largest(&self) -> Option<f64> {
        self.values.iter().flatten().copied().reduce(f64::max)
    }
}

/// Appends a chart of `lines` from 0 to `top`, or to their largest value where that is more. `title` is for those who do not see it.
pub fn draw(out: &mut Vec<u8>, title: &str, top: f64, lines: &[Line<'_>]) {
    let largest = lines.iter().filter_map(Line::largest).fold(top, f64::max);
    let scale = if largest > 0.0 { (HEIGHT - 2.0) / largest } else { 0.0 };
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "<svg viewBox=\"0 0 {SAMPLES} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}\">"
    );
    for line in lines {
        let first = SAMPLES.saturating_sub(line.values.len());
        let points = || {
            line.values
                .iter()
                .enumerate()
                .map(|(at, value)| (first + at, value.map(|it| HEIGHT - 1.0 - it * scale)))
        };
        let _ = write!(out, "<path class=\"area {}\" d=\"", line.class);
        let mut last = None;
        for (x, y) in points() {
            match (y, last) {
                (Some(y), None) => drop(write!(out, "M{x} {HEIGHT}L{x} {y:.1}")),
                (Some(y), Some(_)) => drop(write!(out, "L{x} {y:.1}")),
                (None, Some(before)) => drop(write!(out, "L{before} {HEIGHT}Z")),
                (None, None) => {}
            }
            last = y.map(|_| x);
        }
        if let Some(before) = last {
            let _ = write!(out, "L{before} {HEIGHT}Z");
        }
        let _ = write!(out, "\"/><path class=\"line {}\" d=\"", line.class);
        let mut draws = false;
        for (x, y) in points() {
            if let Some(y) = y {
                let _ = write!(out, "{}{x} {y:.1}", if draws { 'L' } else { 'M' });
            }
            draws = y.is_some();
        }
        let _ = write!(out, "\"/>");
    }
    let _ = write!(out, "</svg>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[Option<f64>], top: f64) -> String {
        let mut out = Vec::new();
        draw(&mut out, "t", top, &[Line { values, class: "a" }]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_latest_value_is_at_the_right_edge_and_a_gap_is_a_gap() {
        let chart = drawn(&[Some(0.0), Some(5.0), None, Some(10.0)], 10.0);
        assert!(chart.contains("class=\"line a\" d=\"M296 55.0L297 28.0M299 1.0\""), "{chart}");
        assert!(chart.contains("d=\"M296 56L296 55.0L297 28.0L297 56ZM299 56L299 1.0L299 56Z\""), "{chart}");
    }

    #[test]
    fn nothing_and_values_beyond_the_top_fit_in() {
        assert!(drawn(&[], 0.0).contains("d=\"\""));
        assert!(drawn(&[Some(0.0)], 0.0).contains("M299 55.0\""));
        assert!(drawn(&[Some(20.0)], 10.0).contains("M299 1.0\""));
    }
}
