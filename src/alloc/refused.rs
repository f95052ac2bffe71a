//! Memory that the system refuses.
//!
//! An allocation either gives memory or does not return: nobody above has to expect its failure. How the process ends is
//! for who serves to say ([`when_refused`]). Where a refusal is an outcome like others, it is asked for by [`attempt`].

use std::alloc::{Layout, handle_alloc_error};
use std::cell::Cell;
use std::sync::OnceLock;

static END: OnceLock<fn(usize) -> !> = OnceLock::new();

thread_local! {
    static ATTEMPTS: Cell<bool> = const { Cell::new(false) };
}

/// Has the process ended by `end` when the system refuses memory; it gets the number of bytes, and may not allocate. The
/// first one is kept.
pub fn when_refused(end: fn(usize) -> !) {
    END.get_or_init(|| end);
}

/// Runs something that tries to reserve memory: a refusal is its error, and does not end the process.
pub fn attempt<R>(reserve: impl FnOnce() -> R) -> R {
    let outer = ATTEMPTS.replace(true);
    let outcome = reserve();
    ATTEMPTS.set(outer);
    outcome
}

/// The system has refused `bytes`: ends the process, unless that is expected.
#[cold]
pub(super) fn refused(bytes: usize) {
    if !ATTEMPTS.get()
        && let Some(end) = END.get()
    {
        end(bytes);
    }
}

/// The system has refused `bytes` for a block: ends the process.
#[cold]
pub(super) fn end(bytes: usize) -> ! {
    match END.get() {
        Some(end) => end(bytes),
        None => handle_alloc_error(Layout::from_size_align(bytes, 1).unwrap_or(Layout::new::<usize>())),
    }
}
