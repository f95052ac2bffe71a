//! The expiry times of a large hash's fields, in order.
//!
//! Every `HLEN` needs the number of deadlines that have passed, which can be large while expired fields wait for
//! removal. So the count is stored with its moment, and since time only moves forward, the next call counts only the
//! deadlines that have passed since then. Every deadline is counted once: O(1) amortized, plus an O(log n) search.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::sys::memory;

/// Nodes of the tree are about two thirds full, and there are nodes above them.
const BYTES: usize = 28;

/// The number of deadlines counted in the time in which the kernel copies a page.
const WORTH_A_PAGE: usize = 256;

/// The time of each field that expires, with the hash of its name. (Two fields with the same 64-bit hash and time would
/// share the deadline; only lookups then find the second.)
#[derive(Default)]
pub(super) struct Deadlines {
    all: BTreeSet<(i64, u64)>,
    /// A moment, and the number of deadlines before it.
    counted: Cell<(i64, usize)>,
}

impl Deadlines {
    /// The first deadline: its time and the hash.
    #[inline]
    pub(super) fn first(&self) -> Option<(i64, u64)> {
        self.all.first().copied()
    }

    /// The number of deadlines before `now`.
    pub(super) fn passed(&self, now: i64) -> usize {
        let (until, before) = self.counted.get();
        if self.all.first().is_none_or(|(first, _)| *first >= now) {
            return 0;
        }
        if now < until {
            // An earlier moment is rare and not worth storing.
            return self.all.range(..(now, 0)).count();
        }
        let since = self.all.range((until, 0)..(now, 0)).count();
        // Reads do not write to memory that a forked child shares, unless counting again costs more than a page's copy.
        if since > WORTH_A_PAGE || !memory::is_shared() {
            self.counted.set((now, before + since));
        }
        before + since
    }

    pub(super) fn insert(&mut self, time: i64, hash: u64) {
        let (until, count) = self.counted.get();
        if self.all.insert((time, hash)) && time < until {
            self.counted.set((until, count + 1));
        }
    }

    pub(super) fn remove(&mut self, time: i64, hash: u64) {
        let (until, count) = self.counted.get();
        if self.all.remove(&(time, hash)) && time < until {
            self.counted.set((until, count - 1));
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.all.len() * BYTES
    }
}
