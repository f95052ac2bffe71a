//! `EVAL` and its relatives, and `SCRIPT`: scripts that clients send.

use std::rc::Rc;

use crate::command::error::{Error, Result};
use crate::command::{Args, Command, DebugMode, Origin, ServerCommand};
use crate::server::Server;
use crate::server::scripting::{Begin, number_of_keys};
use crate::server::scripts::run::{self, Host, Kind};
use crate::sys::poller::Token;

/// The digits of a digest.
const DIGITS: usize = 40;

const UNKNOWN: Error = Error::new("NOSCRIPT No matching script. Please use EVAL.");

impl Server {
    /// `EVAL script numkeys [key …] [arg …]`, `EVAL_RO`: what the script returns. It is kept for `EVALSHA`, for as long as
    /// not too many others come.
    pub(super) fn eval(&mut self, token: Token, command: &'static Command, args: Args<'_>) -> Result {
        self.show_call(token, command, args);
        match self.net.session(token).flags.debugging {
            DebugMode::No => self.eval_for(Some(token), self.net.selected_db(token), command, args),
            DebugMode::Forked => self.debug_apart(token, command, args),
            DebugMode::InPlace => self.debug_in_place(token, command, args),
        }
    }

    /// `EVAL` for a client, or during loading if `client` is `None`.
    pub(in crate::server) fn eval_for(
        &mut self,
        client: Option<Token>,
        db: usize,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result {
        let keys = number_of_keys(args)?;
        let source = args.get(1);
        let place = self.scripts.cache.load(source, self.core.keyspace.hash(source), false)?;
        self.run_cached(client, command, (place, keys, db), args)
    }

    /// `EVALSHA sha1 numkeys [key …] [arg …]`, `EVALSHA_RO`: what the script with this digest returns.
    pub(super) fn evalsha(&mut self, token: Token, command: &'static Command, args: Args<'_>) -> Result {
        self.show_call(token, command, args);
        if args.get(1).len() != DIGITS {
            return Err(UNKNOWN);
        }
        if self.net.session(token).flags.debugging != DebugMode::No {
            return Err(Error::new("ERR Please use EVAL instead of EVALSHA for debugging"));
        }
        self.evalsha_for(Some(token), self.net.selected_db(token), command, args)
    }

    fn evalsha_for(
        &mut self,
        client: Option<Token>,
        db: usize,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result {
        let keys = number_of_keys(args)?;
        let place = self.scripts.cache.find(args.get(1)).ok_or(UNKNOWN)?;
        self.run_cached(client, command, (place, keys, db), args)
    }

    /// Executes `EVAL`, `EVALSHA` and their variants, `SCRIPT LOAD` and `SCRIPT FLUSH` during loading: Redis 6 and earlier
    /// versions log them.
    pub(in crate::server) fn replay_script(
        &mut self,
        which: ServerCommand,
        db: usize,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result {
        use ServerCommand as C;
        match which {
            C::ScriptLoad => self.load_script(args).map(drop),
            C::ScriptFlush => self.flush_scripts(args),
            C::Evalsha | C::EvalshaRo => self.evalsha_for(None, db, command, args),
            _ => self.eval_for(None, db, command, args),
        }
    }

    fn run_cached(
        &mut self,
        client: Option<Token>,
        command: &'static Command,
        (place, keys, db): (u32, usize, usize),
        args: Args<'_>,
    ) -> Result {
        let Some(script) = self.scripts.cache.get(place) else { return Err(UNKNOWN) };
        let (flags, name) = (script.flags, Rc::clone(&script.name));
        let origin = client.map_or(Origin::Log, |_| Origin::Client).of_script();
        if let Some(error) = self.refuse_script(command, flags, origin) {
            return Err(error);
        }
        let Some((engine, function)) = self.scripts.cache.take(place) else { return Err(UNKNOWN) };
        let host = Host::Scripts(engine);
        let begin = Begin { origin, kind: Kind::Script, host, function, name, flags, keys, db };
        self.run_script(client, command, begin, args)
    }

    /// `SCRIPT LOAD script`: its digest. It stays until `SCRIPT FLUSH`.
    pub(super) fn script_load(&mut self, token: Token, args: Args<'_>) -> Result {
        let place = self.load_script(args)?;
        if let Some(script) = self.scripts.cache.get(place) {
            self.net.reply_to(token).bulk(&script.name);
        }
        Ok(())
    }

    fn load_script(&mut self, args: Args<'_>) -> Result<u32> {
        let source = args.get(2);
        self.scripts.cache.load(source, self.core.keyspace.hash(source), true)
    }

    /// `SCRIPT EXISTS sha1 …`: for each, whether there is such a script.
    pub(super) fn script_exists(&mut self, token: Token, args: Args<'_>) -> Result {
        let mut reply = self.net.reply_to(token);
        reply.array(args.len() - 2);
        for digits in args.iter_from(2) {
            reply.integer(i64::from(self.scripts.cache.has(digits)));
        }
        Ok(())
    }

    /// `SCRIPT FLUSH [ASYNC | SYNC]`: removes all scripts, and all that they may have left behind. O(N) in their memory.
    pub(super) fn script_flush(&mut self, token: Token, args: Args<'_>) -> Result {
        self.flush_scripts(args)?;
        self.net.reply_to(token).ok();
        Ok(())
    }

    fn flush_scripts(&mut self, args: Args<'_>) -> Result {
        match args.len() {
            2 => {}
            3 if args.is(2, "sync") || args.is(2, "async") => {}
            _ => return Err(Error::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
        }
        self.scripts.cache.clear();
        Ok(())
    }

    /// `SCRIPT KILL`: ends the script that takes long, if it has not written anything.
    pub(super) fn script_kill(&mut self, token: Token) -> Result {
        self.kill(token, Kind::Script)
    }

    /// `FUNCTION KILL`: ends the function that takes long, if it has not written anything.
    pub(super) fn function_kill(&mut self, token: Token) -> Result {
        self.kill(token, Kind::Function)
    }

    /// Ends the script or the function that takes long, if it is one of `kind` and has not written anything.
    fn kill(&mut self, token: Token, kind: Kind) -> Result {
        let running = self.busy_run();
        if let Some(error) = run::refuse_to_kill(running.as_deref(), kind) {
            return Err(error);
        }
        if let Some(run) = running {
            run.is_killed = true;
        }
        self.net.reply_to(token).ok();
        Ok(())
    }

    /// `SCRIPT DEBUG YES | SYNC | NO`: debugs this client's next `EVAL` in a forked process, debugs it in the server,
    /// or executes it as usual.
    pub(super) fn script_debug(&mut self, token: Token, args: Args<'_>) -> Result {
        if self.has_unsent_replies(token) {
            return Err(Error::new("ERR SCRIPT DEBUG must be called outside a pipeline"));
        }
        let debugging = if args.is(2, "no") {
            DebugMode::No
        } else if args.is(2, "yes") {
            DebugMode::Forked
        } else if args.is(2, "sync") {
            DebugMode::InPlace
        } else {
            return Err(Error::new("ERR Use SCRIPT DEBUG YES/SYNC/NO"));
        };
        self.net.session(token).flags.debugging = debugging;
        self.net.reply_to(token).ok();
        Ok(())
    }

    /// Whether earlier replies to a client have not been sent yet.
    fn has_unsent_replies(&self, token: Token) -> bool {
        self.net.output.has_any(token)
            || self.net.clients.get(token).is_some_and(|client| client.pending.is_some())
    }
}
