//! `FAILOVER` on the primary: pauses writes, waits for a replica, and follows it ([`crate::replication::failover`]).

use super::Server;
use super::audience::pause::Purpose;
use crate::replication::failover::{Candidate, Decision, Failover, Refused};
use crate::replication::link::Link;
use crate::replication::peer::Stage;

impl Server {
    /// Starts a failover. The replicas are asked for acknowledgements, so that it does not wait for their next ones.
    pub(super) fn begin_failover(&mut self, failover: Failover) {
        self.replication.asks_for_acknowledgements = true;
        self.replication.failover = Some(failover);
        self.stop_writes(Purpose::Failover, true);
    }

    /// The replicas that are online, with what they have acknowledged.
    fn candidates(&self) -> Vec<Candidate> {
        let online = self.replication.replicas.iter().filter(|replica| replica.peer.stage == Stage::Online);
        online
            .map(|replica| {
                let (address, port) = replica.address();
                (address, port, replica.peer.acknowledged)
            })
            .collect()
    }

    /// Proceeds with a failover, if one was requested and a replica has everything or its time is up. Called at the end
    /// of an iteration: a transaction that has begun the failover, or a slow script in it, may write more.
    pub(super) fn advance_failover(&mut self) {
        if self.replication.failover.is_none() || self.is_busy() {
            return;
        }
        let (candidates, offset) = (self.candidates(), self.replication_offset());
        let now_ms = self.core.keyspace.moment.unix_ms;
        let Some(failover) = &mut self.replication.failover else { return };
        match failover.check(now_ms, offset, candidates.into_iter()) {
            Decision::Wait => {}
            Decision::Expire => self.abort_failover("Replica never caught up before timeout"),
            Decision::Proceed { host, port, is_forced } => {
                let log = &self.process.log;
                if is_forced {
                    log.notice(format_args!("FAILOVER to {host}:{port} time out exceeded, failing over."));
                } else {
                    log.notice(format_args!("Failover target {host}:{port} is synced, failing over."));
                }
                self.core.config.replicaof.0 = Some((host.clone(), port));
                self.follow(&host, port);
            }
        }
    }

    /// Aborts a failover: this server is the primary, and writes continue.
    pub(super) fn abort_failover(&mut self, why: &str) {
        let Some(failover) = &self.replication.failover else { return };
        let log = &self.process.log;
        match failover.target() {
            Some((host, port)) => log.notice(format_args!("FAILOVER to {host}:{port} aborted: {why}")),
            None => log.notice(format_args!("FAILOVER to any replica aborted: {why}")),
        }
        if failover.is_in_progress() {
            self.core.config.replicaof.0 = None;
            self.stop_following();
        }
        self.end_failover();
    }

    /// Ends a failover. The writes that were paused continue; a replica refuses them.
    pub(super) fn end_failover(&mut self) {
        if self.replication.failover.take().is_some() {
            self.stop_writes(Purpose::Failover, false);
        }
    }

    /// The link to the target has failed. A target that refuses to take over ends the failover; otherwise the next attempt
    /// asks again.
    pub(super) fn failover_link_failed(&mut self, link: &Link) {
        let Some(failover) = &mut self.replication.failover else { return };
        match link.refusal().map(|refusal| failover.refused(refusal)) {
            // This server stays its replica.
            Some(Refused::Promoted) => self.end_failover(),
            Some(Refused::Rejected) => self.abort_failover("Failover target rejected psync request"),
            None if link.has_asked() => failover.lost_after_request(),
            Some(Refused::Unclear) | None => {}
        }
    }
}
