//! One request: admission ([`super::admit`]), invocation ([`super::invoke`]), and the state of its client afterwards.
//!
//! There are two paths: a short one for keyspace commands, which most requests are, and a careful one for everything
//! else: refusals, server commands, and the cases of paused clients, monitors, clients with replies off, and commands
//! that wake a blocked client. The short path only tests for these cases.

use super::Server;
use super::core::dispatch::Environment;
use super::invoke::Caller;
use super::net::output::Mark;
use super::redirect::is_served;
use super::rights::is_permitted;
use crate::command::{Args, Command, Error, Handler, Origin, Refusal, ServerCommand};
use crate::sys::poller::Token;

impl Server {
    /// Executes one request of `token` and writes its reply. Returns whether the client must stop executing: it will be
    /// closed, or it waits.
    ///
    /// This is the short path, for keyspace commands without special conditions; everything else takes
    /// [`Server::execute_carefully`].
    #[inline(always)]
    pub(super) fn execute(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        args: Args<'_>,
    ) -> bool {
        let Some(client) = self.net.clients.get_mut(token) else { return true };
        let session = &mut client.session;
        if let Ok(command) = found
            && let Handler::Keyspace(run) = command.handler
            && command.accepts(args.len())
            && (session.rights.unrestricted
                || is_permitted(session.rights, &mut self.core.users, command, args))
            && (!self.gate.is_careful_with(command.flags)
                || is_served(self.gate, self.cluster.as_deref(), command, hash, args))
            && !session.flags.needs_care()
            && !self.core.is_short_of_memory(session.db)
            && let Some((reply, splices)) = self.net.output.same_writer(token, session.protocol)
        {
            session.last_command = Some(command.id);
            let environment = Environment { origin: Origin::Client, session, reply, splices: Some(splices) };
            let outcome = self.core.dispatch(run, environment, hash, args);
            let journal = &mut self.core.keyspace.journal;
            let caller = || Caller::of_client(command, token, Origin::Client);
            if outcome.is_err() | session.stops() | journal.holds_unit(&mut session.last_write) {
                self.account(&caller(), args, &outcome);
                self.reply_outcome(token, outcome);
                return self.settle(token);
            }
            let ticks = self.core.stopwatch.lap();
            if self.core.count_command(command, ticks) {
                self.note_slow_command(&caller(), ticks, args);
            }
            return false;
        }
        self.execute_carefully(token, found, hash, args)
    }

    /// [`Server::execute`] with all checks before the call and all effects after it.
    #[cold]
    #[inline(never)]
    pub(super) fn execute_carefully(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        args: Args<'_>,
    ) -> bool {
        if self.net.threads.exist() && self.waits_for_line(token, found) {
            return true;
        }
        let monitors = |command: &Command| matches!(command.handler, Handler::Server(ServerCommand::Monitor));
        if self.is_monitor(token) || found.is_ok_and(monitors) {
            self.deliver_feed();
        }
        if !self.audience.settling && self.core.is_short_of_memory(self.net.selected_db(token)) {
            self.make_room_for(token);
        }
        let start = self.net.output.mark(token);
        let mut was_replica = false;
        if let Some(client) = self.net.clients.get_mut(token) {
            client.session.last_command = found.ok().map(|command| command.id);
            was_replica = client.session.flags.replica;
        }
        let mut admitted = self.admit(token, found, args);
        if let Some(command) = admitted
            && self.queue(token, command, hash, args)
        {
            admitted = None;
        }
        let is_independent = admitted.is_none_or(|command| self.is_independent(token, command, args));
        if is_independent && self.gate.confirms() {
            self.net.output.begin_independent(start);
        }
        let stream_end = self.stream_end();
        if let Some(command) = admitted {
            if self.has_too_many_tracked() && !self.audience.settling {
                self.limit_tracked();
            }
            self.invoke_for_client(token, command, hash, args, Origin::Client);
        }
        self.end_caching(token, found);
        self.end_asking(token, found);
        let Some(client) = self.net.clients.get(token) else { return true };
        let (flags, is_blocked) = (client.session.flags, client.session.blocked.is_some());
        if !is_blocked {
            if flags.monitor {
                self.deliver_feed();
            }
            self.apply_reply_mode(token, start);
        }
        if was_replica && !self.net.output.is_empty_since(start) {
            self.end_replica_with_reply(token, start);
        }
        self.net.output.end_independent();
        if is_independent {
            self.note_independence(start);
        }
        self.core.stopwatch.start();
        let stops = self.settle(token);
        if is_independent && admitted.is_some() {
            // What it has appended to the stream (`PUBLISH`) changes no data.
            self.replication.confirmation.note_aside(stream_end..self.stream_end());
        }
        stops
    }

    fn is_monitor(&self, token: Token) -> bool {
        self.net.clients.get(token).is_some_and(|client| client.session.flags.monitor)
    }

    /// Invokes an admitted command for the client `token` and writes the reply to its output.
    pub(super) fn invoke_for_client(
        &mut self,
        token: Token,
        command: &'static Command,
        hash: u64,
        args: Args<'_>,
        origin: Origin,
    ) {
        let start = self.net.output.mark(token);
        let outcome = self.invoke(&mut Caller::of_client(command, token, origin), hash, args);
        debug_assert!(
            outcome.is_ok() || self.net.output.is_empty_since(start),
            "an error comes instead of a reply"
        );
        self.reply_outcome(token, outcome);
    }

    /// Writes the error reply of a failed call.
    fn reply_outcome(&mut self, token: Token, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            self.net.reply_to(token).error(error.text());
        }
    }

    /// `CLIENT REPLY OFF` and `SKIP`: removes the reply since `start`.
    #[inline]
    pub(super) fn apply_reply_mode(&mut self, token: Token, start: Mark) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let flags = &mut client.session.flags;
        let pushed = std::mem::take(&mut flags.pushed);
        if !flags.quiets() {
            return;
        }
        if (flags.reply_off || flags.reply_skip) && !pushed {
            self.net.output.take_back(start);
        }
        flags.reply_skip = flags.reply_skip_next;
        flags.reply_skip_next = false;
    }
}
