//! Memory that the system refuses.
//!
//! An allocation either returns memory or does not return at all, so no caller must handle its failure. The server
//! decides how the process ends ([`when_refused`]). Where a refusal is an ordinary result, the caller uses [`attempt`].

use std::alloc::{Layout, handle_alloc_error};
use std::cell::Cell;
use std::sync::OnceLock;

static END: OnceLock<fn(usize) -> !> = OnceLock::new();

thread_local! {
    static ATTEMPTS: Cell<bool> = const { Cell::new(false) };
}

/// Sets `end` as the function that ends the process when the system refuses memory. It gets the number of bytes, and
/// may not allocate. The first one is kept.
pub fn when_refused(end: fn(usize) -> !) {
    END.get_or_init(|| end);
}

/// Runs a function that tries to reserve memory: a refusal is its error, and does not end the process.
pub fn attempt<R>(reserve: impl FnOnce() -> R) -> R {
    let outer = ATTEMPTS.replace(true);
    let outcome = reserve();
    ATTEMPTS.set(outer);
    outcome
}

/// Handles the system's refusal of `bytes`: ends the process, unless an [`attempt`] expects it.
#[cold]
pub(super) fn refused(bytes: usize) {
    if !ATTEMPTS.get()
        && let Some(end) = END.get()
    {
        end(bytes);
    }
}

/// Ends the process because the system has refused `bytes` for a block.
#[cold]
pub(super) fn end(bytes: usize) -> ! {
    match END.get() {
        Some(end) => end(bytes),
        None => handle_alloc_error(Layout::from_size_align(bytes, 1).unwrap_or(Layout::new::<usize>())),
    }
}
