//! `--latency` and `--latency-history`: how long a PING takes, in milliseconds.
//!
//! On a terminal a line is rewritten with each sample, for ever. Otherwise one line says it all after a second, or `-i`.
//! The history ends the line after 15 seconds, or `-i`, and begins anew. Off a terminal nothing can be rewritten, so each
//! of its samples is a line, as in redis-cli.

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
/// How long samples are taken where the result is printed once.
const ONCE: Duration = Duration::from_secs(1);
/// How long a line of the history is.
const HISTORY: Duration = Duration::from_secs(15);

/// What the samples since the start or since the last line of the history add up to.
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

    /// The text for a format. It ends the line but where lines are rewritten.
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

/// Samples until the end that the format has, if it has one.
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

/// A sample. It is the number of times the clock's milliseconds change meanwhile and not the whole milliseconds that
/// pass: the average is right also where all samples are shorter than one.
fn sample_ms(link: &mut Link<'_>) -> Result<u64, super::Failure> {
    let start_ms = now_ms();
    ping(link)?;
    Ok(now_ms() - start_ms)
}

/// Sends PING and waits for the reply. An error is one too; it is shown, since it may not be what the user wants to
/// measure.
pub(super) fn ping(link: &mut Link<'_>) -> Outcome {
    if let Value::Error(text) = link.call("PING")? {
        tell(String::from_utf8_lossy(&text));
    }
    Ok(())
}

fn now_ms() -> u64 {
    clock::monotonic_us() / 1000
}
