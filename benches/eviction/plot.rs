//! The plot: for each trace and policy the hit ratios on one line, as SVG, without a plotting library.
//!
//! ```text
//!   Zipf 0.9   LRU   ──────●────●─│────────│──   0 … 100 %
//!              LFU   ────────●────│●───────│──
//!                         Redis Redstart exact, W-TinyLFU, optimum
//! ```
//!
//! The plot has no background, and its colours follow the reader's scheme, so it fits light and dark pages.

use super::tables::BytesRow;
use redstart::text::svg;
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 220.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 64.0;
const LINE: f64 = 22.0;
const GAP: f64 = 12.0;

/// Classes: `r` Redis, `s` Redstart, `e` the exact policy, `t` W-TinyLFU, `o` the optimum.
const STYLE: &str = "text{fill:#1c2733}.g{stroke:#d5dae0}.l{stroke:#9aa5b1}.r{fill:#30638e}.s{fill:#d1495b}\
                     .e{stroke:#1c2733}.t{stroke:#3f8f5f}.o{stroke:#c98a1b}.d{fill:#5b6672}\
                     @media(prefers-color-scheme:dark){text{fill:#e6e9ed}.g{stroke:#3a424c}.l{stroke:#66717d}\
                     .r{fill:#6aa6d8}.s{fill:#ff6f80}.e{stroke:#e6e9ed}.t{stroke:#6fce96}.o{stroke:#f0b84a}\
                     .d{fill:#a3adb8}}";

/// The marks: class, name, and whether it is a dot (a server) or a stroke (a simulation).
const MARKS: [(char, &str, bool); 5] = [
    ('r', "Redis", true),
    ('s', "Redstart", true),
    ('e', "exact policy", false),
    ('t', "W-TinyLFU", false),
    ('o', "optimum", false),
];

/// Draws `rows`; the rows of one trace are adjacent.
pub fn plot(rows: &[BytesRow]) -> String {
    let mut body = String::new();
    legend(&mut body);
    let mut y = TOP;
    let mut trace = "";
    for row in rows {
        if row.trace != trace {
            trace = row.trace;
            y += GAP;
            let _ = writeln!(body, r#"<text x="16" y="{:.0}" font-weight="600">{trace}</text>"#, y + 4.0);
        }
        line(&mut body, row, y);
        y += LINE;
    }
    let height = y + GAP;
    let grid = grid(height);
    let body = format!("<style>{STYLE}</style>\n{grid}{body}");
    svg::file(WIDTH, height, " font-size=\"12\"", &body)
}

/// The x coordinate of a hit ratio.
fn x_of(ratio: f64) -> f64 {
    LEFT + ratio * (WIDTH - LEFT - RIGHT)
}

fn grid(height: f64) -> String {
    let mut text = String::new();
    for percent in (0..=100).step_by(10) {
        let (x, bottom) = (x_of(f64::from(percent) / 100.0), height - GAP);
        let _ = writeln!(text, r#"<path class="g" d="M{x:.1} {TOP}V{bottom:.1}"/>"#);
        let _ = writeln!(
            text,
            r#"<text class="d" x="{x:.1}" y="{}" text-anchor="middle" font-size="11">{percent} %</text>"#,
            TOP - 6.0
        );
    }
    text
}

fn legend(body: &mut String) {
    let mut x = 16.0;
    for (class, name, is_dot) in MARKS {
        mark(body, class, is_dot, x + 6.0, 20.0);
        let _ = writeln!(body, r#"<text x="{}" y="24">{name}</text>"#, x + 18.0);
        x += 40.0 + 7.0 * name.len() as f64;
    }
    let _ = writeln!(body, r#"<text class="d" x="{x}" y="24">hit ratio at equal bytes, 5 samples</text>"#);
}

fn line(body: &mut String, row: &BytesRow, y: f64) {
    let values = [row.redis[0].hit_ratio, row.redstart[0].hit_ratio, row.exact, row.tiny_lfu, row.optimum];
    let (from, to) = (values.iter().copied().fold(1.0, f64::min), values.iter().copied().fold(0.0, f64::max));
    let _ = writeln!(
        body,
        r#"<text class="d" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
        LEFT - 14.0,
        y + 4.0,
        row.policy.name()
    );
    let _ = writeln!(body, r#"<path class="l" d="M{:.1} {y:.1}H{:.1}"/>"#, x_of(from), x_of(to));
    // Simulations first, so that they hide no server.
    for index in [4, 3, 2, 0, 1] {
        let (class, _, is_dot) = MARKS[index];
        mark(body, class, is_dot, x_of(values[index]), y);
    }
}

fn mark(body: &mut String, class: char, is_dot: bool, x: f64, y: f64) {
    let _ = if is_dot {
        writeln!(body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="5"/>"#)
    } else {
        writeln!(body, r#"<path class="{class}" stroke-width="3" d="M{x:.1} {:.1}v14"/>"#, y - 7.0)
    };
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::runs::Policy;
    use super::super::tables::tests::sample;
    use super::*;

    #[test]
    fn each_row_has_all_marks_and_each_trace_one_name() {
        let rows = [
            sample("one", Policy::Lru, 0.25, 0.5),
            sample("one", Policy::Lfu, 0.3, 0.6),
            sample("two", Policy::Lru, 0.0, 1.0),
        ];
        let text = plot(&rows);
        assert_eq!(text.matches("<circle").count(), 2 * (3 + 1));
        assert_eq!(text.matches("stroke-width").count(), 3 * (3 + 1));
        assert_eq!(text.matches(">one</text>").count(), 1);
        assert!(text.contains(r#"cx="220.0""#) && text.contains(r#"cx="870.0""#), "0 and 100 %");
        assert!(text.contains(r#"cx="545.0""#), "0.5 is in the middle");
    }
}
