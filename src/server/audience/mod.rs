//! Listeners: they are notified of other clients' commands (monitors, the recorder) or wait for their effects.
//!
//! Here, a client is a [`Token`]. [`super::attention`] and [`super::settle`] decide what is written to it, and what it
//! does after it is unblocked.

pub mod acknowledgements;
mod lengths;
pub mod monitor;
pub mod notifications;
pub mod pause;
pub mod post;
pub mod recorder;
pub mod subscribers;
pub mod trackers;
pub mod waiters;
pub mod watchers;

use std::collections::VecDeque;

use acknowledgements::{Acknowledgements, Wanted};
use monitor::Monitors;
use notifications::Announcer;
use pause::{Pause, PauseMode, Purpose};
use post::Post;
use recorder::Recorder;
use subscribers::Subscribers;
use trackers::{Reach, Trackers};
use waiters::{EndedWait, Waiters};
use watchers::Watchers;

use crate::db::{Change, Journal, Stream, Ticket};
use crate::resp::Reply;
use crate::sys::poller::Token;

/// All listeners.
#[derive(Default)]
pub struct Audience {
    monitors: Monitors,
    pause: Pause,
    /// Clients blocked on keys.
    pub(super) waiters: Waiters,
    /// Clients blocked by `WAIT` or `WAITAOF`.
    pub(super) acknowledgements: Acknowledgements,
    /// The acknowledgements that the command just executed waits for.
    pub(super) awaited: Option<Wanted>,
    /// The subscriptions of clients.
    pub(super) subscribers: Subscribers,
    /// Publishes keyspace notifications.
    pub(super) announcer: Announcer,
    /// Messages to deliver to clients.
    pub(super) post: Post,
    /// Clients that track keys in order to cache their values.
    pub(super) trackers: Trackers,
    /// The number of the unit's changes that have been announced.
    announced: usize,
    /// Clients that watch keys.
    pub(super) watchers: Watchers,
    /// Clients whose command completes when memory has been freed, in the order of the tickets, with the ticks at which
    /// the command began.
    pub(super) freeing: VecDeque<(Ticket, Token, u64)>,
    /// Waits that have ended, but were not replied to yet.
    pub(super) ended_waits: Vec<EndedWait>,
    /// Records the changes of units (`DEBUG JOURNAL`).
    recorder: Option<Box<Recorder>>,
    /// Whether the listeners are being notified of a unit.
    pub(super) settling: bool,
}

impl Audience {
    /// Returns the monitors and their feed.
    pub fn monitors(&mut self) -> &mut Monitors {
        &mut self.monitors
    }

    /// Whether there are monitors.
    pub fn has_monitors(&self) -> bool {
        !self.monitors.is_empty()
    }

    /// Returns the pause, active or not.
    pub fn pause(&self) -> &Pause {
        &self.pause
    }

    /// Begins a pause, or extends the current one: at least as strict as `mode`, and at least until `until_us`.
    pub fn begin_pause(&mut self, mode: PauseMode, until_us: u64) {
        self.pause.extend(mode, until_us);
    }

    /// Ends the pause. Returns the clients that waited for its end, in the order in which they began to wait.
    pub fn end_pause(&mut self) -> Vec<Token> {
        self.pause.end()
    }

    /// A migration stops writes.
    pub fn hold_writes(&mut self) {
        self.pause.hold();
    }

    /// A migration that has stopped writes has ended. Returns the clients that waited.
    pub fn release_writes(&mut self) -> Vec<Token> {
        self.pause.release()
    }

    /// Stops writes for `purpose`, or no longer. Returns the clients to execute again.
    pub fn stop_writes(&mut self, purpose: Purpose, is_on: bool) -> Vec<Token> {
        self.pause.stop_writes(purpose, is_on)
    }

    /// Makes a client wait for the end of the pause.
    pub fn wait_for_end_of_pause(&mut self, token: Token) {
        self.pause.add(token);
    }

    /// Removes a disconnected client that waited for memory to be freed.
    pub fn forget_freeing(&mut self, token: Token) {
        self.freeing.retain(|(_, waiting, _)| *waiting != token);
    }

    /// Removes a disconnected client that waited for the end of the pause.
    pub fn leave_pause(&mut self) {
        self.pause.leave();
    }

    /// Whether the changes of units are recorded.
    pub fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    /// Starts or stops recording the changes of units, and the calls that `stream` propagates for them.
    pub fn record(&mut self, on: bool, stream: &mut Stream) {
        if let Some(recorder) = self.recorder.take() {
            recorder.end(stream);
        }
        self.recorder = on.then(|| Box::new(Recorder::begin(stream)));
    }

    /// Replies with the record and clears it. Returns false if recording is off.
    pub fn reply_with_record(&mut self, reply: &mut Reply<'_>) -> bool {
        self.recorder.as_mut().map(|recorder| recorder.take(reply)).is_some()
    }

    /// Whether clients track keys.
    pub fn tracks(&self) -> bool {
        !self.trackers.is_idle()
    }

    /// Whether keyspace notifications have subscribers.
    pub fn announces(&self) -> bool {
        self.announcer.is_on() && !self.subscribers.is_empty()
    }

    /// Notifies trackers and subscribers of keyspace notifications after each command of a unit. `executing` is the client
    /// of the unit; `in_script`: a script has called the command.
    pub fn notify_of_command(
        &mut self,
        journal: &Journal,
        executing: Option<Token>,
        in_script: bool,
        reach: Reach<'_>,
    ) {
        let (announces, tracks) = (self.announces(), self.tracks());
        let mut flushed = false;
        for change in journal.changes_from(self.announced) {
            match change {
                Change::Key { key, event } => {
                    if tracks && event.touches() {
                        self.trackers.key_changed(&mut self.post, key, event, executing, in_script, reach);
                    }
                    if announces {
                        self.announcer.announce(&mut self.post, &self.subscribers, key, event);
                    }
                }
                Change::Flushed { .. } => flushed = true,
                Change::Swapped { .. } => {}
            }
        }
        // Once, however many databases a command has emptied.
        if flushed && tracks {
            self.trackers.flushed(&mut self.post, executing, reach);
        }
        self.announced = journal.changes_len();
    }

    /// Notifies all listeners of the changes and calls of a unit.
    pub fn notify(&mut self, journal: &mut Journal, executing: Option<Token>, reach: Reach<'_>) {
        self.notify_of_command(journal, executing, false, reach);
        self.announced = 0;
        self.trackers.tell_own(&mut self.post, executing, reach);
        if let Some(recorder) = &mut self.recorder {
            recorder.observe(journal);
        }
        if !self.waiters.is_empty() {
            self.waiters.observe(journal);
        }
    }
}
