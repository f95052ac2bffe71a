//! Shows how far a long operation is: at a terminal in a line that is redrawn, elsewhere with redis-cli's characters.

use std::time::{Duration, Instant};

use super::{Failure, screen};

/// The least time between two redraws.
const INTERVAL: Duration = Duration::from_millis(100);

/// The progress of moves of slots.
#[derive(Debug)]
pub struct Progress {
    total: usize,
    slots: usize,
    keys: u64,
    started: Instant,
    drawn: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    /// Creates the progress of moving `total` slots.
    pub fn new(total: usize) -> Progress {
        let is_terminal = screen::is_terminal();
        Progress { total, slots: 0, keys: 0, started: Instant::now(), drawn: None, is_terminal }
    }

    /// Whether moves are shown in a line that is redrawn, so that nothing else is to be printed about them.
    pub fn is_drawn(&self) -> bool {
        self.is_terminal
    }

    /// Counts keys that were moved.
    pub fn keys(&mut self, keys: usize) -> Result<(), Failure> {
        self.keys += keys as u64;
        self.draw(false)
    }

    /// Counts a slot that was moved.
    pub fn slot(&mut self) -> Result<(), Failure> {
        self.slots += 1;
        self.draw(self.slots == self.total)
    }

    /// Ends the line, also after a failure.
    pub fn end(&mut self) -> Result<(), Failure> {
        if self.drawn.take().is_some() { screen::line("") } else { Ok(()) }
    }

    fn draw(&mut self, is_last: bool) -> Result<(), Failure> {
        if !self.is_terminal || (!is_last && self.drawn.is_some_and(|at| at.elapsed() < INTERVAL)) {
            return Ok(());
        }
        self.drawn = Some(Instant::now());
        screen::redraw(&text(self.slots, self.total, self.keys, self.started.elapsed()))
    }
}

fn text(slots: usize, total: usize, keys: u64, elapsed: Duration) -> String {
    let percent = slots * 100 / total.max(1);
    let rate = keys as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{percent:3} %, {slots} of {total} slots moved, {keys} keys, {rate:.0} keys/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_slots_keys_and_their_rate() {
        let line = text(50, 200, 1000, Duration::from_secs(2));
        assert_eq!(line, " 25 %, 50 of 200 slots moved, 1000 keys, 500 keys/s");
    }
}
