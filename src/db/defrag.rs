//! Active defragmentation: a cycle walks all keys and moves their blocks out of sparse slabs.
//!
//! ```text
//!  plan the slabs to empty ─▶ for each database: scan, a chain at a time ─▶ end
//!                               │ entry, value, small collection: moved at once
//!                               └ large collection: queued by its key, and walked in parts before the scan goes on
//! ```
//!
//! The cycle runs in slices, between which the keyspace may change. As with `SCAN`, the cycle meets every key that
//! existed throughout. It skips a queued key that is gone, and walks one that holds another value from wherever the
//! cursor happens to be. A block that the cycle misses stays in its slab; nothing depends on that.
//!
//! Nothing observable changes: no access clock, no position, no journal.

use std::collections::VecDeque;

use super::Keyspace;
use crate::alloc::{self, Compaction};
use crate::types::{MoveCursor, Moves};

/// Memory that one step of planning examines, in regions of the allocator.
const PLAN_STEP: usize = 32;

/// Fields of a large collection that one step examines.
const PART: usize = 64;

/// Blocks of a chain that one step examines. Collections that would exceed this are queued, like large ones, so that a
/// chain of many collections takes no longer than one of them.
const CHAIN: u64 = 256;

/// A plan is carried out only if it frees at least one part in this many of the holes in slabs: the walk has a cost,
/// and new keys will fill the holes in slabs that are in use.
const WORTHWHILE: usize = 8;

/// How a slice of the cycle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefragEnd {
    /// The time ran out.
    Working,
    /// The plan would free almost nothing, so no walk was started.
    Pointless,
    /// The cycle met all keys; the number of blocks that it moved.
    Finished(u64),
}

/// A defragmentation cycle.
pub(super) struct Cycle {
    compaction: Compaction,
    planned: bool,
    db: usize,
    cursor: u64,
    /// Keys of large collections, with their database.
    large: VecDeque<(usize, Box<[u8]>)>,
    /// Where the walk of the first of them continues.
    part: MoveCursor,
    moves: Moves,
}

impl Cycle {
    pub(super) fn new() -> Cycle {
        Cycle {
            compaction: Compaction::new(),
            planned: false,
            db: 0,
            cursor: 0,
            large: VecDeque::new(),
            part: MoveCursor::default(),
            moves: Moves::default(),
        }
    }

    /// Plans or walks for some microseconds.
    fn step(&mut self, keyspace: &mut Keyspace, max_fields: u64) -> DefragEnd {
        if !self.planned {
            let Some(freed) = self.compaction.plan(PLAN_STEP) else { return DefragEnd::Working };
            let stats = alloc::stats();
            let holes = stats.slab_bytes.saturating_sub(stats.slab_live_bytes);
            self.planned = true;
            return if freed == 0 || freed < holes / WORTHWHILE {
                DefragEnd::Pointless
            } else {
                DefragEnd::Working
            };
        }
        self.walk(keyspace, max_fields)
    }

    /// Performs a step of the walk.
    fn walk(&mut self, keyspace: &mut Keyspace, max_fields: u64) -> DefragEnd {
        let before = self.moves;
        if self.large.is_empty() {
            let Some(db) = keyspace.dbs.get_mut(self.db) else {
                return DefragEnd::Finished(self.moves.moved);
            };
            let Cycle { large, moves, .. } = self;
            let (index, counters) = (self.db, &mut keyspace.counters);
            self.cursor = db.dict.scan_mut(self.cursor, &mut |entry| {
                let moved = moves.moved;
                let most = CHAIN.saturating_sub(moves.looked_at() - before.looked_at()).min(max_fields);
                if entry.defragment(most, moves) {
                    large.push_back((index, entry.key().into()));
                }
                let counter = if moves.moved > moved {
                    &mut counters.defragmented_keys
                } else {
                    &mut counters.keys_left_in_place
                };
                *counter += 1;
            });
            self.db += usize::from(self.cursor == 0);
        } else {
            self.walk_part(keyspace);
        }
        keyspace.counters.moved_blocks += self.moves.moved - before.moved;
        keyspace.counters.blocks_left_in_place += self.moves.stayed - before.stayed;
        DefragEnd::Working
    }

    /// Walks a part of the first large collection.
    fn walk_part(&mut self, keyspace: &mut Keyspace) {
        let Some((db, key)) = self.large.front() else { return };
        let hash = keyspace.hash(key);
        let dict = &mut keyspace.dbs[*db].dict;
        let next = dict.find(hash, key).and_then(|at| {
            let mut entry = dict.get_mut(at);
            entry.defragment_part(self.part, PART, &mut self.moves)
        });
        self.part = next.unwrap_or_default();
        if next.is_none() {
            self.large.pop_front();
        }
    }
}

impl Keyspace {
    /// Continues the cycle, or begins one, for `time_us` microseconds by the clock `now_us`. Collections of more than
    /// `max_fields` fields are walked in parts. Must not be called while a child shares the memory: each block that
    /// moves would cost two copied pages.
    pub fn defragment(&mut self, max_fields: u64, time_us: u64, now_us: impl Fn() -> u64) -> DefragEnd {
        let start = now_us();
        let mut cycle = self.defrag.take().unwrap_or_else(|| Box::new(Cycle::new()));
        loop {
            let end = cycle.step(self, max_fields);
            if end != DefragEnd::Working {
                return end;
            }
            if now_us() - start >= time_us {
                self.defrag = Some(cycle);
                return end;
            }
        }
    }

    /// Whether a cycle is running.
    pub fn is_defragmenting(&self) -> bool {
        self.defrag.as_ref().is_some_and(|cycle| cycle.planned)
    }

    /// Abandons the cycle.
    pub fn stop_defragmenting(&mut self) {
        self.defrag = None;
    }
}

#[cfg(test)]
mod tests;
