//! `AUTH`, `HELLO`, `RESET`, `QUIT`, and `CLIENT` subcommands: a client's identity, its protocol and its flags.

use crate::command::REDIS_VERSION;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::{Args, Session, acl};
use crate::resp::Protocol;
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::text::number;
use crate::text::words::shown;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// Names are printable ASCII without spaces, so that a `CLIENT LIST` line can be parsed.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

impl Server {
    /// `AUTH [username] password`: `OK`, or `WRONGPASS`.
    pub(super) fn auth(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        match args.len() {
            2 if self.core.users.needs_no_password() => {
                return Err(Error::new(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                ));
            }
            2 => self.log_in(caller, acl::DEFAULT, args.get(1), args)?,
            3 => self.log_in(caller, args.get(1), args.get(2), args)?,
            _ => return Err(SYNTAX),
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// Logs the session in as the user `name`, if `password` is right.
    fn log_in(&mut self, caller: &mut Caller<'_>, name: &[u8], password: &[u8], args: Args<'_>) -> Result {
        let Some(user) = self.core.users.authenticate(name, password) else {
            self.log_failed_login(caller, name, args.get(0));
            return Err(Error::new(WRONG_PASSWORD));
        };
        caller.session(&mut self.net).rights = self.core.users.rights(user, true);
        Ok(())
    }

    /// `HELLO [protover [AUTH username password] [SETNAME name]]`: a map that describes the server.
    pub(super) fn hello(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.apply_hello(caller, args)?;
        let session = caller.session(&mut self.net);
        let (id, protocol) = (session.id, session.protocol);
        let role = if self.replication.upstream.is_some() { "replica" } else { "master" };
        let mode = self.mode_name();
        let mut reply = caller.reply(&mut self.net);
        reply.map(7);
        reply.bulk(b"server");
        reply.bulk(b"redis");
        reply.bulk(b"version");
        reply.bulk(REDIS_VERSION.as_bytes());
        reply.bulk(b"proto");
        reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
        reply.bulk(b"id");
        reply.integer(id as i64);
        reply.bulk(b"mode");
        reply.bulk(mode.as_bytes());
        reply.bulk(b"role");
        reply.bulk(role.as_bytes());
        reply.bulk(b"modules");
        reply.array(0);
        Ok(())
    }

    /// Applies the options of `HELLO`: all of them, or none and returns the error's text.
    fn apply_hello(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let protocol = match args.len() {
            1 => None,
            _ => match number::parse_i64(args.get(1)) {
                Some(2) => Some(Protocol::Resp2),
                Some(3) => Some(Protocol::Resp3),
                Some(_) => return Err(Error::new("NOPROTO unsupported protocol version")),
                None => return Err(Error::new("ERR Protocol version is not an integer or out of range")),
            },
        };
        let (mut name, mut credentials) = (None, None);
        let mut i = 2;
        while i < args.len() {
            if args.is(i, "auth") && i + 2 < args.len() {
                credentials = Some((args.get(i + 1), args.get(i + 2)));
                i += 3;
            } else if args.is(i, "setname") && i + 1 < args.len() {
                name = Some(args.get(i + 1));
                if !is_valid_name(args.get(i + 1)) {
                    return Err(BAD_NAME.into());
                }
                i += 2;
            } else {
                return Err(Error::concat(&[
                    b"ERR Syntax error in HELLO option '",
                    shown(args.get(i)),
                    b"'",
                ]));
            }
        }
        if let Some((user, password)) = credentials {
            self.log_in(caller, user, password, args)?;
        }
        let session = caller.session(&mut self.net);
        if !session.rights.authenticated {
            return Err(Error::new(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                version at the same time",
            ));
        }
        if let Some(name) = name {
            session.names_mut().name = name.to_vec();
        }
        session.protocol = protocol.unwrap_or(session.protocol);
        let protocol = session.protocol;
        self.audience.subscribers.change_protocol(token, protocol);
        Ok(())
    }

    /// `RESET`: resets the session to that of a new connection.
    pub(super) fn reset(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let token = caller.client()?;
        if !self.remove_subscriptions(caller, token) {
            return Ok(());
        }
        let rights = self.core.users.initial_rights();
        if caller.session(&mut self.net).flags.monitor {
            self.stop_monitoring(token);
        }
        self.end_transaction(token);
        self.forget_tracking(token);
        let session = caller.session(&mut self.net);
        let (lib_name, lib_version) = session
            .names
            .take()
            .map_or((Vec::new(), Vec::new()), |names| (names.lib_name, names.lib_version));
        let reply_skip = session.flags.reply_skip;
        *session = Session { last_command: session.last_command, ..Session::new(session.id, rights) };
        // `CLIENT REPLY SKIP` drops the reply to `RESET` itself.
        session.flags.reply_skip = reply_skip;
        if !lib_name.is_empty() || !lib_version.is_empty() {
            let names = session.names_mut();
            (names.lib_name, names.lib_version) = (lib_name, lib_version);
        }
        caller.reply(&mut self.net).simple("RESET");
        Ok(())
    }

    /// `QUIT`: `OK`, then the connection is closed.
    pub(super) fn quit(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        caller.reply(&mut self.net).ok();
        caller.session(&mut self.net).flags.close_after_reply = true;
        Ok(())
    }

    /// `CLIENT ID`.
    pub(super) fn client_id(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let id = caller.session(&mut self.net).id;
        caller.reply(&mut self.net).integer(id as i64);
        Ok(())
    }

    /// `CLIENT GETNAME`: the name, or null.
    pub(super) fn client_getname(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let name = caller.session(&mut self.net).name().to_vec();
        let mut reply = caller.reply(&mut self.net);
        if name.is_empty() {
            reply.null();
        } else {
            reply.bulk(&name);
        }
        Ok(())
    }

    /// `CLIENT SETNAME name`.
    pub(super) fn client_setname(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let name = args.get(2);
        if !is_valid_name(name) {
            return Err(BAD_NAME.into());
        }
        caller.session(&mut self.net).names_mut().name = name.to_vec();
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `CLIENT SETINFO LIB-NAME name` or `LIB-VER version`.
    pub(super) fn client_setinfo(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let value = args.get(3).to_vec();
        let is_name = args.is(2, "lib-name");
        if !is_name && !args.is(2, "lib-ver") {
            return Err(Error::concat(&[b"ERR Unrecognized option '", shown(args.get(2)), b"'"]));
        }
        if !is_valid_name(&value) {
            let rest = b" cannot contain spaces, newlines or special characters.";
            return Err(Error::concat(&[b"ERR ", args.get(2), rest]));
        }
        let names = caller.session(&mut self.net).names_mut();
        if is_name {
            names.lib_name = value;
        } else {
            names.lib_version = value;
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `CLIENT NO-EVICT ON | OFF`.
    pub(super) fn client_no_evict(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        caller.session(&mut self.net).flags.no_evict = on_or_off(args)?;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `CLIENT NO-TOUCH ON | OFF`.
    pub(super) fn client_no_touch(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        caller.session(&mut self.net).flags.no_touch = on_or_off(args)?;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `CLIENT REPLY ON | OFF | SKIP`: only `ON` gets a reply.
    pub(super) fn client_reply(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let flags = &mut caller.session(&mut self.net).flags;
        if args.is(2, "on") {
            flags.reply_off = false;
            flags.reply_skip = false;
            caller.reply(&mut self.net).ok();
        } else if args.is(2, "off") {
            flags.reply_off = true;
        } else if args.is(2, "skip") {
            flags.reply_skip_next = !flags.reply_off;
        } else {
            return Err(SYNTAX);
        }
        Ok(())
    }
}

/// Parses `ON` or `OFF` in argument 2.
fn on_or_off(args: Args<'_>) -> Result<bool> {
    match (args.is(2, "on"), args.is(2, "off")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(SYNTAX),
    }
}
