//! Debug builds detect the use of a stale [`Position`](super::Position).
//!
//! A dict's generation changes with every operation that may invalidate positions, whether or not that call moves
//! anything, and no two dicts ever share a generation. A position stores the generation in which it was made. So a
//! position that is used after an insert, or in another database, fails in the first test that does so, not only when
//! the operation happens to move that entry. In a release build a generation has no size and all of them are equal.

/// A dict's generation. See the module's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Generation {
    #[cfg(debug_assertions)]
    number: u64,
}

impl Generation {
    /// A generation that no dict has had before.
    #[inline(always)]
    pub(super) fn new() -> Self {
        #[cfg(debug_assertions)]
        {
            use std::sync::atomic::{AtomicU64, Ordering};
            static NEXT: AtomicU64 = AtomicU64::new(0);
            Self { number: NEXT.fetch_add(1, Ordering::Relaxed) }
        }
        #[cfg(not(debug_assertions))]
        Self {}
    }
}
