//! One request: admission ([`super::admit`]), the call, the accounts after.
//!
//! There are two ways: a short one for commands of the keyspace, which most requests are, and a careful one for
//! everything else: refusals, commands of the server itself, and whatever only matters while clients are paused, monitors
//! watch, a client wants no replies or has woken another one. The short way tests for those and knows nothing else of them.

use super::core::dispatch::Caller;
use super::net::output::Mark;
use super::{Server, admin};
use crate::command::error::BAD_DATA;
use crate::command::{Args, Command, Error, Handler, Origin, Refusal, ServerCommand};
use crate::config::LogLevel;
use crate::persist::rdb::payload;
use crate::sys::crash;
use crate::sys::poller::Token;

impl Server {
    /// Executes one request of `token` and writes its reply. Returns whether the client goes no further now: it is going
    /// to be closed, or it waits.
    ///
    /// This is the short way of a command of the keyspace that has nothing against it; everything else takes
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
        let start = self.net.output.mark(token);
        if let Ok(command) = found
            && let Handler::Keyspace(run) = command.handler
            && command.accepts(args.len())
            && session.authenticated
            && !self.gate.is_careful()
            && !session.flags.needs_care()
            && !self.core.is_short_of_memory(session.db)
            && let Some((reply, splices)) = self.net.output.same_writer(token, session.protocol)
        {
            session.last_command = Some(command.id);
            let caller = Caller { origin: Origin::Client, session, reply, splices: Some(splices) };
            let outcome = self.core.dispatch(run, caller, hash, args);
            let journal = &mut self.core.keyspace.journal;
            if outcome.is_err() | session.stops() | journal.holds_unit(&mut session.last_write) {
                self.complete(token, command, args, outcome, start);
                return self.settle(token);
            }
            self.measure(token, command, args);
            return false;
        }
        self.execute_carefully(token, found, hash, args)
    }

    /// [`Server::execute`] with everything that may stand in a request's way, be asked of it afterwards, or be shown of
    /// it.
    #[cold]
    #[inline(never)]
    pub(super) fn execute_carefully(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        args: Args<'_>,
    ) -> bool {
        let monitors = |command: &Command| matches!(command.handler, Handler::Server(ServerCommand::Monitor));
        if self.is_monitor(token) || found.is_ok_and(monitors) {
            self.deliver_feed();
        }
        if !self.audience.settling && self.core.is_short_of_memory(self.net.selected_db(token)) {
            self.make_room_for(token);
        }
        let start = self.net.output.mark(token);
        if let Some(client) = self.net.clients.get_mut(token) {
            client.session.last_command = found.ok().map(|command| command.id);
        }
        let mut admitted = self.admit(token, found, args);
        if let Some(command) = admitted
            && self.queue(token, command, hash, args)
        {
            admitted = None;
        }
        if let Some(command) = admitted {
            if self.has_too_many_tracked() && !self.audience.settling {
                self.limit_tracked();
            }
            self.call(token, command, hash, args, Origin::Client);
        }
        self.end_caching(token, found);
        let Some(flags) = self.net.clients.get(token).map(|client| client.session.flags) else {
            return true;
        };
        // A command that is being served was shown when it began to wait.
        if let Some(command) = admitted
            && !self.audience.settling
            && !self.is_suspended(token)
        {
            self.show_to_monitors(token, command, args);
        }
        if !flags.waiting {
            if flags.monitor {
                self.deliver_feed();
            }
            self.apply_reply_mode(token, start);
        }
        self.core.stopwatch.start();
        self.settle(token)
    }

    fn is_monitor(&self, token: Token) -> bool {
        self.net.clients.get(token).is_some_and(|client| client.session.flags.monitor)
    }

    /// Calls an admitted command, and keeps its accounts and what it has read.
    pub(super) fn call(
        &mut self,
        token: Token,
        command: &'static Command,
        hash: u64,
        args: Args<'_>,
        origin: Origin,
    ) {
        let start = self.net.output.mark(token);
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let session = &mut client.session;
        crash::now_executing(command.id);
        let (reply, splices) = self.net.output.writer(token, session.protocol);
        let caller = Caller { origin, session, reply, splices: Some(splices) };
        let outcome = match command.handler {
            Handler::Keyspace(run) => self.core.dispatch_in_mode(command, run, caller, hash, args),
            _ => admin::call(self, token, command, args),
        };
        self.complete(token, command, args, outcome, start);
        self.remember_keys(token, command, args);
    }

    /// Keeps the accounts of a command that has been called, and writes its error: the reply that began at `start`.
    /// One that waits has them kept when its wait ends.
    fn complete(
        &mut self,
        token: Token,
        command: &'static Command,
        args: Args<'_>,
        outcome: Result<(), Error>,
        start: Mark,
    ) {
        if self.core.wait.is_some() {
            self.core.wait_ticks = self.core.stopwatch.lap();
            return;
        }
        self.measure(token, command, args);
        if let Err(error) = outcome {
            debug_assert!(self.net.output.is_empty_since(start), "an error comes instead of a reply");
            self.core.stats.command(command.id).failed += 1;
            if error == BAD_DATA {
                self.log_refused_payload(args);
            }
            self.reply_error(token, &error);
        }
    }

    /// Logs why a `RESTORE` was refused. Level and text are those of Redis, which test suites search for.
    #[cold]
    fn log_refused_payload(&self, args: Args<'_>) {
        let log = &self.process.log;
        if log.is_at(LogLevel::Verbose)
            && let Some(why) = payload::why_refused(args.get(3), &self.core.keyspace.shapes)
        {
            log.verbose(format_args!("Internal error in RDB reading, of the payload of a RESTORE: {why}"));
        }
    }

    /// Counts a command that has just been executed, with the time that it took.
    #[inline(always)]
    pub(super) fn measure(&mut self, token: Token, command: &'static Command, args: Args<'_>) {
        let ticks = self.core.stopwatch.lap();
        self.record(token, command, ticks, args);
    }

    /// Counts a command that took `ticks`.
    #[inline(always)]
    pub(super) fn record(&mut self, token: Token, command: &'static Command, ticks: u64, args: Args<'_>) {
        self.core.stats.record(command.id, ticks);
        if self.core.stopwatch.is_slow(ticks) {
            self.note_slow_command(token, command, ticks, args);
            self.core.stopwatch.start();
        }
    }

    #[cold]
    #[inline(never)]
    fn note_slow_command(&mut self, token: Token, command: &'static Command, ticks: u64, args: Args<'_>) {
        let Some(client) = self.net.clients.get(token) else { return };
        let client = || (client.socket.peer().to_string(), client.session.name().to_vec());
        self.core.note_slow_command(command, args, ticks, client);
    }

    /// `CLIENT REPLY OFF` and `SKIP`: takes the reply since `start` back.
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
