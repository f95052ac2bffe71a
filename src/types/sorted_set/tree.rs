//! The order of a large sorted set: a B+ tree whose inner nodes know how many entries lie below each child.
//!
//! ```text
//!                    ┌ first of each child: 1.0 a │ 7.5 q │ … ┐
//!   row of nodes     │ entries below it:      130 │    97 │ … │
//!                    └ children:                ● │     ● │ … ┘
//!                                     ┌───────────┘     └─────────┐
//!   row of leaves  ┌ 1.0 a │ 2.0 k │ … ┐                       ┌ … ┐
//!                  │    43 │    40 │ … │
//!                  └     ● │     ● │ … ┘
//!                 ┌──────┘       └─────┐
//!   leaf      ┌ 1.0  1.0  1.5 … ┐  ┌ 2.0  2.25 … ┐     scores, and handles of the members' elements
//!             └  a    c    b  … ┘  └  k    d   … ┘
//! ```
//!
//! The one idea: counts make positions. How many entries come before a place is the sum of the counts to the left of
//! the way down to it, so a rank costs what a lookup costs; any range, by rank, score or member, is a pair of ranks and
//! then a walk over leaves. There are no links between leaves: a walk keeps its way down and steps along it (`walk`),
//! which leaves each node one owner, and the tree safe Rust.
//!
//! Entries are ordered by score, those of equal score by member, byte by byte. Zero and minus zero are equal scores.
//!
//! A full node is split in halves, but at the ends of the tree, where entries arrive in order, the new entry begins a
//! node of its own: ascending inserts leave full nodes behind. A node of less than a quarter is merged with its
//! neighbour, or takes from it, so that the height stays logarithmic.
//!
//! Costs: a search makes six comparisons of scores in each node, and waits for all lines of the leaf at once.
//! `cargo bench --bench sorted_set` measures it beside a skiplist of the same data.

use super::element::Handle;
use super::leaf::{self, Leaf};
use super::node::{Edge, Key, Node, Part};
use super::walk::Walk;

/// How full [`Tree::build`] makes a leaf: the next inserts do not split at once.
const BUILT: usize = leaf::MOST * 7 / 8;

/// See the module's head.
pub(super) struct Tree {
    root: Node,
    len: usize,
}

impl Tree {
    /// An empty tree.
    pub(super) fn new() -> Tree {
        Tree { root: Node::Leaf(Leaf::with_room(0)), len: 0 }
    }

    /// A tree of entries that come in order.
    pub(super) fn build(entries: &[(f64, Handle)]) -> Tree {
        let mut leaves = Vec::with_capacity(entries.len().div_ceil(BUILT));
        for_each_share(entries.len(), BUILT, |range| {
            let mut leaf = Leaf::with_room(range.len());
            for &(score, handle) in &entries[range] {
                leaf.insert(leaf.len(), score, handle);
            }
            leaves.push(leaf);
        });
        Tree { root: Node::over(leaves), len: entries.len() }
    }

    /// The number of entries.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Asks the processor for the leaf in which `score` belongs.
    #[inline]
    pub(super) fn prefetch(&self, score: f64) {
        self.root.prefetch(score);
    }

    /// Adds an entry that is not in the tree.
    #[inline]
    pub(super) fn insert(&mut self, score: f64, handle: Handle) {
        let key = Key { score, member: handle.member() };
        self.len += 1;
        if let Some(right) = self.root.insert(key, handle, Edge::WHOLE) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Leaf::with_room(0)));
            self.root = Node::above(left, right);
        }
    }

    /// Takes out the entry at `key`; whether it was there.
    #[inline]
    pub(super) fn remove(&mut self, key: Key<'_>) -> bool {
        let removed = self.root.remove(key);
        self.len -= usize::from(removed);
        self.root.lower();
        removed
    }

    /// Gives the entry at `key`, which is in the tree, the score `score`, where `handle` names its element.
    #[inline]
    pub(super) fn rescore(&mut self, key: Key<'_>, score: f64, handle: Handle) {
        if !self.root.rescore(key, score) {
            let removed = self.remove(key);
            debug_assert!(removed, "the dict and the tree have the same scores");
            self.insert(score, handle);
        }
    }

    /// How many entries come before `key`.
    #[inline]
    pub(super) fn rank(&self, key: Key<'_>) -> usize {
        self.root.partition(&|score, handle| key.is_after(score, handle))
    }

    /// How many entries `before` holds for: true for all up to some place, false from there on. Where it is not so,
    /// the answer is any number up to the length.
    #[inline]
    pub(super) fn partition(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.root.partition(&|score, handle: &Handle| before(score, handle.member()))
    }

    /// [`Self::partition`] by scores, which looks at no member.
    #[inline]
    pub(super) fn partition_scores(&self, before: impl Fn(f64) -> bool) -> usize {
        self.root.partition(&|score, _: &Handle| before(score))
    }

    /// Takes out up to `most` entries from rank `from` on, after showing them; answers how many, at least one if there
    /// is one.
    pub(super) fn remove_some(&mut self, from: usize, most: usize, see: &mut dyn FnMut(&[Handle])) -> usize {
        assert!(from < self.len && most > 0);
        let removed = self.root.remove_some(from, most, see);
        self.len -= removed;
        self.root.lower();
        removed
    }

    /// The `count` entries from rank `from` on, or back from it.
    #[inline]
    pub(super) fn walk(&self, from: usize, count: usize, backwards: bool) -> Walk<'_> {
        let within = if backwards {
            from < self.len && count <= from + 1
        } else {
            count <= self.len.saturating_sub(from)
        };
        assert!(count == 0 || within);
        Walk::new(&self.root, from, count, backwards)
    }

    /// The bytes of all nodes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.root.memory_bytes()
    }

    /// Panics unless the tree is what the module's head says.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut last = None;
        assert_eq!(self.root.check(Edge::WHOLE, true, &mut last), self.len);
    }
}

/// Calls `each` with ranges that cover `0..len`, of about equal lengths up to `most`.
pub(super) fn for_each_share(len: usize, most: usize, mut each: impl FnMut(std::ops::Range<usize>)) {
    let shares = len.div_ceil(most);
    for i in 0..shares {
        each(len * i / shares..len * (i + 1) / shares);
    }
}
