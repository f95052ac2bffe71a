//! `MIGRATE` to a target that replies with anything, at any time, or breaks off: it holds that
//!
//! * nothing panics, and memory does not grow with the length of a reply;
//! * a key counts as restored only if its own reply is a status and neither `AUTH` nor `SELECT` got an error;
//! * a lost connection is retried only if no reply to a `RESTORE` has come;
//! * the outcome does not depend on how the replies are divided.
//!
//! Input: a byte of flags and of the number of keys, a byte of seed for divisions, then the replies. `=N;` in them stands
//! for N filler bytes.

#![no_main]

#[path = "../inflate.rs"]
mod inflate;
#[path = "../memory.rs"]
mod memory;

use inflate::inflate;
use libfuzzer_sys::fuzz_target;
use redstart::replication::migrate::{Exchange, Failure, Lost, Requests, Verdict};

const TIMEOUT_MS: u64 = 100;

/// The restored keys, why others were not, and whether the connection can be used again.
type Outcome = Result<(Vec<usize>, Option<Failure>, bool), &'static str>;

fn run(flags: u8, replies: &[u8], mut size: impl FnMut() -> usize) -> Outcome {
    let (has_auth, has_select, may_retry) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    let keys = 1 + usize::from(flags >> 4);
    let mut requests = Requests::default();
    if has_auth {
        requests.auth(None, b"password");
    }
    if has_select {
        requests.select(3);
    }
    for key in 0..keys {
        requests.restore(format!("key:{key}").as_bytes(), 0, b"payload", flags & 8 != 0, flags & 16 != 0);
    }
    let greetings = usize::from(has_auth) + usize::from(has_select);
    let mut exchange = Exchange::new(requests, false, TIMEOUT_MS, 0);
    exchange.connected(1);
    let (mut now_ms, mut left) = (1, replies);
    let before = memory::used();
    let lost = loop {
        if exchange.is_complete() {
            break None;
        }
        if left.is_empty() {
            break Some(Lost::Closed);
        }
        let most = size().min(left.len());
        now_ms += (most % 50) as u64;
        let sent = most.min(exchange.unsent().len());
        exchange.took(sent, now_ms);
        if let Err(lost) = exchange.receive(&left[..most], now_ms) {
            break Some(lost);
        }
        assert_eq!(exchange.deadline_ms(), now_ms + TIMEOUT_MS);
        left = &left[most..];
        // A line of a kilobyte for each reply that may be reported.
        assert!(memory::used().saturating_sub(before) <= 32 << 10);
    };
    let lines: Vec<&[u8]> =
        replies.split_inclusive(|byte| *byte == b'\n').filter(|l| l.ends_with(b"\n")).collect();
    let is_status = |index: &usize| lines.get(greetings + index).is_some_and(|line| line[0] == b'+');
    let is_denied = lines.iter().take(greetings).any(|line| line[0] == b'-');
    let check = |restored: &[usize]| {
        assert!(restored.iter().all(is_status) && restored.is_sorted_by(|a, b| a < b));
        assert!(restored.is_empty() || !is_denied);
    };
    match lost {
        None => {
            assert!(exchange.deadline_ms() > now_ms);
            let end = exchange.end();
            check(&end.restored);
            assert_eq!(end.restored.len() == keys, end.failure.is_none());
            assert_eq!(end.restored.len(), if is_denied { 0 } else { (0..keys).filter(is_status).count() });
            Ok((end.restored, end.failure, end.reusable))
        }
        Some(lost) => match exchange.lost(lost, may_retry) {
            Verdict::Retry => {
                assert!(may_retry && lost == Lost::Closed && lines.len() <= greetings);
                Err("it is tried again")
            }
            Verdict::End(end) => {
                check(&end.restored);
                assert!(end.failure.is_some() && !end.reusable && end.restored.len() < keys);
                Ok((end.restored, end.failure, false))
            }
        },
    }
}

fuzz_target!(|input: &[u8]| {
    let [flags, seed, rest @ ..] = input else { return };
    let replies = inflate(rest);
    let whole = run(*flags, &replies, || usize::MAX);
    // The connection can be used again only if nothing has come with the last reply, and everything was sent.
    let without_connection =
        |outcome: &Outcome| outcome.clone().map(|(restored, failure, _)| (restored, failure));
    let mut state = u32::from(*seed);
    let usual = 1 + replies.len() / 50;
    let pieces = run(*flags, &replies, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 16) as usize % (2 * usual)
    });
    let (whole, pieces) = (without_connection(&whole), without_connection(&pieces));
    // How far the requests were sent says which end failed first.
    let is_lost = |outcome: &Result<(Vec<usize>, Option<Failure>), _>| {
        matches!(outcome, Ok((_, Some(Failure::Reading | Failure::Writing))))
    };
    if is_lost(&whole) {
        assert!(is_lost(&pieces) && whole.map(|o| o.0) == pieces.map(|o| o.0));
    } else {
        assert_eq!(whole, pieces);
    }
});
