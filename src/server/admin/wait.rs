//! WAIT and WAITAOF: until replicas, and the log's disk, have a connection's writes.

use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::{Error, Result};
use crate::command::waiting::Parking;
use crate::server::Server;
use crate::server::audience::acknowledgements::Wanted;
use crate::server::persistence::log::State;
use crate::sys::poller::Token;

/// Of `WAITAOF`, where there is no log to wait for.
const NO_LOG: Error =
    Error::new("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");

/// A timeout in milliseconds, `None` for 0, which is for ever: its end has to be a moment that can be told.
fn timeout_ms(now_ms: i64, arg: &[u8]) -> Result<Option<u64>> {
    match integer(arg) {
        Ok(0) => Ok(None),
        Ok(ms @ 1..) if ms.checked_add(now_ms).is_none() => Err("ERR timeout is out of range".into()),
        Ok(ms @ 1..) => Ok(Some(ms as u64)),
        Ok(_) => Err("ERR timeout is negative".into()),
        Err(_) => Err("ERR timeout is not an integer or out of range".into()),
    }
}

impl Server {
    /// `WAIT numreplicas timeout`: the number of replicas that acknowledged the connection's writes, as soon as these are
    /// `numreplicas`, at the latest after `timeout` milliseconds (0: never). Inside of a transaction at once. O(1).
    pub(super) fn wait_for_replicas(&mut self, token: Token, args: Args<'_>) -> Result {
        let replicas = integer(args.get(1))?;
        let timeout_ms = timeout_ms(self.core.keyspace.moment.unix_ms, args.get(2))?;
        let offset = self.net.session(token).last_write;
        let replicas = u64::try_from(replicas).unwrap_or(0);
        self.await_acknowledgements(token, Wanted { offset, local: None, replicas, timeout_ms });
        Ok(())
    }

    /// `WAITAOF numlocal numreplicas timeout`: whether the connection's writes are synced in the local append-only file,
    /// and in how many replicas' files, as soon as that is as much as wanted, at the latest after `timeout` milliseconds
    /// (0: never). Inside of a transaction at once. O(1).
    pub(super) fn waitaof(&mut self, token: Token, args: Args<'_>) -> Result {
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
        let offset = self.net.session(token).last_write;
        self.await_acknowledgements(token, Wanted { offset, local: Some(local), replicas, timeout_ms });
        Ok(())
    }

    fn await_acknowledgements(&mut self, token: Token, wanted: Wanted) {
        let is_reached =
            wanted.replicas == 0 && (wanted.local != Some(true) || self.is_synced(wanted.offset));
        if is_reached || self.net.session(token).flags.transaction {
            return self.reply_acknowledged(token, &wanted);
        }
        self.core.wait = Some(Box::new(Parking::Acknowledged));
        self.audience.awaited = Some(wanted);
        self.net.session(token).flags.waiting = true;
    }

    /// Whether the log is on disk up to `offset` of the stream.
    fn is_synced(&mut self, offset: u64) -> bool {
        self.persistence.log.synced_offset().is_some_and(|synced| synced >= offset)
    }

    /// Replies with what is reached of `wanted`: there are no replicas.
    pub(in crate::server) fn reply_acknowledged(&mut self, token: Token, wanted: &Wanted) {
        let local = self.is_synced(wanted.offset);
        let mut reply = self.net.reply_to(token);
        if wanted.local.is_some() {
            reply.array(2);
            reply.integer(i64::from(local));
        }
        reply.integer(0);
    }

    /// Ends the waits for a sync that has come.
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

    /// The log is switched off: nobody need wait for it.
    pub(in crate::server) fn fail_waits_for_log(&mut self) {
        while let Some(token) = self.audience.acknowledgements.next_local() {
            self.end_wait(token, Some(NO_LOG));
        }
    }
}
