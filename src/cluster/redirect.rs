//! Whether this node executes a call, and to which node it sends the client otherwise.
//!
//! One decision for requests, `EXEC`, the calls of scripts, blocked clients and sharded subscriptions: the caller
//! describes the call, and [`Cluster::decide`] compares it with the owner and the state of its slot.
//!
//! While a slot moves, its keys are on two nodes. The source executes a call if it has all keys, and otherwise sends the
//! client on by `ASK`; the target executes it only after `ASKING`. A call on keys of both nodes is to be tried again.

use super::{Cluster, NodeIndex, SlotSet};

/// A call as far as the decision needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The slot of the first key; `None` without keys.
    pub slot: Option<u16>,
    /// Whether another key is in another slot.
    pub crosses: bool,
    /// Whether it names more than one key.
    pub has_several: bool,
    /// How many keys do not exist here, counted if [`Cluster::is_open`].
    pub missing: usize,
    /// How many exist here, counted if [`Cluster::is_open`].
    pub present: usize,
    /// Whether it may write.
    pub writes: bool,
    /// Whether its names are those of sharded channels.
    pub is_of_channels: bool,
    /// Whether it is `MIGRATE`, which moves keys of open slots.
    pub migrates: bool,
    /// Whether the client has sent `ASKING`, or the command implies that.
    pub asks: bool,
    /// Whether the client reads from replicas (`READONLY`).
    pub reads_replica: bool,
}

/// The directives that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `cluster-allow-reads-when-down`.
    pub reads_when_down: bool,
    /// `cluster-allow-pubsubshard-when-down`.
    pub shards_when_down: bool,
}

/// Why this node does not execute a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The keys are in several slots.
    CrossSlot,
    /// Some keys are here, and some on the other node.
    TryAgain,
    /// The cluster is down.
    Down,
    /// The cluster is down, and serves reads.
    DownForWrites,
    /// The slot has no owner.
    Unbound,
    /// Another node owns the slot.
    Moved(u16, NodeIndex),
    /// The other node may have the keys.
    Ask(u16, NodeIndex),
}

impl Cluster {
    /// Whether the keys of a slot are being moved from or to this node, so that a call has to be compared with the keys that
    /// exist.
    pub fn is_open(&self, slot: u16) -> bool {
        self.migrating(slot).is_some() || self.importing(slot).is_some()
    }

    /// The slots for whose keys this node executes every call: its own, unless they are moving or the cluster is down.
    pub fn served(&self) -> SlotSet {
        if !self.is_ok() || self.myself().is_replica() {
            return SlotSet::default();
        }
        let mut served = self.myself().slots.clone();
        for slot in self.migrating.keys().chain(self.importing.keys()) {
            served.remove(*slot);
        }
        served
    }

    /// Whether [`Cluster::served`] may have changed since the last [`Action::OwnershipChanged`](super::Action), which
    /// [`Cluster::settle`] makes of all changes together.
    pub fn owners_are_changing(&self) -> bool {
        self.todo.ownership
    }

    /// Takes the slots that had an owner and were given to any node, or to none, since the last call: their sharded
    /// subscriptions end, even if the new owner is the old one.
    pub fn take_reassigned(&mut self) -> SlotSet {
        std::mem::take(&mut self.reassigned)
    }

    /// Decides whether this node executes a call.
    ///
    /// # Errors
    /// It does not.
    pub fn decide(&self, call: &Call, policy: Policy) -> Result<(), Refusal> {
        let Some(slot) = call.slot else { return Ok(()) };
        let Some(owner) = self.owner_index(slot) else { return Err(Refusal::Unbound) };
        if call.crosses {
            return Err(Refusal::CrossSlot);
        }
        self.decide_by_state(call, policy)?;
        let is_mine = owner == self.my_index();
        let migrating = self.migrating_index(slot).filter(|_| is_mine);
        let imports = !is_mine && self.importing(slot).is_some();
        if call.migrates && (migrating.is_some() || imports) {
            return Ok(());
        }
        if let Some(target) = migrating
            && call.missing > 0
        {
            return Err(if call.present > 0 { Refusal::TryAgain } else { Refusal::Ask(slot, target) });
        }
        if imports && call.asks {
            return if call.has_several && call.missing > 0 { Err(Refusal::TryAgain) } else { Ok(()) };
        }
        let replicates = self.myself().primary == Some(owner);
        if replicates && (call.reads_replica || call.is_of_channels) && !call.writes {
            return Ok(());
        }
        if is_mine { Ok(()) } else { Err(Refusal::Moved(slot, owner)) }
    }

    fn decide_by_state(&self, call: &Call, policy: Policy) -> Result<(), Refusal> {
        if self.is_ok() {
            Ok(())
        } else if call.is_of_channels {
            if policy.shards_when_down { Ok(()) } else { Err(Refusal::Down) }
        } else if !policy.reads_when_down {
            Err(Refusal::Down)
        } else if call.writes {
            Err(Refusal::DownForWrites)
        } else {
            Ok(())
        }
    }
}
