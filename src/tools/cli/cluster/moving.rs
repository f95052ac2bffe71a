//! Moves a slot with its keys from one node to another.
//!
//! ```text
//! target: SETSLOT IMPORTING   source: SETSLOT MIGRATING
//! source: GETKEYSINSLOT, MIGRATE … KEYS …, until no key is left
//! target: SETSLOT NODE        source: SETSLOT NODE        other masters: SETSLOT NODE
//! ```
//!
//! The target learns first that it owns the slot, and tells the others by itself: if it crashed after another node
//! had learned it, the slot would have no owner. A *cold* move only moves keys.

use std::fmt::Write as _;

use super::options::Settings;
use super::picture::{Cluster, Refusal};
use super::progress::Progress;
use super::{Failure, screen};
use crate::resp::Value;

/// The source loses its last slot and has become a replica: it already knows the new owner.
const IS_REPLICA: &str = "ERR Please use SETSLOT only with masters.";

/// How a move is shown.
#[derive(Debug)]
pub enum Shows<'a> {
    /// A line per slot, with a dot per key.
    Dots,
    /// Counted by a progress; a line per slot with dots instead, unless that one is drawn.
    Progress(&'a mut Progress),
    /// A character per slot, printed by the caller, and the progress if it is drawn.
    Quiet(&'a mut Progress),
}

/// Why a slot was not moved.
#[derive(Debug)]
pub enum Unmoved {
    /// A node refused a command: its index and the error, not printed yet.
    Refused(usize, Refusal),
    /// Everything else.
    Failed(Failure),
}

impl From<Failure> for Unmoved {
    fn from(failure: Failure) -> Unmoved {
        Unmoved::Failed(failure)
    }
}

impl Unmoved {
    /// Prints the error of a node in redis-cli's form.
    pub fn report(self, cluster: &Cluster<'_>) -> Failure {
        match self {
            Unmoved::Refused(at, refusal) => match cluster.report::<()>(at, &refusal) {
                Ok(()) => Failure::Told,
                Err(failure) => failure,
            },
            Unmoved::Failed(failure) => failure,
        }
    }
}

/// A slot and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// The slot.
    pub slot: u16,
    /// The node that has it.
    pub from: usize,
    /// The node that gets it.
    pub to: usize,
    /// Whether only the keys move.
    pub is_cold: bool,
}

impl Move {
    /// Moves the slot.
    pub fn run(
        self,
        cluster: &mut Cluster<'_>,
        settings: &Settings,
        mut shows: Shows<'_>,
    ) -> Result<(), Unmoved> {
        let Move { slot, from, to, is_cold } = self;
        let has_line = match &shows {
            Shows::Dots => true,
            Shows::Progress(progress) => !progress.is_drawn(),
            Shows::Quiet(_) => false,
        };
        if has_line {
            let (from, to) = (cluster.nodes[from].address(), cluster.nodes[to].address());
            screen::part(format_args!("Moving slot {slot} from {from} to {to}: "))?;
        }
        if !is_cold {
            set_slot(cluster, to, slot, "IMPORTING", from)?;
            set_slot(cluster, from, slot, "MIGRATING", to)?;
        }
        let moved = self.move_keys(cluster, settings, &mut |count| match &mut shows {
            Shows::Progress(progress) | Shows::Quiet(progress) if progress.is_drawn() => progress.keys(count),
            Shows::Quiet(_) => Ok(()),
            _ => screen::part(".".repeat(count)),
        });
        if has_line {
            screen::line("")?;
        }
        moved?;
        if !is_cold {
            set_owner(cluster, slot, from, to)?;
        }
        cluster.nodes[from].slots.remove(slot);
        cluster.nodes[to].slots.insert(slot);
        if let Shows::Progress(progress) | Shows::Quiet(progress) = shows {
            progress.slot()?;
        }
        Ok(())
    }

    fn move_keys(
        self,
        cluster: &mut Cluster<'_>,
        settings: &Settings,
        show: &mut dyn FnMut(usize) -> Result<(), Failure>,
    ) -> Result<(), Unmoved> {
        let (slot, count) = (self.slot.to_string(), settings.pipeline.to_string());
        loop {
            let words = ["CLUSTER", "GETKEYSINSLOT", &slot, &count];
            let reply =
                cluster.call(self.from, &words).map_err(|refusal| Unmoved::Refused(self.from, refusal))?;
            let Value::Array(keys) = reply else { return Ok(()) };
            let keys: Vec<&[u8]> = keys.iter().filter_map(Value::as_bytes).collect();
            if keys.is_empty() {
                return Ok(());
            }
            if let Err(refusal) = self.migrate(cluster, settings, &keys, settings.replace) {
                self.retry(cluster, settings, &keys, refusal)?;
            }
            show(keys.len())?;
        }
    }

    /// Moves keys that were refused, if the reason is that the target has them, or that no node serves their slot.
    fn retry(
        self,
        cluster: &mut Cluster<'_>,
        settings: &Settings,
        keys: &[&[u8]],
        refusal: Refusal,
    ) -> Result<(), Unmoved> {
        let is_busy = refusal.0.contains("BUSYKEY");
        if !is_busy && self.is_served(cluster) {
            screen::line("")?;
            return Err(Unmoved::Refused(self.from, refusal));
        }
        if is_busy {
            screen::warning("\n*** Target key exists")?;
            if !settings.replace {
                self.must_have_equal_values(cluster, keys)?;
            }
            screen::warning("*** Replacing target keys...")?;
        } else if settings.fixes {
            let target = cluster.nodes[self.to].address();
            screen::warning(format_args!("*** Slot was not served, setting owner to node {target}."))?;
            set_slot(cluster, self.from, self.slot, "NODE", self.to)?;
        }
        let migrated = self.migrate(cluster, settings, keys, is_busy || settings.replace);
        migrated.map_err(|refusal| Unmoved::Refused(self.from, refusal))
    }

    fn migrate(
        self,
        cluster: &mut Cluster<'_>,
        settings: &Settings,
        keys: &[&[u8]],
        replaces: bool,
    ) -> Result<(), Refusal> {
        let target = &cluster.nodes[self.to];
        let (host, port) = (target.host.clone(), target.port.to_string());
        let timeout = settings.timeout_ms.to_string();
        let mut words: Vec<&[u8]> =
            vec![b"MIGRATE", host.as_bytes(), port.as_bytes(), b"", b"0", timeout.as_bytes()];
        if replaces {
            words.push(b"REPLACE");
        }
        let credentials = cluster.target();
        if let Some(password) = &credentials.password {
            match &credentials.user {
                Some(user) => words.extend([&b"AUTH2"[..], user.as_bytes()]),
                None => words.push(b"AUTH"),
            }
            words.push(password.as_bytes());
        }
        words.push(b"KEYS");
        words.extend(keys);
        cluster.call(self.from, &words).map(drop)
    }

    /// Whether the source knows an owner of the slot.
    fn is_served(self, cluster: &mut Cluster<'_>) -> bool {
        let text = cluster.text(self.from, &["CLUSTER", "NODES"]).ok();
        let view = text.and_then(|text| super::node::parse(&text));
        view.is_none_or(|(own, others)| {
            std::iter::once(&own).chain(&others).any(|node| node.slots.contains(self.slot))
        })
    }

    /// Fails, and lists the keys, if source and target have different values of them.
    fn must_have_equal_values(self, cluster: &mut Cluster<'_>, keys: &[&[u8]]) -> Result<(), Failure> {
        screen::warning("*** Checking key values on both nodes...")?;
        let words: Vec<&[u8]> =
            [&b"DEBUG"[..], b"DIGEST-VALUE"].into_iter().chain(keys.iter().copied()).collect();
        let mut digests = Vec::new();
        for at in [self.from, self.to] {
            match cluster.demand(at, &words) {
                Ok(Value::Array(found)) if found.len() == keys.len() => digests.push(found),
                _ => return screen::fail("*** Value check failed!"),
            }
        }
        let missing = "0".repeat(40);
        let is_other = |at: &usize| {
            let [source, target] = [&digests[0][*at], &digests[1][*at]];
            source != target && target.as_bytes() != Some(missing.as_bytes())
        };
        let different: Vec<usize> = (0..keys.len()).filter(is_other).collect();
        if different.is_empty() {
            return Ok(());
        }
        let (source, target) = (cluster.nodes[self.from].address(), cluster.nodes[self.to].address());
        let mut text = format!(
            "*** Found {} key(s) in both source node and target node having different values.\n    Source node: \
             {source}\n    Target node: {target}\n    Keys(s):\n",
            different.len()
        );
        // Writing to a string does not fail.
        for at in different {
            let _ = writeln!(text, "    - {}", String::from_utf8_lossy(keys[at]));
        }
        text += "Please fix the above key(s) manually and try again or relaunch the command \nwith --cluster-replace \
                 option to force key overriding.";
        screen::fail(text)
    }
}

/// Sends `CLUSTER SETSLOT slot state ID-of-node` to the node `at`.
pub fn set_slot(
    cluster: &mut Cluster<'_>,
    at: usize,
    slot: u16,
    state: &str,
    node: usize,
) -> Result<(), Unmoved> {
    let name = cluster.nodes[node].name.clone();
    let reply = cluster.call(at, &["CLUSTER", "SETSLOT", &slot.to_string(), state, &name]);
    reply.map(drop).map_err(|refusal| Unmoved::Refused(at, refusal))
}

/// Tells all masters that the slot has moved.
fn set_owner(cluster: &mut Cluster<'_>, slot: u16, from: usize, to: usize) -> Result<(), Unmoved> {
    set_slot(cluster, to, slot, "NODE", to)?;
    match set_slot(cluster, from, slot, "NODE", to) {
        Err(Unmoved::Refused(_, refusal)) if refusal.0.starts_with(IS_REPLICA) => {}
        result => result?,
    }
    for at in cluster.masters() {
        if at != from && at != to {
            set_slot(cluster, at, slot, "NODE", to)?;
        }
    }
    Ok(())
}
