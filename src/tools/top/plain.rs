//! Lines instead of a screen: a heading every twenty lines, fixed columns, and only figures. Problems of the server go
//! to standard error.

use std::fmt::Write as _;
use std::io;
use std::thread;
use std::time::Instant;

use super::source::Source;
use super::state::State;
use super::view::format;
use super::{Options, json};
use crate::sys::calendar::local_time;
use crate::sys::clock::wall_us;
use crate::tools::console::{self, tell};

/// The number of lines between two headings.
const LINES: u64 = 20;

/// A column: its heading, its width with the space before it, and its figure.
type Column = (&'static str, usize, fn(&Figures) -> String);

/// The input of a line.
struct Figures<'a> {
    sample: &'a super::sample::Sample,
    rates: &'a super::rates::Rates,
}

const COLUMNS: [Column; 15] = [
    ("ops/s", 9, |f| format::count(f.rates.ops)),
    ("us/call", 9, |f| f.rates.usec_per_call.map_or("-".to_string(), format::count)),
    ("hit%", 7, |f| f.rates.hit_percent.map_or("-".to_string(), |percent| format!("{percent:.1}"))),
    ("cpu%", 8, |f| format!("{:.1}", f.rates.cpu_percent)),
    ("memory", 9, |f| bytes(f.sample.memory.used as f64)),
    ("clients", 9, |f| f.sample.clients.connected.to_string()),
    ("blocked", 9, |f| f.sample.clients.blocked.to_string()),
    ("in/s", 9, |f| bytes(f.rates.input_bytes)),
    ("out/s", 9, |f| bytes(f.rates.output_bytes)),
    ("keys", 12, |f| f.sample.keys().0.to_string()),
    ("expired/s", 11, |f| format::count(f.rates.expired)),
    ("evicted/s", 11, |f| format::count(f.rates.evicted)),
    ("errors/s", 10, |f| format::count(f.rates.errors)),
    ("replicas", 10, |f| f.sample.replication.connected.to_string()),
    ("lag", 6, |f| f.sample.replication.lag_s().map_or("-".to_string(), format::span)),
];

/// Prints lines until the count is reached or the output is closed.
pub fn run(mut source: Source, mut state: State, options: Options) -> io::Result<()> {
    let mut told = None;
    let mut due = Instant::now() + options.interval;
    let mut printed = 0;
    while options.count.is_none_or(|count| printed < count) {
        if state.trouble != told {
            told.clone_from(&state.trouble);
            tell(format_args!("{}: {}", state.place, told.as_deref().unwrap_or("back again")));
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // After a slow reply, do not catch up on missed intervals.
        due = (due + options.interval).max(Instant::now());
        if !state.receive(source.poll(0)) {
            continue;
        }
        match console::print(text(&state, options, printed).as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        printed += 1;
    }
    Ok(())
}

/// Formats a line, and the heading above it if it is due.
fn text(state: &State, options: Options, printed: u64) -> String {
    let now_ms = wall_us() / 1000;
    if options.json {
        return json::line(state, now_ms);
    }
    let (Some(poll), Some(rates)) = (&state.poll, &state.rates) else { return String::new() };
    let figures = Figures { sample: &poll.sample, rates };
    let mut text = String::new();
    if printed.is_multiple_of(LINES) {
        text.push_str("    time");
        for (head, width, _) in COLUMNS {
            let _ = write!(text, "{head:>width$}");
        }
        text.push('\n');
    }
    text.push_str(local_time(now_ms).to_string().get(12..20).unwrap_or("--:--:--"));
    for (_, width, figure) in COLUMNS {
        let _ = write!(text, "{:>width$}", figure(&figures));
    }
    text.push('\n');
    text
}

/// Formats without the space, so that each column is one word.
fn bytes(value: f64) -> String {
    format::bytes(value).replace(' ', "")
}
