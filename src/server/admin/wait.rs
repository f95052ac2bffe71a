//! WAIT and WAITAOF: block until replicas, or the AOF on disk, have the connection's writes.

use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::{Error, Result};
use crate::command::waiting::{Blocked, Parking};
use crate::resp::Reply;
use crate::server::Server;
use crate::server::audience::acknowledgements::Wanted;
use crate::server::invoke::Caller;
use crate::server::persistence::log::State;
use crate::sys::poller::Token;

/// The error of `WAITAOF` without an AOF.
const NO_LOG: Error =
    Error::new("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");

/// Parses a timeout in milliseconds. Returns `None` for 0, which means no timeout. Fails if the deadline overflows.
fn timeout_ms(now_ms: i64, arg: &[u8]) -> Result<Option<u64>> {
    match integer(arg) {
        Ok(0) => Ok(None),
        Ok(ms @ 1..) if ms.checked_add(now_ms).is_none() => Err("ERR timeout is out of range".into()),
        Ok(ms @ 1..) => Ok(Some(ms as u64)),
        Ok(_) => Err("ERR timeout is negative".into()),
        Err(_) => Err("ERR timeout is not an integer or out of range".into()),
    }
}

fn reply_acknowledged(reply: &mut Reply<'_>, wanted: &Wanted, local: bool) {
    if wanted.local.is_some() {
        reply.array(2);
        reply.integer(i64::from(local));
    }
    reply.integer(0);
}

impl Server {
    /// `WAIT numreplicas timeout`: blocks until `numreplicas` replicas have acknowledged the connection's writes, at
    /// most `timeout` milliseconds (0: without limit). Replies with the number of replicas. Does not block inside a
    /// transaction. O(1).
    pub(super) fn wait_for_replicas(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let replicas = integer(args.get(1))?;
        let timeout_ms = timeout_ms(self.core.keyspace.moment.unix_ms, args.get(2))?;
        let offset = caller.session(&mut self.net).last_write;
        let replicas = u64::try_from(replicas).unwrap_or(0);
        self.await_acknowledgements(caller, Wanted { offset, local: None, replicas, timeout_ms });
        Ok(())
    }

    /// `WAITAOF numlocal numreplicas timeout`: blocks until the connection's writes are synced to the local AOF (if
    /// `numlocal` is 1) and to the AOFs of `numreplicas` replicas, at most `timeout` milliseconds (0: without limit).
    /// Replies with both numbers. Does not block inside a transaction. O(1).
    pub(super) fn waitaof(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let local = integer(args.get(1))?;
        if !(0..=1).contains(&local) {
            return Err("ERR value is out of range, value must between 0 and 1".into());
        }
        let Some(replicas) = integer(args.get(2)).ok().and_then(|replicas| u64::try_from(replicas).ok())
        else {
            return Err("ERR value is out of range, must be positive".into());
        };
        let timeout_ms = timeout_ms(self.core.keyspace.moment.unix_ms, args.get(3))?;
        let local = local == 1;
        if local && self.persistence.log.state() == State::Off {
            return Err(NO_LOG);
        }
        let offset = caller.session(&mut self.net).last_write;
        self.await_acknowledgements(caller, Wanted { offset, local: Some(local), replicas, timeout_ms });
        Ok(())
    }

    fn await_acknowledgements(&mut self, caller: &mut Caller<'_>, wanted: Wanted) {
        let is_reached =
            wanted.replicas == 0 && (wanted.local != Some(true) || self.is_synced(wanted.offset));
        if is_reached || !caller.origin.may_wait() {
            let local = self.is_synced(wanted.offset);
            return reply_acknowledged(&mut caller.reply(&mut self.net), &wanted, local);
        }
        self.core.wait = Some(Box::new(Parking::Acknowledged));
        self.audience.awaited = Some(wanted);
        caller.session(&mut self.net).blocked = Some(Blocked::Acknowledgements);
    }

    /// Whether the AOF is synced up to `offset` of the stream of propagated calls.
    fn is_synced(&mut self, offset: u64) -> bool {
        self.persistence.log.synced_offset().is_some_and(|synced| synced >= offset)
    }

    /// Replies with the acknowledgements so far. The number of replicas is 0, since replication is not supported.
    pub(in crate::server) fn reply_acknowledged(&mut self, token: Token, wanted: &Wanted) {
        let local = self.is_synced(wanted.offset);
        reply_acknowledged(&mut self.net.reply_to(token), wanted, local);
    }

    /// Unblocks the clients whose writes are synced now.
    #[inline]
    pub(in crate::server) fn end_waits_for_sync(&mut self) {
        if !self.audience.acknowledgements.is_empty()
            && let Some(synced) = self.persistence.log.synced_offset()
        {
            while let Some(token) = self.audience.acknowledgements.next_synced(synced) {
                self.end_wait(token, None);
            }
        }
    }

    /// Unblocks the clients that wait for the AOF, with an error: it is switched off.
    pub(in crate::server) fn fail_waits_for_log(&mut self) {
        while let Some(token) = self.audience.acknowledgements.next_local() {
            self.end_wait(token, Some(NO_LOG));
        }
    }
}
