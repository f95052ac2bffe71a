//! Pieces of charts as SVG: the opening tag, and a line with the area below it.

use std::fmt::Write;

/// Opens a chart of `width` by `height` units with further `attributes`. `title` is for screen readers.
pub fn open(width: f64, height: f64, attributes: &str, title: &str) -> String {
    format!("<svg viewBox=\"0 0 {width} {height}\"{attributes} role=\"img\" aria-label=\"{title}\">")
}

/// Wraps a chart as a file of its own.
pub fn file(width: f64, height: f64, attributes: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"system-ui, sans-serif\"{attributes}>\n{body}</svg>\n"
    )
}

/// Appends a line through `points`, which are x and y from left to right, and before it the area from the line down to
/// `ground`, if given. A point without y is a gap. Both paths have `class` for their colour.
pub fn line(out: &mut String, class: &str, points: &[(f64, Option<f64>)], ground: Option<f64>) {
    let runs = || points.split(|(_, y)| y.is_none()).filter(|run| !run.is_empty());
    // Formatting into a string does not fail.
    let push_run = |out: &mut String, run: &[(f64, Option<f64>)]| {
        let mut before = 'M';
        for (x, y) in run {
            let _ = write!(out, "{}{x} {:.1}", std::mem::replace(&mut before, 'L'), y.unwrap_or_default());
        }
    };
    if let Some(ground) = ground {
        let _ = write!(out, "<path class=\"area {class}\" d=\"");
        for run in runs() {
            push_run(out, run);
            let _ = write!(out, "L{} {ground}L{} {ground}Z", run[run.len() - 1].0, run[0].0);
        }
        out.push_str("\"/>");
    }
    let _ = write!(out, "<path class=\"line {class}\" d=\"");
    runs().for_each(|run| push_run(out, run));
    out.push_str("\"/>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_ends_the_line_and_its_area() {
        let mut out = String::new();
        line(&mut out, "a", &[(1.0, Some(4.0)), (2.5, Some(3.04)), (3.0, None), (4.0, Some(0.0))], Some(9.0));
        let area = "<path class=\"area a\" d=\"M1 4.0L2.5 3.0L2.5 9L1 9ZM4 0.0L4 9L4 9Z\"/>";
        assert_eq!(out, format!("{area}<path class=\"line a\" d=\"M1 4.0L2.5 3.0M4 0.0\"/>"));
        out.clear();
        line(&mut out, "b", &[(0.0, None)], None);
        assert_eq!(out, "<path class=\"line b\" d=\"\"/>");
    }
}
