//! A walk over the tree's entries in order, forwards or backwards, from any rank.
//!
//! The walk keeps its path down to the leaf, a row and the index of a child for each level. The next leaf is one step
//! along the lowest row that has another child. Members may lie anywhere in memory: while one is read, those [`AHEAD`]
//! entries later are prefetched, and on entering a leaf the next leaf is.
//!
//! Costs: O(log n) to begin, O(1) per step, no allocation.

use super::element::Handle;
use super::leaf::Leaf;
use super::node::{Node, Row};

/// Levels of rows above the rows of leaves. Rows that are not at an end of the tree have at least 16 children.
const MOST_LEVELS: usize = 14;

/// How many entries ahead members are prefetched.
const AHEAD: usize = 8;

/// Elements in order or backwards: member and score. See the module's head.
#[derive(Clone)]
pub struct Walk<'a> {
    high: [Option<(&'a Row<Node>, usize)>; MOST_LEVELS],
    levels: usize,
    low: Option<(&'a Row<Leaf>, usize)>,
    scores: &'a [f64],
    handles: &'a [Handle],
    /// The next entry of the leaf. When it is behind the last one, or before the first, the leaf is done.
    at: usize,
    left: usize,
    backwards: bool,
}

impl<'a> Walk<'a> {
    /// A walk over `count` entries: the one of rank `rank` and those after it, or before it if `backwards`.
    pub(super) fn new(root: &'a Node, rank: usize, count: usize, backwards: bool) -> Walk<'a> {
        let mut elements = Walk {
            high: [None; MOST_LEVELS],
            levels: 0,
            low: None,
            scores: &[],
            handles: &[],
            at: 0,
            left: count,
            backwards,
        };
        if count > 0 {
            elements.descend(root, rank);
        }
        elements
    }

    /// Descends to the entry of rank `rank` below `node`.
    fn descend(&mut self, mut node: &'a Node, mut rank: usize) {
        while let Node::High(row) = node {
            let (at, below) = row.at_rank(rank);
            self.high[self.levels] = Some((row, at));
            self.levels += 1;
            (node, rank) = (row.child(at), below);
        }
        match node {
            Node::Low(row) => {
                let (at, below) = row.at_rank(rank);
                self.low = Some((row, at));
                self.enter(row.child(at), below);
            }
            Node::Leaf(leaf) => self.enter(leaf, rank),
            Node::High(_) => unreachable!("the loop has gone down"),
        }
    }

    /// Enters a leaf at entry `at`, and prefetches what is needed first: members, and the leaf after this one.
    fn enter(&mut self, leaf: &'a Leaf, at: usize) {
        (self.scores, self.handles, self.at) = (leaf.scores(), leaf.handles(), at);
        let len = self.handles.len();
        let soon = self.left.min(AHEAD);
        let (first, next_leaf_after) = if self.backwards {
            ((at + 1).saturating_sub(soon)..at + 1, at + 1)
        } else {
            (at..(at + soon).min(len), len - at)
        };
        self.handles[first].iter().for_each(|handle| handle.prefetch());
        if self.left > next_leaf_after
            && let Some((row, of)) = self.low
        {
            let neighbour = if self.backwards { of.checked_sub(1) } else { Some(of + 1) };
            if let Some(neighbour) = neighbour.filter(|&n| n < row.len()) {
                row.child(neighbour).prefetch(row.counts()[neighbour]);
            }
        }
    }

    /// Enters the next leaf; there must be one.
    #[inline(never)]
    fn turn(&mut self) {
        let back = self.backwards;
        let step =
            |at: usize, len: usize| if back { at.checked_sub(1) } else { Some(at + 1).filter(|&n| n < len) };
        if let Some((row, at)) = self.low
            && let Some(at) = step(at, row.len())
        {
            self.low = Some((row, at));
            let count = row.counts()[at];
            return self.enter(row.child(at), if back { count - 1 } else { 0 });
        }
        while let Some(above) = self.levels.checked_sub(1) {
            self.levels = above;
            if let Some((row, at)) = self.high[above]
                && let Some(at) = step(at, row.len())
            {
                self.high[above] = Some((row, at));
                self.levels = above + 1;
                let count = row.counts()[at];
                return self.descend(row.child(at), if back { count - 1 } else { 0 });
            }
        }
        unreachable!("a walk is no longer than the tree")
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], f64)> {
        if self.left == 0 {
            return None;
        }
        // Backwards, the index before the first entry wraps to a number beyond all.
        if self.at >= self.handles.len() {
            self.turn();
        }
        self.left -= 1;
        let at = self.at;
        let (next, soon) =
            if self.backwards { (at.wrapping_sub(1), at.wrapping_sub(AHEAD)) } else { (at + 1, at + AHEAD) };
        self.at = next;
        if let Some(handle) = self.handles.get(soon) {
            handle.prefetch();
        }
        Some((self.handles[at].member(), self.scores[at]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Walk<'_> {}
