//! The nodes of the tree: the work that each does itself and the work it delegates to one child.
//!
//! A [`Row`] of children works the same whether they are leaves or rows. It is written once over the trait [`Part`], which
//! leaves and nodes implement. A row of leaves takes 8 bytes per child, since a leaf is only a pointer.
//!
//! A row stores, for each child, its first entry and the number of entries below it. Both are updated on the way back
//! from the child, so they are exact after any change below, and no row keeps the handle of a removed element.

use super::element::Handle;
use super::leaf::{self, Leaf};
use super::tree::for_each_share;
use crate::types::moves::Moves;

/// The most children of a row; see [`leaf::MOST`] for tests.
pub(super) const MOST: usize = if cfg!(test) { 8 } else { 64 };

/// The number of children in the rows of a newly built tree.
const BUILT: usize = MOST * 7 / 8;

/// A position in the order: a score, and among equal scores a member.
#[derive(Clone, Copy)]
pub(super) struct OrderKey<'a> {
    pub(super) score: f64,
    pub(super) member: &'a [u8],
}

impl OrderKey<'_> {
    /// Whether the entry comes before this position.
    #[inline(always)]
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "partitions hand out references")]
    pub(super) fn is_after(&self, score: f64, handle: &Handle) -> bool {
        score < self.score || (score == self.score && handle.member() < self.member)
    }

    /// The number of entries, out of these sorted ones, before this position.
    #[inline(always)]
    fn position(&self, scores: &[f64], handles: &[Handle]) -> usize {
        let at = scores.partition_point(|&score| score < self.score);
        if scores.get(at) == Some(&self.score) {
            return at + self.among_equals(&scores[at..], &handles[at..]);
        }
        at
    }

    /// [`Self::position`] among entries that begin with this score.
    #[inline(never)]
    fn among_equals(&self, scores: &[f64], handles: &[Handle]) -> usize {
        let equal = scores.partition_point(|&score| score == self.score);
        handles[..equal].partition_point(|handle| handle.member() < self.member)
    }
}

/// Whether a node is at the beginning or the end of the tree.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    first: bool,
    last: bool,
}

impl Edge {
    /// At both: the root.
    pub(super) const WHOLE: Edge = Edge { first: true, last: true };

    /// The same for child `at` of `len`.
    #[inline(always)]
    fn of_child(self, at: usize, len: usize) -> Edge {
        Edge { first: self.first && at == 0, last: self.last && at + 1 == len }
    }
}

/// A child of a row. An edge gives the part's position in the tree.
pub(super) trait Part: Sized {
    /// The most entries or children of the part itself.
    const MOST: usize;
    /// The number of entries or children of the part itself.
    fn size(&self) -> usize;
    /// The number of entries in the part, at all levels.
    fn count(&self) -> usize;
    /// The first entry. The part must not be empty.
    fn first(&self) -> (f64, Handle);
    /// Inserts an entry. If the part splits, returns the right part.
    fn insert(&mut self, key: OrderKey<'_>, handle: Handle, edge: Edge) -> Option<Self>;
    /// Removes an entry and returns whether the part had it.
    fn remove(&mut self, key: OrderKey<'_>) -> bool;
    /// Changes an entry's score if it stays in the same leaf. Returns whether it did.
    fn rescore(&mut self, key: OrderKey<'_>, score: f64) -> bool;
    /// Makes the entry at `key`, which must exist, refer to its element by `handle`.
    fn repoint(&mut self, key: OrderKey<'_>, handle: Handle);
    /// Moves the leaf with the entry of rank `rank` out of a sparse slab. Returns the number of its entries from that
    /// one on.
    fn relocate_leaf(&mut self, rank: usize, moves: &mut Moves) -> usize;
    /// Passes up to `most` entries, at least one, from rank `from` on to `see`, then removes them. Returns their
    /// number.
    fn remove_some(&mut self, from: usize, most: usize, see: &mut dyn FnMut(&[Handle])) -> usize;
    /// The number of entries before the first one for which `before` is false.
    fn partition(&self, before: &impl Fn(f64, &Handle) -> bool) -> usize;
    /// Takes all entries of the part to the right. They must fit.
    fn merge(&mut self, right: Self);
    /// Balances the two parts.
    fn share(&mut self, right: &mut Self);
    /// Prefetches the part, or its leaf in which `score` belongs. The part has `count` entries.
    fn prefetch(&self, score: f64, count: usize);
    /// The bytes of all blocks.
    fn memory_bytes(&self) -> usize;
    /// Panics unless the part is sound, and returns its count. `last` is the entry before it, and afterwards its last
    /// one.
    #[cfg(test)]
    fn check<'a>(&'a self, edge: Edge, root: bool, last: &mut Option<(f64, &'a [u8])>) -> usize;

    /// Whether the part is so small that it should be merged.
    #[inline(always)]
    fn is_thin(&self) -> bool {
        self.size() < Self::MOST / 4
    }
}

impl Part for Leaf {
    const MOST: usize = leaf::MOST;

    #[inline(always)]
    fn size(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn first(&self) -> (f64, Handle) {
        (self.scores()[0], self.handles()[0])
    }

    #[inline(always)]
    fn insert(&mut self, key: OrderKey<'_>, handle: Handle, edge: Edge) -> Option<Leaf> {
        let at = key.position(self.scores(), self.handles());
        if self.len() == leaf::MOST {
            return Some(split_leaf(self, at, key.score, handle, edge));
        }
        Leaf::insert(self, at, key.score, handle);
        None
    }

    #[inline]
    fn remove(&mut self, key: OrderKey<'_>) -> bool {
        let at = key.position(self.scores(), self.handles());
        let found = self.scores().get(at) == Some(&key.score) && self.handles()[at].member() == key.member;
        if found {
            Leaf::remove(self, at..at + 1);
        }
        found
    }

    #[inline]
    fn rescore(&mut self, key: OrderKey<'_>, score: f64) -> bool {
        let at = key.position(self.scores(), self.handles());
        let to = OrderKey { score, ..key }.position(self.scores(), self.handles());
        let (scores, handles) = self.entries_mut();
        // `to` was counted with the entry in its old position.
        if to > at {
            scores[at..to].rotate_left(1);
            handles[at..to].rotate_left(1);
            scores[to - 1] = score;
        } else {
            scores[to..=at].rotate_right(1);
            handles[to..=at].rotate_right(1);
            scores[to] = score;
        }
        true
    }

    fn repoint(&mut self, key: OrderKey<'_>, handle: Handle) {
        let at = key.position(self.scores(), self.handles());
        let (_, handles) = self.entries_mut();
        debug_assert!(handles[at].member() == key.member, "the dict and the tree have the same members");
        handles[at] = handle;
    }

    fn relocate_leaf(&mut self, rank: usize, moves: &mut Moves) -> usize {
        self.relocate(moves);
        self.len() - rank
    }

    fn remove_some(&mut self, from: usize, most: usize, see: &mut dyn FnMut(&[Handle])) -> usize {
        let to = (from + most).min(self.len());
        let gone = &self.handles()[from..to];
        for handle in gone {
            handle.prefetch();
        }
        see(gone);
        Leaf::remove(self, from..to);
        to - from
    }

    #[inline]
    fn partition(&self, before: &impl Fn(f64, &Handle) -> bool) -> usize {
        partition(self.scores(), self.handles(), before)
    }

    fn merge(&mut self, right: Leaf) {
        self.insert_all(self.len(), right.scores(), right.handles());
    }

    fn share(&mut self, right: &mut Leaf) {
        let half = usize::midpoint(self.len(), right.len());
        if self.len() < half {
            let count = half - self.len();
            self.insert_all(self.len(), &right.scores()[..count], &right.handles()[..count]);
            Leaf::remove(right, 0..count);
        } else {
            right.insert_all(0, &self.scores()[half..], &self.handles()[half..]);
            Leaf::remove(self, half..self.len());
        }
    }

    #[inline(always)]
    fn prefetch(&self, _: f64, count: usize) {
        Leaf::prefetch(self, count);
    }

    fn memory_bytes(&self) -> usize {
        Leaf::memory_bytes(self)
    }

    #[cfg(test)]
    fn check<'a>(&'a self, edge: Edge, root: bool, last: &mut Option<(f64, &'a [u8])>) -> usize {
        assert!(self.len() > 0 || root, "an empty leaf");
        assert!(self.len() <= leaf::MOST);
        assert!(root || edge.first || edge.last || !self.is_thin(), "a thin leaf of {}", self.len());
        for (&score, handle) in self.scores().iter().zip(self.handles()) {
            let entry = (score, handle.member());
            assert!(!score.is_nan());
            assert!(last.is_none_or(|last| last < entry), "{last:?} before {entry:?}");
            *last = Some(entry);
        }
        self.len()
    }
}

#[inline(always)]
fn partition(scores: &[f64], handles: &[Handle], before: &impl Fn(f64, &Handle) -> bool) -> usize {
    let (mut from, mut to) = (0, scores.len());
    while from < to {
        let middle = usize::midpoint(from, to);
        if before(scores[middle], &handles[middle]) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}

/// Inserts an entry at `at` into a full leaf, which splits it, and returns the right half.
#[inline(never)]
fn split_leaf(leaf: &mut Leaf, at: usize, score: f64, handle: Handle, edge: Edge) -> Leaf {
    let len = leaf.len();
    let split = match edge {
        Edge { last: true, .. } if at == len => len,
        Edge { first: true, .. } if at == 0 => 0,
        _ => len / 2,
    };
    let mut right = leaf.split_off(split);
    if at < split || split == 0 {
        Leaf::insert(leaf, at, score, handle);
    } else {
        Leaf::insert(&mut right, at - split, score, handle);
    }
    right
}

/// Children side by side; see the module's head.
pub(super) struct Row<C> {
    len: usize,
    scores: [f64; MOST],
    counts: [usize; MOST],
    children: [Option<C>; MOST],
    handles: [Handle; MOST],
}

impl<C: Part> Row<C> {
    fn empty() -> Box<Row<C>> {
        Box::new(Row {
            len: 0,
            scores: [0.0; MOST],
            counts: [0; MOST],
            children: [const { None }; MOST],
            handles: [Handle::NOWHERE; MOST],
        })
    }

    fn of(children: impl Iterator<Item = C>) -> Box<Row<C>> {
        let mut row = Row::empty();
        for child in children {
            row.place(row.len, child);
        }
        row
    }

    /// The number of children.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number of entries below each child.
    #[inline(always)]
    pub(super) fn counts(&self) -> &[usize] {
        &self.counts[..self.len]
    }

    /// The child `at`.
    #[inline(always)]
    pub(super) fn child(&self, at: usize) -> &C {
        self.children[at].as_ref().expect("a row has as many children as it says")
    }

    #[inline(always)]
    fn child_mut(&mut self, at: usize) -> &mut C {
        self.children[at].as_mut().expect("a row has as many children as it says")
    }

    /// The child at rank `rank`, and the rank in it.
    #[inline]
    pub(super) fn at_rank(&self, mut rank: usize) -> (usize, usize) {
        for (at, &count) in self.counts().iter().enumerate() {
            if rank < count {
                return (at, rank);
            }
            rank -= count;
        }
        unreachable!("a rank is below the count")
    }

    /// The child in which `key` belongs.
    #[inline(always)]
    fn route(&self, key: OrderKey<'_>) -> usize {
        let scores = &self.scores[..self.len];
        let at = scores.partition_point(|&score| score < key.score);
        if at < scores.len() && scores[at] == key.score {
            return self.route_among_equals(key, at);
        }
        at.saturating_sub(1)
    }

    /// The same if child `at` is the first one that begins with this score. A key that equals a child's first entry
    /// belongs to that child.
    #[inline(never)]
    fn route_among_equals(&self, key: OrderKey<'_>, at: usize) -> usize {
        let (scores, handles) = (&self.scores[at..self.len], &self.handles[at..self.len]);
        let equal = scores.partition_point(|&score| score == key.score);
        (at + handles[..equal].partition_point(|handle| handle.member() <= key.member)).saturating_sub(1)
    }

    /// Inserts a child at `at`. The row must not be full.
    fn place(&mut self, at: usize, child: C) {
        let len = self.len;
        self.scores.copy_within(at..len, at + 1);
        self.counts.copy_within(at..len, at + 1);
        self.handles.copy_within(at..len, at + 1);
        self.children[at..=len].rotate_right(1);
        self.children[at] = Some(child);
        self.len = len + 1;
        self.refresh(at);
    }

    /// Removes and returns the child at `at`.
    fn take(&mut self, at: usize) -> C {
        let len = self.len;
        self.scores.copy_within(at + 1..len, at);
        self.counts.copy_within(at + 1..len, at);
        self.handles.copy_within(at + 1..len, at);
        self.children[at..len].rotate_left(1);
        self.len = len - 1;
        self.children[len - 1].take().expect("a row has as many children as it says")
    }

    /// Updates what the row stores about child `at`.
    #[inline]
    fn refresh(&mut self, at: usize) {
        let child = self.child(at);
        if child.size() > 0 {
            let ((score, handle), count) = (child.first(), child.count());
            self.scores[at] = score;
            self.handles[at] = handle;
            self.counts[at] = count;
        } else {
            self.counts[at] = 0;
        }
    }

    /// Moves the children from `at` on to a new row.
    fn split_off(&mut self, at: usize) -> Box<Row<C>> {
        let mut right = Row::empty();
        let count = self.len - at;
        right.scores[..count].copy_from_slice(&self.scores[at..self.len]);
        right.counts[..count].copy_from_slice(&self.counts[at..self.len]);
        right.handles[..count].copy_from_slice(&self.handles[at..self.len]);
        right.children[..count].swap_with_slice(&mut self.children[at..self.len]);
        right.len = count;
        self.len = at;
        right
    }

    /// Inserts a child at `at`. If that splits the row, returns the right half.
    #[inline(never)]
    fn put(&mut self, at: usize, child: C, edge: Edge) -> Option<Box<Row<C>>> {
        if self.len < MOST {
            self.place(at, child);
            return None;
        }
        let split = match edge {
            Edge { last: true, .. } if at == MOST => MOST,
            Edge { first: true, .. } if at == 1 => 1,
            _ => MOST / 2,
        };
        let mut right = self.split_off(split);
        if at < split {
            self.place(at, child);
        } else {
            right.place(at - split, child);
        }
        Some(right)
    }

    #[inline]
    fn insert(&mut self, key: OrderKey<'_>, handle: Handle, edge: Edge) -> Option<Box<Row<C>>> {
        let at = self.route(key);
        let edge_below = edge.of_child(at, self.len);
        if let Some(right) = self.child_mut(at).insert(key, handle, edge_below) {
            self.refresh(at);
            return self.put(at + 1, right, edge);
        }
        self.counts[at] += 1;
        // Only the very first child takes entries that are before its first one.
        if at == 0 {
            (self.scores[0], self.handles[0]) = self.child(0).first();
        }
        None
    }

    fn remove(&mut self, key: OrderKey<'_>) -> bool {
        let at = self.route(key);
        let removed = self.child_mut(at).remove(key);
        if removed {
            self.after_removal(at, 1);
        }
        removed
    }

    fn remove_some(&mut self, from: usize, most: usize, see: &mut dyn FnMut(&[Handle])) -> usize {
        let (at, from) = self.at_rank(from);
        let removed = self.child_mut(at).remove_some(from, most, see);
        self.after_removal(at, removed);
        removed
    }

    #[inline]
    fn after_removal(&mut self, at: usize, removed: usize) {
        self.counts[at] -= removed;
        if self.child(at).size() > 0 {
            (self.scores[at], self.handles[at]) = self.child(at).first();
        }
        if self.child(at).is_thin() {
            self.mend(at);
        }
    }

    /// Merges the thin child `at` with a neighbour, or balances the two.
    #[inline(never)]
    fn mend(&mut self, at: usize) {
        if self.len == 1 {
            // At an end of the tree a row can have a single child. A row without children is removed by its own row, or
            // is the root.
            if self.child(0).size() == 0 {
                self.take(0);
            }
            return;
        }
        let left = at.saturating_sub(1);
        let sum = self.child(left).size() + self.child(left + 1).size();
        // Not if the result would be so full that the next insert splits it again.
        if sum <= C::MOST * 3 / 4 {
            let right = self.take(left + 1);
            self.child_mut(left).merge(right);
        } else {
            let [one, other] = &mut self.children[left..left + 2] else { unreachable!("two children") };
            if let (Some(one), Some(other)) = (one, other) {
                one.share(other);
            }
            self.refresh(left + 1);
        }
        self.refresh(left);
    }

    fn rescore(&mut self, key: OrderKey<'_>, score: f64) -> bool {
        let at = self.route(key);
        if self.route(OrderKey { score, ..key }) != at || !self.child_mut(at).rescore(key, score) {
            return false;
        }
        (self.scores[at], self.handles[at]) = self.child(at).first();
        true
    }

    fn repoint(&mut self, key: OrderKey<'_>, handle: Handle) {
        let at = self.route(key);
        self.child_mut(at).repoint(key, handle);
        self.handles[at] = self.child(at).first().1;
    }

    fn relocate_leaf(&mut self, rank: usize, moves: &mut Moves) -> usize {
        let (at, rank) = self.at_rank(rank);
        self.child_mut(at).relocate_leaf(rank, moves)
    }

    #[inline]
    fn partition(&self, before: &impl Fn(f64, &Handle) -> bool) -> usize {
        let begun = partition(&self.scores[..self.len], &self.handles[..self.len], before);
        let Some(at) = begun.checked_sub(1) else { return 0 };
        self.counts[..at].iter().sum::<usize>() + self.child(at).partition(before)
    }

    #[expect(clippy::boxed_local, reason = "a row is too large for the stack to pass it")]
    fn merge(&mut self, mut right: Box<Row<C>>) {
        let (len, count) = (self.len, right.len);
        self.scores[len..len + count].copy_from_slice(&right.scores[..count]);
        self.counts[len..len + count].copy_from_slice(&right.counts[..count]);
        self.handles[len..len + count].copy_from_slice(&right.handles[..count]);
        self.children[len..len + count].swap_with_slice(&mut right.children[..count]);
        self.len = len + count;
    }

    fn share(&mut self, right: &mut Box<Row<C>>) {
        let half = usize::midpoint(self.len, right.len);
        if self.len < half {
            let rest = right.split_off(half - self.len);
            self.merge(std::mem::replace(right, rest));
        } else {
            let mut moved = self.split_off(half);
            std::mem::swap(&mut moved, right);
            right.merge(moved);
        }
    }

    #[inline]
    fn prefetch(&self, score: f64) {
        let at = self.scores[..self.len].partition_point(|&first| first <= score).saturating_sub(1);
        self.child(at).prefetch(score, self.counts[at]);
    }

    fn memory_bytes(&self) -> usize {
        let below: usize = (0..self.len).map(|at| self.child(at).memory_bytes()).sum();
        size_of::<Self>() + below
    }

    #[cfg(test)]
    fn check<'a>(&'a self, edge: Edge, root: bool, last: &mut Option<(f64, &'a [u8])>) -> usize {
        assert!(self.len > usize::from(root) && self.len <= MOST, "{} children", self.len);
        assert!(root || edge.first || edge.last || self.len >= MOST / 4, "a thin row of {}", self.len);
        assert!(self.children[self.len..].iter().all(Option::is_none));
        let mut sum = 0;
        for at in 0..self.len {
            let child = self.child(at);
            let count = child.check(edge.of_child(at, self.len), false, last);
            assert_eq!(self.counts[at], count, "the count of child {at}");
            let (score, handle) = child.first();
            assert_eq!((self.scores[at].to_bits(), self.handles[at]), (score.to_bits(), handle));
            sum += count;
        }
        sum
    }
}

/// The root, or a child of a row above a row of leaves.
pub(super) enum Node {
    /// A leaf: only as the root of a small tree.
    Leaf(Leaf),
    /// A row of leaves.
    Low(Box<Row<Leaf>>),
    /// A row of rows.
    High(Box<Row<Node>>),
}

impl Node {
    /// The root of a tree of these leaves.
    pub(super) fn over(mut leaves: Vec<Leaf>) -> Node {
        if leaves.len() <= 1 {
            return Node::Leaf(leaves.pop().unwrap_or_else(|| Leaf::with_room(0)));
        }
        let mut nodes: Vec<Node> = grouped(leaves).map(Node::Low).collect();
        while nodes.len() > 1 {
            nodes = grouped(nodes).map(Node::High).collect();
        }
        nodes.pop().expect("there were leaves")
    }

    /// Returns the root above the two halves of the old root.
    pub(super) fn above(left: Node, right: Node) -> Node {
        match (left, right) {
            (Node::Leaf(left), Node::Leaf(right)) => Node::Low(Row::of([left, right].into_iter())),
            (left, right) => Node::High(Row::of([left, right].into_iter())),
        }
    }

    /// For the root: replaces it with its only child, or with an empty leaf if it has none.
    #[inline]
    pub(super) fn lower(&mut self) {
        loop {
            *self = match self {
                Node::Low(row) if row.len < 2 => {
                    Node::Leaf(if row.len == 0 { Leaf::with_room(0) } else { row.take(0) })
                }
                Node::High(row) if row.len < 2 => {
                    if row.len == 0 {
                        Node::Leaf(Leaf::with_room(0))
                    } else {
                        row.take(0)
                    }
                }
                _ => return,
            }
        }
    }

    /// Prefetches the leaf in which `score` belongs.
    #[inline]
    pub(super) fn prefetch(&self, score: f64) {
        Part::prefetch(self, score, 0);
    }
}

/// Returns rows with about the same number of these parts each.
fn grouped<C: Part>(parts: Vec<C>) -> impl Iterator<Item = Box<Row<C>>> {
    let mut rows = Vec::new();
    let len = parts.len();
    let mut parts = parts.into_iter();
    for_each_share(len, BUILT, |share| rows.push(Row::of(parts.by_ref().take(share.len()))));
    rows.into_iter()
}

/// Calls a method on the node's part.
macro_rules! either {
    ($node:expr, $part:ident => $call:expr) => {
        match $node {
            Node::Leaf($part) => $call,
            Node::Low($part) => $call,
            Node::High($part) => $call,
        }
    };
}

impl Part for Node {
    const MOST: usize = MOST;

    #[inline(always)]
    fn size(&self) -> usize {
        either!(self, part => part.len())
    }

    fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Low(row) => row.counts().iter().sum(),
            Node::High(row) => row.counts().iter().sum(),
        }
    }

    #[inline(always)]
    fn first(&self) -> (f64, Handle) {
        match self {
            Node::Leaf(leaf) => leaf.first(),
            Node::Low(row) => (row.scores[0], row.handles[0]),
            Node::High(row) => (row.scores[0], row.handles[0]),
        }
    }

    #[inline]
    fn insert(&mut self, key: OrderKey<'_>, handle: Handle, edge: Edge) -> Option<Node> {
        match self {
            Node::Leaf(leaf) => Part::insert(leaf, key, handle, edge).map(Node::Leaf),
            Node::Low(row) => row.insert(key, handle, edge).map(Node::Low),
            Node::High(row) => row.insert(key, handle, edge).map(Node::High),
        }
    }

    fn remove(&mut self, key: OrderKey<'_>) -> bool {
        match self {
            Node::Leaf(leaf) => Part::remove(leaf, key),
            Node::Low(row) => row.remove(key),
            Node::High(row) => row.remove(key),
        }
    }

    fn rescore(&mut self, key: OrderKey<'_>, score: f64) -> bool {
        either!(self, part => part.rescore(key, score))
    }

    fn repoint(&mut self, key: OrderKey<'_>, handle: Handle) {
        either!(self, part => part.repoint(key, handle));
    }

    fn relocate_leaf(&mut self, rank: usize, moves: &mut Moves) -> usize {
        either!(self, part => part.relocate_leaf(rank, moves))
    }

    fn remove_some(&mut self, from: usize, most: usize, see: &mut dyn FnMut(&[Handle])) -> usize {
        either!(self, part => part.remove_some(from, most, see))
    }

    fn partition(&self, before: &impl Fn(f64, &Handle) -> bool) -> usize {
        either!(self, part => part.partition(before))
    }

    fn merge(&mut self, right: Node) {
        match (self, right) {
            (Node::Low(left), Node::Low(right)) => left.merge(right),
            (Node::High(left), Node::High(right)) => left.merge(right),
            _ => unreachable!("{}", ONE_HEIGHT),
        }
    }

    fn share(&mut self, right: &mut Node) {
        match (self, right) {
            (Node::Low(left), Node::Low(right)) => left.share(right),
            (Node::High(left), Node::High(right)) => left.share(right),
            _ => unreachable!("{}", ONE_HEIGHT),
        }
    }

    #[inline]
    fn prefetch(&self, score: f64, _: usize) {
        match self {
            Node::Leaf(_) => {}
            Node::Low(row) => row.prefetch(score),
            Node::High(row) => row.prefetch(score),
        }
    }

    fn memory_bytes(&self) -> usize {
        either!(self, part => part.memory_bytes())
    }

    #[cfg(test)]
    fn check<'a>(&'a self, edge: Edge, root: bool, last: &mut Option<(f64, &'a [u8])>) -> usize {
        assert!(root || !matches!(self, Node::Leaf(_)), "a leaf among rows");
        either!(self, part => part.check(edge, root, last))
    }
}

const ONE_HEIGHT: &str = "neighbours have the same height";
