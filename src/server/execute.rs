//! One request: admission ([`super::admit`]), the call, the accounts after.
//!
//! What only matters while clients are paused or monitors watch is compiled into a second form of the same functions
//! (`WATCHED`), which one flag chooses: the usual one does not know of it.

use super::core::dispatch::Caller;
use super::net::output::Output;
use super::{Server, admin};
use crate::command::{Args, Command, Context, Handler, Refusal, ServerCommand};
use crate::resp::{Protocol, Reply};
use crate::sys::poller::Token;

impl Server {
    /// Where replies of the current command go.
    #[inline]
    pub(super) fn reply(&mut self, protocol: Protocol) -> Reply<'_> {
        Reply { buf: &mut self.net.output.buffer, protocol }
    }

    /// Executes one request of `token` and writes its reply.
    #[inline]
    pub(super) fn execute(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        args: Args<'_>,
    ) {
        if self.audience.attention {
            return self.execute_watched(token, found, hash, args);
        }
        let before = self.net.output.buffer.len();
        self.answer::<false>(token, found, hash, args, before);
        self.apply_reply_mode(token, before);
        if !self.core.keyspace.journal.is_empty() {
            self.settle(token);
        }
    }

    /// [`Server::execute`] while clients are paused or monitors watch.
    #[cold]
    #[inline(never)]
    fn execute_watched(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        args: Args<'_>,
    ) {
        let monitors = |command: &Command| matches!(command.handler, Handler::Server(ServerCommand::Monitor));
        if self.is_monitor(token) || found.is_ok_and(monitors) {
            self.net.output.close_segment(token);
            self.deliver_feed();
        }
        let mut before = self.net.output.buffer.len();
        let executed = self.answer::<true>(token, found, hash, args, before);
        let Some(flags) = self.net.clients.get(token).map(|client| client.session.flags) else { return };
        if flags.waiting {
            return;
        }
        if let (true, Ok(command)) = (executed, found) {
            self.show_to_monitors(token, command, args);
        }
        if flags.monitor {
            if flags.reply_off || flags.reply_skip {
                self.net.output.truncate(before);
            }
            self.net.output.close_segment(token);
            self.deliver_feed();
            before = self.net.output.buffer.len();
        }
        self.apply_reply_mode(token, before);
        if !self.core.keyspace.journal.is_empty() {
            self.settle(token);
        }
        self.core.stopwatch.start();
    }

    fn is_monitor(&self, token: Token) -> bool {
        self.net.clients.get(token).is_some_and(|client| client.session.flags.monitor)
    }

    /// What decides between the two forms of execution.
    pub(super) fn refresh_attention(&mut self) {
        self.audience.attention = self.audience.pause.is_active() || !self.audience.monitors.is_empty();
    }

    /// Replies to a request; whether a command was executed for that.
    #[inline(always)]
    fn answer<const WATCHED: bool>(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        args: Args<'_>,
        before: usize,
    ) -> bool {
        let Some(command) = self.admit::<WATCHED>(token, found, args) else { return false };
        self.call(token, command, hash, args, before)
    }

    /// Calls an admitted command and keeps its accounts. Returns false if it has to wait.
    #[inline(always)]
    fn call(
        &mut self,
        token: Token,
        command: &'static Command,
        hash: u64,
        args: Args<'_>,
        before: usize,
    ) -> bool {
        let Some(client) = self.net.clients.get_mut(token) else { return false };
        client.session.last_command = Some(command.id);
        let outcome = match command.handler {
            Handler::Keyspace(run) => {
                let Output { buffer, splices, .. } = &mut self.net.output;
                let reply = Reply { buf: buffer, protocol: client.session.protocol };
                let caller =
                    Caller { session: &mut client.session, reply, splices: Some(splices), may_wait: true };
                self.core.dispatch(run, caller, hash, args)
            }
            Handler::Legacy(run) => {
                let Output { buffer, splices, .. } = &mut self.net.output;
                let reply = Reply { buf: buffer, protocol: client.session.protocol };
                let caller =
                    Caller { session: &mut client.session, reply, splices: Some(splices), may_wait: true };
                let run = |context: &mut Context<'_>, args: Args<'_>| {
                    run(context, args);
                    context.unchanged();
                    Ok(())
                };
                self.core.dispatch(run, caller, hash, args)
            }
            Handler::Server(which) => {
                admin::run(self, token, which, args);
                Ok(())
            }
            Handler::Help => {
                self.reply_help(token, command, args);
                Ok(())
            }
            Handler::Container => unreachable!("a container's arity asks for a subcommand"),
        };
        if self.core.wait.is_some() {
            return false;
        }
        let ticks = self.core.stopwatch.lap();
        self.core.stats.record(command.id, ticks);
        if self.core.stopwatch.is_slow(ticks) {
            self.note_slow_command(token, command, ticks, args);
            self.core.stopwatch.start();
        }
        if let Err(error) = outcome {
            debug_assert_eq!(self.net.output.buffer.len(), before, "an error comes instead of a reply");
            self.core.stats.command(command.id).failed += 1;
            self.reply_error(token, &error);
        } else if self.net.output.buffer.get(before) == Some(&b'-') {
            self.core.stats.command(command.id).failed += 1;
            let code = first_word(&self.net.output.buffer[before + 1..]).to_vec();
            self.core.stats.count_error(&code);
        }
        true
    }

    /// `CLIENT REPLY OFF` and `SKIP`: takes the reply back.
    #[inline]
    pub(super) fn apply_reply_mode(&mut self, token: Token, before: usize) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let flags = &mut client.session.flags;
        if !(flags.reply_off | flags.reply_skip | flags.reply_skip_next) {
            return;
        }
        if flags.reply_off || flags.reply_skip {
            self.net.output.truncate(before);
        }
        flags.reply_skip = flags.reply_skip_next;
        flags.reply_skip_next = false;
    }
}

/// The error code: what stands before the first space.
fn first_word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| matches!(b, b' ' | b'\r' | b'\n')).unwrap_or(text.len());
    &text[..end]
}
