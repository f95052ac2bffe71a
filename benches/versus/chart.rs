//! The bar chart: the main table as SVG, without a plotting library.
//!
//! The figures of a section differ by a factor of up to twenty, so every group of bars has its own scale (its longest
//! bar is full) and the figure is at the bar's end. A mark on Redstart's bar is its target.
//!
//! ```text
//!            bare loop  ███████ 0.41
//!   SET      Redstart   ████████┃ 0.55
//!            redis      ████████████████████ 1.26
//! ```

use super::report::{REDSTART, Row};
use super::stats::figure;
use redstart::text::{html::Escaped, svg};
use std::fmt::Write;

const WIDTH: f64 = 880.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 80.0;
const BAR: f64 = 12.0;
const GROUP_GAP: f64 = 10.0;
const TITLE: f64 = 34.0;

/// The colours of the columns. Their order identifies them too: bare loop, Redstart, Redis, others.
const COLOURS: [&str; 6] = ["#b8bec6", "#d1495b", "#30638e", "#66a182", "#edae49", "#8d6a9f"];

/// Draws all rows that have at least two figures in a unit. `title` gives the heading of a section.
pub fn chart(subjects: &[String], rows: &[Row], title: impl Fn(&str) -> String) -> String {
    let mut body = String::new();
    let mut y = legend(&mut body, subjects);
    let mut section = None;
    for row in rows.iter().filter(|row| row.unit != "×" && row.values.iter().flatten().count() > 1) {
        if section != Some(&row.section) {
            section = Some(&row.section);
            y += TITLE;
            let title = title(&row.section);
            let title = Escaped(&title);
            let _ = writeln!(body, r#"<text x="16" y="{y}" font-size="14" font-weight="600">{title}</text>"#);
            y += GROUP_GAP;
        }
        y = group(&mut body, row, y) + GROUP_GAP;
    }
    let height = y + 10.0;
    let body = format!("<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}");
    svg::file(WIDTH, height, " font-size=\"11\" fill=\"#1c2733\"", &body)
}

fn colour(column: usize) -> &'static str {
    COLOURS[column.min(COLOURS.len() - 1)]
}

/// Draws the legend. Returns the y below it.
fn legend(body: &mut String, subjects: &[String]) -> f64 {
    let mut x = 16.0;
    for (column, subject) in subjects.iter().enumerate() {
        let fill = colour(column);
        let _ = writeln!(body, r#"<rect x="{x}" y="14" width="12" height="12" fill="{fill}"/>"#);
        let _ = writeln!(body, r#"<text x="{}" y="24">{}</text>"#, x + 17.0, Escaped(subject));
        x += 40.0 + 7.0 * subject.chars().count() as f64;
    }
    let _ = writeln!(
        body,
        r#"<text x="{x}" y="24">┃ target; shorter is better, each group to its own scale</text>"#
    );
    28.0
}

/// Draws the bars of one row from `y` on. Returns the y below them.
fn group(body: &mut String, row: &Row, mut y: f64) -> f64 {
    let longest = row.values.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bars = row.values.iter().flatten().count() as f64;
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let middle = y + bars * BAR / 2.0 + 4.0;
    let name = format!("{}, {}", row.name, row.unit);
    let name = Escaped(&name);
    let _ = writeln!(body, r#"<text x="{}" y="{middle:.1}" text-anchor="end">{name}</text>"#, LEFT - 8.0);
    for (column, value) in row.values.iter().enumerate() {
        let Some(value) = value else { continue };
        let (length, fill) = ((value * scale).max(1.0), colour(column));
        let height = BAR - 1.0;
        let _ = writeln!(
            body,
            r#"<rect x="{LEFT}" y="{y:.1}" width="{length:.1}" height="{height}" fill="{fill}"/>"#
        );
        let mut text_at = LEFT + length + 5.0;
        if let Some(limit) = row.limit().filter(|&limit| column == REDSTART && limit <= longest) {
            let x = LEFT + limit * scale - 1.0;
            let (top, height) = (y - 1.0, BAR + 1.0);
            let _ = writeln!(
                body,
                r##"<rect x="{x:.1}" y="{top:.1}" width="2" height="{height}" fill="#1c2733"/>"##
            );
            // If the mark overlaps the figure, the figure is after the mark.
            if (text_at - 5.0..text_at + 40.0).contains(&x) {
                text_at = x + 7.0;
            }
        }
        let (baseline, text) = (y + 9.0, figure(*value));
        let _ = writeln!(body, r#"<text x="{text_at:.1}" y="{baseline:.1}" font-size="10">{text}</text>"#);
        y += BAR;
    }
    y
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::report::tests::sample;

    #[test]
    fn a_group_is_drawn_for_each_row_with_something_to_compare() {
        let text = sample().svg();
        // Figures: 3 for GET, 3 for SET, 2 for the row without Redstart, 2 for connections; none for the row of one
        // figure. Then the legend's three squares, the background, and a target mark on each of the three bars of
        // Redstart that has one within the scale.
        assert_eq!(text.matches("<rect").count(), 10 + 3 + 1 + 3);
        assert!(!text.contains("over best"));
    }

    #[test]
    fn the_longest_bar_of_each_group_is_full() {
        let text = sample().svg();
        assert_eq!(text.matches(r#"width="500.0""#).count(), 4);
        assert!(text.contains(r#"width="277.8""#), "0.70 of 1.26 of 500");
    }

    #[test]
    fn text_is_escaped_and_elements_are_closed() {
        let text = sample().svg();
        assert!(text.contains("A|B &lt;&amp;&gt;"));
        assert_eq!(text.matches("<text").count(), text.matches("</text>").count());
        assert_eq!(
            text.matches("<rect").count() + text.matches("<text").count() + 1,
            text.matches('<').count() - text.matches("</").count()
        );
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    }
}
