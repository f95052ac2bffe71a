//! Entries between two IDs, both included, in either direction. Deleted ones are skipped.

use super::Stream;
use super::id::Id;
use super::node::{Record, Walk};

/// Entries from the first one on.
pub struct Range<'a> {
    stream: &'a Stream,
    /// The index of the node after the one of `walk`.
    node: usize,
    walk: Option<Walk<'a>>,
    to: Id,
}

/// Entries from the last one backwards.
pub struct Backwards<'a> {
    stream: &'a Stream,
    /// The index of the node of `walk`.
    node: usize,
    walk: Option<Walk<'a>>,
    from: Id,
    to: Id,
}

impl Stream {
    /// The entries from one ID to another, both included.
    #[inline]
    pub fn range(&self, from: Id, to: Id) -> Range<'_> {
        let node = self.node_of(from).unwrap_or(0);
        let mut walk = self.nodes.get(node).map(super::Node::walk);
        if let Some(walk) = walk.as_mut().filter(|_| from > self.nodes[node].master) {
            walk.seek(from);
        }
        Range { stream: self, node: node + 1, walk, to }
    }

    /// The same entries from the last one backwards.
    pub fn range_back(&self, from: Id, to: Id) -> Backwards<'_> {
        let node = self.node_of(to);
        let walk = node.map(|at| self.nodes[at].walk());
        Backwards { stream: self, node: node.unwrap_or(0), walk, from, to }
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            let Some(record) = self.walk.as_mut()?.next() else {
                self.walk = self.stream.nodes.get(self.node).map(super::Node::walk);
                self.node += 1;
                continue;
            };
            if record.is_deleted() {
                continue;
            }
            if record.id > self.to {
                self.walk = None;
                return None;
            }
            return Some(record);
        }
    }
}

impl<'a> Iterator for Backwards<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            let Some(record) = self.walk.as_mut()?.next_back() else {
                self.walk = self.node.checked_sub(1).map(|before| self.stream.nodes[before].walk());
                self.node = self.node.saturating_sub(1);
                continue;
            };
            if record.is_deleted() {
                continue;
            }
            if record.id < self.from {
                self.walk = None;
                return None;
            }
            if record.id <= self.to {
                return Some(record);
            }
        }
    }
}
