//! Lines of figures without charts: memory, clients, keys, disk, errors, replication.

use super::super::canvas::{Area, Canvas, Style};
use super::super::rates::Rates;
use super::super::sample::{Aof, Memory, Persistence, Sample};
use super::super::source::Settings;
use super::super::state::State;
use super::charts::bar;
use super::{format, replication};

/// The column where the facts begin, after the line's label.
const LABEL: usize = 10;
/// With less memory in use, a large ratio is not flagged: it is mostly the headroom of a small process.
const FRAGMENTED_FROM: u64 = 64 << 20;

/// A figure and its noun: `12 blocked`.
struct Fact {
    value: String,
    name: String,
    style: Style,
}

/// A line: its label, an optional bar, and facts, of which as many as fit are shown.
pub struct Line {
    label: &'static str,
    pub bar: Option<(f64, Style)>,
    facts: Vec<Fact>,
}

impl Line {
    pub fn new(label: &'static str) -> Line {
        Line { label, bar: None, facts: Vec::new() }
    }

    pub fn add(&mut self, value: impl Into<String>, name: impl Into<String>) {
        self.styled(value, name, Style::Plain);
    }

    pub fn styled(&mut self, value: impl Into<String>, name: impl Into<String>, style: Style) {
        self.facts.push(Fact { value: value.into(), name: name.into(), style });
    }
}

/// Returns the lines, most important first.
pub fn lines(state: &State) -> Vec<Line> {
    let Some(poll) = &state.poll else { return Vec::new() };
    let sample = &poll.sample;
    let none = Rates::default();
    let rates = state.rates.as_ref().unwrap_or(&none);
    let mut lines = vec![memory(&sample.memory), clients(sample, rates), keys(sample, rates)];
    lines.push(disk(&sample.persistence, sample.server.uptime_s, &poll.settings));
    lines.push(errors(sample, rates));
    lines.extend(replication::lines(&sample.replication));
    lines
}

/// Draws a line in each row of an area.
pub fn draw(canvas: &mut Canvas, area: Area, lines: &[Line]) {
    for (row, line) in lines.iter().enumerate() {
        let area = area.line(row);
        canvas.text(area, 1, Style::Label, line.label);
        let mut column = LABEL;
        if let Some((share, style)) = line.bar {
            let columns = (area.columns / 8).clamp(6, 24);
            bar(canvas, area.split_columns(column).1.split_columns(columns).0, share, style);
            column += columns + 1;
        }
        for fact in &line.facts {
            let space = usize::from(!fact.name.is_empty());
            let len = fact.value.chars().count() + space + fact.name.chars().count();
            if column + len > area.columns {
                break;
            }
            column = canvas.text(area, column, fact.style, &fact.value) + space;
            column = canvas.text(area, column, Style::Dim, &fact.name) + 2;
        }
    }
}

fn memory(memory: &Memory) -> Line {
    let mut line = Line::new("memory");
    let bytes = |value: u64| format::bytes(value as f64);
    let whole = if memory.limit > 0 { Some(memory.limit) } else { memory.system };
    if let Some(whole) = whole {
        let share = memory.used as f64 / whole as f64;
        let style = match share {
            0.95.. if memory.policy == "noeviction" => Style::Bad,
            0.95.. => Style::Warning,
            _ => Style::Good,
        };
        line.bar = Some((share, style));
        let of = if memory.limit > 0 { "" } else { " in the machine" };
        line.styled(bytes(memory.used), format!("of {}{of}", bytes(whole)), Style::Strong);
    } else {
        line.styled(bytes(memory.used), "used", Style::Strong);
    }
    line.add(bytes(memory.peak), "peak");
    line.add(bytes(memory.rss), "rss");
    if let Some(ratio) = memory.fragmentation {
        let high = ratio >= 1.5 && memory.used >= FRAGMENTED_FROM;
        let style = if high { Style::Warning } else { Style::Plain };
        line.styled(format!("{ratio:.2}"), "frag", style);
    }
    if memory.defragmenting {
        line.styled("defragmenting", "", Style::Warning);
    }
    line.add(&memory.policy, "");
    line
}

fn clients(sample: &Sample, rates: &Rates) -> Line {
    let mut line = Line::new("clients");
    let clients = &sample.clients;
    let limit = clients.limit.map_or("connected".to_string(), |limit| format!("of {}", format::exact(limit)));
    let full = clients.limit.is_some_and(|limit| clients.connected * 10 >= limit * 9);
    let style = if full { Style::Bad } else { Style::Strong };
    line.styled(format::exact(clients.connected), limit, style);
    if rates.rejected_connections > 0.0 {
        line.styled(format::count(rates.rejected_connections), "rejected/s", Style::Bad);
    }
    line.add(format::exact(clients.blocked), "blocked");
    if let Some(tracking) = clients.tracking {
        line.add(format::exact(tracking), "tracking");
    }
    line.add(format::count(rates.connections), "new/s");
    line.add(format::exact(clients.channels), "channels");
    line.add(format::exact(clients.patterns), "patterns");
    line
}

fn keys(sample: &Sample, rates: &Rates) -> Line {
    let mut line = Line::new("keys");
    let (keys, expires) = sample.keys();
    let databases = match sample.databases.len() {
        0 => "keys".to_string(),
        1 => format!("in db{}", sample.databases[0].number),
        count => format!("in {count} databases"),
    };
    line.styled(format::things(keys), databases, Style::Strong);
    line.add(format::things(expires), "with ttl");
    line.add(format::count(rates.expired), "expired/s");
    let style = if rates.evicted > 0.0 { Style::Warning } else { Style::Plain };
    line.styled(format::count(rates.evicted), "evicted/s", style);
    if rates.hit_percent.is_some() {
        line.add(format::count(rates.hits), "hits/s");
        line.add(format::count(rates.misses), "misses/s");
    }
    line
}

fn disk(persistence: &Persistence, uptime_s: u64, settings: &Settings) -> Line {
    let mut line = Line::new("disk");
    let age = persistence.last_save_age_s;
    if let Some(seconds) = persistence.saving_s {
        let part =
            persistence.child_percent.map_or(String::new(), |part| format!(", {}", format::percent(part)));
        line.styled("snapshot", format!("running for {}{part}", format::span(seconds)), Style::Warning);
    } else if !persistence.last_save_ok {
        line.styled("snapshot failed", "", Style::Bad);
    } else if age.is_some_and(|age| age + 1 >= uptime_s) {
        // Without a snapshot, INFO reports when the data was loaded.
        line.add("snapshot", "not yet");
    } else if let Some(age) = age {
        line.add("snapshot", format!("{} ago", format::span(age)));
    }
    line.add(format::things(persistence.changes), "changes since");
    match &persistence.aof {
        Some(aof) => log(&mut line, aof, settings),
        None => line.add("aof", "off"),
    }
    if !settings.save.is_empty() {
        line.add("save", settings.save.as_str());
    }
    line
}

fn log(line: &mut Line, aof: &Aof, settings: &Settings) {
    if aof.last_write_ok {
        let mut text = format::bytes(aof.size as f64);
        if !settings.appendfsync.is_empty() {
            text = format!("{text}, {}", settings.appendfsync);
        }
        line.add("aof", text);
    } else {
        line.styled("aof write failed", "", Style::Bad);
    }
    if let Some(seconds) = aof.rewriting_s {
        line.styled("rewrite", format!("running for {}", format::span(seconds)), Style::Warning);
    } else if !aof.last_rewrite_ok {
        line.styled("rewrite failed", "", Style::Bad);
    }
}

/// Lists the kinds of errors that occur now, then those that have occurred, most frequent first.
fn errors(sample: &Sample, rates: &Rates) -> Line {
    let mut line = Line::new("errors");
    let style = if rates.errors > 0.0 { Style::Warning } else { Style::Plain };
    line.styled(format!("{}/s", format::count(rates.errors)), "", style);
    let mut kinds: Vec<_> = sample.errors.iter().collect();
    let rate = |kind: &String| rates.errors_by_kind.get(kind).copied().unwrap_or(0.0);
    kinds.sort_by(|a, b| rate(b.0).total_cmp(&rate(a.0)).then(b.1.cmp(a.1)));
    for (kind, &total) in kinds {
        let now = rate(kind);
        if now > 0.0 {
            line.styled(format::count(now), format!("{kind}/s"), Style::Warning);
        } else {
            line.add(format::things(total), format!("{kind} ever"));
        }
    }
    line
}
