//! Small charts as inline SVG: a line and the area below it. Their numbers are shown beside them.

use super::history::SAMPLES;
use crate::text::svg;

/// Height of a chart in its own units, in which it is stretched to its place.
const HEIGHT: f64 = 56.0;

/// A line of a chart.
pub struct Line<'a> {
    /// One value per second, the latest last; `None` where there is nothing to show.
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

/// Draws `lines` from 0 to `top`, or to their largest value if that is greater. `title` is for screen readers.
pub fn draw(title: &str, top: f64, lines: &[Line<'_>]) -> String {
    let largest = lines.iter().filter_map(Line::largest).fold(top, f64::max);
    let scale = if largest > 0.0 { (HEIGHT - 2.0) / largest } else { 0.0 };
    let mut out = svg::open(SAMPLES as f64, HEIGHT, " preserveAspectRatio=\"none\"", title);
    for line in lines {
        let first = SAMPLES.saturating_sub(line.values.len());
        let place = |(at, value): (usize, &Option<f64>)| {
            ((first + at) as f64, value.map(|value| HEIGHT - 1.0 - value * scale))
        };
        let points: Vec<_> = line.values.iter().enumerate().map(place).collect();
        svg::line(&mut out, line.class, &points, Some(HEIGHT));
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[Option<f64>], top: f64) -> String {
        draw("t", top, &[Line { values, class: "a" }])
    }

    #[test]
    fn the_latest_value_is_at_the_right_edge_and_a_gap_is_a_gap() {
        let chart = drawn(&[Some(0.0), Some(5.0), None, Some(10.0)], 10.0);
        assert!(chart.contains("class=\"line a\" d=\"M296 55.0L297 28.0M299 1.0\""), "{chart}");
    }

    #[test]
    fn nothing_and_values_beyond_the_top_fit_in() {
        assert!(drawn(&[], 0.0).contains("d=\"\""));
        assert!(drawn(&[Some(0.0)], 0.0).contains("M299 55.0\""));
        assert!(drawn(&[Some(20.0)], 10.0).contains("M299 1.0\""));
    }
}
