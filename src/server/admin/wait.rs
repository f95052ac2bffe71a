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

const REPLICA: Error = Error::new(
    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be \
     writable (which is not the default) writes to replicas are just local and are not propagated.",
);

const REPLICA_AOF: Error = Error::new(
    "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not \
     propagated.",
);

/// The acknowledgements so far: by the local AOF, and by how many replicas.
struct Reached {
    local: bool,
    replicas: u64,
}

impl Reached {
    fn satisfies(&self, wanted: &Wanted) -> bool {
        (wanted.local != Some(true) || self.local) && self.replicas >= wanted.replicas
    }

    fn reply(&self, reply: &mut Reply<'_>, wanted: &Wanted) {
        if wanted.local.is_some() {
            reply.array(2);
            reply.integer(i64::from(self.local));
        }
        reply.integer(self.replicas as i64);
    }
}

impl Server {
    /// `WAIT numreplicas timeout`: blocks until `numreplicas` replicas have acknowledged the connection's writes, at
    /// most `timeout` milliseconds (0: without limit). Replies with the number of replicas. Does not block inside a
    /// transaction. O(1).
    pub(super) fn wait_for_replicas(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if self.replication.upstream.is_some() {
            return Err(REPLICA);
        }
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
        if self.replication.upstream.is_some() {
            return Err(REPLICA_AOF);
        }
        let local = local == 1;
        if local && self.persistence.log.state() == State::Off {
            return Err(NO_LOG);
        }
        let offset = caller.session(&mut self.net).last_write;
        self.await_acknowledgements(caller, Wanted { offset, local: Some(local), replicas, timeout_ms });
        Ok(())
    }

    fn await_acknowledgements(&mut self, caller: &mut Caller<'_>, wanted: Wanted) {
        let reached = self.reached(&wanted);
        if reached.satisfies(&wanted) || !caller.origin.may_wait() {
            return reached.reply(&mut caller.reply(&mut self.net), &wanted);
        }
        self.replication.asks_for_acknowledgements = true;
        self.core.wait = Some(Box::new(Parking::Acknowledged));
        self.audience.awaited = Some(wanted);
        caller.session(&mut self.net).blocked = Some(Blocked::Acknowledgements);
    }

    /// Whether the AOF is synced up to `offset` of the stream of propagated calls.
    fn is_synced(&mut self, offset: u64) -> bool {
        self.persistence.log.synced_offset().is_some_and(|synced| synced >= offset)
    }

    fn reached(&mut self, wanted: &Wanted) -> Reached {
        let (applied, on_disk) = self.replication.acknowledged(wanted.offset);
        let replicas = if wanted.local.is_some() { on_disk } else { applied };
        Reached { local: self.is_synced(wanted.offset), replicas }
    }

    /// Replies with the acknowledgements so far.
    pub(in crate::server) fn reply_acknowledged(&mut self, token: Token, wanted: &Wanted) {
        let reached = self.reached(wanted);
        reached.reply(&mut self.net.reply_to(token), wanted);
    }

    /// Unblocks the clients whose awaited acknowledgements have arrived.
    pub(in crate::server) fn end_waits_for_replicas(&mut self) {
        for (token, wanted) in self.audience.acknowledgements.of_replicas() {
            if self.reached(&wanted).satisfies(&wanted) {
                self.end_wait(token, None);
            }
        }
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
            self.end_waits_for_replicas();
        }
    }

    /// Unblocks the clients that wait for the AOF, with an error: it was disabled.
    pub(in crate::server) fn fail_waits_for_log(&mut self) {
        while let Some(token) = self.audience.acknowledgements.next_local() {
            self.end_wait(token, Some(NO_LOG));
        }
    }
}
