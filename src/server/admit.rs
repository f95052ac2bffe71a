//! Admission: whether a request, or a call by a script, may be executed now.
//!
//! The checks, in this order: the name and the number of arguments, the configuration, authentication, commands that
//! are forbidden to monitors, and reasons to wait. A refused request gets its error here and is counted as rejected.
//! [`Server::execute`] skips these checks for most requests, because none of them can apply.

use super::core::memory_limit::Room;
use super::durability::READONLY;
use super::eviction::OUT_OF_MEMORY;
use super::invoke::Caller;
use super::net::output::Mark;
use super::scripts::run::Run;
use super::{Server, transactions};
use crate::command::{
    Args, Command, Error, Handler, Origin, Refusal, ServerCommand, flags, introspect, table,
};
use crate::sys::poller::Token;

const NO_KEYSPACE: Error = Error::new("ERR Replica can't interact with the keyspace");

/// The commands that a replica or a monitor may not call: neither pauses nor limits would apply to them.
const TOUCHES_KEYS: u64 = flags::WRITE | flags::READONLY | flags::MAY_REPLICATE;

impl Server {
    /// Returns the command of a request if it may be executed now. Otherwise the request was refused, or its client
    /// waits.
    pub(super) fn admit(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        args: Args<'_>,
    ) -> Option<&'static Command> {
        let command = match found {
            Ok(command) if command.accepts(args.len()) => command,
            _ => return self.refuse_call(token, found, args),
        };
        if command.has(flags::PROTECTED) && !self.permits(token, command) {
            return self.reject(token, command, args, &not_allowed(command));
        }
        let client = self.net.clients.get(token)?;
        if !client.session.rights.authenticated && !command.has(flags::NO_AUTH) {
            return self.reject(token, command, args, &Error::new("NOAUTH Authentication required."));
        }
        if client.session.flags.transaction && command.has(flags::NO_MULTI) {
            return self.reject(
                token,
                command,
                args,
                &Error::new("ERR Command not allowed inside a transaction"),
            );
        }
        let client = self.net.clients.get(token)?;
        if !client.session.rights.unrestricted
            && let Some(error) = self.deny_request(token, command, args)
        {
            return self.reject(token, command, args, &error);
        }
        if self.cluster.is_some()
            && let Some(error) = self.redirect(token, command, args)
        {
            return self.send_elsewhere(token, command, &error);
        }
        if self.core.limit.room() != Room::Enough && !self.audience.settling {
            match self.room_for(token, command, args) {
                Room::Enough | Room::Falling => {}
                Room::Coming => return None,
                Room::None => return self.reject(token, command, args, &OUT_OF_MEMORY),
            }
        }
        let client = self.net.clients.get(token)?;
        if client.session.is_limited_to_subscribing() && !may_be_called_by_subscribers(command) {
            return self.reject(token, command, args, &not_for_subscribers(command));
        }
        if command.flags & TOUCHES_KEYS != 0 {
            // The reply closes the connection of a replica.
            if client.session.flags.replica || client.session.flags.monitor {
                return self.reject(token, command, args, &NO_KEYSPACE);
            }
        }
        if self.gate.refuses()
            && let Some(error) = self.refuse_for_mode(token, command, args)
        {
            return self.reject(token, command, args, &error);
        }
        if self.has_to_wait(token, command, args) {
            return None;
        }
        Some(command)
    }

    /// Refuses a request that is not a valid call: unknown command or wrong number of arguments.
    #[cold]
    fn refuse_call(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        args: Args<'_>,
    ) -> Option<&'static Command> {
        match found {
            Ok(command) => {
                let error = Error::from(Refusal::WrongArity(command).message(&args));
                return self.reject(token, command, args, &error);
            }
            Err(_) if is_web_request(args.get(0)) => self.abort_web_request(token),
            Err(refusal) => {
                self.refuse_transaction(token);
                self.reply_error(token, &refusal.message(&args).into());
            }
        }
        None
    }

    /// Refuses a command that the client may not call now.
    #[cold]
    fn reject(
        &mut self,
        token: Token,
        command: &'static Command,
        args: Args<'_>,
        error: &Error,
    ) -> Option<&'static Command> {
        self.core.stats.command(command.id).rejected += 1;
        self.refuse_transaction(token);
        if matches!(command.handler, Handler::Server(ServerCommand::Exec)) {
            self.end_transaction(token);
            self.reply_error(token, &transactions::aborted_because(error));
            // The rejected `EXEC` ends a transaction, so monitors see it, unlike other rejected requests.
            self.show_to_monitors(&Caller::of_client(command, token, Origin::Client), args);
        } else {
            self.reply_error(token, error);
        }
        None
    }

    /// Redirects a request to another node. Unlike another refused `EXEC`, a redirected one has the error itself as its
    /// reply.
    #[cold]
    fn send_elsewhere(
        &mut self,
        token: Token,
        command: &'static Command,
        error: &Error,
    ) -> Option<&'static Command> {
        self.core.stats.command(command.id).rejected += 1;
        if matches!(command.handler, Handler::Server(ServerCommand::Exec)) {
            self.end_transaction(token);
        } else {
            self.refuse_transaction(token);
        }
        self.reply_error(token, error);
        None
    }

    /// Closes the connection of a replica that gets a reply, which begins at `start` and would be a part of its stream.
    #[cold]
    pub(super) fn end_replica_with_reply(&mut self, token: Token, start: Mark) {
        let reply = self.net.output.hold(start);
        let id = self.net.clients.get(token).and_then(|client| client.session.last_command);
        let called = id.map_or("<unknown>", |id| table::all()[usize::from(id)].full_name);
        self.process.log.warning(format_args!(
            "Replica generated a reply to command '{called}', disconnecting it: {}",
            self.describe_client(token)
        ));
        if let Some(error) = reply.error() {
            self.core.stats.unexpected_error_replies += 1;
            self.process.log.warning(format_args!(
                "== CRITICAL == This master is sending an error to its replica: '{}' after processing the command \
                 '{called}'",
                String::from_utf8_lossy(error.strip_prefix(b"-ERR ").unwrap_or(error))
            ));
        }
        self.net.doom(token);
    }

    /// Writes an error reply and counts it.
    #[cold]
    pub(super) fn reply_error(&mut self, token: Token, error: &Error) {
        self.core.stats.count_error(error.code());
        self.net.reply_to(token).error(error.text());
    }

    /// Whether the configuration lets this client call a protected command.
    #[cold]
    fn permits(&self, token: Token, command: &Command) -> bool {
        let local = self.net.clients.get(token).is_some_and(|c| c.peer().is_loopback());
        let allowed = match introspect::container_of(command).name {
            "debug" => self.core.config.enable_debug_command,
            _ => self.core.config.enable_module_command,
        };
        allowed.permits(local)
    }

    /// Closes the connection of a browser before it executes anything: a web page can make a browser on this machine
    /// send requests with commands in their bodies. Logs at most one line a minute.
    #[cold]
    fn abort_web_request(&mut self, token: Token) {
        let now_ms = self.core.keyspace.moment.unix_ms;
        let line = self.describe_client(token);
        self.process.warn_of_web_request(now_ms, &line);
        self.net.doom(token);
    }

    /// Finds the command that a script calls, and checks whether the script may call it.
    ///
    /// # Errors
    /// Fails if the script may not call it; the rejection has been counted.
    #[inline]
    pub(super) fn admit_from_script(&mut self, run: &Run, args: Args<'_>) -> Result<&'static Command, Error> {
        let (command, error) = match self.core.names.find(&args) {
            Ok(command) if command.accepts(args.len()) => {
                let mut refused = self.forbid_in_script(run, command, args);
                if refused.is_none() && !run.session.rights.unrestricted {
                    refused = self.deny_script(run, command, args);
                }
                let refused = refused.or_else(|| self.refuse_from_script(run, command));
                match refused.or_else(|| self.redirect_from_script(run, command, args)) {
                    None => return Ok(command),
                    Some(error) => (Some(command), error),
                }
            }
            Ok(command) => {
                (Some(command), "ERR Wrong number of args calling Redis command from script".into())
            }
            Err(_) => (None, "ERR Unknown Redis command called from script".into()),
        };
        self.reject_from_script(command, &error);
        Err(error)
    }

    #[cold]
    fn reject_from_script(&mut self, command: Option<&Command>, error: &Error) {
        if let Some(command) = command {
            self.core.stats.command(command.id).rejected += 1;
        }
        self.core.stats.count_error(error.code());
    }

    /// Returns the error if no script may call `command`, or no script on this replica.
    #[inline]
    fn forbid_in_script(&self, run: &Run, command: &Command, args: Args<'_>) -> Option<Error> {
        if command.has(flags::NOSCRIPT)
            && !(self.core.scripts_call_all && may_run_within_script(command, args))
        {
            return Some(Error::new("ERR This Redis command is not allowed from script"));
        }
        if self.gate.replica_denial().stale && !command.has(flags::STALE) && !run.origin.must_obey() {
            return Some(Error::new("ERR Can not execute the command on a stale replica"));
        }
        None
    }

    /// Returns the error if this script may not call `command` now.
    #[inline]
    fn refuse_from_script(&self, run: &Run, command: &Command) -> Option<Error> {
        const WRITES: u64 = flags::WRITE | flags::MAY_REPLICATE;
        if run.is_read_only && command.flags & WRITES != 0 {
            return Some(Error::new("ERR Write commands are not allowed from read-only scripts."));
        }
        if run.has_written {
            // A script that has written may finish.
            return None;
        }
        if command.has(flags::WRITE)
            && !run.origin.must_obey()
            && let Some(denial) = self.denial()
        {
            return Some(self.misconfigured(denial));
        }
        if command.has(flags::WRITE) && !run.origin.must_obey() {
            let denial = self.gate.replica_denial();
            if denial.read_only {
                return Some(READONLY);
            }
            if denial.lacks_replicas {
                return Some(Error::new("NOREPLICAS Not enough good replicas to write."));
            }
        }
        (run.lacks_memory && command.has(flags::DENYOOM)).then_some(OUT_OF_MEMORY)
    }
}

/// Whether `DEBUG SET-DISABLE-DENY-SCRIPTS` lets scripts call this `noscript` command: one that does not block, and
/// replaces neither the script engine nor the whole data set.
fn may_run_within_script(command: &Command, args: Args<'_>) -> bool {
    use ServerCommand as C;
    match command.handler {
        Handler::Server(C::Debug) => {
            !["reload", "loadaof", "restart", "crash-and-recover"].iter().any(|name| args.is(1, name))
        }
        Handler::Server(
            C::Role
            | C::ConfigGet
            | C::ClientId
            | C::ClientGetname
            | C::ClientSetname
            | C::ClientInfo
            | C::ClientList
            | C::LatencyLatest
            | C::LatencyHistory
            | C::LatencyReset,
        ) => true,
        _ => false,
    }
}

/// Whether `name` is the first word of an HTTP request, which a malicious page may have made a browser send.
fn is_web_request(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

fn not_allowed(command: &Command) -> Error {
    let name = introspect::container_of(command).name;
    let upper = name.to_ascii_uppercase();
    format!(
        "ERR {upper} command not allowed. If the enable-{name}-command option is set to \"local\", you can run it from \
         a local connection, otherwise you need to set this option in the configuration file, and then restart the \
         server."
    )
    .into()
}

/// Whether a RESP2 client with subscriptions may call this. Other replies could be mistaken for messages.
fn may_be_called_by_subscribers(command: &Command) -> bool {
    use ServerCommand as C;
    let manages = matches!(
        command.handler,
        Handler::Server(
            C::Subscribe
                | C::Psubscribe
                | C::Ssubscribe
                | C::Unsubscribe
                | C::Punsubscribe
                | C::Sunsubscribe
                | C::Quit
                | C::Reset
        )
    );
    manages || command.name == "ping"
}

fn not_for_subscribers(command: &Command) -> Error {
    format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        command.full_name
    )
    .into()
}
