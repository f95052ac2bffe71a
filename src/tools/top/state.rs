//! The displayed state, and its changes by keys and replies.

use std::time::{Duration, Instant};

use super::history::History;
use super::keys::Key;
use super::rates::Rates;
use super::source::{Failure, Poll};

/// The intervals that keys select, in seconds.
const INTERVALS: [f64; 9] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// The number of slow-log entries to request: for its tail, and for the full view.
const SLOW_TAIL: usize = 32;
const SLOW_ALL: usize = 128;

/// The sort column of the command table: numbers descend, names ascend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Name,
    Calls,
    Busy,
    PerCall,
    Errors,
}

impl Column {
    /// In table order.
    pub const ALL: [Column; 5] = [Column::Name, Column::Calls, Column::Busy, Column::PerCall, Column::Errors];

    fn step(self, steps: usize) -> Column {
        let at = Column::ALL.iter().position(|&column| column == self).unwrap_or(0);
        Column::ALL[(at + steps) % Column::ALL.len()]
    }
}

/// The content of the main part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Main {
    Commands,
    Slow,
    Databases,
    Replication,
}

/// The visible portion of the main part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub shown: usize,
    pub total: usize,
}

/// The action that a key requires besides redrawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// The next sample is due at a different time.
    Reschedule,
    /// Poll immediately.
    Poll,
    Redraw,
    Quit,
}

/// Everything that a picture is drawn from.
#[derive(Clone, Debug)]
pub struct State {
    /// The server's address, as given.
    pub place: String,
    pub interval: Duration,
    pub paused: bool,
    pub sort: Column,
    pub reversed: bool,
    pub main: Main,
    pub help: bool,
    /// The number of rows of the main part above the visible ones.
    pub scroll: usize,
    /// The page as last drawn.
    pub page: Page,
    /// The latest reply.
    pub poll: Option<Poll>,
    pub rates: Option<Rates>,
    pub history: History,
    /// Why there is no newer reply.
    pub trouble: Option<String>,
    /// The age of the latest reply when the next one failed.
    pub silence: Duration,
    replied: Instant,
}

impl State {
    /// The state before the first reply.
    pub fn new(place: String, interval: Duration) -> State {
        State {
            place,
            interval,
            paused: false,
            sort: Column::Calls,
            reversed: false,
            main: Main::Commands,
            help: false,
            scroll: 0,
            page: Page::default(),
            poll: None,
            rates: None,
            history: History::default(),
            trouble: None,
            silence: Duration::ZERO,
            replied: Instant::now(),
        }
    }

    /// The number of slow-log entries to request.
    pub fn slow_wanted(&self) -> usize {
        if self.main == Main::Slow { SLOW_ALL } else { SLOW_TAIL }
    }

    /// Processes a reply or a failure. Returns whether there are new rates.
    pub fn receive(&mut self, outcome: Result<Poll, Failure>) -> bool {
        let poll = match outcome {
            Ok(poll) => poll,
            Err(failure) => {
                self.trouble = Some(failure.text);
                self.silence = self.replied.elapsed();
                return false;
            }
        };
        self.trouble = None;
        self.replied = Instant::now();
        let before = self.poll.as_ref();
        let rates = before.and_then(|before| Rates::between(&before.sample, &poll.sample));
        self.poll = Some(poll);
        let Some(rates) = rates else { return false };
        self.history.record(&rates);
        self.rates = Some(rates);
        true
    }

    /// Handles a key.
    pub fn press(&mut self, key: Key) -> Effect {
        if self.help && key != Key::Char('q') && key != Key::Char('\x03') {
            self.help = false;
            return Effect::Nothing;
        }
        match key {
            Key::Char('q' | 'Q' | '\x03' | '\x04') => return Effect::Quit,
            Key::Char(' ' | 'p') => {
                self.paused = !self.paused;
                return if self.paused { Effect::Nothing } else { Effect::Poll };
            }
            Key::Char('+' | '=') => return self.change_interval(true),
            Key::Char('-' | '_') => return self.change_interval(false),
            Key::Char('s' | '>' | '.') => self.sort = self.sort.step(1),
            Key::Char('<' | ',') => self.sort = self.sort.step(Column::ALL.len() - 1),
            Key::Char('r') => self.reversed = !self.reversed,
            Key::Char('c') => self.history = History::default(),
            Key::Char('h' | '?') => self.help = true,
            Key::Char('d') => self.show(Main::Databases),
            Key::Char('l') => self.show(Main::Slow),
            Key::Char('n') => self.show(Main::Replication),
            Key::Char('\x0c') => return Effect::Redraw,
            Key::Escape => self.show(Main::Commands),
            Key::Up => self.scroll = self.scroll.saturating_sub(1),
            Key::Down => self.scroll += 1,
            Key::PageUp => self.scroll = self.scroll.saturating_sub(self.page.shown.max(1)),
            Key::PageDown => self.scroll += self.page.shown.max(1),
            Key::Home => self.scroll = 0,
            Key::End => self.scroll = self.page.total,
            Key::Char(_) => {}
        }
        self.scroll = self.scroll.min(self.page.total.saturating_sub(self.page.shown));
        Effect::Nothing
    }

    /// Shows `main`, or the commands again if it is already shown.
    fn show(&mut self, main: Main) {
        self.main = if self.main == main { Main::Commands } else { main };
        self.scroll = 0;
    }

    fn change_interval(&mut self, longer: bool) -> Effect {
        let now = self.interval.as_secs_f64();
        let next = if longer {
            INTERVALS.iter().copied().find(|&one| one > now)
        } else {
            INTERVALS.iter().copied().rfind(|&one| one < now)
        };
        match next {
            Some(next) => {
                self.interval = Duration::from_secs_f64(next);
                Effect::Reschedule
            }
            None => Effect::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    fn state() -> State {
        State::new("localhost:6379".to_string(), Duration::from_secs(1))
    }

    fn poll(seconds: u64, commands: u64) -> Result<Poll, Failure> {
        let text = format!("run_id:a\nuptime_in_seconds:{seconds}\ntotal_commands_processed:{commands}\n");
        Ok(Poll { sample: Sample::parse(&text, Duration::from_secs(seconds)), ..Poll::default() })
    }

    #[test]
    fn rates_begin_with_the_second_reply_and_outlive_an_error() {
        let mut state = state();
        assert!(!state.receive(poll(1, 100)));
        assert!(state.rates.is_none());
        assert!(state.receive(poll(2, 150)));
        assert_eq!(state.rates.as_ref().unwrap().ops, 50.0);
        assert!(!state.receive(Err(Failure { text: "gone".to_string(), busy: false })));
        assert_eq!(state.trouble.as_deref(), Some("gone"));
        assert!(state.rates.is_some());
        assert!(state.receive(poll(4, 160)));
        assert_eq!((state.trouble.as_deref(), state.rates.as_ref().unwrap().ops), (None, 5.0));
        assert_eq!(state.history.ops.last(9).collect::<Vec<_>>(), [50.0, 5.0]);
        state.press(Key::Char('c'));
        assert_eq!(state.history.ops.last(9).count(), 0);
    }

    #[test]
    fn keys_choose_interval_order_and_view() {
        let mut state = state();
        assert_eq!(state.press(Key::Char('+')), Effect::Reschedule);
        assert_eq!(state.interval, Duration::from_secs(2));
        for _ in 0..20 {
            state.press(Key::Char('-'));
        }
        assert_eq!(state.interval, Duration::from_millis(100));
        assert_eq!(state.press(Key::Char('-')), Effect::Nothing);
        state.interval = Duration::from_millis(700);
        state.press(Key::Char('-'));
        assert_eq!(state.interval, Duration::from_millis(500));

        assert_eq!(state.sort, Column::Calls);
        state.press(Key::Char('s'));
        assert_eq!(state.sort, Column::Busy);
        state.press(Key::Char('<'));
        state.press(Key::Char('<'));
        assert_eq!(state.sort, Column::Name);
        state.press(Key::Char('<'));
        assert_eq!(state.sort, Column::Errors);
        state.press(Key::Char('r'));
        assert!(state.reversed);

        state.press(Key::Char('l'));
        assert_eq!((state.main, state.slow_wanted()), (Main::Slow, SLOW_ALL));
        state.press(Key::Char('l'));
        assert_eq!((state.main, state.slow_wanted()), (Main::Commands, SLOW_TAIL));
        state.press(Key::Char('d'));
        assert_eq!(state.main, Main::Databases);
        state.press(Key::Escape);
        assert_eq!(state.main, Main::Commands);
        state.press(Key::Char('n'));
        assert_eq!(state.main, Main::Replication);
        state.press(Key::Char('n'));
        assert_eq!(state.main, Main::Commands);
    }

    #[test]
    fn a_pause_ends_with_a_sample_and_q_quits_also_from_the_help() {
        let mut state = state();
        assert_eq!(state.press(Key::Char(' ')), Effect::Nothing);
        assert!(state.paused);
        assert_eq!(state.press(Key::Char(' ')), Effect::Poll);
        state.press(Key::Char('h'));
        assert!(state.help);
        assert_eq!(state.press(Key::Char('s')), Effect::Nothing);
        assert_eq!((state.help, state.sort), (false, Column::Calls));
        state.press(Key::Char('?'));
        assert_eq!(state.press(Key::Char('q')), Effect::Quit);
    }

    #[test]
    fn scrolling_ends_with_the_last_row() {
        let mut state = state();
        state.page = Page { shown: 5, total: 12 };
        state.press(Key::PageDown);
        state.press(Key::Down);
        assert_eq!(state.scroll, 6);
        state.press(Key::PageDown);
        assert_eq!(state.scroll, 7);
        state.press(Key::Up);
        assert_eq!(state.scroll, 6);
        state.press(Key::Home);
        state.press(Key::Up);
        assert_eq!(state.scroll, 0);
        state.press(Key::End);
        assert_eq!(state.scroll, 7);
        state.page = Page { shown: 5, total: 2 };
        state.press(Key::Down);
        assert_eq!(state.scroll, 0);
    }
}
