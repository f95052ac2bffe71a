//! Settling: after a unit, notifies the listeners of its changes and serves the clients that were blocked on changed keys.
//!
//! ```text
//!   execute ─▶ journal ─▶ settle ─▶ notify: announcer, trackers, recorder, waiters, watchers
//!                            └────▶ serve:  for each ready key, the clients that wait for it, in order;
//!                                           each served command is its own unit, settled at once
//! ```
//!
//! Serving happens right after the unit that made a key ready, before the next request of the same pipeline: a client
//! that pushes an element and reads it afterwards does not find it if a blocked client waited for it. A served command
//! may make further keys ready; these follow the ones that are. The requests that a served client has sent after its
//! command are executed at the end of the iteration.

use super::Server;
use super::audience::Audience;
use super::audience::waiters::{End, EndedWait, Parked};
use super::invalidate::reader;
use super::invoke::Caller;
use super::net::batch::Rest;
use super::parts::WATCHED;
use crate::command::waiting::Parking;
use crate::command::{Error, Origin};
use crate::db::{Awaiting, Framing};
use crate::sys::clock;
use crate::sys::poller::Token;
use crate::types::Kind;

impl Server {
    /// Ends the unit of the client `executing`, and notifies the listeners of its changes. Returns whether the client
    /// must stop executing requests for now.
    #[cold]
    #[inline(never)]
    pub(super) fn settle(&mut self, executing: Token) -> bool {
        // `serve_ready` settles a command that is being served, and a suspended script has not ended its unit.
        if !self.audience.settling && !self.is_busy() {
            if self.core.keyspace.journal.is_unsettled() || self.audience.waiters.has_ready() {
                self.settle_client(executing);
            } else {
                self.end_calls(Framing::Together, Some(executing));
                self.core.keyspace.journal.end_unit();
            }
            if !self.audience.post.is_empty() && self.has_to_deliver_now(executing) {
                self.deliver_post();
            }
        }
        self.net.clients.get(executing).is_none_or(|client| client.session.stops())
    }

    /// Settles the unit of a client.
    fn settle_client(&mut self, executing: Token) {
        // The client itself may have to wait, and is parked after this.
        let wait = (self.core.wait.take(), self.core.wait_ticks);
        self.settle_unit(Framing::Together, Some(executing));
        (self.core.wait, self.core.wait_ticks) = wait;
        if let Some(client) = self.net.clients.get(executing) {
            client.is_served_now();
        }
        self.core.stopwatch.start();
    }

    /// Settles a unit of the server itself (a slice of expiry).
    pub(super) fn settle_own(&mut self) {
        if self.core.keyspace.journal.is_unsettled() {
            self.settle_unit(Framing::Apart, None);
        } else {
            self.core.keyspace.journal.end_unit();
        }
    }

    /// A unit is over that was executed for a client between its requests, or for one that is gone.
    pub(super) fn settle_between_requests(&mut self, executing: Option<Token>) {
        if self.core.keyspace.journal.is_unsettled() {
            self.settle_unit(Framing::Together, executing);
        } else {
            self.end_calls(Framing::Together, executing);
            self.core.keyspace.journal.end_unit();
        }
    }

    fn settle_unit(&mut self, framing: Framing, executing: Option<Token>) {
        self.audience.settling = true;
        self.notify(framing, executing);
        self.serve_ready();
        self.audience.settling = false;
        if executing.is_none() {
            self.deliver_post();
        }
    }

    /// Ends a unit, and notifies all listeners of its changes and calls.
    fn notify(&mut self, framing: Framing, executing: Option<Token>) {
        self.end_calls(framing, executing);
        let journal = &mut self.core.keyspace.journal;
        let clients = &self.net.clients;
        self.audience.notify(journal, executing, &|token| reader(clients, token));
        self.discard_tracked();
        if !self.audience.watchers.is_empty() {
            self.notify_watchers();
        }
        self.core.keyspace.journal.end_unit();
    }

    /// Ends the calls of a unit, so that the readers of the stream see them. After a client's unit, stores the offset
    /// of the last call's end for `WAIT` and `WAITAOF`.
    fn end_calls(&mut self, framing: Framing, executing: Option<Token>) {
        let journal = &mut self.core.keyspace.journal;
        let has_written = journal.stream().of_unit() > 0;
        journal.end_calls(framing);
        if has_written && let Some(client) = executing.and_then(|token| self.net.clients.get_mut(token)) {
            client.session.last_write = journal.stream().settled();
        }
    }

    /// Makes the next `EXEC` fail for clients that watch a key changed by the unit.
    pub(super) fn notify_watchers(&mut self) {
        let keyspace = &self.core.keyspace;
        let exists = |db: usize, name: &[u8]| keyspace.peek(keyspace.key(db, name)).is_some();
        let released = self.audience.watchers.observe(&keyspace.journal, exists);
        self.sweep_watched(released.min(WATCHED));
    }

    /// Serves the clients blocked on ready keys, until no ready key is left.
    ///
    /// The clock is read before the first client is served: a key made by a long unit may have expired since. As in Redis,
    /// the kind of the key is checked at the time of the unit; the command that is served then finds it expired and deletes
    /// it.
    fn serve_ready(&mut self) {
        let mut has_read_clock = false;
        while let Some(place) = self.audience.waiters.next_ready() {
            let mut after = None;
            loop {
                let kind = self.kind_of_ready(place.0, &place.1);
                let Some((ticket, token)) = self.audience.waiters.next_of(&place, after, kind) else { break };
                after = Some(ticket);
                if !std::mem::replace(&mut has_read_clock, true) {
                    self.core.read_clock();
                }
                self.serve(token);
                self.notify(Framing::Together, Some(token));
            }
        }
    }

    /// The type of a ready key's value. An expired key counts as deleted but stays, as in Redis: `SWAPDB` makes keys
    /// ready that no command has looked up.
    fn kind_of_ready(&self, db: usize, name: &[u8]) -> Option<Kind> {
        let keyspace = &self.core.keyspace;
        keyspace.peek(keyspace.key(db, name)).map(|entry| entry.kind())
    }

    /// Registers the wait of a client that has just blocked; its request is in [`super::net::client::Client::rest`].
    pub(super) fn park(&mut self, token: Token) {
        self.park_again(token, None);
    }

    /// Like [`Server::park`]; the client keeps the place in the queues that it had in `former`, its previous wait.
    fn park_again(&mut self, token: Token, former: Option<&Parked>) {
        let Some(parking) = self.core.wait.take() else { return };
        let wait = match *parking {
            Parking::Keys(wait) => wait,
            Parking::Script | Parking::Migrating | Parking::Shutdown => return,
            Parking::Part(from) => return self.park_part(token, from),
            Parking::Acknowledged => {
                if let Some(wanted) = self.audience.awaited.take() {
                    let since = (self.core.clock.monotonic_us(), self.core.wait_ticks);
                    self.audience.acknowledgements.add(token, wanted, since);
                    self.persistence.log.wake_when_synced(true);
                }
                return;
            }
            Parking::Freed(ticket) => {
                let began = clock::ticks().wrapping_sub(self.core.wait_ticks);
                self.audience.freeing.push_back((ticket, token, began));
                // If the memory is freed already, the end of this iteration replies.
                self.core.keyspace.lazy().wake_when_done(ticket);
                return;
            }
        };
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if let Some(rest) = &mut client.rest {
            for (index, value) in &wait.rewritten {
                rest.rewrite(*index, value);
            }
        }
        let db = client.session.db;
        let now_us = self.core.clock.monotonic_us();
        self.audience.waiters.park(token, db, &wait, (now_us, self.core.wait_ticks), former);
        if let Some(parked) = self.audience.waiters.get(token) {
            for name in parked.keys() {
                let hash = self.core.keyspace.hash(name);
                self.core.keyspace.journal.await_key(hash, Awaiting::Value);
            }
        }
    }

    /// Removes a client from the clients that wait for keys, if it is one of them.
    pub(super) fn unpark(&mut self, token: Token) -> Option<Parked> {
        let parked = self.audience.waiters.remove(token)?;
        for name in parked.keys() {
            let hash = self.core.keyspace.hash(name);
            self.core.keyspace.journal.forget(hash, Awaiting::Value);
        }
        if let Some(client) = self.net.clients.get_mut(token) {
            client.session.blocked = None;
        }
        Some(parked)
    }

    /// Executes a blocked client's command again. The client may remain blocked.
    fn serve(&mut self, token: Token) {
        let Some(parked) = self.unpark(token) else { return };
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let Some(rest) = client.rest.take() else { return };
        client.is_served_now();
        self.deliver_post();
        self.core.stopwatch.start();
        if let Some((request, places)) = rest.current() {
            self.execute_carefully(token, request.command, request.hash, places.args());
        }
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if client.session.blocked.is_some() {
            client.rest = Some(rest);
            self.park_again(token, Some(&parked));
        } else {
            self.advance(token, rest);
        }
    }

    /// Completes the current request of `rest`: the client continues with the next ones at the end of the iteration.
    pub(super) fn advance(&mut self, token: Token, mut rest: Box<Rest>) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if client.session.is_closing() {
            return;
        }
        rest.next += 1;
        if rest.current().is_some() {
            client.rest = Some(rest);
        }
        if client.rest.is_some() || client.has_query() {
            self.net.schedule_unblocked(token);
        }
    }

    /// Unblocks a client that waits for keys or acknowledgements, with an error or with the reply of a timeout. The
    /// reply is sent at the end of the iteration. Returns false if the client does not wait for either.
    pub(super) fn end_wait(&mut self, token: Token, error: Option<Error>) -> bool {
        self.end_wait_by(token, error.map(End::Failed))
    }

    /// The same with the end `other`; `None` means a timeout.
    pub(super) fn end_wait_by(&mut self, token: Token, other: Option<End>) -> bool {
        let (end, ticks) = if let Some(parked) = self.unpark(token) {
            (End::InVain, parked.ticks)
        } else if let Some(waiting) = self.audience.acknowledgements.remove(token) {
            if let Some(client) = self.net.clients.get_mut(token) {
                client.session.blocked = None;
            }
            self.persistence.log.wake_when_synced(!self.audience.acknowledgements.is_empty());
            (End::Acknowledged(waiting.wanted), waiting.ticks)
        } else {
            return false;
        };
        self.audience.ended_waits.push(EndedWait { token, end: other.unwrap_or(end), ticks });
        // Unblocked clients continue in the order in which their waits ended.
        self.net.schedule_unblocked(token);
        true
    }

    /// Ends the waits for freeing that is complete.
    pub(super) fn end_waits_for_freeing(&mut self) {
        while let Some((ticket, token, began)) = self.audience.freeing.front().copied()
            && self.core.keyspace.lazy().is_done(ticket)
        {
            self.audience.freeing.pop_front();
            if let Some(client) = self.net.clients.get_mut(token) {
                client.session.blocked = None;
                let ticks = clock::ticks().wrapping_sub(began);
                self.audience.ended_waits.push(EndedWait { token, end: End::Done, ticks });
            }
        }
    }

    /// Replies to clients whose waits have ended without a new execution of their command.
    pub(super) fn reply_to_ended_waits(&mut self) {
        for EndedWait { token, end, ticks } in std::mem::take(&mut self.audience.ended_waits) {
            let Some(client) = self.net.clients.get_mut(token) else { continue };
            let Some(rest) = client.rest.take() else { continue };
            let called = rest.current().and_then(|(request, places)| Some((request.command.ok()?, places)));
            let start = self.net.output.mark(token);
            match &end {
                End::Done => self.net.reply_to(token).ok(),
                End::InVain => self.net.reply_to(token).null_array(),
                End::Acknowledged(wanted) => self.reply_acknowledged(token, wanted),
                End::Failed(error) | End::Demoted(error) => self.reply_error(token, error),
            }
            let has_failed = matches!(end, End::Failed(_) | End::Demoted(_));
            if let Some((command, places)) = called {
                let caller = Caller::of_client(command, token, Origin::Client);
                self.record(&caller, ticks, places.args());
                self.core.stats.command(command.id).failed += u64::from(has_failed);
            }
            self.apply_reply_mode(token, start);
            if self.net.session(token).flags.replica && !self.net.output.is_empty_since(start) {
                self.end_replica_with_reply(token, start);
            }
            if has_failed || matches!(end, End::Acknowledged(_)) {
                self.note_independence(start);
            }
            self.tell_own_flush(token);
            if matches!(end, End::Demoted(_)) {
                self.close_after_replies(token);
            }
            self.advance(token, rest);
        }
    }

    /// Ends the waits whose deadline has passed.
    pub(super) fn end_overdue_waits(&mut self) {
        let now_us = self.core.clock.monotonic_us();
        let overdue = |audience: &Audience| {
            let keys = audience.waiters.next_overdue(now_us);
            keys.or_else(|| audience.acknowledgements.next_overdue(now_us))
        };
        while let Some(token) = overdue(&self.audience) {
            self.end_wait(token, None);
        }
    }
}
