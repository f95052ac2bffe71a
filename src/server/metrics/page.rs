//! The status page: the figures an operator checks first, on one page of plain HTML that loads nothing and runs no
//! script. It reloads itself every few seconds.
//!
//! Anyone who can connect to `metrics-port` sees it, so it contains only figures and names of commands. Of the slow log
//! it shows times and durations, but not the commands: their arguments are data, and a name may be a secret set by
//! `rename-command`. Text from other sources is escaped.

use std::io::Write;

use super::chart::{self, Line};
use super::families::shown_code;
use super::history::Sample;
use crate::command::table;
use crate::server::Server;
use crate::server::admin::{self, LinkFigures, Overview, ReplicaFigures};
use crate::server::core::stats::CommandStats;
use crate::server::core::used_memory;
use crate::server::persistence::log::State;
use crate::server::replication::upstream::Upstream;
use crate::text::figures::{self, scaled};
use crate::text::html::Escaped;

/// Rows of a table of commands.
const COMMANDS: usize = 10;

/// Databases and errors in their tables.
const ROWS: usize = 10;

/// Entries of the slow log.
const SLOW: usize = 5;

const HEAD: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
    "<meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"refresh\" content=\"5\"><title>Redstart ",
);

const STYLE: &str = include_str!("page.css");

/// A writer of HTML.
struct Html<'a>(&'a mut Vec<u8>);

/// The chart of a card: its lines, the top of its scale, a current value that may be newer than the lines, and the
/// format of its numbers.
struct Chart<'a> {
    lines: &'a [Line<'a>],
    top: f64,
    now: f64,
    text: fn(f64) -> String,
}

/// Appends formatted HTML. Writing to memory does not fail.
macro_rules! html {
    ($html:expr, $($what:tt)*) => { drop(write!($html.0, $($what)*)) };
}

impl Html<'_> {
    fn push(&mut self, html: &str) {
        self.0.extend_from_slice(html.as_bytes());
    }

    /// Text of any origin.
    fn escaped(&mut self, text: &str) {
        html!(self, "{}", Escaped(text));
    }

    /// A figure with its chart, whose numbers `text` writes.
    fn card(&mut self, title: &str, value: &str, beside: &str, chart: &Chart<'_>) {
        html!(self, "<section class=\"card\"><h2>{title}");
        let largest = chart.lines.iter().filter_map(Line::largest).reduce(f64::max);
        if let Some(largest) = largest.map(|largest| largest.max(chart.now)) {
            html!(self, " <small>at most {}</small>", (chart.text)(largest));
        }
        html!(self, "</h2><p class=\"value\">{value}</p><p class=\"beside\">{beside}</p>");
        self.push(&chart::draw(title, chart.top, chart.lines));
        self.push("</section>");
    }

    /// A line of a list of facts, whose value is HTML.
    fn fact(&mut self, name: &str, value: &str) {
        html!(self, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }

    /// Begins a table.
    fn table(&mut self, title: &str, columns: &[&str]) {
        html!(self, "<section class=\"card\"><h2>{title}</h2><div class=\"scroll\"><table><thead><tr>");
        for column in columns {
            html!(self, "<th>{column}</th>");
        }
        self.push("</tr></thead><tbody>");
    }

    fn end_table(&mut self) {
        self.push("</tbody></table></div></section>");
    }

    /// The first cell of a row, with a bar for its share.
    fn named_cell(&mut self, name: &str, share: f64) {
        self.push("<tr><td><span class=\"name\">");
        self.escaped(name);
        html!(self, "</span><span class=\"bar\" style=\"width:{:.1}%\"></span></td>", share * 100.0);
    }
}

/// The latest value of a series.
fn latest(values: &[Option<f64>]) -> Option<f64> {
    values.last().copied().flatten()
}

/// Formats a number with three significant digits: `12.3k`.
fn short(value: f64) -> String {
    figures::count(value.round())
}

/// Bytes: `12.3 MiB`.
fn bytes(value: f64) -> String {
    scaled(value.round(), 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// Microseconds: `850 µs`, `12.3 ms`, `1.20 s`.
fn micros(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.1} µs"),
        value if value < 1000.0 => format!("{value:.0} µs"),
        value if value < 1_000_000.0 => format!("{:.1} ms", value / 1e3),
        value if value < 120e6 => format!("{:.1} s", value / 1e6),
        value => span((value / 1e6) as u64),
    }
}

/// Seconds, in the two largest units: `3 d 4 h`.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A share: `97.5 %`.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// An address and a port; of an address in version 6 of the protocol, in brackets.
fn address(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Server {
    /// Appends the page.
    pub(super) fn write_status_page(&self, body: &mut Vec<u8>) {
        let mut html = Html(body);
        html.push(HEAD);
        html!(html, ":{}</title><style>{STYLE}</style></head><body>", self.core.config.first_port());
        self.write_heading(&mut html);
        html.push("<main><div class=\"grid charts\">");
        self.write_charts(&mut html);
        html.push("</div><div class=\"tables\">");
        self.write_top(&mut html, "Commands by calls", |row| row.calls);
        self.write_top(&mut html, "Commands by time", |row| row.microseconds(self.core.stats.tick_rate()));
        self.write_keyspace(&mut html);
        self.write_memory(&mut html);
        self.write_persistence(&mut html);
        self.write_links(&mut html);
        self.write_errors_and_slow(&mut html);
        html.push("</div></main><footer>Charts show the last five minutes. <a href=\"/metrics\">Metrics</a> for Prometheus, ");
        html.push("<a href=\"/health\">health</a> for probes.</footer></body></html>\n");
    }

    fn write_heading(&self, html: &mut Html<'_>) {
        let mut words = Vec::new();
        let is_well = self.write_health(&mut words) == crate::http::Status::Ok;
        let (class, state) = if is_well { ("good", "serving") } else { ("bad", "not serving") };
        let uptime = (self.core.keyspace.moment.unix_ms - self.process.started_ms).max(0) / 1000;
        html!(
            html,
            "<header><h1>Redstart <small>{}</small></h1><span class=\"state {class}\">{state}</span><p>port {} · pid {} · up {} · \
             compatible with Redis {}</p>",
            env!("CARGO_PKG_VERSION"),
            self.core.config.first_port(),
            std::process::id(),
            span(uptime as u64),
            crate::server::REDIS_VERSION
        );
        if !is_well {
            html.push("<p class=\"why\">");
            html.escaped(&String::from_utf8_lossy(&words));
            if let Some(loading) = self.loading.between_slices() {
                html!(html, " {:.1} %, {} left.", loading.percent(), span(loading.seconds_left()));
            }
            html.push("</p>");
        }
        html.push("</header>");
    }

    fn write_charts(&self, html: &mut Html<'_>) {
        let rates =
            |total: fn(&Sample) -> u64| self.history.as_ref().map_or(Vec::new(), |it| it.rates(total));
        let levels =
            |level: fn(&Sample) -> u64| self.history.as_ref().map_or(Vec::new(), |it| it.levels(level));
        let (stats, config) = (&self.core.stats, &self.core.config);
        let line = |values, class| Line { values, class };

        let ops = rates(|sample| sample.commands);
        let now = latest(&ops).unwrap_or(stats.command_rate.mean() as f64);
        let beside = format!("{} since the start", short(stats.commands as f64));
        let chart = Chart { lines: &[line(&ops, "a")], top: 1.0, now: 0.0, text: short };
        html.card("Commands a second", &short(now), &beside, &chart);

        let memory = levels(|sample| sample.memory);
        let (used, limit) = (used_memory() as f64, config.maxmemory as f64);
        let beside = match config.maxmemory {
            0 => "no limit".into(),
            _ => format!("{} of {}", percent(used / limit), bytes(limit)),
        };
        let chart = Chart { lines: &[line(&memory, "a")], top: limit, now: used, text: bytes };
        html.card("Memory in use", &bytes(used), &beside, &chart);

        let clients = levels(|sample| sample.clients);
        let now = self.net.clients.len();
        let beside = format!("of {}, {} blocked", config.maxclients, self.blocked_clients());
        let chart = Chart { lines: &[line(&clients, "a")], top: 1.0, now: now as f64, text: short };
        html.card("Clients", &now.to_string(), &beside, &chart);
        self.write_busy_charts(html);
    }

    /// Writes the second half of the charts.
    fn write_busy_charts(&self, html: &mut Html<'_>) {
        let rates =
            |total: fn(&Sample) -> u64| self.history.as_ref().map_or(Vec::new(), |it| it.rates(total));
        let line = |values, class| Line { values, class };

        let ratios = self.history.as_ref().map_or(Vec::new(), |history| history.hit_ratios());
        let keys = &self.core.keyspace.counters;
        let lookups = keys.hits + keys.misses;
        let ratio = latest(&ratios).or((lookups > 0).then(|| keys.hits as f64 / lookups as f64));
        let beside = format!("{} hits, {} misses", short(keys.hits as f64), short(keys.misses as f64));
        let chart = Chart { lines: &[line(&ratios, "a")], top: 1.0, now: 0.0, text: percent };
        html.card("Hit ratio", &ratio.map_or("–".into(), percent), &beside, &chart);

        let (input, output) = (rates(|sample| sample.input_bytes), rates(|sample| sample.output_bytes));
        let (now_in, now_out) = (latest(&input).unwrap_or(0.0), latest(&output).unwrap_or(0.0));
        let beside = format!(
            "<span class=\"key a\"></span>in {}/s <span class=\"key b\"></span>out {}/s",
            bytes(now_in),
            bytes(now_out)
        );
        let chart =
            Chart { lines: &[line(&input, "a"), line(&output, "b")], top: 1.0, now: 0.0, text: bytes };
        html.card("Network", &format!("{}/s", bytes(now_in + now_out)), &beside, &chart);

        let cpu: Vec<_> = rates(|sample| sample.cpu_us).iter().map(|us| us.map(|us| us / 1e6)).collect();
        let cycles = &self.core.stats.cycles;
        let turn_us = cycles.total_us(self.core.stats.tick_rate()) as f64 / cycles.count.max(1) as f64;
        let beside = format!("{} a turn of the loop", micros(turn_us));
        let chart = Chart { lines: &[line(&cpu, "a")], top: 1.0, now: 0.0, text: percent };
        html.card("Processor", &latest(&cpu).map_or("–".into(), percent), &beside, &chart);
    }

    /// Writes a table of the commands with the largest `weight`.
    fn write_top(&self, html: &mut Html<'_>, title: &str, weight: impl Fn(&CommandStats) -> u64) {
        let rate = self.core.stats.tick_rate();
        let rows = table::all().iter().zip(self.core.stats.per_command()).filter(|(_, row)| row.calls > 0);
        let mut rows: Vec<_> = rows.map(|(command, row)| (weight(row), command, row)).collect();
        let total: u64 = rows.iter().map(|(weight, ..)| weight).sum();
        rows.sort_by_key(|(weight, command, _)| (std::cmp::Reverse(*weight), command.full_name));
        html.table(title, &["command", "calls", "time", "a call", "p99", "failed"]);
        for (weight, command, row) in rows.iter().take(COMMANDS) {
            let us = row.microseconds(rate) as f64;
            html.named_cell(command.full_name, *weight as f64 / total.max(1) as f64);
            let p99 =
                row.latency.as_ref().map_or("–".into(), |it| micros(it.percentile(99.0) as f64 / 1000.0));
            html!(
                html,
                "<td>{}</td><td>{}</td><td>{}</td><td>{p99}</td><td>{}</td></tr>",
                short(row.calls as f64),
                micros(us),
                micros(us / row.calls as f64),
                short(row.failed as f64)
            );
        }
        html.end_table();
    }

    fn write_keyspace(&self, html: &mut Html<'_>) {
        let keyspace = &self.core.keyspace;
        html.table("Keys", &["database", "keys", "with expiry", "mean time left"]);
        let dbs = || {
            (0..keyspace.count()).map(|index| (index, keyspace.db(index))).filter(|(_, db)| !db.is_empty())
        };
        let total: usize = dbs().map(|(_, db)| db.len()).sum();
        for (index, db) in dbs().take(ROWS) {
            html.named_cell(&format!("db{index}"), db.len() as f64 / total as f64);
            let ttl = match db.expires().average_ttl_ms() {
                0 => "–".into(),
                ms => span((ms.max(0) / 1000) as u64),
            };
            html!(html, "<td>{}</td><td>{}</td><td>{ttl}</td></tr>", db.len(), db.expires().len());
        }
        if total == 0 {
            html.push("<tr><td colspan=\"4\">no keys</td></tr>");
        }
        let left_out = dbs().count().saturating_sub(ROWS);
        if left_out > 0 {
            html!(html, "<tr><td colspan=\"4\">and {left_out} databases more</td></tr>");
        }
        html.push("</tbody></table></div><dl>");
        let counters = &keyspace.counters;
        html.fact("expired", &short(counters.expired as f64));
        html.fact("evicted", &short(counters.evicted as f64));
        html.fact("changed since the last snapshot", &short(counters.dirty as f64));
        html.push("</dl></section>");
    }

    fn write_memory(&self, html: &mut Html<'_>) {
        let it = Overview::of(self, 0);
        let config = &self.core.config;
        html.push("<section class=\"card\"><h2>Memory</h2><dl>");
        html.fact("in use", &bytes(it.used as f64));
        html.fact("of that data", &bytes(it.dataset as f64));
        html.fact("peak", &bytes(it.peak as f64));
        html.fact("resident", &bytes(it.resident as f64));
        html.fact("resident to used", &format!("{:.2}", it.fragmentation().0));
        html.fact("clients", &bytes(it.clients as f64));
        let limit = if config.maxmemory == 0 { "none".into() } else { bytes(config.maxmemory as f64) };
        html.fact("limit", &limit);
        html.fact("policy", config.maxmemory_policy.name());
        html.fact("allocator", admin::mem_allocator());
        html.push("</dl></section>");
    }

    fn write_persistence(&self, html: &mut Html<'_>) {
        let kept = &self.persistence;
        let now = self.core.keyspace.moment.unix_ms / 1000;
        let ended =
            |well| if well { "<span class=\"good\">ok</span>" } else { "<span class=\"bad\">failed</span>" };
        html.push("<section class=\"card\"><h2>Persistence</h2><dl>");
        let since = now.saturating_sub(kept.snapshots.last_save).max(0) as u64;
        html.fact("last snapshot or start", &format!("{} ago", span(since)));
        html.fact("last snapshot ended", ended(kept.snapshots.succeeded));
        html.fact("snapshots", &kept.snapshots.saves.to_string());
        if kept.log.state() == State::Off {
            html.fact("append-only log", "off");
        } else {
            html.fact("append-only log", &bytes(kept.log.bytes() as f64));
            html.fact("last write to it", ended(kept.log.error().is_none()));
            html.fact("last rewrite ended", ended(kept.rewrites.succeeded));
        }
        let job = kept.job.as_ref();
        let work = job.map_or("none".into(), |job| {
            format!("{} of {} keys", short(job.keys_done() as f64), short(job.keys as f64))
        });
        html.fact("child at work", &work);
        let fork = if kept.forks == 0 { "–".into() } else { micros(kept.last_fork_us as f64) };
        html.fact("last fork took", &fork);
        html.push("</dl></section>");
    }

    /// Writes the role, the link to the primary, and the replicas.
    fn write_links(&self, html: &mut Html<'_>) {
        let offset = self.replication_offset();
        let replicas = ReplicaFigures::all(self);
        let upstream = self.replication.upstream.as_ref();
        html.push("<section class=\"card\"><h2>Replication</h2><dl>");
        html.fact("role", if upstream.is_some() { "replica" } else { "primary" });
        if let Some(upstream) = upstream {
            self.write_link(html, upstream);
        }
        html.fact("offset", &offset.to_string());
        html.fact("replicas", &replicas.len().to_string());
        html.push("</dl>");
        if !replicas.is_empty() {
            html.push("<div class=\"scroll\"><table><thead><tr>");
            for column in ["replica", "state", "offset", "behind", "acknowledged"] {
                html!(html, "<th>{column}</th>");
            }
            html.push("</tr></thead><tbody>");
            for replica in &replicas {
                let (mut behind, mut acknowledged) = ("–".into(), "–".into());
                // Before that it receives a snapshot, and has acknowledged nothing.
                if replica.state == "online" {
                    behind = bytes((offset - replica.offset).max(0) as f64);
                    acknowledged = format!("{} ago", span(replica.lag_s.max(0) as u64));
                }
                html!(
                    html,
                    "<tr><td>{}</td><td>{}</td><td>{}</td><td>{behind}</td><td>{acknowledged}</td></tr>",
                    Escaped(&address(&replica.address, replica.port)),
                    replica.state,
                    replica.offset
                );
            }
            html.push("</tbody></table></div>");
        }
        html.push("</section>");
    }

    /// Writes the facts of the link to the primary.
    fn write_link(&self, html: &mut Html<'_>, upstream: &Upstream) {
        let link = LinkFigures::of(self, upstream);
        let since = |seconds: i64| span(seconds.max(0) as u64);
        html.fact("primary", &Escaped(&address(&upstream.host, upstream.port.into())).to_string());
        if link.is_online {
            html.fact("link", "<span class=\"good\">up</span>");
        } else {
            let down = link.down_s.map_or(String::new(), |seconds| format!(" for {}", since(seconds)));
            html.fact("link", &format!("<span class=\"bad\">down{down}</span>, {}", upstream.state()));
        }
        if let Some(transfer) = &link.transfer {
            let read = bytes(transfer.read as f64);
            let progress = transfer.total.map_or(format!("{read} received"), |total| {
                format!("{read} of {}, {}", bytes(total as f64), percent(transfer.percent() / 100.0))
            });
            html.fact("snapshot", &progress);
        }
        let heard = link.silent_s.map_or("–".into(), |seconds| format!("{} ago", since(seconds)));
        html.fact("last bytes", &heard);
    }

    fn write_errors_and_slow(&self, html: &mut Html<'_>) {
        let mut errors: Vec<(&str, u64)> = Vec::new();
        let mut others = 0;
        for (code, count) in self.core.stats.errors() {
            match shown_code(code) {
                Some(code) => errors.push((code, count)),
                None => others += count,
            }
        }
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        others += errors.iter().skip(ROWS).map(|(_, count)| count).sum::<u64>();
        html.table("Errors", &["code", "replies"]);
        let total = self.core.stats.error_replies.max(1) as f64;
        for (code, count) in errors.iter().take(ROWS) {
            html.named_cell(code, *count as f64 / total);
            html!(html, "<td>{count}</td></tr>");
        }
        if others > 0 {
            html!(html, "<tr><td>others</td><td>{others}</td></tr>");
        }
        if errors.is_empty() && others == 0 {
            html.push("<tr><td colspan=\"2\">none</td></tr>");
        }
        html.end_table();

        let slow = &self.core.slowlog;
        html.table("Slow log", &["number", "ago", "took"]);
        let now = (self.core.keyspace.moment.unix_ms / 1000) as u64;
        for command in slow.iter().take(SLOW) {
            html!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                command.id,
                span(now.saturating_sub(command.unix_seconds)),
                micros(command.micros as f64)
            );
        }
        if slow.len() == 0 {
            html.push("<tr><td colspan=\"3\">empty</td></tr>");
        }
        html.end_table();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_of_a_card_is_never_below_the_present_one() {
        for (now, most) in [(5.0, "at most 7<"), (9.0, "at most 9<")] {
            let mut out = Vec::new();
            let lines = &[Line { values: &[Some(7.0), Some(3.0)], class: "a" }];
            Html(&mut out).card("t", "", "", &Chart { lines, top: 1.0, now, text: short });
            assert!(String::from_utf8_lossy(&out).contains(most), "{most}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let all =
            |values: &[f64], text: fn(f64) -> String| values.iter().map(|v| text(*v)).collect::<Vec<_>>();
        assert_eq!(
            all(&[0.0, 7.0, 999.4, 999.6, 1234.0, 99_949.0, 123_456.0, 5e15], short),
            ["0", "7", "999", "1.00k", "1.23k", "99.9k", "123k", "5.00P"]
        );
        assert_eq!(all(&[512.0, 1536.0, 20.0 * 1_048_576.0], bytes), ["512 B", "1.50 KiB", "20.0 MiB"]);
        assert_eq!(
            all(&[0.04, 12.0, 1500.0, 2e6, 600e6], micros),
            ["0.0 µs", "12 µs", "1.5 ms", "2.0 s", "10 min 0 s"]
        );
        let spans = [5, 65, 3600, 90_000].map(span);
        assert_eq!(spans, ["5 s", "1 min 5 s", "1 h 0 min", "1 d 1 h"]);
    }

    #[test]
    fn text_of_any_origin_cannot_become_markup() {
        let mut out = Vec::new();
        Html(&mut out).escaped("<a href=\"x\" id='y'>&amp;é");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;é");
    }
}
