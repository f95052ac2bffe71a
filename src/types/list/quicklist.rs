//! A long list: a sequence of nodes, each a listpack of a few kilobytes.
//!
//! ```text
//!  nodes ──▶ [ node | node | node | … ]        a deque, 24 bytes per node
//!               │
//!               ▼
//!            Block: a listpack, or one compressed, or (plain) a single huge element
//! ```
//!
//! Elements share blocks, so a small one costs only two bytes of overhead, and a change in the middle moves at most one
//! node's bytes. Redis links its nodes; here they are in a deque, so finding an index reads consecutive memory, and a
//! node costs only its entry in the deque and the block's header.
//!
//! With `list-compress-depth` above 0, all nodes except that many at either end are compressed (LZF) if that saves
//! memory. Reads decompress a node into a copy, changes in place.
//!
//! A push at the back writes after the last element, but a push at the front moves the whole node. So elements pushed
//! in front of a large node are *staged* in a small node, which is merged into the large one when it is full: few bytes
//! move often, many bytes rarely. The two count as one node in everything that is visible from outside, and are merged
//! before anything but an end is changed.
//!
//! Costs: push and pop move at most one node's bytes; finding an index is O(nodes).

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::alloc;
use crate::codec::lzf;
use crate::types::block::Block;
use crate::types::container::{Container, Debris};
use crate::types::listpack::{self, Element, Listpack};
use crate::types::moves::{self, MoveCursor, Moves};
use crate::types::string::Text;
use crate::types::{Encoding, Kind, Shapes};

/// Nodes of fewer bytes are not compressed, nor are nodes for which compression saves less than [`COMPRESS_GAIN`].
const COMPRESS_MIN: usize = 48;
const COMPRESS_GAIN: usize = 8;

/// A list with more nodes than this, or with a node of this many bytes, is freed in the background.
const LARGE_NODES: usize = 64;
const LARGE_NODE: usize = 64 << 10;

/// The most bytes of a node whose size is limited by its number of elements.
const SAFE_BYTES: usize = 8 << 10;

/// The size from which a front node gets a stage, and the most bytes of a stage. A push moves half a stage on average,
/// and a merge, every `STAGE / element` pushes, moves a whole node. For nodes of 8 KiB and elements of 10 bytes the sum
/// of both is smallest around here.
const STAGE: usize = 512;

/// The memory of a stage, so that it never grows: room for one more small element, up to the end of a size class.
const STAGE_ROOM: usize = 556;

/// The limits of a node's size, according to `list-max-listpack-size`.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    bytes: usize,
    count: usize,
    /// Elements of at least this size get their own nodes, not in a listpack.
    plain: usize,
    /// The number of nodes at each end that stay uncompressed; 0: all stay uncompressed.
    depth: usize,
}

impl NodeLimits {
    /// The limits that the configuration sets.
    pub fn new(shapes: &Shapes) -> NodeLimits {
        let (bytes, count) = match shapes.list_max_listpack_size {
            fill @ 0.. => (SAFE_BYTES, fill.max(1) as usize),
            -1 => (4 << 10, usize::MAX),
            -2 => (8 << 10, usize::MAX),
            -3 => (16 << 10, usize::MAX),
            -4 => (32 << 10, usize::MAX),
            _ => (64 << 10, usize::MAX),
        };
        let depth = shapes.list_compress_depth as usize;
        NodeLimits { bytes, count, plain: shapes.list_packed_threshold, depth }
    }

    /// Whether a node of this many bytes and elements is within the limits.
    #[inline]
    pub fn allow(&self, bytes: usize, count: usize) -> bool {
        bytes <= self.bytes && count <= self.count
    }

    /// The limits below which a list of one node becomes a listpack again.
    #[must_use]
    pub fn halved(self) -> NodeLimits {
        NodeLimits { bytes: self.bytes / 2, count: self.count / 2, ..self }
    }
}

struct Node {
    bytes: Block,
    /// The length of the uncompressed listpack; 0 if the node is not compressed.
    raw_len: u32,
    count: u32,
    /// Whether the node is a single element and not a listpack.
    plain: bool,
}

impl Node {
    fn packed(element: &Element<'_>) -> Node {
        let mut bytes = Block::from(&listpack::EMPTY[..]);
        listpack::append(&mut bytes, std::slice::from_ref(element));
        Node { bytes, raw_len: 0, count: 1, plain: false }
    }

    fn plain(value: &[u8]) -> Node {
        Node { bytes: Block::from(value), raw_len: 0, count: 1, plain: true }
    }

    /// A node that holds only `value`.
    fn single(value: &[u8], limits: NodeLimits) -> Node {
        if value.len() >= limits.plain { Node::plain(value) } else { Node::packed(&value.into()) }
    }

    /// The bytes, decompressed.
    fn raw(&self) -> Cow<'_, [u8]> {
        if self.raw_len == 0 {
            return Cow::Borrowed(&self.bytes);
        }
        Cow::Owned(lzf::decompress(&self.bytes, self.raw_len as usize).expect("a node compressed here"))
    }

    #[inline]
    fn decompress(&mut self) {
        if self.raw_len != 0 {
            self.bytes = Block::from(&self.raw()[..]);
            self.raw_len = 0;
        }
    }

    fn compress(&mut self) {
        let len = self.bytes.len();
        if self.raw_len != 0 || self.plain || len < COMPRESS_MIN {
            return;
        }
        let mut out = Vec::new();
        if lzf::compress(&self.bytes, &mut out, len - COMPRESS_GAIN) {
            self.raw_len = len as u32;
            self.bytes = Block::from(&out[..]);
        }
    }

    /// Whether this node and `next`, merged, are within the limits.
    fn may_take(&self, next: &Node, limits: NodeLimits) -> bool {
        let raw_len = |node: &Node| node.bytes.len().max(node.raw_len as usize);
        !self.plain
            && !next.plain
            && limits.allow(raw_len(self) + raw_len(next), (self.count + next.count) as usize)
    }

    /// Appends the elements of `next`. Both are listpacks; afterwards this one is not compressed.
    fn take(&mut self, next: &Node) {
        self.decompress();
        listpack::merge(&mut self.bytes, Listpack::new(&next.raw()));
        self.count += next.count;
    }

    /// Whether an element of `size` bytes may be added. The node must not be compressed.
    fn accepts(&self, size: usize, limits: NodeLimits) -> bool {
        !self.plain && limits.allow(self.bytes.len() + size, self.count as usize + 1)
    }

    fn see<R>(&self, index: usize, see: impl FnOnce(Text<'_>) -> R) -> R {
        if self.plain {
            return see(Text::Bytes(&self.bytes));
        }
        let raw = self.raw();
        let listpack = Listpack::new(&raw);
        see(listpack.get(listpack.seek(index as i64).expect("an index below the count")))
    }
}

/// See the module's head.
#[derive(Default)]
pub struct Quicklist {
    nodes: VecDeque<Node>,
    len: usize,
    /// Whether the first node is the stage of the second: together they are within the limits of one node. Both are
    /// listpacks, and no node is compressed.
    staged: bool,
}

// SAFETY: no other container has this pair.
unsafe impl Container for Quicklist {
    const KIND: Kind = Kind::List;
    const ENCODING: Encoding = Encoding::Quicklist;

    fn memory_bytes(&self) -> usize {
        let blocks: usize = self.nodes.iter().map(|node| node.bytes.memory_bytes()).sum();
        blocks + alloc::array_size::<Node>(self.nodes.capacity())
    }

    fn is_large(&self) -> bool {
        self.nodes.len() > LARGE_NODES || self.nodes.iter().any(|node| node.bytes.len() >= LARGE_NODE)
    }

    fn free_effort(&self) -> usize {
        self.nodes.len()
    }

    fn dismiss(&self) -> usize {
        self.nodes.iter().map(|node| node.bytes.dismiss()).sum()
    }

    fn walk_len(&self) -> usize {
        moves::nodes_len(self.nodes.len())
    }

    fn defragment(&mut self, cursor: MoveCursor, most: usize, moves: &mut Moves) -> Option<MoveCursor> {
        moves::defragment_nodes(&mut self.nodes, |node| &mut node.bytes, cursor, most, moves)
    }

    fn duplicate(&self) -> Quicklist {
        // The blocks are shared until either list changes them.
        let copy = |node: &Node| Node { bytes: node.bytes.share(), ..*node };
        Quicklist { nodes: self.nodes.iter().map(copy).collect(), ..*self }
    }
}

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The left one.
    Front,
    /// The right one.
    Back,
}

impl Quicklist {
    /// A list with the elements of one listpack.
    pub fn of_listpack(bytes: &[u8]) -> Quicklist {
        let len = Listpack::new(bytes).len();
        let node = Node { bytes: Block::from(bytes), raw_len: 0, count: len as u32, plain: false };
        let nodes = if len == 0 { VecDeque::new() } else { VecDeque::from([node]) };
        Quicklist { nodes, len, staged: false }
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len() - usize::from(self.staged)
    }

    /// Calls `see` with each node: whether it is a single plain element, and its bytes, decompressed.
    pub fn for_each_node(&self, mut see: impl FnMut(bool, &[u8])) {
        let stage = usize::from(self.staged) * 2;
        if self.staged {
            see(false, &self.with_stage());
        }
        for node in self.nodes.range(stage..) {
            see(node.plain, &node.raw());
        }
    }

    /// The listpack of the first node merged with its stage.
    fn with_stage(&self) -> Vec<u8> {
        let mut bytes = self.nodes[0].bytes.to_vec();
        listpack::merge(&mut bytes, Listpack::new(&self.nodes[1].bytes));
        bytes
    }

    /// Merges the stage into its node.
    fn unstage(&mut self) {
        if std::mem::take(&mut self.staged)
            && let Some(stage) = self.nodes.pop_front()
            && let Some(node) = self.nodes.front_mut()
        {
            let listpack = Listpack::new(&stage.bytes);
            listpack::prepend(&mut node.bytes, listpack, listpack::HEADER, listpack.end());
            node.count += stage.count;
        }
    }

    /// Puts an empty stage in front of the first node; first merges the current stage, if any.
    fn stage(&mut self) {
        self.unstage();
        let mut bytes = Block::with_capacity(STAGE_ROOM);
        bytes.extend_from_slice(&listpack::EMPTY);
        self.nodes.push_front(Node { bytes, raw_len: 0, count: 0, plain: false });
        self.staged = true;
    }

    /// Adds a node at the back: a checked listpack, or a plain element. A listpack without elements is skipped.
    pub fn push_node(&mut self, plain: bool, bytes: &[u8], shapes: &Shapes) {
        self.unstage();
        let count = if plain { 1 } else { Listpack::new(bytes).len() };
        if count > 0 {
            self.nodes.push_back(Node { bytes: Block::from(bytes), raw_len: 0, count: count as u32, plain });
            self.len += count;
            self.settle_ends(NodeLimits::new(shapes).depth, 1);
        }
    }

    /// The list as one listpack, if it is a single node within `limits`.
    pub fn as_listpack(&self, limits: NodeLimits) -> Option<Cow<'_, [u8]>> {
        match self.nodes.front() {
            Some(_) if self.staged => {
                let small = self.nodes.len() == 2 && limits.allow(self.staged_bytes(), self.len);
                small.then(|| Cow::Owned(self.with_stage()))
            }
            Some(node) if self.nodes.len() == 1 && !node.plain => {
                let raw = node.raw();
                limits.allow(raw.len(), self.len).then_some(raw)
            }
            _ => None,
        }
    }

    /// The size of the first node merged with its stage.
    fn staged_bytes(&self) -> usize {
        self.nodes[0].bytes.len() + self.nodes[1].bytes.len() - listpack::EMPTY.len()
    }

    /// Whether the node at an end, together with its stage if any, has room for an element of `size` bytes. It must not
    /// be compressed.
    #[inline]
    fn accepts(&self, end: End, size: usize, limits: NodeLimits) -> bool {
        let at = if end == End::Front { 0 } else { self.nodes.len() - 1 };
        if self.staged && at < 2 {
            let count = self.nodes[0].count + self.nodes[1].count;
            return limits.allow(self.staged_bytes() + size, count as usize + 1);
        }
        self.nodes[at].accepts(size, limits)
    }

    /// Pushes an element to an end.
    pub fn push(&mut self, end: End, value: &[u8], limits: NodeLimits) {
        self.len += 1;
        if !self.nodes.is_empty() && value.len() < limits.plain && self.push_into_node(end, value, limits) {
            return;
        }
        if end == End::Front {
            self.unstage();
        }
        let full = match end {
            End::Front => self.nodes.front_mut(),
            End::Back => self.nodes.back_mut(),
        };
        if let Some(full) = full {
            // The node will not grow any more.
            full.bytes.shrink_to_fit();
        }
        let node = Node::single(value, limits);
        match end {
            End::Front => self.nodes.push_front(node),
            End::Back => self.nodes.push_back(node),
        }
        self.settle_ends(limits.depth, 1);
    }

    /// Adds an element to the node at an end, which must exist, if it has room. Returns whether it had room.
    #[inline]
    fn push_into_node(&mut self, end: End, value: &[u8], limits: NodeLimits) -> bool {
        let element = Element::from(value);
        if limits.depth > 0 {
            self.unstage();
        }
        let last = self.nodes.len() - 1;
        self.nodes[if end == End::Front { 0 } else { last }].decompress();
        if !self.accepts(end, element.size(), limits) {
            return false;
        }
        if end == End::Front && limits.depth == 0 && self.nodes[0].bytes.len() > STAGE {
            self.stage();
        }
        let node = match end {
            End::Front => &mut self.nodes[0],
            End::Back => &mut self.nodes[last],
        };
        let at = match end {
            End::Front => listpack::HEADER,
            End::Back => node.bytes.len() - 1,
        };
        listpack::insert(&mut node.bytes, at, &[element]);
        node.count += 1;
        true
    }

    /// Removes the element at an end and calls `see` with it. The list must not be empty.
    pub fn pop<R>(&mut self, end: End, limits: NodeLimits, see: impl FnOnce(Text<'_>) -> R) -> R {
        let (at, inner) = match end {
            End::Front => (0, 0),
            End::Back => (self.nodes.len() - 1, self.nodes[self.nodes.len() - 1].count as usize - 1),
        };
        let result = self.nodes[at].see(inner, see);
        self.remove_in_node(at, inner, 1);
        if self.nodes[at].count == 0 {
            // A stage without its node becomes an ordinary node, as does a node without its stage.
            self.staged &= at > 1;
            self.nodes.remove(at);
            self.give_back();
            self.settle_ends(limits.depth, 1);
        }
        result
    }

    /// Returns the node of the element at `index`, which must exist, and the element's index in that node.
    fn locate(&self, index: usize) -> (usize, usize) {
        debug_assert!(index < self.len);
        if index <= self.len / 2 {
            let mut left = index;
            for (at, node) in self.nodes.iter().enumerate() {
                match left.checked_sub(node.count as usize) {
                    Some(rest) => left = rest,
                    None => return (at, left),
                }
            }
        } else {
            // From the end: the number of elements from this one on.
            let mut left = self.len - index;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                let count = node.count as usize;
                if left <= count {
                    return (at, count - left);
                }
                left -= count;
            }
        }
        unreachable!("an index below the length lies in a node")
    }

    /// Calls `see` with the element at `index`, which must exist.
    pub fn see<R>(&self, index: usize, see: impl FnOnce(Text<'_>) -> R) -> R {
        let (at, inner) = self.locate(index);
        self.nodes[at].see(inner, see)
    }

    /// Calls `see` with the elements from `index` on, forwards, until it returns `false`.
    pub fn forwards(&self, index: usize, see: &mut impl FnMut(Text<'_>) -> bool) {
        if index >= self.len {
            return;
        }
        let (first, mut inner) = self.locate(index);
        for node in self.nodes.range(first..) {
            if node.plain {
                if !see(Text::Bytes(&node.bytes)) {
                    return;
                }
            } else {
                let raw = node.raw();
                let listpack = Listpack::new(&raw);
                let from = listpack.seek(inner as i64).unwrap_or(listpack.end());
                if !listpack.range(from, listpack.end()).all(&mut *see) {
                    return;
                }
            }
            inner = 0;
        }
    }

    /// Calls `see` with the elements from `index` on, backwards, until it returns `false`.
    pub fn backwards(&self, index: usize, see: &mut impl FnMut(Text<'_>) -> bool) {
        if index >= self.len {
            return;
        }
        let (first, inner) = self.locate(index);
        let mut inner = Some(inner);
        for node in self.nodes.range(..=first).rev() {
            if node.plain {
                if !see(Text::Bytes(&node.bytes)) {
                    return;
                }
            } else {
                let raw = node.raw();
                let listpack = Listpack::new(&raw);
                let behind = inner.and_then(|inner| listpack.seek(inner as i64 + 1));
                let to = behind.unwrap_or(listpack.end());
                if !listpack.range(listpack::HEADER, to).rev().all(&mut *see) {
                    return;
                }
            }
            inner = None;
        }
    }

    /// Replaces the element at `index`, which must exist, with `value`.
    pub fn set(&mut self, index: usize, value: &[u8], limits: NodeLimits) {
        self.unstage();
        let (at, inner) = self.locate(index);
        let node = &mut self.nodes[at];
        if node.plain || value.len() >= limits.plain {
            self.insert(index, value, limits);
            self.remove_range(index + 1, 1, limits);
            return;
        }
        node.decompress();
        let place = Listpack::new(&node.bytes).seek(inner as i64).expect("an index below the count");
        listpack::replace(&mut node.bytes, place, value);
        self.settle(at, limits.depth);
    }

    /// Inserts `value` at `index`, which is at most the length.
    pub fn insert(&mut self, index: usize, value: &[u8], limits: NodeLimits) {
        if index == 0 || index == self.len {
            return self.push(if index == 0 { End::Front } else { End::Back }, value, limits);
        }
        self.unstage();
        let (at, inner) = self.locate(index);
        self.len += 1;
        let element = Element::from(if value.len() < limits.plain { value } else { &[] });
        self.nodes[at].decompress();
        if value.len() < limits.plain && self.nodes[at].accepts(element.size(), limits) {
            let node = &mut self.nodes[at];
            let place = Listpack::new(&node.bytes).seek(inner as i64).expect("an index below the count");
            listpack::insert(&mut node.bytes, place, &[element]);
            node.count += 1;
            return self.settle(at, limits.depth);
        }
        let next = self.split(at, inner);
        self.nodes.insert(next, Node::single(value, limits));
        self.merge_around(next, limits);
        // At most two more nodes: the new one, and the second half of a split node.
        self.settle_around(next, 2, limits.depth);
    }

    /// Splits node `at`, which must not be compressed, before its element `inner`. Returns the index of the right half.
    fn split(&mut self, at: usize, inner: usize) -> usize {
        if inner == 0 {
            return at;
        }
        let node = &mut self.nodes[at];
        let listpack = Listpack::new(&node.bytes);
        let place = listpack.seek(inner as i64).expect("an index below the count");
        let mut right = Block::from(&listpack::EMPTY[..]);
        listpack::extend(&mut right, listpack, place, listpack.end());
        let moved = node.count as usize - inner;
        let end = listpack.end();
        listpack::remove_span(&mut node.bytes, place, end, moved);
        node.count = inner as u32;
        self.nodes.insert(at + 1, Node { bytes: right, raw_len: 0, count: moved as u32, plain: false });
        at + 1
    }

    /// Merges node `at` with its neighbours if the result is within the limits.
    fn merge_around(&mut self, at: usize, limits: NodeLimits) {
        for left in [at, at.wrapping_sub(1)] {
            let Some(right) = left.checked_add(1).filter(|right| *right < self.nodes.len()) else { continue };
            if self.nodes[left].may_take(&self.nodes[right], limits)
                && let Some(node) = self.nodes.remove(right)
            {
                self.nodes[left].take(&node);
            }
        }
    }

    /// Removes `count` elements of node `at` from its element `inner` on, all of which must exist. A node without
    /// elements stays.
    fn remove_in_node(&mut self, at: usize, inner: usize, count: usize) {
        let node = &mut self.nodes[at];
        self.len -= count;
        node.count -= count as u32;
        if node.count > 0 {
            node.decompress();
            listpack::remove_indices(&mut node.bytes, inner as i64, count);
        }
    }

    /// Shrinks the deque if much of its memory is unused.
    fn give_back(&mut self) {
        if self.nodes.capacity() > 4 * self.nodes.len() + 16 {
            self.nodes.shrink_to(2 * self.nodes.len());
        }
    }

    /// Removes `count` elements from `index` on, all of which must exist.
    pub fn remove_range(&mut self, index: usize, count: usize, limits: NodeLimits) -> Debris {
        if count == 0 {
            return None;
        }
        self.unstage();
        let (first, mut inner) = self.locate(index);
        let (mut at, mut left) = (first, count);
        let before = self.nodes.len();
        let mut whole = None;
        while left > 0 {
            let here = (self.nodes[at].count as usize - inner).min(left);
            if here == self.nodes[at].count as usize {
                self.len -= here;
                self.nodes[at].count = 0;
                whole.get_or_insert(at);
            } else {
                self.remove_in_node(at, inner, here);
            }
            left -= here;
            inner = 0;
            at += 1;
        }
        let mut debris: Debris = None;
        if let Some(from) = whole {
            let emptied = self.nodes.range(from..).take_while(|node| node.count == 0).count();
            let emptied = self.nodes.drain(from..from + emptied);
            if emptied.len() > LARGE_NODES {
                debris = Some(Box::new(emptied.collect::<Vec<Node>>()));
            } else {
                drop(emptied);
            }
            self.give_back();
        }
        self.merge_around(first, limits.halved());
        self.settle_around(first, before - self.nodes.len(), limits.depth);
        debris
    }

    /// Removes up to `most` elements that equal `needle`, starting from an end. Returns their number.
    pub fn remove_matching(&mut self, needle: &[u8], most: usize, from: End, limits: NodeLimits) -> usize {
        self.unstage();
        let (mut removed, mut first, nodes) = (0, None, self.nodes.len());
        for step in 0..nodes {
            if removed == most {
                break;
            }
            let at = if from == End::Front { step } else { nodes - 1 - step };
            let places = self.nodes[at].matches(needle, most - removed, from);
            if !places.is_empty() {
                removed += places.len();
                self.remove_places(at, &places);
                if self.nodes[at].count > 0 {
                    // Compressed again at once: all nodes decompressed together could take many times the memory of the
                    // list.
                    self.settle(at, limits.depth);
                }
                first = Some(first.map_or(at, |first: usize| first.min(at)));
            }
        }
        if let Some(first) = first {
            self.compact(first.saturating_sub(1), limits);
        }
        removed
    }

    /// From node `from` on, drops empty nodes and merges neighbours if the result is within half the limits. O(nodes),
    /// regardless of how many are dropped or merged.
    fn compact(&mut self, from: usize, limits: NodeLimits) {
        let before = self.nodes.len();
        let mut rest = self.nodes.split_off(from);
        rest.retain(|node| node.count > 0);
        while let Some(mut node) = rest.pop_front() {
            let count = node.count;
            while let Some(next) = rest.front().filter(|next| node.may_take(next, limits.halved())) {
                node.take(next);
                rest.pop_front();
            }
            // The number of nodes after it may still fall; nodes that end up near that end are handled last.
            let distance = self.nodes.len().min(rest.len());
            if node.count > count && limits.depth > 0 && distance >= limits.depth {
                node.compress();
            }
            self.nodes.push_back(node);
        }
        self.give_back();
        self.settle_ends(limits.depth, before - self.nodes.len());
    }

    /// Removes the elements of node `at` at these descending byte offsets.
    fn remove_places(&mut self, at: usize, places: &[usize]) {
        let node = &mut self.nodes[at];
        self.len -= places.len();
        node.count -= places.len() as u32;
        if node.count > 0 {
            node.decompress();
            for place in places {
                listpack::remove(&mut node.bytes, *place, 1);
            }
        }
    }

    /// Compresses node `at`, or decompresses it if it is near an end.
    fn settle(&mut self, at: usize, depth: usize) {
        let len = self.nodes.len();
        if depth == 0 || at >= len {
            return;
        }
        let node = &mut self.nodes[at];
        if at.min(len - 1 - at) >= depth { node.compress() } else { node.decompress() }
    }

    /// Does the same for node `at` and its neighbours, after up to `moved` nodes were added or removed there.
    fn settle_around(&mut self, at: usize, moved: usize, depth: usize) {
        for touched in at.saturating_sub(1)..=at + 1 {
            self.settle(touched, depth);
        }
        self.settle_ends(depth, moved);
    }

    /// Does the same for all nodes that may have crossed the depth when their distance to an end changed by `moved`.
    fn settle_ends(&mut self, depth: usize, moved: usize) {
        if depth > 0 {
            self.unstage();
            let len = self.nodes.len();
            for distance in depth.saturating_sub(moved)..(depth + moved).min(len) {
                self.settle(distance, depth);
                self.settle(len - 1 - distance, depth);
            }
        }
    }
}

impl Node {
    /// The positions of up to `most` elements that equal `needle`, counted from an end, in descending order.
    fn matches(&self, needle: &[u8], most: usize, from: End) -> Vec<usize> {
        if self.plain {
            return if self.bytes[..] == *needle { vec![0] } else { Vec::new() };
        }
        let raw = self.raw();
        let listpack = Listpack::new(&raw);
        let mut places = super::places(listpack, &needle.into());
        if from == End::Front {
            places.truncate(most);
        }
        places.reverse();
        places.truncate(most);
        places
    }
}

#[cfg(test)]
impl Quicklist {
    /// Panics unless no node is empty, nodes near an end are uncompressed, and the others are compressed if that saves
    /// memory.
    pub fn check(&self, depth: usize) {
        let staged = usize::from(self.staged);
        assert_eq!(self.nodes.iter().map(|node| node.count as usize).sum::<usize>(), self.len);
        assert!(self.nodes.range(staged..).all(|node| node.count > 0), "an empty node");
        assert!(depth == 0 || !self.staged, "a stage in a compressed list");
        for (at, node) in self.nodes.iter().enumerate() {
            let distance = at.min(self.nodes.len() - 1 - at);
            let mut compressed = Node { bytes: node.bytes.share(), ..*node };
            compressed.compress();
            let wanted = if depth == 0 || distance < depth { 0 } else { compressed.raw_len };
            assert_eq!(node.raw_len, wanted, "node {at} of {}", self.nodes.len());
        }
    }
}
