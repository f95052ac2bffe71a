//! `EVAL` and related commands, and `SCRIPT`: scripts that clients send.

use std::rc::Rc;

use crate::command::error::{Error, Result};
use crate::command::{Args, DebugMode};
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::server::scripting::{Begin, number_of_keys};
use crate::server::scripts::run::{self, Host, Kind};
use crate::sys::poller::Token;

/// The number of hexadecimal digits of a digest.
const DIGITS: usize = 40;

const UNKNOWN: Error = Error::new("NOSCRIPT No matching script. Please use EVAL.");

impl Server {
    /// `EVAL script numkeys [key …] [arg …]`, `EVAL_RO`: the result of the script. It is cached for `EVALSHA` until too
    /// many newer scripts evict it.
    pub(super) fn eval(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.show_call(caller, args);
        match caller.session(&mut self.net).flags.debugging {
            DebugMode::No => self.eval_undebugged(caller, args),
            DebugMode::Forked => self.debug_apart(caller, args),
            DebugMode::InPlace => self.debug_in_place(caller, args),
        }
    }

    /// [`Server::eval`] without the debugger.
    pub(in crate::server) fn eval_undebugged(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let keys = number_of_keys(args)?;
        let source = args.get(1);
        let place =
            self.scripts.cache.load(source, self.core.keyspace.hasher().seed().hash(source), false)?;
        self.run_cached(caller, (place, keys), args)
    }

    /// `EVALSHA sha1 numkeys [key …] [arg …]`, `EVALSHA_RO`: the result of the script with this digest.
    pub(super) fn evalsha(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.show_call(caller, args);
        if args.get(1).len() != DIGITS {
            return Err(UNKNOWN);
        }
        if caller.session(&mut self.net).flags.debugging != DebugMode::No {
            return Err(Error::new("ERR Please use EVAL instead of EVALSHA for debugging"));
        }
        let keys = number_of_keys(args)?;
        let place = self.scripts.cache.find(args.get(1)).ok_or(UNKNOWN)?;
        self.run_cached(caller, (place, keys), args)
    }

    fn run_cached(&mut self, caller: &mut Caller<'_>, (place, keys): (u32, usize), args: Args<'_>) -> Result {
        let Some(script) = self.scripts.cache.get(place) else { return Err(UNKNOWN) };
        let (flags, name) = (script.flags, Rc::clone(&script.name));
        if let Some(error) = self.refuse_script(caller, flags) {
            return Err(error);
        }
        let Some((engine, function)) = self.scripts.cache.take(place) else { return Err(UNKNOWN) };
        let host = Host::Scripts(engine);
        let begin = Begin { kind: Kind::Script, host, function, name, flags, keys };
        self.run_script(caller, begin, args)
    }

    /// `SCRIPT LOAD script`: the digest. The script stays until `SCRIPT FLUSH`.
    pub(super) fn script_load(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let source = args.get(2);
        let place = self.scripts.cache.load(source, self.core.keyspace.hasher().seed().hash(source), true)?;
        if let Some(script) = self.scripts.cache.get(place) {
            caller.reply(&mut self.net).bulk(&script.name);
        }
        Ok(())
    }

    /// `SCRIPT EXISTS sha1 …`: for each digest, whether the script is cached.
    pub(super) fn script_exists(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let mut reply = caller.reply(&mut self.net);
        reply.array(args.len() - 2);
        for digits in args.iter_from(2) {
            reply.integer(i64::from(self.scripts.cache.has(digits)));
        }
        Ok(())
    }

    /// `SCRIPT FLUSH [ASYNC | SYNC]`: removes all scripts, and all data that they have left in the machine. O(N) in
    /// their memory.
    pub(super) fn script_flush(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        match args.len() {
            2 => {}
            3 if args.is(2, "sync") || args.is(2, "async") => {}
            _ => return Err(Error::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
        }
        self.scripts.cache.clear();
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `SCRIPT KILL`: ends the slow script, unless it has written.
    pub(super) fn script_kill(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.kill(caller, Kind::Script)
    }

    /// `FUNCTION KILL`: ends the slow function, unless it has written.
    pub(super) fn function_kill(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.kill(caller, Kind::Function)
    }

    /// Ends the slow script or function if it is of `kind`, unless it has written.
    fn kill(&mut self, caller: &mut Caller<'_>, kind: Kind) -> Result {
        let running = self.busy_run();
        if let Some(error) = run::refuse_to_kill(running.as_deref(), kind) {
            return Err(error);
        }
        if let Some(run) = running {
            run.is_killed = true;
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `SCRIPT DEBUG YES | SYNC | NO`: debugs this client's next `EVAL` in a forked process, debugs it in the server,
    /// or executes it as usual.
    pub(super) fn script_debug(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
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
        caller.session(&mut self.net).flags.debugging = debugging;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// Whether earlier replies to a client have not been sent yet.
    fn has_unsent_replies(&self, token: Token) -> bool {
        self.net.output.has_any(token)
            || self.net.clients.get(token).is_some_and(|client| !client.is_drained())
    }
}
