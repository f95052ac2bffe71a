//! Growing a large table in pieces.
//!
//! A table without a free node gets new ones, and all its entries move. In a large table that takes long, so before a
//! key is stored, the larger table is built separately: [`Heap::is_room_ready`] does part of it and is called again, by
//! the same instruction, until the new table has replaced the old one. The old one does not change meanwhile. Only a
//! collection may run in between; it discards the partial table.
//!
//! Sizes, and the order in which entries move, are those of a table that grows at once, so `next` keeps the order of
//! the reference implementation.

use super::Heap;
use super::table::{Building, Counts, best_array_size};
use crate::lua::value::{TableId, Value};

/// A table with fewer nodes grows at once.
pub const LARGE: usize = 1 << 15;

/// The number of slots counted, made or moved in one piece.
const PIECE: usize = 1024;

/// The cost of a piece, in budget steps: moving an entry is a write to a random place.
const PIECE_STEPS: i64 = 4 * PIECE as i64;

/// A table being built to replace a full one.
#[derive(Debug)]
pub struct Growing {
    id: TableId,
    /// The key that needs room.
    key: Value,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The keys in the slots before `at` are counted.
    Count { at: usize, counts: Counts },
    /// The slots are made, then the entries are moved.
    Build(Building),
}

impl Heap {
    /// Makes room in a table for a key that is stored next. Returns false if the budget is used up first; it must then
    /// be called again before the table changes. Returns true if memory is short: storing the key reports that.
    #[inline]
    pub fn is_room_ready(&mut self, table: TableId, key: Value, budget: &mut i64) -> bool {
        let large = self.tables.get_mut(table.0 as usize);
        large.node_count() < LARGE || large.has_free() || self.make_room_for(table, key, budget)
    }

    #[cold]
    fn make_room_for(&mut self, id: TableId, key: Value, budget: &mut i64) -> bool {
        // Neither nil nor NaN is a key.
        let is_key = !key.is_nil() && self.equal(key, key);
        let Heap { strings, tables, .. } = self;
        let table = tables.get_mut(id.0 as usize);
        if !is_key || table.is_readonly || !table.lacks_room_for(key, strings) {
            return true;
        }
        let bytes = table.heap_bytes();
        let mut growing = match self.growing.take() {
            Some(growing) if growing.id == id && self.equal(growing.key, key) => growing,
            _ => {
                if self.afford(2 * bytes).is_err() {
                    return true;
                }
                let phase = Phase::Count { at: 0, counts: Counts::of(key) };
                Box::new(Growing { id, key, phase })
            }
        };
        loop {
            *budget -= PIECE_STEPS;
            if self.grow(&mut growing) {
                return true;
            }
            if *budget <= 0 {
                self.growing = Some(growing);
                return false;
            }
        }
    }

    /// Does one piece. Returns whether the new table has replaced the old one.
    fn grow(&mut self, growing: &mut Growing) -> bool {
        let Heap { strings, tables, used_bytes, .. } = self;
        let table = tables.get_mut(growing.id.0 as usize);
        match &mut growing.phase {
            Phase::Count { at, counts } => {
                let to = table.slots().min(*at + PIECE);
                table.count_keys(*at, to, counts);
                *at = to;
                if to == table.slots() {
                    let (array, in_array) = best_array_size(counts);
                    growing.phase = Phase::Build(Building::new(table, array, counts.total() - in_array));
                }
                false
            }
            Phase::Build(building) => {
                let before = table.heap_bytes();
                let is_done = building.step(table, PIECE, strings);
                if is_done {
                    *used_bytes = (*used_bytes + table.heap_bytes()).saturating_sub(before);
                }
                is_done
            }
        }
    }

    /// Bytes of a table being built. They count as used only when the old table is gone: otherwise a collection, which
    /// discards the new table, would be due before it is complete, again and again.
    pub fn growing_bytes(&self) -> usize {
        match self.growing.as_deref() {
            Some(Growing { phase: Phase::Build(building), .. }) => building.heap_bytes(),
            _ => 0,
        }
    }

    /// Discards a table being built.
    pub fn stop_growing(&mut self) {
        self.growing = None;
    }
}
