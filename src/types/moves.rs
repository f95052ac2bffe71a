//! Moves a key's memory out of sparse slabs, for defragmentation.
//!
//! Each type moves its own blocks: it calls `Moves::relocate` for each block with one owner, and stores the returned
//! address. Contents stay as they are, so nothing that is visible from outside changes, and neither does any position
//! or cursor. Memory of the process's allocator (inner nodes, deques, groups of streams) is not moved.
//!
//! A large collection is walked in parts. Between them it may be changed or replaced by another one: a [`MoveCursor`]
//! is a plain number with which any collection can continue. Blocks that a change has moved past the cursor are left
//! for the next walk.
//!
//! Costs: one read of the slab's record per block; for a block that moves, an allocation, a copy and a release.

use std::collections::VecDeque;
use std::ptr::NonNull;

use super::block::Block;
use super::entry::Entry;
use crate::alloc;

/// The number of blocks that moved, and of those examined that stayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Blocks that have moved.
    pub moved: u64,
    /// Blocks that are not in a sparse slab, or have another owner.
    pub stayed: u64,
}

/// The position at which the walk over a large collection continues. Collections with two kinds of blocks are walked
/// twice, once for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoveCursor {
    /// Whether it is the second walk.
    pub second: bool,
    /// The position in the walk: a cursor of a dict, an index or a rank.
    pub at: u64,
}

impl Moves {
    /// Moves a block if it is in a sparse slab; returns its address afterwards.
    ///
    /// # Safety
    /// The block is `size` bytes from [`alloc`] with one owner, which uses only the returned address afterwards.
    #[inline]
    pub(super) unsafe fn relocate(&mut self, block: NonNull<u8>, size: usize) -> NonNull<u8> {
        // SAFETY: the caller's promise.
        let moved = unsafe { alloc::relocate(block, size) };
        self.count(moved.is_some());
        moved.unwrap_or(block)
    }

    /// Counts a block.
    #[inline]
    pub(super) fn count(&mut self, moved: bool) {
        *(if moved { &mut self.moved } else { &mut self.stayed }) += 1;
    }

    /// The number of blocks counted.
    pub fn looked_at(&self) -> u64 {
        self.moved + self.stayed
    }
}

impl Entry {
    /// Moves the entry and the memory of its value out of sparse slabs. Leaves a collection of more than about `most`
    /// fields, or nodes that take as long, to [`defragment_part`](Self::defragment_part); returns whether it did.
    pub fn defragment(&mut self, most: u64, moves: &mut Moves) -> bool {
        // SAFETY: the entry's block is its own, of this size.
        unsafe { self.relocate(moves) };
        if let Some(block) = self.block_mut() {
            block.relocate(moves);
        }
        if self.handle().is_some_and(|handle| handle.walk_len() as u64 > most) {
            return true;
        }
        let mut cursor = Some(MoveCursor::default());
        while let Some(at) = cursor {
            cursor = self.defragment_part(at, usize::MAX, moves);
        }
        false
    }

    /// Moves about `most` fields of a collection, or nodes that take as long, out of sparse slabs, starting at
    /// `cursor`. Returns the cursor to continue with, `None` at the end or without a collection.
    pub fn defragment_part(
        &mut self,
        cursor: MoveCursor,
        most: usize,
        moves: &mut Moves,
    ) -> Option<MoveCursor> {
        self.handle_mut().and_then(|handle| handle.defragment(cursor, most, moves))
    }
}

/// The cost of moving a node of some kilobytes, in small blocks.
const NODE: usize = 16;

/// The cost of walking over this many nodes, in small blocks.
pub(super) fn nodes_len(nodes: usize) -> usize {
    nodes * NODE
}

/// Moves the blocks of nodes from index `cursor.at` on, as many as take the time of about `most` small blocks. Returns
/// the cursor to continue with.
pub(super) fn defragment_nodes<N>(
    nodes: &mut VecDeque<N>,
    block: impl Fn(&mut N) -> &mut Block,
    cursor: MoveCursor,
    most: usize,
    moves: &mut Moves,
) -> Option<MoveCursor> {
    let from = (cursor.at as usize).min(nodes.len());
    let to = nodes.len().min(from.saturating_add(most.div_ceil(NODE)));
    nodes.range_mut(from..to).for_each(|node| block(node).relocate(moves));
    (to < nodes.len()).then_some(MoveCursor { at: to as u64, ..cursor })
}

/// Lends the items of a dict to `relocate`, from `cursor.at` on, until about `most` were lent. Returns the cursor to
/// continue with.
pub(super) fn defragment_items<T: crate::dict::Item>(
    dict: &mut crate::dict::Dict<T>,
    cursor: MoveCursor,
    most: usize,
    mut relocate: impl FnMut(&mut T),
) -> Option<MoveCursor> {
    let (mut at, mut lent) = (cursor.at, 0);
    loop {
        at = dict.scan_mut(at, &mut |item| {
            lent += 1;
            relocate(item);
        });
        if at == 0 {
            return None;
        }
        if lent >= most {
            return Some(MoveCursor { at, ..cursor });
        }
    }
}
