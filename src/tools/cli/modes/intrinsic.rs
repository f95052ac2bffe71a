//! `--intrinsic-latency`: how long this machine keeps a busy process from running, measured without a server.
//!
//! A process that only works and reads the clock sees a gap whenever the kernel or the hypervisor runs something else.
//! No server on the machine can have a lower maximum latency than the longest gap.

use std::hint::black_box;

use super::{Outcome, Session, write_line};
use crate::sys::{clock, terminal};

/// The number of rounds of work between two readings of the clock: a small fraction of a microsecond.
const ROUNDS: u32 = 20;

/// Works for the given number of seconds, or until Ctrl-C.
pub(super) fn run(session: &Session<'_>) -> Outcome {
    terminal::catch_interrupts()?;
    let seconds = session.matches.get_one::<u64>("intrinsic-latency").copied().unwrap_or(1);
    let wanted_us = seconds.saturating_mul(1_000_000);
    let start_us = clock::monotonic_us();
    let (mut runs, mut longest_us) = (0_u64, 0);
    let passed_us = loop {
        let begin_us = clock::monotonic_us();
        work();
        let end_us = clock::monotonic_us();
        runs += 1;
        if end_us - begin_us > longest_us {
            longest_us = end_us - begin_us;
            write_line(&format!("Max latency so far: {longest_us} microseconds."))?;
        }
        if end_us - start_us > wanted_us || terminal::is_interrupted() {
            break end_us - start_us;
        }
    };
    let average_us = passed_us as f64 / runs as f64;
    write_line(&format!(
        "\n{runs} total runs (avg latency: {average_us:.4} microseconds / {:.2} nanoseconds per run).\n\
         Worst run took {:.0}x longer than the average latency.",
        average_us * 1000.0,
        longest_us as f64 / average_us
    ))
}

fn work() {
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..ROUNDS {
        number = black_box(number ^ number.rotate_left(13)).wrapping_add(1);
    }
}
