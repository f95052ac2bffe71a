//! `--stat`: one line per second with a server's most important figures.

use std::thread;
use std::time::Duration;

use super::link::Link;
use super::{Failure, Outcome, Session, write_line};
use crate::resp::Value;
use crate::tools::client::info;

/// The default time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of lines between two headings.
const LINES_PER_HEADING: u64 = 20;
/// The columns.
const HEADING: &str = "\
------- data ------ --------------------- load -------------------- - child -
keys       mem      clients blocked requests            connections          ";

/// Prints lines forever.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    let mut link = Link::open(session.target)?;
    let mut earlier = None;
    for line in 0_u64.. {
        let info = match link.call("INFO")? {
            Value::Bulk(info) | Value::Verbatim(_, info) => String::from_utf8_lossy(&info).into_owned(),
            Value::Error(text) => {
                return Err(Failure::Text(format!("ERROR: {}", String::from_utf8_lossy(&text))));
            }
            _ => return Err(Failure::Text("ERROR: the reply to INFO is not a text".to_string())),
        };
        if line.is_multiple_of(LINES_PER_HEADING) {
            write_line(HEADING)?;
        }
        let requests = number(&info, "total_commands_processed");
        write_line(&figures(&info, requests - earlier.unwrap_or(requests)))?;
        earlier = Some(requests);
        thread::sleep(session.interval.unwrap_or(INTERVAL));
    }
    Ok(())
}

/// Formats the line for a reply to INFO.
fn figures(info: &str, more_requests: i64) -> String {
    let keys: i64 = databases(info).sum();
    let memory = human(number(info, "used_memory"));
    let (clients, blocked) = (number(info, "connected_clients"), number(info, "blocked_clients"));
    let requests = format!("{} (+{more_requests})", number(info, "total_commands_processed"));
    let connections = number(info, "total_connections_received");
    let saves = number(info, "rdb_bgsave_in_progress") != 0;
    let rewrites = number(info, "aof_rewrite_in_progress") != 0;
    let loads = number(info, "loading") != 0;
    let child = match (saves, rewrites, loads) {
        (true, true, false) => "SAVE+AOF",
        (true, false, false) => "SAVE",
        (false, true, false) => "AOF",
        (false, false, true) => "LOAD",
        _ => "",
    };
    format!("{keys:<11}{memory:<8} {clients:<8}{blocked:<8}{requests:<19} {connections:<12}{child}")
}

/// Returns the value of a field; 0 if it is missing or not a number.
fn number(info: &str, field: &str) -> i64 {
    info::field(info, field).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Returns the number of keys in each database.
fn databases(info: &str) -> impl Iterator<Item = i64> + '_ {
    info.lines().filter_map(|line| {
        let (number, fields) = line.strip_prefix("db")?.split_once(":keys=")?;
        number.parse::<u32>().ok()?;
        fields.split(',').next()?.trim().parse().ok()
    })
}

/// Formats bytes with a unit.
fn human(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["K", "M", "G", "T"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_figures_of_all_databases_in_columns() {
        let info = "# Clients\r\nconnected_clients:3\r\nblocked_clients:1\r\nused_memory_rss:9\r\n\
            used_memory:5000000\r\nloading:0\r\nrdb_bgsave_in_progress:1\r\naof_rewrite_in_progress:1\r\n\
            total_connections_received:7\r\ntotal_commands_processed:4000\r\n\
            db0:keys=12,expires=0,avg_ttl=0\r\ndb15:keys=3,expires=0\r\n";
        let line = "15         4.77M    3       1       4000 (+3000)        7           SAVE+AOF";
        assert_eq!(figures(info, 3000), line);
        assert_eq!(
            figures(&info.replace(":1\r\n", ":0\r\n"), -5).trim_end(),
            line.replace("1       4000 (+3000)", "0       4000 (+-5)  ")
                .trim_end_matches("SAVE+AOF")
                .trim_end()
        );
    }

    #[test]
    fn bytes_have_the_unit_that_keeps_them_short() {
        assert_eq!(
            [0, 1023, 1024, 1 << 20, 1 << 30, 3 << 39, 1 << 52].map(human),
            ["0B", "1023B", "1.00K", "1.00M", "1.00G", "1.50T", "4096.00T"]
        );
    }
}
