//! For how long two primaries may serve the same slots or have the same configuration epoch.
//!
//! **The same epoch.** Elections never give an epoch twice. `TAKEOVER` and moved slots take one without votes, so two
//! nodes may take the same; then the one with the smaller ID takes another when it receives a message of the other one.
//! Nodes that reach each other send one at least each second; a connection that was cut before is replaced after up to
//! two node timeouts ([`EPOCH_MS`]). Time in which one cannot reach the other does not count.
//!
//! **The same slot.** During a partition an old primary and its elected successor both have the slots. The old one
//! stops serving them (`cluster_state:fail`) when it has received nothing from the majority for a node timeout. If only
//! its own messages are lost, the others close their connections to it after up to another node timeout. The election
//! begins only a node timeout after the cut. So both serve the slots for at most a few seconds ([`SLOTS_MS`]), in which Redis, too, accepts writes that the successor does not have (docs/cluster.md, "What is guaranteed").
//! `TAKEOVER` needs no majority: replicas that take over all slots on their side of a partition serve them until it
//! heals, so with `TAKEOVER` only the time counts in which the two reach each other.

use super::*;

/// For how long two primaries that reach each other may have the same epoch: two node timeouts until a dead connection
/// is closed, a second until the next `PING`, and three times the greatest delay (for the connection, the `PING` and
/// the ticks).
const EPOCH_MS: u64 = 2 * TIMEOUT_MS + 1000 + 3 * 1500;

/// For how long two primaries may serve the same slot, whatever the network does: up to two node timeouts until the old
/// one receives nothing, another one until it stops, and the greatest delay.
const SLOTS_MS: u64 = 3 * TIMEOUT_MS + 1500;

/// When pairs of nodes got the same epoch or served the same slot.
#[derive(Default)]
pub(super) struct Rivals {
    same_epoch: BTreeMap<(usize, usize), u64>,
    same_slots: BTreeMap<(usize, usize), u64>,
    /// The longest times, in milliseconds.
    pub(super) longest: (u64, u64),
}

impl World {
    /// Compares a primary with the others.
    pub(super) fn check_rivals(&mut self, host: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            let pair = (host.min(other), host.max(other));
            let (same_epoch, same_slots) = self.rivalry(host, other);
            assert!(
                !same_epoch || self.is_wild,
                "hosts {pair:?} have the same epoch without a takeover\n{}",
                self.report()
            );
            let is_cut = self.blocked.contains(&(host, other)) || self.blocked.contains(&(other, host));
            let is_reliable = !is_cut && self.network.lost == 0;
            let (now_ms, rivals) = (self.now_ms, &mut self.rivals);
            let lasts = |since: &mut BTreeMap<_, u64>, counts: bool| {
                if counts {
                    return now_ms - *since.entry(pair).or_insert(now_ms);
                }
                since.remove(&pair);
                0
            };
            let epoch_ms = lasts(&mut rivals.same_epoch, same_epoch && is_reliable);
            let counts = !self.is_wild || is_reliable;
            let slots_ms = lasts(&mut rivals.same_slots, same_slots && counts);
            let (longest_epoch, longest_slots) = rivals.longest;
            rivals.longest = (longest_epoch.max(epoch_ms), longest_slots.max(slots_ms));
            assert!(
                epoch_ms <= EPOCH_MS && slots_ms <= SLOTS_MS,
                "hosts {pair:?} have the same epoch for {epoch_ms} ms, serve the same slot for {slots_ms} ms\n{}",
                self.report()
            );
        }
    }

    /// Whether two nodes are primaries with the same epoch, and whether both serve a slot.
    fn rivalry(&self, one: usize, other: usize) -> (bool, bool) {
        let primary =
            |host: usize| self.hosts[host].cluster.as_ref().filter(|view| view.myself().is_primary());
        let (Some(one), Some(other)) = (primary(one), primary(other)) else { return (false, false) };
        let (mine, theirs) = (one.myself(), other.myself());
        let have_slots = !mine.slots.is_empty() && !theirs.slots.is_empty();
        let serve = one.is_ok() && other.is_ok();
        let share =
            || mine.slots.bits().iter().zip(theirs.slots.bits()).any(|(mine, theirs)| mine & theirs != 0);
        (have_slots && mine.config_epoch == theirs.config_epoch, serve && share())
    }
}
