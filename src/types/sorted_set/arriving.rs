//! A sorted set under construction, built in steps that all take about the same time.
//!
//! ```text
//!   9.0 k │ 8.5 c  8.0 z  7.0 a  │ 6.5 q  6.0 b │ … next
//!   └──── leaves, from the last ─┘ └ the run ───┘
//! ```
//!
//! A snapshot has the elements of a sorted set from the last to the first. As long as they come in this order, they are
//! collected in a run, which becomes a leaf when it is long enough. At the end, only the rows above the leaves are
//! missing: one entry for each 59 elements. An element that is out of order ends this: it and all after it are
//! inserted as usual, which costs about a third more. [`Gather`](super::Gather) is as fast in any order, but sorts all
//! elements at the end.

use super::element::{Element, Handle};
use super::large::SortedSet;
use super::leaf::Leaf;
use super::node::OrderKey;
use super::tree::BUILT;
use crate::dict::Seed;

/// See the module's head.
pub struct Arriving {
    /// Its tree is empty as long as the elements are in order.
    set: SortedSet,
    /// Whether an element was out of order.
    is_mixed: bool,
    /// The latest elements, each ordered before the one that arrived before it.
    run: Vec<(f64, Handle)>,
    /// The leaves of the elements that arrived before those of `run`; the last leaf of the tree comes first.
    leaves: Vec<Leaf>,
}

impl Arriving {
    /// Begins a set with room for about `room` elements, hashed under `seed`.
    pub fn with_room(seed: Seed, room: usize) -> Arriving {
        let set = SortedSet::with_room(seed, room);
        Arriving { set, is_mixed: false, run: Vec::with_capacity(BUILT.min(room)), leaves: Vec::new() }
    }

    /// Adds an element and returns whether it is new. The score must not be NaN.
    #[inline]
    pub fn add(&mut self, member: &[u8], score: f64) -> bool {
        debug_assert!(!score.is_nan());
        let hash = self.set.hash(member);
        if self.set.find(hash, member).is_some() {
            return false;
        }
        let place = OrderKey { score, member };
        if !self.is_mixed && self.run.last().is_some_and(|(score, handle)| place.is_after(*score, handle)) {
            self.is_mixed = true;
            self.build();
        }
        let handle = self.set.own(hash, Element::new(score, member));
        if self.is_mixed {
            self.set.order(score, handle);
            return true;
        }
        if self.run.len() == BUILT {
            self.end_run();
        }
        self.run.push((score, handle));
        true
    }

    fn end_run(&mut self) {
        self.leaves.push(Leaf::of(self.run.drain(..).rev()));
    }

    /// Builds the tree of all elements so far.
    #[cold]
    fn build(&mut self) {
        if !self.run.is_empty() {
            self.end_run();
        }
        let mut leaves = std::mem::take(&mut self.leaves);
        leaves.reverse();
        self.set.order_all(leaves);
        self.run = Vec::new();
    }

    /// Returns the set with all added elements.
    pub fn finish(mut self) -> SortedSet {
        if !self.is_mixed {
            self.build();
        }
        self.set
    }
}
