//! Splits long work of one client into parts, one per iteration, so that other clients are served in between.
//!
//! * A command with many names (`SUBSCRIBE` with 100,000 channels, `WATCH`): its handler does a part and calls
//!   [`Server::continue_later`] with the argument to continue from. The client is blocked until the command is complete; its
//!   later requests wait. Each iteration calls the handler of one such client, in turn. Other clients may see the effect
//!   of some of the names before that of the rest.
//! * The subscriptions of disconnected clients
//!   ([`Subscribers::sweep`](super::audience::subscribers::Subscribers::sweep)).
//! * The keys that clients no longer watch ([`Watchers::sweep`](super::audience::watchers::Watchers::sweep)).
//! * The arguments of a finished request with very many large ones. Each has its own block, and freeing 76,400 blocks takes
//!   as long as the MSET that they belong to.

use std::collections::VecDeque;

use super::Server;
use super::invoke::Caller;
use super::net::query::FEW_BLOCKS;
use crate::command::Origin;
use crate::command::waiting::{Blocked, Parking};
use crate::sys::poller::Token;
use crate::types::Block;

/// The most subscriptions of disconnected clients that one iteration removes: each takes 0.3 to 0.5 µs.
const SWEPT: usize = 1024;

/// The most names that a part of a `WATCH` adds, and the most that one iteration removes: each takes 0.5 to 0.8 µs.
pub(super) const WATCHED: usize = 512;

/// A command that has done a part of its work.
struct Part {
    token: Token,
    /// The argument it continues from.
    from: usize,
    /// How many ticks it has taken so far.
    ticks: u64,
}

/// The state of work in parts.
#[derive(Default)]
pub(super) struct Parts {
    queue: VecDeque<Part>,
    /// The argument from which the running handler continues; 0 at the beginning.
    from: usize,
    /// Arguments of finished requests, to be freed.
    pub spent: Vec<Vec<Block>>,
    /// How many more subscriptions may be swept in this iteration.
    sweeps_left: usize,
}

impl Parts {
    /// The number of clients whose commands work in parts.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Drops the rest of a disconnected client's command.
    pub fn forget(&mut self, token: Token) {
        self.queue.retain(|part| part.token != token);
    }
}

impl Server {
    /// Whether the next iteration has a part to do.
    pub(super) fn has_parts(&self) -> bool {
        !self.parts.queue.is_empty()
            || !self.parts.spent.is_empty()
            || self.audience.subscribers.has_departed()
            || self.audience.watchers.has_departed()
    }

    /// Does this iteration's part: sweeps subscriptions, continues one command, and frees arguments.
    pub(super) fn do_parts(&mut self) {
        self.parts.sweeps_left = SWEPT;
        self.sweep_subscriptions();
        self.sweep_watched(WATCHED);
        self.continue_command();
        if let Some(blocks) = self.parts.spent.last_mut() {
            blocks.truncate(blocks.len().saturating_sub(FEW_BLOCKS));
            if blocks.is_empty() {
                self.parts.spent.pop();
            }
        }
    }

    /// The argument from which the running handler continues; 0 at the beginning.
    pub(super) fn continues_from(&self) -> usize {
        self.parts.from
    }

    /// Continues the running command of `caller` in a later iteration, from the argument `from`, which is not 0. Not for
    /// commands of a transaction, which must not be interrupted.
    pub(super) fn continue_later(&mut self, caller: &mut Caller<'_>, from: usize) {
        debug_assert!(from > 0, "0 is the beginning");
        self.core.wait = Some(Box::new(Parking::Part(from)));
        caller.session(&mut self.net).blocked = Some(Blocked::Part);
    }

    /// Queues a command whose first part is done. Its request is in [`super::net::client::Client::rest`].
    pub(super) fn park_part(&mut self, token: Token, from: usize) {
        self.parts.queue.push_back(Part { token, from, ticks: self.core.wait_ticks });
    }

    fn continue_command(&mut self) {
        let Some(Part { token, from, ticks }) = self.parts.queue.pop_front() else { return };
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let Some(rest) = client.rest.take() else { return };
        client.session.blocked = None;
        client.is_served_now();
        let start = self.net.output.mark(token);
        self.core.stopwatch.start();
        if let Some((request, places)) = rest.current()
            && let Ok(command) = request.command
        {
            self.parts.from = from;
            let mut caller = Caller::of_client(command, token, Origin::Client);
            let outcome = self.call(&mut caller, request.hash, places.args());
            debug_assert!(outcome.is_ok(), "only the first part may fail");
            self.parts.from = 0;
            let ticks = ticks + self.core.stopwatch.lap();
            if let Some(parking) = self.core.wait.take()
                && let Parking::Part(from) = *parking
            {
                if let Some(client) = self.net.clients.get_mut(token) {
                    client.rest = Some(rest);
                    self.parts.queue.push_back(Part { token, from, ticks });
                }
                return self.weigh(token);
            }
            self.record(&caller, ticks, places.args());
        }
        self.apply_reply_mode(token, start);
        self.weigh(token);
        self.advance(token, rest);
    }

    /// Ends all subscriptions of a disconnected client.
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
