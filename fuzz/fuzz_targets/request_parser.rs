//! The request parser: no bytes make it panic or allocate more than was sent, and the result does not depend on how they
//! are split into pieces.
//!
//! Input: a byte of limits, a byte of seed for the splits, then the client's bytes. `=N;` in them stands for N filler
//! bytes (N up to 99999), so that a short input reaches big arguments and long lines.

#![no_main]

#[path = "../connection.rs"]
mod connection;
#[path = "../inflate.rs"]
mod inflate;

use connection::Connection;
use inflate::inflate;
use libfuzzer_sys::fuzz_target;
use redstart::resp::Limits;

fuzz_target!(|input: &[u8]| {
    let [flags, seed, rest @ ..] = input else { return };
    let limits =
        Limits { authenticated: flags & 1 == 0, max_bulk: if flags & 2 == 0 { 1 << 29 } else { 50_000 } };
    let bytes = inflate(rest);

    let mut whole = Connection::new(limits);
    whole.feed(&bytes);

    let mut pieces = Connection::new(limits);
    // A few bytes per piece, more if there are many bytes, from one to twice the usual size.
    let usual = 1 + bytes.len() / 200;
    let mut state = u32::from(*seed);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = (1 + (state >> 16) as usize % (2 * usual)).min(rest.len());
        pieces.feed(&rest[..size]);
        rest = &rest[size..];
    }
    assert_eq!(whole.outcomes, pieces.outcomes);
});
