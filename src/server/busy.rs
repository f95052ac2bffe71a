//! A script that runs longer than `busy-reply-threshold` continues in slices; between them the event loop serves other
//! clients.
//!
//! ```text
//!   slice ─▶ the threshold ─▶ suspend ─▶ (wait for nothing, serve others: -BUSY) ─▶ slice ─▶ … ─▶ ended: reply, settle
//! ```
//!
//! Its unit stays open meanwhile, so nothing else may touch the data: most commands are refused, cron neither expires
//! keys nor saves, and no reader of the stream sees the script's calls, so the AOF gets all of them or none. The
//! script's client is blocked. It is not freed before the script has ended, and its further requests stay in the
//! socket.

use std::os::fd::AsFd;
use std::rc::Rc;

use super::Server;
use super::invoke::Caller;
use super::net::batch::Rest;
use super::net::client::Client;
use super::net::output::{Held, Mark};
use super::scripts::run::{End, Kind, Run};
use super::transactions::Execution;
use crate::command::Origin;
use crate::command::waiting::{Blocked, Parking};
use crate::sys::clock;
use crate::sys::poller::{Interest, Poller, Source, Token};

/// The length of a slice, during which other clients wait, in nanoseconds.
const SLICE_NS: u64 = 10_000_000;

/// The state of a suspended script.
pub(super) struct Suspended {
    run: Box<Run>,
    token: Token,
    /// The `EXEC` that the script is part of, and the replies so far.
    execution: Option<(Execution, Held)>,
    /// The poller does not watch the client's socket: the client has sent something or disconnected.
    is_masked: bool,
    /// Close the client when the script has ended.
    closes: bool,
}

/// The name of a script, the words of the command that started it, and its running time in milliseconds.
pub(super) type BusyCall = (Rc<[u8]>, Vec<Vec<u8>>, u64);

impl Server {
    /// Suspends a script that has exceeded the threshold.
    pub(super) fn suspend_script(&mut self, mut run: Box<Run>) {
        run.host.count();
        let Some(token) = run.client else { unreachable!("a log is loaded to its end") };
        let elapsed_ms = self.core.stats.tick_rate().since(run.slice) / 1_000_000;
        self.process.log.warning(format_args!(
            "Slow script detected: still in execution after {elapsed_ms} milliseconds. You can try killing the script \
             using the {} command. Script name is: {}.",
            run.kind.killer(),
            String::from_utf8_lossy(&run.name)
        ));
        self.core.keyspace.journal.stream_mut().suspend_unit();
        self.core.wait = Some(Box::new(Parking::Script));
        self.net.session(token).blocked = Some(Blocked::Script);
        self.suspended =
            Some(Box::new(Suspended { run, token, execution: None, is_masked: false, closes: false }));
        self.refresh_gate();
    }

    /// Suspends an `EXEC` whose request has started a slow script. The remaining requests follow when the script has
    /// ended.
    pub(super) fn suspend_execution(&mut self, execution: Execution) {
        let held = self.net.output.hold(execution.start);
        if let Some(suspended) = &mut self.suspended {
            suspended.execution = Some((execution, held));
        }
    }

    /// Whether a slow script is suspended. Its unit is then open, and nothing else may touch the data.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.suspended.is_some()
    }

    /// The kind of the suspended script.
    pub(super) fn busy_kind(&self) -> Option<Kind> {
        self.suspended.as_ref().map(|suspended| suspended.run.kind)
    }

    /// The suspended script.
    pub(super) fn busy_run(&mut self) -> Option<&mut Run> {
        self.suspended.as_mut().map(|suspended| &mut *suspended.run)
    }

    /// A description of the suspended script.
    pub(super) fn busy_call(&self) -> Option<BusyCall> {
        let Suspended { run, token, execution, .. } = &**self.suspended.as_ref()?;
        let request = match execution {
            Some((execution, _)) => execution.requests.request(execution.next),
            None => self.net.clients.get(*token)?.rest.as_ref()?.current(),
        };
        let (_, places) = request?;
        let words = places.args().iter_from(0).map(<[u8]>::to_vec).collect();
        Some((run.name.clone(), words, self.core.stats.tick_rate().since(run.began) / 1_000_000))
    }

    /// Whether the script of this client is suspended.
    pub(super) fn is_suspended(&self, token: Token) -> bool {
        self.suspended.as_ref().is_some_and(|suspended| suspended.token == token)
    }

    /// Removes the socket of the suspended script's client from the poller: its bytes or its end of stream are read
    /// after the script has ended.
    pub(super) fn mask_suspended(&mut self) {
        let Some(suspended) = &mut self.suspended else { return };
        if let Some(client) = self.net.clients.get(suspended.token)
            && let Some(line) = client.line()
            && self.net.poller.remove(line.transport.as_fd()).is_ok()
        {
            suspended.is_masked = true;
        }
    }

    /// Returns whether closing this client must wait for its suspended script; if so, it is closed afterwards.
    pub(super) fn postpones_close(&mut self, token: Token) -> bool {
        match &mut self.suspended {
            Some(suspended) if suspended.token == token => {
                suspended.closes = true;
                true
            }
            _ => false,
        }
    }

    /// Runs the suspended script for another slice.
    pub(super) fn continue_script(&mut self) {
        let Some(mut suspended) = self.suspended.take() else { return };
        let run = &mut *suspended.run;
        let moment = std::mem::replace(&mut self.core.keyspace.moment, run.moment);
        self.core.keyspace.journal.stream_mut().resume_unit();
        self.core.stopwatch.start();
        run.slice = clock::ticks();
        // Other clients have seen later times, so `TIME` must not go back. Expiry still uses the time of the script's
        // start.
        self.scripts.now_us = Some(clock::wall_us());
        let slice = self.core.stats.tick_rate().to_ticks(SLICE_NS);
        if run.is_killed {
            run.kill();
        }
        let end = self.run_slice(run, Some(slice));
        if let Some(end) = end {
            self.end_suspended(*suspended, &end);
        } else {
            suspended.run.host.count();
            self.core.keyspace.journal.stream_mut().suspend_unit();
            self.suspended = Some(suspended);
            self.refresh_gate();
        }
        self.core.keyspace.moment = moment;
    }

    /// Replies to the client of a script that has ended, and continues with its next requests.
    fn end_suspended(&mut self, suspended: Suspended, end: &End) {
        let Suspended { run, token, execution, is_masked, closes } = suspended;
        self.refresh_gate();
        let Some(client) = self.net.clients.get_mut(token) else { return };
        client.session.blocked = None;
        let Some(rest) = client.rest.take() else { return };
        client.is_served_now();
        self.deliver_post();
        let start = self.net.output.mark(token);
        match execution {
            None => {
                let began = run.began;
                self.end_script(run, end);
                self.core.stopwatch.resume(began);
            }
            Some((execution, held)) => {
                if !self.continue_execution(token, execution, held, run, end) {
                    return self.keep_suspended(token, rest, is_masked, closes);
                }
            }
        }
        self.end_request(token, rest, start);
        self.unmask(token, is_masked, closes);
    }

    /// Keeps the state of the client when the next script of the same `EXEC` is slow, too.
    fn keep_suspended(&mut self, token: Token, rest: Box<Rest>, is_masked: bool, closes: bool) {
        self.core.wait = None;
        if let Some(client) = self.net.clients.get_mut(token) {
            client.rest = Some(rest);
        }
        if let Some(suspended) = &mut self.suspended {
            (suspended.is_masked, suspended.closes) = (is_masked, closes);
        }
    }

    /// Continues an `EXEC` whose script has ended. Returns false if another script is slow.
    fn continue_execution(
        &mut self,
        token: Token,
        mut execution: Execution,
        held: Held,
        run: Box<Run>,
        end: &End,
    ) -> bool {
        (execution.start, execution.bound) = (self.net.output.mark(token), self.output_bound(token));
        self.net.output.release(token, held);
        let start = self.net.output.mark(token);
        let (began, command) = (run.began, run.command);
        self.end_script(run, end);
        if let Some((_, places)) = execution.requests.request(execution.next) {
            self.core.stopwatch.resume(began);
            let ticks = self.core.stopwatch.lap();
            self.record(&Caller::of_client(command, token, Origin::Exec), ticks, places.args());
        }
        self.end_queued(token, &mut execution, start);
        self.go_on_executing(token, execution)
    }

    /// Ends a request that has waited for a script; its reply begins at `start`.
    fn end_request(&mut self, token: Token, rest: Box<Rest>, start: Mark) {
        if let Some((request, places)) = rest.current()
            && let Ok(command) = request.command
        {
            let caller = Caller::of_client(command, token, Origin::Client);
            let ticks = self.core.stopwatch.lap();
            self.record(&caller, ticks, places.args());
            self.end_caching(token, Ok(command));
            self.show_to_monitors(&caller, places.args());
        }
        self.apply_reply_mode(token, start);
        self.core.stopwatch.start();
        self.settle(token);
        self.deliver_post();
        self.advance(token, rest);
    }

    fn unmask(&mut self, token: Token, is_masked: bool, closes: bool) {
        if closes {
            return self.close(token);
        }
        if is_masked && let Some(line) = self.net.clients.get(token).and_then(Client::line) {
            let interest = Interest { read: true, write: line.is_sendable() };
            if self.net.poller.add(line.transport.as_fd(), Source::Client(token), interest).is_err() {
                self.net.doom(token);
            }
        }
        self.after_encrypted(token);
    }
}
