//! Charging work to the budget of `run`. The budget is counted in steps of about 10 ns.
//!
//! Instructions are charged where a program can repeat them: at calls and backward jumps. An instruction or a native
//! function that touches many stack values, table slots or string bytes is also charged for these. It works in pieces,
//! and checks the budget between them. A continuation does the rest of the work, or the same instruction or function is
//! executed again ([`Again`]); the progress is stored in the machine or the string.
//!
//! `tests/lua/steps.rs` checks for each native function the charge for a hostile call, and the most work it does at
//! once.
//!
//! Some work is bounded only by the memory of a machine, 1 GiB, or by other limits:
//!
//! * An array of 16 million elements doubles in 25 ms. (The nodes of a large table double in pieces: `heap/grow.rs`.)
//! * The stack grows by doubling, to 4 million values. A block of memory is freed at once, whatever its size.
//! * `load` compiles up to 1 MiB of source; a number has up to 256 KiB, a set of a pattern 64 KiB.
//! * A command that a script calls is one step of the host, with the copies of its arguments. So is the table of a set or
//!   a map in its reply. Other replies become values in pieces (`server/scripts/values.rs`).
//! * The result of a script becomes a reply in one step, and is freed in one step.

use super::Machine;
use super::native::{Call, Continue, Native, Outcome, Raised};
use crate::lua::heap::{Heap, Walk};
use crate::lua::value::{TableId, Value};

/// The number of values copied on the stack, or pushed, in the time of one step.
pub const VALUES_PER_STEP: usize = 4;

/// The number of table slots read in the time of one step.
pub const SLOTS_PER_STEP: usize = 8;

/// The number of bytes copied, compared or mapped in the time of one step, in new or uncached memory.
pub const BYTES_PER_STEP: usize = 32;

/// The number of bytes processed one by one in the time of one step.
pub const SCANNED_PER_STEP: usize = 8;

/// The number of bytes copied or compared between two checks of the budget.
pub const PIECE_BYTES: usize = 1 << 18;

/// The number of table slots read between two checks of the budget.
pub const PIECE_SLOTS: usize = 4096;

impl Machine {
    /// Subtracts `steps` from the budget. Returns whether any are left. If not, a function of unknown duration returns
    /// `Outcome::Pause`.
    #[inline]
    pub fn charge(&mut self, steps: usize) -> bool {
        self.budget = self.budget.saturating_sub(steps as i64);
        self.budget > 0
    }

    /// Charges the budget for reading all of a string.
    pub fn charge_text(&mut self, value: Value) {
        if let Value::String(string) = value {
            self.charge(self.heap.bytes(string).len() / SCANNED_PER_STEP);
        }
    }

    /// Charges the budget for copying values.
    #[inline(always)]
    pub(super) fn charge_values(&mut self, count: usize) {
        self.budget -= (count / VALUES_PER_STEP) as i64;
    }

    /// The steps that the last `run` took beyond its budget: work that could not be suspended.
    pub fn overdraft(&self) -> usize {
        usize::try_from(-self.budget).unwrap_or(0)
    }

    /// The steps that the last `run` took.
    pub fn spent(&self) -> usize {
        usize::try_from(self.granted - self.budget).unwrap_or(0)
    }

    /// `#table`; `None` if the budget is used up first. The next call continues the search.
    #[inline]
    pub fn length(&mut self, table: TableId) -> Option<usize> {
        length(&self.heap, &mut self.budget, &mut self.searched, table)
    }
}

/// See [`Machine::length`].
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

/// Searches linearly, from `first` on, for a nil element.
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
        // The elements can be anywhere in memory.
        *budget -= 2 * PIECE_SLOTS as i64;
        if *budget <= 0 {
            *searched = Some((table, next));
            return None;
        }
    }
}

impl Machine {
    /// Searches for the first pair of a table at or after `position`, and advances `position`. Returns `Walk::Empty` if the
    /// budget is used up first.
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

impl Machine {
    /// See [`Heap::is_room_ready`].
    #[inline]
    pub fn is_room_ready(&mut self, table: TableId, key: Value) -> bool {
        // A debugged program does not pause.
        self.tracing.is_active() || self.heap.is_room_ready(table, key, &mut self.budget)
    }

    /// For native functions that do a lot with the heap at once and charge for it themselves.
    pub fn heap_and_budget(&mut self) -> (&mut Heap, &mut i64) {
        (&mut self.heap, &mut self.budget)
    }
}

/// A native function that used up the budget before it had any effect: it is called again.
#[derive(Debug)]
struct Again(Native);

/// Calls a native function again when there is more budget: see [`Again`].
pub fn again(native: Native) -> Result<Outcome, Raised> {
    Ok(Outcome::Pause(Box::new(Again(native))))
}

impl Continue for Again {
    fn resume(self: Box<Self>, machine: &mut Machine, call: Call, _: usize) -> Result<Outcome, Raised> {
        machine.thread.top = call.base + call.count;
        (self.0)(machine, call)
    }
}
