//! Draws the screen: a pure function from a [`State`] and a size to cells.
//!
//! ```text
//!  frame: the server                                              interval
//!  details
//!  charts: a line each, or some lines high where there is room
//!  facts: memory, clients, keys, disk, errors, replication
//!  main part: commands, databases, slow log, replication │ from 130 columns:
//!  …                                                     │ databases, nodes, slow log
//!  below 130 columns: tail of the slow log
//!  frame: the keys
//! ```
//!
//! Heights are assigned from the top: in a small terminal, each group drops its last lines, but the main part always
//! keeps some lines.

mod charts;
mod facts;
pub mod format;
mod replication;
mod tables;

use std::fmt::Write;

use super::canvas::{Area, Canvas, Style};
use super::state::{Main, Page, State};

/// The width from which on there are two main parts side by side.
const WIDE: usize = 130;
/// The columns between them.
const GUTTER: usize = 2;

/// The footer. The last ones are omitted if there is no room.
const KEYS: [&str; 9] = [
    "q quit",
    "h help",
    "p pause",
    "-/+ interval",
    "s/r sort",
    "l slow",
    "d databases",
    "n nodes",
    "c clear",
];

const HELP: [(&str, &str); 12] = [
    ("q  Ctrl-C", "quit"),
    ("space  p", "pause or resume"),
    ("-  +", "shorter, longer interval"),
    ("s  <  >", "sort the commands by the next or previous column"),
    ("r", "reverse their order"),
    ("l", "show the slow log in full"),
    ("d", "the databases"),
    ("n", "the nodes of replication: the primary, each replica"),
    ("Esc", "back to the commands"),
    ("arrows  PgUp  PgDn", "scroll"),
    ("c", "clear the charts"),
    ("Ctrl-L", "redraw the screen"),
];

/// Draws the whole screen. Returns the visible portion of the main part.
pub fn draw(state: &State, canvas: &mut Canvas) -> Page {
    let all = canvas.area();
    let (head, rest) = all.split_rows(1);
    title(state, canvas, head);
    let (details_line, rest) = rest.split_rows(usize::from(all.rows >= 20));
    details(state, canvas, details_line);
    let footer = usize::from(all.rows >= 9);
    let (body, foot) = rest.split_rows(rest.rows.saturating_sub(footer));
    if footer > 0 {
        keys(canvas, foot);
    }
    let blank = usize::from(all.rows >= 24);
    let small = body.rows < 14;
    let rest = charts::draw(state, canvas, body, small).split_rows(blank).1;
    let facts = facts::lines(state);
    let (area, rest) = rest.split_rows(if small { facts.len().min(3) } else { facts.len() });
    facts::draw(canvas, area, &facts);
    let rest = rest.split_rows(blank).1;
    let page =
        if all.columns >= WIDE { side_by_side(state, canvas, rest) } else { stacked(state, canvas, rest) };
    if state.trouble.is_some() {
        // The last reply may no longer be true.
        canvas.dim(details_line);
        canvas.dim(body);
    }
    if state.help {
        help(canvas);
    }
    page
}

/// Draws the keys, as many as fit.
fn keys(canvas: &mut Canvas, line: Area) {
    canvas.fill(line, Style::Frame);
    let mut column = 1;
    for key in KEYS {
        if column + key.len() > line.columns {
            break;
        }
        column = canvas.text(line, column, Style::Frame, key) + 2;
    }
}

/// Returns the text, cut with an ellipsis if it is longer than `columns`.
fn fitted(text: String, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text;
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

fn side_by_side(state: &State, canvas: &mut Canvas, area: Area) -> Page {
    let (left, right) = area.split_columns(area.columns * 5 / 8);
    let right = right.split_columns(GUTTER).1;
    let databases = state.poll.as_ref().map_or(0, |poll| poll.sample.databases.len());
    let (above, below) = right.split_rows((databases + 2).min(area.rows / 3));
    let page = main_part(state, canvas, left);
    if state.main == Main::Databases {
        tables::commands(state, canvas, above, 0);
    } else {
        tables::databases(state, canvas, above, 0);
    }
    let nodes = if state.main == Main::Replication { 0 } else { replication::count(state) };
    let height = if nodes == 0 { 0 } else { (nodes + 2).min(area.rows / 4) };
    let (nodes, below) = below.split_rows(height);
    replication::table(state, canvas, nodes, 0);
    if state.main == Main::Slow {
        tables::commands(state, canvas, below, 0);
    } else {
        tables::slow_log(state, canvas, below, 0);
    }
    page
}

fn stacked(state: &State, canvas: &mut Canvas, area: Area) -> Page {
    let tail = if state.main == Main::Slow || area.rows < 10 { 0 } else { (area.rows / 4).max(4) };
    let (above, below) = area.split_rows(area.rows - tail);
    tables::slow_log(state, canvas, below, 0);
    main_part(state, canvas, above)
}

fn main_part(state: &State, canvas: &mut Canvas, area: Area) -> Page {
    match state.main {
        Main::Commands => tables::commands(state, canvas, area, state.scroll),
        Main::Slow => tables::slow_log(state, canvas, area, state.scroll),
        Main::Databases => tables::databases(state, canvas, area, state.scroll),
        Main::Replication => replication::table(state, canvas, area, state.scroll),
    }
}

/// Draws the server, or why it does not reply.
fn title(state: &State, canvas: &mut Canvas, line: Area) {
    let style = if state.trouble.is_some() { Style::Alarm } else { Style::Frame };
    canvas.fill(line, style);
    let every = format!("every {} s ", format::seconds(state.interval.as_secs_f64()));
    let status = if state.paused { " paused ".to_string() } else { every };
    let mut text = format!(" {}", state.place);
    if let Some(trouble) = &state.trouble {
        let naming = format!("Could not connect to Redis at {}: ", state.place);
        let trouble = trouble.strip_prefix(&naming).unwrap_or(trouble);
        let _ = write!(text, " · {trouble}");
        if state.poll.is_some() {
            let _ = write!(text, " · last seen {} ago", format::span(state.silence.as_secs()));
        }
        text += " · trying again";
    } else if let Some(poll) = &state.poll {
        let server = &poll.sample.server;
        let _ = write!(text, " · {} {}", server.name, server.version);
        if let Some(version) = &server.compatible {
            let _ = write!(text, " (Redis {version})");
        }
        let _ = write!(text, " · {}", role(&poll.sample.replication.role));
        let _ = write!(text, " · up {}", format::uptime(server.uptime_s));
    } else {
        text += " · connecting";
    }
    let room = line.columns.saturating_sub(if state.paused { status.len() } else { 0 });
    let text = fitted(text, room);
    canvas.text(line, 0, style, &text);
    if state.paused || text.chars().count() + status.len() < line.columns {
        let style = if state.paused { Style::Alarm } else { style };
        canvas.right(line, line.columns, style, &status);
    }
}

/// Replaces INFO's older word for a replica.
fn role(word: &str) -> &str {
    if word == "slave" { "replica" } else { word }
}

fn details(state: &State, canvas: &mut Canvas, line: Area) {
    let Some(poll) = &state.poll else { return };
    let server = &poll.sample.server;
    let mut parts = vec![server.mode.clone()];
    if let Some(loading) = &poll.sample.loading {
        let percent =
            loading.percent.map_or(String::new(), |percent| format!(" {}", format::percent(percent)));
        let eta = loading.eta_s.map_or(String::new(), |eta| format!(", {} left", format::span(eta)));
        parts.push(format!("loading its data{percent}{eta}"));
    }
    if let Some(rates) = &state.rates {
        if rates.restarted {
            parts.push("restarted".to_string());
        } else if rates.reset {
            parts.push("statistics were reset".to_string());
        }
    }
    parts.push(format!("port {}", server.port));
    parts.push(format!("pid {}", server.pid));
    let config = if server.config_file.is_empty() { "no config file" } else { &server.config_file };
    parts.push(config.to_string());
    if !server.os.is_empty() {
        parts.push(server.os.clone());
    }
    parts.push(format!("replies in {}", format::micros(poll.waited.as_secs_f64() * 1e6)));
    canvas.text(line, 1, Style::Dim, &fitted(parts.join(" · "), line.columns.saturating_sub(1)));
}

/// Draws a box over the middle of the screen, with a blank margin around it.
fn help(canvas: &mut Canvas) {
    const COLUMNS: usize = 72;
    let all = canvas.area();
    let (rows, columns) = ((HELP.len() + 3).min(all.rows), COLUMNS.min(all.columns));
    let area = Area { row: (all.rows - rows) / 2, column: (all.columns - columns) / 2, rows, columns };
    let top = area.row.saturating_sub(1);
    let around = all.split_rows(top).1.split_rows(area.row + rows + 1 - top).0;
    canvas.fill(around, Style::Plain);
    canvas.fill(area.line(0), Style::Head);
    canvas.text(area.line(0), 2, Style::Head, "Keys (any key closes this)");
    for (index, (keys, text)) in HELP.iter().enumerate() {
        canvas.text(area.line(index + 1), 2, Style::Strong, keys);
        canvas.text(area.line(index + 1), 22, Style::Plain, text);
    }
    canvas.fill(area.line(HELP.len() + 2), Style::Head);
}

#[cfg(test)]
mod tests;
