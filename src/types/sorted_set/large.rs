//! A sorted set of any size: a dict that finds members, and a tree that orders them.
//!
//! Each element is one block, owned by the dict and referred to by the tree (`element`). Only this file
//! inserts and removes elements, always in both together (`arriving` adds them to the tree a little later):
//! this guarantees that every handle in the tree is a live element.

use super::element::{Element, Handle};
use super::leaf::{self, Leaf};
use super::node::OrderKey;
use super::tree::Tree;
use super::walk::Walk;
use super::{Applied, How, NotANumber};
use crate::dict::{Dict, Position, Seed};
use crate::types::container::{Container, Debris, LARGE_ITEMS};
use crate::types::moves::{self, MoveCursor, Moves};
use crate::types::{Encoding, Kind};

/// See the module's head.
pub struct SortedSet {
    tree: Tree,
    dict: Dict<Element>,
    /// Bytes of all elements' blocks.
    element_bytes: usize,
}

/// Members whose buckets, and then elements, are prefetched together.
pub const GROUP: usize = 16;

/// Moving an element to a new set costs as much as removing this many.
const KEPT_COST: usize = 4;

/// The most elements to remove together.
const LEAF: usize = leaf::MOST;

// SAFETY: no other container has this pair.
unsafe impl Container for SortedSet {
    const KIND: Kind = Kind::SortedSet;
    const ENCODING: Encoding = Encoding::Skiplist;

    fn memory_bytes(&self) -> usize {
        self.element_bytes + self.tree.memory_bytes() + self.dict.memory_bytes()
    }

    fn is_large(&self) -> bool {
        self.len() >= LARGE_ITEMS
    }

    fn free_effort(&self) -> usize {
        self.len()
    }

    fn walk_len(&self) -> usize {
        self.len()
    }

    /// First the elements, in the dict's order, then the leaves.
    fn defragment(&mut self, cursor: MoveCursor, most: usize, moves: &mut Moves) -> Option<MoveCursor> {
        if cursor.second {
            return self.tree.defragment(cursor, most, moves);
        }
        let SortedSet { tree, dict, .. } = self;
        let next = moves::defragment_items(dict, cursor, most, |element| {
            if let Some(moved) = element.to_relocate(moves) {
                tree.repoint(OrderKey { score: moved.score(), member: moved.member() }, moved.handle());
                // The old block is released only now that the tree no longer refers to it.
                *element = moved;
            }
        });
        next.or(Some(MoveCursor { second: true, at: 0 }))
    }

    fn duplicate(&self) -> SortedSet {
        let mut gather = Gather::with_room(self.dict.seed(), self.len());
        for (member, score) in self.iter() {
            gather.insert(gather.hash(member), member, score);
        }
        gather.finish()
    }

    fn prefetch_bucket(&self, member: &[u8]) -> u64 {
        let hash = self.dict.hash(member);
        self.dict.prefetch_bucket(hash);
        hash
    }

    fn prefetch_item(&self, hash: u64) {
        self.dict.prefetch_entry(hash);
    }

    /// Prefetches the leaf of the element that a lookup compares first, most likely the right one.
    fn prefetch_place(&self, hash: u64) {
        if let Some(at) = self.dict.guess(hash) {
            self.tree.prefetch(self.dict.get(at).score());
        }
    }
}

impl SortedSet {
    /// The statistics of the dict of members.
    pub fn table_stats(&self) -> crate::dict::DictStats {
        self.dict.stats()
    }

    /// An empty set, hashed under `seed`.
    pub fn new(seed: Seed) -> SortedSet {
        SortedSet { tree: Tree::new(), dict: Dict::unattended(seed), element_bytes: 0 }
    }

    /// An empty set with room for about `room` elements.
    pub fn with_room(seed: Seed, room: usize) -> SortedSet {
        let mut set = SortedSet::new(seed);
        set.dict.reserve(room);
        set
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash that [`Self::find`] and [`Self::insert`] take.
    #[inline]
    pub fn hash(&self, member: &[u8]) -> u64 {
        self.dict.hash(member)
    }

    /// Prefetches the memory that [`Self::find`] and [`Self::insert`] read first.
    #[inline]
    pub fn prefetch(&self, hash: u64, score: f64) {
        self.dict.prefetch_bucket(hash);
        self.tree.prefetch(score);
    }

    /// Returns the position of `member`, and its score.
    #[inline]
    pub fn find(&self, hash: u64, member: &[u8]) -> Option<(Position, f64)> {
        let at = self.dict.find(hash, member)?;
        Some((at, self.dict.get(at).score()))
    }

    /// The score of `member`.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(self.hash(member), member).map(|(_, score)| score)
    }

    /// The score of each of up to [`GROUP`] members.
    pub fn scores(&self, members: &[&[u8]], scores: &mut [Option<f64>; GROUP]) {
        let mut hashes = [0; GROUP];
        for (member, hash) in members.iter().zip(&mut hashes) {
            *hash = self.dict.hash(member);
            self.dict.prefetch_bucket(*hash);
        }
        for hash in &hashes[..members.len()] {
            self.dict.prefetch_entry(*hash);
        }
        for ((member, hash), score) in members.iter().zip(hashes).zip(scores) {
            *score = self.find(hash, member).map(|(_, score)| score);
        }
    }

    /// Inserts a new member. The score must not be NaN.
    #[inline]
    pub fn insert(&mut self, hash: u64, member: &[u8], score: f64) {
        debug_assert!(!score.is_nan());
        let handle = self.own(hash, Element::new(score, member));
        self.order(score, handle);
    }

    /// Inserts a new element into the dict alone. Its handle must be in the tree before the set is used.
    #[inline]
    pub(super) fn own(&mut self, hash: u64, element: Element) -> Handle {
        let handle = element.handle();
        self.element_bytes += element.memory_bytes();
        self.dict.insert(hash, element);
        self.dict.shed();
        handle
    }

    /// Inserts the handle of an element of the dict into the tree.
    #[inline]
    pub(super) fn order(&mut self, score: f64, handle: Handle) {
        self.tree.insert(score, handle);
    }

    /// Replaces the tree by one over these leaves, which hold all elements of the dict: see [`Tree::over`].
    pub(super) fn order_all(&mut self, leaves: Vec<Leaf>) {
        self.tree = Tree::over(leaves, self.dict.len());
    }

    /// Changes the score of the element at `at` from `old` to `score`, which must not be NaN.
    #[inline]
    pub fn rescore(&mut self, at: Position, old: f64, score: f64) {
        debug_assert!(!score.is_nan());
        let element = self.dict.get(at);
        debug_assert!(element.score().to_bits() == old.to_bits());
        element.set_score(score);
        self.tree.rescore(OrderKey { score: old, member: element.member() }, score, element.handle());
    }

    /// Sets the score of `member` and returns whether it is new.
    pub fn set(&mut self, member: &[u8], score: f64) -> bool {
        let hash = self.hash(member);
        if let Some((at, old)) = self.find(hash, member) {
            self.rescore(at, old, score);
        } else {
            self.insert(hash, member, score);
            return true;
        }
        false
    }

    /// Adds `member` or changes its score, as the flags allow.
    #[inline]
    pub(super) fn apply(&mut self, member: &[u8], score: f64, how: How) -> Result<Applied, NotANumber> {
        // Nothing else steps the dict, so calls that only change a score move buckets too.
        self.dict.step();
        let hash = self.hash(member);
        self.prefetch(hash, score);
        let Some((at, old)) = self.find(hash, member) else {
            if how.only_old {
                return Ok(Applied::Refused);
            }
            self.insert(hash, member, score);
            return Ok(Applied::Added(score));
        };
        let applied = how.to_old(old, score)?;
        if let Applied::Changed(score) = applied {
            self.rescore(at, old, score);
        }
        Ok(applied)
    }

    /// Removes `member` and returns its score, if the set has it.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (at, score) = self.find(self.hash(member), member)?;
        let removed = self.tree.remove(OrderKey { score, member });
        debug_assert!(removed, "the dict and the tree have the same scores");
        self.element_bytes -= self.dict.remove(at).memory_bytes();
        self.dict.shed();
        Some(score)
    }

    /// The rank of `member`, that is, the number of elements before it, and its score.
    #[inline]
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.tree.rank(OrderKey { score, member }), score))
    }

    /// The number of elements before the first one for whose score `before` is false.
    #[inline]
    pub fn partition_scores(&self, before: impl Fn(f64) -> bool) -> usize {
        self.tree.partition_scores(before)
    }

    /// The number of elements before the first one for whose member `before` is false. If scores differ, so that
    /// members are not in order, the result is some number up to the length.
    #[inline]
    pub fn partition_members(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        self.tree.partition(|_, member| before(member))
    }

    /// Returns the `count` elements from rank `from` on, or backwards from it. The set must have that many.
    #[inline]
    pub fn range(&self, from: usize, count: usize, backwards: bool) -> Walk<'_> {
        self.tree.walk(from, count, backwards)
    }

    /// All elements, in order.
    pub fn iter(&self) -> Walk<'_> {
        self.range(0, self.len(), false)
    }

    /// Removes the elements of the ranks `from..to`, all of which must exist. If few of many elements remain, they move
    /// to a new set, and the old one with the removed elements is returned.
    pub fn remove_range(&mut self, from: usize, to: usize) -> Debris {
        assert!(from <= to && to <= self.len());
        let (removed, left) = (to - from, self.len() - (to - from));
        if removed >= LARGE_ITEMS && left == 0 {
            let empty = SortedSet::new(self.dict.seed());
            return Some(Box::new(std::mem::replace(self, empty)));
        }
        if removed >= LARGE_ITEMS && removed / KEPT_COST >= left {
            let mut kept = Gather::with_room(self.dict.seed(), left);
            for (member, score) in self.range(0, from, false).chain(self.range(to, self.len() - to, false)) {
                kept.insert(kept.hash(member), member, score);
            }
            return Some(Box::new(std::mem::replace(self, kept.finish())));
        }
        let SortedSet { tree, dict, element_bytes } = self;
        let mut gone: Vec<Element> = Vec::with_capacity(LEAF.min(to - from));
        let mut left = to - from;
        while left > 0 {
            left -= tree.remove_some(from, left, &mut |handles| take_all(dict, handles, &mut gone));
            // Dropped now that the tree no longer refers to them.
            dict.shed();
            *element_bytes -= gone.drain(..).map(|element| element.memory_bytes()).sum::<usize>();
        }
        None
    }

    /// Visits one probe chain of the dict, see [`Dict::scan`].
    pub fn scan(&self, cursor: u64, emit: &mut impl FnMut(&[u8], f64)) -> u64 {
        self.dict.scan(cursor, &mut |element| emit(element.member(), element.score()))
    }
}

/// Removes the elements of a leaf's handles from the dict, with a single wait for its buckets.
fn take_all(dict: &mut Dict<Element>, handles: &[Handle], taken: &mut Vec<Element>) {
    let mut hashes = [0; LEAF];
    for (hash, handle) in hashes.iter_mut().zip(handles) {
        *hash = dict.hash(handle.member());
        dict.prefetch_bucket(*hash);
    }
    for (&hash, handle) in hashes.iter().zip(handles) {
        let at = dict.find(hash, handle.member()).expect("the dict and the tree have the same members");
        taken.push(dict.remove(at));
    }
}

impl SortedSet {
    /// Panics unless the tree is sound and agrees with the dict.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.tree.check();
        assert_eq!(self.dict.len(), self.tree.len());
        let mut bytes = 0;
        for (member, score) in self.iter() {
            let (at, known) =
                self.find(self.hash(member), member).expect("a member of the tree is in the dict");
            assert_eq!(known.to_bits(), score.to_bits(), "the score of {}", member.escape_ascii());
            bytes += self.dict.get(at).memory_bytes();
        }
        assert_eq!(bytes, self.element_bytes);
    }
}

/// A sorted set under construction: members in any order, with scores that may still change. At the end they are sorted
/// once and the tree is built leaf by leaf, which is several times faster than inserting.
pub struct Gather {
    dict: Dict<Element>,
    handles: Vec<Handle>,
    element_bytes: usize,
}

impl Gather {
    /// With room for about `room` elements, hashed under `seed`.
    pub fn with_room(seed: Seed, room: usize) -> Gather {
        let mut dict = Dict::unattended(seed);
        dict.reserve(room);
        Gather { dict, handles: Vec::with_capacity(room), element_bytes: 0 }
    }

    /// The number of elements so far.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// The hash that the other methods take.
    #[inline]
    pub fn hash(&self, member: &[u8]) -> u64 {
        self.dict.hash(member)
    }

    /// Prefetches the bucket that a later call will read.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.dict.prefetch_bucket(hash);
    }

    /// Prefetches the element, once the bucket has arrived.
    #[inline]
    pub fn prefetch_element(&self, hash: u64) {
        self.dict.prefetch_entry(hash);
    }

    /// Returns the position of `member`, and its score so far.
    #[inline]
    pub fn find(&self, hash: u64, member: &[u8]) -> Option<(Position, f64)> {
        let at = self.dict.find(hash, member)?;
        Some((at, self.dict.get(at).score()))
    }

    /// Sets the score of the element at `at`.
    #[inline]
    pub fn set_score(&mut self, at: Position, score: f64) {
        self.dict.get(at).set_score(score);
    }

    /// Inserts a new member. Cheapest if members come in their final order.
    #[inline]
    pub fn insert(&mut self, hash: u64, member: &[u8], score: f64) {
        let element = Element::new(score, member);
        self.handles.push(element.handle());
        self.element_bytes += element.memory_bytes();
        self.dict.insert(hash, element);
    }

    /// Sorts the elements and builds the set. No score may be NaN.
    pub fn finish(self) -> SortedSet {
        let Gather { mut dict, handles, element_bytes } = self;
        // Nothing steps the dict of a value, so a resize in progress is finished here.
        dict.settle();
        while dict.rehash(usize::MAX) {}
        drop(dict.take_retired());
        let mut entries: Vec<(f64, Handle)> =
            handles.into_iter().map(|handle| (handle.score(), handle)).collect();
        sort(&mut entries);
        SortedSet { tree: Tree::build(&entries), dict, element_bytes }
    }
}

/// Sorts by score, then by member. The sort is fast on sorted runs, and a union of sets consists of a few of those.
fn sort(entries: &mut [(f64, Handle)]) {
    // An integer that compares like the score, with one zero.
    let key = |score: f64| {
        let bits = (score + 0.0).to_bits() as i64;
        bits ^ ((bits >> 63) as u64 >> 1) as i64
    };
    entries.sort_by_key(|a| key(a.0));
    for equal in entries.chunk_by_mut(|a, b| a.0 == b.0) {
        if !equal.is_sorted_by(|a, b| a.1.member() <= b.1.member()) {
            equal.sort_by(|a, b| a.1.member().cmp(b.1.member()));
        }
    }
}
