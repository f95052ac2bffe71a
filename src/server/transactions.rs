//! Transactions: `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
//!
//! Between `MULTI` and `EXEC` a client's requests are admitted like any others but queued as copies instead of called
//! ([`super::net::transaction`]). `EXEC` calls them one after the other as one unit, so nothing executes in between,
//! and settling frames their propagated calls with `MULTI` and `EXEC`. A request that is refused while the queue is
//! open makes `EXEC` fail; one that fails during `EXEC` does not stop the others. [`super::audience::watchers`] has the
//! keys that a client watches.

use super::Server;
use super::invoke::Caller;
use super::net::batch::Rest;
use super::net::output::Mark;
use super::net::transaction::Transaction;
use super::parts::WATCHED;
use crate::command::error::{Error, Result};
use crate::command::{Args, Command, Handler, Origin, ServerCommand, flags};
use crate::db::Awaiting;
use crate::resp::MAX_WINDOW;
use crate::server::audience::watchers::Watched;
use crate::sys::crash;
use crate::sys::poller::Token;

const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

/// Whether this command is executed at once even within a transaction.
fn is_called_at_once(command: &Command) -> bool {
    use ServerCommand as C;
    matches!(
        command.handler,
        Handler::Server(C::Exec | C::Discard | C::Multi | C::Watch | C::Quit | C::Reset)
    )
}

/// The requests that `EXEC` executes, and its progress.
pub(super) struct Execution {
    pub requests: Rest,
    pub next: usize,
    /// The tick counter at its start.
    began: u64,
    /// The start of its reply, and the length of the output above which the client is disconnected.
    pub start: Mark,
    pub bound: usize,
    /// Bytes of large values in the reply that were not copied.
    spliced: usize,
    /// Its client is closed after the replies before the current one.
    closing: bool,
}

pub(super) const NESTED: Error = Error::new("ERR MULTI calls can not be nested");
pub(super) const DISCARD_ALONE: Error = Error::new("ERR DISCARD without MULTI");
pub(super) const EXEC_ALONE: Error = Error::new("ERR EXEC without MULTI");

impl Server {
    /// Queues an admitted request if its client has a transaction open. Returns whether it did.
    pub(super) fn queue(
        &mut self,
        token: Token,
        command: &'static Command,
        hash: u64,
        args: Args<'_>,
    ) -> bool {
        let is_open = self.net.clients.get(token).is_some_and(|client| client.transaction.is_some());
        if !is_open || is_called_at_once(command) {
            return false;
        }
        let flags = self.flags_of_call(token, command, args);
        let Some(client) = self.net.clients.get_mut(token) else { return false };
        let Some(transaction) = client.transaction.as_mut() else { return false };
        if !transaction.is_refused() && !self.audience.watchers.is_touched(token) {
            transaction.push(command, flags, hash, args.places());
            let most = self.core.config.client_query_buffer_limit.min(MAX_WINDOW as u64);
            if transaction.argument_bytes() as u64 > most {
                self.close_for_query_limit(token);
                return true;
            }
        }
        self.net.reply_to(token).queued();
        true
    }

    /// Marks an open transaction of `token` as failed, because a request was refused.
    #[cold]
    pub(super) fn refuse_transaction(&mut self, token: Token) {
        if let Some(client) = self.net.clients.get_mut(token)
            && let Some(transaction) = &mut client.transaction
        {
            transaction.refuse();
        }
    }

    /// The flags of a call of `command`. `EXEC` has also those of its queued commands; a script has those that it
    /// declares.
    pub(super) fn flags_of_call(&self, token: Token, command: &Command, args: Args<'_>) -> u64 {
        if command.has(flags::NO_MANDATORY_KEYS) {
            return self.flags_of_script(command, args);
        }
        command.flags | self.queued_for(token, command).map_or(0, Transaction::flags)
    }

    /// The flags that permit a call of `command` in some mode, as `STALE` does: `EXEC` has those that its queued commands
    /// have, too.
    pub(super) fn permits_of_call(&self, token: Token, command: &Command, args: Args<'_>) -> u64 {
        let lacking = self.queued_for(token, command).map_or(0, Transaction::lacking);
        self.flags_of_call(token, command, args) & !lacking
    }

    /// Whether a call of `command` neither changes data nor has a reply that shows any. That of `EXEC` shows whether a
    /// watched key was changed.
    pub(super) fn is_independent(&self, token: Token, command: &Command, args: Args<'_>) -> bool {
        if !command.has(flags::NO_DATA) {
            return false;
        }
        match self.queued_for(token, command) {
            Some(transaction) if transaction.is_refused() => true,
            Some(_) if self.audience.watchers.is_watching(token) => false,
            _ => self.permits_of_call(token, command, args) & flags::NO_DATA != 0,
        }
    }

    /// The queued commands, if `command` is `EXEC`.
    fn queued_for(&self, token: Token, command: &Command) -> Option<&Transaction> {
        let is_exec = matches!(command.handler, Handler::Server(ServerCommand::Exec));
        let client = self.net.clients.get(token).filter(|_| is_exec);
        client.and_then(|client| client.transaction.as_deref())
    }

    /// `MULTI`: starts queueing requests.
    pub(super) fn multi(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let token = caller.client()?;
        let Some(client) = self.net.clients.get_mut(token) else { return Ok(()) };
        if client.transaction.is_some() {
            return Err(NESTED);
        }
        client.transaction = Some(Box::default());
        client.session.flags.transaction = true;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `DISCARD`: drops the queued requests and the watched keys.
    pub(super) fn discard(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let token = caller.client()?;
        if !caller.session(&mut self.net).flags.transaction {
            return Err(DISCARD_ALONE);
        }
        self.end_transaction(token);
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// Ends the transaction of `token` and removes its watched keys.
    pub(super) fn end_transaction(&mut self, token: Token) {
        self.unwatch_all(token);
        if let Some(client) = self.net.clients.get_mut(token) {
            client.session.flags.transaction = false;
            client.transaction = None;
        }
    }

    /// `EXEC`: replies with the replies of all queued requests, or null if a watched key was changed.
    pub(super) fn exec(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let token = caller.client()?;
        let Some(client) = self.net.clients.get_mut(token) else { return Ok(()) };
        let Some(transaction) = client.transaction.as_deref_mut() else {
            return Err(EXEC_ALONE);
        };
        if transaction.is_refused() {
            self.end_transaction(token);
            return Err(Error::new(ABORTED));
        }
        let requests = transaction.take();
        if self.audience.watchers.is_touched(token) || self.has_watched_key_expired(token) {
            self.end_transaction(token);
            caller.reply(&mut self.net).null_array();
            return Ok(());
        }
        self.unwatch_all(token);
        let start = self.net.output.mark(token);
        let bound = self.output_bound(token);
        caller.reply(&mut self.net).array(requests.batch.requests.len());
        self.take_back_unwanted(token, start, false);
        let began = self.core.stopwatch.since();
        let execution = Execution { requests, next: 0, began, start, bound, spliced: 0, closing: false };
        self.go_on_executing(token, execution);
        Ok(())
    }

    /// Executes the remaining requests of an `EXEC`. Returns false if one of them has started a slow script.
    pub(super) fn go_on_executing(&mut self, token: Token, mut execution: Execution) -> bool {
        while let Some((request, places)) = execution.requests.request(execution.next) {
            let Ok(command) = request.command else { unreachable!("only admitted requests are queued") };
            let start = self.net.output.mark(token);
            execution.closing = self.net.session(token).is_closing();
            match self.deny_queued(token, command, places.args()) {
                None => self.invoke_for_client(token, command, request.hash, places.args(), Origin::Exec),
                Some(error) => self.reply_error(token, &error),
            }
            if self.is_suspended(token) {
                self.suspend_execution(execution);
                return false;
            }
            self.end_queued(token, &mut execution, start);
        }
        self.net.session(token).flags.pushed = true;
        if let Some(exec) = self.net.session(token).last_command {
            crash::now_executing(exec);
        }
        self.core.stopwatch.resume(execution.began);
        self.end_transaction(token);
        true
    }

    /// Ends the current request of an `EXEC`; its reply begins at `start`.
    pub(super) fn end_queued(&mut self, token: Token, execution: &mut Execution, start: Mark) {
        self.notify_within_unit(token, false);
        self.take_back_unwanted(token, start, execution.closing);
        execution.spliced += self.net.output.spliced_since(start);
        // All requests are executed, even if the client will not get the replies.
        if self.net.session(token).flags.close_now {
            self.net.output.take_back(execution.start);
        } else {
            self.end_beyond(token, execution.bound.saturating_sub(execution.spliced));
        }
        execution.next += 1;
    }

    /// Removes the output since `start` if the client of an `EXEC` must not get it: it is `closing` after earlier
    /// replies, or has replies off. A `CLIENT REPLY` within the transaction takes effect with the command itself.
    fn take_back_unwanted(&mut self, token: Token, start: Mark, closing: bool) {
        let flags = &mut self.net.session(token).flags;
        let pushed = std::mem::take(&mut flags.pushed);
        if closing || (flags.reply_off || flags.reply_skip) && !pushed {
            self.net.output.take_back(start);
        }
    }

    /// `WATCH key …`: makes the next `EXEC` fail if one of these keys changes before it. Works in parts if there are
    /// very many keys.
    pub(super) fn watch(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        if caller.session(&mut self.net).flags.transaction {
            return Err(Error::new("ERR WATCH inside MULTI is not allowed"));
        }
        let db = caller.session(&mut self.net).db;
        let from = self.continues_from().max(1);
        let end = args.len().min(from + WATCHED);
        self.sweep_watched(end - from);
        for at in from..end {
            let name = args.get(at);
            let key = self.core.keyspace.key(db, name);
            let entry = self.core.keyspace.peek(key);
            let (present, expire_at) = (entry.is_some(), entry.and_then(|entry| entry.expire_at()));
            if self.audience.watchers.watch(token, Watched { db, name: name.into(), present, expire_at }) {
                self.core.keyspace.journal.await_key(key.hash, Awaiting::Change);
            }
        }
        if end < args.len() {
            self.continue_later(caller, end);
            return Ok(());
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `UNWATCH`: removes all watched keys.
    pub(super) fn unwatch(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let token = caller.client()?;
        self.unwatch_all(token);
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// Removes all watched keys of `token`, which then counts as unchanged.
    pub(super) fn unwatch_all(&mut self, token: Token) {
        let forgotten = self.audience.watchers.forget(token);
        self.sweep_watched(forgotten.min(WATCHED));
    }

    /// Removes at most `most` keys that are no longer watched. The journal stops recording their changes.
    pub(super) fn sweep_watched(&mut self, most: usize) {
        if self.audience.watchers.has_departed() {
            let keyspace = &mut self.core.keyspace;
            self.audience.watchers.sweep(most, |name| {
                let hash = keyspace.hash(name);
                keyspace.journal.forget(hash, Awaiting::Change);
            });
        }
    }

    /// Whether a key that `token` watches has expired since but is not deleted yet. O(1) before the first of them
    /// expires.
    fn has_watched_key_expired(&self, token: Token) -> bool {
        let (keyspace, watchers) = (&self.core.keyspace, &self.audience.watchers);
        let is_gone = |key: &Watched| keyspace.peek(keyspace.key(key.db, &key.name)).is_none();
        watchers.may_have_expired(token, keyspace.moment.unix_ms)
            && watchers.keys(token).iter().any(|key| key.present && is_gone(key))
    }
}

/// The error of an `EXEC` that is refused because of `error`.
pub(super) fn aborted_because(error: &Error) -> Error {
    let text = error.text();
    let reason = text.strip_prefix(b"ERR ").unwrap_or(text);
    Error::concat(&[b"EXECABORT Transaction discarded because of: ", reason])
}
