//! Calls a command for a client, an EXEC, a script or the AOF loader, and counts the call.
//!
//! ```text
//!   client ─▶ super::admit   ─┐
//!   EXEC   ─▶ admitted before ─┤                                  ┌▶ stats, slow log, errors
//!   script ─▶ super::admit   ─┼▶ invoke: call ─▶ journal ─▶ account ┼▶ monitors
//!   log    ─▶ super::loading ─┘         │                         └▶ keys that a client tracks
//!                                       └▶ reply: output of a client, or bytes
//! ```
//!
//! A [`Caller`] has the origin of the call, the session, and the destination of the reply. A server command (`CLIENT`,
//! `CONFIG`, …) is a method of [`Server`] that takes the caller; the command table names it. It therefore works for a
//! script, too, and needs a connected client only if it calls [`Caller::client`].
//!
//! [`Server::execute`] has a short path, made of the same parts, for requests that need nothing but the call.

use super::core::dispatch::Environment;
use super::net::Net;
use super::{Server, admin};
use crate::command::error::{BAD_DATA, Error, Result};
use crate::command::{Args, Command, Handler, Origin, ServerCommand, Session, flags, introspect};
use crate::config::LogLevel;
use crate::db::Propagation;
use crate::persist::rdb::payload;
use crate::resp::Reply;
use crate::sys::crash;
use crate::sys::poller::Token;

/// The error for a command that a replication stream must not contain.
pub(super) const NOT_IN_STREAM: Error =
    Error::new("ERR This Redis command is not allowed in a replication stream");

/// The caller of a command, with the destination of its reply.
pub(super) struct Caller<'a> {
    /// The command.
    pub command: &'static Command,
    /// Where the call comes from.
    pub origin: Origin,
    /// The client that sent the request or started the calling script; `None` while an AOF is loaded.
    client: Option<Token>,
    /// The session and the reply buffer of a caller that is not the client itself.
    own: Option<(&'a mut Session, &'a mut Vec<u8>)>,
}

impl<'a> Caller<'a> {
    /// Returns the caller for a request of the client `token`.
    pub fn of_client(command: &'static Command, token: Token, origin: Origin) -> Caller<'static> {
        Caller { command, origin, client: Some(token), own: None }
    }

    /// Returns the caller for a script of `client`, or for the AOF loader, which have a session of their own.
    pub fn apart(
        command: &'static Command,
        origin: Origin,
        client: Option<Token>,
        session: &'a mut Session,
        reply: &'a mut Vec<u8>,
    ) -> Caller<'a> {
        Caller { command, origin, client, own: Some((session, reply)) }
    }

    /// The connected client on whose behalf the command is called.
    ///
    /// # Errors
    /// There is no client: the command needs one, but comes from a script in an AOF or from a primary's stream.
    pub fn client(&self) -> Result<Token> {
        self.client.ok_or(match self.origin {
            Origin::Primary => NOT_IN_STREAM,
            _ => Error::new("ERR This Redis command is not allowed from a script of a log"),
        })
    }

    /// The client whose output gets the reply; `None` for a script or the AOF loader.
    pub fn direct_client(&self) -> Option<Token> {
        self.client.filter(|_| self.own.is_none())
    }

    /// The client, if there is one.
    pub fn any_client(&self) -> Option<Token> {
        self.client
    }

    /// The session in which the command is executed.
    pub fn session<'s>(&'s mut self, net: &'s mut Net) -> &'s mut Session {
        match (&mut self.own, self.client) {
            (Some((session, _)), _) => session,
            (None, Some(token)) => net.session(token),
            (None, None) => unreachable!("a caller without a session of its own is a client"),
        }
    }

    /// The selected database.
    pub fn db(&self, net: &Net) -> usize {
        match (&self.own, self.client) {
            (Some((session, _)), _) => session.db,
            (None, client) => client.map_or(0, |token| net.selected_db(token)),
        }
    }

    /// The reply, in the protocol of the session.
    pub fn reply<'s>(&'s mut self, net: &'s mut Net) -> Reply<'s> {
        match (&mut self.own, self.client) {
            (Some((session, reply)), _) => Reply { buf: reply, protocol: session.protocol },
            (None, Some(token)) => net.reply_to(token),
            (None, None) => unreachable!("a caller without a session of its own is a client"),
        }
    }

    /// The environment of a keyspace command; `None` if the client is gone.
    fn environment<'s>(&'s mut self, net: &'s mut Net) -> Option<Environment<'s>> {
        let origin = self.origin;
        if let Some((session, reply)) = &mut self.own {
            let reply = Reply { buf: reply, protocol: session.protocol };
            return Some(Environment { origin, session, reply, splices: None });
        }
        let token = self.client?;
        let session = &mut net.clients.get_mut(token)?.session;
        let (reply, splices) = net.output.writer(token, session.protocol);
        Some(Environment { origin, session, reply, splices: Some(splices) })
    }
}

impl Server {
    /// Executes an admitted command: calls and counts it. `hash` is that of its first key. The reply has been
    /// written unless an error is returned.
    pub(super) fn invoke(&mut self, caller: &mut Caller<'_>, hash: u64, args: Args<'_>) -> Result {
        let outcome = self.call(caller, hash, args);
        // A stale wait would make the server withhold later errors of all clients.
        assert!(
            self.core.wait.is_none() || matches!(caller.origin, Origin::Client | Origin::Exec),
            "only a client's request, or a script that it began, waits"
        );
        self.account(caller, args, &outcome);
        if let Some(token) = caller.client {
            self.remember_keys(token, caller.command, args);
        }
        self.show_to_monitors(caller, args);
        outcome
    }

    /// Calls the function of a command. The calls to propagate are then in the journal.
    pub(super) fn call(&mut self, caller: &mut Caller<'_>, hash: u64, args: Args<'_>) -> Result {
        let command = caller.command;
        crash::now_executing(command.id);
        match command.handler {
            Handler::Keyspace(run) => match caller.environment(&mut self.net) {
                Some(environment) => self.core.dispatch_in_mode(command, run, environment, hash, args),
                None => Ok(()),
            },
            Handler::Server(which) => self.call_server(which, caller, args),
            Handler::Help => {
                let container = introspect::container_of(command);
                self.refuse_help(container)?;
                introspect::help(container, args.get(0), &mut caller.reply(&mut self.net));
                Ok(())
            }
            Handler::Container => unreachable!("it has nothing to call"),
        }
    }

    fn call_server(&mut self, which: ServerCommand, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let before = self.core.keyspace.counters.dirty;
        let outer = self.core.keyspace.journal.begin_call();
        let outcome = admin::FUNCTIONS[which as usize](self, caller, args);
        let as_called = self.core.keyspace.journal.end_call(outer) == Propagation::AsCalled;
        // The commands that EXEC and EVAL execute are propagated on their own.
        if as_called && caller.command.has(flags::WRITE) && self.core.keyspace.counters.dirty != before {
            self.core.propagate_call(caller.db(&self.net), args);
        }
        outcome
    }

    /// Counts a command that was called, and its error. A command that blocks is counted when its wait ends.
    pub(super) fn account(&mut self, caller: &Caller<'_>, args: Args<'_>, outcome: &Result) {
        // The commands of an AOF were counted when they were first executed.
        if caller.origin != Origin::Log {
            let ticks = self.core.stopwatch.lap();
            if self.core.wait.is_some() {
                self.core.wait_ticks = ticks;
                return;
            }
            self.record(caller, ticks, args);
        }
        if let Err(error) = outcome {
            self.count_failure(caller.command, args, error);
        }
    }

    /// Counts a command that took `ticks`.
    pub(super) fn record(&mut self, caller: &Caller<'_>, ticks: u64, args: Args<'_>) {
        if self.core.count_command(caller.command, ticks) {
            self.note_slow_command(caller, ticks, args);
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn note_slow_command(&mut self, caller: &Caller<'_>, ticks: u64, args: Args<'_>) {
        // A command that a script calls is logged without a client.
        let client = caller.direct_client().and_then(|token| self.net.clients.get(token));
        let named = || match client {
            Some(client) => (client.peer().to_string(), client.session.name().to_vec()),
            None => (String::new(), Vec::new()),
        };
        self.core.note_slow_command(caller.command, args, ticks, named);
        self.core.stopwatch.start();
    }

    /// Counts an error that a command has returned.
    #[cold]
    fn count_failure(&mut self, command: &Command, args: Args<'_>, error: &Error) {
        self.core.stats.command(command.id).failed += 1;
        self.core.stats.count_error(error.code());
        if *error == BAD_DATA {
            self.log_refused_payload(args);
        }
    }

    /// Logs why a `RESTORE` was refused. Level and text are those of Redis, which test suites search for.
    fn log_refused_payload(&self, args: Args<'_>) {
        let log = &self.process.log;
        if log.is_at(LogLevel::Verbose)
            && let Some(why) = payload::why_refused(args.get(3), &self.core.keyspace.shapes)
        {
            log.verbose(format_args!("Internal error in RDB reading, of the payload of a RESTORE: {why}"));
        }
    }
}
