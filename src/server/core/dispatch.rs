//! Dispatch: the call of a command's function, and what it has to be propagated as.
//!
//! Everything that executes commands of the keyspace comes through here: requests after they were admitted, and whatever
//! executes commands for itself (transactions, scripts, the loader of a log, a replication link). Nothing here asks who
//! the caller is or whether it may.

use super::Core;
use crate::command::{Args, Context, Result, Session, Splice};
use crate::db::Propagation;
use crate::resp::Reply;

/// On whose behalf a command is called, and where its reply goes.
pub struct Caller<'a> {
    /// The connection, or what stands for one.
    pub session: &'a mut Session,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// Where large values of the reply go; `None`: into the reply.
    pub splices: Option<&'a mut Vec<Splice>>,
    /// Whether it may wait: then [`Core::wait`] says what for.
    pub may_wait: bool,
}

impl Core {
    /// Calls `run` with `args`, whose first key has the hash `hash`. The reply has been written unless an error is
    /// returned. What the command changed stands in the journal afterwards.
    #[inline(always)]
    pub fn dispatch(
        &mut self,
        run: impl FnOnce(&mut Context<'_>, Args<'_>) -> Result,
        caller: Caller<'_>,
        hash: u64,
        args: Args<'_>,
    ) -> Result {
        if self.keyspace.journal.wants_calls() {
            return self.dispatch_and_propagate(run, caller, hash, args);
        }
        self.invoke(run, caller, hash, args)
    }

    #[inline(always)]
    fn invoke(
        &mut self,
        run: impl FnOnce(&mut Context<'_>, Args<'_>) -> Result,
        caller: Caller<'_>,
        hash: u64,
        args: Args<'_>,
    ) -> Result {
        let Caller { session, reply, splices, may_wait } = caller;
        let Core { keyspace, config, wait, .. } = self;
        let wait = may_wait.then_some(wait);
        let mut context = Context { keyspace, session, reply, splices, config, hash, wait };
        let outcome = run(&mut context, args);
        self.keyspace.assert_declared();
        outcome
    }

    /// [`Core::dispatch`] while calls are listened to.
    #[inline(never)]
    fn dispatch_and_propagate(
        &mut self,
        run: impl FnOnce(&mut Context<'_>, Args<'_>) -> Result,
        caller: Caller<'_>,
        hash: u64,
        args: Args<'_>,
    ) -> Result {
        let db = caller.session.db;
        let before = self.keyspace.counters.dirty;
        let outer = self.keyspace.journal.begin_call();
        let outcome = self.invoke(run, caller, hash, args);
        let journal = &mut self.keyspace.journal;
        let changed = self.keyspace.counters.dirty != before;
        match journal.end_call(outer) {
            Propagation::Instead => {}
            Propagation::AsCalled if !changed => {}
            Propagation::AsCalled | Propagation::Forced => match args.encoded() {
                Some(request) => journal.push_encoded(db, request),
                None => journal.push_call(db, (0..args.len()).map(|index| args.word(index))),
            },
        }
        outcome
    }
}
