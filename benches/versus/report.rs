//! The report: rows of figures, their targets, and the tables that show them.
//!
//! Each table is one list of cells, rendered twice, for the terminal and as Markdown, so both agree. A row has its target
//! and whether Redstart meets it. Lower is better in all rows except those with `≥`.

use super::chart;
use super::stats::{figure, grouped};
use std::fmt::Write;

/// The column of the bare loop. The columns are in this order; further servers follow.
pub const BARE: usize = 0;
/// The server with targets.
pub const REDSTART: usize = 1;
/// The server in the ratios of targets.
pub const REDIS: usize = 2;

/// The target for Redstart's figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At most this times the bare loop's.
    OfBare(f64),
    /// At most this times that of redis-server.
    OfRedis(f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most the first times the second, which is Redstart's figure with one thread.
    OfOneThread(f64, f64),
}

/// One measurement on all subjects; `None` for a subject that does not take part.
#[derive(Clone, Debug)]
pub struct Row {
    /// The group of rows to which it belongs.
    pub section: String,
    /// The name of the measurement.
    pub name: String,
    /// The unit of all its figures.
    pub unit: &'static str,
    /// A figure for each column.
    pub values: Vec<Option<f64>>,
    /// The target for Redstart's figure.
    pub target: Option<Target>,
}

impl Row {
    /// A row with a figure for each server. The bare loop, the first column, has none.
    pub fn of_servers(
        section: String,
        name: &str,
        unit: &'static str,
        servers: impl IntoIterator<Item = Option<f64>>,
        target: Option<Target>,
    ) -> Row {
        let values = std::iter::once(None).chain(servers).collect();
        Row { section, name: name.into(), unit, values, target }
    }

    fn value(&self, column: usize) -> Option<f64> {
        self.values.get(column).copied().flatten()
    }

    /// Redstart's figure.
    pub fn redstart(&self) -> Option<f64> {
        self.value(REDSTART)
    }

    /// The lowest figure of the servers that Redstart is compared with.
    pub fn best_peer(&self) -> Option<f64> {
        self.values.iter().skip(REDIS).flatten().copied().reduce(f64::min)
    }

    /// Redstart's figure over that of `column`.
    pub fn ratio_to(&self, column: usize) -> Option<f64> {
        Some(self.redstart()? / self.value(column).filter(|&value| value > 0.0)?)
    }

    /// The target as a figure in the row's unit.
    pub fn limit(&self) -> Option<f64> {
        match self.target? {
            Target::OfBare(ratio) => Some(ratio * self.value(BARE)?),
            Target::OfRedis(ratio) => Some(ratio * self.value(REDIS)?),
            Target::AtMost(limit) | Target::AtLeast(limit) => Some(limit),
            Target::OfOneThread(ratio, one) => Some(ratio * one),
        }
    }

    /// Whether the target is met; `None` without a target or a figure.
    pub fn meets(&self) -> Option<bool> {
        let (value, limit) = (self.redstart()?, self.limit()?);
        Some(if matches!(self.target, Some(Target::AtLeast(_))) { value >= limit } else { value <= limit })
    }

    fn verdict(&self) -> String {
        match self.meets() {
            Some(true) => "ok".into(),
            Some(false) => "MISS".into(),
            None => String::new(),
        }
    }
}

impl Target {
    fn text(self) -> String {
        match self {
            Self::OfBare(ratio) => format!("≤ {ratio:.2} × bare"),
            Self::OfRedis(ratio) => format!("≤ {ratio:.2} × Redis"),
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::OfOneThread(ratio, _) => format!("≤ {ratio:.2} × one thread"),
        }
    }
}

/// The load's report for one workload, by column.
#[derive(Clone, Debug)]
pub struct Speed {
    /// The section of its row.
    pub section: String,
    /// The workload.
    pub name: String,
    /// Requests per second.
    pub rps: Vec<Option<f64>>,
    /// Median latency.
    pub p50_ms: Vec<Option<f64>>,
    /// 99th percentile of latency.
    pub p99_ms: Vec<Option<f64>>,
}

/// One phase of a tail scenario on one server.
#[derive(Clone, Debug)]
pub struct TailRow {
    /// The scenario.
    pub scenario: String,
    /// The phase.
    pub phase: String,
    /// The server's column.
    pub subject: usize,
    /// Median latency.
    pub p50_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// 99.9th percentile.
    pub p999_ms: Option<f64>,
    /// The delay of sending, 99.9th percentile.
    pub late_ms: Option<f64>,
    /// Share of its core that the server used.
    pub busy: Option<f64>,
    /// Requests without a reply.
    pub unanswered: Option<f64>,
    /// Replies to the client beside the load.
    pub beside: Option<f64>,
}

/// The time that servers waited because other programs used their core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbance {
    sum: f64,
    count: usize,
    /// The worst visit.
    pub worst: f64,
}

impl Disturbance {
    /// Adds one visit's waiting time over its CPU time.
    pub fn add(&mut self, share: f64) {
        self.sum += share;
        self.count += 1;
        self.worst = self.worst.max(share);
    }

    /// Whether there was a visit.
    pub fn is_known(&self) -> bool {
        self.count > 0
    }

    /// The mean of all visits.
    pub fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// All results of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The name of each column.
    pub subjects: Vec<String>,
    /// The version that each server reports.
    pub versions: Vec<String>,
    /// The machine, in a few short lines.
    pub machine: Vec<String>,
    /// The command that produced the report.
    pub command: String,
    /// The day.
    pub date: String,
    /// The main table.
    pub rows: Vec<Row>,
    /// Throughput and latencies of the load.
    pub speeds: Vec<Speed>,
    /// Tails in detail.
    pub tails: Vec<TailRow>,
    /// Notes about this run.
    pub notes: Vec<String>,
    /// How quiet the machine was.
    pub disturbance: Disturbance,
}

/// A table as text: a heading, and rows in sections.
struct Table {
    heading: Vec<String>,
    /// Leading columns of words, which are aligned to the left.
    words: usize,
    rows: Vec<(String, Vec<String>)>,
}

fn cell(value: Option<f64>) -> String {
    value.map_or("–".into(), figure)
}

fn ratio(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.2}"))
}

impl Report {
    /// A row's values if only Redstart has one.
    pub fn only_redstart(&self, value: Option<f64>) -> Vec<Option<f64>> {
        (0..self.subjects.len()).map(|column| value.filter(|_| column == REDSTART)).collect()
    }

    /// How many rows miss their target, and how many have one.
    pub fn missed(&self) -> (usize, usize) {
        let verdicts: Vec<bool> = self.rows.iter().filter_map(Row::meets).collect();
        (verdicts.iter().filter(|met| !**met).count(), verdicts.len())
    }

    fn main_table(&self) -> Table {
        let mut heading = vec!["measure".to_string(), "unit".into()];
        heading.extend(self.subjects.iter().cloned());
        heading.extend(["÷ bare", "÷ Redis", "target", ""].map(String::from));
        let rows = self.rows.iter().map(|row| {
            let mut cells = vec![row.name.clone(), row.unit.into()];
            cells.extend((0..self.subjects.len()).map(|column| cell(row.value(column))));
            cells.push(ratio(row.ratio_to(BARE)));
            cells.push(ratio(row.ratio_to(REDIS)));
            cells.push(row.target.map_or(String::new(), Target::text));
            cells.push(row.verdict());
            (section_title(&row.section), cells)
        });
        Table { heading, words: 1, rows: rows.collect() }
    }

    fn speed_table(&self) -> Table {
        let mut heading = vec!["workload".to_string()];
        for subject in &self.subjects {
            heading.extend([format!("{subject}: RPS"), "p50 ms".into(), "p99 ms".into()]);
        }
        let rows = self.speeds.iter().map(|speed| {
            let mut cells = vec![speed.name.clone()];
            for column in 0..self.subjects.len() {
                let value = |values: &[Option<f64>]| values.get(column).copied().flatten();
                cells.push(value(&speed.rps).map_or("–".into(), |rps| grouped(rps.round() as i64)));
                cells.push(cell(value(&speed.p50_ms)));
                cells.push(cell(value(&speed.p99_ms)));
            }
            (speed.section.clone(), cells)
        });
        Table { heading, words: 1, rows: rows.collect() }
    }

    fn tail_table(&self) -> Table {
        let heading =
            ["phase", "server", "p50 ms", "p99 ms", "p99.9 ms", "core", "unanswered", "beside", "sent late"];
        let rows = self.tails.iter().map(|tail| {
            let whole = |value: Option<f64>| value.map_or("–".into(), |value| grouped(value as i64));
            let cells = vec![
                tail.phase.clone(),
                self.subjects.get(tail.subject).cloned().unwrap_or_default(),
                cell(tail.p50_ms),
                cell(tail.p99_ms),
                cell(tail.p999_ms),
                tail.busy.map_or("–".into(), |busy| format!("{:.0} %", busy * 100.0)),
                whole(tail.unanswered),
                whole(tail.beside),
                cell(tail.late_ms),
            ];
            (tail.scenario.clone(), cells)
        });
        Table { heading: heading.map(String::from).into(), words: 2, rows: rows.collect() }
    }

    /// The tables for a terminal.
    pub fn terminal(&self) -> String {
        let mut text = self.main_table().text();
        if !self.speeds.is_empty() {
            text.push_str("\nThroughput and latencies, as measured by redis-benchmark\n\n");
            text.push_str(&self.speed_table().text());
        }
        if !self.tails.is_empty() {
            text.push_str("\nTails, open-loop, from the time a request was due\n\n");
            text.push_str(&self.tail_table().text());
        }
        text.push('\n');
        for note in self.all_notes() {
            text.push_str(&note);
            text.push('\n');
        }
        text
    }

    /// A page for the repository; `chart` is the path under which the page links the chart.
    pub fn markdown(&self, chart: Option<&str>) -> String {
        let mut text = String::from("# Benchmarks\n\n");
        let _ = writeln!(text, "Measured on {} with `{}`, which wrote this page.\n", self.date, self.command);
        for line in self.machine.iter().chain(&self.versions) {
            let _ = writeln!(text, "- {line}");
        }
        text.push_str(METHOD);
        if let Some(chart) = chart {
            let _ = writeln!(text, "\n![The same figures as bars]({chart})");
        }
        text.push_str(
            "\n## Against the targets\n\nLower is better where the target has `≤`. `MISS` marks a missed \
                       target, `–` a figure that a server does not have.\n\n",
        );
        text.push_str(&self.main_table().markdown());
        if !self.speeds.is_empty() {
            text.push_str(
                "\n## Throughput and latencies\n\nAs measured by `redis-benchmark`. With one core for the load \
                           these say as much about the load as about the server.\n\n",
            );
            text.push_str(&self.speed_table().markdown());
        }
        if !self.tails.is_empty() {
            text.push_str(TAILS);
            text.push_str(&self.tail_table().markdown());
        }
        text.push_str("\n## Of this run\n\n");
        for note in self.all_notes() {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// The chart of the main table.
    pub fn svg(&self) -> String {
        chart::chart(&self.subjects, &self.rows, section_title)
    }

    fn all_notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if self.disturbance.is_known() {
            let (mean, worst) = (self.disturbance.mean() * 100.0, self.disturbance.worst * 100.0);
            let verdict = if mean > 2.0 {
                "other programs used it too, so the figures are less reliable"
            } else {
                "a quiet run"
            };
            notes.push(format!(
                "For {mean:.1} % of their CPU time (worst visit {worst:.1} %) servers waited for their core: {verdict}."
            ));
        }
        let (missed, all) = self.missed();
        notes.push(format!("{} of {all} targets met.", all - missed));
        notes
    }
}

/// The method, as the page describes it.
const METHOD: &str = "
The servers run on one core and the load on another, persistence off. For each workload all servers are started and
filled alike and measured in turn, in several rounds whose order rotates by one; a figure is the median of the rounds.
While one is measured the others are stopped. CPU time is the server process's own, user and system, from
`/proc/PID/task/*/schedstat` over the run, divided by the number of requests. The tables compare CPU time and not
throughput, because the load is often the bottleneck. The *bare loop* sends fixed replies with the same system calls: it
shows the cost of the kernel. Absolute figures differ between machines, ratios within a run are stable.
";

/// How to read the tails.
const TAILS: &str = "
## Tails

The load sends a request when it is due, even if earlier replies are missing, and measures its latency from that time.
*Sent late* is the delay of the generator itself (p99.9): lower latencies say nothing about the server. *Core* is the
share of its core that the server used, *beside* the number of replies to the client beside the load.

";

/// The heading of a section.
fn section_title(section: &str) -> String {
    let more = match section {
        "pipeline 1" => ": CPU time a request, 50 clients, one request in flight each",
        "pipeline 16" => ": CPU time a request, 50 clients, 16 requests in flight each",
        "scripts" => ": CPU time a request at pipeline 16",
        "listeners" => ": CPU time a request or a message, 16 requests in flight on each connection",
        "memory" => ": resident bytes each",
        "threads" => ": CPU time a request, 50 clients, on both cores",
        _ => "",
    };
    format!("{section}{more}")
}

impl Table {
    fn text(&self) -> String {
        let mut widths = vec![0; self.heading.len()];
        for cells in std::iter::once(&self.heading).chain(self.rows.iter().map(|(_, cells)| cells)) {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &[String]| {
            let mut line = String::new();
            for (index, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
                if index < self.words {
                    let _ = write!(line, "{cell:<width$}  ");
                } else {
                    let _ = write!(line, "{cell:>width$}  ");
                }
            }
            line.truncate(line.trim_end().len());
            line.push('\n');
            line
        };
        let mut text = line(&self.heading);
        let mut section = None;
        for (of, cells) in &self.rows {
            if section != Some(of) {
                let _ = writeln!(text, "\n{of}");
                section = Some(of);
            }
            text.push_str(&line(cells));
        }
        text
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&self.heading);
        let rules =
            (0..self.heading.len()).map(|index| if index < self.words { "---" } else { "---:" }.to_string());
        text.push_str(&line(&rules.collect::<Vec<_>>()));
        let mut section = None;
        for (of, cells) in &self.rows {
            if section != Some(of) {
                let mut heading = vec![String::new(); self.heading.len()];
                heading[0] = format!("**{of}**");
                text.push_str(&line(&heading));
                section = Some(of);
            }
            let cells: Vec<String> = cells
                .iter()
                .map(|cell| if cell == "MISS" { "**MISS**".into() } else { cell.clone() })
                .collect();
            text.push_str(&line(&cells));
        }
        text
    }
}

#[cfg(test)]
#[allow(unused)]
pub mod tests {
    use super::*;

    /// Fails if two rows of a section have the same name.
    pub fn each_is_named_once<'a>(names: impl IntoIterator<Item = &'a str>) {
        let mut seen = std::collections::HashSet::new();
        for name in names {
            assert!(seen.insert(name), "{name}");
        }
    }

    /// A small report of each kind of row.
    pub fn sample() -> Report {
        let row = |section: &str, name: &str, unit, values: [Option<f64>; 3], target| Row {
            section: section.into(),
            name: name.into(),
            unit,
            values: values.to_vec(),
            target,
        };
        let rows = vec![
            row("pipeline 1", "GET", "µs", [Some(6.4), Some(6.8), Some(8.2)], Some(Target::OfBare(1.10))),
            row(
                "pipeline 16",
                "SET",
                "µs",
                [Some(0.41), Some(0.70), Some(1.26)],
                Some(Target::OfRedis(0.476)),
            ),
            row("pipeline 16", "A|B <&>", "µs", [Some(0.41), None, Some(1.2)], Some(Target::OfRedis(0.5))),
            row("pipeline 16", "over best", "×", [None, Some(1.8), None], Some(Target::AtLeast(1.3))),
            row(
                "memory",
                "idle connection",
                "B",
                [None, Some(400.0), Some(9704.0)],
                Some(Target::AtMost(512.0)),
            ),
        ];
        let speed = Speed {
            section: "pipeline 1".into(),
            name: "GET".into(),
            rps: vec![Some(150_000.4), Some(149_000.0), None],
            p50_ms: vec![Some(0.2); 3],
            p99_ms: vec![Some(0.4); 3],
        };
        let tail = TailRow {
            scenario: "GET".into(),
            phase: "quiet".into(),
            subject: REDSTART,
            p50_ms: Some(0.05),
            p99_ms: Some(0.1),
            p999_ms: Some(0.2),
            late_ms: Some(0.01),
            busy: Some(0.7),
            unanswered: Some(0.0),
            beside: Some(100.0),
        };
        Report {
            subjects: ["bare loop", "Redstart", "redis-server"].map(String::from).into(),
            versions: vec!["Redstart is redstart 0.1.0".into()],
            machine: vec!["a machine".into()],
            command: "cargo bench --bench versus".into(),
            date: "2024-02-29".into(),
            rows,
            speeds: vec![speed],
            tails: vec![tail],
            ..Report::default()
        }
    }

    #[test]
    fn a_row_is_judged_against_the_column_of_its_target() {
        let verdicts: Vec<Option<bool>> = sample().rows.iter().map(Row::meets).collect();
        assert_eq!(verdicts, [Some(true), Some(false), None, Some(true), Some(true)]);
        assert_eq!(sample().missed(), (1, 4));
    }

    #[test]
    fn a_target_without_its_column_gives_no_verdict() {
        let mut row = sample().rows[0].clone();
        row.values[BARE] = None;
        assert_eq!(row.meets(), None);
        row.values[REDSTART] = None;
        row.target = Some(Target::AtMost(1.0));
        assert_eq!(row.meets(), None);
    }

    #[test]
    fn the_best_peer_is_neither_the_bare_loop_nor_redstart() {
        let mut row = sample().rows[0].clone();
        row.values.push(Some(7.2));
        assert_eq!(row.best_peer(), Some(7.2));
    }

    #[test]
    fn the_terminal_table_is_aligned_and_marks_misses() {
        let text = sample().terminal();
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_string();
        assert!(line("SET").ends_with("MISS"), "{text}");
        assert!(line("GET").ends_with("ok"), "{text}");
        assert!(line("idle connection").contains("9,704"), "{text}");
        let end = |line: &str, word: &str| line[..line.find(word).unwrap() + word.len()].chars().count();
        assert_eq!(end(&line("measure"), "redis-server"), end(&line("SET"), "1.26"));
        assert!(text.contains("3 of 4 targets met."));
    }

    #[test]
    fn every_line_of_a_markdown_table_has_as_many_cells() {
        let text = sample().markdown(Some("benchmarks.svg"));
        assert!(text.contains("![The same figures as bars](benchmarks.svg)"));
        assert!(text.contains("**MISS**"));
        assert!(text.contains("A\\|B"));
        let mut tables = 0;
        for block in text.split("\n\n").filter(|block| block.starts_with('|')) {
            let counts: Vec<usize> =
                block.lines().map(|line| line.replace("\\|", "").matches('|').count()).collect();
            assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{block}");
            tables += 1;
        }
        assert_eq!(tables, 3);
    }
}
