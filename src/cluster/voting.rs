//! A primary votes for a replica that wants to replace a failed primary: at most once in an epoch.

use super::message::{Body, Header, Kind, mflag};
use super::node::NodeIndex;
use super::slots::ones;
use super::{Cluster, Level};

impl Cluster {
    /// Votes for `candidate` if it may replace its primary. The epoch of the vote is saved before the vote is sent.
    pub(super) fn vote(&mut self, candidate: NodeIndex, request: &Header) {
        if self.myself().is_replica() || self.myself().slots.is_empty() {
            return;
        }
        let name = self.named(candidate);
        match self.may_vote(candidate, request) {
            Err(why) => self.log(Level::Notice, format!("Failover auth denied to {name}{why}")),
            Ok(primary) => {
                self.table.node_mut(primary).voted_time = self.now_ms;
                self.last_vote_epoch = self.current_epoch;
                self.save(true);
                self.send_short(candidate, Kind::AuthAck, &Body::AuthAck);
                let epoch = self.current_epoch;
                self.log(Level::Notice, format!("Failover auth granted to {name} for epoch {epoch}"));
            }
        }
    }

    /// Returns the candidate's primary, or why this node does not vote for the candidate.
    fn may_vote(&self, candidate: NodeIndex, request: &Header) -> Result<NodeIndex, String> {
        let (epoch, current) = (request.current_epoch, self.current_epoch);
        if epoch < current {
            return Err(format!(": reqEpoch ({epoch}) < curEpoch({current})"));
        }
        if self.last_vote_epoch == current {
            return Err(format!(": already voted for epoch {current}"));
        }
        let node = self.table.node(candidate);
        if node.is_primary() {
            return Err(format!(" for epoch {epoch}: it is a master node"));
        }
        let Some(primary) = node.primary else {
            return Err(format!(" for epoch {epoch}: I don't know its master"));
        };
        let is_forced = request.mflags & mflag::FORCE_ACK != 0;
        if !self.table.node(primary).is_failed() && !is_forced {
            return Err(format!(" for epoch {epoch}: its master is up"));
        }
        // Not needed for safety: with one candidate at a time, elections rarely split the votes.
        let (voted, wait_ms) = (self.table.node(primary).voted_time, self.settings.node_timeout_ms * 2);
        if voted != 0 && self.since(voted) < wait_ms {
            let left_ms = wait_ms - self.since(voted);
            return Err(format!(": can't vote about this master before {left_ms} milliseconds"));
        }
        // The candidate must know the present owners of the slots that it claims.
        for slot in ones(request.slots) {
            let Some(owner) = self.table.owner(slot).filter(|_| !self.is_unclaimed(slot)) else { continue };
            let (theirs, known) = (request.config_epoch, self.table.node(owner).config_epoch);
            if known > theirs {
                return Err(format!(": slot {slot} epoch ({known}) > reqEpoch ({theirs})"));
            }
        }
        Ok(primary)
    }
}

#[cfg(test)]
mod tests;
