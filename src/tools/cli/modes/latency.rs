//! `--latency` and `--latency-history`: the duration of PING, in milliseconds.
//!
//! On a terminal, each sample rewrites one line, forever. Otherwise a single line is printed after one second, or after
//! `-i`. The history starts a new line every 15 seconds, or every `-i`. Without a terminal nothing can be rewritten, so
//! each sample of the history is a line of its own, as in redis-cli.

use std::thread;
use std::time::Duration;

use super::link::Link;
use super::{Outcome, Session, draw, write_line};
use crate::resp::Value;
use crate::sys::clock;
use crate::tools::cli::format::Format;
use crate::tools::console::tell;

/// The pause between two samples.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// How long samples are taken if the result is printed once.
const ONCE: Duration = Duration::from_secs(1);
/// The duration of a line of the history.
const HISTORY: Duration = Duration::from_secs(15);

/// The totals of the samples since the start or since the last line of the history.
#[derive(Default)]
struct Samples {
    count: u64,
    min: u64,
    max: u64,
    total: u64,
}

impl Samples {
    fn add(&mut self, latency: u64) {
        self.min = if self.count == 0 { latency } else { self.min.min(latency) };
        self.max = self.max.max(latency);
        self.total += latency;
        self.count += 1;
    }

    /// Formats the samples. The text ends with a line end unless lines are rewritten.
    fn text(&self, format: Format) -> String {
        let Samples { count, min, max, total } = self;
        let average = *total as f64 / (*count).max(1) as f64;
        match format {
            Format::Standard => {
                format!("\x1b[0G\x1b[2Kmin: {min}, max: {max}, avg: {average:.2} ({count} samples)")
            }
            Format::Csv => format!("{min},{max},{average:.2},{count}\n"),
            Format::Raw => format!("{min} {max} {average:.2} {count}\n"),
            Format::Json | Format::QuotedJson => {
                format!("{{\"min\": {min}, \"max\": {max}, \"avg\": {average:.2}, \"count\": {count}}}\n")
            }
        }
    }
}

/// Takes samples until the end of the measurement, if the format has one.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    let history = session.matches.get_flag("latency-history");
    let keeps_on = history || session.format == Format::Standard;
    let length = session.interval.unwrap_or(if history { HISTORY } else { ONCE });
    let mut link = Link::open(session.target)?;
    let mut samples = Samples::default();
    let mut start_ms = now_ms();
    loop {
        samples.add(sample_ms(&mut link)?);
        let passed_ms = now_ms() - start_ms;
        let is_over = u128::from(passed_ms) > length.as_millis();
        if keeps_on || is_over {
            draw(&samples.text(session.format))?;
        }
        if is_over && !keeps_on {
            return Ok(());
        }
        if is_over && history {
            write_line(&format!(" -- {:.2} seconds range", passed_ms as f64 / 1000.0))?;
            samples = Samples::default();
            start_ms = now_ms();
        }
        thread::sleep(PAUSE);
    }
}

/// Takes a sample: the number of millisecond boundaries of the clock that it crosses, not the whole milliseconds that
/// pass. The average is therefore right even if all samples are shorter than one.
fn sample_ms(link: &mut Link<'_>) -> Result<u64, super::Failure> {
    let start_ms = now_ms();
    ping(link)?;
    Ok(now_ms() - start_ms)
}

/// Sends PING and waits for the reply. An error counts as a reply, and is shown, since it may not be what the user
/// wants to measure.
pub(super) fn ping(link: &mut Link<'_>) -> Outcome {
    if let Value::Error(text) = link.call("PING")? {
        tell(String::from_utf8_lossy(&text));
    }
    Ok(())
}

fn now_ms() -> u64 {
    clock::monotonic_us() / 1000
}
