//! Charts as inline SVG: lines over an axis, each with a colour of the page.
//!
//! Colours and fonts are the page's (classes `s0`, `s1`, … for the lines), so a chart follows the page's light or dark
//! theme.

use std::fmt::Write;

use crate::text::svg;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// The number of line colours; further lines repeat them.
pub const COLOURS: usize = 5;

/// An axis: maps values to shares of its length, and has marks.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The quantity that it measures.
    pub label: &'static str,
    /// The value at its start.
    pub from: f64,
    /// The value at its end.
    pub to: f64,
    /// Whether it is logarithmic.
    pub is_log: bool,
    /// The marked values and their labels.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Creates an axis from 0 to at least `most`, with round numbers.
    pub fn linear(label: &'static str, most: f64, text: impl Fn(f64) -> String) -> Axis {
        let step = round_step(most.max(f64::MIN_POSITIVE) / 5.0);
        let count = (most / step).ceil().max(1.0) as usize;
        let ticks = (0..=count).map(|index| index as f64 * step).map(|value| (value, text(value))).collect();
        Axis { label, from: 0.0, to: count as f64 * step, is_log: false, ticks }
    }

    /// Creates an axis around `least` and `most`, both above 0, with marks at 1, 2 and 5 of each power of ten, or only
    /// at the powers if there would be too many.
    pub fn logarithmic(label: &'static str, least: f64, most: f64, text: impl Fn(f64) -> String) -> Axis {
        let marks: &[f64] = if most / least > 2000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut all = Vec::new();
        let mut power = 10f64.powf(least.log10().floor());
        while power <= most * 10.0 {
            all.extend(marks.iter().map(|mark| mark * power));
            power *= 10.0;
        }
        let from = all.iter().rev().copied().find(|mark| *mark <= least).unwrap_or(least);
        let to = all.iter().copied().find(|mark| *mark >= most && *mark > from).unwrap_or(most);
        let inside = all.into_iter().filter(|mark| (from..=to).contains(mark));
        Axis { label, from, to, is_log: true, ticks: inside.map(|mark| (mark, text(mark))).collect() }
    }

    /// Returns the position of a value on the axis, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let marks = [1.0, 2.0, 5.0, 10.0].map(|mark| mark * power);
    marks.into_iter().find(|mark| *mark >= step * 0.999_999).unwrap_or(step)
}

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// The number of its colour.
    pub colour: usize,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// Draws a chart. `title` is for screen readers. If `fills`, the area below a single line is filled.
pub fn chart(title: &str, x: &Axis, y: &Axis, lines: &[Line], fills: bool) -> String {
    // With one decimal, which is a display's precision.
    let at_x = |value: f64| ((LEFT + x.share(value) * (WIDTH - LEFT - RIGHT)) * 10.0).round() / 10.0;
    let at_y = |value: f64| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut out = svg::open(WIDTH, HEIGHT, "", title);
    let _ = writeln!(out, "<title>{title}</title>");
    for (value, text) in &y.ticks {
        let at = at_y(*value);
        let _ = write!(out, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
        let _ = writeln!(
            out,
            "<text class=\"tick end\" x=\"{}\" y=\"{:.1}\">{text}</text>",
            LEFT - 7.0,
            at + 3.5
        );
    }
    for (value, text) in &x.ticks {
        let at = at_x(*value);
        let _ = write!(out, "<path class=\"mark\" d=\"M{at:.1} {bottom}v4\"/>");
        let _ = writeln!(out, "<text class=\"tick mid\" x=\"{at:.1}\" y=\"{}\">{text}</text>", bottom + 17.0);
    }
    let _ = writeln!(out, "<path class=\"mark\" d=\"M{LEFT} {bottom}H{right}\"/>");
    let _ = writeln!(
        out,
        "<text class=\"axis mid\" x=\"{}\" y=\"{}\">{}</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 6.0,
        x.label
    );
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let points: Vec<_> = line.points.iter().map(|(x, y)| (at_x(*x), Some(at_y(*y)))).collect();
        let class = format!("s{}", line.colour % COLOURS);
        svg::line(&mut out, &class, &points, (fills && lines.len() == 1).then_some(bottom));
        out.push('\n');
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(axis: &Axis) -> Vec<f64> {
        axis.ticks.iter().map(|(value, _)| (value * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn a_linear_axis_has_round_marks_from_zero_to_above_the_most() {
        let axis = Axis::linear("x", 94_000.0, |value| value.to_string());
        assert_eq!(marks(&axis), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0, 100_000.0]);
        assert_eq!((axis.share(0.0), axis.share(50_000.0), axis.share(1e9)), (0.0, 0.5, 1.0));
        let nothing = Axis::linear("x", 0.0, |value| value.to_string());
        assert_eq!(nothing.share(0.0), 0.0);
    }

    #[test]
    fn a_logarithmic_axis_begins_and_ends_at_marks_around_the_values() {
        let axis = Axis::logarithmic("y", 0.07, 3.0, |value| value.to_string());
        assert_eq!(marks(&axis), [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]);
        assert!((axis.share(0.5) - 0.5).abs() < 1e-9);
        let wide = Axis::logarithmic("y", 0.01, 900.0, |value| value.to_string());
        assert_eq!(marks(&wide), [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]);
        let one = Axis::logarithmic("y", 1.0, 1.0, |value| value.to_string());
        assert_eq!(marks(&one), [1.0, 2.0]);
    }

    #[test]
    fn points_lie_within_the_chart() {
        let axis = |label| Axis::linear(label, 10.0, |value| value.to_string());
        let line = Line { colour: 6, points: vec![(0.0, 0.0), (5.0, 20.0), (10.0, 10.0)] };
        let svg = chart("a title", &axis("x"), &axis("y"), &[line], true);
        assert!(svg.contains("class=\"line s1\" d=\"M56 210.0L251 12.0L446 12.0\""), "{svg}");
        assert!(svg.contains("class=\"area s1\""));
        assert_eq!(svg.matches("<path").count(), svg.matches("/>").count());
    }
}
