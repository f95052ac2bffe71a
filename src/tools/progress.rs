//! A progress bar for a known amount of work. It is drawn on standard error, and only on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// The width of the bar itself, in characters.
const WIDTH: u64 = 40;
/// How long a [`Progress::delayed`] waits.
const DELAY: Duration = Duration::from_secs(1);

/// A bar that is redrawn when the percentage of the file that has been read changes.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    shown: Option<u64>,
    visible: bool,
    /// The earliest time to draw the bar.
    since: Instant,
}

impl Progress {
    /// Creates a bar for a file of `total` bytes; it is not drawn until [`Progress::reach`].
    pub fn new(total: u64) -> Self {
        let visible = total > 0 && stderr().is_terminal();
        Progress { total, shown: None, visible, since: Instant::now() }
    }

    /// Creates a bar that is not drawn if the work is done within a second.
    pub fn delayed(total: u64) -> Self {
        let bar = Progress::new(total);
        Progress { since: bar.since + DELAY, ..bar }
    }

    /// Draws the bar for `offset` bytes read.
    pub fn reach(&mut self, offset: u64) {
        if !self.visible || (self.shown.is_none() && Instant::now() < self.since) {
            return;
        }
        let percent = offset.min(self.total).saturating_mul(100) / self.total;
        if self.shown != Some(percent) {
            self.shown = Some(percent);
            let _ = stderr().write_all(line(percent).as_bytes());
        }
    }

    /// Removes the bar before other text is printed. The next [`Progress::reach`] draws it again.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = stderr().write_all(b"\r\x1b[K");
        }
    }
}

fn line(percent: u64) -> String {
    let full = (percent * WIDTH / 100) as usize;
    format!("\r[{}{}] {percent:3} %", "#".repeat(full), ".".repeat(WIDTH as usize - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_up_from_left_to_right() {
        assert_eq!(line(0), format!("\r[{}]   0 %", ".".repeat(40)));
        assert_eq!(line(50), format!("\r[{}{}]  50 %", "#".repeat(20), ".".repeat(20)));
        assert_eq!(line(100), format!("\r[{}] 100 %", "#".repeat(40)));
    }
}
