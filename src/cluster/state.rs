//! Whether the cluster is up for this node: all slots are served, and the majority of the primaries is reachable.
//!
//! A primary turns `ok` with a delay, after a start and after it was in a minority: its replica may have been promoted,
//! and the other nodes need time to send their newer claims.

use super::node::Flags;
use super::slots::SLOTS;
use super::{Action, Cluster, Level};

/// For how long a primary that has just started refuses to turn `ok`.
const WRITABLE_DELAY_MS: u64 = 2000;

/// The bounds of the delay after a minority; it is the node timeout.
const REJOIN_DELAY_MS: (u64, u64) = (500, 5000);

/// Why the cluster is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Down {
    /// A slot has no owner, or its owner failed.
    Coverage,
    /// The majority of the primaries is not reachable.
    Minority,
    /// The conditions are met, but the node waits.
    Delay,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) is_ok: bool,
    pub(super) down: Option<Down>,
    /// The number of primaries with slots.
    pub(super) size: usize,
    /// When the state was first computed.
    first_ms: Option<u64>,
    /// When this node was last in a minority.
    minority_ms: Option<u64>,
}

impl Default for State {
    fn default() -> State {
        State { is_ok: false, down: Some(Down::Delay), size: 1, first_ms: None, minority_ms: None }
    }
}

impl Cluster {
    /// Whether `cluster_state` is `ok`.
    pub fn is_ok(&self) -> bool {
        self.state.is_ok
    }

    /// Why the cluster is down; `None` if it is up.
    pub fn down_reason(&self) -> Option<Down> {
        self.state.down.filter(|_| !self.state.is_ok)
    }

    /// The number of primaries with slots.
    pub fn size(&self) -> usize {
        self.state.size
    }

    /// The number of primaries that decide: more than half of those with slots.
    pub(super) fn quorum(&self) -> usize {
        self.state.size / 2 + 1
    }

    pub(super) fn update_state(&mut self) {
        self.todo.update_state = false;
        let first_ms = *self.state.first_ms.get_or_insert(self.now_ms);
        let is_primary = self.myself().is_primary();
        let is_new = is_primary && !self.state.is_ok && self.since(first_ms) < WRITABLE_DELAY_MS;
        if is_new {
            // The size counts even now: it decides how many reports make a failure.
            self.count_primaries();
            self.state.down = Some(Down::Delay);
            self.todo.update_state = true;
            return;
        }
        let (reachable, is_covered) = self.count_primaries();
        let is_minority = reachable < self.quorum();
        if is_minority {
            self.state.minority_ms = Some(self.now_ms);
        }
        let mut down = match (is_minority, is_covered) {
            (true, _) => Some(Down::Minority),
            (false, false) if self.settings.require_full_coverage => Some(Down::Coverage),
            _ => None,
        };
        let (least, most) = REJOIN_DELAY_MS;
        let delay_ms = self.settings.node_timeout_ms.clamp(least, most);
        let was_minority = self.state.minority_ms.is_some_and(|then_ms| self.since(then_ms) < delay_ms);
        if down.is_none() && !self.state.is_ok && is_primary && was_minority {
            down = Some(Down::Delay);
        }
        self.state.down = down;
        let is_ok = down.is_none();
        if is_ok != self.state.is_ok {
            self.state.is_ok = is_ok;
            let (level, name) = if is_ok { (Level::Notice, "ok") } else { (Level::Warning, "fail") };
            self.log(level, format!("Cluster state changed: {name}"));
            self.act(Action::StateChanged { ok: is_ok });
        }
    }

    /// Counts the primaries with slots. Returns how many are reachable, and whether working ones serve all slots.
    fn count_primaries(&mut self) -> (usize, bool) {
        let (mut size, mut reachable, mut served) = (0, 0, 0);
        for (_, node) in self.table.iter() {
            let slots = node.slots.len();
            if !node.is_failed() {
                served += slots;
            }
            if node.is_primary() && slots > 0 {
                size += 1;
                // A node without an address is not reachable, but not flagged as failing either: nobody can ping it.
                reachable += usize::from(!node.flags.has(Flags::FAIL | Flags::PFAIL | Flags::NOADDR));
            }
        }
        self.state.size = size;
        (reachable, served == usize::from(SLOTS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Facts, Settings};

    fn run(cluster: &mut Cluster, from_ms: u64, to_ms: u64) {
        for now_ms in (from_ms..=to_ms).step_by(100) {
            cluster.tick(now_ms, &Facts::default());
            cluster.settle(now_ms, &Facts::default());
        }
    }

    #[test]
    fn a_primary_turns_ok_two_seconds_after_its_start_if_all_slots_are_served() {
        let mut cluster = Cluster::new(Settings::default(), 1, 1000);
        let slots: Vec<u16> = (1..SLOTS).collect();
        cluster.add_slots(&slots, 1000).unwrap();
        run(&mut cluster, 1000, 10_000);
        assert_eq!((cluster.is_ok(), cluster.down_reason()), (false, Some(Down::Coverage)));
        cluster.add_slots(&[0], 10_000).unwrap();
        cluster.settle(10_000, &Facts::default());
        assert_eq!((cluster.is_ok(), cluster.down_reason(), cluster.size()), (true, None, 1));

        let mut fresh = Cluster::new(Settings::default(), 1, 1000);
        fresh.add_slots(&(0..SLOTS).collect::<Vec<_>>(), 1000).unwrap();
        run(&mut fresh, 1000, 2900);
        assert_eq!(fresh.down_reason(), Some(Down::Delay));
        run(&mut fresh, 3000, 3100);
        assert!(fresh.is_ok());
    }

    #[test]
    fn without_full_coverage_some_slots_suffice() {
        let settings = Settings { require_full_coverage: false, ..Settings::default() };
        let mut cluster = Cluster::new(settings, 1, 1000);
        cluster.add_slots(&[5], 1000).unwrap();
        run(&mut cluster, 1000, 4000);
        assert!(cluster.is_ok());
        cluster.set_settings(Settings::default());
        cluster.settle(4000, &Facts::default());
        assert_eq!(cluster.down_reason(), Some(Down::Coverage));
    }
}
