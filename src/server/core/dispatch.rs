//! Dispatch: calls the function of a command, and propagates the call.
//!
//! Everything that executes keyspace commands comes through here: admitted requests, and code that executes commands
//! itself (transactions, scripts, the loader of a log, a replication link). Permissions are not checked here. A
//! command's [`Origin`] decides which of its own rules apply.

use std::iter;

use super::Core;
use crate::command::table::flags;
use crate::command::{Args, Command, Context, Origin, Result, Session, Splice};
use crate::db::{ExpiryPolicy, Propagation, Word};
use crate::resp::Reply;

/// The environment of a keyspace command: everything that it receives besides the keyspace.
pub struct Environment<'a> {
    /// The source of the call. If a call of this origin may block, [`Core::wait`] holds what it waits for.
    pub origin: Origin,
    /// The session of the connection, or a substitute.
    pub session: &'a mut Session,
    /// The writer of the reply.
    pub reply: Reply<'a>,
    /// The list for large values of the reply; if `None`, they are copied into the reply.
    pub splices: Option<&'a mut Vec<Splice>>,
}

impl Core {
    /// [`Core::dispatch`] of `command`, whose function is `run`, in any mode of the server.
    ///
    /// `CLIENT PAUSE` hides expired keys from reads. A write of the transaction that paused deletes the expired keys
    /// that it accesses, as without a pause: it treats them as absent, and the AOF and replicas, which do not hide
    /// them, need the deletion first.
    pub fn dispatch_in_mode(
        &mut self,
        command: &Command,
        run: impl FnOnce(&mut Context<'_>, Args<'_>) -> Result,
        environment: Environment<'_>,
        hash: u64,
        args: Args<'_>,
    ) -> Result {
        let hides = self.keyspace.expiry == ExpiryPolicy::Hide;
        if !(hides && command.has(flags::WRITE)) {
            return self.dispatch(run, environment, hash, args);
        }
        self.keyspace.expiry = ExpiryPolicy::Delete;
        let outcome = self.dispatch(run, environment, hash, args);
        self.keyspace.expiry = ExpiryPolicy::Hide;
        outcome
    }

    /// Calls `run` with `args`, whose first key has the hash `hash`. Unless it returns an error, the reply has been
    /// written. Afterwards, the journal holds the changes that the command made.
    #[inline(always)]
    pub fn dispatch(
        &mut self,
        run: impl FnOnce(&mut Context<'_>, Args<'_>) -> Result,
        environment: Environment<'_>,
        hash: u64,
        args: Args<'_>,
    ) -> Result {
        let Environment { origin, session, reply, splices } = environment;
        if self.keyspace.journal.wants_calls() {
            return self.dispatch_and_propagate(run, origin, session, reply.buf, splices, hash, args);
        }
        self.invoke(run, Environment { origin, session, reply, splices }, hash, args)
    }

    #[inline(always)]
    fn invoke(
        &mut self,
        run: impl FnOnce(&mut Context<'_>, Args<'_>) -> Result,
        environment: Environment<'_>,
        hash: u64,
        args: Args<'_>,
    ) -> Result {
        let Environment { origin, session, reply, splices } = environment;
        let Core { keyspace, config, wait, users, .. } = self;
        let wait = origin.may_wait().then_some(wait);
        let before = reply.buf.len();
        let mut context = Context { keyspace, origin, session, reply, splices, config, users, hash, wait };
        let outcome = run(&mut context, args);
        debug_assert!(
            outcome.is_ok() || context.reply.buf.len() == before,
            "an error comes instead of a reply"
        );
        self.keyspace.assert_declared();
        outcome
    }

    /// [`Core::dispatch`] while calls are recorded. The environment is passed in parts: as one value, every request
    /// would write it to the stack, even one that does not get here.
    #[expect(clippy::too_many_arguments, reason = "see above")]
    #[inline(never)]
    fn dispatch_and_propagate(
        &mut self,
        run: impl FnOnce(&mut Context<'_>, Args<'_>) -> Result,
        origin: Origin,
        session: &mut Session,
        buf: &mut Vec<u8>,
        splices: Option<&mut Vec<Splice>>,
        hash: u64,
        args: Args<'_>,
    ) -> Result {
        let reply = Reply { buf, protocol: session.protocol };
        let environment = Environment { origin, session, reply, splices };
        let db = environment.session.db;
        let before = self.keyspace.counters.dirty;
        let outer = self.keyspace.journal.begin_call();
        let outcome = self.invoke(run, environment, hash, args);
        let journal = &mut self.keyspace.journal;
        let changed = self.keyspace.counters.dirty != before;
        match journal.end_call(outer) {
            Propagation::Instead => {}
            Propagation::AsCalled if !changed => {}
            Propagation::AsCalled | Propagation::Forced => self.propagate_call(db, args),
        }
        outcome
    }

    /// Propagates a call that acts on database `db`, with the command's own name, so that the log can be loaded
    /// whatever `rename-command` is set to then.
    #[inline(always)]
    pub fn propagate_call(&mut self, db: usize, args: Args<'_>) {
        if !self.names.are_changed()
            && let Some(request) = args.encoded()
        {
            return self.keyspace.journal.push_encoded(db, request);
        }
        self.propagate_words(db, args);
    }

    #[inline(never)]
    fn propagate_words(&mut self, db: usize, args: Args<'_>) {
        let own = self.names.own_name(args.get(0));
        let name = own.map_or_else(|| args.word(0), |name| Word::Bytes(name.as_bytes()));
        let words = iter::once(name).chain((1..args.len()).map(|index| args.word(index)));
        self.keyspace.journal.push_call(db, words);
    }
}
