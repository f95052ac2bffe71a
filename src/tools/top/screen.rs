//! The live view on a terminal.
//!
//! A thread of its own asks the server, so that keys act also while it does not reply, or a connection takes long. This
//! one waits for keys, signals and replies at once, and draws after each. When it ends the thread is left where it is:
//! the process ends with it.

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

/// The first figures come after this time, if the interval is longer.
const FIRST: Duration = Duration::from_millis(300);
/// A wait without an end in sight.
const LONG: Duration = Duration::from_secs(3600);
/// The size of a terminal that does not tell it.
const USUAL: Size = Size { columns: 80, rows: 24 };
/// Has a terminal that can do it show what is between them at once.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// The thread that asks the server.
struct Sampler {
    requests: Sender<usize>,
    replies: Receiver<Result<Poll, Failure>>,
    /// A request that has no reply yet.
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

    /// Asks, if it is time to.
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

    /// How long there is nothing to do here.
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

/// Sends to the terminal what has changed.
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

/// The message of a panic belongs on the normal screen; the process may end with it.
fn restore_before_a_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        full_screen::restore();
        usual(panic);
    }));
}
