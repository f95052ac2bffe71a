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
//! Ranks come from counts: the number of entries before a place is the sum of the counts to the left of the path down to
//! it, so a rank costs as much as a lookup. Any range, by rank, score or member, is a pair of ranks and then a walk over
//! leaves. Leaves are not linked: a walk keeps its path from the root and steps along it (`walk`). So each node has one
//! owner, and the tree is safe Rust.
//!
//! Entries are ordered by score, entries of equal score by member, byte by byte. Zero and minus zero are equal scores.
//!
//! A full node is split in half. But at the ends of the tree, where entries arrive in order, the new entry starts a node
//! of its own, so that ascending inserts leave full nodes behind. A node less than a quarter full is merged with its
//! neighbour, or takes entries from it, so that the height stays logarithmic.
//!
//! Costs: a search makes six comparisons of scores in each node, and waits for all lines of the leaf at once.
//! `cargo bench --bench sorted_set` compares it with a skiplist of the same data.

use super::element::Handle;
use super::leaf::{self, Leaf};
use super::node::{Edge, Node, OrderKey, Part};
use super::walk::Walk;
use crate::types::moves::{MoveCursor, Moves};

/// How full [`Tree::build`] makes a leaf, so that the next inserts do not split it at once.
pub(super) const BUILT: usize = leaf::MOST * 7 / 8;

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

    /// A tree of entries that are in order.
    pub(super) fn build(entries: &[(f64, Handle)]) -> Tree {
        let mut leaves = Vec::with_capacity(entries.len().div_ceil(BUILT));
        for_each_share(entries.len(), BUILT, |range| leaves.push(Leaf::of(entries[range].iter().copied())));
        Tree::over(leaves, entries.len())
    }

    /// A tree of leaves that are in order, with `len` entries in all. Only the first leaf may have less than half of
    /// [`BUILT`], and none is empty.
    pub(super) fn over(leaves: Vec<Leaf>, len: usize) -> Tree {
        Tree { root: Node::over(leaves), len }
    }

    /// The number of entries.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Prefetches the leaf in which `score` belongs.
    #[inline]
    pub(super) fn prefetch(&self, score: f64) {
        self.root.prefetch(score);
    }

    /// Inserts an entry that is not in the tree.
    #[inline]
    pub(super) fn insert(&mut self, score: f64, handle: Handle) {
        let key = OrderKey { score, member: handle.member() };
        self.len += 1;
        if let Some(right) = self.root.insert(key, handle, Edge::WHOLE) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Leaf::with_room(0)));
            self.root = Node::above(left, right);
        }
    }

    /// Removes the entry at `key` and returns whether it was there.
    #[inline]
    pub(super) fn remove(&mut self, key: OrderKey<'_>) -> bool {
        let removed = self.root.remove(key);
        self.len -= usize::from(removed);
        self.root.lower();
        removed
    }

    /// Changes the score of the entry at `key`, which must be in the tree, to `score`; `handle` is its element.
    #[inline]
    pub(super) fn rescore(&mut self, key: OrderKey<'_>, score: f64, handle: Handle) {
        if !self.root.rescore(key, score) {
            let removed = self.remove(key);
            debug_assert!(removed, "the dict and the tree have the same scores");
            self.insert(score, handle);
        }
    }

    /// Makes the entry at `key`, which must be in the tree, refer to its element by `handle`.
    pub(super) fn repoint(&mut self, key: OrderKey<'_>, handle: Handle) {
        self.root.repoint(key, handle);
    }

    /// Moves leaves out of sparse slabs, from the one with the entry of rank `cursor.at` on, until they have `most` entries;
    /// returns where to go on.
    pub(super) fn defragment(
        &mut self,
        cursor: MoveCursor,
        most: usize,
        moves: &mut Moves,
    ) -> Option<MoveCursor> {
        let from = cursor.at as usize;
        let mut rank = from;
        while rank < self.len && rank - from < most {
            rank += self.root.relocate_leaf(rank, moves);
        }
        (rank < self.len).then_some(MoveCursor { at: rank as u64, ..cursor })
    }

    /// How many entries come before `key`.
    #[inline]
    pub(super) fn rank(&self, key: OrderKey<'_>) -> usize {
        self.root.partition(&|score, handle| key.is_after(score, handle))
    }

    /// How many entries `before` is true for, if it is true up to some place and false from there on. Otherwise the result
    /// is some number up to the length.
    #[inline]
    pub(super) fn partition(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.root.partition(&|score, handle: &Handle| before(score, handle.member()))
    }

    /// [`Self::partition`] by scores, which reads no member.
    #[inline]
    pub(super) fn partition_scores(&self, before: impl Fn(f64) -> bool) -> usize {
        self.root.partition(&|score, _: &Handle| before(score))
    }

    /// Removes up to `most` entries from rank `from` on, after showing them to `see`. Returns how many, at least one if
    /// there is one.
    pub(super) fn remove_some(&mut self, from: usize, most: usize, see: &mut dyn FnMut(&[Handle])) -> usize {
        assert!(from < self.len && most > 0);
        let removed = self.root.remove_some(from, most, see);
        self.len -= removed;
        self.root.lower();
        removed
    }

    /// The `count` entries from rank `from` on, or backwards from it.
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

    /// Panics unless the tree is as the module's head describes.
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
