//! The live view on a terminal.
//!
//! A separate thread queries the server, so keys work even while the server does not reply or a connection takes long.
//! This thread waits for keys, signals and replies at once, and redraws after each. At the end the sampling thread is
//! not joined: it ends with the process.

use std::io::{self, Write, stdout};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::canvas::{Canvas, Size};
use super::source::{Failure, Poll, Source};
use super::state::{Effect, State};
use super::{Options, keys, view};
use crate::sys::full_screen::{self, Events, FullScreen};
use crate::sys::terminal;

/// The delay of the first figures, if the interval is longer.
const FIRST: Duration = Duration::from_millis(300);
/// A wait without a foreseeable end.
const LONG: Duration = Duration::from_secs(3600);
/// The size of a terminal that does not report it.
const USUAL: Size = Size { columns: 80, rows: 24 };
/// Begins a synchronized update: a terminal that supports it shows the output up to the end sequence at once.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// The thread that queries the server.
struct Sampler {
    requests: Sender<usize>,
    replies: Receiver<Result<Poll, Failure>>,
    /// Whether a request has no reply yet.
    waiting: bool,
    due: Instant,
}

impl Sampler {
    fn start(mut source: Source, first: Duration) -> io::Result<Sampler> {
        let (requests, requested) = channel();
        let (replied, replies) = channel();
        thread::Builder::new().name("sampler".to_string()).spawn(move || {
            for slow in requested {
                if replied.send(source.poll(slow)).is_err() {
                    return;
                }
                full_screen::wake();
            }
        })?;
        Ok(Sampler { requests, replies, waiting: false, due: Instant::now() + first })
    }

    /// Sends a request if it is due.
    fn ask(&mut self, state: &State) {
        let now = Instant::now();
        if state.paused || self.waiting || now < self.due {
            return;
        }
        self.waiting = self.requests.send(state.slow_wanted()).is_ok();
        self.due = (self.due + state.interval).max(now);
    }

    fn reply(&mut self) -> Option<Result<Poll, Failure>> {
        let reply = self.replies.try_recv().ok()?;
        self.waiting = false;
        Some(reply)
    }

    /// Returns how long there is nothing to do.
    fn idle(&self, state: &State) -> Duration {
        if state.paused || self.waiting { LONG } else { self.due.saturating_duration_since(Instant::now()) }
    }
}

/// Shows the server until the user quits, or the count is reached.
pub fn run(source: Source, mut state: State, options: Options) -> io::Result<()> {
    let mut events = Events::watch()?;
    let mut screen = FullScreen::enter()?;
    restore_before_a_panic();
    let mut sampler = Sampler::start(source, options.interval.min(FIRST))?;
    let mut shown: Option<Canvas> = None;
    let mut left = options.count;
    let mut changed = true;
    loop {
        if changed {
            draw(&mut state, &mut shown, options)?;
        }
        sampler.ask(&state);
        let happened = events.wait(sampler.idle(&state))?;
        changed = happened.resized || happened.continued || !happened.input.is_empty();
        if happened.ended {
            return Ok(());
        }
        if happened.suspended {
            screen = full_screen::suspend(screen)?;
        } else if happened.continued {
            drop(screen);
            screen = FullScreen::enter()?;
        }
        if happened.suspended || happened.continued || happened.resized {
            shown = None;
            changed = true;
        }
        for key in keys::decode(&happened.input) {
            match state.press(key) {
                Effect::Quit => return Ok(()),
                Effect::Poll => sampler.due = Instant::now(),
                Effect::Reschedule => sampler.due = sampler.due.min(Instant::now() + state.interval),
                Effect::Redraw => shown = None,
                Effect::Nothing => {}
            }
        }
        while let Some(reply) = sampler.reply() {
            let complete = state.receive(reply);
            changed = true;
            if let Some(left) = left.as_mut().filter(|_| complete) {
                *left -= 1;
            }
        }
        if left == Some(0) {
            return Ok(());
        }
    }
}

/// Sends the changes to the terminal.
fn draw(state: &mut State, shown: &mut Option<Canvas>, options: Options) -> io::Result<()> {
    let size = terminal::size(stdout().as_fd())
        .map_or(USUAL, |(columns, rows)| Size { columns: usize::from(columns), rows: usize::from(rows) });
    let mut canvas = Canvas::new(size, options.ascii);
    state.page = view::draw(state, &mut canvas);
    let mut bytes = BEGIN.to_vec();
    canvas.update(shown.as_ref(), options.colours, &mut bytes);
    if bytes.len() > BEGIN.len() {
        bytes.extend_from_slice(END);
        let mut output = stdout().lock();
        output.write_all(&bytes)?;
        output.flush()?;
    }
    *shown = Some(canvas);
    Ok(())
}

/// Restores the screen before a panic prints its message, since the process may end with it.
fn restore_before_a_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        full_screen::restore();
        usual(panic);
    }));
}
