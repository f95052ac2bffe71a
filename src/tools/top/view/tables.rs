//! The tables: commands, databases, slow log. Each draws the rows that fit, from `scroll` on, and shows the total
//! number.

use std::cmp::Ordering;

use super::super::canvas::{Area, Canvas, Style};
use super::super::rates::CommandRate;
use super::super::source::Slow;
use super::super::state::{Column, Page, State};
use super::{charts, format};
use crate::sys::calendar::local_time;
use crate::text::words;

/// The minimum useful width of a history column.
const LEAST_HISTORY: usize = 10;
/// The columns before it.
const SPACE: usize = 2;

/// A column of the command table: its heading, its width and its content.
struct Field {
    head: &'static str,
    width: usize,
    column: Option<Column>,
    text: fn(&CommandRate, &State) -> String,
}

/// In table order.
const FIELDS: [Field; 6] = [
    Field {
        head: "calls/s",
        width: 10,
        column: Some(Column::Calls),
        text: |rate, _| format::count(rate.calls),
    },
    Field { head: "share", width: 8, column: None, text: share },
    Field {
        head: "cpu",
        width: 8,
        column: Some(Column::Busy),
        text: |rate, _| format::percent(rate.busy_percent),
    },
    Field { head: "µs/call", width: 10, column: Some(Column::PerCall), text: per_call },
    Field {
        head: "errors/s",
        width: 10,
        column: Some(Column::Errors),
        text: |rate, _| format::count(rate.errors),
    },
    Field { head: "total", width: 10, column: None, text: |rate, _| format::count(rate.total as f64) },
];
/// The order in which columns are chosen if there is not room for all, and the number of them chosen before the
/// history.
const IMPORTANCE: [usize; 6] = [0, 3, 2, 4, 1, 5];
const BEFORE_HISTORY: usize = 4;

/// Draws the commands.
pub fn commands(state: &State, canvas: &mut Canvas, area: Area, scroll: usize) -> Page {
    let name_width = (area.columns / 4).clamp(14, 24);
    let mut room = area.columns.saturating_sub(name_width);
    let mut shown = [false; FIELDS.len()];
    for (rank, index) in IMPORTANCE.into_iter().enumerate() {
        let left = if rank < BEFORE_HISTORY { 0 } else { LEAST_HISTORY + SPACE };
        shown[index] = FIELDS[index].width + left <= room;
        if !shown[index] {
            break;
        }
        room -= FIELDS[index].width;
    }
    let fields: Vec<&Field> =
        FIELDS.iter().zip(shown).filter(|(_, shown)| *shown).map(|(field, _)| field).collect();
    let picture = area.columns - room.saturating_sub(SPACE);
    let has_history = area.columns - picture >= LEAST_HISTORY;

    canvas.fill(area.line(0), Style::Head);
    let (style, text) = head(state, "command", Some(Column::Name));
    canvas.text(area.line(0), 1, style, &text);
    let mut end = name_width;
    for field in &fields {
        end += field.width;
        let (style, text) = head(state, field.head, field.column);
        canvas.right(area.line(0), end, style, &text);
    }
    if has_history {
        canvas.text(area.line(0), picture, Style::Head, "history");
    }

    let rows = sorted(state);
    let (page, first) = page(area, rows.len(), scroll);
    for (row, (name, rate)) in rows.iter().skip(first).take(page.shown).enumerate() {
        let line = area.line(row + 1);
        let idle = rate.calls == 0.0;
        let style = if idle { Style::Dim } else { Style::Plain };
        let name_style = if idle { Style::Dim } else { Style::Strong };
        canvas.text(line.split_columns(name_width).0, 1, name_style, &name.replace('|', " "));
        let mut end = name_width;
        for field in &fields {
            end += field.width;
            let failing = field.column == Some(Column::Errors) && rate.errors > 0.0;
            canvas.right(line, end, if failing { Style::Warning } else { style }, &(field.text)(rate, state));
        }
        if let Some(series) = state.history.commands.get(*name).filter(|_| has_history) {
            charts::history(canvas, line.split_columns(picture).1, series, 0.0);
        }
    }
    page
}

/// Returns the heading of a column, with the direction if the table is sorted by it.
fn head(state: &State, text: &str, column: Option<Column>) -> (Style, String) {
    if column != Some(state.sort) {
        return (Style::Head, text.to_string());
    }
    let falls = (state.sort != Column::Name) != state.reversed;
    (Style::HeadChosen, format!("{text}{}", if falls { '▼' } else { '▲' }))
}

fn share(rate: &CommandRate, state: &State) -> String {
    let all: f64 = state.rates.iter().flat_map(|rates| rates.commands.values()).map(|rate| rate.calls).sum();
    format::percent(if all > 0.0 { rate.calls / all * 100.0 } else { 0.0 })
}

/// The value of the interval, or for an idle command that of the whole statistics.
fn per_call(rate: &CommandRate, _: &State) -> String {
    rate.usec_per_call.or(rate.usec_per_call_ever).map_or("–".to_string(), format::decimal)
}

/// Sorts the commands in the chosen order; equal ones by calls, then by name, so that rows do not jump.
fn sorted(state: &State) -> Vec<(&String, &CommandRate)> {
    let mut rows: Vec<_> = state.rates.iter().flat_map(|rates| &rates.commands).collect();
    let greatest =
        |value: fn(&CommandRate) -> f64, a: &CommandRate, b: &CommandRate| value(b).total_cmp(&value(a));
    let by_column = |a: &(&String, &CommandRate), b: &(&String, &CommandRate)| match state.sort {
        Column::Name => a.0.cmp(b.0),
        Column::Calls => greatest(|rate| rate.calls, a.1, b.1),
        Column::Busy => greatest(|rate| rate.busy_percent, a.1, b.1),
        Column::PerCall => greatest(|rate| rate.usec_per_call.unwrap_or(-1.0), a.1, b.1),
        Column::Errors => greatest(|rate| rate.errors, a.1, b.1),
    };
    rows.sort_by(|a, b| {
        let first = by_column(a, b);
        let first = if state.reversed { first.reverse() } else { first };
        let then =
            || greatest(|rate| rate.calls, a.1, b.1).then(b.1.total.cmp(&a.1.total)).then(a.0.cmp(b.0));
        if first == Ordering::Equal { then() } else { first }
    });
    rows
}

/// Draws the databases that have keys.
pub fn databases(state: &State, canvas: &mut Canvas, area: Area, scroll: usize) -> Page {
    const HEADS: [(&str, usize); 5] =
        [("database", 10), ("keys", 13), ("with ttl", 12), ("mean ttl", 11), ("keys/s", 11)];
    canvas.fill(area.line(0), Style::Head);
    let mut end = 0;
    for (index, (head, width)) in HEADS.iter().enumerate() {
        end += width;
        if index == 0 {
            canvas.text(area.line(0), 1, Style::Head, head);
        } else {
            canvas.right(area.line(0), end, Style::Head, head);
        }
    }
    let Some(poll) = &state.poll else { return Page::default() };
    let databases = &poll.sample.databases;
    let (page, first) = page(area, databases.len(), scroll);
    for (row, database) in databases.iter().skip(first).take(page.shown).enumerate() {
        let growth = state.rates.as_ref().and_then(|rates| rates.growth.get(&database.number).copied());
        let growth = match growth {
            Some(rate) if rate < 0.0 => format!("-{}", format::count(-rate)),
            Some(rate) if rate > 0.0 => format!("+{}", format::count(rate)),
            _ => "0".to_string(),
        };
        // After the last key with a time to live is gone, the remaining mean is meaningless.
        let ttl = match database.average_ttl_ms {
            milliseconds @ 1.. if database.expires > 0 => format::span(milliseconds.div_ceil(1000)),
            _ => "–".to_string(),
        };
        let texts = [format::things(database.keys), format::things(database.expires), ttl, growth];
        let line = area.line(row + 1);
        canvas.text(line, 1, Style::Strong, &format!("db{}", database.number));
        let mut end = HEADS[0].1;
        for ((_, width), text) in HEADS[1..].iter().zip(texts) {
            end += width;
            canvas.right(line, end, Style::Plain, &text);
        }
    }
    page
}

/// Draws the slow log, the newest entry first.
pub fn slow_log(state: &State, canvas: &mut Canvas, area: Area, scroll: usize) -> Page {
    let dated = area.columns >= 70;
    let (time, took) = if dated { (17, 28) } else { (10, 20) };
    let client = if area.columns >= 100 { 24 } else { 0 };
    canvas.fill(area.line(0), Style::Head);
    canvas.text(area.line(0), 1, Style::Head, "slow log");
    canvas.right(area.line(0), took, Style::Head, "took");
    canvas.text(area.line(0), took + 2, Style::Head, "command");
    canvas.right(area.line(0), area.columns.saturating_sub(1), Style::Head, &threshold(state));
    if client > 0 {
        canvas.text(area.line(0), took + 2, Style::Head, "client ");
        canvas.text(area.line(0), took + 2 + client, Style::Head, "command");
    }
    let Some(poll) = &state.poll else { return Page::default() };
    let entries = &poll.slow;
    if let Some(error) = &poll.slow_refused {
        canvas.text(area.line(1), 1, Style::Dim, error);
        return Page::default();
    }
    if entries.is_empty() {
        canvas.text(area.line(1), 1, Style::Dim, "empty");
    }
    let (page, first) = page(area, entries.len(), scroll);
    for (row, entry) in entries.iter().skip(first).take(page.shown).enumerate() {
        let line = area.line(row + 1);
        canvas.text(line.split_columns(time).0, 1, Style::Dim, &moment(entry.at_s, dated));
        canvas.right(line, took, Style::Strong, &format::micros(entry.usec as f64));
        let mut column = took + 2;
        if client > 0 {
            canvas.text(line.split_columns(column + client - 1).0, column, Style::Dim, origin(entry));
            column += client;
        }
        command_line(canvas, line, column, entry);
    }
    page
}

/// Formats the threshold of the slow log, if it is known.
fn threshold(state: &State) -> String {
    match state.poll.as_ref().and_then(|poll| poll.settings.slower_than_us) {
        Some(0) => "everything".to_string(),
        Some(us @ 1..) => format!("over {}", format::micros(us as f64)),
        Some(_) => "off".to_string(),
        None => String::new(),
    }
}

/// Draws the words of a slow command as they would be typed, as many as fit.
fn command_line(canvas: &mut Canvas, line: Area, mut column: usize, entry: &Slow) {
    for (index, word) in entry.words.iter().enumerate() {
        if column >= line.columns {
            break;
        }
        let style = if index == 0 { Style::Strong } else { Style::Plain };
        column = canvas.text(line, column, style, &typed(word)) + 1;
    }
}

/// Returns a word unchanged, or in quotes if it would not be read as one word.
fn typed(word: &[u8]) -> String {
    let simple = |text: &&str| {
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"')
    };
    match std::str::from_utf8(word).ok().filter(simple) {
        Some(text) => text.to_string(),
        None => words::quote(word),
    }
}

fn origin(entry: &Slow) -> &str {
    if entry.name.is_empty() { &entry.client } else { &entry.name }
}

/// Formats the time of day, with the date if `dated`.
fn moment(unix_s: u64, dated: bool) -> String {
    let text = local_time(unix_s.saturating_mul(1000)).to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or("").to_string();
    if dated { format!("{} {}", part(0..6), part(12..20)) } else { part(12..20) }
}

/// Returns the number of rows that fit below the heading, and the first one to show.
pub(super) fn page(area: Area, total: usize, scroll: usize) -> (Page, usize) {
    let shown = area.rows.saturating_sub(1);
    (Page { shown, total }, scroll.min(total.saturating_sub(shown)))
}
