//! Replication: its lines among the facts, and the table of the primary and the replicas.

use super::super::canvas::{Area, Canvas, Style};
use super::super::replication::{Confirmation, Replica, Replication, Transfer, Upstream};
use super::super::state::{Page, State};
use super::facts::Line;
use super::tables::page;
use super::{fitted, format};

/// A silence from which on a link is flagged: the default of `min-replicas-max-lag`. Replicas acknowledge every second.
const LONG_S: u64 = 10;

/// Returns the lines of a server that has a primary or replicas, or that waits for some.
pub fn lines(replication: &Replication) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(upstream) = &replication.upstream {
        lines.push(primary(upstream, replication.offset));
    }
    let is_primary = replication.upstream.is_none();
    let is_demanded = replication.good.is_some() || replication.confirmation.is_some();
    if replication.connected > 0 || is_primary && (is_demanded || replication.failover.is_some()) {
        lines.push(replicas(replication));
    }
    if let Some(confirmation) = replication.confirmation.as_ref().filter(|_| is_primary) {
        lines.push(confirmed(confirmation, replication.offset));
    }
    lines
}

/// The line of a replica about its primary.
fn primary(upstream: &Upstream, offset: u64) -> Line {
    let mut line = Line::new("replica");
    line.add("of", upstream.address.as_str());
    let (state, style) = link(upstream);
    line.styled(format!("link {state}"), "", style);
    if let Some(transfer) = &upstream.transfer {
        let (amount, rest) = received(transfer);
        line.styled(amount, rest, Style::Warning);
    }
    if let Some(seconds) = upstream.silent_s {
        line.styled(format::span(seconds), "lag", of_silence(seconds));
    }
    if upstream.link_up && upstream.unapplied > 0 {
        line.add(bytes(upstream.unapplied), "not applied");
    }
    line.add(format::exact(offset), "offset");
    line
}

/// The line of a server about its replicas: their number, and the figures of the worst one.
fn replicas(replication: &Replication) -> Line {
    let mut line = Line::new("replicas");
    let online = replication.replicas.iter().filter(|replica| replica.is_online()).count() as u64;
    let style = if replication.connected == 0 { Style::Bad } else { Style::Strong };
    line.styled(replication.connected.to_string(), "connected", style);
    if let Some(state) = &replication.failover {
        line.styled(state.replace('-', " "), "", Style::Warning);
    }
    let synchronizing = (replication.replicas.len() as u64).saturating_sub(online);
    if synchronizing > 0 {
        line.styled(synchronizing.to_string(), "synchronizing", Style::Warning);
    }
    if let Some(good) = replication.good {
        line.styled(good.to_string(), "good", if good == 0 { Style::Bad } else { Style::Plain });
    }
    if let Some(most) = replication.most_behind() {
        line.add(bytes(most), "behind");
    }
    if let Some(seconds) = replication.replicas.iter().filter_map(|replica| replica.lag_s).max() {
        line.styled(format::span(seconds), "lag", of_silence(seconds));
    }
    if replication.upstream.is_none() {
        line.add(format::exact(replication.offset), "offset");
    }
    line
}

/// The line of a primary with `min-replicas-to-ack`.
fn confirmed(confirmation: &Confirmation, offset: u64) -> Line {
    let mut line = Line::new("confirm");
    match confirmation.offset {
        Some(confirmed) => {
            line.add(bytes(offset.saturating_sub(confirmed)), "unconfirmed");
            line.add(format::exact(confirmed), "offset");
        }
        None => line.styled("nothing", "", Style::Warning),
    }
    let style = if confirmation.withheld > 0 { Style::Warning } else { Style::Plain };
    line.styled(format::exact(confirmation.withheld), "replies wait", style);
    line.add(format::exact(confirmation.dropped), "dropped ever");
    line
}

/// The state of a link in a word, and for how long it has been down.
fn link(upstream: &Upstream) -> (String, Style) {
    if upstream.link_up {
        return ("up".to_string(), Style::Good);
    }
    let since = upstream.down_s.map_or(String::new(), |seconds| format!(" {}", format::span(seconds)));
    (format!("down{since}"), Style::Bad)
}

/// How much of a snapshot has arrived: the amount, and the words for the rest.
fn received(transfer: &Transfer) -> (String, String) {
    let rest = match (transfer.total, transfer.percent()) {
        (Some(total), Some(percent)) => format!("of {}, {}", bytes(total), format::percent(percent)),
        _ => "received".to_string(),
    };
    let silence = transfer.silent_s.filter(|&seconds| seconds >= LONG_S);
    let silence = silence.map_or(String::new(), |seconds| format!(", nothing for {}", format::span(seconds)));
    (bytes(transfer.read), rest + &silence)
}

fn of_silence(seconds: u64) -> Style {
    if seconds >= LONG_S { Style::Warning } else { Style::Plain }
}

fn bytes(value: u64) -> String {
    format::bytes(value as f64)
}

/// A column behind the address: its heading and its width.
struct Field {
    head: &'static str,
    width: usize,
    text: fn(&Row) -> String,
}

/// In table order.
const FIELDS: [Field; 5] = [
    Field { head: "role", width: 10, text: |row| row.role.to_string() },
    Field { head: "state", width: 13, text: |row| row.state.clone() },
    Field { head: "behind", width: 10, text: |row| row.behind.map_or("–".to_string(), bytes) },
    Field { head: "lag", width: 6, text: |row| row.lag_s.map_or("–".to_string(), format::span) },
    Field { head: "offset", width: 19, text: |row| format::exact(row.offset) },
];
/// The order in which columns are chosen if there is not room for all.
const IMPORTANCE: [usize; 5] = [1, 3, 2, 4, 0];
/// The columns of the shortest and the widest address column.
const ADDRESS: (usize, usize) = (14, 46);

/// A server at the other end of a link.
struct Row<'a> {
    address: &'a String,
    role: &'static str,
    state: String,
    style: Style,
    behind: Option<u64>,
    lag_s: Option<u64>,
    offset: u64,
}

impl Row<'_> {
    /// The primary. Its stream is known as far as it was received.
    fn of_primary(upstream: &Upstream, offset: u64) -> Row<'_> {
        let (state, style) = match &upstream.transfer {
            Some(transfer) => {
                let share = transfer.percent().map_or(bytes(transfer.read), format::percent);
                (format!("sync {share}"), Style::Warning)
            }
            None => link(upstream),
        };
        Row {
            address: &upstream.address,
            role: "primary",
            state,
            style,
            behind: upstream.link_up.then_some(upstream.unapplied),
            lag_s: upstream.silent_s.or(upstream.transfer.and_then(|transfer| transfer.silent_s)),
            offset: offset.saturating_add(upstream.unapplied),
        }
    }

    fn of_replica(replica: &Replica) -> Row<'_> {
        let style = if replica.is_online() { Style::Good } else { Style::Warning };
        Row {
            address: &replica.address,
            role: "replica",
            state: replica.state.clone(),
            style,
            behind: replica.behind,
            lag_s: replica.lag_s,
            offset: replica.offset,
        }
    }
}

fn rows(replication: &Replication) -> Vec<Row<'_>> {
    let primary = replication.upstream.as_ref().map(|upstream| Row::of_primary(upstream, replication.offset));
    primary.into_iter().chain(replication.replicas.iter().map(Row::of_replica)).collect()
}

/// Returns the number of rows of the table.
pub fn count(state: &State) -> usize {
    state.poll.as_ref().map_or(0, |poll| rows(&poll.sample.replication).len())
}

/// Draws the primary, if this is a replica, then the replicas.
pub fn table(state: &State, canvas: &mut Canvas, area: Area, scroll: usize) -> Page {
    let mut room = area.columns.saturating_sub(ADDRESS.0);
    let mut shown = [false; FIELDS.len()];
    for index in IMPORTANCE {
        shown[index] = FIELDS[index].width <= room;
        if !shown[index] {
            break;
        }
        room -= FIELDS[index].width;
    }
    let fields: Vec<&Field> =
        FIELDS.iter().zip(shown).filter(|(_, shown)| *shown).map(|(field, _)| field).collect();
    let width = (ADDRESS.0 + room).min(ADDRESS.1).min(area.columns);

    canvas.fill(area.line(0), Style::Head);
    canvas.text(area.line(0), 1, Style::Head, "address");
    let mut end = width;
    for field in &fields {
        end += field.width;
        canvas.right(area.line(0), end, Style::Head, field.head);
    }
    let Some(poll) = &state.poll else { return Page::default() };
    let rows = rows(&poll.sample.replication);
    if rows.is_empty() {
        canvas.text(area.line(1), 1, Style::Dim, "neither a primary nor replicas");
    }
    let (page, first) = page(area, rows.len(), scroll);
    for (index, row) in rows.iter().skip(first).take(page.shown).enumerate() {
        let line = area.line(index + 1);
        let address = fitted(row.address.clone(), width.saturating_sub(1));
        canvas.text(line.split_columns(width).0, 1, Style::Strong, &address);
        let mut end = width;
        for field in &fields {
            end += field.width;
            let style = match field.head {
                "state" => row.style,
                "lag" => row.lag_s.map_or(Style::Plain, of_silence),
                _ => Style::Plain,
            };
            canvas.right(line, end, style, &(field.text)(row));
        }
    }
    page
}
