//! Client-side caching where clients, commands and keys meet: what is remembered of a command, and when the listeners
//! in [`super::audience::trackers`] are told or tell.

use super::Server;
use super::audience::trackers::{Options, Reader};
use super::net::client::Clients;
use crate::command::{Args, Command, Refusal, flags, introspect};
use crate::sys::poller::Token;

/// The most keys that are given up before a command because there are too many.
const EVICTED_PER_COMMAND: usize = 100;

/// The same for a run of cron: about a millisecond.
const EVICTED_PER_RUN: usize = 4096;

/// What a message for `token` depends on; `None` if it is gone, or as good as gone.
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
    /// From now on `token` tracks keys as `options` say.
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

    /// `token` does not track keys any more. It may be gone.
    pub(super) fn forget_tracking(&mut self, token: Token) {
        if self.audience.trackers.end(token)
            && let Some(client) = self.net.clients.get_mut(token)
        {
            let flags = &mut client.session.flags;
            (flags.tracking, flags.opt_in, flags.caching) = (false, false, false);
        }
    }

    /// A command has been executed for `token`: if that wants to be told when what it has read changes, the keys are
    /// remembered.
    #[inline]
    pub(super) fn remember_keys(&mut self, token: Token, command: &'static Command, args: Args<'_>) {
        let Some(client) = self.net.clients.get(token) else { return };
        let session = client.session.flags;
        if !session.tracking || session.caching != session.opt_in {
            return;
        }
        // Of a script it is the commands that read.
        if command.flags & (flags::READONLY | flags::PUBSUB | flags::NO_MANDATORY_KEYS) != flags::READONLY {
            return;
        }
        // A key that has expired in this command is forgotten before it is remembered again.
        if self.core.keyspace.journal.is_unsettled() {
            self.notify_within_unit(token, false);
        }
        command.keys.find(&args, &mut self.core.keys);
        for key in &self.core.keys {
            self.audience.trackers.remember(token, args.get(key.index));
        }
        self.discard_tracked();
    }

    /// Before a command: gives up some, if there are too many.
    pub(super) fn limit_tracked(&mut self) {
        self.evict_tracked(EVICTED_PER_COMMAND);
        self.deliver_post();
    }

    /// `CLIENT CACHING` was called for the command that is over now, unless a transaction is open.
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

    /// Whether more keys are remembered than the configuration allows.
    #[inline]
    pub(super) fn has_too_many_tracked(&self) -> bool {
        let most = self.core.config.tracking_table_max_keys;
        most > 0 && self.audience.trackers.totals().keys > most
    }

    /// Gives up keys, at most `limit` of them, while there are too many.
    fn evict_tracked(&mut self, limit: usize) {
        let most = self.core.config.tracking_table_max_keys;
        if self.has_too_many_tracked() {
            let clients = &self.net.clients;
            let post = &mut self.audience.post;
            self.audience.trackers.evict(post, most, limit, &|token| reader(clients, token));
        }
    }

    /// Has freed elsewhere what the trackers have given up.
    #[inline]
    pub(super) fn discard_tracked(&mut self) {
        if self.audience.trackers.has_discarded() {
            for garbage in self.audience.trackers.take_discarded() {
                self.core.keyspace.send_garbage(garbage);
            }
        }
    }

    /// Cron's part: keeps to the limit where that was lowered, and ends what nobody needs any more.
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

    /// A wait of `token` has ended with a reply: if what it waited for was to empty a database, it is told now that its
    /// copies are invalid.
    pub(super) fn tell_own_flush(&mut self, token: Token) {
        if !self.audience.trackers.is_idle() {
            let clients = &self.net.clients;
            let post = &mut self.audience.post;
            self.audience.trackers.tell_flush(post, token, &|token| reader(clients, token));
            self.deliver_post();
        }
    }

    /// Tells the clients of the broadcasting mode what has changed in this iteration.
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
