//! One request: the checks before, the command, the accounts after.

use super::{Server, admin};
use crate::command::{Args, Command, Context, Handler, Refusal, flags, introspect};
use crate::resp::{Protocol, Reply};
use crate::sys::poller::Token;

impl Server {
    /// Where replies of the current command go.
    #[inline]
    pub(super) fn reply(&mut self, protocol: Protocol) -> Reply<'_> {
        Reply { buf: &mut self.output.buffer, protocol }
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
        let before = self.output.buffer.len();
        match found {
            Ok(command) if command.accepts(args.len()) => self.call(token, command, hash, args, before),
            Ok(command) => {
                self.stats.command(command.id).rejected += 1;
                self.refuse(token, Refusal::WrongArity(command).message(&args));
            }
            Err(_) if is_web_request(args.get(0)) => self.abort_web_request(token),
            Err(refusal) => self.refuse(token, refusal.message(&args)),
        }
        self.apply_reply_mode(token, before);
    }

    fn refuse(&mut self, token: Token, text: Vec<u8>) {
        let Some(client) = self.clients.get(token) else { return };
        let protocol = client.session.protocol;
        self.stats.count_error(first_word(&text));
        self.reply(protocol).error(text);
    }

    /// A browser on this machine can be made to send requests here, with commands in their bodies: the connection is
    /// closed before the first of them. One line in the log a minute is enough.
    #[cold]
    fn abort_web_request(&mut self, token: Token) {
        const MINUTE_MS: i64 = 60_000;
        let now = self.keyspace.moment.unix_ms;
        if now - self.web_request_logged_ms >= MINUTE_MS {
            self.web_request_logged_ms = now;
            self.log.warning(format_args!(
                "Possible SECURITY ATTACK: a client speaks HTTP (POST or Host:). Connection aborted: {}",
                self.describe_client(token)
            ));
        }
        self.doom(token);
    }

    #[inline]
    fn call(&mut self, token: Token, command: &'static Command, hash: u64, args: Args<'_>, before: usize) {
        if command.has(flags::PROTECTED) && !self.permits(token, command) {
            self.stats.command(command.id).rejected += 1;
            return self.refuse(token, not_allowed(command));
        }
        let Some(client) = self.clients.get_mut(token) else { return };
        if !client.session.authenticated && !command.has(flags::NO_AUTH) {
            self.stats.command(command.id).rejected += 1;
            return self.refuse(token, b"NOAUTH Authentication required.".to_vec());
        }
        client.session.last_command = Some(command.id);
        match command.handler {
            Handler::Keyspace(run) => {
                let reply = Reply { buf: &mut self.output.buffer, protocol: client.session.protocol };
                let mut context = Context {
                    keyspace: &mut self.keyspace,
                    session: &mut client.session,
                    reply,
                    splices: &mut self.output.splices,
                    config: &self.config,
                    hash,
                };
                run(&mut context, args);
            }
            Handler::Server(which) => admin::run(self, token, which, args),
            Handler::Help => self.reply_help(token, command, args),
            Handler::Container => unreachable!("a container's arity asks for a subcommand"),
        }
        self.account(command, before);
    }

    /// Whether the configuration lets this client call a protected command.
    #[cold]
    fn permits(&self, token: Token, command: &Command) -> bool {
        let local = self.clients.get(token).is_some_and(|c| c.socket.peer().is_loopback());
        let allowed = match introspect::container_of(command).name {
            "debug" => self.config.enable_debug_command,
            _ => self.config.enable_module_command,
        };
        allowed.permits(local)
    }

    /// Statistics of a command that has just run.
    #[inline]
    fn account(&mut self, command: &'static Command, before: usize) {
        self.timed.add(command, &mut self.stats);
        if self.output.buffer.get(before) == Some(&b'-') {
            self.stats.command(command.id).failed += 1;
            self.stats.count_error(first_word(&self.output.buffer[before + 1..]));
        }
    }

    /// `CLIENT REPLY OFF` and `SKIP`: takes the reply back.
    #[inline]
    fn apply_reply_mode(&mut self, token: Token, before: usize) {
        let Some(client) = self.clients.get_mut(token) else { return };
        let flags = &mut client.session.flags;
        if !(flags.reply_off | flags.reply_skip | flags.reply_skip_next) {
            return;
        }
        if flags.reply_off || flags.reply_skip {
            self.output.truncate(before);
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
