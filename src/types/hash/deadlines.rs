//! When the fields of a large hash expire, in order.
//!
//! The one idea: time only goes on. How many deadlines have passed is asked by every `HLEN`, and while fields wait to be
//! taken out these are many; so the count is remembered with the moment that it was made at, and the next one counts
//! only what has passed since. Every deadline is counted once: O(1) amortized, beside an O(log n) search.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::sys::memory;

/// Nodes of the tree are about two thirds full.
const BYTES: usize = 24;

/// Deadlines that are counted in the time in which the kernel copies a page.
const WORTH_A_PAGE: usize = 256;

/// The time of each field that expires, with the hash of its name. (Two fields of one 64-bit hash and one time would
/// share the deadline; the second is then met by lookups alone.)
#[derive(Default)]
pub(super) struct Deadlines {
    all: BTreeSet<(i64, u64)>,
    /// A moment, and how many lie before it; none at first.
    counted: Cell<(i64, usize)>,
}

impl Deadlines {
    /// The first one: its time and the hash.
    #[inline]
    pub(super) fn first(&self) -> Option<(i64, u64)> {
        self.all.first().copied()
    }

    /// How many lie before `now`.
    pub(super) fn passed(&self, now: i64) -> usize {
        let (until, before) = self.counted.get();
        if self.all.first().is_none_or(|(first, _)| *first >= now) {
            return 0;
        }
        if now < until {
            // Of a moment that is over: nobody will ask for it again.
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
