//! Debug builds notice a [`Position`](super::Position) that is used after it went stale.
//!
//! A dict's generation changes with every operation that may invalidate positions, whether or not this call moves
//! anything, and no two dicts ever share one. A position remembers the generation that it was made in. So a lookup that
//! is used after an insert, or in another database, fails in the first test that does it, not only when the operation
//! happens to move that entry. In a release build a generation has no size and every comparison is true.

/// A dict's generation. See the module's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Generation {
    #[cfg(debug_assertions)]
    number: u64,
}

impl Generation {
    /// A generation that no dict has had.
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
