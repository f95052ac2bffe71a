//! The end of the process when the system refuses memory: one line in the log with the size of the request, and an
//! abort, which the crash report follows.
//!
//! The server cannot continue: the code that requested the memory may be in the middle of a change. Acknowledged writes
//! are in the log by then. The line is written without a lock and without an allocation.

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::calendar::local_time;
use crate::sys::clock;
use crate::sys::raw_log::{self, RawLog};

static USED_MEMORY: OnceLock<fn() -> u64> = OnceLock::new();

/// The thread that writes the line; 0 if none does.
static ENDING: AtomicUsize = AtomicUsize::new(0);

/// Sets the function that returns the number of bytes in use, by reading only counters. The first one is kept.
pub fn set_used_memory(count: fn() -> u64) {
    USED_MEMORY.get_or_init(|| count);
}

/// Whether the process is ending because memory ran out: the crash report then omits parts that need more.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::Acquire) != 0
}

/// Ends the process, because the system has refused `bytes`.
#[cold]
pub fn end(bytes: usize) -> ! {
    // SAFETY: no pointers.
    let thread = unsafe { libc::pthread_self() } as usize;
    match ENDING.compare_exchange(0, thread, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        // The report itself needed memory.
        Err(ending) if ending == thread => std::process::abort(),
        Err(_) => loop {
            // Another thread is about to end the process.
            // SAFETY: no pointers.
            unsafe { libc::pause() };
        },
    }
    let used = USED_MEMORY.get().map_or(0, |count| count());
    // SAFETY: no pointers.
    let pid = unsafe { libc::getpid() };
    let (role, time) = (raw_log::role(), local_time(clock::wall_us() / 1000));
    // The process ends whether or not this can be written.
    let _ = writeln!(
        RawLog::open(),
        "{pid}:{role} {time} # Out Of Memory allocating {bytes} bytes! {used} bytes are in use."
    );
    std::process::abort()
}
