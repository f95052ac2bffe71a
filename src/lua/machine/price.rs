//! What work costs: the budget of `run` in steps, each of which stands for about 10 ns.
//!
//! Instructions pay where a program can repeat them, at calls and jumps backwards. What one instruction or one native
//! function does beyond that is paid by what it touches: values on the stack, slots of tables, bytes of strings. Who
//! touches many of them does so in pieces, and looks at the budget between two; what is left is done by a continuation,
//! or by the same instruction or function once more ([`Again`]), whose progress the machine or the string remembers.
//!
//! `tests/lua/steps.rs` holds every native function to it: what a hostile call pays, and the most that it does at once.

use super::Machine;
use super::native::{Call, Continue, Native, Outcome, Raised};
use crate::lua::heap::{Heap, Walk};
use crate::lua::value::{TableId, Value};

/// Values that are copied on the stack, or pushed, in the time of a step.
pub const VALUES_PER_STEP: usize = 4;

/// Slots of a table that are looked at in the time of a step.
pub const SLOTS_PER_STEP: usize = 8;

/// Bytes that are copied, compared or mapped in the time of a step, in memory that is new or in no cache.
pub const BYTES_PER_STEP: usize = 32;

/// Bytes of which each is decided on by itself in the time of a step.
pub const SCANNED_PER_STEP: usize = 8;

/// Bytes after which what copies or compares looks at the budget.
pub const PIECE_BYTES: usize = 1 << 18;

/// Slots after which what walks through a table looks at the budget.
pub const PIECE_SLOTS: usize = 4096;

impl Machine {
    /// Takes `steps` from the budget. Returns whether any is left: a function that cannot say how long it takes returns
    /// `Outcome::Pause` otherwise.
    #[inline]
    pub fn charge(&mut self, steps: usize) -> bool {
        self.budget = self.budget.saturating_sub(steps as i64);
        self.budget > 0
    }

    /// Takes from the budget what it takes to read all of a string.
    pub fn charge_text(&mut self, value: Value) {
        if let Value::String(string) = value {
            self.charge(self.heap.bytes(string).len() / SCANNED_PER_STEP);
        }
    }

    /// Takes from the budget what it takes to copy values.
    #[inline(always)]
    pub(super) fn charge_values(&mut self, count: usize) {
        self.budget -= (count / VALUES_PER_STEP) as i64;
    }

    /// Steps that the last `run` has taken beyond its budget: the work that could not be suspended.
    pub fn overdraft(&self) -> usize {
        usize::try_from(-self.budget).unwrap_or(0)
    }

    /// Steps that the last `run` has taken.
    pub fn spent(&self) -> usize {
        usize::try_from(self.granted - self.budget).unwrap_or(0)
    }

    /// `#table`. `None`: the budget is used up before it is found. Whoever asks again goes on with the search.
    #[inline]
    pub fn length(&mut self, table: TableId) -> Option<usize> {
        length(&self.heap, &mut self.budget, &mut self.searched, table)
    }
}

/// As [`Machine::length`].
#[inline(always)]
pub(super) fn length(
    heap: &Heap,
    budget: &mut i64,
    searched: &mut Option<(TableId, usize)>,
    table: TableId,
) -> Option<usize> {
    match heap.table(table).length(heap.strings()) {
        Ok(length) => Some(length),
        Err(first) => search_length(heap, budget, searched, table, first),
    }
}

/// Looks at one element after the other, from `first` on, until one is nil.
#[cold]
fn search_length(
    heap: &Heap,
    budget: &mut i64,
    searched: &mut Option<(TableId, usize)>,
    table: TableId,
    first: usize,
) -> Option<usize> {
    let mut next = match searched.take() {
        Some((searched, next)) if searched == table => next,
        _ => first,
    };
    loop {
        let end = next + PIECE_SLOTS;
        while next < end {
            if heap.get_index(table, next).is_nil() {
                return Some(next - 1);
            }
            next += 1;
        }
        // They can be anywhere in memory.
        *budget -= 2 * PIECE_SLOTS as i64;
        if *budget <= 0 {
            *searched = Some((table, next));
            return None;
        }
    }
}

impl Machine {
    /// Looks for the first pair of a table at `position` or after it, and moves `position` on. `Walk::Empty`: the budget is
    /// used up before there is one.
    pub fn walk(&mut self, table: TableId, position: &mut usize) -> Walk {
        loop {
            let found = self.heap.table(table).pair_within(*position, PIECE_SLOTS);
            let next = match found {
                Walk::Pair(next, ..) | Walk::Empty(next) => next,
                Walk::End => self.heap.table(table).slots(),
            };
            let has_time = self.charge(next.saturating_sub(*position) / SLOTS_PER_STEP);
            *position = next;
            if !matches!(found, Walk::Empty(_)) || !has_time {
                return found;
            }
        }
    }
}

/// A native function that has found the budget used up before it has done anything that lasts: it is called once more.
#[derive(Debug)]
struct Again(Native);

/// See [`Again`].
pub fn again(native: Native) -> Result<Outcome, Raised> {
    Ok(Outcome::Pause(Box::new(Again(native))))
}

impl Continue for Again {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        machine.thread.top = call.base + call.count;
        (self.0)(machine, call)
    }
}
