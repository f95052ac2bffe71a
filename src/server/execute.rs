//! One request: the checks before, the command, the accounts after.
//!
//! What only matters while clients are paused or monitors watch is compiled into a second form of the same functions
//! (`WATCHED`), which one flag chooses: the usual one does not know of it.

use super::{Server, admin};
use crate::command::{Args, Command, Context, Handler, Refusal, ServerCommand, flags, introspect};
use crate::resp::{Protocol, Reply};
use crate::sys::clock;
use crate::sys::poller::Token;

/// What a monitor may not call: it would see the data without being paused or limited like others.
const TOUCHES_KEYS: u64 = flags::WRITE | flags::READONLY | flags::MAY_REPLICATE;

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
        let working = clock::ticks();
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
        self.core.timed.excluding(clock::ticks().wrapping_sub(working));
        self.apply_reply_mode(token, before);
    }

    fn is_monitor(&self, token: Token) -> bool {
        self.net.clients.get(token).is_some_and(|client| client.session.flags.monitor)
    }

    /// What decides between the two forms of execution.
    pub(super) fn refresh_attention(&mut self) {
        self.audience.attention = self.audience.pause.is_active() || !self.audience.monitors.is_empty();
    }

    /// Replies to a request; tells whether a command was executed for that.
    #[inline(always)]
    fn answer<const WATCHED: bool>(
        &mut self,
        token: Token,
        found: Result<&'static Command, Refusal>,
        hash: u64,
        args: Args<'_>,
        before: usize,
    ) -> bool {
        match found {
            Ok(command) if command.accepts(args.len()) => {
                return self.call::<WATCHED>(token, command, hash, args, before);
            }
            Ok(command) => {
                self.core.stats.command(command.id).rejected += 1;
                self.refuse(token, Refusal::WrongArity(command).message(&args));
            }
            Err(_) if is_web_request(args.get(0)) => self.abort_web_request(token),
            Err(refusal) => self.refuse(token, refusal.message(&args)),
        }
        false
    }

    fn refuse(&mut self, token: Token, text: Vec<u8>) {
        let Some(client) = self.net.clients.get(token) else { return };
        let protocol = client.session.protocol;
        self.core.stats.count_error(first_word(&text));
        self.reply(protocol).error(text);
    }

    /// A browser on this machine can be made to send requests here, with commands in their bodies: the connection is
    /// closed before the first of them. One line in the log a minute is enough.
    #[cold]
    fn abort_web_request(&mut self, token: Token) {
        const MINUTE_MS: i64 = 60_000;
        let now = self.core.keyspace.moment.unix_ms;
        if now - self.process.web_request_logged_ms >= MINUTE_MS {
            self.process.web_request_logged_ms = now;
            self.process.log.warning(format_args!(
                "Possible SECURITY ATTACK: a client speaks HTTP (POST or Host:). Connection aborted: {}",
                self.describe_client(token)
            ));
        }
        self.doom(token);
    }

    /// Executes `command`, unless it is refused or has to wait.
    #[inline(always)]
    fn call<const WATCHED: bool>(
        &mut self,
        token: Token,
        command: &'static Command,
        hash: u64,
        args: Args<'_>,
        before: usize,
    ) -> bool {
        if command.has(flags::PROTECTED) && !self.permits(token, command) {
            self.reject(token, command, &not_allowed(command));
            return false;
        }
        let Some(mut client) = self.net.clients.get_mut(token) else { return false };
        if !client.session.authenticated && !command.has(flags::NO_AUTH) {
            self.reject(token, command, b"NOAUTH Authentication required.");
            return false;
        }
        if WATCHED {
            if client.session.flags.monitor && command.flags & TOUCHES_KEYS != 0 {
                self.reject(token, command, b"ERR Replica can't interact with the keyspace");
                return false;
            }
            if self.has_to_wait(token, command) {
                return false;
            }
            let Some(same) = self.net.clients.get_mut(token) else { return false };
            client = same;
        }
        client.session.last_command = Some(command.id);
        match command.handler {
            Handler::Keyspace(run) => {
                let reply = Reply { buf: &mut self.net.output.buffer, protocol: client.session.protocol };
                let mut context = Context {
                    keyspace: &mut self.core.keyspace,
                    session: &mut client.session,
                    reply,
                    splices: &mut self.net.output.splices,
                    config: &self.core.config,
                    hash,
                };
                run(&mut context, args);
            }
            Handler::Server(which) => admin::run(self, token, which, args),
            Handler::Help => self.reply_help(token, command, args),
            Handler::Container => unreachable!("a container's arity asks for a subcommand"),
        }
        self.account(command, before);
        true
    }

    /// Refuses a command that the client may not call now.
    #[cold]
    fn reject(&mut self, token: Token, command: &'static Command, text: &[u8]) {
        self.core.stats.command(command.id).rejected += 1;
        self.refuse(token, text.to_vec());
    }

    /// Whether the configuration lets this client call a protected command.
    #[cold]
    fn permits(&self, token: Token, command: &Command) -> bool {
        let local = self.net.clients.get(token).is_some_and(|c| c.socket.peer().is_loopback());
        let allowed = match introspect::container_of(command).name {
            "debug" => self.core.config.enable_debug_command,
            _ => self.core.config.enable_module_command,
        };
        allowed.permits(local)
    }

    /// Statistics of a command that has just run.
    #[inline]
    fn account(&mut self, command: &'static Command, before: usize) {
        self.core.timed.add(command);
        if self.net.output.buffer.get(before) == Some(&b'-') {
            self.core.stats.command(command.id).failed += 1;
            self.core.stats.count_error(first_word(&self.net.output.buffer[before + 1..]));
        }
    }

    /// `CLIENT REPLY OFF` and `SKIP`: takes the reply back.
    #[inline]
    fn apply_reply_mode(&mut self, token: Token, before: usize) {
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

/// Whether a request of another protocol, made by a browser for somebody else, has come here.
fn is_web_request(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

fn not_allowed(command: &Command) -> Vec<u8> {
    let name = introspect::container_of(command).name;
    let upper = name.to_ascii_uppercase();
    format!(
        "ERR {upper} command not allowed. If the enable-{name}-command option is set to \"local\", you can run it from \
         a local connection, otherwise you need to set this option in the configuration file, and then restart the \
         server."
    )
    .into_bytes()
}

/// The error code: what stands before the first space.
fn first_word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| matches!(b, b' ' | b'\r' | b'\n')).unwrap_or(text.len());
    &text[..end]
}
