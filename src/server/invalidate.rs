//! Client-side caching, where clients, commands and keys meet: which keys of a command to track, and when
//! [`super::audience::trackers`] receives changes or sends invalidation messages.

use super::Server;
use super::audience::trackers::{Options, Reader};
use super::net::client::Clients;
use crate::command::{Args, Command, Refusal, flags, introspect};
use crate::sys::poller::Token;

/// The most keys evicted from the tracking table before a command.
const EVICTED_PER_COMMAND: usize = 100;

/// The same for a run of cron; takes about a millisecond.
const EVICTED_PER_RUN: usize = 4096;

/// The properties of `token` that affect messages for it; `None` if it is disconnected or being closed.
pub(super) fn reader(clients: &Clients, token: Token) -> Option<Reader> {
    let session = &clients.get(token)?.session;
    let flags = session.flags;
    (!flags.close_now).then_some(Reader {
        protocol: session.protocol,
        subscribed: flags.subscribed,
        waits: session.blocked.is_some(),
    })
}

impl Server {
    /// Starts tracking for `token` with `options`.
    pub(super) fn track(&mut self, token: Token, options: Options, prefixes: &[&[u8]]) {
        self.audience.trackers.begin(token, options, prefixes, &self.core.keyspace.shapes);
        let told = options.redirect.map_or(token, |redirect| redirect.token);
        for informed in [token, told] {
            if let Some(client) = self.net.clients.get_mut(informed) {
                client.session.flags.informed = true;
            }
        }
        let flags = &mut self.net.session(token).flags;
        flags.tracking = !options.broadcast;
        flags.opt_in = options.opt_in;
        flags.caching &= options.opt_in || options.opt_out;
        self.refresh_gate();
    }

    /// Ends tracking for `token`, which may be disconnected.
    pub(super) fn forget_tracking(&mut self, token: Token) {
        if self.audience.trackers.end(token)
            && let Some(client) = self.net.clients.get_mut(token)
        {
            let flags = &mut client.session.flags;
            (flags.tracking, flags.opt_in, flags.caching) = (false, false, false);
        }
    }

    /// Remembers the keys that a command has read for `token`, if this client tracks keys.
    #[inline]
    pub(super) fn remember_keys(&mut self, token: Token, command: &'static Command, args: Args<'_>) {
        let Some(client) = self.net.clients.get(token) else { return };
        let session = client.session.flags;
        if !session.tracking || session.caching != session.opt_in {
            return;
        }
        // For a script, the commands that it calls are remembered.
        if command.flags & (flags::READONLY | flags::PUBSUB | flags::NO_MANDATORY_KEYS) != flags::READONLY {
            return;
        }
        // If a key expired in this command, forget it before it is remembered again.
        if self.core.keyspace.journal.is_unsettled() {
            self.notify_within_unit(token, false);
        }
        command.keys.find(&args, &mut self.core.keys);
        for key in &self.core.keys {
            self.audience.trackers.remember(token, args.get(key.index));
        }
        self.discard_tracked();
    }

    /// Evicts tracked keys before a command if there are too many.
    pub(super) fn limit_tracked(&mut self) {
        self.evict_tracked(EVICTED_PER_COMMAND);
        self.deliver_post();
    }

    /// Ends the effect of `CLIENT CACHING` after the next command, unless a transaction is open.
    #[inline]
    pub(super) fn end_caching(&mut self, token: Token, found: Result<&'static Command, Refusal>) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let is_blocked = client.session.blocked.is_some();
        let flags = &mut client.session.flags;
        if flags.caching && !flags.transaction && !is_blocked {
            let is_client = found.is_ok_and(|command| introspect::container_of(command).name == "client");
            flags.caching = is_client;
        }
    }

    /// Whether more keys are tracked than `tracking-table-max-keys` allows.
    #[inline]
    pub(super) fn has_too_many_tracked(&self) -> bool {
        let most = self.core.config.tracking_table_max_keys;
        most > 0 && self.audience.trackers.totals().keys > most
    }

    /// Evicts up to `limit` tracked keys while there are too many.
    fn evict_tracked(&mut self, limit: usize) {
        let most = self.core.config.tracking_table_max_keys;
        if self.has_too_many_tracked() {
            let clients = &self.net.clients;
            let post = &mut self.audience.post;
            self.audience.trackers.evict(post, most, limit, &|token| reader(clients, token));
        }
    }

    /// Has the background thread free the memory of evicted keys.
    #[inline]
    pub(super) fn discard_tracked(&mut self) {
        if self.audience.trackers.has_discarded() {
            for garbage in self.audience.trackers.take_discarded() {
                self.core.keyspace.send_garbage(garbage);
            }
        }
    }

    /// Called by cron: evicts tracked keys after the limit was lowered, and drops the table once no client needs it.
    pub(super) fn look_after_trackers(&mut self) {
        if self.audience.trackers.is_idle() {
            return;
        }
        self.evict_tracked(EVICTED_PER_RUN);
        if self.audience.trackers.retire() {
            self.refresh_gate();
        }
        self.discard_tracked();
        self.deliver_post();
    }

    /// Sends `token` the invalidation message of its own `FLUSHALL` or `FLUSHDB`, if that was the wait that has ended
    /// with a reply.
    pub(super) fn tell_own_flush(&mut self, token: Token) {
        if !self.audience.trackers.is_idle() {
            let clients = &self.net.clients;
            let post = &mut self.audience.post;
            self.audience.trackers.tell_flush(post, token, &|token| reader(clients, token));
            self.deliver_post();
        }
    }

    /// Sends the clients in broadcasting mode the changes of this iteration.
    #[inline]
    pub(super) fn deliver_broadcasts(&mut self) {
        if self.audience.trackers.has_collected() {
            let clients = &self.net.clients;
            let post = &mut self.audience.post;
            self.audience.trackers.broadcast(post, &|token| reader(clients, token));
            self.deliver_post();
        }
    }
}
