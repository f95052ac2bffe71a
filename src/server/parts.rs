//! Work of one client that is done in parts, one an iteration, so that others are served in between.
//!
//! * A command of many names (`SUBSCRIBE` of 100,000 channels): it does a part, says where it goes on
//!   ([`Server::go_on_later`]), and its client waits meanwhile. The handler is called once an iteration, for one client in
//!   turn, until it does not say so any more; then what its client has sent behind it is executed. To others it looks like
//!   several commands.
//! * The subscriptions of clients that are gone ([`Subscribers::sweep`](super::audience::subscribers::Subscribers::sweep)).
//! * The arguments of a request that has very many large ones: each lies in a block of its own, and letting go of 76,400 takes
//!   as long as an MSET of them.

use std::collections::VecDeque;

use super::net::client::FEW_BLOCKS;
use super::{Server, admin};
use crate::command::waiting::Parking;
use crate::sys::poller::Token;
use crate::types::Block;

/// Subscriptions of clients that are gone, taken out of the tables in one iteration: at 0.3 to 0.5 µs each.
const SWEPT: usize = 1024;

/// A command that has done a part of its work.
struct Part {
    token: Token,
    /// Where it goes on, as its handler has said.
    from: usize,
    /// Ticks that it has taken so far.
    ticks: u64,
}

/// What is done in parts.
#[derive(Default)]
pub(super) struct Parts {
    queue: VecDeque<Part>,
    /// Where the handler that is being called goes on; 0 where it begins.
    from: usize,
    /// Arguments of requests that are done.
    pub spent: Vec<Vec<Block>>,
    /// How many subscriptions may still be swept in this iteration.
    sweeps_left: usize,
}

impl Parts {
    /// A client that is gone does not wait for the rest of its command. Returns whether it did.
    pub fn forget(&mut self, token: Token) -> bool {
        let before = self.queue.len();
        self.queue.retain(|part| part.token != token);
        self.queue.len() < before
    }
}

impl Server {
    /// Whether the next iteration has a part to do.
    pub(super) fn has_parts(&self) -> bool {
        !self.parts.queue.is_empty()
            || !self.parts.spent.is_empty()
            || self.audience.subscribers.has_departed()
    }

    /// A part of this iteration.
    pub(super) fn do_parts(&mut self) {
        self.parts.sweeps_left = SWEPT;
        self.sweep_subscriptions();
        self.go_on_with_command();
        if let Some(blocks) = self.parts.spent.last_mut() {
            blocks.truncate(blocks.len().saturating_sub(FEW_BLOCKS));
            if blocks.is_empty() {
                self.parts.spent.pop();
            }
        }
    }

    /// Where the handler that has been called goes on; 0 where it begins.
    pub(super) fn goes_on_from(&self) -> usize {
        self.parts.from
    }

    /// The command of `token` goes on in a later iteration, `from` there, which is not 0. For commands that are called by a
    /// client itself: nothing comes in between the commands of a transaction.
    pub(super) fn go_on_later(&mut self, token: Token, from: usize) {
        debug_assert!(from > 0, "0 is the beginning");
        self.core.wait = Some(Box::new(Parking::Part(from)));
        self.net.session(token).flags.waiting = true;
    }

    /// The request of a client has just been kept in [`super::net::client::Client::rest`]: its first part is done.
    pub(super) fn park_part(&mut self, token: Token, from: usize) {
        self.parts.queue.push_back(Part { token, from, ticks: self.core.wait_ticks });
    }

    fn go_on_with_command(&mut self) {
        let Some(Part { token, from, ticks }) = self.parts.queue.pop_front() else { return };
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let Some(rest) = client.rest.take() else { return };
        client.session.flags.waiting = false;
        client.is_served_now();
        self.net.output.open_segment();
        let before = self.net.output.buffer.len();
        self.core.stopwatch.start();
        if let Some((request, places)) = rest.current()
            && let Ok(command) = request.command
        {
            self.parts.from = from;
            let outcome = admin::call(self, token, command, places.args());
            debug_assert!(outcome.is_ok(), "what may fail does so at the beginning");
            self.parts.from = 0;
            let ticks = ticks + self.core.stopwatch.lap();
            if let Some(parking) = self.core.wait.take()
                && let Parking::Part(from) = *parking
            {
                self.net.output.close_segment(token);
                if let Some(client) = self.net.clients.get_mut(token) {
                    client.rest = Some(rest);
                    self.parts.queue.push_back(Part { token, from, ticks });
                }
                return self.weigh(token);
            }
            self.record(token, command, ticks, places.args());
        }
        self.apply_reply_mode(token, before);
        self.net.output.close_segment(token);
        self.weigh(token);
        self.advance(token, rest);
    }

    /// Ends all subscriptions of a client that is gone.
    pub(super) fn end_subscriptions(&mut self, token: Token) {
        self.audience.subscribers.depart(token);
        self.sweep_subscriptions();
    }

    fn sweep_subscriptions(&mut self) {
        if self.audience.subscribers.has_departed() {
            self.parts.sweeps_left -= self.audience.subscribers.sweep(self.parts.sweeps_left);
            self.refresh_gate();
        }
    }
}
