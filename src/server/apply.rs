//! Applies the primary's stream: executes each request and copies its bytes unchanged to the own stream.
//!
//! ```text
//!   recv ─▶ the client's ring ─▶ parse ─▶ prefetch ─▶ invoke (origin: primary) ─▶ settle
//!                                   └─ the bytes of what was executed ─▶ stream ─▶ log, backlog, own replicas
//! ```
//!
//! The bytes are the primary's own, so offsets are the same everywhere, and the journal does not record what a call
//! propagates. The requests of a transaction are kept until its `EXEC` and count as applied only then: if the
//! connection is lost within a transaction, the replica resumes before it.
//!
//! These requests are executed like any others, but without admission: the primary has accepted them. Replies are
//! discarded, except for `REPLCONF GETACK`.

use std::io::ErrorKind;

use super::core::dispatch::Environment;
use super::invoke::{Caller, NOT_IN_STREAM};
use super::loading::replay;
use super::net::batch::{BATCH, Batch, Request, Rest};
use super::net::client::Client;
use super::net::query::Query;
use super::persistence::Denial;
use super::transactions::{DISCARD_ALONE, EXEC_ALONE, NESTED};
use super::{Io, Server, lookup};
use crate::command::acl::Rights;
use crate::command::table::KeyspaceFn;
use crate::command::{
    Args, Command, CommandNames, Error, Handler, Origin, Places, Refusal, ServerCommand, Session, flags,
};
use crate::config::PropagationError;
use crate::resp::{self, Limits, Parsed, Partial, Reply};
use crate::sys::crash;
use crate::sys::poller::Token;

/// Bytes per receive, and receives per event loop iteration.
const READ: usize = 64 << 10;
const RECEIVES: usize = 8;

/// Replies to the primary are written to a buffer of at most this size.
const KEEP_REPLY: usize = 64 << 10;

/// Bytes of the backlog that are logged with a request that failed.
const SHOWN_BACKLOG: u64 = 256;

/// Bytes of requests that are passed on together.
const TOGETHER: usize = 16 << 10;

/// The most bytes of empty lines that are kept until a request follows.
const MOST_EMPTY: usize = 16 << 10;

/// Log that commands are applied although the disk fails at most once per interval.
const WARN_EVERY_MS: i64 = 10_000;

/// The received part of a transaction.
#[derive(Default)]
struct Held {
    /// Its bytes.
    bytes: Vec<u8>,
    /// Its requests.
    requests: Rest,
}

/// What the short path has done.
enum Shortly {
    /// It has executed the request; nothing else is to be done.
    Done,
    /// It has executed a request whose changes listeners must read, or that failed.
    Executed(&'static Command, Result<(), Error>),
    /// It is not for this request.
    Not,
}

/// The state of applying.
#[derive(Default)]
pub struct Applying {
    /// Whether requests of the primary are being executed.
    pub is_active: bool,
    /// The received part of a transaction, if one is open.
    held: Option<Box<Held>>,
    /// The discarded replies of requests; the buffer is reused.
    replies: Vec<u8>,
    /// Whether the primary has requested an acknowledgement (`REPLCONF GETACK`).
    pub acknowledges: bool,
    /// When the last warning was logged that commands are applied although the disk fails, in Unix milliseconds.
    warned_ms: Option<i64>,
}

impl Applying {
    /// Drops an incomplete transaction after the connection was lost: the primary sends all of it again.
    pub fn forget(&mut self) {
        self.held = None;
    }
}

impl Server {
    /// Receives from the primary and applies the complete requests.
    pub(super) fn receive_from_primary(&mut self, io: &mut Io, token: Token) {
        if self.is_busy() {
            // A suspended script has not ended its unit.
            return;
        }
        for _ in 0..RECEIVES {
            let Some(client) = self.net.clients.get_mut(token) else { return };
            if client.session.is_closing() {
                return;
            }
            let Some(line) = client.line_mut() else { return };
            let mut query = line.query.take().unwrap_or_else(|| Box::new(Query::of_link()));
            let received = query.grow_if_full().and_then(|()| {
                let room = query.ring.writable();
                let len = room.len().min(READ);
                line.transport.receive(&mut room[..len]).map(|count| (count, len))
            });
            let (count, len) = match received {
                Ok((0, _)) => {
                    self.process.log.notice(format_args!("Master closed the connection."));
                    return self.net.doom(token);
                }
                Ok(received) => received,
                Err(error) => {
                    line.query = Some(query);
                    if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                        self.process.log.verbose(format_args!("Reading from master: {error}"));
                        self.net.doom(token);
                    }
                    return;
                }
            };
            query.ring.commit(count);
            let now_ms = self.core.keyspace.moment.unix_ms;
            client.active_ms = now_ms;
            self.core.stats.note_received_from_primary(count);
            self.core.stats.reads += 1;
            if let Some(upstream) = &mut self.replication.upstream {
                upstream.heard_ms = now_ms;
            }
            let Query { ring, partial, .. } = &mut *query;
            let outcome = self.apply(token, &mut io.batch, ring.readable(), partial);
            match outcome {
                Ok(consumed) => query.ring.consume(consumed),
                Err(why) => {
                    return self.distrust_primary(token, &why);
                }
            }
            if let Some(line) = self.net.clients.get_mut(token).and_then(Client::line_mut) {
                // The link keeps its ring: mapping one for each receive would cost more than executing what it holds.
                query.shrink_of_link();
                line.query = Some(query);
            }
            if count < len {
                return;
            }
        }
    }

    /// Closes the link to a primary that has sent something else than a request. From the current offset it would send
    /// the same bytes again, so the next synchronization is a full one, as in Redis.
    #[cold]
    fn distrust_primary(&mut self, token: Token, why: &str) {
        self.process.log.warning(format_args!(
            "Protocol error from the master: {why}. The next synchronization is a full one."
        ));
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.needs_snapshot = true;
        }
        self.net.doom(token);
    }

    /// Executes the complete requests in `window`. Returns their length in bytes.
    fn apply(
        &mut self,
        token: Token,
        batch: &mut Batch,
        window: &[u8],
        partial: &mut Partial,
    ) -> Result<usize, String> {
        self.applying.is_active = true;
        self.refresh_gate();
        let mut at = 0;
        let outcome = loop {
            match self.apply_batch(token, batch, window, at, partial) {
                Ok(end) if end == at => break Ok(at),
                Ok(end) => at = end,
                Err(why) => break Err(why),
            }
        };
        self.applying.is_active = false;
        self.refresh_gate();
        self.deliver_post();
        if std::mem::take(&mut self.applying.acknowledges) {
            self.acknowledge_to_primary();
        }
        outcome
    }

    fn apply_batch(
        &mut self,
        token: Token,
        batch: &mut Batch,
        window: &[u8],
        from: usize,
        partial: &mut Partial,
    ) -> Result<usize, String> {
        let limits = Limits { authenticated: true, max_bulk: usize::MAX >> 1 };
        let db = self.net.selected_db(token);
        batch.clear();
        let mut at = from;
        while batch.requests.len() < BATCH && at < window.len() {
            let first = batch.spans.len();
            match resp::parse(window, at, partial, &limits, &mut batch.spans) {
                Ok(Parsed::Whole { end }) => {
                    at = end;
                    if batch.spans.len() > first {
                        let prefetch = |hash| self.core.keyspace.db(db).prefetch_bucket(hash);
                        let hasher = self.core.keyspace.hasher();
                        // The stream uses the original command names: see `Core::propagate_call`.
                        let names = CommandNames::default();
                        lookup::push(batch, first, window, &[], names, hasher, prefetch).end = end;
                    }
                }
                Ok(Parsed::Incomplete) => break,
                Ok(Parsed::Big { .. }) => {
                    // Receive it into the query buffer like other requests, not into its own block: its bytes are
                    // copied to the stream.
                    *partial = Partial::default();
                    break;
                }
                Ok(Parsed::Inline { end, words }) if words.is_empty() => at = end,
                Ok(Parsed::Inline { .. }) => return Err("an inline request".into()),
                Err(error) => return Err(String::from_utf8_lossy(&error.message()).into_owned()),
            }
        }
        lookup::prefetch(&batch.requests, &batch.spans, &self.core.keyspace, db, window, &[]);
        if self.applying.replies.capacity() > KEEP_REPLY {
            self.applying.replies = Vec::new();
        }
        self.core.stopwatch.start();
        // The bytes of requests that need no more than the call are passed on together.
        let (mut passed, mut start) = (from, from);
        for index in 0..batch.requests.len() {
            let request = batch.requests[index];
            let places = Places { window, spans: request.spans(&batch.spans), blocks: &[] };
            let (earlier, own) = (&window[passed..start], &window[start..request.end]);
            start = request.end;
            let outcome = match self.apply_at_once(token, &request, places.args()) {
                Shortly::Done if own.len() + earlier.len() < TOGETHER => continue,
                Shortly::Done => {
                    self.pass_on(&window[passed..start], false);
                    passed = start;
                    continue;
                }
                Shortly::Executed(command, outcome) => Some((command, outcome)),
                Shortly::Not => None,
            };
            if !earlier.is_empty() {
                self.pass_on(earlier, false);
            }
            match outcome {
                Some((command, outcome)) => {
                    if let Err(error) = outcome {
                        self.note_primary_error(command.full_name, &error);
                    }
                    self.settle_own();
                    self.pass_on(own, false);
                }
                None => self.apply_request(token, request.command, request.hash, places, own),
            }
            passed = start;
            if self.net.clients.get(token).is_none_or(|client| client.session.is_closing()) {
                // The remaining requests were not applied.
                return Ok(start);
            }
        }
        if passed < start {
            self.pass_on(&window[passed..start], false);
        }
        if at - start > MOST_EMPTY {
            self.pass_on(&window[start..at], true);
            return Ok(at);
        }
        if start < at {
            // The rest is empty lines. As in Redis, they count as part of the stream once a request follows. Redis sends
            // one that it does not count before it closes a link whose snapshot has failed after its last byte.
            *partial = Partial::default();
        }
        Ok(start)
    }

    /// The short path, as [`Server::execute`] has one for clients: calls and counts a write of the keyspace outside of a
    /// transaction. Everything else takes [`Server::apply_request`].
    #[inline(always)]
    fn apply_at_once(&mut self, token: Token, request: &Request, args: Args<'_>) -> Shortly {
        let Ok(command) = request.command else { return Shortly::Not };
        let Handler::Keyspace(run) = command.handler else { return Shortly::Not };
        if !command.has(flags::WRITE)
            || !command.accepts(args.len())
            || self.applying.held.is_some()
            || self.gate.denial().is_some()
        {
            return Shortly::Not;
        }
        let Some(outcome) = self.dispatch_for_primary(token, command, run, request.hash, args) else {
            return Shortly::Not;
        };
        if outcome.is_err() || self.core.keyspace.journal.is_unsettled() {
            self.account(&Caller::of_client(command, token, Origin::Primary), args, &outcome);
            return Shortly::Executed(command, outcome);
        }
        let ticks = self.core.stopwatch.lap();
        if self.core.count_command(command, ticks) {
            self.note_slow_command(&Caller::of_client(command, token, Origin::Primary), ticks, args);
        }
        Shortly::Done
    }

    /// Executes one request; `bytes` are its bytes as received.
    fn apply_request(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        places: Places<'_>,
        bytes: &[u8],
    ) {
        let which = found.ok().map(|command| command.handler);
        let Some(mut held) = self.applying.held.take() else {
            if let Some(Handler::Server(ServerCommand::Multi)) = which {
                let held = Held { bytes: bytes.to_vec(), ..Held::default() };
                self.applying.held = Some(Box::new(held));
                return;
            }
            self.execute_for_primary(token, found, hash, places.args());
            self.settle_own();
            return self.pass_on(bytes, found.is_ok_and(changes_no_data));
        };
        held.bytes.extend_from_slice(bytes);
        match which {
            Some(Handler::Server(ServerCommand::Multi)) => {
                self.note_primary_error("multi", &NESTED);
                self.applying.held = Some(held);
            }
            Some(Handler::Server(ServerCommand::Discard)) => self.pass_on(&held.bytes, true),
            Some(Handler::Server(ServerCommand::Exec)) => {
                for index in 0.. {
                    let Some((request, places)) = held.requests.request(index) else { break };
                    self.execute_for_primary(token, request.command, request.hash, places.args());
                }
                self.settle_own();
                self.pass_on(&held.bytes, false);
            }
            _ => {
                held.requests.push(found, hash, places);
                self.applying.held = Some(held);
            }
        }
    }

    fn execute_for_primary(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        args: Args<'_>,
    ) {
        // Redis sends the name that its client used, which `rename-command` may have changed.
        let (found, hash) = if found.is_ok() {
            (found, hash)
        } else {
            let renamed = self.core.names.find(&args);
            let hasher = self.core.keyspace.hasher();
            (renamed, renamed.map_or(0, |command| command.keys.hash_first(args, hasher)))
        };
        let command = match found {
            Ok(command) if command.accepts(args.len()) => command,
            Ok(command) => {
                let error = Error::from(Refusal::WrongArity(command).message(&args));
                return self.note_primary_error(command.full_name, &error);
            }
            Err(refusal) => return self.note_primary_error("<unknown>", &refusal.message(&args).into()),
        };
        if let Err(error) = admit(command) {
            return self.note_primary_error(command.full_name, &error);
        }
        if let Some(denial) = self.gate.denial()
            && (command.has(flags::WRITE) || command.full_name == "ping")
        {
            self.apply_in_spite_of(denial, command);
        }
        let outcome = match command.handler {
            Handler::Keyspace(run) => {
                let outcome = self.dispatch_for_primary(token, command, run, hash, args);
                let Some(outcome) = outcome else { return };
                self.account(&Caller::of_client(command, token, Origin::Primary), args, &outcome);
                outcome
            }
            Handler::Server(_) | Handler::Help | Handler::Container => {
                self.invoke_for_primary(token, command, hash, args)
            }
        };
        if let Err(error) = outcome {
            self.note_primary_error(command.full_name, &error);
        }
    }

    /// Handles a request that this replica cannot persist. Exits before it executes a write, unless
    /// `replica-ignore-disk-write-errors`: a supervisor, or Sentinel, then notices that the replica's disk fails.
    #[cold]
    fn apply_in_spite_of(&mut self, denial: Denial, command: &Command) {
        if command.has(flags::WRITE) && !self.core.config.replica_ignore_disk_write_errors {
            let what = match denial {
                Denial::Snapshot => "The last snapshot has failed.",
                Denial::Log => "Writing the AOF fails.",
            };
            self.die(format_args!(
                "Replica was unable to write command to disk. {what} Exiting, since replica-ignore-disk-write-errors is \
                 'no'."
            ));
        }
        let now_ms = self.core.keyspace.moment.unix_ms;
        if self.applying.warned_ms.is_none_or(|last| now_ms - last > WARN_EVERY_MS) {
            self.applying.warned_ms = Some(now_ms);
            self.process.log.warning(format_args!(
                "Replica is applying a command even though it is unable to write to disk."
            ));
        }
    }

    /// Calls a keyspace command; `None` if the connection is gone.
    #[inline(always)]
    fn dispatch_for_primary(
        &mut self,
        token: Token,
        command: &'static Command,
        run: KeyspaceFn,
        hash: u64,
        args: Args<'_>,
    ) -> Option<Result<(), Error>> {
        let session = &mut self.net.clients.get_mut(token)?.session;
        crash::now_executing(command.id);
        session.last_command = Some(command.id);
        self.applying.replies.clear();
        let reply = Reply { buf: &mut self.applying.replies, protocol: session.protocol };
        let environment = Environment { origin: Origin::Primary, session, reply, splices: None };
        Some(self.core.dispatch(run, environment, hash, args))
    }

    /// Calls and counts any command. A server command may use the client, so the session is taken from it meanwhile.
    fn invoke_for_primary(
        &mut self,
        token: Token,
        command: &'static Command,
        hash: u64,
        args: Args<'_>,
    ) -> Result<(), Error> {
        let Some(client) = self.net.clients.get_mut(token) else { return Ok(()) };
        let mut session = std::mem::replace(&mut client.session, Session::new(0, Rights::SERVER));
        session.last_command = Some(command.id);
        let mut reply = std::mem::take(&mut self.applying.replies);
        reply.clear();
        let mut caller = Caller::apart(command, Origin::Primary, None, &mut session, &mut reply);
        let outcome = self.invoke(&mut caller, hash, args);
        self.applying.replies = reply;
        if let Some(client) = self.net.clients.get_mut(token) {
            let flags = client.session.flags;
            client.session = session;
            // The client may have been closed meanwhile.
            client.session.flags.close_now |= flags.close_now;
        }
        outcome
    }

    /// Appends the primary's bytes to the stream. `is_aside`: they do not change the data.
    fn pass_on(&mut self, bytes: &[u8], is_aside: bool) {
        self.core.keyspace.journal.stream_mut().push_verbatim(bytes, is_aside);
    }

    /// Logs and counts a request that failed here but not on the primary: the data differs. Exits if
    /// `propagation-error-behavior` says so; on a writable replica an own client may have caused the error.
    #[cold]
    fn note_primary_error(&mut self, called: &str, error: &Error) {
        self.core.stats.unexpected_error_replies += 1;
        self.process.log.warning(format_args!(
            "== CRITICAL == This replica is sending an error to its master: '-{}' after processing the command '{called}'",
            String::from_utf8_lossy(error.text())
        ));
        let latest = self.core.keyspace.journal.stream().latest(SHOWN_BACKLOG);
        if !latest.is_empty() {
            self.process.log.notice(format_args!("Latest backlog is: '\"{}\"'", latest.escape_ascii()));
        }
        let config = &self.core.config;
        if config.replica_read_only && config.propagation_error_behavior != PropagationError::Ignore {
            self.die(format_args!(
                "This replica panicked sending an error to its master after processing the command '{called}'"
            ));
        }
    }
}

/// Refuses commands that no primary propagates: they could change this server's role or settings, block all clients, or
/// end the process. Redis 7.2 executes them; `REPLICAOF` and `SHUTDOWN` crash it.
fn admit(command: &Command) -> Result<(), Error> {
    use ServerCommand::{Discard, Exec, Publish, Replconf, Spublish};
    match command.handler {
        Handler::Server(Replconf | Publish | Spublish) => Ok(()),
        Handler::Server(Exec) => Err(EXEC_ALONE),
        Handler::Server(Discard) => Err(DISCARD_ALONE),
        _ if replay::changes_data(command) => Ok(()),
        _ => Err(NOT_IN_STREAM),
    }
}

/// Whether the log leaves a request of the primary out.
fn changes_no_data(command: &crate::command::Command) -> bool {
    use ServerCommand::{Publish, Replconf, Spublish};
    matches!(command.handler, Handler::Server(Publish | Replconf | Spublish)) || command.full_name == "ping"
}
